//! Places of cuts as text: `412`, `412p512`, `17,412bf0`.

use std::fmt;
use std::str::FromStr;

use crate::flash::Tear;

/// A power loss at one exact place: before operation `operation` of a run, or inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CutPlace {
    /// Counted from 0 at power-on, over resets.
    pub operation: u64,
    /// What the operation leaves; `None` before it.
    pub tear: Option<Tear>,
}

/// Power losses in order, each counted from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(pub Vec<CutPlace>);

impl Path {
    /// Cuts, and torn operations among them: the less, the simpler.
    #[must_use]
    pub fn weight(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|cut| cut.tear.is_some()).count())
    }
}

impl fmt::Display for CutPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        match self.tear {
            None => Ok(()),
            Some(Tear::Prefix(bytes)) => write!(f, "p{bytes}"),
            Some(Tear::Suffix(bytes)) => write!(f, "s{bytes}"),
            Some(Tear::Bits(mask)) => write!(f, "b{mask:02x}"),
            Some(Tear::Garbage) => write!(f, "g"),
            Some(Tear::Noise(seed)) => write!(f, "n{seed}"),
        }
    }
}

impl FromStr for CutPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mistake =
            || format!("`{text}` is no place of a cut: a number, and p, s, b or n with another for a torn operation");
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (operation, tear) = text.split_at(digits);
        let operation = operation.parse().map_err(|_| mistake())?;
        let mut letters = tear.chars();
        let kind = letters.next();
        let rest = letters.as_str();
        let number = || rest.parse::<u32>().map_err(|_| mistake());
        let tear = match kind {
            None => None,
            Some('p') => Some(Tear::Prefix(number()?)),
            Some('s') => Some(Tear::Suffix(number()?)),
            Some('b') => Some(Tear::Bits(u8::from_str_radix(rest, 16).map_err(|_| mistake())?)),
            Some('g') if rest.is_empty() => Some(Tear::Garbage),
            Some('n') => Some(Tear::Noise(rest.parse().map_err(|_| mistake())?)),
            Some(_) => return Err(mistake()),
        };
        Ok(Self { operation, tear })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, place) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{place}")?;
        }
        Ok(())
    }
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for text in ["", "0", "412", "17,412p512,3s2048", "9bf0,1g,2n18446744073709551615"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for wrong in [",", "1,", "x", "-1", "1q", "1p", "1b1ff", "1g2", "1p-3", "99999999999999999999"] {
            let error = wrong.parse::<Path>().unwrap_err();
            assert!(error.contains("is no place of a cut"), "{wrong}: {error}");
        }
    }
}
