//! Whether the bootloader would accept an image, and if not, why.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::header::ImageHeader;
use super::keys::{PublicKey, SignatureType};
use super::tlv::{self, TlvWalk};
use crate::flash::{Area, Flash};

/// Why an image is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImageError {
    /// Not even a header.
    #[error("{len} bytes are too short for an image: the header alone has 32")]
    TooShort {
        /// Bytes there are.
        len: u32,
    },
    /// The first four bytes are not the image magic.
    #[error("the header magic is {found:#010x}, expected 0x96f3b83d")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// Sizes in the header that do not fit the slot.
    #[error("the sizes in the header add up to more than the {slot_len:#x} bytes there are")]
    HeaderSizes {
        /// Size of the slot in bytes.
        slot_len: u32,
    },
    /// The header says the payload is encrypted.
    #[error("the payload is encrypted, which this bootloader is not built for")]
    Encrypted,
    /// The header says the payload is compressed.
    #[error("the payload is compressed, which this bootloader is not built for")]
    Compressed,
    /// No TLV area where the payload ends.
    #[error("no TLV area behind the payload: its magic is {found:#06x}, expected 0x6907")]
    TlvMagic {
        /// What is there.
        found: u16,
    },
    /// Header and protected TLV area disagree.
    #[error("the header announces {header} bytes of protected TLVs, the area itself {area}")]
    ProtectedTlvSize {
        /// Size in the image header.
        header: u16,
        /// Size in the header of the area; 0 when there is none.
        area: u16,
    },
    /// A TLV reaches beyond its area.
    #[error("the TLV at {offset:#x} reaches beyond its area")]
    TlvOverrun {
        /// Offset from the start of the image.
        offset: u32,
    },
    /// A type that must be under the hash is not.
    #[error("TLV type {0:#06x} is not allowed outside the protected area")]
    TlvNotAllowed(u16),
    /// The image would not fit together with the swap status.
    #[error("the image has {len} bytes, this bootloader takes at most {max}")]
    TooLarge {
        /// Total size in bytes.
        len: u32,
        /// Largest total size in bytes.
        max: u32,
    },
    /// The hash TLV has the wrong length.
    #[error("the hash TLV has {0} bytes instead of 32")]
    HashLength(u16),
    /// Header, payload or protected TLVs were changed.
    #[error("the image hash does not match its contents")]
    HashMismatch,
    /// The hash of a key is longer than a hash.
    #[error("the key hash TLV has {0} bytes, more than a hash")]
    KeyHashLength(u16),
    /// No hash TLV.
    #[error("the image has no hash TLV")]
    HashMissing,
    /// No signature of any key the bootloader knows.
    #[error("no signature by a key this bootloader trusts")]
    KeyUnknown,
    /// The device wants a security counter.
    #[error("the image has no security counter")]
    SecurityCounterMissing,
    /// The security counter TLV has the wrong length.
    #[error("the security counter TLV has {0} bytes instead of 4")]
    SecurityCounterLength(u16),
    /// An image from before a security update.
    #[error("the security counter of the image is {image}, the device demands at least {device}")]
    SecurityCounterTooLow {
        /// In the image.
        image: u32,
        /// In the device.
        device: u32,
    },
    /// Signed in another way than the bootloader was built for.
    #[error("the image is signed with {found}, this bootloader takes {expected} only")]
    SignatureType {
        /// In the image.
        found: SignatureType,
        /// Of the bootloader.
        expected: SignatureType,
    },
    /// Signed in the name of a known key, but wrongly.
    #[error("the signature is not valid")]
    SignatureInvalid,
}

