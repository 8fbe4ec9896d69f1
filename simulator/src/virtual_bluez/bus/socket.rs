//! The connections of a bus: a unix socket, and one queue each way for each client.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::cell::Cell;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle, spawn_local};
use zbus::connection::{AuthMechanism, Builder};
use zbus::{Connection, Guid, Message, MessageStream, OwnedGuid};

use super::Credentials;

const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 64;
const QUEUE_MESSAGES_MAX: usize = 65_536;
const QUEUE_BYTES_MAX: usize = 32 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

#[derive(Debug)]
pub enum Incoming {
    Opened(Token, Credentials),
    Message(Token, Message),
    Closed(Token),
}

enum Event {
    Opened(Token, Credentials, Connection),
    Message(Token, Message),
    Closed(Token),
}

#[derive(Debug)]
struct Peer {
    queue: mpsc::UnboundedSender<Message>,
    usage: Rc<Usage>,
    reader: AbortHandle,
    writer: AbortHandle,
}

#[derive(Debug, Default)]
struct Usage {
    messages: Cell<usize>,
    bytes: Cell<usize>,
}

pub struct Listener {
    address: String,
    path: PathBuf,
    events: mpsc::Receiver<(Event, AbortHandle)>,
    clients: HashMap<Token, Peer>,
    lost: VecDeque<Token>,
    accepting: JoinHandle<()>,
}

impl Listener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        let guid = Guid::generate();
        let address = format!("unix:path={},guid={guid}", path.display());
        let socket = UnixListener::bind(path)?;
        let (sender, events) = mpsc::channel(64);
        let accepting = spawn_local(accept(socket, guid.into(), sender));
        Ok(Self { address, path: path.to_owned(), events, clients: HashMap::new(), lost: VecDeque::new(), accepting })
    }
    pub fn address(&self) -> &str {
        &self.address
    }
    pub async fn next(&mut self) -> Incoming {
        loop {
            if let Some(t) = self.lost.pop_front() {
                return Incoming::Closed(t);
            }
            let Some((event, reader)) = self.events.recv().await else { return std::future::pending().await };
            match event {
                Event::Opened(token, credentials, connection) => {
                    let (queue, messages) = mpsc::unbounded_channel();
                    let usage = Rc::new(Usage::default());
                    let writer = spawn_local(write(connection, messages, usage.clone())).abort_handle();
                    self.clients.insert(token, Peer { queue, usage, reader, writer });
                    return Incoming::Opened(token, credentials);
                }
                Event::Message(token, message) if self.clients.contains_key(&token) => return Incoming::Message(token, message),
                Event::Closed(token) if self.clients.remove(&token).is_some() => return Incoming::Closed(token),
                _ => {}
            }
        }
    }
    pub fn send(&mut self, client: Token, message: &Message) {
        let Some(peer) = self.clients.get(&client) else { return };
        peer.usage.messages.set(peer.usage.messages.get() + 1);
        peer.usage.bytes.set(peer.usage.bytes.get() + message.data().len());
        if peer.usage.messages.get() > QUEUE_MESSAGES_MAX || peer.usage.bytes.get() > QUEUE_BYTES_MAX {
            self.close(client);
            self.lost.push_back(client);
        } else {
            let _ = peer.queue.send(message.clone());
        }
    }
    pub fn close(&mut self, client: Token) {
        if let Some(peer) = self.clients.remove(&client) {
            peer.reader.abort();
            peer.writer.abort();
        }
    }
}

async fn accept(socket: UnixListener, guid: OwnedGuid, events: mpsc::Sender<(Event, AbortHandle)>) {
    let mut n = 0;
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        n += 1;
        let (guid, events) = (guid.clone(), events.clone());
        let (tx, rx) = tokio::sync::oneshot::channel();
        let h = spawn_local(async move {
            let abort: AbortHandle = rx.await.unwrap();
            let _ = serve(stream, guid, Token(n), events, abort).await;
        });
        let _ = tx.send(h.abort_handle());
    }
}

async fn serve(stream: UnixStream, guid: OwnedGuid, token: Token, events: mpsc::Sender<(Event, AbortHandle)>, abort: AbortHandle) -> io::Result<()> {
    let c = stream.peer_cred()?;
    let credentials = Credentials { uid: c.uid(), pid: c.pid().and_then(|p| u32::try_from(p).ok()) };
    let stream = stream.into_std()?;
    let built = Builder::unix_stream(stream).server(guid).p2p().auth_mechanism(AuthMechanism::External).validate_bodies().max_queued(std::num::NonZeroUsize::new(8).unwrap()).build_message_stream();
    let Ok(Ok(mut stream)) = tokio::time::timeout(HANDSHAKE_TIME, built).await else { return Ok(()) };
    let connection = Connection::from(&stream);
    let _ = events.send((Event::Opened(token, credentials, connection), abort.clone())).await;
    while let Some(Ok(message)) = next(&mut stream).await {
        let _ = events.send((Event::Message(token, message), abort.clone())).await;
    }
    let _ = events.send((Event::Closed(token), abort.clone())).await;
    Ok(())
}

async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    use zbus::export::futures_core::Stream as _;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

async fn write(connection: Connection, mut messages: mpsc::UnboundedReceiver<Message>, usage: Rc<Usage>) {
    while let Some(message) = messages.recv().await {
        let _ = connection.send(&message).await;
        usage.messages.set(usage.messages.get() - 1);
        usage.bytes.set(usage.bytes.get() - message.data().len());
    }
}
