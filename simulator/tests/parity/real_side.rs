//! The peripheral behind the other adapter of bluetoothd, and the adapter under test as every script expects it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::spawn_local;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

use crate::client::{arguments, next};
use crate::names::Names;
use crate::peripheral::{self, Addition, Attribute, Order, Peripheral, Shared};
use crate::run::PATIENCE;
use crate::script::Script;
use crate::side::{NAME, Orders, Real, Side};

/// Our objects, as bluetoothd sees them.
const APPLICATION: &str = "/parity";
const SERVICE: &str = "/parity/service";
const ADVERTISEMENT: &str = "/parity/advertisement";
const AGENT: &str = "/parity/agent";
/// Its user is asked.
const ASKED: &str = "is asked to pair";
const GATT_MANAGER: &str = "org.bluez.GattManager1";
const BUS: &str = "unix:path=/run/dbus/system_bus_socket";

type Properties = BTreeMap<&'static str, Variant<'static>>;
type Objects = BTreeMap<ObjectPath<'static>, BTreeMap<&'static str, Properties>>;

/// Puts the peripheral on the air.
pub(crate) async fn start(real: &Real) -> Result<Side, String> {
    let connection = open().await?;
    let (adapter, other) = (format!("/org/bluez/{}", real.central), format!("/org/bluez/{}", real.peripheral));
    let changed = Rc::new(Notify::new());
    let peripheral = Rc::new(RefCell::new(Peripheral::new(Rc::clone(&changed), false)));
    let start = Instant::now();
    let address = loop {
        // bluetoothd has its name before it has its adapters.
        match text_property(&connection, &other, "Address").await {
            Err(_) if start.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_millis(50)).await,
            result => break result?,
        }
    };
    let names = Names { adapter, other: other.clone(), address, own: "?".into(), host: "?".into() };
    let (mut side, orders) = Side::new(BUS.to_owned(), names, Rc::clone(&peripheral), changed);
    side.is_heard_once = true;
    let carrier = Carrier {
        own: side.names.clone(),
        connection: connection.clone(),
        peripheral,
        advertises: false,
        subscribed: Vec::new(),
        waiting: Vec::new(),
        added: Vec::new(),
        shows: false,
    };
    let stream = MessageStream::from(&connection);
    spawn_local(carrier.run(stream, orders));
    set(&connection, &other, "Powered", Variant::from(true)).await?;
    set(&connection, &other, "Alias", Variant::from(NAME)).await?;
    let manager = "org.bluez.AgentManager1";
    let agent = path(AGENT);
    call(&connection, "/org/bluez", manager, "RegisterAgent", &(agent.clone(), "NoInputNoOutput")).await?;
    call(&connection, "/org/bluez", manager, "RequestDefaultAgent", &agent).await?;
    let options = BTreeMap::<&str, Variant<'_>>::new();
    let application = (path(APPLICATION), options);
    call(&connection, &other, GATT_MANAGER, "RegisterApplication", &application).await?;
    Ok(side)
}

/// Nothing is left of the script before.
pub(crate) async fn reset(side: &Side, script: &Script) -> Result<(), String> {
    let fresh = Peripheral::new(Rc::clone(&side.changed), script.shows);
    *side.peripheral.borrow_mut() = fresh;
    for addition in peripheral::ADDITIONS {
        side.order(Order::Add(addition.name.to_owned(), false)).await?;
    }
    // With what it says now of its display.
    side.order(Order::Pairing(true)).await?;
    let connection = open().await?;
    // What does not begin anew may be heard of late.
    side.order(Order::Advertise(false)).await?;
    let adapters = [&side.names.adapter, &side.names.other];
    // Connections end at once with the power.
    set(&connection, &side.names.adapter, "Powered", Variant::from(false)).await?;
    for adapter in adapters {
        set(&connection, adapter, "Powered", Variant::from(true)).await?;
        for device in devices(&connection, adapter).await? {
            let device = path(&device);
            // One that is temporary may be gone already.
            let _ = call(&connection, adapter, "org.bluez.Adapter1", "RemoveDevice", &device).await;
        }
    }
    side.order(Order::Advertise(true)).await?;
    connection.close().await.map_err(|error| error.to_string())
}

