//! Records of links, and of what goes over a Bluetooth LE link.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::Direction;
use crate::gatt::{ConnectionParameters, Security};

/// The link changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum LinkEvent {
    /// The target can be reached.
    Up,
    /// The target cannot be reached.
    Down {
        /// Why.
        reason: String,
    },
    /// A central has connected.
    Connected {
        /// Number of the connection, from 1.
        connection: u64,
        /// Which central, a number chosen by the air.
        central: u64,
        /// Whether the target puts fragments together, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reassembly: Option<bool>,
        /// Parameters of the connection.
        parameters: ConnectionParameters,
        /// The address under which the target was found, where that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        address: Option<String>,
    },
    /// A central has tried to connect and could not.
    Unreachable {
        /// Which central.
        central: u64,
        /// Why.
        reason: String,
    },
    /// A connection has ended; the target may have lost it earlier.
    Disconnected {
        /// Number of the connection.
        connection: u64,
        /// Who ended it.
        by: EndedBy,
        /// Error code of the controller: 0x08 timeout, 0x13 the other end has ended it.
        reason: u8,
    },
    /// The ATT MTU was exchanged.
    Mtu {
        /// Number of the connection.
        connection: u64,
        /// What the central asked for.
        asked: u16,
        /// What is in force.
        mtu: u16,
    },
    /// The link is protected from now on.
    Security {
        /// Number of the connection.
        connection: u64,
        /// How well.
        level: Security,
        /// Whether keys of an earlier pairing were used.
        with_kept_keys: bool,
    },
    /// Pairing begins.
    Pairing {
        /// Number of the connection.
        connection: u64,
        /// How: `just-works`, `passkey-entry`, `passkey-display` (the central shows it) or `numeric-comparison`.
        method: String,
        /// Whether by LE Secure Connections.
        secure_connections: bool,
    },
    /// Pairing has failed.
    PairingFailed {
        /// Number of the connection.
        connection: u64,
        /// Why.
        reason: String,
    },
    /// The target asks for other parameters of the connection.
    ParametersAsked {
        /// Number of the connection.
        connection: u64,
        /// What it asks for.
        wanted: ConnectionParameters,
    },
    /// The central has answered.
    ParametersAnswered {
        /// Number of the connection.
        connection: u64,
        /// Whether the parameters are in force now.
        accepted: bool,
        /// What was asked for.
        wanted: ConnectionParameters,
    },
}

impl LinkEvent {
    /// The connection it is about.
    #[must_use]
    pub fn connection(&self) -> Option<u64> {
        match self {
            Self::Up | Self::Down { .. } | Self::Unreachable { .. } => None,
            Self::Connected { connection, .. }
            | Self::Disconnected { connection, .. }
            | Self::Mtu { connection, .. }
            | Self::Security { connection, .. }
            | Self::Pairing { connection, .. }
            | Self::PairingFailed { connection, .. }
            | Self::ParametersAsked { connection, .. }
            | Self::ParametersAnswered { connection, .. } => Some(*connection),
        }
    }
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The central.
    Central,
    /// The target, politely.
    Target,
    /// The supervision timeout: nothing was heard any more.
    Timeout,
}

/// A packet of the Attribute Protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttRecord {
    /// Number of the connection.
    pub connection: u64,
    /// Which way.
    pub direction: Direction,
    /// Its opcode.
    pub opcode: u8,
    /// The opcode in words.
    pub name: String,
    /// The attribute.
    pub handle: u16,
    /// UUID of characteristic or descriptor, where the handle belongs to one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uuid: Option<String>,
    /// UUID of the characteristic that the descriptor belongs to, where the handle is one of a descriptor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub characteristic: Option<String>,
    /// Length of the value in bytes.
    pub len: u64,
    /// The value in hexadecimal, up to 514 bytes of it.
    pub value: String,
    /// ATT MTU in force.
    pub mtu: u16,
    /// Protection of the link.
    pub security: Security,
    /// The error with which it was answered; a command is not answered, and fails silently.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<u8>,
    /// Why it was lost, if it was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<String>,
}

/// Notifications were switched on or off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CccdRecord {
    /// Number of the connection.
    pub connection: u64,
    /// UUID of the characteristic.
    pub uuid: String,
    /// Whether they are on.
    pub notifications: bool,
    /// Whether indications are on.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub indications: bool,
    /// What switched them: `written`, `restored` with kept keys, or `disconnected`.
    pub by: String,
}
