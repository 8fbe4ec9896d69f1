//! MCUboot images (mcuboot: `boot/bootutil/include/bootutil/image.h`).
//!
//! ```text
//! [header, padded to hdr_size][payload, img_size][protected TLV area][TLV area]
//! ```
//!
//! All integers are little endian. The image hash covers header, payload and protected TLVs; the
//! signature is over the same bytes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`header`] | the 32-byte header: [`ImageHeader`] |
//! | [`version`] | [`ImageVersion`], its two text forms and its order |
//! | [`tlv`] | the TLV areas: types, [`TlvWalk`](tlv::TlvWalk) |
//! | [`verify`] | the bootloader's checks, in its order: [`Verifier`] |
//! | [`build`] | [`ImageBuilder`]: images of any size and version, signed |
//! | [`sabotage`] | [`Sabotage`]: one thing wrong with an otherwise good image |
//! | [`keys`] | [`SigningKey`] and [`PublicKey`] of each [`SignatureType`]; published keys |
//! | [`words`] | what TLVs and flags are, in words |

pub mod build;
pub mod header;
pub mod keys;
pub mod sabotage;
pub mod tlv;
pub mod verify;
pub mod version;
pub mod words;

pub use build::ImageBuilder;
pub use header::{IMAGE_MAGIC, ImageHeader};
pub use keys::{KeyError, PublicKey, SignatureType, SigningKey, known_development_key};
pub use sabotage::Sabotage;
pub use tlv::Dependency;
pub use verify::{ImageError, ImageSource, SlotSource, Verified, Verifier};
pub use version::{ImageVersion, VersionError};

/// The parts of an image that people ask for, without any check of hash or signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The header.
    pub header: ImageHeader,
    /// Header, payload and TLV areas, in bytes.
    pub total_len: u32,
    /// Contents of the first SHA-256 TLV: the hash that names this image in every protocol.
    pub hash: Option<[u8; 32]>,
    /// Entries of both TLV areas in order: (type, protected, value).
    pub tlvs: Vec<(u16, bool, Vec<u8>)>,
}

impl ImageInfo {
    /// The first value of this type.
    #[must_use]
    pub fn tlv(&self, kind: u16) -> Option<&[u8]> {
        self.tlvs.iter().find(|(found, ..)| *found == kind).map(|(_, _, value)| value.as_slice())
    }

    /// The type of the first signature; `None` when there is none, or of a type nothing here can check.
    #[must_use]
    pub fn signature_type(&self) -> Option<SignatureType> {
        self.tlvs.iter().find_map(|(kind, ..)| SignatureType::of_tlv(*kind))
    }

    /// The file of the published private key that this image is signed with, if it is one of
    /// [`known_development_key`].
    #[must_use]
    pub fn development_key(&self) -> Option<&'static str> {
        let hashes = self.tlvs.iter().filter(|(kind, ..)| *kind == tlv::KEY_HASH);
        hashes.into_iter().find_map(|(_, _, hash)| known_development_key(hash))
    }

    /// The security counter in the protected TLVs.
    #[must_use]
    pub fn security_counter(&self) -> Option<u32> {
        let (_, _, value) =
            self.tlvs.iter().find(|(kind, protected, _)| *protected && *kind == tlv::SECURITY_COUNTER)?;
        Some(u32::from_le_bytes(value.as_slice().try_into().ok()?))
    }

    /// What the image needs of others, from the protected TLVs.
    pub fn dependencies(&self) -> impl Iterator<Item = Dependency> {
        let found = self.tlvs.iter().filter(|(kind, protected, _)| *protected && *kind == tlv::DEPENDENCY);
        found.filter_map(|(_, _, value)| Dependency::parse(value))
    }
}

/// Reads header and TLVs of an image.
///
/// # Errors
/// [`ImageError`] when the header or the TLV areas do not make sense.
pub fn inspect(source: &dyn ImageSource) -> Result<ImageInfo, ImageError> {
    let header = ImageHeader::read(source)?;
    header.check(source.len())?;
    let mut walk = tlv::TlvWalk::begin(source, &header)?;
    let total_len = walk.end();
    let mut tlvs = Vec::new();
    let mut hash = None;
    while let Some(entry) = walk.next_entry(source)? {
        let mut value = vec![0; usize::from(entry.len)];
        if !source.read(entry.offset, &mut value) {
            return Err(ImageError::TlvOverrun { offset: entry.offset });
        }
        if entry.kind == tlv::SHA256 && hash.is_none() {
            hash = value.as_slice().try_into().ok();
        }
        tlvs.push((entry.kind, entry.protected, value));
    }
    Ok(ImageInfo { header, total_len, hash, tlvs })
}
