//! A peripheral's end of an adapter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bluer::{Adapter, Device, Session};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::actor::Actor;
use super::silence;
use crate::gatt::{Address, Advertisement, CentralAction, GattEvent, IoCapability, Security, Table};

/// Events that wait for the peripheral; then centrals wait for it.
const EVENTS_MAX: usize = 256;

/// Longest time that closing takes.
const CLOSING: Duration = Duration::from_secs(5);

/// Which central: its address as a number.
pub(super) type Central = u64;

/// What a peripheral is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A central does something; the number is its address.
    Action(u64, CentralAction),
    /// Something of the adapter that an account should have.
    Note(String),
    /// bluetoothd or the adapter is gone; nothing follows.
    Gone(String),
}

/// How the peripheral is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// What it can show and ask while it pairs; `None` where it does not pair.
    pub capability: Option<IoCapability>,
    /// Centrals at the same time. With one, writes go through a socket instead of method calls, because it is
    /// known whose they are.
    pub centrals: u8,
}

impl Default for Setup {
    fn default() -> Self {
        Self { capability: Some(IoCapability::NoInputNoOutput), centrals: 1 }
    }
}

/// What there is to find and to do on the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// What is advertised, under the adapter's address; nothing while no central may connect.
    pub advertisement: Option<Advertisement>,
    /// The attributes. Generic Access and Generic Attribute are bluetoothd's own and left out.
    pub table: Arc<Table>,
    /// What a link needs before the attribute with this handle can be read or written, where it needs anything.
    pub access: Arc<BTreeMap<u16, Security>>,
}

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no bus, or no bluetoothd on it.
    #[error("no bluetoothd is there ({0}): is it running, and is this user allowed to speak to it?")]
    Bluetoothd(#[source] bluer::Error),
    /// There is no such adapter.
    #[error("there is no adapter `{wanted}`: {}", here(.found))]
    NoAdapter {
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: Vec<String>,
    },
    /// It cannot be powered on.
    #[error("{adapter} cannot be powered on ({error}): is it blocked (`rfkill list`)?")]
    Power {
        /// Which.
        adapter: String,
        /// Why.
        #[source]
        error: bluer::Error,
    },
    /// Something else uses it.
    #[error("{adapter} is in use, {} is connected: disconnect it, or choose another adapter", .devices.join(" and "))]
    InUse {
        /// Which.
        adapter: String,
        /// Addresses of what is connected.
        devices: Vec<String>,
    },
    /// The target has no user who could be asked while it pairs.
    #[error("bluetoothd takes no agent: {0}")]
    Agent(#[source] zbus::Error),
    /// It cannot play a peripheral.
    #[error(
        "{adapter} cannot play a peripheral ({error}): it needs the LE peripheral role and a bluetoothd with LEAdvertisingManager1 and GattManager1"
    )]
    Peripheral {
        /// Which.
        adapter: String,
        /// Why.
        #[source]
        error: bluer::Error,
    },
}

impl OpenError {
    /// Whether what was asked for is at fault, and another adapter may do.
    #[must_use]
    pub fn is_choice(&self) -> bool {
        matches!(self, Self::NoAdapter { .. } | Self::InUse { .. })
    }
}

fn here(found: &[String]) -> String {
    if found.is_empty() { "this machine has none".to_owned() } else { format!("there is {}", found.join(", ")) }
}

/// An adapter of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, like `hci0`.
    pub name: String,
    /// Its address.
    pub address: Address,
    /// Whether links on it can end without a word.
    pub silent: bool,
}

