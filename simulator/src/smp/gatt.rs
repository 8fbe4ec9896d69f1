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

use std::collections::BTreeMap;

use super::frame::{Frame, HEADER_LEN};
use crate::gatt::{ATT_OVERHEAD, AttError, ConnectionParameters, IoCapability, MTU_MAX, MTU_MIN, Security, Uuid};

/// The SMP service in the trace.
pub const SERVICE_UUID: &str = "8d53dc1d-1db7-4cd3-868b-8a527460aa84";
/// Its characteristic in the trace.
pub const CHARACTERISTIC_UUID: &str = "da2e7828-fbce-4e01-ae9e-261174997c48";
/// The descriptor that switches notifications on (Client Characteristic Configuration) in the trace.
pub const CCC_UUID: &str = "00002902-0000-1000-8000-00805f9b34fb";
/// The SMP service.
pub const SERVICE: Uuid = Uuid::from_bits(0x8d53_dc1d_1db7_4cd3_868b_8a52_7460_aa84);
/// Its characteristic: write without response, notify.
pub const CHARACTERISTIC: Uuid = Uuid::from_bits(0xda2e_7828_fbce_4e01_ae9e_2611_7499_7c48);

/// How the target can be paired with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    /// What it can show and ask; `None` where it does not pair at all.
    pub capability: Option<IoCapability>,
    /// Whether it knows LE Secure Connections (not `CONFIG_BT_SMP_OOB_LEGACY_PAIR_ONLY` and the like).
    pub secure_connections: bool,
    /// The passkey it shows, or whose entry it waits for, and the number of a comparison: what is drawn anew by
    /// a real device is always the same here (`CONFIG_BT_FIXED_PASSKEY`).
    pub passkey: u32,
    /// Whether a pairing without protection may take the place of keys that the target has of the same central
    /// (`CONFIG_BT_SMP_ALLOW_UNAUTH_OVERWRITE`). Zephyr refuses that unless it is built so: a central that has
    /// thrown its keys away cannot come back by Just Works (zephyr: `subsys/bluetooth/host/smp.c`,
    /// `update_keys_check`).
    pub replaces_bonds: bool,
}

impl Pairing {
    /// Just Works.
    pub const JUST_WORKS: Self = Self::by(Some(IoCapability::NoInputNoOutput));
    /// A display: the passkey is entered at the central.
    pub const PASSKEY: Self = Self::by(Some(IoCapability::DisplayOnly));
    /// Not at all.
    pub const REFUSED: Self = Self::by(None);

    /// With this at hand, LE Secure Connections and the passkey 123456.
    #[must_use]
    pub const fn by(capability: Option<IoCapability>) -> Self {
        Self { capability, secure_connections: true, passkey: 123_456, replaces_bonds: false }
    }
}

/// How fast a link is. Without it, what is sent has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes of a packet of the link layer: 27 without the data length extension.
    pub payload: u16,
    /// From one such packet to the next, in microseconds: the connection interval through the packets of an event.
    pub packet_us: u64,
}

impl Pace {
    /// 6 packets without the data length extension in each interval of 15 ms.
    pub const NORDIC: Self = Self { payload: 27, packet_us: 2500 };

    /// With the data length extension, 5 packets in each interval of 15 ms.
    pub const EXTENDED: Self = Self { payload: 251, packet_us: 3000 };

    /// How long a value of this length is on the air: with the headers of ATT and L2CAP, in whole packets.
    #[must_use]
    pub fn duration_us(self, len: usize) -> u64 {
        const HEADERS: usize = 7;
        self.packet_us * (len + HEADERS).div_ceil(usize::from(self.payload.max(1))) as u64
    }

    /// The same, `factor` times as slow.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        Self { packet_us: (self.packet_us as f64 * factor.max(0.0)) as u64, ..self }
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
    /// From the wish to connect to the connection, in microseconds.
    pub connect_delay_us: u64,
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
    /// How fast a link is; `None`: what is sent has arrived.
    pub pace: Option<Pace>,
    /// How long it takes a central to look for all attributes, in microseconds.
    pub discovery_us: u64,
}

