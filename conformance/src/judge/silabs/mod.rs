//! Checks of the requirements on initiators of Silicon Labs' OTA.
//!
//! What the initiator did is judged by what it wrote and by what it was told, as both went over the air. What it could not
//! know, and what a fault of the scenario or a power loss brought about, is not held against it.
//!
//! | module | requirements |
//! |---|---|
//! | `mode` | SIL-01 to SIL-04, SIL-24, SIL-27: what is connected to, and the way into the AppLoader |
//! | `control` | SIL-05 to SIL-07, SIL-13 to SIL-15, SIL-17, SIL-18: what is written to OTA Control |
//! | `data` | SIL-08 to SIL-12, SIL-16, SIL-21: what is written to OTA Data |
//! | `recovery` | SIL-19, SIL-20, SIL-25, SIL-28: what follows when something went wrong |
//! | `files` | SIL-22, SIL-23, SIL-26: the files, and what came of them |
//! | `view`, `upload` | none: the connections of a run, and the uploads in them |

mod control;
mod data;
mod files;
mod mode;
mod recovery;
#[cfg(test)]
mod tests;
mod upload;
mod view;

use brickproof_simulator::trace::Record;

pub(super) use files::is_unfit;

use super::CheckOutcome;
use crate::scenario::ImageSet;
use upload::Run;
use view::View;

type Check = fn(&Run<'_>) -> CheckOutcome;

/// What shows what an initiator wrote.
const NO_ATT: CheckOutcome = CheckOutcome::NotObservable { missing: "the Attribute Protocol" };
/// The one requirement that is met by doing nothing.
const FILE_CHECKED: &str = "SIL-22";

/// Every requirement with its check, in their order.
const CHECKS: [(&str, Check); 28] = [
    ("SIL-01", mode::by_ota_data),
    ("SIL-02", mode::rediscovers),
    ("SIL-03", mode::finds_again),
    ("SIL-04", mode::accepts_the_loss),
    ("SIL-05", control::by_request),
    ("SIL-06", control::one_byte),
    ("SIL-07", control::one_start),
    ("SIL-08", data::length),
    ("SIL-09", data::mtu),
    ("SIL-10", data::whole_words),
    ("SIL-11", data::in_order),
    ("SIL-12", data::padding),
    ("SIL-13", control::end_behind_all),
    ("SIL-14", control::nothing_behind_end),
    ("SIL-15", control::result),
    ("SIL-16", data::stops),
    ("SIL-17", control::waits_for_result),
    ("SIL-18", control::disconnects),
    ("SIL-19", recovery::from_the_first_byte),
    ("SIL-20", recovery::tries_again),
    ("SIL-21", data::paced),
    (FILE_CHECKED, files::checked),
    ("SIL-23", files::confirms),
    ("SIL-24", mode::without_bond),
    ("SIL-25", recovery::patience),
    ("SIL-26", files::both),
    ("SIL-27", mode::no_probes),
    ("SIL-28", recovery::starts_again),
];

/// Ids of the requirements that have a check here.
pub(super) fn checked() -> impl Iterator<Item = &'static str> {
    CHECKS.into_iter().map(|(id, _)| id)
}

/// What comes of every check.
pub(super) fn outcomes(trace: &[Record], images: &ImageSet) -> Vec<(&'static str, CheckOutcome)> {
    let view = View::new(trace);
    let run = Run::new(&view, images);
    let outcome = |(id, check): (&'static str, Check)| {
        (id, if view.shows_att || id == FILE_CHECKED { check(&run) } else { NO_ATT })
    };
    CHECKS.into_iter().map(outcome).collect()
}
