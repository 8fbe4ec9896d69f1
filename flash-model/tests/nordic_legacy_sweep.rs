//! Every power loss of a Legacy DFU update.

mod nordic_legacy_support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use brickproof_flash_model::boot::nordic_legacy::Options;
use brickproof_flash_model::sweep::nordic_legacy::known::ALL;
use brickproof_flash_model::sweep::nordic_legacy::{Known, Update};
use brickproof_flash_model::sweep::{End, Finding, Settings, Sweep, Tears, explore, replay};
use nordic_legacy_support::{Device, Sent, application_update, bootloader_update, softdevice_update, system_update};

struct Case {
    name: &'static str,
    device: Device,
    sent: Sent,
}

impl Case {
    fn update(&self) -> Update<'_> {
        let flash = self.device.layout.blank_flash();
        Update::new(&self.device.legacy, flash, &self.device.installed(), self.sent.package()).unwrap()
    }

    fn sweep(&self, strict: bool, settings: Settings) -> Sweep {
        explore(&self.update().strict(strict), settings, |_| true)
    }
}

fn case(name: &'static str, device: Device, sent: Sent) -> Case {
    Case { name, device, sent }
}

fn cases() -> Vec<Case> {
    let (sdk11, adafruit) = (Options::sdk11(), Options::adafruit());
    let single = Options::sdk11_single_bank();
    let even = Options { whole_page_blocks: true, ..sdk11 };
    let to_ota = Options { default_to_ota: true, ..adafruit };
    let device = |options: Options| Device::new(options, 3, 0x1c00);
    vec![
        case("SDK 11, application", device(sdk11), application_update(&sdk11, 0x2800)),
        case("SDK 11, application from the factory", device(sdk11).checked(), application_update(&sdk11, 0x2800)),
        case("SDK 11, smaller application", Device::new(sdk11, 3, 0x2c00), application_update(&sdk11, 0x1800)),
        case("SDK 11, one bank, application", device(single), application_update(&single, 0x2800)),
        case("SDK 11, SoftDevice", device(sdk11), softdevice_update(&sdk11, 3)),
        case("SDK 11, larger SoftDevice", Device::new(sdk11, 4, 0x1c00), softdevice_update(&sdk11, 5)),
        case("SDK 11, larger SoftDevice, odd room", device(sdk11), softdevice_update(&sdk11, 4)),
        case("SDK 11, larger SoftDevice, whole pages", device(even), softdevice_update(&even, 4)),
        case("SDK 11, much larger SoftDevice", device(even), softdevice_update(&even, 5)),
        case("SDK 11, bootloader", device(sdk11), bootloader_update(&sdk11)),
        case("SDK 11, SoftDevice and bootloader", device(sdk11), system_update(&sdk11, 3)),
        case("Adafruit, application", device(adafruit), application_update(&adafruit, 0x2800)),
        case("Adafruit, application, DEFAULT_TO_OTA_DFU", device(to_ota), application_update(&to_ota, 0x2800)),
        case("Adafruit, SoftDevice and bootloader", device(adafruit), system_update(&adafruit, 3)),
        case("Adafruit, bootloader", device(adafruit), bootloader_update(&adafruit)),
    ]
}

/// What a person cannot get the device out of without a programmer.
const FATAL: [&str; 3] = ["torn-settings", "odd-half", "softdevice-over-its-source"];

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

#[test]
fn what_is_found_is_known_and_what_is_known_is_found() {
    let mut all = String::new();
    let mut shown = BTreeSet::new();
    for case in cases() {
        writeln!(all, "{}", case.name).unwrap();
        let facts = case.update().facts();
        for strict in [false, true] {
            let sweep = case.sweep(strict, Settings::default());
            assert_eq!((sweep.totals.remaining, sweep.left_out), (0, 0), "{}", case.name);
            let mut found: BTreeMap<(&str, &str), (String, usize)> = BTreeMap::new();
            for finding in &sweep.findings {
                let known = Known::of(finding, &facts).unwrap_or_else(|| panic!("{}: {finding:?}", case.name));
                shown.insert(known.id);
                assert!(strict || FATAL.contains(&known.id), "{}: {finding:?}", case.name);
                let place =
                    found.entry((known.id, finding.violation.invariant)).or_insert((finding.path.to_string(), 0));
                place.1 += finding.nodes as usize;
            }
            let word = if strict { "strict" } else { "goes on" };
            let ends =
                sweep.ends.keys().filter(|end| !sweep.findings.iter().any(|finding| finding.violation.what == **end));
            writeln!(all, "  {word}: {}", ends.cloned().collect::<Vec<_>>().join(", ")).unwrap();
            for ((id, invariant), (path, _)) in found {
                writeln!(all, "    {id} ({invariant}), for example {path:?}").unwrap();
            }
        }
    }
    let expected: BTreeSet<&str> = ALL.iter().map(|known| known.id).collect();
    assert_eq!(shown, expected);
    insta::assert_snapshot!(all);
}

/// Every finding is a way that can be gone again, with nothing forgotten, and shows the same property. What garbage does
/// may be one or the other of what the property breaks.
#[test]
fn findings_are_replayed() {
    for case in cases() {
        let update = case.update().strict(true);
        let facts = update.facts();
        let id = |finding: &Finding| Known::of(finding, &facts).map(|known| known.id);
        for finding in explore(&update, Settings::default(), |_| true).findings {
            let End::Violation(violation) = replay(&update, &finding.path).unwrap().end else {
                panic!("{} {}: nothing is found", case.name, finding.path);
            };
            assert_eq!(id(&Finding { violation, ..finding.clone() }), id(&finding), "{} {}", case.name, finding.path);
        }
    }
}

/// The graph of merged runs is that of runs to the end, node by node.
#[test]
fn merging_leaves_out_no_node() {
    for case in cases() {
        for strict in [false, true] {
            let merged = case.sweep(strict, without_classes(true, Tears::None));
            let whole = case.sweep(strict, without_classes(false, Tears::None));
            let all = |sweep: &Sweep| (sweep.layers.clone(), sweep.digest, sweep.ends.clone(), kinds(&sweep.findings));
            assert_eq!(all(&merged), all(&whole), "{} {strict}", case.name);
        }
    }
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    for case in cases() {
        for strict in [false, true] {
            let of_classes = case.sweep(strict, Settings::default());
            let whole = case.sweep(strict, without_classes(true, Tears::Fields));
            let all = |sweep: &Sweep| (kinds(&sweep.findings), ends(sweep));
            assert_eq!(all(&of_classes), all(&whole), "{} {strict}", case.name);
        }
    }
}
