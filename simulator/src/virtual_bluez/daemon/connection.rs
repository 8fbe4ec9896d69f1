//! Connections: how they are made, and how they end.
//!
//! | from | by | to | what is seen |
//! |---|---|---|---|
//! | down | `Connect`, or `Pair` | waiting | |
//! | waiting | the peripheral advertises | asked | |
//! | asked | the peripheral takes the connection | linked | `Connected` |
//! | linked | a moment later, and once kept keys are in use | up | `Connect` is answered |
//! | up | MTU and services are known | up | objects, `ServicesResolved` |
//! | any | failure, `Disconnect`, loss | down | `ServicesResolved`, `Connected` |

use super::device::Device;
use super::error::{Answer, DOES_NOT_EXIST, GATT_NOT_CONNECTED, Refusal, failed, named};
use super::interface::DEVICE;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Outcome};
use crate::gatt::{CentralAction, GattEvent, MTU_MIN, Security};
use crate::virtual_bluez::port::{Central, PeripheralId};

/// State of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// None.
    Down,
    /// The peripheral does not advertise yet.
    Waiting { until: u64 },
    /// The peripheral was asked.
    Asked { until: u64 },
    /// There is a connection, and no Attribute Protocol yet; `None` while pairing comes first.
    Linked { up_at: Option<u64> },
    /// The Attribute Protocol is there.
    Up,
}

/// From the connection to the Attribute Protocol, in microseconds. Programs with two connections to the bus hear
/// of the one on their first before the reply on their second.
const UP_AFTER_US: u64 = 5_000;
/// Calls that wait for one connection to end.
pub(super) const WAITING_MAX: usize = 256;

const ABORTED: Refusal = failed("le-connection-abort-by-local");
const CANCELED: Refusal = failed("br-connection-canceled");

impl Daemon {
    pub(super) fn connect(&mut self, call: &Call, key: DeviceKey) -> Answer<Outcome> {
        let Some(device) = self.device(key) else { return Err(DOES_NOT_EXIST) };
        if device.is_connected() {
            return Ok(Outcome::Empty);
        }
        if !device.is_down() {
            return Err(failed("Operation already in progress"));
        }
        self.set_permanent(key);
        if !self.adapters[key.adapter].powered {
            return Err(failed("Input/output error"));
        }
        if self.is_blocked(key) {
            return Err(ABORTED);
        }
        if let Some(device) = self.device_mut(key) {
            device.connecting.push(call.clone());
        }
        self.begin_connect(key);
        Ok(Outcome::Later)
    }

    /// A connection is wanted.
    pub(super) fn begin_connect(&mut self, key: DeviceKey) {
        let until = self.now + self.settings.connect_timeout_us;
        if let Some(device) = self.device_mut(key) {
            device.link = Link::Waiting { until };
        }
        self.try_connect(key);
    }

    /// Asks the peripheral that advertises under this address, if there is one.
    fn try_connect(&mut self, key: DeviceKey) {
        let here = |advertised: &Option<crate::gatt::Advertisement>| {
            advertised.as_ref().is_some_and(|heard| heard.address == key.address && heard.connectable)
        };
        let found = self.peripherals.iter().find(|(_, advertised)| here(advertised)).map(|(id, _)| *id);
        let Some(peripheral) = found.filter(|id| !self.ending.contains(&(*id, key.adapter as Central))) else {
            return;
        };
        if let Some(device) = self.device_mut(key)
            && let Link::Waiting { until } = device.link
        {
            device.link = Link::Asked { until };
            device.peripheral = Some(peripheral);
            self.act(peripheral, key, CentralAction::Connect);
        }
    }

    /// Whoever waits for this advertiser connects.
    pub(super) fn advertiser_appeared(&mut self) {
        let waiting = |device: &Device| matches!(device.link, Link::Waiting { .. });
        let waiting: Vec<_> = self.devices.iter().filter(|(_, device)| waiting(device)).map(|(key, _)| *key).collect();
        for key in waiting {
            self.try_connect(key);
        }
    }

    pub(super) fn disconnect(&mut self, call: &Call, key: DeviceKey) -> Answer<Outcome> {
        self.fail_pairing(key, &named("org.bluez.Error.AuthenticationCanceled", "Authentication Canceled"));
        let Some(device) = self.device_mut(key) else { return Err(DOES_NOT_EXIST) };
        if !device.is_connected() {
            self.hang_up(key);
            return Ok(Outcome::Empty);
        }
        if device.disconnecting.len() >= WAITING_MAX {
            return Err(super::error::BUSY);
        }
        device.disconnecting.push(call.clone());
        self.begin_disconnect(key);
        Ok(Outcome::Later)
    }

