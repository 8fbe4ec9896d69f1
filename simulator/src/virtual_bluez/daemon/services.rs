//! Which objects stand for the attributes of a peripheral (bluez 5.66: `src/gatt-client.c`, `src/device.c`).
//!
//! Objects stay after a connection (`[GATT] Cache = always`). A service that is found again where it was, under the
//! same UUID, is kept as it is known, without a look at its characteristics: that is BlueZ's cache, and its trap.
//! Generic Access is claimed by the daemon itself and not shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use zbus::{ObjectPath, Variant};

use super::att::Purpose;
use super::connection::Link;
use super::device::path_value;
use super::interface::{BATTERY, CHARACTERISTIC, DESCRIPTOR, DEVICE, SERVICE};
use super::notify::Subscription;
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, SocketId};
use crate::gatt::table::{Characteristic, Properties, Service, Table};
use crate::gatt::{CentralAction, Uuid};

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownService {
    pub(super) handle: u16,
    pub(super) end: u16,
    pub(super) uuid: Uuid,
    primary: bool,
}

impl KnownService {
    fn of(service: &Service) -> Self {
        Self { handle: service.handle, end: service.end, uuid: service.uuid, primary: service.primary }
    }
}

/// A read that is under way: from which offset, and who waits for it.
pub(super) type Reading = Option<(u16, Vec<Call>)>;

/// A characteristic.
#[derive(Debug)]
pub(super) struct KnownCharacteristic {
    pub(super) service: u16,
    pub(super) info: Characteristic,
    pub(super) value: Vec<u8>,
    pub(super) reading: Reading,
    pub(super) writing: bool,
    pub(super) subscription: Subscription,
    pub(super) write_socket: Option<SocketId>,
    pub(super) notify_socket: Option<SocketId>,
    pub(super) descriptors: Vec<KnownDescriptor>,
}

/// A descriptor.
#[derive(Debug)]
pub(super) struct KnownDescriptor {
    pub(super) handle: u16,
    uuid: Uuid,
    pub(super) value: Vec<u8>,
    pub(super) reading: Reading,
    pub(super) writing: bool,
}

impl KnownDescriptor {
    /// Whether only `StartNotify` writes it.
    pub(super) fn is_ccc(&self) -> bool {
        self.uuid == Uuid::CCC
    }
}

impl KnownCharacteristic {
    fn new(service: u16, info: &Characteristic) -> Self {
        let descriptor = |descriptor: &crate::gatt::Descriptor| KnownDescriptor {
            handle: descriptor.handle,
            uuid: descriptor.uuid,
            value: Vec::new(),
            reading: None,
            writing: false,
        };
        Self {
            service,
            info: info.clone(),
            value: Vec::new(),
            reading: None,
            writing: false,
            subscription: Subscription::default(),
            write_socket: None,
            notify_socket: None,
            descriptors: info.descriptors.iter().map(descriptor).collect(),
        }
    }

    pub(super) fn has(&self, properties: Properties) -> bool {
        self.info.properties.has(properties)
    }

    /// Whether it notifies or indicates.
    pub(super) fn tells(&self) -> bool {
        self.has(Properties::NOTIFY) || self.has(Properties::INDICATE)
    }
}

/// Flags in BlueZ's order.
const FLAGS: [(Properties, &str); 8] = [
    (Properties::BROADCAST, "broadcast"),
    (Properties::READ, "read"),
    (Properties::WRITE_WITHOUT_RESPONSE, "write-without-response"),
    (Properties::WRITE, "write"),
    (Properties::NOTIFY, "notify"),
    (Properties::INDICATE, "indicate"),
    (Properties::SIGNED_WRITE, "authenticated-signed-writes"),
    (Properties::EXTENDED, "extended-properties"),
];

impl Daemon {
    /// The attributes of a peripheral were found.
    ///
    /// BlueZ reads their hash before it looks for them, and knows its value when it shows them.
    pub(super) fn discovered(&mut self, key: DeviceKey, table: &Arc<Table>) {
        let Some(hash) = table.characteristic(Uuid::DATABASE_HASH) else { return self.known(key, table) };
        let read = CentralAction::Read { handle: hash.value_handle, offset: 0 };
        self.request(key, read, Purpose::Hash(Arc::clone(table)));
    }

    pub(super) fn hash_read(&mut self, key: DeviceKey, table: &Table, value: Vec<u8>) {
        self.know(key, table);
        let characteristics = self.device_mut(key).map(|device| device.characteristics.values_mut());
        let hash = characteristics.into_iter().flatten().find(|known| known.info.uuid == Uuid::DATABASE_HASH);
        if let Some(hash) = hash {
            hash.value = value;
        }
        self.shown(key, table);
    }

    /// The attributes are known: objects are made of them.
    pub(super) fn known(&mut self, key: DeviceKey, table: &Table) {
        self.know(key, table);
        self.shown(key, table);
    }

