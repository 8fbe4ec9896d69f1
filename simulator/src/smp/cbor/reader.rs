//! Reading bodies exactly as the server does.

use thiserror::Error;

use super::{BREAK, BYTES, INDEFINITE, LIST, MAP, SIMPLE, TAG, TEXT, UNSIGNED};

/// Deepest nesting that is followed while a value is skipped.
const DEPTH_MAX: u8 = 64;

/// A body that the server does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a CBOR map the server accepts")]
pub struct Malformed;

/// A value of a key that the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Unsigned(u64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A text, not checked for UTF-8.
    Text(&'a [u8]),
    /// A boolean.
    Boolean(bool),
    /// A list of numbers of at most 32 bits.
    Numbers(Vec<u32>),
}

/// The type a known key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A number of at most 32 bits.
    Unsigned,
    /// A number of at most 64 bits.
    Unsigned64,
    /// A byte string.
    Bytes,
    /// A text.
    Text,
    /// A boolean.
    Boolean,
    /// A list of numbers of at most 32 bits.
    Numbers,
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
        let mut reader = Self { values: [const { None }; N] };
        reader.scan(body, keys)?;
        Ok(reader)
    }

    /// The same for a handler that goes on with what it has when the body is malformed.
    #[must_use]
    pub fn read_what_is_there(body: &'a [u8], keys: [(&str, Type); N]) -> Self {
        let mut reader = Self { values: [const { None }; N] };
        let _ = reader.scan(body, keys);
        reader
    }

    fn scan(&mut self, body: &'a [u8], keys: [(&str, Type); N]) -> Result<(), Malformed> {
        let mut input = Input { rest: body };
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
                return Ok(());
            }
            let key = input.string(TEXT)?;
            if let Some(left) = &mut left {
                // A map of n pairs holds an even number of values.
                *left = left.checked_sub(2).ok_or(Malformed)?;
            }
            match keys.iter().position(|(name, _)| name.as_bytes() == key) {
                Some(index) if self.values[index].is_some() => return Err(Malformed),
                Some(index) => self.values[index] = Some(input.value(keys[index].1)?),
                // What cannot be skipped ends the map, and an open map may end there: behind a key.
                None if left.is_none() && input.rest.first() == Some(&BREAK) => return Ok(()),
                None => input.skip(0)?,
            }
        }
    }

    /// Whether no known key was there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// The number at this key, if it has at most 32 bits.
    #[must_use]
    pub fn unsigned(&self, index: usize) -> Option<u32> {
        self.unsigned64(index).and_then(|number| number.try_into().ok())
    }

    /// The number at this key.
    #[must_use]
    pub fn unsigned64(&self, index: usize) -> Option<u64> {
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

    /// The list at this key.
    #[must_use]
    pub fn numbers(&self, index: usize) -> Option<&[u32]> {
        match &self.values[index] {
            Some(Value::Numbers(numbers)) => Some(numbers),
            _ => None,
        }
    }
}

