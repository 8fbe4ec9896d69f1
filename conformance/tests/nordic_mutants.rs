//! The checks of Nordic's DFU catch what they say they catch, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use brickproof::initiator::nordic::policy::{DfuPolicy, GoodDfu};
use brickproof::initiator::personality::Personality;
use brickproof::initiator::policy::{Reporter, Truthful};
use brickproof::judge::{self, CheckOutcome, Family, requirements};
use brickproof::library;
use brickproof::mutant::nordic as mutant;
use brickproof::runner::Plan;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_nordic;

/// Requirements that were violated, and how the first time; those that were met, and in which scenarios; and what does
/// not hold.
#[derive(Default)]
struct Outcomes {
    violated: BTreeMap<String, String>,
    met: BTreeMap<String, BTreeSet<String>>,
    failed: Vec<String>,
}

fn plan() -> Plan {
    Plan::builtin(Personality::DEFAULT, PathBuf::new())
}

/// Every bundled scenario of Secure DFU, made once: packages are signed for each.
fn cases() -> &'static [(Case, Plan)] {
    static CASES: OnceLock<Vec<(Case, Plan)>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut scenarios = library::scenarios(&[]).unwrap();
        scenarios.retain(|scenario| scenario.needs.iter().any(|need| need == "secure-dfu"));
        scenarios.iter().map(|scenario| (Case::prepare(scenario, &plan()).unwrap(), plan())).collect()
    })
}

fn run_all(policy: &dyn DfuPolicy, reporter: &dyn Reporter) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for (case, plan) in cases() {
        let scenario = &case.scenario;
        let mut world = case.world(plan);
        run_nordic(case, &mut world, policy, reporter);
        let judgement = judge::judge(scenario, &case.images, &world.take_records(), false);
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

/// Does something with each of them, on all processors.
fn on_all<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
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

/// An oddity may end otherwise than a scenario expects, but breaks nothing. What its user has given up is not there.
fn is_of_its_end(failed: &str) -> bool {
    failed.contains(": expect/")
}

#[test]
fn the_good_initiator_passes_and_its_oddities_break_nothing() {
    let good: (&str, &dyn DfuPolicy) = ("good", &GoodDfu);
    let all: Vec<_> = std::iter::once(good).chain(mutant::legal_oddities()).collect();
    let outcomes = on_all(&all, |(name, policy)| (*name, *policy, run_all(*policy, &Truthful)));
    let mut wrong = Vec::new();
    let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, policy, outcome) in outcomes {
        let gives_up = policy.gives_up_at_permille().is_some();
        let failed = outcome.failed.into_iter().filter(|failed| !(gives_up && is_of_its_end(failed)));
        wrong.extend(failed.map(|failed| format!("{name}: {failed}")));
        for (id, scenarios) in outcome.met {
            met.entry(id).or_default().extend(scenarios);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let checked: BTreeSet<String> = judge::checked_of(Family::Nordic).map(str::to_owned).collect();
    assert_eq!(met.keys().cloned().collect::<BTreeSet<_>>(), checked, "the scenarios exercise every requirement");
    for requirement in requirements::all().iter().filter(|requirement| checked.contains(&requirement.id)) {
        for id in requirement.scenarios.iter().filter(|id| !met[&requirement.id].contains(*id)) {
            wrong.push(format!("{} is not exercised by {id}", requirement.id));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let mutants = mutant::all();
    let wrong = on_all(&mutants, |mutant| {
        let outcomes = run_all(mutant.policy, mutant.reporter);
        let named: BTreeSet<&str> = mutant.also.iter().copied().chain([mutant.breaks]).collect();
        let same = outcomes.violated.keys().map(String::as_str).eq(named.iter().copied());
        (!same).then(|| format!("`{}` names {named:?} and violated {:#?}", mutant.name, outcomes.violated))
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let caught: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.breaks).collect();
    assert_eq!(caught, judge::checked_of(Family::Nordic).collect(), "every requirement has a mutant");
}
