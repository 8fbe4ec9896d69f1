//! SMP, the Simple Management Protocol of MCUmgr (zephyr: `doc/services/device_mgmt`).
//!
//! | module | what it holds |
//! |---|---|
//! | [`frame`] | the 8-byte header, big endian |
//! | [`cbor`] | writing bodies, and reading them exactly as the server does |
//! | [`message`] | a packet taken apart for people and judges |
//! | [`codes`] | group numbers, commands, error codes and their version 0 equivalents |
//! | [`config`] | [`ServerConfig`]: the options a build decides, named after Zephyr's Kconfig |
//! | [`gatt`] | the transport over Bluetooth LE: fragments, notifications, permissions |
//! | [`console`] | packets as lines of text, for serial ports |
//! | [`recovery`] | [`Recovery`]: the server of MCUboot's serial recovery |
//! | [`server`] | [`Server`]: Zephyr's server, bytes in, bytes and effects out |
//!
//! Each group of commands has a module of its own, with the table of its commands at its end:
//!
//! | number | group | commands |
//! |---|---|---|
//! | 0 | OS | echo, task statistics, date and time, reset, parameters, info, bootloader info |
//! | 1 | images | state, upload, erase, slot info |
//! | 2 | statistics | data, list |
//! | 3 | settings | read and write, delete, commit, load and save |
//! | 8 | files | download and upload, status, hash, hash types, close |
//! | 9 | shell | exec |
//! | 10 | enumeration | count, list, single, details |
//! | 63 | Zephyr basic | storage erase |
//! | any | vendor | canned answers |
//!
//! The server owns no clock and does no I/O. Flash is lent to it for the time of one packet.

mod basic_group;
pub mod cbor;
pub mod codes;
pub mod config;
pub mod console;
mod dispatch;
mod enumeration_group;
mod file_group;
pub mod frame;
pub mod gatt;
mod image_group;
pub mod message;
mod os_group;
pub mod recovery;
pub mod server;
mod settings_group;
mod shell_group;
mod statistics_group;
mod vendor_group;

pub use codes::{Command, GroupError, ImageError, SmpError, group};
pub use config::{BootloaderMode, ServerConfig, ZephyrRelease};
pub use frame::{Frame, FrameError, Op, Version};
pub use message::{Field, SmpMessage};
pub use recovery::{Recovery, RecoveryConfig};
pub use server::{Answer, Environment, Kept, Refused, Server};
