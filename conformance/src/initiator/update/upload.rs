//! The upload of the built-in initiator.
//!
//! Up to a window of chunks is under way. A first chunk travels alone: what the device answers to it decides
//! everything else. When an answer names another offset than where its chunk ended, nothing more is sent
//! until all answers are there; the last of them says where to go on.

use std::collections::VecDeque;

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};

use super::super::policy::FirstChunk;
use super::super::session::{BUSY, Ticket, UPLOAD_OVERHEAD, Value};
use super::super::wire::Wire;
use super::{REQUEST_US, Update, refusal};

/// Length of an image header: a first chunk has at least that.
const HEADER_LEN: usize = 32;
/// Unanswered chunks in a row after which the link counts as lost.
const LINK_LOST_AFTER: u32 = 2;
/// Times that a device is called after the link was lost.
const CALLS_MAX: u32 = 8;
/// Times that the device may forget the upload.
const RESTARTS_MAX: u32 = 8;

/// `rc` of a packet that is shorter than its header announces: the device does not put fragments together.
const CORRUPT: i64 = 9;

/// Why a chunk at offset 0 is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// Nothing was sent before.
    Initial,
    /// The device has returned offset 0.
    Restarted,
    /// The link was lost: the device knows the upload by its `sha`.
    Resumed,
}

/// A chunk without an answer.
struct Open {
    ticket: Ticket,
    offset: usize,
    end: usize,
    /// How long the device may take over it, in microseconds.
    budget_us: u64,
}

/// How far the upload has come.
struct Progress {
    /// Image bytes in a chunk.
    chunk: usize,
    /// Where the next chunk starts.
    next: usize,
    /// What a chunk at offset 0 would be.
    first: First,
    /// Chunks under way, oldest first.
    open: VecDeque<Open>,
    /// An answer has named another offset than expected: the remaining answers are waited for.
    turned: bool,
    /// When the oldest chunk under way began to be the oldest.
    since_us: u64,
    unanswered: u32,
    stalled: u32,
    restarts: u32,
    busy: u32,
    refused: u32,
}

impl Progress {
    fn may_send(&self, goal: usize, window: usize) -> bool {
        let alone = self.next == 0 || self.open.iter().any(|chunk| chunk.offset == 0);
        let room = if alone { self.open.is_empty() } else { self.open.len() < window.max(1) };
        self.next < goal && room && !self.turned
    }

    /// Goes on from this offset, once the answers to everything under way are there.
    fn turn(&mut self, offset: usize) {
        self.next = offset;
        self.turned = !self.open.is_empty();
    }
}

