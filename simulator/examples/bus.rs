//! A bus with one service that answers every call with what it was called with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use brickproof_simulator::virtual_bluez::bus::socket::{Incoming, Listener};
use brickproof_simulator::virtual_bluez::bus::{Bus, Credentials, Delivery, ServiceInput};
use zbus::Message;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let path = PathBuf::from(std::env::args().nth(1).expect("a path for the socket"));
    tokio::task::LocalSet::new().run_until(serve(path)).await
}

async fn serve(path: PathBuf) -> std::io::Result<()> {
    let mut listener = Listener::bind(&path)?;
    println!("{}", listener.address());
    let guid = listener.guid().to_owned();
    let mut bus = Bus::new(guid, Credentials { uid: 0, pid: Some(std::process::id()) }, &["org.bluez"]);
    let mut tokens = BTreeMap::new();
    let mut ids = BTreeMap::new();
    loop {
        match listener.next().await {
            Incoming::Opened(token, credentials) => match bus.open(credentials) {
                Some(id) => {
                    ids.insert(token, id);
                    tokens.insert(id, token);
                }
                None => listener.close(token),
            },
            Incoming::Message(token, message) => {
                if let Some(id) = ids.get(&token) {
                    bus.receive(*id, &message);
                }
            }
            Incoming::Closed(token) => {
                if let Some(id) = ids.remove(&token) {
                    tokens.remove(&id);
                    bus.closed(id);
                }
            }
        }
        while let Some(delivery) = bus.take() {
            match delivery {
                Delivery::Client(id, message) => {
                    if let Some(token) = tokens.get(&id) {
                        listener.send(*token, &message);
                    }
                }
                Delivery::Close(id, _) => {
                    if let Some(token) = tokens.remove(&id) {
                        ids.remove(&token);
                        listener.close(token);
                    }
                }
                Delivery::Service(ServiceInput::Call { message, .. }) => {
                    let reply = Message::method_return(&message.header()).sender(":1.0").build(&());
                    if let Ok(reply) = reply {
                        bus.send(&reply);
                    }
                }
                Delivery::Service(_) => {}
            }
        }
    }
}
