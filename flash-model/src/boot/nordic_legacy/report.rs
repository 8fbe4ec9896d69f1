//! What a boot did, and why.

use std::fmt;

use super::BankCode;

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The application was started, through the SoftDevice if there is one.
    Application {
        /// Where it begins.
        start: u32,
        /// Its size in bytes, as the settings say; what reaches beyond the region is left out.
        size: u32,
        /// SHA-256 of that.
        hash: [u8; 32],
        /// Its CRC was compared with the stored one.
        checked: bool,
    },
    /// The bootloader waits for an update.
    DfuMode {
        /// Why.
        reason: DfuReason,
        /// Where it waits.
        transport: Transport,
        /// The device resets after this time without one, in microseconds.
        timeout_us: u64,
    },
    /// The device resets and boots again.
    Reset,
    /// The bootloader stops at its error handler, which resets the device: every further boot ends so unless something
    /// changes.
    Fault {
        /// At what.
        reason: String,
    },
    /// There is no bootloader to start.
    Brick {
        /// What there is.
        reason: String,
    },
}

/// Where DFU mode waits for an uploader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// On Bluetooth LE.
    Ble,
    /// On a serial line, out of reach of a phone.
    Serial,
}

/// Why a bootloader is in DFU mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DfuReason {
    /// No application can be started.
    NoApplication(Unbootable),
    /// The button is held.
    Button,
    /// GPREGRET asks for it.
    Gpregret(u8),
}

/// Why the application cannot be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbootable {
    /// Bank 0 begins with erased flash.
    Erased,
    /// The settings say that bank 0 holds something else.
    Bank(BankCode),
    /// It is not what its CRC says.
    Crc {
        /// The stored one.
        expected: u16,
        /// Of what is there.
        found: u16,
    },
}

/// A complete boot.
pub type Boot = crate::boot::report::Boot<Outcome, Decision>;

/// A turn that a boot took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The MBR has put a new bootloader in place.
    BootloaderReplaced {
        /// Bytes of it.
        bytes: u32,
    },
    /// A SoftDevice or a bootloader is to be put into its place.
    Install {
        /// What bank 0 holds.
        bank_0: BankCode,
        /// What bank 1 holds.
        bank_1: BankCode,
    },
    /// All of it is in place.
    InPlace,
    /// A SoftDevice is copied.
    CopySoftdevice {
        /// From here.
        from: u32,
        /// To here.
        to: u32,
        /// Bytes.
        bytes: u32,
    },
    /// The old SoftDevice is made invalid before a larger one is put over it.
    OldSoftdeviceCleared,
    /// The MBR is asked to replace the bootloader.
    CopyAsked {
        /// Where the new one lies.
        source: u32,
        /// Bytes of it.
        bytes: u32,
    },
    /// The settings say that nothing is to be installed any more.
    Finalized,
    /// GPREGRET says that DFU mode is to be left out.
    Skipped,
    /// The stored CRC is 0: the application is started unchecked.
    NotChecked,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ble => "over Bluetooth LE",
            Self::Serial => "over a serial line",
        })
    }
}

impl fmt::Display for DfuReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoApplication(why) => write!(f, "no application can be started: {why}"),
            Self::Button => f.write_str("the button is held"),
            Self::Gpregret(value) => write!(f, "GPREGRET is {value:#04x}"),
        }
    }
}

impl fmt::Display for Unbootable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Erased => f.write_str("bank 0 begins with erased flash"),
            Self::Bank(code) => write!(f, "bank 0 holds {code}"),
            Self::Crc { expected, found } => write!(f, "its CRC is {found:#06x}, and {expected:#06x} is stored"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { start, size, checked, .. } => {
                let checked = if *checked { "its CRC is right" } else { "unchecked" };
                write!(f, "the application at {start:#x} is started: {size:#x} bytes, {checked}")
            }
            Self::DfuMode { reason, transport, timeout_us } => {
                write!(f, "DFU mode {transport} for {} s without an upload: {reason}", timeout_us / 1_000_000)
            }
            Self::Reset => f.write_str("the device resets"),
            Self::Fault { reason } => write!(f, "the bootloader stops and resets for ever: {reason}"),
            Self::Brick { reason } => write!(f, "nothing runs: {reason}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BootloaderReplaced { bytes } => {
                write!(f, "the MBR puts a new bootloader of {bytes:#x} bytes in place")
            }
            Self::Install { bank_0, bank_1: BankCode::Bootloader } => {
                write!(f, "bank 0 holds {bank_0}, and there is a bootloader to install")
            }
            Self::Install { bank_0, .. } => write!(f, "bank 0 holds {bank_0}"),
            Self::InPlace => f.write_str("it is in place"),
            Self::CopySoftdevice { from, to, bytes } => {
                write!(f, "{bytes:#x} bytes of a SoftDevice are copied from {from:#x} to {to:#x}")
            }
            Self::OldSoftdeviceCleared => f.write_str("the old SoftDevice is made invalid"),
            Self::CopyAsked { source, bytes } => {
                write!(f, "the MBR is asked to copy a bootloader of {bytes:#x} bytes from {source:#x}")
            }
            Self::Finalized => f.write_str("the settings say that it is done"),
            Self::Skipped => f.write_str("GPREGRET says that DFU mode is to be left out"),
            Self::NotChecked => f.write_str("the stored CRC is 0: the application is not checked"),
        }
    }
}