impl Default for GattConfig {
    fn default() -> Self {
        Self {
            reassembly: true,
            mtu: 498,
            access: Security::Plain,
            refusal: None,
            pairing: Pairing::JUST_WORKS,
            bonding: true,
            connect_delay_us: 0,
            connections: 1,
            parameters: ConnectionParameters::PREFERRED,
            parameter_update: false,
            goodbye: false,
            keeps_fragments: false,
            moving_handles: false,
            pace: None,
            discovery_us: 0,
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

/// Bits of the descriptor (Core specification, volume 3, part G, 3.3.3.3).
pub const NOTIFY: u16 = 1;
/// See [`NOTIFY`].
pub const INDICATE: u16 = 2;

/// What the server keeps for one connection.
#[derive(Debug, Clone)]
pub struct GattConnection {
    /// The ATT MTU in force.
    pub mtu: u16,
    /// How well the link is protected.
    pub security: Security,
    /// Whether the target has kept keys of an earlier pairing with this central.
    pub bonded: bool,
    /// What is written to descriptors that switch notifications and indications on, by their handles.
    pub configured: BTreeMap<u16, u16>,
    mtu_exchanged: bool,
}

impl GattConnection {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(bonded: bool) -> Self {
        Self { mtu: MTU_MIN, security: Security::Plain, bonded, configured: BTreeMap::new(), mtu_exchanged: false }
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

    /// Whether an attribute that demands this much may be read or written.
    ///
    /// # Errors
    /// The error of the answer. Core specification, volume 3, part C, 10.3.1: 0x0f where keys are there
    /// and only encryption is missing, otherwise 0x05; stacks differ, so a target may insist on one.
    pub fn permits(&self, access: Security, refusal: Option<AttError>) -> Result<(), AttError> {
        if self.security >= access {
            return Ok(());
        }
        let only_encryption = self.bonded && self.security == Security::Plain;
        Err(match refusal {
            Some(error) => error,
            None if only_encryption && access == Security::Encrypted => AttError::INSUFFICIENT_ENCRYPTION,
            None => AttError::INSUFFICIENT_AUTHENTICATION,
        })
    }

    /// Whether notifications are switched on by the descriptor with this handle.
    #[must_use]
    pub fn notifies(&self, descriptor: u16) -> bool {
        self.configured.get(&descriptor).is_some_and(|value| value & NOTIFY != 0)
    }

    /// Whether indications are.
    #[must_use]
    pub fn indicates(&self, descriptor: u16) -> bool {
        self.configured.get(&descriptor).is_some_and(|value| value & INDICATE != 0)
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
    fn the_words_of_the_trace_are_the_same_uuids() {
        for (words, uuid) in [(SERVICE_UUID, SERVICE), (CHARACTERISTIC_UUID, CHARACTERISTIC), (CCC_UUID, Uuid::CCC)] {
            assert_eq!(uuid.to_string(), words);
        }
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
        use Security::{Authenticated, Encrypted, Plain, SecureConnections};
        let error = |access, security, bonded| {
            let connection = GattConnection { security, ..GattConnection::new(bonded) };
            connection.permits(access, None).err().map(AttError::code)
        };
        assert_eq!(error(SecureConnections, Authenticated, true), Some(0x05));
        assert_eq!(error(SecureConnections, SecureConnections, true), None);
        assert_eq!(error(Plain, Plain, false), None);
        assert_eq!(error(Encrypted, Plain, false), Some(0x05));
        assert_eq!(error(Encrypted, Plain, true), Some(0x0f));
        assert_eq!(error(Encrypted, Encrypted, false), None);
        assert_eq!(error(Authenticated, Encrypted, true), Some(0x05));
        assert_eq!(error(Authenticated, Authenticated, true), None);
    }
}
