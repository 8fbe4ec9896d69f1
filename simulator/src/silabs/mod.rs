//! Silicon Labs' OTA on EFR32: a GBL file over OTA Control and OTA Data, to an AppLoader that programs it at once, or to an
//! application that stores it for its bootloader.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gatt`] | services, characteristics, results, control bytes |
//! | [`config`] | how a board's software was built; what the vendor leaves open |
//! | [`in_place`] | the way from an application into its AppLoader |
//! | [`apploader`] | the AppLoader |
//! | [`known`] | applications that are recognized when they run |
//! | [`slot`] | an application that stores the file in a slot |
//! | [`program`] | what runs on such a board |
//!
//! What of it survives a power loss is in `brickproof_flash_model::boot::gecko`.

pub mod apploader;
pub mod config;
pub mod gatt;
pub mod in_place;
pub mod known;
pub mod program;
pub mod slot;

pub use config::{Address, AfterEnd, Erasing, OtaConfig, Scheme, SilabsBoard};
pub use known::KnownApplication;
pub use program::Program;

#[cfg(test)]
mod tests;