impl<W: Wire> Update<'_, W> {
    /// Image bytes that fit a packet of the device, and chunks that may be under way at once. A device
    /// that does not tell has small buffers.
    pub(super) async fn limits(&mut self) -> Result<(usize, usize), String> {
        let answer = if self.policy.asks_params() {
            self.session.request(Command::Params, Op::Read, &[], REQUEST_US).await
        } else {
            None
        };
        if self.policy.needs_params() && answer.as_ref().is_none_or(|answer| answer.failure().is_some()) {
            return Err("the device does not tell its parameters".into());
        }
        let told = answer.as_ref().filter(|answer| answer.failure().is_none());
        let number = |key: &str| {
            told.and_then(|answer| answer.body.get(key)?.number()).and_then(|number| usize::try_from(number).ok())
        };
        let (told, window) = (number("buf_size"), self.policy.window(number("buf_count")));
        let one_write = self.session.wire.one_write().await;
        Ok((self.chunk_of(self.policy.packet_max(told, one_write)), window))
    }

    /// Image bytes that fit a packet of this size.
    fn chunk_of(&self, packet: usize) -> usize {
        let chunk = packet.saturating_sub(UPLOAD_OVERHEAD).min(self.policy.chunk_max()).max(HEADER_LEN);
        let align = self.policy.chunk_align().clamp(1, HEADER_LEN);
        chunk / align * align
    }

    /// Uploads the image in chunks of at most `chunk` bytes, `window` of them under way at once.
    pub(super) async fn upload(&mut self, chunk: usize, window: usize) -> Result<(), String> {
        let goal = self.job.image.len() * self.policy.uploads_permille().min(1000) / 1000;
        let mut progress = Progress {
            chunk,
            next: 0,
            first: First::Initial,
            open: VecDeque::new(),
            turned: false,
            since_us: 0,
            unanswered: 0,
            stalled: 0,
            restarts: 0,
            busy: 0,
            refused: 0,
        };
        while progress.next < goal || !progress.open.is_empty() {
            while progress.may_send(goal, window) {
                self.send_chunk(&mut progress).await;
            }
            let budget = progress.open.front().map_or(0, |chunk| chunk.budget_us);
            let tickets = progress.open.iter().map(|chunk| chunk.ticket);
            match self.session.answer(tickets, progress.since_us + budget).await {
                None => self.unanswered(&mut progress).await?,
                Some((place, answer)) => self.answered(&mut progress, place, &answer).await?,
            }
        }
        Ok(())
    }

    /// Erases the secondary slot.
    pub(super) async fn erase(&mut self) -> Result<(), String> {
        for _ in 0..self.policy.unanswered_max() {
            let timeout = self.policy.erase_us();
            let Some(answer) = self.session.request(Command::ImageErase, Op::Write, &[], timeout).await else {
                continue;
            };
            if self.policy.is_failure(&answer) {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                return Err(format!("the device refuses to erase: {}", refusal(group, rc)));
            }
            return Ok(());
        }
        Err("the device does not answer the erase".into())
    }

    async fn send_chunk(&mut self, progress: &mut Progress) {
        let total = self.job.image.len();
        let (offset, end) = (progress.next, (progress.next + progress.chunk).min(total));
        let (fields, budget_us) = match (offset, progress.first) {
            (0, First::Initial) => (self.policy.first_chunk(), self.policy.first_chunk_us()),
            (0, First::Restarted) => (self.policy.restarted_chunk(), self.policy.first_chunk_us()),
            (0, First::Resumed) => (self.policy.resumed_chunk(), self.policy.first_chunk_us()),
            _ if end == total => (self.policy.later_chunk(), self.policy.last_chunk_us()),
            _ => (self.policy.later_chunk(), REQUEST_US),
        };
        let body = self.chunk(offset, end, fields);
        progress.restarts += u32::from(offset == 0 && progress.first == First::Restarted);
        let ticket = self.session.send(Command::ImageUpload, Op::Write, &body).await;
        if progress.open.is_empty() {
            // A link may have had to be made first.
            progress.since_us = self.session.wire.now_us();
        }
        progress.open.push_back(Open { ticket, offset, end, budget_us });
        progress.next = end;
    }

    /// The oldest chunk under way has not been answered in time.
    async fn unanswered(&mut self, progress: &mut Progress) -> Result<(), String> {
        let offset = progress.open.front().map_or(0, |chunk| chunk.offset);
        let silent = || {
            let total = self.job.image.len();
            format!("the device stopped answering during the upload, at {offset} of {total} bytes")
        };
        progress.unanswered += 1;
        if progress.unanswered >= self.policy.unanswered_max() {
            return Err(silent());
        }
        progress.open.clear();
        progress.turn(offset);
        if progress.unanswered == LINK_LOST_AFTER {
            if !self.is_there(CALLS_MAX).await {
                return Err(silent());
            }
            // As after a reconnect: the device knows the upload by its sha.
            progress.next = 0;
            progress.first = First::Resumed;
        }
        Ok(())
    }

    async fn answered(&mut self, progress: &mut Progress, place: usize, answer: &SmpMessage) -> Result<(), String> {
        // Answers come in the order of the requests: those that were passed over are lost.
        progress.open.drain(..place);
        let Some(chunk) = progress.open.pop_front() else { return Ok(()) };
        progress.since_us = self.session.wire.now_us();
        progress.unanswered = 0;
        if self.session.changes_version(answer) {
            progress.turn(chunk.offset);
            return Ok(());
        }
        let busy = answer.failure() == Some((None, BUSY));
        if busy && progress.turned {
            // The rest of the window meets the same.
            progress.turn(progress.next);
            return Ok(());
        }
        if busy && progress.busy < self.policy.busy_retries() {
            progress.busy += 1;
            progress.turn(chunk.offset);
            self.session.wire.sleep(self.policy.busy_pause_us()).await;
            return Ok(());
        }
        if answer.failure() == Some((None, CORRUPT))
            && let Some(one_write) = self.session.wire.one_write().await
        {
            let chunk_that_fits = self.chunk_of(one_write);
            if chunk_that_fits < progress.chunk {
                progress.chunk = chunk_that_fits;
                progress.turn(chunk.offset);
                return Ok(());
            }
        }
        if self.policy.is_failure(answer) {
            if !busy && progress.refused < self.policy.refused_retries() {
                progress.refused += 1;
                progress.turn(chunk.offset);
                return Ok(());
            }
            let (group, rc) = answer.failure().unwrap_or((None, 0));
            return Err(format!("the device refuses the image: {}", refusal(group, rc)));
        }
        progress.busy = 0;
        if self.policy.minds_mismatch() && answer.body.get("match").and_then(Field::boolean) == Some(false) {
            return Err("the device says that the uploaded bytes are not those that `sha` announced".into());
        }
        self.go_on(progress, &chunk, answer)
    }

    /// Where the upload goes on after this answer.
    fn go_on(&self, progress: &mut Progress, chunk: &Open, answer: &SmpMessage) -> Result<(), String> {
        let total = self.job.image.len();
        let returned = answer.body.get("off").and_then(Field::number).and_then(|off| usize::try_from(off).ok());
        let next = self.policy.next_offset(chunk.end, returned.unwrap_or(chunk.end));
        if next > total {
            return Err(format!("the device expects offset {next} of an image of {total} bytes"));
        }
        progress.stalled = if next > chunk.offset { 0 } else { progress.stalled + 1 };
        if progress.stalled > self.policy.stalled_max() {
            return Err(format!("the upload does not get beyond {next} bytes"));
        }
        if next == 0 {
            progress.first = First::Restarted;
            if progress.restarts > RESTARTS_MAX {
                return Err("the device forgets the upload again and again".into());
            }
        }
        if next != chunk.end || progress.turned || progress.open.is_empty() {
            progress.turn(next);
        }
        Ok(())
    }

    fn chunk(&self, offset: usize, end: usize, fields: FirstChunk) -> Vec<(&'static str, Value)> {
        let mut body = vec![("off", Value::Number(offset as u64))];
        if let Some(number) = self.policy.image_number(self.job).filter(|_| offset == 0) {
            body.push(("image", Value::Number(number.into())));
        }
        if fields.len {
            body.push(("len", Value::Number(self.job.image.len() as u64)));
        }
        if let Some(sha) = fields.sha.then(|| self.policy.sha(self.job)) {
            body.push(("sha", Value::Bytes(sha)));
        }
        body.push(("data", Value::Bytes(self.policy.data(self.job, offset, end))));
        body
    }
}
