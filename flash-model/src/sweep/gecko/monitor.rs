//! What must hold while an update goes on.

use crate::boot::gecko::MemoryMap;
use crate::flash::Flash;
use crate::sweep;

/// What the invariants remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub(super) stage: Stage,
    /// The initiator was told that the file is good: the answer to 0x03 of an AppLoader.
    pub(super) acknowledged: bool,
    /// The application has verified the slot, and has asked the bootloader to install it.
    pub(super) requested: bool,
    /// The update has been found in its place.
    pub(super) installed: bool,
}

/// What the device is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The bootloader starts.
    Boot,
    /// The application or the AppLoader runs.
    Runs,
    /// The application erases the slot.
    Erase,
    /// The file is on its way: into the slot, or straight into its place.
    Data,
    /// The initiator is gone, and the AppLoader ends.
    Commit,
    /// The bootloader installs from the slot.
    Installation,
}

impl sweep::State for State {
    fn code(&self) -> u64 {
        let bit = |flag: bool, at: u32| u64::from(flag) << at;
        self.stage as u64 | bit(self.acknowledged, 8) | bit(self.requested, 9) | bit(self.installed, 10)
    }

    fn phase(&self) -> &'static str {
        match self.stage {
            Stage::Boot => "while the bootloader starts",
            Stage::Runs => "before anything is uploaded",
            Stage::Erase => "while the slot is erased",
            Stage::Data => "while the file is uploaded",
            Stage::Commit => "while the AppLoader ends",
            Stage::Installation => "while the update is installed from the slot",
        }
    }
}

impl State {
    pub(super) fn begin() -> Self {
        Self { stage: Stage::Boot, acknowledged: false, requested: false, installed: false }
    }
}

/// Whether an image is at an address.
pub(super) fn holds(map: &MemoryMap, flash: &Flash, address: u32, image: &[u8]) -> bool {
    let Ok(len) = u32::try_from(image.len()) else { return false };
    let mut rest = Some(image);
    let visited = map.visit(flash, address, len, |piece| {
        rest = rest.and_then(|rest| rest.strip_prefix(piece));
    });
    visited.is_ok() && rest.is_some()
}
