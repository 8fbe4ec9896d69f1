//! One boot, step by step (mcuboot: `loader.c`, `context_boot_go`).

use super::erase::unless_refused;
use super::{
    Boot, Counters, Decision, Downgrade, Flag, Flaw, Magic, Mcuboot, Mode, Outcome, Pair, Slot, StatusSource,
    SwapStatus, SwapType, overwrite_only, status, swap_move, swap_offset, swap_scratch,
};
use super::{dependencies, direct_xip};
use crate::flash::{Area, Controller, FlashError, Geometry, Interruption};
use crate::image::mcuboot::{IMAGE_MAGIC, ImageError, ImageHeader, SlotSource};
use crate::image::mcuboot::{header::flags, tlv};

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

/// What is known of an image when the interrupted swaps are finished.
#[derive(PartialEq, Eq)]
enum Prepared {
    /// Nothing can be updated.
    Unfit,
    /// An interrupted swap was finished.
    Resumed,
    /// The trailers were asked.
    Decided,
}

impl Mcuboot {
    /// One complete boot from reset of a device without security counters.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. Refused operations end in [`Outcome::Halt`], as the
    /// assertions of the C code do.
    pub fn boot(&self, flash: &mut Controller<'_>) -> Result<Boot, Interruption> {
        self.boot_with(flash, &mut Counters::default())
    }

