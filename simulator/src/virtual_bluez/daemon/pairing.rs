//! Pairing: by `Pair`, because a request was refused without it, or with kept keys (bluez 5.66: `src/device.c`).
//!
//! `Pair` is answered when the services are known. Every refusal, by whichever side, ends in `AuthenticationFailed`;
//! a connection that ends in between, and `CancelPairing`, in `AuthenticationCanceled`.

use super::agent::Agent;
use super::connection::Link;
use super::error::{ALREADY_EXISTS, Answer, DOES_NOT_EXIST, IN_PROGRESS, Refusal, named};
use super::interface::DEVICE;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Outcome};
use crate::gatt::{CentralAction, IoCapability, PairingAnswer, PairingAsk, PairingFailure, Security};

const CANCELED: Refusal = named("org.bluez.Error.AuthenticationCanceled", "Authentication Canceled");
const FAILED: Refusal = named("org.bluez.Error.AuthenticationFailed", "Authentication Failed");

/// A pairing that is under way.
#[derive(Debug)]
pub(super) struct Pairing {
    /// The call of `Pair`; without one, a request has led to it.
    call: Option<Call>,
    agent: Option<Agent>,
    /// The link is protected, and the services are still to be found.
    protected: bool,
    /// When it is given up.
    pub(super) until: u64,
}

impl Pairing {
    /// Whether a program waits for nothing but the services.
    pub(super) fn is_almost_over(&self) -> bool {
        self.protected && self.call.is_some()
    }
}

/// Longest pairing, from the call to the services, in microseconds.
const PAIRING_US: u64 = 120_000_000;

impl Daemon {
    pub(super) fn pair(&mut self, call: &Call, key: DeviceKey) -> Answer<Outcome> {
        self.set_permanent(key);
        let until = self.now + PAIRING_US;
        let agent = self.agent_for(Some(&call.sender));
        let powered = self.adapters[key.adapter].powered;
        let Some(device) = self.device_mut(key) else { return Err(DOES_NOT_EXIST) };
        if device.pairing.is_some() {
            return Err(IN_PROGRESS);
        }
        // BlueZ 5.66 takes one that is bonded already for one of BR/EDR, and fails.
        if device.bonded || !powered {
            return Err(FAILED);
        }
        if device.paired {
            return Err(ALREADY_EXISTS);
        }
        device.pairing = Some(Pairing { call: Some(call.clone()), agent, protected: false, until });
        match device.link {
            Link::Down => self.begin_connect(key),
            // The link pairs once it is there.
            Link::Waiting { .. } | Link::Asked { .. } => {}
            Link::Linked { .. } | Link::Up => self.send_pair(key, Security::Encrypted),
        }
        Ok(Outcome::Later)
    }

    fn send_pair(&mut self, key: DeviceKey, wanted: Security) {
        let Some(device) = self.device(key) else { return };
        let agent = device.pairing.as_ref().and_then(|pairing| pairing.agent.as_ref());
        let capability = agent.map_or(IoCapability::NoInputNoOutput, |agent| agent.capability);
        if let Some(peripheral) = device.peripheral {
            self.act(peripheral, key, CentralAction::Pair { capability, wanted });
        }
    }

    /// A new connection is protected before anything else.
    pub(super) fn protect_new_link(&mut self, key: DeviceKey) {
        self.protect(key, Security::Encrypted);
    }

    /// A request needs a better protected link; it is tried again afterwards.
    pub(super) fn protect(&mut self, key: DeviceKey, wanted: Security) {
        let agent = self.agent_for(None);
        let until = self.now + PAIRING_US;
        if let Some(device) = self.device_mut(key) {
            device.pairing.get_or_insert(Pairing { call: None, agent, protected: false, until });
        }
        self.send_pair(key, wanted);
    }

    pub(super) fn pairing_asks(&mut self, key: DeviceKey, ask: PairingAsk) {
        let agent = self.device(key).and_then(|device| device.pairing.as_ref()?.agent.clone());
        let asked = agent.is_some_and(|agent| self.ask_agent(key, &agent, ask));
        if !asked {
            self.answer_pairing(key, PairingAnswer::Refused);
        }
    }

