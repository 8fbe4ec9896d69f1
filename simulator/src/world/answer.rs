//! Answers that are not what the server said.
//!
//! A fault may refuse a request in the server's place, or change an answer on its way out: an
//! application with hooks, a vendor's fork and a stale packet all look like that from outside.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_cbor::Value;

use crate::smp::codes::translated;
use crate::smp::{Field, Frame, Op, SmpError, Version};

/// How a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The group of an `err` map; a plain `rc` without one.
    pub group: Option<u16>,
    /// The code.
    pub rc: u16,
}

/// What is changed in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Keys that get a value; `rc` 0 only in a success.
    pub set: BTreeMap<String, Field>,
    /// Keys that go.
    pub remove: Vec<String>,
    /// Header version of the answer.
    pub version: Option<u8>,
    /// What happens to the list of images.
    pub images: Option<ImagesChange>,
}

/// Lists of images as other servers, builds and bootloaders send them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImagesChange {
    /// In the other order.
    Reversed,
    /// Flags that are false are left out, and `splitStatus` (`CONFIG_MCUMGR_GRP_IMG_FRUGAL_LIST`).
    Frugal,
    /// Without hashes.
    WithoutHash,
    /// Hashes of 64 bytes, as a build for SHA-512 sends them.
    Sha512,
    /// Without any flag.
    WithoutFlags,
    /// No image at all.
    Empty,
}

const FLAGS: [&str; 5] = ["bootable", "pending", "confirmed", "active", "permanent"];

/// The answer that refuses this request; `None` for what is no request.
pub(super) fn refuse(request: &[u8], refusal: Refusal) -> Option<Vec<u8>> {
    let (frame, _) = Frame::parse_header(request).ok()?;
    let rc = |rc: u16| Value::Map(BTreeMap::from([(text("rc"), Value::Integer(rc.into()))]));
    let body = match refusal.group {
        None => rc(refusal.rc),
        // Where the group takes it for no error there is nothing to refuse with: unknown.
        Some(group) if frame.version == Version::V0 => {
            rc(translated(group, refusal.rc).unwrap_or(SmpError::Unknown) as u16)
        }
        Some(group) => {
            let error = BTreeMap::from([
                (text("group"), Value::Integer(group.into())),
                (text("rc"), Value::Integer(refusal.rc.into())),
            ]);
            Value::Map(BTreeMap::from([(text("err"), Value::Map(error))]))
        }
    };
    Some(frame.answer().emit(&serde_cbor::to_vec(&body).ok()?))
}

/// The answer with the change; as it was where it is no answer with a map.
pub(super) fn change(packet: &[u8], change: &Change) -> Vec<u8> {
    changed(packet, change, 0).unwrap_or_else(|| packet.to_vec())
}

/// A copy of the answer that belongs to no open request: another sequence number, and the change.
pub(super) fn foreign(packet: &[u8], change: &Change) -> Vec<u8> {
    const AWAY: u8 = 128;
    changed(packet, change, AWAY).unwrap_or_else(|| packet.to_vec())
}

fn changed(packet: &[u8], change: &Change, away: u8) -> Option<Vec<u8>> {
    let (frame, payload) = Frame::parse(packet).ok()?;
    let Ok(Value::Map(mut map)) = serde_cbor::from_slice(&packet[payload]) else { return None };
    for key in &change.remove {
        map.remove(&text(key));
    }
    let failed = [text("rc"), text("err")].iter().any(|key| map.contains_key(key));
    for (key, field) in &change.set {
        if key == "rc" && *field == Field::Number(0) && failed {
            // A failure stays one.
            continue;
        }
        map.insert(text(key), value(field));
    }
    if let Some(images) = change.images {
        change_images(&mut map, images);
    }
    let version = match change.version {
        None => frame.version,
        Some(0) => Version::V0,
        Some(1) => Version::V1,
        Some(other) => Version::Undefined(other),
    };
    let frame = Frame { version, sequence: frame.sequence.wrapping_add(away), ..frame };
    Some(frame.emit(&serde_cbor::to_vec(&Value::Map(map)).ok()?))
}

