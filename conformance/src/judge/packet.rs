//! Packets as the initiator sent them, lost ones included.

use std::borrow::Cow;
use std::collections::BTreeMap;

use brickproof_simulator::smp::{Frame, SmpMessage, Version};
use brickproof_simulator::trace::{Direction, Kind, Record, hex};

use super::written::Written;

/// Length of the header in bytes.
const HEADER_LEN: u64 = 8;
/// Datagrams that one packet may have been cut into.
const PARTS_MAX: usize = 64;

/// How packets and datagrams agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One packet.
    Whole,
    /// More than one packet.
    Several,
    /// A piece of a packet; the datagrams beside it hold the rest.
    Part,
    /// The header announces another length than there is.
    Wrong,
}

/// A packet that was sent.
#[derive(Debug, Clone)]
pub(super) struct Packet<'a> {
    /// Its header; of long packets the body is not there.
    pub(super) header: Cow<'a, SmpMessage>,
    /// How it sits in its datagram.
    pub(super) shape: Shape,
    /// Whether it arrived nowhere.
    pub(super) lost: bool,
    /// Everything but the sequence number, as far as it was kept.
    content: Cow<'a, str>,
    len: u64,
}

impl<'a> Packet<'a> {
    pub(super) fn of_datagram(data: &'a str, len: u64, lost: bool, shape: Shape) -> Self {
        // The sequence number is byte 6.
        let content = match (data.get(..12), data.get(14..)) {
            (Some(before), Some(behind)) => Cow::Owned(format!("{before}{behind}")),
            _ => Cow::Borrowed(data),
        };
        Self { header: Cow::Owned(SmpMessage::parse(&bytes(data))), shape, lost, content, len }
    }

    /// A packet that was written over Bluetooth LE, as far as it was.
    pub(super) fn of_written(written: &Written) -> Packet<'static> {
        let data = hex(&written.bytes);
        let shape = match written.len.checked_sub(written.announced) {
            None | Some(0) => Shape::Whole,
            Some(more) if is_packet(&written.bytes, written.announced, more) => Shape::Several,
            Some(_) => Shape::Wrong,
        };
        let lost = written.lost || written.last.is_none();
        let packet = Packet::of_datagram(&data, written.announced.max(written.len), lost, shape);
        Packet {
            header: Cow::Owned(packet.header.into_owned()),
            content: Cow::Owned(packet.content.into_owned()),
            ..packet
        }
    }

    /// Its length in bytes, where it is known.
    pub(super) fn size(&self) -> Option<u64> {
        (self.len > 0).then_some(self.len)
    }

    pub(super) fn of_message(message: &'a SmpMessage) -> Self {
        let content = format!("{:?}", (message.op, message.group, message.command, &message.body));
        Self { header: Cow::Borrowed(message), shape: Shape::Whole, lost: false, content: content.into(), len: 0 }
    }

    /// Whether both are the same request but for the sequence number.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        (self.len, &self.content) == (other.len, &other.content)
    }
}

/// The shape of every datagram to the target, by record number.
pub(super) fn shapes(trace: &[Record]) -> BTreeMap<u64, Shape> {
    let sent: Vec<(u64, u64, Vec<u8>)> = trace
        .iter()
        .filter_map(|record| match &record.kind {
            Kind::Datagram { direction: Direction::ToTarget, data, len, .. } => Some((record.n, *len, bytes(data))),
            _ => None,
        })
        .collect();
    let mut shapes = BTreeMap::new();
    let mut at = 0;
    while let Some((n, len, head)) = sent.get(at) {
        at += 1;
        let rest = &sent[at..];
        let shape = match announced(head) {
            Some(total) if total == *len => Shape::Whole,
            Some(total) if total < *len && is_packet(head, total, len - total) => Shape::Several,
            Some(total) if total < *len => Shape::Wrong,
            _ => match parts(head, *len, rest) {
                Some(count) => {
                    shapes.extend(rest[..count].iter().map(|(part, ..)| (*part, Shape::Part)));
                    at += count;
                    Shape::Part
                }
                None => Shape::Wrong,
            },
        };
        shapes.insert(*n, shape);
    }
    shapes
}

/// Length of the packet that begins here, as its header announces it.
fn announced(head: &[u8]) -> Option<u64> {
    Frame::parse_header(head).ok().map(|(_, payload)| HEADER_LEN + u64::from(payload))
}

/// Whether a whole request begins at this offset and fits what is left.
fn is_packet(head: &[u8], offset: u64, left: u64) -> bool {
    let rest = usize::try_from(offset).ok().and_then(|offset| head.get(offset..)).unwrap_or_default();
    if rest.is_empty() {
        // It was not kept. A header and a body are more likely than so many bytes too much.
        return left > HEADER_LEN;
    }
    let Ok((frame, payload)) = Frame::parse_header(rest) else { return false };
    frame.op.is_request()
        && frame.reserved == (0, 0)
        && !matches!(frame.version, Version::Undefined(_))
        && HEADER_LEN + u64::from(payload) <= left
}

/// How many of the following datagrams hold exactly what this one lacks, and are no packets themselves.
fn parts(head: &[u8], len: u64, following: &[(u64, u64, Vec<u8>)]) -> Option<usize> {
    // The header itself may be cut.
    let (mut start, mut have) = (head.to_vec(), len);
    for (count, (_, len, head)) in following.iter().take(PARTS_MAX).enumerate() {
        if announced(head) == Some(*len) {
            return None;
        }
        start.extend_from_slice(head);
        have += len;
        match announced(&start) {
            Some(total) if total == have => return Some(count + 1),
            Some(total) if total < have => return None,
            _ => {}
        }
    }
    None
}

/// Bytes of a text in hexadecimal.
pub(super) fn bytes(data: &str) -> Vec<u8> {
    hex::decode(data).unwrap_or_default()
}
