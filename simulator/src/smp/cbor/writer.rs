//! Writing bodies.

use super::{BREAK, BYTES, INDEFINITE, LIST, MAP, NEGATIVE, SIMPLE, TEXT, UNSIGNED};

/// How maps and lists are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MapEncoding {
    /// Open, closed by a break: what Zephyr does in its ordinary configuration.
    #[default]
    Indefinite,
    /// With the number of entries in front (`CONFIG_ZCBOR_CANONICAL`).
    Definite,
}

/// A map or list that is still open.
#[derive(Debug, Clone, Copy)]
struct Open {
    /// Where it starts in the bytes.
    at: usize,
    /// Values in it so far; two for each pair of a map.
    values: u64,
    major: u8,
}

/// Writes CBOR.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    encoding: MapEncoding,
    open: Vec<Open>,
}

impl Writer {
    /// Nothing yet; maps will be of indefinite length.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet; maps and lists will be written like this.
    #[must_use]
    pub fn with_encoding(encoding: MapEncoding) -> Self {
        Self { encoding, ..Self::default() }
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Starts a map that [`Writer::end`] closes.
    pub fn begin_map(&mut self) -> &mut Self {
        self.begin(MAP)
    }

    /// Starts a map of `pairs` pairs.
    pub fn map(&mut self, pairs: usize) -> &mut Self {
        self.head(MAP, pairs as u64)
    }

    /// Starts a list that [`Writer::end`] closes.
    pub fn begin_list(&mut self) -> &mut Self {
        self.begin(LIST)
    }

    /// Closes the map or list that was begun last.
    pub fn end(&mut self) -> &mut Self {
        match (self.open.pop(), self.encoding) {
            (Some(open), MapEncoding::Definite) => {
                let count = if open.major == MAP { open.values / 2 } else { open.values };
                let head = head(open.major, count);
                self.bytes.splice(open.at..open.at, head);
            }
            _ => self.bytes.push(BREAK),
        }
        self
    }

    /// Writes a text, also as a key.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.raw_text(text.as_bytes())
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

    /// Writes a number that may be negative.
    pub fn signed(&mut self, number: i64) -> &mut Self {
        match u64::try_from(number) {
            Ok(number) => self.head(UNSIGNED, number),
            Err(_) => self.head(NEGATIVE, !number as u64),
        }
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.head(SIMPLE, if value { 21 } else { 20 })
    }

    fn begin(&mut self, major: u8) -> &mut Self {
        self.count();
        self.open.push(Open { at: self.bytes.len(), values: 0, major });
        if self.encoding == MapEncoding::Indefinite {
            self.bytes.push(major << 5 | INDEFINITE);
        }
        self
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        self.count();
        self.bytes.extend(head(major, value));
        self
    }

    fn count(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.values += 1;
        }
    }
}

/// Major type and value in the shortest form.
fn head(major: u8, value: u64) -> Vec<u8> {
    let major = major << 5;
    let (additional, len) = match value {
        0..=23 => return vec![major | value as u8],
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    let mut head = vec![major | additional];
    head.extend_from_slice(&value.to_be_bytes()[8 - len..]);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definite_heads_come_when_the_end_is_known() {
        let mut writer = Writer::with_encoding(MapEncoding::Definite);
        writer.begin_map().text("a").begin_list().unsigned(1).signed(-1).end().text("b").begin_map().end().end();
        assert_eq!(writer.into_bytes(), b"\xa2\x61a\x82\x01\x20\x61b\xa0");
        let mut writer = Writer::new();
        writer.begin_map().text("a").begin_list().unsigned(1).signed(-500).end().end();
        assert_eq!(writer.into_bytes(), b"\xbf\x61a\x9f\x01\x39\x01\xf3\xff\xff");
    }

    #[test]
    fn numbers_take_the_shortest_form() {
        for (number, bytes) in [
            (23u64, &b"\x17"[..]),
            (24, b"\x18\x18"),
            (0x100, b"\x19\x01\x00"),
            (0x1_0000, b"\x1a\x00\x01\x00\x00"),
            (1 << 32, b"\x1b\0\0\0\x01\0\0\0\0"),
        ] {
            let mut writer = Writer::new();
            writer.unsigned(number);
            assert_eq!(writer.into_bytes(), bytes);
        }
    }
}
