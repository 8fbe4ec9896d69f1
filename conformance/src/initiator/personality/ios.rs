//! nRF Connect Device Manager for iOS.
//!
//! | step | request | budget | source |
//! |---|---|---|---|
//! | parameters | a failure is ignored | 10 s | `FirmwareUpgradeManager.requestMcuMgrParameters` |
//! | bootloader info | name, mode; failures are ignored | 10 s | `bootloaderInfo`, `bootloaderMode` |
//! | list | must hold an image; the first entry is compared first, then slot 1 | 40 s | `listCallback` |
//! | another image in slot 1 | confirmed: the entry of slot 1 is confirmed; pending: reset. The upload begins 0.1 s later all the same | 40 s | `validateSecondarySlotUpload` |
//! | upload | first chunk, others; what is not answered ends it | 40 s, 10 s | `ImageManager.upload`, `uploadCallback` |
//! | confirm only | confirm by hash until permanent, reset, done when the link drops | 40 s | `uploadDidFinish`, `confirmCallback`, `reconnect` |
//! | test and confirm | test by hash until pending, reset, list, confirm by hash wherever the image lies | 40 s | `testCallback`, `listAfterUploadReset`, `testAndConfirmAfterReset` |
//! | upload only | reset | 40 s | `uploadDidFinish` |
//!
//! Each manager (OS, image) counts its own sequence numbers from a random one and has the version of the
//! last answer. A reset that is not answered is a failure. A busy device is asked again after 0.1 s where
//! its answer has `off`, which Zephyr's has not. Paths are in `iOSMcuManagerLibrary/Source/` of
//! IOS-nRF-Connect-Device-Manager.

use std::collections::VecDeque;

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage, Version};
use brickproof_simulator::trace::{StepBy, hex};

use super::{
    Bootloader, CONNECT_US, Caller, DISCONNECT_US, Job, Mode, PACKET_DEFAULT, Ticket, Value, Wire, drawn, refused,
};
use crate::initiator::update::Entry;

/// `McuManager.DEFAULT_SEND_TIMEOUT_SECONDS`, in microseconds.
const DEFAULT_US: u64 = 40_000_000;
/// `McuManager.FAST_TIMEOUT`, in microseconds.
const FAST_US: u64 = 10_000_000;
/// `McuManager.BUSY_WAIT_DELAY_MS`, and the pause before an upload, in microseconds.
const PAUSE_US: u64 = 100_000;
/// `McuMgrBleTransportConstant.CONNECTION_TIMEOUT`, in microseconds.
const LINK_US: u64 = 20_000_000;
/// Slot of an image that is not made for another one.
const TARGET_SLOT: i64 = 1;
/// `rc` of a busy device.
const BUSY: i64 = 10;

/// What is known of the image: `FirmwareUpgradeImage`.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    uploaded: bool,
    tested: bool,
    test_sent: bool,
    confirmed: bool,
    confirm_sent: bool,
}

struct Ios<'a, W> {
    wire: &'a mut W,
    job: &'a Job,
    mode: Mode,
    os: Caller,
    images: Caller,
    packet: usize,
    hash: String,
    image: Flags,
}

pub(super) async fn run<W: Wire>(
    wire: &mut W,
    job: &Job,
    mode: Mode,
    depth: usize,
    seed: u64,
) -> Result<String, String> {
    let caller = |nth| Caller { version: Version::V1, sequence: drawn(seed, nth), adopts: true };
    let (os, images) = (caller(1), caller(2));
    let hash = hex(&job.tlv_hash);
    Ios { wire, job, mode, os, images, packet: PACKET_DEFAULT, hash, image: Flags::default() }.run(depth).await
}

