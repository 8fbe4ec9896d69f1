//! The checks of Silicon Labs' OTA catch what they say they catch, and nothing else.

mod families;

use std::sync::OnceLock;

use brickproof::initiator::policy::Truthful;
use brickproof::initiator::silabs::policy::{GoodSilabs, SilabsPolicy};
use brickproof::judge::{self, Family};
use brickproof::mutant::silabs as mutant;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_silabs;
use families::{
    Outcomes, assert_caught, assert_good, assert_holes_are_judged, cases_that_need, findings_beside_expectations,
    on_all, trace_of,
};

/// Every bundled scenario of Silicon Labs' OTA.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| cases_that_need("silabs-ota"))
}

fn run_all(policy: &dyn SilabsPolicy) -> Outcomes {
    Outcomes::of(cases(), |case, world| run_silabs(case, world, policy, &Truthful))
}

#[test]
fn the_good_initiator_passes_and_its_oddities_break_nothing() {
    let good: (&str, &dyn SilabsPolicy) = ("good", &GoodSilabs);
    let all: Vec<_> = std::iter::once(good).chain(mutant::legal_oddities()).collect();
    let outcomes = on_all(&all, |(name, policy)| (*name, run_all(*policy)));
    // An oddity may end otherwise than a scenario expects: a slot that is asked to end the link forgets what it has, and
    // what a fault does to one value is done to another one. It breaks nothing.
    assert_good(Family::SilabsOta, outcomes, |name, failed| name != "good" && failed.contains(": expect/"));
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let outcomes = on_all(&mutant::all(), |mutant| {
        let outcomes = Outcomes::of(cases(), |case, world| run_silabs(case, world, mutant.policy, mutant.reporter));
        ((mutant.name, mutant.breaks, mutant.also), outcomes)
    });
    assert_caught(Family::SilabsOta, &outcomes);
}

/// A scenario with this fault, on this target.
fn with_fault(target: &str, when: &str, what: &str) -> String {
    format!(
        "schema = 1\nid = \"built/fault\"\nwhy = \"a fault\"\nsource = \"here\"\nneeds = [\"silabs-ota\"]\n\
         target = \"{target}\"\n\n[images]\ninstalled = {{ version = 1, size = \"8 KiB\" }}\n\
         update = {{ version = 2, size = \"12 KiB\" }}\n\n[[fault]]\nwhen = {{ {when} }}\ndo = {what}\n\n\
         [expect]\nrunning = \"any\"\n"
    )
}

/// What is lost, late or changed on the way is the air's doing, and what the device does by itself is the device's: no check
/// may blame a good initiator for it, whatever the update comes to.
#[test]
fn what_air_and_device_do_is_no_finding() {
    const REQUESTS: [&str; 8] = [
        "\"lose-request\"",
        "{ corrupt-request = { byte = 0, mask = 2 } }",
        "{ corrupt-request = { byte = 2, mask = 4 } }",
        "{ stall = \"3 s\" }",
        "{ stall = \"12 s\" }",
        "{ link-loss = { for = \"8 s\" } }",
        "{ power-loss = { for = \"2 s\" } }",
        "\"reset\"",
    ];
    const ANSWERS: [&str; 6] = [
        "\"lose-answer\"",
        "{ delay-answer = \"1 s\" }",
        "{ delay-answer = \"12 s\" }",
        "{ reply = \"80\" }",
        "{ link-loss = { for = \"8 s\" } }",
        "{ power-loss = { for = \"2 s\" } }",
    ];
    let mut texts = Vec::new();
    for target in ["efr32mg22-apploader", "efr32mg24-storage"] {
        for call in ["ota-enter", "ota-start", "ota-data", "ota-finish"] {
            for nth in [1, 2, 3] {
                // Values come by the dozen.
                let at = if call == "ota-data" { nth * nth * nth } else { nth };
                let faults =
                    REQUESTS.map(|what| ("request", what)).into_iter().chain(ANSWERS.map(|what| ("answer", what)));
                texts.extend(
                    faults.map(|(side, what)| with_fault(target, &format!("{side} = \"{call}\", nth = {at}"), what)),
                );
            }
        }
    }
    let found = on_all(&texts, |text| {
        findings_beside_expectations(text, |case, world| run_silabs(case, world, &GoodSilabs, &Truthful))
    });
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A slot tells nobody that a value was lost: who has not looked at what runs, and reports a success, has said what is not
/// true.
#[test]
fn a_success_is_only_told_where_the_update_runs() {
    let case = cases().iter().find(|case| case.scenario.id == "silabs-link/slot-lost-value").unwrap();
    let all = mutant::all();
    let blind = all.iter().find(|mutant| mutant.breaks == "SIL-23").unwrap();
    let told = |policy: &dyn SilabsPolicy| {
        let trace = trace_of(case, |case, world| run_silabs(case, world, policy, &Truthful));
        let judgement = judge::judge(&case.scenario, &case.images, &trace, false);
        judgement.findings.into_iter().map(|finding| finding.id).collect::<Vec<_>>()
    };
    assert_eq!(told(&GoodSilabs), Vec::<String>::new());
    assert_eq!(told(blind.policy), ["expect/initiator", "SIL-23"]);
}

#[test]
fn traces_with_holes_are_judged() {
    let names = ["silabs-link/loss-at-50", "silabs-update/slot", "silabs-protocol/two-files"];
    for case in cases().iter().filter(|case| names.contains(&case.scenario.id.as_str())) {
        let trace = trace_of(case, |case, world| run_silabs(case, world, &GoodSilabs, &Truthful));
        assert_holes_are_judged(Family::SilabsOta, case, &trace);
    }
}
