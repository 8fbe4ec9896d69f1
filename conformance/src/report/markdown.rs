//! Results as Markdown, for the page of a CI run.
//!
//! Everything that a tool, a file or a person gave is inside `<code>` with its punctuation written as
//! character references: it is shown as it is, never read as Markdown or HTML, and mentions nobody.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::clean::{SHOWN, one_line};
use super::group::{Group, Heading, by_scenario, summary};
use crate::judge::{CheckOutcome, requirements};
use crate::runner::case::CaseResult;
use crate::runner::verdict::{Status, Weight};

/// Bytes after which failures are only counted: GitHub takes 1 MiB a step.
const LEN_MAX: usize = 512 << 10;
/// Scenarios that are named beside a requirement.
const NAMED: usize = 3;

/// The report as Markdown.
#[must_use]
pub fn report(results: &[CaseResult], heading: &Heading<'_>) -> String {
    let mut text = String::new();
    let groups = by_scenario(results);
    let worst = results.iter().map(|result| result.status).max();
    line(&mut text, &format!("## {} brickproof: {}", worst.map_or("⚪", mark), summary(&groups)));
    line(&mut text, "");
    let part = heading.shard.map_or(String::new(), |shard| format!(", part {shard}"));
    line(
        &mut text,
        &format!(
            "{} on {}{part}, seed {}, brickproof {}",
            code(heading.initiator),
            code(heading.air),
            heading.seed,
            env!("CARGO_PKG_VERSION")
        ),
    );
    line(&mut text, "");
    line(&mut text, "| scenario | verdict | time | requirements |");
    line(&mut text, "|---|---|--:|---|");
    let mut left_out = 0;
    for group in &groups {
        if text.len() > LEN_MAX {
            left_out += 1;
        } else {
            verdict(&mut text, group);
        }
    }
    if left_out > 0 {
        line(&mut text, &format!("\n{left_out} more scenarios are in `results.json`."));
    }
    transfers(&mut text, results);
    failures(&mut text, &groups);
    requirement_table(&mut text, results);
    text
}

/// What was measured, where a scenario asks for it.
fn transfers(text: &mut String, results: &[CaseResult]) {
    let measured: Vec<_> = results.iter().filter_map(|result| Some((result, result.transfer.as_ref()?))).collect();
    if measured.is_empty() {
        return;
    }
    line(text, "\n| transfer | bytes | time | MTU | packet | receipts | lost | sent again |");
    line(text, "|---|--:|--:|--:|--:|--:|--:|--:|");
    for (result, own) in measured {
        let row = format!(
            "| {} | {} | {:.1} s | {} | {} | {} | {} of {} packets | {} of {} objects |",
            code(&result.scenario),
            own.bytes,
            own.duration_us as f64 / 1e6,
            own.mtu,
            own.packet_len,
            own.receipts,
            own.lost,
            own.packets,
            own.again,
            own.objects
        );
        line(text, &row);
    }
}

fn verdict(text: &mut String, group: &Group<'_>) {
    let worst = group.worst();
    let status = group.status();
    let time: u64 = group.runs.iter().map(|result| result.duration_us).sum();
    let mut notes = Vec::new();
    if let Some(counts) = group.counts() {
        notes.push(counts);
    }
    if let Some(reason) = worst.reason.as_ref().filter(|_| status < Status::Passed) {
        notes.push(code(reason));
    }
    notes.extend(worst.known.iter().map(|reason| code(reason)));
    let notes = if notes.is_empty() { String::new() } else { format!("<br>{}", notes.join("<br>")) };
    let count = |wanted: fn(&CheckOutcome) -> bool| worst.checks.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let met = count(|outcome| matches!(outcome, CheckOutcome::Met { .. }));
    let violated = count(|outcome| matches!(outcome, CheckOutcome::Violated { .. }));
    let checks = match (met, violated) {
        (0, 0) => String::new(),
        (met, 0) => format!("{met} met"),
        (met, violated) => format!("{met} met, {violated} violated"),
    };
    line(
        text,
        &format!(
            "| {} | {} {status}{notes} | {:.1} s | {checks} |",
            code(group.scenario()),
            mark(status),
            time as f64 / 1e6
        ),
    );
}

