//! The slots of one image.

use std::sync::Arc;

use super::{Options, SwapStatus, SwapType, Trailer, status, swap_type};
use crate::flash::{Area, Flash, FlashError, Geometry, Sector};
use crate::image::mcuboot::{ImageError, SlotSource, Verified, Verifier};
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
    pub(super) sectors: [Vec<Sector>; 2],
    pub(super) options: Options,
    pub(super) verifier: Arc<Verifier>,
}

impl Pair {
    pub(super) fn new(
        layout: &Layout,
        image: usize,
        options: Options,
        verifier: &Arc<Verifier>,
    ) -> Result<Self, Mistake> {
        let file = format!("layout `{}`", layout.name);
        let area = |slot: Slot| {
            let name = partition(slot, image);
            layout.area(&name).ok_or_else(|| {
                Mistake::new(&file, format!("MCUboot needs a partition `{name}`"))
                    .remedy(format!("add a [[partition]] with name = \"{name}\""))
            })
        };
        let (primary, secondary) = (area(Slot::Primary)?, area(Slot::Secondary)?);
        let geometry = |area: Area| &layout.devices[usize::from(area.device)].geometry;
        let units = [geometry(primary).program_unit(), geometry(secondary).program_unit()];
        let unit = units[0].max(units[1]);
        if !options.max_align.is_power_of_two() || !(8..=32).contains(&options.max_align) || options.max_align < unit {
            return Err(Mistake::new(&file, format!("a maximum alignment of {} is not possible", options.max_align))
                .remedy("8, 16 or 32, and not less than the program unit"));
        }
        let image = u8::try_from(image).unwrap_or(u8::MAX);
        // Records are as far apart as the primary slot demands; only the length of the other trailer, which
        // is erased as a whole, also depends on its own device.
        let stride = |area: Area| if area == primary { units[0] } else { unit };
        let trailer = |area: Area| Trailer::new(area, geometry(area), stride(area), options, image);
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
        Ok(Self {
            image,
            trailers: [trailer(primary), trailer(secondary)],
            sectors: [sectors_of(geometry(primary), primary), sectors_of(geometry(secondary), secondary)],
            options,
            verifier: Arc::clone(verifier),
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

    /// The slot as a region of flash.
    #[must_use]
    pub fn area(&self, slot: Slot) -> Area {
        self.trailer(slot).area()
    }

    /// Checks the image in a slot as a boot would.
    ///
    /// # Errors
    /// Why the bootloader would not accept it.
    pub fn verify(&self, flash: &Flash, slot: Slot) -> Result<Verified, ImageError> {
        self.verifier.verify(&SlotSource { flash, area: self.area(slot) }, self.max_image_size())
    }

    /// What the trailers ask the next boot to do, before any image is looked at.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn swap_type(&self, flash: &Flash) -> Result<SwapType, FlashError> {
        Ok(swap_type::decide(&self.trailers[0].read(flash)?, &self.trailers[1].read(flash)?))
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
        let trailer = self.trailers[0].len().next_multiple_of(sector);
        let available = |slot: Slot, spare: u32| self.area(slot).len.saturating_sub(trailer).saturating_sub(spare);
        available(Slot::Primary, sector).min(available(Slot::Secondary, 0))
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
