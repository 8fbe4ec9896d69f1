//! A bus on a socket, with a service that does what its callers ask for.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;

use brickproof_simulator::virtual_bluez::bus::socket::{Incoming, Listener, Token};
use brickproof_simulator::virtual_bluez::bus::{Bus, ClientId, Credentials, Delivery, ServiceInput};
use zbus::Message;

/// Socket, bus and service, and which connection is which client.
pub(crate) struct Server {
    listener: Listener,
    bus: Bus,
    ids: BTreeMap<Token, ClientId>,
    tokens: BTreeMap<ClientId, Token>,
}

impl Server {
    pub(crate) fn new(listener: Listener) -> Self {
        let own = Credentials { uid: 0, pid: Some(std::process::id()) };
        let bus = Bus::new(listener.guid().to_owned(), own, &["org.bluez"]);
        Self { listener, bus, ids: BTreeMap::new(), tokens: BTreeMap::new() }
    }

    /// Serves until the future is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let incoming = self.listener.next().await;
            self.handle(incoming);
            while let Some(delivery) = self.bus.take() {
                self.deliver(delivery);
            }
        }
    }

    fn handle(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Opened(token, credentials) => match self.bus.open(credentials) {
                Some(id) => {
                    self.ids.insert(token, id);
                    self.tokens.insert(id, token);
                }
                None => self.listener.close(token),
            },
            Incoming::Message(token, message) => {
                if let Some(id) = self.ids.get(&token) {
                    self.bus.receive(*id, &message);
                }
            }
            Incoming::Closed(token) => {
                if let Some(id) = self.ids.remove(&token) {
                    self.tokens.remove(&id);
                    self.bus.closed(id);
                }
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Client(id, message) => {
                if let Some(token) = self.tokens.get(&id) {
                    self.listener.send(*token, &message);
                }
            }
            Delivery::Close(id, _) => {
                if let Some(token) = self.tokens.remove(&id) {
                    self.ids.remove(&token);
                    self.listener.close(token);
                }
            }
            Delivery::Service(ServiceInput::Call { client, message }) => self.serve(client, &message),
            Delivery::Service(ServiceInput::Reply { .. } | ServiceInput::Gone { .. }) => {}
        }
    }

    fn serve(&mut self, client: ClientId, call: &Message) {
        let header = call.header();
        let reply = Message::method_return(&header).sender(":1.0");
        let reply = match header.member().map(|member| member.as_str()) {
            // A signal to the caller, so many times.
            Some("Flood") => {
                let count: u32 = call.body().deserialize().unwrap_or_default();
                let signal = Message::signal("/", "t.t", "S").sender(":1.0").destination(client.to_string());
                if let Ok(signal) = signal.build(&vec![7u8; 1024]) {
                    (0..count).for_each(|_| self.bus.send(&signal));
                }
                reply.build(&())
            }
            // One end of a pair of sockets, whose other end has something to say.
            Some("Acquire") => match UnixStream::pair() {
                Ok((ours, theirs)) => {
                    let _ = std::io::Write::write_all(&mut &ours, b"hi");
                    reply.build(&(zbus::Fd::from(&theirs), 247u16))
                }
                Err(_) => reply.build(&()),
            },
            _ => reply.build(&()),
        };
        if let Ok(reply) = reply {
            self.bus.send(&reply);
        }
    }
}
