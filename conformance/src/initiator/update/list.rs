//! Reading the image list.

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};

use super::super::wire::Wire;
use super::{REQUEST_US, Update, refusal};

/// One entry of an image list.
pub(super) struct Entry {
    pub(super) slot: i64,
    pub(super) hash: String,
    flags: [bool; 4],
}

impl Entry {
    pub(super) const PENDING: usize = 0;
    pub(super) const CONFIRMED: usize = 1;
    pub(super) const ACTIVE: usize = 2;
    pub(super) const PERMANENT: usize = 3;

    pub(super) fn is(&self, flag: usize) -> bool {
        self.flags[flag]
    }
}

impl<W: Wire> Update<'_, W> {
    pub(super) async fn list(&mut self) -> Result<Vec<Entry>, String> {
        for _ in 0..self.policy.unanswered_max() {
            if let Some(answer) = self.session.request(Command::ImageState, Op::Read, &[], REQUEST_US).await {
                return self.entries(&answer);
            }
        }
        Err("the device does not answer".into())
    }

    pub(super) fn entries(&self, answer: &SmpMessage) -> Result<Vec<Entry>, String> {
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
}
