//! Object paths: `/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011/desc0013`.

use std::fmt;

use zbus::ObjectPath;

use crate::gatt::Address;

/// A device as one adapter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeviceKey {
    pub(super) adapter: usize,
    pub(super) address: Address,
}

/// What a path names, whether it exists or not. The order is that of parents before children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Object {
    Root,
    Bluez,
    Adapter(usize),
    Device(DeviceKey),
    /// Handle of the declaration.
    Service(DeviceKey, u16),
    /// Of the service, and of the characteristic's declaration.
    Characteristic(DeviceKey, u16, u16),
    /// And of the descriptor.
    Descriptor(DeviceKey, u16, u16, u16),
}

impl Object {
    pub(super) fn parse(path: &str) -> Option<Self> {
        match path {
            "/" => return Some(Self::Root),
            "/org/bluez" => return Some(Self::Bluez),
            _ => {}
        }
        let mut parts = path.strip_prefix("/org/bluez/")?.split('/');
        let number = parts.next()?.strip_prefix("hci")?;
        let adapter: usize = number.parse().ok().filter(|parsed: &usize| parsed.to_string() == number)?;
        let Some(device) = parts.next() else { return Some(Self::Adapter(adapter)) };
        let address = device.strip_prefix("dev_")?.replace('_', ":");
        let key = DeviceKey { adapter, address: address.parse().ok().filter(|a: &Address| a.to_string() == address)? };
        let mut handles = [0; 3];
        let mut depth = 0;
        for part in parts {
            let prefix = ["service", "char", "desc"].get(depth)?;
            handles[depth] = handle(part.strip_prefix(prefix)?)?;
            depth += 1;
        }
        let [service, characteristic, descriptor] = handles;
        Some(match depth {
            0 => Self::Device(key),
            1 => Self::Service(key, service),
            2 => Self::Characteristic(key, service, characteristic),
            _ => Self::Descriptor(key, service, characteristic, descriptor),
        })
    }

    pub(super) fn path(self) -> ObjectPath<'static> {
        // Every form below is one of letters, digits, underscores and single slashes.
        ObjectPath::try_from(self.to_string()).unwrap_or_default()
    }

    pub(super) fn device(self) -> Option<DeviceKey> {
        match self {
            Self::Root | Self::Bluez | Self::Adapter(_) => None,
            Self::Device(key) | Self::Service(key, _) | Self::Characteristic(key, ..) | Self::Descriptor(key, ..) => {
                Some(key)
            }
        }
    }
}

/// Four lower-case hexadecimal digits.
fn handle(text: &str) -> Option<u16> {
    let plain = text.len() == 4 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/org/bluez/hci{}/dev_{}", self.adapter, self.address.to_string().replace(':', "_"))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => write!(f, "/"),
            Self::Bluez => write!(f, "/org/bluez"),
            Self::Adapter(adapter) => write!(f, "/org/bluez/hci{adapter}"),
            Self::Device(key) => key.fmt(f),
            Self::Service(key, service) => write!(f, "{key}/service{service:04x}"),
            Self::Characteristic(key, service, characteristic) => {
                write!(f, "{key}/service{service:04x}/char{characteristic:04x}")
            }
            Self::Descriptor(key, service, characteristic, descriptor) => {
                write!(f, "{key}/service{service:04x}/char{characteristic:04x}/desc{descriptor:04x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_round_trip() {
        for path in [
            "/",
            "/org/bluez",
            "/org/bluez/hci0",
            "/org/bluez/hci12/dev_C0_FF_EE_00_00_01",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011/desc0013",
        ] {
            assert_eq!(Object::parse(path).map(|object| object.to_string()).as_deref(), Some(path));
            assert_eq!(Object::parse(path).map(|object| object.path().to_string()).as_deref(), Some(path));
        }
        for path in [
            "",
            "/org",
            "/org/bluez/",
            "/org/bluez/hci",
            "/org/bluez/hci01",
            "/org/bluez/hci0/dev_c0_ff_ee_00_00_01",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service10",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service001G",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/char0011",
            "/org/bluez/hci0/dev_C0_FF_EE_00_00_01/service0010/char0011/desc0013/desc0014",
        ] {
            assert_eq!(Object::parse(path), None, "{path}");
        }
    }
}
