//! What a central does over a link, and what it is told.
//!
//! Requests of the Attribute Protocol are sequential: a central puts the next one ([`CentralAction::ExchangeMtu`],
//! [`CentralAction::Discover`], [`CentralAction::Read`], [`CentralAction::Write`] other than a command) in when the
//! one before is answered, or its connection has ended.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::security::{IoCapability, PairingAnswer, PairingAsk, PairingFailure, Security};
use super::table::Table;
use crate::trace::EndedBy;

/// Opcodes of the Attribute Protocol (Core specification, volume 3, part F).
pub mod opcode {
    /// Error response.
    pub const ERROR_RESPONSE: u8 = 0x01;
    /// Exchange MTU request.
    pub const MTU_REQUEST: u8 = 0x02;
    /// Find by type value request: a search for a service.
    pub const FIND_BY_TYPE_VALUE_REQUEST: u8 = 0x06;
    /// Read request.
    pub const READ_REQUEST: u8 = 0x0a;
    /// Read response: the value.
    pub const READ_RESPONSE: u8 = 0x0b;
    /// Read blob request: a read from an offset.
    pub const READ_BLOB_REQUEST: u8 = 0x0c;
    /// Read by group type request: the discovery of all services.
    pub const READ_BY_GROUP_TYPE_REQUEST: u8 = 0x10;
    /// Write request.
    pub const WRITE_REQUEST: u8 = 0x12;
    /// Write response.
    pub const WRITE_RESPONSE: u8 = 0x13;
    /// Prepare write request, a piece of a long write.
    pub const PREPARE_WRITE_REQUEST: u8 = 0x16;
    /// Execute write request, the end of a long write.
    pub const EXECUTE_WRITE_REQUEST: u8 = 0x18;
    /// Notification.
    pub const NOTIFICATION: u8 = 0x1b;
    /// Indication.
    pub const INDICATION: u8 = 0x1d;
    /// Confirmation of an indication.
    pub const CONFIRMATION: u8 = 0x1e;
    /// Write command.
    pub const WRITE_COMMAND: u8 = 0x52;

    /// Its name in the trace.
    #[must_use]
    pub fn name(opcode: u8) -> &'static str {
        match opcode {
            ERROR_RESPONSE => "error-response",
            MTU_REQUEST => "exchange-mtu-request",
            FIND_BY_TYPE_VALUE_REQUEST => "find-by-type-value-request",
            READ_REQUEST => "read-request",
            READ_RESPONSE => "read-response",
            READ_BLOB_REQUEST => "read-blob-request",
            READ_BY_GROUP_TYPE_REQUEST => "read-by-group-type-request",
            WRITE_REQUEST => "write-request",
            WRITE_RESPONSE => "write-response",
            PREPARE_WRITE_REQUEST => "prepare-write-request",
            EXECUTE_WRITE_REQUEST => "execute-write-request",
            NOTIFICATION => "notification",
            INDICATION => "indication",
            CONFIRMATION => "confirmation",
            WRITE_COMMAND => "write-command",
            _ => "other",
        }
    }
}

/// An error of the Attribute Protocol: its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttError(pub u8);

impl AttError {
    /// There is no attribute with this handle.
    pub const INVALID_HANDLE: Self = Self(0x01);
    /// The attribute cannot be read.
    pub const READ_NOT_PERMITTED: Self = Self(0x02);
    /// The attribute cannot be written this way.
    pub const WRITE_NOT_PERMITTED: Self = Self(0x03);
    /// The link must be authenticated first.
    pub const INSUFFICIENT_AUTHENTICATION: Self = Self(0x05);
    /// The server does not know the request.
    pub const REQUEST_NOT_SUPPORTED: Self = Self(0x06);
    /// The offset is behind the end.
    pub const INVALID_OFFSET: Self = Self(0x07);
    /// The value has the wrong length.
    pub const INVALID_LENGTH: Self = Self(0x0d);
    /// The link must be encrypted first.
    pub const INSUFFICIENT_ENCRYPTION: Self = Self(0x0f);

    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    /// Whether pairing is the remedy.
    #[must_use]
    pub fn is_security(self) -> bool {
        [Self::INSUFFICIENT_AUTHENTICATION, Self::INSUFFICIENT_ENCRYPTION].contains(&self)
    }
}

