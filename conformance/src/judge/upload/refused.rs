//! What ends an upload.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::StepBy;

use super::complete;
use super::offsets::Chunks;
use crate::judge::view::{Event, Place, View, is, offset};
use crate::judge::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UPL-08", mismatch_is_a_failure), ("UPL-09", refusals_end_the_upload)];

/// UPL-08: `match: false` in the answer to the last chunk means that the upload has failed.
fn mismatch_is_a_failure(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut mismatch: Option<Place> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                let ends = offset(answer).is_some_and(|off| complete(view, off));
                let mismatches = answer.body.get("match").and_then(Field::boolean) == Some(false);
                mismatch = (ends && mismatches).then_some(entry.place);
            }
            Event::Request(request) if mismatch.is_some() && entry.by == StepBy::Tool => {
                let what = match request.known() {
                    Some(Command::ImageState) if request.is_write() => "marks the image",
                    Some(Command::Reset) => "resets",
                    _ => continue,
                };
                seen.violated(&entry.place, format!("{what} after an upload that does not match its `sha`"));
                mismatch = None;
            }
            Event::Exited(Some(0)) | Event::Reported { success: true, .. } if mismatch.take().is_some() => {
                seen.violated(&entry.place, "takes an upload that does not match its `sha` for a success");
            }
            Event::Exited(_) | Event::Reported { .. } => {
                if let Some(place) = mismatch.take() {
                    seen.met(place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// Failures of an upload that the same upload cannot get over, as the image group says them: no free slot, no
/// image, wrong address, no upgrade, too large.
const FINAL: [i64; 5] = [9, 23, 25, 27, 30];
/// What becomes of them in version 0: unknown, invalid, bad state.
const FINAL_TRANSLATED: [i64; 3] = [1, 3, 6];
/// Number of the image group.
const IMAGE_GROUP: i64 = 1;

fn is_final(answer: &SmpMessage) -> bool {
    match answer.failure() {
        Some((Some(IMAGE_GROUP), rc)) => FINAL.contains(&rc),
        Some((None, rc)) => FINAL_TRANSLATED.contains(&rc),
        _ => false,
    }
}

/// Whether this makes room for another try.
fn changes_the_device(request: &SmpMessage) -> bool {
    let writes_state = is(request, Command::ImageState) && request.is_write();
    writes_state || is(request, Command::ImageErase) || is(request, Command::Reset)
}

/// UPL-09: after such a failure no more data are sent, and it is reported.
///
/// What changes the device, an erase, a state write or a reset, makes room for another try. Chunks of a window
/// may have been under way.
fn refusals_end_the_upload(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // The refusal, and the chunks since.
    let mut refused: Option<(Place, usize)> = None;
    let answered = &view.answered;
    let mut chunks = Chunks::default();
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                chunks.answered(answer);
                if is_final(answer) && answered.contains_key(&at) {
                    refused = refused.or(Some((entry.place, 0)));
                }
            }
            Event::Request(request) if is(request, Command::ImageUpload) => {
                chunks.sent(request);
                let Some((place, since)) = &mut refused else { continue };
                *since += 1;
                if *since > chunks.under_way_at_most() {
                    let off = offset(request).unwrap_or(0);
                    seen.violated(&entry.place, format!("sends data at {off} after the refusal in record {}", place.n));
                    refused = None;
                }
            }
            Event::Request(request) if changes_the_device(request) => refused = None,
            Event::Exited(Some(0)) | Event::Reported { success: true, .. } if refused.take().is_some() => {
                seen.violated(&entry.place, "the upload was refused, and that counts as a success");
            }
            Event::Exited(_) | Event::Reported { .. } => {
                if let Some((place, _)) = refused.take() {
                    seen.met(place.n);
                }
            }
            Event::Started => (refused, chunks) = (None, Chunks::default()),
            _ => {}
        }
    }
    seen.outcome()
}
