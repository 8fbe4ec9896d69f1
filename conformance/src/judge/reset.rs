//! The reset and the time after it.

use std::collections::BTreeSet;

use brickproof_simulator::smp::Command;
use brickproof_simulator::trace::StepBy;

use super::view::{Event, View, is, offset};
use super::{CheckOutcome, Seen};

/// A boot that takes so long tests an initiator's patience, in microseconds.
const LONG_BOOT_US: u64 = 10_000_000;

/// RST-01: the reset comes after the whole upload and after all answers.
pub(super) fn after_the_upload(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut open: BTreeSet<(u16, u8, u8)> = BTreeSet::new();
    let mut reached: Option<usize> = None;
    let total = view.images.update.bytes.len();
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => {
                if entry.by == StepBy::Tool {
                    match reached {
                        Some(bytes) if bytes < total => {
                            seen.violated(&entry.place, format!("the reset comes after {bytes} of {total} bytes"));
                        }
                        _ if !open.is_empty() => {
                            seen.violated(
                                &entry.place,
                                format!("the reset comes while {} answers are open", open.len()),
                            );
                        }
                        Some(_) => seen.met(entry.place.n),
                        None => {}
                    }
                }
                reached = None;
            }
            Event::Request(request) => {
                open.insert((request.group, request.command, request.sequence));
            }
            Event::Answer(answer) => {
                open.remove(&(answer.group, answer.command, answer.sequence));
                if is(answer, Command::ImageUpload) && answer.failure().is_none() {
                    reached = offset(answer).and_then(|offset| usize::try_from(offset).ok());
                }
            }
            // What was open before is answered by nobody any more.
            Event::Power(_) | Event::Link(_) | Event::Step => open.clear(),
            _ => {}
        }
    }
    seen.outcome()
}

/// RST-02: a missing answer to a reset is no failure when the device did reset.
pub(super) fn lost_answer_is_no_failure(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let updated = view.update_hash().is_some() && view.left_running().map(str::to_owned) == view.update_hash();
    // The reset whose answer is missing.
    let mut unanswered = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) => unanswered = Some(entry.place),
            Event::Answer(answer) if is(answer, Command::Reset) => unanswered = None,
            Event::Exited(code) if entry.by == StepBy::Recipe => match (unanswered.take(), code) {
                (None, _) => {}
                (Some(place), Some(0)) => seen.met(place.n),
                (Some(_), code) => {
                    let code = code.map_or("a signal".to_owned(), |code| code.to_string());
                    let what = "the answer to the reset is lost, the device resets, and the tool ends with";
                    seen.violated(&entry.place, format!("{what} {code}"));
                }
            },
            Event::Reported { success, message } if entry.by == StepBy::Tool => match unanswered.take() {
                Some(place) if *success => seen.met(place.n),
                Some(_) if updated => {
                    let what = "the answer to the reset is lost, the device resets, and it reports a failure";
                    seen.violated(&entry.place, format!("{what}: {message}"));
                }
                Some(_) | None => {}
            },
            _ => {}
        }
    }
    seen.outcome()
}

/// RST-03: the initiator waits until the device is back, however long the swap takes.
pub(super) fn waits_for_the_swap(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut reset_at = None;
    let mut reported = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) && entry.by == StepBy::Tool => {
                reset_at = Some(entry.place);
            }
            Event::Reported { success: false, message } if reset_at.is_some() => {
                reported = Some((entry.place, *message));
            }
            Event::Boot(boot) if boot.duration_us >= LONG_BOOT_US && reset_at.is_some() => {
                if let Some((place, message)) = reported {
                    let seconds = boot.duration_us / 1_000_000;
                    seen.violated(&place, format!("it gave up while the device swapped for {seconds} s: {message}"));
                } else {
                    seen.met(entry.place.n);
                }
                reset_at = None;
            }
            _ => {}
        }
    }
    seen.outcome()
}
