//! Reading and writing characteristics and descriptors (bluez 5.66: `src/gatt-client.c`).
//!
//! | `type` | the characteristic | the value | goes out as |
//! |---|---|---|---|
//! | `request`, or none and it can be written | any | up to MTU-3 bytes | write request |
//! | the same | any | longer, or from an offset | prepare write requests, execute write request |
//! | `reliable` | any | any but empty | the same |
//! | `command`, or none and it can only be written without response | any | up to MTU-3 bytes | write command |
//! | `command` | any | longer | nothing: `Failed`, "Failed to initiate write" |
//!
//! What the characteristic says it can do is not looked at when `type` is given: the peripheral decides.

use std::collections::HashMap;

use zbus::Variant;

use super::att::Purpose;
use super::error::{
    Answer, BUSY, IN_PROGRESS, INVALID_ARGUMENTS, NOT_SUPPORTED, Refusal, failed, not_permitted, of_att,
};
use super::interface::{CHARACTERISTIC, DESCRIPTOR};
use super::path::{DeviceKey, Object};
use super::services::{KnownCharacteristic, Reading};
use super::{Call, Daemon, Outcome};
use crate::gatt::table::Properties;
use crate::gatt::{ATT_OVERHEAD, AttError, CentralAction, WriteKind};

/// Programs that wait for the same read.
const READERS_MAX: usize = 256;
/// Most that can be read or written at once in bytes; the rest of what the protocol can say is of no use.
const WRITE_MAX: usize = 65_535;
const NOT_INITIATED: Refusal = failed("Failed to initiate write");

/// Options of a read or a write.
#[derive(Debug, Default)]
struct Options {
    offset: u16,
    kind: Option<String>,
}

impl Options {
    fn parse(entries: &HashMap<&str, Variant<'_>>) -> Answer<Self> {
        let mut options = Self::default();
        for (key, value) in entries {
            match (key.to_ascii_lowercase().as_str(), value) {
                ("offset", Variant::U16(offset)) => options.offset = *offset,
                ("type", Variant::Str(kind)) => options.kind = Some(kind.to_ascii_lowercase()),
                ("offset" | "type", _) => return Err(INVALID_ARGUMENTS),
                // As BlueZ does not, nobody looks at others.
                _ => {}
            }
        }
        Ok(options)
    }
}

impl Daemon {
    pub(super) fn call_characteristic(
        &mut self,
        call: &Call,
        key: DeviceKey,
        handle: u16,
        member: &str,
    ) -> Answer<Outcome> {
        match member {
            "ReadValue" => self.read(call, key, handle),
            "WriteValue" => self.write(call, key, handle),
            "AcquireWrite" => self.acquire_write(call, key, handle),
            "AcquireNotify" => self.acquire_notify(call, key, handle),
            "StartNotify" => self.start_notify(call, key, handle),
            _ => self.stop_notify(call, key, handle),
        }
    }

    pub(super) fn call_descriptor(
        &mut self,
        call: &Call,
        key: DeviceKey,
        handle: u16,
        member: &str,
    ) -> Answer<Outcome> {
        if member == "ReadValue" { self.read(call, key, handle) } else { self.write_descriptor(call, key, handle) }
    }

    /// Reads a characteristic or a descriptor.
    fn read(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        self.attached(key)?;
        let body = call.message.body();
        let options = Options::parse(&body.deserialize().map_err(|_| INVALID_ARGUMENTS)?)?;
        let Some((attribute, _, reading)) = self.readable(key, handle) else { return Err(NOT_SUPPORTED) };
        match reading {
            Some((offset, callers)) if *offset == options.offset && callers.len() < READERS_MAX => {
                callers.push(call.clone());
                return Ok(Outcome::Later);
            }
            Some(_) => return Err(IN_PROGRESS),
            None => {}
        }
        let read = CentralAction::Read { handle: attribute, offset: options.offset };
        if !self.request(key, read, Purpose::Read(handle)) {
            return Err(failed("Failed to send read request"));
        }
        if let Some((_, _, reading)) = self.readable(key, handle) {
            *reading = Some((options.offset, vec![call.clone()]));
        }
        Ok(Outcome::Later)
    }

    /// The handle to read, the value as it is known, and who reads it.
    fn readable(&mut self, key: DeviceKey, handle: u16) -> Option<(u16, &mut Vec<u8>, &mut Reading)> {
        let device = self.device_mut(key)?;
        if device.characteristics.contains_key(&handle) {
            let known = device.characteristics.get_mut(&handle)?;
            return Some((known.info.value_handle, &mut known.value, &mut known.reading));
        }
        let (_, owner) = device.characteristics.range_mut(..handle).next_back()?;
        let known = owner.descriptors.iter_mut().find(|descriptor| descriptor.handle == handle)?;
        Some((known.handle, &mut known.value, &mut known.reading))
    }

    pub(super) fn read_done(&mut self, key: DeviceKey, handle: u16, result: Result<Vec<u8>, AttError>) {
        let Some((_, value, reading)) = self.readable(key, handle) else { return };
        let Some((offset, callers)) = reading.take() else { return };
        let answer = result.map(|read| {
            let offset = usize::from(offset).min(value.len());
            value.truncate(offset);
            value.extend(read);
            value[offset..].to_vec()
        });
        match answer {
            Ok(value) => {
                self.value_changed(key, handle);
                for call in callers {
                    self.reply(&call, &value);
                }
            }
            Err(error) => {
                for call in callers {
                    self.refuse(&call, &of_att(error));
                }
            }
        }
    }

