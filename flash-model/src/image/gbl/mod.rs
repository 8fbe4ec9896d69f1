//! Gecko Bootloader files (GBL) of Silicon Labs, version 3: for the chips of Series 1 and Series 2.
//!
//! ```text
//! header | version dependencies | application info | bootloader | programs | certificate | signature | end: CRC-32 | padding
//! ```
//!
//! Every tag has an id, a length and a payload; all integers are little endian. In an encrypted file an encryption init tag
//! follows the version dependencies, and encryption data tags hold all from application info to programs.
//!
//! | module | what it holds |
//! |---|---|
//! | [`read`] | [`Gbl`]: a whole file, its tags and where they are |
//! | [`tag`] | [`TagKind`]: ids, names and the order of tags |
//! | [`content`] | [`Content`]: what is in a tag |
//! | [`dependency`] | versions that have to run, as words and on a device |
//! | [`crypt`] | [`EncryptionKey`], [`Decrypted`] |
//! | [`certificate`] | [`Certificate`]; files with public keys |
//! | [`mod@compress`] | compressed programs, and what a device has memory for |
//! | [`mod@verify`] | [`verify()`]: all that a device would find, in its order |
//! | [`device`] | [`Device`]: the device that is asked |
//! | [`build`] | [`GblBuilder`] |
//! | [`sabotage`] | [`Sabotage`]: one thing wrong with an otherwise good file |
//! | [`application`] | firmware of EFR32 chips: its properties, and what is checked at boot |
//! | [`firmware`] | [`FirmwareBuilder`]: synthetic firmware |
//! | [`error`] | what may be wrong, limits, error codes |
//!
//! ```
//! use brickproof_flash_model::image::gbl::{Device, FirmwareBuilder, GblBuilder, Sabotage, SabotageKeys, Trust, verify};
//! use brickproof_flash_model::image::mcuboot::SigningKey;
//!
//! let key = SigningKey::from_seed(b"an example")?;
//! let base = 0x0801_2000;
//! let firmware = FirmwareBuilder::new(base).version(2).build();
//! let file = GblBuilder::new().firmware(base, &firmware).sign(&key)?;
//!
//! let device = Device { trust: Trust::from(key.public().clone()), require_signature: true, ..Device::default() };
//! assert!(verify(&file, &device).is_good());
//!
//! let keys = SabotageKeys { signing: Some(&key), encryption: None };
//! let report = verify(&Sabotage::Key.apply(&file, keys)?, &device);
//! assert_eq!(report.first_error().map(|finding| finding.code), Some(Some(0x1006)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod application;
pub mod build;
pub mod certificate;
pub mod compress;
pub mod content;
pub mod crypt;
pub mod dependency;
pub mod device;
pub mod error;
pub mod firmware;
mod parts;
pub mod read;
pub mod sabotage;
pub mod tag;
mod token;
pub mod verify;
mod verify_programs;
mod verify_tags;

pub use application::{ApplicationProperties, BootFault, BootRules, VectorTable, check_application};
pub use build::GblBuilder;
pub use certificate::{Certificate, public_key_token_file, read_public_key};
pub use compress::{Compression, CompressionFault, LzmaHeader, compress, decompress};
pub use content::{ApplicationData, Content, Header};
pub use crypt::{Decrypted, EncryptionInit, EncryptionKey};
pub use dependency::{Comparison, Connective, Dependency, ImageType, Running};
pub use device::{Device, Trust};
pub use error::{GblError, GblFault, Place};
pub use firmware::FirmwareBuilder;
pub use parts::Pieces;
pub use read::Gbl;
pub use sabotage::{Sabotage, SabotageError, SabotageKeys};
pub use tag::{Tag, TagKind};
pub use verify::{Finding, Report, Severity, verify};

#[cfg(test)]
mod compress_tests;
#[cfg(test)]
mod read_tests;
#[cfg(test)]
mod sabotage_tests;
#[cfg(test)]
mod verify_tests;
