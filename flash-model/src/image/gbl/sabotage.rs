//! Files with one thing wrong.

use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::compress::{Compression, LzmaHeader, compress, compress_lzma, decompress};
use super::content::{ApplicationData, Header, file_type};
use super::crypt::EncryptionKey;
use super::dependency::{Comparison, Dependency, ImageType};
use super::error::{FILE_MAX, GblError};
use super::parts::{Part, Parts, Pieces, Signing, program_of};
use super::read::Gbl;
use super::tag::TagKind;
use crate::image::mcuboot::{KeyError, SignatureType, SigningKey};
use crate::image::sabotage::named;

/// What a bomb expands to, in bytes: more than the flash of any chip.
pub const BOMB_LEN: usize = 8 << 20;
/// How far a wrong address is away: beyond the flash of every chip.
pub const ADDRESS_SHIFT: u32 = 0x1000_0000;
/// The id of an unknown tag.
pub const UNKNOWN_ID: u32 = 0xf00d_f00d;

/// What to break in an otherwise good file. Everything else stays right: what is signed is signed again, what is encrypted is
/// encrypted again, and the CRC is that of the new file, but for [`Sabotage::Crc`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// One bit of the CRC is flipped.
    Crc,
    /// One bit of the signature is flipped.
    Signature,
    /// Signed correctly, by a key the bootloader does not know.
    Key,
    /// Neither signature nor the word of one in the header.
    Unsigned,
    /// The header says it is signed, but there is no signature.
    NoSignature,
    /// The certificate is of a key that the bootloader does not know.
    Certificate,
    /// The file ends in the middle.
    Truncated,
    /// The file ends before its end tag.
    NoEnd,
    /// The header says version 4.
    HeaderVersion,
    /// Programs belong where no flash is.
    Address,
    /// Programs start in the middle of a word.
    Unaligned,
    /// Application info comes behind the programs.
    Order,
    /// Application info is there twice.
    ApplicationTwice,
    /// A tag nobody knows, before the programs.
    UnknownTag,
    /// The last program says it is longer than the file.
    TagLength,
    /// The first program is compressed with LZMA and damaged.
    CorruptLzma,
    /// The first program is compressed with LZMA without an end marker.
    LzmaNoEnd,
    /// The first program is compressed with LZMA for more memory than a device has.
    LzmaMemory,
    /// The first program is LZMA that expands beyond any flash.
    Bomb,
    /// The first program is compressed with LZ4 and cut off.
    CorruptLz4,
    /// The first program is LZ4 that copies from 0 bytes before, for ever.
    Lz4OffsetZero,
    /// Encrypted with another key.
    EncryptionKey,
    /// Encrypted in pieces that cut tags.
    SplitTags,
    /// The header says it is encrypted, but all is in clear.
    ClearTags,
    /// A version dependency that no device meets.
    Dependency,
    /// The version of the application is 0.
    Downgrade,
    /// For another product.
    ProductId,
}

/// Keys to break a file with, and to make the rest right again.
#[derive(Debug, Clone, Copy, Default)]
pub struct SabotageKeys<'a> {
    /// What signs the file; needed when it is signed.
    pub signing: Option<&'a SigningKey>,
    /// What it is encrypted with; needed when it is encrypted.
    pub encryption: Option<&'a EncryptionKey>,
}

