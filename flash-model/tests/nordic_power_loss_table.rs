//! `POWER-LOSS-NORDIC.md` says what the sweeps find.
//!
//! To write it anew: `BRICKPROOF_WRITE_TABLE=1 cargo test -p brickproof-flash-model --test nordic_power_loss_table`.

mod nordic_support;
mod table_support;

use std::collections::BTreeMap;

use brickproof_flash_model::boot::nordic::{Options, Profile};
use brickproof_flash_model::image::nordic::FwType;
use brickproof_flash_model::sweep::label::Cut;
use brickproof_flash_model::sweep::nordic::known::ALL;
use brickproof_flash_model::sweep::nordic::{Known, Package, Update};
use brickproof_flash_model::sweep::{Settings, explore};
use nordic_support::{Device, Sent, app, app_update, package, softdevice};
use table_support::check;
use table_support::updates::Updates;

/// What is above is written by hand.
const MARK: &str = "<!-- From here on it is written by tests/nordic_power_loss_table.rs. -->\n";

/// What the story is at, as sweeps say it and as the rows are called.
const PHASES: [(&str, &str); 6] = [
    ("before anything is uploaded", "runs"),
    ("while the bootloader starts", "start"),
    ("while the init packet is accepted", "init packet"),
    ("while the image is uploaded", "image"),
    ("while the acceptance of the image is written", "acceptance"),
    ("while the update is activated", "activation"),
];

/// What is interrupted, and what that is on real flash.
const OPERATIONS: [(&str, &str); 4] = [
    (
        "between operations",
        "The operation before is whole, and the next one has not begun, or what is done is not yet told.",
    ),
    (
        "torn settings",
        "The settings page is neither what it was nor what it is to be: its CRC is wrong, or it is erased in part.",
    ),
    ("torn backup", "Likewise of the copy of the settings in the page of the MBR parameters, where there is one."),
    ("torn image", "Of a page of a bank, of the SoftDevice or of the bootloader a part is erased, or written."),
];

fn update(kind: FwType, parts: [&[u8]; 2]) -> Sent {
    package(kind, parts, if kind == FwType::Softdevice { u32::MAX } else { 2 }, |_| {})
}

/// The columns.
fn columns() -> Vec<(&'static str, Options, u32, Sent)> {
    let dual = Options::default();
    let single = Options { single_bank: true, ..dual };
    let early = Options { profile: Profile::V15_0, ..dual };
    let softdevice_alone = |pages: u32| update(FwType::Softdevice, [&softdevice(pages, 7_002_000), &[]]);
    let bootloader = |len: u32| update(FwType::Bootloader, [&app(101, len), &[]]);
    let both = |pages: u32, version: u32| {
        update(FwType::SoftdeviceBootloader, [&softdevice(pages, version), &app(101, 0x1e00)])
    };
    vec![
        ("dual", dual, 0x1c00, app_update(0x2800)),
        ("single", single, 0x1c00, app_update(0x2800)),
        ("SD", dual, 0x1c00, softdevice_alone(3)),
        ("SD size", dual, 0x1c00, softdevice_alone(4)),
        ("SD over", single, 0x1c00, softdevice_alone(6)),
        ("BL", dual, 0x1c00, bootloader(0x1e00)),
        ("BL odd", dual, 0x1c00, bootloader(0x1e01)),
        ("SD+BL", dual, 0x1c00, both(3, 7_002_000)),
        ("SD+BL over", dual, 0x9c00, both(7, 8_000_000)),
        ("SDK 15.0", early, 0x1c00, app_update(0x2800)),
    ]
}

/// Which of the operations a cut is.
fn operation(cut: Cut) -> usize {
    match cut {
        Cut::Before(_) | Cut::Behind | Cut::Unanswered => 0,
        Cut::Torn(action) if action.target == "the settings page" => 1,
        Cut::Torn(action) if action.target == "the backup of the settings" => 2,
        Cut::Torn(_) => 3,
    }
}

fn generated() -> String {
    let mut table = Updates {
        phases: &PHASES,
        operations: &OPERATIONS,
        operation,
        all: ALL,
        break_it: &[],
        shown: BTreeMap::new(),
    };
    let columns = columns().into_iter().map(|(name, options, app_len, sent)| {
        let device = Device::new(options, app_len);
        let package = Package { init: &sent.init, image: &sent.image };
        let machine =
            || Update::new(&device.nordic, device.layout.blank_flash(), &device.installed(), package).unwrap();
        let facts = machine().facts();
        let sweep = |strict: bool| explore(&machine().strict(strict), Settings::default(), |_| true);
        (name, table.column(sweep, |finding| Known::of(finding, &facts)))
    });
    let columns = columns.collect();
    table.text(&[("The table", columns)])
}

#[test]
fn table_is_current() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/POWER-LOSS-NORDIC.md"), MARK, &generated());
}
