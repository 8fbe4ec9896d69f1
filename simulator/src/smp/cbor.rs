//! CBOR as SMP uses it.
//!
//! [`Writer`] writes maps of definite or indefinite length. [`MapReader`] reads a request body the way
//! the server does (zcbor 0.7 and `zcbor_bulk.c`): only a map, keys in any order, unknown keys skipped
//! with their values, a known key twice or with the wrong type refused, numbers of at most 32 bits.
//! Which malformed bodies are refused is part of what a server is, so a general reader would not do.

use thiserror::Error;

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;
/// Deepest nesting that is followed while a value is skipped.
const DEPTH_MAX: u8 = 64;

/// A body that the server does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a CBOR map the server accepts")]
pub struct Malformed;

/// Writes CBOR.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Starts a map that [`Writer::end`] closes.
    pub fn begin_map(&mut self) -> &mut Self {
        self.bytes.push(MAP << 5 | INDEFINITE);
        self
    }

    /// Starts a map of `pairs` pairs.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// Starts a list that [`Writer::end`] closes.
    pub fn begin_list(&mut self) -> &mut Self {
        self.bytes.push(LIST << 5 | INDEFINITE);
        self
    }

    /// Closes a map or list of indefinite length.
    pub fn end(&mut self) -> &mut Self {
        self.bytes.push(BREAK);
        self
    }

    /// Writes a text, also as a key.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.head(TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Writes a text that need not be UTF-8, as an echoing server does.
    pub fn raw_text(&mut self, text: &[u8]) -> &mut Self {
        self.head(TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text);
        self
    }

    /// Writes a byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.head(BYTES, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Writes a number.
    pub fn unsigned(&mut self, number: u64) -> &mut Self {
        self.head(UNSIGNED, number)
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.bytes.push(SIMPLE << 5 | if value { 21 } else { 20 });
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        match value {
            0..=23 => self.bytes.push(major | value as u8),
            24..=0xff => self.bytes.extend_from_slice(&[major | 24, value as u8]),
            0x100..=0xffff => {
                self.bytes.push(major | 25);
                self.bytes.extend_from_slice(&(value as u16).to_be_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.bytes.push(major | 26);
                self.bytes.extend_from_slice(&(value as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&value.to_be_bytes());
            }
        }
        self
    }
}

/// A value of a key that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number of at most 32 bits.
    Unsigned(u32),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text, not checked for UTF-8.
    Text(&'a [u8]),
    /// A boolean.
    Boolean(bool),
}

/// The type a known key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A number of at most 32 bits.
    Unsigned,
    /// A byte string.
    Bytes,
    /// A text.
    Text,
    /// A boolean.
    Boolean,
}

/// A request body: the values of the known keys, `None` where one is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapReader<'a, const N: usize> {
    values: [Option<Value<'a>>; N],
}