/// Why a file cannot be broken so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SabotageError {
    /// It was not good before.
    #[error("the file is not good to begin with: {0}")]
    Gbl(#[from] GblError),
    /// Nothing of the kind that could be wrong.
    #[error("the file has no {0} to break")]
    NothingThere(&'static str),
    /// It has to be signed or encrypted again.
    #[error("{0} cannot be broken so without the key")]
    KeyMissing(&'static str),
    /// The key cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Crc,
        Self::Signature,
        Self::Key,
        Self::Unsigned,
        Self::NoSignature,
        Self::Certificate,
        Self::Truncated,
        Self::NoEnd,
        Self::HeaderVersion,
        Self::Address,
        Self::Unaligned,
        Self::Order,
        Self::ApplicationTwice,
        Self::UnknownTag,
        Self::TagLength,
        Self::CorruptLzma,
        Self::LzmaNoEnd,
        Self::LzmaMemory,
        Self::Bomb,
        Self::CorruptLz4,
        Self::Lz4OffsetZero,
        Self::EncryptionKey,
        Self::SplitTags,
        Self::ClearTags,
        Self::Dependency,
        Self::Downgrade,
        Self::ProductId,
    ];

    /// Its name, in scenarios and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc => "crc",
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Unsigned => "unsigned",
            Self::NoSignature => "no-signature",
            Self::Certificate => "certificate",
            Self::Truncated => "truncated",
            Self::NoEnd => "no-end",
            Self::HeaderVersion => "header-version",
            Self::Address => "address",
            Self::Unaligned => "unaligned",
            Self::Order => "order",
            Self::ApplicationTwice => "application-twice",
            Self::UnknownTag => "unknown-tag",
            Self::TagLength => "tag-length",
            Self::CorruptLzma => "corrupt-lzma",
            Self::LzmaNoEnd => "lzma-no-end",
            Self::LzmaMemory => "lzma-memory",
            Self::Bomb => "bomb",
            Self::CorruptLz4 => "corrupt-lz4",
            Self::Lz4OffsetZero => "lz4-offset-zero",
            Self::EncryptionKey => "encryption-key",
            Self::SplitTags => "split-tags",
            Self::ClearTags => "clear-tags",
            Self::Dependency => "dependency",
            Self::Downgrade => "downgrade",
            Self::ProductId => "product-id",
        }
    }

    /// Breaks a good file.
    ///
    /// # Errors
    /// [`SabotageError`] when it is not good to begin with, has nothing to break there, or needs a key that is not given.
    pub fn apply(self, file: &[u8], keys: SabotageKeys<'_>) -> Result<Vec<u8>, SabotageError> {
        let gbl = Gbl::read(file)?;
        match self {
            // What needs no key.
            Self::Crc => return Ok(flipped(file, gbl.content_len().saturating_sub(1))),
            Self::Truncated => return Ok(file.get(..gbl.content_len() / 2).unwrap_or_default().to_vec()),
            Self::NoEnd => {
                let end = gbl.tag(TagKind::End).ok_or(SabotageError::NothingThere("end"))?;
                return Ok(file.get(..end.start()).unwrap_or_default().to_vec());
            }
            _ => {}
        }
        let encrypted = gbl.tag(TagKind::EncryptionInit).is_some();
        let mut parts = Parts::of(&gbl, keys.encryption)?;
        if encrypted && parts.encryption.is_none() && !self.is_outside() {
            return Err(SabotageError::KeyMissing("an encrypted file"));
        }
        match self {
            Self::Signature => {
                let Signing::Bytes(bytes) = &mut parts.signing else {
                    return Err(SabotageError::NothingThere("signature"));
                };
                bytes[63] ^= 0x01;
                return Ok(parts.emit()?);
            }
            Self::Key => {
                if matches!(parts.signing, Signing::Not) {
                    return Err(SabotageError::NothingThere("signature"));
                }
                parts.signing = Signing::By(Box::new(SigningKey::stranger(SignatureType::EcdsaP256)?));
                return Ok(parts.emit()?);
            }
            Self::NoSignature => {
                parts.set_flags(|flags| flags | file_type::SIGNED);
                parts.signing = Signing::Not;
                return Ok(parts.emit()?);
            }
            Self::Unsigned => {
                if matches!(parts.signing, Signing::Not) {
                    return Err(SabotageError::NothingThere("signature"));
                }
                parts.set_flags(|flags| flags & !file_type::SIGNED);
                parts.signing = Signing::Not;
                parts.tail.retain(|part| part.kind() != Some(TagKind::Certificate));
                return Ok(parts.emit()?);
            }
            _ => self.apply_to_parts(&mut parts)?,
        }
        if let Signing::Bytes(_) = parts.signing {
            let key = keys.signing.ok_or(SabotageError::KeyMissing("a signed file"))?;
            parts.signing = Signing::By(Box::new(key.clone()));
        }
        let broken = parts.emit()?;
        if self == Self::TagLength { lengthened(&broken, &parts) } else { Ok(broken) }
    }

    /// Whether what is encrypted stays as it is.
    fn is_outside(self) -> bool {
        use Sabotage::{Certificate, Dependency, HeaderVersion, Key, NoSignature, Signature, Unsigned};
        matches!(self, Certificate | Dependency | HeaderVersion | Key | NoSignature | Signature | Unsigned)
    }

    /// Breaks what is under the signature.
    fn apply_to_parts(self, parts: &mut Parts) -> Result<(), SabotageError> {
        match self {
            Self::Certificate => {
                let part = parts.tail.iter_mut().find(|part| part.kind() == Some(TagKind::Certificate));
                let part = part.ok_or(SabotageError::NothingThere("certificate"))?;
                let bytes = part.payload.as_slice().try_into();
                let certificate = super::certificate::Certificate::parse(
                    bytes.map_err(|_| SabotageError::NothingThere("certificate"))?,
                );
                let stranger = SigningKey::stranger(SignatureType::EcdsaP256)?;
                part.payload = certificate.sign(&stranger)?.emit().to_vec();
            }
            Self::HeaderVersion => {
                parts.set_header(Header { version: 0x0400_0000, ..parts.header() });
            }
            Self::Address => change_addresses(parts, |address| address.wrapping_add(ADDRESS_SHIFT))?,
            Self::Unaligned => change_addresses(parts, |address| address.wrapping_add(2))?,
            Self::Order => {
                let at = application(parts)?;
                if at.saturating_add(1) == parts.body.len() {
                    return Err(SabotageError::NothingThere("tag behind application info"));
                }
                let part = parts.body.remove(at);
                parts.body.push(part);
            }
            Self::ApplicationTwice => {
                let at = application(parts)?;
                if let Some(part) = parts.body.get(at).cloned() {
                    parts.body.insert(at, part);
                }
            }
            Self::UnknownTag => {
                let at = first_program(parts)?;
                parts.body.insert(at, Part { id: UNKNOWN_ID, payload: vec![0; 4] });
            }
            // The length is changed in the end.
            Self::TagLength => drop(first_program(parts)?),
            Self::CorruptLzma => set_program(parts, Compression::Lzma, |data| {
                let packed = compress(Compression::Lzma, data).ok()?;
                let damaged = (packed.len() / 2..packed.len()).map(|at| flipped(&packed, at));
                let limit = data.len().saturating_add(1 << 16);
                damaged.into_iter().find(|damaged| decompress(Compression::Lzma, damaged, limit).is_err())
            })?,
            Self::LzmaNoEnd => set_program(parts, Compression::Lzma, |data| {
                let mut packed = compress(Compression::Lzma, data).ok()?;
                // The marker takes at least as many.
                packed.truncate(packed.len().saturating_sub(5));
                Some(packed)
            })?,
            Self::LzmaMemory => set_program(parts, Compression::Lzma, |data| {
                compress_lzma(data, &LzmaHeader { lc: 3, lp: 0, dictionary: 1 << 16, ..LzmaHeader::DEVICE }).ok()
            })?,
            Self::Bomb => {
                set_program(parts, Compression::Lzma, |_| compress(Compression::Lzma, &vec![0xff; BOMB_LEN]).ok())?;
            }
            Self::CorruptLz4 => set_program(parts, Compression::Lz4, |data| {
                let mut packed = compress(Compression::Lz4, data).ok()?;
                packed.pop();
                Some(packed)
            })?,
            Self::Lz4OffsetZero => set_program(parts, Compression::Lz4, |data| {
                let [a, b, c, d] = *data.first_chunk()?;
                // Four literals, and four more from 0 bytes before.
                let hanging = [0x40, a, b, c, d, 0, 0];
                Some([hanging.as_slice(), &compress(Compression::Lz4, data).ok()?].concat())
            })?,
            Self::EncryptionKey => {
                let encryption = parts.encryption.as_mut().ok_or(SabotageError::NothingThere("encryption"))?;
                encryption.key = EncryptionKey::new(encryption.key.bytes().map(|byte| byte ^ 0x5a));
            }
            Self::SplitTags => {
                let encryption = parts.encryption.as_mut().ok_or(SabotageError::NothingThere("encryption"))?;
                encryption.pieces = Pieces::Bytes(20);
            }
            Self::ClearTags => {
                parts.set_flags(|flags| flags | file_type::ENCRYPTED);
                parts.encryption = None;
            }
            Self::Dependency => {
                let never = Dependency::new(ImageType::Bootloader, Comparison::Less, 0);
                // Behind all that is there: only the last tag counts on a bootloader with storage.
                parts.head.push(Part::new(TagKind::VersionDependency, never.emit().to_vec()));
            }
            Self::Downgrade => change_application(parts, |data| data.version = 0)?,
            Self::ProductId => change_application(parts, |data| data.product_id[0] ^= 0xff)?,
            _ => {}
        }
        Ok(())
    }
}

