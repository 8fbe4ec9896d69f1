//! Discovery: filters of programs, and which advertisements become devices (bluez 5.66: `src/adapter.c`,
//! `btd_adapter_update_found_device`).
//!
//! | | without any filter | with a filter of any program |
//! |---|---|---|
//! | advertisers without discoverable flags | get no object | get one |
//! | `RSSI` is told | when it has changed by 8 dBm | with every report |
//!
//! Structures of other types are shown in `AdvertisingData` alone, which is experimental, and so not there (`src/device.c`).
//!
//! The thresholds that all programs agree on are the kernel's part: what does not pass them is never heard of.

use std::collections::HashMap;

use zbus::Variant;

use super::adapter::Adapter;
use super::device::Device;
use super::error::{Answer, BUSY, INVALID_ARGUMENTS, NOT_READY, failed};
use super::interface::{ADAPTER, DEVICE};
use super::path::{DeviceKey, Object};
use super::{Call, Daemon, Outcome};
use crate::gatt::{Advertisement, Uuid};
use crate::virtual_bluez::port::PeripheralId;

/// Keys of a filter.
pub(super) const KEYS: [&str; 7] =
    ["UUIDs", "RSSI", "Pathloss", "Transport", "DuplicateData", "Discoverable", "Pattern"];
/// From the call of `StartDiscovery` to the first ear of the controller, in microseconds.
const START_US: u64 = 1_000;
/// From then to the first report, in microseconds.
const FIRST_REPORT_US: u64 = 2_000;
/// A change of the signal that is told without a filter, in dBm.
const RSSI_STEP: u16 = 8;
/// Advertising flags: limited or general discoverable mode.
const DISCOVERABLE_FLAGS: u8 = 0x03;
/// Devices that an adapter remembers; a scan of strangers must not fill the memory.
const DEVICES_MAX: usize = 1024;
/// Programs that may discover, or keep a filter, at the same time.
const DISCOVERERS_MAX: usize = 256;
/// Entries of advertisements that a device accumulates, of each kind.
const ENTRIES_MAX: usize = 64;
/// UUIDs of a filter.
const UUIDS_MAX: usize = 256;

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Filter {
    uuids: Vec<Uuid>,
    rssi: Option<i16>,
    pathloss: Option<u16>,
    duplicate_data: bool,
    pattern: Option<String>,
}

impl Filter {
    /// Reads a filter; `None` for an empty one.
    fn parse(entries: &HashMap<&str, Variant<'_>>) -> Answer<Option<Self>> {
        let mut filter = Self::default();
        for (key, value) in entries {
            match (*key, value) {
                ("UUIDs", Variant::Array(uuids)) if uuids.len() <= UUIDS_MAX => {
                    for uuid in uuids.iter() {
                        let Variant::Str(text) = uuid else { return Err(INVALID_ARGUMENTS) };
                        filter.uuids.push(text.parse().map_err(|_| INVALID_ARGUMENTS)?);
                    }
                }
                ("RSSI", Variant::I16(rssi)) if (-127..=20).contains(rssi) => filter.rssi = Some(*rssi),
                ("Pathloss", Variant::U16(loss)) if *loss <= 137 => filter.pathloss = Some(*loss),
                ("Transport", Variant::Str(transport)) if ["auto", "bredr", "le"].contains(&transport.as_str()) => {}
                ("DuplicateData", Variant::Bool(duplicates)) => filter.duplicate_data = *duplicates,
                ("Discoverable", Variant::Bool(_)) => {}
                ("Pattern", Variant::Str(pattern)) => filter.pattern = Some(pattern.to_string()),
                _ => return Err(INVALID_ARGUMENTS),
            }
        }
        if filter.rssi.is_some() && filter.pathloss.is_some() {
            return Err(INVALID_ARGUMENTS);
        }
        Ok((!entries.is_empty()).then_some(filter))
    }

