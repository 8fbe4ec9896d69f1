//! A packet taken apart for people and judges.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::codes::Command;
use super::frame::{Frame, FrameError};

/// Byte strings up to this length are kept whole, longer ones as length and hash.
const BYTES_KEPT: usize = 64;
/// Longest text that is kept whole, in bytes.
const TEXT_KEPT: usize = 256;
/// Deepest nesting that is kept. The deepest that SMP defines is 5, in the slot info; each level is two of JSON's in a
/// trace, which must be readable again by readers that allow 128.
const DEPTH_KEPT: usize = 16;

/// A CBOR value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// A number.
    Number(i64),
    /// A boolean.
    Boolean(bool),
    /// A text.
    Text(String),
    /// A byte string, in hexadecimal.
    Bytes(String),
    /// A long byte string: its length and SHA-256, in hexadecimal.
    LongBytes {
        /// Number of bytes.
        len: u64,
        /// Their SHA-256.
        sha256: String,
    },
    /// A list.
    List(Vec<Field>),
    /// A map with text keys.
    Map(BTreeMap<String, Field>),
    /// Anything else: null, floating point, what is nested too deeply to be kept.
    Other,
}

impl Field {
    /// The number.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The boolean.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Self::Boolean(value) = self { Some(*value) } else { None }
    }

    /// The byte string in hexadecimal, if it was kept whole.
    #[must_use]
    pub fn hex(&self) -> Option<&str> {
        if let Self::Bytes(hex) = self { Some(hex) } else { None }
    }

    /// The list.
    #[must_use]
    pub fn list(&self) -> Option<&[Self]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// A value of the map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        if let Self::Map(map) = self { map.get(key) } else { None }
    }

    /// Without what is nested in more than so many lists and maps.
    fn keep(self, levels: usize) -> Self {
        match self {
            Self::List(_) | Self::Map(_) if levels == 0 => Self::Other,
            Self::List(list) => Self::List(list.into_iter().map(|value| value.keep(levels - 1)).collect()),
            Self::Map(map) => Self::Map(map.into_iter().map(|(key, value)| (key, value.keep(levels - 1))).collect()),
            value => value,
        }
    }

    /// Length and SHA-256 in hexadecimal of the byte string.
    #[must_use]
    pub fn bytes_sha256(&self) -> Option<(u64, String)> {
        match self {
            Self::LongBytes { len, sha256 } => Some((*len, sha256.clone())),
            Self::Bytes(hex) => {
                let bytes = hex::decode(hex).ok()?;
                Some((bytes.len() as u64, crate::trace::hex(&Sha256::digest(&bytes))))
            }
            _ => None,
        }
    }
}

/// One SMP message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SmpMessage {
    /// Header version.
    pub version: u8,
    /// Operation: 0 read, 1 read response, 2 write, 3 write response.
    pub op: u8,
    /// Group number.
    pub group: u16,
    /// Command number.
    pub command: u8,
    /// The name of the command, where it has one here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Sequence number.
    pub sequence: u8,
    /// The three reserved bits of the first byte and the flags byte: 0 in everything that is defined.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub reserved: u16,
    /// The body; empty when it is no map.
    pub body: BTreeMap<String, Field>,
    /// What is wrong with header or body.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub malformed: Option<String>,
}

impl SmpMessage {
    /// Takes the first message of a packet apart. Never fails: what is wrong is said in
    /// [`SmpMessage::malformed`].
    #[must_use]
    pub fn parse(packet: &[u8]) -> Self {
        match Frame::parse(packet) {
            Ok((frame, payload)) => {
                let trailing = packet.len() - payload.end;
                let mut message = Self::with_body(&frame, &packet[payload]);
                if trailing > 0 && message.malformed.is_none() {
                    message.malformed = Some(format!("{trailing} bytes follow the announced payload"));
                }
                message
            }
            Err(error) => {
                let header = Frame::parse_header(packet).ok().map(|(frame, _)| frame);
                let mut message = header.map_or_else(Self::empty, |frame| Self::header_only(&frame));
                message.malformed = Some(error.to_string());
                if let FrameError::Truncated { .. } = error {
                    message.body = read_body(&packet[super::frame::HEADER_LEN..]).unwrap_or_default();
                }
                message
            }
        }
    }

