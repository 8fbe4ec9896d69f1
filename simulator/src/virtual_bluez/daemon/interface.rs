//! The interfaces of `org.bluez` as tables: what introspection shows is what is checked.
//!
//! What BlueZ 5.66 marks as experimental is left out, as it is there unless the daemon was started for it.

use std::fmt::Write;

/// A method: names and signatures of what goes in and what comes out.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) takes: &'static [(&'static str, &'static str)],
    pub(super) gives: &'static [(&'static str, &'static str)],
}

/// A property.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) signature: &'static str,
    pub(super) writable: bool,
}

/// A signal.
#[derive(Debug)]
pub(super) struct Signal {
    name: &'static str,
    carries: &'static [(&'static str, &'static str)],
}

/// An interface.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: &'static str,
    pub(super) methods: &'static [Method],
    pub(super) properties: &'static [Property],
    signals: &'static [Signal],
}

impl Interface {
    pub(super) fn method(&self, name: &str) -> Option<&'static Method> {
        self.methods.iter().find(|method| method.name == name)
    }

    pub(super) fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.name == name)
    }
}

impl Method {
    /// The signature of its arguments together.
    pub(super) fn signature(&self) -> String {
        self.takes.iter().map(|(_, signature)| *signature).collect()
    }
}

macro_rules! method {
    ($name:literal, [$($takes:expr),*], [$($gives:expr),*]) => {
        Method { name: $name, takes: &[$($takes),*], gives: &[$($gives),*] }
    };
    ($name:literal) => {
        method!($name, [], [])
    };
}

const fn readable(name: &'static str, signature: &'static str) -> Property {
    Property { name, signature, writable: false }
}

const fn writable(name: &'static str, signature: &'static str) -> Property {
    Property { name, signature, writable: true }
}

pub(super) const INTROSPECTABLE: Interface = Interface {
    name: "org.freedesktop.DBus.Introspectable",
    methods: &[method!("Introspect", [], [("xml", "s")])],
    properties: &[],
    signals: &[],
};

pub(super) const PROPERTIES: Interface = Interface {
    name: "org.freedesktop.DBus.Properties",
    methods: &[
        method!("Get", [("interface", "s"), ("name", "s")], [("value", "v")]),
        method!("Set", [("interface", "s"), ("name", "s"), ("value", "v")], []),
        method!("GetAll", [("interface", "s")], [("properties", "a{sv}")]),
    ],
    properties: &[],
    signals: &[Signal {
        name: "PropertiesChanged",
        carries: &[("interface", "s"), ("changed_properties", "a{sv}"), ("invalidated_properties", "as")],
    }],
};

pub(super) const OBJECT_MANAGER: Interface = Interface {
    name: "org.freedesktop.DBus.ObjectManager",
    methods: &[method!("GetManagedObjects", [], [("objects", "a{oa{sa{sv}}}")])],
    properties: &[],
    signals: &[
        Signal { name: "InterfacesAdded", carries: &[("object", "o"), ("interfaces", "a{sa{sv}}")] },
        Signal { name: "InterfacesRemoved", carries: &[("object", "o"), ("interfaces", "as")] },
    ],
};

/// Answered on every object, as libdbus does, and shown on none.
pub(super) const PEER: Interface = Interface {
    name: "org.freedesktop.DBus.Peer",
    methods: &[method!("Ping"), method!("GetMachineId", [], [("machine_uuid", "s")])],
    properties: &[],
    signals: &[],
};

pub(super) const AGENT_MANAGER: Interface = Interface {
    name: "org.bluez.AgentManager1",
    methods: &[
        method!("RegisterAgent", [("agent", "o"), ("capability", "s")], []),
        method!("UnregisterAgent", [("agent", "o")], []),
        method!("RequestDefaultAgent", [("agent", "o")], []),
    ],
    properties: &[],
    signals: &[],
};

pub(super) const PROFILE_MANAGER: Interface = Interface {
    name: "org.bluez.ProfileManager1",
    methods: &[
        method!("RegisterProfile", [("profile", "o"), ("UUID", "s"), ("options", "a{sv}")], []),
        method!("UnregisterProfile", [("profile", "o")], []),
    ],
    properties: &[],
    signals: &[],
};

/// There because Debian builds BlueZ with it; no adapter here has such profiles.
pub(super) const HEALTH_MANAGER: Interface = Interface {
    name: "org.bluez.HealthManager1",
    methods: &[
        method!("CreateApplication", [("config", "a{sv}")], [("application", "o")]),
        method!("DestroyApplication", [("application", "o")], []),
    ],
    properties: &[],
    signals: &[],
};

pub(super) const ADAPTER: Interface = Interface {
    name: "org.bluez.Adapter1",
    methods: &[
        method!("StartDiscovery"),
        method!("SetDiscoveryFilter", [("properties", "a{sv}")], []),
        method!("StopDiscovery"),
        method!("RemoveDevice", [("device", "o")], []),
        method!("GetDiscoveryFilters", [], [("filters", "as")]),
    ],
    properties: &[
        readable("Address", "s"),
        readable("AddressType", "s"),
        readable("Name", "s"),
        writable("Alias", "s"),
        readable("Class", "u"),
        writable("Powered", "b"),
        writable("Discoverable", "b"),
        writable("DiscoverableTimeout", "u"),
        writable("Pairable", "b"),
        writable("PairableTimeout", "u"),
        readable("Discovering", "b"),
        readable("UUIDs", "as"),
        readable("Modalias", "s"),
        readable("Roles", "as"),
        readable("ExperimentalFeatures", "as"),
    ],
    signals: &[],
};

