//! The init packet of Legacy DFU (nrf5 sdk 11: `dfu_init.h`, `dfu_init_template.c`; Adafruit nrfutil: `init_packet.py`).
//!
//! ```text
//! device_type u16, device_revision u16, application_version u32, count u16, count x u16, extension
//! ```
//!
//! All little endian. The extension is the CRC-16 of the image, or begins with an id of 32 bits:
//!
//! | id | rest | dfu_version |
//! |---|---|---|
//! | none | CRC-16 | 0.5 |
//! | 0 | CRC-16 | 0.6 |
//! | 1 | length u32, SHA-256 | 0.7 |
//! | 2 | length u32, SHA-256, r and s | 0.8 |
//!
//! Hash and signature are big endian here. The signature is over everything before it.

use thiserror::Error;

use super::crc::{CRC16_START, crc16};
use super::sign::{SIGNATURE_LEN, sign_big_endian, verify_big_endian};
use crate::image::mcuboot::{KeyError, PublicKey, SigningKey};
use sha2::{Digest, Sha256};

/// Bytes before the list of SoftDevices.
const HEAD_LEN: usize = 10;
/// The structure in the bootloader has one entry of the list, so less is refused.
const LEN_MIN: usize = 12;
/// The shortest extension.
const EXTENSION_MIN: usize = 2;
/// `device_type` and `device_revision` when nobody says; a device without them takes any.
pub const DEVICE_ANY: u16 = 0xffff;
/// The entry of the list for any SoftDevice.
pub const SOFTDEVICE_ANY: u16 = 0xfffe;

/// Why a device cannot read a legacy init packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LegacyInitPacketError {
    /// Not even the fixed part.
    #[error("{len} bytes are too short for a legacy init packet: it has at least 12")]
    TooShort {
        /// Bytes there are.
        len: usize,
    },
    /// The list of SoftDevices leaves no room for a CRC.
    #[error("the legacy init packet announces {count} SoftDevices, behind which there is no CRC in its {len} bytes")]
    NoExtension {
        /// Announced length of the list.
        count: u16,
        /// Bytes there are.
        len: usize,
    },
}

/// What the packet says about the contents of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyExtension {
    /// CRC-16 alone.
    Crc16(u16),
    /// CRC-16 behind the id 0.
    IdCrc16(u16),
    /// Length in bytes and SHA-256.
    Sha256 {
        /// Length of the image in bytes.
        len: u32,
        /// Its hash.
        hash: [u8; 32],
    },
    /// Length, SHA-256 and a signature over the packet.
    Signed {
        /// Length of the image in bytes.
        len: u32,
        /// Its hash.
        hash: [u8; 32],
        /// r and s.
        signature: [u8; SIGNATURE_LEN],
    },
    /// Anything else, at least 2 bytes. A device without signatures takes the first two for the CRC.
    Other(Vec<u8>),
}

impl LegacyExtension {
    const ID_CRC16: u32 = 0;
    const ID_SHA256: u32 = 1;
    const ID_SIGNED: u32 = 2;

    /// The CRC of an image.
    #[must_use]
    pub fn crc16_of(firmware: &[u8]) -> Self {
        Self::Crc16(crc16(firmware, CRC16_START))
    }

    /// Length and hash of an image.
    #[must_use]
    pub fn sha256_of(firmware: &[u8]) -> Self {
        Self::Sha256 { len: u32::try_from(firmware.len()).unwrap_or(u32::MAX), hash: Sha256::digest(firmware).into() }
    }

    fn parse(bytes: &[u8]) -> Self {
        Self::parse_crc(bytes).or_else(|| Self::parse_hash(bytes)).unwrap_or_else(|| Self::Other(bytes.to_vec()))
    }

    fn parse_crc(bytes: &[u8]) -> Option<Self> {
        if let Ok(crc) = bytes.try_into() {
            return Some(Self::Crc16(u16::from_le_bytes(crc)));
        }
        let (id, crc) = bytes.split_first_chunk()?;
        let crc = u16::from_le_bytes(crc.try_into().ok()?);
        (u32::from_le_bytes(*id) == Self::ID_CRC16).then_some(Self::IdCrc16(crc))
    }

