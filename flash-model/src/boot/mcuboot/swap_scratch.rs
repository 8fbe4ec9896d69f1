//! Swap through a scratch area (mcuboot: `swap_scratch.c`).
//!
//! The images change places from their ends to their starts, each step as many sectors as fit into
//! the scratch area: the new part goes to the scratch area, the old part over, the new part down.
//!
//! Flash contents for an update from `A` to `B`, both of two sectors, slots of three sectors of which
//! the last holds the trailer, scratch area of one sector; `T` is a trailer, `-` erased, `TP` the trailer that
//! carries the status of this swap, `ts` a short trailer at the end of the scratch area:
//!
//! | step | records | P0 | P1 | P2 | S0 | S1 | S2 | scratch |
//! |---|---|---|---|---|---|---|---|---|
//! | update requested | | A0 | A1 | - | B0 | B1 | T | - |
//! | short trailer, so that the request survives what follows | | A0 | A1 | - | B0 | B1 | T | ts |
//! | primary trailer erased and written | | A0 | A1 | TP | B0 | B1 | T | ts |
//! | scratch area erased | | A0 | A1 | TP | B0 | B1 | T | - |
//! | state 0: copy S1 to the scratch area | 1 | A0 | A1 | TP | B0 | B1 | T | B1 |
//! | state 1: erase the secondary trailer, erase S1, copy P1 | 1 2 | A0 | A1 | TP | B0 | A1 | - | B1 |
//! | state 2: erase P1, copy the scratch area | 1 2 3 | A0 | B1 | TP | B0 | A1 | - | B1 |
//! | next step, state 0: erase the scratch area, copy S0 | .. 1 | A0 | B1 | TP | B0 | A1 | - | B0 |
//! | states 1 and 2 | .. 1 2 3 | B0 | B1 | TP | A0 | A1 | - | B0 |
//! | image_ok if permanent or revert, then copy_done | | B0 | B1 | TP | A0 | A1 | - | B0 |
//!
//! When an image reaches into the sector of the trailer, that sector is swapped first and the trailer
//! cannot stay. `a` and `b` are the parts of the images in P2 and S2:
//!
//! | step | records | P2 | S2 | scratch |
//! |---|---|---|---|---|
//! | update requested | | a - | b T | - |
//! | short trailer, the status of this step | | a - | b T | - ts |
//! | state 0: copy S2 up to the trailer | 1 in scratch | a - | b T | b ts |
//! | state 1: erase S2, copy P2 | 1 2 in scratch | a - | a - | b ts |
//! | state 2: erase P2, copy the scratch area, the records and the trailer | 1 2 3 in P2 | b TP | a - | b ts |
//! | erase the scratch area, the last sector first | | b TP | a - | - |
//!
//! A revert has no good magic in the secondary slot. A power loss between erasing and writing the primary
//! trailer leaves the short trailer; one more while that is rebuilt forgets the revert.

use super::erase::{Loop, copy_region, erase_region};
use super::{Decision, Flag, Flaw, Pair, Run, Slot, Stop, SwapStatus, SwapType, status};
use crate::flash::{Area, Controller, Flash, FlashError};

/// Where the header of the image that began in `slot` is at this point of a swap
/// (`boot_read_image_header`).
pub(super) fn header_place(pair: &Pair, flash: &Flash, slot: Slot, status: &SwapStatus) -> Result<Area, Stop> {
    let (own, other) = match slot {
        Slot::Primary => (pair.area(Slot::Primary), pair.area(Slot::Secondary)),
        Slot::Secondary => (pair.area(Slot::Secondary), pair.area(Slot::Primary)),
    };
    if status.is_reset() {
        return Ok(own);
    }
    let steps = step_count(pair, status::holder(pair, flash)?.read_swap_size(flash)?)?;
    let done = status.index - 1;
    if done >= steps {
        return Ok(other);
    }
    // The first sectors of the slots are the last to be swapped.
    Ok(match slot {
        Slot::Secondary if done == steps - 1 && status.state >= 2 => scratch(pair)?.area(),
        Slot::Primary if done == steps - 1 && status.state >= 3 => other,
        _ => own,
    })
}

/// Starts or continues the swap and brings it to its end (`swap_run`).
pub(super) fn run(run: &mut Run<'_>, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
    let mut end = sector_count(run.config, status.swap_size)?;
    let total = end as u32;
    let mut step = 1;
    while end > 0 {
        let (first, size) = part(run.config, end)?;
        if step >= status.index {
            Loop { pair: run.config, name: "swap", status: status.packed(total) }.head(flash, 0)?;
            swap_sectors(run, flash, status, first, size)?;
        }
        end = first;
        step += 1;
    }
    Ok(())
}

