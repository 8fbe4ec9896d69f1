//! What a boot did, and why.

use std::fmt;

use super::{BankCode, Refusal, SettingsSource, ValidationKind};

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The application was started, through the SoftDevice if there is one.
    Application {
        /// Where it begins.
        start: u32,
        /// Its size in bytes, as the settings say.
        size: u32,
        /// SHA-256 of that.
        hash: [u8; 32],
        /// Its version, as the settings say.
        version: u32,
    },
    /// The bootloader waits for an update.
    DfuMode {
        /// Why.
        reason: DfuReason,
        /// The device resets after this time without one, in microseconds; 0: never.
        timeout_us: u64,
    },
    /// The device resets and boots again: an update was activated, or the MBR is to copy a bootloader.
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

/// Why a bootloader is in DFU mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DfuReason {
    /// No application can be started.
    NoApplication(Unbootable),
    /// The button is held.
    Button,
    /// The device was reset by its pin.
    PinReset,
    /// GPREGRET asks for it.
    Gpregret(u8),
    /// The settings ask for it.
    Flag,
    /// A SoftDevice was activated, and an application is likely to follow.
    MoreExpected,
}

/// Why the application cannot be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbootable {
    /// Bank 0 holds none.
    Bank(BankCode),
    /// It must be checked by a signature, and is not.
    NotSigned,
    /// The SoftDevice is not what its boot validation says.
    Softdevice(Option<ValidationKind>),
    /// The application is not what its boot validation says.
    Application(Option<ValidationKind>),
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
    /// Where the settings come from; not told when both pages are valid.
    Settings(SettingsSource),
    /// An application has received an update; what came of checking it.
    FromApplication(Result<(), Refusal>),
    /// An update is activated.
    Activate {
        /// Which.
        code: BankCode,
        /// Where it lies.
        source: u32,
        /// Bytes that are already in place.
        done: u32,
    },
    /// An image was copied into place.
    Copied {
        /// From here.
        from: u32,
        /// To here.
        to: u32,
        /// Bytes.
        bytes: u32,
    },
    /// An image lies where it is to run.
    InPlace,
    /// The application is in place and valid.
    Activated {
        /// Its size in bytes.
        size: u32,
    },
    /// What was copied has another CRC than what was received: there is no application.
    CrcMismatch {
        /// Of what was received.
        expected: u32,
        /// Of what is in place.
        found: u32,
    },
    /// The bootloader area is what was received already.
    BootloaderInPlace,
    /// The MBR is asked to replace the bootloader.
    CopyAsked {
        /// Where the new one lies.
        source: u32,
        /// Bytes of it.
        bytes: u32,
    },
    /// The update cannot be activated, and is given up.
    GivenUp(String),
    /// CRCs are not checked this time.
    CrcSkipped,
    /// Peer data and name are removed before the application starts.
    AdditionalErased,
}

impl fmt::Display for DfuReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoApplication(why) => write!(f, "no application can be started: {why}"),
            Self::Button => f.write_str("the button is held"),
            Self::PinReset => f.write_str("the device was reset by its pin"),
            Self::Gpregret(value) => write!(f, "GPREGRET is {value:#04x}"),
            Self::Flag => f.write_str("the settings ask for it"),
            Self::MoreExpected => f.write_str("a SoftDevice was activated, and an application may follow"),
        }
    }
}

impl fmt::Display for Unbootable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |kind: &Option<ValidationKind>| kind.map_or("of an unknown kind".into(), |kind| kind.to_string());
        match self {
            Self::Bank(code) => write!(f, "bank 0 holds {code}"),
            Self::NotSigned => f.write_str("its boot validation must be a signature, and is not"),
            Self::Softdevice(of) => write!(f, "the SoftDevice is not what its boot validation says ({})", kind(of)),
            Self::Application(of) => write!(f, "it is not what its boot validation says ({})", kind(of)),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application { start, size, version, .. } => {
                write!(f, "the application at {start:#x} is started: version {version}, {size:#x} bytes")
            }
            Self::DfuMode { reason, timeout_us: 0 } => write!(f, "DFU mode: {reason}"),
            Self::DfuMode { reason, timeout_us } => {
                write!(f, "DFU mode for {} s without an upload: {reason}", timeout_us / 1_000_000)
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
            Self::Settings(SettingsSource::Page) => f.write_str("the settings have no valid backup: it is written"),
            Self::Settings(SettingsSource::Backup) => {
                f.write_str("the settings page is not valid: the backup is taken")
            }
            Self::Settings(SettingsSource::Nothing) => {
                f.write_str("neither the settings page nor its backup is valid: all settings are lost")
            }
            Self::Settings(SettingsSource::Both) => f.write_str("the settings and their backup are valid"),
            Self::FromApplication(Ok(())) => f.write_str("an update that the application received is accepted"),
            Self::FromApplication(Err(refusal)) => {
                write!(f, "an update that the application received is refused: {refusal}")
            }
            Self::Activate { code, source, done: 0 } => write!(f, "{code} at {source:#x} is to be activated"),
            Self::Activate { code, source, done } => {
                write!(f, "{code} at {source:#x} is to be activated; {done:#x} bytes are in place already")
            }
            Self::Copied { from, to, bytes } => write!(f, "{bytes:#x} bytes are copied from {from:#x} to {to:#x}"),
            Self::InPlace => f.write_str("it lies where it is to run"),
            Self::Activated { size } => write!(f, "the application of {size:#x} bytes is valid"),
            Self::CrcMismatch { expected, found } => write!(
                f,
                "what is in place has CRC {found:#010x}, what was received had {expected:#010x}: no application is valid"
            ),
            Self::BootloaderInPlace => f.write_str("the bootloader is in place"),
            Self::CopyAsked { source, bytes } => {
                write!(f, "the MBR is asked to copy a bootloader of {bytes:#x} bytes from {source:#x}")
            }
            Self::GivenUp(reason) => write!(f, "the update is given up: {reason}"),
            Self::CrcSkipped => f.write_str("CRCs are not checked this time"),
            Self::AdditionalErased => f.write_str("peer data and name are removed from the settings"),
        }
    }
}
