//! Notifications and write commands by sockets (bluez 5.66: `src/gatt-client.c`, `AcquireWrite`, `AcquireNotify`).
//!
//! One program at a time has the socket of a characteristic. Closing it gives it back, a connection that ends closes
//! it. A packet is one write command, or one notification; what is longer than MTU-3 bytes is discarded without a word.

use super::att::Purpose;
use super::characteristic::value_max;
use super::connection::Link;
use super::error::{Answer, IN_PROGRESS, NOT_SUPPORTED, failed, not_permitted, of_att};
use super::interface::CHARACTERISTIC;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Effect, Outcome, SocketId, expects_reply};
use crate::gatt::AttError;
use crate::gatt::table::Properties;

/// Longest packet that is taken from a socket in bytes; BlueZ cuts off what is behind it.
const PACKET_MAX: usize = 512;

/// What a socket is for.
#[derive(Debug, Clone)]
pub(super) struct Acquired {
    key: DeviceKey,
    handle: u16,
    notifies: bool,
    /// A call that is answered when the services are known.
    waiting: Option<Call>,
}

impl Daemon {
    pub(super) fn acquire_write(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        self.attached(key)?;
        let known = self.device(key).and_then(|device| device.characteristic(handle)).ok_or(NOT_SUPPORTED)?;
        if known.write_socket.is_some() {
            return Err(not_permitted("Write acquired"));
        }
        if !known.has(Properties::WRITE_WITHOUT_RESPONSE) {
            return Err(NOT_SUPPORTED);
        }
        let socket = self.new_socket(Acquired { key, handle, notifies: false, waiting: Some(call.clone()) });
        self.set_socket(key, handle, false, Some(socket));
        self.answer_acquired(socket);
        Ok(Outcome::Later)
    }

    pub(super) fn acquire_notify(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        self.attached(key)?;
        let known = self.device(key).and_then(|device| device.characteristic(handle)).ok_or(NOT_SUPPORTED)?;
        if known.notify_socket.is_some() {
            return Err(not_permitted("Notify acquired"));
        }
        if known.subscription.is_used() {
            return Err(IN_PROGRESS);
        }
        if !known.has(Properties::NOTIFY) {
            return Err(NOT_SUPPORTED);
        }
        let socket = self.new_socket(Acquired { key, handle, notifies: true, waiting: None });
        self.set_socket(key, handle, true, Some(socket));
        let Some((ccc, value)) = self.enabled(key, handle) else {
            self.socket_subscribed(socket, call, None);
            return Ok(Outcome::Later);
        };
        if !self.write_quietly(key, ccc, value, Purpose::SubscribeSocket(socket, call.clone())) {
            self.socket_subscribed(socket, call, Some(AttError(0x0e)));
        }
        Ok(Outcome::Later)
    }

    fn new_socket(&mut self, acquired: Acquired) -> SocketId {
        self.next_socket += 1;
        self.sockets.insert(self.next_socket, acquired);
        self.next_socket
    }

    /// The descriptor was written for a socket, or not.
    pub(super) fn socket_subscribed(&mut self, socket: SocketId, call: &Call, error: Option<AttError>) {
        let Some(acquired) = self.sockets.get_mut(&socket) else {
            // Given back, or gone, before it was there.
            return self.refuse(call, &failed("Not connected"));
        };
        let (key, handle) = (acquired.key, acquired.handle);
        match error {
            None => {
                acquired.waiting = Some(call.clone());
                self.answer_acquired(socket);
            }
            Some(error) => {
                self.sockets.remove(&socket);
                self.set_socket(key, handle, true, None);
                self.refuse(call, &of_att(error));
            }
        }
    }

