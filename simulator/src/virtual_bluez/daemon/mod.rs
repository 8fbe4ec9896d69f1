//! `org.bluez`, as the daemon of BlueZ 5.66 shows it to a program that acts as a central.
//!
//! A [`Daemon`] is a value: method calls, replies of agents, peripherals and time are put in, [`Effect`]s come out, in
//! order. It owns no socket, no clock and no randomness.
//!
//! | module | what it does |
//! |---|---|
//! | `standard` | Introspectable, Properties, ObjectManager, Peer on every object |
//! | `interface` | the interfaces as tables |
//! | `adapter`, `discovery` | Adapter1; which advertisements become devices |
//! | `device`, `connection` | Device1; connections and how they end |
//! | `pairing`, `agent` | pairing, and the agents that are asked |
//! | `att` | the queue of requests of a connection, raised security included |
//! | `services` | which objects stand for the attributes of a peripheral |
//! | `characteristic`, `notify`, `acquire` | reading, writing, notifications, sockets |
//! | `error`, `path` | names and words of errors; object paths |
//!
//! # The order of signals
//!
//! As in BlueZ, changes of properties and objects are queued, and go out before the next message of any kind, or when
//! the turn is over: what was changed before a reply is seen before it.
//!
//! # Deliberately unlike BlueZ
//!
//! The scripts of `tests/parity` hold this module against a real bluetoothd; what they show to be different is listed
//! beside them, in `differences.txt`. The rest of this table they do not show.
//!
//! | BlueZ 5.66 | here | why |
//! |---|---|---|
//! | `Device1.Disconnect` waits 2 s | [`Settings::disconnect_delay_us`], 0 by default | tests wait for it every time |
//! | a StartNotify of a failed link, a Connect of a removed device get no reply | always a reply | nobody can test against silence |
//! | a second Pair makes a bonded device temporary: it is removed after 30 s | it stays | a bug, mended since |
//! | a second program that discovers with another filter is answered when the scan was started anew | at once | there is no scan |
//! | BR/EDR | refused, as on an adapter that has only LE | there is none on this air |

mod acquire;
mod adapter;
mod agent;
mod att;
mod characteristic;
mod connection;
mod device;
mod discovery;
mod error;
mod interface;
mod notify;
mod pairing;
mod path;
mod services;
mod standard;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zbus::Message;

use super::port::{Central, Note, PeripheralId, PortInput};
use crate::gatt::{Advertisement, CentralAction};
use adapter::Adapter;
use agent::Agents;
use device::Device;
use error::{Answer, Refusal};
use path::{DeviceKey, Object};

/// The unique name of the daemon: the first on the bus.
pub const UNIQUE_NAME: &str = ":1.0";

/// Names one socket pair.
pub type SocketId = u64;

/// How the daemon is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Adapters.
    pub adapters: usize,
    /// From a call of `Disconnect` to the end of the connection, in microseconds.
    pub disconnect_delay_us: u64,
    /// How long a peripheral that does not advertise is waited for, in microseconds: as long as the kernel waits for a
    /// channel (linux: `L2CAP_CONN_TIMEOUT`; 41.5 s until bluetoothd says so, measured with 6.12).
    pub connect_timeout_us: u64,
    /// Between two reports of an advertiser, in microseconds.
    pub report_interval_us: u64,
    /// How long a device that nobody has connected to is remembered after its last report, in microseconds
    /// (`TemporaryTimeout`).
    pub temporary_timeout_us: u64,
    /// What `GetMachineId` answers: 32 hexadecimal digits.
    pub machine_id: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            adapters: 1,
            disconnect_delay_us: 0,
            connect_timeout_us: 40_000_000,
            report_interval_us: 500_000,
            temporary_timeout_us: 30_000_000,
            machine_id: "b71c0900f0000000b71c0900f0000000".into(),
        }
    }
}

/// What comes out of the daemon.
#[derive(Debug)]
pub enum Effect {
    /// A message: to whom it says, or to everybody who wants it.
    Send(Message),
    /// The call is answered with one end of a new socket pair, and the MTU.
    Acquire {
        /// The call.
        call: Message,
        /// The pair.
        socket: SocketId,
        /// ATT MTU.
        mtu: u16,
    },
    /// A packet for the other end.
    SocketSend(SocketId, Vec<u8>),
    /// The pair is closed.
    SocketClose(SocketId),
    /// A central does something.
    Act(PeripheralId, Central, CentralAction),
    /// For whoever keeps an account.
    Note(Note),
}

