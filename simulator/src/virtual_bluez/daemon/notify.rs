//! Notifications by signals: sessions of programs (bluez 5.66: `src/gatt-client.c`).
//!
//! | a program | the connection | what happens |
//! |---|---|---|
//! | starts, the first | up | the descriptor is written, then `Notifying`, then the reply |
//! | starts, not the first | up | the reply, once the descriptor is written |
//! | starts again | up | the reply |
//! | starts | down | the reply; the descriptor is written when there is a connection |
//! | stops, or leaves the bus, the last | any | `Notifying`, the descriptor, the reply |
//!
//! A notification is told once for every session, as `PropertiesChanged` of `Value`, whether it has changed or not.

use super::att::Purpose;
use super::connection::Link;
use super::error::{Answer, IN_PROGRESS, NOT_CONNECTED, NOT_SUPPORTED, failed, not_permitted, of_att};
use super::interface::CHARACTERISTIC;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Effect, Outcome};
use crate::gatt::table::Properties;
use crate::gatt::{AttError, Uuid};

/// Programs that are notified of one characteristic.
const SESSIONS_MAX: usize = 256;

/// A program that is notified.
#[derive(Debug)]
struct Session {
    sender: String,
    /// `false` for one that was started without a connection.
    active: bool,
}

/// Who is notified of a characteristic.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    sessions: Vec<Session>,
    /// The descriptor is being written; these wait for it.
    enabling: bool,
    pub(super) waiting: Vec<Call>,
    pub(super) notifying: bool,
}

impl Subscription {
    /// Whether anybody is, or was.
    pub(super) fn is_used(&self) -> bool {
        !self.sessions.is_empty()
    }
}

impl Daemon {
    pub(super) fn start_notify(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        let Some(device) = self.device_mut(key) else { return Err(NOT_SUPPORTED) };
        if device.disconnect_at.is_some() {
            return Err(NOT_CONNECTED);
        }
        let up = device.link == Link::Up;
        let Some(known) = device.characteristics.get_mut(&handle) else { return Err(NOT_SUPPORTED) };
        if known.notify_socket.is_some() {
            return Err(not_permitted("Notify acquired"));
        }
        if !known.tells() {
            return Err(NOT_SUPPORTED);
        }
        let subscription = &mut known.subscription;
        let active = subscription.sessions.iter().any(|session| session.active);
        if let Some(session) = subscription.sessions.iter().find(|session| session.sender == call.sender) {
            return if session.active { Ok(Outcome::Empty) } else { Err(IN_PROGRESS) };
        }
        if subscription.sessions.len() >= SESSIONS_MAX {
            return Err(failed("Failed to register notify session"));
        }
        subscription.sessions.push(Session { sender: call.sender.clone(), active: up });
        if !up {
            return Ok(Outcome::Empty);
        }
        if subscription.enabling {
            subscription.waiting.push(call.clone());
            return Ok(Outcome::Later);
        }
        if active {
            return Ok(Outcome::Empty);
        }
        let Some((ccc, value)) = self.enabled(key, handle) else {
            // Nothing to write: it notifies whoever listens.
            self.set_notifying(key, handle, true);
            return Ok(Outcome::Empty);
        };
        if let Some(subscription) = self.subscription(key, handle) {
            subscription.enabling = true;
            subscription.waiting.push(call.clone());
        }
        if !self.write_quietly(key, ccc, value, Purpose::Subscribe(handle)) {
            self.subscribed(key, handle, Some(AttError(0x0e)));
        }
        Ok(Outcome::Later)
    }

    /// The descriptor of a characteristic, and what switches it on.
    pub(super) fn enabled(&self, key: DeviceKey, handle: u16) -> Option<(u16, [u8; 2])> {
        let known = self.device(key)?.characteristic(handle)?;
        let value = if known.has(Properties::NOTIFY) { [1, 0] } else { [2, 0] };
        Some((known.info.ccc()?, value))
    }

    fn subscription(&mut self, key: DeviceKey, handle: u16) -> Option<&mut Subscription> {
        self.device_mut(key)?.characteristics.get_mut(&handle).map(|known| &mut known.subscription)
    }

    /// The descriptor was written, or not.
    pub(super) fn subscribed(&mut self, key: DeviceKey, handle: u16, error: Option<AttError>) {
        let Some(subscription) = self.subscription(key, handle) else { return };
        subscription.enabling = false;
        let waiting = std::mem::take(&mut subscription.waiting);
        let Some(error) = error else {
            if self.subscription(key, handle).is_some_and(|subscription| subscription.is_used()) {
                self.set_notifying(key, handle, true);
            }
            for call in waiting {
                self.reply(&call, &());
            }
            return;
        };
        subscription.sessions.clear();
        self.switch_off(key, handle);
        for call in waiting {
            self.refuse(&call, &of_att(error));
        }
    }

