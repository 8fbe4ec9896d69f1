//! Legacy DFU: the protocol of the nRF5 SDK 11 and before, and of Adafruit's bootloader.
//!
//! | module | what it holds |
//! |---|---|
//! | [`wire`] | control point requests and answers, shared with initiators |
//! | [`hci`] | frames of a serial line: sequence numbers, checksums, acknowledgements |
//! | [`config`] | how a board's software was built |
//! | [`server`] | the server on Bluetooth LE |
//! | [`serial`] | the same upload over a serial line |
//! | [`mode`] | DFU mode: the server, its timers, the end of an update |
//! | [`application`] | the way from an application into it |
//!
//! What of it survives a power loss is in `brickproof_flash_model::boot::nordic_legacy`.

pub mod application;
pub mod config;
pub mod hci;
pub mod mode;
mod program;
pub mod serial;
pub mod server;
pub mod wire;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

pub use config::{LegacyBoard, LegacyConfig, Sharing};
pub use mode::LegacyMode;
pub use program::LegacyProgram;
pub(in crate::nordic) use program::of_request;