    /// Answers with the socket, once the services are known.
    fn answer_acquired(&mut self, socket: SocketId) {
        let Some(acquired) = self.sockets.get_mut(&socket) else { return };
        let (key, handle, notifies) = (acquired.key, acquired.handle, acquired.notifies);
        let Some(device) = self.devices.get(&key).filter(|device| device.services_resolved) else { return };
        let mtu = device.mtu;
        let Some(call) = acquired.waiting.take() else { return };
        if !expects_reply(&call.message) {
            // The program's end would go nowhere.
            return self.acquired_closed(socket);
        }
        self.socket_changed(key, handle, notifies);
        self.flush();
        self.note(&call, None);
        self.effects.push_back(Effect::Acquire { call: call.message, socket, mtu });
    }

    /// The services are known: whoever waits for a socket gets it.
    pub(super) fn acquire_resolved(&mut self, key: DeviceKey) {
        let waiting = |acquired: &Acquired| acquired.key == key && acquired.waiting.is_some();
        let sockets: Vec<_> =
            self.sockets.iter().filter(|(_, acquired)| waiting(acquired)).map(|(id, _)| *id).collect();
        for socket in sockets {
            self.answer_acquired(socket);
        }
    }

    fn set_socket(&mut self, key: DeviceKey, handle: u16, notifies: bool, socket: Option<SocketId>) {
        let known = self.device_mut(key).and_then(|device| device.characteristics.get_mut(&handle));
        if let Some(known) = known {
            *(if notifies { &mut known.notify_socket } else { &mut known.write_socket }) = socket;
        }
    }

    fn socket_changed(&mut self, key: DeviceKey, handle: u16, notifies: bool) {
        let Some(device) = self.device(key).filter(|device| !device.removing) else { return };
        let Some(known) = device.characteristic(handle) else { return };
        let object = Object::Characteristic(key, known.service, handle);
        self.changed(object, &CHARACTERISTIC, if notifies { "NotifyAcquired" } else { "WriteAcquired" });
    }

    /// A packet was written to a socket: a write command, on either kind of socket.
    pub(super) fn acquired_data(&mut self, socket: SocketId, mut value: Vec<u8>) {
        let Some(acquired) = self.sockets.get(&socket) else { return };
        let (key, handle) = (acquired.key, acquired.handle);
        value.truncate(PACKET_MAX);
        let Some(device) = self.device(key).filter(|device| device.link == Link::Up) else { return };
        let Some(known) = device.characteristic(handle).filter(|_| value.len() <= value_max(device.mtu)) else {
            return;
        };
        let attribute = known.info.value_handle;
        self.command(key, attribute, value);
    }

    /// The program has closed its end.
    pub(super) fn acquired_closed(&mut self, socket: SocketId) {
        if let Some(acquired) = self.sockets.get(&socket).cloned() {
            self.give_back(socket, &acquired);
        }
    }

    fn give_back(&mut self, socket: SocketId, acquired: &Acquired) {
        self.sockets.remove(&socket);
        self.effects.push_back(Effect::SocketClose(socket));
        self.set_socket(acquired.key, acquired.handle, acquired.notifies, None);
        self.socket_changed(acquired.key, acquired.handle, acquired.notifies);
        if acquired.notifies {
            self.switch_off(acquired.key, acquired.handle);
        }
        if let Some(call) = &acquired.waiting {
            self.refuse(call, &failed("Not connected"));
        }
    }

    pub(super) fn release_notify(&mut self, key: DeviceKey, handle: u16) {
        self.close_where(|acquired| acquired.key == key && acquired.handle == handle && acquired.notifies);
    }

    /// The sockets of a characteristic that is gone.
    pub(super) fn close_sockets(&mut self, key: DeviceKey, handle: u16) {
        self.close_where(|acquired| acquired.key == key && acquired.handle == handle);
    }

    /// The sockets of a connection that has ended.
    pub(super) fn sockets_down(&mut self, key: DeviceKey) {
        self.close_where(|acquired| acquired.key == key);
    }

    fn close_where(&mut self, which: impl Fn(&Acquired) -> bool) {
        let chosen: Vec<_> =
            self.sockets.iter().filter(|(_, acquired)| which(acquired)).map(|(id, one)| (*id, one.clone())).collect();
        for (socket, acquired) in chosen {
            self.give_back(socket, &acquired);
        }
    }
}
