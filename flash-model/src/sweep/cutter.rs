//! The hook of an exploration.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::forget::{Exempt, Stays, forget_torn, is_blank, spares_fields};
use super::label::{Action, Cut};
use super::replay::Step as Told;
use super::{CutPlace, End, FieldSpan, Label, Region, State, Tears, Violation};
use crate::flash::{Flash, Forgotten, Hook, Interruption, Operation, OperationKind, Sector, Step, Tear, Verdict, fold};

/// What a power loss left.
#[derive(Debug, Clone)]
pub(super) struct Left<S> {
    pub(super) key: u128,
    pub(super) flash: Flash,
    pub(super) state: S,
    pub(super) place: CutPlace,
    pub(super) label: Label,
}

/// Keys of what has been, and the number of the node that was there.
pub(super) type Seen = HashMap<u128, u32>;

/// Sectors of which something is not forgotten, because it was read all the same: device and index.
#[derive(Debug, Default)]
pub(super) struct Exact {
    /// What torn operations leave.
    pub(super) torn: BTreeSet<(u8, usize)>,
    /// What the next run erases.
    pub(super) dead: BTreeSet<(u8, usize)>,
}

/// What does not change during an exploration.
pub(super) struct Terms<'a> {
    pub(super) tears: Tears,
    pub(super) fields: &'a [FieldSpan],
    pub(super) regions: &'a [Region],
    pub(super) exempt: &'a Exempt,
    pub(super) exact: &'a Exact,
    /// Set when there is to be no more: memory or time is at its end.
    pub(super) stop: &'a AtomicBool,
    /// See [`Machine::erased_stays_erased`](super::Machine::erased_stays_erased).
    pub(super) erased_stays: &'a Stays,
}

impl Terms<'_> {
    /// Whether a sector stays erased when it is.
    pub(super) fn erased_stays(&self, device: u8, sector: usize) -> bool {
        self.erased_stays.get(usize::from(device)).and_then(|sectors| sectors.get(sector)).is_some_and(|stays| *stays)
    }
}

/// What the cutter is for.
enum Task<'a> {
    /// Finds what power losses leave.
    Explore {
        terms: &'a Terms<'a>,
        /// Sectors of which this node stands for all contents.
        dead: HashSet<(u8, usize)>,
    },
    /// Runs to its end or a merge.
    Run,
    /// Runs as far as a bootloader goes, or to the first reset.
    Probe,
    /// Cuts at one place, or not at all, and writes down what happens.
    Replay {
        place: Option<CutPlace>,
        fields: &'a [FieldSpan],
        regions: &'a [Region],
        steps: Vec<Told>,
        /// What was cut.
        cut: Option<Cut>,
    },
}

/// Watches one run from power-on.
pub struct Cutter<'a, S> {
    task: Task<'a>,
    /// Where to merge.
    seen: Option<&'a Seen>,
    state: S,
    /// What is known outside of flash, as a number.
    known_outside: u64,
    /// Operations since power-on.
    pub(super) operations: u64,
    /// Boots since power-on that have ended.
    boots: u64,
    /// Answers since power-on.
    answers: u64,
    /// Places at which power was not lost any more, because it was to stop.
    pub(super) skipped: usize,
    pub(super) edges: u64,
    /// The state that another run was in.
    pub(super) merged: Option<u128>,
    /// States at loop heads and resets of this run.
    pub(super) passed: HashSet<u128>,
    /// Keys of what is in `left`.
    found: HashSet<u128>,
    pub(super) left: Vec<Left<S>>,
    /// Operations before each reset of this run, by its state.
    resets: HashMap<u128, u64>,
    /// Nothing has changed yet but what this node stands for all contents of: a power loss leaves the node itself.
    at_home: bool,
}

/// What a reset is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Something new.
    New,
    /// What the one before did: nothing.
    Idle,
    /// What one before in this run did, and flash was changed since: for ever.
    Again,
    /// What another run has done.
    Merged,
}

