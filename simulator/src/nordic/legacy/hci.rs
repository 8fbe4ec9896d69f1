//! Frames of a serial line with Adafruit's bootloader (nrf5 sdk 11: `hci_transport.c`, `hci_slip.c`, after the three-wire
//! transport of the Core specification, volume 4, part D).
//!
//! ```text
//! c0 <header: 4 bytes> <payload> <CRC-16: 2 bytes> c0
//! ```
//!
//! | header | bits | field |
//! |---|---|---|
//! | byte 0 | 0 to 2 | sequence number |
//! | | 3 to 5 | number of the packet that is expected next |
//! | | 6 | there is a CRC |
//! | | 7 | it is to be acknowledged |
//! | byte 1 | 0 to 3 | type: 14 with payload, 0 acknowledgement |
//! | bytes 1, 2 | 4 to 15 | length of the payload; nobody looks at it |
//! | byte 3 | | checksum: the sum of all four is 0 |
//!
//! Between the ends, c0 is db dc and db is db dd. The CRC is over header and payload. The first sequence number is 1.
//!
//! A packet with the number that is expected is acknowledged and taken; with any other number, the acknowledgement says
//! which one is expected; what is not valid has no acknowledgement. The acknowledgement comes before anything is done.
//!
//! The payload is a type of 32 bits, and words:
//!
//! | type | rest |
//! |---|---|
//! | 1 | the init packet, filled up to whole words |
//! | 3 | mode u32, sizes of SoftDevice, bootloader and application |
//! | 4 | a piece of the image |
//! | 5 | nothing: the image is complete, and is to be activated |

use brickproof_flash_model::image::nordic::crc::CRC16_START;
use brickproof_flash_model::image::nordic::crc16;

const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// Bytes of a header.
pub const HEADER_LEN: usize = 4;
const CRC_LEN: usize = 2;
/// Longest frame that the bootloader has room for (`HCI_RX_BUF_SIZE`).
pub const FRAME_MAX: usize = 600;
/// What it has room for while nothing else is free (`ACK_BUF_SIZE`).
const SMALL_FRAME_MAX: usize = 5;
/// Longest payload that its length field holds.
pub const PAYLOAD_MAX: usize = 0x0fff;

const HAS_CRC: u8 = 1 << 6;
const RELIABLE: u8 = 1 << 7;
const VENDOR_SPECIFIC: u8 = 14;

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HciError {
    /// Not even a header and a byte.
    Short,
    /// It has no CRC, is not to be acknowledged, or is of another type.
    Kind,
    /// The checksum of the header is wrong.
    Checksum,
    /// The CRC is wrong.
    Crc,
}

impl std::fmt::Display for HciError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Short => "too short for a packet",
            Self::Kind => "no packet with a CRC that is to be acknowledged",
            Self::Checksum => "the checksum of its header is wrong",
            Self::Crc => "its CRC is wrong",
        })
    }
}

fn checksum(header: [u8; 3]) -> u8 {
    header.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// A packet with this sequence number, of which 3 bits count, as it is between the ends; payload beyond [`PAYLOAD_MAX`] is
/// cut.
#[must_use]
pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let payload = payload.get(..PAYLOAD_MAX).unwrap_or(payload);
    let sequence = sequence & 7;
    let next = (sequence + 1) & 7;
    let len = u16::try_from(payload.len()).unwrap_or(0) << 4;
    let [low, high] = (len | u16::from(VENDOR_SPECIFIC)).to_le_bytes();
    let header = [sequence | next << 3 | HAS_CRC | RELIABLE, low, high];
    let mut bytes = [&header[..], &[checksum(header)], payload].concat();
    let crc = crc16(&bytes, CRC16_START);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// The acknowledgement that says which packet is expected next.
#[must_use]
pub fn acknowledgement(expected: u8) -> [u8; HEADER_LEN] {
    let header = [(expected & 7) << 3, 0, 0];
    [header[0], 0, 0, checksum(header)]
}

/// The number that an acknowledgement says is expected next; `None` when it is none.
#[must_use]
pub fn acknowledged(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [first, kind, length, sum] if kind & 0x0f == 0 && checksum([*first, *kind, *length]) == *sum => {
            Some(first >> 3 & 7)
        }
        _ => None,
    }
}

/// Sequence number and payload of a packet, checked in the order of the code.
///
/// # Errors
/// Why it is dropped.
pub fn check(bytes: &[u8]) -> Result<(u8, &[u8]), HciError> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(HciError::Short)?;
    if rest.is_empty() {
        return Err(HciError::Short);
    }
    let [first, kind, length, sum] = *header;
    if first & HAS_CRC == 0 || first & RELIABLE == 0 || kind & 0x0f != VENDOR_SPECIFIC {
        return Err(HciError::Kind);
    }
    if checksum([first, kind, length]) != sum {
        return Err(HciError::Checksum);
    }
    let (content, crc) = bytes.split_last_chunk::<CRC_LEN>().ok_or(HciError::Short)?;
    if crc16(content, CRC16_START) != u16::from_le_bytes(*crc) {
        return Err(HciError::Crc);
    }
    Ok((first & 7, content.get(HEADER_LEN..).ok_or(HciError::Short)?))
}

