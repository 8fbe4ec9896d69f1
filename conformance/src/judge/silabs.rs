//! Checks of the requirements on initiators of Silicon Labs' OTA, SIL-01 to SIL-28.

use brickproof_simulator::trace::Record;

use super::CheckOutcome;
use crate::scenario::ImageSet;

/// Ids of the requirements that have a check here.
pub(super) fn checked() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}

/// What comes of every check.
pub(super) fn outcomes(_: &[Record], _: &ImageSet) -> Vec<(&'static str, CheckOutcome)> {
    Vec::new()
}
