//! SMP itself.

use brickproof_simulator::smp::{Command, SmpMessage};
use brickproof_simulator::trace::StepBy;

use super::view::{Event, View, is, offset, words};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("SMP-08", failures_are_recognised)];

/// SMP-08: both `rc` and `err` are failures, whatever the version of the header.
fn failures_are_recognised(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // A failed request that matters, until something shows that it was noticed.
    let mut failed: Option<&SmpMessage> = None;
    let mut failed_chunk = None;
    let mut failed_at = None;
    // Where the last chunk started, and whether the update is past its reset.
    let (mut chunk, mut was_reset) = (0, false);
    // Chunks under way, and whether there were ever several.
    let (mut open, mut windows) = (0, false);
    for (place, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) => open = 0.max(open - 1),
            Event::Request(request) if is(request, Command::ImageUpload) => {
                open += 1;
                windows |= open > 1 && offset(request) > Some(chunk);
            }
            _ => {}
        }
        match &entry.event {
            Event::Answer(answer) if matters(answer) => {
                failed = answer.failure().is_some().then_some(answer);
                failed_at = failed.map(|_| entry.place);
                failed_chunk = view.answered.get(&place).and_then(|at| view.request(*at)).and_then(offset);
            }
            Event::Request(request) if entry.by == StepBy::Tool => {
                let again = is(request, Command::ImageUpload) && offset(request) <= failed_chunk.or(Some(chunk));
                if let Some(at) = failed_at.filter(|_| again) {
                    // Once more from there: it was not taken for a success.
                    seen.met(at.n);
                    (failed, failed_at) = (None, None);
                }
                // Past the reset, another one is how a device is sent back to its old image.
                let back = was_reset && is(request, Command::Reset);
                was_reset |= is(request, Command::Reset);
                if is(request, Command::ImageUpload) {
                    chunk = offset(request).unwrap_or(0);
                }
                // A window may have been on its way when the answer left.
                let crossing = windows
                    && is(request, Command::ImageUpload)
                    && failed_at.is_some_and(|at| entry.place.at_us.saturating_sub(at.at_us) <= CROSSING_US);
                if let Some(answer) = failed
                    && !back
                    && !crossing
                    && goes_on(answer, request)
                {
                    let what = name(request);
                    seen.violated(
                        &entry.place,
                        format!("goes on with `{what}` after `{}` {}", name(answer), words(answer)),
                    );
                    failed = None;
                }
            }
            Event::Exited(code) if entry.by == StepBy::Recipe => {
                if let (Some(answer), Some(0)) = (failed, code) {
                    let words = words(answer);
                    seen.violated(&entry.place, format!("exits with 0 after `{}` {words}", name(answer)));
                } else if let Some(at) = failed_at {
                    seen.met(at.n);
                }
                (failed, failed_at) = (None, None);
            }
            Event::Reported { success, .. } if entry.by == StepBy::Tool => {
                if let (Some(answer), true) = (failed, *success) {
                    seen.violated(&entry.place, format!("reports success after `{}` {}", name(answer), words(answer)));
                } else if let Some(at) = failed_at {
                    seen.met(at.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// A chunk that arrives so shortly after an answer left was sent before that was seen, in microseconds.
const CROSSING_US: u64 = 50_000;
/// Op of the answer to a write.
const WRITE_RESPONSE: u8 = 3;

/// Commands whose failure ends an update; a device may lack anything else.
fn matters(answer: &SmpMessage) -> bool {
    [Command::ImageUpload, Command::ImageState, Command::ImageErase, Command::Reset]
        .into_iter()
        .any(|command| is(answer, command))
}

/// Whether this request shows that the failure was taken for a success.
fn goes_on(failed: &SmpMessage, request: &SmpMessage) -> bool {
    if is(failed, Command::ImageUpload) {
        return is(request, Command::ImageUpload)
            || (is(request, Command::ImageState) && request.is_write())
            || is(request, Command::Reset);
    }
    is(failed, Command::ImageState) && failed.op == WRITE_RESPONSE && is(request, Command::Reset)
}

fn name(message: &SmpMessage) -> &str {
    message.name.as_deref().unwrap_or("a request")
}
