//! Requests and responses of Secure DFU, as they go over the control point and over a serial line.
//!
//! | opcode | request | response after `60 <opcode> 01` |
//! |---|---|---|
//! | 0x00 protocol version | | version u8, serial only |
//! | 0x01 create | object u8, size u32 | |
//! | 0x02 set PRN | packets u16 | |
//! | 0x03 get CRC | | offset u32, CRC-32 u32 |
//! | 0x04 execute | | |
//! | 0x06 select | object u8 | largest size u32, offset u32, CRC-32 u32 |
//! | 0x07 get MTU | | MTU u16, serial only |
//! | 0x08 write | data; serial only | none |
//! | 0x09 ping | id u8 | id u8, serial only |
//! | 0x0a hardware version | | part, variant, ROM, RAM, ROM page: u32 each; serial only |
//! | 0x0b firmware version | image u8 | type u8, version, address, length u32; serial only |
//! | 0x0c abort | | |
//!
//! All numbers are little endian. A response with another result than success has no payload; an extended error is
//! followed by its code (nrf5 sdk 17.1: `nrf_dfu_ble.c`, `nrf_dfu_serial.c`).

/// Opcodes (nrf5 sdk 17.1: `nrf_dfu_req_handler.h`, `nrf_dfu_op_t`).
pub mod opcode {
    /// Protocol version.
    pub const PROTOCOL_VERSION: u8 = 0x00;
    /// Create an object.
    pub const CREATE: u8 = 0x01;
    /// Set packet receipt notifications.
    pub const SET_PRN: u8 = 0x02;
    /// Get offset and CRC.
    pub const CRC: u8 = 0x03;
    /// Execute an object.
    pub const EXECUTE: u8 = 0x04;
    /// Select an object.
    pub const SELECT: u8 = 0x06;
    /// Get the MTU of a serial line.
    pub const MTU: u8 = 0x07;
    /// Write to the object, over a serial line.
    pub const WRITE: u8 = 0x08;
    /// Ping.
    pub const PING: u8 = 0x09;
    /// Hardware version.
    pub const HARDWARE_VERSION: u8 = 0x0a;
    /// Firmware version.
    pub const FIRMWARE_VERSION: u8 = 0x0b;
    /// Abort.
    pub const ABORT: u8 = 0x0c;
    /// First byte of every response.
    pub const RESPONSE: u8 = 0x60;

    /// Its name in the trace.
    #[must_use]
    pub fn name(opcode: u8) -> &'static str {
        match opcode {
            PROTOCOL_VERSION => "protocol-version",
            CREATE => "create",
            SET_PRN => "set-prn",
            CRC => "crc",
            EXECUTE => "execute",
            SELECT => "select",
            MTU => "mtu",
            WRITE => "write",
            PING => "ping",
            HARDWARE_VERSION => "hardware-version",
            FIRMWARE_VERSION => "firmware-version",
            ABORT => "abort",
            RESPONSE => "response",
            _ => "unknown",
        }
    }
}

/// The init packet, as an object.
pub const COMMAND: u8 = 1;
/// A piece of the firmware, as an object.
pub const DATA: u8 = 2;

/// Its name in the trace.
#[must_use]
pub fn object_name(object: u8) -> &'static str {
    match object {
        COMMAND => "command",
        DATA => "data",
        _ => "invalid",
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which protocol.
    ProtocolVersion,
    /// Begins an object, or begins it again.
    Create {
        /// Its type.
        object: u8,
        /// Its size in bytes.
        size: u32,
    },
    /// A notification after so many packets; 0 for none.
    SetPrn(u16),
    /// Offset and CRC of what was received.
    Crc,
    /// The object is complete.
    Execute,
    /// Turns to an object.
    Select {
        /// Its type.
        object: u8,
    },
    /// Longest frame of a serial line.
    Mtu,
    /// Bytes of the object, over a serial line.
    Write(Vec<u8>),
    /// Whether somebody is there.
    Ping(u8),
    /// What the chip is.
    HardwareVersion,
    /// What the firmware is.
    FirmwareVersion(u8),
    /// Gives the update up.
    Abort,
    /// Anything else.
    Unknown(u8),
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is nothing.
    #[error("an empty request")]
    Empty,
    /// The length is not that of the opcode.
    #[error("{} with {len} bytes, and it has {expected}", opcode::name(*.opcode))]
    Length {
        /// The opcode.
        opcode: u8,
        /// Bytes there are.
        len: usize,
        /// Bytes there should be.
        expected: usize,
    },
}

