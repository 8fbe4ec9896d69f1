//! What the device has already, and what is in the way.
//!
//! | the list shows | what is done |
//! |---|---|
//! | the new image, running and confirmed | nothing: it is done |
//! | the new image, running in its test | confirm |
//! | the new image, pending | no upload, no mark: reset |
//! | the new image in the other slot, no flag | no upload: mark, reset |
//! | another image pending, or another one running in its test | reset, until it is out of the way |
//! | anything else | upload |

use brickproof_simulator::smp::{Command, Op};
use brickproof_simulator::trace::hex;

use super::super::session::Value;
use super::super::wire::Wire;
use super::list::Entry;
use super::{REQUEST_US, Update};

/// Resets that clear the way: a pending image needs one to be tried and one to be swapped back.
const CLEARING_RESETS_MAX: u32 = 3;

/// Modes of MCUboot that choose images by their version: direct-XIP without revert, RAM load.
const BY_VERSION: [i64; 2] = [4, 6];

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    /// The image is not on the device.
    Absent,
    /// It lies in the other slot.
    Uploaded,
    /// The next boot swaps it in.
    Pending,
    /// It runs in its test.
    Testing,
    /// It runs and stays.
    Confirmed,
}

impl<W: Wire> Update<'_, W> {
    /// Looks what is there of each image, and resets until nothing is in the way of an upload.
    pub(super) async fn prepare(&mut self) -> Result<Vec<There>, String> {
        let no_downgrade = self.asks_bootloader().await;
        if !self.policy.looks_before_uploading() {
            return Ok(self.parts().map(|_| There::Absent).collect());
        }
        for _ in 0..=CLEARING_RESETS_MAX {
            let images = self.list().await?;
            let there: Vec<There> = self
                .parts()
                .map(|part| {
                    let hash = hex(&part.tlv_hash);
                    images.iter().find(|image| image.hash == hash).map_or(There::Absent, Entry::there)
                })
                .collect();
            if there.iter().any(|there| *there != There::Absent) {
                let again = |there| there == There::Uploaded && !self.policy.skips_what_is_there();
                return Ok(there.into_iter().map(|there| if again(there) { There::Absent } else { there }).collect());
            }
            let older = self.policy.running(&images).is_some_and(|running| self.is_older_than(running));
            if no_downgrade && older && self.policy.heeds_no_downgrade() {
                return Err("the bootloader refuses images that are older than the running one".into());
            }
            let Some(what) = in_the_way(&images).filter(|_| self.policy.clears_the_way()) else {
                return Ok(there);
            };
            self.step("reset");
            self.reset().await.map_err(|error| format!("{what}: {error}"))?;
            self.step("wait");
            self.wait().await?;
            self.step("list");
        }
        Err(format!("another image is still in the way after {} resets", CLEARING_RESETS_MAX + 1))
    }
}

impl<W: Wire> Update<'_, W> {
    /// Asks for the mode of the bootloader. Whether it says that it refuses older images; one that says nothing
    /// does not.
    async fn asks_bootloader(&mut self) -> bool {
        if !self.policy.asks_bootloader() {
            return false;
        }
        let query = [("query", Value::Text("mode"))];
        let mut answer = None;
        // The first answer may be lost with its link, and a mode that is not known is taken for one with marks.
        for _ in 0..2 {
            answer = self.session.request(Command::BootloaderInfo, Op::Read, &query, REQUEST_US).await;
            if answer.is_some() {
                break;
            }
        }
        let told = answer.filter(|answer| answer.failure().is_none());
        let mode = told.as_ref().and_then(|answer| answer.body.get("mode")?.number());
        self.by_version = mode.is_some_and(|mode| BY_VERSION.contains(&mode));
        told.and_then(|answer| answer.body.get("no-downgrade")?.boolean()).unwrap_or(false)
    }

    /// Compared by major, minor and revision, as the bootloader does.
    fn is_older_than(&self, running: &Entry) -> bool {
        let Some(own) = self.job.version else { return false };
        let mut numbers = running.version.split('.').map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(Result::ok);
        let (Some(major), Some(minor), Some(revision)) = (next(), next(), next()) else { return false };
        (u32::from(own.major), u32::from(own.minor), u32::from(own.revision)) < (major, minor, revision)
    }
}

impl Entry {
    fn there(&self) -> There {
        match (self.is(Self::ACTIVE), self.is(Self::CONFIRMED)) {
            (true, true) => There::Confirmed,
            (true, false) => There::Testing,
            // A confirmed image that does not run is the one that the next boot goes back to.
            (false, true) => There::Pending,
            (false, false) if self.is_marked() => There::Pending,
            (false, false) => There::Uploaded,
        }
    }
}

/// What keeps the other slot from being written.
fn in_the_way(images: &[Entry]) -> Option<&'static str> {
    if images.iter().any(Entry::is_marked) {
        Some("another image is pending")
    } else if images.iter().any(|image| image.is(Entry::ACTIVE) && !image.is(Entry::CONFIRMED)) {
        Some("another image is in its test")
    } else {
        None
    }
}
