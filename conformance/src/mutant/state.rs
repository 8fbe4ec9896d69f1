//! Mutants that break the rules of image states.

use super::{Mutant, policy, report};
use crate::initiator::policy::{Policy, Reporter};
use crate::initiator::update::{Job, Report};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("marks by the hash of the file", "STA-02", &[], &FileHash),
        policy("resets without marking", "STA-03", &["STA-08"], &NeverMarks),
        policy("confirms without looking", "STA-07", &[], &Blind),
        report("reports success whatever happened", "STA-08", &["RST-05", "SMP-08", "UPL-08", "UPL-09"], &Liar),
    ]
}

struct FileHash;

impl Policy for FileHash {
    fn hash(&self, job: &Job) -> Vec<u8> {
        job.sha256.to_vec()
    }
}

struct NeverMarks;

impl Policy for NeverMarks {
    fn marks_for_test(&self) -> bool {
        false
    }
}

struct Blind;

impl Policy for Blind {
    fn looks_before_confirming(&self) -> bool {
        false
    }
}

struct Liar;

impl Reporter for Liar {
    fn report(&self, _: Report) -> Report {
        Report { success: true, message: "done".into() }
    }
}