impl Parts {
    fn set_flags(&mut self, change: impl Fn(u32) -> u32) {
        let header = self.header();
        self.set_header(Header { flags: change(header.flags), ..header });
    }
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x10;
    }
    bytes
}

fn application(parts: &Parts) -> Result<usize, SabotageError> {
    let at = parts.body.iter().position(|part| part.kind() == Some(TagKind::Application));
    at.ok_or(SabotageError::NothingThere("application info"))
}

fn first_program(parts: &Parts) -> Result<usize, SabotageError> {
    let at = parts.body.iter().position(|part| program_of(part).is_some());
    at.ok_or(SabotageError::NothingThere("program"))
}

fn change_application(parts: &mut Parts, change: impl Fn(&mut ApplicationData)) -> Result<(), SabotageError> {
    let at = application(parts)?;
    let part = parts.body.get_mut(at).ok_or(SabotageError::NothingThere("application info"))?;
    let bytes = part.payload.as_slice().try_into().map_err(|_| SabotageError::NothingThere("application info"))?;
    let mut data = ApplicationData::parse(bytes);
    let before = data;
    change(&mut data);
    if data == before {
        return Err(SabotageError::NothingThere("version above 0"));
    }
    part.payload = data.emit().to_vec();
    Ok(())
}

fn change_addresses(parts: &mut Parts, change: impl Fn(u32) -> u32) -> Result<(), SabotageError> {
    first_program(parts)?;
    for part in &mut parts.body {
        // A patch has its address behind CRC and size.
        let at = match part.kind() {
            Some(TagKind::Delta | TagKind::DeltaLz4 | TagKind::DeltaLzma) => 8,
            Some(kind) if kind.is_program() => 0,
            _ => continue,
        };
        let bytes = part.payload.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>());
        if let Some(bytes) = bytes {
            *bytes = change(u32::from_le_bytes(*bytes)).to_le_bytes();
        }
    }
    Ok(())
}

