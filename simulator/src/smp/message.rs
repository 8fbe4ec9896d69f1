//! A packet taken apart for people and judges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::codes::Command;
use super::frame::{Frame, FrameError};

/// Byte strings up to this length are kept whole, longer ones as length and hash.
const BYTES_KEPT: usize = 64;
/// Longest text that is kept whole, in bytes.
const TEXT_KEPT: usize = 256;
/// Deepest nesting and largest number of values that are taken apart.
const DEPTH_MAX: u8 = 8;
const VALUES_MAX: usize = 512;

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
    /// Anything else: null, floating point, too deep.
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

    /// Length and SHA-256 in hexadecimal of the byte string.
    #[must_use]
    pub fn bytes_sha256(&self) -> Option<(u64, String)> {
        match self {
            Self::LongBytes { len, sha256 } => Some((*len, sha256.clone())),
            Self::Bytes(hex) => {
                let bytes: Option<Vec<u8>> = (0..hex.len() / 2)
                    .map(|at| hex.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                    .collect();
                bytes.map(|bytes| (bytes.len() as u64, crate::trace::hex(&Sha256::digest(&bytes))))
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
            ..Self::empty()
        }
    }

    fn with_body(frame: &Frame, payload: &[u8]) -> Self {
        let mut message = Self::header_only(frame);
        match read_body(payload) {
            Ok(body) => message.body = body,
            Err(problem) => message.malformed = Some(problem.to_owned()),
        }
        message
    }
}

/// Reads a body with a general CBOR reader of its own, so that a mistake in the server's reader shows.
fn read_body(payload: &[u8]) -> Result<BTreeMap<String, Field>, &'static str> {
    if payload.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut reader = Reader { rest: payload, values: 0 };
    match reader.value(0)? {
        Field::Map(map) if reader.rest.is_empty() => Ok(map),
        Field::Map(_) => Err("bytes follow the CBOR map"),
        _ => Err("the body is no CBOR map"),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: u8) -> Result<Field, &'static str> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err("the body is nested too deep or holds too many values");
        }
        let first = *self.rest.first().ok_or("the CBOR ends in the middle of a value")?;
        let (major, additional) = (first >> 5, first & 0x1f);
        self.rest = &self.rest[1..];
        let argument = match additional {
            0..=23 => Some(u64::from(additional)),
            24..=27 => {
                let bytes = self.take(1 << (additional - 24))?;
                Some(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
            }
            31 => None,
            _ => return Err("a CBOR head is not defined"),
        };
        Ok(match (major, argument) {
            (0, Some(number)) => Field::Number(i64::try_from(number).map_err(|_| "a number beyond 63 bits")?),
            (1, Some(number)) => Field::Number(-1 - i64::try_from(number).map_err(|_| "a number beyond 63 bits")?),
            (2, _) => bytes_field(&self.string(2, argument)?),
            (3, _) => text_field(&self.string(3, argument)?)?,
            (4, _) => {
                let mut list = Vec::new();
                while self.more(argument, list.len() as u64) {
                    list.push(self.value(depth + 1)?);
                }
                self.close(argument)?;
                Field::List(list)
            }
            (5, _) => {
                let mut map = BTreeMap::new();
                let mut pairs = 0;
                while self.more(argument, pairs) {
                    let Field::Text(key) = self.value(depth + 1)? else { return Err("a map key is no text") };
                    if map.insert(key, self.value(depth + 1)?).is_some() {
                        return Err("a map key stands twice");
                    }
                    pairs += 1;
                }
                self.close(argument)?;
                Field::Map(map)
            }
            (6, Some(_)) => self.value(depth + 1)?,
            (7, Some(20)) => Field::Boolean(false),
            (7, Some(21)) => Field::Boolean(true),
            (7, Some(_)) => Field::Other,
            _ => return Err("a break where a value is expected"),
        })
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, &'static str> {
        let bytes = self.rest.get(..len).ok_or("the CBOR ends in the middle of a value")?.to_vec();
        self.rest = &self.rest[len..];
        Ok(bytes)
    }

    /// A string, or the pieces of one of indefinite length.
    fn string(&mut self, major: u8, argument: Option<u64>) -> Result<Vec<u8>, &'static str> {
        if let Some(len) = argument {
            return self.take(usize::try_from(len).map_err(|_| "a string beyond memory")?);
        }
        let mut string = Vec::new();
        while self.more(None, 0) {
            let first = *self.rest.first().ok_or("the CBOR ends in the middle of a string")?;
            if first >> 5 != major || first & 0x1f == 31 {
                return Err("a piece of a string is none");
            }
            match self.value(DEPTH_MAX)? {
                Field::Text(text) => string.extend_from_slice(text.as_bytes()),
                _ => return Err("strings in pieces are not taken apart"),
            }
        }
        self.close(None)?;
        Ok(string)
    }

    fn more(&self, count: Option<u64>, read: u64) -> bool {
        match count {
            Some(count) => read < count,
            None => self.rest.first() != Some(&0xff) && !self.rest.is_empty(),
        }
    }

    fn close(&mut self, count: Option<u64>) -> Result<(), &'static str> {
        if count.is_none() {
            self.rest = self.rest.get(1..).ok_or("the CBOR ends before the break")?;
        }
        Ok(())
    }
}

fn bytes_field(bytes: &[u8]) -> Field {
    if bytes.len() <= BYTES_KEPT {
        Field::Bytes(crate::trace::hex(bytes))
    } else {
        Field::LongBytes { len: bytes.len() as u64, sha256: crate::trace::hex(&Sha256::digest(bytes)) }
    }
}

fn text_field(bytes: &[u8]) -> Result<Field, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "a text is not UTF-8")?;
    if text.len() <= TEXT_KEPT {
        return Ok(Field::Text(text.to_owned()));
    }
    let end = (0..=TEXT_KEPT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Ok(Field::Text(format!("{}...", &text[..end])))
}
