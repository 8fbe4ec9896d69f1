//! Where everything lies (nrf5 sdk 17.1: `nrf_dfu_types.h`, `nrf_bootloader_info.h`, linker scripts of the examples).
//!
//! | partition | what it is | source |
//! |---|---|---|
//! | `mbr` | the master boot record, 0x1000 bytes from address 0 | `MBR_SIZE` |
//! | `application` | SoftDevice, bank 0 and bank 1; where each begins depends on what is there | `DFU_REGION_START` |
//! | `app-data` | kept for the application, never used for an update | `NRF_DFU_APP_DATA_AREA_SIZE` |
//! | `bootloader` | the bootloader | `BOOTLOADER_START_ADDR` |
//! | `mbr-params` | parameters of the MBR, and the backup of the settings | `NRF_MBR_PARAMS_PAGE_ADDRESS` |
//! | `settings` | the settings | `BOOTLOADER_SETTINGS_ADDRESS` |
//!
//! They lie in this order on one device whose addresses begin at 0, without gaps but for `app-data`, which may be
//! missing.

use sha2::{Digest, Sha256};

use crate::flash::{Area, Flash, FlashError};
use crate::layout::Layout;
use crate::source::Mistake;

/// Size of the master boot record in bytes, and the address where a SoftDevice or an application without one begins.
pub const MBR_SIZE: u32 = 0x1000;

/// Where everything lies. Addresses are offsets on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryMap {
    device: u8,
    size: u32,
    page: u32,
    app_data: u32,
    bootloader: Area,
    params: Area,
    settings: Area,
}

impl MemoryMap {
    /// The map of a layout.
    ///
    /// # Errors
    /// A [`Mistake`] when a partition is missing, is not where the bootloader expects it, or pages are unequal.
    pub fn new(layout: &Layout) -> Result<Self, Mistake> {
        let file = || format!("layout `{}`", layout.name);
        let wrong = |message: String| Mistake::new(file(), message);
        let area = |name: &str| {
            layout.area(name).ok_or_else(|| {
                wrong(format!("a Secure DFU bootloader needs a partition `{name}`")).remedy(
                    "mbr, application, app-data (may be missing), bootloader, mbr-params, settings: in this order",
                )
            })
        };
        let [mbr, application] = [area("mbr")?, area("application")?];
        let [bootloader, params, settings] = [area("bootloader")?, area("mbr-params")?, area("settings")?];
        let app_data = layout.area("app-data").map_or(0, |area| area.len);
        let Some(spec) = layout.devices.get(usize::from(mbr.device)) else { return Err(wrong("no device".into())) };
        let sectors = spec.geometry.sectors();
        let page = sectors.first().map_or(0, |sector| sector.size);
        if sectors.iter().any(|sector| sector.size != page) {
            return Err(wrong(format!("the pages of `{}` are not all of one size", spec.name)));
        }
        if page < super::settings::SETTINGS_SIZE as u32 || !MBR_SIZE.is_multiple_of(page) {
            return Err(wrong(format!(
                "pages of {page:#x} bytes: {MBR_SIZE:#x} or a part of it that holds the settings"
            )));
        }
        if spec.geometry.program_unit() > 4 || spec.geometry.erased_value() != 0xff {
            return Err(wrong(format!("`{}` must be written in words of 4 bytes or less, erased to 0xff", spec.name)));
        }
        if spec.base != 0 || mbr.offset != 0 || mbr.len != MBR_SIZE {
            return Err(wrong(format!("`mbr` must be the first {MBR_SIZE:#x} bytes, at address 0")));
        }
        let mut end = mbr.end();
        let all =
            [("application", application), ("bootloader", bootloader), ("mbr-params", params), ("settings", settings)];
        for (name, area) in all {
            if let ("bootloader", Some(data)) = (name, layout.area("app-data")) {
                if data.device != mbr.device || data.offset != end {
                    return Err(wrong(format!("`app-data` must begin at {end:#x}, where `application` ends")));
                }
                end = data.end();
            }
            if area.device != mbr.device || area.offset != end {
                return Err(wrong(format!("`{name}` must begin at {end:#x}, where what is before it ends")));
            }
            end = area.end();
        }
        for (name, area) in [("mbr-params", params), ("settings", settings)] {
            if area.len != page {
                return Err(wrong(format!("`{name}` must be one page of {page:#x} bytes, and is {:#x}", area.len)));
            }
        }
        Ok(Self { device: mbr.device, size: spec.geometry.len(), page, app_data, bootloader, params, settings })
    }

    /// Index of the flash device.
    #[must_use]
    pub fn device(&self) -> u8 {
        self.device
    }

    /// Size of a page in bytes, `CODE_PAGE_SIZE`.
    #[must_use]
    pub fn page(&self) -> u32 {
        self.page
    }

    /// The whole device.
    #[must_use]
    pub fn whole(&self) -> Area {
        Area { device: self.device, offset: 0, len: self.size }
    }

