//! SMP over GATT (zephyr: `subsys/mgmt/mcumgr/transport/src/smp_bt.c`, `smp_reassembly.c`).
//!
//! One service with one characteristic: requests are written to it without a response, answers are
//! notified. A request larger than a write comes in fragments; the length in its header is the only
//! mark of where it ends.
//!
//! | the server is | what is written | what happens |
//! |---|---|---|
//! | idle | fewer than 8 bytes | discarded |
//! | idle | 8 bytes or more, and the header announces more than a buffer holds | discarded |
//! | idle | 8 bytes or more | kept; handled once everything announced is there |
//! | collecting | no more than is missing | kept; handled once nothing is missing |
//! | collecting | more than is missing | discarded with everything that was collected |
//! | collecting | nothing, however long | goes on collecting: there is no timeout |
//! | any | notifications are switched off | what was collected is dropped |
//!
//! What is collected belongs to the server and not to a connection: fragments of two centrals end up in
//! one packet. Without reassembly (`CONFIG_MCUMGR_TRANSPORT_BT_REASSEMBLY=n`) every write is a packet.
//!
//! Nothing here knows a clock, a link or a device: [`GattTransport`] is what the server keeps for all
//! connections, [`GattConnection`] what it keeps for one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, HEADER_LEN};

/// The SMP service.
pub const SERVICE_UUID: &str = "8d53dc1d-1db7-4cd3-868b-8a527460aa84";
/// Its characteristic: write without response, notify.
pub const CHARACTERISTIC_UUID: &str = "da2e7828-fbce-4e01-ae9e-261174997c48";
/// The descriptor that switches notifications on (Client Characteristic Configuration).
pub const CCC_UUID: &str = "00002902-0000-1000-8000-00805f9b34fb";
/// Smallest ATT MTU, in force on every new connection.
pub const MTU_MIN: u16 = 23;
/// Largest ATT MTU that is agreed to here: an attribute has at most 512 bytes.
pub const MTU_MAX: u16 = 517;
/// Bytes of a write or a notification that are not value: opcode and handle.
pub const ATT_OVERHEAD: u16 = 3;

/// Opcodes of the Attribute Protocol (Core specification, volume 3, part F).
pub mod opcode {
    /// Error response.
    pub const ERROR_RESPONSE: u8 = 0x01;
    /// Exchange MTU request.
    pub const MTU_REQUEST: u8 = 0x02;
    /// Find by type value request: a search for a service.
    pub const FIND_BY_TYPE_VALUE_REQUEST: u8 = 0x06;
    /// Write request.
    pub const WRITE_REQUEST: u8 = 0x12;
    /// Prepare write request, a piece of a long write.
    pub const PREPARE_WRITE_REQUEST: u8 = 0x16;
    /// Execute write request, the end of a long write.
    pub const EXECUTE_WRITE_REQUEST: u8 = 0x18;
    /// Notification.
    pub const NOTIFICATION: u8 = 0x1b;
    /// Write command.
    pub const WRITE_COMMAND: u8 = 0x52;

    /// Its name in the trace.
    #[must_use]
    pub fn name(opcode: u8) -> &'static str {
        match opcode {
            ERROR_RESPONSE => "error-response",
            MTU_REQUEST => "exchange-mtu-request",
            FIND_BY_TYPE_VALUE_REQUEST => "find-by-type-value-request",
            WRITE_REQUEST => "write-request",
            PREPARE_WRITE_REQUEST => "prepare-write-request",
            EXECUTE_WRITE_REQUEST => "execute-write-request",
            NOTIFICATION => "notification",
            WRITE_COMMAND => "write-command",
            _ => "other",
        }
    }
}

/// Errors of the Attribute Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AttError {
    /// There is no attribute with this handle.
    InvalidHandle = 0x01,
    /// The attribute cannot be written this way.
    WriteNotPermitted = 0x03,
    /// The link must be authenticated first.
    InsufficientAuthentication = 0x05,
    /// The server does not know the request.
    RequestNotSupported = 0x06,
    /// The value has the wrong length.
    InvalidLength = 0x0d,
    /// The link must be encrypted first.
    InsufficientEncryption = 0x0f,
}

impl AttError {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Whether pairing is the remedy.
    #[must_use]
    pub fn is_security(self) -> bool {
        matches!(self, Self::InsufficientAuthentication | Self::InsufficientEncryption)
    }
}

/// How well a link is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// Encrypted; who is at the other end is not known (Just Works).
    Encrypted,
    /// Encrypted, and both ends are known (passkey).
    Authenticated,
}

/// How the target can be paired with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// Not at all.
    Refused,
    /// Without protection against somebody in the middle.
    JustWorks,
    /// With a passkey, if the central has one to give.
    Passkey,
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

    /// The supervision timeout in microseconds.
    #[must_use]
    pub fn timeout_us(self) -> u64 {
        u64::from(self.timeout) * 10_000
    }
}