fn failures(text: &mut String, groups: &[Group<'_>]) {
    let failed: Vec<(&CaseResult, bool)> = groups
        .iter()
        .flat_map(|group| group.different().into_iter().map(|result| (result, group.runs.len() > 1)))
        .filter(|(result, _)| result.status > Status::ExpectedFailure)
        .collect();
    if failed.is_empty() {
        return;
    }
    line(text, "\n### What went wrong");
    for (index, (result, repeated)) in failed.iter().enumerate() {
        if text.len() > LEN_MAX {
            line(text, &format!("\n{} more are in `results.json`.", failed.len() - index));
            return;
        }
        failure(text, result, *repeated);
    }
}

fn failure(text: &mut String, result: &CaseResult, repeated: bool) {
    let run = if repeated { format!(", run {}, seed {}", result.run, result.seed) } else { String::new() };
    line(text, &format!("\n#### {} {}: {}{run}\n", mark(result.status), code(&result.scenario), result.status));
    line(text, &format!("{}\n", code(&result.why)));
    if let Some(reason) = &result.reason {
        line(text, &format!("- because: {}", code(reason)));
    }
    for finding in &result.findings {
        let weight = if finding.weight == Weight::Should { " (should)" } else { "" };
        line(text, &format!("- **{}**{weight}", code(&finding.id)));
        line(text, &format!("  - expected: {}", code(&finding.expected)));
        line(text, &format!("  - happened: {}", code(&finding.happened)));
        if let (Some(at), Some(record)) = (finding.at_us, finding.record) {
            let when = at as f64 / 1e6;
            line(text, &format!("  - when: {when:.3} s after the start, record {record} of the trace"));
        }
    }
    for reason in &result.known {
        line(text, &format!("- known: {}", code(reason)));
    }
    if let Some(folder) = &result.evidence {
        line(text, &format!("- evidence: {}", code(&folder.display().to_string())));
    }
    line(text, "\nRepeat it with\n");
    line(text, &block(&result.repeat));
    if !result.output.is_empty() {
        line(text, "\nThe last lines of the tool\n");
        let lines: Vec<String> = result.output.iter().map(|line| one_line(line, SHOWN)).collect();
        line(text, &block(&lines.join("\n")));
    }
}

/// What came of a requirement in all scenarios.
#[derive(Default)]
struct Sum<'a> {
    violated: Vec<&'a str>,
    met: usize,
    missing: Option<&'static str>,
}