    fn know(&mut self, key: DeviceKey, table: &Table) {
        if self.device(key).is_some_and(|device| device.is_awaited_by_pairing() && !device.resolved_once) {
            // The reply to `Pair` sends everything off, and the device was the first to change.
            self.changed(Object::Device(key), &DEVICE, "UUIDs");
        }
        let Some(device) = self.device_mut(key) else { return };
        let shown: Vec<_> = table.services.iter().filter(|service| service.uuid != Uuid::GAP).collect();
        device.hidden = table.services.iter().map(|service| service.uuid).filter(|uuid| *uuid == Uuid::GAP).collect();
        let found: Vec<_> = shown.iter().map(|service| KnownService::of(service)).collect();
        self.remove_services(key, |known| !found.contains(known));
        let known_before = |device: &super::device::Device, service: &Service| {
            !device.resolved_once || device.services.iter().any(|known| known.uuid == service.uuid)
        };
        for service in shown {
            if self.device(key).is_some_and(|device| !known_before(device, service)) {
                self.changed(Object::Device(key), &DEVICE, "UUIDs");
            }
            self.add_service(key, service);
        }
    }

    fn shown(&mut self, key: DeviceKey, table: &Table) {
        self.resolved(key);
        if let Some(product) = table.characteristic(Uuid::PNP_ID) {
            let read = CentralAction::Read { handle: product.value_handle, offset: 0 };
            self.request(key, read, Purpose::Product);
        }
        self.watch_battery(key, table);
        // BlueZ asks to be told when the attributes change.
        if let Some(ccc) = table.characteristic(Uuid::SERVICE_CHANGED).and_then(Characteristic::ccc) {
            self.write_quietly(key, ccc, [2, 0], Purpose::Nothing);
        }
    }

    /// The discovery is over, whatever it has found.
    pub(super) fn resolved(&mut self, key: DeviceKey) {
        let object = Object::Device(key);
        let Some(device) = self.device_mut(key) else { return };
        let first = !std::mem::replace(&mut device.resolved_once, true);
        let newly = !std::mem::replace(&mut device.services_resolved, true);
        if first {
            self.changed(object, &DEVICE, "UUIDs");
        }
        if newly {
            self.changed(object, &DEVICE, "ServicesResolved");
        }
        self.pairing_resolved(key);
        self.acquire_resolved(key);
    }

    fn add_service(&mut self, key: DeviceKey, service: &Service) {
        let Some(device) = self.device_mut(key) else { return };
        let known = KnownService::of(service);
        if device.services.contains(&known) {
            return;
        }
        let at = device.services.partition_point(|other| other.handle < known.handle);
        device.services.insert(at, known);
        let mut objects = vec![Object::Service(key, service.handle)];
        for info in &service.characteristics {
            device.characteristics.insert(info.handle, KnownCharacteristic::new(service.handle, info));
            objects.push(Object::Characteristic(key, service.handle, info.handle));
            let descriptors = info.descriptors.iter();
            objects.extend(
                descriptors.map(|descriptor| Object::Descriptor(key, service.handle, info.handle, descriptor.handle)),
            );
        }
        for object in objects {
            self.added(object);
        }
    }

    /// Removes the objects of services, children before parents.
    pub(super) fn remove_services(&mut self, key: DeviceKey, gone: impl Fn(&KnownService) -> bool) {
        let Some(device) = self.device(key) else { return };
        let services: Vec<_> = device.services.iter().filter(|service| gone(service)).cloned().collect();
        for service in services {
            let Some(device) = self.device(key) else { return };
            let below: Vec<_> = device.characteristics.range(service.handle..=service.end).map(|(at, _)| *at).collect();
            for handle in below {
                self.remove_characteristic(key, service.handle, handle);
            }
            self.removed(Object::Service(key, service.handle), removed_interfaces(SERVICE.name));
            self.flush_object(Object::Service(key, service.handle));
            if let Some(device) = self.device_mut(key) {
                device.services.retain(|known| *known != service);
                // A device that goes, too, says no more of itself.
                if !device.removing {
                    self.changed(Object::Device(key), &DEVICE, "UUIDs");
                }
            }
        }
    }

    fn remove_characteristic(&mut self, key: DeviceKey, service: u16, handle: u16) {
        self.close_sockets(key, handle);
        let Some(characteristic) = self.device(key).and_then(|device| device.characteristic(handle)) else { return };
        let descriptors: Vec<_> = characteristic.descriptors.iter().map(|descriptor| descriptor.handle).collect();
        for descriptor in descriptors {
            let object = Object::Descriptor(key, service, handle, descriptor);
            self.removed(object, removed_interfaces(DESCRIPTOR.name));
            self.flush_object(object);
        }
        let object = Object::Characteristic(key, service, handle);
        self.removed(object, removed_interfaces(CHARACTERISTIC.name));
        self.flush_object(object);
        if let Some(gone) = self.device_mut(key).and_then(|device| device.characteristics.remove(&handle)) {
            self.abandon(gone);
        }
    }

