//! Swap without scratch area and without a move (mcuboot: `swap_offset.c`).
//!
//! An update is uploaded one sector behind the start of the secondary slot. The sector in front of it is the room
//! that an exchange needs: sector by sector the old image goes down into it and the new one over.
//!
//! Flash contents for an update from `A` to `B`, both of three sectors, slots of five sectors; `T` is a trailer, `-`
//! erased or old data, `TP` the trailer that carries the status of this swap, in the primary slot:
//!
//! | step | records | P0 | P1 | P2 | P4 | S0 | S1 | S2 | S3 | S4 |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | update requested | | A0 | A1 | A2 | - | - | B0 | B1 | B2 | T |
//! | primary trailer erased and written, secondary trailer erased | | A0 | A1 | A2 | TP | - | B0 | B1 | B2 | - |
//! | erase S0, copy P0 | 1 | A0 | A1 | A2 | TP | A0 | B0 | B1 | B2 | - |
//! | erase P0, copy S1 | 1 2 | B0 | A1 | A2 | TP | A0 | B0 | B1 | B2 | - |
//! | erase S1, copy P1 | 1 2 1 | B0 | A1 | A2 | TP | A0 | A1 | B1 | B2 | - |
//! | erase P1, copy S2 | 1 2 1 2 | B0 | B1 | A2 | TP | A0 | A1 | B1 | B2 | - |
//! | and so on | .. | B0 | B1 | B2 | TP | A0 | A1 | A2 | B2 | - |
//! | image_ok if permanent, then copy_done | | B0 | B1 | B2 | TP | A0 | A1 | A2 | B2 | - |
//!
//! The old image is now at the start of the secondary slot. A revert goes the other way, last sector first, and leaves
//! the image that failed where an update is. `TS` is a trailer that asks for a revert (copy_done without image_ok):
//!
//! | step | records | P0 | P1 | P2 | P4 | S0 | S1 | S2 | S3 | S4 |
//! |---|---|---|---|---|---|---|---|---|---|---|
//! | not confirmed | | B0 | B1 | B2 | T | A0 | A1 | A2 | - | - |
//! | secondary trailer erased and written | | B0 | B1 | B2 | T | A0 | A1 | A2 | - | TS |
//! | primary trailer erased and written, secondary trailer erased | | B0 | B1 | B2 | TP | A0 | A1 | A2 | - | - |
//! | erase S3, copy P2 | 1 | B0 | B1 | B2 | TP | A0 | A1 | A2 | B2 | - |
//! | erase P2, copy S2 | 1 2 | B0 | B1 | A2 | TP | A0 | A1 | A2 | B2 | - |
//! | and so on | .. | A0 | A1 | A2 | TP | A0 | B0 | B1 | B2 | - |
//! | erase S0, erase the secondary trailer | .. | A0 | A1 | A2 | TP | - | B0 | B1 | B2 | - |
//! | image_ok, then copy_done | | A0 | A1 | A2 | TP | - | B0 | B1 | B2 | - |
//!
//! Sectors behind the end of an image are left alone. Where the images end is in the trailer, too: half-way through a
//! swap their TLV areas may be anywhere.

use super::erase::{Loop, copy_region, erase_region};
use super::swap_move::last_index;
use super::{Decision, Magic, Pair, Run, Slot, StatusSource, Stop, SwapStatus, SwapType, status};
use crate::flash::{Controller, Flash, FlashError};
use crate::image::mcuboot::ImageHeader;

/// Whether the sectors of both slots allow a swap; the reason if not (`boot_slots_compatible`).
pub(super) fn slots_compatible(pair: &Pair) -> Result<(), String> {
    let [primary, secondary] = &pair.sectors;
    let max = pair.options.max_sectors as usize;
    if primary.len() != secondary.len() && primary.len() + 1 != secondary.len() {
        return Err(format!(
            "the primary slot has {} sectors and the secondary {}: equal, or one more in the secondary, would do",
            primary.len(),
            secondary.len()
        ));
    }
    if primary.len() > max {
        return Err(format!("the primary slot has {} sectors, the bootloader was built for {max}", primary.len()));
    }
    // As far as the C code looks: not at the last sector of the secondary slot.
    let mut both = primary.iter().zip(&secondary[..secondary.len().saturating_sub(1)]);
    if both.any(|(primary, secondary)| primary.size != secondary.size) {
        return Err("the sectors of both slots do not have the same sizes".into());
    }
    Ok(())
}

