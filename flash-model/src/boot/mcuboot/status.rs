//! The status records of a swap in progress (mcuboot: `swap_read_status_bytes`).
//!
//! Records fill the status area from its start. With `N` the maximum number of sectors:
//!
//! | record | written when |
//! |---|---|
//! | `k`, from 0 to `N - 1` | `k + 1` sectors have been moved up |
//! | `N + 2 * i` | sector `i` of the secondary slot is in the primary slot |
//! | `N + 2 * i + 1` | sector `i` of the primary slot is in the secondary slot |
//!
//! A record counts as written when its first byte is not erased: a torn record is a written one,
//! and that is safe, because it is written after what it stands for.

use super::{Magic, Pair, Slot, SwapType, TrailerState};
use crate::flash::{Flash, FlashError};

/// Which loop of the swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Primary sectors move up by one.
    Move,
    /// Sectors of both slots change places.
    Swap,
}

/// How far a swap has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SwapStatus {
    /// Which loop.
    pub phase: Phase,
    /// Step in that loop, from 1.
    pub index: u32,
    /// Half of that step, from 1.
    pub state: u32,
    /// What the swap is for.
    pub swap_type: SwapType,
    /// Bytes to swap.
    pub swap_size: u32,
    /// The primary trailer is already the one of this swap.
    pub in_primary: bool,
}

impl SwapStatus {
    /// Nothing under way.
    pub(super) fn reset() -> Self {
        Self { phase: Phase::Move, index: 1, state: 1, swap_type: SwapType::None, swap_size: 0, in_primary: false }
    }

    /// Whether no step has been done.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.phase == Phase::Move && self.index == 1 && self.state == 1
    }

    /// The record that stands for the step this status is before.
    pub(super) fn record(&self, max_sectors: u32) -> u32 {
        match self.phase {
            Phase::Move => self.index - 1,
            Phase::Swap => max_sectors + 2 * (self.index - 1) + (self.state - 1),
        }
    }
}

/// Where a status would be found: `true` for the primary slot (mcuboot: `swap_status_source`).
fn in_primary(primary: &TrailerState, secondary: &TrailerState) -> bool {
    primary.magic == Magic::Good && primary.copy_done == super::Flag::Unset && secondary.magic != Magic::Good
}

/// Reads how far an interrupted swap has come.
pub(super) fn read(config: &Pair, flash: &Flash) -> Result<SwapStatus, FlashError> {
    let trailer = config.trailer(Slot::Primary);
    let mut status = SwapStatus::reset();
    if !in_primary(&trailer.read(flash)?, &config.trailer(Slot::Secondary).read(flash)?) {
        return Ok(status);
    }
    status.in_primary = true;
    // Position behind the last written record, from 1.
    let mut found = 0;
    for record in (0..trailer.status_records()).rev() {
        if trailer.record_written(flash, record)? {
            found = record + 1;
            break;
        }
    }
    let moves = config.options.max_sectors;
    if found == 0 {
        // Nothing done yet.
    } else if found < moves {
        status.index = found + 1;
    } else {
        status.phase = Phase::Swap;
        status.index = (found - moves) / 2 + 1;
        status.state = (found - moves) % 2 + 1;
    }
    status.swap_type = trailer.read_swap_info(flash)?;
    status.swap_size = trailer.read_swap_size(flash)?;
    Ok(status)
}