/// A method call that is still to be answered.
#[derive(Debug, Clone)]
struct Call {
    message: Message,
    sender: String,
}

/// How a method ended that was not refused.
enum Outcome {
    /// There is nothing to say.
    Empty,
    /// The reply was sent.
    Replied,
    /// The reply follows.
    Later,
}

/// Changes that are not sent yet.
#[derive(Debug)]
struct Pending {
    object: Object,
    added: bool,
    changed: Vec<(&'static interface::Interface, Vec<&'static str>)>,
    removed: Vec<&'static str>,
}

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    settings: Settings,
    adapters: Vec<Adapter>,
    devices: BTreeMap<DeviceKey, Device>,
    /// What each attached peripheral advertises.
    peripherals: BTreeMap<PeripheralId, Option<Advertisement>>,
    /// Connections that were given up and whose end was not heard of yet.
    ending: BTreeSet<(PeripheralId, Central)>,
    agents: Agents,
    pending: Vec<Pending>,
    effects: VecDeque<Effect>,
    sockets: BTreeMap<SocketId, acquire::Acquired>,
    next_socket: SocketId,
    now: u64,
}

impl Daemon {
    /// A daemon whose adapters are powered.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            adapters: (0..settings.adapters.max(1)).map(Adapter::new).collect(),
            settings,
            devices: BTreeMap::new(),
            peripherals: BTreeMap::new(),
            ending: BTreeSet::new(),
            agents: Agents::default(),
            pending: Vec::new(),
            effects: VecDeque::new(),
            sockets: BTreeMap::new(),
            next_socket: 0,
            now: 0,
        }
    }

    /// A method call, with its sender filled in.
    pub fn call(&mut self, message: Message, now: u64) {
        self.now = self.now.max(now);
        let header = message.header();
        let Some(sender) = header.sender().map(|sender| sender.to_string()) else { return };
        drop(header);
        let call = Call { message, sender };
        match self.dispatch(&call) {
            Ok(Outcome::Empty) => self.reply(&call, &()),
            Ok(Outcome::Replied | Outcome::Later) => {}
            Err(refusal) => self.refuse(&call, &refusal),
        }
        self.flush();
    }

    /// A reply to a call of an agent, whatever kind of reply.
    pub fn reply_of_agent(&mut self, message: &Message, now: u64) {
        self.now = self.now.max(now);
        self.agent_replied(message);
        self.flush();
    }

    /// A program has left the bus.
    pub fn gone(&mut self, name: &str, now: u64) {
        self.now = self.now.max(now);
        self.agent_gone(name);
        self.discovery_gone(name);
        self.pairing_gone(name);
        self.sessions_gone(name);
        self.flush();
    }

    /// Something comes from a peripheral.
    pub fn input(&mut self, peripheral: PeripheralId, input: PortInput, now: u64) {
        self.now = self.now.max(now);
        match input {
            PortInput::Advertise(advertisement) => self.advertises(peripheral, advertisement),
            PortInput::Tell(central, event) => self.told(peripheral, central, event),
            PortInput::Detached => self.detached(peripheral),
        }
        self.flush();
    }

    /// A packet was written to a socket pair.
    pub fn socket_data(&mut self, socket: SocketId, value: Vec<u8>, now: u64) {
        self.now = self.now.max(now);
        self.acquired_data(socket, value);
        self.flush();
    }

    /// The other ends of socket pairs were closed; what BlueZ hears of in one turn it tells in one signal.
    pub fn sockets_closed(&mut self, sockets: &[SocketId], now: u64) {
        self.now = self.now.max(now);
        for socket in sockets {
            self.acquired_closed(*socket);
        }
        self.flush();
    }

    /// Lets time pass until `now`, in microseconds; does everything that is due.
    pub fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.discovery_due();
        self.connections_due();
        self.agents_due();
        self.flush();
    }

    /// When [`Daemon::advance`] would next do something, in microseconds.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        [self.discovery_wake(), self.connections_wake(), self.agents_wake()].into_iter().flatten().min()
    }

    /// What comes out next.
    pub fn take(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Adds a property to those whose change is told.
    fn changed(&mut self, object: Object, interface: &'static interface::Interface, property: &'static str) {
        let pending = self.pending_of(object);
        match pending.changed.iter_mut().find(|(known, _)| known.name == interface.name) {
            Some((_, properties)) if properties.contains(&property) => {}
            Some((_, properties)) => properties.push(property),
            None => pending.changed.push((interface, vec![property])),
        }
    }

    /// An object is there from now on.
    fn added(&mut self, object: Object) {
        self.pending_of(object).added = true;
    }

    /// These interfaces of an object are gone; the object itself must still be there.
    fn removed(&mut self, object: Object, interfaces: Vec<&'static str>) {
        let Some(at) = self.pending.iter().position(|pending| pending.object == object) else {
            self.pending.push(Pending { object, added: false, changed: Vec::new(), removed: interfaces });
            return;
        };
        if self.pending[at].added {
            // Nobody has heard of it.
            self.pending.remove(at);
            return;
        }
        // Its last changes are told while there still are values.
        let last = self.pending.remove(at);
        self.tell(last);
        self.pending.push(Pending { object, added: false, changed: Vec::new(), removed: interfaces });
    }

    fn pending_of(&mut self, object: Object) -> &mut Pending {
        // An object that was removed and is added again has two entries.
        let at = self.pending.iter().position(|pending| pending.object == object && pending.removed.is_empty());
        let at = at.unwrap_or_else(|| {
            self.pending.push(Pending { object, added: false, changed: Vec::new(), removed: Vec::new() });
            self.pending.len() - 1
        });
        &mut self.pending[at]
    }

    /// Tells all changes.
    fn flush(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            self.tell(pending);
        }
    }

    /// Tells the changes of one object now, before those of others.
    fn flush_object(&mut self, object: Object) {
        while let Some(at) = self.pending.iter().position(|pending| pending.object == object) {
            let pending = self.pending.remove(at);
            self.tell(pending);
        }
    }

    fn reply<B: serde::Serialize + zbus::DynamicType>(&mut self, call: &Call, body: &B) {
        self.flush();
        self.note(call, None);
        if !expects_reply(&call.message) {
            return;
        }
        match Message::method_return(&call.message.header()).sender(UNIQUE_NAME).build(body) {
            Ok(message) => self.effects.push_back(Effect::Send(message)),
            Err(error) => self.send_refusal(call, &error::failed_to_build(&error)),
        }
    }

    fn refuse(&mut self, call: &Call, refusal: &Refusal) {
        self.flush();
        self.note(call, Some(refusal));
        if expects_reply(&call.message) {
            self.send_refusal(call, refusal);
        }
    }

    fn send_refusal(&mut self, call: &Call, refusal: &Refusal) {
        let built =
            Message::error(&call.message.header(), refusal.name).sender(UNIQUE_NAME).build(&refusal.text.as_ref());
        self.effects.extend(built.ok().map(Effect::Send));
    }

    /// Answers a call whose work has ended.
    fn settle(&mut self, call: &Call, answer: Answer<()>) {
        match answer {
            Ok(()) => self.reply(call, &()),
            Err(refusal) => self.refuse(call, &refusal),
        }
    }

    fn note(&mut self, call: &Call, refusal: Option<&Refusal>) {
        let header = call.message.header();
        let text = |name: Option<String>| name.unwrap_or_default();
        let interface = text(header.interface().map(|name| name.to_string()));
        let note = Note::Call {
            client: call.sender.clone(),
            path: text(header.path().map(|path| path.to_string())),
            member: format!("{interface}.{}", text(header.member().map(|name| name.to_string()))),
            error: refusal.map(|refusal| format!("{}: {}", refusal.name, refusal.text.trim_end())),
        };
        self.effects.push_back(Effect::Note(note));
    }

    fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(&key)
    }

    fn device_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.devices.get_mut(&key)
    }

    fn act(&mut self, peripheral: PeripheralId, key: DeviceKey, action: CentralAction) {
        self.effects.push_back(Effect::Act(peripheral, key.adapter as Central, action));
    }
}

fn expects_reply(message: &Message) -> bool {
    !message.primary_header().flags().contains(zbus::message::Flags::NO_REPLY_EXPECTED)
}

#[cfg(test)]
mod tests;
