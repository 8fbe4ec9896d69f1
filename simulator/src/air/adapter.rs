//! An adapter of this machine: whatever connects over the real air.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use crate::bluez::{Event, OpenError, Port, Served, Setup};
use crate::gatt::{Address, CentralAction, GattEvent};
use crate::trace::{BusEvent, Kind};
use crate::world::{Peer, World};

/// A target on an adapter.
#[derive(Debug)]
pub struct AdapterAir {
    port: Port,
    name: Option<String>,
    /// What the running image has on the air, and the start that it was made for.
    served: Option<(u64, Served)>,
    /// Centrals that the target has heard of.
    connected: BTreeSet<Peer>,
    /// Centrals whose links are gone, and that the target may go on believing in.
    silenced: BTreeSet<Peer>,
}

impl AdapterAir {
    /// Puts a target on an adapter, named like `hci0`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(adapter: &str, setup: Setup) -> Result<Self, OpenError> {
        let port = Port::open(adapter, setup).await?;
        Ok(Self { port, name: None, served: None, connected: BTreeSet::new(), silenced: BTreeSet::new() })
    }

    /// The address of the target, which is the adapter's.
    #[must_use]
    pub fn address(&self) -> Address {
        self.port.address()
    }

    /// The name of the adapter.
    #[must_use]
    pub fn adapter(&self) -> &str {
        self.port.name()
    }

    /// The name that the target advertises, or has advertised last.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) async fn next(&mut self) -> io::Result<Event> {
        match self.port.next().await {
            Event::Gone(why) => Err(io::Error::new(io::ErrorKind::NotConnected, why)),
            event => Ok(event),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Event> {
        self.port.poll()
    }

    pub(super) async fn close(self) {
        self.port.close().await;
    }

    /// Carries what centrals are told, what is advertised, and that the target has fallen silent.
    pub(super) fn carry(&mut self, world: &mut World) {
        while let Some((central, event)) = world.take_gatt() {
            match event {
                GattEvent::Connected => {
                    self.connected.insert(central);
                }
                // bluetoothd waits for the confirmation by itself, and does not tell of it.
                GattEvent::Indication { .. } => world.central(central, CentralAction::Confirm),
                GattEvent::Disconnected { .. } => {
                    self.connected.remove(&central);
                    self.silenced.remove(&central);
                }
                _ => {}
            }
            self.port.tell(central, event);
        }
        // The controllers of the target and of its centrals do not know that it has lost them.
        if self.connected.iter().any(|central| !world.hears(*central)) {
            self.silenced.append(&mut self.connected);
            self.port.fall_silent();
        }
        // An outage shorter than the supervision timeout of the target: its links would live on, and do not here.
        while let Some(central) = self.silenced.iter().copied().find(|central| world.hears(*central)) {
            self.silenced.remove(&central);
            world.central(central, CentralAction::Lose);
        }
        let served = self.serves(world);
        self.port.serve(served);
    }

    fn serves(&mut self, world: &mut World) -> Option<Served> {
        let advertisement = world.advertisement();
        if advertisement.is_none() && self.connected.is_empty() {
            return None;
        }
        if let Some(name) = advertisement.as_ref().and_then(|advertisement| advertisement.name.as_ref()) {
            self.name = Some(name.clone());
        }
        let start = world.starts();
        if self.served.as_ref().is_none_or(|(of, _)| *of != start) {
            let (table, access) = world.attribute_table();
            self.served = Some((start, Served { advertisement: None, table, access: Arc::new(access) }));
        }
        let (_, served) = self.served.as_ref()?;
        Some(Served { advertisement, ..served.clone() })
    }
}

/// Puts what happened on the adapter into the world.
pub(super) fn deliver(event: Event, world: &mut World) {
    match event {
        Event::Action(central, action) => world.central(central, action),
        Event::Note(what) | Event::Gone(what) => {
            world.record(Kind::Bus(BusEvent::Adapter { what }));
        }
    }
}
