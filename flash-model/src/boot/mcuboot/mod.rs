//! MCUboot, one image with a primary and a secondary slot (mcuboot: `boot/bootutil/src/loader.c`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`trailer`] | the fields at the end of a slot and how they are read and written |
//! | [`status`] | the status records of a swap in progress |
//! | [`swap_type`] | which trailers ask for which swap |
//! | [`swap_move`] | the swap without scratch area, with tables of the flash contents |
//! | [`request`] | what the application writes: set-pending, set-confirmed |
//! | [`report`] | what a boot did and why |
//! | [`explain`] | what is in the slots, what is wrong with it and what would help, in words |
//!
//! # One boot
//!
//! | step | what happens | source |
//! |---|---|---|
//! | 1 | incompatible slots: no swap, boot the primary slot as it is | `boot_slots_compatible` |
//! | 2 | a swap was interrupted: finish it as what it was | `swap_read_status`, `boot_complete_partial_swap` |
//! | 3 | else the trailers say what is asked for | `boot_swap_type_multi` |
//! | 4 | the secondary image must be valid, or its slot is erased and nothing is swapped | `boot_validate_slot` |
//! | 5 | swap; image_ok for a permanent swap or a revert; copy_done last | `boot_perform_update` |
//! | 6 | the primary image must be valid, or the device does not boot | `context_boot_go` |
//!
//! Agreement with the real MCUboot, operation by operation, is tested in `tests/golden_mcuboot.rs`.

pub mod counters;
pub mod explain;
pub mod pair;
pub mod report;
pub mod request;
mod run;
pub mod status;
pub mod swap_move;
pub mod swap_type;
pub mod trailer;

use std::sync::Arc;

use crate::flash::{Area, Flash, FlashError};
use crate::image::mcuboot::{Verified, Verifier};
use crate::layout::Layout;
use crate::source::Mistake;

pub use counters::Counters;
pub use pair::{Pair, Slot};
pub use report::{Boot, Decision, Outcome};
pub use request::RequestError;
pub use status::{Phase, SwapStatus};
pub use swap_type::SwapType;
pub use trailer::{Flag, Magic, Trailer, TrailerState};

use run::{Run, Stop};

/// How an update comes into the primary slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// `MCUBOOT_SWAP_USING_MOVE`: the images change places, one spare sector helps.
    #[default]
    SwapMove,
    /// `MCUBOOT_SWAP_USING_SCRATCH`: the images change places through a third area.
    SwapScratch,
    /// `MCUBOOT_OVERWRITE_ONLY`: the new image replaces the old one.
    OverwriteOnly {
        /// `MCUBOOT_OVERWRITE_ONLY_FAST`: copy only the sectors the image has.
        fast: bool,
    },
}

/// How the bootloader was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How updates are installed.
    pub mode: Mode,
    /// `MCUBOOT_MAX_IMG_SECTORS`: decides the size of the status area.
    pub max_sectors: u32,
    /// `MCUBOOT_BOOT_MAX_ALIGN`: distance of the trailer fields in bytes, 8 to 32.
    pub max_align: u32,
    /// `MCUBOOT_VALIDATE_PRIMARY_SLOT`: check hash and signature before each start.
    pub validate_primary: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { mode: Mode::default(), max_sectors: 128, max_align: 8, validate_primary: true }
    }
}

/// An MCUboot for one or several images.
#[derive(Debug)]
pub struct Mcuboot {
    pairs: Vec<Pair>,
    options: Options,
    verifier: Arc<Verifier>,
}

/// Most images of one bootloader: the image number has half a byte in the trailer.
pub const IMAGES_MAX: usize = 16;

impl Mcuboot {
    /// A bootloader for the partitions of a layout.
    ///
    /// Image 0 has the partitions `primary` and `secondary`, image `n` has `primary-n` and `secondary-n`;
    /// the layout decides how many there are.
    ///
    /// # Errors
    /// A [`Mistake`] when a partition is missing or the trailer does not fit.
    pub fn new(layout: &Layout, options: Options, verifier: Verifier) -> Result<Self, Mistake> {
        let verifier = Arc::new(verifier);
        if options.mode != Mode::SwapMove {
            return Err(Mistake::new(format!("layout `{}`", layout.name), "only swap-move is built yet"));
        }
        let mut pairs = vec![Pair::new(layout, 0, options, &verifier)?];
        while layout.area(&pair::partition(Slot::Primary, pairs.len())).is_some() {
            if pairs.len() == IMAGES_MAX {
                return Err(Mistake::new(
                    format!("layout `{}`", layout.name),
                    format!("an MCUboot has at most {IMAGES_MAX} images"),
                ));
            }
            pairs.push(Pair::new(layout, pairs.len(), options, &verifier)?);
        }
        Ok(Self { pairs, options, verifier })
    }

    /// Number of images, each with a primary and a secondary slot; at least 1.
    #[must_use]
    pub fn image_count(&self) -> usize {
        self.pairs.len()
    }

    /// The slots of one image.
    #[must_use]
    pub fn pair(&self, image: usize) -> Option<&Pair> {
        self.pairs.get(image)
    }

    /// The slots of all images, from image 0.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Image 0, which every MCUboot has.
    fn first(&self) -> &Pair {
        &self.pairs[0]
    }

    /// The trailer of a slot of image 0.
    #[must_use]
    pub fn trailer(&self, slot: Slot) -> &Trailer {
        self.first().trailer(slot)
    }

    /// A slot of image 0 as a region of flash.
    #[must_use]
    pub fn area(&self, slot: Slot) -> Area {
        self.first().area(slot)
    }

    /// How it was built.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// Its keys.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// [`Pair::verify`] of image 0.
    ///
    /// # Errors
    /// Why the bootloader would not accept it.
    pub fn verify(&self, flash: &Flash, slot: Slot) -> Result<Verified, crate::image::mcuboot::ImageError> {
        self.first().verify(flash, slot)
    }

    /// [`Pair::swap_type`] of image 0.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn swap_type(&self, flash: &Flash) -> Result<SwapType, FlashError> {
        self.first().swap_type(flash)
    }

    /// [`Pair::interrupted_swap`] of image 0.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn interrupted_swap(&self, flash: &Flash) -> Result<Option<SwapStatus>, FlashError> {
        self.first().interrupted_swap(flash)
    }

    /// [`Pair::max_image_size`] of image 0.
    #[must_use]
    pub fn max_image_size(&self) -> u32 {
        self.first().max_image_size()
    }
}
