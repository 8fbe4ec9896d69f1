//! One controller, as far as it is not a link: what its host has set, and the packets that wait for it.

use std::collections::VecDeque;

use super::address::Address;
use super::advertising::Set;
use super::codec::Fields;
use super::initiating::Initiator;
use super::link::phy::Phys;
use super::scanning::Scanner;
use super::status::Status;

/// Codes of events (volume 4, part E, 7.7).
pub(super) mod code {
    pub(in super::super) const DISCONNECTION_COMPLETE: u8 = 0x05;
    pub(in super::super) const ENCRYPTION_CHANGE: u8 = 0x08;
    pub(in super::super) const READ_REMOTE_VERSION_COMPLETE: u8 = 0x0C;
    pub(in super::super) const COMMAND_COMPLETE: u8 = 0x0E;
    pub(in super::super) const COMMAND_STATUS: u8 = 0x0F;
    pub(in super::super) const NUMBER_OF_COMPLETED_PACKETS: u8 = 0x13;
    pub(in super::super) const DATA_BUFFER_OVERFLOW: u8 = 0x1A;
    pub(in super::super) const ENCRYPTION_KEY_REFRESH_COMPLETE: u8 = 0x30;
    pub(in super::super) const LE_META: u8 = 0x3E;
}

/// Subevents of the LE Meta event (7.7.65).
pub(super) mod le {
    pub(in super::super) const CONNECTION_COMPLETE: u8 = 0x01;
    pub(in super::super) const ADVERTISING_REPORT: u8 = 0x02;
    pub(in super::super) const CONNECTION_UPDATE_COMPLETE: u8 = 0x03;
    pub(in super::super) const READ_REMOTE_FEATURES_COMPLETE: u8 = 0x04;
    pub(in super::super) const LTK_REQUEST: u8 = 0x05;
    pub(in super::super) const PARAMETER_REQUEST: u8 = 0x06;
    pub(in super::super) const DATA_LENGTH_CHANGE: u8 = 0x07;
    pub(in super::super) const ENHANCED_CONNECTION_COMPLETE: u8 = 0x0A;
    pub(in super::super) const PHY_UPDATE_COMPLETE: u8 = 0x0C;
    pub(in super::super) const EXTENDED_ADVERTISING_REPORT: u8 = 0x0D;
    pub(in super::super) const SCAN_TIMEOUT: u8 = 0x11;
    pub(in super::super) const ADVERTISING_SET_TERMINATED: u8 = 0x12;
    pub(in super::super) const SCAN_REQUEST_RECEIVED: u8 = 0x13;
}

/// Masks after a reset (7.3.1, 7.8.1).
const EVENT_MASK: u64 = 0x0000_1FFF_FFFF_FFFF;
const LE_EVENT_MASK: u64 = 0x1F;
/// Devices on each of the lists.
pub(super) const LIST_SIZE: usize = 16;
/// Reports are lost when so many packets wait for the host.
const REPORTS_MAX: usize = 256;
/// Data stays with its sender when so many packets wait for the host.
const RECEIVE_BUFFERS: usize = 64;
/// A host that never reads is not listened to when so many packets wait for it.
const WAITING_MAX: usize = 4096;
/// Handles are below (5.3.1).
const HANDLES: u16 = 0x0F00;

/// Which advertising commands the host uses: after one of either kind the others are refused until a reset (3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Legacy,
    Extended,
}

/// A device of the resolving list (7.8.38).
#[derive(Clone, Debug)]
pub(super) struct Resolving {
    pub(super) identity: Address,
    pub(super) peer_irk: [u8; 16],
    pub(super) local_irk: [u8; 16],
    /// What this controller calls itself towards that device.
    pub(super) local: Address,
}

/// One controller.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) public: Address,
    /// Its host is there: false once its transport was closed.
    pub(super) present: bool,
    /// Its radio neither sends nor hears.
    pub(super) silent: bool,
    pub(super) random: Option<[u8; 6]>,
    pub(super) event_mask: u64,
    pub(super) le_event_mask: u64,
    pub(super) accept_list: Vec<Address>,
    pub(super) resolving_list: Vec<Resolving>,
    pub(super) resolution: bool,
    pub(super) dialect: Option<Dialect>,
    pub(super) sets: Vec<Set>,
    pub(super) scanner: Scanner,
    pub(super) initiator: Option<Initiator>,
    /// Suggested for new connections: octets, microseconds.
    pub(super) data_length: (u16, u16),
    /// Preferred by the host for either direction.
    pub(super) phys: (Phys, Phys),
    pub(super) channel_map: [u8; 5],
    next_handle: u16,
    out: VecDeque<Vec<u8>>,
}

impl Controller {
    pub(super) fn new(public: Address) -> Self {
        Self {
            public,
            present: true,
            silent: false,
            random: None,
            event_mask: EVENT_MASK,
            le_event_mask: LE_EVENT_MASK,
            accept_list: Vec::new(),
            resolving_list: Vec::new(),
            resolution: false,
            dialect: None,
            sets: Vec::new(),
            scanner: Scanner::default(),
            initiator: None,
            data_length: (27, 328),
            phys: (Phys::ALL, Phys::ALL),
            channel_map: [0xFF, 0xFF, 0xFF, 0xFF, 0x1F],
            next_handle: 1,
            out: VecDeque::new(),
        }
    }

