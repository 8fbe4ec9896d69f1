//! One path, step by step.

use super::{Cutter, End, Label, Machine, Path, State};
use crate::flash::Flash;

/// What happened on a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The runs, each from power-on: one for each cut, and the last one to its end.
    pub runs: Vec<Run>,
    /// How the last run ended.
    pub end: End,
    /// The flash after it.
    pub flash: Flash,
}

/// One run from power-on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// In order.
    pub steps: Vec<Step>,
    /// What the cut at its end interrupted; `None` of the last run.
    pub cut: Option<Label>,
    /// The flash that the cut left; `None` of the last run.
    pub left: Option<Flash>,
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What the machine says of itself: "the old image runs".
    Told(String),
    /// Flash operations one after the other that are alike: in words, the number of the first, and how many.
    Operations {
        /// "program in the secondary slot".
        what: String,
        /// Counted from 0 at power-on.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A boot has ended: the place that [`CutPlace::Start`](super::CutPlace::Start) means.
    Start,
}

/// Runs one path with nothing forgotten.
///
/// # Errors
/// A place that its run does not come to.
pub fn replay<M: Machine>(machine: &M, path: &Path) -> Result<Replay, String> {
    let start = machine.start();
    let (mut flash, mut state) = (start.flash.clone(), start.state);
    let mut runs = Vec::new();
    for place in &path.0 {
        let mut cutter = Cutter::replay(Some(*place), state, &start.fields, &start.regions);
        machine.run(&mut flash, state, &mut cutter);
        state = cutter.state();
        let operations = cutter.operations;
        let (steps, Some(cut)) = cutter.replayed() else {
            return Err(format!("`{place}`: its run ends after {operations} operations, and is not cut there"));
        };
        let cut = Some(Label { phase: state.phase(), cut });
        runs.push(Run { steps, cut, left: Some(flash.clone()) });
    }
    let mut cutter = Cutter::replay(None, state, &start.fields, &start.regions);
    let end = machine.run(&mut flash, state, &mut cutter);
    runs.push(Run { steps: cutter.replayed().0, cut: None, left: None });
    Ok(Replay { runs, end, flash })
}

impl Step {
    /// Adds an operation to the steps of a run.
    pub(super) fn add(steps: &mut Vec<Self>, what: String, n: u64) {
        match steps.last_mut() {
            Some(Self::Operations { what: last, count, .. }) if *last == what => *count += 1,
            _ => steps.push(Self::Operations { what, first: n, count: 1 }),
        }
    }
}
