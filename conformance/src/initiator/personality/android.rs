//! nRF Connect Device Manager for Android.
//!
//! | step | request | budget | source |
//! |---|---|---|---|
//! | connect | parameters; a failure is ignored | 1 s, 30 s for the link | `McuMgrBleTransport.initialize` |
//! | validate | bootloader info, mode; failures are ignored | 2.5 s | `task/Validate` |
//! | | list | 5 s | |
//! | reset first | while the other slot is pending, or confirmed and not active; then validate again | 2.5 s | `task/ResetBeforeUpload` |
//! | upload | first chunk, last chunk, others | 40 s, 20 s, 2.5 s | `transfer/ImageUploader`, `Uploader` |
//! | test or confirm | with the hash; the list must show it pending, or permanent or confirmed | 2.5 s | `task/Test`, `task/Confirm` |
//! | reset | an answer that is missing is taken for a lost link | 2.5 s | `task/Reset` |
//! | confirm after reset | with the hash, without a look which image runs | 2.5 s | `task/ConfirmAfterReset` |
//!
//! With a window of one chunk another uploader is used, which ends at the first unanswered chunk
//! (`ImageManager.imageUpload`, `TransferCallable`). With more, a chunk may fail five times, and chunks
//! behind a first one are under way at once. Paths are those in
//! `mcumgr-core/src/main/java/no/nordicsemi/android/mcumgr/` of Android-nRF-Connect-Device-Manager.

use std::collections::{BTreeMap, VecDeque};

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage, Version};
use brickproof_simulator::trace::{StepBy, hex};

use super::{
    Bootloader, CONNECT_US, Caller, DISCONNECT_US, Job, Mode, PACKET_DEFAULT, Ticket, Value, Wire, packet_overhead,
    refused,
};
use crate::initiator::update::Entry;

/// `McuManager.SHORT_TIMEOUT`, in microseconds.
const SHORT_US: u64 = 2_500_000;
/// `McuManager.MEDIUM_TIMEOUT`, in microseconds.
const MEDIUM_US: u64 = 5_000_000;
/// `McuManager.DEFAULT_TIMEOUT`, in microseconds.
const DEFAULT_US: u64 = 40_000_000;
/// Budget of a last chunk, in microseconds.
const LAST_US: u64 = 20_000_000;
/// How long Android tries to connect to a device that does not advertise, in microseconds.
const LINK_US: u64 = 30_000_000;
/// `MAX_CHUNK_FAILURES`.
const CHUNK_FAILURES_MAX: u32 = 5;
/// `TargetImage.SLOT_SECONDARY`.
const TARGET_SLOT: i64 = 1;
/// Validations, each of which may ask for a reset; the client has no limit.
const VALIDATIONS_MAX: u32 = 8;

/// What is left to do after a validation.
#[derive(Debug, Default)]
struct Tasks {
    upload: bool,
    test: bool,
    confirm: bool,
    reset: bool,
    confirm_after_reset: bool,
}

struct Android<'a, W> {
    wire: &'a mut W,
    job: &'a Job,
    mode: Mode,
    caller: Caller,
    /// Longest packet in bytes.
    packet: usize,
    hash: String,
}

pub(super) async fn run<W: Wire>(wire: &mut W, job: &Job, mode: Mode, window: usize) -> Result<String, String> {
    let caller = Caller { version: Version::V1, sequence: 0, adopts: false };
    let hash = hex(&job.tlv_hash);
    Android { wire, job, mode, caller, packet: PACKET_DEFAULT, hash }.run(window).await
}

