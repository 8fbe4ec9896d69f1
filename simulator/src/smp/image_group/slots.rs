//! Slots as the server sees them.

use brickproof_flash_model::boot::mcuboot::{Pair, Slot, SwapType, Trailer};
use brickproof_flash_model::flash::{Area, Controller};
use brickproof_flash_model::image::mcuboot::{
    IMAGE_MAGIC, ImageHeader, ImageSource, ImageVersion, SlotSource, header, tlv,
};

use super::super::codes::ImageError;
use super::super::config::{BootloaderMode, ServerConfig};
use super::super::server::Environment;
use super::{Result, flash_failure};

/// What a list says of an image.
pub(super) struct ImageInfo {
    pub(super) header: ImageHeader,
    pub(super) hash: [u8; 32],
}

/// The other slot of the same image.
pub(super) fn opposite(slot: u32) -> u32 {
    slot ^ 1
}

/// Slots by absolute number: `2 * image`, one more for its second slot, then those of no image.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) config: &'a ServerConfig,
    /// Where the application runs.
    running: u32,
}

impl<'a> Slots<'a> {
    pub(super) fn new(config: &'a ServerConfig, device: &Environment<'_, '_>) -> Self {
        Self { config, running: device.running_slot }
    }

    /// Number of the slots that belong to images.
    pub(super) fn count(self) -> u32 {
        u32::from(self.config.image_count) * 2
    }

    /// The image that runs (`img_mgmt_active_image`).
    pub(super) fn active_image(self) -> u32 {
        if self.config.image_count > 1 { self.running / 2 } else { 0 }
    }

    /// The slot an image is active in (`img_mgmt_active_slot`): with several images always the first.
    pub(super) fn active_slot(self, image: u32) -> u32 {
        if self.config.image_count > 1 { image.wrapping_mul(2) } else { self.running & 1 }
    }

