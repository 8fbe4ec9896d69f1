//! Apps: what a person is told to do in one.
//!
//! ```toml
//! schema = 1
//! name = "my-app"
//! about = "what it is"
//! protocol = "smp"                         # what it speaks
//! radio = true                             # only a real adapter reaches it
//! source = "where its words come from"
//!
//! [modes]                                  # what it calls what it does after the upload
//! test-and-confirm = "`Test and Confirm`"
//! # also: confirm-only, test-only, upload-only
//!
//! [[step]]                                 # what the person does, in the app's own words
//! do = "Tap `{name}`"
//! seen = "connected"                       # the step is done when the target shows this
//! # tasks = ["erase-and-update"]           # only there
//! ```
//!
//! `seen` is one of `connected`, `upload-started`, `uploaded`, `marked`, `restarted`, `new-image-runs`, `confirmed`; a
//! step without it is done when a later one is. Placeholders: `{name}` and `{address}` of the device, `{where}` (how it
//! is reached), `{image}` (the path of the file), `{file}` (its name), `{version}`, `{size}` (in bytes), `{hash}` (in its
//! TLV area), `{mode}` (what the app calls it).

use std::collections::BTreeMap;

use brickproof_flash_model::source::Mistake;
use serde::Deserialize;
use toml::Spanned;

use crate::initiator::personality::Mode;
use crate::scenario::Task;

const PLACEHOLDERS: [&str; 9] =
    ["{name}", "{address}", "{where}", "{image}", "{file}", "{version}", "{size}", "{hash}", "{mode}"];

/// What an app speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The Simple Management Protocol.
    Smp,
}

/// What a target shows of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// Somebody is connected.
    Connected,
    /// The first chunk has come.
    UploadStarted,
    /// The last chunk has come.
    Uploaded,
    /// The new image is marked, for test or for good.
    Marked,
    /// The target has started again.
    Restarted,
    /// The new image runs.
    NewImageRuns,
    /// It is confirmed while it runs.
    Confirmed,
}

/// One thing that the person does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What, with placeholders.
    #[serde(rename = "do")]
    pub text: String,
    /// What shows that it is done.
    pub seen: Option<Milestone>,
    /// Tasks it belongs to; all of them if empty.
    #[serde(default)]
    pub tasks: Vec<Task>,
}

/// What a person is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether only a real adapter reaches it.
    pub radio: bool,
    /// What it calls what it does after the upload.
    pub modes: BTreeMap<Mode, String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: Spanned<u32>,
    name: String,
    about: String,
    protocol: Protocol,
    #[serde(default)]
    radio: bool,
    #[serde(rename = "source")]
    _source: String,
    modes: BTreeMap<Mode, String>,
    step: Vec<Spanned<Step>>,
}

impl App {
    /// Reads an app; `file` names it in mistakes.
    ///
    /// # Errors
    /// A [`Mistake`] with line, column and remedy.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
        if *read.schema.get_ref() != 1 {
            return Err(Mistake::new(file, format!("schema {} is not known", read.schema.get_ref()))
                .at(text, read.schema.span().start)
                .remedy("this version reads schema = 1"));
        }
        if read.modes.is_empty() {
            return Err(Mistake::new(file, "the app has no mode").remedy("[modes] with `test-and-confirm` or another"));
        }
        for step in &read.step {
            if let Some(unknown) = unknown_placeholder(&step.get_ref().text) {
                return Err(Mistake::new(file, format!("no placeholder is called `{unknown}`"))
                    .at(text, step.span().start)
                    .remedy(format!("one of {}", PLACEHOLDERS.join(", "))));
            }
        }
        // Without it nobody would be told when the app has begun.
        if !read.step.iter().any(|step| step.get_ref().seen == Some(Milestone::UploadStarted)) {
            return Err(Mistake::new(file, "no step starts the upload").remedy("seen = \"upload-started\""));
        }
        Ok(Self {
            name: read.name,
            about: read.about,
            protocol: read.protocol,
            radio: read.radio,
            modes: read.modes,
            steps: read.step.into_iter().map(Spanned::into_inner).collect(),
        })
    }

    /// The steps of a task.
    pub fn steps_of(&self, task: Task) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.tasks.is_empty() || step.tasks.contains(&task))
    }

    /// Whether it has steps for this task alone.
    #[must_use]
    pub fn has_steps_for(&self, task: Task) -> bool {
        self.steps.iter().any(|step| step.tasks.contains(&task))
    }
}

fn unknown_placeholder(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let len = rest[start..].find('}')?;
        let placeholder = &rest[start..=start + len];
        if !PLACEHOLDERS.contains(&placeholder) {
            return Some(placeholder);
        }
        rest = &rest[start + len + 1..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"schema = 1
name = "x"
about = "x"
protocol = "smp"
source = "x"
[modes]
test-only = "`Test`"
[[step]]
do = "Tap {name}"
seen = "upload-started"
"#;

    #[test]
    fn mistakes_name_the_place() {
        assert!(App::parse("x.toml", GOOD).is_ok());
        let wrong = [
            ("{name}", "{nam}", "x.toml:8:1: no placeholder is called `{nam}`"),
            ("upload-started", "connected", "no step starts the upload"),
            ("upload-started", "started", "unknown variant `started`"),
            ("\"smp\"", "\"silabs-ota\"", "unknown variant `silabs-ota`"),
            ("test-only = \"`Test`\"", "", "the app has no mode"),
            ("schema = 1", "schema = 2", "x.toml:1:10: schema 2 is not known"),
        ];
        for (good, bad, message) in wrong {
            let error = App::parse("x.toml", &GOOD.replace(good, bad)).unwrap_err().to_string();
            assert!(error.contains(message), "{bad}: {error}");
        }
    }

    #[test]
    fn bundled_apps_are_read_and_named_like_their_files() {
        for bundled in brickproof_scenarios::apps() {
            let app = App::parse(bundled.name, bundled.text).unwrap();
            assert_eq!(app.name, bundled.name);
        }
    }
}
