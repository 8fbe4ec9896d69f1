//! For now.
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