    fn set_notifying(&mut self, key: DeviceKey, handle: u16, on: bool) {
        let Some(known) = self.device_mut(key).and_then(|device| device.characteristics.get_mut(&handle)) else {
            return;
        };
        let service = known.service;
        if std::mem::replace(&mut known.subscription.notifying, on) != on {
            self.changed(Object::Characteristic(key, service, handle), &CHARACTERISTIC, "Notifying");
        }
    }

    pub(super) fn switch_off(&mut self, key: DeviceKey, handle: u16) {
        if let Some((ccc, _)) = self.enabled(key, handle) {
            self.write_quietly(key, ccc, [0, 0], Purpose::Nothing);
        }
    }

    pub(super) fn stop_notify(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        let known = self.device(key).and_then(|device| device.characteristic(handle));
        if known.is_some_and(|known| known.notify_socket.is_some()) {
            self.release_notify(key, handle);
            return Ok(Outcome::Empty);
        }
        if self.end_session(key, handle, &call.sender) {
            Ok(Outcome::Empty)
        } else {
            Err(failed("No notify session started"))
        }
    }

    /// Ends the session of a program; whether it had one.
    fn end_session(&mut self, key: DeviceKey, handle: u16, sender: &str) -> bool {
        let Some(subscription) = self.subscription(key, handle) else { return false };
        let before = subscription.sessions.len();
        subscription.sessions.retain(|session| session.sender != sender);
        if subscription.sessions.len() == before {
            return false;
        }
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut subscription.waiting).into_iter().partition(|call| call.sender == sender);
        subscription.waiting = others;
        if subscription.sessions.is_empty() {
            self.switch_off(key, handle);
            self.set_notifying(key, handle, false);
        }
        for call in mine {
            self.refuse(&call, &failed("No notify session started"));
        }
        true
    }

    /// A program has left the bus.
    pub(super) fn sessions_gone(&mut self, sender: &str) {
        let has = |known: &super::services::KnownCharacteristic| {
            known.subscription.sessions.iter().any(|session| session.sender == sender)
        };
        let mut gone = Vec::new();
        for (key, device) in &self.devices {
            gone.extend(
                device.characteristics.values().filter(|known| has(known)).map(|known| (*key, known.info.handle)),
            );
        }
        for (key, handle) in gone {
            self.end_session(key, handle, sender);
        }
    }

    /// A connection is there again: what was notified before is switched on again.
    pub(super) fn resubscribe(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        let mut used = Vec::new();
        for (handle, known) in &mut device.characteristics {
            if known.subscription.is_used() {
                known.subscription.sessions.iter_mut().for_each(|session| session.active = true);
                used.push(*handle);
            }
        }
        for handle in used {
            self.set_notifying(key, handle, true);
            if let Some((ccc, value)) = self.enabled(key, handle) {
                self.write_quietly(key, ccc, value, Purpose::Resubscribe(handle));
            }
        }
    }

    /// A connection is over: sessions wait for the next one.
    pub(super) fn sessions_down(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        for known in device.characteristics.values_mut() {
            known.subscription.sessions.iter_mut().for_each(|session| session.active = false);
        }
    }

    /// Sessions end silently when they cannot be taken up again.
    pub(super) fn resubscription_failed(&mut self, key: DeviceKey, handle: u16) {
        if self.device(key).is_some_and(|device| device.link == Link::Up)
            && let Some(subscription) = self.subscription(key, handle)
        {
            subscription.sessions.clear();
        }
    }

    /// A notification or an indication.
    pub(super) fn notified(&mut self, key: DeviceKey, value_handle: u16, value: &[u8]) {
        let Some(device) = self.device_mut(key) else { return };
        let found = device.characteristics.values_mut().find(|known| known.info.value_handle == value_handle);
        let Some(known) = found else { return };
        let (handle, uuid, service) = (known.info.handle, known.info.uuid, known.service);
        if let Some(socket) = known.notify_socket {
            self.effects.push_back(Effect::SocketSend(socket, value.to_vec()));
        } else {
            let sessions = known.subscription.sessions.iter().filter(|session| session.active).count();
            if sessions > 0 {
                known.value = value.to_vec();
            }
            let object = Object::Characteristic(key, service, handle);
            for _ in 0..sessions {
                self.changed(object, &CHARACTERISTIC, "Value");
                self.flush_object(object);
            }
        }
        match uuid {
            Uuid::SERVICE_CHANGED => self.service_changed(key),
            Uuid::BATTERY_LEVEL => self.battery_read(key, value),
            _ => {}
        }
    }
}
