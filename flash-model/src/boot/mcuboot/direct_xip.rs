//! The newer of two images runs where it lies (mcuboot: `loader.c`, `boot_load_and_validate_images`).
//!
//! Nothing is copied. Of the slots that hold an image header, the one with the highest version is tried; of two equal
//! ones the primary slot. What is not valid is erased, and the other slot is tried.
//!
//! | step | what happens | source |
//! |---|---|---|
//! | 1 | a slot without a plausible header is left out | `boot_get_slot_usage` |
//! | 2 | the highest version of the rest; none left: the device does not boot | `find_slot_with_highest_version` |
//! | 3 | linked for the address of another slot (`ROM_FIXED`): left out, back to 2 | `boot_rom_address_check` |
//! | 4 | with revert: given up or marked as tried, see below | `boot_select_or_erase` |
//! | 5 | hash and signature must be right, or the slot is erased, and back to 2 | `boot_validate_slot` |
//! | 6 | several images: one that does not find what it needs is left out, and back to 2 | `boot_verify_dependencies` |
//!
//! With revert, each slot has the trailer of the swap modes, without status records. What it says before a boot, and what
//! the boot makes of it, while `B` is newer than `A`:
//!
//! | P | trailer of P | S | trailer of S | the boot |
//! |---|---|---|---|---|
//! | A | magic, copy_done, image_ok | B | erased | erases the whole secondary slot, and starts A |
//! | A | magic, copy_done, image_ok | B | magic | writes copy_done to S, and starts B: its test |
//! | A | magic, copy_done, image_ok | B | magic, copy_done | erases the whole secondary slot, and starts A: the revert |
//! | A | magic, copy_done, image_ok | B | magic, copy_done, image_ok | starts B: it was confirmed |
//! | A | erased | - | | erases the whole primary slot: an image needs its trailer from the start |
//!
//! An erase that is interrupted has taken the header first, and the slot is left out from then on. copy_done is written
//! before the image has been looked at: a power loss behind it is its test, lost.

use super::erase::{Loop, unless_refused};
use super::run::{Stop, header_at};
use super::{Counters, Decision, Flag, Magic, Mcuboot, Mode, Outcome, Pair, Slot};
use crate::flash::Controller;
use crate::image::mcuboot::{Dependency, ImageHeader, SlotSource, header::flags, tlv};

/// The RAM of one boot that belongs to one image.
struct Usage<'a> {
    pair: &'a Pair,
    headers: [ImageHeader; 2],
    available: [bool; 2],
    active: Option<Slot>,
    /// Hash of the active image.
    hash: [u8; 32],
    /// The active image has been confirmed.
    confirmed: bool,
}

/// One boot.
pub(super) fn run(
    mcuboot: &Mcuboot,
    flash: &mut Controller<'_>,
    counters: &mut Counters,
    decisions: &mut Vec<Decision>,
) -> Result<Outcome, Stop> {
    let mut images = mcuboot.pairs().iter().map(|pair| Usage::new(pair, flash)).collect::<Result<Vec<_>, _>>()?;
    loop {
        for usage in &mut images {
            if let Some(reason) = usage.choose(flash, counters, decisions)? {
                return Ok(Outcome::NoBootableImage { reason });
            }
        }
        let Some(image) = (0..images.len()).find(|image| !needs_met(&images, *image, flash, decisions)) else { break };
        images[image].give_up();
    }
    let revert = mcuboot.options().mode == Mode::DirectXip { revert: true };
    for usage in &images {
        // A test image may still be given up: its counter counts once it is confirmed.
        if mcuboot.options().hardware_rollback_protection && (usage.confirmed || !revert) {
            let source = usage.source(flash, usage.active.unwrap_or(Slot::Primary));
            let Some(value) = tlv::security_counter(&source, usage.header()) else {
                let reason = format!("the security counter of the image{} is missing", usage.number());
                return Ok(Outcome::NoBootableImage { reason });
            };
            let from = counters.get(usage.pair.image());
            if value > from {
                counters.raise(usage.pair.image(), value);
                decisions.push(Decision::CounterRaised { from, to: value });
            }
        }
    }
    let first = images.first().ok_or(Stop::Halt("a bootloader without images"))?;
    let slot = first.active.unwrap_or(Slot::Primary);
    Ok(Outcome::Boot { offset: first.pair.area(slot).offset, header: *first.header(), hash: Some(first.hash) })
}

impl<'a> Usage<'a> {
    fn new(pair: &'a Pair, flash: &Controller<'_>) -> Result<Self, Stop> {
        let mut headers = [ImageHeader::parse(&[0xff; 32]); 2];
        let mut available = [false; 2];
        for slot in Slot::ALL {
            let area = pair.area(slot);
            headers[slot.index()] = header_at(flash, area, 0)?;
            available[slot.index()] = headers[slot.index()].check(area.len).is_ok();
        }
        Ok(Self { pair, headers, available, active: None, hash: [0; 32], confirmed: false })
    }

    fn header(&self) -> &ImageHeader {
        &self.headers[self.active.unwrap_or(Slot::Primary).index()]
    }

    fn source<'b>(&self, flash: &'b Controller<'_>, slot: Slot) -> SlotSource<'b> {
        SlotSource { flash: flash.flash(), area: self.pair.area(slot) }
    }

