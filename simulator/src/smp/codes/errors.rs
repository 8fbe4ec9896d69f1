//! Failures of the groups, sent as `err: {group, rc}`, and what a version 0 request is answered instead.
//!
//! The translation belongs to each group (zephyr: `*_translate_error_code`).

use thiserror::Error;

use super::{SmpError, group};

/// A failure of a group.
pub trait GroupError: Copy {
    /// The group it is of.
    fn group(self) -> u16;

    /// Its number in the group.
    fn code(self) -> u16;
}

/// What a version 0 request is answered instead of this code of this group; `None` when the group takes it for
/// no error.
#[must_use]
pub fn translated(group: u16, code: u16) -> Option<SmpError> {
    Some(match (group, code) {
        (group::OS, 2) => SmpError::Invalid,
        (group::OS, 3 | 4) => SmpError::NoEntry,
        (group::IMAGE, 3 | 4) => SmpError::NoEntry,
        (group::IMAGE, 9 | 27 | 28) => SmpError::BadState,
        (group::IMAGE, 15) => SmpError::NoMemory,
        (group::IMAGE, 14 | 19..=22 | 24 | 25) => SmpError::Invalid,
        (group::SETTINGS, 2) => SmpError::Invalid,
        (group::SETTINGS, 3 | 4) => SmpError::NoEntry,
        (group::FILES, 2 | 13) => SmpError::Invalid,
        (group::FILES, 3 | 14) => SmpError::NoEntry,
        (group::SHELL, _) => SmpError::Invalid,
        (group::ENUMERATION, 2) => SmpError::Invalid,
        (group::ZEPHYR_BASIC, 2) => SmpError::NoEntry,
        (group::ZEPHYR_BASIC, 3 | 4) => return None,
        _ => SmpError::Unknown,
    })
}

macro_rules! group_errors {
    ($($error:ty: $group:expr,)*) => {
        $(impl GroupError for $error {
            fn group(self) -> u16 {
                $group
            }

            fn code(self) -> u16 {
                self as u16
            }
        })*
    };
}

group_errors! {
    OsError: group::OS,
    ImageError: group::IMAGE,
    StatisticsError: group::ZEPHYR_BASIC,
    SettingsError: group::SETTINGS,
    FileError: group::FILES,
    ShellError: group::SHELL,
    EnumerationError: group::ENUMERATION,
    StorageError: group::ZEPHYR_BASIC,
}

/// Failures of the OS group (`OS_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum OsError {
    /// Unknown error.
    #[error("unknown error")]
    Unknown = 1,
    /// The format holds a letter that is none.
    #[error("the format holds a letter that is none")]
    InvalidFormat = 2,
    /// The query yields no answer.
    #[error("the query yields no answer")]
    NoAnswer = 3,
    /// RTC not set.
    #[error("RTC not set")]
    ClockNotSet = 4,
    /// RTC command failed.
    #[error("RTC command failed")]
    ClockFailed = 5,
    /// The value is not valid.
    #[error("the value is not valid")]
    InvalidValue = 6,
}

/// Failures of the image group (`IMG_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum ImageError {
    /// Unknown error; also the answer of Zephyr 3.4 to the erase of an erased slot.
    #[error("unknown error")]
    Unknown = 1,
    /// Flash configuration query failed.
    #[error("flash configuration query failed")]
    FlashConfigQuery = 2,
    /// No image.
    #[error("no image")]
    NoImage = 3,
    /// No TLVs.
    #[error("no TLVs")]
    NoTlvs = 4,
    /// Invalid TLV.
    #[error("invalid TLV")]
    InvalidTlv = 5,
    /// More than one hash TLV.
    #[error("more than one hash TLV")]
    TlvMultipleHashes = 6,
    /// TLV of invalid size.
    #[error("TLV of invalid size")]
    TlvInvalidSize = 7,
    /// Hash not found; no image with it, or none in the image.
    #[error("hash not found")]
    HashNotFound = 8,
    /// No free slot; the slot is in use.
    #[error("no free slot")]
    NoFreeSlot = 9,
    /// Flash open failed; there is no such area.
    #[error("flash open failed")]
    FlashOpen = 10,
    /// Flash read failed.
    #[error("flash read failed")]
    FlashRead = 11,
    /// Flash write failed.
    #[error("flash write failed")]
    FlashWrite = 12,
    /// Flash erase failed.
    #[error("flash erase failed")]
    FlashErase = 13,
    /// Invalid slot.
    #[error("invalid slot")]
    InvalidSlot = 14,
    /// No free memory.
    #[error("no free memory")]
    NoFreeMemory = 15,
    /// Invalid page offset.
    #[error("invalid page offset")]
    InvalidPageOffset = 19,
    /// Invalid offset; the upload has no `off`.
    #[error("invalid offset")]
    InvalidOffset = 20,
    /// Invalid length; the first chunk has no `len`.
    #[error("invalid length")]
    InvalidLength = 21,
    /// Invalid image header; the first chunk is shorter than one.
    #[error("invalid image header")]
    InvalidImageHeader = 22,
    /// Invalid image header magic.
    #[error("invalid image header magic")]
    InvalidImageHeaderMagic = 23,
    /// Invalid hash; of the wrong length, or none where one is needed.
    #[error("invalid hash")]
    InvalidHash = 24,
    /// Invalid flash address.
    #[error("invalid flash address")]
    InvalidFlashAddress = 25,
    /// Version get failed; the running image has none.
    #[error("version get failed")]
    VersionGet = 26,
    /// Current version is newer.
    #[error("current version is newer")]
    CurrentVersionIsNewer = 27,
    /// Image already pending.
    #[error("image already pending")]
    AlreadyPending = 28,
    /// Invalid image vector table; the trailer of the running image is damaged.
    #[error("invalid image vector table")]
    InvalidVectorTable = 29,
    /// Image too large.
    #[error("image too large")]
    TooLarge = 30,
    /// Image data overrun; more than announced.
    #[error("image data overrun")]
    DataOverrun = 31,
    /// Confirmation denied.
    #[error("confirmation denied")]
    ConfirmationDenied = 32,
    /// Setting test to active slot denied.
    #[error("setting test to active slot denied")]
    SettingTestToActiveDenied = 33,
    /// Active slot not known.
    #[error("active slot not known")]
    ActiveSlotNotKnown = 34,
}

