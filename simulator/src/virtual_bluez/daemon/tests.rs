//! Transcripts: what programs call, what comes of it, in order.
//!
//! | line | meaning |
//! |---|---|
//! | `<- :1.5 ...` | a reply or an error to a program |
//! | `!! path ...` | a signal |
//! | `>> :1.5 ...` | a call of an agent |
//! | `** ...` | a central does something |

use std::sync::Arc;

use zbus::message::Type;
use zbus::{DynamicTuple, Variant};

use super::*;
use crate::gatt::table::{Characteristic, Descriptor, Properties, Service, Table};
use crate::gatt::{
    Address, AddressKind, AttError, GattEvent, PairingAnswer, PairingAsk, PairingFailure, Security, Uuid,
};
use crate::trace::EndedBy;

mod connecting;
mod discovering;
mod pairing;
mod values;

const PROGRAM: &str = ":1.5";
const OTHER: &str = ":1.6";
const ADDRESS: Address = Address([0xc0, 0xff, 0xee, 0, 0, 1]);
const DEVICE: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01";
const ADAPTER: &str = "/org/bluez/hci0";
const CHARACTERISTIC: &str = "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011";
const SMP: Uuid = Uuid::from_bits(0x8d53_dc1d_1db7_4cd3_868b_8a52_7460_aa84);
const SMP_CHARACTERISTIC: Uuid = Uuid::from_bits(0xda2e_7828_fbce_4e01_ae9e_2611_7499_7c48);
const VALUE: u16 = 0x12;
const CCC: u16 = 0x13;

/// A daemon with one peripheral, and its clock.
struct Bench {
    daemon: Daemon,
    now: u64,
    calls: Vec<Message>,
    /// Everything so far.
    log: String,
}

impl Bench {
    fn new() -> Self {
        Self { daemon: Daemon::new(Settings::default()), now: 0, calls: Vec::new(), log: String::new() }
    }

    /// A peripheral that advertises the SMP service.
    fn advertising() -> Self {
        let mut bench = Self::new();
        bench.advertise(Some(advertisement()));
        bench
    }

    /// It is connected, and its services are known.
    fn connected() -> Self {
        let mut bench = Self::advertising();
        bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StartDiscovery", &());
        bench.wait(10_000);
        bench.call(PROGRAM, ADAPTER, "org.bluez.Adapter1.StopDiscovery", &());
        bench.connect();
        bench.tell(GattEvent::Discovered(table()));
        bench.log.clear();
        bench
    }

    /// Connects, up to the MTU.
    fn connect(&mut self) -> String {
        self.call(PROGRAM, DEVICE, "org.bluez.Device1.Connect", &());
        self.tell(GattEvent::Connected);
        self.wait(10_000);
        self.tell(GattEvent::Mtu(247))
    }

    fn advertise(&mut self, advertisement: Option<Advertisement>) -> String {
        let what = if advertisement.is_some() { "the peripheral advertises" } else { "it is silent" };
        self.daemon.input(0, PortInput::Advertise(advertisement), self.now);
        self.happened(what)
    }

    fn tell(&mut self, event: GattEvent) -> String {
        let what = match &event {
            GattEvent::Discovered(_) => "Discovered".to_owned(),
            event => format!("{event:?}"),
        };
        self.daemon.input(0, PortInput::Tell(0, event), self.now);
        self.happened(&what)
    }

    fn call<B: serde::Serialize + zbus::DynamicType>(
        &mut self,
        sender: &str,
        path: &str,
        method: &str,
        body: &B,
    ) -> String {
        let (interface, member) = method.rsplit_once('.').unwrap();
        let message = Message::method_call(path.to_owned(), member.to_owned())
            .interface(interface.to_owned())
            .sender(sender.to_owned())
            .destination("org.bluez")
            .build(body)
            .unwrap();
        self.daemon.call(message, self.now);
        self.happened(&format!("{sender} {path} {member}"))
    }

