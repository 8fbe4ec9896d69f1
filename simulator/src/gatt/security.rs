//! How well a link is protected, and how pairing gets there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How well a link is protected (LE security mode 1, levels 1 to 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// Encrypted; who is at the other end is not known (Just Works).
    Encrypted,
    /// Encrypted, and both ends are known (passkey), by legacy pairing.
    Authenticated,
    /// The same by LE Secure Connections.
    SecureConnections,
}

/// What a side can show and ask its user (Core specification, volume 3, part H, 2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum IoCapability {
    /// A display.
    DisplayOnly,
    /// A display and two buttons.
    DisplayYesNo,
    /// A keyboard.
    KeyboardOnly,
    /// Nothing: Just Works.
    #[default]
    NoInputNoOutput,
    /// A keyboard and a display.
    KeyboardDisplay,
}

/// What the user of the central is asked during a pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairingAsk {
    /// Enter the passkey that the peripheral shows.
    EnterPasskey,
    /// This passkey is to be entered at the peripheral.
    ShowPasskey(u32),
    /// Whether the peripheral shows the same number.
    Compare(u32),
}

/// What the user of the central answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairingAnswer {
    /// The passkey.
    Passkey(u32),
    /// The numbers are the same.
    Same,
    /// No, or nothing: the pairing is over.
    Refused,
}

/// Why a pairing has failed (Core specification, volume 3, part H, 3.5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PairingFailure {
    /// The passkey was not entered, or the user said no.
    PasskeyEntryFailed,
    /// The pairing cannot be as safe as is demanded.
    AuthenticationRequirements,
    /// The confirm value does not match: a wrong passkey.
    ConfirmValueFailed,
    /// The peripheral does not pair.
    PairingNotSupported,
    /// Not said.
    UnspecifiedReason,
    /// The numbers differ.
    NumericComparisonFailed,
    /// The connection has ended.
    Disconnected,
}

impl PairingFailure {
    /// Its words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::PasskeyEntryFailed => "passkey entry failed",
            Self::AuthenticationRequirements => "authentication requirements",
            Self::ConfirmValueFailed => "confirm value failed",
            Self::PairingNotSupported => "pairing not supported",
            Self::UnspecifiedReason => "unspecified reason",
            Self::NumericComparisonFailed => "numeric comparison failed",
            Self::Disconnected => "the connection has ended",
        }
    }
}
