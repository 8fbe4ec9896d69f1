//! What every object answers: introspection, properties, the tree of objects.

use std::collections::BTreeMap;

use zbus::{Message, ObjectPath, Variant};

use super::error::{self, Answer, INVALID_ARGUMENTS, standard};
use super::interface::{
    ADAPTER, ADVERTISING_MANAGER, AGENT_MANAGER, BATTERY, CHARACTERISTIC, DESCRIPTOR, DEVICE, GATT_MANAGER,
    HEALTH_MANAGER, INTROSPECTABLE, Interface, OBJECT_MANAGER, PEER, PROFILE_MANAGER, PROPERTIES, SERVICE,
    bare_introspection, introspection,
};
use super::path::Object;
use super::{Call, Daemon, Effect, Outcome, Pending, UNIQUE_NAME};

/// Values by their names.
type Values = BTreeMap<&'static str, Variant<'static>>;
/// Interfaces with their values.
type Interfaces = BTreeMap<&'static str, Values>;

/// The parent of `/org/bluez`, which BlueZ does not register.
const ORG: &str = "/org";

impl Daemon {
    /// Carries a call out, or begins to.
    pub(super) fn dispatch(&mut self, call: &Call) -> Answer<Outcome> {
        let header = call.message.header();
        let text = |name: Option<String>| name.unwrap_or_default();
        let path = text(header.path().map(ToString::to_string));
        let member = text(header.member().map(ToString::to_string));
        let interface = header.interface().map(ToString::to_string);
        let signature = header.signature().to_string_no_parens();
        let shown = interface.as_deref().unwrap_or("(null)");
        if shown == PEER.name {
            return self.peer(call, &member, &signature);
        }
        let found = Object::parse(&path).and_then(|object| Some((object, self.interfaces(object)?)));
        let Some((object, interfaces)) = found else {
            // What libdbus answers by itself where nobody has registered anything.
            if shown == INTROSPECTABLE.name && member == "Introspect" {
                let children: &[&str] = if path == ORG { &["bluez"] } else { &[] };
                self.reply(call, &bare_introspection(children));
                return Ok(Outcome::Replied);
            }
            let is_parent = path == ORG;
            let unknown = if is_parent { error::unknown_method } else { error::unknown_object };
            return Err(unknown(&member, &signature, shown));
        };
        let method = interfaces
            .iter()
            .find(|known| Some(known.name) == interface.as_deref())
            .and_then(|known| Some((known.name, known.method(&member)?)))
            .filter(|(_, method)| method.signature() == signature);
        let Some((interface, method)) = method else {
            return Err(error::unknown_method(&member, &signature, shown));
        };
        match (interface, object) {
            (name, _) if name == INTROSPECTABLE.name => {
                let xml = introspection(&interfaces, &self.children(object));
                self.reply(call, &xml);
                Ok(Outcome::Replied)
            }
            (name, _) if name == PROPERTIES.name => self.properties(call, object, &interfaces, method.name),
            (name, _) if name == OBJECT_MANAGER.name => {
                self.flush();
                let objects = self.managed_objects();
                self.reply(call, &objects);
                Ok(Outcome::Replied)
            }
            (_, Object::Bluez) => self.call_manager(call, method.name),
            (name, Object::Adapter(adapter)) if name == ADAPTER.name => self.call_adapter(call, adapter, method.name),
            (_, Object::Device(key)) => self.call_device(call, key, method.name),
            (_, Object::Characteristic(key, _, handle)) => self.call_characteristic(call, key, handle, method.name),
            (_, Object::Descriptor(key, _, _, handle)) => self.call_descriptor(call, key, handle, method.name),
            // Nobody has registered anything: playing a peripheral is not what this bus is for.
            _ if method.name.starts_with("Unregister") => Err(error::DOES_NOT_EXIST),
            _ => Err(error::NOT_SUPPORTED),
        }
    }

    fn peer(&mut self, call: &Call, member: &str, signature: &str) -> Answer<Outcome> {
        match (member, signature) {
            ("Ping", "") => Ok(Outcome::Empty),
            ("GetMachineId", "") => {
                let id = self.settings.machine_id.clone();
                self.reply(call, &id);
                Ok(Outcome::Replied)
            }
            _ => {
                let text = "Unknown method invoked on org.freedesktop.DBus.Peer interface".to_owned();
                Err(standard("org.freedesktop.DBus.Error.UnknownMethod", text))
            }
        }
    }

