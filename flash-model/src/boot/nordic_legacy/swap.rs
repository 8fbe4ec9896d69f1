//! A new SoftDevice and a new bootloader come into their places (nrf5 sdk 11: `dfu_dual_bank.c`, `dfu_sd_image_swap`,
//! `dfu_bl_image_swap`; `bootloader.c`, `bootloader_dfu_sd_update_continue`).
//!
//! A SoftDevice that is not larger than the room of the old one is copied at once, and once more after a power loss. A
//! larger one reaches into its own copy. It is copied in parts, the lowest first, as long as half of the old room; the last
//! part is all the rest. After a power loss the parts are compared from the last to the first, and copying begins behind
//! the first that is right.
//!
//! | part | target, from the start of the SoftDevice | source, from the start of the SoftDevice |
//! |---|---|---|
//! | first | 0 | 2 |
//! | second | 1 | 3 |
//! | rest | 2 to its end | 4 to its end |
//!
//! In units of half the old room. The rest is put over the source of the first part, and, where it is longer than one
//! unit, over that of the second: then a power loss cannot be survived. Units that are not of whole pages do not work at
//! all, because the page in the middle is erased for both of its neighbours.

use super::mbr::Refused;
use super::run::{Installed, Stop};
use super::{CopyCommand, Decision, MBR_SIZE, NordicLegacy, Settings};
use crate::flash::{Controller, Flash, FlashError};

/// Parts of a larger SoftDevice.
const BLOCKS: usize = 3;

/// A part of a SoftDevice that is copied.
#[derive(Debug, Clone, Copy)]
struct Block {
    source: u32,
    target: u32,
    len: u32,
}

impl NordicLegacy {
    /// `bootloader_dfu_sd_update_continue`.
    pub(super) fn install(
        &self,
        flash: &mut Controller<'_>,
        settings: &Settings,
        decisions: &mut Vec<Decision>,
    ) -> Result<Installed, Stop> {
        let fault = |refused: Refused| Stop::Fault(refused);
        if self.softdevice_in_place(flash, settings, decisions)?.is_ok()
            && self.bootloader_in_place(flash.flash(), settings)?
        {
            decisions.push(Decision::InPlace);
            return Ok(Installed::InPlace);
        }
        self.swap_softdevice(flash, settings, decisions)?.map_err(fault)?;
        self.softdevice_in_place(flash, settings, decisions)?.map_err(fault)?;
        let Settings { bl_image_size, .. } = *settings;
        if bl_image_size == 0 {
            return Ok(Installed::InPlace);
        }
        let source = self.bootloader_source(flash.flash(), settings)?;
        self.copy_bl(flash, CopyCommand { source, words: bl_image_size / 4 })?.map_err(fault)?;
        decisions.push(Decision::CopyAsked { source, bytes: bl_image_size });
        Ok(Installed::CopyAsked)
    }

    /// Where the new bootloader lies.
    fn bootloader_source(&self, flash: &Flash, settings: &Settings) -> Result<u32, FlashError> {
        match settings.sd_image_size {
            0 if self.options.single_bank => self.bank_0_start(flash),
            0 => self.bank_1_start(flash),
            size => Ok(settings.sd_image_start.wrapping_add(size)),
        }
    }

    /// `dfu_bl_image_validate`. Adafruit's also looks where a build with two banks would have put it.
    fn bootloader_in_place(&self, flash: &Flash, settings: &Settings) -> Result<bool, FlashError> {
        let (size, area) = (settings.bl_image_size, self.map.bootloader());
        if size == 0 {
            return Ok(true);
        }
        if self.same(flash, area.offset, self.bootloader_source(flash, settings)?, size)? {
            return Ok(true);
        }
        let other_bank = self.options.kind == super::Kind::Adafruit && settings.sd_image_size == 0;
        Ok(other_bank && self.same(flash, area.offset, self.bank_1_start(flash)?, size)?)
    }

    /// Half of the old room, in which a larger SoftDevice is copied; `None` when it is no larger.
    fn block_size(&self, settings: &Settings) -> Option<u32> {
        let Settings { sd_image_size, sd_image_start, .. } = *settings;
        // As the C code computes it, overflow included.
        (MBR_SIZE.wrapping_add(sd_image_size) > sd_image_start).then(|| {
            let half = sd_image_start.wrapping_sub(MBR_SIZE) / 2;
            if self.options.whole_page_blocks { half - half % self.map.page() } else { half }
        })
    }

