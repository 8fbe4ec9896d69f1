//! What the tests of the checks of several families share: bundled scenarios, run with a policy, judged, and compared with
//! what requirements, mutants and oddities say of themselves.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use brickproof::initiator::personality::Personality;
use brickproof::judge::{self, CheckOutcome, Family, requirements};
use brickproof::library;
use brickproof::runner::Plan;
use brickproof::runner::case::Case;
use brickproof::scenario::Scenario;
use brickproof_simulator::trace::Record;
use brickproof_simulator::world::World;

pub fn plan() -> Plan {
    Plan::builtin(Personality::DEFAULT, PathBuf::new())
}

/// The bundled scenarios with this need, made once: files are signed for each. What is only measured is long, and nothing
/// else.
pub fn cases_that_need(need: &str) -> Vec<Case> {
    let mut scenarios = library::scenarios(&[]).unwrap();
    scenarios.retain(|scenario| scenario.needs.iter().any(|own| own == need) && scenario.measures.is_none());
    scenarios.iter().map(|scenario| Case::prepare(scenario, &plan()).unwrap()).collect()
}

/// Runs a case and takes its trace.
pub fn trace_of(case: &Case, run: impl Fn(&Case, &mut World)) -> Vec<Record> {
    let mut world = case.world(&plan());
    run(case, &mut world);
    world.take_records()
}

/// Requirements that were violated, and how the first time; those that were met, and where; and what does not hold.
#[derive(Default)]
pub struct Outcomes {
    pub violated: BTreeMap<String, String>,
    pub met: BTreeMap<String, BTreeSet<String>>,
    pub failed: Vec<String>,
}

impl Outcomes {
    /// Of all these cases.
    pub fn of(cases: &[Case], run: impl Fn(&Case, &mut World)) -> Self {
        let mut outcomes = Self::default();
        for case in cases {
            let id = &case.scenario.id;
            let judgement = judge::judge(&case.scenario, &case.images, &trace_of(case, &run), false);
            for (check, outcome) in judgement.checks {
                match outcome {
                    CheckOutcome::Violated { findings } => {
                        let how = format!("{id}: {}", findings[0].happened);
                        outcomes.violated.entry(check.to_owned()).or_insert(how);
                    }
                    CheckOutcome::Met { .. } => {
                        outcomes.met.entry(check.to_owned()).or_default().insert(id.clone());
                    }
                    CheckOutcome::NotExercised | CheckOutcome::NotObservable { .. } => {}
                }
            }
            let failed = judgement.findings.into_iter();
            outcomes.failed.extend(failed.map(|one| format!("{id}: {} ({})", one.id, one.happened)));
        }
        outcomes
    }
}

/// Does something with each of them, on all processors.
pub fn on_all<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(one) = all.get(index) else { return };
                    let result = each(one);
                    results.lock().unwrap().insert(index, result);
                }
            });
        }
    });
    results.into_inner().unwrap().into_values().collect()
}

/// The good initiator and its oddities, by name, with what came of each: none fails, but for what `excused` says of it, and
/// together they meet every requirement of the family where it says so.
pub fn assert_good(family: Family, all: Vec<(&str, Outcomes)>, excused: impl Fn(&str, &str) -> bool) {
    let mut wrong = Vec::new();
    let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, outcomes) in all {
        let failed = outcomes.failed.iter().filter(|failed| !excused(name, failed));
        wrong.extend(failed.map(|failed| format!("{name}: {failed}")));
        for (id, scenarios) in outcomes.met {
            met.entry(id).or_default().extend(scenarios);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let checked: BTreeSet<String> = judge::checked_of(family).map(str::to_owned).collect();
    assert_eq!(met.keys().cloned().collect::<BTreeSet<_>>(), checked, "the scenarios exercise every requirement");
    for requirement in requirements::all().iter().filter(|requirement| checked.contains(&requirement.id)) {
        let missing = requirement.scenarios.iter().filter(|id| !met[&requirement.id].contains(*id));
        wrong.extend(missing.map(|id| format!("{} is not exercised by {id}", requirement.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a mutant says of itself: its name, the requirement it breaks, and those that fall with it.
pub type Named = (&'static str, &'static str, &'static [&'static str]);

/// Each mutant has violated exactly what it names, and every requirement of the family has one.
pub fn assert_caught(family: Family, mutants: &[(Named, Outcomes)]) {
    let mut wrong = Vec::new();
    let mut caught = BTreeSet::new();
    for ((name, breaks, also), outcomes) in mutants {
        let named: BTreeSet<&str> = also.iter().copied().chain([*breaks]).collect();
        if !outcomes.violated.keys().map(String::as_str).eq(named.iter().copied()) {
            wrong.push(format!("`{name}` names {named:?} and violated {:#?}", outcomes.violated));
        }
        caught.insert(*breaks);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(caught, judge::checked_of(family).collect(), "every requirement has a mutant");
}

/// What does not hold, beside the expectations, in a scenario that is written here.
pub fn findings_beside_expectations(text: &str, run: impl Fn(&Case, &mut World)) -> Vec<String> {
    let scenario = Scenario::parse("built.toml", None, text).unwrap();
    let case = Case::prepare(&scenario, &plan()).unwrap();
    let judgement = judge::judge(&scenario, &case.images, &trace_of(&case, run), false);
    let fault: Vec<_> = text.lines().filter(|line| line.starts_with("when") || line.starts_with("do")).collect();
    let findings = judgement.findings.into_iter().filter(|finding| !finding.id.starts_with("expect/"));
    findings.map(|finding| format!("{}: {}: {}", fault.join(" "), finding.id, finding.happened)).collect()
}

/// A capture may begin late, end early and have holes: that is judged, too.
pub fn assert_holes_are_judged(family: Family, case: &Case, trace: &[Record]) {
    for step in 2..9 {
        for first in 0..step {
            let holes = |(index, _): &(usize, &Record)| index % step != first;
            let some: Vec<_> = trace.iter().enumerate().filter(holes).map(|(_, record)| record.clone()).collect();
            let judgement = judge::judge(&case.scenario, &case.images, &some, false);
            assert_eq!(judgement.checks.len(), judge::checked_of(family).count());
        }
        for part in [&trace[trace.len() / step..], &trace[..trace.len() / step]] {
            assert!(!judge::judge(&case.scenario, &case.images, part, false).checks.is_empty());
        }
    }
}
