//! Why a flash operation did not happen.

use thiserror::Error;

/// The outcome of a flash operation that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FlashError {
    /// The code that was running stops here; the flash is fused. Not a fault of the device.
    #[error("interrupted: {0}")]
    Interrupted(Interruption),
    /// The device refused the operation and is unchanged.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The device could not deliver the bytes.
    #[error("flash device {device}: cannot read {len} bytes at {offset:#x}: outside the device, or gone bad")]
    ReadFault {
        /// Index of the device.
        device: u8,
        /// Byte offset from the start of the device.
        offset: u64,
        /// Number of bytes asked for.
        len: u64,
    },
}

/// What stopped the running code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Interruption {
    /// Supply lost.
    #[error("power lost")]
    PowerLoss,
    /// The watchdog fired.
    #[error("watchdog reset")]
    Watchdog,
    /// An exploration has been in this very state before; going on would repeat it.
    #[error("state already explored")]
    Merged,
    /// More operations than the caller allowed.
    #[error("operation budget used up")]
    Budget,
}

/// Why a device refuses an operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The range is not inside the device.
    #[error("{offset:#x}+{len:#x} is outside flash device {device}")]
    OutOfRange {
        /// Index of the device.
        device: u8,
        /// Byte offset from the start of the device.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Offset or length is no multiple of the program unit.
    #[error("program of {len} bytes at {offset:#x} is not aligned to the program unit of {unit}")]
    Unaligned {
        /// Byte offset from the start of the device.
        offset: u32,
        /// Length in bytes.
        len: u32,
        /// Program unit in bytes.
        unit: u32,
    },
    /// An erase does not start and end at sector boundaries.
    #[error("erase of {len:#x} bytes at {offset:#x} does not cover whole sectors")]
    NotWholeSectors {
        /// Byte offset from the start of the device.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// The device allows one program per unit and erase cycle, and this would be the second.
    #[error("the program unit at {offset:#x} was programmed before and not erased since")]
    AlreadyProgrammed {
        /// Byte offset of the first such unit.
        offset: u32,
    },
    /// The range touches a protected region.
    #[error("{offset:#x}+{len:#x} touches the protected region `{region}`")]
    Protected {
        /// Byte offset from the start of the device.
        offset: u32,
        /// Length in bytes.
        len: u32,
        /// Name of the region.
        region: String,
    },
    /// The region has gone bad.
    #[error("the flash at {offset:#x}+{len:#x} has gone bad")]
    Failed {
        /// Byte offset from the start of the device.
        offset: u32,
        /// Length in bytes.
        len: u32,
    },
    /// The sector has reached its number of erase cycles.
    #[error("the sector at {offset:#x} is worn out after {cycles} erase cycles")]
    WornOut {
        /// Byte offset of the sector.
        offset: u32,
        /// Erase cycles it has seen.
        cycles: u32,
    },
}

impl From<Interruption> for FlashError {
    fn from(interruption: Interruption) -> Self {
        Self::Interrupted(interruption)
    }
}

impl From<Refusal> for FlashError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
