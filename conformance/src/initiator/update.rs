//! The whole update, as straight-line code.
//!
//! Parameters, list, upload (resumed by `sha` after a lost link, started again when the device has
//! forgotten it), test, reset, patience while the device swaps, list, confirm.

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};
use brickproof_simulator::trace::{InitiatorEvent, StepBy, hex};

use super::policy::{FirstChunk, Policy};
use super::session::{Session, UPLOAD_OVERHEAD, Value};
use super::wire::Wire;
use crate::scenario::Task;

/// What the initiator is given.
#[derive(Debug, Clone)]
pub struct Job {
    /// The image file.
    pub image: Vec<u8>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The hash in its TLV area.
    pub tlv_hash: [u8; 32],
    /// What to do with it.
    pub task: Task,
}

/// What the initiator says at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether it says that it succeeded.
    pub success: bool,
    /// In its own words.
    pub message: String,
}

/// Timeout of an ordinary request in microseconds.
const REQUEST_US: u64 = 2_500_000;
/// Timeout of a first chunk: the device may erase a whole slot before it answers.
const FIRST_CHUNK_US: u64 = 40_000_000;
/// Timeout of a first chunk that resumes: nothing is erased.
const RESUME_US: u64 = 2_500_000;
/// Unanswered requests in a row that are put up with.
const UNANSWERED_MAX: u32 = 8;
/// Unanswered chunks after which the link counts as lost.
const LINK_LOST_AFTER: u32 = 2;
/// From the reset to the first question whether the device is back.
const RESET_PAUSE_US: u64 = 1_000_000;
/// Between two questions whether the device is back.
const POLL_US: u64 = 1_000_000;
/// Packet buffer of a device that does not tell its size.
const DEFAULT_BUFFER: usize = 384;
/// Answers without progress that are put up with.
const STALLED_MAX: u32 = 20;
/// Times that the device may forget the upload.
const RESTARTS_MAX: u32 = 8;

/// One entry of an image list.
pub(super) struct Entry {
    slot: i64,
    pub(super) hash: String,
    flags: [bool; 4],
}

impl Entry {
    const PENDING: usize = 0;
    const CONFIRMED: usize = 1;
    pub(super) const ACTIVE: usize = 2;
    const PERMANENT: usize = 3;

    pub(super) fn is(&self, flag: usize) -> bool {
        self.flags[flag]
    }
}

/// Runs the update; what it says at the end is true.
pub async fn run<W: Wire>(wire: &mut W, job: &Job, policy: &dyn Policy) -> Report {
    let mut update = Update { session: Session::new(wire, policy), job, policy, hash: hex(&job.tlv_hash) };
    match update.run().await {
        Ok(message) => Report { success: true, message },
        Err(message) => Report { success: false, message },
    }
}

pub(super) struct Update<'a, W> {
    session: Session<'a, W>,
    job: &'a Job,
    policy: &'a dyn Policy,
    pub(super) hash: String,
}

