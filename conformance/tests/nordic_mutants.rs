//! The checks of Nordic's DFU catch what they say they catch, and nothing else.

mod families;

use std::sync::OnceLock;

use brickproof::initiator::nordic::policy::{DfuPolicy, GoodDfu};
use brickproof::initiator::policy::Truthful;
use brickproof::judge::{self, Family};
use brickproof::mutant::nordic as mutant;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_nordic;
use families::{
    Outcomes, assert_caught, assert_good, assert_holes_are_judged, cases_that_need, findings_beside_expectations,
    on_all, trace_of,
};

/// Every bundled scenario of Secure DFU.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| cases_that_need("secure-dfu"))
}

fn run_all(policy: &dyn DfuPolicy) -> Outcomes {
    Outcomes::of(cases(), |case, world| run_nordic(case, world, policy, &Truthful))
}

#[test]
fn the_good_initiator_passes_and_its_oddities_break_nothing() {
    let good: (&str, &dyn DfuPolicy) = ("good", &GoodDfu);
    let all: Vec<_> = std::iter::once(good).chain(mutant::legal_oddities()).collect();
    let outcomes = on_all(&all, |(name, policy)| (*name, run_all(*policy)));
    // An oddity may end otherwise than a scenario expects, but breaks nothing. What its user has given up is not there.
    let gives_up = |name: &str| all.iter().any(|(own, policy)| *own == name && policy.gives_up_at_permille().is_some());
    assert_good(Family::SecureDfu, outcomes, |name, failed| gives_up(name) && failed.contains(": expect/"));
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let outcomes = on_all(&mutant::all(), |mutant| {
        let outcomes = Outcomes::of(cases(), |case, world| run_nordic(case, world, mutant.policy, mutant.reporter));
        ((mutant.name, mutant.breaks, mutant.also), outcomes)
    });
    assert_caught(Family::SecureDfu, &outcomes);
}

/// A SoftDevice that lets write requests through does not make them right: the update works, and is still a finding.
#[test]
fn packets_by_write_requests_are_a_finding_where_they_work_too() {
    let case = cases().iter().find(|case| case.scenario.id == "nordic-protocol/packet-requests").unwrap();
    let all = mutant::all();
    let asking = all.iter().find(|mutant| mutant.breaks == "NS-03").unwrap();
    let trace = trace_of(case, |case, world| run_nordic(case, world, asking.policy, asking.reporter));
    let judgement = judge::judge(&case.scenario, &case.images, &trace, false);
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
        let of = |policy: &dyn DfuPolicy| {
            findings_beside_expectations(text, |case, world| run_nordic(case, world, policy, &Truthful))
        };
        policies.into_iter().flat_map(of).collect::<Vec<_>>()
    });
    let found: Vec<String> = found.into_iter().flatten().collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn traces_with_holes_are_judged() {
    let names = ["nordic-link/loss-in-object-kept", "nordic-softdevice/everything", "nordic-packets/middle-lost"];
    for case in cases().iter().filter(|case| names.contains(&case.scenario.id.as_str())) {
        let trace = trace_of(case, |case, world| run_nordic(case, world, &GoodDfu, &Truthful));
        assert_holes_are_judged(Family::SecureDfu, case, &trace);
    }
}
