//! The connections of a bus: a unix socket, and a bounded queue each way for each client.
//!
//! Messages are read and checked by zbus; its own connections are not used, because their handshake panics on a
//! line that is a line feed only, and because they make room for 128 MiB as soon as a header says so.
//!
//! A client costs one task that reads; it stops to read while nobody takes what it has read. What is sent to it goes
//! into the socket at once, and waits in a queue with a task of its own only when the socket is full.

mod handshake;
mod outbox;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, JoinSet, spawn_local};
use zbus::{Guid, Message};

use super::Credentials;
use handshake::{Authenticated, authenticate};
use outbox::Outbox;
use wire::Reader;

/// Longest path of a socket in bytes: 108 is what the kernel has room for, the last one is 0.
const PATH_MAX: usize = 107;
/// How long a client may take until it is authenticated; it needs three lines.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Clients that are not authenticated yet; one more, and the oldest is sent away (`max_incomplete_connections`).
const HANDSHAKES_MAX: usize = 64;
/// Messages that are read and not taken yet, of all clients together: enough to keep the reader busy, few enough that
/// a flood waits in the sockets.
const INCOMING_MAX: usize = 64;
/// Pause after a connection could not be accepted, which means that file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection; numbers do not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

/// What comes from the connections.
#[derive(Debug)]
pub enum Incoming {
    /// A client was authenticated.
    Opened(Token, Credentials),
    /// It sent a message.
    Message(Token, Message),
    /// It is gone: it left, sent something that is no message, or did not read what was sent to it.
    Closed(Token),
}

/// What the tasks report.
enum Event {
    Opened(Authenticated),
    Message(Token, Message),
    Closed(Token),
}

#[derive(Debug)]
struct Client {
    stream: Arc<UnixStream>,
    outbox: Rc<Outbox>,
    reader: AbortHandle,
    writer: AbortHandle,
}

/// A socket that listens, and everybody who is connected to it; dropping it closes all of it.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    guid: String,
    address: String,
    incoming: mpsc::Receiver<Event>,
    /// For the readers of new clients.
    events: mpsc::Sender<Event>,
    clients: HashMap<Token, Client>,
    last: u64,
    accepting: JoinHandle<()>,
}

impl Listener {
    /// Listens on a socket at this path, for programs of the same user and for root; must be called inside of a tokio
    /// `LocalSet`.
    ///
    /// # Errors
    /// `InvalidInput` for a path that is too long, or that has characters which not every client can read in an
    /// address; others from the operating system.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let text = check_path(path)?;
        let guid = Guid::generate().to_string();
        let address = format!("unix:path={},guid={guid}", text.replace('%', "%25"));
        let socket = UnixListener::bind(path)?;
        let (events, incoming) = mpsc::channel(INCOMING_MAX);
        let accepting = spawn_local(accept(socket, guid.clone(), events.clone()));
        // From here on dropping it removes the file.
        let clients = HashMap::new();
        let listener = Self { path: path.to_owned(), guid, address, incoming, events, clients, last: 0, accepting };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    }

    /// What goes into `DBUS_SYSTEM_BUS_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The id of the bus: 32 hexadecimal digits.
    #[must_use]
    pub fn guid(&self) -> &str {
        &self.guid
    }

    /// What happens next. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Incoming {
        loop {
            // The channel cannot end, for one sender is here.
            let Some(event) = self.incoming.recv().await else { return std::future::pending().await };
            if let Some(incoming) = self.handle(event) {
                return incoming;
            }
        }
    }

    /// What has happened already.
    pub fn poll(&mut self) -> Option<Incoming> {
        loop {
            let event = self.incoming.try_recv().ok()?;
            if let Some(incoming) = self.handle(event) {
                return Some(incoming);
            }
        }
    }

    /// Sends a message, without waiting; a client that does not read is disconnected sooner or later.
    ///
    /// What one call puts into a socket is there before the next call begins, unless the socket is full. A message
    /// with file descriptors to a client that cannot receive any is lost.
    pub fn send(&mut self, client: Token, message: &Message) {
        if let Some(client) = self.clients.get(&client) {
            client.outbox.send(message);
        }
    }

    /// Closes a connection; nothing more is heard of it, not even that it is closed.
    pub fn close(&mut self, client: Token) {
        if let Some(client) = self.clients.remove(&client) {
            client.end();
        }
    }

    fn handle(&mut self, event: Event) -> Option<Incoming> {
        match event {
            Event::Opened(Authenticated { stream, credentials, descriptors }) => {
                self.last += 1;
                let token = Token(self.last);
                let stream = Arc::new(stream);
                let outbox = Outbox::new(stream.clone(), descriptors);
                let writer = spawn_local(outbox.clone().run()).abort_handle();
                let reader = spawn_local(read(token, stream.clone(), self.events.clone())).abort_handle();
                self.clients.insert(token, Client { stream, outbox, reader, writer });
                Some(Incoming::Opened(token, credentials))
            }
            Event::Message(token, message) => {
                self.clients.contains_key(&token).then_some(Incoming::Message(token, message))
            }
            Event::Closed(token) => {
                self.clients.remove(&token)?.end();
                Some(Incoming::Closed(token))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
        for client in self.clients.values() {
            client.end();
        }
        // Somebody else may have removed it already.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Client {
    fn end(&self) {
        self.reader.abort();
        self.writer.abort();
        // The tasks end later, the connection now.
        let _ = rustix::net::shutdown(&*self.stream, Shutdown::Both);
    }
}

/// Whether a bus can have its socket here: the path as text, which is a part of the bus's address as it is.
///
/// # Errors
/// `InvalidInput` when it is too long for a socket, or has characters that an address of D-Bus would have to escape.
pub fn check_path(path: &Path) -> io::Result<&str> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_/.%".contains(c);
    let text = path.to_str().filter(|text| text.chars().all(allowed)).ok_or_else(|| {
        let path = path.display();
        invalid(format!("the path of the socket may have letters, digits and -_/.% only: {path}"))
    })?;
    match text.len() {
        0..=PATH_MAX => Ok(text),
        long => Err(invalid(format!("the path of the socket has {long} bytes, {PATH_MAX} are allowed: {text}"))),
    }
}

/// Accepts connections and authenticates them side by side, so that nobody waits for a client that says nothing.
async fn accept(socket: UnixListener, guid: String, events: mpsc::Sender<Event>) {
    let mut handshakes = JoinSet::new();
    let mut order: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Some(_) = handshakes.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        order.retain(|handshake| !handshake.is_finished());
        if order.len() >= HANDSHAKES_MAX
            && let Some(oldest) = order.pop_front()
        {
            oldest.abort();
        }
        let (guid, events) = (guid.clone(), events.clone());
        order.push_back(handshakes.spawn_local(async move {
            let done = tokio::time::timeout(HANDSHAKE_TIME, authenticate(stream, &guid)).await;
            if let Ok(Ok(authenticated)) = done {
                let _ = events.send(Event::Opened(authenticated)).await;
            }
        }));
    }
}

async fn read(token: Token, stream: Arc<UnixStream>, events: mpsc::Sender<Event>) {
    let mut reader = Reader::new(stream);
    while let Ok(message) = reader.next().await {
        if events.send(Event::Message(token, message)).await.is_err() {
            return;
        }
    }
    let _ = events.send(Event::Closed(token)).await;
}
