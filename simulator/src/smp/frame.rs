//! The SMP header.

use std::ops::Range;

use thiserror::Error;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 8;

/// Byte ranges of the fields; all numbers are big endian.
mod field {
    use std::ops::Range;

    pub(super) const VERSION_OP: usize = 0;
    pub(super) const FLAGS: usize = 1;
    pub(super) const LENGTH: Range<usize> = 2..4;
    pub(super) const GROUP: Range<usize> = 4..6;
    pub(super) const SEQUENCE: usize = 6;
    pub(super) const COMMAND: usize = 7;
}

/// What a packet is, from the low three bits of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Read request.
    Read,
    /// Answer to a read request.
    ReadResponse,
    /// Write request.
    Write,
    /// Answer to a write request.
    WriteResponse,
    /// Undefined, 4 to 7.
    Undefined(u8),
}

impl Op {
    fn parse(bits: u8) -> Self {
        match bits & 0x07 {
            0 => Self::Read,
            1 => Self::ReadResponse,
            2 => Self::Write,
            3 => Self::WriteResponse,
            other => Self::Undefined(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Read => 0,
            Self::ReadResponse => 1,
            Self::Write => 2,
            Self::WriteResponse => 3,
            Self::Undefined(other) => other,
        }
    }

    /// Whether a server looks at it.
    #[must_use]
    pub fn is_request(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

/// Protocol version, from bits 3 and 4 of the first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// The original protocol: every failure is a plain `rc`.
    V0,
    /// Failures of a group are `err: {group, rc}`.
    V1,
    /// Undefined, 2 or 3.
    Undefined(u8),
}

impl Version {
    fn parse(bits: u8) -> Self {
        match bits & 0x03 {
            0 => Self::V0,
            1 => Self::V1,
            other => Self::Undefined(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V0 => 0,
            Self::V1 => 1,
            Self::Undefined(other) => other,
        }
    }
}

/// A packet that is no SMP frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Not even a header.
    #[error("{0} bytes are too short for an SMP header of {HEADER_LEN}")]
    TooShort(usize),
    /// The length field promises more than there is.
    #[error("the header announces {announced} bytes of payload, {present} follow")]
    Truncated {
        /// Length field.
        announced: u16,
        /// Bytes behind the header.
        present: usize,
    },
}

/// The header of an SMP packet, without its length field, which the payload decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Version.
    pub version: Version,
    /// What the packet is.
    pub op: Op,
    /// The three reserved bits of the first byte and the flags byte; zero in what is sent here.
    pub reserved: (u8, u8),
    /// Group, see [`group`](super::group).
    pub group: u16,
    /// Sequence number, echoed in the answer.
    pub sequence: u8,
    /// Command in the group.
    pub command: u8,
}

impl Frame {
    /// Reads the header of `packet`: the frame, and the range of the payload it announces.
    ///
    /// # Errors
    /// [`FrameError::TooShort`] and [`FrameError::Truncated`].
    pub fn parse(packet: &[u8]) -> Result<(Self, Range<usize>), FrameError> {
        let (frame, announced) = Self::parse_header(packet)?;
        let present = packet.len() - HEADER_LEN;
        if usize::from(announced) > present {
            return Err(FrameError::Truncated { announced, present });
        }
        Ok((frame, HEADER_LEN..HEADER_LEN + usize::from(announced)))
    }

    /// Reads the header and the announced length, whatever follows.
    ///
    /// # Errors
    /// [`FrameError::TooShort`].
    pub fn parse_header(packet: &[u8]) -> Result<(Self, u16), FrameError> {
        let header = packet.get(..HEADER_LEN).ok_or(FrameError::TooShort(packet.len()))?;
        let number = |range: Range<usize>| u16::from_be_bytes([header[range.start], header[range.start + 1]]);
        let first = header[field::VERSION_OP];
        let frame = Self {
            version: Version::parse(first >> 3),
            op: Op::parse(first),
            reserved: (first >> 5, header[field::FLAGS]),
            group: number(field::GROUP),
            sequence: header[field::SEQUENCE],
            command: header[field::COMMAND],
        };
        Ok((frame, number(field::LENGTH)))
    }

    /// The packet with this payload; a payload beyond 65535 bytes is cut, as no server makes one.
    #[must_use]
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let mut packet = vec![0; HEADER_LEN];
        packet[field::VERSION_OP] = self.reserved.0 << 5 | self.version.number() << 3 | self.op.number();
        packet[field::FLAGS] = self.reserved.1;
        packet[field::LENGTH].copy_from_slice(&len.to_be_bytes());
        packet[field::GROUP].copy_from_slice(&self.group.to_be_bytes());
        packet[field::SEQUENCE] = self.sequence;
        packet[field::COMMAND] = self.command;
        packet.extend_from_slice(&payload[..usize::from(len)]);
        packet
    }

    /// The header of the answer to this request.
    #[must_use]
    pub fn answer(&self) -> Self {
        let version = match self.version {
            Version::Undefined(_) => Version::V1,
            known => known,
        };
        let op = if self.op == Op::Read { Op::ReadResponse } else { Op::WriteResponse };
        Self { version, op, reserved: (0, 0), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_list_request_as_documented() {
        let packet = [0x08, 0x00, 0x00, 0x01, 0x00, 0x01, 0x05, 0x00, 0xa0];
        let (frame, payload) = Frame::parse(&packet).unwrap();
        assert_eq!((frame.version, frame.op, frame.group, frame.command), (Version::V1, Op::Read, 1, 0));
        assert_eq!(frame.sequence, 5);
        assert_eq!(frame.emit(&packet[payload]), packet);
    }

    #[test]
    fn short_packets_are_named() {
        assert_eq!(Frame::parse(&[8; 7]), Err(FrameError::TooShort(7)));
        let packet = [8, 0, 0, 2, 0, 1, 5, 0, 0xa0];
        assert_eq!(Frame::parse(&packet), Err(FrameError::Truncated { announced: 2, present: 1 }));
    }
}
