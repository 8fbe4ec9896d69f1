//! Names of objects in scripts and transcripts, which are the same on both sides.

use crate::peripheral;

/// Who is who on one side.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Path of the adapter under test.
    pub(crate) adapter: String,
    /// Path of the adapter that the peripheral is behind, if it is one.
    pub(crate) other: String,
    /// Address of the peripheral.
    pub(crate) address: String,
    /// Address of the adapter under test.
    pub(crate) own: String,
    /// Name of that adapter.
    pub(crate) host: String,
}

/// The standard interfaces that are written without what they begin with.
const STANDARD: [&str; 4] = ["Properties", "Introspectable", "ObjectManager", "Peer"];

impl Names {
    pub(crate) fn device(&self) -> String {
        format!("{}/dev_{}", self.adapter, self.address.replace(':', "_"))
    }

    /// The path that a name stands for.
    pub(crate) fn path(&self, name: &str) -> String {
        match name {
            "root" => "/".to_owned(),
            "bluez" => "/org/bluez".to_owned(),
            "adapter" => self.adapter.clone(),
            "device" => self.device(),
            _ => match peripheral::PATHS.iter().find(|(known, _)| *known == name) {
                Some((_, below)) => format!("{}/{below}", self.device()),
                None => name.replace("/adapter", &self.adapter).replace("/device", &self.device()),
            },
        }
    }

    /// The name of a path.
    pub(crate) fn short(&self, path: &str) -> String {
        if path == "/" {
            return "root".to_owned();
        }
        if let Some(below) = path.strip_prefix(&self.device()) {
            let known = peripheral::PATHS.iter().find(|(_, known)| below.strip_prefix('/') == Some(*known));
            return known.map_or_else(|| format!("device{below}"), |(name, _)| (*name).to_owned());
        }
        match path.strip_prefix(&self.adapter) {
            Some(below) => format!("adapter{below}"),
            None if path == "/org/bluez" => "bluez".to_owned(),
            None => path.to_owned(),
        }
    }

    /// Whether an object belongs to the other adapter, which no transcript is about.
    pub(crate) fn is_foreign(&self, path: &str) -> bool {
        path == self.other || path.starts_with(&format!("{}/", self.other))
    }

    /// A text without what is different on every machine.
    pub(crate) fn normal(&self, text: &str) -> String {
        let dashed = |address: &str| address.replace(':', "-");
        text.replace(&self.device(), "(device)")
            .replace(&self.adapter, "(adapter)")
            .replace(&self.address, "(address)")
            .replace(&dashed(&self.address), "(address-with-dashes)")
            .replace(&self.own, "(own address)")
            .replace(&self.host, "(own name)")
    }

    /// The full name of an interface.
    pub(crate) fn interface(&self, brief: &str) -> String {
        if brief.contains('.') {
            return brief.to_owned();
        }
        let prefix = if STANDARD.contains(&brief) { "org.freedesktop.DBus" } else { "org.bluez" };
        format!("{prefix}.{brief}")
    }

    /// The brief name of an interface; anything else as it is.
    pub(crate) fn brief(&self, interface: &str) -> String {
        let brief = interface.strip_prefix("org.bluez.").or_else(|| interface.strip_prefix("org.freedesktop.DBus."));
        brief.filter(|brief| !brief.contains('.')).unwrap_or(interface).to_owned()
    }
}
