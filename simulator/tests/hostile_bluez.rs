//! Programs that call every method with wrong types, paths and order, a peripheral that says what nobody asked for,
//! agents that answer nonsense, and time that passes in between: `org.bluez` answers every call exactly once.
//!
//! Each walk is drawn from a seed, which a failure prints. `BRICKPROOF_WALKS` says how many there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use brickproof_simulator::gatt::table::{Characteristic, Descriptor, Properties, Service, Table};
use brickproof_simulator::gatt::{
    Address, AddressKind, Advertisement, AttError, CentralAction, GattEvent, PairingAsk, PairingFailure, Security, Uuid,
};
use brickproof_simulator::trace::EndedBy;
use brickproof_simulator::virtual_bluez::PortInput;
use brickproof_simulator::virtual_bluez::daemon::{Daemon, Effect, Settings};
use zbus::message::{Flags, Type};
use zbus::{Message, ObjectPath, Variant};

const STEPS: u32 = 400;
/// Longer than anything that is waited for, in microseconds.
const LONG_US: u64 = 400_000_000;
const ADDRESS: Address = Address([0xc0, 0xff, 0xee, 0, 0, 1]);

const PATHS: [&str; 11] = [
    "/",
    "/org",
    "/org/bluez",
    "/org/bluez/hci0",
    "/org/bluez/hci1",
    "/org/bluez/hci7",
    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01",
    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010",
    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011",
    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011/desc0013",
    "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0014",
];

