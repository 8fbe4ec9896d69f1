//! `org.bluez.AgentManager1`, and what agents are asked (bluez 5.66: `src/agent.c`).
//!
//! The first agent is the default one. A program has at most one. Whatever an agent answers other than what it was
//! asked for is a refusal: BlueZ does not look at the name of the error.

use std::collections::BTreeMap;

use zbus::{Message, ObjectPath, message::Type};

use super::error::{ALREADY_EXISTS, Answer, DOES_NOT_EXIST, INVALID_ARGUMENTS, NOT_SUPPORTED};
use super::interface::ADAPTER;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Effect, Outcome, UNIQUE_NAME};
use crate::gatt::{IoCapability, PairingAnswer, PairingAsk};

/// How long an agent may think, in microseconds.
const PATIENCE_US: u64 = 60_000_000;
/// Agents, one a program.
const AGENTS_MAX: usize = 256;
const AGENT: &str = "org.bluez.Agent1";

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) sender: String,
    path: ObjectPath<'static>,
    pub(super) capability: IoCapability,
}

/// A question that an agent has not answered.
#[derive(Debug)]
struct Asked {
    key: DeviceKey,
    agent: Agent,
    ask: PairingAsk,
    until: u64,
}

/// All agents, the default one first.
#[derive(Debug, Default)]
pub(super) struct Agents {
    agents: Vec<Agent>,
    /// By the serial of the call.
    asked: BTreeMap<u32, Asked>,
}

