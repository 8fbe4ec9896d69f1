//! Every power loss of an update by the Gecko bootloader: that the sweep leaves out nothing, and what it finds.

mod gecko_sweep_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use brickproof_flash_model::boot::gecko::Options;
use brickproof_flash_model::sweep::gecko::Known;
use brickproof_flash_model::sweep::gecko::known::ALL;
use brickproof_flash_model::sweep::{Depth, End, Finding, Settings, Sweep, Tears, explore, replay};
use gecko_sweep_support::{Case, Content, Kind, SMALLEST, cases, sized};

/// What shows also to someone who does what can be done: another upload, a button.
const FATAL: [&str; 14] = [
    "staging-overlap",
    "half-erased-application-starts",
    "half-erased-signature-location",
    "torn-program-counter",
    "series-1-bootloader-alone",
    "bootloader-alone-halts",
    "corrupt-data-halts",
    "corrupt-data-refused",
    "version-check-refuses-itself",
    "version-check-halts",
    "dependency-refuses",
    "dependency-halts",
    "torn-properties-pointer",
    "torn-version",
];

/// Invariants and what happens. Which cut it was is left out: two may leave the same state.
fn kinds(findings: &[Finding]) -> BTreeMap<(&'static str, String), usize> {
    let mut kinds = BTreeMap::new();
    for finding in findings {
        let cuts = finding.path.0.len();
        let least = kinds.entry((finding.violation.invariant, finding.violation.what.clone())).or_insert(cuts);
        *least = cuts.min(*least);
    }
    kinds
}

fn ends(sweep: &Sweep) -> BTreeSet<String> {
    sweep.ends.keys().cloned().collect()
}

fn without_classes(merge: bool, tears: Tears) -> Settings {
    Settings { tears, merge, classes: false, ..Settings::default() }
}

/// The graph of merged runs is that of runs to the end, node by node.
fn merging_leaves_out_nothing(case: &Case, strict: bool, tears: Tears) {
    let merged = case.sweep(strict, without_classes(true, tears));
    let whole = case.sweep(strict, without_classes(false, tears));
    let all = |sweep: &Sweep| (sweep.layers.clone(), sweep.digest, sweep.ends.clone(), kinds(&sweep.findings));
    assert_eq!(all(&merged), all(&whole), "{} {strict} {}", case.name, tears.name());
    assert!(merged.totals.operations <= whole.totals.operations);
}

#[test]
fn merging_leaves_out_no_node() {
    // What never comes to an end is long when nothing is merged, and so is each signature.
    let (endless, signed) = (["AL BL+app over"], ["secure", "rollback"]);
    for case in sized(SMALLEST) {
        for strict in [false, true] {
            if strict || !endless.contains(&case.name) {
                merging_leaves_out_nothing(&case, strict, Tears::None);
            }
        }
        if !signed.iter().any(|word| case.name.contains(word)) {
            merging_leaves_out_nothing(&case, true, Tears::Fields);
        }
    }
    let torn = ["AL version", "AL depends", "AL corrupt", "slot", "slot crc", "slot version", "slot depends", "S1"];
    for case in sized(SMALLEST).iter().filter(|case| torn.contains(&case.name)) {
        merging_leaves_out_nothing(case, false, Tears::Fields);
    }
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    // Without classes they are as many as there are ways to tear what is torn already.
    let many = ["AL secure", "AL rollback", "AL BL+app over", "slot secure", "slot rollback"];
    for case in sized(SMALLEST) {
        for strict in [false, true] {
            if many.contains(&case.name) && !(strict && case.name.starts_with("AL")) {
                continue;
            }
            let of_classes = case.sweep(strict, Settings::default());
            let whole = case.sweep(strict, without_classes(true, Tears::Fields));
            let all = |sweep: &Sweep| (kinds(&sweep.findings), ends(sweep));
            assert_eq!(all(&of_classes), all(&whole), "{} {strict}", case.name);
        }
    }
}

/// One cut, wherever it falls: with more, the units of torn pages multiply.
#[test]
fn fields_stand_for_every_unit() {
    for case in sized(SMALLEST) {
        for strict in [false, true] {
            let depth = Depth::AtMost(1);
            let fields = case.sweep(strict, Settings { depth, tears: Tears::Adversarial, ..Settings::default() });
            let units = case.sweep(strict, Settings { depth, ..without_classes(true, Tears::Units) });
            let all = |sweep: &Sweep| (kinds(&sweep.findings), ends(sweep));
            assert_eq!(all(&fields), all(&units), "{} {strict}", case.name);
            assert!(fields.totals.nodes < units.totals.nodes, "{}", case.name);
        }
    }
}

