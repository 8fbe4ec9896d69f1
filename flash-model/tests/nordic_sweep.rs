//! Every power loss of a Secure DFU update.

mod nordic_support;

use std::collections::BTreeSet;
use std::fmt::Write;

use brickproof_flash_model::boot::nordic::Options;
use brickproof_flash_model::image::nordic::FwType;
use brickproof_flash_model::sweep::nordic::{Known, Package, Update};
use brickproof_flash_model::sweep::{End, Settings, Sweep, Tears, explore, replay};
use nordic_support::{Device, Sent, app, app_update, package, softdevice};

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

fn cases() -> Vec<Case> {
    let small = Options::default();
    let case =
        |name, options: Options, app_len: u32, sent: Sent| Case { name, device: Device::new(options, app_len), sent };
    vec![
        case("application, dual bank", small, 0x1c00, app_update(0x2800)),
        case("application, single bank", Options { single_bank: true, ..small }, 0x1c00, app_update(0x2800)),
        case("application, no room beside the old one", small, 0x8c00, app_update(0x7800)),
        case(
            "SoftDevice",
            small,
            0x1c00,
            package(FwType::Softdevice, [&softdevice(3, 7_002_000), &[]], u32::MAX, |_| {}),
        ),
        case("bootloader", small, 0x1c00, package(FwType::Bootloader, [&app(101, 0x1e00), &[]], 2, |_| {})),
        case(
            "SoftDevice and bootloader",
            small,
            0x1c00,
            package(FwType::SoftdeviceBootloader, [&softdevice(3, 7_002_000), &app(101, 0x1e00)], 2, |_| {}),
        ),
    ]
}

#[test]
fn look() {
    let mut all = String::new();
    for case in cases() {
        for strict in [false, true] {
            let sweep = case.sweep(strict, Settings::default());
            writeln!(all, "{} strict={strict}: {:?} layers {:?}", case.name, sweep.totals, sweep.layers).unwrap();
            writeln!(all, "  exact {:?} live {:?} ends {:?}", sweep.exact, sweep.live, sweep.ends).unwrap();
            for finding in &sweep.findings {
                let cause = finding.cause.map_or_else(|| "no cut".to_owned(), |cause| cause.to_string());
                writeln!(
                    all,
                    "  {}: {}: {cause} ({}) {}",
                    finding.violation.invariant, finding.violation.what, finding.path, finding.nodes
                )
                .unwrap();
            }
        }
    }
    println!("{all}");
}
