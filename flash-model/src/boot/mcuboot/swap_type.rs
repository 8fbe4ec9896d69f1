//! Which swap the two trailers ask for.

use std::fmt;

use serde::Serialize;

use super::{Flag, Magic, Mode, TrailerState};

/// What a boot does with the two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwapType {
    /// Start what is in the primary slot.
    None,
    /// Swap; unless confirmed, the boot after swaps back.
    Test,
    /// Swap for good.
    Permanent,
    /// Swap back.
    Revert,
    /// The image to swap in has become invalid.
    Fail,
}

impl SwapType {
    /// Whether the secondary image is to be installed (mcuboot: `BOOT_IS_UPGRADE`).
    #[must_use]
    pub fn is_upgrade(self) -> bool {
        matches!(self, Self::Test | Self::Permanent | Self::Revert)
    }

    pub(super) fn nibble(self) -> u8 {
        match self {
            Self::None => 1,
            Self::Test => 2,
            Self::Permanent => 3,
            Self::Revert => 4,
            Self::Fail => 5,
        }
    }

    /// `None` when no such value is ever stored.
    pub(super) fn from_nibble(nibble: u8) -> Option<Self> {
        match nibble {
            1 => Some(Self::None),
            2 => Some(Self::Test),
            3 => Some(Self::Permanent),
            4 => Some(Self::Revert),
            _ => None,
        }
    }
}

impl fmt::Display for SwapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Test => "test",
            Self::Permanent => "permanent",
            Self::Revert => "revert",
            Self::Fail => "fail",
        })
    }
}

/// First row that matches (mcuboot: `boot_swap_tables`); swap-offset has a row before them, which asks for a revert
/// when the secondary magic is good, the secondary image_ok unset and the secondary copy_done set:
///
/// | primary magic | secondary magic | primary image_ok | secondary image_ok | primary copy_done | result |
/// |---|---|---|---|---|---|
/// | any | good | any | unset | any | test |
/// | any | good | any | set | any | permanent |
/// | good | any | unset | any | set | revert |
/// | else | | | | | none |
#[must_use]
pub fn decide(mode: Mode, primary: &TrailerState, secondary: &TrailerState) -> SwapType {
    match (primary, secondary) {
        (_, TrailerState { magic: Magic::Good, image_ok: Flag::Unset, copy_done: Flag::Set, .. })
            if mode == Mode::SwapOffset =>
        {
            SwapType::Revert
        }
        (_, TrailerState { magic: Magic::Good, image_ok: Flag::Unset, .. }) => SwapType::Test,
        (_, TrailerState { magic: Magic::Good, image_ok: Flag::Set, .. }) => SwapType::Permanent,
        (TrailerState { magic: Magic::Good, image_ok: Flag::Unset, copy_done: Flag::Set, .. }, _) => SwapType::Revert,
        _ => SwapType::None,
    }
}
