//! One path of a sweep, step by step.

use std::fmt::Write;

use brickproof_flash_model::sweep::{End, Finding, Machine, Path, Replay, Run, Step, Tears, Violation, replay};
use serde::Serialize;

use super::super::explain_text::Of;
use super::super::options::style;
use super::super::{Failure, dump, print, print_json};
use super::options::{Arguments, id};
use super::{Knows, Setup, Work};
use crate::report::terminal::Style;
use crate::sweep::Known;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Told {
    target: String,
    story: &'static str,
    path: String,
    runs: Vec<ToldRun>,
    /// How the last run ended.
    end: String,
    /// What does not hold then.
    #[serde(skip_serializing_if = "Option::is_none")]
    invariant: Option<&'static str>,
    /// The known property that it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ToldRun {
    steps: Vec<String>,
    /// What the power loss at its end interrupts.
    #[serde(skip_serializing_if = "Option::is_none")]
    cut: Option<String>,
}

pub(super) fn run(arguments: &Arguments, setup: &Setup, path: &Path) -> Result<u8, Failure> {
    let [story] = setup.stories(arguments)?[..] else {
        return Err(Failure::Usage("a path belongs to one story\n  remedy: one --story".into()));
    };
    if arguments.svg.is_some() {
        return Err(Failure::Usage("--svg draws a whole sweep\n  remedy: --cuts exhaustive, or linear".into()));
    }
    let story = if arguments.strict { story.strict().unwrap_or(story) } else { story };
    let tell = Tell { arguments, setup, story: story.name(), path };
    setup.with(story, tell)
}

struct Tell<'a> {
    arguments: &'a Arguments,
    setup: &'a Setup,
    story: &'static str,
    path: &'a Path,
}

impl Work<u8> for Tell<'_> {
    fn on<M: Machine>(self, machine: &M, knows: Knows<'_>) -> Result<u8, Failure> {
        let Self { arguments, setup, story, path } = self;
        let usage = |error| Failure::Usage(format!("--cuts id:{}: {error}", id(path)));
        let replayed = replay(machine, path).map_err(usage)?;
        dump::save(&arguments.flash_out, &setup.target().layout, &replayed.flash)?;
        let (end, violation) = match &replayed.end {
            End::Violation(violation) => (violation.what.clone(), Some(violation)),
            End::Rest(end) => ((*end).to_owned(), None),
            End::Interrupted => return Err(Failure::Harness("a run that was not cut has not ended".into())),
        };
        let known = match violation {
            Some(violation) => known(arguments.tears, machine, knows, path, violation)?,
            None => None,
        };
        let told = Told {
            target: setup.target().name.clone(),
            story,
            path: id(path),
            runs: replayed.runs.iter().map(told_run).collect(),
            end,
            invariant: violation.map(|violation| violation.invariant),
            known: known.map(|known| known.id),
        };
        if arguments.json {
            print_json(&told)?;
        } else {
            let words = style(&std::io::stdout());
            print(&text(&told, known.as_ref(), words))?;
            print(&left(setup, &replayed, words))?;
        }
        Ok(u8::from(told.invariant.is_some() && told.known.is_none()))
    }
}

/// The property that the path shows: the cause is the last cut without which it would not end so.
fn known<M: Machine>(
    tears: Tears,
    machine: &M,
    knows: Knows<'_>,
    path: &Path,
    violation: &Violation,
) -> Result<Option<Known>, Failure> {
    let mut found = None;
    for cuts in (0..=path.0.len()).rev() {
        let part = Path(path.0[..cuts].to_vec());
        let replayed = replay(machine, &part).map_err(Failure::Harness)?;
        if !matches!(&replayed.end, End::Violation(there) if there.invariant == violation.invariant) {
            break;
        }
        let labels: Vec<_> = replayed.runs.iter().filter_map(|run| run.cut).collect();
        let cause = labels.last().copied();
        found = Some(Finding { violation: violation.clone(), cause, path: part, labels, nodes: 1 });
    }
    Ok(found.and_then(|finding| knows(&finding, tears)))
}

