//! What a person is told before a case.

use std::collections::BTreeMap;

use super::super::external::fill;
use crate::app::{App, Milestone};
use crate::initiator::personality::Mode;
use crate::scenario::Task;

/// What is known about a case before it begins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// Id of the scenario.
    pub(crate) scenario: String,
    /// Why it exists.
    pub(crate) why: String,
    /// Target profile.
    pub(crate) target: String,
    /// Lines about how the device is reached: what, and its value.
    pub(crate) device: Vec<(&'static str, String)>,
    /// The path of the image.
    pub(crate) image: String,
    /// Its name.
    pub(crate) file: String,
    /// Its version.
    pub(crate) version: String,
    /// Its length in bytes.
    pub(crate) size: u64,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
    /// The hash in its TLV area.
    pub(crate) hash: String,
}

/// A step, filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) seen: Option<Milestone>,
}

/// What a person is told before a case, and what is then waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Briefing {
    /// The heading.
    pub(crate) heading: String,
    /// What is between heading and steps.
    pub(crate) text: String,
    /// The steps.
    pub(crate) steps: Vec<Step>,
    /// What the target shows last when all goes well.
    pub(crate) last: Milestone,
}

impl Briefing {
    /// What to say about a case that is done with this app in this mode.
    pub(crate) fn new(facts: &Facts, app: &App, task: Task, mode: Mode) -> Self {
        let said = app.modes.get(&mode).cloned().unwrap_or_default();
        let known = |what: &str| facts.device.iter().find(|(known, _)| *known == what).map(|(_, value)| value.clone());
        let ways: Vec<_> = facts.device.iter().map(|(what, value)| format!("{what} {value}")).collect();
        let values = BTreeMap::from([
            ("name", known("name").or_else(|| known("address")).unwrap_or_default()),
            ("address", known("address").unwrap_or_default()),
            ("where", ways.join(", ")),
            ("image", facts.image.clone()),
            ("file", facts.file.clone()),
            ("version", facts.version.clone()),
            ("size", facts.size.to_string()),
            ("hash", facts.hash.clone()),
            ("mode", said),
        ]);
        let steps = app
            .steps_of(task)
            .map(|step| Step { text: fill(std::slice::from_ref(&step.text), &values).concat(), seen: step.seen });
        let mut lines = vec![("target", facts.target.clone())];
        lines.extend(facts.device.iter().cloned());
        lines.extend([
            ("image", facts.image.clone()),
            ("version", facts.version.clone()),
            ("size", format!("{} bytes", facts.size)),
            ("sha256", facts.sha256.clone()),
            ("hash", facts.hash.clone()),
            ("app", app.about.clone()),
        ]);
        let width = lines.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
        let lines: Vec<_> = lines.iter().map(|(what, value)| format!("  {what:<width$}  {value}")).collect();
        Self {
            heading: facts.scenario.clone(),
            text: format!("{}\n\n{}", facts.why, lines.join("\n")),
            steps: steps.collect(),
            last: match mode {
                Mode::TestAndConfirm => Milestone::Confirmed,
                Mode::ConfirmOnly | Mode::TestOnly => Milestone::NewImageRuns,
                Mode::UploadOnly => Milestone::Restarted,
            },
        }
    }
}