    /// One complete boot of a device with security counters, which only a bootloader built for
    /// [`hardware_rollback_protection`](super::Options::hardware_rollback_protection) looks at.
    ///
    /// # Errors
    /// As [`Mcuboot::boot`].
    pub fn boot_with(&self, flash: &mut Controller<'_>, counters: &mut Counters) -> Result<Boot, Interruption> {
        let mut decisions = Vec::new();
        let outcome = match self.run(flash, counters, &mut decisions) {
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

    fn run(
        &self,
        flash: &mut Controller<'_>,
        counters: &mut Counters,
        decisions: &mut Vec<Decision>,
    ) -> Result<Outcome, Stop> {
        if let Mode::DirectXip { .. } = self.options().mode {
            return direct_xip::run(self, flash, counters, decisions);
        }
        let mut runs: Vec<_> = self.pairs().iter().map(Run::new).collect();
        let several = runs.len() > 1;
        let mut upgrades = false;
        for image in 0..runs.len() {
            let prepared = runs[image].prepare(flash, counters);
            runs[image].report(decisions);
            let prepared = prepared?;
            review(&mut runs[..=image], &prepared);
            if prepared == Prepared::Decided {
                let bootstrapped = runs[image].bootstrap(flash, counters);
                runs[image].report(decisions);
                bootstrapped?;
            }
            upgrades |= runs[image].swap.is_upgrade();
        }
        if several && upgrades {
            dependencies::check(&mut runs, flash, decisions)?;
        }
        for run in &mut runs {
            if several {
                run.status = SwapStatus { swap_type: run.swap, ..SwapStatus::reset() };
            }
            let performed = run.perform(flash, counters);
            run.report(decisions);
            performed?;
        }
        let mut first = None;
        for run in &mut runs {
            let started = run.start(flash, counters);
            run.report(decisions);
            match started? {
                outcome @ Outcome::Boot { .. } => first = first.or(Some(outcome)),
                outcome => return Ok(outcome),
            }
        }
        first.ok_or(Stop::Halt("a bootloader without images"))
    }
}

/// An update of several images that lost power between two of them: the ones that are done are no
/// unconfirmed images to be reverted (`boot_review_image_swap_types`).
fn review(runs: &mut [Run<'_>], prepared: &Prepared) {
    let Some((current, before)) = runs.split_last_mut() else { return };
    let interrupted = match prepared {
        Prepared::Unfit => false,
        Prepared::Resumed => true,
        Prepared::Decided => current.wild || !matches!(current.swap, SwapType::None | SwapType::Revert),
    };
    if interrupted {
        for run in before.iter_mut().filter(|run| run.swap == SwapType::Revert) {
            run.swap = SwapType::None;
        }
    }
}

/// The RAM of one boot that belongs to one image.
pub(super) struct Run<'a> {
    pub(super) config: &'a Pair,
    pub(super) headers: [ImageHeader; 2],
    pub(super) decisions: Vec<Decision>,
    /// What will be done.
    pub(super) swap: SwapType,
    /// Where in the secondary slot its image begins (mcuboot: `secondary_offset`).
    pub(super) secondary_offset: u32,
    /// Sizes of the unprotected TLV areas, as far as they are known.
    pub(super) tlv_sizes: [u16; 2],
    status: SwapStatus,
    /// The type of the interrupted swap is none the bootloader knows.
    wild: bool,
}

impl<'a> Run<'a> {
    fn new(config: &'a Pair) -> Self {
        Self {
            config,
            headers: [ImageHeader::parse(&[0xff; 32]); 2],
            decisions: Vec::new(),
            swap: SwapType::None,
            secondary_offset: 0,
            tlv_sizes: [0; 2],
            status: SwapStatus::reset(),
            wild: false,
        }
    }

    /// Appends what was decided for this image, under its number when there are several.
    pub(super) fn report(&mut self, decisions: &mut Vec<Decision>) {
        if self.config.several && !self.decisions.is_empty() {
            decisions.push(Decision::Image(self.config.image()));
        }
        decisions.append(&mut self.decisions);
    }

    /// Finishes an interrupted swap, or finds out what to do (`boot_prepare_image_for_update`).
    fn prepare(&mut self, flash: &mut Controller<'_>, counters: &Counters) -> Result<Prepared, Stop> {
        let mode = self.config.options.mode;
        self.read_headers(flash)?;
        if let Err(reason) = self.config.slots_compatible() {
            self.decisions.push(Decision::SlotsIncompatible(reason));
            return Ok(Prepared::Unfit);
        }
        let found = status::read(self.config, flash.flash())?;
        if found.inconsistent {
            self.decisions.push(Decision::StatusInconsistent);
            if !self.config.options.validate_primary {
                return Err(Stop::Halt("the status records have a hole (swap_scratch.c, swap_read_status_bytes)"));
            }
        }
        let mut status = found.status;
        if !matches!(mode, Mode::OverwriteOnly { .. }) && !self.read_headers_during(flash, &status)? {
            let excused = self.config.options.bootstrap && self.header_erased(flash, Slot::Primary);
            if !excused {
                self.decisions.push(Decision::NoPrimaryHeader);
                return Ok(Prepared::Unfit);
            }
        }
        if !status.is_reset() {
            self.decisions.push(Decision::Resume(status));
            self.swap_image(flash, &mut status)?;
            let guesses = self.config.options.has(Flaw::SwapTypeForgotten, Mode::SwapScratch);
            let swap = if guesses { self.guess_swap_type(flash)? } else { status.swap_type };
            let stays = if guesses { SwapType::Fail } else { SwapType::Permanent };
            if swap == SwapType::Revert || swap == stays {
                self.set_image_ok(flash)?;
            }
            self.set_copy_done(flash, swap)?;
            self.read_headers(flash)?;
            return Ok(Prepared::Resumed);
        }
        self.status = status;
        let resumed = status.swap_type != SwapType::None || status.wild;
        let asked = if resumed { status.swap_type } else { self.config.swap_type(flash.flash())? };
        let in_primary = status.source != StatusSource::None && resumed;
        self.decisions.push(Decision::Asked { swap: asked, resumed: in_primary });
        self.swap = asked;
        self.wild = status.wild;
        let expected = if resumed { SwapType::None } else { asked };
        if (asked != SwapType::None || resumed) && !self.validate_secondary(flash, counters, expected)? {
            self.swap = if resumed { SwapType::Fail } else { SwapType::None };
            self.wild = false;
        }
        self.status.swap_type = self.swap;
        Ok(Prepared::Decided)
    }

    /// What a resumed swap may have been for, by what is asked for now (once `boot_previous_swap_type`).
    fn guess_swap_type(&self, flash: &Controller<'_>) -> Result<SwapType, Stop> {
        Ok(match self.config.swap_type(flash.flash())? {
            SwapType::None => SwapType::Permanent,
            SwapType::Revert => SwapType::Test,
            _ => SwapType::Fail,
        })
    }

    /// Fills a primary slot without a valid image (`MCUBOOT_BOOTSTRAP`).
    fn bootstrap(&mut self, flash: &mut Controller<'_>, counters: &Counters) -> Result<(), Stop> {
        if !self.config.options.bootstrap || self.swap != SwapType::None || self.wild {
            return Ok(());
        }
        if self.primary_valid(flash, counters) {
            return Ok(());
        }
        let there = self.headers[Slot::Secondary.index()].magic == IMAGE_MAGIC;
        if self.validate_secondary(flash, counters, SwapType::None)? && there {
            // As a revert: image_ok is set.
            self.decisions.push(Decision::Bootstrap);
            self.swap = SwapType::Revert;
            self.status.swap_type = SwapType::Revert;
        }
        Ok(())
    }

    /// Does what was decided, now that no swap is half done.
    fn perform(&mut self, flash: &mut Controller<'_>, counters: &mut Counters) -> Result<(), Stop> {
        if self.wild {
            return Err(Stop::Halt(
                "the swap info in the trailer has a type that does not exist (loader.c, context_boot_go)",
            ));
        }
        match self.swap {
            SwapType::None => Ok(()),
            SwapType::Test | SwapType::Permanent => {
                if self.downgrade(flash)? {
                    self.swap = SwapType::None;
                    return Ok(());
                }
                self.update(flash, counters)
            }
            SwapType::Revert => self.update(flash, counters),
            SwapType::Fail if matches!(self.config.options.mode, Mode::OverwriteOnly { .. }) => Ok(()),
            // The requested image was lost between two boots. Pretend to have reverted.
            SwapType::Fail => self.set_image_ok(flash),
        }
    }

    /// `boot_perform_update`.
    fn update(&mut self, flash: &mut Controller<'_>, counters: &mut Counters) -> Result<(), Stop> {
        let options = self.config.options;
        if let Mode::OverwriteOnly { .. } = options.mode {
            return overwrite_only::run(self, flash, counters);
        }
        if options.bootstrap && !self.primary_valid(flash, counters) {
            overwrite_only::run(self, flash, counters)?;
        } else {
            let mut status = self.status;
            self.swap_image(flash, &mut status)?;
        }
        // As the C code has it: the type that was asked for, also when there was no room to swap.
        let swap = self.swap;
        if matches!(swap, SwapType::Revert | SwapType::Permanent) {
            self.set_image_ok(flash)?;
        }
        let mut lost = false;
        if options.hardware_rollback_protection && swap == SwapType::Permanent {
            // There is no way back from a permanent swap: the counter goes up at once.
            let header = self.headers[Slot::Secondary.index()];
            lost = self.raise_counter(flash, counters, &header)?.is_err();
        }
        self.set_copy_done(flash, swap)?;
        if lost {
            return Err(Stop::Halt("the security counter could not be raised (loader.c, boot_perform_update)"));
        }
        Ok(())
    }

    fn set_copy_done(&mut self, flash: &mut Controller<'_>, swap: SwapType) -> Result<(), Stop> {
        if swap.is_upgrade() {
            self.config.trailer(Slot::Primary).write_copy_done(flash)?;
            let nothing =
                |decision: &Decision| matches!(decision, Decision::NoRoomToSwap { .. } | Decision::Overwritten { .. });
            if !self.decisions.iter().any(nothing) {
                self.decisions.push(Decision::Swapped(swap));
            }
        }
        Ok(())
    }

    /// Whether an older image is refused; erases it then (`check_downgrade_prevention`).
    fn downgrade(&mut self, flash: &mut Controller<'_>) -> Result<bool, Stop> {
        let options = self.config.options;
        if let Mode::OverwriteOnly { .. } = options.mode {
            // Checked with the image itself.
            return Ok(false);
        }
        let [installed, update] = self.headers;
        let refused = match options.downgrade {
            Downgrade::Allowed => None,
            Downgrade::ByVersion => options
                .older(&update, &installed)
                .then_some(Decision::DowngradeByVersion { installed: installed.version, update: update.version }),
            Downgrade::BySecurityCounter => {
                let counter = |slot: Slot| {
                    let source = SlotSource { flash: flash.flash(), area: self.image_area(slot) };
                    tlv::security_counter(&source, &self.headers[slot.index()])
                };
                let (installed, update) = (counter(Slot::Primary), counter(Slot::Secondary));
                installed
                    .filter(|installed| update.is_none_or(|update| *installed > update))
                    .map(|installed| Decision::DowngradeByCounter { installed, update })
            }
        };
        let Some(decision) = refused else { return Ok(false) };
        self.decisions.push(decision);
        self.config.place("erase: downgrade").scramble_slot(flash, Slot::Secondary)?;
        Ok(true)
    }

    /// Whether the secondary image may be installed; erases what may not (`boot_validate_slot`).
    ///
    /// `asked`: what the trailers ask for, or none when something else wants the image.
    fn validate_secondary(
        &mut self,
        flash: &mut Controller<'_>,
        counters: &Counters,
        asked: SwapType,
    ) -> Result<bool, Stop> {
        let options = self.config.options;
        let overwrite = matches!(options.mode, Mode::OverwriteOnly { .. });
        let [installed, header] = self.headers;
        let erased = self.header_erased(flash, Slot::Secondary);
        if erased || header.flags & flags::NON_BOOTABLE != 0 {
            self.decisions.push(Decision::SecondaryEmpty { erased });
            if overwrite {
                return Ok(false);
            }
            // An interrupted erase may have left the trailer, which would ask again for ever.
            unless_refused(self.config.scramble_trailer(flash, Slot::Secondary))?;
            if options.mode == Mode::SwapMove
                && options.flaw != Some(Flaw::StuckRevert)
                && (self.status.swap_type == SwapType::Revert
                    || self.config.swap_type(flash.flash())? == SwapType::Revert)
            {
                self.decisions.push(Decision::StuckRevertCleared);
                unless_refused(self.config.scramble_trailer(flash, Slot::Primary))?;
            }
            return Ok(false);
        }
        if options.mode == Mode::SwapOffset
            && self.status.is_reset()
            && matches!(asked, SwapType::Test | SwapType::Permanent)
            && header_at(flash, self.config.area(Slot::Secondary), 0)?.magic == IMAGE_MAGIC
        {
            self.decisions.push(Decision::UpdateAtWrongSector);
            self.config.place("erase: wrong sector").scramble_slot(flash, Slot::Secondary)?;
            return Ok(false);
        }
        if overwrite
            && options.downgrade != Downgrade::Allowed
            && options.older(&header, &installed)
            && !self.header_erased(flash, Slot::Primary)
        {
            self.decisions.push(Decision::DowngradeByVersion { installed: installed.version, update: header.version });
            self.config.place("erase: older than what is installed").scramble_slot(flash, Slot::Secondary)?;
            return Ok(false);
        }
        match self.config.verify_at(flash.flash(), Slot::Secondary, self.secondary_offset, counters) {
            Ok(_) => Ok(true),
            Err(error) => {
                self.decisions.push(Decision::SecondaryRejected(error));
                self.config.place("erase: rejected").scramble_slot(flash, Slot::Secondary)?;
                Ok(false)
            }
        }
    }

    fn primary_valid(&self, flash: &Controller<'_>, counters: &Counters) -> bool {
        let header = self.headers[Slot::Primary.index()];
        !self.header_erased(flash, Slot::Primary)
            && header.flags & flags::NON_BOOTABLE == 0
            && self.config.verify_with(flash.flash(), Slot::Primary, counters).is_ok()
    }

    /// `boot_swap_image`: a new swap takes its size from the images, a resumed one from the trailer.
    fn swap_image(&mut self, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
        status.swap_size = if status.is_reset() {
            let mut size = 0;
            for slot in Slot::ALL {
                if self.headers[slot.index()].magic == IMAGE_MAGIC {
                    size = size.max(self.image_size(flash, slot)?);
                }
            }
            size
        } else {
            status::holder(self.config, flash.flash())?.read_swap_size(flash.flash())?
        };
        match self.config.options.mode {
            Mode::SwapScratch => swap_scratch::run(self, flash, status),
            Mode::SwapOffset => swap_offset::run(self, flash, status),
            _ => swap_move::run(self, flash, status),
        }
    }

    /// Header, payload and TLVs in bytes (`boot_read_image_size`).
    pub(super) fn image_size(&mut self, flash: &Controller<'_>, slot: Slot) -> Result<u32, Stop> {
        let source = SlotSource { flash: flash.flash(), area: self.image_area(slot) };
        let header = self.headers[slot.index()];
        match tlv::TlvWalk::begin(&source, &header) {
            Ok(walk) => {
                let protected_end = header.hashed_len().unwrap_or(walk.end());
                // An area says its length in 16 bits.
                self.tlv_sizes[slot.index()] = walk.end().wrapping_sub(protected_end) as u16;
                Ok(walk.end())
            }
            Err(_) => Err(Stop::Halt("an image to be installed has no TLV area (loader.c, boot_read_image_size)")),
        }
    }

    fn set_image_ok(&mut self, flash: &mut Controller<'_>) -> Result<(), Stop> {
        let trailer = self.config.trailer(Slot::Primary);
        if trailer.read(flash.flash())?.image_ok == Flag::Unset {
            trailer.write_image_ok(flash)?;
        }
        Ok(())
    }

    /// Validates the primary slot and starts its image.
    fn start(&mut self, flash: &Controller<'_>, counters: &mut Counters) -> Result<Outcome, Stop> {
        if self.swap != SwapType::None {
            self.read_headers(flash)?;
        }
        let header = self.headers[Slot::Primary.index()];
        let area = self.config.area(Slot::Primary);
        let several = if self.config.several { format!(" of image {}", self.config.image()) } else { String::new() };
        let none = |reason: String| Ok(Outcome::NoBootableImage { reason });
        if self.header_erased(flash, Slot::Primary) {
            return none(format!("the primary slot{several} is empty"));
        }
        let hash = if self.config.options.validate_primary {
            if header.flags & flags::NON_BOOTABLE != 0 {
                return none(format!("the primary image{several} is marked as not bootable"));
            }
            match self.config.verify_with(flash.flash(), Slot::Primary, counters) {
                Ok(verified) => Some(verified.hash),
                Err(error) => return none(format!("the primary image{several} is not valid: {error}")),
            }
        } else if header.magic == IMAGE_MAGIC {
            None
        } else {
            return none(format!("the primary slot{several} has the magic {:#010x}", header.magic));
        };
        if self.config.options.hardware_rollback_protection {
            // A test image may still be reverted: its counter counts once it is confirmed.
            let trailer = self.config.trailer(Slot::Primary).read(flash.flash())?;
            if (trailer.magic != Magic::Good || trailer.image_ok == Flag::Set)
                && let Err(error) = self.raise_counter(flash, counters, &header)?
            {
                return none(format!("the security counter of the primary image{several} is missing: {error}"));
            }
        }
        Ok(Outcome::Boot { offset: area.offset, header, hash })
    }

    /// Raises the security counter to that of the image in the primary slot (`boot_update_security_counter`).
    pub(super) fn raise_counter(
        &mut self,
        flash: &Controller<'_>,
        counters: &mut Counters,
        header: &ImageHeader,
    ) -> Result<Result<(), ImageError>, Stop> {
        let source = SlotSource { flash: flash.flash(), area: self.config.area(Slot::Primary) };
        let Some(value) = tlv::security_counter(&source, header) else {
            return Ok(Err(ImageError::SecurityCounterMissing));
        };
        let from = counters.get(self.config.image());
        if value > from {
            counters.raise(self.config.image(), value);
            self.decisions.push(Decision::CounterRaised { from, to: value });
        }
        Ok(Ok(()))
    }

    /// Both headers from the starts of the slots.
    fn read_headers(&mut self, flash: &Controller<'_>) -> Result<(), Stop> {
        for slot in Slot::ALL {
            if self.config.options.mode == Mode::SwapOffset {
                self.read_header_of_offset(flash, slot, None)?;
            } else {
                self.headers[slot.index()] = header_at(flash, self.config.area(slot), 0)?;
            }
        }
        Ok(())
    }

    /// The header of swap-offset, which may be in two places; whether there is one.
    fn read_header_of_offset(
        &mut self,
        flash: &Controller<'_>,
        slot: Slot,
        status: Option<&SwapStatus>,
    ) -> Result<bool, Stop> {
        let place = swap_offset::header_place(self.config, flash.flash(), slot, status)?;
        let area = self.config.area(place.slot);
        let mut offset = place.offset;
        let mut header = header_at(flash, area, offset)?;
        if header.magic != IMAGE_MAGIC
            && let Some(otherwise) = place.otherwise
        {
            offset = otherwise;
            header = header_at(flash, area, offset)?;
        }
        let found = header.magic == IMAGE_MAGIC;
        if found && place.slot == Slot::Secondary && (status.is_some() || self.config.options.bootstrap) {
            self.secondary_offset = offset;
        }
        self.headers[slot.index()] = header;
        Ok(found)
    }

    /// The part of a slot that begins where its image does.
    pub(super) fn image_area(&self, slot: Slot) -> Area {
        self.config.image_area(slot, if slot == Slot::Secondary { self.secondary_offset } else { 0 })
    }

    /// Both headers from where they are at this point of a swap (`boot_read_image_headers` with a
    /// status). Swap-move wants to see the image magic: `false` when one that is needed is missing.
    fn read_headers_during(&mut self, flash: &Controller<'_>, status: &SwapStatus) -> Result<bool, Stop> {
        for slot in Slot::ALL {
            if self.config.options.mode == Mode::SwapScratch {
                let area = swap_scratch::header_place(self.config, flash.flash(), slot, status)?;
                self.headers[slot.index()] = header_at(flash, area, 0)?;
                continue;
            }
            if self.config.options.mode == Mode::SwapOffset {
                if !self.read_header_of_offset(flash, slot, Some(status))? {
                    return Ok(slot == Slot::Secondary && status.is_reset());
                }
                continue;
            }
            let (place, offset) = swap_move::header_place(self.config, flash.flash(), slot, status)?;
            let header = header_at(flash, self.config.area(place), offset)?;
            self.headers[slot.index()] = header;
            if header.magic != IMAGE_MAGIC {
                return Ok(slot == Slot::Secondary && status.is_reset());
            }
        }
        Ok(true)
    }

    /// `boot_check_header_erased`.
    fn header_erased(&self, flash: &Controller<'_>, slot: Slot) -> bool {
        let erased = flash.geometry(self.config.area(slot)).map_or(0xff, Geometry::erased_value);
        self.headers[slot.index()].magic == u32::from_ne_bytes([erased; 4])
    }

    /// Records that the step `status` is before has been done (`boot_write_status`).
    ///
    /// A device that refuses the record does not stop a bootloader that validates the primary slot.
    pub(super) fn write_status(&mut self, flash: &mut Controller<'_>, status: &SwapStatus) -> Result<(), Stop> {
        let options = self.config.options;
        let record = status.record(options.mode, options.max_sectors);
        let trailer = match self.config.scratch() {
            Some(scratch) if status.use_scratch => scratch,
            _ => self.config.trailer(Slot::Primary),
        };
        match trailer.write_record(flash, record, status.state as u8) {
            Err(FlashError::Refused(refusal)) if options.validate_primary => {
                self.decisions.push(Decision::StatusNotWritten(refusal));
                Ok(())
            }
            result => Ok(result?),
        }
    }
}

pub(super) fn header_at(flash: &Controller<'_>, area: Area, offset: u32) -> Result<ImageHeader, Stop> {
    let mut bytes = [0; 32];
    flash.read(area, offset, &mut bytes)?;
    Ok(ImageHeader::parse(&bytes))
}