impl<'a, S: State> Cutter<'a, S> {
    /// `seen`: where to merge, if at all.
    pub(super) fn explore(seen: Option<&'a Seen>, terms: &'a Terms<'a>, flash: &Flash, state: S) -> Self {
        Self::new(Task::Explore { terms, dead: flash.dead().collect() }, seen, state)
    }

    pub(super) fn run(seen: Option<&'a Seen>, state: S) -> Self {
        Self::new(Task::Run, seen, state)
    }

    pub(super) fn probe(seen: &'a Seen, state: S) -> Self {
        Self::new(Task::Probe, Some(seen), state)
    }

    /// Cuts at one place, or not at all.
    pub(super) fn replay(place: Option<CutPlace>, state: S, fields: &'a [FieldSpan], regions: &'a [Region]) -> Self {
        Self::new(Task::Replay { place, fields, regions, steps: Vec::new(), cut: None }, None, state)
    }

    /// For a run that is not cut, and of which nobody is told.
    pub fn uncut(state: S) -> Self {
        Self::new(Task::Run, None, state)
    }

    /// What has happened, and what was cut.
    pub(super) fn replayed(self) -> (Vec<Told>, Option<Cut>) {
        match self.task {
            Task::Replay { steps, cut, .. } => (steps, cut),
            Task::Explore { .. } | Task::Run | Task::Probe => (Vec::new(), None),
        }
    }

