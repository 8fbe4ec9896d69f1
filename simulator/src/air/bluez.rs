//! A port of the virtual BlueZ: what centrals do, over a bus that an initiator takes for the system's.

use std::rc::Rc;

use crate::gatt::{Address, CentralAction, GattEvent};
use crate::trace::{BusEvent, Kind};
use crate::virtual_bluez::{Note, Port, PortEvent, VirtualBluez};
use crate::world::World;

/// A target on the virtual BlueZ; several may share one bus.
#[derive(Debug)]
pub struct BluezAir {
    bluez: Rc<VirtualBluez>,
    port: Port,
    /// Where the target was last seen; while it is dark, the last address is what an initiator goes by.
    address: Option<Address>,
    name: Option<String>,
}

impl BluezAir {
    /// A target that is reached at this address; what happens on the bus is recorded by one that is `watching`.
    #[must_use]
    pub fn attach(bluez: &Rc<VirtualBluez>, watching: bool) -> Self {
        Self { bluez: Rc::clone(bluez), port: bluez.attach(watching), address: None, name: None }
    }

    /// The address of the target: the one it advertises, or has advertised last.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        self.address
    }

    /// The name that goes with it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
    #[must_use]
    pub fn bus(&self) -> &str {
        self.bluez.address()
    }

    pub(super) async fn next(&mut self) -> PortEvent {
        self.port.next().await
    }

    pub(super) fn poll(&mut self) -> Option<PortEvent> {
        self.port.poll()
    }

    /// Carries what centrals are told, and what is advertised.
    pub(super) fn carry(&mut self, world: &mut World) {
        while let Some((central, event)) = world.take_gatt() {
            // BlueZ confirms what has reached it.
            if matches!(event, GattEvent::Indication { .. }) {
                world.central(central, CentralAction::Confirm);
            }
            self.port.tell(central, event);
        }
        let advertisement = world.advertisement();
        if let Some(advertisement) = &advertisement {
            self.address = Some(advertisement.address);
            if self.name != advertisement.name {
                self.name.clone_from(&advertisement.name);
            }
        }
        self.port.advertise(advertisement);
    }
}

/// Puts what happened on the bus into the world.
pub(super) fn deliver(event: PortEvent, world: &mut World) {
    match event {
        PortEvent::Action(central, action) => world.central(central, action),
        PortEvent::Note(note) => {
            world.record(Kind::Bus(record(note)));
        }
    }
}

fn record(note: Note) -> BusEvent {
    match note {
        Note::Opened { client, process } => BusEvent::Opened { client, process },
        Note::Call { client, path, member, error } => BusEvent::Call { client, path, member, error },
        Note::Closed { client } => BusEvent::Closed { client },
    }
}
