//! The exhaustive sweep: that it leaves out nothing, what it finds, and which mistakes it would find.

mod sweep_support;

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::boot::mcuboot::{Flaw, Mcuboot, Mode, Options};
use brickproof_flash_model::flash::Tear;
use brickproof_flash_model::image::mcuboot::{ImageBuilder, SigningKey, Verifier};
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::mcuboot::{Factory, Known, Story, Update};
use brickproof_flash_model::sweep::{CutPlace, Depth, End, Finding, Settings, Sweep, Tears, explore, replay};
use sweep_support::{
    classes_leave_out_nothing, found, kinds, merging_leaves_out_nothing, with_threads, without_classes,
};

const MODES: [Mode; 7] = [
    Mode::SwapMove,
    Mode::SwapScratch,
    Mode::SwapOffset,
    Mode::OverwriteOnly { fast: false },
    Mode::OverwriteOnly { fast: true },
    Mode::DirectXip { revert: false },
    Mode::DirectXip { revert: true },
];

/// A bootloader with an old and a new image.
struct Case {
    layout: Layout,
    mcuboot: Mcuboot,
    images: [Vec<u8>; 2],
    factory: Factory,
}

impl Case {
    fn new(layout: Layout, options: Options, payloads: [usize; 2]) -> Self {
        let key = SigningKey::from_seed(b"sweep").unwrap();
        let image = |version: &str, len: usize| {
            let builder = ImageBuilder::new(version.parse().unwrap()).header_size(32);
            builder.generated_payload(len).sign(&key).unwrap()
        };
        let images = [image("1.0.0", payloads[0]), image("2.0.0", payloads[1])];
        let mcuboot = Mcuboot::new(&layout, options, Verifier::new(vec![key.public().clone()])).unwrap();
        Self { layout, mcuboot, images, factory: Factory::Bare }
    }

    fn tiny(mode: Mode, payloads: [usize; 2]) -> Self {
        Self::new(Layout::preset("tiny4-a4").unwrap(), Options { mode, ..Options::default() }, payloads)
    }

    fn smallest(mode: Mode) -> Self {
        let options = Options { mode, max_sectors: 6, ..Options::default() };
        Self::new(Layout::parse("smallest", SMALLEST).unwrap(), options, [16, 64])
    }

    fn update(&self, story: Story) -> Update<'_> {
        let [old, new] = &self.images;
        Update::new(&self.mcuboot, self.layout.blank_flash(), old, new, story, self.factory).unwrap()
    }

    fn sweep(&self, story: Story, settings: Settings) -> Sweep {
        explore(&self.update(story), settings, |_| true)
    }
}

fn merge(case: &Case, story: Story, tears: Tears) {
    let what = format!("{:?} {}", case.mcuboot.options().mode, story.name());
    merging_leaves_out_nothing(&what, tears, |settings| case.sweep(story, settings));
}

#[test]
fn merging_leaves_out_no_node() {
    for mode in MODES {
        let case = Case::smallest(mode);
        for story in Story::ALL {
            merge(&case, story, Tears::None);
            // Sectors that hold next to nothing are torn in more ways than can be run to the end in a test.
            if !matches!(mode, Mode::SwapScratch | Mode::SwapOffset) {
                merge(&case, story, Tears::Fields);
            }
        }
    }
}

/// Sectors that take several programs to copy.
#[test]
fn merging_leaves_out_no_node_of_larger_sectors() {
    for mode in MODES {
        let case = Case::tiny(mode, [2500, 5000]);
        for story in Story::ALL {
            merge(&case, story, Tears::None);
        }
        merge(&case, Story::TestThenRevert, Tears::Fields);
    }
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    for mode in MODES {
        for payloads in [[2500, 5000], [5000, 5000], [5000, 2500]] {
            let case = Case::tiny(mode, payloads);
            let all = if payloads[0] == payloads[1] { &Story::ALL[..] } else { &Story::ALL[..1] };
            for &story in all {
                let what = format!("{mode:?} {payloads:?} {}", story.name());
                classes_leave_out_nothing(&what, |settings| case.sweep(story, settings));
            }
        }
    }
}

