//! Every power loss of a Secure DFU update: that the sweep leaves out nothing, and what it finds.

mod nordic_support;
mod sweep_support;

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::boot::nordic::{Options, Profile};
use brickproof_flash_model::image::nordic::FwType;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::sweep::nordic::{Known, Package, Update};
use brickproof_flash_model::sweep::{Depth, End, Settings, Sweep, Tears, explore, replay};
use nordic_support::{Device, Sent, app, app_update, package, softdevice};
use sweep_support::{
    classes_leave_out_nothing, ends, found, merging_leaves_out_nothing, with_threads, without_classes,
};

struct Case {
    name: &'static str,
    device: Device,
    sent: Sent,
}

impl Case {
    fn update(&self) -> Update<'_> {
        let package = Package { init: &self.sent.init, image: &self.sent.image };
        Update::new(&self.device.nordic, self.device.layout.blank_flash(), &self.device.installed(), package).unwrap()
    }

    fn sweep(&self, strict: bool, settings: Settings) -> Sweep {
        explore(&self.update().strict(strict), settings, |_| true)
    }
}

fn softdevice_update(pages: u32, version: u32) -> Sent {
    package(FwType::Softdevice, [&softdevice(pages, version), &[]], u32::MAX, |_| {})
}

fn bootloader_update(len: u32) -> Sent {
    package(FwType::Bootloader, [&app(101, len), &[]], 2, |_| {})
}

fn both_update(pages: u32, version: u32) -> Sent {
    package(FwType::SoftdeviceBootloader, [&softdevice(pages, version), &app(101, 0x1e00)], 2, |_| {})
}

fn case(name: &'static str, options: Options, app_len: u32, sent: Sent) -> Case {
    Case { name, device: Device::new(options, app_len), sent }
}

/// What the design is made for: nothing is ever lost, but for what is told in the strict findings.
fn sound() -> Vec<Case> {
    let options = Options::default();
    let single = Options { single_bank: true, ..options };
    vec![
        case("application, dual bank", options, 0x1c00, app_update(0x2800)),
        case("application that shrinks", options, 0x2c00, app_update(0x0800)),
        case("application, single bank", single, 0x1c00, app_update(0x2800)),
        case("application, no room beside the old one", options, 0x8c00, app_update(0x7800)),
        case("application, progress saved", Options { save_progress: true, ..options }, 0x1c00, app_update(0x2800)),
        case("application, copied page by page", Options { copy_step: 1, ..options }, 0x1c00, app_update(0x2800)),
        case("application, SDK 16", Options { profile: Profile::V16_0, ..options }, 0x1c00, app_update(0x2800)),
        case("application, no SoftDevice", Options { ble: false, ..options }, 0x1c00, no_softdevice(0x2800)),
        case("SoftDevice", options, 0x1c00, softdevice_update(3, 7_002_000)),
        case("bootloader", options, 0x1c00, bootloader_update(0x1e00)),
        case("SoftDevice and bootloader", options, 0x1c00, both_update(3, 7_002_000)),
        case("SoftDevice of another size", options, 0x1c00, softdevice_update(4, 7_002_000)),
        case("SoftDevice of another major version, and bootloader", options, 0x1c00, both_update(4, 8_000_000)),
    ]
}

/// What the design cannot do.
fn unsound() -> Vec<Case> {
    let options = Options::default();
    let single = Options { single_bank: true, ..options };
    vec![
        case("SoftDevice over its own copy", single, 0x1c00, softdevice_update(6, 7_002_000)),
        case("SoftDevice and bootloader, no room, over their own copy", options, 0x9c00, both_update(7, 8_000_000)),
        case("bootloader that is not of words", options, 0x1c00, bootloader_update(0x1e01)),
        case("application, SDK 15.0", Options { profile: Profile::V15_0, ..options }, 0x1c00, app_update(0x2800)),
    ]
}

fn no_softdevice(len: u32) -> Sent {
    package(FwType::Application, [&app(2, len), &[]], 2, |init| init.sd_req = vec![0])
}

#[test]
fn merging_leaves_out_no_node() {
    let merge = |case: &Case, strict: bool, tears: Tears| {
        let what = format!("{} {strict}", case.name);
        merging_leaves_out_nothing(&what, tears, |settings| case.sweep(strict, settings));
    };
    for case in sound().iter().chain(&unsound()) {
        for strict in [false, true] {
            merge(case, strict, Tears::None);
        }
    }
    merge(&sound()[2], false, Tears::Fields);
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    // Without classes they take as long as there are ways to tear what is torn already: not all of them.
    let few = ["application, dual bank", "application, single bank", "application, SDK 15.0"];
    for case in sound().iter().chain(&unsound()).filter(|case| few.contains(&case.name)) {
        for strict in [false, true] {
            let what = format!("{} {strict}", case.name);
            classes_leave_out_nothing(&what, |settings| case.sweep(strict, settings));
        }
    }
}

