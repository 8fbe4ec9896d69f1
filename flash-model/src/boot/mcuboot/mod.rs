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

pub mod report;
pub mod request;
pub mod status;
pub mod swap_move;
pub mod swap_type;
pub mod trailer;

use crate::flash::{Area, Controller, Flash, FlashError, Geometry, Interruption, Sector};
use crate::image::mcuboot::{ImageHeader, SlotSource, Verified, Verifier};
use crate::image::mcuboot::{header::flags, tlv};
use crate::layout::Layout;
use crate::source::Mistake;

pub use report::{Boot, Decision, Outcome};
pub use request::RequestError;
pub use status::{Phase, SwapStatus};
pub use swap_type::SwapType;
pub use trailer::{Flag, Magic, Trailer, TrailerState};

/// How the bootloader was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `MCUBOOT_MAX_IMG_SECTORS`: decides the size of the status area.
    pub max_sectors: u32,
    /// `MCUBOOT_BOOT_MAX_ALIGN`: distance of the trailer fields in bytes, 8 to 32.
    pub max_align: u32,
    /// `MCUBOOT_VALIDATE_PRIMARY_SLOT`: check hash and signature before each start.
    pub validate_primary: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_sectors: 128, max_align: 8, validate_primary: true }
    }
}

/// An MCUboot that swaps without scratch area.
#[derive(Debug)]
pub struct Mcuboot {
    primary: Trailer,
    secondary: Trailer,
    sectors: [Vec<Sector>; 2],
    options: Options,
    verifier: Verifier,
}

/// Which of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Images run from here.
    Primary,
    /// Updates arrive here.
    Secondary,
}

impl Slot {
    fn index(self) -> usize {
        match self {
            Self::Primary => 0,
            Self::Secondary => 1,
        }
    }
}

impl Mcuboot {
    /// A bootloader for the partitions `primary` and `secondary` of a layout.
    ///
    /// # Errors
    /// A [`Mistake`] when a partition is missing or the trailer does not fit.
    pub fn new(layout: &Layout, options: Options, verifier: Verifier) -> Result<Self, Mistake> {
        let file = format!("layout `{}`", layout.name);
        let area = |name: &str| {
            layout.area(name).ok_or_else(|| {
                Mistake::new(&file, format!("MCUboot needs a partition `{name}`"))
                    .remedy(format!("add a [[partition]] with name = \"{name}\""))
            })
        };
        let (primary, secondary) = (area("primary")?, area("secondary")?);
        let geometry = |area: Area| &layout.devices[usize::from(area.device)].geometry;
        let units = [geometry(primary).program_unit(), geometry(secondary).program_unit()];
        let unit = units[0].max(units[1]);
        if !options.max_align.is_power_of_two() || !(8..=32).contains(&options.max_align) || options.max_align < unit {
            return Err(Mistake::new(&file, format!("a maximum alignment of {} is not possible", options.max_align))
                .remedy("8, 16 or 32, and not less than the program unit"));
        }
        // Records are as far apart as the primary slot demands; only the length of the other trailer, which
        // is erased as a whole, also depends on its own device.
        let stride = |area: Area| if area == primary { units[0] } else { unit };
        let trailer = |area: Area| Trailer::new(area, geometry(area), stride(area), options);
        for area in [primary, secondary] {
            let (len, max) = (trailer(area).len(), area.len);
            if u64::from(len) + 64 > u64::from(max) {
                return Err(Mistake::new(
                    &file,
                    format!("a slot of {max:#x} bytes cannot hold a trailer of {len:#x} bytes"),
                )
                .remedy("a larger slot or a smaller max-sectors"));
            }
        }
        let sectors = [sectors_of(geometry(primary), primary), sectors_of(geometry(secondary), secondary)];
        Ok(Self { primary: trailer(primary), secondary: trailer(secondary), sectors, options, verifier })
    }

    /// The trailer of a slot.
    #[must_use]
    pub fn trailer(&self, slot: Slot) -> &Trailer {
        match slot {
            Slot::Primary => &self.primary,
            Slot::Secondary => &self.secondary,
        }
    }

