//! What a boot did, whichever bootloader it is of.

/// A complete boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot<Outcome, Decision> {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did what it did, in order.
    pub decisions: Vec<Decision>,
    /// Flash operations performed.
    pub operations: u64,
}
