//! The table of an update: what each power loss adds, by what the story is at and by what it interrupts.

use std::collections::{BTreeMap, BTreeSet};

use brickproof_flash_model::sweep::label::Cut;
use brickproof_flash_model::sweep::{Finding, Label, Property, Sweep};

use super::{property, table, wrapped};

const NONE: &str = "no power loss";
const MORE: &str = "two or more";

/// Of each row that the update has: what shows, as indices in [`Updates::all`].
pub type Column = BTreeMap<String, BTreeSet<usize>>;

/// A table that is made.
pub struct Updates<Facts: 'static> {
    /// What the story is at, as sweeps say it and as the rows are called.
    pub phases: &'static [(&'static str, &'static str)],
    /// What is interrupted, and what that is on real flash.
    pub operations: &'static [(&'static str, &'static str)],
    /// Which of `operations` a cut is.
    pub operation: fn(Cut) -> usize,
    /// What is known.
    pub all: &'static [Property<Facts>],
    /// Names of what is only found by who wants more than the design promises, and breaks it all the same.
    pub break_it: &'static [&'static str],
    /// What has shown, and whether only to who wants more than the design promises.
    pub shown: BTreeMap<usize, bool>,
}

impl<Facts> Updates<Facts> {
    /// The row of one cut.
    fn row(&self, label: Label) -> String {
        let (_, phase) = self.phases.iter().find(|(phase, _)| *phase == label.phase).unwrap();
        format!("{phase}: {}", self.operations[(self.operation)(label.cut)].0)
    }

    /// The column of an update that `sweep` sweeps, strictly or not.
    pub fn column(
        &mut self,
        sweep: impl Fn(bool) -> Sweep,
        known: impl Fn(&Finding) -> Option<&'static Property<Facts>>,
    ) -> Column {
        let mut column = Column::from([(NONE.to_owned(), BTreeSet::new()), (MORE.to_owned(), BTreeSet::new())]);
        for strict in [false, true] {
            let sweep = sweep(strict);
            assert_eq!(sweep.left_out, 0);
            for (_, label, _) in &sweep.first {
                column.entry(self.row(*label)).or_default();
            }
            for finding in &sweep.findings {
                let Some(known) = known(finding) else { panic!("not known: {finding:?}") };
                let known = self.all.iter().position(|one| one.id == known.id).unwrap();
                let fault = match finding.labels[..] {
                    [] => NONE.to_owned(),
                    [label] => self.row(label),
                    _ => MORE.to_owned(),
                };
                column.entry(fault).or_default().insert(known);
                *self.shown.entry(known).or_insert(true) &= strict;
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

    /// The text of the rows, of a table for each section, and of what is known.
    pub fn text(&self, sections: &[(&str, Vec<(&str, Column)>)]) -> String {
        let [designed, broken] = [true, false].map(|by_design| {
            let is_designed = |known: usize, strict: bool| strict && !self.break_it.contains(&self.all[known].id);
            let of_kind = self.shown.iter().filter(|(known, strict)| is_designed(**known, **strict) == by_design);
            of_kind.map(|(known, _)| *known).collect::<Vec<_>>()
        });
        let name = |known: &usize| {
            let at = |list: &[usize]| list.iter().position(|one| one == known).map(|at| at + 1);
            at(&designed).map_or_else(|| format!("P{}", at(&broken).unwrap()), |at| format!("D{at}"))
        };
        let mut text = self.rows();
        for (title, columns) in sections {
            text += &format!("\n## {title}\n\n{}", self.table(columns, name));
        }
        for (title, list) in [("What the design does not promise", &designed), ("What breaks it", &broken)] {
            text += &format!("\n## {title}\n");
            for known in list {
                let Property { id, title, evidence, remedy, .. } = self.all[*known];
                text += &property(&name(known), [id, title, evidence, remedy]);
            }
        }
        text
    }

    fn rows(&self) -> String {
        let mut text = String::from("\n## The rows\n\n");
        let none = format!("`{NONE}`: What holds without any. All other rows tell only what the fault adds.");
        text += &wrapped("* ", &none);
        for (what, means) in self.operations {
            text += &wrapped("* ", &format!("`{what}`: {means}"));
        }
        let more = format!("`{MORE}`: What shows with two or more power losses in a row, and with one does not.");
        text += &wrapped("* ", &more);
        text.push('\n');
        for (phase, name) in self.phases {
            text += &wrapped("* ", &format!("`{name}`: {phase}."));
        }
        text
    }

    fn table(&self, columns: &[(&str, Column)], name: impl Fn(&usize) -> String) -> String {
        let mut rows = vec![NONE.to_owned()];
        for (_, phase) in self.phases {
            rows.extend(self.operations.iter().map(|(what, _)| format!("{phase}: {what}")));
        }
        rows.retain(|row| columns.iter().any(|(_, column)| column.contains_key(row)));
        rows.push(MORE.to_owned());
        let head = std::iter::once("fault".to_owned()).chain(columns.iter().map(|(name, _)| (*name).to_owned()));
        let mut cells: Vec<Vec<String>> = vec![head.collect()];
        for row in rows {
            let cell = |(_, column): &(&str, Column)| match column.get(&row) {
                None => "-".to_owned(),
                Some(shown) if shown.is_empty() && row == MORE => "no more".to_owned(),
                Some(shown) if shown.is_empty() => "survives".to_owned(),
                Some(shown) => shown.iter().map(&name).collect::<Vec<_>>().join(" "),
            };
            cells.push(std::iter::once(row.clone()).chain(columns.iter().map(cell)).collect());
        }
        table(&cells)
    }
}