    /// Says what the machine does, to whoever replays a path.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Task::Replay { steps, .. } = &mut self.task {
            steps.push(Told::Told(what()));
        }
    }

    fn new(task: Task<'a>, seen: Option<&'a Seen>, state: S) -> Self {
        Self {
            task,
            seen,
            state,
            known_outside: 0,
            operations: 0,
            boots: 0,
            answers: 0,
            skipped: 0,
            edges: 0,
            merged: None,
            passed: HashSet::new(),
            found: HashSet::new(),
            left: Vec::new(),
            resets: HashMap::new(),
            at_home: true,
        }
    }

    /// The state of the story as the last call of [`Cutter::enter`] left it.
    #[must_use]
    pub fn state(&self) -> S {
        self.state
    }

    /// From here on a power loss leaves this state.
    pub fn enter(&mut self, state: S) {
        self.at_home &= self.state == state;
        self.state = state;
    }

    /// Flash was changed by something else than operations.
    pub fn changed(&mut self) {
        self.at_home = false;
    }

    /// What was asked for is done, and its answer comes: power may be lost before that; from here on it leaves `state`.
    ///
    /// # Errors
    /// Power is lost.
    pub fn answer(&mut self, flash: &Flash, state: S) -> Result<(), Interruption> {
        let here = CutPlace::Answer(self.operations, self.answers);
        self.answers += 1;
        match &mut self.task {
            Task::Explore { .. } if self.state != state => self.leave(flash, here, Cut::Unanswered),
            Task::Replay { place, cut, .. } if *place == Some(here) => {
                *cut = Some(Cut::Unanswered);
                return Err(Interruption::PowerLoss);
            }
            Task::Explore { .. } | Task::Run | Task::Probe | Task::Replay { .. } => {}
        }
        self.enter(state);
        Ok(())
    }

    /// From here on loop heads and resets are the same only where this number is, too: it stands for what the code at
    /// work knows beside its status and the flash, and what a power loss takes away. 0 at power-on.
    pub fn remember(&mut self, number: u64) {
        self.known_outside = number;
    }

    /// Power may be lost here, where a bootloader ends and an application has not begun.
    ///
    /// What the application erases, another start of it may read first: classes are not made of it. See
    /// [`Cutter::started`].
    ///
    /// # Errors
    /// It is.
    pub fn between(&mut self, flash: &Flash) -> Result<(), Interruption> {
        match self.task {
            Task::Probe => Err(Interruption::Merged),
            _ => self.started(flash),
        }
    }

    /// The same for an application that begins in the same way each time: classes are made of what it erases, too, up to
    /// the next reset.
    ///
    /// # Errors
    /// Power is lost.
    pub fn started(&mut self, flash: &Flash) -> Result<(), Interruption> {
        let here = CutPlace::Start(self.boots);
        self.boots += 1;
        match &mut self.task {
            Task::Explore { .. } => {
                self.leave(flash, here, Cut::Behind);
                Ok(())
            }
            Task::Run | Task::Probe => Ok(()),
            Task::Replay { place, cut, steps, .. } => {
                if *place != Some(here) {
                    steps.push(Told::Start);
                    return Ok(());
                }
                *cut = Some(Cut::Behind);
                Err(Interruption::PowerLoss)
            }
        }
    }

    /// The device resets without a power loss.
    pub fn reset(&mut self, flash: &Flash) -> Reset {
        if matches!(self.task, Task::Probe) && self.operations > 0 {
            return Reset::Merged;
        }
        let key = self.key(flash, u128::from(self.known_outside) << 64 | 1);
        if self.seen.is_some_and(|seen| seen.contains_key(&key)) {
            self.merged = Some(key);
            return Reset::Merged;
        }
        self.passed.insert(key);
        match self.resets.insert(key, self.operations) {
            None => Reset::New,
            Some(before) if before == self.operations => Reset::Idle,
            Some(_) => Reset::Again,
        }
    }

    /// The same for a story that goes on as long as something new comes of it: whether the bootloader starts once more.
    ///
    /// # Errors
    /// The run was merged; the invariant `rest` does not hold.
    pub(super) fn starts_again(&mut self, flash: &Flash) -> Result<bool, End> {
        match self.reset(flash) {
            Reset::New => {
                self.tell(|| "the bootloader starts".into());
                Ok(true)
            }
            Reset::Idle => Ok(false),
            Reset::Merged => Err(End::Interrupted),
            Reset::Again => Err(Violation::new("rest", "boots change flash for ever").into()),
        }
    }

    fn key(&self, flash: &Flash, what: u128) -> u128 {
        node_key(flash, self.state, what)
    }

    /// What the operation leaves when it is torn.
    fn tear(&mut self, operation: &Operation<'_>, action: Action, flash: &Flash) {
        let Task::Explore { terms, dead } = &self.task else { return };
        let (terms, number) = (*terms, operation.device);
        let Some(device) = flash.devices().get(usize::from(number)) else { return };
        let geometry = device.geometry();
        let range = (operation.offset, operation.offset + operation.len());
        let first = geometry.sector_at(range.0).map_or(usize::MAX, |sector| sector.index);
        let touched = geometry.sectors().get(first..).unwrap_or_default();
        let touched: Vec<Sector> = touched.iter().copied().take_while(|sector| sector.offset < range.1).collect();
        let is_erased =
            |sector: &Sector| terms.erased_stays(number, sector.index) && device.is_blank(sector.offset..sector.end());
        if action.erase && touched.iter().all(is_erased) {
            return;
        }
        let fields_in = |sector: &Sector| {
            let sectors = terms.exempt.get(usize::from(number)).map_or(&[][..], |sectors| sectors);
            sectors.get(sector.index).map_or(&[][..], Vec::as_slice)
        };
        let stays =
            |sector: &Sector| dead.contains(&(number, sector.index)) && spares_fields(sector, range, fields_in(sector));
        self.at_home &= touched.iter().all(stays);
        let exact = terms.tears == Tears::Units
            || touched.iter().any(|sector| terms.exact.torn.contains(&(number, sector.index)));
        // Of what is torn already, not every unit is tried once more: they would multiply for ever.
        let again = touched.iter().any(|sector| device.is_torn(sector.index)) && terms.tears != Tears::Units;
        for tear in terms.tears.of(operation, terms.fields, geometry.program_unit(), exact && !again) {
            if self.at_home {
                self.edges += 1;
                continue;
            }
            if terms.stop.load(Ordering::Relaxed) {
                self.skipped += 1;
                return;
            }
            let Some(mut torn) = flash.torn(operation, tear) else { continue };
            if terms.tears != Tears::Units
                && let Some(chip) = torn.device_mut(number)
            {
                for sector in &touched {
                    if exact {
                        chip.forget(number, sector.index, std::iter::once(0..sector.size), Forgotten::Torn);
                        continue;
                    }
                    // Erased bytes that are erased again stay as they are.
                    if !(action.erase && is_blank(device, sector, fields_in(sector))) {
                        forget_torn((number, chip), sector, range, fields_in(sector));
                    }
                }
            }
            self.leave(&torn, CutPlace::Inside(self.operations, tear), Cut::Torn(action));
        }
    }

    fn leave(&mut self, flash: &Flash, place: CutPlace, cut: Cut) {
        if let Task::Explore { terms, .. } = &self.task
            && terms.stop.load(Ordering::Relaxed)
        {
            self.skipped += 1;
            return;
        }
        self.edges += 1;
        if self.at_home {
            return;
        }
        let key = self.key(flash, 0);
        let seen = self.seen.is_some_and(|seen| seen.contains_key(&key));
        if !seen && self.found.insert(key) {
            let label = Label { phase: self.state.phase(), cut };
            self.left.push(Left { key, flash: flash.clone(), state: self.state, place, label });
        }
    }
}

