//! The task behind a port: it owns what is registered with bluetoothd.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bluer::adv::AdvertisementHandle;
use bluer::gatt::local::ReqError;
use bluer::{Adapter, ErrorKind, Session};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};

use super::application::{self, Registered, uuid};
use super::beside::Beside;
use super::centrals::{self, Ask, Notifier, Reader, address_of, central_of};
use super::port::{Central, Event, Input, OpenError, Served, Setup};
use super::silence;
use crate::gatt::{
    Address, Advertisement, AttError, CentralAction, Characteristic, GattEvent, Properties, Security, Table, WriteKind,
};
use crate::trace::EndedBy;

/// Bits of a configuration descriptor (Core specification, volume 3, part G, 3.3.3.3).
const NOTIFY: u16 = 1;
const INDICATE: u16 = 2;
/// How often a refused advertisement is tried again, and how long after.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);
/// Values that have come through sockets and wait; then centrals wait.
const WRITES_MAX: usize = 256;

/// What a central is owed. The answers of a peripheral come in the order of the requests.
#[derive(Debug)]
enum Owed {
    Value(oneshot::Sender<Result<Vec<u8>, ReqError>>),
    Done(oneshot::Sender<Result<(), ReqError>>),
    /// bluetoothd has answered already: a subscription to this value.
    Subscription(u16),
}

/// A device that is connected.
#[derive(Debug, Default)]
struct Connection {
    mtu: Option<u16>,
    level: Security,
    owed: VecDeque<Owed>,
    /// Subscriptions that the peripheral has been told of, by handle of the value.
    subscribed: BTreeSet<u16>,
    /// Subscriptions that count only once the link is protected, by handle of the value.
    held: BTreeSet<u16>,
}

pub(super) struct Actor {
    /// Keeps the connection to the bus.
    _session: Session,
    adapter: Adapter,
    setup: Setup,
    was_powered: bool,
    events: mpsc::Sender<Event>,
    ask: mpsc::UnboundedSender<Ask>,
    asks: mpsc::UnboundedReceiver<Ask>,
    write: mpsc::Sender<Ask>,
    writes: mpsc::Receiver<Ask>,
    watch: AbortHandle,
    _beside: Beside,
    /// How often our own doing takes the adapter's power, and that has not been heard of yet.
    own_power_offs: u32,
    /// Who was asked something while pairing.
    shown: bool,
    served: Option<Served>,
    registered: Option<Registered>,
    advertised: Option<(Advertisement, AdvertisementHandle)>,
    connections: BTreeMap<Central, Connection>,
    /// Centrals whose links ended without a word: the peripheral learns of it when they are back.
    silenced: BTreeSet<Central>,
    notifiers: BTreeMap<u16, Notifier>,
    /// A socket outlives its link; the next central gets one of its own.
    readers: BTreeMap<u16, Reader>,
    /// Why nothing works any more.
    failed: Option<String>,
    /// Who has paired since the port was opened.
    paired: BTreeSet<Central>,
}