    fn properties(
        &mut self,
        call: &Call,
        object: Object,
        interfaces: &[&'static Interface],
        member: &str,
    ) -> Answer<Outcome> {
        let body = call.message.body();
        let invalid = |text: String| standard("org.freedesktop.DBus.Error.InvalidArgs", text);
        let find = |name: &str| {
            let found = interfaces.iter().find(|known| known.name == name);
            found.copied().ok_or_else(|| invalid(format!("No such interface '{name}'")))
        };
        match member {
            "Get" => {
                let (interface, name): (&str, &str) = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
                let interface = find(interface)?;
                let property = interface.property(name);
                let value = property.and_then(|property| self.value(object, interface.name, property.name));
                let value = value.ok_or_else(|| invalid(format!("No such property '{name}'")))?;
                self.reply(call, &value);
                Ok(Outcome::Replied)
            }
            "GetAll" => {
                let interface: &str = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
                let interface = find(interface)?;
                let values = self.values(object, interface);
                self.reply(call, &values);
                Ok(Outcome::Replied)
            }
            _ => {
                let (interface, name, value): (&str, &str, Variant<'_>) =
                    body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
                let interface = find(interface)?;
                let unknown =
                    || standard("org.freedesktop.DBus.Error.UnknownProperty", format!("No such property '{name}'"));
                let property = interface.property(name).ok_or_else(unknown)?;
                if !property.writable {
                    let text = format!("Property '{name}' is not writable");
                    return Err(standard("org.freedesktop.DBus.Error.PropertyReadOnly", text));
                }
                if self.value(object, interface.name, property.name).is_none() {
                    return Err(unknown());
                }
                if value.value_signature().to_string() != property.signature {
                    let text = format!("Invalid signature for '{name}'");
                    return Err(standard("org.freedesktop.DBus.Error.InvalidSignature", text));
                }
                match object {
                    Object::Adapter(adapter) => self.set_adapter(call, adapter, property.name, &value),
                    Object::Device(key) => self.set_device(call, key, property.name, &value),
                    _ => Err(unknown()),
                }
            }
        }
    }

    /// The interfaces of an object, if it is there; the first one after introspection is its own.
    pub(super) fn interfaces(&self, object: Object) -> Option<Vec<&'static Interface>> {
        Some(match object {
            Object::Root => vec![&INTROSPECTABLE, &OBJECT_MANAGER],
            Object::Bluez => vec![&INTROSPECTABLE, &AGENT_MANAGER, &PROFILE_MANAGER, &HEALTH_MANAGER],
            Object::Adapter(adapter) => {
                self.adapters.get(adapter)?;
                vec![&INTROSPECTABLE, &ADAPTER, &PROPERTIES, &GATT_MANAGER, &ADVERTISING_MANAGER]
            }
            Object::Device(key) => {
                let mut interfaces = vec![&INTROSPECTABLE, &DEVICE, &PROPERTIES];
                if self.device(key)?.battery.is_some() {
                    interfaces.push(&BATTERY);
                }
                interfaces
            }
            Object::Service(key, handle) => {
                self.device(key)?.service(handle)?;
                vec![&INTROSPECTABLE, &SERVICE, &PROPERTIES]
            }
            Object::Characteristic(key, service, handle) => {
                self.device(key)?.characteristic(handle).filter(|found| found.service == service)?;
                vec![&INTROSPECTABLE, &CHARACTERISTIC, &PROPERTIES]
            }
            Object::Descriptor(key, service, characteristic, handle) => {
                let (owner, _) = self.device(key)?.descriptor(handle)?;
                if (owner.service, owner.info.handle) != (service, characteristic) {
                    return None;
                }
                vec![&INTROSPECTABLE, &DESCRIPTOR, &PROPERTIES]
            }
        })
    }

    /// The value of a property; `None` where it does not exist now.
    fn value(&self, object: Object, interface: &str, name: &str) -> Option<Variant<'static>> {
        match object {
            Object::Root | Object::Bluez => None,
            Object::Adapter(adapter) if interface == ADVERTISING_MANAGER.name => {
                self.adapters.get(adapter).and_then(|_| Self::advertising_manager_value(name))
            }
            Object::Adapter(adapter) => self.adapter_value(adapter, name),
            Object::Device(key) if interface == BATTERY.name => self.device(key)?.battery.map(Variant::from),
            Object::Device(key) => self.device_value(key, name),
            Object::Service(key, handle) => self.service_value(key, handle, name),
            Object::Characteristic(key, _, handle) => self.characteristic_value(key, handle, name),
            Object::Descriptor(key, _, _, handle) => self.descriptor_value(key, handle, name),
        }
    }

