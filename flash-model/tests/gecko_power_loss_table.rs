//! `POWER-LOSS-SILABS.md` says what the sweeps find.
//!
//! To write it anew: `BRICKPROOF_WRITE_TABLE=1 cargo test -p brickproof-flash-model --test gecko_power_loss_table`.

mod gecko_sweep_support;
mod table_support;

use std::collections::{BTreeMap, BTreeSet};

use brickproof_flash_model::sweep::Label;
use brickproof_flash_model::sweep::gecko::Known;
use brickproof_flash_model::sweep::gecko::known::{ALL, NEED_A_BUTTON};
use brickproof_flash_model::sweep::label::Cut;
use gecko_sweep_support::{Case, cases};
use table_support::{check, table, wrapped};

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

const NONE: &str = "no power loss";
const MORE: &str = "two or more";

/// The row of one cut.
fn row(label: Label) -> String {
    let (_, phase) = PHASES.iter().find(|(phase, _)| *phase == label.phase).unwrap();
    let operation = match label.cut {
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
    };
    format!("{phase}: {}", OPERATIONS[operation].0)
}

/// What is known, and whether it is only found by who wants more than the design promises.
type Shown = BTreeMap<usize, bool>;

/// Of each row that the update has: what shows, as indices in [`ALL`].
type Column = BTreeMap<String, BTreeSet<usize>>;

fn column(case: &Case, all: &mut Shown) -> Column {
    let mut column = Column::from([(NONE.to_owned(), BTreeSet::new()), (MORE.to_owned(), BTreeSet::new())]);
    let facts = case.update().facts();
    for strict in [false, true] {
        let sweep = case.sweep(strict, case.settings());
        assert_eq!(sweep.left_out, 0);
        for (_, label, _) in &sweep.first {
            column.entry(row(*label)).or_default();
        }
        for finding in &sweep.findings {
            let Some(known) = Known::of(finding, &facts) else { panic!("not known: {finding:?}") };
            let known = ALL.iter().position(|one| one.id == known.id).unwrap();
            let fault = match finding.labels[..] {
                [] => NONE.to_owned(),
                [label] => row(label),
                _ => MORE.to_owned(),
            };
            column.entry(fault).or_default().insert(known);
            let by_design = all.entry(known).or_insert(strict && !NEED_A_BUTTON.contains(&ALL[known].id));
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
    let cases = cases();
    let columns: Vec<(&str, bool, Column)> =
        cases.iter().map(|case| (case.name, case.kind.options.storage, column(case, &mut all))).collect();
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
    for (title, storage) in [("In place", false), ("From a slot", true)] {
        let columns: Vec<&(&str, bool, Column)> = columns.iter().filter(|(_, kind, _)| *kind == storage).collect();
        let mut rows = vec![NONE.to_owned()];
        rows.extend(PHASES.iter().flat_map(|(_, phase)| OPERATIONS.map(|(what, _)| format!("{phase}: {what}"))));
        rows.retain(|row| columns.iter().any(|(_, _, column)| column.contains_key(row)));
        rows.push(MORE.to_owned());
        let head = std::iter::once("fault".to_owned()).chain(columns.iter().map(|(name, _, _)| (*name).to_owned()));
        let mut cells: Vec<Vec<String>> = vec![head.collect()];
        for row in &rows {
            let cell = |(_, _, column): &&(&str, bool, Column)| match column.get(row) {
                None => "-".to_owned(),
                Some(shown) if shown.is_empty() && row == MORE => "no more".to_owned(),
                Some(shown) if shown.is_empty() => "survives".to_owned(),
                Some(shown) => shown.iter().map(name).collect::<Vec<_>>().join(" "),
            };
            cells.push(std::iter::once(row.clone()).chain(columns.iter().map(cell)).collect());
        }
        text += &format!("\n## {title}\n\n{}", table(&cells));
    }
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
    check(concat!(env!("CARGO_MANIFEST_DIR"), "/POWER-LOSS-SILABS.md"), MARK, &generated());
}