const METHODS: [(&str, &str); 33] = [
    ("org.freedesktop.DBus.Introspectable", "Introspect"),
    ("org.freedesktop.DBus.Properties", "Get"),
    ("org.freedesktop.DBus.Properties", "Set"),
    ("org.freedesktop.DBus.Properties", "GetAll"),
    ("org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
    ("org.freedesktop.DBus.Peer", "Ping"),
    ("org.bluez.AgentManager1", "RegisterAgent"),
    ("org.bluez.AgentManager1", "UnregisterAgent"),
    ("org.bluez.AgentManager1", "RequestDefaultAgent"),
    ("org.bluez.ProfileManager1", "RegisterProfile"),
    ("org.bluez.Adapter1", "StartDiscovery"),
    ("org.bluez.Adapter1", "StopDiscovery"),
    ("org.bluez.Adapter1", "SetDiscoveryFilter"),
    ("org.bluez.Adapter1", "GetDiscoveryFilters"),
    ("org.bluez.Adapter1", "RemoveDevice"),
    ("org.bluez.GattManager1", "RegisterApplication"),
    ("org.bluez.LEAdvertisingManager1", "RegisterAdvertisement"),
    ("org.bluez.Device1", "Connect"),
    ("org.bluez.Device1", "Connect"),
    ("org.bluez.Device1", "Connect"),
    ("org.bluez.Device1", "Disconnect"),
    ("org.bluez.Device1", "Pair"),
    ("org.bluez.Device1", "CancelPairing"),
    ("org.bluez.Device1", "ConnectProfile"),
    ("org.bluez.GattCharacteristic1", "ReadValue"),
    ("org.bluez.GattCharacteristic1", "WriteValue"),
    ("org.bluez.GattCharacteristic1", "AcquireWrite"),
    ("org.bluez.GattCharacteristic1", "AcquireNotify"),
    ("org.bluez.GattCharacteristic1", "StartNotify"),
    ("org.bluez.GattCharacteristic1", "StopNotify"),
    ("org.bluez.GattDescriptor1", "ReadValue"),
    ("org.bluez.GattDescriptor1", "WriteValue"),
    ("org.bluez.Nothing1", "Explode"),
];

#[test]
fn every_call_is_answered_exactly_once_whatever_is_called() {
    let walks = std::env::var("BRICKPROOF_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(150_u64);
    for seed in 1..=walks {
        let mut walk = Walk::new(seed);
        for _ in 0..STEPS {
            walk.step();
        }
        walk.end();
        assert!(walk.open.is_empty(), "seed {seed}: never answered: {:?}", walk.open.values());
    }
}

struct Walk {
    seed: u64,
    state: u64,
    now: u64,
    daemon: Daemon,
    /// Calls without an answer: who, with which serial, and what.
    open: BTreeMap<(String, u32), String>,
    /// Calls that were answered.
    answered: BTreeMap<(String, u32), String>,
    /// Calls that agents have not answered.
    asked: Vec<Message>,
    /// What the peripheral was asked and has not answered.
    actions: Vec<CentralAction>,
    sockets: Vec<u64>,
    /// Programs that have left once: what they had asked may still be answered.
    left: Vec<String>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let settings = Settings { adapters: 2, disconnect_delay_us: (seed % 2) * 2_000_000, ..Settings::default() };
        let mut walk = Self {
            seed,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 0,
            daemon: Daemon::new(settings),
            open: BTreeMap::new(),
            answered: BTreeMap::new(),
            asked: Vec::new(),
            actions: Vec::new(),
            sockets: Vec::new(),
            left: Vec::new(),
        };
        walk.advertise(true);
        walk
    }

    /// A number below `end` (xorshift64).
    fn draw(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % end as u64).unwrap_or(0)
    }

    fn sender(&mut self) -> String {
        format!(":1.{}", 5 + self.draw(3))
    }

    fn step(&mut self) {
        match self.draw(20) {
            0..=9 => self.call(),
            10..=14 => self.peripheral_answers(),
            15 => {
                let event = self.unasked();
                self.tell(event);
            }
            16 => {
                let us = [1, 1000, 6000, 600_000, 31_000_000, 61_000_000][self.draw(6)];
                self.pass(us);
            }
            17 => self.agent_answers(),
            18 => match self.draw(5) {
                0 => {
                    let gone = self.sender();
                    self.daemon.gone(&gone, self.now);
                    // Nobody is left to hear an answer.
                    self.open.retain(|(sender, _), _| *sender != gone);
                    self.left.push(gone);
                }
                1 => self.daemon.input(0, PortInput::Detached, self.now),
                on => self.advertise(on > 2),
            },
            _ => {
                if !self.sockets.is_empty() {
                    let at = self.draw(self.sockets.len());
                    let socket = self.sockets[at];
                    if self.draw(2) == 0 {
                        let len = [0, 1, 20, 244, 512, 5000][self.draw(6)];
                        self.daemon.socket_data(socket, vec![7; len], self.now);
                    } else {
                        self.daemon.sockets_closed(&[socket], self.now);
                    }
                }
            }
        }
        self.drain();
    }

    /// The peripheral goes, and enough time passes for everything that is waited for.
    fn end(&mut self) {
        self.daemon.input(0, PortInput::Detached, self.now);
        self.drain();
        self.pass(LONG_US);
        self.drain();
    }

    fn pass(&mut self, us: u64) {
        let until = self.now + us;
        while let Some(due) = self.daemon.next_wake().filter(|due| *due <= until) {
            assert!(due > self.now || self.daemon.next_wake() == Some(due), "seed {}", self.seed);
            self.daemon.advance(due);
            self.now = self.now.max(due);
            self.drain();
        }
        self.now = until;
        self.daemon.advance(until);
    }

    fn call(&mut self) {
        let sender = self.sender();
        let (interface, member) = METHODS[self.draw(METHODS.len())];
        // Usually the right kind of object.
        let path = match interface {
            "org.bluez.Device1" if self.draw(8) > 0 => PATHS[6],
            "org.bluez.Adapter1" if self.draw(8) > 0 => PATHS[3 + self.draw(2)],
            "org.bluez.GattCharacteristic1" if self.draw(8) > 0 => PATHS[8],
            "org.bluez.GattDescriptor1" if self.draw(8) > 0 => PATHS[9],
            "org.bluez.AgentManager1" if self.draw(8) > 0 => PATHS[2],
            _ => PATHS[self.draw(PATHS.len())],
        };
        let builder = Message::method_call(path, member).sender(sender.clone()).destination("org.bluez");
        let builder = if self.draw(30) == 0 { builder } else { builder.interface(interface) };
        let silent = self.draw(12) == 0;
        let builder = if silent { builder.with_flags(Flags::NO_REPLY_EXPECTED) } else { builder };
        let fits = self.draw(4) > 0;
        let message = match (member, fits) {
            ("ReadValue" | "AcquireWrite" | "AcquireNotify" | "SetDiscoveryFilter", true) => {
                builder.build(&self.options())
            }
            ("WriteValue", true) => {
                let len = [0, 1, 20, 244, 245, 600][self.draw(6)];
                builder.build(&(vec![1_u8; len], self.options()))
            }
            ("RegisterAgent", true) => {
                let capability = ["", "KeyboardDisplay", "NoInputNoOutput", "Telepathy"][self.draw(4)];
                builder.build(&(ObjectPath::from_static_str_unchecked("/agent"), capability))
            }
            ("UnregisterAgent" | "RequestDefaultAgent", true) => {
                builder.build(&ObjectPath::from_static_str_unchecked(["/agent", "/other"][self.draw(2)]))
            }
            ("RemoveDevice", true) => builder.build(&ObjectPath::from_static_str_unchecked(PATHS[self.draw(11)])),
            ("Get", true) => builder.build(&(interface_name(self.draw(4)), property(self.draw(6)))),
            ("GetAll", true) => builder.build(&interface_name(self.draw(4))),
            ("Set", true) => {
                let value = self.variant();
                builder.build(&(interface_name(self.draw(4)), property(self.draw(6)), value))
            }
            (_, true) => builder.build(&()),
            (_, false) => match self.draw(5) {
                0 => builder.build(&"what?"),
                1 => builder.build(&(7_u32, true)),
                2 => builder.build(&vec![vec![1_u8]]),
                3 => builder.build(&self.variant()),
                _ => builder.build(&(vec![1_u8], "twice", self.options())),
            },
        };
        let message = message.unwrap();
        let serial = message.primary_header().serial_num().get();
        if !silent {
            self.open.insert((sender.clone(), serial), format!("{sender} {path} {interface}.{member}"));
        }
        self.daemon.call(message, self.now);
    }

    fn variant(&mut self) -> Variant<'static> {
        match self.draw(7) {
            0 => Variant::from(true),
            1 => Variant::from(false),
            2 => Variant::from("text"),
            3 => Variant::from(-200_i16),
            4 => Variant::from(7_u16),
            5 => Variant::from(vec!["180f", "zz"]),
            _ => Variant::from(u32::MAX),
        }
    }

    fn options(&mut self) -> BTreeMap<&'static str, Variant<'static>> {
        let mut options = BTreeMap::new();
        for _ in 0..self.draw(3) {
            let (key, value) = match self.draw(8) {
                0 => ("offset", Variant::from(3_u16)),
                1 => ("offset", self.variant()),
                2 => ("type", Variant::from("command")),
                3 => ("type", Variant::from("request")),
                4 => ("type", Variant::from("reliable")),
                5 => ("Transport", Variant::from("le")),
                6 => ("RSSI", Variant::from(-70_i16)),
                _ => ("UUIDs", Variant::from(vec!["180f"])),
            };
            options.insert(key, value);
        }
        options
    }

    /// The peripheral answers what it was asked, truthfully or not.
    fn peripheral_answers(&mut self) {
        if self.actions.is_empty() {
            return;
        }
        let action = self.actions.remove(0);
        let refused = |handle, code| GattEvent::Error { handle, error: AttError(code) };
        let code = [0x01, 0x03, 0x05, 0x0f, 0x80][self.draw(5)];
        let fails = self.draw(5) == 0;
        let lost = GattEvent::Disconnected { by: EndedBy::Timeout, reason: 0x08 };
        let event = match action {
            CentralAction::Connect if fails => GattEvent::Unreachable,
            CentralAction::Connect => GattEvent::Connected,
            CentralAction::Disconnect => lost,
            CentralAction::ExchangeMtu(_) => GattEvent::Mtu([23, 247, 517][self.draw(3)]),
            CentralAction::Discover => GattEvent::Discovered(table(self.draw(3))),
            CentralAction::Read { handle, .. } if fails => refused(handle, code),
            CentralAction::Read { handle, .. } => GattEvent::Read { handle, value: vec![5; self.draw(30)] },
            CentralAction::Write { handle, .. } if fails => refused(handle, code),
            CentralAction::Write { handle, .. } => GattEvent::Written { handle },
            CentralAction::Pair { .. } | CentralAction::AnswerPairing(_) => self.pairing(),
            CentralAction::ForgetKeys
            | CentralAction::AnswerParameters { .. }
            | CentralAction::Secure { .. }
            | CentralAction::Lose
            | CentralAction::Confirm => return,
        };
        self.tell(event);
    }

    fn pairing(&mut self) -> GattEvent {
        match self.draw(5) {
            0 => GattEvent::PairingAsks(PairingAsk::EnterPasskey),
            1 => GattEvent::PairingAsks(PairingAsk::Compare(7)),
            2 => GattEvent::PairingFailed(PairingFailure::AuthenticationRequirements),
            _ => GattEvent::Secured { level: Security::Encrypted, bonded: self.draw(2) == 0 },
        }
    }

    fn unasked(&mut self) -> GattEvent {
        match self.draw(6) {
            0 => GattEvent::Disconnected { by: EndedBy::Timeout, reason: 0x08 },
            1 => GattEvent::Indication { handle: 0x12, value: vec![1, 0, 255, 255] },
            2 => GattEvent::Discovered(table(1)),
            3 => self.pairing(),
            _ => GattEvent::Notification { handle: 0x12, value: vec![1; self.draw(20)] },
        }
    }

    fn agent_answers(&mut self) {
        let Some(call) = self.asked.pop() else { return };
        let header = call.header();
        let from = header.destination().unwrap().to_string();
        let reply = match self.draw(4) {
            0 => Message::error(&header, "org.bluez.Error.Rejected").sender(from).build(&"no"),
            1 => Message::method_return(&header).sender(from).build(&"text"),
            2 => Message::method_return(&header).sender(from).build(&()),
            _ => Message::method_return(&header).sender(from).build(&123_456_u32),
        };
        self.daemon.reply_of_agent(&reply.unwrap(), self.now);
    }

    fn tell(&mut self, event: GattEvent) {
        self.daemon.input(0, PortInput::Tell(0, event), self.now);
    }

    fn advertise(&mut self, on: bool) {
        let advertisement = on
            .then(|| Advertisement { name: Some("target".into()), ..Advertisement::new(ADDRESS, AddressKind::Random) });
        self.daemon.input(0, PortInput::Advertise(advertisement), self.now);
    }

    fn drain(&mut self) {
        while let Some(effect) = self.daemon.take() {
            match effect {
                Effect::Send(message) if message.message_type() == Type::MethodCall => self.asked.push(message),
                Effect::Send(message) if message.message_type() != Type::Signal => self.answered(&message),
                Effect::Acquire { call, socket, .. } => {
                    let reply = Message::method_return(&call.header()).build(&()).unwrap();
                    self.answered(&reply);
                    self.sockets.push(socket);
                }
                Effect::SocketClose(socket) => self.sockets.retain(|open| *open != socket),
                Effect::Act(_, _, action) => self.actions.push(action),
                Effect::Send(_) | Effect::SocketSend(..) | Effect::Note(_) => {}
            }
        }
    }

    fn answered(&mut self, message: &Message) {
        let header = message.header();
        let to = header.destination().unwrap().to_string();
        let serial = header.reply_serial().unwrap().get();
        let key = (to.clone(), serial);
        let before = self.answered.get(&key);
        assert_eq!(before, None, "seed {}: answered twice", self.seed);
        match self.open.remove(&key) {
            Some(call) => _ = self.answered.insert(key, call),
            None => assert!(self.left.contains(&to), "seed {}: {to} is answered and did not ask", self.seed),
        }
    }
}

