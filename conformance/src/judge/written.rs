//! Packets as they were written over Bluetooth LE, fragment by fragment.
//!
//! There is no mark where a packet begins: the length in its header says where it ends. So this follows
//! what a central wrote as its own stream, whatever the target made of it. Where the stream breaks, a
//! write counts as the beginning of a packet when it reads as a request whose number goes on from the one
//! before; image bytes do that once in ten thousand million writes.

use std::collections::BTreeMap;

use brickproof_simulator::gatt::opcode;
use brickproof_simulator::smp::frame::HEADER_LEN;
use brickproof_simulator::smp::gatt::{CCC_UUID, CHARACTERISTIC_UUID};
use brickproof_simulator::smp::{Frame, Version};
use brickproof_simulator::trace::{AttRecord, Direction, Kind, LinkEvent, Record};

use super::packet::bytes;
use super::view::Place;

/// A pause after which nothing more of an earlier packet is expected, in microseconds.
const PAUSE_US: u64 = 1_000_000;
/// Last group with a meaning of its own, and the first numbers beyond.
const GROUPS: std::ops::RangeInclusive<u16> = 0..=11;
const ZEPHYR_GROUP: u16 = 63;

/// A packet that was written, or begun.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Its first write.
    pub(super) place: Place,
    /// What was written of it.
    pub(super) bytes: Vec<u8>,
    /// Length that its header announces, header included.
    pub(super) announced: u64,
    /// Length that was written.
    pub(super) len: u64,
    /// ATT MTU in force at its first write.
    pub(super) mtu: u16,
    /// Whether a write of it did not arrive.
    pub(super) lost: bool,
    /// Record of the write that completed it.
    pub(super) last: Option<u64>,
}

/// How a stream broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// A packet begins with fewer bytes than a header.
    ShortStart { len: u64 },
    /// A fragment is longer than what is missing.
    TooMuch { len: u64, missing: u64 },
    /// Fragments of two packets are mixed.
    Mixed { missing: u64 },
    /// A packet is not finished, and another one begins.
    Abandoned { missing: u64 },
}

/// Everything that was written to the SMP characteristic.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) packets: Vec<Written>,
    pub(super) breaks: Vec<(Place, Break)>,
    /// The packet that each write belongs to, if any, by record number.
    pub(super) of: BTreeMap<u64, Option<usize>>,
}

/// Where a connection is in its stream.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    #[default]
    Idle,
    /// In this packet; so many bytes are missing.
    Inside(usize, u64),
    /// Nothing is known until a packet begins that reads as one.
    Lost,
}

/// Whether this is a write to the SMP characteristic, whatever kind of write.
pub(super) fn is_smp_write(att: &AttRecord) -> bool {
    att.direction == Direction::ToTarget
        && att.uuid.as_deref() == Some(CHARACTERISTIC_UUID)
        && matches!(att.opcode, opcode::WRITE_COMMAND | opcode::WRITE_REQUEST | opcode::PREPARE_WRITE_REQUEST)
}

/// Whether this is about the descriptor that switches the notifications of SMP on. Traces from before descriptors said
/// whose they are have no others.
pub(super) fn is_smp_descriptor(att: &AttRecord) -> bool {
    att.uuid.as_deref() == Some(CCC_UUID) && att.characteristic.as_deref().is_none_or(|of| of == CHARACTERISTIC_UUID)
}

/// Whether this switches notifications off.
fn clears(att: &AttRecord) -> bool {
    let off = |value: &str| u8::from_str_radix(value.get(..2).unwrap_or("01"), 16).is_ok_and(|low| low & 1 == 0);
    is_smp_descriptor(att) && att.error.is_none() && att.lost.is_none() && off(&att.value)
}

impl Stream {
    pub(super) fn new(trace: &[Record]) -> Self {
        let mut stream = Self::default();
        let mut states: BTreeMap<u64, State> = BTreeMap::new();
        let mut sequence: Option<u8> = None;
        for (at, record) in trace.iter().enumerate() {
            let place = Place { n: record.n, at_us: record.at_us };
            match &record.kind {
                Kind::Att(att) if is_smp_write(att) => {
                    let state = states.entry(att.connection).or_default();
                    *state = stream.take(place, att, *state, &mut sequence, &trace[at..]);
                }
                Kind::Att(att) if clears(att) => {
                    states.insert(att.connection, State::Idle);
                }
                Kind::Link(LinkEvent::Connected { connection, .. } | LinkEvent::Disconnected { connection, .. }) => {
                    states.insert(*connection, State::Idle);
                }
                _ => {}
            }
        }
        stream
    }

    fn take(
        &mut self,
        place: Place,
        att: &AttRecord,
        state: State,
        sequence: &mut Option<u8>,
        rest: &[Record],
    ) -> State {
        let value = bytes(&att.value);
        let begins = begins_packet(&value, att, *sequence);
        match state {
            State::Inside(index, missing) if att.len <= missing && !begins => {
                let packet = &mut self.packets[index];
                packet.bytes.extend(value);
                packet.len += att.len;
                packet.lost |= att.lost.is_some() || att.error.is_some();
                self.of.insert(place.n, Some(index));
                if att.len == missing {
                    packet.last = Some(place.n);
                    return State::Idle;
                }
                State::Inside(index, missing - att.len)
            }
            State::Inside(_, missing) if !begins => {
                self.breaks.push((place, Break::TooMuch { len: att.len, missing }));
                self.of.insert(place.n, None);
                State::Lost
            }
            State::Inside(_, missing) => {
                let mixed = follows(rest, att.connection) >= announced(&value).unwrap_or(0) + missing;
                self.breaks.push((place, if mixed { Break::Mixed { missing } } else { Break::Abandoned { missing } }));
                let next = self.begin(place, att, value, sequence);
                if mixed { State::Lost } else { next }
            }
            State::Lost if !begins => {
                self.of.insert(place.n, None);
                State::Lost
            }
            State::Idle if att.len < HEADER_LEN as u64 => {
                self.breaks.push((place, Break::ShortStart { len: att.len }));
                self.of.insert(place.n, None);
                State::Lost
            }
            State::Idle | State::Lost => self.begin(place, att, value, sequence),
        }
    }