pub(super) const GATT_MANAGER: Interface = Interface {
    name: "org.bluez.GattManager1",
    methods: &[
        method!("RegisterApplication", [("application", "o"), ("options", "a{sv}")], []),
        method!("UnregisterApplication", [("application", "o")], []),
    ],
    properties: &[],
    signals: &[],
};

pub(super) const ADVERTISING_MANAGER: Interface = Interface {
    name: "org.bluez.LEAdvertisingManager1",
    methods: &[
        method!("RegisterAdvertisement", [("advertisement", "o"), ("options", "a{sv}")], []),
        method!("UnregisterAdvertisement", [("service", "o")], []),
    ],
    properties: &[
        readable("ActiveInstances", "y"),
        readable("SupportedInstances", "y"),
        readable("SupportedIncludes", "as"),
        readable("SupportedSecondaryChannels", "as"),
    ],
    signals: &[],
};

pub(super) const DEVICE: Interface = Interface {
    name: "org.bluez.Device1",
    methods: &[
        method!("Disconnect"),
        method!("Connect"),
        method!("ConnectProfile", [("UUID", "s")], []),
        method!("DisconnectProfile", [("UUID", "s")], []),
        method!("Pair"),
        method!("CancelPairing"),
    ],
    properties: &[
        readable("Address", "s"),
        readable("AddressType", "s"),
        readable("Name", "s"),
        writable("Alias", "s"),
        readable("Class", "u"),
        readable("Appearance", "q"),
        readable("Icon", "s"),
        readable("Paired", "b"),
        readable("Bonded", "b"),
        writable("Trusted", "b"),
        writable("Blocked", "b"),
        readable("LegacyPairing", "b"),
        readable("RSSI", "n"),
        readable("Connected", "b"),
        readable("UUIDs", "as"),
        readable("Modalias", "s"),
        readable("Adapter", "o"),
        readable("ManufacturerData", "a{qv}"),
        readable("ServiceData", "a{sv}"),
        readable("TxPower", "n"),
        readable("ServicesResolved", "b"),
        writable("WakeAllowed", "b"),
    ],
    signals: &[],
};

pub(super) const BATTERY: Interface =
    Interface { name: "org.bluez.Battery1", methods: &[], properties: &[readable("Percentage", "y")], signals: &[] };

pub(super) const SERVICE: Interface = Interface {
    name: "org.bluez.GattService1",
    methods: &[],
    properties: &[readable("UUID", "s"), readable("Device", "o"), readable("Primary", "b"), readable("Includes", "ao")],
    signals: &[],
};

pub(super) const CHARACTERISTIC: Interface = Interface {
    name: "org.bluez.GattCharacteristic1",
    methods: &[
        method!("ReadValue", [("options", "a{sv}")], [("value", "ay")]),
        method!("WriteValue", [("value", "ay"), ("options", "a{sv}")], []),
        method!("AcquireWrite", [("options", "a{sv}")], [("fd", "h"), ("mtu", "q")]),
        method!("AcquireNotify", [("options", "a{sv}")], [("fd", "h"), ("mtu", "q")]),
        method!("StartNotify"),
        method!("StopNotify"),
    ],
    properties: &[
        readable("UUID", "s"),
        readable("Service", "o"),
        readable("Value", "ay"),
        readable("Notifying", "b"),
        readable("Flags", "as"),
        readable("WriteAcquired", "b"),
        readable("NotifyAcquired", "b"),
        readable("MTU", "q"),
    ],
    signals: &[],
};

pub(super) const DESCRIPTOR: Interface = Interface {
    name: "org.bluez.GattDescriptor1",
    methods: &[
        method!("ReadValue", [("options", "a{sv}")], [("value", "ay")]),
        method!("WriteValue", [("value", "ay"), ("options", "a{sv}")], []),
    ],
    properties: &[readable("UUID", "s"), readable("Characteristic", "o"), readable("Value", "ay")],
    signals: &[],
};

/// How every description of an object begins.
const DOCTYPE: &str = "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
                       \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n";

/// What libdbus answers by itself where nobody has registered an object.
pub(super) fn bare_introspection(children: &[&str]) -> String {
    let children: String = children.iter().map(|child| format!("  <node name=\"{child}\"/>\n")).collect();
    format!("{DOCTYPE}<node>\n{children}</node>\n")
}

/// What `Introspect` answers: these interfaces, and children by their last part.
pub(super) fn introspection(interfaces: &[&Interface], children: &[String]) -> String {
    let mut xml = format!("{DOCTYPE}<node>");
    let argument = |xml: &mut String, (name, signature): &(&str, &str), direction: &str| {
        let _ = writeln!(xml, "<arg name=\"{name}\" type=\"{signature}\"{direction}/>");
    };
    for interface in interfaces {
        let _ = write!(xml, "<interface name=\"{}\">", interface.name);
        for method in interface.methods {
            let _ = write!(xml, "<method name=\"{}\">", method.name);
            for taken in method.takes {
                argument(&mut xml, taken, " direction=\"in\"");
            }
            for given in method.gives {
                argument(&mut xml, given, " direction=\"out\"");
            }
            xml.push_str("</method>");
        }
        for signal in interface.signals {
            let _ = write!(xml, "<signal name=\"{}\">", signal.name);
            for carried in signal.carries {
                argument(&mut xml, carried, "");
            }
            xml.push_str("</signal>\n");
        }
        for Property { name, signature, writable } in interface.properties {
            let access = if *writable { "readwrite" } else { "read" };
            let _ = write!(xml, "<property name=\"{name}\" type=\"{signature}\" access=\"{access}\"></property>");
        }
        xml.push_str("</interface>");
    }
    for child in children {
        let _ = write!(xml, "<node name=\"{child}\"/>");
    }
    xml.push_str("</node>");
    xml
}