    /// The connection ends after the delay, and profiles at once.
    pub(super) fn begin_disconnect(&mut self, key: DeviceKey) {
        self.battery_gone(key);
        let at = self.now + self.settings.disconnect_delay_us;
        if let Some(device) = self.device_mut(key) {
            device.disconnect_at.get_or_insert(at);
        }
        self.connections_due();
    }

    pub(super) fn connections_wake(&self) -> Option<u64> {
        let due = |device: &Device| {
            let link = match device.link {
                Link::Down | Link::Up => None,
                Link::Waiting { until } | Link::Asked { until } => Some(until),
                Link::Linked { up_at } => up_at,
            };
            let pairing = device.pairing.as_ref().map(|pairing| pairing.until);
            [link, device.disconnect_at, device.att.gives_up_at(), pairing].into_iter().flatten().min()
        };
        self.devices.values().filter_map(due).min()
    }

    pub(super) fn connections_due(&mut self) {
        let now = self.now;
        let keys: Vec<_> = self.devices.keys().copied().collect();
        for key in keys {
            let Some(device) = self.device(key) else { continue };
            if device.disconnect_at.is_some_and(|at| at <= now) {
                self.hang_up(key);
                continue;
            }
            let over = |at: Option<u64>| at.is_some_and(|at| at <= now);
            if over(device.pairing.as_ref().map(|pairing| pairing.until)) {
                self.fail_pairing(key, &named("org.bluez.Error.AuthenticationTimeout", "Authentication Timeout"));
                self.hang_up(key);
                continue;
            }
            if over(device.att.gives_up_at()) {
                self.hang_up(key);
                continue;
            }
            match device.link {
                Link::Waiting { until } | Link::Asked { until } if until <= now => self.hang_up(key),
                Link::Linked { up_at: Some(at) } if at <= now => self.link_up(key),
                _ => {}
            }
        }
    }

    /// A peripheral tells a central something.
    pub(super) fn told(&mut self, peripheral: PeripheralId, central: Central, event: GattEvent) {
        if self.ending.contains(&(peripheral, central)) {
            // What still comes of a connection that was given up.
            if matches!(event, GattEvent::Disconnected { .. } | GattEvent::Unreachable) {
                self.ending.remove(&(peripheral, central));
                self.advertiser_appeared();
            }
            return;
        }
        // A peripheral that has changed its address is another device, which is connected to while the connection of
        // the first one ends.
        let outcome = matches!(event, GattEvent::Connected | GattEvent::Unreachable);
        let (mut asked, mut linked) = (None, None);
        for (key, device) in &self.devices {
            if key.adapter as Central == central && device.peripheral == Some(peripheral) {
                match device.link {
                    Link::Down | Link::Waiting { .. } => {}
                    Link::Asked { .. } => asked = Some(*key),
                    Link::Linked { .. } | Link::Up => linked = Some(*key),
                }
            }
        }
        if let Some(key) = if outcome { asked.or(linked) } else { linked.or(asked) } {
            self.link_told(key, event);
        }
    }

    fn link_told(&mut self, key: DeviceKey, event: GattEvent) {
        match event {
            GattEvent::Connected => self.linked(key),
            GattEvent::Unreachable => self.link_down(key, false),
            GattEvent::Disconnected { .. } => self.link_down(key, false),
            GattEvent::PairingAsks(ask) => self.pairing_asks(key, ask),
            GattEvent::Secured { level, bonded } => self.secured(key, level, bonded),
            GattEvent::PairingFailed(reason) => self.pairing_failed(key, reason),
            GattEvent::ParametersAsked(_) => {
                if let Some(peripheral) = self.device(key).and_then(|device| device.peripheral) {
                    self.act(peripheral, key, CentralAction::AnswerParameters { accept: true });
                }
            }
            GattEvent::Notification { handle, value } | GattEvent::Indication { handle, value } => {
                self.notified(key, handle, &value);
            }
            event @ (GattEvent::Mtu(_)
            | GattEvent::Discovered(_)
            | GattEvent::Read { .. }
            | GattEvent::Written { .. }
            | GattEvent::Error { .. }) => self.att_answered(key, event),
        }
    }

    fn linked(&mut self, key: DeviceKey) {
        let up_at = self.now + UP_AFTER_US;
        let Some(device) = self.device_mut(key) else { return };
        let protects = device.bonded || device.pairing.is_some();
        device.link = Link::Linked { up_at: (!protects).then_some(up_at) };
        device.level = Security::Plain;
        device.mtu = MTU_MIN;
        self.changed(Object::Device(key), &DEVICE, "Connected");
        if protects {
            self.protect_new_link(key);
        }
    }

