//! The task behind a port: it owns what is registered with bluetoothd.

mod asked;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bluer::adv::AdvertisementHandle;
use bluer::gatt::local::ReqError;
use bluer::{Adapter, Session};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::application::{self, Registered, uuid};
use super::beside::Beside;
use super::centrals::{self, Ask, Notifier, Reader, address_of};
use super::port::{Central, Event, Input, OpenError, Served, Setup};
use super::silence;
use crate::gatt::{Address, Advertisement, CentralAction, Security};

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
    /// bluetoothd has answered already: a subscription to this value, made while the link was this well protected.
    Subscription(u16, Security),
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
        // Nothing of `other`: bluetoothd refuses an advertisement with a structure whose type it knows, LE Bluetooth Device
        // Address among them (bluez: `src/shared/ad.c`, `type_reject_list`).
        // Zephyr's fast interval (BT_GAP_ADV_FAST_INT_MIN_2, MAX_2); the kernel's own is more than a second. Only a
        // bluetoothd with its experimental interfaces listens.
        min_interval: Some(Duration::from_millis(100)),
        max_interval: Some(Duration::from_millis(150)),
        ..bluer::adv::Advertisement::default()
    }
}