    /// An agent answers the latest call.
    fn agent_replies<B: serde::Serialize + zbus::DynamicType>(&mut self, body: Result<&B, &str>) -> String {
        let call = self.calls.pop().unwrap();
        let to = call.header().destination().unwrap().to_string();
        let reply = match body {
            Ok(body) => Message::method_return(&call.header()).sender(to).build(body),
            Err(name) => Message::error(&call.header(), name.to_owned()).sender(to).build(&"no"),
        };
        self.daemon.reply_of_agent(&reply.unwrap(), self.now);
        self.happened("the agent replies")
    }

    fn wait(&mut self, us: u64) -> String {
        let until = self.now + us;
        while let Some(due) = self.daemon.next_wake().filter(|due| *due <= until) {
            self.daemon.advance(due);
        }
        self.now = until;
        self.daemon.advance(until);
        self.happened(&format!("{us} us later"))
    }

    fn happened(&mut self, what: &str) -> String {
        let lines = self.drain();
        self.log.push_str(&format!("{what}\n"));
        self.log.extend(lines.lines().map(|line| format!("    {line}\n")));
        lines
    }

    fn drain(&mut self) -> String {
        let mut lines = Vec::new();
        while let Some(effect) = self.daemon.take() {
            match effect {
                Effect::Note(_) => {}
                Effect::Send(message) => {
                    lines.push(line(&message));
                    if message.message_type() == Type::MethodCall {
                        self.calls.push(message);
                    }
                }
                Effect::Act(_, central, action) => lines.push(format!("** {central} {action:?}")),
                Effect::Acquire { socket, mtu, .. } => lines.push(format!("<- socket {socket}, MTU {mtu}")),
                other => lines.push(format!("** {other:?}")),
            }
        }
        lines.join("\n")
    }
}

fn line(message: &Message) -> String {
    let header = message.header();
    let body = message.body();
    let body = if body.is_empty() {
        String::new()
    } else {
        let body: DynamicTuple<Vec<Variant<'_>>> = fields(&body);
        body.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let to = header.destination().map(ToString::to_string).unwrap_or_default();
    let member = header.member().map(ToString::to_string).unwrap_or_default();
    let path = header.path().map(ToString::to_string).unwrap_or_default();
    match message.message_type() {
        Type::Signal => format!("!! {path} {member}({body})"),
        Type::MethodReturn => format!("<- {to} ({body})"),
        Type::Error => format!("<- {to} {}: {body}", header.error_name().map(ToString::to_string).unwrap_or_default()),
        Type::MethodCall => format!(">> {to} {path} {member}({body})"),
    }
}

/// The arguments of a message, one by one.
fn fields(body: &zbus::message::Body) -> DynamicTuple<Vec<Variant<'static>>> {
    let structure: zbus::Structure<'_> = body.deserialize().unwrap();
    DynamicTuple(structure.fields().iter().map(|field| field.try_to_owned().unwrap().into()).collect())
}

fn advertisement() -> Advertisement {
    Advertisement {
        name: Some("target".into()),
        services: vec![SMP],
        ..Advertisement::new(ADDRESS, AddressKind::Random)
    }
}

fn table() -> Arc<Table> {
    Arc::new(Table {
        services: vec![Service {
            handle: 0x10,
            end: CCC,
            uuid: SMP,
            primary: true,
            characteristics: vec![Characteristic {
                handle: 0x11,
                value_handle: VALUE,
                uuid: SMP_CHARACTERISTIC,
                properties: Properties::WRITE_WITHOUT_RESPONSE.and(Properties::NOTIFY),
                descriptors: vec![Descriptor { handle: CCC, uuid: Uuid::CCC }],
            }],
        }],
    })
}

/// Options of a read or a write.
fn options(entries: &[(&'static str, Variant<'static>)]) -> BTreeMap<&'static str, Variant<'static>> {
    entries.iter().map(|(name, value)| (*name, value.try_clone().unwrap())).collect()
}
