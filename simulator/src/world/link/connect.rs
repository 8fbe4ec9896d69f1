//! Attempts to connect, and what the target shows of itself meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use brickproof_flash_model::boot::nordic_legacy::Transport;

use super::{LINKS_MAX, Link};
use crate::device::attributes::Attributes;
use crate::device::program::Input;
use crate::gatt::{Advertisement, GattEvent, Security, Table};
use crate::smp::gatt::GattConnection;
use crate::trace::{EndedBy, Kind, LinkEvent};
use crate::world::{Action, Carrier, Peer, World};

impl World {
    /// What the target advertises now; `None` while it is dark or has no connection left, which is when Zephyr's
    /// stops.
    #[must_use]
    pub fn advertisement(&self) -> Option<Advertisement> {
        if self.links.silent {
            return None;
        }
        let full = self.connections_in_use() >= usize::from(self.board.gatt.connections);
        if full || self.without_bluetooth().is_some() {
            return None;
        }
        if let Some(own) = self.device().and_then(|device| device.advertisement(&self.board)) {
            return Some(own);
        }
        let peripheral = &self.board.peripheral;
        let mut advertisement = peripheral.advertisement.clone();
        if peripheral.changes_address {
            advertisement.address = advertisement.address.plus(self.starts.saturating_sub(1));
        }
        Some(advertisement)
    }

    /// Why there is nothing on the air, if there is nothing.
    fn without_bluetooth(&self) -> Option<&'static str> {
        self.unreachable().or_else(|| {
            let recovers = self.device().is_some_and(|device| device.recovery().is_some());
            let mode = self.device().and_then(|device| device.legacy_mode());
            let serial = mode.is_some_and(|mode| mode.transport() == Transport::Serial);
            let serial = serial.then_some("DFU mode waits on its serial line");
            recovers.then_some("the recovery of the bootloader has no Bluetooth").or(serial)
        })
    }

    /// The attributes that the image that runs has, and what a link needs before it can read or write some of them.
    pub fn attribute_table(&mut self) -> (Arc<Table>, BTreeMap<u16, Security>) {
        let attributes = self.attributes();
        let needs = attributes.access();
        (attributes.table, needs)
    }

    fn connections_in_use(&self) -> usize {
        self.links.links.iter().filter(|link| !link.forgotten).count()
    }

    pub(super) fn try_to_connect(&mut self, central: Peer) {
        if self.links.attempts.iter().any(|(_, other)| *other == central) {
            return self.not_connected(central, "this central is trying to connect already");
        }
        // Where controllers have made the connection, it is there.
        let delay = if self.carrier == Carrier::Adapter { 0 } else { self.board.gatt.connect_delay_us };
        match delay {
            0 => self.connect(central),
            delay if self.links.attempts.len() < LINKS_MAX => self.links.attempts.push((self.now + delay, central)),
            _ => self.not_connected(central, "too many centrals are trying to connect"),
        }
    }

    /// Whether there was an attempt.
    pub(super) fn give_up_connecting(&mut self, central: Peer) -> bool {
        let Some(at) = self.links.attempts.iter().position(|(_, other)| *other == central) else { return false };
        self.links.attempts.remove(at);
        self.not_connected(central, "the central has given up");
        true
    }

    /// An attempt comes to its end; `false` when none does.
    pub(super) fn step_attempts(&mut self) -> bool {
        let now = self.now;
        let Some(at) = self.links.attempts.iter().position(|(at, _)| *at <= now) else { return false };
        let (_, central) = self.links.attempts.remove(at);
        self.connect(central);
        true
    }

    fn not_connected(&mut self, central: Peer, reason: &str) {
        self.lost += 1;
        self.record(Kind::Link(LinkEvent::Unreachable { central, reason: reason.into() }));
        self.tell(central, GattEvent::Unreachable);
    }

    fn connect(&mut self, central: Peer) {
        let address = self.advertisement().map(|advertisement| advertisement.address.to_string());
        self.end_stale(central, address.as_ref());
        let reason = if self.links.of_central(central).is_some() {
            Some("this central has a connection already")
        } else if let Some(reason) = self.without_bluetooth() {
            Some(reason)
        } else if self.links.silent {
            Some("the target does not advertise any more")
        } else if self.connections_in_use() >= usize::from(self.board.gatt.connections)
            || self.links.links.len() >= LINKS_MAX
        {
            Some("the target has no connection left")
        } else if self.is_shut_out(central) {
            Some("the bootloader answers the central alone that its application has a bond with")
        } else {
            None
        };
        if let Some(reason) = reason {
            return self.not_connected(central, reason);
        }
        let struck = self.faults.at_connect();
        if let Some((id, Action::ConnectFails)) = &struck {
            self.fire(id, &Action::ConnectFails);
            return self.not_connected(central, "the connection could not be made");
        }
        let parameters = self.board.gatt.parameters;
        let attributes = Arc::new(self.attributes());
        let bonded = self.knows(central);
        self.links.connections += 1;
        let number = self.links.connections;
        self.links.links.push(Link {
            number,
            central,
            address: address.clone(),
            server: GattConnection::new(bonded),
            attributes,
            forgotten: false,
            central_gone: false,
            dies_at: None,
            unconfirmed_until: None,
            parameters,
            asked: None,
            restore_at: None,
            pairing: None,
            initialised: false,
            on_air: VecDeque::new(),
            air_until: 0,
            actions: Vec::new(),
            waiting: Vec::new(),
        });
        let reassembly = Some(self.board.gatt.reassembly);
        self.record(Kind::Link(LinkEvent::Connected { connection: number, central, reassembly, parameters, address }));
        self.tell(central, GattEvent::Connected);
        self.tell_program(Input::Connected { bonded }, None);
        self.tell_program(Input::Parameters(parameters), None);
        if let Some((id, action)) = struck {
            self.fire(&id, &action);
        }
    }

    /// A central may connect to an address while it holds a connection to another one. What the target has forgotten
    /// ends with that, some seconds before the supervision timeout would tell the central.
    fn end_stale(&mut self, central: Peer, address: Option<&String>) {
        let stale = |link: &&mut Link| link.forgotten && address.is_some() && link.address.as_ref() != address;
        if let Some(number) = self.links.of_central(central).filter(stale).map(|link| link.number) {
            self.end(number, EndedBy::Timeout);
        }
    }

    /// The attributes that the image that runs has.
    fn attributes(&mut self) -> Attributes {
        if let Some(attributes) = self.device().and_then(|device| device.attributes(&self.board)) {
            return attributes;
        }
        let image = self.device().and_then(|device| device.image());
        let (hash, version) = image.map(|image| (image.hash, image.version.to_string())).unwrap_or_default();
        let images = &mut self.links.images;
        let index = if self.board.gatt.moving_handles {
            images.iter().position(|known| *known == hash).unwrap_or_else(|| {
                images.push(hash);
                images.len() - 1
            })
        } else {
            0
        };
        Attributes::of(&self.board, &version, u16::try_from(index % 256).unwrap_or(0))
    }
}