    /// Pairing, or encryption with kept keys, is over, and the Attribute Protocol may begin.
    pub(super) fn link_protected(&mut self, key: DeviceKey) {
        let now = self.now;
        if let Some(device) = self.device_mut(key)
            && device.link == (Link::Linked { up_at: None })
        {
            device.link = Link::Linked { up_at: Some(now + UP_AFTER_US) };
        }
    }

    fn link_up(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        device.link = Link::Up;
        for call in std::mem::take(&mut device.connecting) {
            self.reply(&call, &());
        }
        self.begin_att(key);
    }

    /// Ends a connection, or an attempt, from this side and at once.
    pub(super) fn hang_up(&mut self, key: DeviceKey) {
        let Some(device) = self.device(key) else { return };
        match (device.link, device.peripheral) {
            (Link::Down, _) => return,
            (Link::Waiting { .. }, _) | (_, None) => {}
            (_, Some(peripheral)) => {
                self.act(peripheral, key, CentralAction::Disconnect);
                self.ending.insert((peripheral, key.adapter as Central));
            }
        }
        self.link_down(key, true);
    }

    /// The connection is over, or the attempt; `local`: this side has ended it.
    fn link_down(&mut self, key: DeviceKey, local: bool) {
        let object = Object::Device(key);
        let Some(device) = self.device_mut(key) else { return };
        let was = std::mem::replace(&mut device.link, Link::Down);
        let connected = matches!(was, Link::Linked { .. } | Link::Up);
        device.disconnect_at = None;
        device.level = Security::Plain;
        let connecting = std::mem::take(&mut device.connecting);
        let disconnecting = std::mem::take(&mut device.disconnecting);
        let resolved = std::mem::replace(&mut device.services_resolved, false);
        let removing = device.removing;
        // What could not be connected to is forgotten, unless there is a reason to remember it.
        let forgotten = !connected && !removing && !device.paired && !device.trusted;
        // Without kept keys, being paired ends with the connection.
        let unpaired = !device.bonded && std::mem::take(&mut device.paired);
        if resolved {
            self.changed(object, &DEVICE, "ServicesResolved");
        }
        // A connection that has been there, or was waved off, is another failure than none at all.
        let timed_out = local && matches!(was, Link::Waiting { until } | Link::Asked { until } if until <= self.now);
        let refusal = if connected || (local && !timed_out) { CANCELED } else { ABORTED };
        for call in connecting {
            self.refuse(&call, &refusal);
        }
        for call in disconnecting {
            self.reply(&call, &());
        }
        if unpaired {
            self.changed(object, &DEVICE, "Paired");
        }
        if connected {
            self.changed(object, &DEVICE, "Connected");
        }
        self.battery_gone(key);
        self.att_down(key);
        self.sessions_down(key);
        self.sockets_down(key);
        let refusal = if connected {
            named("org.bluez.Error.AuthenticationCanceled", "Authentication Canceled")
        } else {
            named("org.bluez.Error.ConnectionAttemptFailed", "Page Timeout")
        };
        self.fail_pairing(key, &refusal);
        let forgotten_at = self.now + self.settings.temporary_timeout_us;
        let now = self.now;
        if let Some(device) = self.device_mut(key) {
            // The daemon hears from the kernel that an attempt has failed, after it has answered.
            device.temporary |= forgotten;
            device.forgotten_at = Some(if forgotten { now } else { forgotten_at });
        }
        if removing && connected {
            self.flush_object(object);
            self.remove_device(key);
        }
    }

    /// A peripheral has left the air for good.
    pub(super) fn detached(&mut self, peripheral: PeripheralId) {
        self.peripherals.remove(&peripheral);
        let here = |device: &Device| {
            device.peripheral == Some(peripheral) && !matches!(device.link, Link::Down | Link::Waiting { .. })
        };
        let gone: Vec<_> = self.devices.iter().filter(|(_, device)| here(device)).map(|(key, _)| *key).collect();
        for key in gone {
            self.link_down(key, false);
        }
        self.ending.retain(|(id, _)| *id != peripheral);
    }

    /// The device, if the Attribute Protocol is there.
    pub(super) fn attached(&mut self, key: DeviceKey) -> Answer<&mut Device> {
        self.device_mut(key).filter(|device| device.link == Link::Up).ok_or(GATT_NOT_CONNECTED)
    }
}
