//! The whole update, as straight-line code.
//!
//! Parameters, list, resets while something is in the way, upload (resumed by `sha` after a lost link, started again when the device has
//! forgotten it), test, reset, patience while the device swaps, list, confirm.
//!
//! | module | what it holds |
//! |---|---|
//! | `list` | what the device has |
//! | `prepare` | what of it makes the upload needless or is in its way |
//! | `upload` | parameters and chunks |
//! | `recover` | a device that runs only its bootloader's recovery |
//! | `finish` | test, reset, waiting, confirm |

mod finish;
mod list;
mod prepare;
mod recover;
mod upload;

use brickproof_flash_model::image::mcuboot::ImageVersion;
use brickproof_simulator::trace::{InitiatorEvent, StepBy, hex};

use super::policy::{Mark, Policy};
use super::session::Session;
use super::wire::Wire;
use crate::scenario::Task;
pub use list::Entry;
use prepare::There;

/// What the initiator is given.
#[derive(Debug, Clone)]
pub struct Job {
    /// The image file.
    pub image: Vec<u8>,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// The hash in its TLV area.
    pub tlv_hash: [u8; 32],
    /// Its version, as far as it can be read.
    pub version: Option<ImageVersion>,
    /// What to do with it.
    pub task: Task,
    /// Number of the image that it updates; `None` where there is but one.
    pub number: Option<u32>,
    /// Images that belong to the same update.
    pub further: Vec<Job>,
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

/// Runs the update; what it says at the end is true.
pub async fn run<W: Wire>(wire: &mut W, job: &Job, policy: &dyn Policy) -> Report {
    let mut update = Update {
        session: Session::new(wire, policy),
        whole: job,
        job,
        policy,
        hash: hex(&job.tlv_hash),
        by_version: false,
    };
    match update.run().await {
        Ok(message) => Report { success: true, message },
        Err(message) => Report { success: false, message },
    }
}

struct Update<'a, W> {
    session: Session<'a, W>,
    /// The whole update.
    whole: &'a Job,
    /// The image that is dealt with.
    job: &'a Job,
    policy: &'a dyn Policy,
    hash: String,
    /// The bootloader has told that it chooses images by their version: it takes no marks.
    by_version: bool,
}

impl<'a, W: Wire> Update<'a, W> {
    async fn run(&mut self) -> Result<String, String> {
        self.step("list");
        let (chunk, window) = self.limits().await?;
        if self.job.task == Task::Recover {
            return self.recover(chunk, window).await;
        }
        let there = self.prepare().await?;
        let parts: Vec<(&'a Job, There)> = self.parts().zip(there).collect();
        let all = |wanted: &[There]| parts.iter().all(|(_, there)| wanted.contains(there));
        if all(&[There::Confirmed]) {
            return Ok("the image runs already".into());
        }
        if all(&[There::Confirmed, There::Testing]) {
            if self.job.task == Task::TestOnly {
                return Ok("the image is in its test already".into());
            }
            self.step("confirm");
            return self.confirm_all().await;
        }
        for (place, (part, there)) in parts.iter().enumerate() {
            self.turn_to(part);
            if *there == There::Absent {
                if self.job.task == Task::EraseAndUpdate {
                    self.step("erase");
                    self.erase().await?;
                }
                self.step("upload");
                self.upload(chunk, window).await?;
            }
            if place + 1 < parts.len() && self.policy.resets_between_images() {
                self.mark_one(*there).await?;
                self.step("reset");
                self.reset().await?;
                self.step("wait");
                self.wait().await?;
            }
        }
        for (place, (part, there)) in parts.iter().enumerate() {
            self.turn_to(part);
            if place + 1 == parts.len() || !self.policy.resets_between_images() {
                self.mark_one(*there).await?;
            }
        }
        self.step("reset");
        self.reset().await?;
        if self.job.task == Task::TestOnly {
            return Ok("the image is marked for test and the device resets".into());
        }
        self.step("wait");
        self.wait().await?;
        self.step("confirm");
        self.confirm_all().await
    }

    /// The images of the update.
    fn parts(&self) -> impl Iterator<Item = &'a Job> + use<'a, W> {
        let whole = self.whole;
        std::iter::once(whole).chain(&whole.further)
    }

    fn turn_to(&mut self, part: &'a Job) {
        self.job = part;
        self.hash = hex(&part.tlv_hash);
    }

    /// Marks the image that is dealt with, where that is left to do and has a meaning.
    async fn mark_one(&mut self, there: There) -> Result<(), String> {
        let takes_marks = !self.by_version || !self.policy.heeds_the_mode();
        let left = matches!(there, There::Absent | There::Uploaded);
        if left && takes_marks && self.policy.marks() != Mark::Nothing {
            self.step("test");
            self.mark().await?;
        }
        Ok(())
    }

    /// Confirms every image of the update, once all of them run.
    async fn confirm_all(&mut self) -> Result<String, String> {
        let parts: Vec<&'a Job> = self.parts().collect();
        if parts.len() > 1 && self.policy.looks_before_confirming() {
            let images = self.list().await?;
            for part in &parts {
                self.turn_to(part);
                self.runs(&images)?;
            }
        }
        let mut said = String::new();
        for part in parts {
            self.turn_to(part);
            said = self.confirm().await?;
        }
        Ok(said)
    }

    fn step(&mut self, step: &str) {
        self.session.wire.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }
}

pub(super) fn refusal(group: Option<i64>, rc: i64) -> String {
    match group {
        Some(group) => format!("group {group}, error {rc}"),
        None => format!("rc {rc}"),
    }
}
