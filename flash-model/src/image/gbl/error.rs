//! What may be wrong with a file, where, and what to do.

use std::fmt;

use thiserror::Error;

use super::compress::CompressionFault;
use super::tag::TagKind;
use crate::image::mcuboot::KeyError;

/// Largest file that is read, in bytes.
pub const FILE_MAX: usize = 20 << 20;
/// Most tags that are read, in clear or inside.
pub const TAGS_MAX: usize = 4096;
/// Most entries of one version dependency tag.
pub const DEPENDENCIES_MAX: usize = 256;

/// Where something is, in bytes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the file.
    File(usize),
    /// In what the encryption data tags hold together, decrypted.
    Inside(usize),
}

impl Place {
    /// The place so many bytes behind this one.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        match self {
            Self::File(offset) => Self::File(offset.saturating_add(bytes)),
            Self::Inside(offset) => Self::Inside(offset.saturating_add(bytes)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(offset) => write!(f, "offset {offset:#x}"),
            Self::Inside(offset) => write!(f, "offset {offset:#x} of the decrypted data"),
        }
    }
}

/// A file that cannot be read or made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place}: {fault}")]
pub struct GblError {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to do.
    pub fault: GblFault,
}

impl GblError {
    pub(super) fn new(place: Place, fault: GblFault) -> Self {
        Self { place, fault }
    }
}

impl From<GblFault> for GblError {
    fn from(fault: GblFault) -> Self {
        Self::new(Place::File(0), fault)
    }
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GblFault {
    /// Not even a tag.
    #[error("not a GBL file: {0} bytes, a GBL file starts with a tag of 16: is this the right file?")]
    Short(usize),
    /// Larger than any file.
    #[error("the file has {0} bytes, at most {FILE_MAX} are read: is this the right file?")]
    TooLarge(usize),
    /// Something else.
    #[error(
        "not a GBL file: it starts with {}, a GBL file with eb 17 a6 03: give a .gbl file as `commander gbl create` makes it",
        Bytes(.0)
    )]
    NotGbl([u8; 4]),
    /// The format before.
    #[error(
        "an EBL file, for the bootloaders before the Gecko bootloader, not a GBL file: make one with `commander gbl create`"
    )]
    Ebl,
    /// The format after.
    #[error(
        "GBL version 4, for Series 3 chips, whose tags are nested; this reads version 3: make it for a Series 1 or Series 2 chip"
    )]
    Version4,
    /// More tags than any file has.
    #[error("more than {TAGS_MAX} tags: no tool makes such a file, is it damaged?")]
    TooManyTags,
    /// No room for a tag header.
    #[error("{left} bytes left where a tag header of 8 has to be: the file is truncated, copy it again")]
    HeaderTruncated {
        /// Bytes that are there.
        left: usize,
    },
    /// A tag longer than the file.
    #[error("tag {tag} says it has {length} bytes, {left} are left: the file is truncated or damaged, copy it again")]
    TagTruncated {
        /// Name of the tag.
        tag: TagName,
        /// Its length in bytes.
        length: u32,
        /// Bytes that are there.
        left: usize,
    },
    /// The last tag is missing.
    #[error("the file ends without an end tag: it is truncated, copy it again")]
    NoEnd,
    /// A tag of another length than its kind has.
    #[error("tag {tag} has {found} bytes, expected {expected}: make the file again")]
    Length {
        /// Name of the tag.
        tag: TagName,
        /// Bytes it should have, in words.
        expected: &'static str,
        /// Bytes it has.
        found: usize,
    },
    /// The header is not of version 3.
    #[error("the header says version {:#010x}, expected 0x03000000: this reads version 3", .0)]
    Version(u32),
    /// More entries than any file has.
    #[error("{0} version dependencies, at most {DEPENDENCIES_MAX} are read: is the file damaged?")]
    TooManyDependencies(usize),
    /// Nothing to decrypt.
    #[error("the file has no encryption init tag: it is not encrypted, read it without a key")]
    NotEncrypted,
    /// The key is not the right one.
    #[error("decrypted, the first tag has the id {:#010x}, which is none: the file is encrypted with another key", .0)]
    WrongKey(u32),
    /// A nonce is needed to encrypt.
    #[error("what is encrypted in pieces of {0} bytes cannot be: a piece has at least 1 byte")]
    PieceSize(usize),
    /// A payload that no length field holds.
    #[error("tag {0} would be longer than 4 GiB: make it shorter")]
    TooLong(TagName),
    /// A compressed program that is none.
    #[error(transparent)]
    Compressed(#[from] CompressionFault),
    /// Nothing can be seen inside.
    #[error("the file is encrypted: give the key")]
    KeyNeeded,
    /// A key that cannot sign.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Name of a tag, or its id where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TagName(pub u32);

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TagKind::of_id(self.0) {
            Some(kind) => f.pad(kind.name()),
            None => write!(f, "{:#010x}", self.0),
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if index == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// Error codes of the bootloader (simplicity sdk: `btl_errorcode.h`).
pub mod codes {
    /// A write outside the storage slot.
    pub const STORAGE_ADDRESS: u16 = 0x0402;
    /// Something is where it must not be.
    pub const UNEXPECTED: u16 = 0x1001;
    /// More bytes than the buffer of the parser holds.
    pub const BUFFER: u16 = 0x1002;
    /// Wrong CRC.
    pub const CRC: u16 = 0x1005;
    /// Signature or certificate missing or wrong.
    pub const SIGNATURE: u16 = 0x1006;
    /// An id that the bootloader does not know.
    pub const UNKNOWN_TAG: u16 = 0x1008;
    /// Wrong version of the format, or a version dependency that is not met.
    pub const VERSION: u16 = 0x1009;
    /// Not signed or not encrypted where it has to be, or encrypted where it cannot be read.
    pub const FILETYPE: u16 = 0x100a;
    /// The application info was refused.
    pub const REJECTED: u16 = 0x100c;
    /// Tags in the wrong order.
    pub const TAG_ORDER: u16 = 0x100e;
    /// Compressed data that ends in the wrong place.
    pub const COMPRESSION_STATE: u16 = 0x1302;
    /// Compressed data that makes no sense.
    pub const COMPRESSION_DATA: u16 = 0x1303;
    /// More compressed data than the decompressor can take.
    pub const COMPRESSION_DATALEN: u16 = 0x1304;
    /// A dictionary or counters larger than the memory of the decompressor.
    pub const COMPRESSION_MEM: u16 = 0x1305;
}
