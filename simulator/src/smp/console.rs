//! SMP over a console: packets as lines of text (zephyr: `transport/src/serial_util.c`, `drivers/console/uart_mcumgr.c`).
//!
//! A packet P becomes S = length of what follows (2 bytes, big endian) + P + CRC16 of P, cut into pieces. Each
//! piece is a frame, and each frame a line:
//!
//! | part | bytes |
//! |---|---|
//! | marker | `06 09` for the first frame, `04 14` for those that continue it |
//! | body | the piece in base64, readable by itself |
//! | end | line feed |
//!
//! A frame has at most 127 bytes. The CRC has polynomial 0x1021, starts with 0 and is not reflected (XMODEM);
//! it covers P, not the length.
//!
//! # What the receiver does
//!
//! | it reads | it does |
//! |---|---|
//! | a line without marker | nothing: it belongs to the shell or the log, and a packet may go on behind it |
//! | a line beyond 128 bytes | drops the line |
//! | a first frame | drops what it was collecting, begins anew |
//! | a continuation with nothing collected | drops it |
//! | base64 it cannot read, or more than its buffer holds | drops frame and packet |
//! | fewer bytes than announced | waits for more |
//! | more bytes than announced, or a wrong CRC | drops frame and packet |
//!
//! Nothing of this is answered: whoever sent it waits in vain. The length and the CRC take 4 bytes of the
//! packet buffer, so that the longest packet is 4 bytes shorter than on other transports.

use thiserror::Error;

/// Marker of a first frame.
pub const START: [u8; 2] = [0x06, 0x09];
/// Marker of a frame that continues a packet.
pub const CONTINUE: [u8; 2] = [0x04, 0x14];
/// Longest frame in bytes, with marker and line feed (zephyr: `MCUMGR_SERIAL_MAX_FRAME`).
pub const FRAME_MAX: usize = 127;
/// Longest line that a receiver keeps, with its line feed (zephyr: `CONFIG_UART_MCUMGR_RX_BUF_SIZE`).
pub const LINE_MAX: usize = 128;
/// Bytes of the packet buffer that the length and the CRC take.
pub const OVERHEAD: usize = 4;

/// Bytes of P, or of P and the CRC, in one frame. The sender takes 3 bytes for the length and the first byte of P
/// from the 93 of the first frame, and does not give them back to the later ones.
const PIECE: usize = (FRAME_MAX - 3) / 4 * 3 - 3;
const END: u8 = b'\n';

/// Why a receiver drops a frame.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConsoleError {
    /// The line does not fit its buffer.
    #[error("a line of {0} bytes: at most {LINE_MAX} are kept")]
    TooLong(usize),
    /// A continuation, and nothing to continue.
    #[error("a continuation frame, and no packet has begun")]
    NothingBegun,
    /// The body is no base64.
    #[error("no base64")]
    NoBase64,
    /// The first frame does not even hold the length.
    #[error("a first frame without a length")]
    NoLength,
    /// Length and packet do not fit the packet buffer.
    #[error("more than the packet buffer of {0} bytes")]
    TooLarge(usize),
    /// A length that has no room for the CRC.
    #[error("a length of {0}, which has no room for the CRC")]
    LengthTooSmall(usize),
    /// More bytes than the length announced.
    #[error("{present} bytes, and the length announced {announced}")]
    Overrun {
        /// What the length said.
        announced: usize,
        /// What has come.
        present: usize,
    },
    /// The CRC is that of something else.
    #[error("the CRC is wrong")]
    Crc,
}

/// Which kind of line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The shell, the log: anything without a marker.
    Text,
    /// A first frame.
    Start,
    /// A frame that continues a packet.
    Continuation,
}

/// A line that has been received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its bytes with the line feed, up to [`LINE_MAX`] of them.
    pub bytes: Vec<u8>,
    /// Its length in bytes with the line feed.
    pub len: usize,
    /// What it is.
    pub part: Part,
    /// The packet that it completed; `None` when more must follow, or when the line is not a frame.
    pub packet: Result<Option<Vec<u8>>, ConsoleError>,
    /// Bytes of an unfinished packet that were dropped because this line begins another.
    pub abandoned: usize,
}

/// A receiver. Owns no clock: it waits for the rest of a packet for ever, as Zephyr's does.
#[derive(Debug, Clone)]
pub struct Decoder {
    packet_max: usize,
    line: Vec<u8>,
    len: usize,
    announced: usize,
    collected: Vec<u8>,
}

impl Decoder {
    /// A receiver with a packet buffer of `packet_max` bytes, [`OVERHEAD`] included.
    #[must_use]
    pub fn new(packet_max: usize) -> Self {
        Self { packet_max, line: Vec::new(), len: 0, announced: 0, collected: Vec::new() }
    }

    /// Forgets everything, as a reset does.
    pub fn forget(&mut self) {
        *self = Self::new(self.packet_max);
    }