    fn parse_hash(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (len, hash) = (u32::from_le_bytes(*len), *hash);
        match u32::from_le_bytes(*id) {
            Self::ID_SHA256 if rest.is_empty() => Some(Self::Sha256 { len, hash }),
            Self::ID_SIGNED => Some(Self::Signed { len, hash, signature: rest.try_into().ok()? }),
            _ => None,
        }
    }

    /// Its bytes in the packet.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let hashed = |id: u32, len: u32, hash: &[u8; 32]| [&id.to_le_bytes(), &len.to_le_bytes(), &hash[..]].concat();
        match self {
            Self::Crc16(crc) => crc.to_le_bytes().to_vec(),
            Self::IdCrc16(crc) => [&Self::ID_CRC16.to_le_bytes()[..], &crc.to_le_bytes()].concat(),
            Self::Sha256 { len, hash } => hashed(Self::ID_SHA256, *len, hash),
            Self::Signed { len, hash, signature } => [hashed(Self::ID_SIGNED, *len, hash), signature.to_vec()].concat(),
            Self::Other(bytes) => bytes.clone(),
        }
    }

    /// Whether an image is the one that is meant; `None` when this cannot be told.
    #[must_use]
    pub fn matches(&self, firmware: &[u8]) -> Option<bool> {
        match self {
            Self::Crc16(crc) | Self::IdCrc16(crc) => Some(*crc == crc16(firmware, CRC16_START)),
            Self::Sha256 { len, hash } | Self::Signed { len, hash, .. } => {
                let digest: [u8; 32] = Sha256::digest(firmware).into();
                Some(u32::try_from(firmware.len()) == Ok(*len) && digest == *hash)
            }
            Self::Other(_) => None,
        }
    }

    /// The `dfu_version` of a package with such a packet.
    #[must_use]
    pub fn dfu_version(&self) -> f64 {
        match self {
            Self::Crc16(_) | Self::Other(_) => 0.5,
            Self::IdCrc16(_) => 0.6,
            Self::Sha256 { .. } => 0.7,
            Self::Signed { .. } => 0.8,
        }
    }
}

/// A legacy init packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyInitPacket {
    /// What the device is.
    pub device_type: u16,
    /// In which revision.
    pub device_revision: u16,
    /// Version of the application; no device looks at it.
    pub application_version: u32,
    /// Firmware ids of the SoftDevices of which one must be there.
    pub sd_req: Vec<u16>,
    /// What the image is.
    pub extension: LegacyExtension,
}

impl LegacyInitPacket {
    /// A packet with the CRC of `firmware` for any device and SoftDevice.
    #[must_use]
    pub fn new(firmware: &[u8]) -> Self {
        Self {
            device_type: DEVICE_ANY,
            device_revision: DEVICE_ANY,
            application_version: u32::MAX,
            sd_req: vec![SOFTDEVICE_ANY],
            extension: LegacyExtension::crc16_of(firmware),
        }
    }

    /// Reads a packet; takes what a device takes.
    ///
    /// # Errors
    /// [`LegacyInitPacketError`]: a device answers "operation failed".
    pub fn parse(bytes: &[u8]) -> Result<Self, LegacyInitPacketError> {
        let len = bytes.len();
        let too_short = LegacyInitPacketError::TooShort { len };
        if len < LEN_MIN {
            return Err(too_short);
        }
        let half = |at: usize| {
            let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or(too_short)?;
            Ok(u16::from_le_bytes(*bytes))
        };
        let count = half(8)?;
        let no_extension = LegacyInitPacketError::NoExtension { count, len };
        let rest = bytes.get(HEAD_LEN..).ok_or(too_short)?;
        let (list, extension) = rest.split_at_checked(usize::from(count) * 2).ok_or(no_extension)?;
        if extension.len() < EXTENSION_MIN {
            return Err(no_extension);
        }
        Ok(Self {
            device_type: half(0)?,
            device_revision: half(2)?,
            application_version: u32::from(half(4)?) | u32::from(half(6)?) << 16,
            sd_req: list.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect(),
            extension: LegacyExtension::parse(extension),
        })
    }

