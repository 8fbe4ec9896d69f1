//! Making init packets and firmware.

use super::codes::{FwType, HashType, SignatureType, ValidationType};
use super::init_packet::{BootValidation, Hash, InitCommand, InitPacket, Signature};
use super::sign::{image_hash, sign};
use crate::image::mcuboot::{KeyError, SigningKey};

/// What `fw_version` and `hw_version` are when nobody says (pc-nrfutil: `package.py`).
pub const VERSION_ANY: u32 = 0xffff_ffff;
/// The entry of `sd_req` for any SoftDevice. Only external applications get along with it.
pub const SD_REQ_ANY: u32 = 0xfffe;

/// Describes an init packet; [`InitPacketBuilder::sign`] makes it.
///
/// Everything is as nrfutil has it (pc-nrfutil: `package.py`, `init_packet_pb.py`) unless it is set otherwise: all sizes and
/// `is_debug` are present, boot validation is by CRC. Only the order of `sd_req` is as given, where nrfutil has none.
#[derive(Debug, Clone)]
pub struct InitPacketBuilder {
    command: InitCommand,
    /// The images, in their order, for the hash and signatures of boot validation.
    images: Vec<Vec<u8>>,
    first_validation: ValidationType,
}

impl InitPacketBuilder {
    /// For an application.
    #[must_use]
    pub fn application(firmware: &[u8]) -> Self {
        Self::new(FwType::Application, &[firmware])
    }

    /// For firmware of another chip, which the device passes on.
    #[must_use]
    pub fn external_application(firmware: &[u8]) -> Self {
        Self::new(FwType::ExternalApplication, &[firmware])
    }

    /// For a SoftDevice, without the MBR.
    #[must_use]
    pub fn softdevice(firmware: &[u8]) -> Self {
        Self::new(FwType::Softdevice, &[firmware])
    }

    /// For a bootloader.
    #[must_use]
    pub fn bootloader(firmware: &[u8]) -> Self {
        Self::new(FwType::Bootloader, &[firmware])
    }

    /// For a SoftDevice with the bootloader behind it. The version is that of the bootloader.
    #[must_use]
    pub fn softdevice_bootloader(softdevice: &[u8], bootloader: &[u8]) -> Self {
        Self::new(FwType::SoftdeviceBootloader, &[softdevice, bootloader])
    }

    fn new(fw_type: FwType, images: &[&[u8]]) -> Self {
        let size = |index: usize| images.get(index).map_or(0, |image| u32::try_from(image.len()).unwrap_or(u32::MAX));
        let [sd_size, bl_size, app_size] = match fw_type {
            FwType::Softdevice => [size(0), 0, 0],
            FwType::Bootloader => [0, size(0), 0],
            FwType::SoftdeviceBootloader => [size(0), size(1), 0],
            FwType::Application | FwType::ExternalApplication | FwType::Other(_) => [0, 0, size(0)],
        };
        let command = InitCommand {
            fw_version: Some(VERSION_ANY),
            hw_version: Some(VERSION_ANY),
            sd_req: vec![SD_REQ_ANY],
            fw_type: Some(fw_type),
            sd_size: Some(sd_size),
            bl_size: Some(bl_size),
            app_size: Some(app_size),
            hash: Some(Hash { kind: HashType::Sha256, bytes: image_hash(&images.concat()).to_vec() }),
            is_debug: Some(false),
            boot_validation: Vec::new(),
        };
        let images = images.iter().map(|image| image.to_vec()).collect();
        Self { command, images, first_validation: ValidationType::GeneratedCrc }
    }

    /// Sets the version of the image.
    #[must_use]
    pub fn fw_version(mut self, version: u32) -> Self {
        self.command.fw_version = Some(version);
        self
    }

    /// Sets the hardware.
    #[must_use]
    pub fn hw_version(mut self, version: u32) -> Self {
        self.command.hw_version = Some(version);
        self
    }

    /// Sets the SoftDevices of which one must be there; 0 for none at all.
    #[must_use]
    pub fn sd_req(mut self, firmware_ids: &[u32]) -> Self {
        self.command.sd_req = firmware_ids.to_vec();
        self
    }

    /// Lets debug builds of the bootloader skip the version checks.
    #[must_use]
    pub fn debug(mut self, debug: bool) -> Self {
        self.command.is_debug = Some(debug);
        self
    }

