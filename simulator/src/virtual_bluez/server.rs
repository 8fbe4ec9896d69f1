//! The one task that owns bus and daemon, and the sockets around it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use zbus::{Fd, Message};

use super::bus::socket::{Incoming, Listener, Token};
use super::bus::{Bus, ClientId, Credentials, Delivery, ServiceInput};
use super::daemon::{Daemon, Effect, Settings, UNIQUE_NAME};
use super::port::{Note, PeripheralId, Port, PortEvent, PortInput};
use super::sockets::{Arrived, Sockets};

/// Name of the socket in its folder.
const SOCKET: &str = "bus";
/// Events that wait for a peripheral; then the bus waits for it.
const EVENTS_MAX: usize = 256;
/// Messages that are handled before others get their turn.
const BURST: usize = 32;

/// How the virtual BlueZ is set up.
pub type Options = Settings;

/// A running bus; dropping it ends it, and removes its socket.
#[derive(Debug)]
pub struct VirtualBluez {
    address: String,
    task: AbortHandle,
    attach: mpsc::UnboundedSender<Attached>,
    inputs: mpsc::UnboundedSender<(PeripheralId, PortInput)>,
    next: Cell<PeripheralId>,
}

/// A port as the server has it.
#[derive(Debug)]
struct Attached {
    id: PeripheralId,
    events: mpsc::Sender<PortEvent>,
    watching: bool,
}

impl VirtualBluez {
    /// Listens on the socket `bus` in `folder`; must be called inside of a tokio `LocalSet`.
    ///
    /// # Errors
    /// From the operating system; a path that is too long for a socket.
    pub fn start(folder: &Path, options: &Options) -> io::Result<Self> {
        let listener = Listener::bind(&folder.join(SOCKET))?;
        let address = listener.address().to_owned();
        let guid = listener.guid().to_owned();
        let (attach, attaches) = mpsc::unbounded_channel();
        let (inputs, input) = mpsc::unbounded_channel();
        let own = Credentials { uid: rustix::process::geteuid().as_raw(), pid: Some(std::process::id()) };
        let server = Server {
            listener,
            bus: Bus::new(guid, own, &["org.bluez"]),
            daemon: Daemon::new(options.clone()),
            tokens: BTreeMap::new(),
            clients: BTreeMap::new(),
            ports: BTreeMap::new(),
            sockets: Sockets::default(),
            start: Instant::now(),
        };
        let task = spawn_local(server.run(attaches, input)).abort_handle();
        Ok(Self { address, task, attach, inputs, next: Cell::new(0) })
    }

    /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Puts a peripheral on the air; `watching` ports are told what happens on the bus, too.
    #[must_use]
    pub fn attach(&self, watching: bool) -> Port {
        let id = self.next.replace(self.next.get() + 1);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        // A server that is gone has no centrals.
        let _ = self.attach.send(Attached { id, events, watching });
        Port::new(id, receiver, self.inputs.clone())
    }
}