fn told_run(run: &Run) -> ToldRun {
    let mut steps = Vec::new();
    let mut rest = &run.steps[..];
    while let Some((step, behind)) = rest.split_first() {
        let Step::Operations { first, .. } = step else {
            steps.extend(if let Step::Told(told) = step { Some(told.clone()) } else { None });
            rest = behind;
            continue;
        };
        let (period, times) = repeated(rest);
        let (block, behind) = rest.split_at(period * times);
        let last = block.iter().map(count).sum::<u64>() + first - 1;
        let place = if last == *first { first.to_string() } else { format!("{first} to {last}") };
        let what: Vec<String> = block[..period].iter().map(words).collect();
        let times = if times > 1 { format!(", {times} times") } else { String::new() };
        steps.push(format!("  {place}: {}{times}", what.join(", ")));
        rest = behind;
    }
    ToldRun { steps, cut: run.cut.map(|cut| cut.to_string()) }
}

/// Longest group of steps that is told as one.
const PERIOD_MAX: usize = 8;

/// How many steps at the start make a group that comes again, and how often it comes: the group that tells most at once.
fn repeated(steps: &[Step]) -> (usize, usize) {
    let operations = steps.iter().take_while(|step| matches!(step, Step::Operations { .. })).count();
    let steps = &steps[..operations];
    let times = |period: usize| {
        let group = &steps[..period];
        steps.chunks_exact(period).take_while(|next| next.iter().zip(group).all(|(a, b)| alike(a, b))).count()
    };
    let groups = (1..=PERIOD_MAX.min(operations)).map(|period| (period, times(period)));
    let several = groups.filter(|(_, times)| *times > 1);
    several.max_by_key(|(period, times)| (period * times, std::cmp::Reverse(*period))).unwrap_or((1, 1))
}

fn alike(one: &Step, other: &Step) -> bool {
    words(one) == words(other)
}

fn count(step: &Step) -> u64 {
    if let Step::Operations { count, .. } = step { *count } else { 0 }
}

fn words(step: &Step) -> String {
    match step {
        Step::Told(told) => told.clone(),
        Step::Operations { what, count: 1, .. } => what.clone(),
        Step::Operations { what, count, .. } => format!("{count} x {what}"),
        Step::Start => String::new(),
    }
}

fn text(told: &Told, known: Option<&Known>, style: Style) -> String {
    let mut text = format!("{}, {}, {}\n", style.bold(&told.target), told.story, told.path);
    for run in &told.runs {
        let _ = writeln!(text, "\n{}", style.bold("power on"));
        for step in &run.steps {
            let _ = writeln!(text, "  {step}");
        }
        if let Some(cut) = &run.cut {
            let _ = writeln!(text, "{} {cut}", style.bold("power lost"));
        }
    }
    let _ = writeln!(text, "\n{}", style.bold(&format!("in the end {}", told.end)));
    match (told.invariant, known) {
        (None, _) => {}
        (Some(invariant), None) => {
            let _ = writeln!(text, "  VIOLATION of `{invariant}`, no known property of this bootloader");
        }
        (Some(invariant), Some(known)) => {
            let _ = writeln!(text, "  violates `{invariant}`, as is known: {}: {}", known.id, known.title);
            let _ = writeln!(text, "  evidence   {}", known.evidence);
            let _ = writeln!(text, "  remedy     {}", known.remedy);
        }
    }
    text
}

/// What the last power loss left, explained.
fn left(setup: &Setup, replayed: &Replay, style: Style) -> String {
    let (last, flash) = match replayed.runs.iter().rev().find_map(|run| run.left.as_ref()) {
        Some(flash) => ("what the last power loss left", flash),
        None => ("at the end", &replayed.flash),
    };
    format!("\n{}", setup.explain(flash, Of::State(last), style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_once() {
        let mut steps = vec![Step::Told("the bootloader starts".into())];
        let mut n = 0;
        let mut add = |what: &str, count: u64| {
            steps.push(Step::Operations { what: what.into(), first: n, count });
            n += count;
        };
        add("erase of magic", 1);
        for _ in 0..3 {
            add("erase", 1);
            add("program", 4);
        }
        add("erase", 1);
        steps.push(Step::Start);
        let told = told_run(&Run { steps, ..Run::default() });
        let lines =
            ["the bootloader starts", "  0: erase of magic", "  1 to 15: erase, 4 x program, 3 times", "  16: erase"];
        assert_eq!(told.steps, lines);
    }
}