fn interface_name(number: usize) -> &'static str {
    ["org.bluez.Device1", "org.bluez.Adapter1", "org.bluez.GattCharacteristic1", "org.bluez.Nothing1"][number]
}

fn property(number: usize) -> &'static str {
    ["Powered", "Alias", "Trusted", "Blocked", "Value", "Colour"][number]
}

/// Three tables, of which two differ in one service.
fn table(kind: usize) -> Arc<Table> {
    let characteristic = |handle, properties, ccc: bool| Characteristic {
        handle,
        value_handle: handle + 1,
        uuid: if handle == 0x11 { Uuid::SERVICE_CHANGED } else { Uuid::BATTERY_LEVEL },
        properties,
        descriptors: ccc.then_some(Descriptor { handle: handle + 2, uuid: Uuid::CCC }).into_iter().collect(),
    };
    let all = Properties::READ.and(Properties::WRITE_WITHOUT_RESPONSE).and(Properties::NOTIFY);
    Arc::new(Table {
        services: vec![
            Service {
                handle: 0x10,
                end: 0x15,
                uuid: if kind == 1 { Uuid::BATTERY } else { Uuid::GATT },
                primary: true,
                characteristics: vec![
                    characteristic(0x11, all, true),
                    characteristic(0x14, Properties::INDICATE.and(Properties::WRITE), false),
                ],
            },
            Service { handle: 0x20, end: 0x20, uuid: Uuid::GAP, primary: kind == 2, characteristics: Vec::new() },
        ],
    })
}
