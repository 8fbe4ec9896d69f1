//! Values as scripts write them and transcripts show them.
//!
//! | notation | type |
//! |---|---|
//! | `"text"` | `s` |
//! | `true`, `false` | `b` |
//! | `y:1` `n:-5` `q:3` `i:1` `u:7` `x:1` `t:1` | the number of this type |
//! | `ay:0102`, `ay:00*600` | bytes; the last one so many times |
//! | `o:device` | an object path: a name of [`Names`], or itself |
//! | `["a", "b"]`, `[]` | an array of what is in it, of strings if nothing is |
//! | `{offset: q:1}` | `a{sv}` |
//! | `<true>` | a variant |

use zbus::{Array, Dict, ObjectPath, Signature, Variant};

use crate::names::Names;

/// Reads arguments.
pub(crate) fn parse(text: &str, names: &Names) -> Result<Vec<Variant<'static>>, String> {
    let mut reader = Reader { rest: text.trim_start(), names };
    let mut values = Vec::new();
    while !reader.rest.is_empty() {
        values.push(reader.value()?);
    }
    Ok(values)
}

/// Reads bytes: `0102`, `00*600`.
pub(crate) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let (digits, times) = match text.split_once('*') {
        Some((digits, times)) => (digits, times.parse().map_err(|_| format!("how often? {text}"))?),
        None => (text, 1),
    };
    let mut bytes = hex::decode(digits).map_err(|error| format!("{text}: {error}"))?;
    if let Some(last) = bytes.last().copied() {
        bytes.resize(bytes.len() + times - 1, last);
    }
    Ok(bytes)
}

struct Reader<'a> {
    rest: &'a str,
    names: &'a Names,
}

impl Reader<'_> {
    /// Whether the text goes on with this; it is read if so.
    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest.strip_prefix(wanted);
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    fn word(&mut self) -> &str {
        let end = self.rest.find([' ', ',', ']', '}', '>']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn value(&mut self) -> Result<Variant<'static>, String> {
        if self.eat("\"") {
            let (text, rest) = self.rest.split_once('"').ok_or("a text without an end")?;
            self.rest = rest.trim_start();
            return Ok(Variant::from(text.to_owned()));
        }
        if self.eat("<") {
            let inner = self.value()?;
            return if self.eat(">") { Ok(Variant::Variant(Box::new(inner))) } else { Err("`>` is missing".into()) };
        }
        if self.eat("[") {
            return self.array();
        }
        if self.eat("{") {
            return self.dict();
        }
        let names = self.names;
        let word = self.word();
        let wrong = || format!("no value: {word}");
        match word {
            "true" => return Ok(Variant::from(true)),
            "false" => return Ok(Variant::from(false)),
            _ => {}
        }
        let (kind, text) = word.split_once(':').ok_or_else(wrong)?;
        macro_rules! number {
            () => {
                text.parse().map_err(|_| wrong())?
            };
        }
        Ok(match kind {
            "y" => Variant::U8(number!()),
            "n" => Variant::I16(number!()),
            "q" => Variant::U16(number!()),
            "i" => Variant::I32(number!()),
            "u" => Variant::U32(number!()),
            "x" => Variant::I64(number!()),
            "t" => Variant::U64(number!()),
            "ay" => Variant::from(bytes(text)?),
            "o" => Variant::ObjectPath(ObjectPath::try_from(names.path(text)).map_err(|error| error.to_string())?),
            _ => return Err(wrong()),
        })
    }

    fn array(&mut self) -> Result<Variant<'static>, String> {
        let mut values = Vec::new();
        while !self.eat("]") {
            values.push(self.value()?);
            self.eat(",");
        }
        let kind = values.first().map_or(Signature::Str, |first| first.value_signature().clone());
        let mut array = Array::new(&kind);
        for value in values {
            array.append(value).map_err(|error| error.to_string())?;
        }
        Ok(Variant::Array(array))
    }

    fn dict(&mut self) -> Result<Variant<'static>, String> {
        let mut dict = Dict::new(&Signature::Str, &Signature::Variant);
        while !self.eat("}") {
            let (key, rest) = self.rest.split_once(':').ok_or("a key without a value")?;
            let key = key.trim().to_owned();
            self.rest = rest.trim_start();
            let value = Variant::Variant(Box::new(self.value()?));
            dict.append(Variant::from(key), value).map_err(|error| error.to_string())?;
            self.eat(",");
        }
        Ok(Variant::Dict(dict))
    }
}

/// Shows a value. Entries of dictionaries are sorted: no program may rely on their order.
pub(crate) fn show(value: &Variant<'_>, names: &Names) -> String {
    match value {
        Variant::U8(number) => format!("y:{number}"),
        Variant::Bool(flag) => flag.to_string(),
        Variant::I16(number) => format!("n:{number}"),
        Variant::U16(number) => format!("q:{number}"),
        Variant::I32(number) => format!("i:{number}"),
        Variant::U32(number) => format!("u:{number}"),
        Variant::I64(number) => format!("x:{number}"),
        Variant::U64(number) => format!("t:{number}"),
        Variant::Str(text) => format!("\"{}\"", names.normal(text.as_str()).trim_end()),
        Variant::ObjectPath(path) => names.short(path.as_str()),
        Variant::Variant(inner) => show(inner, names),
        Variant::Array(array) if *array.element_signature() == Signature::U8 => {
            let bytes: Vec<u8> =
                array.iter().filter_map(|byte| if let Variant::U8(byte) = byte { Some(*byte) } else { None }).collect();
            show_bytes(&bytes)
        }
        Variant::Array(array) => {
            format!("[{}]", array.iter().map(|value| show(value, names)).collect::<Vec<_>>().join(", "))
        }
        Variant::Dict(dict) => {
            let mut entries: Vec<_> = dict
                .iter()
                .filter(|(key, _)| !matches!(key, Variant::ObjectPath(path) if names.is_foreign(path.as_str())))
                .map(|(key, value)| {
                    let key = if let Variant::Str(key) = key { names.brief(key.as_str()) } else { show(key, names) };
                    format!("{key}: {}", show(value, names))
                })
                .filter(|entry| !OF_THE_CONTROLLER.iter().any(|name| entry.starts_with(name)))
                .collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(", "))
        }
        Variant::Structure(structure) => {
            format!("({})", structure.fields().iter().map(|field| show(field, names)).collect::<Vec<_>>().join(", "))
        }
        Variant::Fd(_) => "a socket".to_owned(),
        other => other.to_string(),
    }
}

/// Entries that are as the controller is: how strong something is received, what it can advertise.
const OF_THE_CONTROLLER: [&str; 3] = ["RSSI: ", "SupportedInstances: ", "SupportedSecondaryChannels: "];

/// Shows bytes; long rows of the same one briefly.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    match bytes {
        [first, rest @ ..] if rest.len() > 16 && rest.iter().all(|byte| byte == first) => {
            format!("ay:{first:02x}*{}", bytes.len())
        }
        _ if bytes.len() > 64 => format!("ay:{}… {} bytes", hex::encode(&bytes[..8]), bytes.len()),
        _ => format!("ay:{}", hex::encode(bytes)),
    }
}
