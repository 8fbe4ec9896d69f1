//! The search: nodes in the order of how many cuts they need.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::cutter::{Exact, Left, Seen, Terms, node_key};
use super::forget::{Exempt, Stays, exempt, stays};
use super::{CutPlace, Cutter, End, Label, Machine, Path, Tears, Violation};
use crate::flash::{Flash, Forgotten, Interner};

/// Nodes that are run before what they found is known to others: few enough that little is done twice, and the same at
/// any number of threads.
const BATCH: usize = 64;

/// The number of a node that was left out.
const LEFT_OUT: u32 = u32::MAX;

/// How many cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// At most so many; 0 is the story without a cut.
    AtMost(usize),
    /// As many as make a difference.
    #[default]
    Exhaustive,
}

/// What an exploration may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nodes.
    pub nodes: usize,
    /// Threads.
    pub threads: usize,
}

/// How an exploration is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many cuts.
    pub depth: Depth,
    /// What torn operations leave.
    pub tears: Tears,
    /// Ends runs where another has been. Off, every node is run to its end.
    pub merge: bool,
    /// Explores one node of each class; only with `merge`. Off, every node is explored.
    pub classes: bool,
    /// What it may cost.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            depth: Depth::Exhaustive,
            tears: Tears::Fields,
            merge: true,
            classes: true,
            limits: Limits { nodes: 50_000_000, threads },
        }
    }
}

/// How far an exploration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Cuts of the nodes that are being run.
    pub depth: usize,
    /// Nodes that have been run.
    pub nodes: usize,
    /// Of these, nodes that were explored: one of each class.
    pub explored: usize,
    /// Cuts that have been made.
    pub edges: u64,
    /// Nodes that ended where another run had been.
    pub merged: u64,
    /// Flash operations that have been performed.
    pub operations: u64,
    /// Nodes that are known and have not been run.
    pub remaining: usize,
    /// How often it has begun again, because something was read that had been forgotten.
    pub restarts: usize,
}

/// A shortest way to a violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What does not hold.
    pub violation: Violation,
    /// The last cut, without which it would hold; `None` when it does not hold without any cut.
    pub cause: Option<Label>,
    /// The cuts.
    pub path: Path,
    /// What they interrupt, one for each.
    pub labels: Vec<Label>,
    /// Nodes that end so by such a cut.
    pub nodes: u64,
}

/// What an exploration has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sweep {
    /// The totals.
    pub totals: Progress,
    /// Nodes by number of cuts, from 0.
    pub layers: Vec<usize>,
    /// One for each kind of violation and cut, a shortest; by number of cuts.
    pub findings: Vec<Finding>,
    /// How the runs of nodes end: at rest with this, or with this violation.
    pub ends: BTreeMap<String, u64>,
    /// Of each cut of the first run: place, what it interrupts, and how the run after it ends.
    pub first: Vec<(CutPlace, Label, String)>,
    /// A number for the set of all nodes.
    pub digest: u128,
    /// Nodes that a limit has left out; 0 when all were run.
    pub left_out: usize,
    /// The fewest cuts of a node that was left out: everything with fewer was run.
    pub left_out_from: Option<usize>,
    /// Sectors of which every unit was tried, because something reads them when they are torn: device and index.
    pub exact: Vec<(u8, usize)>,
    /// Sectors that were not forgotten although a run erases them before it reads them, because another does not.
    pub live: Vec<(u8, usize)>,
}

struct Node<S> {
    flash: Flash,
    state: S,
    /// Its number.
    id: u32,
}

/// How a node was come to, and how its run ends.
struct Come {
    from: u32,
    by: Option<(CutPlace, Label)>,
    fate: Fate,
}

