//! Initiator profiles: how a tool is driven.
//!
//! ```toml
//! schema = 1
//! name = "my-uploader"
//! about = "what it is"
//! needs = "pip install my-uploader"        # what to do when it is missing
//! protocol = "smp"                         # or "secure-dfu", "legacy-dfu"
//! driver = "my-uploader.py"                # a program beside the profile that drives a library: {driver}
//! airs = ["virtual-bluez", "udp", "serial"]
//! timeout = "60 s"                         # of one command
//!
//! [air.virtual-bluez]                      # what the word {air} in commands stands for
//! arguments = ["--ble", "{address}"]
//! [air.udp]
//! arguments = ["--ip", "{address}"]
//! [air.serial]
//! arguments = ["--port", "{path}"]
//!
//! [commands]                               # either the steps ...
//! erase = ["my-uploader", "{air}", "erase"]   # the secondary slot
//! upload = ["my-uploader", "{air}", "upload", "{image}"]
//! test = ["my-uploader", "{air}", "test", "{hash}"]
//! reset = ["my-uploader", "{air}", "reset"]
//! confirm = ["my-uploader", "{air}", "confirm"]
//! list = ["my-uploader", "{air}", "list"]
//! # ... or the whole: update = ["my-uploader", "{air}", "update", "{image}"]
//!
//! [repeat]                                 # the caller's part: run a failed step again, so often
//! upload = 3
//!
//! [[known]]                                # strict: reported when it does not happen any more
//! scenario = "link/lost-reset-answer"       # or a list of them
//! findings = ["RST-02"]
//! sometimes = ["STA-08"]                   # a race in the tool decides: may fail or not
//! reason = "the tool waits for the answer and fails"
//! airs = ["udp"]                           # only there; everywhere if left out
//!
//! [[unsupported]]                          # what it cannot do at all
//! scenario = "rollback/self-test-fails"
//! reason = "the tool has no confirm"
//! ```
//!
//! Placeholders: `{address}` (of the device, as it is when the command starts) and `{bus}` (its address, which is also
//! in `DBUS_SYSTEM_BUS_ADDRESS`) on `virtual-bluez`, `{address}` and `{port}` on `udp`, `{path}` (of the port) on
//! `serial`, `{image}` (path), `{hash}` (TLV hash of the image, hexadecimal),
//! `{driver}` (path of the program that `driver` names), `{name}` (of the target; on
//! `virtual-bluez` the one it advertises).

use std::collections::BTreeMap;

use brickproof_flash_model::source::Mistake;
use serde::Deserialize;
use toml::Spanned;

use crate::air::Air;
use crate::runner::verdict::Finding;
use crate::target::Protocol;
use crate::units::Duration;

/// Steps that a profile may have a command for.
pub const STEPS: [&str; 7] = ["update", "erase", "upload", "test", "reset", "confirm", "list"];
/// The word that stands for the arguments of an air.
const AIR: &str = "{air}";
const PLACEHOLDERS: [&str; 9] = ["{address}", "{port}", "{path}", "{bus}", "{image}", "{hash}", "{name}", DRIVER, AIR];
/// The path of the program that drives a library.
const DRIVER: &str = "{driver}";

/// Placeholders that have no value on an air.
fn missing_on(air: Air) -> &'static [&'static str] {
    match air {
        Air::InProcess | Air::InProcessBle => &["{address}", "{port}", "{path}", "{bus}"],
        Air::Udp => &["{path}", "{bus}"],
        Air::Serial => &["{address}", "{port}", "{bus}"],
        Air::VirtualBluez | Air::Bluez(_) => &["{port}", "{path}"],
    }
}

/// A failure that is known and explained.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Ids of the scenarios; in a file one or a list of them.
    #[serde(rename = "scenario", deserialize_with = "one_or_many")]
    pub scenarios: Vec<String>,
    /// Requirements and expectations that fail there.
    #[serde(default)]
    pub findings: Vec<String>,
    /// Those that fail there or do not, as a race within the tool ends.
    #[serde(default)]
    pub sometimes: Vec<String>,
    /// Why.
    pub reason: String,
    /// Airs on which it happens; empty for all.
    #[serde(default)]
    pub airs: Vec<KnownAir>,
}