    /// What user space looks at; thresholds of the signal never reject there.
    fn takes(&self, advertisement: &Advertisement) -> bool {
        self.uuids.is_empty() || self.uuids.iter().any(|uuid| advertisement.services.contains(uuid))
    }
}

impl Adapter {
    /// Whoever begins to listen hears everybody soon.
    fn report_soon(&mut self, now: u64) {
        let soon = now + FIRST_REPORT_US;
        self.report_at = Some(self.report_at.map_or(soon, |at| at.min(soon)));
    }
}

impl Daemon {
    pub(super) fn start_discovery(&mut self, call: &Call, number: usize) -> Answer<Outcome> {
        let now = self.now;
        let Some(adapter) = self.adapters.get_mut(number).filter(|adapter| adapter.powered) else {
            return Err(NOT_READY);
        };
        if adapter.discoverers.iter().any(|(sender, _)| *sender == call.sender)
            || adapter.discoverers.len() >= DISCOVERERS_MAX
        {
            return Err(BUSY);
        }
        let preset = adapter.presets.iter().position(|(sender, _)| *sender == call.sender);
        let filter = preset.map(|at| adapter.presets.remove(at).1);
        adapter.discoverers.push((call.sender.clone(), filter));
        if adapter.discovering {
            adapter.report_soon(now);
            return Ok(Outcome::Empty);
        }
        adapter.starting.push(call.clone());
        adapter.starts_at.get_or_insert(now + START_US);
        Ok(Outcome::Later)
    }

    /// The controller has begun to listen.
    fn discovery_started(&mut self, number: usize) {
        let now = self.now;
        let adapter = &mut self.adapters[number];
        adapter.starts_at = None;
        let starting = std::mem::take(&mut adapter.starting);
        if starting.is_empty() {
            return;
        }
        adapter.discovering = true;
        adapter.report_soon(now);
        for call in starting {
            self.reply(&call, &());
        }
        self.changed(Object::Adapter(number), &ADAPTER, "Discovering");
    }

    pub(super) fn stop_discovery(&mut self, call: &Call, number: usize) -> Answer<Outcome> {
        let Some(adapter) = self.adapters.get_mut(number).filter(|adapter| adapter.powered) else {
            return Err(NOT_READY);
        };
        let Some(at) = adapter.discoverers.iter().position(|(sender, _)| *sender == call.sender) else {
            return Err(failed("No discovery started"));
        };
        if adapter.starting.iter().any(|starting| starting.sender == call.sender) {
            return Err(BUSY);
        }
        // The filter is kept for the next time.
        let (sender, filter) = adapter.discoverers.remove(at);
        adapter.presets.extend(filter.map(|filter| (sender, filter)));
        self.reply(call, &());
        self.end_discovery(number);
        Ok(Outcome::Replied)
    }

    pub(super) fn set_discovery_filter(&mut self, call: &Call, number: usize) -> Answer<Outcome> {
        let now = self.now;
        let Some(adapter) = self.adapters.get_mut(number).filter(|adapter| adapter.powered) else {
            return Err(NOT_READY);
        };
        let body = call.message.body();
        let filter = Filter::parse(&body.deserialize().map_err(|_| INVALID_ARGUMENTS)?)?;
        if let Some((_, known)) = adapter.discoverers.iter_mut().find(|(sender, _)| *sender == call.sender) {
            *known = filter;
            adapter.report_soon(now);
            return Ok(Outcome::Empty);
        }
        adapter.presets.retain(|(sender, _)| *sender != call.sender);
        if adapter.presets.len() >= DISCOVERERS_MAX {
            return Err(BUSY);
        }
        adapter.presets.extend(filter.map(|filter| (call.sender.clone(), filter)));
        Ok(Outcome::Empty)
    }

    /// A program is gone: what it discovered for ends, and its filters.
    pub(super) fn discovery_gone(&mut self, name: &str) {
        for number in 0..self.adapters.len() {
            let adapter = &mut self.adapters[number];
            adapter.presets.retain(|(sender, _)| sender != name);
            adapter.starting.retain(|starting| starting.sender != name);
            let before = adapter.discoverers.len();
            adapter.discoverers.retain(|(sender, _)| sender != name);
            if adapter.discoverers.len() < before {
                self.end_discovery(number);
            }
        }
    }