    /// The slot as a region of flash.
    #[must_use]
    pub fn area(&self, slot: Slot) -> Area {
        self.trailer(slot).area()
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

    /// Checks the image in a slot as a boot would.
    ///
    /// # Errors
    /// Why the bootloader would not accept it.
    pub fn verify(&self, flash: &Flash, slot: Slot) -> Result<Verified, crate::image::mcuboot::ImageError> {
        self.verifier.verify(&SlotSource { flash, area: self.area(slot) }, self.max_image_size())
    }

    /// What the trailers ask the next boot to do, before any image is looked at.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn swap_type(&self, flash: &Flash) -> Result<SwapType, FlashError> {
        Ok(swap_type::decide(&self.primary.read(flash)?, &self.secondary.read(flash)?))
    }

    /// The interrupted swap that the next boot would finish, if there is one.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn interrupted_swap(&self, flash: &Flash) -> Result<Option<SwapStatus>, FlashError> {
        let status = status::read(self, flash)?;
        Ok((!status.is_reset() || status.swap_type != SwapType::None).then_some(status))
    }

    /// Largest image (header, payload and TLVs) in bytes: swap status and, in the primary slot, one
    /// spare sector must fit beside it (mcuboot: `app_max_size`).
    #[must_use]
    pub fn max_image_size(&self) -> u32 {
        let sector = self.sector_size();
        let trailer = self.primary.len().next_multiple_of(sector);
        let available = |slot: Slot, spare: u32| self.area(slot).len.saturating_sub(trailer).saturating_sub(spare);
        available(Slot::Primary, sector).min(available(Slot::Secondary, 0))
    }

    /// One complete boot from reset.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. Refused operations end in [`Outcome::Halt`], as the
    /// assertions of the C code do.
    pub fn boot(&self, flash: &mut Controller<'_>) -> Result<Boot, Interruption> {
        let mut run = Run { config: self, headers: [ImageHeader::parse(&[0xff; 32]); 2], decisions: Vec::new() };
        let outcome = match run.boot(flash) {
            Ok(outcome) => outcome,
            Err(Stop::Flash(FlashError::Interrupted(interruption))) => return Err(interruption),
            Err(Stop::Flash(error)) => {
                Outcome::Halt { reason: format!("the bootloader stops at an assertion: {error}") }
            }
            Err(Stop::Halt(reason)) => {
                Outcome::Halt { reason: format!("the bootloader stops at an assertion: {reason}") }
            }
        };
        Ok(Boot { outcome, decisions: run.decisions, operations: flash.operations() })
    }

    fn sector_size(&self) -> u32 {
        self.sectors[0].first().map_or(1, |sector| sector.size)
    }
}

fn sectors_of(geometry: &Geometry, area: Area) -> Vec<Sector> {
    geometry
        .sectors()
        .iter()
        .filter(|sector| sector.offset >= area.offset && sector.end() <= area.end())
        .map(|sector| Sector { offset: sector.offset - area.offset, ..*sector })
        .collect()
}

/// Why straight-line bootloader code stops.
enum Stop {
    Flash(FlashError),
    /// An assertion of the C code.
    Halt(&'static str),
}

impl From<FlashError> for Stop {
    fn from(error: FlashError) -> Self {
        Self::Flash(error)
    }
}

/// The RAM of one boot.
struct Run<'a> {
    config: &'a Mcuboot,
    headers: [ImageHeader; 2],
    decisions: Vec<Decision>,
}

