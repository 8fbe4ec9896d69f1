//! How long the device may take.

use brickproof_simulator::smp::{Command, SmpMessage};

use super::complete;
use crate::judge::view::{Event, Place, View, data_len, is, offset};
use crate::judge::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UPL-07", first_and_last_chunk_get_time), ("UPL-13", erase_gets_time)];

/// How long the answers to a first chunk, a last chunk and an erase are waited for at least, in microseconds.
const FIRST_CHUNK_US: u64 = 40_000_000;
const LAST_CHUNK_US: u64 = 20_000_000;
const ERASE_US: u64 = 75_000_000;
/// An answer that takes so long tests an initiator's patience, in microseconds.
const LONG_US: u64 = 10_000_000;
/// Clocks do not agree to the microsecond, and packets take time, in microseconds.
const TOLERANCE_US: u64 = 250_000;

/// UPL-07: the first chunk is given at least 40 s, the last at least 20 s.
fn first_and_last_chunk_get_time(view: &View<'_>) -> CheckOutcome {
    waits(view, |request| {
        let off = offset(request).filter(|_| is(request, Command::ImageUpload))?;
        if off == 0 { Some(FIRST_CHUNK_US) } else { complete(view, off + data_len(request)).then_some(LAST_CHUNK_US) }
    })
}

/// UPL-13: an erase is given at least 75 s.
fn erase_gets_time(view: &View<'_>) -> CheckOutcome {
    waits(view, |request| is(request, Command::ImageErase).then_some(ERASE_US))
}

/// A request whose answer may take its time.
struct Slow<'a> {
    message: &'a SmpMessage,
    /// Where its answer is, and when it left.
    answer: usize,
    answered_us: u64,
    asked: Place,
    budget_us: u64,
}

/// Whether this request, sent before the answer to `slow` is there, shows that it is not waited for any more: it
/// comes again, or something is done that needs it. What looks at the device, or goes on behind it, does not.
fn gives_up(slow: &SmpMessage, request: &SmpMessage) -> bool {
    let again = (request.group, request.command) == (slow.group, slow.command)
        && offset(request).unwrap_or(0) <= offset(slow).unwrap_or(0);
    let marks = is(request, Command::ImageState) && request.is_write();
    let uploads = is(request, Command::ImageUpload) && is(slow, Command::ImageErase);
    again || marks || uploads || is(request, Command::Reset)
}

/// Judges how long requests with a budget are waited for: only such as the device did answer, and only as long
/// as it was at work.
fn waits(view: &View<'_>, budget: impl Fn(&SmpMessage) -> Option<u64>) -> CheckOutcome {
    let mut seen = Seen::default();
    let answers = &view.answered;
    let slow = answers.iter().filter_map(|(answer, request)| {
        let (entry, answered_us) = (view.entries.get(*request)?, view.entries.get(*answer)?.place.at_us);
        let Event::Request(message) = &entry.event else { return None };
        Some((
            *request,
            Slow { message, answer: *answer, answered_us, asked: entry.place, budget_us: budget(message)? },
        ))
    });
    for (request, slow) in slow {
        let took = slow.answered_us - slow.asked.at_us;
        let patience = slow.budget_us.min(took).saturating_sub(TOLERANCE_US);
        let meanwhile = view.entries.get(request + 1..slow.answer).unwrap_or_default();
        let gave_up = meanwhile.iter().find_map(|entry| {
            let waited = entry.place.at_us - slow.asked.at_us;
            let what = match &entry.event {
                Event::Request(other) if gives_up(slow.message, other) => "sends something else",
                Event::Exited(_) | Event::Reported { .. } => "ends",
                _ => return None,
            };
            (waited < patience).then_some((entry.place, waited, what))
        });
        match gave_up {
            Some((place, waited, what)) => {
                let (waited, took) = (waited / 1_000_000, took / 1_000_000);
                seen.violated(&place, format!("{what} after {waited} s of the {took} s that the device takes"));
            }
            None if took >= LONG_US => seen.met(slow.asked.n),
            None => {}
        }
    }
    seen.outcome()
}
