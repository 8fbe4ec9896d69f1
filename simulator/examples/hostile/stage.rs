//! A target with DFU or Silicon Labs' OTA in a world, and a central that does what it is told, the right thing or not.

#![allow(dead_code, unreachable_pub, reason = "shared with the fuzz targets, each of which uses a part of it")]

use std::sync::Arc;

use brickproof_simulator::device::{Board, Persistent};
use brickproof_simulator::gatt::{CentralAction, GattEvent, Uuid, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::Wants;
use brickproof_simulator::world::{Carrier, World};

/// The central.
const CENTRAL: u64 = 1;
/// Handles of what a target has; 0 for what it has not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Handles {
    /// Control point of Secure or Legacy DFU, or the way into it.
    pub control: u16,
    /// Packets.
    pub packet: u16,
}

/// The target with its central.
pub struct Stage {
    /// The world.
    pub world: World,
    /// What was found last.
    pub handles: Handles,
    heard: Vec<Vec<u8>>,
}

impl Stage {
    /// A target without power.
    pub fn new(board: &Arc<Board>, persistent: Persistent) -> Self {
        let mut world = World::new(Arc::clone(board), persistent, Wants { flash: false, messages: false });
        world.set_carrier(Carrier::Bluetooth);
        Self { world, handles: Handles::default(), heard: Vec::new() }
    }

    /// Time passes.
    pub fn later(&mut self, us: u64) {
        self.world.advance(self.world.now() + us);
        self.told();
    }

    /// Until nothing more is due in this time.
    pub fn settle(&mut self, us: u64) {
        let end = self.world.now() + us;
        while let Some(due) = self.world.next_wake().filter(|due| *due <= end) {
            self.world.advance(due);
        }
        self.world.advance(end);
        self.told();
    }

    fn told(&mut self) -> Vec<GattEvent> {
        self.world.take_records();
        let mut events = Vec::new();
        while let Some((_, event)) = self.world.take_gatt() {
            match event {
                GattEvent::Notification { value, .. } | GattEvent::Indication { value, .. } => self.heard.push(value),
                other => events.push(other),
            }
        }
        events
    }

    /// Does something; what the central is told until that has arrived.
    pub fn act(&mut self, action: CentralAction) -> Vec<GattEvent> {
        self.world.central(CENTRAL, action);
        let end = self.world.now() + 1_000_000;
        let mut events = self.told();
        while self.world.on_air(CENTRAL) > 0 && self.world.now() < end {
            let due = self.world.next_wake().map_or(end, |due| due.clamp(self.world.now() + 1, end));
            self.world.advance(due);
            events.extend(self.told());
        }
        events
    }

    /// Connects, and looks at what there is; whether that worked.
    pub fn connect(&mut self) -> bool {
        let connected = self.act(CentralAction::Connect).contains(&GattEvent::Connected);
        let events = self.act(CentralAction::Discover);
        let table = events.into_iter().find_map(|event| match event {
            GattEvent::Discovered(table) => Some(table),
            _ => None,
        });
        let Some(table) = table else { return connected };
        let find = |endpoints: &[Endpoint]| {
            let handle = |uuid: Uuid| table.characteristic(uuid).map(|found| found.value_handle);
            endpoints.iter().find_map(|endpoint| handle(endpoint.uuid())).unwrap_or(0)
        };
        self.handles = Handles {
            control: find(&[
                Endpoint::ControlPoint,
                Endpoint::Buttonless,
                Endpoint::LegacyControlPoint,
                Endpoint::OtaControl,
            ]),
            packet: find(&[Endpoint::Packet, Endpoint::LegacyPacket, Endpoint::OtaData]),
        };
        true
    }

    /// Writes a characteristic or a descriptor.
    pub fn write(&mut self, handle: u16, value: &[u8], kind: WriteKind) {
        self.act(CentralAction::Write { handle, value: value.to_vec(), kind });
    }

    /// Wants to hear what the control point says.
    pub fn listen(&mut self, how: u8) {
        self.write(self.handles.control + 1, &[how, 0], WriteKind::Request);
    }

    /// Asks for something at the control point.
    pub fn ask(&mut self, value: &[u8]) {
        self.write(self.handles.control, value, WriteKind::Request);
    }

    /// Sends a packet.
    pub fn send(&mut self, value: &[u8]) {
        self.write(self.handles.packet, value, WriteKind::Command);
    }

    /// Waits for this to be said, for 30 s at most; whether it was the next thing.
    pub fn hears(&mut self, wanted: &[u8]) -> bool {
        let end = self.world.now() + 30_000_000;
        while self.heard.is_empty() && self.world.now() < end {
            let due = self.world.next_wake().map_or(end, |due| due.clamp(self.world.now() + 1, end));
            self.world.advance(due);
            self.told();
        }
        let heard = std::mem::take(&mut self.heard);
        heard.first().is_some_and(|value| value.starts_with(wanted))
    }

    /// Asks, and is answered with success.
    pub fn succeeds(&mut self, value: &[u8]) -> bool {
        self.heard.clear();
        self.ask(value);
        self.hears(&[0x60, value[0], 1])
    }

    /// An update by Secure DFU from DFU mode on, as it should be; whether all of it was accepted.
    pub fn update(&mut self, init: &[u8], image: &[u8]) -> bool {
        if !self.connect() {
            return false;
        }
        self.act(CentralAction::ExchangeMtu(247));
        self.listen(1);
        let create = |kind: u8, len: usize| [&[1, kind][..], &(len as u32).to_le_bytes()].concat();
        if !(self.succeeds(&[2, 0, 0]) && self.succeeds(&[6, 1]) && self.succeeds(&create(1, init.len()))) {
            return false;
        }
        init.chunks(244).for_each(|piece| self.send(piece));
        if !self.succeeds(&[4]) {
            return false;
        }
        image.chunks(0x1000).all(|object| {
            let created = self.succeeds(&create(2, object.len()));
            object.chunks(244).for_each(|piece| self.send(piece));
            created && self.succeeds(&[4])
        })
    }

    /// The same by Legacy DFU, for an application.
    pub fn legacy_update(&mut self, init: &[u8], image: &[u8], packet: usize) -> bool {
        if !self.connect() {
            return false;
        }
        self.act(CentralAction::ExchangeMtu(247));
        self.listen(1);
        self.heard.clear();
        self.ask(&[1, 4]);
        self.send(&[&[0; 8][..], &(image.len() as u32).to_le_bytes()].concat());
        if !self.hears(&[0x10, 1, 1]) {
            return false;
        }
        self.ask(&[2, 0]);
        init.chunks(20).for_each(|piece| self.send(piece));
        self.ask(&[2, 1]);
        if !self.hears(&[0x10, 2, 1]) {
            return false;
        }
        self.ask(&[3]);
        for piece in image.chunks(packet) {
            self.send(piece);
            // As slow as the buffers want it.
            self.later(20_000);
        }
        if !self.hears(&[0x10, 3, 1]) {
            return false;
        }
        self.ask(&[4]);
        let validated = self.hears(&[0x10, 4, 1]);
        self.ask(&[5]);
        validated
    }
}