impl Run<'_> {
    fn boot(&mut self, flash: &mut Controller<'_>) -> Result<Outcome, Stop> {
        let mut status = SwapStatus::reset();
        let swap = self.prepare(flash, &mut status)?;
        status.swap_type = swap;
        match swap {
            SwapType::None => {}
            SwapType::Test | SwapType::Permanent | SwapType::Revert => self.update(flash, &mut status, swap)?,
            // The requested image was lost between two boots. Pretend to have reverted.
            SwapType::Fail => self.set_image_ok(flash)?,
        }
        if swap != SwapType::None {
            self.read_headers(flash)?;
        }
        self.start(flash)
    }

    /// Finishes an interrupted swap, or finds out what to do (`boot_prepare_image_for_update`).
    fn prepare(&mut self, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<SwapType, Stop> {
        self.read_headers(flash)?;
        if let Err(reason) = swap_move::slots_compatible(self.config) {
            self.decisions.push(Decision::SlotsIncompatible(reason));
            return Ok(SwapType::None);
        }
        *status = status::read(self.config, flash.flash())?;
        if !self.read_headers_during(flash, status)? {
            self.decisions.push(Decision::NoPrimaryHeader);
            return Ok(SwapType::None);
        }
        if !status.is_reset() {
            self.decisions.push(Decision::Resume(*status));
            self.complete_swap(flash, status)?;
            self.read_headers(flash)?;
            return Ok(SwapType::None);
        }
        let (asked, lost) = match status.swap_type {
            SwapType::None => (self.config.swap_type(flash.flash())?, SwapType::None),
            resumed => (resumed, SwapType::Fail),
        };
        self.decisions.push(Decision::Asked { swap: asked, status_in_primary: status.in_primary });
        if asked != SwapType::None && !self.validate_secondary(flash, status)? {
            return Ok(lost);
        }
        Ok(asked)
    }

    /// Whether the secondary image may be swapped in; erases what cannot (`boot_validate_slot`).
    fn validate_secondary(&mut self, flash: &mut Controller<'_>, status: &SwapStatus) -> Result<bool, Stop> {
        let header = self.headers[Slot::Secondary.index()];
        let erased = u32::from_ne_bytes([self.erased_value(flash, Slot::Secondary); 4]);
        if header.magic == erased || header.flags & flags::NON_BOOTABLE != 0 {
            self.decisions.push(Decision::SecondaryEmpty { erased: header.magic == erased });
            // An interrupted erase may have left the trailer, which would ask again for ever.
            self.scramble_trailer(flash, Slot::Secondary)?;
            if status.swap_type == SwapType::Revert || self.config.swap_type(flash.flash())? == SwapType::Revert {
                self.decisions.push(Decision::StuckRevertCleared);
                self.scramble_trailer(flash, Slot::Primary)?;
            }
            return Ok(false);
        }
        match self.config.verify(flash.flash(), Slot::Secondary) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.decisions.push(Decision::SecondaryRejected(error));
                for sector in &self.config.sectors[Slot::Secondary.index()] {
                    flash.checkpoint("scramble slot", [sector.index as u32, 0, 0, 0])?;
                    flash.erase(self.config.area(Slot::Secondary), sector.offset, sector.size)?;
                }
                Ok(false)
            }
        }
    }

    /// `boot_perform_update`.
    fn update(&mut self, flash: &mut Controller<'_>, status: &mut SwapStatus, swap: SwapType) -> Result<(), Stop> {
        self.swap_image(flash, status)?;
        // As the C code has it: the type that was asked for, also when there was no room to swap.
        self.finish_swap(flash, swap)
    }

    /// `boot_complete_partial_swap`.
    fn complete_swap(&mut self, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
        self.swap_image(flash, status)?;
        self.finish_swap(flash, status.swap_type)
    }

    fn finish_swap(&mut self, flash: &mut Controller<'_>, swap: SwapType) -> Result<(), Stop> {
        if matches!(swap, SwapType::Revert | SwapType::Permanent) {
            self.set_image_ok(flash)?;
        }
        if matches!(swap, SwapType::Test | SwapType::Revert | SwapType::Permanent) {
            self.config.primary.write_copy_done(flash)?;
            if !self.decisions.iter().any(|decision| matches!(decision, Decision::NoRoomToSwap { .. })) {
                self.decisions.push(Decision::Swapped(swap));
            }
        }
        Ok(())
    }

    /// `boot_swap_image`: a new swap takes its size from the images, a resumed one from the trailer.
    fn swap_image(&mut self, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
        status.swap_size = if status.is_reset() {
            let primary = self.image_size(flash, Slot::Primary)?;
            let secondary = self.image_size(flash, Slot::Secondary)?;
            primary.max(secondary)
        } else {
            self.config.primary.read_swap_size(flash.flash())?
        };
        swap_move::run(self, flash, status)
    }

    /// Header, payload and TLVs in bytes; 0 without an image (`boot_read_image_size`).
    fn image_size(&self, flash: &Controller<'_>, slot: Slot) -> Result<u32, Stop> {
        let header = self.headers[slot.index()];
        if header.magic != crate::image::mcuboot::IMAGE_MAGIC {
            return Ok(0);
        }
        let source = SlotSource { flash: flash.flash(), area: self.config.area(slot) };
        match tlv::TlvWalk::begin(&source, &header) {
            Ok(walk) => Ok(walk.end()),
            Err(_) => Err(Stop::Halt("an image to be swapped has no TLV area (loader.c, boot_swap_image)")),
        }
    }

    fn set_image_ok(&mut self, flash: &mut Controller<'_>) -> Result<(), Stop> {
        if self.config.primary.read(flash.flash())?.image_ok == Flag::Unset {
            self.config.primary.write_image_ok(flash)?;
        }
        Ok(())
    }

    /// Validates the primary slot and starts its image.
    fn start(&mut self, flash: &Controller<'_>) -> Result<Outcome, Stop> {
        let header = self.headers[Slot::Primary.index()];
        let area = self.config.area(Slot::Primary);
        if header.magic == u32::from_ne_bytes([self.erased_value(flash, Slot::Primary); 4]) {
            return Ok(Outcome::NoBootableImage { reason: "the primary slot is empty".into() });
        }
        if header.flags & flags::NON_BOOTABLE != 0 && self.config.options.validate_primary {
            return Ok(Outcome::NoBootableImage { reason: "the primary image is marked as not bootable".into() });
        }
        if self.config.options.validate_primary {
            return Ok(match self.config.verify(flash.flash(), Slot::Primary) {
                Ok(verified) => Outcome::Boot { offset: area.offset, header, hash: Some(verified.hash) },
                Err(error) => Outcome::NoBootableImage { reason: format!("the primary image is not valid: {error}") },
            });
        }
        if header.magic == crate::image::mcuboot::IMAGE_MAGIC {
            Ok(Outcome::Boot { offset: area.offset, header, hash: None })
        } else {
            Ok(Outcome::NoBootableImage { reason: format!("the primary slot has the magic {:#010x}", header.magic) })
        }
    }

    /// Both headers from the starts of the slots.
    fn read_headers(&mut self, flash: &Controller<'_>) -> Result<(), Stop> {
        for slot in [Slot::Primary, Slot::Secondary] {
            self.headers[slot.index()] = self.header_at(flash, slot, 0)?;
        }
        Ok(())
    }

    /// Both headers from where they are at this point of a swap; `false` when one that is needed is
    /// missing (`boot_read_image_headers` with a status).
    fn read_headers_during(&mut self, flash: &Controller<'_>, status: &SwapStatus) -> Result<bool, Stop> {
        for slot in [Slot::Primary, Slot::Secondary] {
            let (place, offset) = swap_move::header_place(self.config, flash.flash(), slot, status)?;
            let header = self.header_at(flash, place, offset)?;
            self.headers[slot.index()] = header;
            if header.magic != crate::image::mcuboot::IMAGE_MAGIC {
                return Ok(slot == Slot::Secondary && status.is_reset());
            }
        }
        Ok(true)
    }

    fn header_at(&self, flash: &Controller<'_>, slot: Slot, offset: u32) -> Result<ImageHeader, Stop> {
        let mut bytes = [0; 32];
        flash.read(self.config.area(slot), offset, &mut bytes)?;
        Ok(ImageHeader::parse(&bytes))
    }

    /// Erases the sectors that hold a trailer, the last one first, so that the magic goes first.
    fn scramble_trailer(&self, flash: &mut Controller<'_>, slot: Slot) -> Result<(), Stop> {
        let trailer = self.config.trailer(slot);
        let first = trailer.area().len - trailer.len();
        for sector in self.config.sectors[slot.index()].iter().rev() {
            if sector.end() <= first {
                break;
            }
            flash.erase(trailer.area(), sector.offset, sector.size)?;
        }
        Ok(())
    }

    fn erased_value(&self, flash: &Controller<'_>, slot: Slot) -> u8 {
        flash.geometry(self.config.area(slot)).map_or(0xff, Geometry::erased_value)
    }
}
