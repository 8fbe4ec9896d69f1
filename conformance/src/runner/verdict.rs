//! Statuses and findings.

use std::fmt;

use serde::Serialize;

/// The status of a case; the worst of several wins, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The initiator declares that it cannot do this.
    Unsupported,
    /// The air cannot show it.
    Skipped,
    /// Everything held.
    Passed,
    /// Exactly what is known failed.
    ExpectedFailure,
    /// Something that is known to fail did not.
    UnexpectedPass,
    /// Something did not hold.
    Failed,
    /// The scenario did not happen as it was written.
    Inconclusive,
    /// The harness itself is at fault.
    Error,
}

impl Status {
    /// Exit code of a run with this as its worst status.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unsupported | Self::Skipped | Self::Passed | Self::ExpectedFailure => 0,
            Self::UnexpectedPass | Self::Failed | Self::Inconclusive => 1,
            Self::Error => 3,
        }
    }

    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Skipped => "skipped",
            Self::Passed => "passed",
            Self::ExpectedFailure => "expected-failure",
            Self::UnexpectedPass => "unexpected-pass",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How heavy a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Worth knowing; does not fail the case.
    Should,
    /// Fails the case.
    Must,
}

/// Something that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Id of the requirement, or `expect/running`, `expect/state`, `expect/initiator`, `device/bricked`.
    pub id: String,
    /// How heavy it is.
    pub weight: Weight,
    /// What was expected.
    pub expected: String,
    /// What happened.
    pub happened: String,
    /// When, in microseconds since the start of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_us: Option<u64>,
    /// The record of the trace that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
}

/// The status that follows from findings and from what is known.
///
/// `known` are the ids that are known to fail here. An expected failure is one that fails exactly as
/// known: anything more is a failure, anything less an unexpected pass. Only ids in `sometimes`, which a race within the
/// initiator decides, may fail or not.
#[must_use]
pub fn status(findings: &[Finding], known: &[&str], sometimes: &[&str]) -> Status {
    let heavy: Vec<&str> =
        findings.iter().filter(|finding| finding.weight == Weight::Must).map(|finding| finding.id.as_str()).collect();
    let all: Vec<&str> = findings.iter().map(|finding| finding.id.as_str()).collect();
    if heavy.iter().any(|id| !known.contains(id) && !sometimes.contains(id)) {
        Status::Failed
    } else if known.iter().any(|id| !all.contains(id)) {
        Status::UnexpectedPass
    } else if heavy.is_empty() && known.is_empty() {
        Status::Passed
    } else {
        Status::ExpectedFailure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, weight: Weight) -> Finding {
        Finding { id: id.into(), weight, expected: String::new(), happened: String::new(), at_us: None, record: None }
    }

    #[test]
    fn known_failures_are_strict() {
        let must = |id| finding(id, Weight::Must);
        assert_eq!(status(&[], &[], &[]), Status::Passed);
        assert_eq!(status(&[finding("A", Weight::Should)], &[], &[]), Status::Passed);
        assert_eq!(status(&[must("A")], &[], &[]), Status::Failed);
        assert_eq!(status(&[must("A")], &["A"], &[]), Status::ExpectedFailure);
        assert_eq!(status(&[must("A"), must("B")], &["A"], &[]), Status::Failed);
        assert_eq!(status(&[], &["A"], &[]), Status::UnexpectedPass);
        assert_eq!(status(&[must("A")], &["A", "B"], &[]), Status::UnexpectedPass);
    }

    #[test]
    fn a_race_may_be_lost_or_won() {
        let must = |id| finding(id, Weight::Must);
        assert_eq!(status(&[must("A")], &["A"], &["B"]), Status::ExpectedFailure);
        assert_eq!(status(&[must("A"), must("B")], &["A"], &["B"]), Status::ExpectedFailure);
        assert_eq!(status(&[must("B")], &["A"], &["B"]), Status::UnexpectedPass);
        assert_eq!(status(&[must("A"), must("C")], &["A"], &["B"]), Status::Failed);
        assert_eq!(status(&[], &[], &["B"]), Status::Passed);
        assert_eq!(status(&[must("B")], &[], &["B"]), Status::ExpectedFailure);
    }

    #[test]
    fn exit_codes_as_documented() {
        assert_eq!(Status::ExpectedFailure.exit_code(), 0);
        assert_eq!(Status::UnexpectedPass.exit_code(), 1);
        assert_eq!(Status::Error.exit_code(), 3);
        assert!(Status::Error > Status::Inconclusive && Status::Skipped > Status::Unsupported);
    }
}