    /// Takes one byte; the line that it completes.
    pub fn push(&mut self, byte: u8) -> Option<Line> {
        self.len += 1;
        if self.line.len() < LINE_MAX {
            self.line.push(byte);
        }
        if byte != END {
            return None;
        }
        let bytes = std::mem::take(&mut self.line);
        let len = std::mem::take(&mut self.len);
        let part = match bytes.get(..2) {
            Some(marker) if marker == START => Part::Start,
            Some(marker) if marker == CONTINUE => Part::Continuation,
            _ => Part::Text,
        };
        let abandoned = if part == Part::Start && len <= LINE_MAX { self.collected.len() } else { 0 };
        let packet = if len > LINE_MAX {
            Err(ConsoleError::TooLong(len))
        } else if part == Part::Text {
            Ok(None)
        } else {
            let taken = self.take(part, &bytes[2..]);
            if taken != Ok(None) {
                self.collected.clear();
            }
            taken
        };
        Some(Line { bytes, len, part, packet, abandoned })
    }

    fn take(&mut self, part: Part, body: &[u8]) -> Result<Option<Vec<u8>>, ConsoleError> {
        if part == Part::Start {
            self.collected.clear();
        } else if self.collected.is_empty() {
            return Err(ConsoleError::NothingBegun);
        }
        let mut piece = decode_base64(body).ok_or(ConsoleError::NoBase64)?;
        let length = if part == Part::Start { 0 } else { 2 };
        if length + self.collected.len() + piece.len() > self.packet_max {
            return Err(ConsoleError::TooLarge(self.packet_max));
        }
        if part == Part::Start {
            let (announced, rest) = piece.split_first_chunk::<2>().ok_or(ConsoleError::NoLength)?;
            self.announced = usize::from(u16::from_be_bytes(*announced));
            piece = rest.to_vec();
            if self.announced <= 2 {
                return Err(ConsoleError::LengthTooSmall(self.announced));
            }
        }
        self.collected.append(&mut piece);
        let (announced, present) = (self.announced, self.collected.len());
        if present < announced {
            return Ok(None);
        }
        if present > announced {
            return Err(ConsoleError::Overrun { announced, present });
        }
        if crc16(&self.collected) != 0 {
            return Err(ConsoleError::Crc);
        }
        let mut packet = std::mem::take(&mut self.collected);
        packet.truncate(announced - 2);
        Ok(Some(packet))
    }
}

/// The frames of a packet, each a line with its line feed. The CRC is never split over two of them.
///
/// A packet of more than 65533 bytes has no length that fits: it is cut, as no server makes one.
#[must_use]
pub fn encode(packet: &[u8]) -> Vec<Vec<u8>> {
    let packet = &packet[..packet.len().min(usize::from(u16::MAX) - 2)];
    let crc = crc16(packet).to_be_bytes();
    let length = (packet.len() as u16 + 2).to_be_bytes();
    let mut frames = Vec::new();
    let mut head = length.to_vec();
    let mut rest = packet;
    // The first byte of the packet goes with the length.
    if let Some((first, others)) = rest.split_first() {
        head.push(*first);
        rest = others;
    }
    loop {
        let mut piece = std::mem::take(&mut head);
        let last = rest.len() + crc.len() <= PIECE;
        // What would leave no room for the whole CRC goes into the next frame with it, by whole groups of 3.
        let len = if last { rest.len() } else { rest.len().saturating_sub(1).min(PIECE) / 3 * 3 };
        let (now, later) = rest.split_at(len);
        piece.extend_from_slice(now);
        if last {
            piece.extend_from_slice(&crc);
        }
        let mut frame = if frames.is_empty() { START.to_vec() } else { CONTINUE.to_vec() };
        encode_base64(&piece, &mut frame);
        frame.push(END);
        frames.push(frame);
        if last {
            return frames;
        }
        rest = later;
    }
}

/// CRC16 with polynomial 0x1021 from 0, not reflected.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 })
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode_base64(bytes: &[u8], text: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index) & 0x3f) as usize;
            text.push(if index <= group.len() { ALPHABET[digit] } else { b'=' });
        }
    }
}

/// Base64 as the receiver reads it (zephyr: `lib/utils/base64.c`): ends of lines anywhere, spaces only before
/// them, at most two `=` and nothing behind; an incomplete last group is left out.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut digits, mut padding, mut spaces) = (0u32, 0, 0, false);
    let mut text = text.iter().copied().peekable();
    while let Some(byte) = text.next() {
        match byte {
            b' ' => {
                spaces = true;
                continue;
            }
            b'\n' => {
                spaces = false;
                continue;
            }
            b'\r' if text.peek() == Some(&b'\n') => continue,
            _ if spaces => return None,
            _ => {}
        }
        let digit = if byte == b'=' {
            padding += 1;
            0
        } else {
            ALPHABET.iter().position(|known| *known == byte).filter(|_| padding == 0)? as u32
        };
        if padding > 2 {
            return None;
        }
        bits = bits << 6 | digit;
        digits += 1;
        if digits == 4 {
            bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
            (bits, digits) = (0, 0);
        }
    }
    Some(bytes)
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