    /// Tells the value of a characteristic or a descriptor, whether it is another one or not.
    pub(super) fn value_changed(&mut self, key: DeviceKey, handle: u16) {
        let Some(device) = self.device(key) else { return };
        if let Some(known) = device.characteristic(handle) {
            let object = Object::Characteristic(key, known.service, handle);
            self.changed(object, &CHARACTERISTIC, "Value");
            self.flush_object(object);
        } else if let Some((owner, _)) = device.descriptor(handle) {
            let object = Object::Descriptor(key, owner.service, owner.info.handle, handle);
            self.changed(object, &DESCRIPTOR, "Value");
        }
    }

    fn write(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        let device = self.attached(key)?;
        let mtu = device.mtu;
        let Some(known) = device.characteristics.get(&handle) else { return Err(NOT_SUPPORTED) };
        if known.write_socket.is_some() {
            return Err(not_permitted("Write acquired"));
        }
        if known.writing {
            return Err(IN_PROGRESS);
        }
        let (value, options) = written(call)?;
        let kind = chosen(known, &options, value.len(), mtu)?;
        let attribute = known.info.value_handle;
        if kind == WriteKind::Command {
            self.command(key, attribute, value);
            return Ok(Outcome::Empty);
        }
        self.write_request(call, key, handle, CentralAction::Write { handle: attribute, value, kind })
    }

    /// A write command goes out at once: nothing is waited for.
    pub(super) fn command(&mut self, key: DeviceKey, handle: u16, value: Vec<u8>) {
        if let Some(peripheral) = self.device(key).and_then(|device| device.peripheral) {
            self.act(peripheral, key, CentralAction::Write { handle, value, kind: WriteKind::Command });
        }
    }

    fn write_request(&mut self, call: &Call, key: DeviceKey, handle: u16, action: CentralAction) -> Answer<Outcome> {
        if let Some(writing) = self.writing(key, handle) {
            *writing = true;
        }
        if self.request(key, action, Purpose::Write(handle, call.clone())) {
            return Ok(Outcome::Later);
        }
        if let Some(writing) = self.writing(key, handle) {
            *writing = false;
        }
        Err(BUSY)
    }

    fn write_descriptor(&mut self, call: &Call, key: DeviceKey, handle: u16) -> Answer<Outcome> {
        let mtu = self.attached(key)?.mtu;
        let Some((_, known)) = self.device(key).and_then(|device| device.descriptor(handle)) else {
            return Err(NOT_SUPPORTED);
        };
        if known.writing {
            return Err(IN_PROGRESS);
        }
        let (value, options) = written(call)?;
        if known.is_ccc() {
            return Err(not_permitted("Write not permitted"));
        }
        let kind = request_or_long(&options, value.len(), mtu).ok_or(NOT_INITIATED)?;
        self.write_request(call, key, handle, CentralAction::Write { handle, value, kind })
    }

    fn writing(&mut self, key: DeviceKey, handle: u16) -> Option<&mut bool> {
        let device = self.device_mut(key)?;
        if device.characteristics.contains_key(&handle) {
            return device.characteristics.get_mut(&handle).map(|known| &mut known.writing);
        }
        let (_, owner) = device.characteristics.range_mut(..handle).next_back()?;
        owner.descriptors.iter_mut().find(|known| known.handle == handle).map(|known| &mut known.writing)
    }

    pub(super) fn write_done(&mut self, key: DeviceKey, handle: u16, call: &Call, error: Option<AttError>) {
        if let Some(writing) = self.writing(key, handle) {
            *writing = false;
        }
        self.settle(call, error.map_or(Ok(()), |error| Err(of_att(error))));
    }

    /// A characteristic is gone, and what programs wanted of it.
    pub(super) fn abandon(&mut self, gone: KnownCharacteristic) {
        let readers = gone.descriptors.into_iter().filter_map(|descriptor| descriptor.reading).chain(gone.reading);
        let calls: Vec<_> = readers.flat_map(|(_, callers)| callers).chain(gone.subscription.waiting).collect();
        for call in calls {
            self.refuse(&call, &failed("Not connected"));
        }
    }
}

/// The arguments of a write.
fn written(call: &Call) -> Answer<(Vec<u8>, Options)> {
    let body = call.message.body();
    let (value, options): (Vec<u8>, HashMap<&str, Variant<'_>>) = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
    Ok((value, Options::parse(&options)?))
}

fn chosen(known: &KnownCharacteristic, options: &Options, len: usize, mtu: u16) -> Answer<WriteKind> {
    let kind = options.kind.as_deref();
    let can = |properties| kind.is_none() && known.has(properties);
    if kind == Some("reliable") {
        return if (1..=WRITE_MAX).contains(&len) { Ok(WriteKind::Long) } else { Err(NOT_INITIATED) };
    }
    if kind == Some("request") || can(Properties::WRITE) {
        return request_or_long(options, len, mtu).ok_or(NOT_INITIATED);
    }
    if (kind == Some("command") || can(Properties::WRITE_WITHOUT_RESPONSE)) && options.offset == 0 {
        return if len <= value_max(mtu) { Ok(WriteKind::Command) } else { Err(NOT_INITIATED) };
    }
    Err(NOT_SUPPORTED)
}

fn request_or_long(options: &Options, len: usize, mtu: u16) -> Option<WriteKind> {
    match (options.offset, len) {
        (0, len) if len <= value_max(mtu) => Some(WriteKind::Request),
        // A long write from an offset would need an action of its own; nobody in this field does it.
        (0, 1..=WRITE_MAX) => Some(WriteKind::Long),
        _ => None,
    }
}

/// Longest value of one write in bytes.
pub(super) fn value_max(mtu: u16) -> usize {
    usize::from(mtu.saturating_sub(ATT_OVERHEAD))
}