    /// Sets what is checked at every boot; of SoftDevice and bootloader for the SoftDevice, the bootloader has its CRC.
    #[must_use]
    pub fn boot_validation(mut self, kind: ValidationType) -> Self {
        self.first_validation = kind;
        self
    }

    /// What an image of these parts is as one file.
    #[must_use]
    pub fn firmware(&self) -> Vec<u8> {
        self.images.concat()
    }

    /// The packet, signed.
    ///
    /// # Errors
    /// [`KeyError`] when `key` is not of ECDSA P-256.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        signed_packet(self.command(Some(key))?, key)
    }

    /// The packet of the unsigned form.
    ///
    /// # Errors
    /// [`KeyError`] when boot validation is by a signature, for which there is no key.
    pub fn unsigned(&self) -> Result<Vec<u8>, KeyError> {
        Ok(InitPacket::new(self.command(None)?, None).emit())
    }

    fn command(&self, key: Option<&SigningKey>) -> Result<InitCommand, KeyError> {
        let mut command = self.command.clone();
        for (index, image) in self.images.iter().enumerate() {
            let kind = if index == 0 { self.first_validation } else { ValidationType::GeneratedCrc };
            let bytes = match (kind, key) {
                (ValidationType::EcdsaP256Sha256, Some(key)) => sign(key, image)?.to_vec(),
                (ValidationType::EcdsaP256Sha256, None) => {
                    return Err(KeyError::new("boot validation by a signature needs a key"));
                }
                _ => Vec::new(),
            };
            command.boot_validation.push(BootValidation { kind, bytes });
        }
        Ok(command)
    }
}

/// A packet with this command, signed.
///
/// # Errors
/// [`KeyError`] when `key` is not of ECDSA P-256.
pub fn signed_packet(command: InitCommand, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
    let bytes = sign(key, &command.emit())?.to_vec();
    let signature = Signature { kind: SignatureType::EcdsaP256Sha256, bytes };
    Ok(InitPacket::new(command, Some(signature)).emit())
}

/// An application of `len` bytes; different for each version, the same for the same arguments. It starts as an
/// application does, with a stack pointer in RAM.
#[must_use]
pub fn application_binary(version: u32, len: usize) -> Vec<u8> {
    let mut firmware = noise(u64::from(version), len);
    if let Some([low, _, upper, top]) = firmware.first_chunk_mut::<4>() {
        *low &= 0xfc;
        *upper &= 0x03;
        *top = 0x20;
    }
    firmware
}

/// A bootloader of `len` bytes, as [`application_binary`].
#[must_use]
pub fn bootloader_binary(version: u32, len: usize) -> Vec<u8> {
    application_binary(!version, len)
}

/// What a SoftDevice says about itself (nrf5 sdk 17.1: `nrf_sdm.h`, the information structure).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoftdeviceInfo {
    /// Firmware id, to which `sd_req` refers.
    pub firmware_id: u16,
    /// Which SoftDevice it is: 140 for S140.
    pub id: u32,
    /// Version: 7002000 for 7.2.0. Its first part is the major version.
    pub version: u32,
}

impl SoftdeviceInfo {
    /// S140 7.2.0.
    pub const S140_7_2_0: Self = Self { firmware_id: 0x100, id: 140, version: 7_002_000 };
    /// S140 7.0.1.
    pub const S140_7_0_1: Self = Self { firmware_id: 0xca, id: 140, version: 7_000_001 };
    /// S140 6.1.1.
    pub const S140_6_1_1: Self = Self { firmware_id: 0xb6, id: 140, version: 6_001_001 };
    /// S132 7.2.0.
    pub const S132_7_2_0: Self = Self { firmware_id: 0x101, id: 132, version: 7_002_000 };

    /// Offset of the structure in a SoftDevice, in bytes.
    pub const OFFSET: usize = 0x2000;
    /// Size of the structure in bytes.
    pub const LEN: usize = 0x18;
    /// What its second word is.
    pub const MAGIC: u32 = 0x51b1_e5db;

    /// Reads the structure of a SoftDevice without its MBR; `None` when it has none.
    #[must_use]
    pub fn parse(softdevice: &[u8]) -> Option<Self> {
        let info = softdevice.get(Self::OFFSET..)?.get(..Self::LEN)?;
        let word = |at: usize| info.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        if word(4)? != Self::MAGIC {
            return None;
        }
        let firmware_id = word(12)? as u16; // The upper half is reserved.
        Some(Self { firmware_id, id: word(16)?, version: word(20)? })
    }

