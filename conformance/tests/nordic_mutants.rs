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
use brickproof::scenario::Scenario;

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
        // What is only measured is long, and nothing else.
        scenarios
            .retain(|scenario| scenario.needs.iter().any(|need| need == "secure-dfu") && scenario.measures.is_none());
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
    let checked: BTreeSet<String> = judge::checked_of(Family::SecureDfu).map(str::to_owned).collect();
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
    assert_eq!(caught, judge::checked_of(Family::SecureDfu).collect(), "every requirement has a mutant");
}

/// A SoftDevice that lets write requests through does not make them right: the update works, and is still a finding.
#[test]
fn packets_by_write_requests_are_a_finding_where_they_work_too() {
    let (case, plan) = cases().iter().find(|(case, _)| case.scenario.id == "nordic-protocol/packet-requests").unwrap();
    let all = mutant::all();
    let asking = all.iter().find(|mutant| mutant.breaks == "NS-03").unwrap();
    let mut world = case.world(plan);
    run_nordic(case, &mut world, asking.policy, asking.reporter);
    let judgement = judge::judge(&case.scenario, &case.images, &world.take_records(), false);
    let findings: Vec<&str> = judgement.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert!(!findings.is_empty() && findings.iter().all(|id| *id == "NS-03"), "{findings:?}");
}

/// A scenario with this fault, on a device as this SDK has it.
fn with_fault(sdk: &str, when: &str, what: &str) -> String {
    format!(
        "schema = 1\nid = \"built/fault\"\nwhy = \"a fault\"\nsource = \"here\"\nneeds = [\"secure-dfu\"]\n\
         target = \"nrf52840-nordic-secure\"\n\n[images]\ninstalled = {{ version = 1, size = \"8 KiB\" }}\n\
         update = {{ version = 2, size = \"12 KiB\" }}\n\n[override.bootloader]\nsdk = \"{sdk}\"\n\n\
         [[fault]]\nwhen = {{ {when} }}\ndo = {what}\n\n[expect]\nrunning = \"any\"\n"
    )
}

/// What is lost, late, doubled or changed on the way is the air's doing, and what the device does by itself is the
/// device's: no check may blame a good initiator for it, whatever the update comes to.
#[test]
fn what_air_and_device_do_is_no_finding() {
    const CALLS: [&str; 12] = [
        "set-name",
        "enter-bootloader",
        "set-prn",
        "select-command",
        "create-command",
        "command-packet",
        "execute-command",
        "select-data",
        "create-data",
        "data-packet",
        "crc",
        "execute-data",
    ];
    const REQUESTS: [&str; 9] = [
        "\"lose-request\"",
        "\"double-request\"",
        "{ corrupt-request = { byte = 0, mask = 2 } }",
        "{ corrupt-request = { byte = 2, mask = 4 } }",
        "{ stall = \"3 s\" }",
        "{ stall = \"12 s\" }",
        "{ link-loss = { for = \"8 s\" } }",
        "{ power-loss = { for = \"2 s\" } }",
        "\"reset\"",
    ];
    const ANSWERS: [&str; 9] = [
        "\"lose-answer\"",
        "\"double-answer\"",
        "{ delay-answer = \"1 s\" }",
        "{ delay-answer = \"4 s\" }",
        "{ corrupt-answer = { byte = 0 } }",
        "{ corrupt-answer = { byte = 2 } }",
        "{ corrupt-answer = { byte = 5, mask = 64 } }",
        "{ link-loss = { for = \"8 s\" } }",
        "{ power-loss = { for = \"2 s\" } }",
    ];
    let mut texts = Vec::new();
    for call in CALLS {
        for nth in [1, 2, 3] {
            // Packets come by the dozen.
            let at = if call == "data-packet" { nth * nth * nth } else { nth };
            let faults = REQUESTS.map(|what| ("request", what)).into_iter().chain(ANSWERS.map(|what| ("answer", what)));
            for (side, what) in faults {
                let sdk = if nth == 2 { "15.3" } else { "17.1" };
                texts.push(with_fault(sdk, &format!("{side} = \"{call}\", nth = {at}"), what));
            }
        }
    }
    let oddities = mutant::legal_oddities();
    let of = |name: &str| oddities.iter().find(|(own, _)| *own == name).unwrap().1;
    let policies: [&dyn DfuPolicy; 3] =
        [&GoodDfu, of("no receipts"), of("packets of 64 bytes, and a pause behind each create")];
    let found = on_all(&texts, |text| {
        let scenario = Scenario::parse("built.toml", None, text).unwrap();
        let case = Case::prepare(&scenario, &plan()).unwrap();
        let mut found = Vec::new();
        for policy in policies {
            let mut world = case.world(&plan());
            run_nordic(&case, &mut world, policy, &Truthful);
            let judgement = judge::judge(&scenario, &case.images, &world.take_records(), false);
            let fault = text.lines().filter(|line| line.starts_with("when") || line.starts_with("do"));
            let fault = fault.collect::<Vec<_>>().join(" ");
            found.extend(
                judgement
                    .findings
                    .into_iter()
                    .filter(|finding| !finding.id.starts_with("expect/"))
                    .map(|finding| format!("{fault}: {}: {}", finding.id, finding.happened)),
            );
        }
        found
    });
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A capture may begin late, end early and have holes: that is judged, too.
#[test]
fn traces_with_holes_are_judged() {
    let names = ["nordic-link/loss-in-object-kept", "nordic-softdevice/everything", "nordic-packets/middle-lost"];
    for (case, plan) in cases().iter().filter(|(case, _)| names.contains(&case.scenario.id.as_str())) {
        let mut world = case.world(plan);
        run_nordic(case, &mut world, &GoodDfu, &Truthful);
        let trace = world.take_records();
        for step in 2..9 {
            for first in 0..step {
                let holes = |(index, _): &(usize, &_)| index % step != first;
                let some: Vec<_> = trace.iter().enumerate().filter(holes).map(|(_, record)| record.clone()).collect();
                let judgement = judge::judge(&case.scenario, &case.images, &some, false);
                assert_eq!(judgement.checks.len(), judge::checked_of(Family::SecureDfu).count());
            }
            let half = &trace[trace.len() / step..];
            for part in [half, &trace[..trace.len() / step]] {
                let judgement = judge::judge(&case.scenario, &case.images, part, false);
                assert!(!judgement.checks.is_empty());
            }
        }
    }
}
