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
//! | where | what is written to OTA Control | what is written to OTA Data |
//! |---|---|---|
//! | application, in place | anything: success, and a while later the AppLoader ([`in_place`]) | is not there |
//! | AppLoader | begins, and says what came of a file ([`apploader`]) | is programmed before it is answered |
//! | application with a slot | begins and ends, always with success ([`slot`]) | is stored before it is answered |
//!
//! Requests are answered by the program ([`crate::device::Endpoint::is_answered_by_program`]), when it comes to that, or
//! never. Names of calls for faults and traces are in [`crate::nordic::calls`]; what an AppLoader advertises, and where its
//! attributes are, is of the device ([`crate::device`]).
//!
//! What of it survives a power loss is in `brickproof_flash_model::boot::gecko`. Nothing here has a clock or does I/O: a
//! [`Program`] is told what happens and says what comes of it ([`crate::device::program`]). The way into the AppLoader and the
//! application with a slot agree with second readings of the vendor's code, for whatever is written; the AppLoader's server
//! is a closed library, of which [`config`] has what is open.

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
