//! Images of the DFU of Nordic's nRF5 SDK: Secure DFU, and Legacy DFU of SDK 11 and before.
//!
//! An image is plain bytes; an init packet beside it says what it is. In a package, a zip file, there is one
//! of each per image and a manifest.
//!
//! | module | what it holds |
//! |---|---|
//! | [`init_packet`] | [`InitPacket`]: the init packet of Secure DFU, read as a device reads it and written as nrfutil does |
//! | [`codes`] | its enumerations |
//! | [`builder`] | [`InitPacketBuilder`]; firmware of any size and version |
//! | [`sabotage`] | [`Sabotage`]: one thing wrong with an otherwise good image |
//! | [`legacy`] | [`LegacyInitPacket`]: the init packet of Legacy DFU |
//! | [`package`] | [`Package`]: zip files, read, verified, written |
//! | [`manifest`] | the manifest in them |
//! | [`package_error`] | what may be wrong with them, and limits |
//! | [`mod@sign`] | signatures and public keys in the byte order of Nordic |
//! | [`crc`] | the checksums of both protocols |

mod archive;
pub mod builder;
mod check;
pub mod codes;
pub mod crc;
mod decode;
pub mod init_packet;
pub mod legacy;
pub mod manifest;
pub mod package;
pub mod package_error;
mod proto;
pub mod sabotage;
pub mod sign;

pub use builder::{InitPacketBuilder, SoftdeviceInfo};
pub use codes::{FwType, HashType, SignatureType, ValidationType};
pub use crc::{crc16, crc32};
pub use init_packet::{BootValidation, Decoder, Hash, InitCommand, InitPacket, InitPacketError, Signature};
pub use legacy::{LegacyExtension, LegacyInitPacket, LegacyInitPacketError};
pub use manifest::{ImageKind, Manifest};
pub use package::{Package, PackageImage};
pub use package_error::{PackageError, PackageFault};
pub use sabotage::{Sabotage, SabotageError};
pub use sign::{sign, verify};
