//! The status records of a swap in progress (mcuboot: `swap_read_status`).
//!
//! Records fill the status area from its start. With `N` the maximum number of sectors, swap-move has:
//!
//! | record | written when |
//! |---|---|
//! | `k`, from 0 to `N - 1` | `k + 1` sectors have been moved up |
//! | `N + 2 * i` | sector `i` of the secondary slot is in the primary slot |
//! | `N + 2 * i + 1` | sector `i` of the primary slot is in the secondary slot |
//!
//! and swap-scratch, for its step `i`, which exchanges as many sectors as fit into the scratch area:
//!
//! | record | written when |
//! |---|---|
//! | `3 * i` | the part of the secondary slot is in the scratch area |
//! | `3 * i + 1` | the part of the primary slot is in the secondary slot |
//! | `3 * i + 2` | the part in the scratch area is in the primary slot |
//!
//! and swap-offset, for its step `i`, which is sector `i` of an update and of a revert the `i`-th from the end:
//!
//! | record | written when |
//! |---|---|
//! | `2 * i` | the sector of the primary slot is in the secondary slot |
//! | `2 * i + 1` | the sector of the secondary slot is in the primary slot |
//!
//! A record counts as written when its first byte is not erased: a torn record is a written one,
//! and that is safe, because it is written after what it stands for.
//!
//! Where swap-scratch looks for records (first row that matches; mcuboot: `boot_status_tables`):
//!
//! | primary magic | scratch magic | primary copy_done | records are in |
//! |---|---|---|---|
//! | good | not good | set | none |
//! | good | not good | unset | primary slot |
//! | any | good | any | scratch area, if its image number is right |
//! | unset | any | unset | primary slot |
//! | else | | | none |

use super::{Flag, Flaw, Magic, Mode, Pair, Slot, SwapType, Trailer};
use crate::flash::{Controller, Flash, FlashError};

/// Which loop of the swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Primary sectors move up by one. Swap-scratch and swap-offset, which have one loop only, are always here.
    Move,
    /// Sectors of both slots change places.
    Swap,
}

/// Where the records of an interrupted swap are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusSource {
    /// There are none.
    None,
    /// In the trailer of the primary slot.
    Primary,
    /// In the trailer of the scratch area.
    Scratch,
}

/// How far a swap has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SwapStatus {
    /// Which loop.
    pub phase: Phase,
    /// Step in that loop, from 1.
    pub index: u32,
    /// Part of that step, from 1.
    pub state: u32,
    /// What the swap is for.
    pub swap_type: SwapType,
    /// Bytes to swap.
    pub swap_size: u32,
    /// Where this was read from.
    pub source: StatusSource,
    /// The swap info has a type that no bootloader writes.
    pub(super) wild: bool,
    /// Records for a swap-scratch step go to the scratch area, as the primary trailer is being rewritten.
    pub(super) use_scratch: bool,
}

impl SwapStatus {
    /// All of it that the rest of the swap depends on, as checkpoints of an exploration want it.
    pub(super) fn packed(&self, of_mode: u32) -> [u32; 3] {
        // Where the status was read from matters until the primary slot has a trailer for this swap.
        let begins = self.phase == Phase::Move && self.index == 1 && self.state == 1;
        let source = if begins { self.source as u32 } else { 0 };
        let bits = self.state | u32::from(self.swap_type.nibble()) << 2 | source << 6;
        let bits = bits | u32::from(self.use_scratch) << 8 | u32::from(self.phase == Phase::Swap) << 9;
        [self.index << 10 | bits, self.swap_size, of_mode]
    }

    /// Nothing under way.
    pub(super) fn reset() -> Self {
        Self {
            phase: Phase::Move,
            index: 1,
            state: 1,
            swap_type: SwapType::None,
            swap_size: 0,
            source: StatusSource::None,
            wild: false,
            use_scratch: false,
        }
    }

    /// Whether no step has been done.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.phase == Phase::Move && self.index == 1 && self.state == 1
    }

    /// The record that stands for the step this status is before.
    pub(super) fn record(&self, mode: Mode, max_sectors: u32) -> u32 {
        match (mode, self.phase) {
            (Mode::SwapScratch, _) => 3 * (self.index - 1) + (self.state - 1),
            (Mode::SwapOffset, _) => 2 * (self.index - 1) + (self.state - 1),
            (_, Phase::Move) => self.index - 1,
            (_, Phase::Swap) => max_sectors + 2 * (self.index - 1) + (self.state - 1),
        }
    }
}

/// A status and whether its records have a hole, as after a record that could not be written.
pub(super) struct Found {
    pub(super) status: SwapStatus,
    pub(super) inconsistent: bool,
}

