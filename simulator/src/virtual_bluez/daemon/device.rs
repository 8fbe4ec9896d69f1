//! `org.bluez.Device1`: what is known of a device.

use std::collections::BTreeMap;

use zbus::{ObjectPath, Variant};

use super::adapter::NAME_MAX;
use super::att::Att;
use super::connection::Link;
use super::error::{Answer, DOES_NOT_EXIST, INVALID_ARGUMENTS, NOT_READY, failed, named};
use super::interface::DEVICE;
use super::pairing::Pairing;
use super::path::{DeviceKey, Object};
use super::services::{KnownCharacteristic, KnownDescriptor, KnownService};
use super::{Call, Daemon, Outcome};
use crate::gatt::{AddressKind, Advertisement, CentralAction, MTU_MIN, Security, Uuid};
use crate::virtual_bluez::port::PeripheralId;

/// A device as one adapter knows it.
#[derive(Debug)]
pub(super) struct Device {
    kind: AddressKind,
    pub(super) name: Option<String>,
    alias: Option<String>,
    pub(super) appearance: Option<u16>,
    pub(super) rssi: Option<i16>,
    pub(super) tx_power: Option<i16>,
    /// Services that it advertises.
    pub(super) advertised: Vec<Uuid>,
    pub(super) manufacturer_data: Vec<(u16, Vec<u8>)>,
    pub(super) service_data: Vec<(Uuid, Vec<u8>)>,
    pub(super) connectable: bool,
    /// Forgotten when it is not heard of for some time.
    pub(super) temporary: bool,
    pub(super) forgotten_at: Option<u64>,
    pub(super) trusted: bool,
    blocked: bool,
    pub(super) paired: bool,
    pub(super) bonded: bool,
    /// Who has been heard under this address.
    pub(super) peripheral: Option<PeripheralId>,
    pub(super) link: Link,
    /// Protection of the link.
    pub(super) level: Security,
    /// ATT MTU in force.
    pub(super) mtu: u16,
    pub(super) att: Att,
    /// Services were discovered at least once.
    pub(super) resolved_once: bool,
    pub(super) services_resolved: bool,
    pub(super) services: Vec<KnownService>,
    /// By the handle of their declaration.
    pub(super) characteristics: BTreeMap<u16, KnownCharacteristic>,
    /// Services that are not shown as objects, by their UUIDs.
    pub(super) hidden: Vec<Uuid>,
    /// Percentage, once it is known.
    pub(super) battery: Option<u8>,
    /// Who has made it, once that was read.
    pub(super) modalias: Option<String>,
    pub(super) connecting: Vec<Call>,
    pub(super) disconnecting: Vec<Call>,
    pub(super) disconnect_at: Option<u64>,
    /// To be removed once the connection has ended.
    pub(super) removing: bool,
    pub(super) pairing: Option<Pairing>,
}

impl Device {
    /// A device that has just been heard of.
    pub(super) fn new(advertisement: &Advertisement) -> Self {
        Self {
            kind: advertisement.address_kind,
            name: None,
            alias: None,
            appearance: None,
            rssi: None,
            tx_power: None,
            advertised: Vec::new(),
            manufacturer_data: Vec::new(),
            service_data: Vec::new(),
            connectable: advertisement.connectable,
            temporary: true,
            forgotten_at: None,
            trusted: false,
            blocked: false,
            paired: false,
            bonded: false,
            peripheral: None,
            link: Link::Down,
            level: Security::Plain,
            mtu: MTU_MIN,
            att: Att::default(),
            resolved_once: false,
            services_resolved: false,
            services: Vec::new(),
            characteristics: BTreeMap::new(),
            hidden: Vec::new(),
            battery: None,
            modalias: None,
            connecting: Vec::new(),
            disconnecting: Vec::new(),
            disconnect_at: None,
            removing: false,
            pairing: None,
        }
    }