/// 16 sectors of 128 bytes, written in 8: small enough to try every unit.
const SMALLEST: &str = r#"
schema = 1
name = "smallest"

[[device]]
name = "internal"
sectors = [[16, 128]]
program-unit = 8

[[partition]]
name = "primary"
device = "internal"
offset = 0x0
size = 0x300

[[partition]]
name = "secondary"
device = "internal"
offset = 0x300
size = 0x300

[[partition]]
name = "scratch"
device = "internal"
offset = 0x600
size = 0x100
"#;

/// Two cuts, wherever they fall: with more, the units of torn sectors multiply.
#[test]
fn fields_stand_for_every_unit() {
    for mode in MODES {
        let case = Case::smallest(mode);
        for story in Story::ALL {
            let depth = Depth::AtMost(2);
            let fields = case.sweep(story, Settings { depth, tears: Tears::Adversarial, ..Settings::default() });
            let units = case.sweep(story, Settings { depth, ..without_classes(true, Tears::Units) });
            assert_eq!(found(&fields), found(&units), "{mode:?} {}", story.name());
            assert!(fields.totals.nodes <= units.totals.nodes);
            // Without the splits of erases only that is not found which needs a trailer that is erased in part.
            let fewer = case.sweep(story, Settings { depth, ..Settings::default() });
            let needs_splits = |finding: &&Finding| {
                let mut cuts = finding.path.0.iter().zip(&finding.labels);
                cuts.any(|(place, label)| {
                    let label = label.to_string();
                    label.starts_with("torn erase of the trailer")
                        && !matches!(place, CutPlace::Inside(_, Tear::Garbage))
                })
            };
            let others = |sweep: &Sweep| kinds(sweep.findings.iter().filter(|finding| !needs_splits(finding)));
            assert_eq!(others(&fewer), others(&units), "{mode:?} {}", story.name());
        }
    }
}

#[test]
fn the_same_at_any_number_of_threads() {
    let case = Case::tiny(Mode::SwapOffset, [5000, 2500]);
    let sweep = |threads: usize| case.sweep(Story::TestThenRevert, with_threads(threads));
    let one = sweep(1);
    assert_eq!(one, sweep(2));
    assert_eq!(one, sweep(7));
}

