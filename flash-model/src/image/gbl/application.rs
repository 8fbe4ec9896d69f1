//! Firmware of EFR32 chips, as a bootloader looks at it (simplicity sdk: `application_properties.h`, `btl_bootload.c`).
//!
//! Word 0 is the stack pointer, word 1 the reset vector, word 13 points to the application properties.

use std::ops::Range;

use thiserror::Error;

use super::certificate::{CERTIFICATE_LEN, Certificate};
use super::content::{ApplicationData, SIGNATURE_LEN, u32_at};
use super::device::{DeviceCertificate, Trust};
use crate::image::mcuboot::PublicKey;
use crate::image::nordic::crc32;
use crate::image::nordic::sign::verify_big_endian;

/// First bytes of application properties.
pub const PROPERTIES_MAGIC: [u8; 16] =
    [0x13, 0xb7, 0x79, 0xfa, 0xc9, 0x25, 0xdd, 0xb7, 0xad, 0xf3, 0xcf, 0xe0, 0xf1, 0xb6, 0x14, 0xb8];
/// Version 1.2 of the structure: the minor version is above the major one.
pub const PROPERTIES_VERSION: u32 = 0x0000_0201;

/// How an application is protected, as its properties say.
pub mod signature_type {
    /// Not at all.
    pub const NONE: u32 = 0;
    /// ECDSA P-256 over all that is before it.
    pub const ECDSA_P256: u32 = 1;
    /// CRC-32 of all that is before it.
    pub const CRC32: u32 = 2;
}

/// The words of the vector table that a bootloader looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorTable {
    /// Stack pointer.
    pub stack: u32,
    /// Reset vector, with the lowest bit set.
    pub reset: u32,
    /// Where the properties are; in old applications something else.
    pub properties: u32,
}

impl VectorTable {
    /// Reads it; `None` when the image has no 14 words.
    #[must_use]
    pub fn read(image: &[u8]) -> Option<Self> {
        Some(Self { stack: u32_at(image, 0)?, reset: u32_at(image, 4)?, properties: u32_at(image, 52)? })
    }
}

/// What an application says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApplicationProperties {
    /// Where it says so.
    pub address: u32,
    /// Lowest byte major version, the rest minor version.
    pub struct_version: u32,
    /// See [`signature_type`].
    pub signature_type: u32,
    /// Address of the signature or CRC; all ones for neither.
    pub signature_location: u32,
    /// What it is.
    pub application: ApplicationData,
    /// Address of a certificate; 0 for none, and before version 1.1.
    pub certificate: u32,
    /// Address of long tokens; 0 for none, and before version 1.2.
    pub long_tokens: u32,
    /// Key that decrypts files, in a bootloader; zero for none, and before version 1.2.
    pub decrypt_key: [u8; 16],
}

impl ApplicationProperties {
    /// Bytes of the structure.
    pub const LEN: usize = 80;

    /// Those that the vector table of an image at `base` points to; `None` when it points to none.
    #[must_use]
    pub fn read(image: &[u8], base: u32) -> Option<Self> {
        Self::at(image, base, VectorTable::read(image)?.properties)
    }

    /// Those at an address of an image at `base`; `None` when there are none. Fields that are cut off are 0.
    #[must_use]
    pub fn at(image: &[u8], base: u32, address: u32) -> Option<Self> {
        let offset = usize::try_from(address.checked_sub(base)?).ok()?;
        let bytes = image.get(offset..).filter(|bytes| bytes.starts_with(&PROPERTIES_MAGIC))?;
        let word = |at| u32_at(bytes, at);
        let struct_version = word(16)?;
        // What is behind an older structure is something else.
        let later =
            bytes.get(60..).filter(|_| struct_version & 0xff > 1 || struct_version >> 8 >= 2).unwrap_or_default();
        let key = later.get(4..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
        Some(Self {
            address,
            struct_version,
            signature_type: word(20)?,
            signature_location: word(24)?,
            application: ApplicationData::parse(bytes.get(28..)?.first_chunk()?),
            certificate: word(56).filter(|_| struct_version >> 8 >= 1).unwrap_or(0),
            long_tokens: u32_at(later, 0).unwrap_or(0),
            decrypt_key: key,
        })
    }

    /// The first ones in an image at `base`, wherever they are, as for a file whose vector table nobody has pointed there.
    #[must_use]
    pub fn find(image: &[u8], base: u32) -> Option<Self> {
        let at = image.windows(PROPERTIES_MAGIC.len()).step_by(4).position(|window| window == PROPERTIES_MAGIC)?;
        let offset = u32::try_from(at.checked_mul(4)?).ok()?;
        Self::at(image, base, base.checked_add(offset)?)
    }

    /// The bytes of the structure.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let words = [self.struct_version, self.signature_type, self.signature_location].map(u32::to_le_bytes);
        let pointers = [self.certificate, self.long_tokens].map(u32::to_le_bytes);
        [
            PROPERTIES_MAGIC.as_slice(),
            words.as_flattened(),
            &self.application.emit(),
            pointers.as_flattened(),
            &self.decrypt_key,
        ]
        .concat()
    }