    /// No connection, and none that is being made.
    pub(super) fn is_down(&self) -> bool {
        self.link == Link::Down
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Linked { .. } | Link::Up)
    }

    /// A pairing has succeeded, and is answered when the services are known.
    pub(super) fn is_awaited_by_pairing(&self) -> bool {
        self.pairing.as_ref().is_some_and(Pairing::is_almost_over)
    }

    /// When it is forgotten.
    pub(super) fn expires_at(&self) -> Option<u64> {
        self.forgotten_at.filter(|_| self.temporary && self.is_down())
    }

    pub(super) fn service(&self, handle: u16) -> Option<&KnownService> {
        self.services.iter().find(|service| service.handle == handle)
    }

    pub(super) fn characteristic(&self, handle: u16) -> Option<&KnownCharacteristic> {
        self.characteristics.get(&handle)
    }

    pub(super) fn descriptor(&self, handle: u16) -> Option<(&KnownCharacteristic, &KnownDescriptor)> {
        // Descriptors follow the declaration of their characteristic.
        let (_, owner) = self.characteristics.range(..handle).next_back()?;
        Some((owner, owner.descriptors.iter().find(|descriptor| descriptor.handle == handle)?))
    }

    /// Objects below it, parents before children.
    pub(super) fn objects(&self, key: DeviceKey) -> Vec<Object> {
        let mut objects = Vec::new();
        for service in &self.services {
            objects.push(Object::Service(key, service.handle));
            for (handle, characteristic) in self.characteristics.range(service.handle..=service.end) {
                objects.push(Object::Characteristic(key, service.handle, *handle));
                objects.extend(
                    characteristic
                        .descriptors
                        .iter()
                        .map(|descriptor| Object::Descriptor(key, service.handle, *handle, descriptor.handle)),
                );
            }
        }
        objects
    }

    fn uuids(&self) -> Vec<String> {
        let mut uuids = if self.resolved_once {
            self.services.iter().map(|service| service.uuid).chain(self.hidden.iter().copied()).collect()
        } else {
            self.advertised.clone()
        };
        uuids.sort_unstable();
        uuids.dedup();
        uuids.into_iter().map(|uuid| uuid.to_string()).collect()
    }
}

impl Daemon {
    pub(super) fn call_device(&mut self, call: &Call, key: DeviceKey, member: &str) -> Answer<Outcome> {
        match member {
            "Connect" => self.connect(call, key),
            "Disconnect" => self.disconnect(call, key),
            "Pair" => self.pair(call, key),
            "CancelPairing" => self.cancel_pairing(call, key),
            "DisconnectProfile" => Err(INVALID_ARGUMENTS),
            // Profiles are those of BR/EDR.
            _ if !self.adapters[key.adapter].powered => {
                Err(super::error::Refusal { text: "br-connection-adapter-not-powered".into(), ..NOT_READY })
            }
            _ => Err(failed("br-connection-sdp-search")),
        }
    }