#[test]
fn what_cannot_be_swept_is_refused() {
    let refused = |layout: &str, options: Options| {
        let case = Case::new(Layout::preset(layout).unwrap(), options, [1000, 1000]);
        let [old, new] = &case.images;
        let flash = case.layout.blank_flash();
        Update::new(&case.mcuboot, flash, old, new, Story::Permanent, Factory::Bare).unwrap_err()
    };
    let moves = Options { mode: Mode::SwapMove, ..Options::default() };
    insta::assert_snapshot!(refused("stm32-a4", moves), @r#"
    this bootloader cannot install any update in these slots: not all sectors of both slots have the same size
      remedy: another mode, or another layout
    "#);
    insta::assert_snapshot!(refused("tiny4-a4", Options { hardware_rollback_protection: true, ..moves }), @r#"
    a bootloader with security counters in the device is not swept: a power loss does not take them back
      remedy: the same target without `downgrade-prevention = "security-counter"`
    "#);
    insta::assert_snapshot!(refused("tiny4-a4", Options { max_sectors: 2, ..moves }), @r#"
    this bootloader cannot install any update in these slots: the primary slot has 4 sectors, the bootloader was built for 2
      remedy: another mode, or another layout
    "#);
}

/// What a sweep of every story finds that is not known, or is: each with a shortest way, run again.
fn told(case: &Case, stories: &[Story], settings: Settings, known: bool) -> String {
    let mut told = String::new();
    for &story in stories {
        let update = case.update(story);
        let mut shown = BTreeSet::new();
        for finding in explore(&update, settings, |_| true).findings {
            let property = Known::of(&finding, &update.facts(), settings.tears);
            let replayed = replay(&update, &finding.path).unwrap();
            assert_eq!(replayed.runs.iter().filter_map(|run| run.cut).collect::<Vec<_>>(), finding.labels);
            assert_eq!(replayed.end, End::Violation(finding.violation.clone()), "{}", finding.path);
            let id = property.map_or("not known", |property| property.id);
            if property.is_some() == known && shown.insert((id, finding.violation.what.clone())) {
                let cause = finding.cause.map_or_else(|| "no cut".to_owned(), |cause| cause.to_string());
                let path = if finding.path.0.is_empty() { String::new() } else { format!(" ({})", finding.path) };
                writeln!(told, "{}: {id}: {}: {cause}{path}", story.name(), finding.violation.what).unwrap();
            }
        }
    }
    told
}

/// Whatever is found is known, for every mode and for images that are shorter, as long, and longer.
#[test]
fn what_is_found_is_known() {
    for mode in MODES {
        let sizes = [[2500, 5000], [5000, 5000], [900, 1000], [11000, 2500]];
        // Only in swap-offset does it matter how long they are.
        for payloads in if mode == Mode::SwapOffset { &sizes[..] } else { &sizes[..2] } {
            let case =
                Case::new(Layout::preset("small8s2-a8").unwrap(), Options { mode, ..Options::default() }, *payloads);
            assert_eq!(told(&case, &Story::ALL, Settings::default(), false), "", "{mode:?} {payloads:?}");
        }
    }
    let mut all = String::new();
    for (mode, payloads) in [
        (Mode::SwapMove, [5000, 5000]),
        (Mode::SwapScratch, [2500, 2500]),
        (Mode::SwapOffset, [5000, 5000]),
        (Mode::OverwriteOnly { fast: true }, [5000, 5000]),
        (Mode::DirectXip { revert: false }, [5000, 5000]),
        (Mode::DirectXip { revert: true }, [5000, 5000]),
    ] {
        let case = Case::tiny(mode, payloads);
        write!(all, "{mode:?} {payloads:?}\n{}\n", told(&case, &Story::ALL, Settings::default(), true)).unwrap();
    }
    let shorter = Case::new(
        Layout::preset("small8s2-a8").unwrap(),
        Options { mode: Mode::SwapOffset, ..Options::default() },
        [11000, 2500],
    );
    write!(all, "SwapOffset, shorter\n{}", told(&shorter, &Story::ALL, Settings::default(), true)).unwrap();
    insta::assert_snapshot!(all);
}

/// Each mistake is found, and it is said which ones single clean cuts show, as in the simulators of today.
#[test]
fn mistakes_of_the_past_are_found() {
    let linear = Settings { depth: Depth::AtMost(1), tears: Tears::None, ..Settings::default() };
    let mut table = String::new();
    for flaw in Flaw::ALL {
        let (layout, mode, payloads) = match flaw {
            Flaw::SwapTypeForgotten => ("tiny4-a4", Mode::SwapScratch, [2500, 2500]),
            Flaw::StaleScratchTrailer => ("one1s2-a4", Mode::SwapScratch, [1000, 1500]),
            Flaw::ForwardScratchErase => ("small8s2-a8", Mode::SwapScratch, [29000, 29000]),
            _ => ("tiny4-a4", Mode::SwapMove, [2500, 2500]),
        };
        let case = |flaw: Option<Flaw>| {
            let options = Options { mode, flaw, ..Options::default() };
            let mut case = Case::new(Layout::preset(layout).unwrap(), options, payloads);
            if needs_factory(flaw) {
                case.factory = Factory::Confirmed;
            }
            case
        };
        let story = [if flaw == Flaw::StuckRevert { Story::TestThenErase } else { Story::TestThenRevert }];
        let found = told(&case(Some(flaw)), &story, Settings::default(), false);
        assert_ne!(found, "", "{}", flaw.name());
        assert_eq!(told(&case(None), &story, Settings::default(), false), "", "without {}", flaw.name());
        let today = told(&case(Some(flaw)), &story, linear, false);
        let first = found.lines().next().unwrap_or_default();
        let today = if today.is_empty() { "missed" } else { "found" };
        writeln!(table, "{}: single clean cuts: {today}\n    {first}", flaw.name()).unwrap();
    }
    insta::assert_snapshot!(table);
}

fn needs_factory(flaw: Option<Flaw>) -> bool {
    flaw == Some(Flaw::PaddedPrimary)
}
