//! A known property of a bootloader of Nordic's or of Silicon Labs'.

use super::Finding;

/// A property of the bootloader. `Facts`: what it may depend on.
#[derive(Debug, Clone, Copy)]
pub struct Property<Facts> {
    /// Its name.
    pub id: &'static str,
    /// What happens, in a sentence.
    pub title: &'static str,
    /// How one knows.
    pub evidence: &'static str,
    /// What an initiator or a product can do about it.
    pub remedy: &'static str,
    /// Which invariants it breaks.
    pub invariants: &'static [&'static str],
    pub(in crate::sweep) applies: fn(&Facts) -> bool,
    /// What the last cut interrupts: the operations, or all.
    pub(in crate::sweep) at: &'static [&'static str],
}

impl<Facts> Property<Facts> {
    /// The first of `all` that a finding shows.
    pub(in crate::sweep) fn shown<'a>(all: &'a [Self], finding: &Finding, facts: &Facts) -> Option<&'a Self> {
        let cause = finding.cause.map(|cause| cause.to_string()).unwrap_or_default();
        all.iter().find(|known| {
            known.invariants.contains(&finding.violation.invariant)
                && (known.applies)(facts)
                && (known.at.is_empty() || known.at.iter().any(|part| cause.contains(part)))
        })
    }
}
