//! A D-Bus message bus without I/O: messages in, messages out.
//!
//! [`Bus`] answers for `org.freedesktop.DBus` as `dbus-daemon` 1.14 does, knows who owns which name and who wants to
//! see what, and carries messages between clients and one service that lives in the same process. Whoever owns it
//! feeds it with what arrives on the connections and sends what [`Bus::take`] has for them.

mod calls;
mod driver;
mod interfaces;
pub mod limits;
mod matching;
mod names;
mod rule;
pub mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroU32;

use zbus::Message;
use zbus::message::{Flags, Type};
use zbus::names::{OwnedUniqueName, UniqueName};

pub use rule::{ArgumentRule, MatchRule, PathRule, RuleError};

use calls::{Calls, Refused};
use limits::{CLIENTS_MAX, MESSAGE_MAX};
use matching::{Passing, is_call};
use names::Names;

/// Name of the bus itself, and of its main interface.
const BUS_NAME: &str = "org.freedesktop.DBus";
/// Its object.
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// What monitors see as the sender of a client that has no name yet.
const NAMELESS: &str = ":not.active.yet";

/// A connection to the bus; its unique name is `:1.` and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u32);

impl ClientId {
    /// The service in the same process.
    pub const SERVICE: Self = Self(0);
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, ":1.{}", self.0)
    }
}

/// Who is behind a connection, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// Process, where it can be seen from here.
    pub pid: Option<u32>,
}

/// What comes out of the bus.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A message to a client.
    Client(ClientId, Message),
    /// Something for the service.
    Service(ServiceInput),
    /// The connection must be closed; for the bus it is gone already.
    Close(ClientId, CloseReason),
}

/// What the service is told.
#[derive(Debug, Clone)]
pub enum ServiceInput {
    /// A client calls a method; the message says who in its sender.
    Call {
        /// The caller.
        client: ClientId,
        /// The call.
        message: Message,
    },
    /// A return or an error for a call of the service; exactly one for each call that expects one.
    Reply {
        /// The answer.
        message: Message,
    },
    /// A client that had a name is gone, and whatever the service kept for it is void.
    Gone {
        /// Which.
        client: ClientId,
    },
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It said something else before Hello.
    #[error("it sent a message before Hello")]
    NotRegistered,
    /// It is a monitor, and those must be silent.
    #[error("monitors must not send messages")]
    Monitor,
    /// Its message is too long.
    #[error("a message is longer than {MESSAGE_MAX} bytes")]
    MessageLength,
    /// It used the interface or path that never leaves a process.
    #[error("a message uses org.freedesktop.DBus.Local")]
    Local,
}

/// An error that a caller gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    /// Without `org.freedesktop.DBus.Error.`.
    name: &'static str,
    text: String,
}

