//! What several steps of a boot do with flash: copies, erases, and the heads of their loops.

use super::run::Stop;
use super::{Mode, Pair, Slot};
use crate::flash::{Area, Controller, FlashError, Sector};

/// Bytes per program call of a copy (mcuboot: `BUF_SZ` of `boot_copy_region`).
pub(super) const COPY_CHUNK: usize = 1024;

impl Pair {
    /// Erases the sectors that hold a trailer, the last one first, so that the magic goes first.
    pub(super) fn scramble_trailer(&self, flash: &mut Controller<'_>, slot: Slot) -> Result<(), FlashError> {
        let trailer = self.trailer(slot);
        let first = trailer.area().len - trailer.len();
        for sector in self.sectors[slot.index()].iter().rev() {
            if sector.end() <= first {
                break;
            }
            flash.erase(trailer.area(), sector.offset, sector.size)?;
        }
        Ok(())
    }

    /// The place of a loop for which nothing matters but where it is.
    pub(super) fn place(&self, name: &'static str) -> Loop<'_> {
        Loop { pair: self, name, status: [0; 3] }
    }

    /// The head of a loop. What other images have decided and the counters are not in `status`: with
    /// those, every state is new.
    pub(super) fn checkpoint(
        &self,
        flash: &mut Controller<'_>,
        name: &'static str,
        status: [u32; 4],
    ) -> Result<(), FlashError> {
        if self.several || self.options.hardware_rollback_protection {
            return Ok(());
        }
        flash.checkpoint(name, status)
    }
}

/// `false` when the device refused, which the C code does not look at here.
pub(super) fn unless_refused(result: Result<(), FlashError>) -> Result<bool, Stop> {
    match result {
        Err(FlashError::Refused(_)) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// A loop whose heads are checkpoints: its name, and what the code keeps in RAM beside the position in it.
#[derive(Clone, Copy)]
pub(super) struct Loop<'a> {
    pub(super) pair: &'a Pair,
    pub(super) name: &'static str,
    pub(super) status: [u32; 3],
}

impl Loop<'_> {
    pub(super) fn head(self, flash: &mut Controller<'_>, position: u32) -> Result<(), FlashError> {
        let [a, b, c] = self.status;
        self.pair.checkpoint(flash, self.name, [a, b, c, position])
    }

    /// Erases a slot, or only its header and trailer (`boot_scramble_slot`).
    pub(super) fn scramble_slot(self, flash: &mut Controller<'_>, slot: Slot) -> Result<(), Stop> {
        let pair = self.pair;
        let area = pair.area(slot);
        let sectors = &pair.sectors[slot.index()];
        let header = usize::from(pair.options.mode == Mode::SwapOffset && slot == Slot::Secondary);
        let header = sectors.get(header..=header).unwrap_or_default();
        for sector in if pair.options.minimal_scramble { header } else { sectors } {
            self.head(flash, (sector.index << 1 | slot.index()) as u32)?;
            if !unless_refused(flash.erase(area, sector.offset, sector.size))? {
                return Ok(());
            }
        }
        if pair.options.minimal_scramble {
            unless_refused(pair.scramble_trailer(flash, slot))?;
        }
        Ok(())
    }
}

/// Copies between areas, which may be on different devices (`boot_copy_region`).
pub(super) fn copy_region(
    flash: &mut Controller<'_>,
    place: Loop<'_>,
    (source, from): (Area, u32),
    (target, to): (Area, u32),
    len: u32,
) -> Result<(), FlashError> {
    let mut buffer = [0; COPY_CHUNK];
    let mut copied = 0;
    while copied < len {
        place.head(flash, copied)?;
        let piece = &mut buffer[..((len - copied) as usize).min(COPY_CHUNK)];
        flash.copy((source, from.saturating_add(copied)), (target, to.saturating_add(copied)), piece)?;
        copied += piece.len() as u32;
    }
    Ok(())
}

/// Erases the sectors of an area that a range touches, the first one first (`boot_erase_region`).
pub(super) fn erase_region(
    flash: &mut Controller<'_>,
    place: Loop<'_>,
    area: Area,
    sectors: &[Sector],
    offset: u32,
    len: u32,
) -> Result<(), Stop> {
    if offset >= area.len || area.len - offset < len {
        return Err(Stop::Halt("an erase reaches beyond its area (bootutil_area.c, boot_erase_region)"));
    }
    for sector in sectors.iter().filter(|sector| sector.end() > offset && sector.offset < offset + len) {
        place.head(flash, sector.offset)?;
        flash.erase(area, sector.offset, sector.size)?;
    }
    Ok(())
}