impl<W: Wire> Update<'_, W> {
    async fn run(&mut self) -> Result<String, String> {
        self.step("list");
        let chunk = self.chunk_size().await;
        let images = self.list().await?;
        if images.iter().any(|image| image.hash == self.hash && image.is(Entry::ACTIVE)) {
            return Ok("the image runs already".into());
        }
        if self.job.task == Task::Recover {
            return self.recover(chunk).await;
        }
        self.step("upload");
        self.upload(chunk).await?;
        if self.policy.marks_for_test() {
            self.step("test");
            self.test().await?;
        }
        self.step("reset");
        self.reset().await?;
        if self.job.task == Task::TestOnly {
            return Ok("the image is marked for test and the device resets".into());
        }
        self.step("wait");
        self.wait().await?;
        self.step("confirm");
        self.confirm().await
    }

    pub(super) fn step(&mut self, step: &str) {
        self.session.wire.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }

    /// Image bytes that fit a packet of the device.
    async fn chunk_size(&mut self) -> usize {
        let answer = self.session.request(Command::Params, Op::Read, &[], REQUEST_US).await;
        let told =
            answer.as_ref().filter(|answer| answer.failure().is_none()).and_then(|answer| answer.body.get("buf_size"));
        let buffer = told.and_then(Field::number).and_then(|size| usize::try_from(size).ok()).unwrap_or(DEFAULT_BUFFER);
        buffer.saturating_sub(UPLOAD_OVERHEAD).clamp(32, self.policy.chunk_max().max(32))
    }

    pub(super) async fn list(&mut self) -> Result<Vec<Entry>, String> {
        for _ in 0..UNANSWERED_MAX {
            if let Some(answer) = self.session.request(Command::ImageState, Op::Read, &[], REQUEST_US).await {
                return self.entries(&answer);
            }
        }
        Err("the device does not answer".into())
    }

    fn entries(&self, answer: &SmpMessage) -> Result<Vec<Entry>, String> {
        if let Some((group, rc)) = answer.failure() {
            return Err(format!("the device refuses to list its images: {}", refusal(group, rc)));
        }
        let images = answer.body.get("images").and_then(Field::list).unwrap_or_default();
        Ok(images
            .iter()
            .map(|image| {
                let flag = |name: &str| image.get(name).and_then(Field::boolean).unwrap_or(false);
                Entry {
                    slot: image.get("slot").and_then(Field::number).unwrap_or(-1),
                    hash: image.get("hash").and_then(Field::hex).unwrap_or_default().to_owned(),
                    flags: [flag("pending"), flag("confirmed"), flag("active"), flag("permanent")],
                }
            })
            .collect())
    }

    pub(super) async fn upload(&mut self, chunk: usize) -> Result<(), String> {
        let image = &self.job.image;
        let goal = image.len() * self.policy.uploads_permille().min(1000) / 1000;
        let mut offset = 0;
        let mut fields = Some((self.policy.first_chunk(), FIRST_CHUNK_US));
        let (mut unanswered, mut stalled, mut restarts) = (0, 0, 0);
        while offset < goal {
            let end = (offset + chunk).min(image.len());
            let (body, timeout) = self.chunk(offset, end, fields);
            let Some(answer) = self.session.request(Command::ImageUpload, Op::Write, &body, timeout).await else {
                unanswered += 1;
                if unanswered >= UNANSWERED_MAX {
                    return Err(format!(
                        "the device stopped answering during the upload, at {offset} of {} bytes",
                        image.len()
                    ));
                }
                if unanswered == LINK_LOST_AFTER {
                    // As after a reconnect: the device knows the upload by its sha.
                    offset = 0;
                    fields = Some((self.policy.resumed_chunk(), RESUME_US));
                }
                continue;
            };
            unanswered = 0;
            if self.policy.is_failure(&answer) {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                return Err(format!("the device refuses the image: {}", refusal(group, rc)));
            }
            let returned = answer.body.get("off").and_then(Field::number).and_then(|off| usize::try_from(off).ok());
            let next = self.policy.next_offset(end, returned.unwrap_or(end));
            if next > image.len() {
                return Err(format!("the device expects offset {next} of an image of {} bytes", image.len()));
            }
            stalled = if next > offset { 0 } else { stalled + 1 };
            if stalled > STALLED_MAX {
                return Err(format!("the upload does not get beyond {next} bytes"));
            }
            restarts += u32::from(next == 0);
            if restarts > RESTARTS_MAX {
                return Err("the device forgets the upload again and again".into());
            }
            fields = (next == 0).then_some((self.policy.restarted_chunk(), FIRST_CHUNK_US));
            offset = next;
        }
        Ok(())
    }

    fn chunk(&self, offset: usize, end: usize, fields: Option<(FirstChunk, u64)>) -> (Vec<(&'static str, Value)>, u64) {
        let mut body = vec![("off", Value::Number(offset as u64))];
        let (fields, timeout) = fields.map_or((None, REQUEST_US), |(fields, timeout)| (Some(fields), timeout));
        if let Some(fields) = fields {
            if fields.len {
                body.push(("len", Value::Number(self.job.image.len() as u64)));
            }
            if fields.sha {
                body.push(("sha", Value::Bytes(self.job.sha256.to_vec())));
            }
        }
        body.push(("data", Value::Bytes(self.job.image[offset..end].to_vec())));
        (body, timeout)
    }

    async fn test(&mut self) -> Result<(), String> {
        let body = [("hash", Value::Bytes(self.policy.hash(self.job))), ("confirm", Value::Boolean(false))];
        let Some(answer) = self.session.request(Command::ImageState, Op::Write, &body, REQUEST_US).await else {
            // The request may have been carried out: the list tells.
            return self.is_pending_or_running().await;
        };
        if self.policy.is_failure(&answer) {
            let (group, rc) = answer.failure().unwrap_or((None, 0));
            return Err(format!("the device refuses to test the image: {}", refusal(group, rc)));
        }
        let entries = self.entries(&answer).unwrap_or_default();
        if answer.failure().is_some() || entries.iter().any(|image| image.is(Entry::PENDING)) {
            Ok(())
        } else {
            Err("the device accepts the test and does not show the image as pending".into())
        }
    }

    async fn is_pending_or_running(&mut self) -> Result<(), String> {
        let images = self.list().await?;
        let ready = |image: &Entry| image.hash == self.hash && (image.is(Entry::PENDING) || image.is(Entry::ACTIVE));
        if images.iter().any(ready) {
            Ok(())
        } else {
            Err("the device did not answer, and the image is not pending".into())
        }
    }

    pub(super) async fn reset(&mut self) -> Result<(), String> {
        match self.session.request(Command::Reset, Op::Write, &[], REQUEST_US).await {
            // The device may be gone before its answer gets through.
            None if self.policy.needs_reset_answer() => Err("the device did not answer the reset".into()),
            None => Ok(()),
            Some(answer) if self.policy.is_failure(&answer) => {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                Err(format!("the device refuses to reset: {}", refusal(group, rc)))
            }
            Some(_) => Ok(()),
        }
    }

    /// Until the device answers again.
    pub(super) async fn wait(&mut self) -> Result<(), String> {
        let patience = self.policy.patience_us();
        let start = self.session.wire.now_us();
        self.session.wire.sleep(RESET_PAUSE_US.min(patience)).await;
        while self.session.wire.now_us() - start < patience {
            if self.session.request(Command::Echo, Op::Write, &[("d", Value::Text("there?"))], POLL_US).await.is_some()
            {
                return Ok(());
            }
        }
        Err(format!("the device did not come back within {} s", patience / 1_000_000))
    }

    async fn confirm(&mut self) -> Result<String, String> {
        if self.policy.looks_before_confirming() {
            let images = self.list().await?;
            let Some(running) = images.iter().find(|image| image.is(Entry::ACTIVE)) else {
                return Err("the device lists no running image".into());
            };
            if running.hash != self.hash {
                return Err(format!(
                    "the device came back with the old image in slot {}: the new one was refused or reverted",
                    running.slot
                ));
            }
            if running.is(Entry::CONFIRMED) {
                return Ok("the new image runs and has confirmed itself".into());
            }
        }
        let body = [("confirm", Value::Boolean(true))];
        for _ in 0..UNANSWERED_MAX {
            let Some(answer) = self.session.request(Command::ImageState, Op::Write, &body, REQUEST_US).await else {
                continue;
            };
            if self.policy.is_failure(&answer) {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                return Err(format!("the device refuses to confirm the image: {}", refusal(group, rc)));
            }
            let images = self.entries(&answer)?;
            let running = images.iter().find(|image| image.is(Entry::ACTIVE));
            return match running {
                Some(image) if image.hash == self.hash && image.is(Entry::CONFIRMED) => {
                    let kept = if image.is(Entry::PERMANENT) { "for good" } else { "and is confirmed" };
                    Ok(format!("the new image runs {kept}"))
                }
                _ => Err("the new image does not run after it was confirmed".into()),
            };
        }
        Err("the device does not answer the confirmation".into())
    }
}

fn refusal(group: Option<i64>, rc: i64) -> String {
    match group {
        Some(group) => format!("group {group}, error {rc}"),
        None => format!("rc {rc}"),
    }
}
