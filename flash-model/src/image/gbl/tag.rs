//! Tags: their ids, their order, where they are.

use std::ops::Range;

use super::error::{GblError, GblFault, Place, TAGS_MAX, TagName};

/// Bytes of the id and the length before every payload.
pub const TAG_HEADER_LEN: usize = 8;
/// Id of the first tag of a GBL file of version 4.
pub(super) const ROOT_V4: u32 = 0x84a6_17eb;

/// What a tag is (simplicity sdk: `btl_gbl_format.h`; the delta tags from 2024.6.1 on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// First tag: version of the format, and whether the file is encrypted or signed.
    Header,
    /// Versions that have to run for the file to be taken.
    VersionDependency,
    /// Nonce and length of what is encrypted.
    EncryptionInit,
    /// What the application is.
    Application,
    /// Firmware of the secure engine.
    SeUpgrade,
    /// A bootloader.
    Bootloader,
    /// Bytes that the bootloader hands on without a look.
    Metadata,
    /// Bytes for the flash.
    Program,
    /// The same; what Silicon Labs' tool writes.
    EraseProgram,
    /// Bytes for the flash, compressed with LZ4.
    ProgramLz4,
    /// Bytes for the flash, compressed with LZMA.
    ProgramLzma,
    /// A patch of what is in the flash.
    Delta,
    /// A patch, compressed with LZ4.
    DeltaLz4,
    /// A patch, compressed with LZMA.
    DeltaLzma,
    /// Tags, encrypted.
    EncryptionData,
    /// Of a format before; no bootloader takes it today.
    EncryptionHeader,
    /// A public key with a signature of another one.
    Certificate,
    /// ECDSA P-256 over everything before.
    Signature,
    /// Last tag: CRC-32 of everything before.
    End,
}

impl TagKind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Header,
        Self::VersionDependency,
        Self::EncryptionInit,
        Self::Application,
        Self::SeUpgrade,
        Self::Bootloader,
        Self::Metadata,
        Self::Program,
        Self::EraseProgram,
        Self::ProgramLz4,
        Self::ProgramLzma,
        Self::Delta,
        Self::DeltaLz4,
        Self::DeltaLzma,
        Self::EncryptionData,
        Self::EncryptionHeader,
        Self::Certificate,
        Self::Signature,
        Self::End,
    ];

    /// The id, as a little-endian number.
    #[must_use]
    pub fn id(self) -> u32 {
        match self {
            Self::Header => 0x03a6_17eb,
            Self::VersionDependency => 0x76a6_17eb,
            Self::EncryptionInit => 0xfa06_06fa,
            Self::Application => 0xf40a_0af4,
            Self::SeUpgrade => 0x5ea6_17eb,
            Self::Bootloader => 0xf509_09f5,
            Self::Metadata => 0xf608_08f6,
            Self::Program => 0xfe01_01fe,
            Self::EraseProgram => 0xfd03_03fd,
            Self::ProgramLz4 => 0xfd05_05fd,
            Self::ProgramLzma => 0xfd07_07fd,
            Self::Delta => 0xf80a_0af8,
            Self::DeltaLz4 => 0xf80b_0bf8,
            Self::DeltaLzma => 0xf80c_0cf8,
            Self::EncryptionData => 0xf907_07f9,
            Self::EncryptionHeader => 0xfb05_05fb,
            Self::Certificate => 0xf30b_0bf3,
            Self::Signature => 0xf70a_0af7,
            Self::End => 0xfc04_04fc,
        }
    }

    /// The kind with this id.
    #[must_use]
    pub fn of_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.id() == id)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::VersionDependency => "version-dependency",
            Self::EncryptionInit => "encryption-init",
            Self::Application => "application-info",
            Self::SeUpgrade => "se-upgrade",
            Self::Bootloader => "bootloader",
            Self::Metadata => "metadata",
            Self::Program => "program",
            Self::EraseProgram => "erase-program",
            Self::ProgramLz4 => "program-lz4",
            Self::ProgramLzma => "program-lzma",
            Self::Delta => "delta",
            Self::DeltaLz4 => "delta-lz4",
            Self::DeltaLzma => "delta-lzma",
            Self::EncryptionData => "encryption-data",
            Self::EncryptionHeader => "encryption-header",
            Self::Certificate => "certificate",
            Self::Signature => "signature",
            Self::End => "end",
        }
    }

    /// Place in the order of a file: no tag may have a lower one than a tag before it (simplicity sdk: `btl_gbl_format.h`,
    /// `GBL_TAG_ORDER_*`). The SE upgrade has 3 where a bootloader does without staging.
    #[must_use]
    pub fn rank(self) -> u32 {
        match self {
            Self::Header => 1,
            Self::VersionDependency => 2,
            Self::EncryptionInit | Self::EncryptionHeader => 4,
            Self::Application => 5,
            Self::SeUpgrade => 6,
            Self::Bootloader => 7,
            Self::Metadata
            | Self::Program
            | Self::EraseProgram
            | Self::ProgramLz4
            | Self::ProgramLzma
            | Self::Delta
            | Self::DeltaLz4
            | Self::DeltaLzma => 8,
            Self::EncryptionData => 9,
            Self::Certificate => 10,
            Self::Signature => 11,
            Self::End => 12,
        }
    }

    /// Whether a file has at most one.
    #[must_use]
    pub fn is_single(self) -> bool {
        !matches!(self, Self::VersionDependency | Self::EncryptionData) && self.rank() != 8
    }

    /// Whether it stays outside of what is encrypted.
    #[must_use]
    pub fn is_always_clear(self) -> bool {
        matches!(
            self,
            Self::Header
                | Self::VersionDependency
                | Self::EncryptionInit
                | Self::EncryptionHeader
                | Self::EncryptionData
                | Self::Certificate
                | Self::Signature
                | Self::End
        )
    }

    /// Whether it has bytes or a patch for the flash of the application.
    #[must_use]
    pub fn is_program(self) -> bool {
        self.rank() == 8 && self != Self::Metadata
    }
}