    /// The command, where it is a known one.
    #[must_use]
    pub fn known(&self) -> Option<Command> {
        Command::from_numbers(self.group, self.command)
    }

    /// Whether it is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.op, 0 | 2)
    }

    /// Whether it is a write request.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.op == 2
    }

    /// The `rc` of a failure of the protocol, or group and `rc` of a failure of a group.
    ///
    /// `None` for a success, which may carry `rc: 0`.
    #[must_use]
    pub fn failure(&self) -> Option<(Option<i64>, i64)> {
        if let Some(error) = self.body.get("err") {
            let rc = error.get("rc").and_then(Field::number).unwrap_or(1);
            return Some((error.get("group").and_then(Field::number), rc));
        }
        self.body.get("rc").and_then(Field::number).filter(|rc| *rc != 0).map(|rc| (None, rc))
    }

    fn empty() -> Self {
        Self {
            version: 0,
            op: 0,
            group: 0,
            command: 0,
            name: None,
            sequence: 0,
            reserved: 0,
            body: BTreeMap::new(),
            malformed: None,
        }
    }

    fn header_only(frame: &Frame) -> Self {
        Self {
            version: frame.version.number(),
            op: frame.op.number(),
            group: frame.group,
            command: frame.command,
            name: Command::from_numbers(frame.group, frame.command).map(|command| command.name().to_owned()),
            sequence: frame.sequence,
            reserved: u16::from_be_bytes([frame.reserved.0, frame.reserved.1]),
            ..Self::empty()
        }
    }

    fn with_body(frame: &Frame, payload: &[u8]) -> Self {
        let mut message = Self::header_only(frame);
        match read_body(payload) {
            Ok(body) => message.body = body,
            Err(problem) => message.malformed = Some(problem),
        }
        message
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Reads a body with a general CBOR reader, not the server's, so that a mistake in the server's shows.
fn read_body(payload: &[u8]) -> Result<BTreeMap<String, Field>, String> {
    if payload.is_empty() {
        return Ok(BTreeMap::new());
    }
    match serde_cbor::from_slice(payload) {
        Ok(Cbor(body)) => match body.keep(DEPTH_KEPT) {
            Field::Map(map) => Ok(map),
            _ => Err("the body is no CBOR map".to_owned()),
        },
        Err(error) => Err(format!("the body is no CBOR map: {error}")),
    }
}

/// A value as CBOR has it: byte strings are not lists, keys are texts and stand once.
struct Cbor(Field);

impl<'de> Deserialize<'de> for Cbor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CborVisitor)
    }
}

struct CborVisitor;

