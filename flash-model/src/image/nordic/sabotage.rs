//! Images of Secure DFU with one thing wrong.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::builder::signed_packet;
use super::codes::{FwType, HashType, SignatureType};
use super::init_packet::{INIT_PACKET_MAX, InitCommand, InitPacket, InitPacketError};
use super::package::PackageImage;
use crate::image::mcuboot::{self, KeyError, SigningKey};
use crate::image::sabotage::named;

/// What to break in an otherwise good image. Everything else stays right: what is under the signature is signed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// One bit of the signature is flipped.
    Signature,
    /// Signed correctly, by a key the bootloader does not know.
    Key,
    /// The packet is of the unsigned form.
    Unsigned,
    /// The signature says it is Ed25519.
    SignatureType,
    /// The signature has 63 bytes.
    ShortSignature,
    /// The hash says it is a CRC.
    HashType,
    /// One bit of the hash is flipped, before signing.
    Hash,
    /// The packet has no hash.
    NoHash,
    /// One bit in the middle of the firmware is flipped.
    Firmware,
    /// The packet has no hardware version.
    NoHwVersion,
    /// The packet has no version.
    NoFwVersion,
    /// The packet does not say what it is for.
    NoType,
    /// The packet has no sizes.
    NoSize,
    /// All sizes are 0.
    ZeroSize,
    /// The packet announces 4 bytes more than there are.
    LargerSize,
    /// The packet announces 4 bytes less than there are.
    SmallerSize,
    /// The packet ends in the middle.
    Truncated,
    /// A signed command, and the same unsigned.
    BothForms,
    /// The init command is there twice.
    InitTwice,
    /// Bytes behind the packet that are no field.
    TrailingGarbage,
    /// A packet longer than a device takes, by a field that every device skips.
    Oversized,
}

