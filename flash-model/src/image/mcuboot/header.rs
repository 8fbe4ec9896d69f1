//! The image header.

use super::verify::{ImageError, ImageSource};
use super::version::ImageVersion;

/// First four bytes of every image, as a little-endian number.
pub const IMAGE_MAGIC: u32 = 0x96f3_b83d;
/// Size of the header structure; the payload starts at [`ImageHeader::header_size`].
pub const HEADER_LEN: usize = 32;

/// Header flags.
pub mod flags {
    /// Payload encrypted with AES-128-CTR.
    pub const ENCRYPTED_AES128: u32 = 0x4;
    /// Payload encrypted with AES-256-CTR.
    pub const ENCRYPTED_AES256: u32 = 0x8;
    /// Not to be booted by itself.
    pub const NON_BOOTABLE: u32 = 0x10;
    /// Runs from one address only: that of the slot it was linked for.
    pub const ROM_FIXED: u32 = 0x100;
    /// Payload compressed with LZMA1.
    pub const COMPRESSED_LZMA1: u32 = 0x200;
    /// Payload compressed with LZMA2.
    pub const COMPRESSED_LZMA2: u32 = 0x400;
}

/// Byte ranges of the fields.
mod field {
    use std::ops::Range;

    pub(super) const MAGIC: Range<usize> = 0..4;
    pub(super) const LOAD_ADDRESS: Range<usize> = 4..8;
    pub(super) const HEADER_SIZE: Range<usize> = 8..10;
    pub(super) const PROTECTED_TLV_SIZE: Range<usize> = 10..12;
    pub(super) const IMAGE_SIZE: Range<usize> = 12..16;
    pub(super) const FLAGS: Range<usize> = 16..20;
    pub(super) const MAJOR: usize = 20;
    pub(super) const MINOR: usize = 21;
    pub(super) const REVISION: Range<usize> = 22..24;
    pub(super) const BUILD: Range<usize> = 24..28;
    pub(super) const PADDING: Range<usize> = 28..32;
}

/// The 32-byte header at the start of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// [`IMAGE_MAGIC`] in an image; anything in a slot that holds none.
    pub magic: u32,
    /// Where the image runs from, if it is not position independent.
    pub load_address: u32,
    /// Offset of the payload in bytes.
    pub header_size: u16,
    /// Size of the protected TLV area with its own header in bytes; 0 when there is none.
    pub protected_tlv_size: u16,
    /// Size of the payload in bytes.
    pub image_size: u32,
    /// See [`flags`].
    pub flags: u32,
    /// The version.
    pub version: ImageVersion,
    /// Zero; kept so that a header round-trips.
    pub padding: u32,
}

impl ImageHeader {
    /// Reads a header; every 32 bytes are one.
    #[must_use]
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let word = |range: std::ops::Range<usize>| {
            bytes[range].iter().rev().fold(0u32, |value, byte| value << 8 | u32::from(*byte))
        };
        let half = |range| word(range) as u16;
        Self {
            magic: word(field::MAGIC),
            load_address: word(field::LOAD_ADDRESS),
            header_size: half(field::HEADER_SIZE),
            protected_tlv_size: half(field::PROTECTED_TLV_SIZE),
            image_size: word(field::IMAGE_SIZE),
            flags: word(field::FLAGS),
            version: ImageVersion {
                major: bytes[field::MAJOR],
                minor: bytes[field::MINOR],
                revision: half(field::REVISION),
                build: word(field::BUILD),
            },
            padding: word(field::PADDING),
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub fn emit(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[field::MAGIC].copy_from_slice(&self.magic.to_le_bytes());
        bytes[field::LOAD_ADDRESS].copy_from_slice(&self.load_address.to_le_bytes());
        bytes[field::HEADER_SIZE].copy_from_slice(&self.header_size.to_le_bytes());
        bytes[field::PROTECTED_TLV_SIZE].copy_from_slice(&self.protected_tlv_size.to_le_bytes());
        bytes[field::IMAGE_SIZE].copy_from_slice(&self.image_size.to_le_bytes());
        bytes[field::FLAGS].copy_from_slice(&self.flags.to_le_bytes());
        bytes[field::MAJOR] = self.version.major;
        bytes[field::MINOR] = self.version.minor;
        bytes[field::REVISION].copy_from_slice(&self.version.revision.to_le_bytes());
        bytes[field::BUILD].copy_from_slice(&self.version.build.to_le_bytes());
        bytes[field::PADDING].copy_from_slice(&self.padding.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `source`, whatever it says.
    ///
    /// # Errors
    /// [`ImageError::TooShort`] when there are no 32 bytes.
    pub fn read(source: &dyn ImageSource) -> Result<Self, ImageError> {
        let mut bytes = [0; HEADER_LEN];
        if !source.read(0, &mut bytes) {
            return Err(ImageError::TooShort { len: source.len() });
        }
        Ok(Self::parse(&bytes))
    }

    /// Offset of the first TLV area, where the payload ends; `None` when it overflows 32 bits.
    #[must_use]
    pub fn tlv_offset(&self) -> Option<u32> {
        self.image_size.checked_add(self.header_size.into())
    }

    /// Bytes under the image hash: header, payload and protected TLVs; `None` on overflow.
    #[must_use]
    pub fn hashed_len(&self) -> Option<u32> {
        self.tlv_offset()?.checked_add(self.protected_tlv_size.into())
    }

    /// The plausibility check of the bootloader for an image in a slot of `slot_len` bytes.
    ///
    /// # Errors
    /// [`ImageError`] names the field.
    pub fn check(&self, slot_len: u32) -> Result<(), ImageError> {
        if self.magic != IMAGE_MAGIC {
            return Err(ImageError::Magic { found: self.magic });
        }
        match self.hashed_len() {
            Some(len) if len < slot_len => {}
            _ => return Err(ImageError::HeaderSizes { slot_len }),
        }
        if self.flags & (flags::ENCRYPTED_AES128 | flags::ENCRYPTED_AES256) != 0 {
            return Err(ImageError::Encrypted);
        }
        if self.flags & (flags::COMPRESSED_LZMA1 | flags::COMPRESSED_LZMA2) != 0 {
            return Err(ImageError::Compressed);
        }
        Ok(())
    }
}
