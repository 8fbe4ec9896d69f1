//! Uploading.

use std::collections::BTreeSet;

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::{LinkEvent, PowerEvent, hex};
use sha2::{Digest, Sha256};

use super::view::{Event, View, data_len, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("UPL-01", first_chunk_is_complete),
    ("UPL-04", follows_returned_offset),
    ("UPL-05", starts_again_with_everything),
    ("UPL-06", data_are_the_image),
    ("UPL-10", resumes_by_sha),
];

/// Shortest data of a first chunk: an image header.
const HEADER_LEN: i64 = 32;

/// UPL-01: the first chunk has `off` 0, `len` and at least 32 bytes.
fn first_chunk_is_complete(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut begun = false;
    for entry in &view.entries {
        let Event::Request(request) = &entry.event else { continue };
        if !is(request, Command::ImageUpload) {
            continue;
        }
        if !std::mem::replace(&mut begun, true) && offset(request).is_some_and(|off| off > 0) {
            seen.violated(&entry.place, "the upload begins in the middle");
        }
        match offset(request) {
            None => seen.violated(&entry.place, "a chunk has no `off`"),
            Some(0) if !request.body.contains_key("len") => {
                seen.violated(&entry.place, "a first chunk has no `len`");
            }
            Some(0) if data_len(request) < HEADER_LEN => {
                let len = data_len(request);
                seen.violated(
                    &entry.place,
                    format!("a first chunk has {len} bytes of data, fewer than an image header"),
                );
            }
            Some(0) => seen.met(entry.place.n),
            Some(_) => {}
        }
    }
    seen.outcome()
}

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
            Event::Answer(answer) if is(answer, Command::ImageUpload) && chunks.answered(answer) => {
                let returned = offset(answer).filter(|off| !complete(view, *off));
                expected = returned.filter(|_| answer.failure().is_none());
                may_restart = false;
            }
            Event::Step | Event::Power(PowerEvent::Off { .. }) | Event::Link(LinkEvent::Down { .. }) => {
                may_restart = true;
                chunks = Chunks::default();
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

/// Chunks under way, as the initiator can know them.
#[derive(Default)]
struct Chunks {
    /// Sequence number and offset of chunks without an answer, oldest first.
    open: Vec<(u8, i64)>,
    /// Where the last chunk ended.
    end: Option<i64>,
    /// Chunks in a row that went on although the device had returned something else.
    ahead: u32,
}

/// Chunks that a window may have under way when the device jumps.
const WINDOW_MAX: u32 = 4;

impl Chunks {
    /// Whether this chunk merely goes on behind the one before: it may have been sent before the answer
    /// to that was seen. Beyond a window it cannot.
    fn continues(&mut self, request: &SmpMessage) -> bool {
        let goes_on = self.end.is_some() && self.end == offset(request);
        self.ahead = if goes_on { self.ahead + 1 } else { 0 };
        goes_on && self.ahead <= WINDOW_MAX
    }

    fn open(&self) -> bool {
        !self.open.is_empty()
    }

    fn sent(&mut self, request: &SmpMessage) {
        let off = offset(request).unwrap_or(0);
        // The same chunk again replaces the one whose answer is missing.
        self.open.retain(|(_, other)| *other != off);
        self.open.push((request.sequence, off));
        self.end = Some(off + data_len(request));
    }

    /// Whether this answers the last chunk that was sent; an answer to an earlier one is late.
    fn answered(&mut self, answer: &SmpMessage) -> bool {
        let Some(at) = self.open.iter().position(|(sequence, _)| *sequence == answer.sequence) else { return false };
        self.open.drain(..=at);
        if offset(answer) == self.end {
            self.ahead = 0;
        }
        self.open.is_empty()
    }
}

/// UPL-06: no chunk goes beyond `len`, and its bytes are those of the image.
fn data_are_the_image(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let image = &view.images.update.bytes;
    let mut announced = i64::try_from(image.len()).unwrap_or(i64::MAX);
    for entry in &view.entries {
        let Event::Request(request) = &entry.event else { continue };
        if !is(request, Command::ImageUpload) {
            continue;
        }
        let Some(off) = offset(request) else { continue };
        let Some((len, sha256)) = request.body.get("data").and_then(Field::bytes_sha256) else { continue };
        if off == 0
            && let Some(len) = request.body.get("len").and_then(Field::number)
        {
            announced = len;
        }
        let end = off.saturating_add(i64::try_from(len).unwrap_or(i64::MAX));
        if end > announced {
            seen.violated(&entry.place, format!("a chunk ends at {end} of an upload of {announced} bytes"));
            continue;
        }
        let range = usize::try_from(off).ok().zip(usize::try_from(end).ok()).and_then(|(off, end)| image.get(off..end));
        match range {
            Some(bytes) if hex(&Sha256::digest(bytes)) == sha256 => seen.met(entry.place.n),
            Some(_) => seen.violated(&entry.place, format!("the bytes at offset {off} are not those of the image")),
            None => seen.violated(&entry.place, format!("a chunk ends at {end}, beyond the image")),
        }
    }
    seen.outcome()
}

/// UPL-10: after a lost link the upload is resumed with the same `sha`.
fn resumes_by_sha(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut sha: Option<&str> = None;
    // Highest offset the device has returned in the upload it still knows.
    let mut reached = 0;
    let mut lost = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let given = request.body.get("sha").and_then(Field::hex);
                let off = offset(request).unwrap_or(0);
                if lost && reached > 0 {
                    lost = false;
                    if off == 0 && (given.is_none() || given != sha) {
                        seen.violated(
                            &entry.place,
                            "the upload starts from nothing although the device still knows it",
                        );
                    } else {
                        seen.met(entry.place.n);
                    }
                }
                if off == 0 {
                    sha = given.or(sha);
                }
            }
            Event::Request(request) if is(request, Command::ImageErase) && lost && reached > 0 => {
                seen.violated(&entry.place, "the slot is erased although the device still knows the upload");
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                reached = match offset(answer) {
                    Some(off) if answer.failure().is_none() && !complete(view, off) => off,
                    _ => 0,
                };
            }
            Event::Link(LinkEvent::Down { .. }) => lost = true,
            Event::Power(_) => {
                reached = 0;
                lost = false;
            }
            _ => {}
        }
    }
    seen.outcome()
}

fn complete(view: &View<'_>, offset: i64) -> bool {
    usize::try_from(offset).is_ok_and(|offset| offset >= view.images.update.bytes.len())
}

fn keys(request: &SmpMessage) -> BTreeSet<&str> {
    request.body.keys().map(String::as_str).collect()
}