    /// An indication of the attributes that have changed.
    pub(super) fn service_changed(&mut self, key: DeviceKey) {
        self.request(key, CentralAction::Discover, Purpose::Discovery);
    }

    /// Who has made the device, as a string of the kernel (bluez 5.66: `src/shared/util.c`, `bt_modalias`).
    pub(super) fn product_read(&mut self, key: DeviceKey, value: &[u8]) {
        let [source, v0, v1, p0, p1, d0, d1, ..] = value else { return };
        let [vendor, product, version] =
            [[v0, v1], [p0, p1], [d0, d1]].map(|[low, high]| u16::from_le_bytes([*low, *high]));
        let source = match source {
            1 => "bluetooth",
            2 => "usb",
            _ => return,
        };
        let modalias = Some(format!("{source}:v{vendor:04X}p{product:04X}d{version:04X}"));
        let Some(device) = self.device_mut(key) else { return };
        if std::mem::replace(&mut device.modalias, modalias.clone()) != modalias {
            self.changed(Object::Device(key), &DEVICE, "Modalias");
        }
    }

    fn watch_battery(&mut self, key: DeviceKey, table: &Table) {
        let level = table.services.iter().filter(|service| service.uuid == Uuid::BATTERY).find_map(|service| {
            service.characteristics.iter().find(|characteristic| characteristic.uuid == Uuid::BATTERY_LEVEL)
        });
        let Some(level) = level else { return };
        self.request(key, CentralAction::Read { handle: level.value_handle, offset: 0 }, Purpose::Battery);
        if let Some(ccc) = level.ccc().filter(|_| level.properties.has(Properties::NOTIFY)) {
            self.write_quietly(key, ccc, [1, 0], Purpose::Nothing);
        }
    }

    /// The level of the battery was read, or notified.
    pub(super) fn battery_read(&mut self, key: DeviceKey, value: &[u8]) {
        let Some(percent) = value.first().copied().filter(|percent| *percent <= 100) else { return };
        let Some(device) = self.device_mut(key).filter(|device| device.link == Link::Up) else { return };
        match device.battery.replace(percent) {
            Some(known) if known == percent => {}
            Some(_) => self.changed(Object::Device(key), &BATTERY, "Percentage"),
            None => self.battery_appeared(key),
        }
    }

    pub(super) fn battery_gone(&mut self, key: DeviceKey) {
        if self.device_mut(key).is_some_and(|device| device.battery.take().is_some()) {
            self.removed(Object::Device(key), vec![BATTERY.name]);
        }
    }

    fn battery_appeared(&mut self, key: DeviceKey) {
        self.flush();
        let percent = self.device(key).and_then(|device| device.battery).unwrap_or_default();
        let values = BTreeMap::from([("Percentage", Variant::from(percent))]);
        let interfaces = BTreeMap::from([(BATTERY.name, values)]);
        self.signal_added(Object::Device(key), &interfaces);
    }

    pub(super) fn service_value(&self, key: DeviceKey, handle: u16, name: &str) -> Option<Variant<'static>> {
        let service = self.device(key)?.service(handle)?;
        Some(match name {
            "UUID" => Variant::from(service.uuid.to_string()),
            "Device" => path_value(Object::Device(key)),
            "Primary" => Variant::from(service.primary),
            "Includes" => Variant::from(Vec::<ObjectPath<'static>>::new()),
            _ => return None,
        })
    }

    pub(super) fn characteristic_value(&self, key: DeviceKey, handle: u16, name: &str) -> Option<Variant<'static>> {
        let device = self.device(key)?;
        let known = device.characteristic(handle)?;
        Some(match name {
            "UUID" => Variant::from(known.info.uuid.to_string()),
            "Service" => path_value(Object::Service(key, known.service)),
            "Value" => Variant::from(known.value.clone()),
            "Notifying" if known.tells() => Variant::from(known.subscription.notifying),
            "Flags" => {
                let flags = FLAGS.iter().filter(|(properties, _)| known.has(*properties));
                Variant::from(flags.map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>())
            }
            "WriteAcquired" if known.has(Properties::WRITE_WITHOUT_RESPONSE) => {
                Variant::from(known.write_socket.is_some())
            }
            "NotifyAcquired" if known.has(Properties::NOTIFY) => Variant::from(known.notify_socket.is_some()),
            "MTU" if device.link == Link::Up => Variant::from(device.mtu),
            _ => return None,
        })
    }

    pub(super) fn descriptor_value(&self, key: DeviceKey, handle: u16, name: &str) -> Option<Variant<'static>> {
        let (owner, descriptor) = self.device(key)?.descriptor(handle)?;
        Some(match name {
            "UUID" => Variant::from(descriptor.uuid.to_string()),
            "Characteristic" => path_value(Object::Characteristic(key, owner.service, owner.info.handle)),
            "Value" => Variant::from(descriptor.value.clone()),
            _ => return None,
        })
    }
}

fn removed_interfaces(own: &'static str) -> Vec<&'static str> {
    vec!["org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable", own]
}