async fn open() -> Result<Connection, String> {
    // bluetoothd drops some calls with the device they are about.
    let builder = zbus::connection::Builder::address(BUS).method_timeout(PATIENCE);
    builder.build().await.map_err(|error| error.to_string())
}

fn path(text: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(text.to_owned()).unwrap_or_default()
}

async fn call<B: serde::Serialize + zbus::DynamicType>(
    connection: &Connection,
    path: &str,
    interface: &str,
    member: &str,
    body: &B,
) -> Result<Message, String> {
    let called = connection.call_method(Some("org.bluez"), path, Some(interface), member, body).await;
    called.map_err(|error| format!("{member} of {path}: {error}"))
}

async fn set(connection: &Connection, path: &str, name: &str, value: Variant<'static>) -> Result<(), String> {
    let body = ("org.bluez.Adapter1", name, value);
    for attempt in 0.. {
        match call(connection, path, "org.freedesktop.DBus.Properties", "Set", &body).await {
            // The daemon is still at the change before.
            Err(error) if error.contains("Busy") && attempt < 100 => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result.map(drop),
        }
    }
    Ok(())
}

/// A property of an adapter that is a text.
pub(crate) async fn text_property(connection: &Connection, path: &str, name: &str) -> Result<String, String> {
    let body = ("org.bluez.Adapter1", name);
    let reply = call(connection, path, "org.freedesktop.DBus.Properties", "Get", &body).await?;
    match arguments(&reply).pop() {
        Some(Variant::Variant(value)) => match *value {
            Variant::Str(text) => Ok(text.to_string()),
            _ => Err(format!("{name} is no text")),
        },
        _ => Err(format!("{name} is no text")),
    }
}

