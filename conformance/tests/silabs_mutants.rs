//! The checks of Silicon Labs' OTA catch what they say they catch, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use brickproof::air::Air;
use brickproof::initiator::personality::Personality;
use brickproof::initiator::policy::{Reporter, Truthful};
use brickproof::initiator::silabs::policy::{GoodSilabs, SilabsPolicy};
use brickproof::judge::{self, CheckOutcome, Family, requirements};
use brickproof::library;
use brickproof::mutant::silabs as mutant;
use brickproof::runner::Plan;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_silabs;

/// Requirements that were violated, and how the first time; those that were met, and where; and what does not hold.
#[derive(Default)]
struct Outcomes {
    violated: BTreeMap<String, String>,
    met: BTreeMap<String, BTreeSet<String>>,
    failed: Vec<String>,
}

fn plan() -> Plan {
    Plan::builtin(Personality::DEFAULT, PathBuf::new())
}

/// Every bundled scenario of Silicon Labs' OTA.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut scenarios = library::scenarios(&[]).unwrap();
        scenarios.retain(|scenario| scenario.needs.iter().any(|need| need == "silabs-ota"));
        let cases = scenarios.iter().map(|scenario| Case::prepare(scenario, &plan()).unwrap());
        cases.filter(|case| case.air == Air::InProcessBle).collect()
    })
}

fn run_all(policy: &dyn SilabsPolicy, reporter: &dyn Reporter) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for case in cases() {
        let scenario = &case.scenario;
        let mut world = case.world(&plan());
        run_silabs(case, &mut world, policy, reporter);
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
        let failed = judgement.findings.into_iter();
        outcomes.failed.extend(failed.map(|one| format!("{}: {} ({})", scenario.id, one.id, one.happened)));
    }
    outcomes
}

#[test]
fn the_good_initiator_passes_and_its_oddities_break_nothing() {
    let good: (&str, &dyn SilabsPolicy) = ("good", &GoodSilabs);
    let mut wrong = Vec::new();
    let mut met: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, policy) in std::iter::once(good).chain(mutant::legal_oddities()) {
        let outcomes = run_all(policy, &Truthful);
        // An oddity may end otherwise than a scenario expects: a slot that is asked to end the link forgets what it has, and
        // what a fault does to one value is done to another one. It breaks nothing.
        let ends = |failed: &String| name != "good" && failed.contains(": expect/");
        let failed = outcomes.failed.into_iter().filter(|failed| !ends(failed));
        wrong.extend(failed.map(|failed| format!("{name}: {failed}")));
        for (id, scenarios) in outcomes.met {
            met.entry(id).or_default().extend(scenarios);
        }
    }
    let checked: BTreeSet<String> = judge::checked_of(Family::SilabsOta).map(str::to_owned).collect();
    assert_eq!(met.keys().cloned().collect::<BTreeSet<_>>(), checked, "the scenarios exercise every requirement");
    for requirement in requirements::all().iter().filter(|requirement| checked.contains(&requirement.id)) {
        let missing = requirement.scenarios.iter().filter(|id| !met[&requirement.id].contains(*id));
        wrong.extend(missing.map(|id| format!("{} is not exercised by {id}", requirement.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let mutants = mutant::all();
    let mut wrong = Vec::new();
    for mutant in &mutants {
        let violated = run_all(mutant.policy, mutant.reporter).violated;
        let named: BTreeSet<&str> = mutant.also.iter().copied().chain([mutant.breaks]).collect();
        if !violated.keys().map(String::as_str).eq(named.iter().copied()) {
            wrong.push(format!("`{}` names {named:?} and violated {violated:#?}", mutant.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let caught: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.breaks).collect();
    assert_eq!(caught, judge::checked_of(Family::SilabsOta).collect(), "every requirement has a mutant");
}
