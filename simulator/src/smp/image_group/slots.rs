//! Slots as the server sees them.

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Slot, SwapType};
use brickproof_flash_model::flash::{Area, Controller, Flash};
use brickproof_flash_model::image::mcuboot::{IMAGE_MAGIC, ImageHeader, ImageSource, SlotSource, header, tlv};

use super::super::codes::ImageError;
use super::super::server::{Environment, Failure, ServerConfig};
use super::flash_failure;

/// Absolute number of the slot that runs.
pub(super) const PRIMARY: u32 = 0;
/// Absolute number of the other slot.
pub(super) const SECONDARY: u32 = 1;

/// What a list says of an image.
pub(super) struct ImageInfo {
    pub(super) header: ImageHeader,
    pub(super) hash: [u8; 32],
}

/// The region of an absolute slot number.
pub(super) fn area(config: &ServerConfig, mcuboot: &Mcuboot, slot: u32) -> Option<Area> {
    match slot {
        PRIMARY => Some(mcuboot.area(Slot::Primary)),
        SECONDARY => Some(mcuboot.area(Slot::Secondary)),
        other => config.other_slots.get(other as usize - 2).copied(),
    }
}

/// Version, flags and hash of the image in a slot (`img_mgmt_read_info`).
///
/// The walk is the server's own: behind the hash TLV it goes on inside the hash value, so a second
/// hash is usually not seen.
pub(super) fn read_info(flash: &Flash, area: Area) -> Result<ImageInfo, ImageError> {
    let source = SlotSource { flash, area };
    let header = ImageHeader::read(&source).map_err(|_| ImageError::FlashRead)?;
    let erased = flash.devices().get(usize::from(area.device)).map_or(0xff, |device| device.geometry().erased_value());
    if header.magic != IMAGE_MAGIC {
        let empty = header.magic == u32::from_ne_bytes([erased; 4]);
        return Err(if empty { ImageError::NoImage } else { ImageError::InvalidImageHeaderMagic });
    }
    let start = header.tlv_offset().ok_or(ImageError::NoTlvs)?;
    let start = match tlv_area(&source, start, tlv::PROTECTED_INFO_MAGIC) {
        Some((_, end)) => end,
        None => start,
    };
    let (mut at, end) = tlv_area(&source, start, tlv::INFO_MAGIC).ok_or(ImageError::NoTlvs)?;
    let mut hash = None;
    while at.checked_add(tlv::TLV_HEADER_LEN).is_some_and(|next| next <= end) {
        let mut entry = [0; 4];
        if !source.read(at, &mut entry) {
            return Err(ImageError::FlashRead);
        }
        let (kind, len) = (entry[0], u16::from_le_bytes([entry[2], entry[3]]));
        if kind == 0xff && len == 0xffff {
            return Err(ImageError::InvalidTlv);
        }
        at += tlv::TLV_HEADER_LEN;
        if u16::from(kind) != tlv::SHA256 || len != 32 {
            at = at.checked_add(len.into()).ok_or(ImageError::FlashRead)?;
            continue;
        }
        let mut value = [0; 32];
        if at + 32 > end {
            return Err(ImageError::TlvInvalidSize);
        }
        if !source.read(at, &mut value) {
            return Err(ImageError::FlashRead);
        }
        hash = Some(value);
    }
    hash.map(|hash| ImageInfo { header, hash }).ok_or(ImageError::HashNotFound)
}

/// First entry and end of the TLV area at `start`, if it is one of this kind.
fn tlv_area(source: &dyn ImageSource, start: u32, magic: u16) -> Option<(u32, u32)> {
    let mut info = [0; 4];
    if !source.read(start, &mut info) || u16::from_le_bytes([info[0], info[1]]) != magic {
        return None;
    }
    Some((start + tlv::TLV_HEADER_LEN, start.checked_add(u16::from_le_bytes([info[2], info[3]]).into())?))
}

/// Whether the image in `header` may be started by itself.
pub(super) fn bootable(image: &ImageHeader) -> bool {
    image.flags & header::flags::NON_BOOTABLE == 0
}

/// What the next boot will do.
pub(super) fn next_boot(device: &Environment<'_, '_>) -> Result<SwapType, Failure> {
    device.mcuboot.swap_type(device.flash.flash()).map_err(|error| flash_failure(error, ImageError::FlashRead))
}

/// Whether a slot may be neither erased nor uploaded to (`img_mgmt_slot_in_use`).
pub(super) fn in_use(device: &Environment<'_, '_>, slot: u32) -> Result<bool, Failure> {
    Ok(slot == PRIMARY
        || match next_boot(device)? {
            SwapType::Test | SwapType::Revert => slot == SECONDARY,
            SwapType::Permanent => true,
            SwapType::None | SwapType::Fail => false,
        })
}

/// Whether every byte of a region has the erased value.
pub(super) fn is_erased(device: &Environment<'_, '_>, area: Area) -> bool {
    let Some(flash_device) = device.flash.flash().devices().get(usize::from(area.device)) else { return false };
    let erased = flash_device.geometry().erased_value();
    let mut all = true;
    flash_device.visit(area.offset, area.len, |piece| all &= piece.iter().all(|byte| *byte == erased));
    all
}

/// Erases whole sectors one by one.
pub(super) fn erase(flash: &mut Controller<'_>, area: Area, offset: u32, len: u32) -> Result<(), Failure> {
    let mut at = offset;
    while at < offset + len {
        let sector = flash
            .geometry(area)
            .and_then(|geometry| geometry.sector_at(area.offset + at))
            .ok_or(ImageError::FlashErase)?;
        flash.erase(area, at, sector.size).map_err(|error| flash_failure(error, ImageError::FlashErase))?;
        at += sector.size;
    }
    Ok(())
}
