//! Results as JUnit XML, as CI services read it.
//!
//! | element | is |
//! |---|---|
//! | `testsuite` | a folder of scenarios (`power-loss`); for scenarios without one, the initiator |
//! | `testcase` | a scenario: its id; `classname` is `brickproof.<initiator>.<suite>` |
//! | `skipped` | unsupported, skipped or an expected failure; the message says which, and why |
//! | `failure` | failed, an unexpected pass or inconclusive: what was expected, what happened, when, how to repeat it |
//! | `error` | the harness itself is at fault |
//! | `properties` | seed, target, air, versions |
//! | `time` | duration on the clock of the run in seconds, which may be virtual |
//!
//! A repeated case is one `testcase`, as bad as its worst run; the properties say how the runs ended. There
//! is no time of day in it: the same run gives the same file.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::clean::{SHOWN, one_line};
use super::group::{Group, Heading, by_scenario};
use crate::runner::case::CaseResult;
use crate::runner::verdict::{Finding, Status, Weight};

/// Longest name in characters.
const NAME: usize = 200;
/// Longest line of the tool's output in characters.
const LINE: usize = 200;

/// The report as XML.
///
/// # Errors
/// Never for results: what XML cannot hold is replaced.
pub fn report(results: &[CaseResult], heading: &Heading<'_>) -> Result<String, String> {
    let mut report = Report::new("brickproof");
    report.set_time(duration(results));
    let mut suites: Vec<(String, Vec<Group<'_>>)> = Vec::new();
    for group in by_scenario(results) {
        let name = suite(group.scenario(), heading.initiator);
        match suites.iter_mut().find(|(other, _)| *other == name) {
            Some((_, groups)) => groups.push(group),
            None => suites.push((name, vec![group])),
        }
    }
    for (name, groups) in suites {
        let mut suite = TestSuite::new(name.as_str());
        suite.set_time(groups.iter().map(|group| duration(group.runs)).sum());
        let mut targets: Vec<&str> =
            groups.iter().flat_map(|group| group.runs).map(|run| run.target.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        for (name, value) in [
            ("initiator", one_line(heading.initiator, NAME)),
            ("air", one_line(heading.air, NAME)),
            ("target", one_line(&targets.join(", "), SHOWN)),
            ("seed", heading.seed.to_string()),
            ("brickproof", env!("CARGO_PKG_VERSION").to_owned()),
        ] {
            suite.add_property((name, value.as_str()));
        }
        if let Some(shard) = heading.shard {
            suite.add_property(("shard", shard));
        }
        for group in &groups {
            suite.add_test_case(case(group, &name, heading));
        }
        report.add_test_suite(suite);
    }
    report.to_string().map_err(|error| format!("junit.xml cannot be written: {error}"))
}

/// The folder of a scenario.
fn suite(scenario: &str, initiator: &str) -> String {
    let folder = scenario.rsplit_once('/').map_or(initiator, |(folder, _)| folder);
    one_line(folder, NAME)
}

fn case(group: &Group<'_>, suite: &str, heading: &Heading<'_>) -> TestCase {
    let worst = group.worst();
    let mut case = TestCase::new(one_line(group.scenario(), NAME), status(group));
    case.set_classname(format!("brickproof.{}.{}", dotless(heading.initiator), dotless(suite)));
    case.set_time(duration(group.runs));
    case.add_property(("target", one_line(&worst.target, NAME).as_str()));
    case.add_property(("seed", worst.seed.to_string().as_str()));
    if let Some(counts) = group.counts() {
        case.add_property(("runs", counts.as_str()));
        case.add_property(("flaky", if group.is_flaky() { "true" } else { "false" }));
    }
    let mut out: Vec<String> = Vec::new();
    if worst.status == Status::Passed {
        out.extend(worst.findings.iter().flat_map(explain));
    }
    if worst.status > Status::Passed {
        out.extend(worst.output.iter().map(|line| one_line(line, LINE)));
    }
    if !out.is_empty() {
        case.set_system_out(out.join("\n"));
    }
    case
}

fn status(group: &Group<'_>) -> TestCaseStatus {
    let worst = group.worst();
    let mut message = match (worst.status, &worst.reason) {
        (_, Some(reason)) => reason.clone(),
        (Status::ExpectedFailure, None) => format!("{} ({})", ids(&worst.findings), worst.known.join("; ")),
        (Status::UnexpectedPass, None) => format!("a known failure did not happen: {}", worst.known.join("; ")),
        (_, None) => worst
            .findings
            .iter()
            .max_by_key(|finding| finding.weight)
            .map_or(String::new(), |finding| format!("{}: {}", finding.id, finding.happened)),
    };
    if let Some(counts) = group.counts().filter(|_| group.is_flaky()) {
        message = format!("{message} [{counts}]");
    }
    let word = worst.status.word();
    let (mut status, message) = match worst.status {
        Status::Passed => return TestCaseStatus::success(),
        Status::Unsupported | Status::Skipped | Status::ExpectedFailure => {
            (TestCaseStatus::skipped(), format!("{}: {message}", word.replace('-', " ")))
        }
        Status::UnexpectedPass | Status::Failed | Status::Inconclusive => {
            (TestCaseStatus::non_success(NonSuccessKind::Failure), message)
        }
        Status::Error => (TestCaseStatus::non_success(NonSuccessKind::Error), message),
    };
    status.set_type(word);
    status.set_message(one_line(&message, SHOWN));
    if worst.status > Status::ExpectedFailure {
        let texts: Vec<String> = group
            .different()
            .into_iter()
            .filter(|result| result.status > Status::ExpectedFailure)
            .map(|result| describe(result, group.runs.len() > 1))
            .collect();
        status.set_description(format!("\n{}\n", texts.join("\n\n")));
    }
    status
}

/// What a person needs who sees only this.
fn describe(result: &CaseResult, repeated: bool) -> String {
    let mut lines = vec![one_line(&result.why, SHOWN)];
    if repeated {
        lines.push(format!("run       {}, seed {}", result.run, result.seed));
    }
    if let Some(reason) = &result.reason {
        lines.push(format!("because   {}", one_line(reason, SHOWN)));
    }
    lines.extend(result.findings.iter().flat_map(explain));
    lines.extend(result.known.iter().map(|reason| format!("known     {}", one_line(reason, SHOWN))));
    if let Some(folder) = &result.evidence {
        lines.push(format!("evidence  {}", one_line(&folder.display().to_string(), SHOWN)));
    }
    lines.push(format!("repeat    {}", one_line(&result.repeat, 4 * SHOWN)));
    lines.join("\n")
}

fn explain(finding: &Finding) -> Vec<String> {
    let weight = if finding.weight == Weight::Should { " (should)" } else { "" };
    let mut lines = vec![
        format!("{}{weight}", finding.id),
        format!("  expected  {}", one_line(&finding.expected, SHOWN)),
        format!("  happened  {}", one_line(&finding.happened, SHOWN)),
    ];
    if let (Some(at), Some(record)) = (finding.at_us, finding.record) {
        lines.push(format!("  when      {:.3} s after the start, record {record} of the trace", at as f64 / 1e6));
    }
    lines
}

fn ids(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.id.as_str()).collect::<Vec<_>>().join(", ")
}

fn duration(results: &[CaseResult]) -> Duration {
    Duration::from_micros(results.iter().map(|result| result.duration_us).sum())
}

/// One component of a class name.
fn dotless(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    name.chars().take(NAME).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_status_has_its_element() {
        insta::assert_snapshot!(report(&sample::results(), &sample::HEADING).unwrap());
    }

    #[test]
    fn hostile_output_stays_text() {
        let mut results = sample::results();
        let hostile = "\u{1b}]0;x\u{7}<failure>&]]>\0\u{ffff}\u{202e}\"'\n".repeat(100);
        for result in &mut results {
            result.output = vec![hostile.clone()];
            result.reason = Some(hostile.clone());
            result.scenario = format!("{}{hostile}", result.scenario);
            for finding in &mut result.findings {
                finding.happened.clone_from(&hostile);
            }
        }
        let xml = report(&results, &sample::HEADING).unwrap();
        let read = Report::deserialize_from_str(&xml).expect("it is XML");
        assert_eq!(read.tests, by_scenario(&results).len());
        assert!(!xml.contains("<failure>&") && !xml.contains('\u{1b}') && !xml.contains('\u{202e}'));
    }
}
