//! A link: two ends, and packets that go to and fro between them at connection events (volume 6, part B, 4.5).
//!
//! Each end numbers its packets by one bit and acknowledges the other's by another, as on the air (4.5.9): a lost packet
//! is sent again in a later exchange, and data arrives in order and once whatever is lost. An end whose peer is gone
//! hears nothing, and gives the link up when the supervision timeout is over (4.5.2).
//!
//! Simpler than on the air: a peripheral listens at every event, whatever its latency; clocks do not drift; and an
//! instant at which something changes is put off until the peripheral has heard of it, where a real one would be lost
//! with the reason "instant passed".

mod control;
mod encryption;
mod exchange;
pub(super) mod phy;

use std::collections::VecDeque;

use super::address::Address;
use super::host::Controller;
use control::Control;
pub(super) use control::{Kind, LengthLimits};
use encryption::Encryption;
use exchange::Phase;
use phy::{Phy, Phys};

/// Which end of a link the central is.
pub(super) const CENTRAL: usize = 0;
/// Which end of a link the peripheral is.
pub(super) const PERIPHERAL: usize = 1;
/// Connections of one controller.
pub(super) const LINKS_MAX: usize = 16;
/// Connection events after which a link that never worked is given up (volume 6, part B, 4.5.2).
const ESTABLISHING_EVENTS: u64 = 6;
/// Octets and time of data packets before anyone has said anything else (volume 6, part B, 4.5.10).
const FIRST_LIMITS: (u16, u16) = (27, 328);
/// The longest packets that are received: octets, and microseconds on the coded physical layer.
pub(super) const LENGTH_MAX: (u16, u16) = (251, 17040);

/// How a connection keeps time, in the units of commands: 1.25 ms, events, 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) interval: u16,
    pub(super) latency: u16,
    pub(super) timeout: u16,
}

impl Parameters {
    pub(super) fn interval_us(self) -> u64 {
        u64::from(self.interval) * 1250
    }

    pub(super) fn timeout_us(self) -> u64 {
        u64::from(self.timeout) * 10_000
    }
}

/// Data of the host that is not yet on the air as a whole.
#[derive(Debug)]
struct Data {
    start: bool,
    bytes: Vec<u8>,
    sent: usize,
}

/// What a packet on the air carries.
#[derive(Clone, Debug)]
enum Pdu {
    Empty,
    /// A fragment of data; `last` of what the host gave as one packet.
    Data {
        start: bool,
        last: bool,
        bytes: Vec<u8>,
    },
    Control(Control),
}

impl Pdu {
    /// Length of its payload, in bytes.
    fn length(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Data { bytes, .. } => bytes.len(),
            Self::Control(control) => control.length(),
        }
    }
}

/// A packet on the air.
#[derive(Clone, Debug)]
struct Packet {
    sn: bool,
    nesn: bool,
    /// The sender has more.
    more: bool,
    pdu: Pdu,
}

/// One end of a link.
#[derive(Debug)]
pub(super) struct End {
    /// `None` once it has left the link, or its controller has forgotten it.
    pub(super) controller: Option<usize>,
    pub(super) handle: u16,
    /// The other end's address, as it was on the air.
    pub(super) peer: Address,
    sn: bool,
    nesn: bool,
    in_flight: Option<Pdu>,
    control: VecDeque<Control>,
    data: VecDeque<Data>,
    heard: Option<u64>,
    /// It has answered the other's goodbye when it has sent once more.
    leaving: Option<super::status::Status>,
    pub(super) closing: bool,
    pub(super) encryption: Encryption,
    /// Procedures that this end's host has begun and not heard the end of.
    pub(super) asked: Vec<Kind>,
    /// Its host has to answer the peripheral's request for other parameters.
    pub(super) owes_parameters: bool,
    sent_version: bool,
    pub(super) peer_version: Option<[u8; 5]>,
    pub(super) peer_features: Option<u64>,
    /// The most that it sends: octets, microseconds.
    pub(super) tx_limits: (u16, u16),
    /// The most that it may send and receive, by what both have said.
    effective: LengthLimits,
    phys: (Phys, Phys),
}

