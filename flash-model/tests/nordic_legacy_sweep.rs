//! Every power loss of a Legacy DFU update.

mod nordic_legacy_support;
mod sweep_support;

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::boot::nordic_legacy::Options;
use brickproof_flash_model::sweep::nordic_legacy::known::ALL;
use brickproof_flash_model::sweep::nordic_legacy::{Known, Update};
use brickproof_flash_model::sweep::{End, Finding, Settings, Sweep, Tears, explore, replay};
use nordic_legacy_support::{Device, Sent, application_update, bootloader_update, softdevice_update, system_update};
use sweep_support::{classes_leave_out_nothing, merging_leaves_out_nothing, rests, ways};

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
            let id = |finding: &Finding| {
                Known::of(finding, &facts).unwrap_or_else(|| panic!("{}: {finding:?}", case.name)).id
            };
            for finding in &sweep.findings {
                shown.insert(id(finding));
                assert!(strict || FATAL.contains(&id(finding)), "{}: {finding:?}", case.name);
            }
            let word = if strict { "strict" } else { "goes on" };
            writeln!(all, "  {word}: {}", rests(&sweep).join(", ")).unwrap();
            all += &ways(&sweep.findings, id);
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

#[test]
fn merging_leaves_out_no_node() {
    for case in cases() {
        for strict in [false, true] {
            let what = format!("{} {strict}", case.name);
            merging_leaves_out_nothing(&what, Tears::None, |settings| case.sweep(strict, settings));
        }
    }
}

#[test]
fn classes_leave_out_no_finding_and_no_end() {
    for case in cases() {
        for strict in [false, true] {
            let what = format!("{} {strict}", case.name);
            classes_leave_out_nothing(&what, |settings| case.sweep(strict, settings));
        }
    }
}