/// Replaces the first program by what `make` makes of its data.
fn set_program(
    parts: &mut Parts,
    compression: Compression,
    make: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Result<(), SabotageError> {
    const NOTHING: SabotageError = SabotageError::NothingThere("program that could be compressed");
    let at = first_program(parts)?;
    let part = parts.body.get_mut(at).ok_or(NOTHING)?;
    let (address, data) = program_of(part).ok_or(NOTHING)?;
    let data = match part.kind() {
        Some(TagKind::Program | TagKind::EraseProgram) => data.to_vec(),
        Some(kind) => {
            let packed = Compression::of(kind).ok_or(NOTHING)?;
            decompress(packed, data, FILE_MAX).map_err(|_| NOTHING)?.bytes
        }
        None => return Err(NOTHING),
    };
    let packed = make(&data).ok_or(NOTHING)?;
    *part = Part::new(compression.tag_kind(), [&address.to_le_bytes(), packed.as_slice()].concat());
    Ok(())
}

/// Makes the last program longer than the file, or of an encrypted file the piece that it is in.
fn lengthened(file: &[u8], parts: &Parts) -> Result<Vec<u8>, SabotageError> {
    let gbl = Gbl::read(file)?;
    let of =
        |kind: TagKind| if parts.encryption.is_some() { kind == TagKind::EncryptionData } else { kind.is_program() };
    let last = gbl.tags().iter().rfind(|tag| tag.kind.is_some_and(of)).ok_or(SabotageError::NothingThere("program"))?;
    let mut broken = file.to_vec();
    let length = broken.get_mut(last.start().saturating_add(4)..).and_then(|rest| rest.first_chunk_mut::<4>());
    *length.ok_or(SabotageError::NothingThere("program"))? = 0x7fff_ffffu32.to_le_bytes();
    Ok(broken)
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
