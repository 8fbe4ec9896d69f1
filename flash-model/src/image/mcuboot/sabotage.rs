//! Images with one thing wrong.

use std::ops::Range;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::build::emit_area;
use super::header::{HEADER_LEN, ImageHeader};
use super::keys::SigningKey;
use super::tlv::{self, TlvWalk};
use super::verify::ImageError;
use super::{ImageInfo, inspect};
use crate::image::sabotage::named;

/// What to break in an otherwise good image. Everything else stays right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// One payload bit is flipped after signing: the hash does not match.
    Hash,
    /// One bit of the signature is flipped: the hash matches.
    Signature,
    /// Signed correctly, by a key the bootloader does not know.
    Key,
    /// The file ends in the middle of the payload.
    Truncated,
    /// The header announces more payload than any slot holds.
    Size,
    /// The header magic is wrong.
    Magic,
    /// The last TLV entry is longer than its area.
    TlvLength,
    /// The TLV area has the wrong magic.
    TlvMagic,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hash,
        Self::Signature,
        Self::Key,
        Self::Truncated,
        Self::Size,
        Self::Magic,
        Self::TlvLength,
        Self::TlvMagic,
    ];

    /// Its name, in scenarios and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Signature => "signature",
            Self::Key => "key",
            Self::Truncated => "truncated",
            Self::Size => "size",
            Self::Magic => "magic",
            Self::TlvLength => "tlv-length",
            Self::TlvMagic => "tlv-magic",
        }
    }

    /// Breaks a good image.
    ///
    /// # Errors
    /// [`ImageError`] when the image is not good to begin with, or has nothing to break there.
    pub fn apply(self, image: &[u8]) -> Result<Vec<u8>, ImageError> {
        let info = inspect(&image)?;
        let header = info.header;
        let payload = usize::from(header.header_size);
        let tlvs = header.tlv_offset().ok_or(ImageError::HeaderSizes { slot_len: 0 })? as usize;
        let unprotected = tlvs + usize::from(header.protected_tlv_size);
        let mut broken = image.to_vec();
        match self {
            Self::Hash => {
                let middle = payload + (tlvs - payload) / 2;
                broken[middle.min(tlvs.saturating_sub(1))] ^= 0x10;
            }
            Self::Signature => {
                let kind = info.signature_type().ok_or(ImageError::KeyUnknown)?.tlv();
                let at = value_of(image, &info, kind).ok_or(ImageError::KeyUnknown)?;
                // For ECDSA the last byte of the number s: the DER structure stays right.
                broken[at.end - 1] ^= 0x01;
            }
            Self::Key => return sign_again(image, &info, unprotected),
            Self::Truncated => broken.truncate(payload + (tlvs - payload) / 2),
            Self::Size => {
                let lie = ImageHeader { image_size: 0x7fff_ffff, ..header };
                broken[..HEADER_LEN].copy_from_slice(&lie.emit());
            }
            Self::Magic => broken[0] ^= 0xff,
            Self::TlvLength => {
                let last = info.tlvs.last().map(|(kind, ..)| *kind).ok_or(ImageError::HashMissing)?;
                let at = value_of(image, &info, last).ok_or(ImageError::HashMissing)?;
                broken[at.start - 2..at.start].copy_from_slice(&0x7fffu16.to_le_bytes());
            }
            Self::TlvMagic => broken[unprotected] ^= 0xff,
        }
        Ok(broken)
    }
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

/// Where the value of the last TLV of this type is; `None` without one that has a value.
fn value_of(image: &[u8], info: &ImageInfo, kind: u16) -> Option<Range<usize>> {
    let mut walk = TlvWalk::begin(&image, &info.header).ok()?;
    let mut found = None;
    while let Ok(Some(entry)) = walk.next_entry(&image) {
        if entry.kind == kind && entry.len > 0 {
            found = Some(entry.offset as usize..entry.offset as usize + usize::from(entry.len));
        }
    }
    found
}

/// Replaces the unprotected TLVs by those of a key nobody trusts, of the same type.
fn sign_again(image: &[u8], info: &ImageInfo, unprotected: usize) -> Result<Vec<u8>, ImageError> {
    let kind = info.signature_type().ok_or(ImageError::KeyUnknown)?;
    let foreign = SigningKey::stranger(kind).map_err(|_| ImageError::KeyUnknown)?;
    let mut signed = image[..unprotected].to_vec();
    debug_assert_eq!(info.header.hashed_len(), u32::try_from(signed.len()).ok());
    let digest: [u8; 32] = Sha256::digest(&signed).into();
    let signature = foreign.sign(&signed).map_err(|_| ImageError::SignatureInvalid)?;
    signed.extend_from_slice(&emit_area(
        tlv::INFO_MAGIC,
        &[(tlv::SHA256, &digest[..]), (tlv::KEY_HASH, &foreign.public().hash()[..]), (kind.tlv(), &signature)],
    ));
    Ok(signed)
}
