//! `POWER-LOSS-SILABS.md` says what the sweeps find.
//!
//! To write it anew: `BRICKPROOF_WRITE_TABLE=1 cargo test -p brickproof-flash-model --test gecko_power_loss_table`.

mod gecko_sweep_support;
mod table_support;

use std::collections::BTreeMap;

use brickproof_flash_model::sweep::gecko::Known;
use brickproof_flash_model::sweep::gecko::known::{ALL, NEED_A_BUTTON};
use brickproof_flash_model::sweep::label::Cut;
use gecko_sweep_support::cases;
use table_support::check;
use table_support::updates::Updates;

/// What is above is written by hand.
const MARK: &str = "<!-- From here on it is written by tests/gecko_power_loss_table.rs. -->\n";

/// What the story is at, as sweeps say it and as the rows are called.
const PHASES: [(&str, &str); 6] = [
    ("before anything is uploaded", "runs"),
    ("while the bootloader starts", "start"),
    ("while the slot is erased", "erase"),
    ("while the file is uploaded", "upload"),
    ("while the AppLoader ends", "end"),
    ("while the update is installed from the slot", "installation"),
];

/// What is interrupted, and what that is on real flash.
const OPERATIONS: [(&str, &str); 7] = [
    (
        "between operations",
        "The operation before is whole, and the next one has not begun, or what is done is not yet told.",
    ),
    ("torn erase", "A page of the application is erased in part."),
    ("torn program", "Words of the application are written in part, all but the last."),
    ("torn last word", "The program counter of the application, which makes it bootable, has some of its bits."),
    ("torn bootloader", "Of a page of the bootloader, or of one that is put aside, a part is erased, or written."),
    ("torn slot", "Of a page of the slot a part is erased, or written."),
    ("torn version", "The version of an application that is started for the first time has some of its bits."),
];

/// Which of the operations a cut is.
fn operation(cut: Cut) -> usize {
    match cut {
        Cut::Before(_) | Cut::Behind | Cut::Unanswered => 0,
        Cut::Torn(action) => match action.target {
            "the program counter of the application" => 3,
            "the application" if action.erase => 1,
            "the application" => 2,
            "the slot" => 5,
            "the bootloader area" | "the staged bootloader" => 4,
            "the versions that were started" => 6,
            other => panic!("there is no row for {other}"),
        },
    }
}

fn generated() -> String {
    let mut table = Updates {
        phases: &PHASES,
        operations: &OPERATIONS,
        operation,
        all: ALL,
        break_it: NEED_A_BUTTON,
        shown: BTreeMap::new(),
    };
    let cases = cases();
    let sections = [("In place", false), ("From a slot", true)].map(|(title, storage)| {
        let of_kind = cases.iter().filter(|case| case.kind.options.storage == storage);
        let columns = of_kind.map(|case| {
            let facts = case.update().facts();
            let sweep = |strict: bool| case.sweep(strict, case.settings());
            (case.name, table.column(sweep, |finding| Known::of(finding, &facts)))
        });
        (title, columns.collect())
    });
    table.text(&sections)
}

#[test]
fn table_is_current() {
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/POWER-LOSS-SILABS.md"), MARK, &generated());
}
