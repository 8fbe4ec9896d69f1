//! What is asked of the peripheral, and what happens to it.

use bluer::ErrorKind;
use tokio::task::spawn_local;

use super::super::centrals::{Ask, Notifier, Reader, address_of, central_of};
use super::super::port::Central;
use super::{Actor, Connection, Owed};
use crate::gatt::{CentralAction, Characteristic, Properties, Security, WriteKind};

/// Bits of a configuration descriptor (Core specification, volume 3, part G, 3.3.3.3).
const NOTIFY: u16 = 1;
const INDICATE: u16 = 2;

impl Actor {
    pub(super) async fn asked(&mut self, ask: Ask) {
        // What a central wrote before comes before, whichever way it came.
        if !matches!(ask, Ask::Written { .. }) {
            self.written_so_far().await;
        }
        match ask {
            Ask::Connected(central, true) => self.connected(central).await,
            Ask::Connected(central, false) => {
                if self.connections.remove(&central).is_some() {
                    self.readers.clear();
                    self.act(central, CentralAction::Disconnect).await;
                }
            }
            Ask::Paired(central) => {
                self.paired.insert(central);
                let shown = std::mem::take(&mut self.shown);
                let level = if shown { Security::SecureConnections } else { Security::Encrypted };
                self.secured(central, level, true).await;
            }
            Ask::NotPaired(central, error) => {
                self.note(format!("{} could not be paired: {error}", address_of(central))).await;
            }
            Ask::Shown { member, number } => {
                self.shown = true;
                let what = if member == "DisplayPasskey" { "the passkey" } else { "the number, and says yes to" };
                self.note(format!("the target shows {what} {number:06}")).await;
            }
            Ask::Read { central, handle, offset, mtu, answer } => {
                self.request(central, handle, mtu).await;
                self.owe(central, Owed::Value(answer));
                self.act(central, CentralAction::Read { handle, offset }).await;
            }
            Ask::Write { central, handle, value, kind, mtu, answer } => {
                self.request(central, handle, mtu).await;
                if kind == WriteKind::Command {
                    // Nobody waits for what becomes of it.
                    let _ = answer.send(Ok(()));
                } else {
                    self.owe(central, Owed::Done(answer));
                }
                self.act(central, CentralAction::Write { handle, value, kind }).await;
            }
            Ask::Writes { handle, request } => {
                let central = central_of(request.device_address());
                self.request(central, handle, u16::try_from(request.mtu()).unwrap_or(u16::MAX)).await;
                if let Ok(socket) = request.accept() {
                    self.readers.insert(handle, Reader::new(handle, central, socket, self.write.clone()));
                }
            }
            Ask::Written { central, handle, value } => self.written(central, handle, value).await,
            Ask::Subscribed { handle, writer } => {
                let notifier = Notifier::new(handle, writer, &self.ask);
                let (central, mtu) = (notifier.central, notifier.mtu);
                self.connected(central).await;
                self.mtu(central, mtu).await;
                self.notifiers.insert(handle, notifier);
                self.subscribe(central, handle).await;
            }
            Ask::Unsubscribed { handle } => {
                // Another one may have taken its place.
                if let Some(notifier) = self.notifiers.get(&handle).filter(|notifier| !notifier.is_open()) {
                    let central = notifier.central;
                    self.notifiers.remove(&handle);
                    if let Some(connection) = self.connections.get_mut(&central) {
                        connection.subscribed.remove(&handle);
                        self.configure(central, handle, 0).await;
                    }
                }
            }
            Ask::PowerOff if self.own_power_offs > 0 => self.own_power_offs -= 1,
            Ask::PowerOff => self.fail(format!("{} has lost its power", self.adapter.name())).await,
            Ask::Gone(why) => self.fail(why).await,
        }
    }

    /// A value that has come through a socket.
    async fn written(&mut self, central: Central, handle: u16, value: Vec<u8>) {
        // Not what is left of a link that has ended.
        if self.connections.contains_key(&central) {
            self.proves(central, handle).await;
            self.act(central, CentralAction::Write { handle, value, kind: WriteKind::Command }).await;
        }
    }

    /// All that has come through sockets by now.
    async fn written_so_far(&mut self) {
        while let Some(Ask::Written { central, handle, value }) =
            self.writes.try_recv().ok().or_else(|| self.readers.values().find_map(Reader::rest))
        {
            self.written(central, handle, value).await;
        }
    }

