//! Mistakes in files a person wrote, with the place and the remedy.

use std::fmt;

use thiserror::Error;

/// A mistake in a text file.
///
/// Displays as `file:line:column: message`, followed by the line itself and, where one is known,
/// the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Mistake {
    file: String,
    place: Option<Place>,
    message: String,
    remedy: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
}

/// Characters of a line that are shown.
const SHOWN: usize = 120;

impl Mistake {
    /// A mistake in `file` as a whole.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), place: None, message: message.into(), remedy: None }
    }

    /// Names the place: `offset` is a byte offset in `text`, the contents of the file.
    #[must_use]
    pub fn at(mut self, text: &str, offset: usize) -> Self {
        let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let before = &text[..offset];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before[start..].chars().count() + 1;
        let text = text[start..].lines().next().unwrap_or_default().to_owned();
        self.place = Some(Place { line, column, text });
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Line and column of the mistake, from 1, where they are known.
    #[must_use]
    pub fn line_column(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// The mistake that a TOML reader found.
    #[must_use]
    pub fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let mistake = Self::new(file, error.message());
        match error.span() {
            Some(span) => mistake.at(text, span.start),
            None => mistake,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(place) = &self.place {
            // A window of a long line around the place.
            let skipped = place.column.saturating_sub(SHOWN / 2);
            let text: String = place.text.chars().skip(skipped).take(SHOWN).collect();
            write!(f, "\n    {text}\n    {:>1$}", '^', place.column - skipped)?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "\n  remedy: {remedy}")?;
        }
        Ok(())
    }
}
