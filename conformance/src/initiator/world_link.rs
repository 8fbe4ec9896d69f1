//! A central on virtual time: function calls into the world, whose clock it moves.

use std::collections::VecDeque;
use std::sync::Arc;

use brickproof_simulator::gatt::{CentralAction, GattEvent, IoCapability, MTU_MIN, Security, Table, Uuid, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::{InitiatorEvent, Kind};
use brickproof_simulator::world::{Carrier, Peer, World};

use super::link::{Found, Heard, Link, LinkError, identities};

/// Name of the one initiator there is.
const PEER: Peer = 1;
/// An ATT transaction that is not answered for so long is given up (Core specification, volume 3, part F, 3.3.3), in
/// microseconds.
const TRANSACTION_US: u64 = 30_000_000;
/// Packets that a host has given to its controller at once.
const ON_AIR_MAX: usize = 4;
/// AD type of an LE Bluetooth Device Address.
const DEVICE_ADDRESS: u8 = 0x1b;
/// Between two looks at what is advertised, in microseconds.
const SCAN_US: u64 = 100_000;

/// A central of a world's.
pub struct WorldLink<'a> {
    world: &'a mut World,
    table: Option<Arc<Table>>,
    connected: bool,
    mtu: u16,
    heard: VecDeque<Heard>,
    replies: VecDeque<GattEvent>,
}

impl<'a> WorldLink<'a> {
    /// A central in this world, without a link.
    pub fn new(world: &'a mut World) -> Self {
        world.set_carrier(Carrier::Bluetooth);
        Self { world, table: None, connected: false, mtu: MTU_MIN, heard: VecDeque::new(), replies: VecDeque::new() }
    }

    /// The endpoint whose value has this handle, as far as its attributes are known.
    fn endpoint(&self, handle: u16) -> Option<Endpoint> {
        let characteristic = self.table.as_ref()?.by_value_handle(handle)?;
        Endpoint::of_uuid(characteristic.uuid)
    }

    fn value_handle(&self, endpoint: Endpoint) -> Option<u16> {
        self.table.as_ref()?.characteristic(endpoint.uuid()).map(|characteristic| characteristic.value_handle)
    }

    fn pump(&mut self) {
        while let Some((_, event)) = self.world.take_gatt() {
            match event {
                GattEvent::Notification { handle, value } => {
                    if let Some(endpoint) = self.endpoint(handle) {
                        self.heard.push_back(Heard::Notified(endpoint, value));
                    }
                }
                GattEvent::Indication { handle, value } => match self.endpoint(handle) {
                    Some(endpoint) => self.heard.push_back(Heard::Indicated(endpoint, value)),
                    // That attributes have moved.
                    None => self.world.central(PEER, CentralAction::Confirm),
                },
                GattEvent::ParametersAsked(_) => {
                    self.world.central(PEER, CentralAction::AnswerParameters { accept: true });
                }
                GattEvent::Disconnected { .. } => {
                    self.connected = false;
                    self.heard.push_back(Heard::Disconnected);
                    self.replies.push_back(event);
                }
                event => self.replies.push_back(event),
            }
        }
    }

    /// Does something and waits for what comes of it, as long as an ATT transaction may take.
    fn ask(&mut self, action: CentralAction) -> Option<GattEvent> {
        self.ask_within(action, TRANSACTION_US)
    }

    fn ask_within(&mut self, action: CentralAction, timeout_us: u64) -> Option<GattEvent> {
        self.pump();
        self.replies.clear();
        let deadline = self.world.now() + timeout_us;
        self.world.central(PEER, action);
        loop {
            self.pump();
            if let Some(reply) = self.replies.pop_front() {
                return Some(reply);
            }
            match self.world.next_wake().filter(|due| *due <= deadline) {
                Some(due) => self.world.advance(due),
                None => {
                    self.world.advance(deadline);
                    return None;
                }
            }
        }
    }

    fn advance(&mut self, until: u64) {
        while let Some(due) = self.world.next_wake().filter(|due| *due < until) {
            self.world.advance(due);
            self.pump();
        }
        self.world.advance(until);
        self.pump();
    }

    fn written(&mut self, action: CentralAction) -> Result<(), LinkError> {
        match self.ask(action) {
            Some(GattEvent::Written { .. }) => Ok(()),
            Some(GattEvent::Error { error, .. }) => Err(LinkError::Refused(error)),
            _ => Err(LinkError::Gone),
        }
    }
}

