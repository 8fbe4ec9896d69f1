//! The device that a file is checked for.

use std::ops::Range;

use super::content::ApplicationData;
use super::crypt::EncryptionKey;
use super::dependency::Running;
use crate::image::mcuboot::PublicKey;

/// What is known about the key that checks signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Trust {
    /// Nothing; signatures are left alone.
    #[default]
    Unknown,
    /// There is none: no signature holds.
    Nothing,
    /// It is this one.
    Key(Box<PublicKey>),
}

impl From<PublicKey> for Trust {
    fn from(key: PublicKey) -> Self {
        Self::Key(Box::new(key))
    }
}

/// The certificate of a bootloader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceCertificate {
    /// The key in it, which signs the certificates of files, and files without one.
    pub key: PublicKey,
    /// Its version; a certificate of a file needs at least this.
    pub version: u32,
}

/// What a bootloader was built with, what it has and what it asks for. The default is a Series 2 AppLoader with everything
/// built in but patches, that asks for nothing, of which no key, no version and no address is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Series 2, with certificates and a secure engine; else Series 1.
    pub series_2: bool,
    /// Whether files come by radio or serial line straight into the flash, as with AppLoader; else out of a storage slot.
    pub communication: bool,
    /// Whether it can decrypt.
    pub encryption: bool,
    /// Whether it takes LZ4.
    pub lz4: bool,
    /// Whether it takes LZMA.
    pub lzma: bool,
    /// Whether it takes version dependencies.
    pub dependencies: bool,
    /// Whether it takes patches.
    pub delta: bool,
    /// Whether a file has to be signed.
    pub require_signature: bool,
    /// Whether a file has to be encrypted.
    pub require_encryption: bool,
    /// Key of signatures.
    pub trust: Trust,
    /// Its certificate, if it was built for certificates; then [`Device::trust`] does not count.
    pub certificate: Option<DeviceCertificate>,
    /// Key that decrypts, if known.
    pub decryption: Option<EncryptionKey>,
    /// Whether it has no such key, and [`Device::decryption`] is not just unknown.
    pub lacks_decryption_key: bool,
    /// Versions that run, if known.
    pub running: Option<Running>,
    /// The application that is installed, on a device built with the check of versions (simplicity sdk:
    /// `btl_parser_app_version_check.c`): a new one has to be newer and for the same product.
    pub installed: Option<ApplicationData>,
    /// Where an application may be, if known.
    pub application_area: Option<Range<u32>>,
    /// Where the bootloader belongs, if known.
    pub bootloader_address: Option<u32>,
    /// Bytes of the storage slot, if there is one.
    pub slot_size: Option<u32>,
    /// Most bytes of all programs together, decompressed.
    pub decompress_limit: usize,
}

impl Default for Device {
    fn default() -> Self {
        Self {
            series_2: true,
            communication: true,
            encryption: true,
            lz4: true,
            lzma: true,
            dependencies: true,
            delta: false,
            require_signature: false,
            require_encryption: false,
            trust: Trust::Unknown,
            certificate: None,
            decryption: None,
            lacks_decryption_key: false,
            running: None,
            installed: None,
            application_area: None,
            bootloader_address: None,
            slot_size: None,
            // More than the flash of any chip of Series 2.
            decompress_limit: 4 << 20,
        }
    }
}