fn change_images(map: &mut BTreeMap<Value, Value>, change: ImagesChange) {
    if change == ImagesChange::Frugal {
        map.remove(&text("splitStatus"));
    }
    let Some(Value::Array(images)) = map.get_mut(&text("images")) else { return };
    match change {
        ImagesChange::Reversed => images.reverse(),
        ImagesChange::Empty => images.clear(),
        _ => {}
    }
    for image in images {
        let Value::Map(image) = image else { continue };
        match change {
            ImagesChange::Frugal => image.retain(|_, value| *value != Value::Bool(false)),
            ImagesChange::WithoutFlags => {
                for flag in FLAGS {
                    image.remove(&text(flag));
                }
            }
            ImagesChange::WithoutHash => {
                image.remove(&text("hash"));
            }
            ImagesChange::Sha512 => {
                if let Some(Value::Bytes(hash)) = image.get_mut(&text("hash")) {
                    hash.resize(64, 0x5a);
                }
            }
            ImagesChange::Reversed | ImagesChange::Empty => {}
        }
    }
}

/// A request of the harness itself.
#[must_use]
pub fn request(op: Op, group: u16, command: u8, body: &BTreeMap<String, Field>) -> Vec<u8> {
    let map = body.iter().map(|(key, field)| (text(key), value(field))).collect();
    let frame = Frame { version: Version::V1, op, reserved: (0, 0), group, sequence: 0, command };
    // A map of plain values always has a form in CBOR.
    frame.emit(&serde_cbor::to_vec(&Value::Map(map)).unwrap_or_default())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Number(number) => Value::Integer((*number).into()),
        Field::Boolean(value) => Value::Bool(*value),
        Field::Text(value) => text(value),
        Field::Bytes(hex) => Value::Bytes(hex::decode(hex).unwrap_or_default()),
        Field::List(list) => Value::Array(list.iter().map(value).collect()),
        Field::Map(map) => Value::Map(map.iter().map(|(key, field)| (text(key), value(field))).collect()),
        Field::LongBytes { .. } | Field::Other => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smp::SmpMessage;

    fn request_of(version: Version) -> Vec<u8> {
        let frame = Frame { version, op: Op::Write, reserved: (0, 0), group: 1, sequence: 9, command: 1 };
        frame.emit(b"\xa0")
    }

    #[test]
    fn refusals_have_the_form_of_the_version() {
        let refusal = Refusal { group: Some(1), rc: 9 };
        let new = SmpMessage::parse(&refuse(&request_of(Version::V1), refusal).unwrap());
        assert_eq!((new.failure(), new.sequence, new.op), (Some((Some(1), 9)), 9, 3));
        let old = SmpMessage::parse(&refuse(&request_of(Version::V0), refusal).unwrap());
        assert_eq!(old.failure(), Some((None, 6)));
        let plain = SmpMessage::parse(&refuse(&request_of(Version::V1), Refusal { group: None, rc: 10 }).unwrap());
        assert_eq!(plain.failure(), Some((None, 10)));
    }

    #[test]
    fn answers_are_changed() {
        let answer = refuse(&request_of(Version::V1), Refusal { group: None, rc: 10 }).unwrap();
        let set = BTreeMap::from([("match".to_owned(), Field::Boolean(false))]);
        let change_it = Change { set, remove: vec!["rc".into()], version: Some(0), images: None };
        let message = SmpMessage::parse(&change(&answer, &change_it));
        assert_eq!((message.failure(), message.version), (None, 0));
        assert_eq!(message.body["match"], Field::Boolean(false));
        assert_eq!(SmpMessage::parse(&foreign(&answer, &Change::default())).sequence, 137);
        assert_eq!(change(b"\x01\x02", &change_it), b"\x01\x02");
    }
}