impl Refusal {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }

    fn no_such_name(what: &str, name: &str) -> Self {
        Self::new("NameHasNoOwner", format!("Could not get {what} of name '{name}': no such name"))
    }

    fn unknown_service(name: &str) -> Self {
        Self::new("ServiceUnknown", format!("The name {name} was not provided by any .service files"))
    }

    // By value, because that is how errors come.
    #[allow(clippy::needless_pass_by_value)]
    fn arguments(error: zbus::Error) -> Self {
        Self::new("InvalidArgs", error.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has not said Hello.
    New,
    Active,
    Monitor,
}

#[derive(Debug)]
struct Client {
    credentials: Credentials,
    name: OwnedUniqueName,
    state: State,
    /// A rule that was added twice is here twice.
    rules: Vec<MatchRule>,
}

/// The bus.
#[derive(Debug)]
pub struct Bus {
    guid: String,
    /// Of the process that the bus and its service live in.
    own: Credentials,
    /// Names that belong to the service.
    services: Vec<String>,
    /// The service is one of them.
    clients: BTreeMap<ClientId, Client>,
    /// Number of the client that was opened last.
    last: u32,
    names: Names,
    calls: Calls,
    out: VecDeque<Delivery>,
}

impl Bus {
    /// A bus with this id (32 hexadecimal digits), in a process with these credentials, whose service owns these
    /// names and nobody else can.
    #[must_use]
    pub fn new(guid: String, own: Credentials, service_names: &[&str]) -> Self {
        let mut bus = Self {
            guid,
            own,
            services: service_names.iter().map(|name| (*name).to_owned()).collect(),
            clients: BTreeMap::new(),
            last: 0,
            names: Names::default(),
            calls: Calls::default(),
            out: VecDeque::new(),
        };
        bus.insert(ClientId::SERVICE, own, State::Active);
        bus.names.request(ClientId::SERVICE, &ClientId::SERVICE.to_string(), 0);
        for name in service_names {
            bus.names.request(ClientId::SERVICE, name, 0);
        }
        bus
    }

    /// A connection was authenticated; nothing, if there are too many.
    pub fn open(&mut self, credentials: Credentials) -> Option<ClientId> {
        if self.clients.len() > CLIENTS_MAX {
            return None;
        }
        self.last = self.last.checked_add(1)?;
        let client = ClientId(self.last);
        self.insert(client, credentials, State::New);
        Some(client)
    }

    /// A connection is gone: its names are given back, and whoever waits for an answer of it gets an error.
    pub fn closed(&mut self, client: ClientId) {
        if client == ClientId::SERVICE {
            return;
        }
        let Some(Client { state, .. }) = self.clients.remove(&client) else { return };
        for name in self.names.held(client).into_iter().rev() {
            let (_, changes) = self.names.release(client, &name);
            self.announce(changes);
        }
        if state == State::Active {
            self.leave(client);
        }
    }

    /// A message came from a client.
    pub fn receive(&mut self, from: ClientId, message: &Message) {
        let Some(client) = self.clients.get(&from) else { return };
        let state = client.state;
        if state == State::Monitor {
            return self.close(from, CloseReason::Monitor);
        }
        if message.data().len() > MESSAGE_MAX {
            return self.close(from, CloseReason::MessageLength);
        }
        if is_local(message) {
            return self.close(from, CloseReason::Local);
        }
        if message.header().destination().is_none() && message.message_type() != Type::Signal {
            return self.without_destination(from, message);
        }
        let nameless = UniqueName::from_static_str_unchecked(NAMELESS);
        let sender = if state == State::New { &nameless } else { client.name.inner() };
        if let Some(signed) = signed(message, sender) {
            match state {
                State::Active => self.route(from, signed),
                State::New | State::Monitor => self.receive_first(from, message, &signed),
            }
        }
    }

    /// The service sends: an answer or a call to its destination, a signal to everybody who wants to see it.
    pub fn send(&mut self, message: &Message) {
        let signed = self.clients.get(&ClientId::SERVICE).and_then(|service| signed(message, service.name.inner()));
        if let Some(signed) = signed {
            self.route(ClientId::SERVICE, signed);
        }
    }

    /// What must be done next; the order counts.
    pub fn take(&mut self) -> Option<Delivery> {
        self.out.pop_front()
    }

    /// Who owns a name.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<ClientId> {
        self.names.owner(name)
    }

    /// Who is behind a client.
    #[must_use]
    pub fn credentials(&self, client: ClientId) -> Option<Credentials> {
        self.clients.get(&client).map(|client| client.credentials)
    }

    fn insert(&mut self, id: ClientId, credentials: Credentials, state: State) {
        let name = UniqueName::from_string_unchecked(id.to_string()).into();
        self.clients.insert(id, Client { credentials, name, state, rules: Vec::new() });
    }

    /// The first message of a client, as it came and with a sender that is good for monitors only.
    fn receive_first(&mut self, from: ClientId, message: &Message, signed: &Message) {
        self.capture(Some(from), None, signed);
        let header = message.header();
        if header.destination().is_none_or(|name| name.as_str() != BUS_NAME) {
            return self.close(from, CloseReason::NotRegistered);
        }
        let hello = is_call(message)
            && header.member().is_some_and(|member| member.as_str() == "Hello")
            && header.interface().is_none_or(|interface| interface.as_str() == BUS_NAME);
        if !hello {
            let text = "Client tried to send a message other than Hello without being registered";
            return self.refuse(from, message, &Refusal::new("AccessDenied", text));
        }
        if let Err(refusal) = interfaces::find(message) {
            return self.refuse(from, message, &refusal);
        }
        let Some(client) = self.clients.get_mut(&from) else { return };
        client.state = State::Active;
        let name = from.to_string();
        if let Some(reply) = message.with_sender(client.name.inner()).ok().and_then(|hello| answer(&hello, &name)) {
            self.tell(from, &reply);
        }
        let (_, changes) = self.names.request(from, &name, 0);
        self.announce(changes);
    }

    /// A message with its true sender, to the bus, to a name or to everybody.
    fn route(&mut self, from: ClientId, message: Message) {
        let header = message.header();
        let Some(destination) = header.destination() else {
            return self.broadcast(Some(from), &message);
        };
        if destination.as_str() == BUS_NAME {
            self.capture(Some(from), None, &message);
            self.driver(from, &message);
            return self.spread(Some(from), None, &message);
        }
        let recipient = self.names.owner(destination.as_str());
        self.capture(Some(from), recipient, &message);
        let Some(recipient) = recipient else {
            let name = destination.as_str();
            let refusal = match message.primary_header().flags().contains(Flags::NO_AUTO_START) {
                true => Refusal::new("NameHasNoOwner", format!("Name \"{name}\" does not exist")),
                false => Refusal::unknown_service(name),
            };
            return self.refuse(from, &message, &refusal);
        };
        let passed = match message.message_type() {
            Type::MethodCall => self.expect_answer(from, recipient, &message),
            Type::MethodReturn | Type::Error => {
                header.reply_serial().is_some_and(|serial| self.calls.answered(from, recipient, serial))
            }
            Type::Signal => true,
        };
        if passed {
            self.spread(Some(from), Some(recipient), &message);
            drop(header);
            self.deliver(from, recipient, message);
        }
    }

    /// Whether a call can be passed on; if an answer is expected, it can be from now on, too.
    fn expect_answer(&mut self, from: ClientId, to: ClientId, call: &Message) -> bool {
        if call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
            return true;
        }
        let refusal = match self.calls.open(from, to, call.primary_header().serial_num()) {
            Ok(()) => return true,
            Err(Refused::Serial) => Refusal::new(
                "AccessDenied",
                "Message has the same reply serial as a currently-outstanding existing method call",
            ),
            Err(Refused::TooMany) => {
                Refusal::new("LimitsExceeded", "The maximum number of pending replies per connection has been reached")
            }
        };
        self.refuse(from, call, &refusal);
        false
    }

    fn deliver(&mut self, from: ClientId, to: ClientId, message: Message) {
        let delivery = match (to, message.message_type()) {
            // The service asks for no signals.
            (ClientId::SERVICE, Type::Signal) => return,
            (ClientId::SERVICE, Type::MethodCall) => Delivery::Service(ServiceInput::Call { client: from, message }),
            (ClientId::SERVICE, _) => Delivery::Service(ServiceInput::Reply { message }),
            (client, _) => Delivery::Client(client, message),
        };
        self.out.push_back(delivery);
    }

    /// A message of the bus itself, to a client that may be gone.
    fn tell(&mut self, to: ClientId, message: &Message) {
        self.capture(None, Some(to), message);
        if self.clients.contains_key(&to) {
            self.deliver(to, to, message.clone());
        }
    }

    /// Answers a call with an error; anything else gets no answer.
    fn refuse(&mut self, to: ClientId, call: &Message, refusal: &Refusal) {
        if is_call(call) && !call.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED) {
            let name = format!("org.freedesktop.DBus.Error.{}", refusal.name);
            let error = Message::error(&call.header(), name).sender(BUS_NAME).build(&refusal.text);
            if let Ok(error) = error {
                self.tell(to, &error);
            }
        }
    }

    fn broadcast(&mut self, from: Option<ClientId>, message: &Message) {
        self.capture(from, None, message);
        self.spread(from, None, message);
    }

    /// Shows a message to the clients whose rules it meets, to each of them once and not to its addressee.
    fn spread(&mut self, from: Option<ClientId>, recipient: Option<ClientId>, message: &Message) {
        let passing = Passing::new(message, from, recipient);
        for (id, client) in &self.clients {
            let wanted = client.state == State::Active
                && *id != ClientId::SERVICE
                && Some(*id) != recipient
                && client.rules.iter().any(|rule| passing.meets(rule, &self.names, false));
            if wanted {
                self.out.push_back(Delivery::Client(*id, message.clone()));
            }
        }
    }

    /// Shows a message to monitors.
    fn capture(&mut self, from: Option<ClientId>, recipient: Option<ClientId>, message: &Message) {
        let passing = Passing::new(message, from, recipient);
        for (id, client) in self.clients.iter().filter(|(_, client)| client.state == State::Monitor) {
            if client.rules.iter().any(|rule| passing.meets(rule, &self.names, true)) {
                self.out.push_back(Delivery::Client(*id, message.clone()));
            }
        }
    }

    /// A client has no name any more: others have nothing to expect of it.
    fn leave(&mut self, gone: ClientId) {
        let name = gone.to_string();
        for client in self.clients.values_mut().filter(|client| client.state == State::Active) {
            // Unique names do not come back, so these rules can never be met again.
            client.rules.retain(|rule| rule.sender.as_ref() != Some(&name) && rule.destination.as_ref() != Some(&name));
        }
        for (caller, serial) in self.calls.gone(gone) {
            if let Some(error) = no_reply(caller, serial) {
                self.tell(caller, &error);
            }
        }
        self.out.push_back(Delivery::Service(ServiceInput::Gone { client: gone }));
    }

    fn close(&mut self, client: ClientId, reason: CloseReason) {
        self.out.push_back(Delivery::Close(client, reason));
        self.closed(client);
    }

    /// What libdbus answers to messages for nobody.
    fn without_destination(&mut self, from: ClientId, message: &Message) {
        let header = message.header();
        let member = header.member().map(|member| member.as_str()).unwrap_or_default();
        let interface = header.interface().map(|interface| interface.as_str()).unwrap_or_default();
        let silent = message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED);
        let reply = match (interface, member) {
            _ if !is_call(message) || silent => return,
            ("org.freedesktop.DBus.Peer", "Ping") => answer(message, &()),
            ("org.freedesktop.DBus.Peer", "GetMachineId") => answer(message, &self.guid),
            ("org.freedesktop.DBus.Peer", _) => {
                let text = "Unknown method invoked on org.freedesktop.DBus.Peer interface";
                return self.refuse(from, message, &Refusal::new("UnknownMethod", text));
            }
            _ => {
                let signature = header.signature().to_string_no_parens();
                let interface = if interface.is_empty() { "(null)" } else { interface };
                let text = format!(
                    "Method \"{member}\" with signature \"{signature}\" on interface \"{interface}\" doesn't exist\n"
                );
                return self.refuse(from, message, &Refusal::new("UnknownMethod", text));
            }
        };
        if let Some(reply) = reply {
            self.tell(from, &reply);
        }
    }
}