    /// Ends the discovery when nobody is left who wants it.
    pub(super) fn end_discovery(&mut self, number: usize) {
        let adapter = &mut self.adapters[number];
        if !adapter.discoverers.is_empty() || !std::mem::replace(&mut adapter.discovering, false) {
            return;
        }
        adapter.report_at = None;
        let here: Vec<_> = self.devices.keys().filter(|key| key.adapter == number).copied().collect();
        for key in here {
            let Some(device) = self.device_mut(key) else { continue };
            let (rssi, tx_power) = (device.rssi.take(), device.tx_power.take());
            for (known, property) in [(rssi, "RSSI"), (tx_power, "TxPower")] {
                if known.is_some() {
                    self.changed(Object::Device(key), &DEVICE, property);
                }
            }
            let forgotten = |device: &Device| device.temporary && !device.connectable && device.is_down();
            if self.device(key).is_some_and(forgotten) {
                self.remove_device(key);
            }
        }
        self.changed(Object::Adapter(number), &ADAPTER, "Discovering");
    }

    /// What a peripheral advertises has changed.
    pub(super) fn advertises(&mut self, peripheral: PeripheralId, advertisement: Option<Advertisement>) {
        let heard = advertisement.is_some();
        self.peripherals.insert(peripheral, advertisement);
        if !heard {
            return;
        }
        for number in 0..self.adapters.len() {
            self.hear(number, peripheral);
        }
        self.advertiser_appeared();
    }

    pub(super) fn discovery_wake(&self) -> Option<u64> {
        let reports = self.adapters.iter().flat_map(|adapter| [adapter.report_at, adapter.starts_at]).flatten();
        reports.chain(self.devices.values().filter_map(Device::expires_at)).min()
    }

    pub(super) fn discovery_due(&mut self) {
        let now = self.now;
        for number in 0..self.adapters.len() {
            if self.adapters[number].starts_at.is_some_and(|at| at <= now) {
                self.discovery_started(number);
            }
            if self.adapters[number].report_at.is_some_and(|at| at <= now) {
                self.adapters[number].report_at = Some(now + self.settings.report_interval_us);
                let all: Vec<_> = self.peripherals.keys().copied().collect();
                for peripheral in all {
                    self.hear(number, peripheral);
                }
            }
        }
        let expired = |device: &Device| device.expires_at().is_some_and(|at| at <= now);
        let old: Vec<_> = self.devices.iter().filter(|(_, device)| expired(device)).map(|(key, _)| *key).collect();
        for key in old {
            self.remove_device(key);
        }
    }

    /// An adapter hears an advertiser, if it listens.
    fn hear(&mut self, number: usize, peripheral: PeripheralId) {
        let Some(advertisement) = self.peripherals.get(&peripheral).cloned().flatten() else { return };
        let adapter = &self.adapters[number];
        if !adapter.discovering || !kernel_passes(&adapter.discoverers, &advertisement) {
            return;
        }
        let filters: Vec<_> = adapter.discoverers.iter().map(|(_, filter)| filter.clone()).collect();
        let filtered = filters.iter().any(Option::is_some);
        let key = DeviceKey { adapter: number, address: advertisement.address };
        let mut discoverable = filtered || advertisement.flags & DISCOVERABLE_FLAGS != 0;
        let patterns: Vec<_> = filters.iter().flatten().filter_map(|filter| filter.pattern.as_deref()).collect();
        if !patterns.is_empty() {
            let address = advertisement.address.to_string();
            let name = advertisement.name.as_deref().unwrap_or_default();
            discoverable = patterns.iter().any(|pattern| address.starts_with(pattern) || name.starts_with(pattern));
        }
        if self.device(key).is_none() {
            if !discoverable || self.devices.len() >= DEVICES_MAX {
                return;
            }
            self.devices.insert(key, Device::new(&advertisement));
            self.added(Object::Device(key));
        }
        let expires_at = self.now + self.settings.temporary_timeout_us;
        if let Some(device) = self.device_mut(key) {
            // Somebody else under the same address does not take a connection over.
            if device.is_down() {
                device.peripheral = Some(peripheral);
            }
            device.forgotten_at = Some(expires_at);
            device.connectable = advertisement.connectable;
        }
        if filtered && !filters.iter().any(|filter| filter.as_ref().is_none_or(|filter| filter.takes(&advertisement))) {
            return;
        }
        let duplicates = filters.iter().flatten().any(|filter| filter.duplicate_data);
        self.learn(key, &advertisement, if filtered { 0 } else { RSSI_STEP }, duplicates);
    }