/// Bytes that may hold an image: a file or a slot.
pub trait ImageSource {
    /// Number of bytes.
    fn len(&self) -> u32;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset`; `false` when that is not all inside.
    fn read(&self, offset: u32, buffer: &mut [u8]) -> bool;

    /// Calls `visit` with the pieces of a range in order; `false` when that is not all inside.
    fn visit(&self, offset: u32, len: u32, visit: &mut dyn FnMut(&[u8])) -> bool;
}

impl ImageSource for &[u8] {
    fn len(&self) -> u32 {
        u32::try_from(<[u8]>::len(self)).unwrap_or(u32::MAX)
    }

    fn read(&self, offset: u32, buffer: &mut [u8]) -> bool {
        let start = offset as usize;
        let range = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        range.is_some_and(|bytes| {
            buffer.copy_from_slice(bytes);
            true
        })
    }

    fn visit(&self, offset: u32, len: u32, visit: &mut dyn FnMut(&[u8])) -> bool {
        let start = offset as usize;
        let range = start.checked_add(len as usize).and_then(|end| self.get(start..end));
        range.is_some_and(|bytes| {
            visit(bytes);
            true
        })
    }
}

/// A slot in flash.
#[derive(Debug, Clone, Copy)]
pub struct SlotSource<'a> {
    /// The flash.
    pub flash: &'a Flash,
    /// The slot.
    pub area: Area,
}

impl ImageSource for SlotSource<'_> {
    fn len(&self) -> u32 {
        self.area.len
    }

    fn read(&self, offset: u32, buffer: &mut [u8]) -> bool {
        self.flash.read(self.area, offset, buffer).is_ok()
    }

    fn visit(&self, offset: u32, len: u32, visit: &mut dyn FnMut(&[u8])) -> bool {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.area.len);
        let device = self.flash.devices().get(usize::from(self.area.device));
        inside && device.is_some_and(|device| device.visit(self.area.offset + offset, len, visit))
    }
}

/// An image that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Its hash.
    pub hash: [u8; 32],
    /// Header, payload and TLVs in bytes.
    pub total_len: u32,
}

/// The bootloader's image check with its keys.
///
/// A bootloader is built for one type of signature: that of the first key. Keys of another type never
/// match. Without keys a matching hash is enough, as in a bootloader built without signatures. Outcomes of
/// signature checks are remembered by content, because cutting a boot everywhere asks for the same
/// few signatures thousands of times.
#[derive(Debug, Default)]
pub struct Verifier {
    keys: Vec<PublicKey>,
    remembered: Mutex<HashMap<[u8; 32], bool>>,
}

/// Signature checks that are remembered; then the memory is emptied.
const REMEMBERED_MAX: usize = 4096;

impl Verifier {
    /// A verifier that trusts these keys.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys, remembered: Mutex::default() }
    }

    /// The trusted keys.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// What signatures it checks; `None` without keys.
    #[must_use]
    pub fn signature_type(&self) -> Option<SignatureType> {
        self.keys.first().map(PublicKey::signature_type)
    }

    /// All checks of the bootloader, in its order (mcuboot: `bootutil_img_validate`).
    ///
    /// `max_len`: the largest total size in bytes that the mode accepts.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(&self, source: &dyn ImageSource, max_len: u32) -> Result<Verified, ImageError> {
        self.verify_with_counter(source, max_len, None)
    }

    /// As [`Verifier::verify`]; with a `counter` the image must have a security counter, not less than that.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify_with_counter(
        &self,
        source: &dyn ImageSource,
        max_len: u32,
        counter: Option<u32>,
    ) -> Result<Verified, ImageError> {
        let header = ImageHeader::read(source)?;
        header.check(source.len())?;
        let hash = image_hash(source, &header)?;
        let mut walk = TlvWalk::begin(source, &header)?;
        let total_len = walk.end();
        if total_len > max_len {
            return Err(ImageError::TooLarge { len: total_len, max: max_len });
        }
        let mut hash_seen = false;
        let mut counter_seen = false;
        let mut key: Option<usize> = None;
        let mut signature: Option<bool> = None;
        let expected = self.signature_type();
        let mut other = None;
        while let Some(entry) = walk.next_entry(source)? {
            if !entry.protected && !tlv::allowed_unprotected(entry.kind) {
                return Err(ImageError::TlvNotAllowed(entry.kind));
            }
            let overrun = ImageError::TlvOverrun { offset: entry.offset };
            match entry.kind {
                tlv::SHA256 => {
                    let mut value = [0; 32];
                    if usize::from(entry.len) != value.len() {
                        return Err(ImageError::HashLength(entry.len));
                    }
                    if !source.read(entry.offset, &mut value) {
                        return Err(overrun);
                    }
                    if value != hash {
                        return Err(ImageError::HashMismatch);
                    }
                    hash_seen = true;
                }
                tlv::KEY_HASH => {
                    if entry.len > 32 {
                        return Err(ImageError::KeyHashLength(entry.len));
                    }
                    let mut value = vec![0; usize::from(entry.len)];
                    if !source.read(entry.offset, &mut value) {
                        return Err(overrun);
                    }
                    // As the bootloader compares: a shorter hash matches by its first bytes.
                    key = self
                        .keys
                        .iter()
                        .position(|key| Some(key.signature_type()) == expected && key.hash()[..value.len()] == value);
                }
                kind if expected.is_some_and(|expected| expected.tlv() == kind) => {
                    let Some(index) = key.take() else { continue };
                    if !expected.is_some_and(|expected| expected.takes_len(entry.len)) {
                        return Err(ImageError::SignatureInvalid);
                    }
                    let mut value = vec![0; usize::from(entry.len)];
                    if !source.read(entry.offset, &mut value) {
                        return Err(overrun);
                    }
                    signature = Some(self.check_signature(source, &header, index, &hash, &value));
                }
                tlv::SECURITY_COUNTER => {
                    let Some(device) = counter else { continue };
                    if entry.len != 4 {
                        return Err(ImageError::SecurityCounterLength(entry.len));
                    }
                    let mut value = [0; 4];
                    if !source.read(entry.offset, &mut value) {
                        return Err(overrun);
                    }
                    let image = u32::from_le_bytes(value);
                    if image < device {
                        return Err(ImageError::SecurityCounterTooLow { image, device });
                    }
                    counter_seen = true;
                }
                kind => other = other.or(SignatureType::of_tlv(kind)),
            }
        }
        if !hash_seen {
            return Err(ImageError::HashMissing);
        }
        match signature {
            _ if self.keys.is_empty() => {}
            Some(true) => {}
            Some(false) => return Err(ImageError::SignatureInvalid),
            None => {
                return Err(match (other, expected) {
                    (Some(found), Some(expected)) => ImageError::SignatureType { found, expected },
                    _ => ImageError::KeyUnknown,
                });
            }
        }
        if counter.is_some() && !counter_seen {
            return Err(ImageError::SecurityCounterMissing);
        }
        Ok(Verified { hash, total_len })
    }

    fn check_signature(
        &self,
        source: &dyn ImageSource,
        header: &ImageHeader,
        key: usize,
        digest: &[u8; 32],
        signature: &[u8],
    ) -> bool {
        let mut content = Sha256::new();
        content.update(self.keys[key].hash());
        content.update(digest);
        content.update(signature);
        let content: [u8; 32] = content.finalize().into();
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(valid) = remembered.get(&content) {
            return *valid;
        }
        let mut signed = || {
            let len = header.hashed_len()?;
            let mut bytes = Vec::with_capacity(len.min(source.len()) as usize);
            source.visit(0, len, &mut |piece| bytes.extend_from_slice(piece)).then_some(bytes)
        };
        let valid = self.keys[key].verify_digest(digest, &mut signed, signature);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(content, valid);
        valid
    }
}

/// SHA-256 over header, payload and protected TLVs.
fn image_hash(source: &dyn ImageSource, header: &ImageHeader) -> Result<[u8; 32], ImageError> {
    let len = header.hashed_len().ok_or(ImageError::HeaderSizes { slot_len: source.len() })?;
    let mut hash = Sha256::new();
    if !source.visit(0, len, &mut |piece| hash.update(piece)) {
        return Err(ImageError::HeaderSizes { slot_len: source.len() });
    }
    Ok(hash.finalize().into())
}
