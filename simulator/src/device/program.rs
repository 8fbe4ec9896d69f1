//! What a program that speaks by characteristics hears and says: bootloaders and applications
//! of Nordic and Silicon Labs.
//!
//! Such a program is a value without I/O. It is told what happens ([`Input`]), says what comes of it ([`Output`]), and
//! shows what it waits for: a step of flash work that is to be done next, and a time.

use brickproof_flash_model::flash::Flash;

use super::{Battery, Endpoint, Retained};
use crate::gatt::{AttError, ConnectionParameters};
use crate::nordic::SharedBond;
use crate::trace::Cause;

/// What happens to a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// A central has connected.
    Connected {
        /// It has keys of an earlier pairing.
        bonded: bool,
    },
    /// Its connection has these parameters: told when it begins, and whenever they change.
    Parameters(ConnectionParameters),
    /// It has been paired with, and has keys now.
    Bonded,
    /// Something asks for the bootloader: this is what is known of the central, in the application, at that time.
    AskedBy(SharedBond),
    /// Its connection has ended.
    Disconnected,
    /// A characteristic was written, or a frame has come over the serial line.
    Written {
        /// Which.
        to: Endpoint,
        /// The value.
        value: &'a [u8],
    },
    /// A characteristic was written by a request that the program answers ([`Endpoint::is_answered_by_program`]).
    Asked {
        /// The request, for its answer.
        request: u64,
        /// Which.
        to: Endpoint,
        /// The value.
        value: &'a [u8],
    },
    /// The central has confirmed an indication.
    Confirmed,
    /// The step of flash work that was begun has ended.
    Flashed {
        /// Whether the flash took it.
        done: bool,
    },
    /// Its time has come.
    Due,
}

/// What a program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Says something to the central.
    Say(Saying),
    /// Answers a request that it was asked by.
    Answer {
        /// Which.
        request: u64,
        /// What comes of it.
        answer: Result<(), AttError>,
    },
    /// The processor takes a fault: why.
    Fault(String),
    /// Ends the connection.
    Disconnect,
    /// Stops advertising: it will not be connected to any more.
    StopAdvertising,
    /// Centrals with a bond are to be told, when they come back, that attributes have changed.
    AttributesChange,
    /// Resets the device.
    Reset(Cause),
    /// Something was lost for want of room.
    Dropped {
        /// Which pool.
        pool: &'static str,
        /// How much of it there is.
        size: u64,
        /// What was lost.
        what: String,
    },
    /// Something that is worth knowing, in words.
    Note(String),
}

/// A value that a program notifies or indicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    /// The characteristic.
    pub from: Endpoint,
    /// The value.
    pub value: Vec<u8>,
    /// The call that it answers ([`crate::nordic::calls`]); of a packet, it is its receipt.
    pub call: &'static str,
    /// Whether it is indicated: the central is to confirm it.
    pub indicated: bool,
}

/// What a program sees of the device while it handles an input.
pub struct Surroundings<'a> {
    /// The flash, as far as steps of flash work have come.
    pub flash: &'a Flash,
    /// Registers that a reset leaves alone.
    pub retained: &'a mut Retained,
    /// Charge of the battery.
    pub battery: Battery,
    /// Time in microseconds.
    pub now_us: u64,
}
