//! What is in a tag.

use super::certificate::{CERTIFICATE_LEN, Certificate};
use super::crypt::{EncryptionInit, NONCE_LEN};
use super::dependency::{DEPENDENCY_LEN, Dependency};
use super::error::{DEPENDENCIES_MAX, GblError, GblFault};
use super::tag::{Tag, TagKind};

/// Bytes of a signature: r and s.
pub const SIGNATURE_LEN: usize = 64;

/// Type bits of the header.
pub mod file_type {
    /// Encrypted; called AES-CCM, but nothing is authenticated.
    pub const ENCRYPTED: u32 = 0x1;
    /// Signed with ECDSA P-256.
    pub const SIGNED: u32 = 0x100;
}

/// The header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the format: `0x03000000`. A bootloader looks at the top byte only.
    pub version: u32,
    /// See [`file_type`].
    pub flags: u32,
}

impl Header {
    /// The version that there is.
    pub const VERSION: u32 = 0x0300_0000;

    /// Whether it is of version 3.
    #[must_use]
    pub fn is_version_3(&self) -> bool {
        self.version >> 24 == 3
    }

    /// What its flags say: `signed`, `encrypted`, both, unknown bits as a number, or `none`.
    #[must_use]
    pub fn flag_words(&self) -> String {
        bit_words(self.flags, &[(file_type::ENCRYPTED, "encrypted"), (file_type::SIGNED, "signed")])
    }

    /// The payload of its tag.
    #[must_use]
    pub fn emit(&self) -> [u8; 8] {
        let [v, f] = [self.version.to_le_bytes(), self.flags.to_le_bytes()];
        [v[0], v[1], v[2], v[3], f[0], f[1], f[2], f[3]]
    }
}

/// Names of the bits of [`ApplicationData::kind`] (simplicity sdk: `application_properties.h`).
pub const APPLICATION_TYPES: [(u32, &str); 8] = [
    (0x01, "zigbee"),
    (0x02, "thread"),
    (0x04, "flex"),
    (0x08, "bluetooth"),
    (0x10, "mcu"),
    (0x20, "bluetooth-app"),
    (0x40, "bootloader"),
    (0x80, "z-wave"),
];

/// What an application is, in its tag and in the properties inside the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ApplicationData {
    /// Bits, see [`APPLICATION_TYPES`].
    pub kind: u32,
    /// Its version; a larger number is newer.
    pub version: u32,
    /// Bits without a meaning to a bootloader.
    pub capabilities: u32,
    /// The product it is for.
    pub product_id: [u8; 16],
}

impl ApplicationData {
    /// Bytes of it.
    pub const LEN: usize = 28;

    /// Reads it; every 28 bytes are one.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at| u32_at(bytes, at).unwrap_or(0);
        let mut product_id = [0; 16];
        product_id.iter_mut().zip(bytes.iter().skip(12)).for_each(|(to, from)| *to = *from);
        Self { kind: word(0), version: word(4), capabilities: word(8), product_id }
    }

    /// The bytes of it.
    #[must_use]
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let words = [self.kind, self.version, self.capabilities].map(u32::to_le_bytes);
        let parts = words.as_flattened().iter().chain(&self.product_id);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Names of the bits of its type, with unknown ones as a number; `none` for none.
    #[must_use]
    pub fn type_words(&self) -> String {
        bit_words(self.kind, &APPLICATION_TYPES)
    }
}

/// The version of a bootloader as Silicon Labs writes it: major, minor, customer (`2.4.1`).
#[must_use]
pub fn bootloader_version_words(version: u32) -> String {
    format!("{}.{}.{}", version >> 24, version >> 16 & 0xff, version & 0xffff)
}

/// The version of a bootloader with these parts: major, minor, customer.
///
/// # Errors
/// What was expected.
pub fn bootloader_version(words: &str) -> Result<u32, String> {
    let expected = || format!("`{words}` is no version of a bootloader: expected something like \"2.5.0\"");
    let parts: Result<Vec<u32>, _> = words.split('.').map(str::parse).collect();
    match parts.as_deref() {
        Ok([major @ 0..=0xff, minor @ 0..=0xff, customer @ 0..=0xffff]) => Ok(major << 24 | minor << 16 | customer),
        _ => Err(expected()),
    }
}