    /// What a reset leaves: the address, whether there is a radio, and what waits for the host.
    pub(super) fn reset(&mut self) {
        let out = std::mem::take(&mut self.out);
        *self = Self { present: self.present, silent: self.silent, out, ..Self::new(self.public) };
    }

    /// Whether its radio takes part.
    pub(super) fn is_on_air(&self) -> bool {
        self.present && !self.silent
    }

    /// The next handle, of which `taken` says whether a connection has it.
    pub(super) fn handle(&mut self, taken: impl Fn(u16) -> bool) -> u16 {
        loop {
            let handle = self.next_handle;
            self.next_handle = if handle + 1 < HANDLES { handle + 1 } else { 1 };
            if !taken(handle) {
                return handle;
            }
        }
    }

    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Puts a packet before all but the first `place` that wait.
    pub(super) fn insert(&mut self, place: usize, packet: Vec<u8>) {
        self.out.insert(place.min(self.out.len()), packet);
    }

    /// Whether commands and data are still taken from the host.
    pub(super) fn listens(&self) -> bool {
        self.out.len() < WAITING_MAX
    }

    /// Whether there is room for data from the air.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < RECEIVE_BUFFERS
    }

    pub(super) fn send(&mut self, packet: Vec<u8>) {
        if self.present {
            self.out.push_back(packet);
        }
    }

    /// Sends an event unless it is masked.
    pub(super) fn event(&mut self, code: u8, parameters: Fields) {
        if self.event_mask >> (code - 1) & 1 == 1 {
            self.send(parameters.event(code));
        }
    }

    pub(super) fn hears_le(&self, subevent: u8) -> bool {
        self.event_mask >> (code::LE_META - 1) & 1 == 1 && self.le_event_mask >> (subevent - 1) & 1 == 1
    }

    /// Sends an LE Meta event unless it is masked.
    pub(super) fn le_event(&mut self, subevent: u8, parameters: &Fields) {
        if self.hears_le(subevent) {
            self.send(Fields::new().u8(subevent).bytes(&parameters.0).event(code::LE_META));
        }
    }

    /// Sends a report of an advertiser, which may be lost.
    pub(super) fn report(&mut self, subevent: u8, parameters: &Fields) {
        if self.out.len() < REPORTS_MAX {
            self.le_event(subevent, parameters);
        }
    }

    pub(super) fn disconnection(&mut self, handle: u16, reason: Status) {
        let parameters = Fields::new().status(Status::SUCCESS).u16(handle).status(reason);
        self.event(code::DISCONNECTION_COMPLETE, parameters);
    }

    /// Gives buffers back (7.7.19); it cannot be masked.
    pub(super) fn completed(&mut self, handle: u16, packets: u16) {
        self.send(Fields::new().u8(1).u16(handle).u16(packets).event(code::NUMBER_OF_COMPLETED_PACKETS));
    }

    /// The device behind an address on the air, and whether a private address was resolved for it.
    pub(super) fn identity(&self, address: Address) -> (Address, bool) {
        let known = self.resolving_list.iter().find(|entry| address.resolves_with(&entry.peer_irk));
        match known {
            Some(entry) if self.resolution => (entry.identity, true),
            _ => (address, false),
        }
    }

    /// Whether a device is on the accept list, under the address that it has there.
    pub(super) fn accepts(&self, address: Address) -> bool {
        self.accept_list.contains(&self.identity(address).0)
    }

    /// What this controller calls itself, by the type that the host chose (0 public, 1 random, 2 and 3 private where
    /// there is a key for the peer).
    pub(super) fn own_address(&self, kind: u8, random: Option<[u8; 6]>, peer: Option<Address>) -> Option<Address> {
        let entry = self.resolving_list.iter().find(|entry| Some(entry.identity) == peer);
        match entry {
            Some(entry) if kind >= 2 && self.resolution && entry.local_irk != [0; 16] => return Some(entry.local),
            _ => {}
        }
        if kind & 1 == 0 { Some(self.public) } else { random.map(|bytes| Address { random: true, bytes }) }
    }

    /// Whether the accept list decides about something that is going on (it must not be changed then).
    pub(super) fn uses_accept_list(&self) -> bool {
        self.initiator.as_ref().is_some_and(|initiator| initiator.peer.is_none())
            || self.scanner.running.is_some() && self.scanner.filter & 1 == 1
            || self.sets.iter().any(|set| set.running.is_some() && set.filter != 0)
    }

    /// Whether something is going on on the advertising channels.
    pub(super) fn is_busy(&self) -> bool {
        self.initiator.is_some() || self.scanner.running.is_some() || self.sets.iter().any(|set| set.running.is_some())
    }

    pub(super) fn set(&mut self, handle: u8) -> Result<&mut Set, Status> {
        self.sets.iter_mut().find(|set| set.handle == handle).ok_or(Status::UNKNOWN_ADVERTISING_IDENTIFIER)
    }
}
