//! One boot, step by step (mcuboot: `loader.c`).

use super::{Boot, Counters, Decision, Flag, Mcuboot, Outcome, Pair, Slot, SwapStatus, SwapType, status, swap_move};
use crate::flash::{Controller, FlashError, Geometry, Interruption};
use crate::image::mcuboot::{IMAGE_MAGIC, ImageHeader, SlotSource};
use crate::image::mcuboot::{header::flags, tlv};

impl Mcuboot {
    /// One complete boot from reset.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. Refused operations end in [`Outcome::Halt`], as the
    /// assertions of the C code do.
    pub fn boot(&self, flash: &mut Controller<'_>) -> Result<Boot, Interruption> {
        self.boot_with(flash, &mut Counters::default())
    }

    /// One complete boot of a device that has security counters.
    ///
    /// # Errors
    /// As [`Mcuboot::boot`].
    pub fn boot_with(&self, flash: &mut Controller<'_>, counters: &mut Counters) -> Result<Boot, Interruption> {
        let _ = counters;
        let mut decisions = Vec::new();
        let outcome = match self.run(flash, &mut decisions) {
            Ok(outcome) => outcome,
            Err(Stop::Flash(FlashError::Interrupted(interruption))) => return Err(interruption),
            Err(Stop::Flash(error)) => {
                Outcome::Halt { reason: format!("the bootloader stops at an assertion: {error}") }
            }
            Err(Stop::Halt(reason)) => {
                Outcome::Halt { reason: format!("the bootloader stops at an assertion: {reason}") }
            }
        };
        Ok(Boot { outcome, decisions, operations: flash.operations() })
    }

    /// Each image in turn; the first one is started.
    fn run(&self, flash: &mut Controller<'_>, decisions: &mut Vec<Decision>) -> Result<Outcome, Stop> {
        let mut first = None;
        for pair in &self.pairs {
            let mut run = Run { config: pair, headers: [ImageHeader::parse(&[0xff; 32]); 2], decisions: Vec::new() };
            let outcome = run.boot(flash);
            decisions.append(&mut run.decisions);
            let outcome = outcome?;
            if !outcome.is_boot() {
                return Ok(outcome);
            }
            first.get_or_insert(outcome);
        }
        first.ok_or(Stop::Halt("a bootloader without images"))
    }
}

/// Why straight-line bootloader code stops.
pub(super) enum Stop {
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
pub(super) struct Run<'a> {
    pub(super) config: &'a Pair,
    headers: [ImageHeader; 2],
    pub(super) decisions: Vec<Decision>,
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
            self.config.trailer(Slot::Primary).write_copy_done(flash)?;
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
            self.config.trailer(Slot::Primary).read_swap_size(flash.flash())?
        };
        swap_move::run(self, flash, status)
    }

    /// Header, payload and TLVs in bytes; 0 without an image (`boot_read_image_size`).
    fn image_size(&self, flash: &Controller<'_>, slot: Slot) -> Result<u32, Stop> {
        let header = self.headers[slot.index()];
        if header.magic != IMAGE_MAGIC {
            return Ok(0);
        }
        let source = SlotSource { flash: flash.flash(), area: self.config.area(slot) };
        match tlv::TlvWalk::begin(&source, &header) {
            Ok(walk) => Ok(walk.end()),
            Err(_) => Err(Stop::Halt("an image to be swapped has no TLV area (loader.c, boot_swap_image)")),
        }
    }

    fn set_image_ok(&mut self, flash: &mut Controller<'_>) -> Result<(), Stop> {
        if self.config.trailer(Slot::Primary).read(flash.flash())?.image_ok == Flag::Unset {
            self.config.trailer(Slot::Primary).write_image_ok(flash)?;
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
        if header.magic == IMAGE_MAGIC {
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
            if header.magic != IMAGE_MAGIC {
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
    pub(super) fn scramble_trailer(&self, flash: &mut Controller<'_>, slot: Slot) -> Result<(), Stop> {
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
