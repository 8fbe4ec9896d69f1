//! MCUboot: one or several images, each with a primary and a secondary slot (mcuboot:
//! `boot/bootutil/src/loader.c`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`trailer`] | the fields at the end of a slot and how they are read and written |
//! | [`status`] | the status records of a swap in progress |
//! | [`swap_type`] | which trailers ask for which swap |
//! | [`swap_move`] | the swap without scratch area, with tables of the flash contents |
//! | [`swap_offset`] | the swap that needs no move, likewise |
//! | [`swap_scratch`] | the swap through a scratch area, likewise |
//! | [`direct_xip`] | images that are not moved, likewise |
//! | [`overwrite_only`] | the update without a way back, likewise |
//! | [`pair`] | the slots of one image |
//! | [`fields`] | trailers decoded for people |
//! | [`counters`] | security counters of the device |
//! | [`request`] | what the application writes: set-pending, set-confirmed |
//! | [`report`] | what a boot did and why |
//! | [`explain`] | what is in the slots, what is wrong with it and what would help, in words |
//!
//! # One boot
//!
//! | step | what happens | source |
//! |---|---|---|
//! | 1 | for each image: incompatible slots: no update | `boot_slots_compatible` |
//! | 2 | a swap was interrupted: finish it as what it was | `swap_read_status`, `boot_complete_partial_swap` |
//! | 3 | else the trailers say what is asked for | `boot_swap_type_multi` |
//! | 4 | the secondary image must be valid, or its slot is erased and nothing is installed | `boot_validate_slot` |
//! | 5 | several images: each must find the versions of the others that it needs | `boot_verify_dependencies` |
//! | 6 | for each image: too old an update is erased | `check_downgrade_prevention` |
//! | 7 | install; in the swap modes image_ok for a permanent swap or a revert; copy_done last | `boot_perform_update` |
//! | 8 | each primary image must be valid, or the device does not boot; image 0 is started | `context_boot_go` |
//!
//! Agreement with the real MCUboot, operation by operation, is tested in `tests/golden_mcuboot.rs`.

pub mod counters;
mod dependencies;
pub mod direct_xip;
mod erase;
pub mod explain;
pub mod fields;
mod flaw;
pub mod overwrite_only;
pub mod pair;
pub mod report;
pub mod request;
mod run;
mod sectors;
pub mod status;
pub mod swap_move;
pub mod swap_offset;
pub mod swap_scratch;
pub mod swap_type;
pub mod trailer;

use std::sync::Arc;

use crate::flash::{Area, Flash, FlashError};
use crate::image::mcuboot::{ImageHeader, ImageVersion, Verified, Verifier};
use crate::layout::Layout;
use crate::source::Mistake;

pub use counters::Counters;
pub use fields::{DecodedTrailer, Field, Place, StatusRecord};
pub use flaw::Flaw;
pub use pair::{Pair, Slot};
pub use report::{Boot, Decision, Outcome};
pub use request::RequestError;
pub use status::{Phase, StatusSource, SwapStatus};
pub use swap_type::SwapType;
pub use trailer::{Flag, Magic, Trailer, TrailerState};

use run::{Run, Stop};
use std::cmp::Ordering;

/// How an update comes into the primary slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Mode {
    /// `MCUBOOT_SWAP_USING_MOVE`: the images change places, one spare sector helps.
    #[default]
    SwapMove,
    /// `MCUBOOT_SWAP_USING_SCRATCH`: the images change places through a third area.
    SwapScratch,
    /// `MCUBOOT_SWAP_USING_OFFSET`: the images change places, an update lies one sector higher.
    SwapOffset,
    /// `MCUBOOT_DIRECT_XIP`: the newer of two images runs where it lies.
    DirectXip {
        /// `MCUBOOT_DIRECT_XIP_REVERT`: one that was tried and not confirmed is given up.
        revert: bool,
    },
    /// `MCUBOOT_OVERWRITE_ONLY`: the new image replaces the old one.
    OverwriteOnly {
        /// `MCUBOOT_OVERWRITE_ONLY_FAST`: copy only the sectors the image has.
        fast: bool,
    },
}

/// Which updates are refused as too old. One as old as the installed image is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Downgrade {
    /// None.
    #[default]
    Allowed,
    /// Those with a lower version. In the swap modes a revert is not an update.
    ByVersion,
    /// Those with a lower security counter than the installed image, in the swap modes;
    /// overwrite-only looks at the version (`MCUBOOT_DOWNGRADE_PREVENTION_SECURITY_COUNTER`).
    BySecurityCounter,
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
    /// `MCUBOOT_BOOTSTRAP`: fill a primary slot without a valid image.
    pub bootstrap: bool,
    /// `MCUBOOT_DOWNGRADE_PREVENTION`: which updates are too old.
    pub downgrade: Downgrade,
    /// `MCUBOOT_VERSION_CMP_USE_BUILD_NUMBER`: the build number is part of the version.
    pub compare_build_number: bool,
    /// `MCUBOOT_HW_ROLLBACK_PROT`: images must have a security counter, not less than that of the
    /// device ([`Counters`]).
    pub hardware_rollback_protection: bool,
    /// `MCUBOOT_OVERWRITE_ONLY_KEEP_BACKUP`: leave the secondary header when it was copied.
    pub keep_backup: bool,
    /// `MCUBOOT_MINIMAL_SCRAMBLE`: of a refused image erase only header and trailer.
    pub minimal_scramble: bool,
    /// A mistake that MCUboot once had.
    pub flaw: Option<Flaw>,
}

impl Options {
    /// Compares versions as this build does (mcuboot: `boot_compare_version`).
    #[must_use]
    pub fn compare(&self, one: ImageVersion, other: ImageVersion) -> Ordering {
        let key = |version: ImageVersion| {
            let build = if self.compare_build_number { version.build } else { 0 };
            (version.major, version.minor, version.revision, build)
        };
        key(one).cmp(&key(other))
    }

    /// Whether the build has this mistake, in this mode.
    fn has(&self, flaw: Flaw, mode: Mode) -> bool {
        self.flaw == Some(flaw) && self.mode == mode
    }

    fn older(&self, one: &ImageHeader, other: &ImageHeader) -> bool {
        self.compare(one.version, other.version).is_lt()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            max_sectors: 128,
            max_align: 8,
            validate_primary: true,
            bootstrap: false,
            downgrade: Downgrade::default(),
            compare_build_number: false,
            hardware_rollback_protection: false,
            keep_backup: false,
            minimal_scramble: false,
            flaw: None,
        }
    }
}

/// An MCUboot for one or several images.
#[derive(Debug)]
pub struct Mcuboot {
    pairs: Vec<Pair>,
    options: Options,
    verifier: Arc<Verifier>,
}

/// Most images of one bootloader: the image number has half a byte in the trailer, of which one value is kept
/// free.
pub const IMAGES_MAX: usize = 15;

impl Mcuboot {
    /// A bootloader for the partitions of a layout.
    ///
    /// Image 0 has the partitions `primary` and `secondary`, image `n` has `primary-n` and `secondary-n`;
    /// the layout decides how many there are. Swap-scratch needs the partition `scratch` for all of them.
    ///
    /// # Errors
    /// A [`Mistake`] when a partition is missing or a trailer does not fit.
    pub fn new(layout: &Layout, options: Options, verifier: Verifier) -> Result<Self, Mistake> {
        let verifier = Arc::new(verifier);
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
        let several = pairs.len() > 1;
        pairs.iter_mut().for_each(|pair| pair.several = several);
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