impl Known {
    /// Whether it is to be told with these findings: not where all that it knows happens only sometimes, and did not.
    #[must_use]
    pub fn concerns(&self, findings: &[Finding]) -> bool {
        !self.findings.is_empty() || findings.iter().any(|finding| self.sometimes.contains(&finding.id))
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected the id of a scenario, or a list of them")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(id) => vec![id],
        OneOrMany::Many(ids) => ids,
    })
}

/// An air by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct KnownAir(pub Air);

impl TryFrom<String> for KnownAir {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        if name == Air::Bluez(0).name() { Ok(Self(Air::Bluez(0))) } else { name.parse().map(Self) }
    }
}

/// How a tool is told of an air.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct AirEntry {
    arguments: Vec<String>,
}

/// How a tool is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What to do when it is missing.
    pub needs: String,
    /// What it speaks; `None` where nobody knows.
    pub protocol: Option<Protocol>,
    /// A program that drives it, where it is a library: its name and its text.
    pub driver: Option<Driver>,
    /// Airs it can be reached on.
    pub airs: Vec<Air>,
    /// Longest time of one command in microseconds.
    pub timeout_us: u64,
    /// Command lines by step; see [`Profile::commands_on`].
    pub commands: BTreeMap<String, Vec<String>>,
    /// What `{air}` stands for.
    arguments: Vec<(Air, Vec<String>)>,
    /// How often a failed step is run in all.
    pub repeat: BTreeMap<String, u32>,
    /// Known failures.
    pub known: Vec<Known>,
    /// Scenarios that it cannot do.
    pub unsupported: Vec<Unsupported>,
}

/// A program that drives a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The name of its file.
    pub name: String,
    /// The file.
    pub text: String,
}

/// Scenarios that an initiator cannot do, and why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsupported {
    /// Ids of the scenarios; in a file one or a list of them.
    #[serde(rename = "scenario", deserialize_with = "one_or_many")]
    pub scenarios: Vec<String>,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: Spanned<u32>,
    name: String,
    about: String,
    #[serde(default)]
    needs: String,
    protocol: Option<Spanned<String>>,
    driver: Option<Spanned<String>>,
    #[serde(default)]
    airs: Vec<Spanned<String>>,
    #[serde(default)]
    air: BTreeMap<Spanned<String>, AirEntry>,
    #[serde(default = "timeout")]
    timeout: Duration,
    commands: BTreeMap<Spanned<String>, Spanned<Vec<String>>>,
    #[serde(default)]
    repeat: BTreeMap<Spanned<String>, u32>,
    #[serde(default)]
    known: Vec<Known>,
    #[serde(default)]
    unsupported: Vec<Unsupported>,
}

fn timeout() -> Duration {
    Duration { us: 120_000_000, ns: 120_000_000_000 }
}

