//! Nordic's nRF5 SDK: Secure DFU, Legacy DFU, and the ways from an application into them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`gatt`] | services and characteristics |
//! | [`wire`] | requests and responses of Secure DFU, shared with initiators |
//! | [`slip`] | frames of a serial line |
//! | [`config`] | how a board's software was built |
//! | [`secure`] | the Secure DFU server |
//! | [`dfu_mode`] | DFU mode: the server, its timers, the end of an update |
//! | [`application`] | the buttonless services |
//! | [`bond`] | what an application shares of its bond with its bootloader |
//! | [`legacy`] | all of that of Legacy DFU |
//! | [`message`], [`calls`] | messages and their names in the trace |
//!
//! What of it survives a power loss is in `brickproof_flash_model::boot::nordic`. Nothing here has a clock or does I/O: a
//! [`Program`] is told what happens and says what comes of it ([`crate::device::program`]).

pub mod application;
pub mod bond;
pub mod calls;
pub mod config;
pub mod dfu_mode;
pub mod gatt;
pub mod legacy;
pub mod message;
mod program;
pub(crate) mod queue;
pub mod secure;
#[cfg(test)]
mod secure_tests;
pub mod slip;
pub mod wire;

pub use crate::device::Endpoint;
pub use bond::SharedBond;
pub use config::{Buttonless, DfuConfig, NordicBoard, Writes};
pub use legacy::{LegacyBoard, LegacyConfig, LegacyProgram};
pub use message::DfuMessage;
pub use program::Program;
