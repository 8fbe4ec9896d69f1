//! What the master boot record does for the bootloader: comparing, copying a SoftDevice, replacing the bootloader.
//!
//! | command | what is known (`nrf_mbr.h`) | what is assumed |
//! |---|---|---|
//! | `COMPARE` | says whether two blocks are equal | |
//! | `COPY_SD` | erases and writes the target; to be repeated after a power loss | page by page upwards, every page that is touched is erased as a whole; what is read behind that, for a block onto itself, is erased |
//! | `COPY_BL` | leaves a note in the parameters page, resets, and copies; goes on after a power loss | the record of [`CopyCommand`]; when the bootloader is in place, the page is erased |
//!
//! | `COPY_BL` | parameters page | bootloader area, two pages |
//! |---|---|---|
//! | the bootloader asks | erased | A0 A1 |
//! | record written, reset | record | A0 A1 |
//! | first page erased, written | record | B0 A1 |
//! | second page erased, written | record | B0 B1 |
//! | page erased, the new bootloader starts | erased | B0 B1 |

use super::{CopyCommand, Decision, MBR_SIZE, NordicLegacy};
use crate::boot::nordic::mbr::RECORD_LEN;
use crate::flash::{Controller, Flash, FlashError};

/// Why a command was refused, in words.
pub(super) type Refused = String;

impl NordicLegacy {
    /// `SD_MBR_COMMAND_COMPARE`; a block that is not in flash is like nothing.
    pub(super) fn same(&self, flash: &Flash, one: u32, other: u32, len: u32) -> Result<bool, FlashError> {
        match self.map.equal(flash, one, other, len / 4 * 4) {
            Err(FlashError::ReadFault { .. }) => Ok(false),
            other => other,
        }
    }

    /// `SD_MBR_COMMAND_COPY_SD`: `len` bytes, as whole words; the inner error is the MBR's.
    pub(super) fn copy_sd(
        &self,
        flash: &mut Controller<'_>,
        source: u32,
        target: u32,
        len: u32,
    ) -> Result<Result<(), Refused>, FlashError> {
        let (page, len) = (self.map.page(), len / 4 * 4);
        let end = |start: u32| start.checked_add(len).filter(|end| *end <= self.map.bootloader().offset);
        let (Some(target_end), Some(_)) = (end(target), end(source)) else {
            return Ok(Err(format!("{len:#x} bytes at {source:#x} cannot be copied to {target:#x}")));
        };
        if len == 0 || target < MBR_SIZE {
            return Ok(Err(format!("{len:#x} bytes cannot be copied to {target:#x}")));
        }
        let mut at = target;
        while at < target_end {
            flash.checkpoint("mbr: copy of a SoftDevice", [source, target, len, at])?;
            let bottom = at - at % page;
            flash.erase(self.map.whole(), bottom, page)?;
            let next = (bottom + page).min(target_end);
            let mut buffer = vec![0; (next - at) as usize];
            let from = source.saturating_add(at - target);
            flash.copy((self.map.whole(), from), (self.map.whole(), at), &mut buffer)?;
            at = next;
        }
        Ok(Ok(()))
    }

    /// What the parameters page asks the MBR for.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn copy_command(&self, flash: &Flash) -> Result<Option<CopyCommand>, FlashError> {
        let mut bytes = [0; RECORD_LEN];
        flash.read(self.map.params(), 0, &mut bytes)?;
        Ok(CopyCommand::parse(&bytes).filter(|command| self.is_possible(*command)))
    }

    fn is_possible(&self, command: CopyCommand) -> bool {
        let area = self.map.bootloader();
        command.words > 0
            && command.words <= area.len / 4
            && command.source >= MBR_SIZE
            && command.source.checked_add(command.len()).is_some_and(|end| end <= area.offset)
    }

    /// `SD_MBR_COMMAND_COPY_BL` up to the reset; the inner error is the MBR's.
    pub(super) fn copy_bl(
        &self,
        flash: &mut Controller<'_>,
        command: CopyCommand,
    ) -> Result<Result<(), Refused>, FlashError> {
        if !self.is_possible(command) {
            let CopyCommand { source, words } = command;
            return Ok(Err(format!("the MBR refuses to copy a bootloader of {words:#x} words from {source:#x}")));
        }
        let page = self.map.params();
        flash.erase(page, 0, page.len)?;
        flash.program(page, 0, &command.to_bytes())?;
        Ok(Ok(()))
    }

    /// What the MBR does at a reset; whether there is a bootloader then.
    pub(super) fn run_mbr(
        &self,
        flash: &mut Controller<'_>,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, FlashError> {
        let area = self.map.bootloader();
        if let Some(command) = self.copy_command(flash.flash())? {
            let (page, len) = (self.map.page(), command.len());
            if !self.map.equal(flash.flash(), area.offset, command.source, len)? {
                for at in (0..len).step_by(page as usize) {
                    flash.checkpoint("mbr: copy of a bootloader", [at, command.source, len, 0])?;
                    flash.erase(area, at, page)?;
                    let mut buffer = vec![0; page.min(len - at) as usize];
                    flash.copy((self.map.whole(), command.source.saturating_add(at)), (area, at), &mut buffer)?;
                }
            }
            let params = self.map.params();
            flash.erase(params, 0, params.len)?;
            decisions.push(Decision::BootloaderReplaced { bytes: len });
        }
        let mut vectors = Vec::new();
        self.map.visit(flash.flash(), area.offset, 8, |piece| vectors.extend_from_slice(piece))?;
        Ok(vectors.as_chunks::<4>().0.iter().all(|vector| *vector != [0xff; 4]))
    }
}
