//! The serial port of a target: bytes in, packets to the server, frames out.
//!
//! The receiver is part of the device: what it has collected is gone with a reset, and while the target is dark
//! every line is lost.

use super::{Peer, World};
use crate::device::Board;
use crate::device::program::Saying;
use crate::nordic::legacy::hci;
use crate::nordic::{Endpoint, slip};
use crate::smp::console::{Decoder, LINE_MAX, Line, Part, START, encode};
use crate::trace::{Direction, Kind, SerialPart, hex};

/// Longest part of a frame of SLIP that is kept in the trace, in bytes.
const SLIP_KEPT: usize = 1025;

/// What is between the target and its initiators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Carrier {
    /// Packets, as they are.
    #[default]
    Direct,
    /// Packets of a network: the recovery of a bootloader has none and is not reached.
    Network,
    /// A Bluetooth LE link: the same, and packets come by [`World::central`].
    Bluetooth,
    /// The same by controllers, which agree on MTU, pairing and parameters without the world.
    Adapter,
    /// The bytes of a serial port.
    Console,
}

/// What puts frames of a serial line together.
pub(super) enum Frames {
    /// As Secure DFU frames them.
    Slip(slip::Decoder),
    /// As Legacy DFU does.
    Hci(hci::Decoder),
}

impl Frames {
    /// What a board listens with, where it speaks frames.
    fn of(board: &Board) -> Option<Self> {
        let slip = board.as_nordic().map(|own| Self::Slip(slip::Decoder::new(own.dfu.serial_frame)));
        slip.or_else(|| board.as_legacy().map(|_| Self::Hci(hci::Decoder::default())))
    }

    /// Takes a byte: a frame, or what became of it.
    fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, &'static str>> {
        Some(match self {
            Self::Slip(decoder) => match decoder.push(byte)? {
                slip::Decoded::Frame(frame) => Ok(frame),
                slip::Decoded::Broken => Err("an escape that is none"),
                slip::Decoded::Stuck => {
                    Err("longer than the buffer: nothing is received any more until the next reset")
                }
            },
            Self::Hci(decoder) => match decoder.push(byte)? {
                hci::Decoded::Frame(frame) => Ok(frame),
                hci::Decoded::TooLong => {
                    Err("longer than the buffer: there is room for 5 bytes until such a frame comes")
                }
            },
        })
    }

    fn encode(&self, frame: &[u8]) -> Vec<u8> {
        match self {
            Self::Slip(_) => slip::encode(frame),
            Self::Hci(_) => hci::frame(frame),
        }
    }
}

impl World {
    /// Says what is between the target and its initiators; [`Carrier::Direct`] if nobody does.
    pub fn set_carrier(&mut self, carrier: Carrier) {
        self.carrier = carrier;
        let serial = carrier == Carrier::Console;
        match Frames::of(&self.board) {
            Some(frames) => self.slip = serial.then_some((frames, 0)),
            None => self.console = serial.then(|| Decoder::new(usize::from(self.board.smp.buffer_size))),
        }
    }

    /// A program starts: its receiver is empty and has the buffer of that program.
    pub(super) fn start_console(&mut self) {
        if let (Some((decoder, _)), Some(fresh)) = (&mut self.slip, Frames::of(&self.board)) {
            *decoder = fresh;
        }
        if self.console.is_some() {
            let size = self.device().map_or(self.board.smp.buffer_size, |device| device.buffers().0);
            self.console = Some(Decoder::new(usize::from(size)));
        }
    }

    /// Bytes of SLIP arrive at the serial port now. Only the bootloader listens there.
    pub(super) fn receive_slip(&mut self, peer: Peer, bytes: &[u8]) {
        for byte in bytes {
            let Some((decoder, last)) = &mut self.slip else { return };
            *last = peer;
            let Some(decoded) = decoder.push(*byte) else { continue };
            let listens = self.running().is_some_and(|device| device.dfu_mode().is_some());
            let lost = self.unreachable().or((!listens).then_some("the application has no serial port"));
            let (frame, error) = match decoded {
                Ok(frame) => (frame, None),
                Err(error) => (Vec::new(), Some(error)),
            };
            let record = self.record_frame(Direction::ToTarget, &frame, error, lost, None);
            if lost.is_some() || error.is_some() {
                self.lost += 1;
            } else {
                self.program_written(0, Endpoint::Serial, &frame, record);
            }
        }
    }

    /// Sends what the program says as a frame of SLIP.
    pub(super) fn send_frame(&mut self, saying: &Saying, cause: Option<u64>) {
        let Some((peer, framed)) = self.slip.as_ref().map(|(frames, peer)| (*peer, frames.encode(&saying.value)))
        else {
            return;
        };
        let lost = (!self.link).then_some("the link is down");
        let record = self.record_frame(Direction::FromTarget, &saying.value, None, lost, cause);
        if lost.is_some() {
            self.lost += 1;
            return;
        }
        self.record_saying(saying, record);
        self.outbox.push_back((peer, framed));
    }

    fn record_frame(
        &mut self,
        direction: Direction,
        frame: &[u8],
        error: Option<&str>,
        lost: Option<&str>,
        cause: Option<u64>,
    ) -> u64 {
        if !self.wants.messages && lost.is_none() {
            return self.next_record;
        }
        let kind = Kind::SerialFrame {
            direction,
            len: frame.len() as u64,
            data: hex(&frame[..frame.len().min(SLIP_KEPT)]),
            part: SerialPart::Slip,
            error: error.map(str::to_owned),
            abandoned: 0,
            lost: lost.map(str::to_owned),
        };
        self.record_caused(cause, kind)
    }

    /// Bytes arrive at the serial port now.
    pub(super) fn receive_console(&mut self, peer: Peer, bytes: &[u8]) {
        for byte in bytes {
            // What a line leads to may reset the device, and with it the receiver.
            let Some(line) = self.console.as_mut().and_then(|console| console.push(*byte)) else { continue };
            let lost = self.unreachable();
            let record = self.record_line(Direction::ToTarget, &line, lost, None);
            if lost.is_some() {
                self.lost += 1;
                self.start_console();
            } else if let Ok(Some(packet)) = line.packet {
                self.receive_packet(peer, &packet, Some(record));
            }
        }
    }

    /// The bytes that carry this packet.
    pub(super) fn send_console(&mut self, packet: &[u8], cause: u64) -> Vec<u8> {
        let frames = encode(packet);
        for frame in &frames {
            let part = if frame.starts_with(&START) { Part::Start } else { Part::Continuation };
            let line = Line { bytes: frame.clone(), len: frame.len(), part, packet: Ok(None), abandoned: 0 };
            self.record_line(Direction::FromTarget, &line, None, Some(cause));
        }
        frames.concat()
    }

    fn record_line(&mut self, direction: Direction, line: &Line, lost: Option<&str>, cause: Option<u64>) -> u64 {
        if !self.wants.messages && lost.is_none() {
            return self.next_record;
        }
        let kind = Kind::SerialFrame {
            direction,
            len: line.len as u64,
            data: hex(&line.bytes[..line.bytes.len().min(LINE_MAX)]),
            part: match line.part {
                Part::Text => SerialPart::Text,
                Part::Start => SerialPart::Start,
                Part::Continuation => SerialPart::Continuation,
            },
            error: line.packet.as_ref().err().map(ToString::to_string),
            abandoned: line.abandoned as u64,
            lost: lost.map(str::to_owned),
        };
        self.record_caused(cause, kind)
    }
}
