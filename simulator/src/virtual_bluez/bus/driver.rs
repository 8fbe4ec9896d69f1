//! The object `org.freedesktop.DBus`: what clients ask of the bus itself.

use std::collections::BTreeMap;

use zbus::message::Flags;
use zbus::names::BusName;
use zbus::wire::DynamicDeserialize;
use zbus::{Message, Variant};

use super::interfaces::{self, INTERFACES};
use super::limits::{NAMES_MAX, RULES_MAX};
use super::matching::is_call;
use super::names::Change;
use super::rule::{MatchRule, RuleError};
use super::{BUS_NAME, BUS_PATH, Bus, ClientId, Credentials, Refusal, State, answer};

/// What StartServiceByName answers for a service that runs.
const ALREADY_RUNNING: u32 = 2;

impl Bus {
    /// Handles a message to the bus; a monitor or a client without a name is handled before.
    pub(super) fn driver(&mut self, from: ClientId, message: &Message) {
        // Only calls mean anything to the bus.
        if !is_call(message) {
            return;
        }
        let silent = message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED);
        match self.driver_call(from, message) {
            Ok(Some(reply)) if !silent => self.tell(from, &reply),
            Ok(_) => {}
            Err(refusal) => self.refuse(from, message, &refusal),
        }
    }

    /// The reply, if it was not sent already.
    fn driver_call(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let (interface, method) = interfaces::find(message)?;
        match (interface, method) {
            ("org.freedesktop.DBus", "Hello") => Err(Refusal::new("Failed", "Already handled an Hello message")),
            ("org.freedesktop.DBus", "RequestName") => self.request_name(from, message),
            ("org.freedesktop.DBus", "ReleaseName") => self.release_name(from, message),
            ("org.freedesktop.DBus", "StartServiceByName") => {
                let (name, _flags) = arguments::<(String, u32)>(message)?;
                match self.names.owner(&name) {
                    Some(_) => reply(message, &ALREADY_RUNNING),
                    None => Err(Refusal::unknown_service(&name)),
                }
            }
            // Nothing is ever started, so there is nothing to be kept.
            ("org.freedesktop.DBus", "UpdateActivationEnvironment" | "ReloadConfig") => reply(message, &()),
            ("org.freedesktop.DBus", "NameHasOwner") => {
                let name: String = arguments(message)?;
                reply(message, &(name == BUS_NAME || self.names.owner(&name).is_some()))
            }
            ("org.freedesktop.DBus", "ListNames") => {
                let names: Vec<_> = std::iter::once(BUS_NAME).chain(self.names.all()).collect();
                reply(message, &names)
            }
            ("org.freedesktop.DBus", "ListActivatableNames") => {
                let services = self.services.iter().map(String::as_str);
                let names: Vec<_> = std::iter::once(BUS_NAME).chain(services).collect();
                reply(message, &names)
            }
            ("org.freedesktop.DBus", "GetNameOwner") => {
                let name: String = arguments(message)?;
                match self.names.owner(&name) {
                    Some(owner) => reply(message, &owner.to_string()),
                    None if name == BUS_NAME => reply(message, &BUS_NAME),
                    None => Err(Refusal::no_such_name("owner", &name)),
                }
            }
            ("org.freedesktop.DBus", "ListQueuedOwners") => {
                let name: String = arguments(message)?;
                let queue: Vec<_> = match self.names.queue(&name) {
                    Some(queue) => queue.map(|owner| owner.to_string()).collect(),
                    None if name == BUS_NAME => vec![BUS_NAME.to_owned()],
                    None => return Err(Refusal::no_such_name("owners", &name)),
                };
                reply(message, &queue)
            }
            ("org.freedesktop.DBus", "AddMatch") => self.add_match(from, message),
            ("org.freedesktop.DBus", "RemoveMatch") => self.remove_match(from, message),
            ("org.freedesktop.DBus", "GetId") => reply(message, &self.guid),
            ("org.freedesktop.DBus", _) => self.credentials_of(message, method),
            ("org.freedesktop.DBus.Monitoring", _) => self.become_monitor(from, message),
            ("org.freedesktop.DBus.Introspectable", _) => reply(message, &interfaces::introspect(message)),
            ("org.freedesktop.DBus.Properties", _) => properties(message, method),
            // The machine is as virtual as the bus, and there is one of each.
            ("org.freedesktop.DBus.Peer", "GetMachineId") => reply(message, &self.guid),
            (_, _) => reply(message, &()),
        }
    }

    fn request_name(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let (name, flags): (String, u32) = arguments(message)?;
        if BusName::try_from(name.as_str()).is_err() {
            return Err(Refusal::new("InvalidArgs", format!("Requested bus name \"{name}\" is not valid")));
        }
        if name.starts_with(':') {
            let text = format!("Cannot acquire a service starting with ':' such as \"{name}\"");
            return Err(Refusal::new("InvalidArgs", text));
        }
        if name == BUS_NAME {
            let text = format!(
                "Connection \"{from}\" is not allowed to own the service \"{name}\"because it is reserved for D-Bus' \
                 use only"
            );
            return Err(Refusal::new("InvalidArgs", text));
        }
        if from != ClientId::SERVICE && self.services.contains(&name) {
            let text = format!(
                "Connection \"{from}\" is not allowed to own the service \"{name}\" due to security policies in the \
                 configuration file"
            );
            return Err(Refusal::new("AccessDenied", text));
        }
        if self.names.count(from) >= NAMES_MAX {
            let text = format!(
                "Connection \"{from}\" is not allowed to own more services (increase limits in configuration file if \
                 required; max_names_per_connection={NAMES_MAX})"
            );
            return Err(Refusal::new("LimitsExceeded", text));
        }
        let (code, changes) = self.names.request(from, &name, flags);
        self.announce(changes);
        reply(message, &code)
    }

    fn release_name(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let name: String = arguments(message)?;
        if BusName::try_from(name.as_str()).is_err() {
            return Err(Refusal::new("InvalidArgs", format!("Given bus name \"{name}\" is not valid")));
        }
        if name.starts_with(':') {
            let text = format!("Cannot release a service starting with ':' such as \"{name}\"");
            return Err(Refusal::new("InvalidArgs", text));
        }
        if name == BUS_NAME {
            let text = format!("Cannot release the {name} service because it is owned by the bus");
            return Err(Refusal::new("InvalidArgs", text));
        }
        let (code, changes) = self.names.release(from, &name);
        self.announce(changes);
        reply(message, &code)
    }

    fn add_match(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let text: String = arguments(message)?;
        let Some(client) = self.clients.get_mut(&from) else { return reply(message, &()) };
        if client.rules.len() >= RULES_MAX {
            let text = format!(
                "Connection \"{from}\" is not allowed to add more match rules (increase limits in configuration file \
                 if required; max_match_rules_per_connection={RULES_MAX})"
            );
            return Err(Refusal::new("LimitsExceeded", text));
        }
        client.rules.push(MatchRule::parse(&text)?);
        reply(message, &())
    }

    fn remove_match(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let text: String = arguments(message)?;
        let rule = MatchRule::parse(&text)?;
        let found = self.clients.get_mut(&from).and_then(|client| {
            let at = client.rules.iter().rposition(|known| *known == rule)?;
            Some(client.rules.remove(at))
        });
        match found {
            Some(_) => reply(message, &()),
            None => {
                let text = "The given match rule wasn't found and can't be removed";
                Err(Refusal::new("MatchRuleNotFound", text))
            }
        }
    }

    /// What is known of the process behind a name.
    fn credentials_of(&self, message: &Message, method: &str) -> Result<Option<Message>, Refusal> {
        let name: String = arguments(message)?;
        let what = match method {
            "GetConnectionUnixUser" => "UID",
            "GetConnectionUnixProcessID" => "PID",
            "GetAdtAuditSessionData" => "audit session data",
            "GetConnectionSELinuxSecurityContext" => "security context",
            _ => "credentials",
        };
        let known = match self.names.owner(&name) {
            Some(owner) => self.clients.get(&owner).map(|client| client.credentials),
            None if name == BUS_NAME => Some(self.own),
            None => None,
        };
        let Credentials { uid, pid } = known.ok_or_else(|| Refusal::no_such_name(what, &name))?;
        match method {
            "GetConnectionUnixUser" => reply(message, &uid),
            "GetConnectionUnixProcessID" => match pid {
                Some(pid) => reply(message, &pid),
                None => Err(Refusal::new("UnixProcessIdUnknown", format!("Could not determine PID for '{name}'"))),
            },
            "GetConnectionCredentials" => {
                let mut all = BTreeMap::from([("UnixUserID", Variant::from(uid))]);
                all.extend(pid.map(|pid| ("ProcessID", Variant::from(pid))));
                reply(message, &all)
            }
            _ => {
                let error = match method {
                    "GetAdtAuditSessionData" => "AdtAuditDataUnknown",
                    _ => "SELinuxSecurityContextUnknown",
                };
                Err(Refusal::new(error, format!("Could not determine {what} for '{name}'")))
            }
        }
    }

    fn become_monitor(&mut self, from: ClientId, message: &Message) -> Result<Option<Message>, Refusal> {
        let (texts, flags): (Vec<String>, u32) = arguments(message)?;
        if flags != 0 {
            return Err(Refusal::new("InvalidArgs", "BecomeMonitor does not support any flags yet"));
        }
        if from == ClientId::SERVICE {
            return Err(Refusal::new("AccessDenied", "The service of this bus cannot become a monitor"));
        }
        if texts.len() > RULES_MAX {
            return Err(Refusal::new("LimitsExceeded", format!("A monitor can have {RULES_MAX} match rules")));
        }
        let mut rules = texts.iter().map(|text| MatchRule::parse(text)).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() {
            rules.push(MatchRule::default());
        }
        if !message.primary_header().flags().contains(Flags::NO_REPLY_EXPECTED)
            && let Some(reply) = answer(message, &())
        {
            self.tell(from, &reply);
        }
        // First its unique name, then the others: each is lost as if it had been given back.
        for name in self.names.held(from) {
            let (_, changes) = self.names.release(from, &name);
            self.announce(changes);
        }
        if let Some(client) = self.clients.get_mut(&from) {
            client.state = State::Monitor;
            client.rules = rules;
        }
        self.leave(from);
        Ok(None)
    }

    /// Sends the signals for names that have changed hands.
    pub(super) fn announce(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Lost(client, name) => self.tell_name(client, "NameLost", &name),
                Change::Acquired(client, name) => self.tell_name(client, "NameAcquired", &name),
                Change::Owner(name, old, new) => {
                    let text = |owner: Option<ClientId>| owner.map(|owner| owner.to_string()).unwrap_or_default();
                    let signal = Message::signal(BUS_PATH, BUS_NAME, "NameOwnerChanged").sender(BUS_NAME);
                    if let Ok(signal) = signal.build(&(name, text(old), text(new))) {
                        self.broadcast(None, &signal);
                    }
                }
            }
        }
    }

    fn tell_name(&mut self, client: ClientId, signal: &str, name: &str) {
        let signal = Message::signal(BUS_PATH, BUS_NAME, signal).sender(BUS_NAME).destination(client.to_string());
        if let Ok(signal) = signal.build(&name) {
            self.tell(client, &signal);
        }
    }
}

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        let name = match error {
            RuleError::Length(_) => "LimitsExceeded",
            RuleError::Invalid(_) => "MatchRuleInvalid",
        };
        Self::new(name, error.to_string())
    }
}