/// Paths of the devices of an adapter.
async fn devices(connection: &Connection, adapter: &str) -> Result<Vec<String>, String> {
    let manager = "org.freedesktop.DBus.ObjectManager";
    let reply = call(connection, "/", manager, "GetManagedObjects", &()).await?;
    let Some(Variant::Dict(objects)) = arguments(&reply).pop() else { return Ok(Vec::new()) };
    let prefix = format!("{adapter}/dev_");
    let paths = objects.iter().filter_map(|(path, _)| match path {
        Variant::ObjectPath(path) => Some(path.to_string()),
        _ => None,
    });
    Ok(paths.filter(|path| path.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/'))).collect())
}

struct Carrier {
    own: Names,
    connection: Connection,
    peripheral: Shared,
    advertises: bool,
    subscribed: Vec<&'static str>,
    /// Requests that are held.
    waiting: Vec<Message>,
    /// Names of services that were added.
    added: Vec<String>,
    /// It has a display, as bluetoothd was told.
    shows: bool,
}

impl Carrier {
    async fn run(mut self, mut stream: MessageStream, mut orders: Orders) {
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    // bluetoothd asks us while it carries this out.
                    let carried_out = self.order(order, &mut stream).await;
                    if let Err(error) = carried_out {
                        self.peripheral.borrow_mut().say(format!("cannot: {error}"));
                    }
                    let _ = done.send(());
                }
                message = next(&mut stream) => {
                    let Some(message) = message else { return };
                    self.asked(&message).await;
                }
            }
        }
    }

    /// Calls bluetoothd, and answers what it asks meanwhile.
    async fn calls<B: serde::Serialize + zbus::DynamicType>(
        &mut self,
        stream: &mut MessageStream,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Result<(), String> {
        let connection = self.connection.clone();
        let called = call(&connection, path, interface, member, body);
        tokio::pin!(called);
        loop {
            tokio::select! {
                result = &mut called => return result.map(drop),
                message = next(stream) => {
                    let Some(message) = message else { return Err("the bus is gone".into()) };
                    self.asked(&message).await;
                }
            }
        }
    }

    async fn advertise(&mut self, on: bool, stream: &mut MessageStream) -> Result<(), String> {
        if on == std::mem::replace(&mut self.advertises, on) {
            return Ok(());
        }
        let (other, manager) = (self.own.other.clone(), "org.bluez.LEAdvertisingManager1");
        if on {
            let body = (path(ADVERTISEMENT), BTreeMap::<&str, Variant<'_>>::new());
            self.calls(stream, &other, manager, "RegisterAdvertisement", &body).await
        } else {
            self.calls(stream, &other, manager, "UnregisterAdvertisement", &path(ADVERTISEMENT)).await
        }
    }

    async fn order(&mut self, order: Order, stream: &mut MessageStream) -> Result<(), String> {
        let other = self.own.other.clone();
        match order {
            Order::Advertise(on) => self.advertise(on, stream).await,
            Order::Power(on) => {
                let body = ("org.bluez.Adapter1", "Powered", Variant::from(on));
                self.calls(stream, &other, "org.freedesktop.DBus.Properties", "Set", &body).await?;
                if on && self.advertises {
                    // With extended advertising the kernel forgets what was advertised before.
                    self.advertise(false, stream).await?;
                    self.advertise(true, stream).await?;
                }
                Ok(())
            }
            Order::Disconnect => {
                for device in devices(&self.connection, &other).await? {
                    self.calls(stream, &device, "org.bluez.Device1", "Disconnect", &()).await?;
                }
                Ok(())
            }
            Order::Notify(name, value) => {
                let Some(attribute) = peripheral::attributes().find(|attribute| attribute.name == name) else {
                    return Err("there is no such characteristic".into());
                };
                let object = object(attribute.handle);
                let changed = BTreeMap::from([("Value", Variant::from(value))]);
                let body = ("org.bluez.GattCharacteristic1", changed, Vec::<&str>::new());
                let signal = Message::signal(object, "org.freedesktop.DBus.Properties", "PropertiesChanged");
                self.connection
                    .send(&signal.build(&body).map_err(|error| error.to_string())?)
                    .await
                    .map_err(|error| error.to_string())
            }
            Order::Release(_) => {
                for message in std::mem::take(&mut self.waiting) {
                    self.asked(&message).await;
                }
                Ok(())
            }
            Order::Add(name, on) => {
                let path = path(&format!("{APPLICATION}/{name}"));
                let known = self.added.contains(&name);
                self.added.retain(|other| *other != name);
                match (known, on) {
                    (false, true) => {
                        self.added.push(name);
                        let body = (path, BTreeMap::<&str, Variant<'_>>::new());
                        self.calls(stream, &other, GATT_MANAGER, "RegisterApplication", &body).await
                    }
                    (true, false) => self.calls(stream, &other, GATT_MANAGER, "UnregisterApplication", &path).await,
                    _ => Ok(()),
                }
            }
            Order::Pairing(_) => {
                let shows = self.peripheral.borrow().shows;
                if std::mem::replace(&mut self.shows, shows) == shows {
                    return Ok(());
                }
                let (manager, agent) = ("org.bluez.AgentManager1", path(AGENT));
                let capability = if shows { "DisplayOnly" } else { "NoInputNoOutput" };
                self.calls(stream, "/org/bluez", manager, "UnregisterAgent", &agent).await?;
                self.calls(stream, "/org/bluez", manager, "RegisterAgent", &(agent.clone(), capability)).await?;
                self.calls(stream, "/org/bluez", manager, "RequestDefaultAgent", &agent).await
            }
            Order::Refuse(..) | Order::Hold(_) => Ok(()),
        }
    }

    /// A message of the bus; calls are answered.
    async fn asked(&mut self, message: &Message) {
        if message.message_type() != Type::MethodCall {
            return;
        }
        let header = message.header();
        let (Some(object), Some(member)) = (header.path(), header.member()) else { return };
        let (object, member) = (object.to_string(), member.to_string());
        if let Some(name) = name_of(&object) {
            if self.peripheral.borrow().is_held(name) {
                return self.waiting.push(message.clone());
            }
            let answer = self.attribute(name, &member, &arguments(message));
            let reply = match answer {
                Ok(Some(value)) => Message::method_return(&header).build(&value),
                Ok(None) => Message::method_return(&header).build(&()),
                Err(code) => {
                    let (error, words) = error(code);
                    Message::error(&header, error).build(&words)
                }
            };
            return self.send(reply).await;
        }
        let reply = match (object.as_str(), member.as_str()) {
            (_, "GetManagedObjects") if addition(&object).is_some() => {
                let objects = addition(&object).map(added).unwrap_or_default();
                Message::method_return(&header).build(&objects)
            }
            (APPLICATION, "GetManagedObjects") => Message::method_return(&header).build(&application()),
            (ADVERTISEMENT, "GetManagedObjects") => {
                let interfaces = BTreeMap::from([("org.bluez.LEAdvertisement1", advertisement())]);
                Message::method_return(&header).build(&Objects::from([(path(ADVERTISEMENT), interfaces)]))
            }
            (ADVERTISEMENT, "GetAll") => Message::method_return(&header).build(&advertisement()),
            (AGENT, "RequestAuthorization" | "RequestConfirmation") => {
                let again = self.peripheral.borrow().log.last().is_some_and(|line| line == ASKED);
                if !again {
                    self.peripheral.borrow_mut().say(ASKED.into());
                }
                if self.peripheral.borrow().is_held("pairing") {
                    return self.waiting.push(message.clone());
                }
                // The one daemon asks this agent for the central, too: who refuses is the peripheral. Two who refuse at
                // the same time leave a link that neither ends.
                let ours = arguments(message).first().is_some_and(
                    |device| matches!(device, Variant::ObjectPath(path) if path.as_str().starts_with(&self.own.other)),
                );
                if self.peripheral.borrow().pairs || !ours {
                    Message::method_return(&header).build(&())
                } else {
                    Message::error(&header, "org.bluez.Error.Rejected").build(&"no")
                }
            }
            (AGENT, "DisplayPasskey") => {
                if let [_, Variant::U32(passkey), ..] = arguments(message).as_slice() {
                    self.peripheral.borrow_mut().show(*passkey);
                }
                return;
            }
            (AGENT | ADVERTISEMENT, _) => Message::method_return(&header).build(&()),
            _ => Message::error(&header, "org.freedesktop.DBus.Error.UnknownMethod").build(&"no"),
        };
        self.send(reply).await;
    }

    async fn send(&self, reply: zbus::Result<Message>) {
        if let Ok(reply) = reply {
            // A bus that is gone asks nothing more.
            let _ = self.connection.send(&reply).await;
        }
    }

    /// Something is done with a characteristic or a descriptor.
    fn attribute(
        &mut self,
        name: &'static str,
        member: &str,
        arguments: &[Variant<'_>],
    ) -> Result<Option<Vec<u8>>, u8> {
        match (member, arguments) {
            ("ReadValue", [options]) => self.peripheral.borrow().read(name, number(options, "offset")).map(Some),
            ("WriteValue", [Variant::Array(value), options]) => {
                let byte = |value: &Variant<'_>| if let Variant::U8(byte) = value { *byte } else { 0 };
                let value: Vec<u8> = value.iter().map(byte).collect();
                let offset = number(options, "offset");
                self.peripheral.borrow_mut().write(name, offset, &value).map(|()| None)
            }
            ("StartNotify", _) => {
                self.subscribed.push(name);
                self.peripheral.borrow_mut().say(format!("{name} has a subscriber"));
                Ok(None)
            }
            ("StopNotify", _) => {
                self.subscribed.retain(|known| *known != name);
                self.peripheral.borrow_mut().say(format!("{name} has no subscriber"));
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// An entry of options.
fn option<'a>(options: &'a Variant<'_>, wanted: &str) -> Option<&'a Variant<'a>> {
    let Variant::Dict(options) = options else { return None };
    let (_, value) = options.iter().find(|(key, _)| matches!(key, Variant::Str(key) if key.as_str() == wanted))?;
    if let Variant::Variant(value) = value { Some(value) } else { Some(value) }
}

fn number(options: &Variant<'_>, wanted: &str) -> u16 {
    if let Some(Variant::U16(number)) = option(options, wanted) { *number } else { 0 }
}

/// The error that bluetoothd makes this code of (bluez 5.66: `src/gatt-database.c`, `dbus_error_to_att_ecode`).
fn error(code: u8) -> (&'static str, String) {
    let name = match code {
        0x02 | 0x03 => "org.bluez.Error.NotPermitted",
        0x06 => "org.bluez.Error.NotSupported",
        0x07 => "org.bluez.Error.InvalidOffset",
        0x08 => "org.bluez.Error.NotAuthorized",
        0x0d => "org.bluez.Error.InvalidValueLength",
        _ => "org.bluez.Error.Failed",
    };
    (name, format!("0x{code:02x}"))
}

fn advertisement() -> Properties {
    BTreeMap::from([
        ("Type", Variant::from("peripheral")),
        ("ServiceUUIDs", Variant::from(vec![uuid(0)])),
        ("LocalName", Variant::from(NAME)),
        ("Discoverable", Variant::from(true)),
    ])
}

fn uuid(part: u16) -> String {
    peripheral::uuid(part).to_string()
}

/// The addition that an application stands for.
fn addition(path: &str) -> Option<&'static Addition> {
    static ALL: [Addition; 2] = peripheral::ADDITIONS;
    ALL.iter().find(|addition| path == format!("{APPLICATION}/{}", addition.name))
}

/// The attributes of an addition as objects.
fn added(addition: &Addition) -> Objects {
    let own = path(&format!("{APPLICATION}/{}/service", addition.name));
    let service = BTreeMap::from([
        ("UUID", Variant::from(uuid(addition.uuid))),
        ("Primary", Variant::from(true)),
        ("Handle", Variant::from(addition.service)),
    ]);
    Objects::from([
        (own.clone(), BTreeMap::from([("org.bluez.GattService1", service)])),
        characteristic(&addition.attribute, own),
    ])
}

type Object = (ObjectPath<'static>, BTreeMap<&'static str, Properties>);

fn characteristic(attribute: &Attribute, service: ObjectPath<'static>) -> Object {
    let flags: Vec<_> = attribute.flags.iter().map(|flag| (*flag).to_owned()).collect();
    let properties = BTreeMap::from([
        ("UUID", Variant::from(uuid(attribute.uuid))),
        ("Service", Variant::from(service)),
        ("Flags", Variant::from(flags)),
        // bluetoothd means the handle of the value.
        ("Handle", Variant::from(attribute.handle + 1)),
    ]);
    let interfaces = BTreeMap::from([("org.bluez.GattCharacteristic1", properties)]);
    (path(&object(attribute.handle)), interfaces)
}

/// The object of a characteristic. bluetoothd takes them in the order of their paths.
fn object(handle: u16) -> String {
    format!("{SERVICE}/char{handle:04x}")
}

/// What an object of ours stands for.
fn name_of(path: &str) -> Option<&'static str> {
    if path.ends_with("/note") {
        return Some("note");
    }
    let found = peripheral::attributes().find(|attribute| object(attribute.handle) == path);
    found.map(|attribute| attribute.name)
}

/// The attributes as objects.
fn application() -> Objects {
    let service = BTreeMap::from([
        ("UUID", Variant::from(uuid(0))),
        ("Primary", Variant::from(true)),
        ("Handle", Variant::from(peripheral::SERVICE)),
    ]);
    let mut objects = Objects::from([(path(SERVICE), BTreeMap::from([("org.bluez.GattService1", service)]))]);
    objects.extend(peripheral::ATTRIBUTES.iter().map(|attribute| characteristic(attribute, path(SERVICE))));
    let owner = object(peripheral::ATTRIBUTES[0].handle);
    let note = BTreeMap::from([
        ("UUID", Variant::from(uuid(peripheral::NOTE_UUID))),
        ("Characteristic", Variant::from(path(&owner))),
        ("Flags", Variant::from(vec!["read".to_owned(), "write".to_owned()])),
        ("Handle", Variant::from(peripheral::NOTE)),
    ]);
    objects.insert(path(&format!("{owner}/note")), BTreeMap::from([("org.bluez.GattDescriptor1", note)]));
    objects
}