    /// The last part of a larger SoftDevice.
    fn last_block(settings: &Settings, size: u32) -> Block {
        let Settings { sd_image_size, sd_image_start, .. } = *settings;
        let both = size.wrapping_mul(2);
        Block {
            source: sd_image_start.wrapping_add(both),
            target: MBR_SIZE.wrapping_add(both),
            len: sd_image_size.wrapping_sub(both),
        }
    }

    /// `dfu_sd_image_validate`, which copies what is missing of a larger one; the inner error is that it is not in place.
    fn softdevice_in_place(
        &self,
        flash: &mut Controller<'_>,
        settings: &Settings,
        decisions: &mut Vec<Decision>,
    ) -> Result<Result<(), Refused>, Stop> {
        let Settings { sd_image_size, sd_image_start, .. } = *settings;
        if sd_image_size == 0 {
            return Ok(Ok(()));
        }
        let Some(size) = self.block_size(settings) else {
            let same = self.same(flash.flash(), MBR_SIZE, sd_image_start, sd_image_size)?;
            return Ok(if same { Ok(()) } else { Err("the SoftDevice is not what was received".into()) });
        };
        if self.softdevice_end(flash.flash())? < sd_image_size {
            return Ok(Err("the old SoftDevice is in place".into()));
        }
        self.swap_blocks(flash, Self::last_block(settings, size), size, decisions)
    }

    /// `dfu_sd_image_swap`.
    fn swap_softdevice(
        &self,
        flash: &mut Controller<'_>,
        settings: &Settings,
        decisions: &mut Vec<Decision>,
    ) -> Result<Result<(), Refused>, Stop> {
        let Settings { sd_image_size, sd_image_start, .. } = *settings;
        if sd_image_size == 0 {
            return Ok(Ok(()));
        }
        let Some(size) = self.block_size(settings) else {
            let block = Block { source: sd_image_start, target: MBR_SIZE, len: sd_image_size };
            return self.copy_block(flash, block, decisions);
        };
        if self.softdevice_end(flash.flash())? < sd_image_size {
            // One word onto itself erases its page.
            for page in [MBR_SIZE.wrapping_add(size), MBR_SIZE] {
                if let Err(refused) = self.copy_sd(flash, page, page, 4)? {
                    return Ok(Err(refused));
                }
            }
            decisions.push(Decision::OldSoftdeviceCleared);
        }
        self.swap_blocks(flash, Self::last_block(settings, size), size, decisions)
    }

    /// `dfu_sd_img_block_swap`, without its recursion: blocks below the first one that is right are right.
    fn swap_blocks(
        &self,
        flash: &mut Controller<'_>,
        last: Block,
        size: u32,
        decisions: &mut Vec<Decision>,
    ) -> Result<Result<(), Refused>, Stop> {
        let mut wrong = Vec::new();
        let mut block = last;
        loop {
            if self.same(flash.flash(), block.source, block.target, block.len)? {
                break;
            }
            wrong.push(block);
            if block.target <= MBR_SIZE || wrong.len() >= BLOCKS {
                break;
            }
            let (source, target) = (block.source.wrapping_sub(size), block.target.wrapping_sub(size));
            block = Block { source, target, len: size };
        }
        while let Some(block) = wrong.pop() {
            if let Err(refused) = self.copy_block(flash, block, decisions)? {
                return Ok(Err(refused));
            }
            if !self.same(flash.flash(), block.source, block.target, block.len)? {
                return Ok(Err(format!("the copy at {:#x} is not what was copied", block.target)));
            }
        }
        Ok(Ok(()))
    }

    fn copy_block(
        &self,
        flash: &mut Controller<'_>,
        block: Block,
        decisions: &mut Vec<Decision>,
    ) -> Result<Result<(), Refused>, Stop> {
        let Block { source, target, len } = block;
        let copied = self.copy_sd(flash, source, target, len)?;
        if copied.is_ok() {
            decisions.push(Decision::CopySoftdevice { from: source, to: target, bytes: len });
        }
        Ok(copied)
    }
}
