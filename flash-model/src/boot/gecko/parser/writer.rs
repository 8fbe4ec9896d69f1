//! Program data on its way to flash (simplicity sdk: `btl_gbl_parser.c`, `gbl_writeProgData`).
//!
//! The words of an application that make it bootable are kept back until the file is verified: 0xff is programmed in
//! their place. So is the first program counter in the place for a new bootloader.

use super::super::{Gecko, Stop};
use crate::flash::Controller;

/// The stack pointer, which is written at once.
const KEPT_FROM: u32 = 4;
/// Bytes of the vector table that are kept back: program counter and five exceptions.
const KEPT_LEN: usize = 24;

/// Where program data goes, and what is kept back of it.
#[derive(Debug, Clone)]
pub(super) struct Programming {
    /// Where the next byte goes.
    pub(super) address: u32,
    vectors: [u8; KEPT_LEN],
    upgrade: [u8; 4],
}

impl Default for Programming {
    fn default() -> Self {
        Self { address: 0, vectors: [0xff; KEPT_LEN], upgrade: [0xff; 4] }
    }
}

/// Bytes that two ranges of addresses have in common: offsets into the first, and into the second.
fn common(first: (u32, usize), second: (u32, usize)) -> Option<(usize, usize, usize)> {
    let end = |(from, len): (u32, usize)| u64::from(from) + len as u64;
    let from = first.0.max(second.0);
    let len = end(first).min(end(second)).checked_sub(from.into()).filter(|len| *len > 0)?;
    let offset = |range: (u32, usize)| usize::try_from(from - range.0).ok();
    Some((offset(first)?, offset(second)?, usize::try_from(len).ok()?))
}

impl Programming {
    /// Programs what was kept back: of the application the program counter last, so that it boots as a whole or not at
    /// all (`parser_finalize`).
    ///
    /// # Errors
    /// What stops the flash.
    pub(super) fn release(&self, gecko: &Gecko, flash: &mut Controller<'_>) -> Result<(), Stop> {
        if self.upgrade != [0xff; 4] && gecko.upgrade_location() > 0 {
            gecko.program_application(flash, gecko.upgrade_location().wrapping_add(4), &self.upgrade)?;
        }
        let (counter, rest) = self.vectors.split_at(4);
        if counter != [0xff; 4] {
            let start = gecko.map().application_start();
            gecko.program_application(flash, start + 8, rest)?;
            gecko.program_application(flash, start + KEPT_FROM, counter)?;
        }
        Ok(())
    }
}

/// Where decoders write.
pub(super) struct Writer<'p, 'f> {
    pub(super) programming: &'p mut Programming,
    pub(super) gecko: &'p Gecko,
    pub(super) flash: &'p mut Controller<'f>,
}

impl Writer<'_, '_> {
    /// Where the next byte goes.
    pub(super) fn address(&self) -> u32 {
        self.programming.address
    }

    /// Programs whole words.
    ///
    /// # Errors
    /// What stops the flash.
    pub(super) fn program(&mut self, data: &[u8]) -> Result<(), Stop> {
        let mut data = data.to_vec();
        let address = self.programming.address;
        let kept = (self.gecko.map().application_start().wrapping_add(KEPT_FROM), KEPT_LEN);
        if let Some((from, to, len)) = common((address, data.len()), kept)
            && let (Some(bytes), Some(keep)) =
                (data.get_mut(from..from + len), self.programming.vectors.get_mut(to..to + len))
        {
            keep.copy_from_slice(bytes);
            bytes.fill(0xff);
        }
        // As a whole only.
        let counter = self.gecko.upgrade_location().wrapping_add(4);
        if let Some((from, _, 4)) = common((address, data.len()), (counter, 4))
            && let Some(bytes) = data.get_mut(from..from + 4)
        {
            self.programming.upgrade.copy_from_slice(bytes);
            bytes.fill(0xff);
        }
        self.gecko.program_application(self.flash, address, &data)?;
        self.programming.address = address.wrapping_add(u32::try_from(data.len()).unwrap_or(0));
        Ok(())
    }

    /// What has been programmed, with what was kept back (`gbl_lz4ReadMemory`).
    ///
    /// # Errors
    /// [`Stop::Fault`] outside of the flash.
    pub(super) fn read_back(&self, address: u32, len: u32) -> Result<Vec<u8>, Stop> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        self.gecko.map().read(self.flash.flash(), address, &mut bytes)?;
        let places = [
            (self.gecko.map().application_start().wrapping_add(KEPT_FROM), self.programming.vectors.as_slice()),
            (self.gecko.upgrade_location().wrapping_add(4), self.programming.upgrade.as_slice()),
        ];
        for (place, kept) in places {
            if let Some((to, from, len)) = common((address, bytes.len()), (place, kept.len()))
                && let (Some(bytes), Some(kept)) = (bytes.get_mut(to..to + len), kept.get(from..from + len))
            {
                bytes.copy_from_slice(kept);
            }
        }
        Ok(bytes)
    }
}
