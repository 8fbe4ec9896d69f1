//! Images of the DFU of Nordic's nRF5 SDK: Secure DFU, and Legacy DFU of SDK 11 and before.
//!
//! An image is plain bytes; an init packet beside it says what it is. In a package, a zip file, there is one
//! of each per image and a manifest.
//!
//! | module | what it holds |
//! |---|---|
//! | [`init_packet`] | [`InitPacket`]: the init packet of Secure DFU, read as a device reads it and written as nrfutil does |
//! | [`codes`] | its enumerations |
//! | [`sign`] | signatures and public keys in the byte order of Nordic |
//! | [`crc`] | the checksums of both protocols |

pub mod codes;
pub mod crc;
mod decode;
pub mod init_packet;
mod proto;
pub mod sign;

pub use codes::{FwType, HashType, SignatureType, ValidationType};
pub use crc::{crc16, crc32};
pub use init_packet::{BootValidation, Hash, InitCommand, InitPacket, InitPacketError, Signature};
