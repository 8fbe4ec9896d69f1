//! Match rules: which messages a client wants to see.

use std::collections::BTreeMap;
use std::fmt;

use zbus::ObjectPath;
use zbus::message::Type;
use zbus::names::{BusName, InterfaceName, MemberName};

use super::limits::RULE_LENGTH_MAX;

/// Highest number of an argument that a rule may ask for.
const ARGUMENT_MAX: u8 = 63;
/// Longest name on a bus in bytes.
const NAME_MAX: usize = 255;

/// A match rule; all of its conditions must hold.
///
/// [`fmt::Display`] writes a rule that reads back as the same one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MatchRule {
    /// Kind of the message.
    pub kind: Option<Type>,
    /// A name that the sender owns, or its unique name.
    pub sender: Option<String>,
    /// The interface.
    pub interface: Option<String>,
    /// Method or signal.
    pub member: Option<String>,
    /// The object.
    pub path: Option<PathRule>,
    /// A name that the addressee owns, or its unique name.
    pub destination: Option<String>,
    /// What arguments must be, by their number from 0 to 63.
    pub arguments: BTreeMap<u8, ArgumentRule>,
    /// Whether messages to others are wanted, too.
    pub eavesdrop: bool,
}

/// A condition on the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRule {
    /// This object.
    Exact(String),
    /// This object and everything below.
    Namespace(String),
}

/// A condition on an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgumentRule {
    /// A string that equals this one.
    Exact(String),
    /// A string or object path that equals this one, or one of the two ends in `/` and begins the other.
    Path(String),
    /// A bus name that equals this one or lies below it.
    Namespace(String),
}

/// Why a rule was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It is too long.
    #[error("Match rule text is {0} bytes, maximum is {RULE_LENGTH_MAX}")]
    Length(usize),
    /// It is no rule; the text is the one of `dbus-daemon`.
    #[error("{0}")]
    Invalid(String),
}

impl RuleError {
    fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }
}

impl MatchRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// With the text that `dbus-daemon` has for it.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > RULE_LENGTH_MAX {
            return Err(RuleError::Length(text.len()));
        }
        let mut rule = Self::default();
        let mut rest = text;
        while let Some((key, after)) = read_key(rest)? {
            let (value, after) = read_value(after)?;
            rule.set(key, value)?;
            rest = after;
        }
        Ok(rule)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), RuleError> {
        let once = |known: bool| match known {
            true => Err(RuleError::Invalid(format!("Key {key} specified twice in match rule\n"))),
            false => Ok(()),
        };
        match key {
            "type" => {
                once(self.kind.is_some())?;
                let kind = kind_of(&value)
                    .ok_or_else(|| RuleError::Invalid(format!("Invalid message type ({value}) in match rule\n")))?;
                self.kind = Some(kind);
            }
            "sender" => {
                once(self.sender.is_some())?;
                let valid = BusName::try_from(value.as_str()).is_ok();
                self.sender = Some(checked(valid, "Sender name", value)?);
            }
            "interface" => {
                once(self.interface.is_some())?;
                let valid = InterfaceName::try_from(value.as_str()).is_ok();
                self.interface = Some(checked(valid, "Interface name", value)?);
            }
            "member" => {
                once(self.member.is_some())?;
                let valid = MemberName::try_from(value.as_str()).is_ok();
                self.member = Some(checked(valid, "Member name", value)?);
            }
            "path" | "path_namespace" => {
                if self.path.is_some() {
                    return Err(RuleError::invalid("path or path_namespace specified twice in match rule\n"));
                }
                let valid = ObjectPath::try_from(value.as_str()).is_ok();
                let value = checked(valid, "Path", value)?;
                self.path = Some(if key == "path" { PathRule::Exact(value) } else { PathRule::Namespace(value) });
            }
            "destination" => {
                once(self.destination.is_some())?;
                let valid = BusName::try_from(value.as_str()).is_ok();
                self.destination = Some(checked(valid, "Destination name", value)?);
            }
            // May be said several times; the last one counts.
            "eavesdrop" => {
                self.eavesdrop = match value.as_str() {
                    "true" => true,
                    "false" => false,
                    _ => {
                        return Err(RuleError::Invalid(format!(
                            "eavesdrop='{value}' is invalid, it should be 'true' or 'false'\n"
                        )));
                    }
                }
            }
            _ => match key.strip_prefix("arg") {
                Some(rest) => self.set_argument(key, rest, value)?,
                None => return Err(RuleError::Invalid(format!("Unknown key \"{key}\" in match rule"))),
            },
        }
        Ok(())
    }

    fn set_argument(&mut self, key: &str, rest: &str, value: String) -> Result<(), RuleError> {
        let example = "Should be 'arg0' or 'arg7' for example.\n";
        if rest.is_empty() {
            return Err(RuleError::Invalid(format!(
                "Key '{key}' in match rule starts with 'arg' but lacks an arg number. {example}"
            )));
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, suffix) = rest.split_at(digits);
        if number.is_empty() {
            return Err(RuleError::Invalid(format!(
                "Key '{key}' in match rule starts with 'arg' but could not parse arg number. {example}"
            )));
        }
        let condition = match suffix {
            "" => ArgumentRule::Exact(value),
            "path" => ArgumentRule::Path(value),
            "namespace" if key == "arg0namespace" => {
                if !is_namespace(&value) {
                    return Err(RuleError::Invalid(format!(
                        "arg0namespace='{value}' is not a valid prefix of a bus name"
                    )));
                }
                ArgumentRule::Namespace(value)
            }
            _ => {
                return Err(RuleError::Invalid(format!(
                    "Key '{key}' in match rule contains junk after argument number ({number}). Only 'arg{number}path' \
                     (for example) or 'arg0namespace' are valid"
                )));
            }
        };
        let index = number.parse().ok().filter(|index| *index <= ARGUMENT_MAX).ok_or_else(|| {
            RuleError::Invalid(format!(
                "Key '{key}' in match rule has arg number {number} but the maximum is {ARGUMENT_MAX}.\n"
            ))
        })?;
        if self.arguments.insert(index, condition).is_some() {
            return Err(RuleError::Invalid(format!("Argument {key} matched more than once in match rule\n")));
        }
        Ok(())
    }
}