    /// Somebody asks for something: who is connected, as far as is known by now?
    async fn request(&mut self, central: Central, handle: u16, mtu: u16) {
        self.connected(central).await;
        self.mtu(central, mtu).await;
        self.proves(central, handle).await;
        // bluetoothd keeps the second one to subscribe to itself.
        let others = self.notifiers.get(&handle).is_some_and(|notifier| notifier.central != central);
        let subscribed = |connection: &Connection| connection.subscribed.contains(&handle);
        if others && !self.connections.get(&central).is_some_and(subscribed) {
            self.subscribe(central, handle).await;
        }
    }

    async fn connected(&mut self, central: Central) {
        if self.connections.contains_key(&central) {
            return;
        }
        self.connections.insert(central, Connection::default());
        if self.silenced.remove(&central) {
            self.act(central, CentralAction::Lose).await;
        }
        self.act(central, CentralAction::Connect).await;
        // bluetoothd keeps the subscriptions of those it knows.
        let kept: Vec<u16> = self
            .notifiers
            .iter()
            .filter(|(_, notifier)| notifier.central == central && notifier.is_open())
            .map(|(handle, _)| *handle)
            .collect();
        for handle in kept {
            self.subscribe(central, handle).await;
        }
        if self.served.as_ref().is_some_and(|served| !served.access.is_empty()) {
            self.demand_pairing(central);
        }
    }

    /// Asks the central to protect the link.
    fn demand_pairing(&self, central: Central) {
        let (adapter, ask) = (self.adapter.clone(), self.ask.clone());
        spawn_local(async move {
            let Ok(device) = adapter.device(address_of(central)) else { return };
            // Pairing would connect to it.
            if !device.is_connected().await.unwrap_or(false) {
                return;
            }
            match device.pair().await {
                Ok(()) => {}
                // Those that are paired already encrypt by themselves.
                Err(error) if error.kind == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let _ = ask.send(Ask::NotPaired(central, error));
                }
            }
        });
    }

    async fn mtu(&mut self, central: Central, mtu: u16) {
        let Some(connection) = self.connections.get_mut(&central) else { return };
        if connection.mtu.replace(mtu) != Some(mtu) {
            self.act(central, CentralAction::ExchangeMtu(mtu)).await;
        }
    }

    /// What bluetoothd has let through shows how well the link is protected.
    async fn proves(&mut self, central: Central, handle: u16) {
        let needed = self.served.as_ref().and_then(|served| served.access.get(&handle).copied());
        if let Some(level) = needed {
            self.secured(central, level, self.paired.contains(&central)).await;
        }
    }

    async fn secured(&mut self, central: Central, level: Security, bonded: bool) {
        let Some(connection) = self.connections.get_mut(&central) else { return };
        if connection.level >= level {
            return;
        }
        connection.level = level;
        let held = std::mem::take(&mut connection.held);
        self.act(central, CentralAction::Secure { level, bonded }).await;
        for handle in held {
            self.subscribe(central, handle).await;
        }
    }

    pub(super) async fn subscribe(&mut self, central: Central, handle: u16) {
        let indicates = self.characteristic(handle).is_some_and(|it| !it.properties.has(Properties::NOTIFY));
        if let Some(connection) = self.connections.get_mut(&central) {
            connection.subscribed.insert(handle);
        }
        self.configure(central, handle, if indicates { INDICATE } else { NOTIFY }).await;
    }

    /// A configuration descriptor is written, as far as the peripheral is concerned.
    async fn configure(&mut self, central: Central, value_handle: u16, bits: u16) {
        let Some(handle) = self.characteristic(value_handle).and_then(Characteristic::ccc) else { return };
        let level = self.connections.get(&central).map(|connection| connection.level).unwrap_or_default();
        self.owe(central, Owed::Subscription(value_handle, level));
        let value = bits.to_le_bytes().to_vec();
        self.act(central, CentralAction::Write { handle, value, kind: WriteKind::Request }).await;
    }

    fn characteristic(&self, handle: u16) -> Option<&Characteristic> {
        self.served.as_ref()?.table.by_value_handle(handle)
    }

    fn owe(&mut self, central: Central, owed: Owed) {
        if let Some(connection) = self.connections.get_mut(&central) {
            connection.owed.push_back(owed);
        }
    }
}