impl Malformed {
    /// The opcode, if there is one.
    #[must_use]
    pub fn opcode(self) -> Option<u8> {
        match self {
            Self::Empty => None,
            Self::Length { opcode, .. } => Some(opcode),
        }
    }
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`]: longer or shorter than its opcode has it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (&opcode, rest) = bytes.split_first().ok_or(Malformed::Empty)?;
        let length = |expected| Malformed::Length { opcode, len: bytes.len(), expected };
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        let request = match (opcode, rest) {
            (opcode::CREATE, [object, size @ ..]) if size.len() == 4 => {
                Self::Create { object: *object, size: number(size) }
            }
            (opcode::CREATE, _) => return Err(length(6)),
            (opcode::SET_PRN, [low, high]) => Self::SetPrn(u16::from_le_bytes([*low, *high])),
            (opcode::SET_PRN, _) => return Err(length(3)),
            (opcode::SELECT, [object]) => Self::Select { object: *object },
            (opcode::SELECT, _) => return Err(length(2)),
            (opcode::PING, [id]) => Self::Ping(*id),
            (opcode::PING, _) => return Err(length(2)),
            (opcode::FIRMWARE_VERSION, [image]) => Self::FirmwareVersion(*image),
            (opcode::FIRMWARE_VERSION, _) => return Err(length(2)),
            (opcode::WRITE, data) => Self::Write(data.to_vec()),
            (opcode::PROTOCOL_VERSION, []) => Self::ProtocolVersion,
            (opcode::CRC, []) => Self::Crc,
            (opcode::EXECUTE, []) => Self::Execute,
            (opcode::MTU, []) => Self::Mtu,
            (opcode::HARDWARE_VERSION, []) => Self::HardwareVersion,
            (opcode::ABORT, []) => Self::Abort,
            (
                opcode::PROTOCOL_VERSION
                | opcode::CRC
                | opcode::EXECUTE
                | opcode::MTU
                | opcode::HARDWARE_VERSION
                | opcode::ABORT,
                _,
            ) => return Err(length(1)),
            (other, _) => Self::Unknown(other),
        };
        Ok(request)
    }

    /// Its opcode.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        match self {
            Self::ProtocolVersion => opcode::PROTOCOL_VERSION,
            Self::Create { .. } => opcode::CREATE,
            Self::SetPrn(_) => opcode::SET_PRN,
            Self::Crc => opcode::CRC,
            Self::Execute => opcode::EXECUTE,
            Self::Select { .. } => opcode::SELECT,
            Self::Mtu => opcode::MTU,
            Self::Write(_) => opcode::WRITE,
            Self::Ping(_) => opcode::PING,
            Self::HardwareVersion => opcode::HARDWARE_VERSION,
            Self::FirmwareVersion(_) => opcode::FIRMWARE_VERSION,
            Self::Abort => opcode::ABORT,
            Self::Unknown(opcode) => *opcode,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![self.opcode()];
        match self {
            Self::Create { object, size } => {
                bytes.push(*object);
                bytes.extend(size.to_le_bytes());
            }
            Self::SetPrn(packets) => bytes.extend(packets.to_le_bytes()),
            Self::Select { object } => bytes.push(*object),
            Self::Ping(byte) | Self::FirmwareVersion(byte) => bytes.push(*byte),
            Self::Write(data) => bytes.extend(data),
            Self::ProtocolVersion
            | Self::Crc
            | Self::Execute
            | Self::Mtu
            | Self::HardwareVersion
            | Self::Abort
            | Self::Unknown(_) => {}
        }
        bytes
    }
}

/// What follows a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    None,
    /// The version of the protocol.
    ProtocolVersion(u8),
    /// Offset and CRC-32 of what was received.
    Crc {
        /// Bytes.
        offset: u32,
        /// CRC-32 of them.
        crc: u32,
    },
    /// An object.
    Select {
        /// Largest size in bytes.
        max_size: u32,
        /// Bytes received.
        offset: u32,
        /// CRC-32 of them.
        crc: u32,
    },
    /// Longest frame of a serial line.
    Mtu(u16),
    /// The id of a ping.
    Ping(u8),
    /// Part, variant, ROM, RAM and ROM page size.
    Hardware([u32; 5]),
    /// What an image is.
    Firmware {
        /// 0 SoftDevice, 1 application, 2 bootloader, 0xff unknown.
        kind: u8,
        /// Version, address, length.
        numbers: [u32; 3],
    },
}

/// A response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    /// Opcode of the request.
    pub request: u8,
    /// Its result.
    pub result: u8,
    /// The code of an extended error.
    pub extended: Option<u8>,
    /// What follows a success.
    pub payload: Payload,
}

/// Success.
pub const SUCCESS: u8 = 0x01;
/// An extended error: its code follows.
pub const EXTENDED_ERROR: u8 = 0x0b;

impl Response {
    /// A success.
    #[must_use]
    pub fn success(request: u8, payload: Payload) -> Self {
        Self { request, result: SUCCESS, extended: None, payload }
    }

    /// A result without payload.
    #[must_use]
    pub fn result(request: u8, result: u8) -> Self {
        Self { request, result, extended: None, payload: Payload::None }
    }

    /// Whether it is a success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.result == SUCCESS
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![opcode::RESPONSE, self.request, self.result];
        if let Some(code) = self.extended {
            bytes.push(code);
        }
        let mut words = |words: &[u32]| bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        match &self.payload {
            Payload::None => {}
            Payload::Crc { offset, crc } => words(&[*offset, *crc]),
            Payload::Select { max_size, offset, crc } => words(&[*max_size, *offset, *crc]),
            Payload::Hardware(numbers) => words(numbers),
            Payload::Firmware { kind, numbers } => {
                bytes.push(*kind);
                bytes.extend(numbers.iter().flat_map(|word| word.to_le_bytes()));
            }
            Payload::Mtu(mtu) => bytes.extend(mtu.to_le_bytes()),
            Payload::ProtocolVersion(byte) | Payload::Ping(byte) => bytes.push(*byte),
        }
        bytes
    }

    /// Reads a response; `None` for what is none. What a success carries is what its opcode has; without a payload
    /// that is whole, there is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [opcode::RESPONSE, request, result, rest @ ..] = bytes else { return None };
        let (request, result) = (*request, *result);
        if result == EXTENDED_ERROR {
            return Some(Self { request, result, extended: rest.first().copied(), payload: Payload::None });
        }
        if result != SUCCESS {
            return Some(Self::result(request, result));
        }
        let word = |at: usize| {
            let bytes = rest.get(at..at + 4)?;
            Some(bytes.iter().rev().fold(0, |number: u32, byte| number << 8 | u32::from(*byte)))
        };
        let payload = match request {
            opcode::CRC => word(0).zip(word(4)).map(|(offset, crc)| Payload::Crc { offset, crc }),
            opcode::SELECT => word(0).zip(word(4)).zip(word(8)).map(|((max_size, offset), crc)| Payload::Select {
                max_size,
                offset,
                crc,
            }),
            opcode::MTU => match rest {
                [low, high, ..] => Some(Payload::Mtu(u16::from_le_bytes([*low, *high]))),
                _ => None,
            },
            opcode::PING => rest.first().map(|id| Payload::Ping(*id)),
            opcode::PROTOCOL_VERSION => rest.first().map(|version| Payload::ProtocolVersion(*version)),
            opcode::HARDWARE_VERSION => {
                let mut numbers = [0; 5];
                let whole = numbers.iter_mut().enumerate().all(|(at, number)| match word(4 * at) {
                    Some(word) => {
                        *number = word;
                        true
                    }
                    None => false,
                });
                whole.then_some(Payload::Hardware(numbers))
            }
            opcode::FIRMWARE_VERSION => match (rest.first(), word(1), word(5), word(9)) {
                (Some(kind), Some(version), Some(address), Some(len)) => {
                    Some(Payload::Firmware { kind: *kind, numbers: [version, address, len] })
                }
                _ => None,
            },
            _ => None,
        };
        Some(Self::success(request, payload.unwrap_or(Payload::None)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_those_of_the_trace_in_the_documentation() {
        for (request, bytes) in [
            (Request::Select { object: COMMAND }, "0601"),
            (Request::Create { object: COMMAND, size: 141 }, "01018d000000"),
            (Request::Crc, "03"),
            (Request::Execute, "04"),
            (Request::SetPrn(0), "020000"),
            (Request::Create { object: DATA, size: 0x388 }, "010288030000"),
            (Request::Abort, "0c"),
            (Request::Unknown(0x05), "05"),
        ] {
            assert_eq!(hex::encode(request.emit()), bytes);
            assert_eq!(Request::parse(&request.emit()), Ok(request));
        }
        let select = Payload::Select { max_size: 512, offset: 0, crc: 0 };
        assert_eq!(hex::encode(Response::success(opcode::SELECT, select).emit()), "600601000200000000000000000000");
        let extended = Response { extended: Some(7), ..Response::result(opcode::EXECUTE, EXTENDED_ERROR) };
        assert_eq!(extended.emit(), [0x60, 0x04, 0x0b, 0x07]);
    }

    #[test]
    fn lengths_are_exact() {
        for (bytes, expected) in [("01", 6), ("0101", 6), ("01018d00000000", 6), ("0200", 3), ("06", 2), ("0300", 1)] {
            let bytes = hex::decode(bytes).unwrap();
            let malformed = Malformed::Length { opcode: bytes[0], len: bytes.len(), expected };
            assert_eq!(Request::parse(&bytes), Err(malformed));
        }
        assert_eq!(Request::parse(&[]), Err(Malformed::Empty));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(request) = Request::parse(&bytes)
                && !matches!(request, Request::Unknown(_))
            {
                prop_assert_eq!(request.emit(), bytes.clone());
            }
            if let Some(response) = Response::parse(&bytes) {
                let again = Response::parse(&response.emit());
                prop_assert_eq!(again, Some(response));
            }
        }
    }
}
