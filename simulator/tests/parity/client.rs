//! A program: one connection to the bus, and everything that it is told, in order.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;

use futures_core::Stream;
use tokio::net::UnixDatagram;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, Structure, Variant};

use crate::names::Names;
use crate::value::show;

/// What was heard, shared with the task that listens.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) lines: Vec<String>,
    /// Calls that are not answered yet, by serial: what to call them in the transcript.
    pub(crate) open: BTreeMap<u32, String>,
    /// Calls that look whether everything was heard; not in the transcript.
    looking: BTreeSet<u32>,
    /// What the agent was asked last.
    asked: Option<Message>,
    /// Ends of sockets that came with replies, by the name of the call.
    sockets: Vec<(String, OwnedFd)>,
    closed: bool,
}

/// A program.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Connection,
    pub(crate) heard: Rc<RefCell<Heard>>,
    sockets: BTreeMap<String, UnixDatagram>,
    task: AbortHandle,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// A connection to this bus; `watches`: all signals of the daemon are told.
    pub(crate) async fn open(
        address: &str,
        names: Names,
        watches: bool,
        changed: Rc<Notify>,
    ) -> Result<Self, zbus::Error> {
        let mut connection = zbus::connection::Builder::address(address).build().await?;
        connection.set_max_queued(std::num::NonZeroUsize::new(4096).unwrap_or(std::num::NonZeroUsize::MIN));
        if watches {
            add_match(&connection).await?;
        }
        let mut stream = MessageStream::from(&connection);
        let heard = Rc::new(RefCell::new(Heard::default()));
        let shared = Rc::clone(&heard);
        let task = spawn_local(async move {
            while let Some(message) = next(&mut stream).await {
                shared.borrow_mut().hear(&message, &names);
                changed.notify_one();
            }
            shared.borrow_mut().closed = true;
            changed.notify_one();
        })
        .abort_handle();
        Ok(Self { connection, heard, sockets: BTreeMap::new(), task })
    }

    /// Tells this program all signals of the daemon from now on.
    pub(crate) async fn watch(&self) -> Result<(), zbus::Error> {
        add_match(&self.connection).await
    }

    /// Sends a call; what it is called in the transcript is kept until it is answered.
    pub(crate) async fn call(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        arguments: Vec<Variant<'static>>,
        label: Option<String>,
    ) -> Result<u32, zbus::Error> {
        let call = Message::method_call(path.to_owned(), member.to_owned())
            .interface(interface.to_owned())
            .destination("org.bluez");
        let message = build(call, arguments)?;
        let serial = message.primary_header().serial_num().get();
        match label {
            Some(label) => _ = self.heard.borrow_mut().open.insert(serial, label),
            None => _ = self.heard.borrow_mut().looking.insert(serial),
        }
        self.connection.send(&message).await?;
        Ok(serial)
    }

    /// Asks the daemon for something harmless: its answer comes after everything it has said by now.
    pub(crate) async fn look(&self, adapter: &str) -> Result<u32, zbus::Error> {
        let arguments = vec![Variant::from("org.bluez.Adapter1"), Variant::from("Address")];
        self.call(adapter, "org.freedesktop.DBus.Properties", "Get", arguments, None).await
    }

    /// Whether the look with this serial is over.
    pub(crate) fn has_looked(&self, serial: u32) -> bool {
        let heard = self.heard.borrow();
        heard.closed || !heard.looking.contains(&serial)
    }

    /// Answers what the agent was asked last.
    pub(crate) async fn answer(&self, arguments: Result<Vec<Variant<'static>>, String>) -> Result<(), String> {
        let asked = self.heard.borrow_mut().asked.take().ok_or("the agent was not asked")?;
        let message = match arguments {
            Ok(arguments) => build(Message::method_return(&asked.header()), arguments),
            Err(name) => Message::error(&asked.header(), name).build(&"no"),
        };
        self.connection.send(&message.map_err(|error| error.to_string())?).await.map_err(|error| error.to_string())
    }

    /// Leaves the bus.
    pub(crate) async fn close(self) -> Result<(), zbus::Error> {
        self.connection.clone().close().await
    }

    fn socket(&mut self, name: &str) -> Result<&UnixDatagram, String> {
        let came = std::mem::take(&mut self.heard.borrow_mut().sockets);
        for (name, end) in came {
            // A socket of packets is read and written like one of datagrams.
            let end = std::os::unix::net::UnixDatagram::from(end);
            let made = end.set_nonblocking(true).and_then(|()| UnixDatagram::from_std(end));
            self.sockets.insert(name, made.map_err(|error| error.to_string())?);
        }
        self.sockets.get(name).ok_or_else(|| format!("no such socket: {name}"))
    }

    pub(crate) async fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let sent = self.socket(name)?.send(bytes).await;
        let line =
            sent.map_or_else(|error| format!("not written to {name}: {error}"), |_| format!("written to {name}"));
        self.heard.borrow_mut().lines.push(line);
        Ok(())
    }

    pub(crate) async fn take(&mut self, name: &str) -> Result<(), String> {
        let socket = self.socket(name)?;
        let mut buffer = [0; 1024];
        let packet = socket.recv(&mut buffer).await;
        let what = match packet {
            Ok(0) => "the end".to_owned(),
            Ok(len) => crate::value::show_bytes(&buffer[..len]),
            Err(error) => error.to_string(),
        };
        self.heard.borrow_mut().lines.push(format!("out of {name}: {what}"));
        Ok(())
    }

    pub(crate) fn shut(&mut self, name: &str) -> Result<(), String> {
        self.socket(name)?;
        self.sockets.remove(name);
        Ok(())
    }
}

