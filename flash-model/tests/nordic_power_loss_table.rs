//! `POWER-LOSS-NORDIC.md` says what the sweeps find.
//!
//! To write it anew: `BRICKPROOF_WRITE_TABLE=1 cargo test -p brickproof-flash-model --test nordic_power_loss_table`.

mod nordic_support;
mod table_support;

use std::collections::{BTreeMap, BTreeSet};

use brickproof_flash_model::boot::nordic::{Options, Profile};
use brickproof_flash_model::image::nordic::FwType;
use brickproof_flash_model::sweep::label::Cut;
use brickproof_flash_model::sweep::nordic::known::ALL;
use brickproof_flash_model::sweep::nordic::{Known, Package, Update};
use brickproof_flash_model::sweep::{Label, Settings, explore};
use nordic_support::{Device, Sent, app, app_update, package, softdevice};
use table_support::{check, table, wrapped};

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

const NONE: &str = "no power loss";
const MORE: &str = "two or more";

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

/// The row of one cut.
fn row(label: Label) -> String {
    let (_, phase) = PHASES.iter().find(|(phase, _)| *phase == label.phase).unwrap();
    let operation = match label.cut {
        Cut::Before(_) | Cut::Behind | Cut::Unanswered => 0,
        Cut::Torn(action) if action.target == "the settings page" => 1,
        Cut::Torn(action) if action.target == "the backup of the settings" => 2,
        Cut::Torn(_) => 3,
    };
    format!("{phase}: {}", OPERATIONS[operation].0)
}

/// What is known, and whether it is only found by who wants more than the design promises.
type Shown = BTreeMap<usize, bool>;

/// Of each row that the update has: what shows, as indices in [`ALL`].
type Column = BTreeMap<String, BTreeSet<usize>>;

fn column(options: Options, app_len: u32, sent: &Sent, all: &mut Shown) -> Column {
    let device = Device::new(options, app_len);
    let mut column = Column::from([(NONE.to_owned(), BTreeSet::new()), (MORE.to_owned(), BTreeSet::new())]);
    for strict in [false, true] {
        let package = Package { init: &sent.init, image: &sent.image };
        let machine = Update::new(&device.nordic, device.layout.blank_flash(), &device.installed(), package).unwrap();
        let machine = machine.strict(strict);
        let sweep = explore(&machine, Settings::default(), |_| true);
        assert_eq!(sweep.left_out, 0);
        for (_, label, _) in &sweep.first {
            column.entry(row(*label)).or_default();
        }
        for finding in &sweep.findings {
            let Some(known) = Known::of(finding, &machine.facts()) else { panic!("not known: {finding:?}") };
            let known = ALL.iter().position(|one| one.id == known.id).unwrap();
            let fault = match finding.labels[..] {
                [] => NONE.to_owned(),
                [label] => row(label),
                _ => MORE.to_owned(),
            };
            column.entry(fault).or_default().insert(known);
            let by_design = all.entry(known).or_insert(strict);
            *by_design &= strict;
        }
    }
    // All other rows tell what is added.
    let without = column[NONE].clone();
    let with_one: BTreeSet<usize> =
        column.iter().filter(|(row, _)| *row != MORE).flat_map(|(_, shown)| shown.clone()).collect();
    for (row, shown) in &mut column {
        let before = if row == MORE { &with_one } else { &without };
        if row != NONE {
            shown.retain(|known| !before.contains(known));
        }
    }
    column
}

fn generated() -> String {
    let mut all = Shown::new();
    let columns: Vec<(&str, Column)> = columns()
        .into_iter()
        .map(|(name, options, app_len, sent)| (name, column(options, app_len, &sent, &mut all)))
        .collect();
    let [designed, broken] = [true, false].map(|by_design| {
        let of_kind = all.iter().filter(|(_, designed)| **designed == by_design);
        of_kind.map(|(known, _)| *known).collect::<Vec<_>>()
    });
    let name = |known: &usize| {
        let at = |list: &[usize]| list.iter().position(|one| one == known).map(|at| at + 1);
        at(&designed).map_or_else(|| format!("P{}", at(&broken).unwrap()), |at| format!("D{at}"))
    };
    let mut text = String::from("\n## The rows\n\n");
    text += &wrapped("* ", &format!("`{NONE}`: What holds without any. All other rows tell only what the fault adds."));
    for (what, means) in OPERATIONS {
        text += &wrapped("* ", &format!("`{what}`: {means}"));
    }
    text +=
        &wrapped("* ", &format!("`{MORE}`: What shows with two or more power losses in a row, and with one does not."));
    text.push('\n');
    for (phase, name) in PHASES {
        text += &wrapped("* ", &format!("`{name}`: {phase}."));
    }
    let mut rows = vec![NONE.to_owned()];
    rows.extend(PHASES.iter().flat_map(|(_, phase)| OPERATIONS.map(|(what, _)| format!("{phase}: {what}"))));
    rows.retain(|row| columns.iter().any(|(_, column)| column.contains_key(row)));
    rows.push(MORE.to_owned());
    let head = std::iter::once("fault".to_owned()).chain(columns.iter().map(|(name, _)| (*name).to_owned()));
    let mut cells: Vec<Vec<String>> = vec![head.collect()];
    for row in &rows {
        let cell = |(_, column): &(&str, Column)| match column.get(row) {
            None => "-".to_owned(),
            Some(shown) if shown.is_empty() && row == MORE => "no more".to_owned(),
            Some(shown) if shown.is_empty() => "survives".to_owned(),
            Some(shown) => shown.iter().map(name).collect::<Vec<_>>().join(" "),
        };
        cells.push(std::iter::once(row.clone()).chain(columns.iter().map(cell)).collect());
    }
    text += &format!("\n## The table\n\n{}", table(&cells));
    for (title, list) in [("What the design does not promise", &designed), ("What breaks it", &broken)] {
        text += &format!("\n## {title}\n");
        for known in list {
            let property = &ALL[*known];
            text += &wrapped("\n* ", &format!("**{}** `{}`: {}.", name(known), property.id, property.title));
            text += &wrapped("  * ", &format!("Evidence: {}.", property.evidence));
            text += &wrapped("  * ", &format!("Remedy: {}.", property.remedy));
        }
    }
    text
}

#[test]
fn table_is_current() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/POWER-LOSS-NORDIC.md"), MARK, &generated());
}
