//! What a sweep has found, for programs; people read the same as [`text`](super::text).

use brickproof_flash_model::sweep::{Depth, Finding, Sweep, Tears};
use serde::Serialize;

use super::Knows;
use super::options::id;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) schema: u32,
    pub(super) target: String,
    /// `mcuboot`, `nordic-secure`, `nordic-legacy`, `adafruit`, `gecko-apploader` or `gecko-storage`.
    pub(super) bootloader: &'static str,
    pub(super) mode: &'static str,
    /// Both for people.
    #[serde(skip)]
    pub(super) words: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flaw: Option<&'static str>,
    /// With what it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flaw_needs: Option<&'static str>,
    pub(super) tears: &'static str,
    pub(super) images: Vec<Image>,
    pub(super) stories: Vec<StoryAnswer>,
    /// Stories that were asked for, and not begun before Ctrl-C.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) not_begun: Vec<&'static str>,
}

/// What is swept.
pub(super) struct Heading {
    pub(super) bootloader: &'static str,
    pub(super) mode: &'static str,
    pub(super) words: String,
    pub(super) images: Vec<Image>,
}

/// An image of the story.
#[derive(Debug, Serialize)]
pub(super) struct Image {
    /// `installed` or `update`.
    pub(super) role: &'static str,
    /// What it is, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) holds: Option<&'static str>,
    pub(super) version: String,
    /// Bytes.
    pub(super) size: usize,
    /// Sectors that it fills.
    pub(super) sectors: u32,
}

/// One story.
#[derive(Debug, Serialize)]
pub(super) struct StoryAnswer {
    pub(super) story: &'static str,
    /// Most power losses that were asked for; `null` is any number.
    pub(super) depth: Option<usize>,
    /// Nothing that was asked for was left out.
    pub(super) complete: bool,
    /// What was covered, wholly.
    pub(super) covered: Covered,
    /// States that were found and not run.
    pub(super) left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) left_out_because: Option<String>,
    /// States that a power loss can leave.
    pub(super) states: usize,
    /// Of these, one of each class was explored.
    pub(super) explored: usize,
    /// Power losses that were tried.
    pub(super) edges: u64,
    /// Runs that ended where another had been.
    pub(super) merged: u64,
    /// Flash operations that were performed.
    pub(super) operations: u64,
    /// How often it began again, because something was read that had been forgotten.
    pub(super) restarts: usize,
    /// Sectors that are read although an operation on them was torn, so that every unit of that was tried.
    pub(super) read_torn: usize,
    /// States by the number of power losses that they need, from 0.
    pub(super) layers: Vec<usize>,
    /// A number for the set of all states.
    pub(super) digest: String,
    /// How the states end, without another power loss.
    pub(super) ends: std::collections::BTreeMap<String, u64>,
    /// Properties of the bootloader that showed.
    pub(super) known: Vec<Property>,
    /// Of these, how much was found out by a second sweep that wants what the design does not promise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<Strict>,
    /// What nobody knows of.
    pub(super) violations: Vec<Violation>,
}

/// The sweep that wants what the design does not promise.
#[derive(Debug, Serialize)]
pub(super) struct Strict {
    pub(super) covered: Covered,
    pub(super) states: usize,
    pub(super) edges: u64,
}

/// How much was covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Covered {
    /// Not even the story itself.
    Nothing,
    /// Everything with up to so many power losses.
    UpTo(usize),
    /// Everything.
    Everything,
}

/// A known property.
#[derive(Debug, Serialize)]
pub(super) struct Property {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) evidence: &'static str,
    pub(super) remedy: &'static str,
    /// It follows from the design, and breaks nothing that is promised.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) by_design: bool,
    /// A shortest way to it for each kind of power loss.
    pub(super) ways: Vec<Way>,
}

/// A violation that is not known.
#[derive(Debug, Serialize)]
pub(super) struct Violation {
    /// The invariant and the way.
    pub(super) id: String,
    pub(super) invariant: &'static str,
    #[serde(flatten)]
    pub(super) way: Way,
}