impl Profile {
    /// Reads an initiator profile; `file` names it in mistakes. A driver that it names is not read.
    ///
    /// # Errors
    /// A [`Mistake`] with line, column and remedy.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
        let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
        if *read.schema.get_ref() != 1 {
            return Err(mistake(read.schema.span().start, format!("schema {} is not known", read.schema.get_ref()))
                .remedy("this version reads schema = 1"));
        }
        if read.timeout.us == 0 {
            return Err(Mistake::new(file, "a timeout of 0 lets no command end"));
        }
        if let Some(known) = read.known.iter().find(|known| known.findings.is_empty() && known.sometimes.is_empty()) {
            return Err(Mistake::new(file, format!("nothing is known of {}", known.scenarios.join(", ")))
                .remedy("`findings` has what fails there, and `sometimes` what fails now and then"));
        }
        for finding in read.known.iter().flat_map(|known| known.findings.iter().chain(&known.sometimes)) {
            if !crate::judge::findings().any(|id| id == finding) {
                return Err(Mistake::new(file, format!("nothing that can be found is called `{finding}`"))
                    .remedy(format!("one of: {}", crate::judge::findings().collect::<Vec<_>>().join(", "))));
            }
        }
        let protocol = match &read.protocol {
            None => Protocol::Smp,
            Some(name) => Protocol::ALL.into_iter().find(|known| known.name() == name.get_ref()).ok_or_else(|| {
                let names = Protocol::ALL.map(Protocol::name).join(", ");
                mistake(name.span().start, format!("no protocol is called `{}`", name.get_ref()))
                    .remedy(format!("one of: {names}"))
            })?,
        };
        let driver = match &read.driver {
            None => None,
            Some(name) if name.get_ref().contains('/') => {
                return Err(mistake(name.span().start, "a driver lies beside its profile".into())
                    .remedy("the name of its file, without a folder"));
            }
            Some(name) => Some(Driver { name: name.get_ref().clone(), text: String::new() }),
        };
        let mut airs = Vec::new();
        for air in &read.airs {
            airs.push(air.get_ref().parse().map_err(|message| mistake(air.span().start, message))?);
        }
        let mut arguments = Vec::new();
        for (name, entry) in &read.air {
            let air: Air = name.get_ref().parse().map_err(|message| mistake(name.span().start, message))?;
            if air.adapter().is_some() {
                let told = "a tool is told of an adapter as it is of the virtual one: [air.virtual-bluez]";
                return Err(mistake(name.span().start, told.into()));
            }
            if !read.airs.is_empty() && !airs.contains(&air) {
                return Err(mistake(name.span().start, format!("`{air}` has arguments and is not among the airs")));
            }
            check_words(&entry.arguments).map_err(|message| mistake(name.span().start, message))?;
            if entry.arguments.iter().any(|word| word.contains(AIR)) {
                return Err(mistake(name.span().start, format!("{AIR} cannot stand for itself")));
            }
            arguments.push((air, entry.arguments.clone()));
        }
        if airs.is_empty() {
            airs = arguments.iter().map(|(air, _)| *air).collect();
        }
        if airs.is_empty() {
            return Err(Mistake::new(file, "the tool can be reached on no air")
                .remedy("`airs = [\"udp\"]`, or a table like [air.udp]"));
        }
        let steps = STEPS.join(", ");
        for (step, command) in &read.commands {
            if !STEPS.contains(&step.get_ref().as_str()) {
                return Err(mistake(step.span().start, format!("no step is called `{}`", step.get_ref()))
                    .remedy(format!("one of: {steps}")));
            }
            check_command(command.get_ref()).map_err(|message| mistake(command.span().start, message))?;
        }
        for step in read.repeat.keys() {
            if !read.commands.keys().any(|known| known.get_ref() == step.get_ref()) {
                return Err(mistake(step.span().start, format!("there is no command for `{}`", step.get_ref())));
            }
        }
        let has = |step: &str| read.commands.keys().any(|known| known.get_ref() == step);
        let step_by_step = ["upload", "test", "reset"].into_iter().all(has);
        if !has("update") && !step_by_step {
            return Err(Mistake::new(file, "the commands are not enough to update a target")
                .remedy("either `update`, or `upload`, `test` and `reset`"));
        }
        Self {
            name: read.name,
            about: read.about,
            needs: read.needs,
            protocol: Some(protocol),
            driver,
            airs,
            timeout_us: read.timeout.us,
            commands: read.commands.into_iter().map(|(step, line)| (step.into_inner(), line.into_inner())).collect(),
            repeat: read.repeat.into_iter().map(|(step, count)| (step.into_inner(), count)).collect(),
            known: read.known,
            unsupported: read.unsupported,
            arguments,
        }
        .checked(file)
    }

    /// That every command can be filled in on every air.
    fn checked(self, file: &str) -> Result<Self, Mistake> {
        for air in &self.airs {
            self.commands_on(*air).map_err(|message| Mistake::new(file, message))?;
        }
        Ok(self)
    }

    /// Whether the tool can be reached on this air.
    #[must_use]
    pub fn reaches(&self, air: Air) -> bool {
        self.airs.contains(&air.told_as())
    }

    /// The command lines on this air: `{air}` is replaced by its arguments.
    ///
    /// # Errors
    /// What cannot be filled in there, in words.
    pub fn commands_on(&self, air: Air) -> Result<BTreeMap<String, Vec<String>>, String> {
        let told = air.told_as();
        let arguments = self.arguments.iter().find(|(known, _)| *known == told).map(|(_, arguments)| arguments);
        let mut commands = BTreeMap::new();
        for (step, command) in &self.commands {
            let mut words = Vec::new();
            for word in command {
                match (word == AIR, arguments) {
                    (true, Some(arguments)) => words.extend(arguments.iter().cloned()),
                    (true, None) => return Err(format!("`{step}` says {AIR}, and there is no table [air.{air}]")),
                    (false, _) => words.push(word.clone()),
                }
            }
            for missing in missing_on(air) {
                if words.iter().any(|word| word.contains(missing)) {
                    return Err(format!("`{step}` says {missing}, which the air `{air}` does not have"));
                }
            }
            commands.insert(step.clone(), words);
        }
        Ok(commands)
    }

    /// The profile of a command that was given on the command line: it does the whole update.
    ///
    /// # Errors
    /// A [`Mistake`] when a placeholder is not known.
    pub fn of_command(command: Vec<String>) -> Result<Self, Mistake> {
        let shown = command.join(" ");
        check_command(&command).map_err(|message| Mistake::new(format!("`{shown}`"), message))?;
        Ok(Self {
            name: command.first().map(|program| file_name(program)).unwrap_or_default(),
            about: shown,
            needs: String::new(),
            protocol: None,
            driver: None,
            airs: Air::ALL.into_iter().filter(|air| !air.is_virtual() && air.told_as() == *air).collect(),
            // The deadline of the case is the only one.
            timeout_us: 86_400_000_000,
            commands: BTreeMap::from([("update".to_owned(), command)]),
            repeat: BTreeMap::new(),
            known: Vec::new(),
            unsupported: Vec::new(),
            arguments: Vec::new(),
        })
    }

    /// Whether one command does the whole update.
    #[must_use]
    pub fn updates_by_itself(&self) -> bool {
        self.commands.contains_key("update")
    }

    /// Why it cannot do a scenario, if it says so.
    #[must_use]
    pub fn unsupported(&self, scenario: &str) -> Option<&str> {
        let here = |entry: &&Unsupported| entry.scenarios.iter().any(|id| id == scenario);
        self.unsupported.iter().find(here).map(|entry| entry.reason.as_str())
    }

    /// Findings that are known for a scenario on an air, with their reasons.
    #[must_use]
    pub fn known_for(&self, scenario: &str, air: Air) -> Vec<&Known> {
        let here = |known: &Known| {
            known.airs.is_empty() || known.airs.iter().any(|KnownAir(known)| known.name() == air.name())
        };
        self.known.iter().filter(|known| known.scenarios.iter().any(|id| id == scenario) && here(known)).collect()
    }
}

fn file_name(program: &str) -> String {
    std::path::Path::new(program).file_name().map_or_else(|| program.to_owned(), |name| name.to_string_lossy().into())
}

fn check_command(command: &[String]) -> Result<(), String> {
    if command.first().is_none_or(|program| program.is_empty() || program == AIR) {
        return Err("a command needs a program".into());
    }
    check_words(command)
}

fn check_words(words: &[String]) -> Result<(), String> {
    for word in words {
        if word != AIR && word.contains(AIR) {
            return Err(format!("{AIR} stands for whole words and cannot be part of `{word}`"));
        }
        let mut rest = word.as_str();
        while let Some(start) = rest.find('{') {
            let Some(len) = rest[start..].find('}') else { break };
            let placeholder = &rest[start..=start + len];
            let simple = placeholder[1..len].chars().all(|c| c.is_ascii_lowercase());
            if simple && !PLACEHOLDERS.contains(&placeholder) {
                return Err(format!("no placeholder is called `{placeholder}`: one of {}", PLACEHOLDERS.join(", ")));
            }
            rest = &rest[start + len + 1..];
        }
    }
    Ok(())
}
