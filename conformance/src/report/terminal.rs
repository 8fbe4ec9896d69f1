//! What a person reads: a table of verdicts, and what is behind those that are not good.

use std::fmt::Write;

use crate::runner::case::CaseResult;
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

    fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The table of verdicts, then what is behind them.
#[must_use]
pub fn report(results: &[CaseResult], initiator: &str, air: &str, style: Style) -> String {
    let mut text = String::new();
    let width = results.iter().map(|result| result.scenario.len()).max().unwrap_or(0).max("scenario".len());
    let heading = format!("{:<width$}  {:<16}  {:>9}  requirements", "scenario", "verdict", "time");
    line(&mut text, &style.bold(heading.trim_end()));
    for result in results {
        let verdict = style.paint(result.status, &format!("{:<16}", result.status.word()));
        let row = format!(
            "{:<width$}  {verdict}  {:>8.1}s  {}",
            result.scenario,
            result.duration_us as f64 / 1e6,
            requirements(result)
        );
        line(&mut text, row.trim_end());
    }
    for result in results.iter().filter(|result| detailed(result)) {
        text.push('\n');
        details(&mut text, result, style);
    }
    text.push('\n');
    let worst = results.iter().map(|result| result.status).max().unwrap_or(Status::Passed);
    let counts = counts(results);
    line(&mut text, &format!("{initiator} on {air}: {}", style.paint(worst, &counts)));
    // Such a run exits with 0: a mistyped command in a shell must not look like a green one.
    if results.iter().all(|result| result.status < Status::Passed) {
        line(&mut text, "nothing was tested: the initiator or the air cannot do what these scenarios need");
        if results.iter().any(|result| result.status == Status::Unsupported) {
            line(&mut text, "a shell also exits with 127 when it does not find a command: look whether it runs");
        }
    }
    text
}

fn detailed(result: &CaseResult) -> bool {
    result.status != Status::Passed || !result.findings.is_empty()
}

fn details(text: &mut String, result: &CaseResult, style: Style) {
    line(text, &format!("{} {}", style.paint(result.status, result.status.word()), style.bold(&result.scenario)));
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

fn counts(results: &[CaseResult]) -> String {
    let order = [
        Status::Passed,
        Status::ExpectedFailure,
        Status::UnexpectedPass,
        Status::Failed,
        Status::Inconclusive,
        Status::Error,
        Status::Skipped,
        Status::Unsupported,
    ];
    let parts: Vec<_> = order
        .into_iter()
        .filter_map(|status| {
            let count = results.iter().filter(|result| result.status == status).count();
            (count > 0).then(|| format!("{count} {status}"))
        })
        .collect();
    if parts.is_empty() { "nothing ran".to_owned() } else { parts.join(", ") }
}

fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}
