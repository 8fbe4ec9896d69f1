//! The built-in initiator on real time: a program that uses BlueZ over D-Bus, like any other.
//!
//! A link is made when the first packet is sent, and again after it was lost: discover, connect, wait for the
//! services, switch notifications on. An agent of its own knows the passkey, as the person does who reads the display.
//! Requests are written in fragments of MTU-3 bytes, answers put together from notifications.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use brickproof_simulator::gatt::{ATT_OVERHEAD, MTU_MIN};
use brickproof_simulator::smp::gatt::{CHARACTERISTIC_UUID, SERVICE_UUID};
use brickproof_simulator::smp::{Frame, frame::HEADER_LEN};
use brickproof_simulator::trace::InitiatorEvent;
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use super::wire::Wire;

/// How long a target is looked for.
const DISCOVERY: Duration = Duration::from_secs(10);
/// How long services may take after a connection.
const RESOLUTION: Duration = Duration::from_secs(10);
/// Longest call: a connection, or a pairing with an agent.
const CALL: Duration = Duration::from_secs(30);
const BLUEZ: &str = "org.bluez";
const ADAPTER: &str = "org.bluez.Adapter1";
const DEVICE: &str = "org.bluez.Device1";
const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
const AGENT: &str = "/agent";

type Values = HashMap<String, OwnedVariant>;
type Objects = HashMap<OwnedObjectPath, HashMap<String, Values>>;

/// A link that is set up.
#[derive(Debug)]
struct Link {
    device: OwnedObjectPath,
    characteristic: OwnedObjectPath,
    mtu: u16,
}

/// What is heard on the bus.
enum Heard {
    /// A notification of a characteristic.
    Value(String, Vec<u8>),
    /// A property of a device, as a flag.
    Flag(String, String, bool),
}

/// A wire over the virtual BlueZ.
pub struct BluezWire {
    connection: Connection,
    heard: mpsc::UnboundedReceiver<Heard>,
    listener: tokio::task::JoinHandle<()>,
    link: Option<Link>,
    /// An answer that is being put together.
    pieces: Vec<u8>,
    start: Instant,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
}

impl BluezWire {
    /// A wire over the bus at this address; `passkey` is what the target shows.
    ///
    /// # Errors
    /// When the bus cannot be reached.
    pub async fn open(
        bus: &str,
        passkey: u32,
        start: Instant,
        notes: mpsc::UnboundedSender<InitiatorEvent>,
    ) -> zbus::Result<Self> {
        let connection = zbus::connection::Builder::address(bus).method_timeout(CALL).build().await?;
        let stream = MessageStream::from(&connection);
        let (sender, heard) = mpsc::unbounded_channel();
        let listener = tokio::task::spawn_local(listen(stream, connection.clone(), passkey, sender));
        let wire = Self { connection, heard, listener, link: None, pieces: Vec::new(), start, notes };
        let rule = "type='signal',sender='org.bluez',interface='org.freedesktop.DBus.Properties'";
        let bus = "org.freedesktop.DBus";
        wire.connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "AddMatch", &rule).await?;
        let agent = ObjectPath::from_static_str_unchecked(AGENT);
        wire.call("/org/bluez", "org.bluez.AgentManager1", "RegisterAgent", &(agent, "KeyboardDisplay")).await?;
        Ok(wire)
    }

    async fn call<B: serde::Serialize + zbus::DynamicType>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> zbus::Result<Message> {
        self.connection.call_method(Some(BLUEZ), path, Some(interface), member, body).await
    }

    async fn objects(&self) -> zbus::Result<Objects> {
        let reply = self.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &()).await?;
        reply.body().deserialize()
    }

    /// Makes a link if there is none; whether there is one.
    async fn connect(&mut self) -> bool {
        self.take_heard();
        if self.link.is_none() {
            self.pieces.clear();
            match self.set_up().await {
                Ok(link) => self.link = link,
                Err(error) => {
                    let line = format!("no link: {error}");
                    let _ = self.notes.send(InitiatorEvent::Stderr { line });
                }
            }
        }
        self.link.is_some()
    }

    async fn set_up(&mut self) -> zbus::Result<Option<Link>> {
        let Some(device) = self.discover().await? else { return Ok(None) };
        self.call(&device, DEVICE, "Connect", &()).await?;
        // What was heard of the link before this one is of no interest any more.
        self.take_heard();
        let link = self.prepare(&device).await;
        if !matches!(link, Ok(Some(_))) {
            let _ = self.call(&device, DEVICE, "Disconnect", &()).await;
        }
        link
    }

    /// The path of the target, as it advertises now.
    async fn discover(&mut self) -> zbus::Result<Option<OwnedObjectPath>> {
        let filter = HashMap::from([
            ("Transport", Variant::from("le")),
            ("UUIDs", Variant::from(vec![SERVICE_UUID.to_owned()])),
        ]);
        self.call("/org/bluez/hci0", ADAPTER, "SetDiscoveryFilter", &filter).await?;
        self.call("/org/bluez/hci0", ADAPTER, "StartDiscovery", &()).await?;
        let deadline = tokio::time::Instant::now() + DISCOVERY;
        let found = loop {
            let Ok(objects) = self.objects().await else { break None };
            // What is heard now has a signal.
            let here = |(path, interfaces): (OwnedObjectPath, HashMap<String, Values>)| {
                interfaces.get(DEVICE).filter(|values| values.contains_key("RSSI")).map(|_| path)
            };
            let found = objects.into_iter().find_map(here);
            if found.is_some() || tokio::time::Instant::now() > deadline {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        self.call("/org/bluez/hci0", ADAPTER, "StopDiscovery", &()).await?;
        Ok(found)
    }

    /// Waits for the services and switches notifications on.
    async fn prepare(&mut self, device: &OwnedObjectPath) -> zbus::Result<Option<Link>> {
        let deadline = tokio::time::Instant::now() + RESOLUTION;
        loop {
            let objects = self.objects().await?;
            let flag = |name: &str| {
                let value = objects.get(device).and_then(|interfaces| interfaces.get(DEVICE)?.get(name));
                value.and_then(|value| bool::try_from(value).ok()).unwrap_or(false)
            };
            if !flag("Connected") || tokio::time::Instant::now() > deadline {
                return Ok(None);
            }
            if !flag("ServicesResolved") {
                let _ = tokio::time::timeout(Duration::from_millis(50), self.heard.recv()).await;
                continue;
            }
            let below = format!("{device}/");
            let found = objects.into_iter().find_map(|(path, mut interfaces)| {
                let values = interfaces.remove(CHARACTERISTIC).filter(|_| path.starts_with(&below))?;
                let uuid: &str = values.get("UUID")?.try_into().ok()?;
                (uuid == CHARACTERISTIC_UUID).then(|| {
                    let mtu = values.get("MTU").and_then(|mtu| u16::try_from(mtu).ok());
                    (path.clone(), mtu.unwrap_or(MTU_MIN))
                })
            });
            let Some((characteristic, mtu)) = found else { return Ok(None) };
            self.call(&characteristic, CHARACTERISTIC, "StartNotify", &()).await?;
            return Ok(Some(Link { device: device.clone(), characteristic, mtu }));
        }
    }

    /// Takes in what was heard by now; the packets that are complete come from [`BluezWire::packet`].
    fn take_heard(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.hear(heard);
        }
    }

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Value(path, value)
                if self.link.as_ref().is_some_and(|link| link.characteristic.as_str() == path) =>
            {
                self.pieces.extend(value);
            }
            Heard::Flag(path, name, false) if name == "Connected" => {
                if self.link.as_ref().is_some_and(|link| link.device.as_str() == path) {
                    self.link = None;
                    self.pieces.clear();
                }
            }
            Heard::Value(..) | Heard::Flag(..) => {}
        }
    }

    fn complete(&mut self) -> Option<Vec<u8>> {
        let (_, len) = Frame::parse_header(&self.pieces).ok()?;
        let len = HEADER_LEN + usize::from(len);
        (self.pieces.len() >= len).then(|| {
            let rest = self.pieces.split_off(len);
            std::mem::replace(&mut self.pieces, rest)
        })
    }

    /// The next packet, however long it takes.
    async fn packet(&mut self) -> Vec<u8> {
        loop {
            if let Some(packet) = self.complete() {
                return packet;
            }
            match self.heard.recv().await {
                Some(heard) => self.hear(heard),
                None => return std::future::pending().await,
            }
        }
    }
}

