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

/// How a pairing finds out who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Not at all.
    JustWorks,
    /// The passkey is entered at the central.
    EnterPasskey,
    /// The central shows the passkey, and it is entered at the peripheral.
    ShowPasskey,
    /// Both show a number, and both users say whether it is the same.
    Compare,
}

impl Method {
    /// The method of two sides (Core specification, volume 3, part H, 2.3.5.1, tables 2.6 and 2.8).
    ///
    /// `protected`: one of them demands protection against somebody in the middle. `secure_connections`: both know
    /// LE Secure Connections.
    #[must_use]
    pub fn of(central: IoCapability, peripheral: IoCapability, protected: bool, secure_connections: bool) -> Self {
        use IoCapability::{DisplayOnly, DisplayYesNo, KeyboardDisplay, KeyboardOnly, NoInputNoOutput};
        let compare_or = |other| if secure_connections { Self::Compare } else { other };
        if !protected {
            return Self::JustWorks;
        }
        match (central, peripheral) {
            (NoInputNoOutput, _) | (_, NoInputNoOutput) => Self::JustWorks,
            (DisplayOnly, DisplayOnly | DisplayYesNo) | (DisplayYesNo, DisplayOnly) => Self::JustWorks,
            (DisplayYesNo, DisplayYesNo) => compare_or(Self::JustWorks),
            (KeyboardOnly, _) | (KeyboardDisplay, DisplayOnly) => Self::EnterPasskey,
            (KeyboardDisplay, DisplayYesNo) => compare_or(Self::EnterPasskey),
            (DisplayOnly, KeyboardOnly | KeyboardDisplay) | (DisplayYesNo | KeyboardDisplay, KeyboardOnly) => {
                Self::ShowPasskey
            }
            (DisplayYesNo | KeyboardDisplay, KeyboardDisplay) => compare_or(Self::ShowPasskey),
        }
    }

    /// How well a link is protected by it.
    #[must_use]
    pub fn level(self, secure_connections: bool) -> Security {
        match self {
            Self::JustWorks => Security::Encrypted,
            _ if secure_connections => Security::SecureConnections,
            _ => Security::Authenticated,
        }
    }

    /// Its name in the trace.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JustWorks => "just-works",
            Self::EnterPasskey => "passkey-entry",
            Self::ShowPasskey => "passkey-display",
            Self::Compare => "numeric-comparison",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_those_of_the_table() {
        use IoCapability::{DisplayOnly, DisplayYesNo, KeyboardDisplay, KeyboardOnly, NoInputNoOutput};
        // Rows are peripherals, columns centrals: legacy, then LE Secure Connections.
        let all = [DisplayOnly, DisplayYesNo, KeyboardOnly, NoInputNoOutput, KeyboardDisplay];
        let table = ["jjejE jjejE", "jjejE jcejC", "ssejS ssejS", "jjjjj jjjjj", "ssejS scejC"];
        for (peripheral, row) in all.into_iter().zip(table) {
            for (secure, half) in [false, true].into_iter().zip(row.split(' ')) {
                for (central, expected) in all.into_iter().zip(half.chars()) {
                    let method = Method::of(central, peripheral, true, secure);
                    let expected = match expected.to_ascii_lowercase() {
                        'j' => Method::JustWorks,
                        'e' => Method::EnterPasskey,
                        's' => Method::ShowPasskey,
                        _ => Method::Compare,
                    };
                    assert_eq!(method, expected, "{central:?} with {peripheral:?}, {secure}");
                    assert_eq!(Method::of(central, peripheral, false, secure), Method::JustWorks);
                }
            }
        }
        assert_eq!(Method::Compare.level(true), Security::SecureConnections);
        assert_eq!(Method::EnterPasskey.level(false), Security::Authenticated);
        assert_eq!(Method::JustWorks.level(true), Security::Encrypted);
    }
}