/// The words of the list `argv`; whatever follows it, and whatever ends it, is not looked at
/// (zephyr: `shell_mgmt.c`).
///
/// # Errors
/// [`Malformed`] when there is no such list.
pub fn command_line(body: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut input = Input { rest: body };
    let mut left = input.begin(MAP)?;
    loop {
        if left == 0 {
            return Err(Malformed);
        }
        let key = input.string(TEXT)?;
        if key == b"argv" {
            break;
        }
        input.skip(0)?;
        left = left.saturating_sub(2);
    }
    let mut words = Vec::new();
    let mut left = input.begin(LIST)?;
    while left > 0 {
        let Ok(word) = input.string(TEXT) else { break };
        words.push(word);
        left -= 1;
    }
    Ok(words)
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

    /// Enters a map or list: the number of values in it, as many as there can be when it is open.
    fn begin(&mut self, major: u8) -> Result<u64, Malformed> {
        if self.peek()? == (major, INDEFINITE) {
            self.rest = &self.rest[1..];
            return Ok(u64::MAX);
        }
        let count = u64::from(self.small_head(major)?);
        Ok(if major == MAP { count * 2 } else { count })
    }

    fn string(&mut self, major: u8) -> Result<&'a [u8], Malformed> {
        let len = self.small_head(major)? as usize;
        let string = self.rest.get(..len).ok_or(Malformed)?;
        self.rest = &self.rest[len..];
        Ok(string)
    }

    fn value(&mut self, wanted: Type) -> Result<Value<'a>, Malformed> {
        Ok(match wanted {
            Type::Unsigned => Value::Unsigned(self.small_head(UNSIGNED)?.into()),
            Type::Unsigned64 if self.peek()?.0 == UNSIGNED => Value::Unsigned(self.head(8)?),
            Type::Unsigned64 => return Err(Malformed),
            Type::Bytes => Value::Bytes(self.string(BYTES)?),
            Type::Text => Value::Text(self.string(TEXT)?),
            // The long form, with the value in a byte of its own, is taken as well.
            Type::Boolean if self.peek()?.0 == SIMPLE => match self.head(1)? {
                20 => Value::Boolean(false),
                21 => Value::Boolean(true),
                _ => return Err(Malformed),
            },
            Type::Boolean => return Err(Malformed),
            Type::Numbers => Value::Numbers(self.numbers()?),
        })
    }

    fn numbers(&mut self) -> Result<Vec<u32>, Malformed> {
        let mut left = self.begin(LIST)?;
        let open = left == u64::MAX;
        let mut numbers = Vec::new();
        while left > 0 {
            if open && self.rest.first() == Some(&BREAK) {
                self.rest = &self.rest[1..];
                break;
            }
            numbers.push(self.small_head(UNSIGNED)?);
            left -= 1;
        }
        Ok(numbers)
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
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Writer;
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

    #[test]
    fn an_open_map_may_end_behind_an_unknown_key_but_not_behind_a_known_one() {
        assert_eq!(read(b"\xbf\x61x\xff"), Ok((None, None)));
        assert_eq!(read(b"\xbf\x63off\xff"), Err(Malformed));
        assert_eq!(read(b"\xa1\x61x\xff"), Err(Malformed));
    }

    #[test]
    fn booleans_have_a_long_form() {
        let confirm = |body: &[u8]| MapReader::read(body, [("c", Type::Boolean)]).map(|map| map.boolean(0));
        assert_eq!(confirm(b"\xa1\x61c\xf8\x15"), Ok(Some(true)));
        assert_eq!(confirm(b"\xa1\x61c\xf4"), Ok(Some(false)));
        assert_eq!(confirm(b"\xa1\x61c\xf6"), Err(Malformed));
        assert_eq!(confirm(b"\xa1\x61c\xf9\0\x15"), Err(Malformed));
    }

    #[test]
    fn what_was_read_before_the_mistake_is_kept() {
        let map =
            MapReader::read_what_is_there(b"\xa2\x61f\xf5\x61g\x60", [("f", Type::Boolean), ("g", Type::Unsigned)]);
        assert_eq!((map.boolean(0), map.unsigned(1)), (Some(true), None));
    }

    #[test]
    fn words_of_a_command_line() {
        assert_eq!(command_line(b"\xa2\x61x\x01\x64argv\x82\x61a\x61b"), Ok(vec![&b"a"[..], b"b"]));
        assert_eq!(command_line(b"\xbf\x64argv\x9f\x61a\xff\xff"), Ok(vec![&b"a"[..]]));
        assert_eq!(command_line(b"\xa1\x64argv\x80"), Ok(vec![]));
        for body in [&b"\xa0"[..], b"\xa1\x64argv\x61a", b"\xa1\x61x\x80", b"\x80", b""] {
            assert_eq!(command_line(body), Err(Malformed));
        }
    }

    #[test]
    fn lists_of_numbers() {
        let groups =
            |body: &[u8]| MapReader::read(body, [("g", Type::Numbers)]).map(|map| map.numbers(0).map(<[u32]>::to_vec));
        assert_eq!(groups(b"\xa1\x61g\x82\x01\x18\x40"), Ok(Some(vec![1, 64])));
        assert_eq!(groups(b"\xa1\x61g\x9f\x01\xff"), Ok(Some(vec![1])));
        assert_eq!(groups(b"\xa0"), Ok(None));
        assert_eq!(groups(b"\xa1\x61g\x81\x60"), Err(Malformed));
        assert_eq!(groups(b"\xa1\x61g\x9a\xff\xff\xff\xff\x01"), Err(Malformed));
    }
}
