//! Numbers of the protocol (zephyr: `mgmt_defines.h` and the header of each group).

mod command;
mod errors;

use thiserror::Error;

pub use command::Command;
pub use errors::{
    EnumerationError, FileError, GroupError, ImageError, OsError, SettingsError, ShellError, StatisticsError,
    StorageError, translated,
};

/// Group numbers.
pub mod group {
    /// Operating system: echo, reset, parameters.
    pub const OS: u16 = 0;
    /// Images: state, upload, erase.
    pub const IMAGE: u16 = 1;
    /// Counters of the application.
    pub const STATISTICS: u16 = 2;
    /// Settings of the application.
    pub const SETTINGS: u16 = 3;
    /// Files.
    pub const FILES: u16 = 8;
    /// Shell commands.
    pub const SHELL: u16 = 9;
    /// Which groups there are.
    pub const ENUMERATION: u16 = 10;
    /// Zephyr's own commands that belong to no application: the storage partition.
    pub const ZEPHYR_BASIC: u16 = 63;
    /// First number of vendor groups.
    pub const VENDOR: u16 = 64;
}

/// Failures of the protocol itself, sent as `rc` (`MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum SmpError {
    /// Unknown.
    #[error("unknown error")]
    Unknown = 1,
    /// Out of memory.
    #[error("out of memory")]
    NoMemory = 2,
    /// Invalid value.
    #[error("invalid value")]
    Invalid = 3,
    /// No such entry.
    #[error("no such entry")]
    NoEntry = 5,
    /// Not possible in this state.
    #[error("bad state")]
    BadState = 6,
    /// The answer does not fit the buffer.
    #[error("response too large")]
    TooLarge = 7,
    /// No such group, command or operation.
    #[error("not supported")]
    NotSupported = 8,
    /// Header and packet disagree.
    #[error("corrupt")]
    Corrupt = 9,
    /// Busy, to be tried again.
    #[error("busy")]
    Busy = 10,
    /// The application refuses.
    #[error("access denied")]
    AccessDenied = 11,
    /// Version 0 is switched off.
    #[error("protocol version too old")]
    TooOld = 12,
    /// A version beyond 1.
    #[error("protocol version too new")]
    TooNew = 13,
}