    fn begin(&mut self, place: Place, att: &AttRecord, value: Vec<u8>, sequence: &mut Option<u8>) -> State {
        let announced = announced(&value).unwrap_or(att.len);
        *sequence = value.get(6).copied();
        let index = self.packets.len();
        self.of.insert(place.n, Some(index));
        let complete = att.len >= announced;
        self.packets.push(Written {
            place,
            bytes: value,
            announced,
            len: att.len,
            mtu: att.mtu,
            lost: att.lost.is_some() || att.error.is_some(),
            last: complete.then_some(place.n),
        });
        if complete { State::Idle } else { State::Inside(index, announced - att.len) }
    }
}

/// Length of the packet that begins here, header included.
fn announced(value: &[u8]) -> Option<u64> {
    Frame::parse_header(value).ok().map(|(_, payload)| (HEADER_LEN + usize::from(payload)) as u64)
}

/// Whether a packet begins here, as far as that can be seen in the middle of a stream.
fn begins_packet(value: &[u8], att: &AttRecord, sequence: Option<u8>) -> bool {
    let Ok((frame, _)) = Frame::parse_header(value) else { return false };
    frame.op.is_request()
        && frame.reserved == (0, 0)
        && !matches!(frame.version, Version::Undefined(_))
        && (GROUPS.contains(&frame.group) || frame.group == ZEPHYR_GROUP)
        && announced(value).is_some_and(|announced| announced >= att.len)
        && sequence.is_none_or(|before| frame.sequence == before || frame.sequence == before.wrapping_add(1))
}

/// Bytes written on this connection from here until something is answered, cleared or over.
fn follows(rest: &[Record], connection: u64) -> u64 {
    let start = rest.first().map_or(0, |record| record.at_us);
    let mut sum = 0;
    for record in rest.iter().take_while(|record| record.at_us <= start + PAUSE_US) {
        match &record.kind {
            Kind::Att(att) if att.connection != connection => {}
            Kind::Att(att) if is_smp_write(att) => sum += att.len,
            Kind::Att(att) if clears(att) || att.direction == Direction::FromTarget => break,
            Kind::Link(LinkEvent::Disconnected { connection: ended, .. }) if *ended == connection => break,
            _ => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use brickproof_simulator::gatt::Security;

    use super::*;

    const MTU: u16 = 23;

    fn packet(sequence: u8, len: usize) -> Vec<u8> {
        let mut packet = vec![0x0a, 0, 0, u8::try_from(len).unwrap(), 0, 1, sequence, 1];
        packet.extend(std::iter::repeat_n(0xee, len));
        packet
    }

    fn stream(values: &[&[u8]]) -> Stream {
        let records: Vec<Record> = values
            .iter()
            .enumerate()
            .map(|(n, value)| Record {
                n: n as u64,
                at_us: 10 * n as u64,
                wall_us: None,
                cause: None,
                kind: Kind::Att(AttRecord {
                    connection: 1,
                    direction: Direction::ToTarget,
                    opcode: opcode::WRITE_COMMAND,
                    name: opcode::name(opcode::WRITE_COMMAND).into(),
                    handle: 0x12,
                    uuid: Some(CHARACTERISTIC_UUID.into()),
                    characteristic: None,
                    len: value.len() as u64,
                    value: brickproof_simulator::trace::hex(value),
                    mtu: MTU,
                    security: Security::Plain,
                    error: None,
                    lost: None,
                }),
            })
            .collect();
        Stream::new(&records)
    }

    fn breaks(values: &[&[u8]]) -> Vec<Break> {
        stream(values).breaks.into_iter().map(|(_, found)| found).collect()
    }

    #[test]
    fn fragments_are_put_together() {
        let (one, two) = (packet(1, 40), packet(2, 4));
        let stream = stream(&[&one[..20], &one[20..40], &one[40..], &two]);
        assert_eq!(stream.breaks, []);
        let packets: Vec<_> = stream.packets.iter().map(|packet| (packet.bytes.clone(), packet.last)).collect();
        assert_eq!(packets, [(one, Some(2)), (two, Some(3))]);
    }

    #[test]
    fn a_first_fragment_needs_its_header() {
        let one = packet(1, 20);
        assert_eq!(breaks(&[&one[..4], &one[4..24], &one[24..]]), [Break::ShortStart { len: 4 }]);
    }

    #[test]
    fn mixed_and_abandoned_packets_differ() {
        let (one, two) = (packet(1, 32), packet(2, 32));
        let mixed: [&[u8]; 4] = [&one[..20], &two[..20], &one[20..], &two[20..]];
        assert_eq!(breaks(&mixed), [Break::Mixed { missing: 20 }]);
        assert_eq!(breaks(&[&one[..20], &two[..20], &two[20..]]), [Break::Abandoned { missing: 20 }]);
        assert_eq!(breaks(&[&one[..20], &[0xee; 21]]), [Break::TooMuch { len: 21, missing: 20 }]);
    }
}
