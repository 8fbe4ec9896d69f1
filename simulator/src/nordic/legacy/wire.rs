//! Control point requests and answers of Legacy DFU (nrf5 sdk 11: `ble_dfu.c`).
//!
//! | request | what it is | answer |
//! |---|---|---|
//! | `01 <mode>` | sizes are to follow | `10 01 <status>`, when flash is erased for them |
//! | `02 00` | the init packet is to follow | |
//! | `02 01` | it is complete | `10 02 <status>` |
//! | `03` | the image is to follow | `10 03 <status>`, when the last of it is in flash |
//! | `04` | the image is to be checked | `10 04 <status>` |
//! | `05` | it is to be activated, and the device to reset | |
//! | `06` | the device is to reset | |
//! | `07` | how many bytes have come | `10 07 01 <bytes u32>` |
//! | `08 <packets u16>` | a receipt after so many packets | |
//!
//! A receipt is `11 <bytes u32>`. What follows is written to the packet characteristic: three sizes of SoftDevice,
//! bootloader and application, u32 each; the init packet; the image. All numbers are little endian.

/// Opcodes.
pub mod opcode {
    /// Sizes are to follow.
    pub const START: u8 = 1;
    /// The init packet begins or ends.
    pub const INIT: u8 = 2;
    /// The image is to follow.
    pub const RECEIVE: u8 = 3;
    /// The image is to be checked.
    pub const VALIDATE: u8 = 4;
    /// It is to be activated.
    pub const ACTIVATE: u8 = 5;
    /// The device is to reset.
    pub const RESET: u8 = 6;
    /// How many bytes have come.
    pub const REPORT_SIZE: u8 = 7;
    /// Packet receipt notifications.
    pub const PRN: u8 = 8;
    /// First byte of an answer.
    pub const RESPONSE: u8 = 0x10;
    /// First byte of a receipt.
    pub const RECEIPT: u8 = 0x11;
}

/// Bytes of the three sizes.
pub const SIZES_LEN: usize = 12;

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Sizes are to follow.
    Start {
        /// What is updated: 1 SoftDevice, 2 bootloader, 4 application, or the sum of some.
        mode: u8,
    },
    /// The init packet is to follow.
    InitBegin,
    /// It is complete.
    InitEnd,
    /// The image is to follow.
    Receive,
    /// The image is to be checked.
    Validate,
    /// It is to be activated, and the device to reset.
    Activate,
    /// The device is to reset.
    Reset,
    /// How many bytes have come.
    ReportSize,
    /// A receipt after so many packets; 0 for none.
    Prn(u16),
}

/// A value that is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing.
    Empty,
    /// Its opcode wants more bytes.
    Short(u8),
    /// Its opcode is not known.
    Unknown(u8),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing"),
            Self::Short(opcode) => write!(f, "too short for opcode {opcode:#04x}"),
            Self::Unknown(opcode) => write!(f, "opcode {opcode:#04x} is not known"),
        }
    }
}

impl Request {
    /// Reads a request; what is too long is not looked at.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let (&opcode, rest) = value.split_first().ok_or(Malformed::Empty)?;
        let first = rest.first().copied().ok_or(Malformed::Short(opcode));
        Ok(match opcode {
            opcode::START => Self::Start { mode: first? },
            opcode::INIT if first? == 1 => Self::InitEnd,
            opcode::INIT => Self::InitBegin,
            opcode::RECEIVE => Self::Receive,
            opcode::VALIDATE => Self::Validate,
            opcode::ACTIVATE => Self::Activate,
            opcode::RESET => Self::Reset,
            opcode::REPORT_SIZE => Self::ReportSize,
            opcode::PRN => {
                let packets = rest.first_chunk().ok_or(Malformed::Short(opcode))?;
                Self::Prn(u16::from_le_bytes(*packets))
            }
            unknown => return Err(Malformed::Unknown(unknown)),
        })
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(self) -> Vec<u8> {
        match self {
            Self::Start { mode } => vec![opcode::START, mode],
            Self::InitBegin => vec![opcode::INIT, 0],
            Self::InitEnd => vec![opcode::INIT, 1],
            Self::Receive => vec![opcode::RECEIVE],
            Self::Validate => vec![opcode::VALIDATE],
            Self::Activate => vec![opcode::ACTIVATE],
            Self::Reset => vec![opcode::RESET],
            Self::ReportSize => vec![opcode::REPORT_SIZE],
            Self::Prn(packets) => {
                let [low, high] = packets.to_le_bytes();
                vec![opcode::PRN, low, high]
            }
        }
    }

