//! A new bootloader comes into its place (simplicity sdk: `btl_bootload.c`, `bootload_commitBootloaderUpgrade`).
//!
//! The secure engine of Series 2 and the first stage of Series 1 do it. What they do in the middle is in no source; the
//! model is that a copy that was interrupted is made again from the image that was put aside, which is still there.

use super::run::reason;
use super::{Decision, Entry, Gecko, Outcome, Stop};
use crate::flash::{Controller, Flash, FlashError};
use crate::image::nordic::crc32;

/// The CRC-32 of anything with its own CRC-32 behind it.
const CRC_RESIDUE: u32 = 0x2144_df1c;

impl Gecko {
    /// Whether a bootloader is whole, as its own properties tell its size. `at` is where it is, which need not be where it
    /// runs.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bootloader_size(&self, flash: &Flash, at: u32) -> Result<Option<u32>, FlashError> {
        let (base, max) = self.map().bootloader();
        let Some(properties) = self.map().word(flash, at.wrapping_add(52))?.checked_sub(base).filter(|at| *at < max)
        else {
            return Ok(None);
        };
        // Only a copy has its properties elsewhere than its vectors say.
        let location = at.wrapping_add(properties);
        if self.map().place(location, 60).is_none() {
            return Ok(None);
        }
        let size = self.map().word(flash, location.wrapping_add(24))?;
        let Some(size) = size.checked_add(4).filter(|size| *size <= max && self.map().place(at, *size).is_some())
        else {
            return Ok(None);
        };
        Ok((self.crc(flash, at, size)? == CRC_RESIDUE).then_some(size))
    }

    fn crc(&self, flash: &Flash, at: u32, len: u32) -> Result<u32, FlashError> {
        let mut crc = 0;
        self.map().visit(flash, at, len, |piece| crc = crc32(piece, crc))?;
        Ok(crc)
    }

    /// A new bootloader is to be put into its place. `None`: its CRC is wrong, and nothing happens.
    pub(super) fn commit_bootloader(
        &self,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
        size: u32,
    ) -> Result<Option<Outcome>, Stop> {
        let at = self.upgrade_location();
        if self.map().place(at, size).is_none() || self.crc(flash.flash(), at, size)? != CRC_RESIDUE {
            return Ok(None);
        }
        self.ask_to_forget(flash)?;
        if !self.options().series_2 {
            return Ok(Some(entry.reset(reason::UPGRADE)));
        }
        let outcome = entry.reset(reason::BOOTLOAD);
        self.copy_bootloader(flash, size, entry.code())?;
        Ok(Some(outcome))
    }

    /// New firmware of the secure engine: nothing in this flash changes.
    pub(super) fn commit_se(&self, entry: &mut Entry) -> Outcome {
        entry.reset(reason::BOOTLOAD)
    }

    /// What runs before the bootloader: a copy that was asked for or interrupted is made.
    ///
    /// # Errors
    /// [`Stop`]: power is lost.
    pub(super) fn before_bootloader(
        &self,
        flash: &mut Controller<'_>,
        asked: bool,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, Stop> {
        let whole = self.bootloader_size(flash.flash(), self.map().main_stage())?.is_some();
        if whole && !asked {
            return Ok(true);
        }
        let Some(size) = self.bootloader_size(flash.flash(), self.upgrade_location())? else { return Ok(whole) };
        decisions.push(Decision::CopiesBootloader { size });
        self.copy_bootloader(flash, size, u32::from(asked))?;
        Ok(true)
    }

    /// `then`: what tells apart who goes on behind it.
    fn copy_bootloader(&self, flash: &mut Controller<'_>, size: u32, then: u32) -> Result<(), Stop> {
        let (base, max) = self.map().bootloader();
        let page = self.map().page();
        for offset in (0..max).step_by(page as usize) {
            flash.checkpoint("upgrade: a page of the bootloader", [offset, size, then, 0])?;
            self.erase_page(flash, base + offset)?;
            let len = page.min(size.next_multiple_of(4).saturating_sub(offset));
            let mut bytes = vec![0; len as usize];
            self.map().read(flash.flash(), self.upgrade_location() + offset, &mut bytes)?;
            self.store(flash, base + offset, &bytes)?;
        }
        Ok(())
    }
}
