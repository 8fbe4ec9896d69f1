//! Mutants that break the rules of resets.

use super::{Mutant, policy};
use crate::initiator::policy::{Mark, Policy};

pub(super) fn all() -> Vec<Mutant> {
    vec![
        policy("resets halfway through the upload", "RST-01", &["STA-03", "STA-08"], &Hasty),
        policy("fails without an answer to the reset", "RST-02", &[], &Formal),
        policy("waits five seconds for a swap", "RST-03", &["RST-02"], &Impatient),
    ]
}

struct Hasty;

impl Policy for Hasty {
    fn uploads_permille(&self) -> usize {
        500
    }

    fn marks(&self) -> Mark {
        Mark::Nothing
    }
}

struct Formal;

impl Policy for Formal {
    fn needs_reset_answer(&self) -> bool {
        true
    }
}

struct Impatient;

impl Policy for Impatient {
    fn patience_us(&self) -> u64 {
        5_000_000
    }
}
