//! The slots of one image.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Counters, Flaw, Magic, Mode, Options, SwapStatus, SwapType, Trailer, sectors, status, swap_move, swap_offset,
    swap_scratch, swap_type,
};
use crate::flash::{Area, Flash, FlashError, Geometry, Sector, fold};
use crate::image::mcuboot::{IMAGE_MAGIC, ImageError, ImageHeader, ImageSource, SlotSource, Verified, Verifier};
use crate::layout::Layout;
use crate::source::Mistake;

/// Which of the two slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Images run from here.
    Primary,
    /// Updates arrive here.
    Secondary,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        })
    }
}

impl Slot {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Primary, Self::Secondary];

    pub(super) fn index(self) -> usize {
        match self {
            Self::Primary => 0,
            Self::Secondary => 1,
        }
    }
}

/// Name of the partition of a slot: `primary`, `secondary-1`, ...
pub(super) fn partition(slot: Slot, image: usize) -> String {
    let name = match slot {
        Slot::Primary => "primary",
        Slot::Secondary => "secondary",
    };
    if image == 0 { name.into() } else { format!("{name}-{image}") }
}

/// The primary and the secondary slot of one image.
#[derive(Debug)]
pub struct Pair {
    image: u8,
    trailers: [Trailer; 2],
    scratch: Option<Trailer>,
    /// Sectors of the primary and the secondary slot, with offsets in the slot.
    pub(super) sectors: [Vec<Sector>; 2],
    pub(super) scratch_sectors: Vec<Sector>,
    pub(super) options: Options,
    /// Distance of status records in bytes (mcuboot: `BOOT_WRITE_SZ`).
    pub(super) write_size: u32,
    /// The bootloader has other images as well.
    pub(super) several: bool,
    pub(super) verifier: Arc<Verifier>,
    /// What was verified while fingerprints were kept, by content, and how much of it was read.
    verified: Mutex<HashMap<u128, Remembered>>,
}

/// A verification, and how far the image was read for it.
type Remembered = (Result<Verified, ImageError>, u32);

/// An image of which it is measured how far it was read.
struct Measured<'f> {
    source: SlotSource<'f>,
    /// Offset behind the last byte.
    end: Cell<u32>,
}

impl Measured<'_> {
    fn note(&self, end: u32) {
        self.end.set(self.end.get().max(end.min(self.source.len())));
    }
}

impl ImageSource for Measured<'_> {
    fn len(&self) -> u32 {
        self.source.len()
    }

    fn read(&self, offset: u32, buffer: &mut [u8]) -> bool {
        self.note(offset.saturating_add(buffer.len() as u32));
        self.source.read(offset, buffer)
    }

    fn visit(&self, offset: u32, len: u32, visit: &mut dyn FnMut(&[u8])) -> bool {
        self.note(offset.saturating_add(len));
        self.source.visit(offset, len, visit)
    }
}

/// Verifications that are remembered; then the memory is emptied.
const VERIFIED_MAX: usize = 1 << 16;

impl Pair {
    pub(super) fn new(
        layout: &Layout,
        image: usize,
        options: Options,
        verifier: &Arc<Verifier>,
    ) -> Result<Self, Mistake> {
        let file = format!("layout `{}`", layout.name);
        let area = |name: &str| {
            layout.area(name).ok_or_else(|| {
                Mistake::new(&file, format!("MCUboot needs a partition `{name}`"))
                    .remedy(format!("add a [[partition]] with name = \"{name}\""))
            })
        };
        let slots = [area(&partition(Slot::Primary, image))?, area(&partition(Slot::Secondary, image))?];
        let scratch = if options.mode == Mode::SwapScratch { Some(area("scratch")?) } else { None };
        let geometry = |area: Area| &layout.devices[usize::from(area.device)].geometry;
        let unit = |area: Area| geometry(area).program_unit();
        let largest = slots.iter().copied().chain(scratch).map(unit).max().unwrap_or(1);
        if !options.max_align.is_power_of_two() || !(8..=32).contains(&options.max_align) || options.max_align < largest
        {
            return Err(Mistake::new(&file, format!("a maximum alignment of {} is not possible", options.max_align))
                .remedy("8, 16 or 32, and not less than the program unit"));
        }
        let write_size = scratch.map_or(0, unit).max(unit(slots[0]));
        let image = u8::try_from(image).unwrap_or(u8::MAX);
        let trailer = |area: Area, sectors: u32| {
            let trailer = Trailer::new(area, geometry(area), write_size, &options, sectors, image);
            let (len, max) = (trailer.len(), area.len);
            if u64::from(len) + 64 > u64::from(max) {
                return Err(Mistake::new(
                    &file,
                    format!("an area of {max:#x} bytes cannot hold a trailer of {len:#x} bytes"),
                )
                .remedy("a larger slot or a smaller max-sectors"));
            }
            Ok(trailer)
        };
        let sectors = |area: Area| sectors_of(geometry(area), area);
        Ok(Self {
            image,
            trailers: [trailer(slots[0], options.max_sectors)?, trailer(slots[1], options.max_sectors)?],
            scratch: scratch.map(|area| trailer(area, 1)).transpose()?,
            sectors: slots.map(sectors),
            scratch_sectors: scratch.map(sectors).unwrap_or_default(),
            options,
            write_size,
            several: false,
            verifier: Arc::clone(verifier),
            verified: Mutex::default(),
        })
    }