impl<'de> Visitor<'de> for CborVisitor {
    type Value = Cbor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CBOR value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Cbor, E> {
        Ok(Cbor(Field::Boolean(value)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cbor, E> {
        Ok(Cbor(Field::Number(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Cbor, E> {
        i64::try_from(number)
            .map(|number| Cbor(Field::Number(number)))
            .map_err(|_| E::custom("a number beyond 63 bits"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Cbor, E> {
        Ok(Cbor(Field::Other))
    }

    fn visit_unit<E: Error>(self) -> Result<Cbor, E> {
        Ok(Cbor(Field::Other))
    }

    fn visit_none<E: Error>(self) -> Result<Cbor, E> {
        Ok(Cbor(Field::Other))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cbor, E> {
        Ok(Cbor(text_field(text)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Cbor, E> {
        Ok(Cbor(bytes_field(bytes)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, tagged: D) -> Result<Cbor, D::Error> {
        Cbor::deserialize(tagged)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Cbor, A::Error> {
        let mut list = Vec::new();
        while let Some(Cbor(value)) = values.next_element()? {
            list.push(value);
        }
        Ok(Cbor(Field::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Cbor, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((Cbor(key), Cbor(value))) = pairs.next_entry()? {
            let Field::Text(key) = key else { return Err(A::Error::custom("a map key is no text")) };
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a map key stands twice"));
            }
        }
        Ok(Cbor(Field::Map(map)))
    }
}

fn bytes_field(bytes: &[u8]) -> Field {
    if bytes.len() <= BYTES_KEPT {
        Field::Bytes(crate::trace::hex(bytes))
    } else {
        Field::LongBytes { len: bytes.len() as u64, sha256: crate::trace::hex(&Sha256::digest(bytes)) }
    }
}

fn text_field(text: &str) -> Field {
    if text.len() <= TEXT_KEPT {
        return Field::Text(text.to_owned());
    }
    let end = (0..=TEXT_KEPT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Field::Text(format!("{}...", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(body: &[u8]) -> Option<String> {
        let mut packet = vec![0x0a, 0, 0, body.len() as u8, 0, 1, 7, 1];
        packet.extend_from_slice(body);
        SmpMessage::parse(&packet).malformed
    }

    #[test]
    fn bodies_are_taken_apart() {
        let message = SmpMessage::parse(b"\x0b\0\0\x13\0\x01\x01\x06\xbf\x63err\xbf\x65group\x01\x62rc\x16\xff\xff");
        assert_eq!((message.malformed.as_deref(), message.failure()), (None, Some((Some(1), 22))));
        let message = SmpMessage::parse(b"\x0a\0\0\x0d\0\x01\x01\x01\xa2\x63off\0\x64data\x41\x07");
        assert_eq!(message.body["data"].bytes_sha256().unwrap().0, 1);
        assert_eq!(message.known(), Some(Command::ImageUpload));
    }

    /// What is nested deeply is as well-formed as anything else, and comes back from a trace.
    #[test]
    fn nesting_is_kept_as_deep_as_json_carries_it() {
        for opening in [&b"\x81"[..], b"\xa1\x61a"] {
            for depth in [1, DEPTH_KEPT, DEPTH_KEPT + 1, 62, 100] {
                let body = [b"\xa1\x61a", opening.repeat(depth - 1).as_slice(), b"\x01"].concat();
                let mut packet = vec![0x0a, 0, (body.len() >> 8) as u8, body.len() as u8, 0, 1, 7, 1];
                packet.extend_from_slice(&body);
                let message = SmpMessage::parse(&packet);
                assert_eq!(message.malformed, None, "{depth}");
                let json = serde_json::to_string(&message).unwrap();
                assert_eq!(json.contains("{\"number\":1}"), depth <= DEPTH_KEPT, "{json}");
                assert_eq!(serde_json::from_str::<SmpMessage>(&json).unwrap(), message);
            }
        }
        assert!(problem(&[b"\xa1\x61a", [0x81; 200].as_slice(), b"\x01"].concat()).is_some());
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(problem(b"\xa0"), None);
        assert_eq!(problem(b""), None);
        for (body, word) in [
            (&b"\xa2\x61a\x01\x61a\x02"[..], "stands twice"),
            (b"\xa1\x01\x02", "no text"),
            (b"\x80", "no CBOR map"),
            (b"\xa1\x61a", "no CBOR map"),
            (b"\xa0\xa0", "no CBOR map"),
        ] {
            let said = problem(body).unwrap_or_default();
            assert!(said.contains(word), "{body:02x?}: {said}");
        }
        assert!(SmpMessage::parse(&[1, 2, 3]).malformed.is_some());
        assert!(SmpMessage::parse(b"\x0a\0\0\x09\0\0\0\0\xa0").malformed.is_some());
    }
}