/// Parameters of a connection, in the units of the Core specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionParameters {
    /// Smallest interval in units of 1.25 ms.
    pub interval_min: u16,
    /// Largest interval in units of 1.25 ms.
    pub interval_max: u16,
    /// Connection events that the target may skip.
    pub latency: u16,
    /// Supervision timeout in units of 10 ms.
    pub timeout: u16,
}

impl ConnectionParameters {
    /// What a target asks for while it serves SMP (`CONFIG_MCUMGR_TRANSPORT_BT_CONN_PARAM_CONTROL`).
    pub const FAST: Self = Self { interval_min: 6, interval_max: 9, latency: 0, timeout: 42 };
    /// What it asks for afterwards (`CONFIG_BT_PERIPHERAL_PREF_*`).
    pub const PREFERRED: Self = Self { interval_min: 24, interval_max: 40, latency: 0, timeout: 42 };

    /// From one connection event that the target must listen at to the next, in microseconds.
    #[must_use]
    pub fn longest_silence_us(self) -> u64 {
        u64::from(self.interval_max) * 1250 * (1 + u64::from(self.latency))
    }

    /// The supervision timeout in microseconds.
    #[must_use]
    pub fn timeout_us(self) -> u64 {
        u64::from(self.timeout) * 10_000
    }
}

/// How an attribute is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteKind {
    /// Write request: answered.
    Request,
    /// Write command: not answered, whatever comes of it.
    Command,
    /// Prepare write requests and an execute write request: answered, once.
    Long,
}

/// What a central does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CentralAction {
    /// Connects.
    Connect,
    /// Disconnects, or gives up an attempt to connect.
    Disconnect,
    /// Asks for an ATT MTU.
    ExchangeMtu(u16),
    /// Looks for all services.
    Discover,
    /// Reads an attribute from an offset.
    Read {
        /// Which.
        handle: u16,
        /// From where.
        offset: u16,
    },
    /// Writes an attribute.
    Write {
        /// Which.
        handle: u16,
        /// The value.
        value: Vec<u8>,
        /// How.
        kind: WriteKind,
    },
    /// Pairs, or encrypts with the keys of an earlier pairing.
    Pair {
        /// What the central can show and ask.
        capability: IoCapability,
        /// The least that the central wants to reach.
        wanted: Security,
    },
    /// The user of the central answers.
    AnswerPairing(PairingAnswer),
    /// The central has thrown its keys away.
    ForgetKeys,
    /// The controllers have protected the link by themselves; for airs where pairing is theirs. Not answered.
    Secure {
        /// How well, at least.
        level: Security,
        /// Whether both sides keep the keys.
        bonded: bool,
    },
    /// Confirms an indication.
    Confirm,
    /// The central has lost the link, and nobody was told; for airs where time is the controllers'.
    Lose,
    /// Answers a request for other parameters.
    AnswerParameters {
        /// Whether it takes them.
        accept: bool,
    },
}

/// What a central is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GattEvent {
    /// It is connected.
    Connected,
    /// There is nothing to connect to.
    Unreachable,
    /// The connection has ended, with this error code of the controller.
    Disconnected {
        /// Who ended it.
        by: EndedBy,
        /// The code.
        reason: u8,
    },
    /// The ATT MTU in force.
    Mtu(u16),
    /// The attributes of the peripheral.
    Discovered(Arc<Table>),
    /// A value was read.
    Read {
        /// Which attribute.
        handle: u16,
        /// The value from the offset on, at most 512 bytes.
        value: Vec<u8>,
    },
    /// A write request, or a long write, was carried out.
    Written {
        /// Which attribute.
        handle: u16,
    },
    /// A request was refused.
    Error {
        /// Which attribute.
        handle: u16,
        /// Why.
        error: AttError,
    },
    /// A notification.
    Notification {
        /// Handle of the value.
        handle: u16,
        /// The value.
        value: Vec<u8>,
    },
    /// An indication, which [`CentralAction::Confirm`] answers.
    Indication {
        /// Handle of the value.
        handle: u16,
        /// The value.
        value: Vec<u8>,
    },
    /// The user of the central is asked.
    PairingAsks(PairingAsk),
    /// The link is protected.
    Secured {
        /// How well.
        level: Security,
        /// Whether both sides keep the keys.
        bonded: bool,
    },
    /// Pairing has failed.
    PairingFailed(PairingFailure),
    /// The target asks for other parameters.
    ParametersAsked(ConnectionParameters),
}