impl End {
    pub(super) fn new(number: usize, handle: u16, controller: &Controller) -> Self {
        Self {
            controller: Some(number),
            handle,
            peer: Address::default(),
            sn: false,
            nesn: false,
            in_flight: None,
            control: VecDeque::new(),
            data: VecDeque::new(),
            heard: None,
            leaving: None,
            closing: false,
            encryption: Encryption::default(),
            asked: Vec::new(),
            owes_parameters: false,
            sent_version: false,
            peer_version: None,
            peer_features: None,
            tx_limits: controller.data_length,
            effective: LengthLimits { rx: FIRST_LIMITS, tx: FIRST_LIMITS },
            phys: controller.phys,
        }
    }

    /// Data from the host, which has asked for the credit of one packet.
    pub(super) fn queue(&mut self, start: bool, bytes: Vec<u8>) {
        self.data.push_back(Data { start, bytes, sent: 0 });
    }

    /// Buffers of the controller that this end uses.
    pub(super) fn buffers(&self) -> usize {
        let last_in_flight = matches!(self.in_flight, Some(Pdu::Data { last: true, .. }));
        self.data.len() + usize::from(last_in_flight)
    }

    /// Remembers that the host waits for the outcome of a procedure; false when it does already.
    pub(super) fn ask(&mut self, kind: Kind) -> bool {
        let new = !self.asked.contains(&kind);
        if new {
            self.asked.push(kind);
        }
        new
    }

    /// Whether the host waited for it; it does not any more.
    fn answered(&mut self, kind: Kind) -> bool {
        let before = self.asked.len();
        self.asked.retain(|asked| *asked != kind);
        self.asked.len() < before
    }
}

/// A change that takes place at one connection event on both sides.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// `None` until it is on its way.
    instant: Option<u16>,
    what: What,
}

/// What changes at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Parameters(Parameters),
    /// From the central to the peripheral, and back.
    Phys(Phy, Phy),
    ChannelMap([u8; 5]),
}

/// Two ends and the time between them.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    pub(super) parameters: Parameters,
    pub(super) phys: (Phy, Phy),
    pub(super) channel_map: [u8; 5],
    /// When the present connection event began or the next one begins.
    anchor: u64,
    /// When the link was made.
    made: u64,
    counter: u16,
    phase: Phase,
    /// When the present phase is over; `None`: never again.
    at: Option<u64>,
    changes: VecDeque<Change>,
}

impl Link {
    pub(super) fn new(ends: [End; 2], anchor: u64, parameters: Parameters, phy: Phy) -> Self {
        Self {
            ends,
            parameters,
            phys: (phy, phy),
            channel_map: [0xFF, 0xFF, 0xFF, 0xFF, 0x1F],
            anchor,
            made: anchor,
            counter: u16::MAX,
            phase: Phase::Between,
            at: Some(anchor),
            changes: VecDeque::new(),
        }
    }

    /// When something happens on the air.
    pub(super) fn next(&self) -> Option<u64> {
        self.at
    }

    /// When each end gives the link up.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (usize, u64)> {
        let present = self.ends.iter().enumerate().filter(|(_, end)| end.controller.is_some());
        present.map(|(number, end)| {
            let at = match end.heard {
                None => self.made + ESTABLISHING_EVENTS * self.parameters.interval_us(),
                Some(heard) => heard + self.parameters.timeout_us(),
            };
            (number, at)
        })
    }

    /// The physical layer that an end sends on.
    pub(super) fn tx_phy(&self, end: usize) -> Phy {
        if end == CENTRAL { self.phys.0 } else { self.phys.1 }
    }

    /// What a central's controller does by itself once a link is made: it asks for longer packets.
    pub(super) fn begin_procedures(&mut self, central: &Controller) {
        if central.data_length != FIRST_LIMITS {
            self.ask_length(CENTRAL);
        }
    }
}