enum Fate {
    /// It has not been run.
    Unknown,
    Rest(&'static str),
    Violation(Violation),
    /// As that of another node.
    As(u32),
}

struct Ran<S> {
    end: End,
    left: Vec<Left<S>>,
    passed: Vec<u128>,
    operations: u64,
    edges: u64,
    merged: Option<u128>,
    read: Option<Read>,
    skipped: usize,
}

/// A read of what had been forgotten.
type Read = (u8, usize, Forgotten);

/// Explores a machine; `watch` is told how far it is after each batch, and stops it by `false`.
pub fn explore<M: Machine>(machine: &M, settings: Settings, watch: impl FnMut(&Progress) -> bool) -> Sweep {
    explore_until(machine, settings, &AtomicBool::new(false), watch)
}

/// The same; whoever sets `stop` ends it at once, and not only behind a batch.
pub fn explore_until<M: Machine>(
    machine: &M,
    settings: Settings,
    stop: &AtomicBool,
    mut watch: impl FnMut(&Progress) -> bool,
) -> Sweep {
    let mut exact = Exact::default();
    let exempt = exempt(machine.start());
    let erased_stays = if settings.tears == Tears::Units { Stays::new() } else { stays(machine) };
    for restarts in 0.. {
        let mut search = Search::new(machine, settings, (&exempt, &erased_stays), &exact, stop);
        search.sweep.totals.restarts = restarts;
        let Err(read) = search.run(&mut watch) else {
            let mut sweep = search.finish();
            sweep.exact = exact.torn.into_iter().collect();
            sweep.live = exact.dead.into_iter().collect();
            return sweep;
        };
        for (device, sector, why) in read {
            match why {
                Forgotten::Torn => exact.torn.insert((device, sector)),
                Forgotten::Dead => exact.dead.insert((device, sector)),
            };
        }
    }
    Sweep::default()
}

struct Search<'a, M: Machine> {
    machine: &'a M,
    settings: Settings,
    terms: Terms<'a>,
    seen: Seen,
    come: Vec<Come>,
    interner: Interner,
    sweep: Sweep,
}

impl<'a, M: Machine> Search<'a, M> {
    fn new(
        machine: &'a M,
        settings: Settings,
        (exempt, erased_stays): (&'a Exempt, &'a Stays),
        exact: &'a Exact,
        stop: &'a AtomicBool,
    ) -> Self {
        let terms = Terms {
            tears: settings.tears,
            fields: &machine.start().fields,
            regions: &machine.start().regions,
            exempt,
            exact,
            erased_stays,
            stop,
        };
        Self {
            machine,
            settings,
            terms,
            seen: Seen::new(),
            come: vec![Come { from: 0, by: None, fate: Fate::Unknown }],
            interner: Interner::default(),
            sweep: Sweep::default(),
        }
    }

    fn run(&mut self, watch: &mut impl FnMut(&Progress) -> bool) -> Result<(), Vec<Read>> {
        let start = self.machine.start();
        let (mut flash, state) = (start.flash.clone(), start.state);
        flash.keep_fingerprint();
        let key = node_key(&flash, state, 0);
        self.seen.insert(key, 0);
        self.sweep.digest = key;
        let mut layer = vec![Node { flash, state, id: 0 }];
        while !layer.is_empty() {
            let depth = self.sweep.layers.len();
            self.sweep.layers.push(layer.len());
            self.sweep.totals.depth = depth;
            let last = self.settings.depth == Depth::AtMost(depth);
            let mut next = Vec::new();
            let mut rest = layer.len();
            let mut nodes = layer.into_iter();
            while rest > 0 {
                let batch: Vec<_> = nodes.by_ref().take(BATCH).collect();
                rest -= batch.len();
                self.batch(batch, last, &mut next)?;
                self.sweep.totals.remaining = rest + next.len() + self.sweep.left_out;
                let goes_on = watch(&self.sweep.totals) && !self.terms.stop.load(Ordering::Relaxed);
                if !goes_on && rest + next.len() > 0 {
                    self.sweep.left_out += rest + next.len();
                    self.leave_out_from(if rest > 0 { depth } else { depth + 1 });
                    return Ok(());
                }
            }
            layer = next;
        }
        Ok(())
    }