impl fmt::Display for MatchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut pair = |key: &str, value: &str| {
            let separator = std::mem::replace(&mut separator, ",");
            write!(f, "{separator}{key}='{}'", value.replace('\'', r"'\''"))
        };
        if let Some(kind) = self.kind {
            pair("type", kind_name(kind))?;
        }
        for (key, value) in [("sender", &self.sender), ("interface", &self.interface), ("member", &self.member)] {
            if let Some(value) = value {
                pair(key, value)?;
            }
        }
        match &self.path {
            Some(PathRule::Exact(path)) => pair("path", path)?,
            Some(PathRule::Namespace(path)) => pair("path_namespace", path)?,
            None => {}
        }
        if let Some(value) = &self.destination {
            pair("destination", value)?;
        }
        for (index, argument) in &self.arguments {
            match argument {
                ArgumentRule::Exact(value) => pair(&format!("arg{index}"), value)?,
                ArgumentRule::Path(value) => pair(&format!("arg{index}path"), value)?,
                ArgumentRule::Namespace(value) => pair(&format!("arg{index}namespace"), value)?,
            }
        }
        if self.eavesdrop {
            pair("eavesdrop", "true")?;
        }
        Ok(())
    }
}

/// The next key and what comes behind its `=`; nothing where `dbus-daemon` stops to read.
fn read_key(text: &str) -> Result<Option<(&str, &str)>, RuleError> {
    let white = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
    let text = text.trim_start_matches(white);
    let end = text.find(|c| c == '=' || white(c)).unwrap_or(text.len());
    let (key, rest) = text.split_at(end);
    if key.is_empty() {
        return Ok(None);
    }
    match rest.trim_start_matches(white).strip_prefix('=') {
        Some(rest) => Ok(Some((key, rest))),
        None => Err(RuleError::invalid("Match rule has a key with no subsequent '=' character")),
    }
}

/// The value, freed of quotes, and what comes behind its comma.
fn read_value(text: &str) -> Result<(String, &str), RuleError> {
    let mut value = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => quoted = !quoted,
            ',' if !quoted => return Ok((value, &text[at + 1..])),
            '\\' if !quoted && chars.next_if(|(_, next)| *next == '\'').is_some() => value.push('\''),
            '\\' if !quoted => {
                // It stands for itself, and what follows is not looked at.
                value.push('\\');
                value.extend(chars.next().map(|(_, next)| next));
            }
            _ => value.push(c),
        }
    }
    match quoted {
        true => Err(RuleError::invalid("Unbalanced quotation marks in match rule")),
        false => Ok((value, "")),
    }
}

fn checked(valid: bool, what: &str, value: String) -> Result<String, RuleError> {
    match valid {
        true => Ok(value),
        false => Err(RuleError::Invalid(format!("{what} '{value}' is invalid\n"))),
    }
}

fn kind_name(kind: Type) -> &'static str {
    match kind {
        Type::MethodCall => "method_call",
        Type::MethodReturn => "method_return",
        Type::Error => "error",
        Type::Signal => "signal",
    }
}

fn kind_of(name: &str) -> Option<Type> {
    [Type::MethodCall, Type::MethodReturn, Type::Error, Type::Signal].into_iter().find(|kind| kind_name(*kind) == name)
}

/// Whether it is a bus name, or the beginning of one that ends before a dot.
fn is_namespace(text: &str) -> bool {
    let (unique, elements) = match text.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    text.len() <= NAME_MAX
        && elements.split('.').all(|element| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            !element.is_empty()
                && element.chars().all(allowed)
                && (unique || !element.starts_with(|c: char| c.is_ascii_digit()))
        })
}