    /// The certificate of an image at `base`; `None` without one, or for a structure that has none yet
    /// (`bootload_gotCertificate`).
    fn certificate_of(&self, image: &[u8], base: u32) -> Option<Option<Certificate>> {
        let (major, minor) = (self.struct_version & 0xff, self.struct_version >> 8);
        if major < 1 || minor < 1 || self.certificate == 0 {
            return None;
        }
        let bytes = slice(image, base, self.certificate, CERTIFICATE_LEN).and_then(|bytes| bytes.first_chunk());
        Some(bytes.map(Certificate::parse))
    }
}

/// What a bootloader asks of the application that it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRules {
    /// Main flash.
    pub flash: Range<u32>,
    /// RAM.
    pub ram: Range<u32>,
    /// Where applications start.
    pub application_start: u32,
    /// Whether only signed applications start.
    pub secure_boot: bool,
    /// Key of signatures.
    pub trust: Trust,
    /// Certificate of the bootloader, if it was built for certificates; then [`BootRules::trust`] does not count.
    pub certificate: Option<DeviceCertificate>,
    /// Whether the bootloader can check a CRC.
    pub crc32: bool,
}

/// Why an application starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootGround {
    /// The vector table makes sense; nothing else is checked.
    Vectors,
    /// The CRC is right.
    Crc32,
    /// The signature holds.
    Signature,
}

/// Why an application does not start.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BootFault {
    /// Too short.
    #[error("no vector table of 14 words")]
    NoVectors,
    /// The stack is somewhere else.
    #[error("the stack pointer {0:#010x} is not in RAM")]
    Stack(u32),
    /// The code is somewhere else.
    #[error("the reset vector {0:#010x} is not in the flash of applications: it was linked for another device")]
    Reset(u32),
    /// Only signed applications start, and this one says nothing.
    #[error("no application properties at {0:#010x}, which secure boot needs")]
    NoProperties(u32),
    /// A structure to come.
    #[error("application properties of version {}.{}, at most 1 is known", .0 & 0xff, .0 >> 8)]
    StructVersion(u32),
    /// Only signed applications start, and this one is not.
    #[error("signature type {0}, secure boot needs 1 (ECDSA P-256)")]
    SignatureType(u32),
    /// The signature is somewhere else.
    #[error("the signature would be at {0:#010x}, outside the application")]
    SignatureLocation(u32),
    /// There is no key.
    #[error("no key to check the signature with")]
    NoKey,
    /// Not the signature of this application, or not of this key.
    #[error("the signature does not hold: the application was changed, or signed with another key")]
    Signature,
    /// The certificate is older than that of the bootloader.
    #[error("the certificate has version {found}, that of the bootloader {own}")]
    CertificateVersion {
        /// Of the application.
        found: u32,
        /// Of the bootloader.
        own: u32,
    },
    /// The certificate is not of the key of the bootloader.
    #[error("the certificate does not hold")]
    Certificate,
    /// Not the CRC of this application.
    #[error("the CRC is wrong: the application was changed")]
    Crc,
}

