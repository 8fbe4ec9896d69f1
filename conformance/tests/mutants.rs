//! The checks catch what they say they catch, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use brickproof::initiator::personality::Personality;
use brickproof::initiator::policy::{Policy, Reporter, Truthful, WellBehaved};
use brickproof::initiator::wire::{Tamper, Untouched};
use brickproof::judge::{self, CheckOutcome, Family, requirements};
use brickproof::library;
use brickproof::mutant;
use brickproof::runner::Plan;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::{run_over_console, run_with};
use brickproof::scenario::Scenario;

/// Requirements that were violated, and how the first time; those that were met, and in which scenarios.
struct Outcomes {
    violated: BTreeMap<String, String>,
    met: BTreeMap<String, BTreeSet<String>>,
    failed: Vec<String>,
}

/// Scenarios that are also run over the lines of a serial port.
const CONSOLE: [&str; 3] = ["update/test-confirm", "link/loss-mid-upload", "power-loss/mid-upload"];

fn plan() -> Plan {
    Plan::builtin(Personality::DEFAULT, PathBuf::new())
}

/// Every bundled scenario, made once: images are signed and checked for each.
fn cases() -> &'static [(Case, Plan)] {
    static CASES: OnceLock<Vec<(Case, Plan)>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut scenarios = library::scenarios(&[]).unwrap();
        scenarios.retain(|scenario| scenario.needs.iter().any(|need| need == "smp" || need == "serial-recovery"));
        scenarios.iter().map(|scenario| (Case::prepare(scenario, &plan()).unwrap(), plan())).collect()
    })
}

fn run_all(policy: &dyn Policy, tamper: &dyn Tamper, reporter: &dyn Reporter) -> Outcomes {
    let mut outcomes = Outcomes { violated: BTreeMap::new(), met: BTreeMap::new(), failed: Vec::new() };
    let over_console = cases().iter().filter(|(case, _)| CONSOLE.contains(&case.scenario.id.as_str()));
    let direct = cases().iter().map(|case| (case, false));
    for ((case, plan), console) in direct.chain(over_console.map(|case| (case, true))) {
        let scenario = &case.scenario;
        let mut world = case.world(plan);
        let run = if console { run_over_console } else { run_with };
        run(case, &mut world, policy, tamper, reporter);
        let trace = world.take_records();
        let judgement = judge::judge(scenario, &case.images, &trace, false);
        for (id, outcome) in judgement.checks {
            match outcome {
                CheckOutcome::Violated { findings } => {
                    let how = format!("{}: {}", scenario.id, findings[0].happened);
                    outcomes.violated.entry(id.to_owned()).or_insert(how);
                }
                CheckOutcome::Met { .. } => {
                    outcomes.met.entry(id.to_owned()).or_default().insert(scenario.id.clone());
                }
                CheckOutcome::NotExercised | CheckOutcome::NotObservable { .. } => {}
            }
        }
        for finding in judgement.findings {
            outcomes.failed.push(format!("{}: {} ({})", scenario.id, finding.id, finding.happened));
        }
    }
    outcomes
}

#[test]
fn the_well_behaved_initiator_meets_every_requirement_where_it_says_so() {
    let outcomes = run_all(&WellBehaved, &Untouched, &Truthful);
    assert_eq!(outcomes.failed, Vec::<String>::new());
    let all: BTreeSet<String> = judge::checked_of(Family::Smp).map(str::to_owned).collect();
    assert_eq!(outcomes.met.keys().cloned().collect::<BTreeSet<_>>(), all, "the scenarios exercise every requirement");
    let mut wrong = Vec::new();
    for requirement in requirements::all().iter().filter(|requirement| all.contains(&requirement.id)) {
        for id in requirement.scenarios.iter().filter(|id| !outcomes.met[&requirement.id].contains(*id)) {
            wrong.push(format!("{} is not exercised by {id}", requirement.id));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let mutants = mutant::all();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcomes = run_all(mutant.policy, mutant.tamper, mutant.reporter);
                    let mut named: BTreeSet<String> = mutant.also.iter().map(|id| (*id).to_owned()).collect();
                    named.insert(mutant.breaks.to_owned());
                    if !outcomes.violated.keys().eq(&named) {
                        let what = format!("`{}` names {named:?} and violated {:#?}", mutant.name, outcomes.violated);
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let caught: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.breaks).collect();
    assert_eq!(caught, judge::checked_of(Family::Smp).collect(), "every requirement has a mutant");
}

#[test]
fn legal_oddities_pass_everything() {
    for (name, policy) in mutant::legal_oddities() {
        let outcomes = run_all(policy, &Untouched, &Truthful);
        assert_eq!(outcomes.failed, Vec::<String>::new(), "{name}");
    }
}

/// Answers that are lost, late or doubled are the network's doing: a good initiator gets over them, and no
/// check may blame it.
#[test]
fn lost_late_and_doubled_answers_are_no_finding() {
    let base =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/templates/scenario.toml")).unwrap();
    let (head, rest) = base.split_once("[[fault]]").unwrap();
    let expect = &rest[rest.find("[expect]").unwrap()..];
    for (command, nth) in [
        ("image-upload", 1),
        ("image-upload", 5),
        ("image-upload", 40),
        ("image-state", 1),
        ("image-state", 2),
        ("params", 1),
        ("reset", 1),
    ] {
        for action in
            ["\"lose-answer\"", "\"double-answer\"", "{ delay-answer = \"1 s\" }", "{ delay-answer = \"4 s\" }"]
        {
            let fault = format!("[[fault]]\nwhen = {{ answer = \"{command}\", nth = {nth} }}\ndo = {action}\n\n");
            let scenario = Scenario::parse("built.toml", None, &format!("{head}{fault}{expect}")).unwrap();
            let plan = plan();
            let case = Case::prepare(&scenario, &plan).unwrap();
            let mut world = case.world(&plan);
            run_with(&case, &mut world, &WellBehaved, &Untouched, &Truthful);
            let judgement = judge::judge(&scenario, &case.images, &world.take_records(), false);
            assert_eq!(judgement.findings, Vec::new(), "{command} {nth} {action}");
        }
    }
}