fn scratch(pair: &Pair) -> Result<&super::Trailer, Stop> {
    pair.scratch().ok_or(Stop::Halt("there is no scratch area (bootutil_loader.c, boot_open_all_flash_areas)"))
}

/// Number of primary sectors that a swap of this many bytes concerns (`find_last_sector_idx`).
fn sector_count(pair: &Pair, swap_size: u32) -> Result<usize, Stop> {
    let [primary, secondary] = &pair.sectors;
    let [mut primary_count, mut secondary_count] = [0; 2];
    let [mut primary_size, mut secondary_size] = [0; 2];
    let size = |sectors: &[crate::flash::Sector], index: usize| {
        // The C code goes on behind the table of sectors, and may never come back.
        sectors.get(index).map(|sector| sector.size).ok_or(Stop::Halt(
            "the swap size in the trailer reaches beyond the slot (swap_scratch.c, find_last_sector_idx)",
        ))
    };
    loop {
        if primary_size < swap_size || primary_size < secondary_size {
            primary_size += size(primary, primary_count)?;
            primary_count += 1;
        }
        if secondary_size < swap_size || secondary_size < primary_size {
            secondary_size += size(secondary, secondary_count)?;
            secondary_count += 1;
        }
        if primary_size >= swap_size && primary_size == secondary_size {
            return Ok(primary_count);
        }
    }
}

/// First sector and size of the part before primary sector `end` that fits into the scratch area
/// (`boot_copy_sz`).
fn part(pair: &Pair, end: usize) -> Result<(usize, u32), Stop> {
    let room = scratch(pair)?.area().len;
    let mut first = end;
    let mut size = 0;
    for sector in pair.sectors[0][..end].iter().rev() {
        if sector.size > room - size {
            break;
        }
        size += sector.size;
        first -= 1;
    }
    if first == end {
        return Err(Stop::Halt("a sector does not fit into the scratch area (swap_scratch.c, boot_copy_sz)"));
    }
    Ok((first, size))
}

/// `find_swap_count`.
pub(super) fn step_count(pair: &Pair, swap_size: u32) -> Result<u32, Stop> {
    steps(pair, swap_size).map(|steps| steps.len() as u32)
}

/// Offset in the slots and size of each step, in their order.
pub(super) fn steps(pair: &Pair, swap_size: u32) -> Result<Vec<(u32, u32)>, Stop> {
    let mut end = sector_count(pair, swap_size)?;
    let mut steps = Vec::new();
    while end > 0 {
        let (first, size) = part(pair, end)?;
        steps.push((pair.sectors[0].get(first).map_or(0, |sector| sector.offset), size));
        end = first;
    }
    Ok(steps)
}

