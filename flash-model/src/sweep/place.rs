//! Places of cuts as text: `412`, `412p512`, `@0`, `17,412bf0`.

use std::fmt;
use std::str::FromStr;

use crate::flash::Tear;

/// A power loss at one exact place of a run. Operations and boots are counted from 0 at power-on, over resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CutPlace {
    /// Before this operation: `412`.
    Before(u64),
    /// Inside it, and what that leaves: `412p512` (a prefix in bytes), `s` (a suffix), `bf0` (these bits), `g` (garbage),
    /// `n` (noise from a seed).
    Inside(u64, Tear),
    /// When this boot has ended, and what it starts has not begun: `@0`.
    Start(u64),
    /// Behind so many operations, when they were asked for and the answer is lost: `412~3`, for answer 3 of the run.
    Answer(u64, u64),
}

impl CutPlace {
    /// Whether an operation is torn.
    #[must_use]
    pub fn is_torn(self) -> bool {
        matches!(self, Self::Inside(..))
    }
}

/// Power losses in order, each counted from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Path(pub Vec<CutPlace>);

/// Most power losses of a path that is read.
const CUTS_MAX: usize = 100;

impl Path {
    /// Cuts, and torn operations among them: the less, the simpler.
    #[must_use]
    pub fn weight(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().filter(|cut| cut.is_torn()).count())
    }
}

impl fmt::Display for CutPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operation, tear) = match self {
            Self::Before(operation) => return write!(f, "{operation}"),
            Self::Start(boot) => return write!(f, "@{boot}"),
            Self::Answer(operations, answer) => return write!(f, "{operations}~{answer}"),
            Self::Inside(operation, tear) => (operation, tear),
        };
        match tear {
            Tear::Prefix(bytes) => write!(f, "{operation}p{bytes}"),
            Tear::Suffix(bytes) => write!(f, "{operation}s{bytes}"),
            Tear::Bits(mask) => write!(f, "{operation}b{mask:02x}"),
            Tear::Garbage => write!(f, "{operation}g"),
            Tear::Noise(seed) => write!(f, "{operation}n{seed}"),
        }
    }
}

impl FromStr for CutPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mistake = || {
            format!(
                "`{text}` is no place of a cut: 412 (before an operation), 412p512 (inside it), @0 (behind a boot), \
                 412~3 (before an answer)"
            )
        };
        if let Some(boot) = text.strip_prefix('@') {
            return boot.parse().map(Self::Start).map_err(|_| mistake());
        }
        if let Some((operations, answer)) = text.split_once('~') {
            let number = |text: &str| text.parse().map_err(|_| mistake());
            return Ok(Self::Answer(number(operations)?, number(answer)?));
        }
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (operation, tear) = text.split_at(digits);
        let operation = operation.parse().map_err(|_| mistake())?;
        let mut letters = tear.chars();
        let kind = letters.next();
        let rest = letters.as_str();
        let number = || rest.parse::<u32>().map_err(|_| mistake());
        let tear = match kind {
            None => return Ok(Self::Before(operation)),
            Some('p') => Tear::Prefix(number()?),
            Some('s') => Tear::Suffix(number()?),
            Some('b') => Tear::Bits(u8::from_str_radix(rest, 16).map_err(|_| mistake())?),
            Some('g') if rest.is_empty() => Tear::Garbage,
            Some('n') => Tear::Noise(rest.parse().map_err(|_| mistake())?),
            Some(_) => return Err(mistake()),
        };
        Ok(Self::Inside(operation, tear))
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
        let places = text.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if places.len() > CUTS_MAX {
            return Err(format!("{} power losses: at most {CUTS_MAX} are run again", places.len()));
        }
        Ok(Self(places))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        for text in ["", "0", "412", "@0,3", "17,412p512,3s2048,@12,7~3", "9bf0,1g,2n18446744073709551615"] {
            assert_eq!(text.parse::<Path>().unwrap().to_string(), text);
        }
        for wrong in [
            ",",
            "1,",
            "x",
            "-1",
            "1q",
            "1p",
            "1b1ff",
            "1g2",
            "1p-3",
            "@",
            "@1p3",
            "~",
            "1~",
            "1~x",
            &"1,".repeat(200),
            "99999999999999999999",
        ] {
            let error = wrong.parse::<Path>().unwrap_err();
            assert!(error.contains("is no place of a cut") || wrong.len() > 99, "{wrong}: {error}");
        }
    }
}
