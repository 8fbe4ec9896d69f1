//! Uploading an image (zephyr: `img_mgmt.c`, `zephyr_img_mgmt.c`, `flash_img.c`).

use brickproof_flash_model::boot::mcuboot::Slot;
use brickproof_flash_model::flash::Area;
use brickproof_flash_model::image::mcuboot::{IMAGE_MAGIC, ImageHeader};

use super::super::cbor::{MapReader, Type, Writer};
use super::super::codes::{ImageError, SmpError};
use super::super::server::{Environment, Failure, ServerConfig};
use super::{ImageGroup, flash_failure, slots};

/// Length of an image header in bytes.
const HEADER_LEN: usize = 32;
/// Longest `sha` in bytes.
const SHA_MAX: usize = 32;

/// The upload under way.
#[derive(Debug, Clone)]
pub(in super::super) struct Upload {
    area: Area,
    /// Next expected offset.
    offset: u32,
    /// Announced size.
    size: u32,
    /// What the client gave to recognise it by; may be shortened, may be empty.
    sha: Vec<u8>,
    /// Accepted bytes that are not in flash yet.
    pending: Vec<u8>,
    /// Bytes in flash.
    written: u32,
}

impl Upload {
    pub(in super::super) fn progress(&self) -> (u32, u32) {
        (self.offset, self.size)
    }
}

/// A request with its fields read.
struct Request<'a> {
    data: &'a [u8],
    len: Option<u32>,
    off: u32,
    sha: &'a [u8],
    upgrade: bool,
}

impl ImageGroup {
    /// Takes one chunk; the answer is the next expected offset.
    pub(in super::super) fn upload(
        &mut self,
        config: &ServerConfig,
        body: &[u8],
        device: &mut Environment<'_, '_>,
        map: &mut Writer,
    ) -> Result<(), Failure> {
        let keys = [
            ("image", Type::Unsigned),
            ("data", Type::Bytes),
            ("len", Type::Unsigned),
            ("off", Type::Unsigned),
            ("sha", Type::Bytes),
            ("upgrade", Type::Boolean),
        ];
        let request = MapReader::read(body, keys).map_err(|_| SmpError::Invalid)?;
        // The server takes the largest number for "not given".
        let given = |index: usize| request.unsigned(index).filter(|number| *number != u32::MAX);
        let chunk = given(3).ok_or(ImageError::InvalidOffset).map(|off| Request {
            data: request.bytes(1).unwrap_or_default(),
            len: given(2),
            off,
            sha: request.bytes(4).unwrap_or_default(),
            upgrade: request.boolean(5).unwrap_or(false),
        });
        let result = chunk.map_err(Failure::from).and_then(|chunk| self.take_chunk(config, &chunk, device));
        match result {
            Ok(offset) => {
                map.text("off").unsigned(offset.into());
                Ok(())
            }
            Err(failure) => {
                // Every failure forgets the upload, so that its sha no longer resumes it.
                self.upload = None;
                Err(failure)
            }
        }
    }

    fn take_chunk(
        &mut self,
        config: &ServerConfig,
        request: &Request<'_>,
        device: &mut Environment<'_, '_>,
    ) -> Result<u32, Failure> {
        if request.off == 0 {
            if let Some(offset) = self.first_chunk(request, device)? {
                return Ok(offset);
            }
        } else {
            let (offset, size) = self.upload.as_ref().map_or((0, 0), Upload::progress);
            if request.off != offset {
                // No error: the data are dropped and the client learns what is expected.
                return Ok(offset);
            }
            if u64::from(request.off) + request.data.len() as u64 > u64::from(size) {
                return Err(ImageError::DataOverrun.into());
            }
            refuse(device)?;
        }
        let upload = self.upload.as_mut().ok_or(ImageError::Unknown)?;
        let end = u64::from(upload.offset) + request.data.len() as u64;
        let last = end == u64::from(upload.size) && !request.data.is_empty();
        write(config, upload, request.data, last, device)?;
        upload.offset = u32::try_from(end).map_err(|_| ImageError::FlashWrite)?;
        let offset = upload.offset;
        if last {
            self.upload = None;
        }
        Ok(offset)
    }