/// Exchanges `size` bytes from primary sector `first` on (`boot_swap_sectors`).
fn swap_sectors(
    run: &mut Run<'_>,
    flash: &mut Controller<'_>,
    status: &mut SwapStatus,
    first: usize,
    size: u32,
) -> Result<(), Stop> {
    let pair = run.config;
    let scratch = scratch(pair)?;
    let [primary, secondary] = Slot::ALL.map(|slot| pair.area(slot));
    let offset = pair.sectors[0][first].offset;
    let trailer_len = pair.trailer_len();
    let first_trailer = |slot: Slot| pair.sectors[slot.index()][pair.first_trailer_sector(slot)].offset;
    let mut copied = size;
    if offset + size > first_trailer(Slot::Primary) {
        // What is below the trailer, and below the short trailer when it is in the scratch area.
        copied = primary.len.wrapping_sub(offset).wrapping_sub(trailer_len).min(scratch.status_offset(0));
    }
    status.use_scratch = status.index == 1 && copied != size;
    let place = |name: &'static str, status: &SwapStatus| Loop { pair, name, status: status.packed(0) };
    if status.state == 1 {
        to_scratch(run, flash, status, offset, copied)?;
    }
    if status.state == 2 {
        let mut erased = size;
        if status.index == 1 {
            // From here on only the primary slot has a trailer.
            run.config.scramble_trailer(flash, Slot::Secondary)?;
            if status.use_scratch {
                erased = first_trailer(Slot::Secondary).wrapping_sub(offset);
            }
        }
        if erased > 0 {
            erase_region(flash, place("swap: erase", status), secondary, &pair.sectors[1], offset, erased)?;
        }
        copy_region(flash, place("swap: copy", status), (primary, offset), (secondary, offset), copied)?;
        run.write_status(flash, status)?;
        status.state = 3;
    }
    if status.state == 3 {
        let mut erased = size;
        if status.use_scratch {
            run.config.scramble_trailer(flash, Slot::Primary)?;
            erased = first_trailer(Slot::Primary).wrapping_sub(offset);
        }
        if erased > 0 {
            erase_region(flash, place("swap: erase", status), primary, &pair.sectors[0], offset, erased)?;
        }
        copy_region(flash, place("swap: copy", status), (scratch.area(), 0), (primary, offset), copied)?;
        if status.use_scratch {
            trailer_from_scratch(run, flash, status, offset.wrapping_add(copied))?;
        }
        let erase_scratch = std::mem::take(&mut status.use_scratch);
        run.write_status(flash, status)?;
        status.index += 1;
        status.state = 1;
        if erase_scratch && pair.options.flaw == Some(Flaw::StaleScratchTrailer) {
            erase_region(flash, place("swap: erase", status), scratch.area(), &pair.scratch_sectors, 0, size)?;
        } else if erase_scratch && pair.options.flaw == Some(Flaw::ForwardScratchErase) {
            erase_region(
                flash,
                place("swap: erase", status),
                scratch.area(),
                &pair.scratch_sectors,
                0,
                scratch.area().len,
            )?;
        } else if erase_scratch {
            // Backwards, so that the magic goes first: half a trailer would be taken for a whole one.
            for sector in pair.scratch_sectors.iter().rev() {
                flash.erase(scratch.area(), sector.offset, sector.size)?;
            }
        }
    }
    Ok(())
}

/// State 0: the new part goes to the scratch area; before the first part, the trailers are prepared.
fn to_scratch(
    run: &mut Run<'_>,
    flash: &mut Controller<'_>,
    status: &mut SwapStatus,
    offset: u32,
    copied: u32,
) -> Result<(), Stop> {
    let pair = run.config;
    let scratch = scratch(pair)?;
    let place = |name: &'static str| Loop { pair, name, status: status.packed(0) };
    let erase_scratch = |flash: &mut Controller<'_>, name: &'static str| {
        erase_region(flash, place(name), scratch.area(), &pair.scratch_sectors, 0, scratch.area().len)
    };
    erase_scratch(flash, "scratch: erase")?;
    if status.index == 1 {
        // Even when the status does not go there: the swap info must survive the primary trailer.
        status::init(pair, flash, scratch, status, None)?;
        if !status.use_scratch {
            run.config.scramble_trailer(flash, Slot::Primary)?;
            status::init(pair, flash, pair.trailer(Slot::Primary), status, None)?;
            erase_scratch(flash, "scratch: erase the trailer")?;
        }
    }
    place("scratch: copy").head(flash, u32::MAX)?;
    copy_region(flash, place("scratch: copy"), (pair.area(Slot::Secondary), offset), (scratch.area(), 0), copied)?;
    run.write_status(flash, status)?;
    status.state = 2;
    Ok(())
}

/// Writes the primary trailer from the short one; the records of the first two states come to `records_at`.
fn trailer_from_scratch(
    run: &mut Run<'_>,
    flash: &mut Controller<'_>,
    status: &SwapStatus,
    records_at: u32,
) -> Result<(), Stop> {
    let pair = run.config;
    let (scratch, trailer) = (scratch(pair)?, pair.trailer(Slot::Primary));
    let records = (scratch.area(), scratch.status_offset(0));
    let place = Loop { pair, name: "records", status: status.packed(records_at) };
    match copy_region(flash, place, records, (trailer.area(), records_at), 2 * pair.write_size) {
        Err(FlashError::Refused(refusal)) if pair.options.validate_primary => {
            run.decisions.push(Decision::StatusNotWritten(refusal));
        }
        result => result?,
    }
    let saved = scratch.read(flash.flash())?;
    if saved.image_ok == Flag::Set {
        trailer.write_image_ok(flash)?;
    }
    if saved.swap_type != SwapType::None {
        trailer.write_swap_info(flash, saved.swap_type)?;
    }
    trailer.write_swap_size(flash, status.swap_size)?;
    Ok(trailer.write_magic(flash)?)
}
