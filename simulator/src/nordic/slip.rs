//! SLIP, as the nRF5 SDK frames a serial line with it (nrf5 sdk 17.1: `slip.c`): an end behind each frame and none
//! before it.

const END: u8 = 0xc0;
const ESC: u8 = 0xdb;
const ESC_END: u8 = 0xdc;
const ESC_ESC: u8 = 0xdd;

/// A frame as it goes over the line.
#[must_use]
pub fn encode(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(frame.len() + 1);
    for byte in frame {
        match *byte {
            END => bytes.extend([ESC, ESC_END]),
            ESC => bytes.extend([ESC, ESC_ESC]),
            byte => bytes.push(byte),
        }
    }
    bytes.push(END);
    bytes
}

/// What a line has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A frame; an end behind another one is an empty frame.
    Frame(Vec<u8>),
    /// A frame with an escape that is none; it is dropped.
    Broken,
    /// The frame is longer than the buffer: the decoder of the SDK is stuck until the device resets.
    Stuck,
}

/// Puts frames together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoder {
    size: usize,
    frame: Vec<u8>,
    escaped: bool,
    broken: bool,
    stuck: bool,
    /// Whether a frame that is too long is given up at its end, as a host does, or the decoder gets stuck.
    recovers: bool,
}

impl Decoder {
    /// A decoder for frames of at most `size` bytes, as the SDK has it: it gets stuck.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { size, frame: Vec::new(), escaped: false, broken: false, stuck: false, recovers: false }
    }

    /// One that drops a frame that is too long.
    #[must_use]
    pub fn recovering(size: usize) -> Self {
        Self { recovers: true, ..Self::new(size) }
    }

    /// Takes a byte.
    pub fn push(&mut self, byte: u8) -> Option<Decoded> {
        if self.stuck {
            return None;
        }
        if byte == END {
            self.escaped = false;
            let frame = std::mem::take(&mut self.frame);
            return Some(if std::mem::take(&mut self.broken) { Decoded::Broken } else { Decoded::Frame(frame) });
        }
        if self.broken {
            return None;
        }
        let byte = match (std::mem::take(&mut self.escaped), byte) {
            (true, ESC_END) => END,
            (true, ESC_ESC) => ESC,
            (true, _) => {
                self.broken = true;
                return None;
            }
            (false, ESC) => {
                self.escaped = true;
                return None;
            }
            (false, byte) => byte,
        };
        if self.frame.len() < self.size {
            self.frame.push(byte);
        } else if self.recovers {
            self.broken = true;
        } else {
            self.stuck = true;
            return Some(Decoded::Stuck);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Decoded> {
        bytes.iter().filter_map(|byte| decoder.push(*byte)).collect()
    }

    #[test]
    fn bytes_are_those_of_the_sdk() {
        assert_eq!(encode(&[0x09, 0xc0, 0xdb]), [0x09, 0xdb, 0xdc, 0xdb, 0xdd, 0xc0]);
        let mut decoder = Decoder::new(4);
        assert_eq!(decoded(&mut decoder, &[0x01, 0xdb, 0x01, 0x02, 0xc0]), [Decoded::Broken]);
        assert_eq!(decoded(&mut decoder, &[0xc0]), [Decoded::Frame(Vec::new())]);
        assert_eq!(decoded(&mut decoder, &[1, 2, 3, 4, 5, 0xc0, 1, 0xc0]), [Decoded::Stuck]);
        let mut host = Decoder::recovering(4);
        let all = decoded(&mut host, &[1, 2, 3, 4, 5, 0xc0, 1, 0xc0]);
        assert_eq!(all, [Decoded::Broken, Decoded::Frame(vec![1])]);
    }

    proptest! {
        #[test]
        fn frames_come_back(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5)) {
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encode(frame)).collect();
            let mut decoder = Decoder::new(40);
            let back: Vec<_> = decoded(&mut decoder, &bytes);
            prop_assert_eq!(back, frames.into_iter().map(Decoded::Frame).collect::<Vec<_>>());
        }
    }
}
