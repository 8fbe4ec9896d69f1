//! Whether the sectors of two slots, and of the scratch area, go together.
//!
//! Swap-scratch and overwrite-only share one loop over the sectors of both slots (mcuboot:
//! `boot_slots_compatible` and `app_max_size` in `swap_scratch.c`). Several small sectors of one slot may
//! stand against a large one of the other, but between two common boundaries not the other way round
//! as well.

use super::{Mode, Pair};
use crate::flash::Sector;

/// What the loop over the sectors of both slots finds.
struct Walk {
    /// Sectors of each slot that were looked at.
    counted: [usize; 2],
    /// Bytes of each slot since the last common boundary that counts.
    rest: [u32; 2],
    /// Bytes up to the last common boundary.
    common: u32,
}

/// `scratch`: size of the scratch area, which every part between two common boundaries must fit;
/// overwrite-only has none and never starts anew at a common boundary.
fn walk(sectors: &[Vec<Sector>; 2], scratch: Option<u32>) -> Result<Walk, &'static str> {
    let size = |slot: usize, index: usize| {
        // The C code reads behind its table of sectors here.
        sectors[slot].get(index).map(|sector| sector.size).ok_or("one slot has sectors that the other has not")
    };
    let mut found = Walk { counted: [0; 2], rest: [0; 2], common: 0 };
    // Which slot has had the smaller sectors since the last common boundary.
    let mut smaller = None;
    while found.counted[0] < sectors[0].len() || found.counted[1] < sectors[1].len() {
        if found.rest[0] == found.rest[1] {
            for slot in 0..2 {
                found.rest[slot] += size(slot, found.counted[slot])?;
                found.counted[slot] += 1;
            }
        } else {
            let slot = usize::from(found.rest[0] > found.rest[1]);
            found.rest[slot] += size(slot, found.counted[slot])?;
            if smaller.is_some_and(|smaller| smaller != slot) {
                return Err("sectors of one slot are no multiples of those of the other");
            }
            smaller = Some(slot);
            found.counted[slot] += 1;
        }
        if let Some(scratch) = scratch
            && found.rest[0] == found.rest[1]
        {
            if found.rest[0] > scratch {
                return Err("not all sectors fit into the scratch area");
            }
            found.common += found.rest[0];
            found.rest = [0; 2];
            smaller = None;
        }
    }
    Ok(found)
}

/// Whether an update is possible at all; the reason if not.
pub(super) fn compatible(pair: &Pair) -> Result<(), String> {
    let max = pair.options.max_sectors as usize;
    let counts = [pair.sectors[0].len(), pair.sectors[1].len()];
    if counts.iter().any(|count| *count > max) {
        return Err(format!(
            "the slots have {} and {} sectors, the bootloader was built for {max}",
            counts[0], counts[1]
        ));
    }
    walk(&pair.sectors, scratch_size(pair)).map_err(str::to_owned)?;
    Ok(())
}

/// Largest image of swap-scratch in bytes (`app_max_size`): up to the trailer, and so that the part
/// beside the trailer fits into the scratch area together with the short trailer.
pub(super) fn max_size_with_scratch(pair: &Pair) -> u32 {
    let Ok(found) = walk(&pair.sectors, scratch_size(pair)) else { return 0 };
    let Some(scratch) = pair.scratch() else { return 0 };
    let trailer_at = found.common.saturating_sub(pair.trailer_len());
    let end = super::Slot::ALL
        .map(|slot| pair.sectors[slot.index()].get(pair.first_trailer_sector(slot)).map_or(0, Sector::end));
    let in_first_sector = end[0].max(end[1]).saturating_sub(trailer_at);
    trailer_at.saturating_sub(scratch.len().saturating_sub(in_first_sector))
}

fn scratch_size(pair: &Pair) -> Option<u32> {
    match pair.options.mode {
        Mode::SwapScratch => Some(pair.scratch().map_or(0, |scratch| scratch.area().len)),
        Mode::SwapMove | Mode::SwapOffset | Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => None,
    }
}