    pub(super) fn answer_pairing(&mut self, key: DeviceKey, answer: PairingAnswer) {
        if let Some(device) = self.device(key)
            && let (Some(peripheral), true) = (device.peripheral, device.is_connected())
        {
            self.act(peripheral, key, CentralAction::AnswerPairing(answer));
        }
    }

    pub(super) fn secured(&mut self, key: DeviceKey, level: Security, bonded: bool) {
        let Some(device) = self.device_mut(key) else { return };
        device.level = level;
        let newly_bonded = bonded && !std::mem::replace(&mut device.bonded, bonded);
        if let Some(pairing) = &mut device.pairing {
            pairing.protected = true;
        }
        let resolved = device.resolved_once;
        if newly_bonded {
            self.changed(Object::Device(key), &DEVICE, "Bonded");
        }
        self.cancel_agent(key);
        if resolved {
            self.pairing_resolved(key);
        }
        self.link_protected(key);
        self.att_released(key);
    }

    /// The services are known: a pairing that has succeeded is over.
    pub(super) fn pairing_resolved(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        let Some(pairing) = device.pairing.take_if(|pairing| pairing.protected) else { return };
        if !std::mem::replace(&mut device.paired, true) {
            self.changed(Object::Device(key), &DEVICE, "Paired");
        }
        if let Some(call) = pairing.call {
            self.reply(&call, &());
        }
    }

    pub(super) fn pairing_failed(&mut self, key: DeviceKey, reason: PairingFailure) {
        let refusal = if reason == PairingFailure::Disconnected { CANCELED } else { FAILED };
        self.fail_pairing(key, &refusal);
        // The kernel ends a link that could not be protected, whoever has refused.
        self.hang_up(key);
    }

    /// A pairing that is under way, if there is one, has come to nothing.
    pub(super) fn fail_pairing(&mut self, key: DeviceKey, refusal: &Refusal) {
        let Some(pairing) = self.device_mut(key).and_then(|device| device.pairing.take()) else { return };
        self.cancel_agent(key);
        if let Some(call) = pairing.call {
            self.refuse(&call, refusal);
            self.set_temporary(key);
        }
    }

    pub(super) fn cancel_pairing(&mut self, call: &Call, key: DeviceKey) -> Answer<Outcome> {
        let pairs = self.device(key).is_some_and(|device| device.pairing.is_some());
        if pairs {
            self.abort_pairing(key);
            self.reply(call, &());
            return Ok(Outcome::Replied);
        }
        self.forget_keys(key);
        Err(DOES_NOT_EXIST)
    }

    fn abort_pairing(&mut self, key: DeviceKey) {
        self.answer_pairing(key, PairingAnswer::Refused);
        let attempt = self.device(key).is_some_and(|device| !device.is_connected() && device.connecting.is_empty());
        self.fail_pairing(key, &CANCELED);
        if attempt {
            self.hang_up(key);
        }
    }

    fn forget_keys(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        let (bonded, paired) = (std::mem::take(&mut device.bonded), std::mem::take(&mut device.paired));
        if let (true, Some(peripheral)) = (bonded, device.peripheral) {
            self.act(peripheral, key, CentralAction::ForgetKeys);
        }
        for (was, property) in [(paired, "Paired"), (bonded, "Bonded")] {
            if was {
                self.changed(Object::Device(key), &DEVICE, property);
            }
        }
    }

    /// A program has left the bus: its pairing is given up.
    pub(super) fn pairing_gone(&mut self, sender: &str) {
        let of = |pairing: &Pairing| pairing.call.as_ref().is_some_and(|call| call.sender == sender);
        let gone: Vec<_> = self
            .devices
            .iter()
            .filter(|(_, device)| device.pairing.as_ref().is_some_and(of))
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.abort_pairing(key);
            self.hang_up(key);
        }
    }
}