    /// The bytes of the packet; a list beyond 65535 entries is cut.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let count = u16::try_from(self.sd_req.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.device_type.to_le_bytes());
        bytes.extend_from_slice(&self.device_revision.to_le_bytes());
        bytes.extend_from_slice(&self.application_version.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        for id in self.sd_req.iter().take(usize::from(count)) {
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes.extend_from_slice(&self.extension.emit());
        bytes
    }

    /// Replaces the extension by length, hash and a signature.
    ///
    /// # Errors
    /// [`KeyError`] when `key` is not of ECDSA P-256.
    pub fn sign(mut self, firmware: &[u8], key: &SigningKey) -> Result<Self, KeyError> {
        let len = u32::try_from(firmware.len()).unwrap_or(u32::MAX);
        let hash = Sha256::digest(firmware).into();
        self.extension = LegacyExtension::Signed { len, hash, signature: [0; SIGNATURE_LEN] };
        let signature = sign_big_endian(key, &self.signed_bytes())?;
        self.extension = LegacyExtension::Signed { len, hash, signature };
        Ok(self)
    }

    /// Whether the packet has a signature of `key`.
    #[must_use]
    pub fn verify(&self, key: &PublicKey) -> bool {
        match &self.extension {
            LegacyExtension::Signed { signature, .. } => verify_big_endian(key, &self.signed_bytes(), signature),
            _ => false,
        }
    }

    /// Everything but the signature at the end.
    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = self.emit();
        bytes.truncate(bytes.len().saturating_sub(SIGNATURE_LEN));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_packet_byte_for_byte() {
        let packet = LegacyInitPacket {
            device_type: 0x0052,
            device_revision: 52840,
            application_version: 3,
            sd_req: vec![0xb6],
            ..LegacyInitPacket::new(b"123456789")
        };
        let bytes = [0x52, 0, 0x68, 0xce, 3, 0, 0, 0, 1, 0, 0xb6, 0, 0xb1, 0x29];
        assert_eq!(packet.emit(), bytes);
        assert_eq!(LegacyInitPacket::parse(&bytes).unwrap(), packet);
        assert_eq!(packet.extension.matches(b"123456789"), Some(true));
        assert_eq!(packet.extension.matches(b"123456780"), Some(false));
    }

    #[test]
    fn what_has_no_room_for_a_crc_is_refused() {
        let bytes = LegacyInitPacket::new(b"").emit();
        assert_eq!(LegacyInitPacket::parse(&bytes[..11]), Err(LegacyInitPacketError::TooShort { len: 11 }));
        let none = LegacyInitPacketError::NoExtension { count: 1, len: 13 };
        assert_eq!(LegacyInitPacket::parse(&bytes[..13]), Err(none));
        let mut many = bytes;
        many[8..10].copy_from_slice(&[0xff, 0xff]);
        let none = LegacyInitPacketError::NoExtension { count: 0xffff, len: 14 };
        assert_eq!(LegacyInitPacket::parse(&many), Err(none));
    }

    #[test]
    fn a_signature_covers_everything() {
        let key = SigningKey::from_seed(b"legacy").unwrap();
        let signed = LegacyInitPacket::new(b"firmware").sign(b"firmware", &key).unwrap();
        assert_eq!(signed.emit().len(), 12 + 4 + 4 + 32 + 64);
        assert!(signed.verify(key.public()));
        assert_eq!(signed.extension.matches(b"firmware"), Some(true));
        assert!(!signed.verify(SigningKey::from_seed(b"other").unwrap().public()));
        assert!(!LegacyInitPacket { device_type: 1, ..signed }.verify(key.public()));
        assert!(!LegacyInitPacket::new(b"firmware").verify(key.public()));
    }

    proptest! {
        /// What can be read is written as it was.
        #[test]
        fn what_is_read_writes_back(bytes in prop::collection::vec(any::<u8>(), 0..160), count in 0u8..4, id in 0u8..4) {
            let mut bytes = bytes;
            for (at, byte) in [(8, count), (9, 0)].into_iter().chain((0..4).map(|at| {
                (10 + 2 * usize::from(count) + at, if at == 0 { id } else { 0 })
            })) {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Ok(packet) = LegacyInitPacket::parse(&bytes) {
                prop_assert_eq!(packet.emit(), bytes);
            }
        }
    }
}
