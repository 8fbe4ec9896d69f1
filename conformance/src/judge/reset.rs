//! The reset and the time after it.

use brickproof_simulator::smp::{Command, SmpMessage};
use brickproof_simulator::trace::StepBy;

use super::view::{Event, View, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] =
    &[("RST-01", after_the_upload), ("RST-02", lost_answer_is_no_failure), ("RST-03", waits_for_the_swap)];

/// A boot that takes so long tests an initiator's patience, in microseconds.
const LONG_BOOT_US: u64 = 10_000_000;

/// RST-01: the reset comes after the whole upload and after all answers.
fn after_the_upload(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // Requests without an answer; a repeated request replaces the one it repeats.
    let mut open: Vec<&SmpMessage> = Vec::new();
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
                let same = |other: &SmpMessage| {
                    (other.group, other.command, other.op, offset(other))
                        == (request.group, request.command, request.op, offset(request))
                };
                open.retain(|other| !same(other));
                open.push(request);
                if is(request, Command::ImageUpload) && offset(request) == Some(0) {
                    reached = None;
                }
            }
            Event::Answer(answer) => {
                let key = |message: &SmpMessage| (message.group, message.command, message.sequence);
                open.retain(|request| key(request) != key(answer));
                if is(answer, Command::ImageUpload) && answer.failure().is_none() {
                    let offset = offset(answer).and_then(|offset| usize::try_from(offset).ok());
                    // A late answer does not take back what a later one has said.
                    reached = reached.max(offset);
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
fn lost_answer_is_no_failure(view: &View<'_>) -> CheckOutcome {
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
fn waits_for_the_swap(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut reset = false;
    let mut gave_up = None;
    let mut long_boot = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::Reset) && entry.by == StepBy::Tool && !reset => {
                reset = true;
            }
            Event::Reported { success: false, message } if reset && !long_boot => {
                gave_up = Some((entry.place, *message));
            }
            Event::Boot(boot) if reset && boot.duration_us >= LONG_BOOT_US => {
                long_boot = true;
                if let Some((place, message)) = gave_up.take() {
                    let seconds = boot.duration_us / 1_000_000;
                    seen.violated(&place, format!("it gave up while the device swapped for {seconds} s: {message}"));
                }
            }
            // Still there when the device is back.
            Event::Request(_) if long_boot && entry.by == StepBy::Tool => seen.met(entry.place.n),
            _ => {}
        }
    }
    seen.outcome()
}