impl Drop for VirtualBluez {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Server {
    listener: Listener,
    bus: Bus,
    daemon: Daemon,
    tokens: BTreeMap<ClientId, Token>,
    clients: BTreeMap<Token, ClientId>,
    ports: BTreeMap<PeripheralId, Attached>,
    sockets: Sockets,
    start: Instant,
}

impl Server {
    async fn run(
        mut self,
        mut attaches: mpsc::UnboundedReceiver<Attached>,
        mut inputs: mpsc::UnboundedReceiver<(PeripheralId, PortInput)>,
    ) {
        loop {
            let wake = self.daemon.next_wake().map(|at| self.start + Duration::from_micros(at));
            tokio::select! {
                biased;
                Some(attached) = attaches.recv() => {
                    self.ports.insert(attached.id, attached);
                }
                Some((id, input)) = inputs.recv() => {
                    self.input(id, input);
                    // What belongs together goes out together.
                    for _ in 0..BURST {
                        let Ok((id, input)) = inputs.try_recv() else { break };
                        self.input(id, input);
                    }
                }
                () = self.sockets.ready() => self.sockets_arrived(),
                incoming = self.listener.next() => self.incoming(incoming).await,
                () = sleep_until(wake) => {}
            }
            self.pump().await;
            // Whoever never pauses keeps neither the clock nor the others waiting.
            let now = self.now();
            if self.daemon.next_wake().is_some_and(|at| at <= now) {
                self.daemon.advance(now);
            }
            if let Some(incoming) = self.listener.poll() {
                self.incoming(incoming).await;
            }
            self.pump().await;
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn input(&mut self, id: PeripheralId, input: PortInput) {
        if input == PortInput::Detached {
            self.ports.remove(&id);
        }
        let now = self.now();
        self.daemon.input(id, input, now);
    }

    fn sockets_arrived(&mut self) {
        let now = self.now();
        let mut closed = Vec::new();
        for arrived in self.sockets.take() {
            match arrived {
                Arrived::Packet(id, packet) => self.daemon.socket_data(id, packet, now),
                Arrived::Closed(id) => closed.push(id),
            }
        }
        if !closed.is_empty() {
            self.daemon.sockets_closed(&closed, now);
        }
    }

    async fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Opened(token, credentials) => match self.bus.open(credentials) {
                Some(client) => {
                    self.tokens.insert(client, token);
                    self.clients.insert(token, client);
                    let note = Note::Opened { client: client.to_string(), process: credentials.pid };
                    self.note(note).await;
                }
                None => self.listener.close(token),
            },
            Incoming::Message(token, message) => {
                // What a program has put into a socket, or its end, comes before what it says next.
                self.sockets_arrived();
                if let Some(client) = self.clients.get(&token) {
                    self.bus.receive(*client, &message);
                }
            }
            Incoming::Closed(token) => self.closed(token).await,
        }
    }

    async fn closed(&mut self, token: Token) {
        if let Some(client) = self.clients.remove(&token) {
            self.tokens.remove(&client);
            self.bus.closed(client);
            self.note(Note::Closed { client: client.to_string() }).await;
        }
    }

    /// Carries out what bus and daemon want, until neither wants anything.
    async fn pump(&mut self) {
        loop {
            while let Some(effect) = self.daemon.take() {
                self.carry_out(effect).await;
            }
            let Some(delivery) = self.bus.take() else { return };
            let now = self.now();
            match delivery {
                Delivery::Client(client, message) => {
                    if let Some(token) = self.tokens.get(&client) {
                        self.listener.send(*token, &message);
                    }
                }
                Delivery::Service(ServiceInput::Call { message, .. }) => self.daemon.call(message, now),
                Delivery::Service(ServiceInput::Reply { message }) => self.daemon.reply_of_agent(&message, now),
                Delivery::Service(ServiceInput::Gone { client }) => self.daemon.gone(&client.to_string(), now),
                Delivery::Close(client, _) => {
                    if let Some(token) = self.tokens.remove(&client) {
                        self.listener.close(token);
                        self.clients.remove(&token);
                        self.note(Note::Closed { client: client.to_string() }).await;
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(message) => self.bus.send(&message),
            Effect::Acquire { call, socket, mtu } => {
                let made = self.sockets.open(socket).map_err(|error| error.to_string()).and_then(|end| {
                    let body = (Fd::from(end), mtu);
                    Message::method_return(&call.header())
                        .sender(UNIQUE_NAME)
                        .build(&body)
                        .map_err(|error| error.to_string())
                });
                if made.is_err() {
                    self.sockets.close(socket);
                    let now = self.now();
                    self.daemon.sockets_closed(&[socket], now);
                }
                let reply = made.or_else(|error| {
                    Message::error(&call.header(), "org.bluez.Error.Failed").sender(UNIQUE_NAME).build(&error)
                });
                if let Ok(reply) = reply {
                    self.bus.send(&reply);
                }
            }
            Effect::SocketSend(socket, packet) => self.sockets.send(socket, &packet),
            Effect::SocketClose(socket) => self.sockets.close(socket),
            Effect::Act(id, central, action) => {
                if let Some(port) = self.ports.get(&id) {
                    // A peripheral that has just left hears nothing any more.
                    let _ = port.events.send(PortEvent::Action(central, action)).await;
                }
            }
            Effect::Note(note) => self.note(note).await,
        }
    }

    async fn note(&mut self, note: Note) {
        for port in self.ports.values().filter(|port| port.watching) {
            let _ = port.events.send(PortEvent::Note(note.clone())).await;
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
