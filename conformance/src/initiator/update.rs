//! The whole update, as straight-line code.
//!
//! Parameters, list, upload (resumed by `sha` after a lost link, started again when the device has
//! forgotten it), test, reset, patience while the device swaps, list, confirm.

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};
use brickproof_simulator::trace::{InitiatorEvent, StepBy, hex};

use super::policy::Policy;
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
pub(super) const REQUEST_US: u64 = 2_500_000;
/// From the reset to the first question whether the device is back.
const RESET_PAUSE_US: u64 = 1_000_000;
/// Between two questions whether the device is back.
const POLL_US: u64 = 1_000_000;
/// Length of an image header: a first chunk has at least that.
const HEADER_LEN: usize = 32;
/// One entry of an image list.
struct Entry {
    slot: i64,
    hash: String,
    flags: [bool; 4],
}

impl Entry {
    const PENDING: usize = 0;
    const CONFIRMED: usize = 1;
    const ACTIVE: usize = 2;
    const PERMANENT: usize = 3;

    fn is(&self, flag: usize) -> bool {
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
    pub(super) session: Session<'a, W>,
    pub(super) job: &'a Job,
    pub(super) policy: &'a dyn Policy,
    hash: String,
}

impl<W: Wire> Update<'_, W> {
    async fn run(&mut self) -> Result<String, String> {
        self.step("list");
        let (chunk, window) = self.limits().await?;
        let images = self.list().await?;
        if images.iter().any(|image| image.hash == self.hash && image.is(Entry::ACTIVE)) {
            return Ok("the image runs already".into());
        }
        self.step("upload");
        self.upload(chunk, window).await?;
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

    fn step(&mut self, step: &str) {
        self.session.wire.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }

    /// Image bytes that fit a packet of the device, and chunks that may be under way at once. A device
    /// that does not tell has small buffers.
    async fn limits(&mut self) -> Result<(usize, usize), String> {
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
        let window = self.policy.window(number("buf_count"));
        let told = number("buf_size");
        let one_write = self.session.wire.one_write().await;
        Ok((self.chunk_of(self.policy.packet_max(told, one_write)), window))
    }

    /// Image bytes that fit a packet of this size.
    pub(super) fn chunk_of(&self, packet: usize) -> usize {
        let chunk = packet.saturating_sub(UPLOAD_OVERHEAD).min(self.policy.chunk_max()).max(HEADER_LEN);
        let align = self.policy.chunk_align().clamp(1, HEADER_LEN);
        chunk / align * align
    }

    /// Whether the device answers, called so many times.
    pub(super) async fn is_there(&mut self, calls: u32) -> bool {
        for _ in 0..calls {
            if self.session.request(Command::Echo, Op::Write, &[("d", Value::Text("there?"))], POLL_US).await.is_some()
            {
                return true;
            }
        }
        false
    }

    async fn list(&mut self) -> Result<Vec<Entry>, String> {
        for _ in 0..self.policy.unanswered_max() {
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

    async fn reset(&mut self) -> Result<(), String> {
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
    async fn wait(&mut self) -> Result<(), String> {
        let patience = self.policy.patience_us();
        let start = self.session.wire.now_us();
        self.session.wire.sleep(RESET_PAUSE_US.min(patience)).await;
        while self.session.wire.now_us() - start < patience {
            if self.is_there(1).await {
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
        for _ in 0..self.policy.unanswered_max() {
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

pub(super) fn refusal(group: Option<i64>, rc: i64) -> String {
    match group {
        Some(group) => format!("group {group}, error {rc}"),
        None => format!("rc {rc}"),
    }
}
