//! Errors as BlueZ names and words them (bluez 5.66: `src/error.c`, `src/gatt-client.c`, `gdbus/object.c`).

use std::borrow::Cow;

use crate::gatt::AttError;

/// What a method is refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: &'static str,
    pub(super) text: Cow<'static, str>,
}

/// A method's answer, or its refusal.
pub(super) type Answer<T> = Result<T, Refusal>;

const fn bluez(name: &'static str, text: &'static str) -> Refusal {
    Refusal { name, text: Cow::Borrowed(text) }
}

pub(super) const INVALID_ARGUMENTS: Refusal =
    bluez("org.bluez.Error.InvalidArguments", "Invalid arguments in method call");
pub(super) const BUSY: Refusal = bluez("org.bluez.Error.InProgress", "Operation already in progress");
pub(super) const IN_PROGRESS: Refusal = bluez("org.bluez.Error.InProgress", "In Progress");
pub(super) const ALREADY_EXISTS: Refusal = bluez("org.bluez.Error.AlreadyExists", "Already Exists");
pub(super) const DOES_NOT_EXIST: Refusal = bluez("org.bluez.Error.DoesNotExist", "Does Not Exist");
pub(super) const NOT_SUPPORTED: Refusal = bluez("org.bluez.Error.NotSupported", "Operation is not supported");
pub(super) const NOT_CONNECTED: Refusal = bluez("org.bluez.Error.NotConnected", "Not Connected");
pub(super) const NOT_READY: Refusal = bluez("org.bluez.Error.NotReady", "Resource Not Ready");
pub(super) const NOT_AUTHORIZED: Refusal = bluez("org.bluez.Error.NotAuthorized", "Operation Not Authorized");
/// The characteristics say it differently.
pub(super) const GATT_NOT_CONNECTED: Refusal = failed("Not connected");

/// `org.bluez.Error.Failed` with these words.
pub(super) const fn failed(text: &'static str) -> Refusal {
    bluez("org.bluez.Error.Failed", text)
}

/// `org.bluez.Error.NotPermitted` with these words.
pub(super) const fn not_permitted(text: &'static str) -> Refusal {
    bluez("org.bluez.Error.NotPermitted", text)
}

/// Another error of BlueZ.
pub(super) const fn named(name: &'static str, text: &'static str) -> Refusal {
    bluez(name, text)
}

/// What an error of the Attribute Protocol becomes (`create_gatt_dbus_error`).
pub(super) fn of_att(error: AttError) -> Refusal {
    match error.code() {
        0x02 => not_permitted("Read not permitted"),
        0x03 => not_permitted("Write not permitted"),
        0x05 | 0x0c | 0x0f => not_permitted("Not paired"),
        0x06 => NOT_SUPPORTED,
        0x07 => bluez("org.bluez.Error.InvalidArguments", "Invalid offset"),
        0x08 => NOT_AUTHORIZED,
        0x0d => bluez("org.bluez.Error.InvalidArguments", "Invalid Length"),
        code => Refusal {
            name: "org.bluez.Error.Failed",
            text: format!("Operation failed with ATT error: 0x{code:02x}").into(),
        },
    }
}

/// An error of the bus itself, or of the standard interfaces.
pub(super) fn standard(name: &'static str, text: String) -> Refusal {
    Refusal { name, text: text.into() }
}

/// A reply that cannot be written down: larger than a message may be.
pub(super) fn failed_to_build(error: &zbus::Error) -> Refusal {
    standard("org.freedesktop.DBus.Error.LimitsExceeded", error.to_string())
}

/// `org.freedesktop.DBus.Error.UnknownMethod`, as libdbus words it.
pub(super) fn unknown_method(member: &str, signature: &str, interface: &str) -> Refusal {
    standard(
        "org.freedesktop.DBus.Error.UnknownMethod",
        format!("Method \"{member}\" with signature \"{signature}\" on interface \"{interface}\" doesn't exist\n"),
    )
}

/// `org.freedesktop.DBus.Error.UnknownObject`, with the same words.
pub(super) fn unknown_object(member: &str, signature: &str, interface: &str) -> Refusal {
    Refusal { name: "org.freedesktop.DBus.Error.UnknownObject", ..unknown_method(member, signature, interface) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_attribute_protocol_have_the_words_that_clients_look_for() {
        let text = |code| of_att(AttError(code)).text.into_owned();
        assert_eq!(text(0x0e), "Operation failed with ATT error: 0x0e");
        assert_eq!(text(0x80), "Operation failed with ATT error: 0x80");
        assert_eq!((text(0x05), text(0x0f)), ("Not paired".into(), "Not paired".into()));
        assert_eq!(of_att(AttError(0x03)), not_permitted("Write not permitted"));
    }
}