/// Pages of 1 KiB, no SoftDevice: small enough to try every unit.
const SMALLEST: &str = r#"
schema = 1
name = "smallest"

[[device]]
name = "internal"
sectors = [[14, 1024]]
program-unit = 4

[[partition]]
name = "mbr"
device = "internal"
offset = 0x0
size = 0x1000

[[partition]]
name = "application"
device = "internal"
offset = 0x1000
size = 0x1400

[[partition]]
name = "bootloader"
device = "internal"
offset = 0x2400
size = 0x800

[[partition]]
name = "mbr-params"
device = "internal"
offset = 0x2c00
size = 0x400

[[partition]]
name = "settings"
device = "internal"
offset = 0x3000
size = 0x400
"#;

/// One cut, wherever it falls: with more, the units of torn pages multiply.
#[test]
fn fields_stand_for_every_unit() {
    let layout = Layout::parse("smallest", SMALLEST).unwrap();
    let options = Options { ble: false, ..Options::default() };
    for (app_len, sent) in [(0x300, no_softdevice(0x500)), (0x300, without_softdevice(&bootloader_update(0x600)))] {
        let mut device = Device::in_layout(layout.clone(), options, app_len);
        device.bootloader.truncate(0x700);
        let case = Case { name: "smallest", device, sent };
        for strict in [false, true] {
            let depth = Depth::AtMost(1);
            let fields = case.sweep(strict, Settings { depth, ..Settings::default() });
            let units = case.sweep(strict, Settings { depth, ..without_classes(true, Tears::Units) });
            assert_eq!(found(&fields), found(&units), "{strict}");
            assert!(10 * fields.totals.nodes < units.totals.nodes);
        }
    }
}

/// The same package for a device without SoftDevice.
fn without_softdevice(sent: &Sent) -> Sent {
    package(FwType::Bootloader, [&sent.image, &[]], 2, |init| init.sd_req = vec![0])
}

#[test]
fn the_same_at_any_number_of_threads() {
    let case = &sound()[0];
    assert_eq!(case.sweep(true, with_threads(1)), case.sweep(true, with_threads(3)));
}

/// Whatever is cut, and how often: a whole application runs, or DFU mode waits for one.
#[test]
fn a_sound_update_survives_everything() {
    let mut figures = String::new();
    for case in sound() {
        let sweep = case.sweep(false, Settings::default());
        assert_eq!((sweep.findings.as_slice(), sweep.left_out), (&[][..], 0), "{}", case.name);
        let (totals, ends) = (sweep.totals, ends(&sweep));
        let (nodes, edges) = (totals.nodes, totals.edges);
        writeln!(figures, "{}: {nodes} nodes, {edges} cuts, {} deep: {ends:?}", case.name, totals.depth).unwrap();
    }
    insta::assert_snapshot!(figures);
}

/// Each finding with a shortest way, run again.
#[test]
fn what_is_found_is_known() {
    let mut all = String::new();
    let mut met = BTreeSet::new();
    for case in sound().iter().chain(&unsound()) {
        writeln!(all, "{}", case.name).unwrap();
        for strict in [false, true] {
            let update = case.update().strict(strict);
            let mut shown = BTreeSet::new();
            for finding in explore(&update, Settings::default(), |_| true).findings {
                let replayed = replay(&update, &finding.path).unwrap();
                assert_eq!(replayed.end, End::Violation(finding.violation.clone()), "{}", finding.path);
                let cause = finding.cause.map_or_else(|| "no cut".to_owned(), |cause| cause.to_string());
                let what = &finding.violation.what;
                let known = Known::of(&finding, &update.facts());
                let id = known.map_or_else(|| panic!("{}: {what}: {cause}", case.name), |known| known.id);
                met.insert(id);
                if shown.insert((id, what.clone())) {
                    let strict = if strict { " (strict)" } else { "" };
                    let path = &finding.path;
                    let path = if path.0.is_empty() { String::new() } else { format!(" ({path})") };
                    writeln!(all, "  {id}{strict}: {what}: {cause}{path}").unwrap();
                }
            }
        }
    }
    let declared: BTreeSet<_> =
        brickproof_flash_model::sweep::nordic::known::ALL.iter().map(|known| known.id).collect();
    assert_eq!(met, declared);
    insta::assert_snapshot!(all);
}