fn build(message: zbus::message::Builder<'_>, arguments: Vec<Variant<'static>>) -> Result<Message, zbus::Error> {
    if arguments.is_empty() {
        return message.build(&());
    }
    let mut body = Structure::builder();
    for argument in arguments {
        body.push_value(argument);
    }
    message.build(&body.build()?)
}

async fn add_match(connection: &Connection) -> Result<(), zbus::Error> {
    let bus = "org.freedesktop.DBus";
    let rule = "type='signal',sender='org.bluez'";
    connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "AddMatch", &rule).await?;
    Ok(())
}

/// The next message; `None` at the end of the connection.
pub(crate) async fn next(stream: &mut MessageStream) -> Option<Message> {
    std::future::poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await?.ok()
}

/// The arguments of a message.
pub(crate) fn arguments(message: &Message) -> Vec<Variant<'static>> {
    let body = message.body();
    if body.is_empty() {
        return Vec::new();
    }
    let owned = |field: &Variant<'_>| field.try_to_owned().ok().map(Into::into);
    body.deserialize::<Structure<'_>>().map(|body| body.fields().iter().filter_map(owned).collect()).unwrap_or_default()
}

impl Heard {
    fn hear(&mut self, message: &Message, names: &Names) {
        let line = match message.message_type() {
            Type::MethodReturn | Type::Error => self.reply(message, names),
            Type::Signal => signal(message, names),
            Type::MethodCall => {
                let header = message.header();
                let member = header.member().map(ToString::to_string).unwrap_or_default();
                let shown: Vec<_> = arguments(message).iter().map(|value| show(value, names)).collect();
                if !message.primary_header().flags().contains(zbus::message::Flags::NO_REPLY_EXPECTED) {
                    self.asked = Some(message.clone());
                }
                Some(format!("asked {member}({})", shown.join(", ")))
            }
        };
        self.lines.extend(line);
    }

    fn reply(&mut self, message: &Message, names: &Names) -> Option<String> {
        let serial = message.header().reply_serial()?.get();
        if self.looking.remove(&serial) {
            return None;
        }
        let label = self.open.remove(&serial)?;
        let shown =
            |values: &[Variant<'_>]| values.iter().map(|value| show(value, names)).collect::<Vec<_>>().join(", ");
        if message.message_type() == Type::Error {
            let name = message.header().error_name().map(ToString::to_string).unwrap_or_default();
            return Some(format!("{label} -> {name}: {}", shown(&arguments(message))));
        }
        if let Ok((end, mtu)) = message.body().deserialize::<(zbus::OwnedFd, u16)>() {
            // `stream GattCharacteristic1.AcquireWrite` is the socket `stream.write`.
            let object = label.split(' ').next().unwrap_or_default();
            let kind = if label.ends_with("AcquireWrite") { "write" } else { "notify" };
            self.sockets.push((format!("{object}.{kind}"), end.into()));
            return Some(format!("{label} -> a socket, q:{mtu}"));
        }
        let arguments = arguments(message);
        if let [Variant::Str(text)] = arguments.as_slice()
            && text.starts_with("<!DOCTYPE")
        {
            return Some(format!("{label} ->\n{}", xml(&names.normal(text.as_str()))));
        }
        if label.ends_with("GetManagedObjects")
            && let [Variant::Dict(objects)] = arguments.as_slice()
        {
            let mut lines: Vec<_> = objects
                .iter()
                .filter(|(path, _)| !matches!(path, Variant::ObjectPath(path) if names.is_foreign(path.as_str())))
                .map(|(path, interfaces)| format!("    {}: {}", show(path, names), show(interfaces, names)))
                .collect();
            lines.sort_unstable();
            return Some(format!("{label} ->\n{}", lines.join("\n")));
        }
        Some(format!("{label} -> ({})", shown(&arguments)))
    }
}

/// What introspection says, an element a line, without the other adapter.
fn xml(text: &str) -> String {
    let text = text.replace("\"/>\n", "\"/>").replace("</method>\n", "</method>").replace("</signal>\n", "</signal>");
    let text = text.replace("<interface", "\n<interface").replace("<method", "\n  <method");
    let text = text.replace("<signal", "\n  <signal").replace("<property", "\n  <property");
    let text = text.replace("<node name", "\n<node name").replace("</interface>", "\n</interface>");
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn signal(message: &Message, names: &Names) -> Option<String> {
    let header = message.header();
    let path = header.path()?.to_string();
    let member = header.member()?.to_string();
    let arguments = arguments(message);
    if names.is_foreign(&path) || path == "/org/freedesktop/DBus" {
        return None;
    }
    match (member.as_str(), arguments.as_slice()) {
        ("PropertiesChanged", [Variant::Str(interface), changed, Variant::Array(gone)]) => {
            let changed = show(changed, names);
            let gone: Vec<_> = gone.iter().map(|name| show(name, names)).filter(|name| name != "\"RSSI\"").collect();
            if changed == "{}" && gone.is_empty() {
                // The strength of the signal is no two times the same.
                return None;
            }
            let gone = if gone.is_empty() { String::new() } else { format!(" without {}", gone.join(", ")) };
            Some(format!("! {} {} {changed}{gone}", names.short(&path), names.brief(interface.as_str())))
        }
        ("InterfacesAdded" | "InterfacesRemoved", [Variant::ObjectPath(object), what]) => {
            if names.is_foreign(object.as_str()) {
                return None;
            }
            let verb = if member == "InterfacesAdded" { "added" } else { "removed" };
            Some(format!("! {verb} {} {}", names.short(object.as_str()), show(what, names)))
        }
        (_, arguments) => {
            let shown: Vec<_> = arguments.iter().map(|value| show(value, names)).collect();
            Some(format!("! {} {member}({})", names.short(&path), shown.join(", ")))
        }
    }
}