/// A tag, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<'a> {
    /// The header.
    Header(Header),
    /// Version dependencies, in their order.
    Dependencies(Vec<Dependency>),
    /// How what follows is encrypted.
    EncryptionInit(EncryptionInit),
    /// What the application is.
    Application(ApplicationData),
    /// Firmware of the secure engine.
    SeUpgrade {
        /// What the tag says about the size, in bytes.
        size: u32,
        /// Its version.
        version: u32,
        /// It, encrypted by Silicon Labs.
        blob: &'a [u8],
    },
    /// A bootloader.
    Bootloader {
        /// Its version, see [`bootloader_version_words`].
        version: u32,
        /// Where it belongs.
        address: u32,
        /// It, with its CRC-32 behind it.
        image: &'a [u8],
    },
    /// Bytes that the bootloader hands on.
    Metadata(&'a [u8]),
    /// Bytes for the flash, compressed or not, as the kind of the tag says.
    Program {
        /// Where they belong.
        address: u32,
        /// They.
        data: &'a [u8],
    },
    /// A patch.
    Delta {
        /// CRC-32 of the image that it makes.
        crc: u32,
        /// Size of that image in bytes.
        size: u32,
        /// Where that image belongs.
        address: u32,
        /// It.
        patch: &'a [u8],
    },
    /// Tags, encrypted.
    EncryptionData(&'a [u8]),
    /// A public key with a signature of another one.
    Certificate(Certificate),
    /// r and s.
    Signature([u8; SIGNATURE_LEN]),
    /// The CRC-32 of the file.
    End(u32),
    /// A tag that nobody knows, or of a format before.
    Other(&'a [u8]),
}

impl<'a> Content<'a> {
    /// Reads `tag` of `stream`, which is the file or the decrypted data, wherever the tag is.
    ///
    /// # Errors
    /// [`GblFault::Length`] when the payload is not as long as its kind is.
    pub fn read(tag: &Tag, stream: &'a [u8]) -> Result<Self, GblError> {
        let payload = stream.get(tag.payload.clone()).unwrap_or_default();
        let fault = |fault| GblError::new(tag.place, fault);
        let wrong = |expected| fault(GblFault::Length { tag: tag.name(), expected, found: payload.len() });
        let word = |at, expected| u32_at(payload, at).ok_or_else(|| wrong(expected));
        let behind = |at: usize| payload.get(at..).unwrap_or_default();
        let Some(kind) = tag.kind else { return Ok(Self::Other(payload)) };
        Ok(match kind {
            TagKind::Header if payload.len() == 8 => {
                Self::Header(Header { version: word(0, "8")?, flags: word(4, "8")? })
            }
            TagKind::Header => return Err(wrong("8")),
            TagKind::VersionDependency => {
                let count = payload.len() / DEPENDENCY_LEN;
                if count > DEPENDENCIES_MAX {
                    return Err(fault(GblFault::TooManyDependencies(count)));
                }
                let (entries, rest) = payload.as_chunks::<DEPENDENCY_LEN>();
                if !rest.is_empty() {
                    return Err(wrong("a multiple of 8"));
                }
                Self::Dependencies(entries.iter().map(Dependency::parse).collect())
            }
            TagKind::EncryptionInit => {
                let nonce = behind(4).try_into().map_err(|_| wrong("16"))?;
                let _: &[u8; NONCE_LEN] = &nonce;
                Self::EncryptionInit(EncryptionInit { length: word(0, "16")?, nonce })
            }
            TagKind::Application => {
                Self::Application(ApplicationData::parse(payload.try_into().map_err(|_| wrong("28"))?))
            }
            TagKind::SeUpgrade => {
                let expected = "at least 8";
                Self::SeUpgrade { size: word(0, expected)?, version: word(4, expected)?, blob: behind(8) }
            }
            TagKind::Bootloader => {
                let expected = "at least 8";
                Self::Bootloader { version: word(0, expected)?, address: word(4, expected)?, image: behind(8) }
            }
            TagKind::Metadata => Self::Metadata(payload),
            TagKind::Program | TagKind::EraseProgram | TagKind::ProgramLz4 | TagKind::ProgramLzma => {
                Self::Program { address: word(0, "at least 4")?, data: behind(4) }
            }
            TagKind::Delta | TagKind::DeltaLz4 | TagKind::DeltaLzma => {
                let expected = "at least 12";
                Self::Delta {
                    crc: word(0, expected)?,
                    size: word(4, expected)?,
                    address: word(8, expected)?,
                    patch: behind(12),
                }
            }
            TagKind::EncryptionData => Self::EncryptionData(payload),
            TagKind::EncryptionHeader => Self::Other(payload),
            TagKind::Certificate => {
                let bytes: &[u8; CERTIFICATE_LEN] = payload.try_into().map_err(|_| wrong("136"))?;
                Self::Certificate(Certificate::parse(bytes))
            }
            TagKind::Signature => Self::Signature(payload.try_into().map_err(|_| wrong("64"))?),
            TagKind::End if payload.len() == 4 => Self::End(word(0, "4")?),
            TagKind::End => return Err(wrong("4")),
        })
    }
}

/// Names of bits, unknown ones as a number; `none` for none.
fn bit_words(bits: u32, names: &[(u32, &str)]) -> String {
    let named = names.iter().filter(|(bit, _)| bits & bit != 0);
    let mut words: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    let unknown = names.iter().fold(bits, |left, (bit, _)| left & !bit);
    if unknown != 0 {
        words.push(format!("{unknown:#x}"));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// The little-endian word at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_data_goes_there_and_back() {
        let product_id = std::array::from_fn(|index| index as u8);
        let data = ApplicationData { kind: 0x128, version: 7, capabilities: 9, product_id };
        assert_eq!(ApplicationData::parse(&data.emit()), data);
        assert_eq!(data.type_words(), "bluetooth, bluetooth-app, 0x100");
        assert_eq!(ApplicationData::default().type_words(), "none");
        assert_eq!(Header { version: 0, flags: 0x105 }.flag_words(), "encrypted, signed, 0x4");
    }

    #[test]
    fn versions_of_bootloaders_have_three_parts() {
        assert_eq!(bootloader_version_words(0x0204_0001), "2.4.1");
        assert_eq!(bootloader_version_words(u32::MAX), "255.255.65535");
        for version in [0, 0x0204_0001, u32::MAX] {
            assert_eq!(bootloader_version(&bootloader_version_words(version)), Ok(version));
        }
        for words in ["", "2", "2.5", "2.5.0.1", "256.0.0", "0.256.0", "0.0.65536", "2.x.0", "-1.0.0"] {
            assert!(bootloader_version(words).unwrap_err().contains("expected"), "{words}");
        }
    }
}