impl Actor {
    pub(super) async fn new(
        session: Session,
        adapter: Adapter,
        address: Address,
        setup: Setup,
        was_powered: bool,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, OpenError> {
        let (ask, asks) = mpsc::unbounded_channel();
        let (write, writes) = mpsc::channel(WRITES_MAX);
        let watch = centrals::watch(&adapter, &ask).await.map_err(OpenError::Bluetoothd)?;
        let beside = Beside::open(adapter.name(), address, setup.capability, ask.clone()).await;
        let beside = beside.map_err(OpenError::Agent)?;
        Ok(Self {
            _session: session,
            adapter,
            setup,
            was_powered,
            events,
            ask,
            asks,
            write,
            writes,
            watch,
            _beside: beside,
            own_power_offs: 0,
            shown: false,
            served: None,
            registered: None,
            advertised: None,
            connections: BTreeMap::new(),
            silenced: BTreeSet::new(),
            notifiers: BTreeMap::new(),
            readers: BTreeMap::new(),
            failed: None,
            paired: BTreeSet::new(),
        })
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        while self.failed.is_none() {
            tokio::select! {
                biased;
                input = inputs.recv() => match input {
                    None => return,
                    Some(Input::Serve(served)) => self.serve(served).await,
                    Some(Input::Tell(central, event)) => self.tell(central, event).await,
                    Some(Input::Silence) => self.fall_silent().await,
                    Some(Input::Close(done)) => {
                        self.close().await;
                        let _ = done.send(());
                        return;
                    }
                },
                Some(ask) = self.asks.recv() => self.asked(ask).await,
                Some(ask) = self.writes.recv() => self.asked(ask).await,
            }
        }
    }

    /// Nothing works any more: whoever plays the target is told, and not whoever talks to it blamed.
    async fn fail(&mut self, why: String) {
        if self.failed.is_none() {
            let _ = self.events.send(Event::Gone(why.clone())).await;
            self.failed = Some(why);
        }
    }

    async fn act(&self, central: Central, action: CentralAction) {
        let _ = self.events.send(Event::Action(central, action)).await;
    }

    async fn note(&self, note: String) {
        let _ = self.events.send(Event::Note(note)).await;
    }

    /// Registers what is new, and takes back what is not there any more.
    async fn serve(&mut self, served: Option<Served>) {
        let advertisement = served.as_ref().and_then(|served| served.advertisement.as_ref());
        if self.advertised.as_ref().map(|(advertisement, _)| advertisement) != advertisement {
            self.advertised = None;
            // The one before is taken back by a task of its own, which must come first.
            tokio::task::yield_now().await;
        }
        let Some(served) = served else { return };
        let same = |old: &Served| old.table == served.table && old.access == served.access;
        if self.registered.is_none() || !self.served.as_ref().is_some_and(same) {
            self.register(&served).await;
        }
        if let Some(advertisement) = &served.advertisement {
            self.silence_is_over().await;
            let mut tries = 0;
            while self.advertised.is_none() && self.failed.is_none() {
                match self.adapter.advertise(advertised(advertisement)).await {
                    Ok(handle) => self.advertised = Some((advertisement.clone(), handle)),
                    // Right after the adapter was switched on it may be busy.
                    Err(_) if tries < TRIES => {
                        tries += 1;
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => {
                        let name = self.adapter.name();
                        self.fail(format!("{name} does not advertise what the target advertises: {error}")).await;
                    }
                }
            }
        }
        self.served = Some(served);
    }

    async fn register(&mut self, served: &Served) {
        self.registered = None;
        self.notifiers.clear();
        self.readers.clear();
        tokio::task::yield_now().await;
        let sockets = self.setup.centrals == 1;
        match application::register(&self.adapter, &served.table, &served.access, sockets, &self.ask).await {
            Ok(registered) => self.registered = Some(registered),
            Err(error) => self.fail(format!("bluetoothd refuses the attributes of the target: {error}")).await,
        }
    }

    /// A target that can be found again has lost the links from before: so have they.
    async fn silence_is_over(&mut self) {
        for central in std::mem::take(&mut self.silenced) {
            self.act(central, CentralAction::Lose).await;
        }
    }

    async fn asked(&mut self, ask: Ask) {
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

    async fn subscribe(&mut self, central: Central, handle: u16) {
        let indicates = self.characteristic(handle).is_some_and(|it| !it.properties.has(Properties::NOTIFY));
        if let Some(connection) = self.connections.get_mut(&central) {
            connection.subscribed.insert(handle);
        }
        self.configure(central, handle, if indicates { INDICATE } else { NOTIFY }).await;
    }

    /// A configuration descriptor is written, as far as the peripheral is concerned.
    async fn configure(&mut self, central: Central, value_handle: u16, bits: u16) {
        let Some(handle) = self.characteristic(value_handle).and_then(Characteristic::ccc) else { return };
        self.owe(central, Owed::Subscription(value_handle));
        let value = bits.to_le_bytes().to_vec();
        self.act(central, CentralAction::Write { handle, value, kind: WriteKind::Request }).await;
    }

    fn characteristic(&self, handle: u16) -> Option<&Characteristic> {
        self.table()?.by_value_handle(handle)
    }

    fn table(&self) -> Option<&Arc<Table>> {
        self.served.as_ref().map(|served| &served.table)
    }

    fn owe(&mut self, central: Central, owed: Owed) {
        if let Some(connection) = self.connections.get_mut(&central) {
            connection.owed.push_back(owed);
        }
    }

    async fn tell(&mut self, central: Central, event: GattEvent) {
        match event {
            GattEvent::Read { value, .. } => self.pay(central, Ok(value)),
            GattEvent::Written { .. } => self.pay(central, Ok(Vec::new())),
            GattEvent::Error { error, .. } => self.pay(central, Err(error)),
            GattEvent::Notification { handle, value } | GattEvent::Indication { handle, value } => {
                let sent = self.notifiers.get(&handle).is_some_and(|notifier| notifier.notify(&value));
                if !sent && self.connections.contains_key(&central) {
                    self.note(format!("a notification of {} bytes was not taken by bluetoothd", value.len())).await;
                }
            }
            GattEvent::Unreachable | GattEvent::Disconnected { by: EndedBy::Target, .. } => self.disconnect(central),
            // The others have ended here before the peripheral was told, and this may be about the link before.
            GattEvent::Disconnected { .. }
            | GattEvent::Connected
            | GattEvent::Mtu(_)
            | GattEvent::Discovered(_)
            | GattEvent::PairingAsks(_)
            | GattEvent::Secured { .. }
            | GattEvent::PairingFailed(_)
            | GattEvent::ParametersAsked(_) => {}
        }
    }

    fn pay(&mut self, central: Central, result: Result<Vec<u8>, AttError>) {
        let Some(connection) = self.connections.get_mut(&central) else { return };
        match connection.owed.pop_front() {
            Some(Owed::Value(answer)) => {
                let _ = answer.send(result.map_err(refusal));
            }
            Some(Owed::Done(answer)) => {
                let _ = answer.send(result.map(|_| ()).map_err(refusal));
            }
            Some(Owed::Subscription(handle)) if result.is_err() => {
                connection.held.insert(handle);
            }
            Some(Owed::Subscription(_)) | None => {}
        }
    }

    /// Ends a link politely, if there still is one.
    fn disconnect(&mut self, central: Central) {
        self.silenced.remove(&central);
        if self.connections.remove(&central).is_none() {
            return;
        }
        self.readers.clear();
        let adapter = self.adapter.clone();
        spawn_local(async move {
            if let Ok(device) = adapter.device(address_of(central)) {
                // It may have gone by itself.
                let _ = device.disconnect().await;
            }
        });
    }

    async fn fall_silent(&mut self) {
        self.advertised = None;
        self.readers.clear();
        let connected: Vec<Central> = std::mem::take(&mut self.connections).into_keys().collect();
        self.silenced.extend(&connected);
        let name = self.adapter.name().to_owned();
        let reset = tokio::task::spawn_blocking(move || silence::reset(&name)).await;
        let reset = reset.map_err(|error| error.to_string()).and_then(|reset| reset.map_err(|error| error.to_string()));
        if let Err(error) = reset {
            for central in connected {
                if let Ok(device) = self.adapter.device(address_of(central)) {
                    let _ = device.disconnect().await;
                }
            }
            return self.note(format!("links could not end without a word ({error}): they were ended politely")).await;
        }
        // What was asked before is of the past.
        while let Ok(ask) = self.asks.try_recv() {
            if let Ask::Gone(why) = ask {
                self.fail(why).await;
            }
        }
        while self.writes.try_recv().is_ok() {}
        // The controller has forgotten how the kernel had set it up.
        self.own_power_offs += 1;
        for powered in [false, true] {
            if let Err(error) = self.adapter.set_powered(powered).await {
                self.fail(format!("{} cannot be powered after its reset: {error}", self.adapter.name())).await;
            }
        }
    }

    async fn close(&mut self) {
        self.advertised = None;
        self.readers.clear();
        let connected: BTreeSet<Central> = std::mem::take(&mut self.connections).into_keys().collect();
        for central in &connected {
            if let Ok(device) = self.adapter.device(address_of(*central)) {
                let _ = device.disconnect().await;
            }
        }
        self.notifiers.clear();
        self.registered = None;
        self.watch.abort();
        // Devices that were not there before, and the keys of those that have paired.
        for central in &self.paired {
            let _ = self.adapter.remove_device(address_of(*central)).await;
        }
        // What is dropped above is taken back by tasks of its own.
        tokio::task::yield_now().await;
        if !self.was_powered {
            let _ = self.adapter.set_powered(false).await;
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// The nearest error that bluer knows.
fn refusal(error: AttError) -> ReqError {
    match error {
        AttError::READ_NOT_PERMITTED | AttError::WRITE_NOT_PERMITTED => ReqError::NotPermitted,
        AttError::INSUFFICIENT_AUTHENTICATION | AttError::INSUFFICIENT_ENCRYPTION => ReqError::NotAuthorized,
        AttError::REQUEST_NOT_SUPPORTED => ReqError::NotSupported,
        AttError::INVALID_OFFSET => ReqError::InvalidOffset,
        AttError::INVALID_LENGTH => ReqError::InvalidValueLength,
        _ => ReqError::Failed,
    }
}

fn advertised(advertisement: &Advertisement) -> bluer::adv::Advertisement {
    bluer::adv::Advertisement {
        advertisement_type: bluer::adv::Type::Peripheral,
        service_uuids: advertisement.services.iter().map(|service| uuid(*service)).collect(),
        manufacturer_data: advertisement.manufacturer_data.iter().cloned().collect(),
        service_data: advertisement.service_data.iter().map(|(id, data)| (uuid(*id), data.clone())).collect(),
        // General discoverable is what the flags of a target say.
        discoverable: Some(true),
        local_name: advertisement.name.clone(),
        appearance: advertisement.appearance,
        // Zephyr's fast interval (BT_GAP_ADV_FAST_INT_MIN_2, MAX_2); the kernel's own is more than a second. Only a
        // bluetoothd with its experimental interfaces listens.
        min_interval: Some(Duration::from_millis(100)),
        max_interval: Some(Duration::from_millis(150)),
        ..bluer::adv::Advertisement::default()
    }
}
