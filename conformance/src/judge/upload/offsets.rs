//! Where chunks start.

use std::collections::BTreeSet;

use brickproof_simulator::smp::{Command, SmpMessage};
use brickproof_simulator::trace::{LinkEvent, PowerEvent};

use super::complete;
use crate::judge::view::{Event, View, data_len, is, offset};
use crate::judge::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("UPL-04", follows_returned_offset),
    ("UPL-05", starts_again_with_everything),
    ("UPL-11", gives_up_a_stalled_upload),
];

/// UPL-04: the next chunk starts at the offset that was returned.
fn follows_returned_offset(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut chunks = Chunks::default();
    let mut expected: Option<i64> = None;
    // Set when the initiator may start anew: nothing said yet, link or power lost, an answer missing.
    let mut may_restart = true;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let Some(off) = offset(request) else { continue };
                let in_window = chunks.continues(request);
                match expected {
                    _ if chunks.runs_away() => {
                        seen.violated(&entry.place, format!("chunks go on to {off} whatever the device returns"));
                    }
                    Some(wanted) if off == wanted => {
                        seen.met(entry.place.n);
                        expected = None;
                    }
                    Some(_) if (off == 0 && may_restart) || in_window => {}
                    Some(wanted) => {
                        let what = format!("a chunk starts at {off} after the device returned {wanted}");
                        seen.violated(&entry.place, what);
                    }
                    None => {}
                }
                if chunks.open() {
                    // Without an answer to the chunk before, anything may be tried.
                    may_restart = true;
                }
                chunks.sent(request);
            }
            // A chunk that did not arrive is one without an answer, too.
            Event::Sent(packet) if packet.lost && is(&packet.header, Command::ImageUpload) => may_restart = true,
            Event::Answer(answer) if is(answer, Command::ImageUpload) && chunks.answered(answer) => {
                let returned = offset(answer).filter(|off| !complete(view, *off));
                expected = returned.filter(|_| answer.failure().is_none());
                may_restart = false;
            }
            Event::Step | Event::Power(PowerEvent::Off { .. }) | Event::Link(LinkEvent::Down { .. }) => {
                may_restart = true;
                chunks.forget();
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// UPL-05: when the device returns offset 0 later, everything of the first chunk comes again.
fn starts_again_with_everything(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut first: BTreeSet<&str> = BTreeSet::new();
    let mut chunks = Chunks::default();
    let mut last_offset = 0;
    let mut forgotten = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let fields = keys(request);
                if forgotten && !chunks.continues(request) {
                    forgotten = false;
                    let missing: Vec<_> = first.difference(&fields).copied().collect();
                    if offset(request) != Some(0) {
                        seen.violated(
                            &entry.place,
                            "the device returned offset 0 and the next chunk does not start there",
                        );
                    } else if missing.is_empty() {
                        seen.met(entry.place.n);
                    } else {
                        let what = format!("the upload starts again without {}", missing.join(", "));
                        seen.violated(&entry.place, what);
                    }
                }
                last_offset = offset(request).unwrap_or(0);
                if last_offset == 0 && first.is_empty() {
                    first = fields;
                }
                chunks.sent(request);
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) && chunks.answered(answer) => {
                forgotten |= answer.failure().is_none() && offset(answer) == Some(0) && last_offset > 0;
            }
            Event::Step => forgotten = false,
            _ => {}
        }
    }
    seen.outcome()
}

/// Times that a chunk may be sent from an offset that the device returns again and again.
const STALLED_MAX: u32 = 20;

/// UPL-11: an offset that does not advance is not waited for without end.
fn gives_up_a_stalled_upload(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // The offset that was returned last, and how many chunks have started there since it was returned first.
    let mut stuck: Option<(i64, u32)> = None;
    let answered = &view.answered;
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::ImageUpload) && answered.contains_key(&at) => {
                let returned = offset(answer).filter(|_| answer.failure().is_none());
                stuck = match (returned, stuck) {
                    (Some(off), Some((same, count))) if off == same => Some((off, count)),
                    (Some(off), _) => Some((off, 0)),
                    (None, _) => None,
                };
            }
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let Some((off, count)) = &mut stuck else { continue };
                if offset(request) != Some(*off) {
                    continue;
                }
                *count += 1;
                if *count == STALLED_MAX + 1 {
                    seen.violated(
                        &entry.place,
                        format!("the {count}th chunk starts at {off}, and the device stays there"),
                    );
                } else if *count > 1 {
                    seen.met(entry.place.n);
                }
            }
            Event::Started | Event::Power(_) | Event::Link(_) => stuck = None,
            _ => {}
        }
    }
    seen.outcome()
}

/// Chunks under way, as the initiator can know them.
#[derive(Default)]
pub(super) struct Chunks {
    /// Sequence number, offset and end of chunks without an answer, oldest first.
    open: Vec<(u8, i64, i64)>,
    /// Where the last chunk ended.
    end: Option<i64>,
    /// The device has returned another offset than where its chunk ended.
    turned: bool,
    /// Chunks in a row that went on all the same.
    ahead: usize,
    /// Most chunks that were under way at once.
    window: usize,
}

impl Chunks {
    /// Whether this chunk merely goes on behind the one before: with a window it may have been sent before
    /// the answer to that was seen. Beyond the window it cannot.
    fn continues(&mut self, request: &SmpMessage) -> bool {
        let goes_on = self.end.is_some() && self.end == offset(request);
        self.ahead = if goes_on && self.turned { self.ahead + 1 } else { 0 };
        goes_on && self.window > 1 && self.ahead <= self.window
    }

    /// Whether more chunks went on than a window holds, although the device had returned another offset.
    fn runs_away(&self) -> bool {
        self.window > 1 && self.ahead > self.window
    }

    /// Chunks that may be under way when an answer comes: none, if each has waited for the one before.
    pub(super) fn under_way_at_most(&self) -> usize {
        if self.window > 1 { self.window } else { 0 }
    }

    /// Nothing is under way any more. How many chunks it may be is a habit that stays.
    fn forget(&mut self) {
        *self = Self { window: self.window, ..Self::default() };
    }

    fn open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn sent(&mut self, request: &SmpMessage) {
        let off = offset(request).unwrap_or(0);
        let goes_on = self.end == Some(off);
        self.turned &= goes_on;
        // The same chunk again replaces the one whose answer is missing.
        self.open.retain(|(_, other, _)| *other != off);
        let end = off + data_len(request);
        self.open.push((request.sequence, off, end));
        if goes_on {
            self.window = self.window.max(self.open.len());
        }
        self.end = Some(end);
    }

    /// Whether this answers the last chunk that was sent; an answer to an earlier one is late.
    pub(super) fn answered(&mut self, answer: &SmpMessage) -> bool {
        let Some(at) = self.open.iter().position(|(sequence, ..)| *sequence == answer.sequence) else { return false };
        let end = self.open.drain(..=at).next_back().map(|(.., end)| end);
        self.turned = answer.failure().is_none() && offset(answer) != end;
        self.open.is_empty()
    }
}

fn keys(request: &SmpMessage) -> BTreeSet<&str> {
    request.body.keys().map(String::as_str).collect()
}
