//! Whether an init packet and an image are accepted (nrf5 sdk 11: `dfu_init_template.c`; Adafruit's bootloader:
//! `dfu_init.c`).
//!
//! | | SDK 11 | Adafruit |
//! |---|---|---|
//! | device type | that of UICR, where there is one | 0x0052 |
//! | device revision | that of UICR, where there is one | for a SoftDevice or a bootloader: that of the chip |
//! | SoftDevices | one must be the installed one, or 0xfffe | the same |
//! | signed builds | | identifier 2, and a signature over everything up to the hash |
//! | image | CRC-16: the first two bytes of the extension, whatever they are | the same; signed builds: length and SHA-256 |
//!
//! SDK 11 has 10 bytes for the extension and copies it without looking: a longer one overwrites what is behind, which is
//! not modelled.

use sha2::{Digest, Sha256};

use super::options::DEVICE_EMPTY;
use super::{Kind, MBR_SIZE, NordicLegacy};
use crate::flash::{Flash, FlashError};
use crate::image::nordic::legacy::{LegacyInitPacket, SOFTDEVICE_ANY};
use crate::image::nordic::sign::verify_big_endian;

/// Bit of the update mode for a SoftDevice (`DFU_UPDATE_SD`).
pub const MODE_SOFTDEVICE: u8 = 1;
/// For a bootloader (`DFU_UPDATE_BL`).
pub const MODE_BOOTLOADER: u8 = 2;
/// For an application (`DFU_UPDATE_APP`).
pub const MODE_APPLICATION: u8 = 4;

/// Where the firmware id of a SoftDevice is (`SD_FWID_GET`).
const SD_FWID_OFFSET: u32 = super::super::nordic::softdevice::INFO_OFFSET + 0x0c;
/// The extension with hash and signature.
const SIGNED: u32 = 2;
/// Bytes of it that are signed.
const SIGNED_LEN: usize = 40;

/// Why an init packet is refused; the answer is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InitError {
    /// It is too short for what it announces.
    Length,
    /// It is for another kind of device.
    DeviceType,
    /// It is for another revision.
    DeviceRevision,
    /// It does not name the SoftDevice that is installed.
    Softdevice,
    /// It has no signature, or not that of the key.
    Signature,
}

impl std::fmt::Display for InitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Length => "the init packet is too short",
            Self::DeviceType => "the init packet is for another kind of device",
            Self::DeviceRevision => "the init packet is for another revision of the device",
            Self::Softdevice => "the init packet does not name the SoftDevice that is installed",
            Self::Signature => "the init packet has no right signature",
        })
    }
}

impl NordicLegacy {
    /// `dfu_init_prevalidate`; the extension of an init packet that is accepted.
    pub(super) fn prevalidate(&self, packet: &[u8], mode: u8, flash: &Flash) -> Result<Vec<u8>, InitError> {
        let parsed = LegacyInitPacket::parse(packet).map_err(|_| InitError::Length)?;
        let options = &self.options;
        let differs = |own: u16, named: u16| own != named && (options.kind == Kind::Adafruit || own != DEVICE_EMPTY);
        if differs(options.device_type, parsed.device_type) {
            return Err(InitError::DeviceType);
        }
        let of_system = mode & (MODE_SOFTDEVICE | MODE_BOOTLOADER) != 0;
        if (options.kind == Kind::Sdk11 || of_system) && differs(options.device_revision, parsed.device_revision) {
            return Err(InitError::DeviceRevision);
        }
        let installed = self.map.word(flash, MBR_SIZE + SD_FWID_OFFSET).map_err(|_| InitError::Softdevice)?;
        let matches = |named: &u16| *named == SOFTDEVICE_ANY || u32::from(*named) == installed & 0xffff;
        if !parsed.sd_req.iter().any(matches) {
            return Err(InitError::Softdevice);
        }
        let extension = parsed.extension.emit();
        if let Some(key) = &self.public_key {
            let signed = (packet.len() - extension.len() + SIGNED_LEN).min(packet.len());
            let (message, rest) = packet.split_at(signed);
            let right = extension.first_chunk().map(|id| u32::from_le_bytes(*id)) == Some(SIGNED)
                && rest.first_chunk().is_some_and(|signature| verify_big_endian(key, message, signature));
            if !right {
                return Err(InitError::Signature);
            }
        }
        Ok(extension)
    }

    /// `dfu_init_postvalidate`: whether the image is what the init packet says.
    pub(super) fn postvalidate(
        &self,
        extension: &[u8],
        address: u32,
        len: u32,
        flash: &Flash,
    ) -> Result<bool, FlashError> {
        if self.public_key.is_none() {
            let expected = extension.first_chunk().map(|crc| u16::from_le_bytes(*crc));
            return Ok(expected == Some(self.crc16(flash, address, len)?));
        }
        let expected: Option<([u8; 4], [u8; 32])> = extension
            .get(4..8)
            .and_then(|len| len.try_into().ok())
            .zip(extension.get(8..SIGNED_LEN).and_then(|hash| hash.try_into().ok()));
        let mut digest = Sha256::new();
        self.map.visit(flash, address, len, |piece| digest.update(piece))?;
        let found: [u8; 32] = digest.finalize().into();
        Ok(expected == Some((len.to_le_bytes(), found)))
    }
}
