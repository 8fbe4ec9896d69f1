//! The master boot record: it starts the bootloader, and replaces it when it was asked to.
//!
//! The MBR is closed source. What is known (`nrf_mbr.h`, `nrf_dfu_mbr.c`): the command `SD_MBR_COMMAND_COPY_BL` leaves a
//! record in the parameters page and resets; the MBR then copies, and begins again when power is lost on the way; a
//! parameters page with anything else in it, such as a backup of the settings, means nothing to it.
//!
//! How the record looks is not known. This one is our own:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0x00 | 4 | 0x434f5059 |
//! | 0x04 | 4 | where the new bootloader lies |
//! | 0x08 | 4 | its length in words |
//! | 0x0c | 4 | CRC-32 of the 12 bytes before |
//!
//! At each reset, while the record is there and the bootloader area is not what it says, the area is erased and programmed
//! page by page from the first. The record stays: the new bootloader writes the backup of its settings over it.
//!
//! | step | parameters page | bootloader area, two pages |
//! |---|---|---|
//! | the bootloader asks | backup | A0 A1 |
//! | record written, reset | record | A0 A1 |
//! | first page erased, written | record | B0 A1 |
//! | second page erased, written | record | B0 B1 |
//! | the new bootloader starts | backup | B0 B1 |

use super::{Decision, Nordic, crc32};
use crate::flash::{Controller, FlashError};

const RECORD_MAGIC: u32 = 0x434f_5059;
/// Bytes of the record.
pub(in crate::boot) const RECORD_LEN: usize = 16;

/// What the parameters page asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CopyCommand {
    /// Address of the new bootloader.
    pub source: u32,
    /// Its length in words.
    pub words: u32,
}

impl CopyCommand {
    pub(in crate::boot) fn to_bytes(self) -> [u8; RECORD_LEN] {
        let mut bytes = [0; RECORD_LEN];
        bytes[..4].copy_from_slice(&RECORD_MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.source.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.words.to_le_bytes());
        let crc = crc32(&bytes[..12], 0);
        bytes[12..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(in crate::boot) fn parse(bytes: &[u8; RECORD_LEN]) -> Option<Self> {
        let word =
            |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word));
        let command = Self { source: word(4), words: word(8) };
        (command.to_bytes() == *bytes).then_some(command)
    }

    pub(in crate::boot) fn len(self) -> u32 {
        self.words.saturating_mul(4)
    }
}

impl Nordic {
    /// What the parameters page asks the MBR for.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn copy_command(&self, flash: &crate::flash::Flash) -> Result<Option<CopyCommand>, FlashError> {
        let mut bytes = [0; RECORD_LEN];
        flash.read(self.map.params(), 0, &mut bytes)?;
        Ok(CopyCommand::parse(&bytes).filter(|command| self.is_possible(*command)))
    }

    /// Whether the MBR can do that: neither what it reads nor what it writes is where it must not be.
    fn is_possible(&self, command: CopyCommand) -> bool {
        let end = command.source.checked_add(command.len());
        let area = self.map.bootloader();
        command.words > 0
            && command.words <= area.len / 4
            && command.source >= super::MBR_SIZE
            && end.is_some_and(|end| end <= area.offset)
    }

    /// `SD_MBR_COMMAND_COPY_BL`, up to the reset; `false` when it is refused.
    pub(super) fn ask_for_copy(&self, flash: &mut Controller<'_>, command: CopyCommand) -> Result<bool, FlashError> {
        if !self.is_possible(command) {
            return Ok(false);
        }
        let page = self.map.params();
        flash.erase(page, 0, page.len)?;
        flash.program(page, 0, &command.to_bytes())?;
        Ok(true)
    }

    /// What the MBR does at a reset; whether there is a bootloader then.
    pub(super) fn run_mbr(
        &self,
        flash: &mut Controller<'_>,
        decisions: &mut Vec<Decision>,
    ) -> Result<bool, FlashError> {
        let area = self.map.bootloader();
        if let Some(command) = self.copy_command(flash.flash())?
            && !self.map.equal(flash.flash(), area.offset, command.source, command.len())?
        {
            let (page, len) = (self.map.page(), command.len());
            for at in (0..len).step_by(page as usize) {
                flash.checkpoint("mbr: copy", [at, command.source, len, 0])?;
                flash.erase(area, at, page)?;
                let mut buffer = vec![0; page.min(len - at) as usize];
                flash.copy((self.map.whole(), command.source.saturating_add(at)), (area, at), &mut buffer)?;
            }
            decisions.push(Decision::BootloaderReplaced { bytes: len });
        }
        let mut vectors = [0; 8];
        self.map.visit(flash.flash(), area.offset, 8, |piece| {
            for (to, from) in vectors.iter_mut().zip(piece) {
                *to = *from;
            }
        })?;
        let (stack, reset) = vectors.split_at(4);
        Ok(stack != [0xff; 4] && reset != [0xff; 4])
    }
}
