//! Asking again: in another version, later, not for ever.

use brickproof_simulator::smp::{Command, SmpMessage};

use super::packet::Shape;
use super::view::{Event, Place, View, is, same};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] =
    &[("SMP-11", follows_the_version), ("SMP-13", busy_devices_get_time), ("SMP-14", retries_are_bounded)];

/// `rc` of a device that does not speak the version of a request: too old, too new.
const WRONG_VERSION: [i64; 2] = [12, 13];
/// `rc` of a device that wants to be asked again later.
const BUSY: i64 = 10;
/// Requests in the old version that may be under way when the answer comes.
const UNDER_WAY: u32 = 8;
/// Shortest pause before a busy device is asked again, in microseconds.
const PAUSE_MIN_US: u64 = 50_000;
/// Times that a busy device may be asked the same, and that a request may be repeated without an answer.
const REPEATED_MAX: u32 = 20;

/// A device that speaks another version.
struct Other<'a> {
    place: Place,
    /// The version that it does not speak.
    version: u8,
    answer: &'a SmpMessage,
    /// Requests since in that version.
    since: u32,
}

/// SMP-11: after a refusal of the version, or an answer in version 0, requests have the other version.
fn follows_the_version(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let answered = &view.answered;
    let mut other: Option<Other<'_>> = None;
    // Each process is judged by the first time.
    let mut judged = false;
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if other.is_none() && !judged => {
                let Some(request) = answered.get(&at).and_then(|at| view.request(*at)) else { continue };
                let refused =
                    answer.failure().is_some_and(|(group, rc)| group.is_none() && WRONG_VERSION.contains(&rc));
                if refused || answer.version < request.version {
                    other = Some(Other { place: entry.place, version: request.version, answer, since: 0 });
                }
            }
            Event::Sent(packet) if packet.shape != Shape::Part => {
                let Some(other_version) = &mut other else { continue };
                if packet.header.version != other_version.version {
                    seen.met(other_version.place.n);
                    (other, judged) = (None, true);
                    continue;
                }
                other_version.since += 1;
                if other_version.since > UNDER_WAY {
                    let what = format!("goes on in version {} after {}", other_version.version, why(other_version));
                    seen.violated(&entry.place, what);
                    (other, judged) = (None, true);
                }
            }
            Event::Exited(_) | Event::Reported { .. } => {
                let bad = !matches!(entry.event, Event::Exited(Some(0)) | Event::Reported { success: true, .. });
                if let Some(other) = other.take().filter(|other| bad && other.answer.failure().is_some()) {
                    seen.violated(&entry.place, format!("gives up after {}", why(&other)));
                }
            }
            Event::Started => (other, judged) = (None, false),
            _ => {}
        }
    }
    seen.outcome()
}

fn why(other: &Other<'_>) -> String {
    match other.answer.failure() {
        Some((_, rc)) => format!("its refusal with rc {rc}"),
        None => format!("an answer in version {}", other.answer.version),
    }
}

/// SMP-13: a busy device is asked again after a pause, and not without end.
fn busy_devices_get_time(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let answered = &view.answered;
    // Requests that the device was busy for, when, and how often in a row; several with a window.
    let mut busy: Vec<(&SmpMessage, Place, u32)> = Vec::new();
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if is_needed(answer) => {
                let Some(request) = answered.get(&at).and_then(|at| view.request(*at)) else { continue };
                if answer.failure() != Some((None, BUSY)) {
                    busy.retain(|(other, ..)| (other.group, other.command) != (request.group, request.command));
                    continue;
                }
                let place = busy.iter().position(|(other, ..)| same(other, request));
                let count = place.map_or(0, |place| busy.remove(place).2) + 1;
                if count > REPEATED_MAX {
                    seen.violated(&entry.place, format!("asks a busy device the same for the {count}th time"));
                    continue;
                }
                busy.push((request, entry.place, count));
            }
            Event::Request(request) => {
                let Some((asked, place, _)) = busy.iter().find(|(asked, ..)| same(asked, request)) else { continue };
                let pause = entry.place.at_us.saturating_sub(place.at_us);
                if pause < PAUSE_MIN_US {
                    let name = asked.name.as_deref().unwrap_or("a request");
                    let pause = pause / 1000;
                    seen.violated(&entry.place, format!("repeats `{name}` {pause} ms after the device was busy"));
                    busy.clear();
                } else {
                    seen.met(place.n);
                }
            }
            Event::Exited(_) | Event::Reported { .. } => {
                let bad = !matches!(entry.event, Event::Exited(Some(0)) | Event::Reported { success: true, .. });
                if bad && !busy.is_empty() && busy.iter().all(|(.., count)| *count == 1) {
                    seen.violated(&entry.place, "gives up when the device is busy once");
                }
                busy.clear();
            }
            Event::Started | Event::Power(_) => busy.clear(),
            _ => {}
        }
    }
    seen.outcome()
}

/// Commands that an update cannot do without. A reset that is vetoed is another matter.
fn is_needed(message: &SmpMessage) -> bool {
    [Command::ImageUpload, Command::ImageState, Command::ImageErase].into_iter().any(|command| is(message, command))
}

/// SMP-14: no request that arrives is repeated for ever without an answer.
fn retries_are_bounded(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut asked: Vec<(&SmpMessage, u32)> = Vec::new();
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) => {
                let Some((_, count)) = asked.iter_mut().find(|(other, _)| same(other, request)) else {
                    asked.push((request, 1));
                    continue;
                };
                *count += 1;
                if *count == REPEATED_MAX + 1 {
                    let name = request.name.as_deref().unwrap_or("a request");
                    seen.violated(&entry.place, format!("`{name}` is sent for the {count}th time without any answer"));
                } else {
                    seen.met(entry.place.n);
                }
            }
            Event::Answer(answer) => {
                asked.retain(|(request, _)| (request.group, request.command) != (answer.group, answer.command));
            }
            Event::Started | Event::Link(_) | Event::Power(_) => asked.clear(),
            _ => {}
        }
    }
    seen.outcome()
}
