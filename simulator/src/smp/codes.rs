//! Numbers of the protocol (zephyr: `mgmt_defines.h`, `img_mgmt.h`, `os_mgmt.h`).

use thiserror::Error;

/// Group numbers.
pub mod group {
    /// Operating system: echo, reset, parameters.
    pub const OS: u16 = 0;
    /// Images: state, upload, erase.
    pub const IMAGE: u16 = 1;
    /// Zephyr's own: erase of the storage partition.
    pub const ZEPHYR_BASIC: u16 = 63;
    /// First number of vendor groups.
    pub const VENDOR: u16 = 64;
}

/// The commands that are named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// OS group, echo.
    Echo,
    /// OS group, reset.
    Reset,
    /// OS group, MCUmgr parameters.
    Params,
    /// OS group, which bootloader and in which mode.
    BootloaderInfo,
    /// Image group, state: list when read, test or confirm when written.
    ImageState,
    /// Image group, upload.
    ImageUpload,
    /// Image group, erase.
    ImageErase,
    /// Zephyr basic group, erase the storage partition.
    StorageErase,
}

impl Command {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Echo,
        Self::Reset,
        Self::Params,
        Self::BootloaderInfo,
        Self::ImageState,
        Self::ImageUpload,
        Self::ImageErase,
        Self::StorageErase,
    ];

    /// Group and command number.
    #[must_use]
    pub fn numbers(self) -> (u16, u8) {
        match self {
            Self::Echo => (group::OS, 0),
            Self::Reset => (group::OS, 5),
            Self::Params => (group::OS, 6),
            Self::BootloaderInfo => (group::OS, 8),
            Self::ImageState => (group::IMAGE, 0),
            Self::ImageUpload => (group::IMAGE, 1),
            Self::ImageErase => (group::IMAGE, 5),
            Self::StorageErase => (group::ZEPHYR_BASIC, 0),
        }
    }

    /// The command with these numbers.
    #[must_use]
    pub fn from_numbers(group: u16, command: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.numbers() == (group, command))
    }

    /// Its name in scenarios and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Reset => "reset",
            Self::Params => "params",
            Self::BootloaderInfo => "bootloader-info",
            Self::ImageState => "image-state",
            Self::ImageUpload => "image-upload",
            Self::ImageErase => "image-erase",
            Self::StorageErase => "storage-erase",
        }
    }
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

/// Failures of the image group, sent as `err: {group: 1, rc}` (`IMG_MGMT_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[repr(u16)]
pub enum ImageError {
    /// Unknown; also the answer of Zephyr 3.4 to the erase of an erased slot.
    #[error("unknown error")]
    Unknown = 1,
    /// Flash parameters cannot be read.
    #[error("flash configuration query failed")]
    FlashConfigQuery = 2,
    /// The slot is empty.
    #[error("no image")]
    NoImage = 3,
    /// The image has no TLV area.
    #[error("no TLVs")]
    NoTlvs = 4,
    /// A TLV that cannot be.
    #[error("invalid TLV")]
    InvalidTlv = 5,
    /// A TLV that is too short.
    #[error("TLV of invalid size")]
    TlvInvalidSize = 7,
    /// No image with this hash, or none in the image.
    #[error("hash not found")]
    HashNotFound = 8,
    /// The slot is in use.
    #[error("no free slot")]
    NoFreeSlot = 9,
    /// No such flash area.
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
    /// The upload has no `off`.
    #[error("invalid offset")]
    InvalidOffset = 20,
    /// The first chunk has no `len`.
    #[error("invalid length")]
    InvalidLength = 21,
    /// The first chunk is shorter than an image header.
    #[error("invalid image header")]
    InvalidImageHeader = 22,
    /// No image magic.
    #[error("invalid image header magic")]
    InvalidImageHeaderMagic = 23,
    /// A hash of the wrong length, or none where one is needed.
    #[error("invalid hash")]
    InvalidHash = 24,
    /// The running version cannot be read.
    #[error("version get failed")]
    VersionGet = 26,
    /// Not an upgrade.
    #[error("current version is newer")]
    CurrentVersionIsNewer = 27,
    /// Another request is pending.
    #[error("image already pending")]
    AlreadyPending = 28,
    /// The trailer of the running image is damaged.
    #[error("invalid image vector table")]
    InvalidVectorTable = 29,
    /// Larger than the slot.
    #[error("image too large")]
    TooLarge = 30,
    /// More data than announced.
    #[error("image data overrun")]
    DataOverrun = 31,
    /// The running image cannot be tested.
    #[error("setting test to active slot denied")]
    SettingTestToActiveDenied = 33,
}

impl ImageError {
    /// What a version 0 request is answered (`img_mgmt_translate_error_code`).
    #[must_use]
    pub fn translated(self) -> SmpError {
        match self {
            Self::NoImage | Self::NoTlvs => SmpError::NoEntry,
            Self::NoFreeSlot | Self::CurrentVersionIsNewer | Self::AlreadyPending => SmpError::BadState,
            Self::InvalidOffset | Self::InvalidLength | Self::InvalidImageHeader | Self::InvalidHash => {
                SmpError::Invalid
            }
            _ => SmpError::Unknown,
        }
    }
}
