//! The new image replaces the old one (mcuboot: `boot_copy_image` in `loader.c`).
//!
//! There is no status and no way back: an interrupted copy starts again at the next boot, because the
//! request in the secondary slot is erased last. With a slot of four sectors, `A` and `B` of two
//! sectors, `T` the trailer that asks for the update, `-` erased:
//!
//! | step | P0 | P1 | P2 | P3 | S0 | S1 | S2 | S3 |
//! |---|---|---|---|---|---|---|---|---|
//! | update requested | A0 | A1 | - | - | B0 | B1 | - | T |
//! | the primary slot is erased, P0 first | - | - | - | - | B0 | B1 | - | T |
//! | the whole secondary slot is copied, trailer included | B0 | B1 | - | T | B0 | B1 | - | T |
//! | S0, which has the header, is erased | B0 | B1 | - | T | - | B1 | - | T |
//! | S3 is erased | B0 | B1 | - | T | - | B1 | - | - |
//!
//! Fast, only what the image needs is touched:
//!
//! | step | P0 | P1 | P2 | P3 | S0 | S1 | S2 | S3 |
//! |---|---|---|---|---|---|---|---|---|
//! | update requested | A0 | A1 | - | - | B0 | B1 | - | T |
//! | the sectors that `B` needs are erased | - | - | - | - | B0 | B1 | - | T |
//! | the sectors of the primary trailer are erased | - | - | - | - | B0 | B1 | - | T |
//! | `B` is copied, up to one program unit behind its end | B0 | B1 | - | - | B0 | B1 | - | T |
//! | the magic is written | B0 | B1 | - | m | B0 | B1 | - | T |
//! | S0 is erased, then S3 | B0 | B1 | - | m | - | B1 | - | - |
//!
//! The primary slot then holds a confirmed request or a bare magic. Neither asks for anything.
//!
//! A bootloader that may fill an empty primary slot (`MCUBOOT_BOOTSTRAP`) uses the same copy in the swap modes:
//! swap-move the fast one, which leaves the secondary header; swap-scratch the other.

use super::erase::{COPY_CHUNK, Loop, erase_region};
use super::{Counters, Decision, Mode, Run, Slot, Stop};
use crate::flash::Controller;

/// Replaces the primary image by the secondary one.
pub(super) fn run(run: &mut Run<'_>, flash: &mut Controller<'_>, counters: &mut Counters) -> Result<(), Stop> {
    let pair = run.config;
    let mode = pair.options.mode;
    let fast = matches!(mode, Mode::OverwriteOnly { fast: true } | Mode::SwapMove | Mode::SwapOffset);
    let [primary, secondary] = Slot::ALL.map(|slot| pair.area(slot));
    let from = if mode == Mode::SwapOffset { pair.sector_size() } else { 0 };
    let image_size = if fast { run.image_size(flash, Slot::Secondary)? } else { 0 };
    let mut size: u32 = 0;
    for sector in &pair.sectors[0] {
        run.config.checkpoint(flash, "erase primary", [sector.index as u32, 0, 0, 0])?;
        flash.erase(primary, sector.offset, sector.size)?;
        if fast && sector.end() >= image_size {
            // As the C code has it: a whole unit more when the size is a multiple of one.
            size = image_size.saturating_add(pair.write_size - image_size % pair.write_size);
            break;
        }
        size = sector.end();
    }
    if fast {
        let first = pair.sectors[0][pair.first_trailer_sector(Slot::Primary)].offset;
        let place = Loop { pair, name: "erase primary trailer", status: [0; 3] };
        erase_region(flash, place, primary, &pair.sectors[0], first, primary.len - first)?;
    }
    let mut buffer = [0; COPY_CHUNK];
    let mut copied = 0;
    while copied < size {
        run.config.checkpoint(flash, "copy", [copied, 0, 0, 0])?;
        let piece = &mut buffer[..((size - copied) as usize).min(COPY_CHUNK)];
        flash.copy((secondary, from + copied), (primary, copied), piece)?;
        copied += piece.len() as u32;
    }
    if fast {
        pair.trailer(Slot::Primary).write_magic(flash)?;
    }
    if pair.options.hardware_rollback_protection {
        // The header is the one of the new image, which both slots hold now.
        let header = run.headers[Slot::Secondary.index()];
        run.raise_counter(flash, counters, &header)?
            .map_err(|_| Stop::Halt("the security counter could not be raised (loader.c, boot_perform_update)"))?;
    }
    run.decisions.push(Decision::Overwritten { bytes: size });
    let sectors = &pair.sectors[1];
    if matches!(mode, Mode::OverwriteOnly { .. } | Mode::SwapScratch)
        && !pair.options.keep_backup
        && let Some(first) = sectors.first()
    {
        flash.erase(secondary, first.offset, first.size)?;
    }
    if let Some(last) = sectors.last() {
        flash.erase(secondary, last.offset, last.size)?;
    }
    Ok(())
}