impl<S: State> Hook for Cutter<'_, S> {
    fn before(&mut self, operation: &Operation<'_>, flash: &Flash) -> Verdict {
        let n = self.operations;
        match &mut self.task {
            Task::Explore { terms, .. } => {
                let action = Action::of(operation, terms.fields, terms.regions);
                debug_assert_eq!(action.erase, matches!(operation.kind, OperationKind::Erase { .. }));
                self.leave(flash, CutPlace::Before(n), Cut::Before(action));
                self.tear(operation, action, flash);
                Verdict::Proceed
            }
            Task::Replay { place, fields, regions, steps, cut } => {
                let action = Action::of(operation, fields, regions);
                match place {
                    Some(CutPlace::Before(here)) if *here == n => {
                        *cut = Some(Cut::Before(action));
                        Verdict::Interrupt(Interruption::PowerLoss)
                    }
                    Some(CutPlace::Inside(here, tear)) if *here == n => {
                        *cut = Some(Cut::Torn(action));
                        Verdict::Tear(*tear, Interruption::PowerLoss)
                    }
                    _ => {
                        Told::add(steps, action.to_string(), n);
                        Verdict::Proceed
                    }
                }
            }
            Task::Run | Task::Probe => Verdict::Proceed,
        }
    }

    fn after(&mut self, _: &Operation<'_>, tear: Option<Tear>) {
        if tear.is_none() {
            self.operations += 1;
        }
    }

    fn checkpoint(&mut self, step: &Step, flash: &Flash) -> Option<Interruption> {
        let seen = self.seen?;
        let [a, b, c, d] = step.status.map(u128::from);
        let status = fold(a << 96 | b << 64 | c << 32 | d, name_number(step.name));
        let key = self.key(flash, fold(status, self.known_outside.into()) | 2);
        if seen.contains_key(&key) {
            self.merged = Some(key);
            return Some(Interruption::Merged);
        }
        self.passed.insert(key);
        None
    }
}

/// The key of a state; `what` tells apart what it is a state of.
pub(super) fn node_key<S: State>(flash: &Flash, state: S, what: u128) -> u128 {
    fold(flash.fingerprint(), fold(state.code().into(), what))
}

/// A number for the name of a loop.
fn name_number(name: &str) -> u128 {
    name.bytes().fold(0, |sum, byte| fold(sum, byte.into()))
}