    /// ` 1` where there are several images.
    fn number(&self) -> String {
        if self.pair.several { format!(" {}", self.pair.image()) } else { String::new() }
    }

    /// The active slot is not tried again.
    fn give_up(&mut self) {
        if let Some(slot) = self.active.take() {
            self.available[slot.index()] = false;
        }
    }

    /// Finds the slot to start, if there is none yet; why there is none.
    fn choose(
        &mut self,
        flash: &mut Controller<'_>,
        counters: &Counters,
        decisions: &mut Vec<Decision>,
    ) -> Result<Option<String>, Stop> {
        while self.active.is_none() {
            let Some(slot) = self.newest() else {
                return Ok(Some(format!("no slot has a valid image{}", self.number())));
            };
            self.active = Some(slot);
            if !self.try_slot(slot, flash, counters, decisions)? {
                self.give_up();
            }
        }
        Ok(None)
    }

    fn newest(&self) -> Option<Slot> {
        let compare = |one: Slot, other: Slot| {
            let version = |slot: Slot| self.headers[slot.index()].version;
            self.pair.options.compare(version(one), version(other)).is_gt()
        };
        match self.available {
            [true, true] if compare(Slot::Secondary, Slot::Primary) => Some(Slot::Secondary),
            [true, _] => Some(Slot::Primary),
            [false, true] => Some(Slot::Secondary),
            [false, false] => None,
        }
    }

    fn try_slot(
        &mut self,
        slot: Slot,
        flash: &mut Controller<'_>,
        counters: &Counters,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, Stop> {
        let header = *self.header();
        let area = self.pair.area(slot);
        if header.flags & flags::ROM_FIXED != 0 && header.load_address != area.offset {
            decisions.push(Decision::LinkedElsewhere { slot, address: header.load_address });
            return Ok(false);
        }
        if self.pair.options.mode == (Mode::DirectXip { revert: true }) && !self.test(slot, flash, decisions)? {
            return Ok(false);
        }
        if header.flags & flags::NON_BOOTABLE != 0 {
            decisions.push(Decision::NotBootable { slot });
            return Ok(false);
        }
        match self.pair.verify_at(flash.flash(), slot, 0, counters) {
            Ok(verified) => {
                self.hash = verified.hash;
                decisions.push(Decision::Chosen { slot });
                Ok(true)
            }
            Err(error) => {
                decisions.push(Decision::Rejected { slot, error });
                self.place("erase: rejected").scramble_slot(flash, slot)?;
                Ok(false)
            }
        }
    }

    /// Marks an image as tried; erases one that was tried before and not confirmed (`boot_select_or_erase`).
    fn test(&mut self, slot: Slot, flash: &mut Controller<'_>, decisions: &mut Vec<Decision>) -> Result<bool, Stop> {
        let trailer = self.pair.trailer(slot);
        let state = trailer.read(flash.flash())?;
        self.confirmed = state.image_ok == Flag::Set;
        if state.magic != Magic::Good || (state.copy_done == Flag::Set && !self.confirmed) {
            decisions.push(Decision::GivenUp { slot, magic: state.magic });
            self.erase(slot, flash)?;
            return Ok(false);
        }
        if state.copy_done != Flag::Set {
            unless_refused(trailer.write_copy_done(flash))?;
            decisions.push(Decision::Tried { slot });
        }
        Ok(true)
    }

    /// A loop, after which the other image is tried, or not.
    fn place(&self, name: &'static str) -> Loop<'_> {
        let [primary, secondary] = self.available.map(u32::from);
        Loop { pair: self.pair, name, status: [primary, secondary, 0] }
    }

    fn erase(&self, slot: Slot, flash: &mut Controller<'_>) -> Result<(), Stop> {
        for sector in &self.pair.sectors[slot.index()] {
            self.place("erase: given up").head(flash, (sector.index << 1 | slot.index()) as u32)?;
            flash.erase(self.pair.area(slot), sector.offset, sector.size)?;
        }
        Ok(())
    }
}

/// Whether an image finds the versions of others that it needs. What cannot be read is not met.
fn needs_met(images: &[Usage<'_>], image: usize, flash: &Controller<'_>, decisions: &mut Vec<Decision>) -> bool {
    if images.len() < 2 {
        return true;
    }
    let usage = &images[image];
    let source = usage.source(flash, usage.active.unwrap_or(Slot::Primary));
    let Ok(mut walk) = tlv::TlvWalk::begin(&source, usage.header()) else { return false };
    loop {
        let entry = match walk.next_protected(&source) {
            Ok(Some(entry)) if entry.kind == tlv::DEPENDENCY => entry,
            Ok(Some(_)) => continue,
            Ok(None) => return true,
            Err(_) => return false,
        };
        let Some(dependency) = Dependency::read(&source, &entry) else { return false };
        let other = usize::from(dependency.image);
        let Some(found) = images.get(other).map(|other| other.header().version) else { return false };
        if usage.pair.options.compare(found, dependency.min_version).is_lt() {
            decisions.push(Decision::DependencyUnmet { image, other, needed: dependency.min_version, found });
            return false;
        }
    }
}
