//! What must hold while an update goes on.

use crate::sweep;

/// What the invariants remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub(super) stage: Stage,
    /// The uploader was told that the image is valid, and has asked for its activation.
    pub(super) activated: bool,
    /// The update has been found in its place.
    pub(super) installed: bool,
}

/// What the device is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The bootloader starts, and nothing is to be put into its place.
    Boot,
    /// The application or DFU mode runs.
    Runs,
    /// Flash is erased for the image.
    Erase,
    /// The image is on its way.
    Data,
    /// The uploader has asked for activation.
    Activation,
    /// The bootloader puts SoftDevice or bootloader into their places.
    Installation,
}

impl sweep::State for State {
    fn code(&self) -> u64 {
        let bit = |flag: bool, at: u32| u64::from(flag) << at;
        self.stage as u64 | bit(self.activated, 8) | bit(self.installed, 9)
    }

    fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Boot => "while the bootloader starts",
            Stage::Runs => "before anything is uploaded",
            Stage::Erase => "while flash is erased for the image",
            Stage::Data => "while the image is uploaded",
            Stage::Activation => "while the image is activated",
            Stage::Installation => "while the update is put into its place",
        }
    }
}

impl State {
    pub(super) fn begin() -> Self {
        Self { stage: Stage::Boot, activated: false, installed: false }
    }
}
