//! What is known of the bootloader: findings of a sweep that are its own, with the evidence. Any other finding is a mistake.

use crate::boot::nordic::Profile;
use crate::image::nordic::FwType;
use crate::sweep::Finding;

/// What a property may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What is updated.
    pub kind: FwType,
    /// Which SDK.
    pub profile: Profile,
    /// The application is given up when the init packet is accepted: single bank, by option or for want of room.
    pub gives_up_application: bool,
    /// The new SoftDevice has another major version.
    pub other_major: bool,
    /// The new SoftDevice has another size: the application would have to begin elsewhere.
    pub moves_application: bool,
    /// The new SoftDevice reaches into its own copy, up to the struct that says what it is.
    pub covers_source: bool,
    /// The image is of whole words.
    pub whole_words: bool,
}

/// A property of the bootloader.
#[derive(Debug, Clone, Copy)]
pub struct Known {
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
    applies: fn(&Facts) -> bool,
    /// What the last cut interrupts: the operations, or all.
    at: &'static [&'static str],
}

impl Known {
    /// The property that a finding shows.
    #[must_use]
    pub fn of(finding: &Finding, facts: &Facts) -> Option<&'static Self> {
        ALL.iter().find(|known| {
            let cause = finding.cause.map(|cause| cause.to_string()).unwrap_or_default();
            known.invariants.contains(&finding.violation.invariant)
                && (known.applies)(facts)
                && (known.at.is_empty() || known.at.iter().any(|part| cause.contains(part)))
        })
    }
}

/// All of them.
pub const ALL: &[Known] = &[];
