//! Swap without scratch area (mcuboot: `swap_move.c`).
//!
//! The primary slot has one sector more than the images need. First all its sectors move up by one,
//! the last one first; then sector by sector the secondary image comes down and the old one goes over.
//!
//! Flash contents for an update from `A` to `B`, both of three sectors, primary slot P0 to P4,
//! secondary slot S0 to S3; `T` is a trailer, `-` erased or old data, `TP` the trailer that carries
//! the status of this swap:
//!
//! | step | records | P0 | P1 | P2 | P3 | P4 | S0 | S1 | S2 | S3 |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | update requested | | A0 | A1 | A2 | - | - | B0 | B1 | B2 | T |
//! | primary trailer erased and written, secondary trailer erased | | A0 | A1 | A2 | - | TP | B0 | B1 | B2 | - |
//! | moved: erase P3, copy P2 | 1 | A0 | A1 | A2 | A2 | TP | B0 | B1 | B2 | - |
//! | moved: erase P2, copy P1 | 1 1 | A0 | A1 | A1 | A2 | TP | B0 | B1 | B2 | - |
//! | moved: erase P1, copy P0 | 1 1 1 | A0 | A0 | A1 | A2 | TP | B0 | B1 | B2 | - |
//! | swapped: erase P0, copy S0 | .. 1 | B0 | A0 | A1 | A2 | TP | B0 | B1 | B2 | - |
//! | swapped: erase S0, copy P1 | .. 1 2 | B0 | A0 | A1 | A2 | TP | A0 | B1 | B2 | - |
//! | swapped: erase P1, copy S1 | .. 1 2 1 | B0 | B1 | A1 | A2 | TP | A0 | B1 | B2 | - |
//! | and so on | .. | B0 | B1 | B2 | A2 | TP | A0 | A1 | A2 | - |
//! | image_ok if permanent or revert, then copy_done | | B0 | B1 | B2 | A2 | TP | A0 | A1 | A2 | - |
//!
//! At every moment each sector of both images is somewhere intact, and the record of a copy is
//! written after the copy: a copy whose record is missing is simply repeated.
//!
//! A revert starts with the status in the primary slot and nothing in the secondary one. So that a
//! power loss between erasing and rewriting the primary trailer does not forget the revert, the
//! secondary trailer is first made to look like a permanent update (`fixup_revert`).

use super::erase::{Loop, copy_region};
use super::{Decision, Flaw, Magic, Mode, Pair, Phase, Run, Slot, StatusSource, Stop, SwapStatus, SwapType, status};
use crate::flash::{Controller, Flash};

/// Whether the sectors of both slots allow a swap; the reason if not (`boot_slots_compatible`).
pub(super) fn slots_compatible(config: &Pair) -> Result<(), String> {
    let [primary, secondary] = &config.sectors;
    let max = config.options.max_sectors as usize;
    if primary.len() != secondary.len() && primary.len() != secondary.len() + 1 {
        return Err(format!(
            "the primary slot has {} sectors and the secondary {}: equal, or one more in the primary, would do",
            primary.len(),
            secondary.len()
        ));
    }
    if primary.len() > max || secondary.len() > max {
        return Err(format!("the primary slot has {} sectors, the bootloader was built for {max}", primary.len()));
    }
    let size = config.sector_size();
    if primary.iter().chain(secondary).any(|sector| sector.size != size) {
        return Err("not all sectors of both slots have the same size".into());
    }
    Ok(())
}

/// Where the header of the image that began in `slot` is at this point of a swap
/// (`boot_read_image_header`).
pub(super) fn header_place(config: &Pair, flash: &Flash, slot: Slot, status: &SwapStatus) -> Result<(Slot, u32), Stop> {
    if status.is_reset() {
        return Ok((slot, 0));
    }
    let last = if config.options.has(Flaw::HeaderPlace, Mode::SwapMove) {
        u32::MAX
    } else {
        last_index(status::holder(config, flash)?.read_swap_size(flash)?, config.sector_size())?
    };
    let sector = config.sector_size();
    Ok(match (status.phase, slot) {
        (Phase::Move, Slot::Primary) if status.index > last => (Slot::Primary, sector),
        (Phase::Swap, _) if status.index > 1 && status.index <= last => match slot {
            Slot::Primary => (Slot::Secondary, 0),
            Slot::Secondary => (Slot::Primary, 0),
        },
        (Phase::Swap, Slot::Primary) if status.index == 1 => (Slot::Primary, sector),
        (Phase::Swap, Slot::Secondary) if status.index == 1 && status.state == 2 => (Slot::Primary, 0),
        _ => (slot, 0),
    })
}

