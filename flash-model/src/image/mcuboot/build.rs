//! Making images.

use sha2::{Digest, Sha256};

use super::header::{HEADER_LEN, IMAGE_MAGIC, ImageHeader, flags};
use super::keys::{KeyError, SigningKey};
use super::tlv::{self, Dependency};
use super::version::ImageVersion;

/// Describes an image; [`ImageBuilder::sign`] makes it.
///
/// The TLVs are what imgtool writes: SHA256, KEYHASH and the signature of the type of the key.
#[derive(Debug, Clone)]
pub struct ImageBuilder {
    version: ImageVersion,
    header_size: u16,
    flags: u32,
    load_address: u32,
    payload: Vec<u8>,
    protected: Vec<(u16, Vec<u8>)>,
}

impl ImageBuilder {
    /// An image of this version with an empty payload and a header of 0x200 bytes.
    #[must_use]
    pub fn new(version: ImageVersion) -> Self {
        Self { version, header_size: 0x200, flags: 0, load_address: 0, payload: Vec::new(), protected: Vec::new() }
    }

    /// Sets the offset of the payload; at least 32 bytes.
    #[must_use]
    pub fn header_size(mut self, bytes: u16) -> Self {
        self.header_size = bytes.max(HEADER_LEN as u16);
        self
    }

    /// Sets the header flags.
    #[must_use]
    pub fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Links the image for the start of the slot at this address, and nowhere else (imgtool: `--rom-fixed`).
    #[must_use]
    pub fn rom_fixed(mut self, address: u32) -> Self {
        self.load_address = address;
        self.flags |= flags::ROM_FIXED;
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, bytes: Vec<u8>) -> Self {
        self.payload = bytes;
        self
    }

    /// Sets a payload of pseudo-random bytes, the same for the same length and version.
    #[must_use]
    pub fn generated_payload(self, len: usize) -> Self {
        let version = self.version;
        let mut state = u64::from(version.major) << 56
            | u64::from(version.minor) << 48
            | u64::from(version.revision) << 32
            | u64::from(version.build);
        let mut payload = Vec::with_capacity(len + 8);
        while payload.len() < len {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            payload.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        payload.truncate(len);
        self.payload(payload)
    }

    /// Adds a protected TLV.
    #[must_use]
    pub fn protected_tlv(mut self, kind: u16, value: Vec<u8>) -> Self {
        self.protected.push((kind, value));
        self
    }

    /// Adds a security counter.
    #[must_use]
    pub fn security_counter(self, value: u32) -> Self {
        self.protected_tlv(tlv::SECURITY_COUNTER, value.to_le_bytes().to_vec())
    }

    /// Adds the need for another image, in at least this version.
    #[must_use]
    pub fn dependency(self, image: u8, min_version: ImageVersion) -> Self {
        self.protected_tlv(tlv::DEPENDENCY, Dependency { image, min_version }.emit().to_vec())
    }

    /// The image, signed.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot sign.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        let mut image = self.hashed_part();
        let digest: [u8; 32] = Sha256::digest(&image).into();
        let signature = key.sign(&image)?;
        let area = emit_area(
            tlv::INFO_MAGIC,
            &[
                (tlv::SHA256, &digest[..]),
                (tlv::KEY_HASH, &key.public().hash()[..]),
                (key.public().signature_type().tlv(), &signature[..]),
            ],
        );
        image.extend_from_slice(&area);
        Ok(image)
    }

    /// The image with a hash and no signature.
    #[must_use]
    pub fn unsigned(&self) -> Vec<u8> {
        let mut image = self.hashed_part();
        let digest: [u8; 32] = Sha256::digest(&image).into();
        image.extend_from_slice(&emit_area(tlv::INFO_MAGIC, &[(tlv::SHA256, &digest[..])]));
        image
    }

    fn hashed_part(&self) -> Vec<u8> {
        let entries: Vec<_> = self.protected.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
        let protected = if entries.is_empty() { Vec::new() } else { emit_area(tlv::PROTECTED_INFO_MAGIC, &entries) };
        let header = ImageHeader {
            magic: IMAGE_MAGIC,
            load_address: self.load_address,
            header_size: self.header_size,
            protected_tlv_size: u16::try_from(protected.len()).unwrap_or(u16::MAX),
            image_size: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            flags: self.flags,
            version: self.version,
            padding: 0,
        };
        let mut image = header.emit().to_vec();
        // As imgtool pads a header.
        image.resize(usize::from(self.header_size), 0xff);
        image.extend_from_slice(&self.payload);
        image.extend_from_slice(&protected);
        image
    }
}

pub(super) fn emit_area(magic: u16, entries: &[(u16, &[u8])]) -> Vec<u8> {
    let total: usize = 4 + entries.iter().map(|(_, value)| 4 + value.len()).sum::<usize>();
    let mut area = Vec::with_capacity(total);
    area.extend_from_slice(&magic.to_le_bytes());
    area.extend_from_slice(&u16::try_from(total).unwrap_or(u16::MAX).to_le_bytes());
    for (kind, value) in entries {
        area.extend_from_slice(&kind.to_le_bytes());
        area.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
        area.extend_from_slice(value);
    }
    area
}