/// How the transport, and what of the Bluetooth stack it depends on, was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GattConfig {
    /// Whether fragments are put together (`CONFIG_MCUMGR_TRANSPORT_BT_REASSEMBLY`).
    pub reassembly: bool,
    /// Largest ATT MTU that the target agrees to.
    pub mtu: u16,
    /// What a link needs before the characteristic and its descriptor can be written
    /// (`CONFIG_MCUMGR_TRANSPORT_BT_PERM_*`).
    pub access: Security,
    /// The error of a link that lacks it; `None` is as the Core specification has it.
    pub refusal: Option<AttError>,
    /// How the target can be paired with.
    pub pairing: Pairing,
    /// Whether keys, and notifications with them, are kept for the next connection.
    pub bonding: bool,
    /// Connections at the same time (`CONFIG_BT_MAX_CONN`).
    pub connections: u8,
    /// Parameters that the central chooses at first.
    pub parameters: ConnectionParameters,
    /// Whether other parameters are asked for with the first write
    /// (`CONFIG_MCUMGR_TRANSPORT_BT_CONN_PARAM_CONTROL`).
    pub parameter_update: bool,
    /// Whether a reset by command ends connections politely; otherwise the target just falls silent, as
    /// Zephyr's does.
    pub goodbye: bool,
    /// Whether a half-collected packet outlives the connection it came on even when nobody else has
    /// notifications switched on. In Zephyr the stack switches them off then, which drops it.
    pub keeps_fragments: bool,
    /// Whether every image has its attributes at other handles.
    pub moving_handles: bool,
}

