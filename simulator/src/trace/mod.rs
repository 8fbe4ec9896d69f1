//! The one stream of everything that happened.
//!
//! Runner, judge, reports and control server read [`Record`]s; nobody keeps a second account. On disk a
//! trace is JSON Lines; its schema is `simulator/schema/trace.schema.json`, derived from these types.

mod bus;
mod gatt;
mod record;

pub use bus::BusEvent;
pub use gatt::{AttRecord, CccdRecord, EndedBy, LinkEvent};
pub use record::{
    Artifact, BootRecord, Cause, Direction, FlashOp, FlashResult, ImageState, InitiatorEvent, Kind, PowerEvent, Record,
    RunRecord, SerialPart, SlotState, StateRecord, StepBy, Trailer,
};

/// Version of the record format; the first record of a trace carries it.
pub const SCHEMA: u32 = 1;

/// Bytes in hexadecimal, lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// Which records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// One record per flash operation.
    pub flash: bool,
    /// One record per datagram and per decoded message.
    pub messages: bool,
}

impl Default for Wants {
    fn default() -> Self {
        Self { flash: true, messages: true }
    }
}