    /// Its name in the trace.
    #[must_use]
    pub fn call(self) -> &'static str {
        match self {
            Self::Start { .. } => "legacy-start",
            Self::InitBegin => "legacy-init-begin",
            Self::InitEnd => "legacy-init-end",
            Self::Receive => "legacy-receive",
            Self::Validate => "legacy-validate",
            Self::Activate => "legacy-activate",
            Self::Reset => "legacy-reset",
            Self::ReportSize => "legacy-report-size",
            Self::Prn(_) => "legacy-prn",
        }
    }
}

/// What is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The answer to a request.
    Response {
        /// Its opcode.
        request: u8,
        /// Its status: 1 is success.
        status: u8,
    },
    /// How many bytes have come.
    Size(u32),
    /// The same, unasked: a receipt.
    Receipt(u32),
}

impl Answer {
    /// Reads an answer; `None` when it is none.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_le_bytes);
        match value {
            [opcode::RECEIPT, bytes @ ..] => number(bytes).map(Self::Receipt),
            [opcode::RESPONSE, opcode::REPORT_SIZE, 1, bytes @ ..] if !bytes.is_empty() => {
                number(bytes).map(Self::Size)
            }
            [opcode::RESPONSE, request, status] => Some(Self::Response { request: *request, status: *status }),
            _ => None,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn emit(self) -> Vec<u8> {
        match self {
            Self::Response { request, status } => vec![opcode::RESPONSE, request, status],
            Self::Size(bytes) => [&[opcode::RESPONSE, opcode::REPORT_SIZE, 1][..], &bytes.to_le_bytes()].concat(),
            Self::Receipt(bytes) => [&[opcode::RECEIPT][..], &bytes.to_le_bytes()].concat(),
        }
    }
}

/// The three sizes; `None` when they are not exactly that.
#[must_use]
pub fn parse_sizes(value: &[u8]) -> Option<[u32; 3]> {
    let bytes: &[u8; SIZES_LEN] = value.try_into().ok()?;
    let mut sizes = [0; 3];
    for (size, word) in sizes.iter_mut().zip(bytes.as_chunks().0) {
        *size = u32::from_le_bytes(*word);
    }
    Some(sizes)
}

/// Their bytes.
#[must_use]
pub fn emit_sizes(sizes: [u32; 3]) -> Vec<u8> {
    sizes.map(u32::to_le_bytes).concat()
}

/// The name of the call with this opcode, as what answers to it says it.
#[must_use]
pub fn call_of_opcode(opcode: u8) -> &'static str {
    match opcode {
        opcode::START => "legacy-start",
        opcode::INIT => "legacy-init-end",
        opcode::RECEIVE => "legacy-receive",
        opcode::VALIDATE => "legacy-validate",
        opcode::REPORT_SIZE => "legacy-report-size",
        opcode::PRN => "legacy-prn",
        _ => crate::nordic::calls::MALFORMED,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn byte_for_byte() {
        let requests = [
            (Request::Start { mode: 4 }, &[1, 4][..]),
            (Request::InitBegin, &[2, 0]),
            (Request::InitEnd, &[2, 1]),
            (Request::Receive, &[3]),
            (Request::Validate, &[4]),
            (Request::Activate, &[5]),
            (Request::Reset, &[6]),
            (Request::ReportSize, &[7]),
            (Request::Prn(0x1234), &[8, 0x34, 0x12]),
        ];
        for (request, bytes) in requests {
            assert_eq!((request.emit().as_slice(), Request::parse(bytes)), (bytes, Ok(request)));
        }
        let wrong = [&[][..], &[1], &[2], &[8, 1], &[9], &[0x10, 1, 1]].map(|bytes| Request::parse(bytes).unwrap_err());
        let short = Malformed::Short;
        let unknown = Malformed::Unknown;
        assert_eq!(wrong, [Malformed::Empty, short(1), short(2), short(8), unknown(9), unknown(0x10)]);
        assert_eq!(Answer::Size(0x0102_0304).emit(), [0x10, 7, 1, 4, 3, 2, 1]);
        assert_eq!(Answer::Receipt(20).emit(), [0x11, 20, 0, 0, 0]);
        assert_eq!(emit_sizes([1, 2, 3]), [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(parse_sizes(&[0; 11]), None);
    }

    proptest! {
        #[test]
        fn what_is_read_writes_back(value in prop::collection::vec(any::<u8>(), 0..9), sizes in any::<[u32; 3]>()) {
            if let Ok(request) = Request::parse(&value) {
                prop_assert_eq!(Request::parse(&request.emit()), Ok(request));
            }
            if let Some(answer) = Answer::parse(&value) {
                prop_assert_eq!(answer.emit(), value);
            }
            prop_assert_eq!(parse_sizes(&emit_sizes(sizes)), Some(sizes));
        }
    }
}
