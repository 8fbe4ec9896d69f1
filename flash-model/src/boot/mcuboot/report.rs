//! What a boot did, and why.

use std::fmt;

use super::{Magic, Phase, Slot, StatusSource, SwapStatus, SwapType};
use crate::flash::Refusal;
use crate::image::mcuboot::{ImageError, ImageHeader, ImageVersion};

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An image was started.
    Boot {
        /// Offset of the image on its device in bytes.
        offset: u32,
        /// Its header.
        header: ImageHeader,
        /// Its hash; `None` when the bootloader does not validate what it starts.
        hash: Option<[u8; 32]>,
    },
    /// No image the bootloader would start; it waits for a debugger.
    NoBootableImage {
        /// Why.
        reason: String,
    },
    /// An assertion failed; every further boot ends like this one unless something changes.
    Halt {
        /// Which.
        reason: String,
    },
}

impl Outcome {
    /// Whether an image was started.
    #[must_use]
    pub fn is_boot(&self) -> bool {
        matches!(self, Self::Boot { .. })
    }
}

/// A complete boot.
pub type Boot = crate::boot::report::Boot<Outcome, Decision>;

impl Boot {
    /// The swap that this boot performed or finished; an overwritten image is a permanent one.
    #[must_use]
    pub fn swapped(&self) -> Option<SwapType> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Swapped(swap) => Some(*swap),
            Decision::Overwritten { .. } => Some(SwapType::Permanent),
            _ => None,
        })
    }
}

