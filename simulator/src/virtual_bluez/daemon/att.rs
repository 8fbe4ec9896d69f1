//! The requests of a connection: one at a time, and repeated once when the link had to be protected first (bluez
//! 5.66: `src/shared/att.c`, `handle_error_rsp`).
//!
//! | refused with | the link is | tried next |
//! |---|---|---|
//! | 0x0f | plain | encrypted |
//! | 0x05 | plain | encrypted |
//! | 0x05 | encrypted | authenticated |
//! | 0x05 | authenticated | authenticated, with LE Secure Connections |
//! | anything else, or a second time | | the program is told |

use std::collections::VecDeque;
use std::sync::Arc;

use super::connection::Link;
use super::path::DeviceKey;
use super::{Call, Daemon, SocketId};
use crate::gatt::table::Table;
use crate::gatt::{AttError, CentralAction, GattEvent, MTU_MAX, Security, WriteKind};

/// Requests of one connection that wait; programs that do not wait for answers are refused beyond it.
const QUEUE_MAX: usize = 1024;
/// A request that is not answered for so long ends the connection (Core specification, volume 3, part F, 3.3.3), in
/// microseconds.
const TRANSACTION_US: u64 = 30_000_000;
/// What programs are told about requests that were under way when a connection ended.
const UNLIKELY: AttError = AttError(0x0e);

/// Why a request is made, and who waits for it.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The MTU.
    Mtu,
    /// The services.
    Discovery,
    /// A program reads a characteristic (declaration handle) or a descriptor.
    Read(u16),
    /// A program writes; the same.
    Write(u16, Call),
    /// Notifications of a characteristic are switched on.
    Subscribe(u16),
    /// The same for a socket.
    SubscribeSocket(SocketId, Call),
    /// They are switched on again after a reconnect.
    Resubscribe(u16),
    /// The level of the battery.
    Battery,
    /// Who has made the device.
    Product,
    /// The hash of these attributes, before they are shown.
    Hash(Arc<Table>),
    /// Nobody waits.
    Nothing,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    action: CentralAction,
    pub(super) purpose: Purpose,
    retried: bool,
}

/// The requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Att {
    queue: VecDeque<Request>,
    under_way: Option<Request>,
    /// When the request that is under way is given up, and the connection with it.
    until: u64,
    /// Waits for the link to be protected.
    held: Option<Request>,
}

impl Att {
    /// When the request that is under way is given up.
    pub(super) fn gives_up_at(&self) -> Option<u64> {
        self.under_way.as_ref().map(|_| self.until)
    }
}

impl Daemon {
    /// The first requests of a connection.
    pub(super) fn begin_att(&mut self, key: DeviceKey) {
        self.request(key, CentralAction::ExchangeMtu(MTU_MAX), Purpose::Mtu);
        self.resubscribe(key);
        self.request(key, CentralAction::Discover, Purpose::Discovery);
    }

    /// Puts a request in; `false` when too many wait already.
    pub(super) fn request(&mut self, key: DeviceKey, action: CentralAction, purpose: Purpose) -> bool {
        let Some(device) = self.device_mut(key).filter(|device| device.link == Link::Up) else { return false };
        if device.att.queue.len() >= QUEUE_MAX {
            return false;
        }
        device.att.queue.push_back(Request { action, purpose, retried: false });
        self.next_request(key);
        true
    }

    /// Writes an attribute with a response that nobody waits for.
    pub(super) fn write_quietly(&mut self, key: DeviceKey, handle: u16, value: [u8; 2], purpose: Purpose) -> bool {
        self.request(key, CentralAction::Write { handle, value: value.to_vec(), kind: WriteKind::Request }, purpose)
    }

    fn next_request(&mut self, key: DeviceKey) {
        let until = self.now + TRANSACTION_US;
        let Some(device) = self.device_mut(key) else { return };
        let (peripheral, att) = (device.peripheral, &mut device.att);
        if att.under_way.is_some() || att.held.is_some() {
            return;
        }
        let (Some(request), Some(peripheral)) = (att.queue.pop_front(), peripheral) else { return };
        let action = request.action.clone();
        att.under_way = Some(request);
        att.until = until;
        self.act(peripheral, key, action);
    }

