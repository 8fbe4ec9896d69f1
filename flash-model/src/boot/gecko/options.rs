//! How a Gecko bootloader was built (simplicity sdk: `btl_core_cfg.h`, `btl_config.h`, and the components).

use std::ops::Range;

use crate::image::gbl::TagKind;

/// A key for ECDSA P-256: x and y, 32 bytes each, big endian.
pub type PublicKey = [u8; 64];

/// The certificate of the bootloader itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Files and applications need one that is not older.
    pub version: u32,
    /// What their certificates are signed with, and files that have none.
    pub key: PublicKey,
}

/// How it was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Series 2, with a secure engine; otherwise Series 1, with a first stage.
    pub series_2: bool,
    /// It installs from storage slots; otherwise it is an AppLoader.
    pub storage: bool,
    /// Where a new bootloader is put aside, from the start of the flash on (`BTL_UPGRADE_LOCATION_BASE`).
    pub upgrade_offset: u32,
    /// Bytes that a new bootloader may have (`MINIMUM_REQUIRED_UPGRADE_SIZE`).
    pub upgrade_size: u32,
    /// It can decrypt.
    pub encryption: bool,
    /// Files must be encrypted (`BOOTLOADER_ENFORCE_ENCRYPTED_UPGRADE`).
    pub require_encrypted: bool,
    /// Files must be signed (`BOOTLOADER_ENFORCE_SIGNED_UPGRADE`).
    pub require_signed: bool,
    /// Applications must be signed to be started (`BOOTLOADER_ENFORCE_SECURE_BOOT`).
    pub secure_boot: bool,
    /// Program data may be compressed with LZ4 (`BTL_PARSER_SUPPORT_LZ4`).
    pub lz4: bool,
    /// And with LZMA (`BTL_PARSER_SUPPORT_LZMA`).
    pub lzma: bool,
    /// Files may depend on versions (`BTL_PARSER_SUPPORT_VERSION_DEPENDENCY_TAG`).
    pub version_dependency: bool,
    /// Only a higher version for the same product is taken (`btl_parser_app_version_check.c`).
    pub version_check: bool,
    /// No lower version than was ever started is started (`BOOTLOADER_ROLLBACK_PROTECTION`).
    pub rollback_protection: bool,
    /// The lowest version that is started (`BOOTLOADER_ROLLBACK_PROTECTION_MINIMUM_VERSION`).
    pub minimum_version: u32,
    /// The certificate of the bootloader (`BOOTLOADER_SUPPORT_CERTIFICATES`).
    pub certificate: Option<OwnCertificate>,
    /// An application needs a certificate of its own (`BOOTLOADER_REJECT_DIRECT_SIGNED_IMG`).
    pub reject_direct_signed: bool,
    /// What signatures are checked with, where there is no certificate.
    pub public_key: Option<PublicKey>,
    /// What files are decrypted with. Without one it is what erased flash holds.
    pub encryption_key: Option<[u8; 16]>,
    /// Version of the secure engine's firmware.
    pub se_version: u32,
    /// Addresses of the RAM.
    pub ram: Range<u32>,
}

impl Options {
    /// An AppLoader of Series 2, as its sample is.
    #[must_use]
    pub fn apploader() -> Self {
        Self {
            series_2: true,
            storage: false,
            upgrade_offset: 0x18000,
            upgrade_size: 0x18000,
            encryption: true,
            require_encrypted: false,
            require_signed: false,
            secure_boot: false,
            lz4: false,
            lzma: false,
            version_dependency: false,
            version_check: false,
            rollback_protection: false,
            minimum_version: 0,
            certificate: None,
            reject_direct_signed: false,
            public_key: None,
            encryption_key: None,
            se_version: 0x0102_0304,
            ram: 0x2000_0000..0x2000_8000,
        }
    }

    /// A bootloader of Series 2 with one storage slot in internal flash, as its sample is.
    #[must_use]
    pub fn storage() -> Self {
        Self { storage: true, upgrade_offset: 0x8000, ..Self::apploader() }
    }

    /// Whether the parser has this tag in its table.
    #[must_use]
    pub fn knows(&self, kind: TagKind) -> bool {
        match kind {
            TagKind::VersionDependency => self.version_dependency && self.series_2,
            TagKind::EncryptionInit | TagKind::EncryptionData => self.encryption,
            TagKind::SeUpgrade | TagKind::Certificate => self.series_2,
            TagKind::ProgramLz4 => self.lz4,
            TagKind::ProgramLzma => self.lzma,
            TagKind::Delta | TagKind::DeltaLz4 | TagKind::DeltaLzma | TagKind::EncryptionHeader => false,
            TagKind::Header
            | TagKind::Application
            | TagKind::Bootloader
            | TagKind::Metadata
            | TagKind::Program
            | TagKind::EraseProgram
            | TagKind::Signature
            | TagKind::End => true,
        }
    }
}