impl<W: Wire> Android<'_, W> {
    async fn run(&mut self, window: usize) -> Result<String, String> {
        self.connect().await?;
        let mut tasks = None;
        for _ in 0..VALIDATIONS_MAX {
            self.step("list");
            tasks = self.validate().await?;
            if tasks.is_some() {
                break;
            }
            self.step("reset");
            self.reset().await?;
            self.connect().await?;
        }
        let tasks = tasks.ok_or("the device stays in a state in which it cannot be updated")?;
        if tasks.upload {
            self.step("upload");
            if window > 1 { self.upload_window(window).await? } else { self.upload_one_by_one().await? }
        }
        if tasks.test {
            self.step("test");
            self.write_state(false).await?;
        }
        if tasks.confirm {
            self.step("confirm");
            self.write_state(true).await?;
        }
        if tasks.reset {
            self.step("reset");
            self.reset().await?;
        }
        if tasks.confirm_after_reset {
            self.step("wait");
            self.connect().await?;
            self.step("confirm");
            self.write_state(true).await?;
        }
        Ok("upgrade completed".into())
    }

    fn step(&mut self, name: &str) {
        super::step(self.wire, name, StepBy::Tool);
    }

    /// Connects and reads the parameters, as the transport does with every new link.
    async fn connect(&mut self) -> Result<(), String> {
        let until = self.wire.now_us() + LINK_US;
        while self.wire.now_us() < until {
            // A new link counts anew.
            self.caller.sequence = 0;
            let Some(answer) = self.caller.ask(self.wire, Command::Params, Op::Read, &[], CONNECT_US).await else {
                continue;
            };
            let size = answer.body.get("buf_size").and_then(Field::number).and_then(|size| usize::try_from(size).ok());
            self.packet = size.filter(|_| answer.failure().is_none()).unwrap_or(PACKET_DEFAULT);
            return Ok(());
        }
        Err("the device cannot be connected to".into())
    }

    /// What is to be done; `None` when a reset has to come first.
    async fn validate(&mut self) -> Result<Option<Tasks>, String> {
        let bootloader = Bootloader::ask(&mut self.caller, self.wire, SHORT_US).await;
        let answer = self.caller.ask(self.wire, Command::ImageState, Op::Read, &[], MEDIUM_US).await;
        let answer = answer.ok_or("the list of images was not answered")?;
        if let Some(words) = refused(&answer) {
            return Err(format!("the list of images is refused: {words}"));
        }
        let slots = Entry::all(&answer).ok_or("missing images information")?;
        let mut tasks = Tasks::default();
        let (mut found, mut skip) = (None, false);
        for slot in &slots {
            if slot.hash == self.hash {
                tasks.reset |= slot.is(Entry::CONFIRMED) && slot.slot == TARGET_SLOT && bootloader.swaps();
                found = Some(slot);
                break;
            }
            if slot.slot == TARGET_SLOT {
                if slot.is(Entry::PENDING) || slot.is(Entry::CONFIRMED) != slot.is(Entry::ACTIVE) {
                    return Ok(None);
                }
                skip |= slot.is(Entry::CONFIRMED);
            }
        }
        if skip {
            return Ok(Some(tasks));
        }
        tasks.upload = found.is_none();
        let is = |flag: usize| found.is_some_and(|slot| slot.is(flag));
        let (pending, confirmed) = (is(Entry::PENDING), is(Entry::CONFIRMED));
        if !bootloader.reverts() || self.mode == Mode::UploadOnly {
            tasks.reset |= tasks.upload;
            return Ok(Some(tasks));
        }
        let permanent = is(Entry::PERMANENT);
        match self.mode {
            Mode::TestAndConfirm | Mode::TestOnly => {
                tasks.test = !pending && !confirmed && !is(Entry::ACTIVE);
                tasks.reset |= pending || tasks.test;
                tasks.confirm_after_reset = self.mode == Mode::TestAndConfirm && !permanent && !confirmed;
            }
            Mode::ConfirmOnly => {
                tasks.confirm = !permanent && !confirmed;
                tasks.reset |= permanent || tasks.confirm;
            }
            Mode::UploadOnly => {}
        }
        Ok(Some(tasks))
    }

    /// Tests or confirms by hash, and looks for the flag in the answer.
    async fn write_state(&mut self, confirm: bool) -> Result<(), String> {
        let body = [("hash", Value::Bytes(self.job.tlv_hash.to_vec())), ("confirm", Value::Boolean(confirm))];
        let answer = self.caller.ask(self.wire, Command::ImageState, Op::Write, &body, SHORT_US).await;
        let answer = answer.ok_or("the image state was not answered")?;
        if let Some(words) = refused(&answer) {
            return Err(format!("the image state is refused: {words}"));
        }
        let Some(slots) = Entry::all(&answer) else { return Err("missing images information".into()) };
        let slot = slots.iter().find(|slot| slot.hash == self.hash).ok_or("the image is not in the list")?;
        let done =
            if confirm { slot.is(Entry::PERMANENT) || slot.is(Entry::CONFIRMED) } else { slot.is(Entry::PENDING) };
        if done { Ok(()) } else { Err("downgrade forbidden".into()) }
    }

    async fn reset(&mut self) -> Result<(), String> {
        let answer = self.caller.ask(self.wire, Command::Reset, Op::Write, &[], SHORT_US).await;
        if let Some(words) = answer.as_ref().and_then(refused) {
            return Err(format!("the reset is refused: {words}"));
        }
        self.wire.sleep(DISCONNECT_US).await;
        Ok(())
    }

    fn chunk_end(&self, offset: usize) -> usize {
        let total = self.job.image.len();
        let room = self.packet.saturating_sub(packet_overhead(total, offset)).max(1);
        (offset + room).min(total)
    }

    async fn send_chunk(&mut self, offset: usize, end: usize) -> Ticket {
        let mut body =
            vec![("data", Value::Bytes(self.job.image[offset..end].to_vec())), ("off", Value::Number(offset as u64))];
        if offset == 0 {
            body.push(("len", Value::Number(self.job.image.len() as u64)));
            body.push(("sha", Value::Bytes(self.job.sha256.to_vec())));
        }
        self.caller.send(self.wire, Command::ImageUpload, Op::Write, &body).await
    }

    /// The offset that an answer to a chunk names.
    fn returned(&self, answer: &SmpMessage) -> Result<usize, String> {
        if let Some(words) = refused(answer) {
            return Err(format!("the upload is refused: {words}"));
        }
        if answer.body.get("match").and_then(Field::boolean) == Some(false) {
            return Err("image digest does not match, try again".into());
        }
        // A field that is missing is 0 in Java.
        let off = answer.body.get("off").and_then(Field::number).unwrap_or(0);
        let off = usize::try_from(off).unwrap_or(0);
        if off > self.job.image.len() { Err("an offset beyond the image".into()) } else { Ok(off) }
    }

    /// `TransferCallable`: one chunk after the other; what is not answered in time ends it.
    async fn upload_one_by_one(&mut self) -> Result<(), String> {
        let total = self.job.image.len();
        let (mut offset, mut reached, mut stalled) = (0, 0, 0);
        while offset != total {
            let end = self.chunk_end(offset);
            let ticket = self.send_chunk(offset, end).await;
            let deadline = self.wire.now_us() + if offset == 0 { DEFAULT_US } else { SHORT_US };
            let answer = self.caller.answer(self.wire, std::iter::once(ticket), deadline).await;
            let (_, answer) = answer.ok_or_else(|| format!("the chunk at {offset} was not answered"))?;
            offset = self.returned(&answer)?;
            stalled = if offset > reached { 0 } else { stalled + 1 };
            reached = reached.max(offset);
            if stalled > super::STALLED_MAX {
                return Err(super::NEVER_ENDS.into());
            }
        }
        Ok(())
    }

    /// `Uploader`: chunks behind the first are under way at once; a failed one is sent again, alone.
    async fn upload_window(&mut self, window: usize) -> Result<(), String> {
        let total = self.job.image.len();
        let mut open: VecDeque<Chunk> = VecDeque::new();
        let mut failures: BTreeMap<usize, u32> = BTreeMap::new();
        // `next` and `failed` hold one chunk each: a later one replaces it.
        let (mut next, mut failed) = (Some(0), None);
        let (mut current, mut stalled) = (0, 0);
        loop {
            let alone = open.iter().any(|chunk| chunk.alone);
            let chosen = failed.map(|offset| (offset, true)).or(next.map(|offset| (offset, false)));
            if let Some((offset, resend)) = chosen.filter(|_| open.len() < window && !alone) {
                if resend {
                    failed = None;
                } else {
                    next = None;
                }
                let end = self.chunk_end(offset);
                let ticket = self.send_chunk(offset, end).await;
                let budget = match (offset, end == total) {
                    (0, _) => DEFAULT_US,
                    (_, true) => LAST_US,
                    _ => SHORT_US,
                };
                let alone = resend || offset == 0;
                open.push_back(Chunk { ticket, offset, end, resend, alone, deadline: self.wire.now_us() + budget });
                if !alone {
                    next = Some(end).filter(|end| *end < total);
                }
                continue;
            }
            let Some(deadline) = open.iter().map(|chunk| chunk.deadline).min() else {
                return Err("the upload has nothing left to send and is not complete".into());
            };
            stalled += 1;
            if stalled > super::STALLED_MAX {
                return Err(super::NEVER_ENDS.into());
            }
            let tickets = open.iter().map(|chunk| chunk.ticket);
            let answered = self.caller.answer(self.wire, tickets, deadline).await;
            let place = match &answered {
                Some((place, _)) => *place,
                None => open.iter().position(|chunk| chunk.deadline <= deadline).unwrap_or(0),
            };
            let Some(chunk) = open.remove(place) else { continue };
            let mut follow = Some(chunk.end);
            let again = match answered {
                Some((_, answer)) => {
                    let off = self.returned(&answer)?;
                    if off > current {
                        (current, stalled) = (off, 0);
                    }
                    if off == total {
                        return Ok(());
                    }
                    follow = Some(off);
                    (!chunk.resend && off < chunk.end).then_some(off)
                }
                None if current > chunk.offset => None,
                None => Some(chunk.offset),
            };
            if let Some(offset) = again {
                let count = failures.entry(chunk.offset).or_default();
                *count += 1;
                if *count >= CHUNK_FAILURES_MAX {
                    return Err(format!("the chunk at {} has failed too often", chunk.offset));
                }
                failed = Some(offset);
            }
            if chunk.alone {
                next = follow.filter(|offset| *offset < total);
            }
        }
    }
}

/// A chunk under way.
struct Chunk {
    ticket: Ticket,
    offset: usize,
    end: usize,
    resend: bool,
    /// Nothing else is sent before its answer is there.
    alone: bool,
    deadline: u64,
}
