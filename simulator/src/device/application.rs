//! What the application in an image does.

use crate::smp::{Refused, SmpError};

/// How an application behaves once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behaviour {
    /// Serves requests; an unconfirmed image waits for the initiator to confirm it.
    #[default]
    WaitsToBeConfirmed,
    /// Serves requests and confirms itself after this time in microseconds.
    ConfirmsItself {
        /// From the start of the image.
        after_us: u64,
    },
    /// Serves requests, refuses to be confirmed (its self-test failed) and resets after this time.
    NeverConfirms {
        /// From the start of the image, in microseconds.
        resets_after_us: u64,
    },
    /// Crashes before it serves anything, and is reset.
    Crashes {
        /// From the start of the image, in microseconds.
        after_us: u64,
    },
    /// Hangs before it serves anything, until the watchdog resets it.
    Hangs {
        /// Period of the watchdog in microseconds.
        watchdog_us: u64,
    },
}

impl Behaviour {
    /// Whether requests are served at all.
    #[must_use]
    pub fn serves(self) -> bool {
        !matches!(self, Self::Crashes { .. } | Self::Hangs { .. })
    }

    pub(super) fn refuses_confirm(self) -> Option<Refused> {
        matches!(self, Self::NeverConfirms { .. }).then_some(Refused { rc: SmpError::AccessDenied as u16 })
    }
}

/// The image that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningImage {
    /// The hash in its TLV area; `None` when it has none.
    pub hash: Option<[u8; 32]>,
    /// Its version, as its format writes it.
    pub version: String,
    /// What it does.
    pub behaviour: Behaviour,
}
