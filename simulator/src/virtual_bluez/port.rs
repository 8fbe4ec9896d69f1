//! What a peripheral holds of the bus: it advertises, is told what centrals do, and tells them what comes of it.

use tokio::sync::mpsc;

use crate::gatt::{Advertisement, CentralAction, GattEvent};

/// A peripheral on the bus, numbered from 0 in the order in which they were attached.
pub type PeripheralId = usize;

/// Which central: the number of its adapter, from 0.
pub type Central = u64;

/// What a peripheral is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortEvent {
    /// A central does something.
    Action(Central, CentralAction),
    /// Something happens on the bus; only for ports that watch.
    Note(Note),
}

/// What a program does on the bus, for whoever keeps an account of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A program has opened a connection to the bus.
    Opened {
        /// Its unique name, like `:1.3`.
        client: String,
        /// Its process, where the kernel tells.
        process: Option<u32>,
    },
    /// A method was called and answered, or refused.
    Call {
        /// Who called.
        client: String,
        /// Of which object.
        path: String,
        /// Interface and member.
        member: String,
        /// Name and text of the error, if it was refused.
        error: Option<String>,
    },
    /// A connection was closed.
    Closed {
        /// Its unique name.
        client: String,
    },
}

/// What comes from a peripheral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortInput {
    /// It advertises this from now on, or nothing.
    Advertise(Option<Advertisement>),
    /// A central is told something.
    Tell(Central, GattEvent),
    /// The port was dropped.
    Detached,
}

/// A peripheral's end.
///
/// Dropping it takes the peripheral off the air without a word, as a power loss does.
#[derive(Debug)]
pub struct Port {
    id: PeripheralId,
    events: mpsc::Receiver<PortEvent>,
    inputs: mpsc::UnboundedSender<(PeripheralId, PortInput)>,
    advertised: Option<Advertisement>,
}

impl Port {
    pub(super) fn new(
        id: PeripheralId,
        events: mpsc::Receiver<PortEvent>,
        inputs: mpsc::UnboundedSender<(PeripheralId, PortInput)>,
    ) -> Self {
        Self { id, events, inputs, advertised: None }
    }

    /// Advertises this from now on, or nothing; told on only when it is something new.
    pub fn advertise(&mut self, advertisement: Option<Advertisement>) {
        if self.advertised != advertisement {
            self.advertised.clone_from(&advertisement);
            self.input(PortInput::Advertise(advertisement));
        }
    }

    /// What is advertised now.
    #[must_use]
    pub fn advertised(&self) -> Option<&Advertisement> {
        self.advertised.as_ref()
    }

    /// Tells a central something.
    pub fn tell(&self, central: Central, event: GattEvent) {
        self.input(PortInput::Tell(central, event));
    }

    /// What happens next; never, once the bus is gone. Dropping the future loses nothing.
    pub async fn next(&mut self) -> PortEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// What has happened already.
    pub fn poll(&mut self) -> Option<PortEvent> {
        self.events.try_recv().ok()
    }

    fn input(&self, input: PortInput) {
        // A bus that is gone has no centrals to tell.
        let _ = self.inputs.send((self.id, input));
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.input(PortInput::Detached);
    }
}
