//! Gathered bytes on their way to flash (zephyr: `flash_img.c`, `stream_flash.c`).

use brickproof_flash_model::boot::mcuboot::Trailer;
use brickproof_flash_model::flash::Area;
use brickproof_flash_model::image::mcuboot::{ImageSource, SlotSource};
use sha2::{Digest, Sha256};

use super::super::codes::ImageError;
use super::super::config::ServerConfig;
use super::super::dispatch::Failure;
use super::super::server::Environment;
use super::{Result, flash_failure, slots};

/// Writes an image block by block.
#[derive(Debug, Clone, Hash)]
pub(super) struct ImageWriter {
    area: Area,
    /// Where in the slot the image starts.
    start: u32,
    /// Accepted bytes that are not in flash yet.
    pending: Vec<u8>,
    /// Bytes in flash.
    written: u32,
    /// Where in the slot progressive erasing has come to.
    erased: u32,
}

impl ImageWriter {
    pub(super) fn new(area: Area, start: u32) -> Self {
        Self { area, start, pending: Vec::new(), written: 0, erased: start }
    }

    /// Gathers bytes into blocks and writes full ones; the last chunk writes the rest
    /// (`flash_img_buffered_write`).
    pub(super) fn write(
        &mut self,
        config: &ServerConfig,
        trailer: Option<&Trailer>,
        data: &[u8],
        last: bool,
        device: &mut Environment<'_, '_>,
    ) -> Result {
        let end = u64::from(self.start) + u64::from(self.written) + (self.pending.len() + data.len()) as u64;
        if end > u64::from(self.area.len) {
            return Err(ImageError::FlashWrite.into());
        }
        if config.progressive_erase && self.written == 0 && self.pending.is_empty() {
            self.erase_trailer(trailer, device)?;
        }
        self.pending.extend_from_slice(data);
        let block = config.write_block.max(32) as usize;
        let whole = self.pending.len() / block * block;
        let mut done = 0;
        while done < whole {
            self.program(config, done..done + block, device)?;
            done += block;
        }
        self.pending.drain(..done);
        if last && !self.pending.is_empty() {
            let unit = device.flash.geometry(self.area).map_or(1, |geometry| geometry.program_unit()) as usize;
            let erased = device.flash.geometry(self.area).map_or(0xff, |geometry| geometry.erased_value());
            let len = self.pending.len();
            self.pending.resize(len.next_multiple_of(unit), erased);
            self.program(config, 0..self.pending.len(), device)?;
            self.pending.clear();
        }
        Ok(())
    }

    fn program(
        &mut self,
        config: &ServerConfig,
        range: std::ops::Range<usize>,
        device: &mut Environment<'_, '_>,
    ) -> Result {
        let block = &self.pending[range];
        let offset = self.start + self.written;
        if config.progressive_erase {
            let end = (offset + block.len() as u32).min(self.area.len);
            while self.erased < end {
                let (sector, sector_end) = sector_at(device, self.area, self.erased)?;
                slots::erase(device.flash, self.area, sector, sector_end - sector)?;
                self.erased = sector_end;
            }
        }
        device.flash.program(self.area, offset, block).map_err(|error| flash_failure(error, ImageError::FlashWrite))?;
        self.written += block.len() as u32;
        Ok(())
    }

    /// Before the first byte is written, the old trailer goes.
    fn erase_trailer(&self, trailer: Option<&Trailer>, device: &mut Environment<'_, '_>) -> Result {
        let Some(trailer) = trailer else { return Ok(()) };
        let (sector, end) = sector_at(device, self.area, trailer.copy_done_offset())?;
        slots::erase(device.flash, self.area, sector, end - sector)
    }

    /// Erases the sectors for `size` bytes and those of the trailer (`img_mgmt_erase_image_data`).
    pub(super) fn erase_for(&self, trailer: Option<&Trailer>, size: u32, device: &mut Environment<'_, '_>) -> Result {
        // A size of 0 wraps in the server to the page before the slot, which is outside: nothing is erased.
        let end = match size.checked_sub(1) {
            Some(last) => sector_at(device, self.area, last)?.1,
            None => 0,
        };
        // With an offset, as many sectors are erased, further in, and never more than there are.
        let len = end.min(self.area.len - self.start);
        slots::erase(device.flash, self.area, self.start, len)?;
        let Some(trailer) = trailer.map(Trailer::copy_done_offset).filter(|trailer| *trailer >= end) else {
            return Ok(());
        };
        let start = sector_at(device, self.area, trailer)?.0;
        slots::erase(device.flash, self.area, start, self.area.len - start)
    }

    /// Erases what is in front of an image that starts further in, or the bootloader would take it for an image there
    /// (`flash_img_init_id`).
    pub(super) fn erase_front(&self, device: &mut Environment<'_, '_>) -> Result {
        let front = Area { len: self.start, ..self.area };
        if slots::is_erased(device, front) { Ok(()) } else { slots::erase(device.flash, front, 0, self.start) }
    }

    /// Whether the first `size` bytes in flash have this SHA-256 (`flash_img_check`).
    pub(super) fn matches(&self, sha: &[u8], size: u32, device: &Environment<'_, '_>) -> bool {
        let mut expected = [0; 32];
        expected[..sha.len().min(32)].copy_from_slice(&sha[..sha.len().min(32)]);
        let mut hash = Sha256::new();
        let source = SlotSource { flash: device.flash.flash(), area: self.area };
        // Where an exploration has forgotten bytes, they are not those that were sent.
        let known = source.flash.examine(self.area, self.start..self.start.saturating_add(size));
        let read = known && size > 0 && source.visit(self.start, size, &mut |piece| hash.update(piece));
        read && hash.finalize()[..] == expected
    }
}

/// Start and end in the slot of the sector at an offset.
fn sector_at(device: &Environment<'_, '_>, area: Area, offset: u32) -> Result<(u32, u32)> {
    device
        .flash
        .geometry(area)
        .and_then(|geometry| geometry.sector_at(area.offset + offset))
        .map(|sector| (sector.offset - area.offset, sector.end() - area.offset))
        .ok_or(Failure::from(ImageError::InvalidPageOffset))
}
