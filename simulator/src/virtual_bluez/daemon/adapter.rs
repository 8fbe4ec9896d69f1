//! `org.bluez.Adapter1`.

use zbus::Variant;

use super::connection::WAITING_MAX;
use super::device::Device;
use super::discovery::Filter;
use super::error::{Answer, BUSY, DOES_NOT_EXIST, INVALID_ARGUMENTS, NOT_READY, failed};
use super::interface::ADAPTER;
use super::path::Object;
use super::standard::path_argument;
use super::{Call, Daemon, Outcome};
use crate::gatt::{Address, Uuid};

/// Addresses of the adapters, one after the other.
const FIRST_ADDRESS: Address = Address([0xb7, 0x1c, 0x09, 0, 0, 0]);
/// Seconds (`DiscoverableTimeout`).
const DISCOVERABLE_TIMEOUT_S: u32 = 180;
/// Longest name of an adapter or a device in bytes, as the controller stores it.
pub(super) const NAME_MAX: usize = 248;

/// An adapter.
#[derive(Debug)]
pub(super) struct Adapter {
    address: Address,
    name: String,
    alias: Option<String>,
    pub(super) powered: bool,
    discoverable: bool,
    discoverable_timeout_s: u32,
    pub(super) pairable: bool,
    pairable_timeout_s: u32,
    pub(super) discovering: bool,
    /// Who discovers, and with which filter.
    pub(super) discoverers: Vec<(String, Option<Filter>)>,
    /// Filters of those who do not discover at the moment.
    pub(super) presets: Vec<(String, Filter)>,
    /// Calls of `StartDiscovery` that wait for the controller, and until when.
    pub(super) starting: Vec<Call>,
    pub(super) starts_at: Option<u64>,
    /// When advertisers are heard next.
    pub(super) report_at: Option<u64>,
}

impl Adapter {
    pub(super) fn new(number: usize) -> Self {
        Self {
            address: FIRST_ADDRESS.plus(number as u64),
            name: format!("brickproof-{number}"),
            alias: None,
            powered: true,
            discoverable: false,
            discoverable_timeout_s: DISCOVERABLE_TIMEOUT_S,
            pairable: false,
            pairable_timeout_s: 0,
            discovering: false,
            discoverers: Vec::new(),
            presets: Vec::new(),
            starting: Vec::new(),
            starts_at: None,
            report_at: None,
        }
    }
}

impl Daemon {
    pub(super) fn call_adapter(&mut self, call: &Call, number: usize, member: &str) -> Answer<Outcome> {
        match member {
            "StartDiscovery" => self.start_discovery(call, number),
            "StopDiscovery" => self.stop_discovery(call, number),
            "SetDiscoveryFilter" => self.set_discovery_filter(call, number),
            "GetDiscoveryFilters" => {
                self.reply(call, &super::discovery::KEYS.to_vec());
                Ok(Outcome::Replied)
            }
            _ => self.remove_device_called(call, number),
        }
    }