impl Daemon {
    pub(super) fn call_manager(&mut self, call: &Call, member: &str) -> Answer<Outcome> {
        let body = call.message.body();
        match member {
            "RegisterAgent" => {
                let known = self.agents.agents.iter().any(|agent| agent.sender == call.sender);
                if known || self.agents.agents.len() >= AGENTS_MAX {
                    return Err(ALREADY_EXISTS);
                }
                let (path, capability): (ObjectPath<'_>, &str) = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
                let capability = match capability {
                    "" | "KeyboardDisplay" => IoCapability::KeyboardDisplay,
                    "DisplayOnly" => IoCapability::DisplayOnly,
                    "DisplayYesNo" => IoCapability::DisplayYesNo,
                    "KeyboardOnly" => IoCapability::KeyboardOnly,
                    "NoInputNoOutput" => IoCapability::NoInputNoOutput,
                    _ => return Err(INVALID_ARGUMENTS),
                };
                let path = path.to_owned();
                self.agents.agents.push(Agent { sender: call.sender.clone(), path, capability });
                self.reply(call, &());
                self.set_pairable(true);
                Ok(Outcome::Replied)
            }
            "UnregisterAgent" | "RequestDefaultAgent" => {
                let path: ObjectPath<'_> = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
                let mine = |agent: &Agent| agent.sender == call.sender && agent.path.as_str() == path.as_str();
                let at = self.agents.agents.iter().position(mine).ok_or(DOES_NOT_EXIST)?;
                if member == "RequestDefaultAgent" {
                    let agent = self.agents.agents.remove(at);
                    self.agents.agents.insert(0, agent);
                    return Ok(Outcome::Empty);
                }
                self.agent_gone(&call.sender);
                Ok(Outcome::Empty)
            }
            // Profiles are those of BR/EDR, and nobody has registered one.
            "UnregisterProfile" => Err(DOES_NOT_EXIST),
            _ => Err(NOT_SUPPORTED),
        }
    }

    fn set_pairable(&mut self, on: bool) {
        for number in 0..self.adapters.len() {
            if std::mem::replace(&mut self.adapters[number].pairable, on) != on {
                self.changed(Object::Adapter(number), &ADAPTER, "Pairable");
            }
        }
    }

    /// The agent for a pairing: that of the program, or the default one.
    pub(super) fn agent_for(&self, sender: Option<&str>) -> Option<Agent> {
        let own = self.agents.agents.iter().find(|agent| Some(agent.sender.as_str()) == sender);
        own.or_else(|| self.agents.agents.first()).cloned()
    }

    /// Asks an agent; `false` when it is not there any more.
    pub(super) fn ask_agent(&mut self, key: DeviceKey, agent: &Agent, ask: PairingAsk) -> bool {
        if !self.agents.agents.contains(agent) {
            return false;
        }
        let device = Object::Device(key).path();
        let built = match ask {
            PairingAsk::EnterPasskey => self.call_agent(agent, "RequestPasskey", &device, true),
            PairingAsk::ShowPasskey(number) => {
                self.call_agent(agent, "DisplayPasskey", &(device, number, 0_u16), false)
            }
            PairingAsk::Compare(number) => self.call_agent(agent, "RequestConfirmation", &(device, number), true),
        };
        if !matches!(ask, PairingAsk::ShowPasskey(_))
            && let Some(serial) = built
        {
            let until = self.now + PATIENCE_US;
            self.agents.asked.insert(serial, Asked { key, agent: agent.clone(), ask, until });
        }
        built.is_some()
    }

    /// Calls a method of an agent; the serial of the call.
    fn call_agent<B: serde::Serialize + zbus::DynamicType>(
        &mut self,
        agent: &Agent,
        member: &'static str,
        body: &B,
        replies: bool,
    ) -> Option<u32> {
        let call = Message::method_call(agent.path.clone(), member)
            .sender(UNIQUE_NAME)
            .interface(AGENT)
            .destination(agent.sender.clone());
        let call = if replies { call } else { call.with_flags(zbus::message::Flags::NO_REPLY_EXPECTED) };
        let message = call.build(body).ok()?;
        let serial = message.primary_header().serial_num().get();
        self.flush();
        self.effects.push_back(Effect::Send(message));
        Some(serial)
    }

    pub(super) fn agent_replied(&mut self, message: &Message) {
        let header = message.header();
        let Some(serial) = header.reply_serial().map(std::num::NonZeroU32::get) else { return };
        let sender = header.sender().map(|sender| sender.to_string());
        // An answer in the name of the bus: the agent has left it.
        let right =
            |asked: &Asked| sender.as_ref().is_none_or(|from| *from == asked.agent.sender || !from.starts_with(':'));
        if !self.agents.asked.get(&serial).is_some_and(right) {
            return;
        }
        let Some(asked) = self.agents.asked.remove(&serial) else { return };
        let answer = match (message.message_type(), asked.ask) {
            (Type::MethodReturn, PairingAsk::EnterPasskey) => {
                message.body().deserialize::<u32>().map_or(PairingAnswer::Refused, PairingAnswer::Passkey)
            }
            (Type::MethodReturn, PairingAsk::Compare(_)) if message.body().is_empty() => PairingAnswer::Same,
            _ => PairingAnswer::Refused,
        };
        self.answer_pairing(asked.key, answer);
    }

    /// Questions about a pairing that is over are taken back.
    pub(super) fn cancel_agent(&mut self, key: DeviceKey) {
        let over: Vec<_> =
            self.agents.asked.iter().filter(|(_, asked)| asked.key == key).map(|(serial, _)| *serial).collect();
        for serial in over {
            if let Some(asked) = self.agents.asked.remove(&serial) {
                self.call_agent(&asked.agent, "Cancel", &(), false);
            }
        }
    }

    /// A program has unregistered its agent, or has left the bus.
    pub(super) fn agent_gone(&mut self, sender: &str) {
        let before = self.agents.agents.len();
        self.agents.agents.retain(|agent| agent.sender != sender);
        if self.agents.agents.len() == before {
            return;
        }
        if self.agents.agents.is_empty() {
            self.set_pairable(false);
        }
        let of = |asked: &Asked| asked.agent.sender == sender;
        let open: Vec<_> = self.agents.asked.iter().filter(|(_, asked)| of(asked)).map(|(at, _)| *at).collect();
        for serial in open {
            if let Some(asked) = self.agents.asked.remove(&serial) {
                self.answer_pairing(asked.key, PairingAnswer::Refused);
            }
        }
    }

    pub(super) fn agents_wake(&self) -> Option<u64> {
        self.agents.asked.values().map(|asked| asked.until).min()
    }

    /// An agent that says nothing refuses.
    pub(super) fn agents_due(&mut self) {
        let now = self.now;
        let late: Vec<_> =
            self.agents.asked.iter().filter(|(_, asked)| asked.until <= now).map(|(serial, _)| *serial).collect();
        for serial in late {
            if let Some(asked) = self.agents.asked.remove(&serial) {
                self.call_agent(&asked.agent, "Cancel", &(), false);
                self.answer_pairing(asked.key, PairingAnswer::Refused);
            }
        }
    }
}
