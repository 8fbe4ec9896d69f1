//! Mutants that break the protocol itself.

use brickproof_simulator::smp::{Command, SmpMessage, Version};

use super::{Mutant, policy, wire};
use crate::initiator::policy::Policy;
use crate::initiator::wire::Tamper;

pub(super) fn all() -> Vec<Mutant> {
    vec![
        wire("sets flags", "SMP-01", &[], &Flags),
        wire("sets a reserved bit", "SMP-01", &[], &ReservedBit),
        policy("speaks version 2 of the header", "SMP-02", &[], &Futuristic),
        wire("writes what can only be read", "SMP-03", &[], &WritesParams),
        wire("announces more than it sends", "SMP-04", &["BLE-05"], &Short),
        wire("sends more than it announces", "SMP-04", &["BLE-04", "SMP-12"], &Long),
        wire("has a key twice", "SMP-04", &[], &KeyTwice),
        policy("numbers every request the same, several at once", "SMP-05", &["SMP-06", "UPL-04"], &Unnumbered),
        policy("counts in threes", "SMP-06", &[], &Threes),
        policy("takes any answer for its own", "SMP-07", &["BLE-08", "UPL-04"], &Credulous),
        policy("takes a refusal for a success", "SMP-08", &["STA-03", "STA-04", "UPL-09"], &DeafToErrors),
        policy("takes rc 0 for a failure", "SMP-09", &[], &AnyRc),
        policy("wants something in every answer", "SMP-09", &["RST-03"], &NothingIsWrong),
        policy("wants to know every key", "SMP-10", &[], &Strict),
        policy("insists on its version", "SMP-11", &[], &Stubborn),
        policy("cannot do without parameters", "SMP-12", &[], &Needy),
        policy("gives up a busy device", "SMP-13", &[], &Hurried),
        policy("hammers a busy device", "SMP-13", &[], &Hammering),
        policy("asks a busy device for ever", "SMP-13", &[], &Patient),
        policy("never stops asking", "SMP-14", &[], &Persistent),
        // A connection that fails swallows the first half: what is written first is the middle of a packet.
        wire("cuts packets in two", "UDP-01", &["STA-10", "BLE-04"], &Halves),
        wire("puts two packets in a datagram", "UDP-01", &["SMP-06"], &Pairs),
        wire("sends long lines", "SER-01", &[], &LongLines),
        wire("sends a wrong checksum", "SER-01", &[], &WrongChecksum),
        wire("leaves packets unfinished", "SER-01", &[], &Unfinished),
    ]
}

struct Flags;

impl Tamper for Flags {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        packet[1] = 0x01;
        packet
    }
}

struct ReservedBit;

impl Tamper for ReservedBit {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        packet[0] |= 0x20;
        packet
    }
}

struct Futuristic;

impl Policy for Futuristic {
    fn version(&self) -> Version {
        Version::Undefined(2)
    }
}

struct WritesParams;

impl Tamper for WritesParams {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        if SmpMessage::parse(&packet).known() == Some(Command::Params) {
            packet[0] |= 0x02;
        }
        packet
    }
}

struct Short;

impl Tamper for Short {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        let announced = u16::from_be_bytes([packet[2], packet[3]]) + 1;
        packet[2..4].copy_from_slice(&announced.to_be_bytes());
        packet
    }
}

struct Long;

impl Tamper for Long {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        packet.push(0);
        packet
    }
}

struct KeyTwice;

impl Tamper for KeyTwice {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        // A map of a known number of pairs gets one more: `off` again, wherever it stands already.
        let payload = packet.len() - 8;
        if SmpMessage::parse(&packet).known() == Some(Command::ImageUpload) && (0xa0..0xb7).contains(&packet[8]) {
            packet[8] += 1;
            packet.extend_from_slice(b"\x63off\x00");
            let announced = u16::try_from(payload + 5).unwrap_or(u16::MAX);
            packet[2..4].copy_from_slice(&announced.to_be_bytes());
        }
        packet
    }
}

struct Unnumbered;

impl Policy for Unnumbered {
    fn next_sequence(&self, sequence: u8) -> u8 {
        sequence
    }

    fn window(&self, _: Option<usize>) -> usize {
        3
    }
}

struct Threes;

impl Policy for Threes {
    fn next_sequence(&self, sequence: u8) -> u8 {
        sequence.wrapping_add(3)
    }
}

struct Credulous;

impl Policy for Credulous {
    fn takes_answer(&self, _: u8, _: u8) -> bool {
        true
    }
}

struct DeafToErrors;

impl Policy for DeafToErrors {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        // Only the form of version 1 is looked for.
        answer.body.contains_key("err")
    }
}

struct AnyRc;

impl Policy for AnyRc {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        answer.body.contains_key("err") || answer.body.contains_key("rc")
    }
}

struct NothingIsWrong;

impl Policy for NothingIsWrong {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        answer.failure().is_some() || answer.body.is_empty()
    }
}

struct Strict;

impl Policy for Strict {
    fn is_failure(&self, answer: &SmpMessage) -> bool {
        const KNOWN: [&str; 9] = ["buf_size", "buf_count", "images", "splitStatus", "off", "match", "r", "rc", "rsn"];
        answer.failure().is_some() || answer.body.keys().any(|key| !KNOWN.contains(&key.as_str()))
    }
}

struct Stubborn;

impl Policy for Stubborn {
    fn falls_back(&self) -> bool {
        false
    }
}

struct Needy;

impl Policy for Needy {
    fn needs_params(&self) -> bool {
        true
    }
}

struct Hurried;

impl Policy for Hurried {
    fn busy_retries(&self) -> u32 {
        0
    }
}

struct Hammering;

impl Policy for Hammering {
    fn busy_pause_us(&self) -> u64 {
        0
    }
}

struct Patient;

impl Policy for Patient {
    fn busy_retries(&self) -> u32 {
        60
    }
}

struct Persistent;

impl Policy for Persistent {
    fn unanswered_max(&self) -> u32 {
        60
    }
}

struct Halves;

impl Tamper for Halves {
    fn datagrams(&self, packet: Vec<u8>) -> Vec<Vec<u8>> {
        let (first, second) = packet.split_at(packet.len() - 1);
        vec![first.to_vec(), second.to_vec()]
    }
}

struct Pairs;

impl Tamper for Pairs {
    fn sent(&self, mut packet: Vec<u8>) -> Vec<u8> {
        // Its parameters, asked for again each time, with a number of their own.
        packet.extend_from_slice(&[0x08, 0, 0, 1, 0, 0, 0xee, 6, 0xa0]);
        packet
    }
}

struct LongLines;

impl Tamper for LongLines {
    fn lines(&self, bytes: Vec<u8>) -> Vec<u8> {
        // The second frame goes on where the first should end.
        match bytes.windows(3).position(|window| window == b"\n\x04\x14") {
            Some(end) => [&bytes[..end], &bytes[end + 3..]].concat(),
            None => bytes,
        }
    }
}

struct WrongChecksum;

impl Tamper for WrongChecksum {
    fn lines(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        // In the middle of the first frame: the header.
        if let Some(byte) = bytes.get_mut(8) {
            *byte = if *byte == b'A' { b'B' } else { b'A' };
        }
        bytes
    }
}

struct Unfinished;

impl Tamper for Unfinished {
    fn lines(&self, bytes: Vec<u8>) -> Vec<u8> {
        // The first of several frames comes twice: what it began is thrown away.
        match bytes.windows(3).position(|window| window == b"\n\x04\x14") {
            Some(end) => [&bytes[..=end], &bytes].concat(),
            None => bytes,
        }
    }
}