/// A way to a finding.
#[derive(Debug, Serialize)]
pub(super) struct Way {
    pub(super) what: String,
    /// Power losses.
    pub(super) cuts: usize,
    /// What `--cuts id:` takes.
    pub(super) path: String,
    /// What each interrupts.
    pub(super) interrupted: Vec<String>,
    /// States that end so by such a power loss.
    pub(super) states: u64,
    /// The line that tells it step by step.
    pub(super) replay: String,
}

/// What the answer to a story is made of.
pub(super) struct Made<'a> {
    pub(super) story: &'static str,
    pub(super) depth: Depth,
    pub(super) tears: Tears,
    pub(super) known: Knows<'a>,
    pub(super) sweep: &'a Sweep,
    /// Which limit was reached.
    pub(super) stopped: Option<String>,
    /// The line that replays a path.
    pub(super) replay: &'a dyn Fn(&str) -> String,
}

impl StoryAnswer {
    pub(super) fn new(made: &Made<'_>) -> Self {
        let Sweep { totals, findings, layers, ends, left_out, left_out_from, digest, exact, .. } = made.sweep;
        let depth = match made.depth {
            Depth::AtMost(depth) => Some(depth),
            Depth::Exhaustive => None,
        };
        let mut answer = Self {
            story: made.story,
            depth,
            complete: *left_out == 0,
            covered: match (left_out_from, depth) {
                (Some(0), _) => Covered::Nothing,
                (Some(from), _) => Covered::UpTo(from - 1),
                (None, Some(depth)) => Covered::UpTo(depth),
                (None, None) => Covered::Everything,
            },
            left_out: *left_out,
            left_out_because: made.stopped.clone().filter(|_| *left_out > 0),
            states: totals.nodes,
            explored: totals.explored,
            edges: totals.edges,
            merged: totals.merged,
            operations: totals.operations,
            restarts: totals.restarts,
            read_torn: exact.len(),
            layers: layers.clone(),
            digest: format!("{digest:032x}"),
            ends: ends.clone(),
            known: Vec::new(),
            strict: None,
            violations: Vec::new(),
        };
        for finding in findings {
            let way = way(finding, made.replay);
            let Some(known) = (made.known)(finding, made.tears) else {
                let invariant = finding.violation.invariant;
                answer.violations.push(Violation { id: format!("{invariant}:{}", way.path), invariant, way });
                continue;
            };
            match answer.known.iter_mut().find(|property| property.id == known.id) {
                Some(property) => property.ways.push(way),
                None => answer.known.push(Property {
                    id: known.id,
                    title: known.title,
                    evidence: known.evidence,
                    remedy: known.remedy,
                    by_design: false,
                    ways: vec![way],
                }),
            }
        }
        answer
    }

    /// Adds what a sweep has found that wants more of the same story; the properties in `broken` are none of its design.
    pub(super) fn add_strict(&mut self, strict: Self, broken: &[&str]) {
        for mut property in strict.known {
            if !self.known.iter().any(|shown| shown.id == property.id) {
                property.by_design = !broken.contains(&property.id);
                self.known.push(property);
            }
        }
        self.violations.extend(strict.violations);
        self.complete &= strict.complete;
        self.left_out += strict.left_out;
        self.left_out_because = self.left_out_because.take().or(strict.left_out_because);
        self.strict = Some(Strict { covered: strict.covered, states: strict.states, edges: strict.edges });
        self.covered = self.covered.min(strict.covered);
    }
}

fn way(finding: &Finding, replay: &dyn Fn(&str) -> String) -> Way {
    let path = id(&finding.path);
    Way {
        what: finding.violation.what.clone(),
        cuts: finding.path.0.len(),
        replay: replay(&path),
        path,
        interrupted: finding.labels.iter().map(ToString::to_string).collect(),
        states: finding.nodes,
    }
}
