//! The airs that can be chosen, and what each can show.

use std::fmt;
use std::str::FromStr;

/// What a scenario may need, of the air or of the initiator.
pub const CAPABILITIES: [&str; 3] = ["smp", "reboot", "silent-loss"];

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Air {
    /// Function calls on virtual time; for the built-in initiator.
    InProcess,
    /// SMP over UDP, port 1337.
    Udp,
}

impl Air {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::InProcess, Self::Udp];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InProcess => "in-process",
            Self::Udp => "udp",
        }
    }

    /// Whether the air can show this.
    #[must_use]
    pub fn can(self, capability: &str) -> bool {
        match self {
            Self::InProcess | Self::Udp => CAPABILITIES.contains(&capability),
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
