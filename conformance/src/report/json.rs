//! Results as JSON.

use serde::Serialize;

use crate::judge::CheckOutcome;
use crate::runner::case::CaseResult;
use crate::runner::verdict::{Finding, Status};

/// Version of this format.
pub const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of brickproof.
    pub version: &'a str,
    /// Who was tested.
    pub initiator: &'a str,
    /// On which air.
    pub air: &'a str,
    /// Seed of everything that was drawn.
    pub seed: u64,
    /// The worst status.
    pub status: Status,
    /// The cases.
    pub cases: Vec<Case<'a>>,
}

/// One case.
#[derive(Debug, Serialize)]
pub struct Case<'a> {
    /// Id of the scenario.
    pub scenario: &'a str,
    /// Its status.
    pub status: Status,
    /// Why, where findings do not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// What did not hold.
    pub findings: &'a [Finding],
    /// Reasons of known failures.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub known: &'a [String],
    /// Requirements and what came of their checks.
    pub checks: Vec<Check<'a>>,
    /// Duration on the clock of the run, in microseconds.
    pub duration_us: u64,
    /// Folder with the evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The line that repeats it.
    pub repeat: &'a str,
}

/// A requirement and what came of its check.
#[derive(Debug, Serialize)]
pub struct Check<'a> {
    /// Id of the requirement.
    pub id: &'a str,
    /// `met`, `violated`, `not-exercised` or `not-observable`.
    pub outcome: &'static str,
    /// Records that show it.
    pub records: Vec<u64>,
}

/// A case as JSON has it.
#[must_use]
pub fn case(result: &CaseResult) -> Case<'_> {
    Case {
        scenario: &result.scenario,
        status: result.status,
        reason: result.reason.as_deref(),
        findings: &result.findings,
        known: &result.known,
        checks: result.checks.iter().map(|(id, outcome)| check(id, outcome)).collect(),
        duration_us: result.duration_us,
        evidence: result.evidence.as_ref().map(|folder| folder.display().to_string()),
        repeat: &result.repeat,
    }
}

fn check<'a>(id: &'a str, outcome: &CheckOutcome) -> Check<'a> {
    let (outcome, records) = match outcome {
        CheckOutcome::Met { evidence } => ("met", evidence.clone()),
        CheckOutcome::Violated { findings } => ("violated", findings.iter().map(|finding| finding.record).collect()),
        CheckOutcome::NotExercised => ("not-exercised", Vec::new()),
        CheckOutcome::NotObservable { .. } => ("not-observable", Vec::new()),
    };
    Check { id, outcome, records }
}