/// Why an image cannot be broken so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SabotageError {
    /// It was not good before.
    #[error("the init packet is not good to begin with: {0}")]
    InitPacket(#[from] InitPacketError),
    /// No signature, hash or firmware that could be wrong.
    #[error("the image has no {0} to break")]
    NothingThere(&'static str),
    /// The packet is signed and has to be signed again.
    #[error("a signed init packet cannot be broken so without the key")]
    KeyMissing,
    /// The key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Signature,
        Self::Key,
        Self::Unsigned,
        Self::SignatureType,
        Self::ShortSignature,
        Self::HashType,
        Self::Hash,
        Self::NoHash,
        Self::Firmware,
        Self::NoHwVersion,
        Self::NoFwVersion,
        Self::NoType,
        Self::NoSize,
        Self::ZeroSize,
        Self::LargerSize,
        Self::SmallerSize,
        Self::Truncated,
        Self::BothForms,
        Self::InitTwice,
        Self::TrailingGarbage,
        Self::Oversized,
    ];

    /// Its name, in scenarios and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Unsigned => "unsigned",
            Self::SignatureType => "signature-type",
            Self::ShortSignature => "short-signature",
            Self::HashType => "hash-type",
            Self::Hash => "hash",
            Self::NoHash => "no-hash",
            Self::Firmware => "firmware",
            Self::NoHwVersion => "no-hw-version",
            Self::NoFwVersion => "no-fw-version",
            Self::NoType => "no-type",
            Self::NoSize => "no-size",
            Self::ZeroSize => "zero-size",
            Self::LargerSize => "larger-size",
            Self::SmallerSize => "smaller-size",
            Self::Truncated => "truncated",
            Self::BothForms => "both-forms",
            Self::InitTwice => "init-twice",
            Self::TrailingGarbage => "trailing-garbage",
            Self::Oversized => "oversized",
        }
    }

    /// Breaks a good image. `key`: what it is signed with; of no use for an image that is not signed.
    ///
    /// # Errors
    /// [`SabotageError`] when the image is not good to begin with, has nothing to break there, or would have to be signed
    /// without a key.
    pub fn apply(self, image: &PackageImage, key: Option<&SigningKey>) -> Result<PackageImage, SabotageError> {
        let mut broken = image.clone();
        if self == Self::Firmware {
            let middle = broken.firmware.len() / 2;
            *broken.firmware.get_mut(middle).ok_or(SabotageError::NothingThere("firmware"))? ^= 0x10;
        } else {
            broken.init = self.apply_to_init(&image.init, key)?;
        }
        Ok(broken)
    }

    /// As [`Sabotage::apply`], for the init packet alone; [`Sabotage::Firmware`] leaves it as it is.
    ///
    /// # Errors
    /// As there.
    pub fn apply_to_init(self, init: &[u8], key: Option<&SigningKey>) -> Result<Vec<u8>, SabotageError> {
        let mut packet = InitPacket::parse(init)?;
        match self {
            Self::Firmware => return Ok(init.to_vec()),
            Self::Key => {
                let stranger = SigningKey::stranger(mcuboot::SignatureType::EcdsaP256)?;
                return Ok(signed_packet(packet.command, &stranger)?);
            }
            Self::Unsigned => packet.signature = None,
            Self::Signature | Self::SignatureType | Self::ShortSignature => {
                let signature = packet.signature.as_mut().ok_or(SabotageError::NothingThere("signature"))?;
                match self {
                    Self::SignatureType => signature.kind = SignatureType::Ed25519,
                    Self::ShortSignature => drop(signature.bytes.pop()),
                    _ => *signature.bytes.last_mut().ok_or(SabotageError::NothingThere("signature"))? ^= 0x01,
                }
            }
            Self::Truncated => return Ok(init.get(..init.len() / 2).unwrap_or_default().to_vec()),
            Self::BothForms => {
                // Without an init command, which would be one too many.
                const EMPTY_COMMAND: [u8; 4] = [0x0a, 0x02, 0x08, 0x01];
                packet.signature.as_ref().ok_or(SabotageError::NothingThere("signature"))?;
                return Ok([&EMPTY_COMMAND, init].concat());
            }
            Self::InitTwice => {
                // A second command completes the first one, in either form.
                return Ok([init, &packet.emit()].concat());
            }
            // A field 31 with a wire type that does not exist.
            Self::TrailingGarbage => return Ok([init, &[0xff, 0x01, 0xff, 0x01]].concat()),
            Self::Oversized => {
                let room = INIT_PACKET_MAX.saturating_sub(init.len());
                return Ok([init, &field(31, &vec![0; room])].concat());
            }
            _ => return self.apply_to_command(packet, key),
        }
        Ok(packet.emit())
    }

    /// Breaks what is under the signature.
    fn apply_to_command(self, packet: InitPacket, key: Option<&SigningKey>) -> Result<Vec<u8>, SabotageError> {
        let mut command = packet.command;
        match self {
            Self::HashType => command.hash.as_mut().ok_or(SabotageError::NothingThere("hash"))?.kind = HashType::Crc,
            Self::Hash => {
                let hash = command.hash.as_mut().and_then(|hash| hash.bytes.last_mut());
                *hash.ok_or(SabotageError::NothingThere("hash"))? ^= 0x01;
            }
            Self::NoHash => command.hash = None,
            Self::NoHwVersion => command.hw_version = None,
            Self::NoFwVersion => command.fw_version = None,
            Self::NoType => command.fw_type = None,
            Self::NoSize => [command.sd_size, command.bl_size, command.app_size] = [None; 3],
            Self::ZeroSize => [command.sd_size, command.bl_size, command.app_size] = [Some(0); 3],
            Self::LargerSize => change_size(&mut command, |size| size.saturating_add(4))?,
            Self::SmallerSize => change_size(&mut command, |size| size.saturating_sub(4))?,
            _ => {}
        }
        match (packet.signature, key) {
            (None, _) => Ok(InitPacket::new(command, None).emit()),
            (Some(_), Some(key)) => Ok(signed_packet(command, key)?),
            (Some(_), None) => Err(SabotageError::KeyMissing),
        }
    }
}

/// Changes the size of the last part of the image.
fn change_size(command: &mut InitCommand, change: impl Fn(u32) -> u32) -> Result<(), SabotageError> {
    let size = match command.fw_type {
        Some(FwType::Softdevice) => command.sd_size.as_mut(),
        Some(FwType::Bootloader | FwType::SoftdeviceBootloader) => command.bl_size.as_mut(),
        _ => command.app_size.as_mut(),
    };
    let size = size.ok_or(SabotageError::NothingThere("size"))?;
    *size = change(*size);
    Ok(())
}

/// A field of bytes, with a tag of at most 2 bytes.
fn field(tag: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

impl FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&Self::ALL, Self::name, text)
    }
}