impl<'a, const N: usize> MapReader<'a, N> {
    /// Reads a map from the start of `body`; what follows it is not looked at.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(body: &'a [u8], keys: [(&str, Type); N]) -> Result<Self, Malformed> {
        let mut input = Input { rest: body };
        let mut values = [None; N];
        let (major, additional) = input.peek()?;
        if major != MAP {
            return Err(Malformed);
        }
        // Values left to read, or until the break.
        let mut left = if additional == INDEFINITE {
            input.rest = &input.rest[1..];
            None
        } else {
            Some(u64::from(input.small_head(MAP)?) * 2)
        };
        loop {
            let at_end = match left {
                Some(left) => left == 0,
                None => input.rest.first() == Some(&BREAK),
            };
            if at_end {
                return Ok(Self { values });
            }
            let key = input.string(TEXT)?;
            if let Some(left) = &mut left {
                // A map of n pairs holds an even number of values.
                *left = left.checked_sub(2).ok_or(Malformed)?;
            }
            match keys.iter().position(|(name, _)| name.as_bytes() == key) {
                Some(index) if values[index].is_some() => return Err(Malformed),
                Some(index) => values[index] = Some(input.value(keys[index].1)?),
                None => input.skip(0)?,
            }
        }
    }

    /// The number at this key.
    #[must_use]
    pub fn unsigned(&self, index: usize) -> Option<u32> {
        match self.values[index] {
            Some(Value::Unsigned(number)) => Some(number),
            _ => None,
        }
    }

    /// The byte string at this key.
    #[must_use]
    pub fn bytes(&self, index: usize) -> Option<&'a [u8]> {
        match self.values[index] {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// The text at this key.
    #[must_use]
    pub fn text(&self, index: usize) -> Option<&'a [u8]> {
        match self.values[index] {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The boolean at this key.
    #[must_use]
    pub fn boolean(&self, index: usize) -> Option<bool> {
        match self.values[index] {
            Some(Value::Boolean(value)) => Some(value),
            _ => None,
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn peek(&self) -> Result<(u8, u8), Malformed> {
        self.rest.first().map(|byte| (byte >> 5, byte & 0x1f)).ok_or(Malformed)
    }

    /// Head with a value of at most `width` bytes.
    fn head(&mut self, width: usize) -> Result<u64, Malformed> {
        let (_, additional) = self.peek()?;
        let len = match additional {
            0..=23 => {
                self.rest = &self.rest[1..];
                return Ok(additional.into());
            }
            24..=27 => 1usize << (additional - 24),
            _ => return Err(Malformed),
        };
        if len > width {
            return Err(Malformed);
        }
        let bytes = self.rest.get(1..=len).ok_or(Malformed)?;
        self.rest = &self.rest[1 + len..];
        Ok(bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// Head of this major type with a value of at most 32 bits: `size_t` of the recorded server.
    fn small_head(&mut self, major: u8) -> Result<u32, Malformed> {
        if self.peek()?.0 != major {
            return Err(Malformed);
        }
        u32::try_from(self.head(4)?).map_err(|_| Malformed)
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], Malformed> {
        let len = self.small_head(major)? as usize;
        let string = self.rest.get(..len).ok_or(Malformed)?;
        self.rest = &self.rest[len..];
        Ok(string)
    }

    fn value(&mut self, wanted: Type) -> Result<Value<'a>, Malformed> {
        Ok(match wanted {
            Type::Unsigned => Value::Unsigned(self.small_head(UNSIGNED)?),
            Type::Bytes => Value::Bytes(self.string(BYTES)?),
            Type::Text => Value::Text(self.string(TEXT)?),
            Type::Boolean => match self.rest.first() {
                Some(0xf4) => {
                    self.rest = &self.rest[1..];
                    Value::Boolean(false)
                }
                Some(0xf5) => {
                    self.rest = &self.rest[1..];
                    Value::Boolean(true)
                }
                _ => return Err(Malformed),
            },
        })
    }

    fn skip(&mut self, depth: u8) -> Result<(), Malformed> {
        if depth > DEPTH_MAX {
            return Err(Malformed);
        }
        let (mut major, mut additional) = self.peek()?;
        while major == TAG {
            self.head(4)?;
            (major, additional) = self.peek()?;
        }
        if additional == INDEFINITE && (major == LIST || major == MAP) {
            self.rest = &self.rest[1..];
            while self.rest.first() != Some(&BREAK) {
                self.skip(depth + 1)?;
            }
            self.rest = &self.rest[1..];
            return Ok(());
        }
        let value = self.head(8)?;
        match major {
            BYTES | TEXT => {
                let len = usize::try_from(value).map_err(|_| Malformed)?;
                self.rest = self.rest.get(len..).ok_or(Malformed)?;
            }
            LIST | MAP => {
                let items = if major == MAP { value.checked_mul(2).ok_or(Malformed)? } else { value };
                for _ in 0..items {
                    self.skip(depth + 1)?;
                }
            }
            UNSIGNED | NEGATIVE | SIMPLE => {}
            _ => return Err(Malformed),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<(Option<u32>, Option<&[u8]>), Malformed> {
        let map = MapReader::read(body, [("off", Type::Unsigned), ("data", Type::Bytes)])?;
        Ok((map.unsigned(0), map.bytes(1)))
    }

    #[test]
    fn definite_and_indefinite_maps_are_the_same() {
        let mut definite = Writer::new();
        definite.map(2).text("off").unsigned(5).text("data").bytes(&[1, 2]);
        let mut indefinite = Writer::new();
        indefinite.begin_map().text("data").bytes(&[1, 2]).text("off").unsigned(5).end();
        assert_eq!(read(&definite.into_bytes()), Ok((Some(5), Some(&[1u8, 2][..]))));
        assert_eq!(read(&indefinite.into_bytes()), Ok((Some(5), Some(&[1u8, 2][..]))));
    }

    #[test]
    fn unknown_keys_are_skipped_whatever_they_hold() {
        let mut body = Writer::new();
        body.begin_map().text("x").begin_list().map(1).text("y").boolean(true).begin_map().end().end();
        body.text("off").unsigned(70_000).end();
        assert_eq!(read(&body.into_bytes()), Ok((Some(70_000), None)));
    }

    #[test]
    fn refused() {
        for body in [
            &b"\xa2\x63off\x01\x63off\x01"[..],   // twice
            b"\xa1\x63off\x61x",                  // wrong type
            b"\xa1\x63off\x1b\0\0\0\0\0\0\0\x01", // 64 bits
            b"\xa2\x63off\x01",                   // a pair is missing
            b"\xbf\x63off\x01",                   // no break
            b"\xa1\x01\x01",                      // a key that is no text
            b"\x80",
            b"",
        ] {
            assert_eq!(read(body), Err(Malformed), "{body:02x?}");
        }
    }

    #[test]
    fn deep_nesting_ends() {
        let mut body = b"\xa1\x61x".to_vec();
        body.extend(std::iter::repeat_n(0x81, 2000));
        assert_eq!(read(&body), Err(Malformed));
    }
}