    /// Checks a first chunk and starts a new upload; `Some` offset when one is resumed instead.
    fn first_chunk(&mut self, request: &Request<'_>, device: &mut Environment<'_, '_>) -> Result<Option<u32>, Failure> {
        let header: &[u8; HEADER_LEN] = request.data.first_chunk().ok_or(ImageError::InvalidImageHeader)?;
        let header = ImageHeader::parse(header);
        let size = request.len.ok_or(ImageError::InvalidLength)?;
        if header.magic != IMAGE_MAGIC {
            return Err(ImageError::InvalidImageHeaderMagic.into());
        }
        if request.sha.len() > SHA_MAX {
            return Err(ImageError::InvalidHash.into());
        }
        if let Some(upload) = &self.upload
            && !request.sha.is_empty()
            && upload.sha == request.sha
        {
            return Ok(Some(upload.offset));
        }
        if slots::in_use(device, slots::SECONDARY)? {
            return Err(ImageError::NoFreeSlot.into());
        }
        let area = device.mcuboot.area(Slot::Secondary);
        if size > area.len {
            return Err(ImageError::TooLarge.into());
        }
        if request.upgrade {
            let running = slots::read_info(device.flash.flash(), device.mcuboot.area(Slot::Primary))
                .map_err(|_| ImageError::VersionGet)?;
            if running.header.version.release() >= header.version.release() {
                return Err(ImageError::CurrentVersionIsNewer.into());
            }
        }
        refuse(device)?;
        if !slots::is_erased(device, area) {
            erase_for(device, area, size)?;
        }
        self.upload =
            Some(Upload { area, offset: 0, size, sha: request.sha.to_vec(), pending: Vec::new(), written: 0 });
        Ok(None)
    }
}

fn refuse(device: &Environment<'_, '_>) -> Result<(), Failure> {
    match &device.refuse_upload {
        Some(refused) => Err(Failure::Smp(refused.rc)),
        None => Ok(()),
    }
}

/// Erases the sectors for `size` bytes and those of the trailer (`img_mgmt_erase_image_data`).
fn erase_for(device: &mut Environment<'_, '_>, area: Area, size: u32) -> Result<(), Failure> {
    let sector_at = |device: &Environment<'_, '_>, offset: u32| {
        device
            .flash
            .geometry(area)
            .and_then(|geometry| geometry.sector_at(area.offset + offset))
            .map(|sector| (sector.offset - area.offset, sector.end() - area.offset))
            .ok_or(Failure::from(ImageError::FlashErase))
    };
    // A size of 0 wraps in the server to the page before the slot, which is outside: nothing is erased.
    let end = match size.checked_sub(1) {
        Some(last) => sector_at(device, last)?.1,
        None => 0,
    };
    slots::erase(device.flash, area, 0, end)?;
    let trailer = device.mcuboot.trailer(Slot::Secondary).copy_done_offset();
    if trailer >= end {
        let start = sector_at(device, trailer)?.0;
        slots::erase(device.flash, area, start, area.len - start)?;
    }
    Ok(())
}

/// Gathers bytes into blocks and writes full ones; the last chunk writes the rest
/// (`flash_img_buffered_write`).
fn write(
    config: &ServerConfig,
    upload: &mut Upload,
    data: &[u8],
    last: bool,
    device: &mut Environment<'_, '_>,
) -> Result<(), Failure> {
    upload.pending.extend_from_slice(data);
    let block = config.write_block.max(32) as usize;
    let whole = upload.pending.len() / block * block;
    let mut done = 0;
    while done < whole {
        write_block(upload, done..done + block, device)?;
        done += block;
    }
    upload.pending.drain(..done);
    if last && !upload.pending.is_empty() {
        let unit = device.flash.geometry(upload.area).map_or(1, |geometry| geometry.program_unit()) as usize;
        let erased = device.flash.geometry(upload.area).map_or(0xff, |geometry| geometry.erased_value());
        let len = upload.pending.len();
        upload.pending.resize(len.next_multiple_of(unit), erased);
        write_block(upload, 0..upload.pending.len(), device)?;
        upload.pending.clear();
    }
    Ok(())
}

fn write_block(
    upload: &mut Upload,
    range: std::ops::Range<usize>,
    device: &mut Environment<'_, '_>,
) -> Result<(), Failure> {
    let block = &upload.pending[range];
    device
        .flash
        .program(upload.area, upload.written, block)
        .map_err(|error| flash_failure(error, ImageError::FlashWrite))?;
    upload.written += block.len() as u32;
    Ok(())
}