/// The adapters of this machine.
///
/// # Errors
/// [`OpenError::Bluetoothd`].
pub async fn adapters() -> Result<Vec<Found>, OpenError> {
    let session = Session::new().await.map_err(OpenError::Bluetoothd)?;
    let mut found = Vec::new();
    for name in session.adapter_names().await.map_err(OpenError::Bluetoothd)? {
        let adapter = session.adapter(&name).map_err(OpenError::Bluetoothd)?;
        let address = Address(adapter.address().await.map_err(OpenError::Bluetoothd)?.0);
        let silent = silence::allowed(&name);
        found.push(Found { name, address, silent });
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Who is connected to an adapter.
async fn connected(adapter: &Adapter) -> bluer::Result<Vec<Device>> {
    let mut connected = Vec::new();
    for address in adapter.device_addresses().await? {
        let device = adapter.device(address)?;
        // One that is removed meanwhile is not connected.
        if device.is_connected().await.unwrap_or(false) {
            connected.push(device);
        }
    }
    Ok(connected)
}

/// Ends the links of an adapter whose peripheral has died and could not do it itself.
///
/// # Errors
/// [`OpenError`].
pub async fn release(name: &str) -> Result<(), OpenError> {
    let session = Session::new().await.map_err(OpenError::Bluetoothd)?;
    let adapter = session.adapter(name).map_err(OpenError::Bluetoothd)?;
    for device in connected(&adapter).await.map_err(OpenError::Bluetoothd)? {
        // It may go by itself.
        let _ = device.disconnect().await;
    }
    Ok(())
}

/// What comes from a peripheral.
#[derive(Debug)]
pub(super) enum Input {
    /// This is there from now on; `None`: nothing can be found, and nobody may connect.
    Serve(Option<Served>),
    /// A central is told something.
    Tell(Central, GattEvent),
    /// All links end without a word.
    Silence,
    /// Takes everything off the adapter.
    Close(oneshot::Sender<()>),
}

/// A peripheral on an adapter.
///
/// [`Port::close`] takes it off the adapter and ends its links. When it is dropped, or its process dies, bluetoothd
/// takes advertisement and application away by itself.
#[derive(Debug)]
pub struct Port {
    name: String,
    address: Address,
    silent: bool,
    events: mpsc::Receiver<Event>,
    inputs: mpsc::UnboundedSender<Input>,
    served: Option<Served>,
    task: AbortHandle,
}

impl Port {
    /// Takes an adapter, named like `hci0`; must be called inside of a tokio `LocalSet`. An adapter without power
    /// is powered on, and off again when the port is closed.
    ///
    /// # Errors
    /// There is no bluetoothd or no such adapter, or it cannot play a peripheral.
    pub async fn open(name: &str, setup: Setup) -> Result<Self, OpenError> {
        let session = Session::new().await.map_err(OpenError::Bluetoothd)?;
        let found = session.adapter_names().await.map_err(OpenError::Bluetoothd)?;
        let no_adapter = || OpenError::NoAdapter { wanted: name.to_owned(), found: found.clone() };
        if !found.iter().any(|adapter| adapter == name) {
            return Err(no_adapter());
        }
        let adapter = session.adapter(name).map_err(|_| no_adapter())?;
        let power = |error| OpenError::Power { adapter: name.to_owned(), error };
        let was_powered = adapter.is_powered().await.map_err(power)?;
        if !was_powered {
            adapter.set_powered(true).await.map_err(power)?;
        }
        let peripheral = |error| OpenError::Peripheral { adapter: name.to_owned(), error };
        let address = adapter.address().await.map_err(peripheral)?;
        // Says whether it can advertise at all.
        adapter.supported_advertising_instances().await.map_err(peripheral)?;
        let devices = connected(&adapter).await.map_err(peripheral)?;
        if !devices.is_empty() {
            let devices = devices.iter().map(|device| device.address().to_string()).collect();
            return Err(OpenError::InUse { adapter: name.to_owned(), devices });
        }
        Self::start(session, adapter, Address(address.0), setup, was_powered).await
    }

    async fn start(
        session: Session,
        adapter: Adapter,
        address: Address,
        setup: Setup,
        was_powered: bool,
    ) -> Result<Self, OpenError> {
        let name = adapter.name().to_owned();
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let (inputs, input) = mpsc::unbounded_channel();
        let silent = silence::allowed(&name);
        let actor = Actor::new(session, adapter, address, setup, was_powered, event_sender).await?;
        let task = tokio::task::spawn_local(actor.run(input)).abort_handle();
        Ok(Self { name, address, silent, events, inputs, served: None, task })
    }

    /// The name of the adapter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, under which the peripheral is found.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// Whether links can end without a word here.
    #[must_use]
    pub fn can_be_silent(&self) -> bool {
        self.silent
    }

    /// This is there from now on, or nothing; told on only when it is something new.
    pub fn serve(&mut self, served: Option<Served>) {
        if self.served != served {
            self.served.clone_from(&served);
            self.input(Input::Serve(served));
        }
    }

    /// Tells a central something.
    pub fn tell(&self, central: u64, event: GattEvent) {
        self.input(Input::Tell(central, event));
    }

    /// All links end without a word, as those of a device that loses its power do; politely where the adapter does
    /// not allow that.
    pub fn fall_silent(&mut self) {
        // Even the same is to be served anew after it.
        self.served = None;
        self.input(Input::Silence);
    }

    /// What happens next; never, once the adapter is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// What has happened already.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Takes everything off the adapter: advertisement, application, links, keys of pairings made meanwhile.
    pub async fn close(mut self) {
        let (done, mut closed) = oneshot::channel();
        self.input(Input::Close(done));
        let closing = async {
            loop {
                tokio::select! {
                    _ = &mut closed => return,
                    // What centrals still do must not keep the task from closing.
                    event = self.events.recv() => if event.is_none() { return },
                }
            }
        };
        // A bluetoothd that does not answer is not waited for.
        let _ = tokio::time::timeout(CLOSING, closing).await;
    }

    fn input(&self, input: Input) {
        // An adapter that is gone has no centrals to tell.
        let _ = self.inputs.send(input);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.task.abort();
    }
}
