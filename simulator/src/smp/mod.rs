//! SMP, the Simple Management Protocol of MCUmgr (zephyr: `doc/services/device_mgmt`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | the 8-byte header, big endian |
//! | [`cbor`] | writing bodies, and reading them exactly as the server does |
//! | [`message`] | a packet taken apart for people and judges |
//! | [`codes`] | group numbers, commands, error codes and their version 0 equivalents |
//! | [`console`] | packets as lines of text, for serial ports |
//! | [`recovery`] | [`Recovery`]: the server of MCUboot's serial recovery |
//! | [`server`] | [`Server`]: Zephyr's server, bytes in, bytes and effects out |
//!
//! The server owns no clock and does no I/O. Flash is lent to it for the time of one packet.

pub mod cbor;
pub mod codes;
pub mod console;
pub mod frame;
mod image_group;
pub mod message;
mod os_group;
pub mod recovery;
pub mod server;

pub use codes::{Command, ImageError, SmpError, group};
pub use frame::{Frame, FrameError, Op, Version};
pub use message::{Field, SmpMessage};
pub use recovery::{Recovery, RecoveryConfig};
pub use server::{Answer, Environment, Refused, Server, ServerConfig, ZephyrRelease};