    fn batch(
        &mut self,
        batch: Vec<Node<M::State>>,
        last: bool,
        next: &mut Vec<Node<M::State>>,
    ) -> Result<(), Vec<Read>> {
        let threads = self.settings.limits.threads;
        self.sweep.totals.nodes += batch.len();
        let explored = if self.settings.merge && self.settings.classes && !last {
            let probed = in_parallel(threads, &batch, |node| self.probe(node));
            let read: Vec<_> = probed.iter().filter_map(|(_, read)| *read).collect();
            if !read.is_empty() {
                return Err(read);
            }
            let mut explored = Vec::new();
            for (node, (flash, _)) in batch.into_iter().zip(probed) {
                let key = node_key(&flash, node.state, 3);
                if let Some(other) = self.seen.get(&key) {
                    self.come[node.id as usize].fate = Fate::As(*other);
                    self.sweep.totals.merged += 1;
                } else {
                    self.seen.insert(key, node.id);
                    explored.push(Node { flash, ..node });
                }
            }
            explored
        } else {
            batch
        };
        self.sweep.totals.explored += explored.len();
        let results = in_parallel(threads, &explored, |node| self.explore(node, last));
        let read: Vec<_> = results.iter().filter_map(|ran| ran.read).collect();
        if !read.is_empty() {
            return Err(read);
        }
        for (node, ran) in explored.iter().zip(results) {
            self.record(node, ran, next);
        }
        Ok(())
    }

    fn leave_out_from(&mut self, depth: usize) {
        let least = self.sweep.left_out_from.map_or(depth, |least| least.min(depth));
        self.sweep.left_out_from = Some(least);
    }

    fn record(&mut self, node: &Node<M::State>, ran: Ran<M::State>, next: &mut Vec<Node<M::State>>) {
        if ran.skipped > 0 {
            self.sweep.left_out += ran.skipped;
            self.leave_out_from(self.sweep.totals.depth + 1);
        }
        let totals = &mut self.sweep.totals;
        totals.edges += ran.edges;
        totals.operations += ran.operations;
        totals.merged += u64::from(ran.merged.is_some());
        self.come[node.id as usize].fate = match (ran.end, ran.merged) {
            (End::Rest(what), _) => Fate::Rest(what),
            (End::Violation(violation), _) => Fate::Violation(violation),
            (End::Interrupted, merged) => {
                merged.and_then(|key| self.seen.get(&key)).map_or(Fate::Unknown, |node| Fate::As(*node))
            }
        };
        for key in ran.passed {
            self.seen.entry(key).or_insert(node.id);
        }
        for mut left in ran.left {
            if self.seen.contains_key(&left.key) {
                continue;
            }
            if self.come.len() >= self.settings.limits.nodes {
                // So that it is counted once; no run merges with a node.
                self.seen.insert(left.key, LEFT_OUT);
                self.sweep.left_out += 1;
                self.leave_out_from(self.sweep.totals.depth + 1);
                continue;
            }
            let id = self.come.len() as u32;
            self.seen.insert(left.key, id);
            self.sweep.digest ^= left.key;
            self.interner.intern(&mut left.flash);
            self.come.push(Come { from: node.id, by: Some((left.place, left.label)), fate: Fate::Unknown });
            next.push(Node { flash: left.flash, state: left.state, id });
        }
    }

    /// Finds out what the run of a node erases before it reads it, and forgets it; what was read that had been forgotten.
    fn probe(&self, node: &Node<M::State>) -> (Flash, Option<Read>) {
        let exempt = self.terms.exempt;
        let mut flash = node.flash.clone();
        flash.trace(exempt);
        self.machine.run(&mut flash, node.state, &mut Cutter::probe(&self.seen, node.state));
        let mut class = node.flash.clone();
        for (device, sector) in flash.erased_first() {
            let Some(chip) = class.device_mut(device) else { continue };
            let whole = chip.geometry().sectors().get(sector).map_or(0..0, |sector| sector.offset..sector.end());
            if self.terms.erased_stays(device, sector) && chip.is_blank(whole) {
                continue;
            }
            if !self.terms.exact.dead.contains(&(device, sector)) {
                let fields = exempt.get(usize::from(device)).and_then(|sectors| sectors.get(sector));
                chip.forget(device, sector, fields.cloned().unwrap_or_default(), Forgotten::Dead);
            }
        }
        (class, flash.unknown_read())
    }