    /// A device is described by what it advertises.
    fn learn(&mut self, key: DeviceKey, heard: &Advertisement, step: u16, duplicates: bool) {
        let Some(device) = self.device_mut(key) else { return };
        let mut news = Vec::new();
        let rssi = i16::from(heard.rssi);
        if device.rssi.is_none_or(|known| known.abs_diff(rssi) >= step) && rssi != 0 {
            device.rssi = Some(rssi);
            news.push("RSSI");
        }
        let tx_power = heard.tx_power.map(i16::from);
        if tx_power.is_some() && device.tx_power != tx_power {
            device.tx_power = tx_power;
            news.push("TxPower");
        }
        if heard.appearance.is_some() && device.appearance != heard.appearance {
            device.appearance = heard.appearance;
            news.extend(["Appearance", "Icon"]);
        }
        if heard.name.is_some() && device.name != heard.name {
            device.name.clone_from(&heard.name);
            news.extend(["Name", "Alias"]);
        }
        for uuid in &heard.services {
            // What discovery of services has found says more.
            let room = device.advertised.len() < ENTRIES_MAX;
            if room && !device.resolved_once && !device.advertised.contains(uuid) {
                device.advertised.push(*uuid);
                if !news.contains(&"UUIDs") {
                    news.push("UUIDs");
                }
            }
        }
        if duplicates {
            device.manufacturer_data.clear();
            device.service_data.clear();
        }
        if accumulate(&mut device.manufacturer_data, &heard.manufacturer_data) {
            news.push("ManufacturerData");
        }
        if accumulate(&mut device.service_data, &heard.service_data) {
            news.push("ServiceData");
        }
        for property in news {
            self.changed(Object::Device(key), &DEVICE, property);
        }
    }
}

/// Whether the kernel, which is given what all programs agree on, lets a report through.
fn kernel_passes(discoverers: &[(String, Option<Filter>)], advertisement: &Advertisement) -> bool {
    let Some(filters) = discoverers.iter().map(|(_, filter)| filter.as_ref()).collect::<Option<Vec<_>>>() else {
        return true;
    };
    let rssi = filters.iter().map(|filter| filter.rssi).collect::<Option<Vec<_>>>();
    if let Some(lowest) = rssi.and_then(|rssi| rssi.into_iter().min())
        && i16::from(advertisement.rssi) < lowest
    {
        return false;
    }
    filters.iter().any(|filter| filter.takes(advertisement))
}

/// Adds entries that are new or different; whether there were any.
fn accumulate<K: PartialEq + Clone>(known: &mut Vec<(K, Vec<u8>)>, heard: &[(K, Vec<u8>)]) -> bool {
    let mut news = false;
    for (key, value) in heard {
        let room = known.len() < ENTRIES_MAX;
        match known.iter_mut().find(|(other, _)| other == key) {
            Some((_, old)) if old == value => {}
            Some((_, old)) => {
                old.clone_from(value);
                news = true;
            }
            None if !room => {}
            None => {
                known.push((key.clone(), value.clone()));
                news = true;
            }
        }
    }
    news
}