    /// The peripheral has answered the request that is under way.
    pub(super) fn att_answered(&mut self, key: DeviceKey, event: GattEvent) {
        let Some(device) = self.device_mut(key) else { return };
        // What answers something else was not asked for.
        let Some(request) = device.att.under_way.take_if(|request| answers(&request.action, &event)) else { return };
        if let GattEvent::Error { error, .. } = event
            && error.is_security()
            && !request.retried
            && let Some(wanted) = self.device(key).and_then(|device| next_level(error, device.level))
        {
            if let Some(device) = self.device_mut(key) {
                device.att.held = Some(Request { retried: true, ..request });
            }
            return self.protect(key, wanted);
        }
        match event {
            GattEvent::Error { error, .. } => self.completed(key, request.purpose, Err(error)),
            event => self.completed(key, request.purpose, Ok(event)),
        }
        self.next_request(key);
    }

    /// The link was protected, or could not be: what was held back is tried again.
    pub(super) fn att_released(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        if let Some(held) = device.att.held.take() {
            device.att.queue.push_front(held);
        }
        self.next_request(key);
    }

    /// The connection is over, and everything that was asked on it.
    pub(super) fn att_down(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        let Att { queue, under_way, held, .. } = std::mem::take(&mut device.att);
        for request in under_way.into_iter().chain(held).chain(queue) {
            self.completed(key, request.purpose, Err(UNLIKELY));
        }
    }

    fn completed(&mut self, key: DeviceKey, purpose: Purpose, result: Result<GattEvent, AttError>) {
        match (purpose, result) {
            (Purpose::Mtu, Ok(GattEvent::Mtu(mtu))) => {
                if let Some(device) = self.device_mut(key) {
                    device.mtu = mtu;
                }
            }
            (Purpose::Discovery, Ok(GattEvent::Discovered(table))) => self.discovered(key, &table),
            // What could not be looked at is over, too; a connection that has ended resolves nothing.
            (Purpose::Discovery, Err(_)) if self.device(key).is_some_and(|device| device.link == Link::Up) => {
                self.resolved(key);
            }
            (Purpose::Read(handle), Ok(GattEvent::Read { value, .. })) => self.read_done(key, handle, Ok(value)),
            (Purpose::Read(handle), Err(error)) => self.read_done(key, handle, Err(error)),
            (Purpose::Write(handle, call), result) => self.write_done(key, handle, &call, result.err()),
            (Purpose::Subscribe(handle), result) => self.subscribed(key, handle, result.err()),
            (Purpose::SubscribeSocket(socket, call), result) => self.socket_subscribed(socket, &call, result.err()),
            (Purpose::Resubscribe(handle), Err(_)) => self.resubscription_failed(key, handle),
            (Purpose::Battery, Ok(GattEvent::Read { value, .. })) => self.battery_read(key, &value),
            (Purpose::Product, Ok(GattEvent::Read { value, .. })) => self.product_read(key, &value),
            (Purpose::Hash(table), Ok(GattEvent::Read { value, .. })) => self.hash_read(key, &table, value),
            (Purpose::Hash(table), _) if self.device(key).is_some_and(|device| device.link == Link::Up) => {
                self.known(key, &table);
            }
            (
                Purpose::Mtu
                | Purpose::Discovery
                | Purpose::Read(_)
                | Purpose::Resubscribe(_)
                | Purpose::Battery
                | Purpose::Product
                | Purpose::Hash(_)
                | Purpose::Nothing,
                _,
            ) => {}
        }
    }
}

/// Whether this is an answer to that.
fn answers(action: &CentralAction, event: &GattEvent) -> bool {
    match (action, event) {
        (CentralAction::ExchangeMtu(_), GattEvent::Mtu(_)) | (CentralAction::Discover, GattEvent::Discovered(_)) => {
            true
        }
        (CentralAction::Read { handle, .. }, GattEvent::Read { handle: read, .. }) => handle == read,
        (CentralAction::Write { handle, .. }, GattEvent::Written { handle: written }) => handle == written,
        (
            CentralAction::Read { handle, .. } | CentralAction::Write { handle, .. },
            GattEvent::Error { handle: refused, .. },
        ) => handle == refused,
        (CentralAction::ExchangeMtu(_) | CentralAction::Discover, GattEvent::Error { .. }) => true,
        _ => false,
    }
}

/// What is tried after a refusal.
fn next_level(error: AttError, level: Security) -> Option<Security> {
    match (error, level) {
        (_, Security::Plain) => Some(Security::Encrypted),
        (AttError::INSUFFICIENT_AUTHENTICATION, Security::Encrypted) => Some(Security::Authenticated),
        (AttError::INSUFFICIENT_AUTHENTICATION, Security::Authenticated) => Some(Security::SecureConnections),
        _ => None,
    }
}