/// Where a header is.
pub(super) struct HeaderPlace {
    pub(super) slot: Slot,
    pub(super) offset: u32,
    /// Where it is looked for when it is not there.
    pub(super) otherwise: Option<u32>,
}

/// Where the header of the image that began in `slot` is; with a status, at this point of a swap
/// (`boot_read_image_header`).
pub(super) fn header_place(
    pair: &Pair,
    flash: &Flash,
    slot: Slot,
    status: Option<&SwapStatus>,
) -> Result<HeaderPlace, Stop> {
    let sector = pair.sector_size();
    let asked = pair.swap_type(flash)? == SwapType::Revert;
    let reverts = asked || status.is_some_and(|status| status.swap_type == SwapType::Revert);
    let Some(status) = status.filter(|status| !status.is_reset()) else {
        let secondary = slot == Slot::Secondary;
        return Ok(HeaderPlace {
            slot,
            offset: if secondary && !reverts { sector } else { 0 },
            otherwise: secondary.then_some(if asked { sector } else { 0 }),
        });
    };
    let last = last_index(status::holder(pair, flash)?.read_swap_size(flash)?, sector)? - 1;
    let done = status.index - 1;
    let (slot, offset) = match (reverts, slot) {
        (true, Slot::Primary) if done > last || (done == last && status.state == 2) => (Slot::Secondary, sector),
        // As the C code has it: never, because there is no third state.
        (true, Slot::Secondary) if done > last || (done == last && status.state == 3) => (Slot::Primary, 0),
        (true, slot) => (slot, 0),
        // As the C code has it: compares a number from 1 with one from 0.
        (false, Slot::Primary) if (done > 0 || status.state == 2) && status.index <= last => (Slot::Secondary, 0),
        (false, Slot::Primary) => (Slot::Primary, 0),
        (false, Slot::Secondary) if done > 0 => (Slot::Primary, 0),
        (false, Slot::Secondary) => (Slot::Secondary, sector),
    };
    Ok(HeaderPlace { slot, offset, otherwise: None })
}

/// Starts or continues the swap and brings it to its end (`swap_run`).
pub(super) fn run(run: &mut Run<'_>, flash: &mut Controller<'_>, status: &mut SwapStatus) -> Result<(), Stop> {
    let pair = run.config;
    let sector = pair.sector_size();
    let count = last_index(status.swap_size, sector)?;
    if status.is_reset() {
        let trailer_sectors = pair.trailer(Slot::Primary).len().div_ceil(sector);
        let first_trailer = (pair.sectors[0].len() as u32).saturating_sub(trailer_sectors);
        if count > first_trailer {
            run.decisions.push(Decision::NoRoomToSwap { needed: count * sector, available: first_trailer * sector });
            status.swap_type = SwapType::None;
            return Ok(());
        }
    }
    fixup_revert(run, flash, status)?;
    if status.index == 1 {
        if status.source != StatusSource::Primary {
            run.config.scramble_trailer(flash, Slot::Primary)?;
            init(run, flash, Slot::Primary, status)?;
        }
        run.config.scramble_trailer(flash, Slot::Secondary)?;
    }
    let sizes = pair.trailer(Slot::Primary).read_tlv_sizes(flash.flash())?;
    // In 16 and 32 bits, as the C code adds.
    let used = |slot: Slot| {
        let ImageHeader { header_size, image_size, protected_tlv_size, .. } = run.headers[slot.index()];
        let len = u32::from(header_size)
            .wrapping_add(u32::from(sizes[slot.index()]))
            .wrapping_add(u32::from(protected_tlv_size))
            .wrapping_add(image_size);
        len.wrapping_add(sector - 1) / sector
    };
    // No sector behind the last one is looked at: further need not be told apart.
    let used = [used(Slot::Primary), used(Slot::Secondary)].map(|used| used.min(count));
    let reverts = status.swap_type == SwapType::Revert || pair.swap_type(flash.flash())? == SwapType::Revert;
    for step in 0..count {
        if step + 1 >= status.index {
            let names = if reverts { REVERT } else { SWAP };
            Loop { pair, name: names.step, status: status.packed(used[0] << 16 | used[1]) }.head(flash, 0)?;
            let index = if reverts { count - 1 - step } else { step };
            swap_sectors(run, flash, status, index, names, used)?;
        }
    }
    if reverts {
        // What is in front of an update must not be taken for a header.
        let place = Loop { pair, name: "end of the revert", status: status.packed(0) };
        erase_region(flash, place, pair.area(Slot::Secondary), &pair.sectors[1], 0, sector)?;
        run.config.scramble_trailer(flash, Slot::Secondary)?;
    }
    Ok(())
}