impl Link for WorldLink<'_> {
    async fn find(&mut self, wanted: &dyn Fn(&Found) -> bool, timeout_us: u64) -> Option<Found> {
        let end = self.world.now() + timeout_us;
        loop {
            self.pump();
            let found = self.world.advertisement().map(|shown| Found {
                address: shown.address,
                name: shown.name,
                services: shown.services,
                identities: shown
                    .other
                    .iter()
                    .filter(|(kind, _)| *kind == DEVICE_ADDRESS)
                    .flat_map(|(_, value)| identities(value))
                    .collect(),
            });
            if let Some(found) = found.filter(|found| wanted(found)) {
                return Some(found);
            }
            if self.world.now() >= end {
                return None;
            }
            self.advance((self.world.now() + SCAN_US).min(end));
        }
    }

    async fn connect(&mut self, found: &Found, discovers: bool) -> bool {
        self.pump();
        let there = self.world.advertisement().is_some_and(|shown| shown.address == found.address);
        if self.connected || !there || self.ask(CentralAction::Connect) != Some(GattEvent::Connected) {
            return self.connected;
        }
        (self.connected, self.mtu) = (true, MTU_MIN);
        self.heard.clear();
        if discovers || self.table.is_none() {
            match self.ask(CentralAction::Discover) {
                Some(GattEvent::Discovered(table)) => self.table = Some(table),
                _ => self.connected = false,
            }
        }
        self.connected
    }

    fn has(&self, endpoint: Endpoint) -> bool {
        self.value_handle(endpoint).is_some()
    }

    async fn exchange_mtu(&mut self, mtu: u16) -> u16 {
        if let Some(GattEvent::Mtu(mtu)) = self.ask(CentralAction::ExchangeMtu(mtu)) {
            self.mtu = mtu;
        }
        self.mtu
    }

    async fn subscribe(&mut self, endpoint: Endpoint, bits: u16) -> Result<(), LinkError> {
        if !self.connected {
            return Err(LinkError::Gone);
        }
        let characteristic = self.table.as_ref().and_then(|table| table.characteristic(endpoint.uuid()));
        let handle = characteristic.and_then(|characteristic| characteristic.ccc()).ok_or(LinkError::Missing)?;
        self.written(CentralAction::Write { handle, value: bits.to_le_bytes().to_vec(), kind: WriteKind::Request })
    }

    async fn write(&mut self, endpoint: Endpoint, value: Vec<u8>, kind: WriteKind) -> Result<(), LinkError> {
        let handle = self.value_handle(endpoint).ok_or(LinkError::Missing)?;
        if !self.connected {
            return Err(LinkError::Gone);
        }
        let action = CentralAction::Write { handle, value, kind };
        if kind != WriteKind::Command {
            return self.written(action);
        }
        // A host has buffers for so many packets.
        while self.connected && self.world.on_air(PEER) >= ON_AIR_MAX {
            let Some(due) = self.world.next_wake() else { break };
            self.world.advance(due);
            self.pump();
        }
        self.world.central(PEER, action);
        self.pump();
        if self.connected { Ok(()) } else { Err(LinkError::Gone) }
    }

    async fn request(&mut self, endpoint: Endpoint, value: Vec<u8>, timeout_us: u64) -> Result<(), LinkError> {
        let handle = self.value_handle(endpoint).ok_or(LinkError::Missing)?;
        if !self.connected {
            return Err(LinkError::Gone);
        }
        let action = CentralAction::Write { handle, value, kind: WriteKind::Request };
        match self.ask_within(action, timeout_us) {
            Some(GattEvent::Written { .. }) => Ok(()),
            Some(GattEvent::Error { error, .. }) => Err(LinkError::Refused(error)),
            None if self.connected => Err(LinkError::Late),
            _ => Err(LinkError::Gone),
        }
    }

    async fn read(&mut self, uuid: Uuid) -> Result<Vec<u8>, LinkError> {
        let characteristic = self.table.as_ref().and_then(|table| table.characteristic(uuid));
        let handle = characteristic.map(|found| found.value_handle).ok_or(LinkError::Missing)?;
        match self.ask(CentralAction::Read { handle, offset: 0 }) {
            Some(GattEvent::Read { value, .. }) => Ok(value),
            Some(GattEvent::Error { error, .. }) => Err(LinkError::Refused(error)),
            _ => Err(LinkError::Gone),
        }
    }

    async fn hear(&mut self, timeout_us: u64) -> Option<Heard> {
        let deadline = self.world.now() + timeout_us;
        loop {
            self.pump();
            if let Some(heard) = self.heard.pop_front() {
                return Some(heard);
            }
            match self.world.next_wake().filter(|due| *due <= deadline) {
                Some(due) => self.world.advance(due),
                None => {
                    self.world.advance(deadline);
                    self.pump();
                    return self.heard.pop_front();
                }
            }
        }
    }

    async fn confirm(&mut self) {
        self.world.central(PEER, CentralAction::Confirm);
        self.pump();
    }

    async fn encrypt(&mut self) -> bool {
        let action = CentralAction::Pair { capability: IoCapability::NoInputNoOutput, wanted: Security::Encrypted };
        matches!(self.ask(action), Some(GattEvent::Secured { .. }))
    }

    async fn disconnect(&mut self) {
        self.pump();
        if self.connected {
            self.world.central(PEER, CentralAction::Disconnect);
            self.pump();
        }
        self.heard.clear();
    }

    fn is_connected(&self) -> bool {
        self.connected
    }

    async fn sleep(&mut self, us: u64) {
        let until = self.world.now() + us;
        self.advance(until);
    }

    fn now_us(&self) -> u64 {
        self.world.now()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.world.record(Kind::Initiator(event));
    }
}
