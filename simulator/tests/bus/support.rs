//! A bus with clients, without sockets.

use brickproof_simulator::virtual_bluez::bus::{Bus, ClientId, Credentials, Delivery, ServiceInput};
use serde::Serialize;
use zbus::message::Type;
use zbus::{DynamicType, Message};

pub(crate) const BUS: &str = "org.freedesktop.DBus";
pub(crate) const GUID: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OWN: Credentials = Credentials { uid: 1000, pid: Some(1) };

pub(crate) struct Fixture {
    pub(crate) bus: Bus,
    /// What came out and was not looked at yet.
    pub(crate) out: Vec<Delivery>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { bus: Bus::new(GUID.to_owned(), OWN, &["org.bluez"]), out: Vec::new() }
    }

    /// A client that has said Hello.
    pub(crate) fn client(&mut self) -> ClientId {
        let client = self.bus.open(Credentials { uid: 1000, pid: Some(77) }).unwrap();
        self.send(client, &to_bus("Hello", &()));
        self.out.clear();
        client
    }

    pub(crate) fn send(&mut self, client: ClientId, message: &Message) {
        self.bus.receive(client, message);
        self.collect();
    }

    pub(crate) fn collect(&mut self) {
        self.out.extend(std::iter::from_fn(|| self.bus.take()));
    }

    /// Calls the bus; everything that comes out of it, as text.
    pub(crate) fn call<B: Serialize + DynamicType>(&mut self, client: ClientId, member: &str, body: &B) -> Vec<String> {
        self.send(client, &to_bus(member, body));
        self.lines()
    }

    pub(crate) fn watch(&mut self, client: ClientId, rule: &str) {
        let lines = self.call(client, "AddMatch", &rule);
        assert_eq!(lines, [format!("{client} return -")]);
    }

    /// What came out, one line each.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.out.drain(..).map(|delivery| line(&delivery)).collect()
    }

    pub(crate) fn messages(&mut self, client: ClientId) -> Vec<Message> {
        let mine = |delivery| match delivery {
            Delivery::Client(to, message) if to == client => Some(message),
            _ => None,
        };
        self.out.drain(..).filter_map(mine).collect()
    }
}

pub(crate) fn to_bus<B: Serialize + DynamicType>(member: &str, body: &B) -> Message {
    call_to(BUS, "/org/freedesktop/DBus", BUS, member, body)
}

pub(crate) fn call_to<B>(destination: &str, path: &str, interface: &str, member: &str, body: &B) -> Message
where
    B: Serialize + DynamicType,
{
    Message::method_call(path, member).destination(destination).interface(interface).build(body).unwrap()
}

pub(crate) fn signal<B: Serialize + DynamicType>(path: &str, interface: &str, member: &str, body: &B) -> Message {
    Message::signal(path, interface, member).build(body).unwrap()
}

/// A delivery in short: who gets what.
pub(crate) fn line(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Client(client, message) => format!("{client} {}", text(message)),
        Delivery::Service(ServiceInput::Call { client, message }) => format!("service from {client} {}", text(message)),
        Delivery::Service(ServiceInput::Reply { message }) => format!("service {}", text(message)),
        Delivery::Service(ServiceInput::Gone { client }) => format!("service {client} gone"),
        Delivery::Close(client, reason) => format!("{client} closed: {reason}"),
    }
}

pub(crate) fn text(message: &Message) -> String {
    let header = message.header();
    let body = message.body();
    let values = match body.deserialize::<zbus::Structure<'_>>() {
        Ok(values) => values.fields().iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(_) if body.is_empty() => "-".to_owned(),
        Err(_) => "?".to_owned(),
    };
    let values = values.replace("uint32 ", "");
    match message.message_type() {
        Type::MethodCall => format!("call {} {values}", header.member().unwrap()),
        Type::MethodReturn => format!("return {values}"),
        Type::Error => {
            let name = header.error_name().unwrap().to_string();
            let text: &str = body.deserialize().unwrap_or_default();
            format!("error {} {text}", name.trim_start_matches("org.freedesktop.DBus.Error."))
        }
        Type::Signal => format!("signal {} {values}", header.member().unwrap()),
    }
}