    /// Bytes kept for the application below the bootloader.
    #[must_use]
    pub fn app_data(&self) -> u32 {
        self.app_data
    }

    /// The bootloader area.
    #[must_use]
    pub fn bootloader(&self) -> Area {
        self.bootloader
    }

    /// The MBR parameters page, which holds the backup of the settings.
    #[must_use]
    pub fn params(&self) -> Area {
        self.params
    }

    /// The settings page.
    #[must_use]
    pub fn settings(&self) -> Area {
        self.settings
    }

    /// Rounds up to a page; wraps as the C macro does (`ALIGN_TO_PAGE`).
    #[must_use]
    pub fn align(&self, address: u32) -> u32 {
        let before = address.wrapping_sub(1);
        before.wrapping_add(self.page).wrapping_sub(before % self.page)
    }

    /// Reads bytes at an address.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] outside the device, where the processor would take a fault.
    pub fn read(&self, flash: &Flash, address: u32, buffer: &mut [u8]) -> Result<(), FlashError> {
        flash.read(self.whole(), address, buffer)
    }

    /// Reads a little-endian word.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn word(&self, flash: &Flash, address: u32) -> Result<u32, FlashError> {
        let mut word = [0; 4];
        self.read(flash, address, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    /// Calls `piece` with the bytes of a range in order. What an exploration has forgotten there counts as anything but
    /// what it was.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn visit(&self, flash: &Flash, address: u32, len: u32, piece: impl FnMut(&[u8])) -> Result<(), FlashError> {
        let fault = || FlashError::ReadFault { device: self.device, offset: address.into(), len: len.into() };
        let end = address.checked_add(len).filter(|end| *end <= self.size).ok_or_else(fault)?;
        let _ = flash.examine(self.whole(), address..end);
        let device = flash.devices().get(usize::from(self.device)).ok_or_else(fault)?;
        if device.visit(address, len, piece) { Ok(()) } else { Err(fault()) }
    }

    /// CRC-32 of a range.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn crc32(&self, flash: &Flash, address: u32, len: u32) -> Result<u32, FlashError> {
        let mut crc = 0;
        self.visit(flash, address, len, |piece| crc = super::crc32(piece, crc))?;
        Ok(crc)
    }

    /// SHA-256 of a range.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn sha256(&self, flash: &Flash, address: u32, len: u32) -> Result<[u8; 32], FlashError> {
        let mut hash = Sha256::new();
        self.visit(flash, address, len, |piece| hash.update(piece))?;
        Ok(hash.finalize().into())
    }

    /// Whether two ranges hold the same bytes, all of them known.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn equal(&self, flash: &Flash, one: u32, other: u32, len: u32) -> Result<bool, FlashError> {
        let known = |from: u32| flash.examine(self.whole(), from..from.saturating_add(len));
        let (known_one, known_other) = (known(one), known(other));
        let hashes = [self.sha256(flash, one, len)?, self.sha256(flash, other, len)?];
        Ok(known_one && known_other && hashes[0] == hashes[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_where_the_linker_scripts_put_them() {
        let map = |name: &str| MemoryMap::new(&Layout::preset(name).unwrap()).unwrap();
        let nrf52840 = map("nrf52840-nordic-s140");
        assert_eq!(nrf52840.bootloader(), Area { device: 0, offset: 0xf8000, len: 0x6000 });
        assert_eq!((nrf52840.params().offset, nrf52840.settings().offset), (0xfe000, 0xff000));
        assert_eq!((nrf52840.app_data(), nrf52840.page()), (0x3000, 0x1000));
        let nrf52832 = map("nrf52832-nordic-s132");
        assert_eq!(nrf52832.bootloader(), Area { device: 0, offset: 0x78000, len: 0x6000 });
        assert_eq!((nrf52832.params().offset, nrf52832.settings().offset), (0x7e000, 0x7f000));
        assert_eq!(map("nordic24").bootloader().offset, 0x14000);
    }

    #[test]
    fn alignment_wraps_as_the_macro_does() {
        let map = MemoryMap::new(&Layout::preset("nordic24").unwrap()).unwrap();
        let aligned = [0, 1, 0x1000, 0x1001, 0xffff_f001].map(|address| map.align(address));
        assert_eq!(aligned, [0, 0x1000, 0x1000, 0x2000, 0]);
    }

    #[test]
    fn mistakes_are_explained() {
        let text = include_str!("../../../presets/nordic24.toml");
        let mistake = |from: &str, to: &str| {
            let layout = Layout::parse("board.toml", &text.replace(from, to)).unwrap();
            MemoryMap::new(&layout).unwrap_err().to_string()
        };
        let all = [
            mistake("\"settings\"", "\"setting\""),
            mistake("size = 0x12000", "size = 0x11000"),
            mistake("[[24, 4096]]", "[[20, 4096], [8, 2048]]"),
            mistake("name = \"app-data\"", "name = \"data\""),
            mistake("program-unit = 4", "program-unit = 8"),
        ];
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