impl Default for GattConfig {
    fn default() -> Self {
        Self {
            reassembly: true,
            mtu: 498,
            access: Security::Plain,
            refusal: None,
            pairing: Pairing::JustWorks,
            bonding: true,
            connections: 1,
            parameters: ConnectionParameters::PREFERRED,
            parameter_update: false,
            goodbye: false,
            keeps_fragments: false,
            moving_handles: false,
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// A packet is complete.
    Packet(Vec<u8>),
    /// This many bytes are missing.
    Fragment {
        /// Bytes.
        missing: usize,
    },
    /// Discarded; the central does not learn of it.
    Discarded {
        /// What was lost and why.
        why: String,
    },
}

/// What the server keeps for all connections together.
#[derive(Debug, Clone, Default)]
pub struct GattTransport {
    collected: Vec<u8>,
    missing: usize,
}

impl GattTransport {
    /// Whether a packet is being collected; it occupies a packet buffer.
    #[must_use]
    pub fn is_collecting(&self) -> bool {
        self.missing > 0
    }

    /// Takes a written value; `buffer_size` is that of a packet buffer, `buffer_free` whether there is one.
    pub fn write(&mut self, config: &GattConfig, buffer_size: usize, buffer_free: bool, value: &[u8]) -> Received {
        if !config.reassembly {
            return Received::Packet(value.to_vec());
        }
        if self.is_collecting() {
            if value.len() > self.missing {
                let why = format!(
                    "a fragment of {} bytes where {} were missing, and the {} bytes before it",
                    value.len(),
                    self.missing,
                    self.collected.len()
                );
                self.clear();
                return Received::Discarded { why };
            }
            self.missing -= value.len();
            self.collected.extend_from_slice(value);
        } else {
            let Ok((_, announced)) = Frame::parse_header(value) else {
                return Received::Discarded { why: format!("a first fragment of {} bytes", value.len()) };
            };
            let expected = HEADER_LEN + usize::from(announced);
            if expected > buffer_size {
                return Received::Discarded { why: format!("the first fragment of a packet of {expected} bytes") };
            }
            if !buffer_free {
                return Received::Discarded { why: "a first fragment: no packet buffer is free".into() };
            }
            if value.len() > expected {
                return Received::Discarded {
                    why: format!("a fragment of {} bytes that announces a packet of {expected}", value.len()),
                };
            }
            self.collected = value.to_vec();
            self.missing = expected - value.len();
        }
        if self.is_collecting() {
            Received::Fragment { missing: self.missing }
        } else {
            Received::Packet(std::mem::take(&mut self.collected))
        }
    }

    /// Forgets what was collected.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What the server keeps for one connection.
#[derive(Debug, Clone)]
pub struct GattConnection {
    /// The ATT MTU in force.
    pub mtu: u16,
    /// Whether notifications are switched on.
    pub notifications: bool,
    /// How well the link is protected.
    pub security: Security,
    /// Whether target and central have kept keys from an earlier pairing.
    pub bonded: bool,
    mtu_exchanged: bool,
}

impl GattConnection {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(bonded: bool) -> Self {
        Self { mtu: MTU_MIN, notifications: false, security: Security::Plain, bonded, mtu_exchanged: false }
    }

    /// The central asks for an MTU; the one in force from now on. It can be exchanged once.
    pub fn exchange_mtu(&mut self, config: &GattConfig, asked: u16) -> u16 {
        if !std::mem::replace(&mut self.mtu_exchanged, true) {
            self.mtu = asked.min(config.mtu).clamp(MTU_MIN, MTU_MAX);
        }
        self.mtu
    }

    /// Longest value of a write or a notification, in bytes.
    #[must_use]
    pub fn value_max(&self) -> usize {
        usize::from(self.mtu - ATT_OVERHEAD)
    }

    /// Whether characteristic and descriptor may be written.
    ///
    /// # Errors
    /// The error of the answer. Core specification, volume 3, part C, 10.3.1: 0x0f where keys are there
    /// and only encryption is missing, otherwise 0x05; stacks differ, so a target may insist on one.
    pub fn permits(&self, config: &GattConfig) -> Result<(), AttError> {
        if self.security >= config.access {
            return Ok(());
        }
        let only_encryption = self.bonded && self.security == Security::Plain;
        Err(match config.refusal {
            Some(error) => error,
            None if only_encryption && config.access == Security::Encrypted => AttError::InsufficientEncryption,
            None => AttError::InsufficientAuthentication,
        })
    }

    /// An answer in the pieces in which it is notified.
    pub fn pieces<'a>(&self, packet: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        packet.chunks(self.value_max())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUFFER: usize = 64;

    /// A packet with this many bytes of payload.
    fn packet(len: u8) -> Vec<u8> {
        let mut packet = vec![0x0a, 0, 0, len, 0, 1, 7, 1];
        packet.extend((0..len).map(|byte| byte ^ 0x55));
        packet
    }

    fn written(transport: &mut GattTransport, value: &[u8]) -> Received {
        transport.write(&GattConfig::default(), BUFFER, true, value)
    }

    #[test]
    fn fragments_make_a_packet() {
        for size in 8..48 {
            let mut transport = GattTransport::default();
            let whole = packet(40);
            let mut results: Vec<_> = whole.chunks(size).map(|piece| written(&mut transport, piece)).collect();
            assert_eq!(results.pop(), Some(Received::Packet(whole)), "fragments of {size}");
            assert!(results.iter().all(|result| matches!(result, Received::Fragment { missing: 1.. })));
            assert!(!transport.is_collecting());
        }
    }

    #[test]
    fn short_and_oversized_beginnings_are_discarded() {
        let mut transport = GattTransport::default();
        for value in [&packet(40)[..7], &[], &packet(57)[..20]] {
            assert!(matches!(written(&mut transport, value), Received::Discarded { .. }));
            assert!(!transport.is_collecting());
        }
        assert!(matches!(written(&mut transport, &packet(56)[..20]), Received::Fragment { missing: 44 }));
        let full = GattTransport::default().write(&GattConfig::default(), BUFFER, false, &packet(3));
        assert!(matches!(full, Received::Discarded { .. }));
    }

    #[test]
    fn a_stale_fragment_spoils_the_next_packet() {
        let mut transport = GattTransport::default();
        assert!(matches!(written(&mut transport, &packet(40)[..44]), Received::Fragment { missing: 4 }));
        assert!(matches!(written(&mut transport, &packet(4)), Received::Discarded { .. }));
        assert_eq!(written(&mut transport, &packet(4)), Received::Packet(packet(4)));
        // A short packet is taken for the rest of the long one.
        assert!(matches!(written(&mut transport, &packet(40)[..20]), Received::Fragment { missing: 28 }));
        assert!(matches!(written(&mut transport, &packet(4)), Received::Fragment { missing: 16 }));
        transport.clear();
        assert_eq!(written(&mut transport, &packet(4)), Received::Packet(packet(4)));
    }

    #[test]
    fn without_reassembly_every_write_is_a_packet() {
        let config = GattConfig { reassembly: false, ..GattConfig::default() };
        let mut transport = GattTransport::default();
        let value = packet(40)[..20].to_vec();
        assert_eq!(transport.write(&config, BUFFER, true, &value), Received::Packet(value));
    }

    #[test]
    fn the_mtu_is_exchanged_once_and_within_bounds() {
        let config = GattConfig { mtu: 247, ..GattConfig::default() };
        for (asked, agreed) in [(0, 23), (23, 23), (185, 185), (517, 247), (u16::MAX, 247)] {
            let mut connection = GattConnection::new(false);
            assert_eq!(connection.exchange_mtu(&config, asked), agreed);
            assert_eq!(connection.exchange_mtu(&config, 100), agreed);
            assert_eq!(connection.value_max(), usize::from(agreed) - 3);
        }
    }

    #[test]
    fn errors_say_what_is_missing() {
        use Security::{Authenticated, Encrypted, Plain};
        let error = |access, security, bonded| {
            let config = GattConfig { access, ..GattConfig::default() };
            GattConnection { security, ..GattConnection::new(bonded) }.permits(&config).err().map(AttError::code)
        };
        assert_eq!(error(Plain, Plain, false), None);
        assert_eq!(error(Encrypted, Plain, false), Some(0x05));
        assert_eq!(error(Encrypted, Plain, true), Some(0x0f));
        assert_eq!(error(Encrypted, Encrypted, false), None);
        assert_eq!(error(Authenticated, Encrypted, true), Some(0x05));
        assert_eq!(error(Authenticated, Authenticated, true), None);
    }
}