/// What the loops are called: which way a swap goes is not in its status.
#[derive(Clone, Copy, PartialEq)]
struct Names {
    step: &'static str,
    erase: &'static str,
    copy: &'static str,
}

const SWAP: Names = Names { step: "swap", erase: "swap: erase", copy: "swap: copy" };
const REVERT: Names = Names { step: "revert", erase: "revert: erase", copy: "revert: copy" };

/// Exchanges primary sector `index` with the secondary sector behind or, in a revert, in front of the room.
fn swap_sectors(
    run: &mut Run<'_>,
    flash: &mut Controller<'_>,
    status: &mut SwapStatus,
    index: u32,
    names: Names,
    used: [u32; 2],
) -> Result<(), Stop> {
    let (down, up) = if names == REVERT { (index + 1, index) } else { (index, index + 1) };
    let [skip_primary, skip_secondary] = used.map(|used| index > used);
    let pair = run.config;
    let place = |status: &SwapStatus| {
        [names.erase, names.copy].map(|name| Loop { pair, name, status: status.packed(used[0] << 16 | used[1]) })
    };
    if status.state == 1 {
        if !skip_primary {
            copy_sector(place(status), flash, (Slot::Primary, index), (Slot::Secondary, down))?;
        }
        run.write_status(flash, status)?;
        status.state = 2;
    }
    if !skip_secondary {
        copy_sector(place(status), flash, (Slot::Secondary, up), (Slot::Primary, index))?;
    }
    run.write_status(flash, status)?;
    status.index += 1;
    status.state = 1;
    Ok(())
}

/// Makes the secondary trailer ask for the revert, before the primary one that has asked for it is erased.
fn fixup_revert(run: &Run<'_>, flash: &mut Controller<'_>, status: &SwapStatus) -> Result<(), Stop> {
    if status.swap_type != SwapType::Revert || status.index != 1 {
        return Ok(());
    }
    let trailer = run.config.trailer(Slot::Secondary);
    if trailer.read(flash.flash())?.magic == Magic::Unset {
        run.config.scramble_trailer(flash, Slot::Secondary)?;
        trailer.write_copy_done(flash)?;
        init(run, flash, Slot::Secondary, status)?;
    }
    Ok(())
}

fn init(run: &Run<'_>, flash: &mut Controller<'_>, slot: Slot, status: &SwapStatus) -> Result<(), FlashError> {
    status::init(run.config, flash, run.config.trailer(slot), status, Some(run.tlv_sizes))
}

fn copy_sector(
    [erase, copy]: [Loop<'_>; 2],
    flash: &mut Controller<'_>,
    from: (Slot, u32),
    to: (Slot, u32),
) -> Result<(), Stop> {
    let pair = copy.pair;
    let size = pair.sector_size();
    let offset = |(slot, index): (Slot, u32)| {
        pair.sectors[slot.index()]
            .get(index as usize)
            .map(|sector| sector.offset)
            .ok_or(Stop::Halt("the swap size in the trailer reaches beyond the slot (swap_offset.c, swap_run)"))
    };
    let (source, target) = (offset(from)?, offset(to)?);
    erase_region(flash, erase, pair.area(to.0), &pair.sectors[to.0.index()], target, size)?;
    Ok(copy_region(flash, copy, (pair.area(from.0), source), (pair.area(to.0), target), size)?)
}