/// A turn that a boot took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// What follows is about this image; only where there are several.
    Image(usize),
    /// The slots cannot be swapped.
    SlotsIncompatible(String),
    /// No image header in the primary slot: nothing is swapped.
    NoPrimaryHeader,
    /// An interrupted swap is finished.
    Resume(SwapStatus),
    /// The trailers ask for this.
    Asked {
        /// For what.
        swap: SwapType,
        /// A trailer was already prepared for it when power was lost.
        resumed: bool,
    },
    /// There is nothing to swap in.
    SecondaryEmpty {
        /// The slot is erased; otherwise its image is marked as not bootable.
        erased: bool,
    },
    /// A revert was asked for and there is nothing to revert to: the request is removed.
    StuckRevertCleared,
    /// The secondary image is not valid; its slot is erased.
    SecondaryRejected(ImageError),
    /// The secondary slot has an image in its first sector, where swap-offset wants none; the slot is erased.
    UpdateAtWrongSector,
    /// Direct-XIP starts the image in this slot.
    Chosen {
        /// The slot.
        slot: Slot,
    },
    /// Direct-XIP: the image is linked for another place, and is left out.
    LinkedElsewhere {
        /// The slot.
        slot: Slot,
        /// The address that the image wants.
        address: u32,
    },
    /// Direct-XIP: the image is marked as not bootable, and is left out.
    NotBootable {
        /// The slot.
        slot: Slot,
    },
    /// Direct-XIP: the image is not valid; its slot is erased.
    Rejected {
        /// The slot.
        slot: Slot,
        /// Why it is not.
        error: ImageError,
    },
    /// Direct-XIP with revert: the image was tried and not confirmed, or has no trailer; its slot is erased.
    GivenUp {
        /// The slot.
        slot: Slot,
        /// The magic of its trailer.
        magic: Magic,
    },
    /// Direct-XIP with revert: the image is tried for the first time.
    Tried {
        /// The slot.
        slot: Slot,
    },
    /// The images are too large to be swapped.
    NoRoomToSwap {
        /// Bytes of the primary slot that the swap needs.
        needed: u32,
        /// Bytes below the trailer.
        available: u32,
    },
    /// The device refused a status record.
    StatusNotWritten(Refusal),
    /// The status records have a hole: one of them could not be written.
    StatusInconsistent,
    /// The primary slot has no valid image and is filled with the secondary one.
    Bootstrap,
    /// The update is older than the installed image and is erased.
    DowngradeByVersion {
        /// In the primary slot.
        installed: ImageVersion,
        /// In the secondary slot.
        update: ImageVersion,
    },
    /// The update has a lower security counter than the installed image, or none, and is erased.
    DowngradeByCounter {
        /// In the primary slot.
        installed: u32,
        /// In the secondary slot.
        update: Option<u32>,
    },
    /// The dependencies of an image cannot be read: nothing is updated.
    DependenciesUnreadable {
        /// Its number.
        image: usize,
    },
    /// An image would not find what it needs: nothing is updated.
    DependencyUnmet {
        /// The image that needs something.
        image: usize,
        /// What it needs.
        other: usize,
        /// At least in this version.
        needed: ImageVersion,
        /// The version there would be.
        found: ImageVersion,
    },
    /// The security counter of the device was raised.
    CounterRaised {
        /// From this value.
        from: u32,
        /// To that of the image.
        to: u32,
    },
    /// The primary image was replaced.
    Overwritten {
        /// Bytes copied.
        bytes: u32,
    },
    /// A swap was performed or finished.
    Swapped(SwapType),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotsIncompatible(reason) => write!(f, "the slots cannot be swapped: {reason}"),
            Self::NoPrimaryHeader => f.write_str("the primary slot has no image header: nothing is swapped"),
            Self::Image(image) => write!(f, "image {image}:"),
            Self::Resume(status) => {
                let phase = match (status.source, status.phase) {
                    (StatusSource::Scratch, _) => "exchanging the sectors beside the trailer",
                    (_, Phase::Move) if status.state == 1 => "moving sectors",
                    (_, Phase::Move | Phase::Swap) => "exchanging sectors",
                };
                write!(
                    f,
                    "a {} swap of {} bytes was interrupted while {phase}, at step {} part {}: it is finished",
                    status.swap_type, status.swap_size, status.index, status.state
                )
            }
            Self::Asked { swap: SwapType::None, .. } => f.write_str("the trailers ask for no swap"),
            Self::Asked { swap, resumed: false } => write!(f, "the trailers ask for a {swap} swap"),
            Self::Asked { swap, resumed: true } => {
                write!(f, "a {swap} swap was interrupted before its first step: it starts again")
            }
            Self::SecondaryEmpty { erased: true } => {
                f.write_str("the secondary slot has no image: its trailer is erased, nothing is swapped")
            }
            Self::SecondaryEmpty { erased: false } => {
                f.write_str("the secondary image is marked as not bootable: its trailer is erased, nothing is swapped")
            }
            Self::StuckRevertCleared => {
                f.write_str("a revert was asked for and there is nothing to revert to: the primary trailer is erased")
            }
            Self::SecondaryRejected(error) => {
                write!(f, "the secondary image is refused ({error}): its slot is erased, nothing is swapped")
            }
            Self::UpdateAtWrongSector => f.write_str(
                "the secondary slot has an image in its first sector, and this bootloader wants an update in the second: \
                 its slot is erased, nothing is swapped",
            ),
            Self::Chosen { slot } => write!(f, "the image in the {slot} slot has the highest version that is left, and runs there"),
            Self::LinkedElsewhere { slot, address } => {
                write!(f, "the image in the {slot} slot is linked for {address:#x}, where that slot is not: left out")
            }
            Self::NotBootable { slot } => {
                write!(f, "the image in the {slot} slot is marked as not bootable: left out")
            }
            Self::Rejected { slot, error } => {
                write!(f, "the image in the {slot} slot is refused ({error}): its slot is erased")
            }
            Self::GivenUp { slot, magic: Magic::Good } => {
                write!(f, "the image in the {slot} slot was tried and not confirmed: its slot is erased")
            }
            Self::GivenUp { slot, magic } => {
                write!(f, "the image in the {slot} slot has no good trailer (magic {magic}): its slot is erased")
            }
            Self::Tried { slot } => {
                write!(f, "the image in the {slot} slot is tried: unless confirmed, the next boot erases it")
            }
            Self::NoRoomToSwap { needed, available } => write!(
                f,
                "no room to swap: {needed:#x} bytes of the primary slot are needed, {available:#x} are below the trailer"
            ),
            Self::StatusNotWritten(refusal) => write!(f, "a status record was not written: {refusal}"),
            Self::StatusInconsistent => f.write_str("the status records have a hole: one of them was not written"),
            Self::Bootstrap => f.write_str("the primary slot has no valid image: it is filled from the secondary slot"),
            Self::DowngradeByVersion { installed, update } => {
                write!(f, "version {update} is older than the installed {installed}: the secondary slot is erased")
            }
            Self::DowngradeByCounter { installed, update: Some(update) } => write!(
                f,
                "security counter {update} is lower than the installed {installed}: the secondary slot is erased"
            ),
            Self::DowngradeByCounter { installed, update: None } => write!(
                f,
                "the installed image has security counter {installed}, the update has none: the secondary slot is erased"
            ),
            Self::DependenciesUnreadable { image } => {
                write!(f, "the dependencies of image {image} cannot be read: no image is updated")
            }
            Self::DependencyUnmet { image, other, needed, found } => {
                write!(
                    f,
                    "image {image} needs image {other} in version {needed}, which would be {found}: no image is updated"
                )
            }
            Self::CounterRaised { from, to } => write!(f, "the security counter was raised from {from} to {to}"),
            Self::Overwritten { bytes } => write!(f, "the primary image was replaced: {bytes:#x} bytes copied"),
            Self::Swapped(SwapType::Test) => {
                f.write_str("the images were swapped for a test: unless confirmed, the next boot swaps back")
            }
            Self::Swapped(SwapType::Permanent) => f.write_str("the images were swapped for good"),
            Self::Swapped(SwapType::Revert) => f.write_str("the images were swapped back"),
            Self::Swapped(swap) => write!(f, "a {swap} swap ended"),
        }
    }
}
