//! What a boot did, and why.

use std::fmt;

use super::{Phase, SwapStatus, SwapType};
use crate::flash::Refusal;
use crate::image::mcuboot::{ImageError, ImageHeader};

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did what it did, in order.
    pub decisions: Vec<Decision>,
    /// Flash operations performed.
    pub operations: u64,
}

impl Boot {
    /// The swap that this boot performed or finished.
    #[must_use]
    pub fn swapped(&self) -> Option<SwapType> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::Swapped(swap) => Some(*swap),
            _ => None,
        })
    }
}

/// A turn that a boot took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
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
        /// The primary trailer was already prepared when power was lost.
        status_in_primary: bool,
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
    /// The images are too large to be swapped.
    NoRoomToSwap {
        /// Bytes of the primary slot that the swap needs.
        needed: u32,
        /// Bytes below the trailer.
        available: u32,
    },
    /// The device refused a status record.
    StatusNotWritten(Refusal),
    /// A swap was performed or finished.
    Swapped(SwapType),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SlotsIncompatible(reason) => write!(f, "the slots cannot be swapped: {reason}"),
            Self::NoPrimaryHeader => f.write_str("the primary slot has no image header: nothing is swapped"),
            Self::Resume(status) => {
                let phase = match status.phase {
                    Phase::Move => "moving sectors up",
                    Phase::Swap => "exchanging sectors",
                };
                write!(
                    f,
                    "a {} swap of {} bytes was interrupted while {phase}, at step {} half {}: it is finished",
                    status.swap_type, status.swap_size, status.index, status.state
                )
            }
            Self::Asked { swap: SwapType::None, .. } => f.write_str("the trailers ask for no swap"),
            Self::Asked { swap, status_in_primary: false } => write!(f, "the trailers ask for a {swap} swap"),
            Self::Asked { swap, status_in_primary: true } => {
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
            Self::NoRoomToSwap { needed, available } => write!(
                f,
                "no room to swap: {needed:#x} bytes of the primary slot are needed, {available:#x} are below the trailer"
            ),
            Self::StatusNotWritten(refusal) => write!(f, "a status record was not written: {refusal}"),
            Self::Swapped(SwapType::Test) => {
                f.write_str("the images were swapped for a test: unless confirmed, the next boot swaps back")
            }
            Self::Swapped(SwapType::Permanent) => f.write_str("the images were swapped for good"),
            Self::Swapped(SwapType::Revert) => f.write_str("the images were swapped back"),
            Self::Swapped(swap) => write!(f, "a {swap} swap ended"),
        }
    }
}