/// Failures of the statistics group (`STAT_MGMT_ERR_*`).
///
/// Zephyr sends them with the number of the basic group and has that group translate them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum StatisticsError {
    /// No such group of counters.
    #[error("no such group of counters")]
    InvalidGroup = 2,
    /// No group of counters has this name.
    #[error("no group of counters has this name")]
    InvalidName = 3,
    /// Counters of an invalid size.
    #[error("counters of an invalid size")]
    InvalidSize = 4,
    /// The walk over the counters was aborted.
    #[error("the walk over the counters was aborted")]
    WalkAborted = 5,
}

/// Failures of the settings group (`SETTINGS_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum SettingsError {
    /// Unknown error.
    #[error("unknown error")]
    Unknown = 1,
    /// Key too long.
    #[error("key too long")]
    KeyTooLong = 2,
    /// Key not found.
    #[error("key not found")]
    KeyNotFound = 3,
    /// Read not supported.
    #[error("read not supported")]
    ReadNotSupported = 4,
    /// Root key not found.
    #[error("root key not found")]
    RootKeyNotFound = 5,
    /// Write not supported.
    #[error("write not supported")]
    WriteNotSupported = 6,
    /// Delete not supported.
    #[error("delete not supported")]
    DeleteNotSupported = 7,
}

/// Failures of the file group (`FS_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum FileError {
    /// Unknown error.
    #[error("unknown error")]
    Unknown = 1,
    /// Invalid name.
    #[error("invalid name")]
    InvalidName = 2,
    /// File not found.
    #[error("file not found")]
    NotFound = 3,
    /// It is a directory.
    #[error("it is a directory")]
    IsDirectory = 4,
    /// Open failed.
    #[error("open failed")]
    OpenFailed = 5,
    /// Seek failed.
    #[error("seek failed")]
    SeekFailed = 6,
    /// Read failed.
    #[error("read failed")]
    ReadFailed = 7,
    /// Truncate failed.
    #[error("truncate failed")]
    TruncateFailed = 8,
    /// Delete failed.
    #[error("delete failed")]
    DeleteFailed = 9,
    /// Write failed.
    #[error("write failed")]
    WriteFailed = 10,
    /// Offset not valid; not the length of the file so far.
    #[error("offset not valid")]
    OffsetNotValid = 11,
    /// Offset larger than the file.
    #[error("offset larger than the file")]
    OffsetLargerThanFile = 12,
    /// No such hash or checksum.
    #[error("no such hash or checksum")]
    HashNotFound = 13,
    /// Mount point not found.
    #[error("mount point not found")]
    MountPointNotFound = 14,
    /// Read-only file system.
    #[error("read-only file system")]
    ReadOnly = 15,
    /// The file is empty.
    #[error("the file is empty")]
    Empty = 16,
}

/// Failures of the shell group (`SHELL_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum ShellError {
    /// Command too long.
    #[error("command too long")]
    CommandTooLong = 2,
    /// Empty command.
    #[error("empty command")]
    EmptyCommand = 3,
}

/// Failures of the enumeration group (`ENUM_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum EnumerationError {
    /// Too many groups asked for.
    #[error("too many groups asked for")]
    TooManyGroups = 2,
    /// Not enough memory for so many groups.
    #[error("not enough memory for so many groups")]
    InsufficientHeap = 3,
    /// Index too large.
    #[error("index too large")]
    IndexTooLarge = 4,
}

/// Failures of the Zephyr basic group (`ZEPHYRBASIC_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum StorageError {
    /// Flash open failed.
    #[error("flash open failed")]
    FlashOpen = 2,
    /// Flash configuration query failed.
    #[error("flash configuration query failed")]
    FlashConfigQuery = 3,
    /// Flash erase failed.
    #[error("flash erase failed")]
    FlashErase = 4,
}