fn requirement_table(text: &mut String, results: &[CaseResult]) {
    let mut sums: BTreeMap<&str, Sum<'_>> = BTreeMap::new();
    for result in results {
        for (id, outcome) in &result.checks {
            let sum = sums.entry(id).or_default();
            match outcome {
                CheckOutcome::Violated { .. } if sum.violated.contains(&result.scenario.as_str()) => {}
                CheckOutcome::Violated { .. } => sum.violated.push(&result.scenario),
                CheckOutcome::Met { .. } => sum.met += 1,
                CheckOutcome::NotExercised => {}
                CheckOutcome::NotObservable { missing } => sum.missing = Some(missing),
            }
        }
    }
    if sums.is_empty() {
        return;
    }
    line(text, "\n### Requirements\n");
    line(text, "| requirement | | result | |");
    line(text, "|---|---|---|---|");
    for (id, sum) in sums {
        let requirement = requirements::get(id);
        let level = match requirement.map(|requirement| requirement.level) {
            Some(Weight::Should) => "SHOULD",
            _ => "MUST",
        };
        let times = |count: usize| if count == 1 { "once".to_owned() } else { format!("{count} times") };
        let result = match (&sum.violated, sum.met, sum.missing) {
            (violated, met, _) if !violated.is_empty() => {
                let named: Vec<String> = violated.iter().take(NAMED).map(|scenario| code(scenario)).collect();
                let more = if violated.len() > NAMED {
                    format!(" and {} more", violated.len() - NAMED)
                } else {
                    String::new()
                };
                let met = if met > 0 { format!("; met {}", times(met)) } else { String::new() };
                format!("❌ violated | in {}{more}{met}", named.join(", "))
            }
            (_, 0, Some(missing)) => format!("➖ not observable | without {missing}"),
            (_, 0, None) => "➖ not exercised | ".to_owned(),
            (_, met, _) => format!("✅ met | {}", times(met)),
        };
        let sentence = requirement.map_or(String::new(), |requirement| format!("<br>{}", escape(&requirement.text)));
        line(text, &format!("| {id}{sentence} | {level} | {result} |"));
    }
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Passed => "✅",
        Status::Unsupported | Status::Skipped => "⚪",
        Status::ExpectedFailure => "⚠️",
        Status::UnexpectedPass | Status::Failed | Status::Inconclusive => "❌",
        Status::Error => "💥",
    }
}

/// A text from elsewhere, inside a line.
fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(&one_line(text, SHOWN)))
}

/// Every character that means something to Markdown or HTML as a character reference.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Also `www.`, `name@` and `http:`, which some readers make links of.
            '&' | '<' | '>' | '"' | '\'' | '|' | '`' | '*' | '_' | '~' | '[' | ']' | '(' | ')' | '{' | '}' | '\\'
            | '#' | '!' | '$' | '@' | ':' | '^' | '=' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            '.' if escaped.ends_with(['w', 'W']) => escaped.push_str("&#46;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Lines from elsewhere in a fence that they cannot close.
fn block(text: &str) -> String {
    let text: Vec<String> = text.lines().map(|line| one_line(line, 8 * SHOWN)).collect();
    let text = text.join("\n");
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}")
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::*;

    #[test]
    fn every_status_is_shown() {
        insta::assert_snapshot!(report(&sample::results(), &sample::HEADING));
    }

    #[test]
    fn a_run_of_nothing_is_a_report() {
        assert!(report(&[], &sample::HEADING).contains("nothing ran"));
    }

    #[test]
    fn a_report_is_not_longer_than_a_step_summary() {
        let mut results = Vec::new();
        for number in 0..4000 {
            let failed = sample::results().into_iter().find(|result| result.status == Status::Failed);
            let mut result = failed.expect("one failed");
            result.scenario = format!("long/{number}");
            result.output = vec!["<".repeat(10_000); 20];
            results.push(result);
        }
        let text = report(&results, &sample::HEADING);
        assert!(text.len() < 1 << 20, "{}", text.len());
        assert!(text.contains("are in `results.json`"));
    }

    proptest! {
        #[test]
        fn nothing_from_elsewhere_is_markup(hostile in "\\PC{0,200}|[<>`*_|#@:\\[\\]()!&\\n\\r-]{0,100}") {
            let inline = code(&hostile);
            let inside = inline.strip_prefix("<code>").and_then(|rest| rest.strip_suffix("</code>")).unwrap();
            prop_assert!(!inside.contains(['<', '>', '`', '|', '*', '_', '[', ']', '@', '\n', '\r', '\\', '"']));
            // What is left of `&` begins a reference.
            for piece in inside.split('&').skip(1) {
                prop_assert!(piece.starts_with('#'), "{}", inside);
            }
            let fenced = block(&hostile);
            let lines: Vec<&str> = fenced.lines().collect();
            let fence = lines.last().unwrap();
            prop_assert!(lines[0].starts_with(fence));
            for line in &lines[1..lines.len() - 1] {
                prop_assert!(!line.contains(fence), "{}", fenced);
            }
        }
    }
}