    /// The image and slot with this number, if the server and the bootloader both know it.
    pub(super) fn pair<'d>(self, device: &Environment<'d, '_>, slot: u32) -> Option<(&'d Pair, Slot)> {
        let which = if slot & 1 == 0 { Slot::Primary } else { Slot::Secondary };
        let pair = (slot < self.count()).then(|| device.mcuboot.pair(slot as usize / 2)).flatten()?;
        Some((pair, which))
    }

    /// The region of a slot; `None` when there is no such area.
    pub(super) fn area(self, device: &Environment<'_, '_>, slot: u32) -> Option<Area> {
        match slot.checked_sub(self.count()) {
            None => self.pair(device, slot).map(|(pair, which)| pair.area(which)),
            Some(other) => self.config.other_slots.get(other as usize).copied(),
        }
    }

    /// The trailer of a slot.
    pub(super) fn trailer<'d>(self, device: &Environment<'d, '_>, slot: u32) -> Option<&'d Trailer> {
        self.pair(device, slot).map(|(pair, which)| pair.trailer(which))
    }

    /// Where in a slot the image starts: one sector in, when the bootloader swaps with an offset and is not about to
    /// revert (`boot_get_image_start_offset`). Of a finished swap the old image starts where it is not looked for.
    pub(super) fn image_offset(self, device: &Environment<'_, '_>, slot: u32) -> u32 {
        let reverts = || {
            let pair = self.pair(device, slot);
            pair.is_some_and(|(pair, _)| pair.swap_type(device.flash.flash()) == Ok(SwapType::Revert))
        };
        if self.config.bootloader != BootloaderMode::SwapOffset || slot & 1 == 0 || reverts() {
            return 0;
        }
        self.area(device, slot)
            .and_then(|area| device.flash.geometry(area).and_then(|geometry| geometry.sector_at(area.offset)))
            .map_or(0, |sector| sector.size)
    }

    /// Version, flags and hash of the image in a slot (`img_mgmt_read_info`).
    pub(super) fn info(self, device: &Environment<'_, '_>, slot: u32) -> std::result::Result<ImageInfo, ImageError> {
        let (header, hash) = self.read(device, slot, true)?;
        Ok(ImageInfo { header, hash })
    }

    /// The same for the version alone: the place of the hash is not checked then.
    pub(super) fn version(
        self,
        device: &Environment<'_, '_>,
        slot: u32,
    ) -> std::result::Result<ImageVersion, ImageError> {
        self.read(device, slot, false).map(|(header, _)| header.version)
    }

    /// The walk is the server's own: it ends one header behind the TLV area, and behind the header of the
    /// hash it goes on inside the hash value, so that a second hash is usually not seen. Sizes wrap
    /// around as its 32 bits do.
    fn read(
        self,
        device: &Environment<'_, '_>,
        slot: u32,
        with_hash: bool,
    ) -> std::result::Result<(ImageHeader, [u8; 32]), ImageError> {
        let flash = device.flash.flash();
        let mut area = self.area(device, slot).ok_or(ImageError::FlashConfigQuery)?;
        let offset = self.image_offset(device, slot).min(area.len);
        (area.offset, area.len) = (area.offset + offset, area.len - offset);
        let source = SlotSource { flash, area };
        let header = ImageHeader::read(&source).map_err(|_| ImageError::FlashRead)?;
        if header.magic != IMAGE_MAGIC {
            let erased = device.flash.geometry(area).map_or(0xff, |geometry| geometry.erased_value());
            let empty = header.magic == u32::from_ne_bytes([erased; 4]);
            return Err(if empty { ImageError::NoImage } else { ImageError::InvalidImageHeaderMagic });
        }
        let mut start = header.image_size.wrapping_add(header.header_size.into());
        if let Some(len) = tlv_area(&source, start, tlv::PROTECTED_INFO_MAGIC) {
            start = start.wrapping_add(len);
        }
        let len = tlv_area(&source, start, tlv::INFO_MAGIC).ok_or(ImageError::NoTlvs)?;
        let mut at = start.wrapping_add(tlv::TLV_HEADER_LEN);
        let end = at.wrapping_add(len);
        let mut found = None;
        while at.wrapping_add(tlv::TLV_HEADER_LEN) <= end {
            let mut entry = [0; 4];
            if !source.read(at, &mut entry) {
                return Err(ImageError::FlashRead);
            }
            let (kind, len) = (u16::from_le_bytes([entry[0], entry[1]]), u16::from_le_bytes([entry[2], entry[3]]));
            if kind == 0xff && len == 0xffff {
                return Err(ImageError::InvalidTlv);
            }
            at = at.wrapping_add(tlv::TLV_HEADER_LEN);
            if kind != tlv::SHA256 || len != 32 {
                at = at.wrapping_add(len.into());
                continue;
            }
            if found.is_some() {
                return Err(ImageError::TlvMultipleHashes);
            }
            let mut value = [0; 32];
            if with_hash && at.wrapping_add(32) > end {
                return Err(ImageError::TlvInvalidSize);
            }
            if with_hash && !source.read(at, &mut value) {
                return Err(ImageError::FlashRead);
            }
            found = Some(value);
        }
        found.map(|hash| (header, hash)).ok_or(ImageError::HashNotFound)
    }
}

/// The length that the header of a TLV area at `start` gives.
fn tlv_area(source: &SlotSource<'_>, start: u32, magic: u16) -> Option<u32> {
    let mut info = [0; 4];
    let there = source.read(start, &mut info) && u16::from_le_bytes([info[0], info[1]]) == magic;
    there.then(|| u16::from_le_bytes([info[2], info[3]]).into())
}

/// Whether the image in `header` may be started by itself.
pub(super) fn bootable(image: &ImageHeader) -> bool {
    image.flags & header::flags::NON_BOOTABLE == 0
}

/// Whether every byte of a region has the erased value.
///
/// Where an exploration has forgotten bytes, they do not. That leaves out nothing: what an erase of an erased region
/// leaves, and what it leaves when it is cut, is that region as it was.
pub(super) fn is_erased(device: &Environment<'_, '_>, area: Area) -> bool {
    let Some(flash_device) = device.flash.flash().devices().get(usize::from(area.device)) else { return false };
    // What cannot be read is not found to be otherwise.
    !flash_device.visit(area.offset, area.len, |_| {}) || flash_device.is_blank(area.offset..area.end())
}

/// Erases whole sectors one by one.
pub(super) fn erase(flash: &mut Controller<'_>, area: Area, offset: u32, len: u32) -> Result {
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