#[test]
fn the_same_at_any_number_of_threads() {
    let case = &cases()[0];
    let sweep = |threads: usize| {
        let mut settings = Settings::default();
        settings.limits.threads = threads;
        case.sweep(true, settings)
    };
    assert_eq!(sweep(1), sweep(3));
}

/// How the initiator cuts its file into pieces makes no difference.
#[test]
fn the_same_in_pieces_of_any_size() {
    for n in [0, 1] {
        let found = |chunk: usize| {
            let kind = if n == 0 { Kind::apploader() } else { Kind::storage() };
            let case = Case::new("chunks", kind, Content::Application).chunk(chunk);
            [false, true].map(|strict| {
                let sweep = case.sweep(strict, Settings::default());
                (kinds(&sweep.findings), ends(&sweep))
            })
        };
        assert_eq!(found(244), found(20));
    }
}

/// What a sweep finds, by known property and invariant: how many nodes, and a shortest way.
fn told(case: &Case, shown: &mut BTreeSet<&'static str>) -> String {
    let mut text = format!("{}\n", case.name);
    let facts = case.update().facts();
    for strict in [false, true] {
        let update = case.update().strict(strict);
        let sweep = explore(&update, case.settings(), |_| true);
        assert_eq!((sweep.totals.remaining, sweep.left_out), (0, 0), "{}", case.name);
        let mut found: BTreeMap<(&str, &str), (u64, String)> = BTreeMap::new();
        for finding in &sweep.findings {
            let known = Known::of(finding, &facts).unwrap_or_else(|| panic!("{}: {finding:?}", case.name));
            // With nothing forgotten, it goes the same way.
            let replayed = replay(&update, &finding.path).unwrap();
            assert_eq!(replayed.runs.iter().filter_map(|run| run.cut).collect::<Vec<_>>(), finding.labels);
            assert_eq!(replayed.end, End::Violation(finding.violation.clone()), "{} {}", case.name, finding.path);
            shown.insert(known.id);
            assert!(strict || FATAL.contains(&known.id), "{}: {finding:?}", case.name);
            let new = || (0, finding.path.to_string());
            let entry = found.entry((known.id, finding.violation.invariant)).or_insert_with(new);
            entry.0 += finding.nodes;
        }
        let totals = &sweep.totals;
        let is_end = |end: &&String| !sweep.findings.iter().any(|finding| finding.violation.what == **end);
        let ends: Vec<&str> = sweep.ends.keys().filter(is_end).map(String::as_str).collect();
        let word = if strict { "strict" } else { "goes on" };
        let (nodes, edges, depth) = (totals.nodes, totals.edges, totals.depth);
        writeln!(text, "  {word}: {nodes} nodes, {edges} cuts, {depth} deep: {ends:?}").unwrap();
        for ((id, invariant), (_, path)) in found {
            writeln!(text, "    {id} ({invariant}), for example {path:?}").unwrap();
        }
    }
    text
}

#[test]
fn what_is_found_is_known_and_what_is_known_is_found() {
    let mut shown = BTreeSet::new();
    let text: String = cases().iter().map(|case| told(case, &mut shown)).collect();
    let declared: BTreeSet<&str> = ALL.iter().map(|known| known.id).collect();
    assert_eq!(shown, declared);
    insta::assert_snapshot!(text);
}

/// The layouts that the real bootloader was recorded on.
#[test]
fn pages_of_real_chips_show_the_same() {
    let series_1 = Options { series_2: false, upgrade_size: 0x4000, ..Options::storage() };
    for (preset, options, small, sizes) in [
        ("gecko40-apploader", Options::apploader(), Kind::apploader(), [0x2400, 0x4800]),
        ("gecko40-storage", Options::storage(), Kind::storage(), [0x4800, 0x2400]),
        ("gecko64-series-1", series_1, Kind::series_1(), [0x1800, 0xc00]),
    ] {
        for content in [Content::Application, Content::Both] {
            let found = |case: &Case| {
                let facts = case.update().facts();
                [false, true].map(|strict| {
                    let findings = case.sweep(strict, Settings::default()).findings;
                    let ids = findings.iter().map(|finding| Known::of(finding, &facts).map(|known| known.id));
                    ids.collect::<BTreeSet<_>>()
                })
            };
            let real = Case::sized("real", Kind::preset(preset, options.clone()), content, sizes);
            assert_eq!(found(&real), found(&Case::new("small", small.clone(), content)), "{preset} {content:?}");
        }
    }
}
