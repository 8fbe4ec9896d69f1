//! What must hold while an update goes on.

use super::Story;
use crate::sweep::{self, Violation};

/// What the invariants remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The old image runs already: nothing has booted yet.
    pub(super) begins: bool,
    /// A request was acknowledged.
    pub(super) requested: bool,
    /// The new image has run since.
    pub(super) tried: bool,
    /// The new image has begun to erase the old one.
    pub(super) erasing: bool,
    pub(super) confirm: Confirm,
}

/// How far a confirmation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// It was not asked for.
    No,
    /// It may be durable, or not.
    Begun,
    /// It was acknowledged.
    Done,
}

/// One of the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// What was installed.
    Old,
    /// The update.
    New,
}

impl Image {
    /// That it runs, in words.
    #[must_use]
    pub fn runs(self) -> &'static str {
        match self {
            Self::Old => "the old image runs",
            Self::New => "the new image runs",
        }
    }
}

impl sweep::State for State {
    fn code(&self) -> u64 {
        let bit = |flag: bool, at: u32| u64::from(flag) << at;
        let flags = bit(self.begins, 0) | bit(self.requested, 1) | bit(self.tried, 2) | bit(self.erasing, 3);
        flags | (self.confirm as u64) << 4
    }

    fn phase(&self) -> &'static str {
        match self {
            Self { confirm: Confirm::Begun, .. } => "while it is confirmed",
            Self { confirm: Confirm::Done, .. } => "after it was confirmed",
            Self { erasing: true, .. } => "while the old image is erased",
            Self { tried: true, .. } => "after the new image has run",
            Self { requested: true, .. } => "before the new image has run",
            Self { .. } => "while it is requested",
        }
    }
}

impl State {
    pub(super) fn begin() -> Self {
        Self { begins: true, requested: false, tried: false, erasing: false, confirm: Confirm::No }
    }

    /// Which image a boot has started, by its hash, and what is wrong with that.
    pub(super) fn judge(
        &mut self,
        story: Story,
        [old, new]: &[[u8; 32]; 2],
        hash: Option<[u8; 32]>,
    ) -> Result<Image, Violation> {
        let broken = |invariant, what: &str| Err(Violation::new(invariant, what));
        let image = match hash {
            Some(hash) if hash == *old => Image::Old,
            Some(hash) if hash == *new => Image::New,
            _ => return broken("known-image", "another image runs than the old or the new one"),
        };
        let permanent = story == Story::Permanent;
        match image {
            Image::New if self.tried && self.confirm == Confirm::No && !permanent && !self.erasing => {
                broken("revert", "the new image runs once more, unconfirmed")
            }
            Image::New => {
                self.tried = true;
                Ok(image)
            }
            Image::Old if self.confirm == Confirm::Done => broken("confirmed", "the old image runs"),
            Image::Old if self.requested && !self.tried => {
                broken("trial", "the old image runs again, and the new one has not run")
            }
            Image::Old if self.requested && permanent => broken("confirmed", "the old image runs"),
            Image::Old => Ok(image),
        }
    }
}