/// A packet as it goes over the line.
#[must_use]
pub fn frame(packet: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len() + 2);
    bytes.push(END);
    for byte in packet {
        match *byte {
            END => bytes.extend([ESC, ESC_END]),
            ESC => bytes.extend([ESC, ESC_ESC]),
            byte => bytes.push(byte),
        }
    }
    bytes.push(END);
    bytes
}

/// Puts frames together from the bytes of a line, as the bootloader does: a frame begins with an end, and what is before is
/// lost. A frame that is too long leaves room for 5 bytes only, until one that is so short has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    frame: Vec<u8>,
    begun: bool,
    escaped: bool,
    room: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { frame: Vec::new(), begun: false, escaped: false, room: FRAME_MAX }
    }
}

/// What a line has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A frame, which is not empty.
    Frame(Vec<u8>),
    /// A frame was too long.
    TooLong,
}

impl Decoder {
    /// Takes a byte.
    pub fn push(&mut self, byte: u8) -> Option<Decoded> {
        if self.begun && self.frame.len() >= self.room {
            *self = Self { room: SMALL_FRAME_MAX, ..Self::default() };
            return Some(Decoded::TooLong);
        }
        match (self.begun, std::mem::take(&mut self.escaped), byte) {
            (false, _, END) => self.begun = true,
            (false, ..) => {}
            (true, _, END) if self.frame.is_empty() => {}
            (true, _, END) => {
                let frame = std::mem::take(&mut self.frame);
                *self = Self::default();
                return Some(Decoded::Frame(frame));
            }
            (true, false, ESC) => self.escaped = true,
            (true, true, ESC_END) => self.frame.push(END),
            (true, true, ESC_ESC) => self.frame.push(ESC),
            (true, _, byte) => self.frame.push(byte),
        }
        None
    }
}

/// Which packet is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receiver {
    expected: u8,
}

impl Default for Receiver {
    fn default() -> Self {
        Self { expected: 1 }
    }
}

impl Receiver {
    /// The number of the packet that is expected.
    #[must_use]
    pub fn expected(&self) -> u8 {
        self.expected
    }

    /// A packet has come: the acknowledgement, and its payload if it was the one that is expected.
    ///
    /// # Errors
    /// Why it is dropped, without an acknowledgement.
    pub fn receive<'a>(&mut self, bytes: &'a [u8]) -> Result<([u8; HEADER_LEN], Option<&'a [u8]>), HciError> {
        let (sequence, payload) = check(bytes)?;
        let taken = sequence == self.expected;
        if taken {
            self.expected = (self.expected + 1) & 7;
        }
        Ok((acknowledgement(self.expected), taken.then_some(payload)))
    }
}

/// What a payload says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SerialPacket {
    /// The init packet.
    Init(Vec<u8>),
    /// What is to come.
    Start {
        /// What is updated.
        mode: u8,
        /// Sizes of SoftDevice, bootloader and application.
        sizes: [u32; 3],
    },
    /// A piece of the image.
    Data(Vec<u8>),
    /// The image is complete, and is to be activated.
    Stop,
    /// Nothing that the bootloader knows.
    Other(u8),
}

impl SerialPacket {
    const INIT: u8 = 1;
    const START: u8 = 3;
    const DATA: u8 = 4;
    const STOP: u8 = 5;

    /// Reads a payload: of its type the first byte counts, and of the rest whole words. A start that is too short reads
    /// zeros here, where the code would read what was in its buffer before.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Self {
        let kind = payload.first().copied().unwrap_or(0);
        let whole = payload.len() / 4 * 4;
        let words = payload.get(4..whole).unwrap_or_default();
        match kind {
            Self::INIT => Self::Init(words.to_vec()),
            Self::DATA => Self::Data(words.to_vec()),
            Self::STOP => Self::Stop,
            Self::START => {
                let mut numbers = words.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
                let mut next = || numbers.next().unwrap_or(0);
                let [mode, ..] = next().to_le_bytes();
                Self::Start { mode, sizes: [next(), next(), next()] }
            }
            kind => Self::Other(kind),
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let with = |kind: u8, rest: &[u8]| [&[kind, 0, 0, 0], rest].concat();
        match self {
            Self::Init(bytes) => with(Self::INIT, bytes),
            Self::Data(bytes) => with(Self::DATA, bytes),
            Self::Stop => with(Self::STOP, &[]),
            Self::Other(kind) => with(*kind, &[]),
            Self::Start { mode, sizes } => {
                let numbers = [u32::from(*mode), sizes[0], sizes[1], sizes[2]];
                with(Self::START, &numbers.map(u32::to_le_bytes).concat())
            }
        }
    }

