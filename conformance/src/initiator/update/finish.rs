//! Test, reset, patience, confirm.

use brickproof_simulator::smp::{Command, Op};

use super::super::policy::Mark;
use super::super::session::Value;
use super::super::wire::Wire;
use super::list::Entry;
use super::{REQUEST_US, Update, refusal};

/// From the reset to the first question whether the device is back.
const RESET_PAUSE_US: u64 = 1_000_000;
/// Between two questions whether the device is back.
const POLL_US: u64 = 1_000_000;

impl<W: Wire> Update<'_, W> {
    /// Marks the image, for test or for good, and looks whether the device says so.
    pub(super) async fn mark(&mut self) -> Result<(), String> {
        let for_good = self.policy.marks() == Mark::Confirm;
        let body = [("hash", Value::Bytes(self.policy.hash(self.job))), ("confirm", Value::Boolean(for_good))];
        let Some(answer) = self.session.request(Command::ImageState, Op::Write, &body, REQUEST_US).await else {
            // The request may have been carried out: the list tells.
            return self.is_pending_or_running().await;
        };
        if self.policy.is_failure(&answer) {
            let (group, rc) = answer.failure().unwrap_or((None, 0));
            if !self.policy.heeds_a_refused_mark() {
                return Ok(());
            }
            return Err(format!("the device refuses to mark the image: {}", refusal(group, rc)));
        }
        if answer.failure().is_some() || !self.policy.verifies_the_mark() {
            return Ok(());
        }
        let entries = self.entries(&answer)?;
        if entries.iter().any(|image| self.may_be_ours(image) && image.is_marked()) {
            Ok(())
        } else {
            Err("the device accepts the mark and does not show the image as pending".into())
        }
    }

    /// Whether this entry has the hash of the image, or none that could be compared with it.
    fn may_be_ours(&self, image: &Entry) -> bool {
        image.hash == self.hash || image.hash.len() != self.hash.len()
    }

    async fn is_pending_or_running(&mut self) -> Result<(), String> {
        let images = self.list().await?;
        let ready = |image: &Entry| image.hash == self.hash && (image.is_marked() || image.is(Entry::ACTIVE));
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

    /// Until the device answers again.
    pub(super) async fn wait(&mut self) -> Result<(), String> {
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

    pub(super) async fn confirm(&mut self) -> Result<String, String> {
        let mut body = vec![("confirm", Value::Boolean(true))];
        // Without a hash the image that runs the server is meant.
        if self.policy.confirms_by_hash() || self.job.number.is_some_and(|number| number > 0) {
            body.push(("hash", Value::Bytes(self.policy.hash(self.job))));
        }
        for _ in 0..self.policy.unanswered_max() {
            // Each time anew: without an answer the device may have reset, and swapped back.
            let heeds = self.by_version && self.policy.heeds_the_mode();
            if (heeds || self.policy.looks_before_confirming())
                && let Some(done) = self.look().await?
            {
                return Ok(done);
            }
            if heeds {
                return Ok("the new image runs".into());
            }
            let Some(answer) = self.session.request(Command::ImageState, Op::Write, &body, REQUEST_US).await else {
                continue;
            };
            if self.policy.is_failure(&answer) {
                let (group, rc) = answer.failure().unwrap_or((None, 0));
                return Err(format!("the device refuses to confirm the image: {}", refusal(group, rc)));
            }
            let images = self.entries(&answer)?;
            let own = self.own(&images);
            let running = self.policy.running(&own);
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

    /// Whether the new image runs and may be confirmed; what to say when it is confirmed already.
    async fn look(&mut self) -> Result<Option<String>, String> {
        let images = self.list().await?;
        self.runs(&images)
    }

    /// The entries of the image that is dealt with.
    fn own(&self, images: &[Entry]) -> Vec<Entry> {
        let number = i64::from(self.job.number.unwrap_or(0));
        images.iter().filter(|image| image.image == number).cloned().collect()
    }

    /// The same from a list.
    pub(super) fn runs(&self, images: &[Entry]) -> Result<Option<String>, String> {
        let own = self.own(images);
        let Some(running) = self.policy.running(&own) else {
            return Err("the device lists no running image".into());
        };
        if running.hash != self.hash {
            return Err(format!(
                "the device came back with the old image in slot {}: the new one was refused or reverted",
                running.slot
            ));
        }
        Ok(running.is(Entry::CONFIRMED).then(|| "the new image runs and is confirmed".into()))
    }
}