impl<W: Wire> Ios<'_, W> {
    async fn run(&mut self, depth: usize) -> Result<String, String> {
        self.step("list");
        let answer = self.os.ask(self.wire, Command::Params, Op::Read, &[], FAST_US).await;
        let told = answer.filter(|answer| answer.failure().is_none());
        let size =
            told.and_then(|answer| answer.body.get("buf_size")?.number()).and_then(|size| usize::try_from(size).ok());
        self.packet = size.unwrap_or(PACKET_DEFAULT).min(usize::from(u16::MAX));
        if !Bootloader::ask(&mut self.os, self.wire, FAST_US).await.reverts() {
            self.mode = Mode::UploadOnly;
        }
        let list = self.list().await?;
        self.validate(list).await?;
        self.wire.sleep(PAUSE_US).await;
        if !self.image.uploaded {
            self.step("upload");
            self.upload(depth).await?;
            self.image.uploaded = true;
        }
        self.finish().await
    }

    fn step(&mut self, name: &str) {
        super::step(self.wire, name, StepBy::Tool);
    }

    async fn list(&mut self) -> Result<Vec<Entry>, String> {
        let answer = self.images.ask(self.wire, Command::ImageState, Op::Read, &[], DEFAULT_US).await;
        entries(answer)
    }

    /// `listCallback`.
    async fn validate(&mut self, list: Vec<Entry>) -> Result<(), String> {
        if let Some(first) = list.first().filter(|entry| entry.hash == self.hash) {
            self.image.uploaded = true;
            self.image.tested = true;
            self.image.confirmed = first.is(Entry::CONFIRMED);
            return Ok(());
        }
        let Some(secondary) = list.iter().find(|entry| entry.slot == TARGET_SLOT) else { return Ok(()) };
        if secondary.hash == self.hash {
            self.image.uploaded = true;
            if secondary.is(Entry::PERMANENT) {
                if self.mode == Mode::TestOnly {
                    return Err("the image is confirmed already and cannot be tested".into());
                }
                self.image.confirmed = true;
            } else if secondary.is(Entry::PENDING) {
                self.image.tested = true;
            }
        } else if secondary.is(Entry::CONFIRMED) {
            // The entry it calls the primary is found by the slot that the image is for.
            self.step("confirm");
            let body = [("hash", Value::Bytes(bytes(&secondary.hash))), ("confirm", Value::Boolean(true))];
            let answer = self.images.ask(self.wire, Command::ImageState, Op::Write, &body, DEFAULT_US).await;
            entries(answer)?;
        } else if secondary.is(Entry::PENDING) {
            self.step("reset");
            let answer = self.os.ask(self.wire, Command::Reset, Op::Write, &[], DEFAULT_US).await;
            accepted(answer, "the reset")?;
        }
        Ok(())
    }

    /// `uploadDidFinish`, and what its callbacks lead to.
    async fn finish(&mut self) -> Result<String, String> {
        match self.mode {
            Mode::ConfirmOnly => {
                if !self.image.confirmed {
                    self.confirm_until_permanent().await?;
                }
                self.reset().await?;
            }
            Mode::TestOnly | Mode::TestAndConfirm if !self.image.tested => {
                self.test_until_pending().await?;
                self.reset().await?;
                if self.mode == Mode::TestAndConfirm {
                    return self.confirm_after_reset().await;
                }
            }
            Mode::TestAndConfirm if !self.image.confirmed => self.confirm_by_hash().await?,
            Mode::TestOnly | Mode::TestAndConfirm => {}
            Mode::UploadOnly => self.reset().await?,
        }
        Ok("upgrade complete".into())
    }

    async fn write_state(&mut self, confirm: bool) -> Result<Vec<Entry>, String> {
        let body = [("hash", Value::Bytes(self.job.tlv_hash.to_vec())), ("confirm", Value::Boolean(confirm))];
        let answer = self.images.ask(self.wire, Command::ImageState, Op::Write, &body, DEFAULT_US).await;
        entries(answer)
    }

    async fn test_until_pending(&mut self) -> Result<(), String> {
        self.step("test");
        loop {
            let list = self.write_state(false).await?;
            let ours = list.iter().find(|entry| entry.hash == self.hash).ok_or("the image is not in the list")?;
            if ours.is(Entry::PENDING) {
                self.image.tested = true;
                return Ok(());
            }
            if std::mem::replace(&mut self.image.test_sent, true) {
                return Err("the image was tested and did not become pending".into());
            }
        }
    }

    async fn confirm_until_permanent(&mut self) -> Result<(), String> {
        self.step("confirm");
        loop {
            let list = self.write_state(true).await?;
            let Some(ours) = list.iter().find(|entry| entry.hash == self.hash) else {
                let other = list.iter().any(|entry| entry.slot != TARGET_SLOT);
                return if other { Ok(()) } else { Err("the answer holds no image of use".into()) };
            };
            if ours.is_marked() {
                return Ok(());
            }
            if std::mem::replace(&mut self.image.confirm_sent, true) {
                return Err("the image was confirmed and did not become permanent".into());
            }
        }
    }

    /// `listAfterUploadReset`: an image that is in no list any more needs no confirmation.
    async fn confirm_after_reset(&mut self) -> Result<String, String> {
        self.step("wait");
        let until = self.wire.now_us() + LINK_US;
        let mut list = None;
        while list.is_none() && self.wire.now_us() < until {
            list = self.images.ask(self.wire, Command::ImageState, Op::Read, &[], CONNECT_US).await;
        }
        let list = entries(list)?;
        if list.iter().any(|entry| entry.hash == self.hash) {
            self.confirm_by_hash().await?;
        }
        Ok("upgrade complete".into())
    }

    /// `confirmCallback` of test and confirm.
    async fn confirm_by_hash(&mut self) -> Result<(), String> {
        self.step("confirm");
        let list = self.write_state(true).await?;
        let Some(ours) = list.iter().find(|entry| entry.hash == self.hash) else { return Ok(()) };
        if ours.is(Entry::ACTIVE) || ours.is(Entry::PERMANENT) || ours.is(Entry::CONFIRMED) {
            Ok(())
        } else {
            Err("the image was confirmed and did not become permanent".into())
        }
    }

    async fn reset(&mut self) -> Result<(), String> {
        self.step("reset");
        let answer = self.os.ask(self.wire, Command::Reset, Op::Write, &[], DEFAULT_US).await;
        accepted(answer, "the reset")?;
        self.wire.sleep(DISCONNECT_US).await;
        Ok(())
    }

    /// Image bytes of a chunk: `maxDataPacketLengthFor`.
    fn chunk_end(&self, offset: usize) -> usize {
        let total = self.job.image.len();
        // A packet with one byte of data, and five more.
        let overhead = super::packet_overhead(total, offset) - 3 + 2 + 5;
        (offset + self.packet.saturating_sub(overhead).max(1)).min(total)
    }

    async fn send_chunk(&mut self, offset: usize) -> (Ticket, usize, u64) {
        let end = self.chunk_end(offset);
        let mut body =
            vec![("data", Value::Bytes(self.job.image[offset..end].to_vec())), ("off", Value::Number(offset as u64))];
        if offset == 0 {
            body.push(("len", Value::Number(self.job.image.len() as u64)));
            body.push(("sha", Value::Bytes(self.job.sha256.to_vec())));
        }
        let ticket = self.images.send(self.wire, Command::ImageUpload, Op::Write, &body).await;
        (ticket, end, self.wire.now_us() + if offset == 0 { DEFAULT_US } else { FAST_US })
    }

    /// `uploadCallback` and `McuMgrUploadPipeline`.
    async fn upload(&mut self, depth: usize) -> Result<(), String> {
        let total = self.job.image.len();
        let mut open: VecDeque<(Ticket, u64)> = VecDeque::new();
        // Offsets that answers under way should name.
        let mut expected: VecDeque<usize> = VecDeque::new();
        let mut received = 0;
        let (mut reached, mut stalled) = (0, 0);
        let (ticket, _, deadline) = self.send_chunk(0).await;
        open.push_back((ticket, deadline));
        while stalled <= super::STALLED_MAX {
            stalled += 1;
            let deadline = open.iter().map(|(_, deadline)| *deadline).min().ok_or("nothing is under way any more")?;
            let tickets = open.iter().map(|(ticket, _)| *ticket);
            let answer = self.images.answer(self.wire, tickets, deadline).await;
            let (place, answer) = answer.ok_or("a chunk was not answered")?;
            open.remove(place);
            if answer.body.get("match").and_then(Field::boolean) == Some(false) {
                return Err("the device says that the uploaded bytes do not match".into());
            }
            let off = answer.body.get("off").and_then(Field::number).and_then(|off| usize::try_from(off).ok());
            if let Some(words) = refused(&answer) {
                let Some(off) = off.filter(|off| *off < total && answer.failure() == Some((None, BUSY))) else {
                    return Err(format!("the upload is refused: {words}"));
                };
                self.wire.sleep(PAUSE_US).await;
                let (ticket, _, deadline) = self.send_chunk(off).await;
                open.push_back((ticket, deadline));
                continue;
            }
            let off = off.ok_or("an answer without an offset")?;
            if off > total {
                return Err("an offset beyond the image".into());
            }
            if off > reached {
                (reached, stalled) = (off, 0);
            }
            let known = expected.contains(&off);
            received = if known { received.max(off) } else { off };
            if !known {
                expected.pop_front();
            }
            if known || expected.is_empty() {
                expected.retain(|wanted| *wanted > off);
            }
            if off == total {
                return Ok(());
            }
            while expected.len() < depth {
                let from = expected.back().copied().unwrap_or(received);
                if from >= total {
                    break;
                }
                let (ticket, end, deadline) = self.send_chunk(from).await;
                open.push_back((ticket, deadline));
                expected.push_back(end);
            }
        }
        Err(super::NEVER_ENDS.into())
    }
}

/// An answer that is no failure.
fn accepted(answer: Option<SmpMessage>, what: &str) -> Result<SmpMessage, String> {
    let answer = answer.ok_or_else(|| format!("{what} was not answered"))?;
    match refused(&answer) {
        Some(words) => Err(format!("{what} is refused: {words}")),
        None => Ok(answer),
    }
}

/// The entries of a list; one without any is no valid answer.
fn entries(answer: Option<SmpMessage>) -> Result<Vec<Entry>, String> {
    let answer = accepted(answer, "the image state")?;
    Entry::all(&answer).filter(|entries| !entries.is_empty()).ok_or_else(|| "an answer without images".into())
}

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..hex.len() / 2).filter_map(|index| pair(2 * index)).collect()
}
