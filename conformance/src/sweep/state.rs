//! What survives a power loss beside the flash, and what must hold.

use brickproof_flash_model::boot::mcuboot::Outcome;
use brickproof_flash_model::sweep::mcuboot::{Confirm, Image};
use brickproof_flash_model::sweep::{self, Violation};

/// What an update is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The device starts after a power loss.
    Start,
    /// The initiator looks what is there, and clears the way.
    Look,
    /// The first chunk is under way: the slot is erased.
    FirstChunk,
    /// Another chunk is under way.
    Chunks,
    /// The last chunk is under way.
    LastChunk,
    /// The image is marked.
    Mark,
    /// The device resets, as it was asked to.
    Reset,
    /// The image is confirmed.
    Confirm,
    /// The initiator has reported its success.
    Done,
}

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct State {
    /// For people: it is no part of what makes two states the same.
    pub(super) phase: Phase,
    /// Where an initiator is that was not started again; [`Phase::Look`] for one that was, or may as well have been.
    pub(super) waiting: Phase,
    pub(super) confirm: Confirm,
    /// The initiator has reported its success.
    pub(super) reported: bool,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        sweep::State::code(self) == sweep::State::code(other)
    }
}

impl Eq for State {}

impl sweep::State for State {
    fn code(&self) -> u64 {
        self.confirm as u64 | u64::from(self.reported) << 2 | (self.waiting as u64) << 3
    }

    fn phase(&self) -> &'static str {
        self.phase.words()
    }
}

impl Phase {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Start => "while the device starts again",
            Self::Look => "before the upload",
            Self::FirstChunk => "while the slot is erased for the upload",
            Self::Chunks => "during the upload",
            Self::LastChunk => "at the end of the upload",
            Self::Mark => "while the image is marked",
            Self::Reset => "during the reset",
            Self::Confirm => "while the image is confirmed",
            Self::Done => "after the success was reported",
        }
    }
}

impl State {
    pub(super) fn begin() -> Self {
        Self { phase: Phase::Start, waiting: Phase::Look, confirm: Confirm::No, reported: false }
    }

    /// Which image a boot has started, and what is wrong with that.
    pub(super) fn judge(&mut self, [old, new]: &[[u8; 32]; 2], outcome: &Outcome) -> Result<Image, Violation> {
        match outcome {
            Outcome::Boot { hash: Some(hash), .. } if hash == new => Ok(Image::New),
            Outcome::Boot { hash: Some(hash), .. } if hash == old => {
                if self.reported {
                    return Err(Violation::new("report", "success was reported, and the old image runs"));
                }
                if self.confirm == Confirm::Done {
                    return Err(Violation::new("confirmed", "the old image runs"));
                }
                // What was begun has come to nothing: it counts anew.
                self.confirm = Confirm::No;
                Ok(Image::Old)
            }
            Outcome::Boot { .. } => {
                Err(Violation::new("known-image", "another image runs than the old or the new one"))
            }
            Outcome::NoBootableImage { .. } => Err(Violation::new("boots", "no image is valid: nothing boots")),
            Outcome::Halt { reason } => Err(Violation::new("boots", reason.as_str())),
        }
    }
}