fn properties(message: &Message, method: &str) -> Result<Option<Message>, Refusal> {
    let find = |name: &str| {
        let found = INTERFACES.iter().find(|interface| interface.name == name);
        found.ok_or_else(|| Refusal::new("UnknownInterface", format!("Interface \"{name}\" not found")))
    };
    let property = |interface: &str, name: &str| {
        let found = find(interface)?.properties.iter().find(|(known, _)| *known == name);
        let refusal = || Refusal::new("UnknownProperty", format!("Property \"{interface}.{name}\" not found"));
        found.map(|(_, values)| Variant::from(values.to_vec())).ok_or_else(refusal)
    };
    match method {
        "Get" => {
            let (interface, name): (String, String) = arguments(message)?;
            reply(message, &property(&interface, &name)?)
        }
        "GetAll" => {
            let interface: String = arguments(message)?;
            let all: BTreeMap<_, _> = find(&interface)?
                .properties
                .iter()
                .map(|(name, values)| (*name, Variant::from(values.to_vec())))
                .collect();
            reply(message, &all)
        }
        _ => {
            let body = message.body();
            let (interface, name, _value): (&str, &str, Variant<'_>) =
                body.deserialize().map_err(Refusal::arguments)?;
            property(interface, name)?;
            Err(Refusal::new("PropertyReadOnly", format!("Property '{interface}.{name}' cannot be set")))
        }
    }
}

/// The arguments, whose signature is known to be right.
fn arguments<B: for<'b> DynamicDeserialize<'b>>(message: &Message) -> Result<B, Refusal> {
    message.body().deserialize().map_err(Refusal::arguments)
}

fn reply<B>(message: &Message, body: &B) -> Result<Option<Message>, Refusal>
where
    B: serde::Serialize + zbus::DynamicType,
{
    Ok(answer(message, body))
}
