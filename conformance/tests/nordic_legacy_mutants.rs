//! The checks of Legacy DFU catch what they say they catch, and nothing else.

mod families;

use std::sync::OnceLock;

use brickproof::air::Air;
use brickproof::initiator::nordic::legacy::policy::{GoodLegacy, LegacyPolicy};
use brickproof::initiator::policy::Truthful;
use brickproof::judge::Family;
use brickproof::mutant::nordic_legacy as mutant;
use brickproof::runner::case::Case;
use brickproof::runner::virtual_time::run_legacy;
use families::{Outcomes, assert_caught, assert_good, cases_that_need, on_all};

/// Every bundled scenario of Legacy DFU over Bluetooth LE.
fn cases() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let mut cases = cases_that_need("legacy-dfu");
        cases.retain(|case| case.air == Air::InProcessBle);
        cases
    })
}

fn run_all(policy: &dyn LegacyPolicy) -> Outcomes {
    Outcomes::of(cases(), |case, world| run_legacy(case, world, policy, &Truthful))
}

#[test]
fn the_good_initiator_passes_and_its_oddities_break_nothing() {
    let good: (&str, &dyn LegacyPolicy) = ("good", &GoodLegacy);
    let all: Vec<_> = std::iter::once(good).chain(mutant::legal_oddities()).collect();
    let outcomes = on_all(&all, |(name, policy)| (*name, run_all(*policy)));
    // An oddity may end otherwise than a scenario expects: Adafruit's bootloader has no buffers for many short packets
    // while it erases its settings. It breaks nothing.
    assert_good(Family::LegacyDfu, outcomes, |name, failed| name != "good" && failed.contains(": expect/"));
}

#[test]
fn every_mutant_is_caught_and_breaks_only_what_it_names() {
    let outcomes = on_all(&mutant::all(), |mutant| ((mutant.name, mutant.breaks, mutant.also), run_all(mutant.policy)));
    assert_caught(Family::LegacyDfu, &outcomes);
}