    /// Its name in the trace.
    #[must_use]
    pub fn call(&self) -> &'static str {
        match self {
            Self::Init(_) => "legacy-init-packet",
            Self::Start { .. } => "legacy-start",
            Self::Data(_) => "legacy-packet",
            Self::Stop => "legacy-activate",
            Self::Other(_) => crate::nordic::calls::MALFORMED,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(bytes: &[u8]) -> Vec<Decoded> {
        let mut decoder = Decoder::default();
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    /// The first frame of adafruit-nrfutil 0.5.3: an application of 0x4c0 bytes.
    #[test]
    fn a_frame_of_the_real_tool() {
        let start = SerialPacket::Start { mode: 4, sizes: [0, 0, 0x4c0] };
        let bytes = frame(&packet(1, &start.emit()));
        assert_eq!(bytes[..17], [0xc0, 0xd1, 0x4e, 0x01, 0xe0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        // The second byte of the size is escaped.
        assert_eq!(bytes[17..24], [0, 0, 0, 0, 0xdb, 0xdc, 4]);
        let Some(Decoded::Frame(back)) = decoded(&bytes).pop() else { panic!("no frame") };
        let (sequence, payload) = check(&back).unwrap();
        assert_eq!((sequence, SerialPacket::parse(payload)), (1, start));
    }

    #[test]
    fn numbers_are_acknowledged_as_in_the_code() {
        let mut receiver = Receiver::default();
        let ack = |expected: u8| acknowledgement(expected);
        let first = packet(1, &[5, 0, 0, 0]);
        assert_eq!(receiver.receive(&first), Ok((ack(2), Some(&[5, 0, 0, 0][..]))));
        assert_eq!(receiver.receive(&first), Ok((ack(2), None)));
        let mut broken = packet(2, &[5, 0, 0, 0]);
        broken[5] ^= 1;
        assert_eq!(receiver.receive(&broken), Err(HciError::Crc));
        broken[0] ^= 1;
        assert_eq!(receiver.receive(&broken), Err(HciError::Checksum));
        assert_eq!(receiver.receive(&ack(1)), Err(HciError::Short));
        assert_eq!(receiver.receive(&[0; 5]), Err(HciError::Kind));
        for sequence in [2, 3, 4, 5, 6, 7, 0, 1] {
            let sent = packet(sequence, &[5, 0, 0, 0]);
            assert_eq!(receiver.receive(&sent), Ok((ack(sequence + 1), Some(&[5, 0, 0, 0][..]))));
        }
        assert_eq!(ack(2), [0x10, 0, 0, 0xf0]);
        assert_eq!((acknowledged(&ack(2)), acknowledged(&[0x10, 0, 0, 0xf1])), (Some(2), None));
    }

    #[test]
    fn a_frame_that_is_too_long_leaves_room_for_short_ones_only() {
        let long = frame(&vec![1; FRAME_MAX + 1]);
        let usual = frame(&packet(1, &[4; 12]));
        let short = frame(&[1, 2, 3, 4]);
        let frames = |parts: &[&[u8]]| {
            decoded(&parts.concat())
                .into_iter()
                .map(|decoded| match decoded {
                    Decoded::Frame(frame) => frame.len(),
                    Decoded::TooLong => 0,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(frames(&[&usual, &usual]), [18, 18]);
        // The end of the frame that is too long begins the next one.
        assert_eq!(frames(&[&long, &usual, &usual]), [0, 0, 0]);
        assert_eq!(frames(&[&long, &short[1..], &usual]), [0, 4, 18]);
        assert_eq!(frames(&[&[0xc0, 0xc0, 0xc0], &[1, 0xdb, 2, 0xc0]]), [2]);
    }

    proptest! {
        #[test]
        fn what_goes_over_the_line_comes_back(
            payload in prop::collection::vec(any::<u8>(), 1..560),
            sequence in 0u8..8,
            before in prop::collection::vec(0u8..0xc0, 0..5),
        ) {
            let sent = packet(sequence, &payload);
            let line = [before, frame(&sent)].concat();
            prop_assert_eq!(decoded(&line), [Decoded::Frame(sent.clone())]);
            prop_assert_eq!(check(&sent), Ok((sequence, payload.as_slice())));
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            for decoded in decoded(&bytes) {
                if let Decoded::Frame(frame) = decoded {
                    let mut receiver = Receiver::default();
                    if let Ok((_, Some(payload))) = receiver.receive(&frame) {
                        let _ = SerialPacket::parse(payload).emit();
                    }
                }
            }
            let parsed = SerialPacket::parse(&bytes);
            prop_assert_eq!(SerialPacket::parse(&parsed.emit()), parsed);
        }
    }
}