/// Reads how far an interrupted swap has come.
pub(super) fn read(pair: &Pair, flash: &Flash) -> Result<Found, FlashError> {
    let mut found = Found { status: SwapStatus::reset(), inconsistent: false };
    let source = source(pair, flash)?;
    let trailer = match (source, pair.scratch()) {
        (StatusSource::None, _) | (StatusSource::Scratch, None) => return Ok(found),
        (StatusSource::Primary, _) => pair.trailer(Slot::Primary),
        (StatusSource::Scratch, Some(scratch)) => scratch,
    };
    let status = &mut found.status;
    status.source = source;
    if pair.options.mode == Mode::SwapScratch {
        let (records, inconsistent) = records_from_start(trailer, flash)?;
        found.inconsistent = inconsistent;
        if records > 0 {
            status.index = records / 3 + 1;
            status.state = records % 3 + 1;
        }
    } else if pair.options.mode == Mode::SwapOffset {
        let records = records_from_end(trailer, flash)?;
        status.index = records / 2 + 1;
        status.state = records % 2 + 1;
    } else {
        let records = records_from_end(trailer, flash)?;
        let moves = pair.options.max_sectors;
        if records == 0 {
            // Nothing done yet.
        } else if records < moves {
            status.index = records + 1;
        } else {
            status.phase = Phase::Swap;
            status.index = (records - moves) / 2 + 1;
            status.state = (records - moves) % 2 + 1;
        }
    }
    if !pair.options.has(Flaw::SwapTypeForgotten, Mode::SwapScratch)
        && let Some(info) = trailer.read_swap_info(flash)?
    {
        let swap = SwapType::from_nibble(info & 0x0f);
        status.wild = swap.is_none();
        status.swap_type = swap.unwrap_or(SwapType::None);
    }
    status.swap_size = trailer.read_swap_size(flash)?;
    Ok(found)
}

/// mcuboot: `swap_status_source`.
fn source(pair: &Pair, flash: &Flash) -> Result<StatusSource, FlashError> {
    let primary = pair.trailer(Slot::Primary).read(flash)?;
    Ok(match (pair.options.mode, pair.scratch()) {
        (Mode::SwapMove | Mode::SwapOffset, _) => {
            let secondary = pair.trailer(Slot::Secondary).read(flash)?;
            let alone = secondary.magic != Magic::Good || pair.options.has(Flaw::PaddedPrimary, Mode::SwapMove);
            if primary.magic == Magic::Good && primary.copy_done == Flag::Unset && alone {
                StatusSource::Primary
            } else {
                StatusSource::None
            }
        }
        (Mode::SwapScratch, Some(trailer)) => {
            let scratch = trailer.read(flash)?;
            match (primary.magic, scratch.magic, primary.copy_done) {
                (Magic::Good, Magic::Unset | Magic::Bad, Flag::Set) => StatusSource::None,
                (Magic::Good, Magic::Unset | Magic::Bad, Flag::Unset) => StatusSource::Primary,
                // The scratch area is shared: this may be the swap of another image.
                (_, Magic::Good, _) if pair.several && usize::from(scratch.image) != pair.image() => StatusSource::None,
                (_, Magic::Good, _) => StatusSource::Scratch,
                (Magic::Unset, _, Flag::Unset) => StatusSource::Primary,
                _ => StatusSource::None,
            }
        }
        (Mode::SwapScratch | Mode::OverwriteOnly { .. } | Mode::DirectXip { .. }, _) => StatusSource::None,
    })
}

/// Position behind the last written record.
fn records_from_end(trailer: &Trailer, flash: &Flash) -> Result<u32, FlashError> {
    for record in (0..trailer.status_records()).rev() {
        if trailer.read_record(flash, record)?.is_some() {
            return Ok(record + 1);
        }
    }
    Ok(0)
}

/// Position behind the first unbroken run of written records, and whether others follow.
fn records_from_start(trailer: &Trailer, flash: &Flash) -> Result<(u32, bool), FlashError> {
    let mut found = false;
    let mut behind = 0;
    for record in 0..trailer.status_records() {
        if trailer.read_record(flash, record)?.is_none() {
            if found && behind == 0 {
                behind = record;
            }
        } else if !found {
            found = true;
        } else if behind > 0 {
            return Ok((behind, true));
        }
    }
    Ok((if found && behind == 0 { trailer.status_records() } else { behind }, false))
}

/// The trailer that holds the size of the swap under way (mcuboot: `boot_find_status`).
pub(super) fn holder<'a>(pair: &'a Pair, flash: &Flash) -> Result<&'a Trailer, FlashError> {
    if let Some(scratch) = pair.scratch()
        && scratch.read(flash)?.magic == Magic::Good
    {
        return Ok(scratch);
    }
    Ok(pair.trailer(Slot::Primary))
}

/// Writes the trailer of a new swap: the magic comes last and makes the rest count (`swap_status_init`).
pub(super) fn init(
    pair: &Pair,
    flash: &mut Controller<'_>,
    trailer: &Trailer,
    status: &SwapStatus,
    tlv_sizes: Option<[u16; 2]>,
) -> Result<(), FlashError> {
    let secondary = pair.trailer(Slot::Secondary).read(flash.flash())?;
    if status.swap_type != SwapType::None {
        trailer.write_swap_info(flash, status.swap_type)?;
    }
    if secondary.image_ok == Flag::Set {
        trailer.write_image_ok(flash)?;
    }
    trailer.write_swap_size(flash, status.swap_size)?;
    if let Some(sizes) = tlv_sizes {
        trailer.write_tlv_sizes(flash, sizes)?;
    }
    trailer.write_magic(flash)
}
