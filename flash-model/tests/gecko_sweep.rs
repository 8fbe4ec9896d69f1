//! Every power loss of an update by the Gecko bootloader: that the sweep leaves out nothing, and what it finds.

mod gecko_sweep_support;
mod sweep_support;

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::boot::gecko::Options;
use brickproof_flash_model::sweep::gecko::Known;
use brickproof_flash_model::sweep::gecko::known::ALL;
use brickproof_flash_model::sweep::{Depth, End, Finding, Settings, Tears, explore, replay};
use gecko_sweep_support::{Case, Content, Kind, SMALLEST, cases, sized};
use sweep_support::{
    classes_leave_out_nothing, found, merging_leaves_out_nothing, rests, ways, with_threads, without_classes,
};

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

#[test]
fn merging_leaves_out_no_node() {
    let merge = |case: &Case, strict: bool, tears: Tears| {
        let what = format!("{} {strict}", case.name);
        merging_leaves_out_nothing(&what, tears, |settings| case.sweep(strict, settings));
    };
    // What never comes to an end is long when nothing is merged, and so is each signature.
    let (endless, signed) = (["AL BL+app over"], ["secure", "rollback"]);
    for case in sized(SMALLEST) {
        for strict in [false, true] {
            if strict || !endless.contains(&case.name) {
                merge(&case, strict, Tears::None);
            }
        }
        if !signed.iter().any(|word| case.name.contains(word)) {
            merge(&case, true, Tears::Fields);
        }
    }
    let torn = ["AL version", "AL depends", "AL corrupt", "slot", "slot crc", "slot version", "slot depends", "S1"];
    for case in sized(SMALLEST).iter().filter(|case| torn.contains(&case.name)) {
        merge(case, false, Tears::Fields);
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
            let what = format!("{} {strict}", case.name);
            classes_leave_out_nothing(&what, |settings| case.sweep(strict, settings));
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
            assert_eq!(found(&fields), found(&units), "{} {strict}", case.name);
            assert!(fields.totals.nodes < units.totals.nodes, "{}", case.name);
        }
    }
}

#[test]
fn the_same_at_any_number_of_threads() {
    let case = &cases()[0];
    assert_eq!(case.sweep(true, with_threads(1)), case.sweep(true, with_threads(3)));
}

/// How the initiator cuts its file into pieces makes no difference.
#[test]
fn the_same_in_pieces_of_any_size() {
    for n in [0, 1] {
        let found_by = |chunk: usize| {
            let kind = if n == 0 { Kind::apploader() } else { Kind::storage() };
            let case = Case::new("chunks", kind, Content::Application).chunk(chunk);
            [false, true].map(|strict| found(&case.sweep(strict, Settings::default())))
        };
        assert_eq!(found_by(244), found_by(20));
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
        let id =
            |finding: &Finding| Known::of(finding, &facts).unwrap_or_else(|| panic!("{}: {finding:?}", case.name)).id;
        for finding in &sweep.findings {
            // With nothing forgotten, it goes the same way.
            let replayed = replay(&update, &finding.path).unwrap();
            assert_eq!(replayed.runs.iter().filter_map(|run| run.cut).collect::<Vec<_>>(), finding.labels);
            assert_eq!(replayed.end, End::Violation(finding.violation.clone()), "{} {}", case.name, finding.path);
            shown.insert(id(finding));
            assert!(strict || FATAL.contains(&id(finding)), "{}: {finding:?}", case.name);
        }
        let totals = &sweep.totals;
        let ends = rests(&sweep);
        let word = if strict { "strict" } else { "goes on" };
        let (nodes, edges, depth) = (totals.nodes, totals.edges, totals.depth);
        writeln!(text, "  {word}: {nodes} nodes, {edges} cuts, {depth} deep: {ends:?}").unwrap();
        text += &ways(&sweep.findings, id);
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
