//! The serial port of a target: bytes in, packets to the server, frames out.
//!
//! The receiver is part of the device: what it has collected is gone with a reset, and while the target is dark
//! every line is lost.

use super::{Peer, World};
use crate::smp::console::{Decoder, LINE_MAX, Line, Part, START, encode};
use crate::trace::{Direction, Kind, SerialPart, hex};

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

impl World {
    /// Says what is between the target and its initiators; [`Carrier::Direct`] if nobody does.
    pub fn set_carrier(&mut self, carrier: Carrier) {
        self.carrier = carrier;
        self.console = (carrier == Carrier::Console).then(|| Decoder::new(usize::from(self.board.smp.buffer_size)));
    }

    /// A program starts: its receiver is empty and has the buffer of that program.
    pub(super) fn start_console(&mut self) {
        if self.console.is_some() {
            let size = self.device().map_or(self.board.smp.buffer_size, |device| device.buffers().0);
            self.console = Some(Decoder::new(usize::from(size)));
        }
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
