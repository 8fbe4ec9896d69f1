//! Sweeps of uploads: that they leave out nothing, what they find, and which mistakes they would find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use brickproof::mutant;
use brickproof::sweep::{Again, Initiator, Known, Upload};
use brickproof::target::Target;
use brickproof_flash_model::image::mcuboot::ImageBuilder;
use brickproof_flash_model::sweep::{Depth, End, Limits, Settings, Sweep, Tears, explore, replay};

/// Modes as a target profile names them, and what else of its bootloader.
const MODES: [(&str, &str); 7] = [
    ("swap-move", ""),
    ("swap-scratch", ""),
    ("swap-offset", ""),
    ("overwrite-only", ""),
    ("overwrite-only", "fast = true"),
    ("direct-xip", ""),
    ("direct-xip-with-revert", ""),
];
const BOTH: [Again; 2] = [Again::FromTheStart, Again::GoesOn];

/// A target with its images.
struct Case {
    target: Target,
    images: [Vec<u8>; 2],
}

impl Case {
    fn new(layout: &str, (mode, more): (&str, &str), payloads: [usize; 2], smp: &str) -> Self {
        let text = format!(
            "schema = 1\nname = \"{layout}\"\nabout = \"of a test\"\nlayout = \"{layout}\"\n\
             [bootloader]\nkind = \"mcuboot\"\nmode = \"{mode}\"\n{more}\nkeys = [\"development\"]\n\
             [smp]\nbootloader-info = true\n{smp}\n"
        );
        let target = Target::parse("test", None, &text).unwrap();
        let maker = target.maker().unwrap();
        let image = |version: &str, len: usize| {
            let builder = ImageBuilder::new(version.parse().unwrap()).header_size(32);
            builder.generated_payload(len).sign(maker.key()).unwrap()
        };
        Self { images: [image("1.0.0", payloads[0]), image("2.0.0", payloads[1])], target }
    }

    fn tiny(mode: (&str, &str), payloads: [usize; 2]) -> Self {
        Self::new("tiny4-a4", mode, payloads, "buffer-size = 1024")
    }

    fn upload<'p>(&self, initiator: Initiator<'p>) -> Upload<'p> {
        Upload::new(&self.target, &self.images[0], &self.images[1], initiator).unwrap()
    }

    fn sweep(&self, initiator: Initiator<'_>, settings: Settings) -> Sweep {
        explore(&self.upload(initiator), settings, |_| true)
    }
}

fn again(again: Again) -> Initiator<'static> {
    Initiator { again, ..Initiator::default() }
}

/// Invariants and what happens, with how many cuts at least.
fn kinds(sweep: &Sweep) -> BTreeMap<(&'static str, String), usize> {
    let mut kinds = BTreeMap::new();
    for finding in &sweep.findings {
        let cuts = finding.path.0.len();
        let least = kinds.entry((finding.violation.invariant, finding.violation.what.clone())).or_insert(cuts);
        *least = cuts.min(*least);
    }
    kinds
}

/// What is found, each kind with a shortest way that is run again, and the property that is known.
fn told(upload: &Upload<'_>, sweep: &Sweep) -> String {
    let mut told = String::new();
    let mut shown = BTreeSet::new();
    for finding in &sweep.findings {
        let id = Known::of(finding, &upload.facts(), Tears::Fields).map_or("not known", |known| known.id);
        let end = replay(upload, &finding.path).unwrap().end;
        assert_eq!(end, End::Violation(finding.violation.clone()), "{}", finding.path);
        if shown.insert((id, &finding.violation)) {
            let cause = finding.cause.map_or_else(|| "no cut".to_owned(), |cause| cause.to_string());
            let violation = &finding.violation;
            writeln!(told, "    {id}: {}: {}: {cause} ({})", violation.invariant, violation.what, finding.path)
                .unwrap();
        }
    }
    told
}

/// Any number of cuts, torn or not, in every mode; with an image that is shorter than the old one, any two.
#[test]
fn the_end_is_right_or_it_is_known_why_not() {
    let mut all = String::new();
    for mode in MODES {
        for (payloads, depth) in [([2500, 5000], Depth::Exhaustive), ([5000, 2500], Depth::AtMost(2))] {
            let case = Case::tiny(mode, payloads);
            for goes in BOTH {
                let upload = case.upload(again(goes));
                let sweep = explore(&upload, Settings { depth, ..Settings::default() }, |_| true);
                assert_eq!(sweep.left_out, 0);
                let text = told(&upload, &sweep);
                assert!(!text.contains("not known"), "{mode:?} {payloads:?} {goes:?}\n{text}");
                write!(all, "{} {} {payloads:?} {goes:?}\n{text}", mode.0, mode.1).unwrap();
            }
        }
    }
    insta::assert_snapshot!(all);
}

