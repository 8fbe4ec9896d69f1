//! What must hold while an update goes on.

use crate::sweep;

/// What the invariants remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub(super) stage: Stage,
    /// The uploader was told that the init packet is accepted.
    pub(super) accepted: bool,
    /// The uploader was told that the image is accepted: it is done.
    pub(super) acknowledged: bool,
    /// The update has been found in its place.
    pub(super) installed: bool,
}

/// What the device is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The bootloader runs, and nothing is to be activated.
    Boot,
    /// The application or DFU mode runs.
    Runs,
    /// The init packet is being accepted.
    Init,
    /// The image is on its way.
    Data,
    /// The image was accepted, and that is being written.
    Commit,
    /// The bootloader activates it.
    Activation,
}

impl sweep::State for State {
    fn code(&self) -> u64 {
        let bit = |flag: bool, at: u32| u64::from(flag) << at;
        self.stage as u64 | bit(self.accepted, 8) | bit(self.acknowledged, 9) | bit(self.installed, 10)
    }

    fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Boot => "while the bootloader starts",
            Stage::Runs => "before anything is uploaded",
            Stage::Init => "while the init packet is accepted",
            Stage::Data => "while the image is uploaded",
            Stage::Commit => "while the acceptance of the image is written",
            Stage::Activation => "while the update is activated",
        }
    }
}

impl State {
    pub(super) fn begin() -> Self {
        Self { stage: Stage::Boot, accepted: false, acknowledged: false, installed: false }
    }
}