    fn values(&self, object: Object, interface: &'static Interface) -> Values {
        let named = |property: &'static str| Some((property, self.value(object, interface.name, property)?));
        interface.properties.iter().filter_map(|property| named(property.name)).collect()
    }

    fn all_values(&self, object: Object) -> Interfaces {
        let interfaces = self.interfaces(object).unwrap_or_default();
        interfaces.into_iter().map(|interface| (interface.name, self.values(object, interface))).collect()
    }

    fn managed_objects(&self) -> BTreeMap<ObjectPath<'static>, Interfaces> {
        let adapters = (0..self.adapters.len()).map(Object::Adapter);
        let devices = self
            .devices
            .iter()
            .flat_map(|(key, device)| std::iter::once(Object::Device(*key)).chain(device.objects(*key)));
        std::iter::once(Object::Bluez)
            .chain(adapters)
            .chain(devices)
            .map(|object| (object.path(), self.all_values(object)))
            .collect()
    }

    /// The last parts of the paths of children, sorted.
    fn children(&self, object: Object) -> Vec<String> {
        let last = |child: &Object| child.to_string().rsplit('/').next().unwrap_or_default().to_owned();
        match object {
            Object::Root => vec!["org".to_owned()],
            Object::Bluez => (0..self.adapters.len()).map(|adapter| format!("hci{adapter}")).collect(),
            Object::Adapter(adapter) => {
                let here = self.devices.keys().filter(|key| key.adapter == adapter);
                here.map(|key| last(&Object::Device(*key))).collect()
            }
            Object::Device(_) | Object::Service(..) | Object::Characteristic(..) => {
                let prefix = format!("{object}/");
                let children = object.device().and_then(|key| Some(self.device(key)?.objects(key)));
                children
                    .into_iter()
                    .flatten()
                    .filter(|child| child.to_string().strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/')))
                    .map(|child| last(&child))
                    .collect()
            }
            Object::Descriptor(..) => Vec::new(),
        }
    }

    /// Sends the signals of one object's changes.
    pub(super) fn tell(&mut self, pending: Pending) {
        let Pending { object, added, changed, removed } = pending;
        if added {
            let body = (object.path(), self.all_values(object));
            self.signal(Object::Root, OBJECT_MANAGER.name, "InterfacesAdded", &body);
        } else {
            for (interface, names) in changed {
                let mut values = Values::new();
                let mut gone = Vec::new();
                for name in names {
                    match self.value(object, interface.name, name) {
                        Some(value) => _ = values.insert(name, value),
                        None => gone.push(name),
                    }
                }
                self.signal(object, PROPERTIES.name, "PropertiesChanged", &(interface.name, values, gone));
            }
        }
        if !removed.is_empty() {
            self.signal(Object::Root, OBJECT_MANAGER.name, "InterfacesRemoved", &(object.path(), removed));
        }
    }

    /// Interfaces have come to an object that was there before.
    pub(super) fn signal_added(&mut self, object: Object, interfaces: &Interfaces) {
        self.signal(Object::Root, OBJECT_MANAGER.name, "InterfacesAdded", &(object.path(), interfaces));
    }

    fn signal<B: serde::Serialize + zbus::DynamicType>(
        &mut self,
        object: Object,
        interface: &'static str,
        name: &'static str,
        body: &B,
    ) {
        let built = Message::signal(object.path(), interface, name).sender(UNIQUE_NAME).build(body);
        // It has a path, names and a body of our own making.
        self.effects.extend(built.ok().map(Effect::Send));
    }
}

/// What the path in a call names, if it can name anything here.
pub(super) fn path_argument(message: &Message) -> Answer<Option<Object>> {
    let body = message.body();
    let path: ObjectPath<'_> = body.deserialize().map_err(|_| INVALID_ARGUMENTS)?;
    Ok(Object::parse(path.as_str()))
}
