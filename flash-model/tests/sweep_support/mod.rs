//! What sweeps are compared by, and the arguments that they leave out nothing.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use brickproof_flash_model::sweep::{Finding, Settings, Sweep, Tears};

/// Invariants and what happens, with how many cuts at least.
pub type Kinds = BTreeMap<(&'static str, String), usize>;

/// The kinds of findings. Which cut it was is left out: two may leave the same state.
pub fn kinds<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Kinds {
    let mut kinds = Kinds::new();
    for finding in findings {
        let cuts = finding.path.0.len();
        let least = kinds.entry((finding.violation.invariant, finding.violation.what.clone())).or_insert(cuts);
        *least = cuts.min(*least);
    }
    kinds
}

pub fn ends(sweep: &Sweep) -> BTreeSet<String> {
    sweep.ends.keys().cloned().collect()
}

/// The ends that are no findings.
pub fn rests(sweep: &Sweep) -> Vec<&str> {
    let is_rest = |end: &&String| !sweep.findings.iter().any(|finding| finding.violation.what == **end);
    sweep.ends.keys().filter(is_rest).map(String::as_str).collect()
}

/// What is found, and how runs end.
pub fn found(sweep: &Sweep) -> (Kinds, BTreeSet<String>) {
    (kinds(&sweep.findings), ends(sweep))
}

/// A line for each property and invariant that findings show, with a shortest way.
pub fn ways(findings: &[Finding], id: impl Fn(&Finding) -> &'static str) -> String {
    let mut ways: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for finding in findings {
        ways.entry((id(finding), finding.violation.invariant)).or_insert_with(|| finding.path.to_string());
    }
    let mut text = String::new();
    for ((id, invariant), path) in ways {
        writeln!(text, "    {id} ({invariant}), for example {path:?}").unwrap();
    }
    text
}

pub fn without_classes(merge: bool, tears: Tears) -> Settings {
    Settings { tears, merge, classes: false, ..Settings::default() }
}

pub fn with_threads(threads: usize) -> Settings {
    let mut settings = Settings::default();
    settings.limits.threads = threads;
    settings
}

/// The graph of merged runs is that of runs to the end, node by node. `what` is swept by `sweep`.
pub fn merging_leaves_out_nothing(what: &str, tears: Tears, sweep: impl Fn(Settings) -> Sweep) {
    let merged = sweep(without_classes(true, tears));
    let whole = sweep(without_classes(false, tears));
    let all = |sweep: &Sweep| (sweep.layers.clone(), sweep.digest, sweep.ends.clone(), kinds(&sweep.findings));
    assert_eq!(all(&merged), all(&whole), "{what} {}", tears.name());
    assert!(merged.totals.operations <= whole.totals.operations, "{what}");
}

/// One node of each class finds what all of them find. `what` is swept by `sweep`.
pub fn classes_leave_out_nothing(what: &str, sweep: impl Fn(Settings) -> Sweep) {
    let of_classes = sweep(Settings::default());
    let whole = sweep(without_classes(true, Tears::Fields));
    assert_eq!(found(&of_classes), found(&whole), "{what}");
}
