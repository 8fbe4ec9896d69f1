//! The interfaces of `org.freedesktop.DBus` as a table, and the texts that come of it.

use std::fmt::Write as _;

use zbus::Message;

use super::{BUS_NAME, BUS_PATH, Refusal};

/// One interface.
pub(super) struct Interface {
    pub(super) name: &'static str,
    /// Whether every path has it, and not only the canonical one.
    anywhere: bool,
    methods: &'static [Method],
    /// Lists of strings that never change.
    pub(super) properties: &'static [(&'static str, &'static [&'static str])],
    signals: &'static [(&'static str, &'static [(&'static str, &'static str)])],
}

/// One method: name, arguments, results, and whether it can be called at every path.
struct Method(&'static str, &'static [&'static str], &'static [&'static str], bool);

/// All of them, in the order of `dbus-daemon`.
pub(super) const INTERFACES: &[Interface] = &[
    Interface {
        name: "org.freedesktop.DBus",
        anywhere: true,
        methods: &[
            Method("Hello", &[], &["s"], true),
            Method("RequestName", &["s", "u"], &["u"], true),
            Method("ReleaseName", &["s"], &["u"], true),
            Method("StartServiceByName", &["s", "u"], &["u"], true),
            Method("UpdateActivationEnvironment", &["a{ss}"], &[], false),
            Method("NameHasOwner", &["s"], &["b"], true),
            Method("ListNames", &[], &["as"], true),
            Method("ListActivatableNames", &[], &["as"], true),
            Method("AddMatch", &["s"], &[], true),
            Method("RemoveMatch", &["s"], &[], true),
            Method("GetNameOwner", &["s"], &["s"], true),
            Method("ListQueuedOwners", &["s"], &["as"], true),
            Method("GetConnectionUnixUser", &["s"], &["u"], true),
            Method("GetConnectionUnixProcessID", &["s"], &["u"], true),
            Method("GetAdtAuditSessionData", &["s"], &["ay"], true),
            Method("GetConnectionSELinuxSecurityContext", &["s"], &["ay"], true),
            Method("ReloadConfig", &[], &[], true),
            Method("GetId", &[], &["s"], true),
            Method("GetConnectionCredentials", &["s"], &["a{sv}"], true),
        ],
        properties: &[
            ("Features", &["ActivatableServicesChanged", "HeaderFiltering"]),
            ("Interfaces", &["org.freedesktop.DBus.Monitoring"]),
        ],
        signals: &[
            ("NameOwnerChanged", &[("s", ""), ("s", ""), ("s", "")]),
            ("NameLost", &[("s", "")]),
            ("NameAcquired", &[("s", "")]),
            ("ActivatableServicesChanged", &[]),
        ],
    },
    Interface {
        name: "org.freedesktop.DBus.Properties",
        anywhere: false,
        methods: &[
            Method("Get", &["s", "s"], &["v"], false),
            Method("GetAll", &["s"], &["a{sv}"], false),
            Method("Set", &["s", "s", "v"], &[], false),
        ],
        properties: &[],
        signals: &[(
            "PropertiesChanged",
            &[("s", "interface_name"), ("a{sv}", "changed_properties"), ("as", "invalidated_properties")],
        )],
    },
    Interface {
        name: "org.freedesktop.DBus.Introspectable",
        anywhere: true,
        methods: &[Method("Introspect", &[], &["s"], true)],
        properties: &[],
        signals: &[],
    },
    Interface {
        name: "org.freedesktop.DBus.Monitoring",
        anywhere: false,
        methods: &[Method("BecomeMonitor", &["as", "u"], &[], false)],
        properties: &[],
        signals: &[],
    },
    Interface {
        name: "org.freedesktop.DBus.Peer",
        anywhere: true,
        methods: &[Method("GetMachineId", &[], &["s"], true), Method("Ping", &[], &[], true)],
        properties: &[],
        signals: &[],
    },
];

/// Interface and method that are called, if they exist at this path and take these arguments.
pub(super) fn find(message: &Message) -> Result<(&'static str, &'static str), Refusal> {
    let header = message.header();
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    let canonical = header.path().is_some_and(|path| path.as_str() == BUS_PATH);
    let wanted = header.interface().map(|interface| interface.as_str());
    let mut known = false;
    for interface in INTERFACES {
        if !(canonical || interface.anywhere) || wanted.is_some_and(|wanted| wanted != interface.name) {
            continue;
        }
        known = true;
        let Some(Method(name, input, _, anywhere)) = interface.methods.iter().find(|method| method.0 == member) else {
            continue;
        };
        if !(canonical || *anywhere) {
            let text = format!("Method '{name}' is only available at the canonical object path '{BUS_PATH}'");
            return Err(Refusal::new("AccessDenied", text));
        }
        let (signature, expected) = (header.signature().to_string_no_parens(), input.concat());
        if signature != expected {
            let text = format!("Call to {name} has wrong args ({signature}, expected {expected})\n");
            return Err(Refusal::new("InvalidArgs", text));
        }
        return Ok((interface.name, name));
    }
    let name = if known { "UnknownMethod" } else { "UnknownInterface" };
    Err(Refusal::new(name, format!("{BUS_NAME} does not understand message {member}")))
}

/// What Introspect answers at the path of the message.
pub(super) fn introspect(message: &Message) -> String {
    let header = message.header();
    let path = header.path().map(|path| path.as_str()).unwrap_or_default();
    let mut xml = String::from(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n\
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<node>\n",
    );
    for interface in INTERFACES.iter().filter(|interface| interface.anywhere || path == BUS_PATH) {
        // Writing to a string cannot fail.
        let _ = interface.write(&mut xml);
    }
    xml.push_str(match path {
        "/" => "  <node name=\"org/freedesktop/DBus\"/>\n",
        "/org" => "  <node name=\"freedesktop/DBus\"/>\n",
        "/org/freedesktop" => "  <node name=\"DBus\"/>\n",
        _ => "",
    });
    xml.push_str("</node>\n");
    xml
}

impl Interface {
    fn write(&self, xml: &mut String) -> std::fmt::Result {
        writeln!(xml, "  <interface name=\"{}\">", self.name)?;
        for Method(name, input, output, _) in self.methods {
            writeln!(xml, "    <method name=\"{name}\">")?;
            for kind in *input {
                writeln!(xml, "      <arg direction=\"in\" type=\"{kind}\"/>")?;
            }
            for kind in *output {
                writeln!(xml, "      <arg direction=\"out\" type=\"{kind}\"/>")?;
            }
            writeln!(xml, "    </method>")?;
        }
        for (name, _) in self.properties {
            writeln!(xml, "    <property name=\"{name}\" type=\"as\" access=\"read\">")?;
            writeln!(
                xml,
                "      <annotation name=\"org.freedesktop.DBus.Property.EmitsChangedSignal\" value=\"const\"/>"
            )?;
            writeln!(xml, "    </property>")?;
        }
        for (name, arguments) in self.signals {
            writeln!(xml, "    <signal name=\"{name}\">")?;
            for (kind, name) in *arguments {
                match *name {
                    "" => writeln!(xml, "      <arg type=\"{kind}\"/>")?,
                    name => writeln!(xml, "      <arg type=\"{kind}\" name=\"{name}\"/>")?,
                }
            }
            writeln!(xml, "    </signal>")?;
        }
        writeln!(xml, "  </interface>")
    }
}