    fn explore(&self, node: &Node<M::State>, last: bool) -> Ran<M::State> {
        let mut flash = node.flash.clone();
        let seen = self.settings.merge.then_some(&self.seen);
        let mut cutter =
            if last { Cutter::run(seen, node.state) } else { Cutter::explore(seen, &self.terms, &flash, node.state) };
        let end = self.machine.run(&mut flash, node.state, &mut cutter);
        Ran {
            end,
            read: flash.unknown_read(),
            skipped: cutter.skipped,
            left: cutter.left,
            passed: if self.settings.merge { cutter.passed.into_iter().collect() } else { Vec::new() },
            operations: cutter.operations,
            edges: cutter.edges,
            merged: cutter.merged,
        }
    }

    /// How the run of a node ends that is not cut any more.
    fn fate(&self, mut node: u32) -> &Fate {
        // A node only ever ends as one that was run before it.
        while let Some(Come { fate: Fate::As(other), .. }) = self.come.get(node as usize) {
            node = *other;
        }
        self.come.get(node as usize).map_or(&Fate::Unknown, |come| &come.fate)
    }

    fn finish(mut self) -> Sweep {
        let mut sweep = std::mem::take(&mut self.sweep);
        let mut findings: BTreeMap<(Violation, Option<Label>), Finding> = BTreeMap::new();
        for (node, come) in self.come.iter().enumerate() {
            let node = node as u32;
            let fate = self.fate(node);
            let end = match fate {
                Fate::Rest(what) => (*what).to_owned(),
                Fate::Violation(violation) => violation.what.clone(),
                Fate::Unknown | Fate::As(_) => continue,
            };
            if let (Some((place, label)), 0) = (come.by, come.from) {
                sweep.first.push((place, label, end.clone()));
            }
            *sweep.ends.entry(end).or_default() += 1;
            let Fate::Violation(violation) = fate else { continue };
            if let (Some(_), Fate::Violation(before)) = (come.by, self.fate(come.from))
                && before.invariant == violation.invariant
            {
                // It did not hold before this cut either.
                continue;
            }
            let cause = come.by.map(|(_, label)| label);
            let (path, labels) = self.path(node);
            let new = || Finding {
                violation: violation.clone(),
                cause,
                path: path.clone(),
                labels: labels.clone(),
                nodes: 0,
            };
            let finding = findings.entry((violation.clone(), cause)).or_insert_with(new);
            finding.nodes += 1;
            if path.weight() < finding.path.weight() {
                (finding.path, finding.labels) = (path, labels);
            }
        }
        sweep.findings = findings.into_values().collect();
        sweep.findings.sort_by_key(|finding| finding.path.weight());
        sweep
    }

    fn path(&self, mut node: u32) -> (Path, Vec<Label>) {
        let mut cuts = Vec::new();
        while let Some(Come { from, by: Some(cut), .. }) = self.come.get(node as usize) {
            cuts.push(*cut);
            node = *from;
        }
        let (places, labels) = cuts.into_iter().rev().unzip();
        (Path(places), labels)
    }
}

/// Does something with each of many, side by side; results in their order.
fn in_parallel<T: Sync, R: Send>(threads: usize, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if threads < 2 || all.len() < 2 {
        return all.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = all.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads.min(all.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(one), Some(result)) = (all.get(index), results.get(index)) else { break };
                    *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(work(one));
                }
            });
        }
    });
    results.into_iter().filter_map(|result| result.into_inner().ok().flatten()).collect()
}