    pub(super) fn adapter_value(&self, number: usize, name: &str) -> Option<Variant<'static>> {
        let adapter = self.adapters.get(number)?;
        let text = |text: &str| Variant::from(text.to_owned());
        Some(match name {
            "Address" => text(&adapter.address.to_string()),
            "AddressType" => text("public"),
            "Name" => text(&adapter.name),
            "Alias" => text(adapter.alias.as_ref().unwrap_or(&adapter.name)),
            // A class is of BR/EDR.
            "Class" => Variant::from(0_u32),
            "Powered" => Variant::from(adapter.powered),
            "Discoverable" => Variant::from(adapter.discoverable),
            "DiscoverableTimeout" => Variant::from(adapter.discoverable_timeout_s),
            "Pairable" => Variant::from(adapter.pairable),
            "PairableTimeout" => Variant::from(adapter.pairable_timeout_s),
            "Discovering" => Variant::from(adapter.discovering),
            "UUIDs" => {
                let local = [Uuid::GATT, Uuid::GAP, Uuid::DEVICE_INFORMATION];
                Variant::from(local.map(|uuid| uuid.to_string()).to_vec())
            }
            "Modalias" => text("usb:v1D6Bp0246d0542"),
            "Roles" => Variant::from(vec!["central".to_owned(), "peripheral".to_owned()]),
            _ => return None,
        })
    }

    pub(super) fn advertising_manager_value(name: &str) -> Option<Variant<'static>> {
        Some(match name {
            "ActiveInstances" => Variant::from(0_u8),
            "SupportedInstances" => Variant::from(5_u8),
            "SupportedIncludes" => Variant::from(["tx-power", "appearance", "local-name"].map(str::to_owned).to_vec()),
            _ => return None,
        })
    }

    pub(super) fn set_adapter(
        &mut self,
        call: &Call,
        number: usize,
        name: &'static str,
        value: &Variant<'_>,
    ) -> Answer<Outcome> {
        let object = Object::Adapter(number);
        let Some(adapter) = self.adapters.get_mut(number) else { return Err(DOES_NOT_EXIST) };
        let flag = matches!(value, Variant::Bool(true));
        let seconds = if let Variant::U32(seconds) = value { *seconds } else { 0 };
        match name {
            "Powered" if flag == adapter.powered => return Ok(Outcome::Empty),
            "Powered" if flag => {
                adapter.powered = true;
                self.reply(call, &());
                self.changed(object, &ADAPTER, "Powered");
                return Ok(Outcome::Replied);
            }
            "Powered" => {
                self.power_off(call, number);
                return Ok(Outcome::Replied);
            }
            "Alias" => {
                let Variant::Str(alias) = value else { return Err(INVALID_ARGUMENTS) };
                if alias.len() > NAME_MAX {
                    return Err(INVALID_ARGUMENTS);
                }
                adapter.alias = Some(alias.to_string()).filter(|alias| !alias.is_empty());
            }
            "Discoverable" if adapter.discoverable_timeout_s > 0 && !adapter.powered => {
                return Err(failed("Not Powered"));
            }
            "Discoverable" if adapter.discoverable == flag => return Ok(Outcome::Empty),
            "Discoverable" => adapter.discoverable = flag,
            "Pairable" if adapter.pairable == flag => return Ok(Outcome::Empty),
            "Pairable" => adapter.pairable = flag,
            "DiscoverableTimeout" => adapter.discoverable_timeout_s = seconds,
            "PairableTimeout" => adapter.pairable_timeout_s = seconds,
            _ => return Err(INVALID_ARGUMENTS),
        }
        self.reply(call, &());
        self.changed(object, &ADAPTER, name);
        Ok(Outcome::Replied)
    }

    /// What nobody has connected to is forgotten, connections end, then the adapter is off.
    fn power_off(&mut self, call: &Call, number: usize) {
        let object = Object::Adapter(number);
        let here: Vec<_> = self.devices.keys().filter(|key| key.adapter == number).copied().collect();
        for key in &here {
            if self.device(*key).is_some_and(|device| device.temporary && !device.is_connected()) {
                self.remove_device(*key);
            }
        }
        for key in here {
            self.hang_up(key);
            // An attempt to connect has failed.
            if self.device(key).and_then(Device::expires_at).is_some_and(|at| at <= self.now) {
                self.remove_device(key);
            }
        }
        for starting in std::mem::take(&mut self.adapters[number].starting) {
            self.refuse(&starting, &BUSY);
        }
        self.reply(call, &());
        if let Some(adapter) = self.adapters.get_mut(number) {
            adapter.powered = false;
            adapter.discoverers.clear();
            adapter.presets.clear();
        }
        for property in ["Powered", "Discovering"] {
            self.changed(object, &ADAPTER, property);
        }
        self.end_discovery(number);
    }

    fn remove_device_called(&mut self, call: &Call, number: usize) -> Answer<Outcome> {
        let Some(Object::Device(key)) = path_argument(&call.message)? else { return Err(DOES_NOT_EXIST) };
        if key.adapter != number || self.device(key).is_none() {
            return Err(DOES_NOT_EXIST);
        }
        if !self.adapters[number].powered {
            return Err(NOT_READY);
        }
        if self.device(key).is_some_and(Device::is_connected) {
            // The reply lies between the end of the services and the end of the connection.
            if let Some(device) = self.device_mut(key) {
                if device.disconnecting.len() >= WAITING_MAX {
                    return Err(BUSY);
                }
                device.removing = true;
                device.disconnecting.push(call.clone());
            }
            self.begin_disconnect(key);
            return Ok(Outcome::Later);
        }
        self.hang_up(key);
        self.remove_device(key);
        Ok(Outcome::Empty)
    }
}
