//! What a boot did, in words.

use std::fmt;

use super::run::reason;
use super::{Decision, Outcome, Unbootable};

/// The name of a reset reason.
#[must_use]
pub fn reason_name(number: u16) -> &'static str {
    match number {
        reason::UNKNOWN => "UNKNOWN",
        reason::GO => "GO",
        reason::BOOTLOAD => "BOOTLOAD",
        reason::BADIMAGE => "BADIMAGE",
        reason::FATAL => "FATAL",
        reason::FORCE => "FORCE",
        reason::BADAPP => "BADAPP",
        reason::UPGRADE => "UPGRADE",
        _ => "another reason",
    }
}

impl fmt::Display for Unbootable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgramCounter => f.write_str("it has no program counter: it is erased, or not whole"),
            Self::StackPointer(address) => write!(f, "its stack pointer {address:#x} is outside of the RAM"),
            Self::ProgramCounter(address) => {
                write!(f, "its program counter {address:#x} is outside of the flash for applications")
            }
            Self::NoProperties => f.write_str("it has no properties, and secure boot wants some"),
            Self::PropertiesVersion(version) => {
                write!(f, "its properties are of version {version:#x}, which is not known")
            }
            Self::Crc => f.write_str("its CRC-32 is wrong"),
            Self::Certificate => f.write_str("its certificate is missing, too old, or wrong"),
            Self::NoSignature => f.write_str("its signature is missing, or not where it can be"),
            Self::Signature => f.write_str("its signature is wrong"),
            Self::Version(version) => {
                write!(
                    f,
                    "its version {version} is lower than one that was started, or there is no room to remember it"
                )
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Application => f.write_str("the application is started"),
            Self::AppLoader => f.write_str("the AppLoader waits for an update"),
            Self::Reset { reason } => write!(f, "the device resets: {}", reason_name(*reason)),
            Self::Halted { reason } => write!(f, "the device does nothing until it is reset from outside: {reason}"),
            Self::Fault { reason } => write!(f, "the processor takes a fault, and resets for ever: {reason}"),
            Self::Brick { reason } => write!(f, "nothing runs: {reason}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CopiesBootloader { size } => write!(f, "a new bootloader of {size:#x} bytes is put into its place"),
            Self::Asked { reason } => write!(f, "the bootloader is asked for: {}", reason_name(*reason)),
            Self::Unbootable(why) => write!(f, "no application can be started: {why}"),
            Self::Verified { slot, good: true, .. } => write!(f, "slot {slot} is verified"),
            Self::Verified { slot, code: Some(code), .. } => write!(f, "slot {slot} is refused: {code}"),
            Self::Verified { slot, code: None, .. } => write!(f, "slot {slot} has no whole file"),
            Self::PutAside { slot, result: Ok(()) } => write!(f, "the bootloader of slot {slot} is put aside"),
            Self::PutAside { slot, result: Err(code) } => {
                write!(f, "the bootloader of slot {slot} cannot be put aside: {code}")
            }
            Self::Installed { slot, result: Ok(()) } => write!(f, "the application of slot {slot} is installed"),
            Self::Installed { slot, result: Err(code) } => {
                write!(f, "the application of slot {slot} cannot be installed, and the old one is gone: {code}")
            }
        }
    }
}