    /// Number of the image, from 0.
    #[must_use]
    pub fn image(&self) -> usize {
        self.image.into()
    }

    /// The trailer of a slot.
    #[must_use]
    pub fn trailer(&self, slot: Slot) -> &Trailer {
        &self.trailers[slot.index()]
    }

    /// The trailer at the end of the scratch area; swap-scratch only.
    #[must_use]
    pub fn scratch(&self) -> Option<&Trailer> {
        self.scratch.as_ref()
    }

    /// The sectors of a slot, with offsets in the slot.
    #[must_use]
    pub fn sectors(&self, slot: Slot) -> &[Sector] {
        &self.sectors[slot.index()]
    }

    /// Offset in the slots and size of what each step of a swap of so many bytes puts into the scratch area.
    #[must_use]
    pub fn scratch_steps(&self, swap_size: u32) -> Vec<(u32, u32)> {
        let steps = self.scratch.as_ref().and_then(|_| swap_scratch::steps(self, swap_size).ok());
        steps.unwrap_or_default()
    }

    /// The slot as a region of flash.
    #[must_use]
    pub fn area(&self, slot: Slot) -> Area {
        self.trailer(slot).area()
    }

    /// Checks the image in a slot as a boot of a device would that was never updated.
    ///
    /// # Errors
    /// Why the bootloader would not accept it.
    pub fn verify(&self, flash: &Flash, slot: Slot) -> Result<Verified, ImageError> {
        self.verify_with(flash, slot, &Counters::default())
    }

    /// Checks the image in a slot as a boot of a device with these security counters would.
    ///
    /// # Errors
    /// Why the bootloader would not accept it.
    pub fn verify_with(&self, flash: &Flash, slot: Slot, counters: &Counters) -> Result<Verified, ImageError> {
        self.verify_at(flash, slot, self.image_offset(flash, slot), counters)
    }

    /// The part of a slot that begins where the image does.
    pub(super) fn image_area(&self, slot: Slot, offset: u32) -> Area {
        let area = self.area(slot);
        Area { offset: area.offset + offset, len: area.len.saturating_sub(offset), ..area }
    }

    /// Whether the sectors of both slots allow an update.
    ///
    /// # Errors
    /// Why not: the bootloader then starts what is installed, and nothing else (mcuboot: `boot_slots_compatible`).
    pub fn slots_compatible(&self) -> Result<(), String> {
        match self.options.mode {
            Mode::SwapMove => swap_move::slots_compatible(self),
            Mode::SwapOffset => swap_offset::slots_compatible(self),
            Mode::SwapScratch | Mode::OverwriteOnly { .. } => sectors::compatible(self),
            Mode::DirectXip { .. } => Ok(()),
        }
    }

    /// Where in the slot an upload begins: one sector behind its start for an update of swap-offset, else 0.
    #[must_use]
    pub fn upload_offset(&self, slot: Slot) -> u32 {
        if self.options.mode == Mode::SwapOffset && slot == Slot::Secondary { self.sector_size() } else { 0 }
    }

    /// Where in the slot the image begins, or would begin: 0, but one sector behind the start of the secondary slot
    /// for an update that swap-offset is to install.
    #[must_use]
    pub fn image_offset(&self, flash: &Flash, slot: Slot) -> u32 {
        if self.options.mode != Mode::SwapOffset {
            return 0;
        }
        let Ok(place) = swap_offset::header_place(self, flash, slot, None) else { return 0 };
        let is_header = |offset: &u32| {
            let source = SlotSource { flash, area: self.image_area(slot, *offset) };
            ImageHeader::read(&source).is_ok_and(|header| header.magic == IMAGE_MAGIC)
        };
        place.otherwise.filter(is_header).filter(|_| !is_header(&place.offset)).unwrap_or(place.offset)
    }

