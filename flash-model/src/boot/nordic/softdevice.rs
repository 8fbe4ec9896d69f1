//! The SoftDevice, as far as the bootloader reads it (nrf5 sdk 17.1: `nrf_bootloader_info.h`).
//!
//! | offset in the struct | bytes | field |
//! |---|---|---|
//! | 0x00 | 1 | size of the struct: id from 0x11, version from 0x15 on |
//! | 0x04 | 4 | magic 0x51b1e5db |
//! | 0x08 | 4 | address behind the SoftDevice, MBR included |
//! | 0x0c | 2 | firmware id |
//! | 0x10 | 4 | SoftDevice id: 132, 140, ... |
//! | 0x14 | 4 | version: major * 1000000 + minor * 1000 + bugfix |
//!
//! The struct is 0x2000 bytes behind the start of a SoftDevice.

use super::map::{MBR_SIZE, MemoryMap};
use crate::flash::{Flash, FlashError};

/// `SOFTDEVICE_INFO_STRUCT_OFFSET`.
pub const INFO_OFFSET: u32 = 0x2000;
/// `SD_MAGIC_NUMBER`.
pub const SOFTDEVICE_MAGIC: u32 = 0x51b1_e5db;
/// Bytes of the struct that are read.
pub(super) const INFO_LEN: u32 = 0x18;

/// The information struct of a SoftDevice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoftdeviceInfo {
    /// The address behind it (`SD_SIZE_GET`).
    pub size: u32,
    /// Firmware id, which init packets name.
    pub fwid: u16,
    /// 132, 140, ...; 0 when the struct has none.
    pub id: u32,
    /// Version; 0 when the struct has none.
    pub version: u32,
}

impl SoftdeviceInfo {
    /// Reads the struct of a SoftDevice that begins at `base`; `None` when the magic is not there.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn read(map: &MemoryMap, flash: &Flash, base: u32) -> Result<Option<Self>, FlashError> {
        let mut bytes = [0; INFO_LEN as usize];
        map.read(flash, base.wrapping_add(INFO_OFFSET), &mut bytes)?;
        let word =
            |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word));
        if word(0x04) != SOFTDEVICE_MAGIC {
            return Ok(None);
        }
        let struct_size = bytes[0];
        Ok(Some(Self {
            size: word(0x08),
            fwid: u16::from_le_bytes([bytes[0x0c], bytes[0x0d]]),
            id: if struct_size > 0x10 { word(0x10) } else { 0 },
            version: if struct_size > 0x14 { word(0x14) } else { 0 },
        }))
    }

    /// The installed one (`SD_PRESENT`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn installed(map: &MemoryMap, flash: &Flash) -> Result<Option<Self>, FlashError> {
        Self::read(map, flash, MBR_SIZE)
    }

    /// `SD_MAJOR_VERSION_EXTRACT`.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version / 1_000_000
    }

    /// `7.2.0`.
    #[must_use]
    pub fn version_text(&self) -> String {
        format!("{}.{}.{}", self.major(), self.version / 1000 % 1000, self.version % 1000)
    }
}

/// A made-up SoftDevice binary: the struct at its place, reproducible noise elsewhere.
///
/// `len`: bytes of the image, at least 0x2018 (shorter is made as long). Its struct says that it ends at the page behind
/// `MBR_SIZE + len`, with pages of 0x1000.
#[must_use]
pub fn synthetic_softdevice(len: u32, fwid: u16, id: u32, version: u32) -> Vec<u8> {
    let len = len.max(INFO_OFFSET + INFO_LEN);
    let seed = u64::from(version) << 16 | u64::from(fwid);
    let mut image = noise(seed, len);
    let mut info = [0; INFO_LEN as usize];
    info[0] = INFO_LEN as u8;
    info[0x04..0x08].copy_from_slice(&SOFTDEVICE_MAGIC.to_le_bytes());
    let end = MBR_SIZE.saturating_add(len).checked_next_multiple_of(0x1000).unwrap_or(u32::MAX);
    info[0x08..0x0c].copy_from_slice(&end.to_le_bytes());
    info[0x0c..0x0e].copy_from_slice(&fwid.to_le_bytes());
    info[0x10..0x14].copy_from_slice(&id.to_le_bytes());
    info[0x14..0x18].copy_from_slice(&version.to_le_bytes());
    let at = INFO_OFFSET as usize;
    image[at..at + info.len()].copy_from_slice(&info);
    image
}

/// A made-up binary: reproducible noise, with a stack pointer and a reset vector that no erased flash has.
#[must_use]
pub fn synthetic_image(seed: u64, len: u32) -> Vec<u8> {
    noise(seed, len)
}

fn noise(seed: u64, len: u32) -> Vec<u8> {
    let mut state = seed ^ 0x6e6f_7264_6963_2e2e;
    let mut image = Vec::with_capacity(len as usize);
    while image.len() < len as usize {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        image.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    image.truncate(len as usize);
    let vectors = [0x2000_8000_u32.to_le_bytes(), 0x0000_0101_u32.to_le_bytes()].concat();
    for (byte, vector) in image.iter_mut().zip(vectors) {
        *byte = vector;
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn a_made_up_softdevice_is_read_back() {
        let layout = Layout::preset("nordic24").unwrap();
        let map = MemoryMap::new(&layout).unwrap();
        let mut flash = layout.blank_flash();
        assert_eq!(SoftdeviceInfo::installed(&map, &flash), Ok(None));
        flash.load(map.whole(), MBR_SIZE, &synthetic_softdevice(0x2f00, 0x0101, 132, 7_002_000)).unwrap();
        let info = SoftdeviceInfo::installed(&map, &flash).unwrap().unwrap();
        assert_eq!(info, SoftdeviceInfo { size: 0x4000, fwid: 0x101, id: 132, version: 7_002_000 });
        assert_eq!((info.major(), info.version_text().as_str()), (7, "7.2.0"));
    }

    #[test]
    fn a_short_struct_has_no_id_and_no_version() {
        let layout = Layout::preset("nordic24").unwrap();
        let map = MemoryMap::new(&layout).unwrap();
        let mut flash = layout.blank_flash();
        let mut image = synthetic_softdevice(0x2f00, 0x88, 132, 2_000_000);
        image[INFO_OFFSET as usize] = 0x10;
        flash.load(map.whole(), MBR_SIZE, &image).unwrap();
        let info = SoftdeviceInfo::installed(&map, &flash).unwrap().unwrap();
        assert_eq!((info.id, info.version), (0, 0));
        assert!(SoftdeviceInfo::read(&map, &flash, u32::MAX - 0x2000).is_err());
    }
}
