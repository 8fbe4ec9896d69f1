//! Mutants that break the protocol itself.

use brickproof_simulator::smp::SmpMessage;

use super::{Mutant, policy};
use crate::initiator::policy::Policy;

pub(super) fn all() -> Vec<Mutant> {
    vec![policy("takes a refusal for a success", "SMP-08", &[], &DeafToErrors)]
}

struct DeafToErrors;

impl Policy for DeafToErrors {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        // Only the form of version 1 is looked for.
        answer.body.contains_key("err")
    }
}