    /// The image in a slot, wherever in it that begins.
    #[must_use]
    pub fn image_source<'f>(&self, flash: &'f Flash, slot: Slot) -> SlotSource<'f> {
        SlotSource { flash, area: self.image_area(slot, self.image_offset(flash, slot)) }
    }

    /// The slot that has the image a boot has started at this offset of its device.
    #[must_use]
    pub fn slot_at(&self, offset: u32) -> Slot {
        // Slots on two devices may have the same offset: images run from the first then.
        let at = |slot: Slot| self.area(slot).offset == offset;
        if !at(Slot::Primary) && at(Slot::Secondary) { Slot::Secondary } else { Slot::Primary }
    }

    pub(super) fn verify_at(
        &self,
        flash: &Flash,
        slot: Slot,
        offset: u32,
        counters: &Counters,
    ) -> Result<Verified, ImageError> {
        let counter = self.options.hardware_rollback_protection.then(|| counters.get(self.image()));
        let area = self.image_area(slot, offset);
        let source = SlotSource { flash, area };
        // Whatever else stands there than the image, its hash is another one.
        let header = ImageHeader::read(&source)?;
        if header.magic == IMAGE_MAGIC
            && let Some(len) = header.hashed_len()
            && !flash.examine(area, 0..len)
        {
            return Err(ImageError::HashMismatch);
        }
        let verify =
            |source: &dyn ImageSource| self.verifier.verify_with_counter(source, self.max_size_in(slot), counter);
        let Some(print) = flash.area_fingerprint(area) else { return verify(&source) };
        let place = u128::from(area.offset) << 64 | u128::from(area.device) << 40 | slot.index() as u128;
        let key = fold(fold(print, place), counter.map_or(0, |counter| u128::from(counter) + 1));
        let remembered = || self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered().get(&key).cloned();
        let (result, read) = known.unwrap_or_else(|| {
            let measured = Measured { source, end: Cell::new(0) };
            let verified = (verify(&measured), measured.end.get());
            let mut remembered = remembered();
            if remembered.len() >= VERIFIED_MAX {
                remembered.clear();
            }
            remembered.insert(key, verified.clone());
            verified
        });
        // Who watches reads must see the same ones, whether it was remembered or not.
        flash.note_read(area, 0..read);
        result
    }

    /// What the trailers ask the next boot to do, before any image is looked at.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn swap_type(&self, flash: &Flash) -> Result<SwapType, FlashError> {
        let [primary, secondary] = [self.trailers[0].read(flash)?, self.trailers[1].read(flash)?];
        let asked = swap_type::decide(self.options.mode, &primary, &secondary);
        let refuses = self.options.has(Flaw::RevertNeedsUnset, Mode::SwapMove) && secondary.magic != Magic::Unset;
        Ok(if refuses && asked == SwapType::Revert { SwapType::None } else { asked })
    }

    /// The interrupted swap that the next boot would finish, if there is one.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn interrupted_swap(&self, flash: &Flash) -> Result<Option<SwapStatus>, FlashError> {
        let status = status::read(self, flash)?.status;
        Ok((!status.is_reset() || status.swap_type != SwapType::None).then_some(status))
    }

    /// Largest image (header, payload and TLVs) in bytes that can be installed and started (mcuboot:
    /// `bootutil_max_image_size`).
    #[must_use]
    pub fn max_image_size(&self) -> u32 {
        self.max_size_in(Slot::Primary).min(self.max_size_in(Slot::Secondary))
    }

    /// Largest image that is accepted in this slot.
    fn max_size_in(&self, slot: Slot) -> u32 {
        match self.options.mode {
            // The swap status and, in the primary slot, one spare sector must fit beside it.
            Mode::SwapMove => {
                let sector = self.sector_size();
                let trailer = self.trailers[0].len().next_multiple_of(sector);
                let available =
                    |slot: Slot, spare: u32| self.area(slot).len.saturating_sub(trailer).saturating_sub(spare);
                available(Slot::Primary, sector).min(available(Slot::Secondary, 0))
            }
            // Likewise, with the spare sector in front of an update.
            Mode::SwapOffset => {
                let sector = self.sector_size();
                let trailer = self.trailers[0].len().next_multiple_of(sector);
                let room = |slot: Slot, spare: u32| {
                    let sectors = self.sectors[slot.index()].len() as u32;
                    sectors.saturating_mul(sector).saturating_sub(trailer).saturating_sub(spare)
                };
                room(Slot::Primary, 0).min(room(Slot::Secondary, sector))
            }
            Mode::SwapScratch => sectors::max_size_with_scratch(self),
            Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => self.trailer(slot).swap_info_offset(),
        }
    }

    /// Length of a trailer in the swaps (mcuboot: `boot_trailer_sz(BOOT_WRITE_SZ(state))`).
    pub(super) fn trailer_len(&self) -> u32 {
        self.trailers[0].len()
    }

    /// Position of the first sector that has a part of the trailer.
    pub(super) fn first_trailer_sector(&self, slot: Slot) -> usize {
        let sectors = &self.sectors[slot.index()];
        let mut size = 0;
        let found = sectors.iter().rposition(|sector| {
            size += sector.size;
            size >= self.trailer_len()
        });
        found.unwrap_or(0)
    }

    pub(super) fn sector_size(&self) -> u32 {
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