/// What a bootloader finds before it starts the application at `base`, of which `image` are the bytes in flash; what is behind
/// them counts as missing (`bootload_verifyApplication`).
///
/// # Errors
/// [`BootFault`]: the first reason not to start it.
pub fn check_application(image: &[u8], base: u32, rules: &BootRules) -> Result<BootGround, BootFault> {
    let vectors = VectorTable::read(image).ok_or(BootFault::NoVectors)?;
    if vectors.stack < rules.ram.start || vectors.stack > rules.ram.end {
        return Err(BootFault::Stack(vectors.stack));
    }
    if vectors.reset < rules.application_start || vectors.reset > rules.flash.end {
        return Err(BootFault::Reset(vectors.reset));
    }
    let lowest = rules.application_start.saturating_add(64);
    let pointer = Some(vectors.properties).filter(|address| (lowest..=rules.flash.end).contains(address));
    let properties = pointer.and_then(|address| ApplicationProperties::at(image, base, address));
    let Some(properties) = properties else {
        return if rules.secure_boot {
            Err(BootFault::NoProperties(vectors.properties))
        } else {
            Ok(BootGround::Vectors)
        };
    };
    if properties.struct_version & 0xff > 1 {
        return Err(BootFault::StructVersion(properties.struct_version));
    }
    match properties.signature_type {
        signature_type::NONE if !rules.secure_boot => Ok(BootGround::Vectors),
        signature_type::CRC32 if !rules.secure_boot => {
            if !rules.crc32 {
                return Ok(BootGround::Vectors);
            }
            let (covered, crc) = before(image, base, properties.signature_location, 4).ok_or(BootFault::Crc)?;
            let crc = u32_at(crc, 0).ok_or(BootFault::Crc)?;
            if crc32(covered, 0) == crc { Ok(BootGround::Crc32) } else { Err(BootFault::Crc) }
        }
        _ => secure_boot(image, base, &properties, rules),
    }
}

/// `bootload_verifySecureBoot`.
fn secure_boot(
    image: &[u8],
    base: u32,
    properties: &ApplicationProperties,
    rules: &BootRules,
) -> Result<BootGround, BootFault> {
    let key = signing_key(image, base, properties, rules)?;
    if properties.signature_type != signature_type::ECDSA_P256 {
        return Err(BootFault::SignatureType(properties.signature_type));
    }
    let location = properties.signature_location;
    let outside = BootFault::SignatureLocation(location);
    if location < rules.application_start || location < base || location > rules.flash.end {
        return Err(outside);
    }
    let (signed, signature) = before(image, base, location, SIGNATURE_LEN).ok_or(outside)?;
    let key = key.ok_or(BootFault::NoKey)?;
    let signature = signature.first_chunk().ok_or(BootFault::Signature)?;
    if verify_big_endian(&key, signed, signature) { Ok(BootGround::Signature) } else { Err(BootFault::Signature) }
}

fn signing_key(
    image: &[u8],
    base: u32,
    properties: &ApplicationProperties,
    rules: &BootRules,
) -> Result<Option<PublicKey>, BootFault> {
    let Some(own) = &rules.certificate else {
        return Ok(match &rules.trust {
            Trust::Key(key) => Some(key.as_ref().clone()),
            Trust::Unknown | Trust::Nothing => None,
        });
    };
    let Some(certificate) = properties.certificate_of(image, base) else { return Ok(Some(own.key.clone())) };
    let certificate = certificate.ok_or(BootFault::Certificate)?;
    if certificate.version < own.version {
        return Err(BootFault::CertificateVersion { found: certificate.version, own: own.version });
    }
    if !certificate.verify(&own.key) {
        return Err(BootFault::Certificate);
    }
    Ok(certificate.public_key().ok())
}

/// The bytes before an address, and so many from there on.
fn before(image: &[u8], base: u32, address: u32, len: usize) -> Option<(&[u8], &[u8])> {
    let offset = usize::try_from(address.checked_sub(base)?).ok()?;
    Some((image.get(..offset)?, slice(image, base, address, len)?))
}

fn slice(image: &[u8], base: u32, address: u32, len: usize) -> Option<&[u8]> {
    let offset = usize::try_from(address.checked_sub(base)?).ok()?;
    image.get(offset..)?.get(..len)
}