    /// A SoftDevice of `len` bytes without its MBR; at least as long as it needs for the structure.
    #[must_use]
    pub fn binary(self, len: usize) -> Vec<u8> {
        const MBR_LEN: usize = 0x1000;
        const PAGE_LEN: usize = 0x1000;
        let mut firmware = noise(u64::from(self.firmware_id) << 32 | 1, len.max(Self::OFFSET + Self::LEN));
        // The device compares this with the size of the image in whole pages.
        let end = firmware.len().saturating_add(MBR_LEN).next_multiple_of(PAGE_LEN);
        let end = u32::try_from(end).unwrap_or(u32::MAX);
        let size = u32::try_from(Self::LEN).unwrap_or(0);
        let info = [size, Self::MAGIC, end, self.firmware_id.into(), self.id, self.version];
        let info = info.map(u32::to_le_bytes);
        if let Some(place) = firmware.get_mut(Self::OFFSET..Self::OFFSET + Self::LEN) {
            place.copy_from_slice(info.as_flattened());
        }
        firmware
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut bytes = Vec::with_capacity(len.saturating_add(8));
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::nordic::verify;

    #[test]
    fn a_signed_packet_verifies_and_says_what_it_was_told() {
        let key = SigningKey::from_seed(b"builder").unwrap();
        let firmware = application_binary(3, 1000);
        let builder = InitPacketBuilder::application(&firmware).fw_version(3).hw_version(52).sd_req(&[0x100]);
        let bytes = builder.sign(&key).unwrap();
        let packet = InitPacket::parse(&bytes).unwrap();
        let signature = packet.signature.clone().unwrap();
        assert!(verify(key.public(), packet.signed_bytes(&bytes).unwrap(), &signature.bytes));
        assert_eq!(InitPacket::parse(&builder.unsigned().unwrap()).unwrap().command, packet.command);
        assert_eq!(packet.command.image_size(), Some(1000));
        assert_eq!(packet.command.hash.unwrap().bytes, image_hash(&firmware));
    }

    #[test]
    fn both_parts_have_their_size_and_one_hash() {
        let (softdevice, bootloader) = (SoftdeviceInfo::S140_7_2_0.binary(9000), bootloader_binary(2, 300));
        let key = SigningKey::from_seed(b"builder").unwrap();
        let builder = InitPacketBuilder::softdevice_bootloader(&softdevice, &bootloader)
            .boot_validation(ValidationType::EcdsaP256Sha256);
        let packet = InitPacket::parse(&builder.sign(&key).unwrap()).unwrap();
        assert_eq!((packet.command.sd_size, packet.command.bl_size), (Some(9000), Some(300)));
        assert_eq!(packet.command.hash.unwrap().bytes, image_hash(&builder.firmware()));
        let [first, second] = packet.command.boot_validation.try_into().unwrap();
        assert!(verify(key.public(), &softdevice, &first.bytes));
        assert_eq!(second, BootValidation { kind: ValidationType::GeneratedCrc, bytes: Vec::new() });
        assert!(builder.unsigned().unwrap_err().to_string().contains("needs a key"));
    }

    #[test]
    fn firmware_differs_by_version_and_not_by_chance() {
        for len in [0, 1, 3, 4, 5, 4096, 4097] {
            assert_eq!(application_binary(1, len).len(), len);
            assert_eq!(application_binary(1, len), application_binary(1, len));
        }
        assert_ne!(application_binary(1, 64), application_binary(2, 64));
        assert_ne!(application_binary(1, 64), bootloader_binary(1, 64));
        let stack = u32::from_le_bytes(*application_binary(7, 64).first_chunk().unwrap());
        assert_eq!(stack & 0xfffc_0003, 0x2000_0000);
    }

    #[test]
    fn a_softdevice_says_what_it_is() {
        let softdevice = SoftdeviceInfo::S140_7_0_1.binary(0);
        assert_eq!(softdevice.len(), 0x2018);
        assert_eq!(SoftdeviceInfo::parse(&softdevice), Some(SoftdeviceInfo::S140_7_0_1));
        assert_eq!(&softdevice[0x2008..0x200c], &0x4000u32.to_le_bytes());
        assert_eq!(SoftdeviceInfo::parse(&softdevice[..0x2017]), None);
        assert_eq!(SoftdeviceInfo::parse(&application_binary(1, 0x3000)), None);
    }
}
