//! The built-in initiator as other clients fails exactly where those clients do.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use brickproof::initiator::personality::Personality;
use brickproof::library;
use brickproof::runner::verdict::{Status, Weight};
use brickproof::runner::{self, Plan};

fn plan(personality: Personality) -> Plan {
    let report = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(personality.name);
    Plan { jobs: 2, ..Plan::builtin(personality, report) }
}

/// What is wrong, as lines that say what `scenarios/known/` would have to hold.
fn differences(personality: Personality) -> String {
    let mut wrong = String::new();
    let scenarios = library::scenarios(&[]).unwrap();
    let mut habits: BTreeSet<&str> = personality.habits().collect();
    for result in runner::run(&scenarios, &plan(personality), &|_| {}).unwrap() {
        for finding in &result.findings {
            habits.remove(finding.id.as_str());
        }
        if matches!(result.status, Status::Unsupported | Status::Skipped | Status::Passed | Status::ExpectedFailure) {
            continue;
        }
        let _ = writeln!(wrong, "{} {}: {}", personality.name, result.scenario, result.status);
        for finding in result.findings {
            let level = if finding.weight == Weight::Must { "" } else { " (SHOULD)" };
            let _ = writeln!(wrong, "    {}{level}: {}", finding.id, finding.happened);
        }
        if let Some(reason) = result.reason {
            let _ = writeln!(wrong, "    {reason}");
        }
    }
    for habit in habits {
        let _ = writeln!(wrong, "{} has the habit {habit} no more", personality.name);
    }
    wrong
}

#[test]
fn they_fail_where_it_is_known_and_nowhere_else() {
    let wrong: String = Personality::ALL.into_iter().map(differences).collect();
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn they_do_the_same_for_the_same_seed() {
    let scenarios = library::scenarios(&["update/test-confirm".to_owned()]).unwrap();
    for personality in Personality::ALL {
        let trace = |seed| {
            let plan = Plan { seed, ..plan(personality) };
            runner::run(&scenarios, &plan, &|_| {}).unwrap().remove(0).trace
        };
        assert_eq!(trace(7), trace(7), "{}", personality.name);
    }
}
