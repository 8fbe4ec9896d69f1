//! Which image came back.

use brickproof_simulator::smp::Command;
use brickproof_simulator::trace::StepBy;

use crate::judge::view::{Event, View, active, confirms, is, listed, offset, writes_state};
use crate::judge::{CheckOutcome, Seen};

/// STA-07: after the reset, an image is confirmed only when the list shows it running.
///
/// The reset that is meant is the one that swaps the update in: others clear the way for it.
pub(super) fn confirms_what_runs(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let (mut on_device, mut reset) = (false, false);
    let mut running: Option<String> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => {
                reset |= on_device;
                running = None;
            }
            Event::Boot(_) => running = None,
            Event::Answer(answer) if is(answer, Command::ImageUpload) && answer.failure().is_none() => {
                let reached = offset(answer).and_then(|off| usize::try_from(off).ok());
                on_device |= reached.is_some_and(|reached| reached > 0);
            }
            Event::Answer(answer) if is(answer, Command::ImageState) => {
                running = active(answer).map(str::to_owned);
                on_device |= listed(answer).unwrap_or_default().iter().any(|image| image.hash == update.as_deref());
            }
            Event::Request(request)
                if writes_state(request) && confirms(request) && reset && entry.by == StepBy::Tool =>
            {
                match &running {
                    Some(hash) if Some(hash) == update.as_ref() => seen.met(entry.place.n),
                    Some(_) => seen.violated(&entry.place, "confirms although the list shows another image running"),
                    None => seen.violated(&entry.place, "confirms without having looked which image runs"),
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-08: when another image than the new one runs after the reset, the initiator says that the update
/// failed.
///
/// What counts is which image the initiator left running, also when it did not stay to see it.
pub(super) fn reports_a_revert(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    if view.left_running().is_none() || view.left_running().map(str::to_owned) == view.update_hash() {
        return CheckOutcome::NotExercised;
    }
    let mut reset = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => reset = true,
            Event::Reported { success, message } if reset && entry.by == StepBy::Tool => {
                if *success {
                    seen.violated(
                        &entry.place,
                        format!("the new image does not run, and it reports success: {message}"),
                    );
                } else {
                    seen.met(entry.place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