impl<'de> Deserialize<'de> for Sabotage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::image::nordic::builder::{InitPacketBuilder, SoftdeviceInfo, application_binary};
    use crate::image::nordic::{ImageKind, Package, verify};

    fn good() -> (SigningKey, PackageImage) {
        let key = SigningKey::from_seed(b"sabotage").unwrap();
        let firmware = application_binary(3, 1024);
        let init = InitPacketBuilder::application(&firmware).fw_version(3).hw_version(52).sign(&key).unwrap();
        (key, PackageImage::new(ImageKind::Application, init, firmware))
    }

    fn signature_holds(init: &[u8], key: &SigningKey) -> bool {
        let packet = InitPacket::parse(init).unwrap();
        let signature = packet.signature.clone();
        signature.is_some_and(|found| verify(key.public(), packet.signed_bytes(init).unwrap(), &found.bytes))
    }

    #[test]
    fn each_breaks_one_thing_and_no_two_the_same() {
        let (key, image) = good();
        let mut seen = BTreeSet::new();
        for sabotage in Sabotage::ALL {
            let broken = sabotage.apply(&image, Some(&key)).unwrap();
            assert_eq!(sabotage.apply(&image, Some(&key)).unwrap(), broken, "{}", sabotage.name());
            assert!(seen.insert((broken.init.clone(), broken.firmware.clone())), "{}", sabotage.name());
            assert_ne!(broken, image, "{}", sabotage.name());
            assert_eq!(sabotage.name().parse(), Ok(sabotage));
        }
    }

    #[test]
    fn what_a_device_cannot_read_and_what_it_can() {
        let (key, image) = good();
        for sabotage in Sabotage::ALL {
            let broken = sabotage.apply(&image, Some(&key)).unwrap();
            let read = InitPacket::parse(&broken.init);
            let expected = match sabotage {
                Sabotage::Truncated => matches!(read, Err(InitPacketError::Truncated { .. })),
                Sabotage::BothForms => read == Err(InitPacketError::BothForms),
                Sabotage::InitTwice => read == Err(InitPacketError::InitTwice),
                Sabotage::TrailingGarbage => matches!(read, Err(InitPacketError::WireType { wire_type: 7, .. })),
                _ => read.is_ok(),
            };
            assert!(expected, "{}", sabotage.name());
        }
    }

    #[test]
    fn what_is_signed_again_holds() {
        use Sabotage::{Firmware, Hash, HashType, LargerSize, NoFwVersion, NoHash, NoHwVersion, NoSize, NoType};
        let (key, image) = good();
        for sabotage in [
            Firmware,
            Hash,
            HashType,
            LargerSize,
            NoFwVersion,
            NoHash,
            NoHwVersion,
            NoSize,
            NoType,
            Sabotage::Oversized,
        ] {
            let broken = sabotage.apply(&image, Some(&key)).unwrap();
            assert!(signature_holds(&broken.init, &key), "{}", sabotage.name());
        }
        for sabotage in [Sabotage::Signature, Sabotage::Key, Sabotage::Unsigned, Sabotage::ShortSignature] {
            let broken = sabotage.apply(&image, Some(&key)).unwrap();
            assert!(!signature_holds(&broken.init, &key), "{}", sabotage.name());
        }
        let broken = Sabotage::Key.apply(&image, Some(&key)).unwrap();
        assert!(signature_holds(&broken.init, &SigningKey::stranger(mcuboot::SignatureType::EcdsaP256).unwrap()));
        assert_eq!(Sabotage::NoType.apply(&image, None), Err(SabotageError::KeyMissing));
    }

    #[test]
    fn a_package_check_finds_wrong_hashes_and_sizes() {
        use Sabotage::{Firmware, Hash, HashType, LargerSize, NoHash, NoSize, NoType, SmallerSize, ZeroSize};
        let (key, image) = good();
        Package::new(vec![image.clone()]).verify("good.zip").unwrap();
        for sabotage in [Firmware, Hash, HashType, LargerSize, NoHash, NoSize, NoType, SmallerSize, ZeroSize] {
            let broken = sabotage.apply(&image, Some(&key)).unwrap();
            let faults = Package::new(vec![broken]).verify("bad.zip").unwrap_err();
            assert!(!faults.is_empty(), "{}", sabotage.name());
        }
    }

    #[test]
    fn oversized_is_just_too_long_or_longer() {
        let (key, image) = good();
        let broken = Sabotage::Oversized.apply(&image, Some(&key)).unwrap();
        assert!(broken.init.len() > INIT_PACKET_MAX && broken.init.len() < INIT_PACKET_MAX + 10);
        let again = Sabotage::Oversized.apply(&broken, Some(&key)).unwrap();
        assert!(again.init.len() > INIT_PACKET_MAX);
    }

    #[test]
    fn unsigned_images_break_without_a_key() {
        let softdevice = SoftdeviceInfo::S140_7_2_0.binary(9000);
        let init = InitPacketBuilder::softdevice(&softdevice).unsigned().unwrap();
        let image = PackageImage::new(ImageKind::Softdevice, init, softdevice);
        let broken = Sabotage::SmallerSize.apply(&image, None).unwrap();
        assert_eq!(InitPacket::parse(&broken.init).unwrap().command.sd_size, Some(8996));
        assert_eq!(
            InitPacket::parse(&Sabotage::InitTwice.apply(&image, None).unwrap().init),
            Err(InitPacketError::InitTwice)
        );
        assert_eq!(Sabotage::BothForms.apply(&image, None), Err(SabotageError::NothingThere("signature")));
        assert_eq!(Sabotage::Signature.apply(&image, None), Err(SabotageError::NothingThere("signature")));
    }

    #[test]
    fn names_that_are_none_are_explained() {
        let error = "colour".parse::<Sabotage>().unwrap_err();
        assert!(error.contains("`colour`") && error.contains("trailing-garbage"), "{error}");
    }
}
