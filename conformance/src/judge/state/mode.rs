//! Bootloaders that choose by version.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::StepBy;

use crate::judge::view::{Event, Place, View, answers_state_write, is, offset, writes_state};
use crate::judge::{CheckOutcome, Seen};

/// Modes of MCUboot that take no requests, as bootloader info numbers them: direct-XIP without revert, RAM load.
const BY_VERSION: [i64; 2] = [4, 6];
/// `rc` of a command that is not built: a server for these modes has no state write.
const NOT_BUILT: i64 = 8;
/// Failure of an upload in the image group: the image is built for another address than the slot's.
const WRONG_ADDRESS: (Option<i64>, i64) = (Some(1), 25);

/// Whether this answer tells that the bootloader chooses images by their version; `None` when it tells no mode.
pub(super) fn chooses_by_version(answer: &SmpMessage) -> Option<bool> {
    let told = is(answer, Command::BootloaderInfo) && answer.failure().is_none();
    let mode = answer.body.get("mode").filter(|_| told).and_then(Field::number)?;
    Some(BY_VERSION.contains(&mode))
}

/// STA-12: nothing is marked where the bootloader chooses by version, and an image that was built for the other
/// slot is not sent again.
///
/// Whoever did not ask for the mode is told by the refused mark. A device that does not tell its mode leaves no
/// other way to find out than to try.
pub(super) fn suits_the_slots(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let (mut by_version, mut silent) = (None, false);
    let mut uploaded = false;
    // The refusal, and what the refused chunk held.
    let mut refused: Option<(Place, Option<&Field>)> = None;
    for (at, entry) in view.entries.iter().enumerate() {
        let by_tool = entry.by == StepBy::Tool;
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::BootloaderInfo) => {
                silent |= answer.failure().is_some();
                by_version = chooses_by_version(answer).or(by_version);
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                uploaded |= answer.failure().is_none();
                if answer.failure() == Some(WRONG_ADDRESS) {
                    let request = view.answered.get(&at).and_then(|at| view.request(*at));
                    refused = request.map(|request| (entry.place, request.body.get("data")));
                }
            }
            Event::Answer(answer)
                if by_tool
                    && answers_state_write(answer)
                    && answer.failure() == Some((None, NOT_BUILT))
                    && by_version.is_none()
                    && !silent =>
            {
                seen.violated(&entry.place, "marks an image without having asked whether the device takes marks");
            }
            Event::Request(request) if by_tool && writes_state(request) && by_version == Some(true) => {
                seen.violated(&entry.place, "marks an image although the bootloader chooses by version");
            }
            Event::Request(request) if is(request, Command::ImageUpload) && offset(request) == Some(0) => {
                if let Some((place, data)) = refused.take() {
                    if request.body.get("data") == data {
                        let what = "sends an image again that is built for the other slot";
                        seen.violated(&entry.place, format!("{what}: record {}", place.n));
                    } else {
                        seen.met(place.n);
                    }
                }
            }
            Event::Request(request) if is(request, Command::Reset) => {
                // The device may run from the other slot afterwards.
                refused = None;
                if by_tool && std::mem::take(&mut uploaded) && by_version == Some(true) {
                    seen.met(entry.place.n);
                }
            }
            Event::Exited(_) | Event::Reported { .. } => {
                if let Some((place, _)) = refused.take() {
                    seen.met(place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