/// Starts or continues the swap and brings it to its end (`swap_run`).
pub(super) fn run(run: &mut Run<'_>, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
    let config = run.config;
    let last = last_index(status.swap_size, config.sector_size())?;
    if status.is_reset() {
        let sector = config.sector_size();
        let trailer_sectors = config.trailer(Slot::Primary).len().div_ceil(sector);
        let first_trailer = (config.sectors[0].len() as u32).saturating_sub(trailer_sectors);
        if last >= first_trailer {
            run.decisions
                .push(Decision::NoRoomToSwap { needed: (last + 1) * sector, available: first_trailer * sector });
            status.swap_type = SwapType::None;
            return Ok(());
        }
    }
    fixup_revert(run, flash, status)?;
    if status.phase == Phase::Move {
        for index in (1..=last).rev() {
            if index <= (last + 1).saturating_sub(status.index) {
                Loop { pair: run.config, name: "move", status: status.packed(last) }.head(flash, 0)?;
                move_up(run, flash, status, index)?;
            }
        }
        status.index = 1;
    }
    status.phase = Phase::Swap;
    for index in 1..=last {
        if index >= status.index {
            Loop { pair: run.config, name: "swap", status: status.packed(last) }.head(flash, 0)?;
            swap_sectors(run, flash, status, index)?;
        }
    }
    Ok(())
}

/// Moves sector `index - 1` of the primary slot to `index`.
fn move_up(run: &mut Run<'_>, flash: &mut Controller<'_>, status: &mut SwapStatus, index: u32) -> Result<(), Stop> {
    let config = run.config;
    if status.index == 1 {
        if status.source != StatusSource::Primary || config.options.has(Flaw::TrailerTwice, Mode::SwapMove) {
            run.config.scramble_trailer(flash, Slot::Primary)?;
            status::init(config, flash, config.trailer(Slot::Primary), status, None)?;
        }
        run.config.scramble_trailer(flash, Slot::Secondary)?;
    }
    let place = Loop { pair: config, name: "move: copy", status: status.packed(0) };
    copy_sector(place, flash, (Slot::Primary, index - 1), (Slot::Primary, index))?;
    run.write_status(flash, status)?;
    status.index += 1;
    Ok(())
}

/// Exchanges sector `index - 1` of the slots; the old primary sector is at `index`.
fn swap_sectors(
    run: &mut Run<'_>,
    flash: &mut Controller<'_>,
    status: &mut SwapStatus,
    index: u32,
) -> Result<(), Stop> {
    let place = |status: &SwapStatus| Loop { pair: run.config, name: "swap: copy", status: status.packed(0) };
    if status.state == 1 {
        copy_sector(place(status), flash, (Slot::Secondary, index - 1), (Slot::Primary, index - 1))?;
        run.write_status(flash, status)?;
        status.state = 2;
    }
    copy_sector(place(status), flash, (Slot::Primary, index), (Slot::Secondary, index - 1))?;
    run.write_status(flash, status)?;
    status.index += 1;
    status.state = 1;
    Ok(())
}

fn fixup_revert(run: &Run<'_>, flash: &mut Controller<'_>, status: &SwapStatus) -> Result<(), Stop> {
    if status.swap_type != SwapType::Revert || status.phase != Phase::Move || status.index != 1 {
        return Ok(());
    }
    let trailer = run.config.trailer(Slot::Secondary);
    if trailer.read(flash.flash())?.magic == Magic::Unset {
        run.config.scramble_trailer(flash, Slot::Secondary)?;
        trailer.write_image_ok(flash)?;
        trailer.write_swap_size(flash, status.swap_size)?;
        trailer.write_magic(flash)?;
    }
    Ok(())
}

fn copy_sector(place: Loop<'_>, flash: &mut Controller<'_>, from: (Slot, u32), to: (Slot, u32)) -> Result<(), Stop> {
    let config = place.pair;
    let sector = |(slot, index): (Slot, u32)| {
        config.sectors[slot.index()]
            .get(index as usize)
            .copied()
            .ok_or(Stop::Halt("the swap size in the trailer reaches beyond the slot (swap_move.c, swap_run)"))
    };
    let (source, target) = (sector(from)?, sector(to)?);
    let (source_area, target_area) = (config.area(from.0), config.area(to.0));
    flash.erase(target_area, target.offset, target.size)?;
    Ok(copy_region(flash, place, (source_area, source.offset), (target_area, target.offset), source.size)?)
}

/// Number of sectors that hold `swap_size` bytes, at least 1 (`find_last_idx`).
pub(super) fn last_index(swap_size: u32, sector: u32) -> Result<u32, Stop> {
    let last = swap_size.div_ceil(sector).max(1);
    if last.checked_mul(sector).is_none() {
        // The C loop adds sector sizes until they reach the swap size; near 2^32 they never do.
        return Err(Stop::Halt(
            "the swap size in the trailer is erased or wild: the C loop never ends (find_last_idx)",
        ));
    }
    Ok(last)
}
