//! What a person reads: a table of verdicts, and what is behind those that are not good.

use std::fmt::Write;

use super::group::{Heading, by_scenario, summary};
use crate::runner::case::CaseResult;
use crate::runner::external::UNSUPPORTED;
use crate::runner::verdict::{Status, Weight};

/// How text is coloured; nothing when the output is no terminal or `NO_COLOR` is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether colours are used.
    pub colour: bool,
}

impl Style {
    fn paint(self, status: Status, text: &str) -> String {
        let code = match status {
            Status::Passed => "32",
            Status::ExpectedFailure | Status::Skipped | Status::Unsupported => "33",
            Status::UnexpectedPass | Status::Failed | Status::Inconclusive | Status::Error => "31",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The table of verdicts, then what is behind them.
#[must_use]
pub fn report(results: &[CaseResult], heading: &Heading<'_>, style: Style) -> String {
    let mut text = String::new();
    let groups = by_scenario(results);
    let width = results.iter().map(|result| result.scenario.len()).max().unwrap_or(0).max("scenario".len());
    let columns = format!("{:<width$}  {:<16}  {:>9}  requirements", "scenario", "verdict", "time");
    line(&mut text, &style.bold(columns.trim_end()));
    for group in &groups {
        let status = group.status();
        let verdict = style.paint(status, &format!("{:<16}", status.word()));
        let time: u64 = group.runs.iter().map(|result| result.duration_us).sum();
        let counts = group.counts().map_or(String::new(), |counts| format!("  [{counts}]"));
        let row = format!(
            "{:<width$}  {verdict}  {:>8.1}s  {}{counts}",
            group.scenario(),
            time as f64 / 1e6,
            requirements(group.worst())
        );
        line(&mut text, row.trim_end());
    }
    let measured: Vec<_> = results.iter().filter_map(|result| Some((result, result.transfer.as_ref()?))).collect();
    if !measured.is_empty() {
        text.push('\n');
    }
    for (result, transfer) in measured {
        line(&mut text, &style.bold(&result.scenario));
        line(&mut text, &format!("  {}", transfer.words()));
    }
    for group in &groups {
        let repeated = group.runs.len() > 1;
        for result in group.different().into_iter().filter(|result| detailed(result)) {
            text.push('\n');
            details(&mut text, result, repeated, style);
        }
    }
    text.push('\n');
    let worst = results.iter().map(|result| result.status).max().unwrap_or(Status::Passed);
    let part = heading.shard.map_or(String::new(), |shard| format!(", part {shard}"));
    let counts = style.paint(worst, &summary(&groups));
    line(&mut text, &format!("{} on {}{part}: {counts}", heading.initiator, heading.air));
    // Such a run exits with 0: a mistyped command in a shell must not look like a green one.
    if results.is_empty() {
        if heading.shard.is_some() {
            line(&mut text, "nothing was tested: there are more parts than scenarios, and this one is empty");
        }
    } else if results.iter().all(|result| result.status < Status::Passed) {
        line(&mut text, "nothing was tested: the initiator, the air or the target cannot do what these scenarios need");
        if results.iter().any(command_gave_up) {
            line(&mut text, "a shell also exits with 127 when it does not find a command: look whether it runs");
        }
    }
    text
}

/// Whether a command said that it cannot do this, rather than that nothing was started.
fn command_gave_up(result: &CaseResult) -> bool {
    let exited = format!("exited with {UNSUPPORTED}");
    result.status == Status::Unsupported && result.reason.as_ref().is_some_and(|reason| reason.ends_with(&exited))
}

fn detailed(result: &CaseResult) -> bool {
    result.status != Status::Passed || !result.findings.is_empty()
}

fn details(text: &mut String, result: &CaseResult, repeated: bool, style: Style) {
    let run = if repeated { format!(" (run {}, seed {})", result.run, result.seed) } else { String::new() };
    let status = style.paint(result.status, result.status.word());
    line(text, &format!("{status} {}{run}", style.bold(&result.scenario)));
    line(text, &format!("  {}", result.why));
    if let Some(reason) = &result.reason {
        line(text, &format!("  because   {reason}"));
    }
    if result.status == Status::ExpectedFailure {
        let ids: Vec<_> = result.findings.iter().map(|finding| finding.id.as_str()).collect();
        line(text, &format!("  fails     {}", ids.join(", ")));
    }
    for finding in result.findings.iter().filter(|_| result.status != Status::ExpectedFailure) {
        let weight = if finding.weight == Weight::Should { " (should)" } else { "" };
        line(text, &format!("  {}{weight}", style.bold(&finding.id)));
        line(text, &format!("    expected  {}", finding.expected));
        line(text, &format!("    happened  {}", finding.happened));
        if let (Some(at), Some(record)) = (finding.at_us, finding.record) {
            line(
                text,
                &format!("    when      {:.3} s after the start, record {record} of the trace", at as f64 / 1e6),
            );
        }
    }
    for reason in &result.known {
        line(text, &format!("  known     {reason}"));
    }
    if let Some(folder) = &result.evidence {
        line(text, &format!("  evidence  {}", folder.display()));
    }
    if result.status > Status::ExpectedFailure {
        line(text, &format!("  repeat    {}", result.repeat));
    }
}

/// Which requirements were met and which violated.
fn requirements(result: &CaseResult) -> String {
    use crate::judge::CheckOutcome::{Met, Violated};
    let met = result.checks.iter().filter(|(_, outcome)| matches!(outcome, Met { .. })).count();
    let violated: Vec<_> =
        result.checks.iter().filter(|(_, outcome)| matches!(outcome, Violated { .. })).map(|(id, _)| *id).collect();
    match (met, violated.as_slice()) {
        (0, []) => String::new(),
        (met, []) => format!("{met} met"),
        (met, violated) => format!("{met} met, violated: {}", violated.join(" ")),
    }
}

fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::super::sample::{HEADING, result};
    use super::*;

    #[test]
    fn a_shell_is_suspected_only_where_a_command_ran() {
        let said = |reason: &str| {
            let mut unsupported = result("update/resume", Status::Unsupported);
            unsupported.reason = Some(reason.into());
            report(&[unsupported], &HEADING, Style::default())
        };
        let hint = "a shell also exits with 127";
        assert!(said("`sh -c update` exited with 127").contains(hint));
        let person = said("a person cannot be asked to do this");
        assert!(person.contains("nothing was tested") && !person.contains(hint), "{person}");
    }
}