impl Drop for BluezWire {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Wire for BluezWire {
    async fn send(&mut self, packet: Vec<u8>) {
        if !self.connect().await {
            return;
        }
        let Some((characteristic, mtu)) = self.link.as_ref().map(|link| (link.characteristic.clone(), link.mtu)) else {
            return;
        };
        for fragment in packet.chunks(usize::from(mtu - ATT_OVERHEAD)) {
            let body = (fragment, HashMap::from([("type", Variant::from("command"))]));
            // A link that is gone is heard of by its signal; what was written is lost.
            if self.call(&characteristic, CHARACTERISTIC, "WriteValue", &body).await.is_err() {
                return;
            }
        }
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        tokio::time::timeout(Duration::from_micros(timeout_us), self.packet()).await.ok()
    }

    async fn sleep(&mut self, us: u64) {
        tokio::time::sleep(Duration::from_micros(us)).await;
    }

    async fn one_write(&mut self) -> Option<usize> {
        self.connect().await;
        Some(usize::from(self.link.as_ref().map_or(MTU_MIN, |link| link.mtu) - ATT_OVERHEAD))
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&mut self, event: InitiatorEvent) {
        let _ = self.notes.send(event);
    }
}

/// Takes signals in, and answers for the agent.
async fn listen(mut stream: MessageStream, bus: Connection, passkey: u32, heard: mpsc::UnboundedSender<Heard>) {
    while let Some(Ok(message)) = next(&mut stream).await {
        match message.message_type() {
            Type::Signal => {
                for heard_now in signal(&message) {
                    if heard.send(heard_now).is_err() {
                        return;
                    }
                }
            }
            Type::MethodCall => {
                let header = message.header();
                let reply = Message::method_return(&header);
                let reply = match header.member().map(|member| member.as_str()) {
                    Some("RequestPasskey") => reply.build(&passkey),
                    _ => reply.build(&()),
                };
                if let Ok(reply) = reply {
                    let _ = bus.send(&reply).await;
                }
            }
            Type::MethodReturn | Type::Error => {}
        }
    }
}

async fn next(stream: &mut MessageStream) -> Option<zbus::Result<Message>> {
    use futures_core::Stream;
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

/// What a signal tells.
fn signal(message: &Message) -> Vec<Heard> {
    let path = message.header().path().map(ToString::to_string).unwrap_or_default();
    let body = message.body();
    let Ok((_, changed, _)) = body.deserialize::<(String, Values, Vec<String>)>() else { return Vec::new() };
    changed
        .into_iter()
        .filter_map(|(name, value)| {
            if name == "Value" {
                return Some(Heard::Value(path.clone(), Vec::<u8>::try_from(value).ok()?));
            }
            bool::try_from(&value).ok().map(|flag| Heard::Flag(path.clone(), name, flag))
        })
        .collect()
}