    pub(super) fn device_value(&self, key: DeviceKey, name: &str) -> Option<Variant<'static>> {
        let device = self.device(key)?;
        let flag = Variant::from;
        Some(match name {
            "Address" => Variant::from(key.address.to_string()),
            "AddressType" => Variant::from(match device.kind {
                AddressKind::Public => "public",
                AddressKind::Random => "random",
            }),
            "Name" => Variant::from(device.name.clone()?),
            "Alias" => {
                let fallback = || key.address.to_string().replace(':', "-");
                Variant::from(device.alias.clone().or_else(|| device.name.clone()).unwrap_or_else(fallback))
            }
            "Appearance" => Variant::from(device.appearance?),
            "Icon" => Variant::from(icon(device.appearance?)?),
            "Paired" => flag(device.paired),
            "Bonded" => flag(device.bonded),
            "Trusted" => flag(device.trusted),
            "Blocked" => flag(device.blocked),
            "LegacyPairing" => flag(false),
            "RSSI" => Variant::from(device.rssi?),
            "Connected" => flag(device.is_connected()),
            "UUIDs" => Variant::from(device.uuids()),
            "Modalias" => Variant::from(device.modalias.clone()?),
            "Adapter" => Variant::from(Object::Adapter(key.adapter).path()),
            "ManufacturerData" if !device.manufacturer_data.is_empty() => {
                let entries = device.manufacturer_data.iter();
                Variant::from(entries.map(|(id, data)| (*id, Variant::from(data.clone()))).collect::<BTreeMap<_, _>>())
            }
            "ServiceData" if !device.service_data.is_empty() => {
                let entries = device.service_data.iter();
                let entry = |(uuid, data): &(Uuid, Vec<u8>)| (uuid.to_string(), Variant::from(data.clone()));
                Variant::from(entries.map(entry).collect::<BTreeMap<_, _>>())
            }
            "TxPower" => Variant::from(device.tx_power?),
            "ServicesResolved" => flag(device.services_resolved),
            _ => return None,
        })
    }

    pub(super) fn set_device(
        &mut self,
        call: &Call,
        key: DeviceKey,
        name: &'static str,
        value: &Variant<'_>,
    ) -> Answer<Outcome> {
        let on = matches!(value, Variant::Bool(true));
        let Some(device) = self.device_mut(key) else { return Err(DOES_NOT_EXIST) };
        let changed = match (name, value) {
            ("Trusted", _) => std::mem::replace(&mut device.trusted, on) != on,
            ("Blocked", _) => std::mem::replace(&mut device.blocked, on) != on,
            ("Alias", Variant::Str(alias)) if alias.len() <= NAME_MAX => {
                let alias = Some(alias.to_string()).filter(|alias| !alias.is_empty());
                std::mem::replace(&mut device.alias, alias.clone()) != alias
            }
            _ => return Err(INVALID_ARGUMENTS),
        };
        if changed {
            if name == "Blocked" && on {
                self.set_permanent(key);
            }
            self.changed(Object::Device(key), &DEVICE, name);
        }
        self.reply(call, &());
        if changed && name == "Blocked" && on {
            // The kernel ends the connection, and the daemon hears of it.
            self.hang_up(key);
        }
        Ok(Outcome::Replied)
    }

    pub(super) fn is_blocked(&self, key: DeviceKey) -> bool {
        self.device(key).is_some_and(|device| device.blocked)
    }

    /// It is remembered from now on, unless its address is one that it changes every few minutes.
    pub(super) fn set_permanent(&mut self, key: DeviceKey) {
        if let Some(device) = self.device_mut(key)
            && (device.kind == AddressKind::Public || key.address.0[0] >> 6 == 0b11)
        {
            device.temporary = false;
        }
    }

    /// A pairing that came to nothing leaves nothing behind.
    pub(super) fn set_temporary(&mut self, key: DeviceKey) {
        let forgotten_at = self.now + self.settings.temporary_timeout_us;
        if let Some(device) = self.device_mut(key)
            && !device.paired
            && !device.trusted
        {
            device.temporary = true;
            device.forgotten_at = Some(forgotten_at);
        }
    }

    /// Forgets a device, its keys included.
    pub(super) fn remove_device(&mut self, key: DeviceKey) {
        // An attempt to connect ends with it.
        self.hang_up(key);
        self.fail_pairing(key, &named("org.bluez.Error.ConnectionAttemptFailed", "Page Timeout"));
        let Some(device) = self.device_mut(key) else { return };
        device.removing = true;
        if let (true, Some(peripheral)) = (device.bonded, device.peripheral) {
            self.act(peripheral, key, CentralAction::ForgetKeys);
        }
        self.remove_services(key, |_| true);
        let mut interfaces = vec!["org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable"];
        interfaces.push(DEVICE.name);
        if self.device(key).is_some_and(|device| device.battery.is_some()) {
            interfaces.push(super::interface::BATTERY.name);
        }
        self.removed(Object::Device(key), interfaces);
        self.devices.remove(&key);
    }
}

/// Icon of an appearance, as BlueZ names the ones that updaters meet.
fn icon(appearance: u16) -> Option<&'static str> {
    Some(match appearance >> 6 {
        0x01 => "phone",
        0x02 => "computer",
        0x05 => "video-display",
        0x0f => match appearance & 0x3f {
            0x01 => "input-keyboard",
            0x02 => "input-mouse",
            0x03 | 0x04 => "input-gaming",
            0x05 => "input-tablet",
            _ => return None,
        },
        _ => return None,
    })
}

/// The path of an object as a value.
pub(super) fn path_value(object: Object) -> Variant<'static> {
    let path: ObjectPath<'static> = object.path();
    Variant::from(path)
}
