//! Checks of the requirements on initiators of Nordic's DFU.
//!
//! What the initiator did is judged by what it wrote and by what it was told, as both went over the air; what the
//! device, a fault or the air did to either is never the initiator's.
//!
//! | module | requirements |
//! |---|---|
//! | `control` | NS-01 to NS-07, NS-39 |
//! | `packets` | NS-08 to NS-10, NS-24 to NS-29 |
//! | `command` | NS-11 to NS-16, NS-43 |
//! | `data` | NS-17 to NS-23, NS-33 to NS-35, NS-42 |
//! | `session` | NS-30 to NS-32, NS-36 to NS-38, NS-40, NS-41 |
//! | `buttonless` | NB-01 to NB-07 |
//! | [`measure`] | none: what a transfer came to |
//! | `view`, `walk` | none: the trace, and what is known before each of its events |

mod buttonless;
mod command;
mod control;
mod data;
pub mod measure;
mod packets;
mod session;
mod view;
mod walk;

use brickproof_simulator::trace::Record;

use super::{CheckOutcome, Seen};
use crate::scenario::ImageSet;
use view::View;
use walk::Walk;

type Check = fn(&Walk<'_, '_>) -> CheckOutcome;

const NO_ATT: CheckOutcome = CheckOutcome::NotObservable { missing: "the Attribute Protocol" };
const NO_PACKAGE: CheckOutcome = CheckOutcome::NotObservable { missing: "the package" };

/// Every requirement with its check.
fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    let all = [control::CHECKS, packets::CHECKS, command::CHECKS, data::CHECKS, session::CHECKS, buttonless::CHECKS];
    all.into_iter().flatten().copied()
}

/// Ids of the requirements that have a check here.
pub(super) fn checked() -> impl Iterator<Item = &'static str> {
    checks().map(|(id, _)| id)
}

/// What comes of every check.
pub(super) fn outcomes(trace: &[Record], images: &ImageSet) -> Vec<(&'static str, CheckOutcome)> {
    let view = View::new(trace, images);
    let walk = Walk::new(&view);
    checks().map(|(id, check)| (id, check(&walk))).collect()
}
