//! Results as JSON.

use serde::Serialize;

use super::group::{Group, Heading, by_scenario};
use crate::judge::CheckOutcome;
use crate::judge::nordic::measure::Transfer;
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
    /// Seed of everything that was drawn; of the first run, when cases were repeated.
    pub seed: u64,
    /// How often each case was run, if more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// Which part of the scenarios this is, `K/N`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The worst status.
    pub status: Status,
    /// Scenarios whose runs did not all end alike.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flaky: Vec<&'a str>,
    /// The cases; a repeated one once a run.
    pub cases: Vec<Case<'a>>,
}

/// One case.
#[derive(Debug, Serialize)]
pub struct Case<'a> {
    /// Id of the scenario.
    pub scenario: &'a str,
    /// Name of the target.
    pub target: &'a str,
    /// Which run of the scenario this is, from 1, if it was repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// Seed of this run.
    pub seed: u64,
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
    /// What the transfer came to, where the scenario measures that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer: Option<&'a Transfer>,
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

/// A run as JSON has it; `runs`: how often each case was run.
#[must_use]
pub fn run<'a>(heading: &Heading<'a>, runs: u32, results: &'a [CaseResult]) -> Run<'a> {
    let groups = by_scenario(results);
    Run {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        initiator: heading.initiator,
        air: heading.air,
        seed: heading.seed,
        repeat: (runs > 1).then_some(runs),
        shard: heading.shard.map(str::to_owned),
        status: results.iter().map(|result| result.status).max().unwrap_or(Status::Passed),
        flaky: groups.iter().filter(|group| group.is_flaky()).map(Group::scenario).collect(),
        cases: results.iter().map(|result| case(result, runs)).collect(),
    }
}

/// A case as JSON has it; `runs`: how often each case was run.
#[must_use]
pub fn case(result: &CaseResult, runs: u32) -> Case<'_> {
    Case {
        scenario: &result.scenario,
        target: &result.target,
        run: (runs > 1).then_some(result.run),
        seed: result.seed,
        status: result.status,
        reason: result.reason.as_deref(),
        findings: &result.findings,
        known: &result.known,
        checks: result.checks.iter().map(|(id, outcome)| check(id, outcome)).collect(),
        duration_us: result.duration_us,
        transfer: result.transfer.as_ref(),
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
