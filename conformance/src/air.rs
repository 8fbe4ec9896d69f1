//! The airs that can be chosen, and what each can show.

use std::fmt;
use std::str::FromStr;

/// What a scenario may need, of the air or of the initiator.
///
/// `serial-recovery`: the target has MCUboot's serial recovery, and the air reaches it.
pub const CAPABILITIES: [&str; 4] = ["smp", "reboot", "silent-loss", SERIAL_RECOVERY];

/// See [`CAPABILITIES`].
pub const SERIAL_RECOVERY: &str = "serial-recovery";

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Air {
    /// Function calls on virtual time; for the built-in initiator.
    InProcess,
    /// SMP over UDP, port 1337.
    Udp,
    /// SMP over a serial port, with console framing: a pty.
    Serial,
}

impl Air {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InProcess, Self::Udp, Self::Serial];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Udp => "udp",
            Self::Serial => "serial",
        }
    }

    /// Whether the air can show this.
    #[must_use]
    pub fn can(self, capability: &str) -> bool {
        match self {
            Self::InProcess | Self::Serial => CAPABILITIES.contains(&capability),
            Self::Udp => CAPABILITIES.contains(&capability) && capability != SERIAL_RECOVERY,
        }
    }
}

impl fmt::Display for Air {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Air {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|air| air.name() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|air| air.name()).collect();
            format!("no air is called `{text}`: one of {}", names.join(", "))
        })
    }
}
