//! Testing, confirming and noticing what became of it.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::{StepBy, hex};

use super::view::{Event, View, active, confirms, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("STA-02", hash_is_from_the_image),
    ("STA-03", marked_before_reset),
    ("STA-07", confirms_what_runs),
    ("STA-08", reports_a_revert),
];

/// STA-02: the hash in a state write is that of the TLV area, never that of the file.
fn hash_is_from_the_image(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let file = hex(&view.images.update.sha256);
    let mut asked = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageState) && request.is_write() => {
                let hash = request.body.get("hash").and_then(Field::hex).filter(|hash| !hash.is_empty());
                // A hash that the recipe filled in is ours.
                let Some(hash) = hash.filter(|_| entry.by == StepBy::Tool) else { continue };
                asked = Some(hash);
                if hash == file && view.update_hash().as_deref() != Some(hash) {
                    seen.violated(&entry.place, "the hash is the SHA-256 of the file");
                } else if Some(hash) == view.update_hash().as_deref() {
                    seen.met(entry.place.n);
                }
            }
            Event::Answer(answer)
                if is(answer, Command::ImageState)
                    && asked.take().is_some_and(|hash| hash != file)
                    && answer.failure() == Some((Some(1), 8)) =>
            {
                seen.violated(&entry.place, "the device knows no image with this hash");
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-03: the image is marked, for test or for good, before the reset.
fn marked_before_reset(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let (mut uploaded, mut marked) = (false, false);
    for entry in &view.entries {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) && answer.failure().is_none() => {
                let complete =
                    usize::try_from(offset(answer).unwrap_or(0)).unwrap_or(0) >= view.images.update.bytes.len();
                if complete {
                    (uploaded, marked) = (true, false);
                }
            }
            Event::Answer(answer) if is(answer, Command::ImageState) && answer.failure().is_none() => {
                // An image that runs already needs no mark: power was lost after it was written.
                marked |= shows_pending(answer) || active(answer) == view.update_hash().as_deref();
            }
            Event::Request(request) if is(request, Command::Reset) && uploaded && entry.by == StepBy::Tool => {
                if marked {
                    seen.met(entry.place.n);
                } else {
                    seen.violated(
                        &entry.place,
                        "the reset comes after the upload, and nothing was marked for test or for good",
                    );
                }
                uploaded = false;
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// Whether a list shows an image that the next boot swaps in.
fn shows_pending(answer: &SmpMessage) -> bool {
    let images = answer.body.get("images").and_then(Field::list).unwrap_or_default();
    images.iter().any(|image| image.get("pending").and_then(Field::boolean) == Some(true))
}

/// STA-07: after the reset, an image is confirmed only when the list shows it running.
fn confirms_what_runs(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut reset = false;
    let mut listed: Option<String> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => {
                (reset, listed) = (true, None);
            }
            Event::Boot(_) => listed = None,
            Event::Answer(answer) if is(answer, Command::ImageState) => {
                listed = active(answer).map(str::to_owned);
            }
            Event::Request(request)
                if is(request, Command::ImageState)
                    && request.is_write()
                    && confirms(request)
                    && reset
                    && entry.by == StepBy::Tool =>
            {
                match &listed {
                    Some(hash) if Some(hash) == view.update_hash().as_ref() => seen.met(entry.place.n),
                    Some(_) => seen.violated(&entry.place, "confirms although the list shows another image running"),
                    None => seen.violated(&entry.place, "confirms without having looked which image runs"),
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-08: when the old image runs after the reset, the initiator says that the update failed.
///
/// What counts is which image the initiator left running, also when it did not stay to see it.
fn reports_a_revert(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    if view.left_running().map(str::to_owned) != view.installed_hash() {
        return CheckOutcome::NotExercised;
    }
    let mut reset = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => reset = true,
            Event::Reported { success, message } if reset && entry.by == StepBy::Tool => {
                if *success {
                    seen.violated(&entry.place, format!("the old image runs, and it reports success: {message}"));
                } else {
                    seen.met(entry.place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
