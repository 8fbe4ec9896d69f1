//! Durations and sizes as people write them: `250 ms`, `96 KiB`.

use serde::{Deserialize, Deserializer, de::Error};

/// A duration in microseconds, from a text like `2 s`, `85 ms`, `41 us` or `3 min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Microseconds.
    pub us: u64,
    /// Nanoseconds, for durations below a microsecond.
    pub ns: u64,
}

/// A size in bytes, from a number or a text like `96 KiB` or `1 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u32);

/// Longest duration that is accepted: a day.
const DURATION_MAX_NS: f64 = 86_400e9;

impl Duration {
    /// Reads a duration.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no duration: expected something like \"2 s\", \"250 ms\", \"41 us\" or \"1 min\"");
        let (number, unit) = split(text).ok_or_else(expected)?;
        let factor = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "min" => 60e9,
            _ => return Err(expected()),
        };
        let ns = number * factor;
        if !(0.0..=DURATION_MAX_NS).contains(&ns) {
            return Err(format!("`{text}` is not between 0 and a day"));
        }
        Ok(Self { us: (ns / 1e3) as u64, ns: ns as u64 })
    }
}

impl Size {
    /// Reads a size.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no size: expected bytes, or something like \"96 KiB\" or \"1 MiB\"");
        let (number, unit) = split(text).ok_or_else(expected)?;
        let factor = match unit {
            "" | "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            _ => return Err(expected()),
        };
        let bytes = number * factor;
        if !(0.0..=f64::from(u32::MAX)).contains(&bytes) || bytes.fract() != 0.0 {
            return Err(expected());
        }
        Ok(Self(bytes as u32))
    }
}

fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration like \"2 s\" or \"250 ms\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                Duration::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of bytes or a text like \"96 KiB\"")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Size, E> {
                u32::try_from(number).map(Size).map_err(|_| E::custom(format!("{number} bytes are not possible")))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Size, E> {
                u32::try_from(number).map(Size).map_err(|_| E::custom(format!("{number} bytes are not possible")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                Size::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        assert_eq!(Duration::parse("2 s").unwrap().us, 2_000_000);
        assert_eq!(Duration::parse("1.5 ms").unwrap().us, 1500);
        assert_eq!(Duration::parse("41us").unwrap().ns, 41_000);
        assert!(
            Duration::parse("2").is_err() && Duration::parse("-1 s").is_err() && Duration::parse("99999 min").is_err()
        );
        assert_eq!(Size::parse("96 KiB"), Ok(Size(98304)));
        assert_eq!(Size::parse("77"), Ok(Size(77)));
        assert!(Size::parse("1.5").is_err() && Size::parse("9999 MiB").is_err());
    }
}
