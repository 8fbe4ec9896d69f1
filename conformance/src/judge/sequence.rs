//! Sequence numbers, and which answer belongs to which request.

use brickproof_simulator::smp::{Command, SmpMessage};

use super::packet::{Packet, Shape};
use super::view::{Event, Place, View, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("SMP-05", open_requests_differ),
    ("SMP-06", sequence_advances_by_one),
    ("SMP-07", foreign_answers_are_passed_over),
];

/// An answer that left the target so shortly before a repeated request may not have been seen yet, in
/// microseconds.
const CROSSING_US: u64 = 200_000;

/// SMP-05: requests without an answer have different sequence numbers.
///
/// Answers come in the order of the requests, so an answer also ends the wait for everything before it. The
/// same request again is a repetition. A new process, a lost link and a device that starts begin anew.
fn open_requests_differ(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut open: Vec<&Packet<'_>> = Vec::new();
    for entry in &view.entries {
        match &entry.event {
            Event::Sent(packet) if packet.shape != Shape::Part => {
                let same = |other: &&&Packet<'_>| other.header.sequence == packet.header.sequence;
                match open.iter().find(same) {
                    Some(other) if !other.repeats(packet) => {
                        let number = packet.header.sequence;
                        seen.violated(
                            &entry.place,
                            format!("two requests without an answer both have number {number}"),
                        );
                    }
                    _ if open.is_empty() => {}
                    _ => seen.met(entry.place.n),
                }
                open.retain(|other| other.header.sequence != packet.header.sequence);
                open.push(packet);
            }
            Event::Answer(answer) => {
                if let Some(at) = open.iter().position(|packet| belongs(answer, &packet.header)) {
                    open.drain(..=at);
                }
            }
            Event::Started | Event::Link(_) | Event::Power(_) | Event::Boot(_) => open.clear(),
            _ => {}
        }
    }
    seen.outcome()
}

fn belongs(answer: &SmpMessage, request: &SmpMessage) -> bool {
    (answer.group, answer.command, answer.sequence) == (request.group, request.command, request.sequence)
}

/// SMP-06: the sequence number of every new request is one more than that of the last, modulo 256.
fn sequence_advances_by_one(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut last: Option<&Packet<'_>> = None;
    let mut answered_at: Option<u64> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Sent(packet) if packet.shape != Shape::Part => {
                let number = packet.header.sequence;
                if let Some(last) = last {
                    let before = last.header.sequence;
                    let waited = answered_at.is_none_or(|at| entry.place.at_us.saturating_sub(at) <= CROSSING_US);
                    let again = number == before && packet.repeats(last) && waited;
                    if number == before.wrapping_add(1) {
                        seen.met(entry.place.n);
                    } else if !again {
                        seen.violated(&entry.place, format!("sequence number {number} follows {before}"));
                    }
                }
                last = Some(packet);
                answered_at = None;
            }
            Event::Answer(answer) if last.is_some_and(|last| belongs(answer, &last.header)) => {
                answered_at = Some(entry.place.at_us);
            }
            // The packet may be one that is not seen here.
            Event::Line(line) if line.lost || line.error.is_some() || line.abandoned > 0 => last = None,
            // A client may count anew on a new link.
            Event::Started | Event::Link(_) | Event::Power(_) | Event::Boot(_) => last = None,
            _ => {}
        }
    }
    seen.outcome()
}

/// What a foreign answer to an upload said.
struct Foreign<'a> {
    place: Place,
    answer: &'a SmpMessage,
    /// The true answer, once it is there.
    truth: Option<&'a SmpMessage>,
}

/// SMP-07: an answer whose number belongs to no open request changes nothing.
///
/// Seen in uploads, where what was taken from an answer shows in the next chunk, or in the end of it all.
fn foreign_answers_are_passed_over(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let answered = &view.answered;
    let mut foreign: Option<Foreign<'_>> = None;
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) && !answered.contains_key(&at) => {
                foreign = Some(Foreign { place: entry.place, answer, truth: None });
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                if let Some(foreign) = &mut foreign {
                    foreign.truth = Some(answer);
                }
            }
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let Some(Foreign { place, answer, truth: Some(truth) }) = foreign.take() else { continue };
                let (said, wanted, off) = (offset(answer), offset(truth), offset(request));
                if truth.failure().is_some() || wanted.is_none() {
                    // What follows a refusal has other reasons.
                } else if off == wanted {
                    seen.met(place.n);
                } else if said == off {
                    let off = off.unwrap_or(0);
                    seen.violated(
                        &entry.place,
                        format!("a chunk starts at {off}, as an answer to no open request said"),
                    );
                }
            }
            Event::Exited(_) | Event::Reported { .. } => {
                let Some(Foreign { place, answer, truth: Some(truth) }) = foreign.take() else { continue };
                let bad = !matches!(entry.event, Event::Exited(Some(0)) | Event::Reported { success: true, .. });
                if bad && answer.failure().is_some() && truth.failure().is_none() {
                    seen.violated(&entry.place, "fails because of an answer to no open request");
                } else {
                    seen.met(place.n);
                }
            }
            Event::Started | Event::Link(_) | Event::Power(_) => foreign = None,
            _ => {}
        }
    }
    seen.outcome()
}