/// The message with this sender; nothing if it becomes too long by it.
fn signed(message: &Message, sender: &UniqueName<'_>) -> Option<Message> {
    if message.header().sender() == Some(sender) {
        return Some(message.clone());
    }
    message.with_sender(sender).ok()
}

fn is_local(message: &Message) -> bool {
    let header = message.header();
    header.interface().is_some_and(|interface| interface.as_str() == "org.freedesktop.DBus.Local")
        || header.path().is_some_and(|path| path.as_str() == "/org/freedesktop/DBus/Local")
}

/// The reply of the bus to a call.
fn answer<B>(call: &Message, body: &B) -> Option<Message>
where
    B: serde::Serialize + zbus::DynamicType,
{
    Message::method_return(&call.header()).sender(BUS_NAME).build(body).ok()
}

/// What a caller gets whose callee is gone.
fn no_reply(caller: ClientId, serial: NonZeroU32) -> Option<Message> {
    // An answer is made from its call, and of this one the serial and the caller are all that is kept.
    let call = Message::method_call("/", "Call").serial(serial).sender(caller.to_string()).build(&()).ok()?;
    let text = "Message recipient disconnected from message bus without replying";
    Message::error(&call.header(), "org.freedesktop.DBus.Error.NoReply").sender(BUS_NAME).build(&text).ok()
}
