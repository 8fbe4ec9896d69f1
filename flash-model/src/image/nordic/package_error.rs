//! What may be wrong with a package.

use std::fmt;

use thiserror::Error;

/// Name of the manifest in the zip.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Largest package that is read, in bytes.
pub const FILE_MAX: usize = 20 << 20;
/// Most entries of a zip.
pub const ENTRIES_MAX: usize = 64;
/// Largest manifest in bytes.
pub const MANIFEST_MAX: u64 = 64 << 10;
/// Most bytes of all entries together, unpacked.
pub const UNPACKED_MAX: u64 = 16 << 20;

/// A package that cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PackageError {
    /// Name of the package.
    pub file: String,
    /// Name of the entry of the zip, if it is about one.
    pub entry: Option<String>,
    /// What is wrong, and what to do.
    pub fault: PackageFault,
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{}: `{}`: {}", self.file, entry.escape_debug(), self.fault),
            None => write!(f, "{}: {}", self.file, self.fault),
        }
    }
}

/// What is wrong with a package.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageFault {
    /// Not a zip file.
    #[error("no zip file ({0}): give a package as `nrfutil pkg generate` makes it")]
    NoZip(String),
    /// Larger than any package.
    #[error("the package has {0} bytes, at most {FILE_MAX} are read: is this the right file?")]
    FileSize(usize),
    /// More entries than any package has.
    #[error("the zip has {0} entries, at most {ENTRIES_MAX} are read: pack only what the manifest names")]
    EntryCount(usize),
    /// Two entries of one name.
    #[error("the zip has two entries with the same name, of which uploaders take either: pack it again")]
    DuplicateName,
    /// A name that leads out of the folder that a package is unpacked to.
    #[error("the name leads out of the package: pack the files without folders")]
    Path,
    /// A link or something else that is neither a file nor a folder.
    #[error("neither a file nor a folder: pack the files themselves")]
    NoFile,
    /// Encrypted.
    #[error("the entry is encrypted, which no uploader reads: pack without a password")]
    Encrypted,
    /// Compressed in a way that uploaders do not know.
    #[error("the entry is compressed with {0}, uploaders know deflate only: pack it again without compression")]
    Compression(String),
    /// More bytes than any package has.
    #[error("the entries unpack to more than {UNPACKED_MAX} bytes: no device has room for this")]
    UnpackedSize,
    /// More bytes than the zip announces.
    #[error("the entry unpacks to other than the {0} bytes it announces: the zip is damaged, pack it again")]
    SizeMismatch(u64),
    /// Damaged.
    #[error("the entry cannot be unpacked ({0}): the zip is damaged, pack it again")]
    Damaged(String),
    /// No manifest.
    #[error("not in the zip: every package has a `{MANIFEST_NAME}` beside its images, not in a folder")]
    ManifestMissing,
    /// A manifest that is too long.
    #[error("the manifest has {0} bytes, at most {MANIFEST_MAX} are read: is this a manifest?")]
    ManifestSize(u64),
    /// A manifest that cannot be read.
    #[error("no manifest ({0}): write it as `nrfutil pkg generate` does")]
    Manifest(String),
    /// The manifest names nothing.
    #[error("the manifest names no image: name an application, bootloader or softdevice")]
    NoImage,
    /// A file that the manifest names is not there.
    #[error("named by the manifest for the {0} but not in the zip: add it or correct the name")]
    FileMissing(&'static str),
    /// Images that do not go together.
    #[error("a package with {0} is not possible: make one package for each")]
    Combination(String),
    /// The init packet cannot be read.
    #[error("no init packet ({0}): make the package again")]
    InitPacket(String),
    /// The init packet is for something else than the manifest says.
    #[error("the init packet is of type {found}, the manifest says {key}: put it under the right key")]
    Type {
        /// In the init packet.
        found: String,
        /// In the manifest.
        key: &'static str,
    },
    /// The init packet announces another size.
    #[error("the init packet announces {announced} bytes, the firmware has {found}: make the package again")]
    FirmwareSize {
        /// In the init packet, in bytes.
        announced: u32,
        /// Size of the firmware in bytes.
        found: usize,
    },
    /// The firmware is not the one of the init packet.
    #[error("hash or CRC of the firmware is not that of the init packet: make the package again")]
    FirmwareHash,
    /// The manifest says something else than the init packet.
    #[error("the manifest says other {0} than the init packet: make the package again")]
    Metadata(&'static str),
}