/// The way out that `trailer-left-behind` names.
#[test]
fn an_erase_by_command_frees_a_slot_that_stays_pending() {
    for mode in [("overwrite-only", ""), ("overwrite-only", "fast = true")] {
        let case = Case::tiny(mode, [2500, 5000]);
        let without = case.sweep(Initiator::default(), Settings::default());
        assert!(!without.findings.is_empty());
        let with = case.sweep(Initiator { erases: true, ..Initiator::default() }, Settings::default());
        assert_eq!(with.findings, []);
    }
}

#[test]
fn merging_leaves_out_no_node() {
    for mode in MODES {
        let case = Case::tiny(mode, [900, 2500]);
        for goes in BOTH {
            for (tears, depth) in [(Tears::None, Depth::Exhaustive), (Tears::Fields, Depth::AtMost(2))] {
                let sweep = |merge: bool| {
                    let settings = Settings { tears, depth, merge, classes: false, ..Settings::default() };
                    case.sweep(again(goes), settings)
                };
                let (merged, whole) = (sweep(true), sweep(false));
                let all = |sweep: &Sweep| (sweep.layers.clone(), sweep.digest, sweep.ends.clone(), kinds(sweep));
                assert_eq!(all(&merged), all(&whole), "{mode:?} {goes:?} {tears:?}");
                assert!(merged.totals.operations < whole.totals.operations);
            }
        }
    }
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    for mode in MODES {
        let case = Case::tiny(mode, [900, 2500]);
        for (tears, depth) in [(Tears::None, Depth::Exhaustive), (Tears::Fields, Depth::AtMost(3))] {
            let sweep = |classes: bool| {
                case.sweep(Initiator::default(), Settings { tears, depth, classes, ..Settings::default() })
            };
            let all = |sweep: &Sweep| (kinds(sweep), sweep.ends.keys().cloned().collect::<BTreeSet<_>>());
            assert_eq!(all(&sweep(true)), all(&sweep(false)), "{mode:?} {tears:?}");
        }
    }
}

#[test]
fn the_same_at_any_number_of_threads() {
    let case = Case::tiny(("swap-offset", ""), [2500, 5000]);
    let sweep = |threads: usize| {
        let limits = Limits { threads, ..Settings::default().limits };
        case.sweep(again(Again::GoesOn), Settings { limits, ..Settings::default() })
    };
    assert_eq!(sweep(1), sweep(3));
}

/// Which mutants a cut shows, and which do not need one.
#[test]
fn mistakes_are_found() {
    let case = Case::tiny(("swap-move", ""), [2500, 5000]);
    let mut found = [String::new(), String::new()];
    for mutant in mutant::all() {
        let initiator = Initiator { policy: mutant.policy, reporter: mutant.reporter, ..Initiator::default() };
        let settings = Settings { tears: Tears::None, depth: Depth::AtMost(2), ..Settings::default() };
        let sweep = case.sweep(initiator, settings);
        if let Some(finding) = sweep.findings.first() {
            let cuts = finding.path.0.len();
            writeln!(found[cuts.min(1)], "{}: {}", mutant.name, finding.violation.what).unwrap();
        }
    }
    insta::assert_snapshot!(format!("without a cut\n{}\nby cuts\n{}", found[0], found[1]));
}

/// A real board: every single cut, torn or not, and any number of clean ones.
#[test]
fn an_nrf52840_survives_every_cut() {
    let smp = "zephyr = \"4.2\"\nbuffer-size = 2475\nbuffer-count = 4";
    let case = Case::new("nrf52840", ("swap-move", "max-sectors = 128"), [300_000, 340_000], smp);
    let single = case.sweep(Initiator::default(), Settings { depth: Depth::AtMost(1), ..Settings::default() });
    let clean = case.sweep(Initiator::default(), Settings { tears: Tears::None, ..Settings::default() });
    assert_eq!((single.findings, clean.findings), (Vec::new(), Vec::new()));
    assert!(single.totals.nodes > 2000 && clean.totals.nodes > single.totals.nodes);
}