/// A tag, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The id.
    pub id: u32,
    /// What it is; `None` for an id that is none.
    pub kind: Option<TagKind>,
    /// Where its id is.
    pub place: Place,
    /// The length it says, in bytes.
    pub length: u32,
    /// Where the payload is, in the file or in the decrypted data.
    pub payload: Range<usize>,
}

impl Tag {
    /// Its name, or its id where it has none.
    #[must_use]
    pub fn name(&self) -> TagName {
        TagName(self.id)
    }

    /// Where the id is, in the file or in the decrypted data.
    #[must_use]
    pub fn start(&self) -> usize {
        self.payload.start.saturating_sub(TAG_HEADER_LEN)
    }
}

/// The tags of `stream`, up to an end tag or the end of the stream, and what is wrong behind them.
pub(super) fn walk(stream: &[u8], inside: bool) -> (Vec<Tag>, Option<GblError>) {
    let mut tags = Vec::new();
    let mut offset = 0usize;
    loop {
        let place = if inside { Place::Inside(offset) } else { Place::File(offset) };
        let fault = |fault| Some(GblError::new(place, fault));
        let left = stream.get(offset..).unwrap_or_default();
        if left.is_empty() {
            return (tags, if inside { None } else { fault(GblFault::NoEnd) });
        }
        let Some((header, rest)) = left.split_first_chunk::<TAG_HEADER_LEN>() else {
            return (tags, fault(GblFault::HeaderTruncated { left: left.len() }));
        };
        if tags.len() == TAGS_MAX {
            return (tags, fault(GblFault::TooManyTags));
        }
        let [i0, i1, i2, i3, l0, l1, l2, l3] = *header;
        let (id, length) = (u32::from_le_bytes([i0, i1, i2, i3]), u32::from_le_bytes([l0, l1, l2, l3]));
        let start = offset.saturating_add(TAG_HEADER_LEN);
        let end = usize::try_from(length).ok().filter(|length| *length <= rest.len()).map(|length| start + length);
        let Some(end) = end else {
            return (tags, fault(GblFault::TagTruncated { tag: TagName(id), length, left: rest.len() }));
        };
        let kind = TagKind::of_id(id);
        tags.push(Tag { id, kind, place, length, payload: start..end });
        if !inside && kind == Some(TagKind::End) {
            return (tags, None);
        }
        offset = end;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_names_are_different() {
        let ids: BTreeSet<_> = TagKind::ALL.iter().map(|kind| kind.id()).collect();
        let names: BTreeSet<_> = TagKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!((ids.len(), names.len()), (TagKind::ALL.len(), TagKind::ALL.len()));
        for kind in TagKind::ALL {
            assert_eq!(TagKind::of_id(kind.id()), Some(kind));
            assert_eq!(TagName(kind.id()).to_string(), kind.name());
        }
        assert_eq!(TagKind::of_id(ROOT_V4), None);
        assert_eq!(TagName(0x1234).to_string(), "0x00001234");
    }

    #[test]
    fn what_may_be_there_several_times_and_what_inside() {
        let several: Vec<_> = TagKind::ALL.iter().filter(|kind| !kind.is_single()).map(|kind| kind.name()).collect();
        assert_eq!(several.len(), 10, "{several:?}");
        let inside: Vec<_> = TagKind::ALL.iter().filter(|kind| !kind.is_always_clear()).collect();
        assert_eq!(inside.len(), 11, "{inside:?}");
        assert!(TagKind::Delta.is_program() && !TagKind::Metadata.is_program() && !TagKind::Bootloader.is_program());
    }
}
