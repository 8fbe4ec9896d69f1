//! Reading the image list.

use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};

use super::super::wire::Wire;
use super::{REQUEST_US, Update, refusal};

/// One entry of an image list; what the list leaves out is false, empty or -1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Image number; 0 when it is left out.
    pub image: i64,
    /// Slot inside its image.
    pub slot: i64,
    /// Its hash in hexadecimal.
    pub hash: String,
    /// Its version.
    pub version: String,
    flags: [bool; 4],
}

impl Entry {
    /// The next boot swaps it in.
    pub const PENDING: usize = 0;
    /// It stays.
    pub const CONFIRMED: usize = 1;
    /// It runs.
    pub const ACTIVE: usize = 2;
    /// The next boot swaps it in for good.
    pub const PERMANENT: usize = 3;

    /// The entries of a list; `None` when the answer holds none.
    #[must_use]
    pub fn all(answer: &SmpMessage) -> Option<Vec<Self>> {
        let images = answer.body.get("images").and_then(Field::list)?;
        let entry = |image: &Field| {
            let flag = |name: &str| image.get(name).and_then(Field::boolean).unwrap_or(false);
            Self {
                image: image.get("image").and_then(Field::number).unwrap_or(0),
                slot: image.get("slot").and_then(Field::number).unwrap_or(-1),
                hash: image.get("hash").and_then(Field::hex).unwrap_or_default().to_owned(),
                version: match image.get("version") {
                    Some(Field::Text(version)) => version.clone(),
                    _ => String::new(),
                },
                flags: [flag("pending"), flag("confirmed"), flag("active"), flag("permanent")],
            }
        };
        Some(images.iter().map(entry).collect())
    }

    /// Whether this flag is set.
    #[must_use]
    pub fn is(&self, flag: usize) -> bool {
        self.flags[flag]
    }

    /// Whether the next boot swaps it in, for test or for good.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        self.is(Self::PENDING) || self.is(Self::PERMANENT)
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
        if let Some(fault) = self.policy.finds_fault_with(answer) {
            return Err(format!("the list of images makes no sense: {fault}"));
        }
        Ok(Entry::all(answer).unwrap_or_default())
    }
}
