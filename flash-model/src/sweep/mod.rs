//! Every power cut there is: exploration of all sequences of power losses, to a fixed point.
//!
//! A [`Machine`] runs from power-on until it is at rest. The exploration runs it with a [`Cutter`] as hook, which makes
//! a node of every state that a power loss can leave: before each operation, inside it in every way of the tear model,
//! and behind the last. Each node is run in its turn, until there are no new ones. So the answer is about *any* number of
//! power losses, wherever they fall.
//!
//! | word | what it is |
//! |---|---|
//! | node | what is left when power is gone: flash contents, and what the invariants must remember ([`Machine::State`]) |
//! | edge | one run cut at one place |
//! | merged | a run that came to a loop head in a state that a run before it was in, and ended there |
//! | class | nodes that differ only in what their runs erase before they read it; one of them is explored |
//! | layer | the nodes that need as many cuts and not fewer: the first counter-example is a shortest one |
//!
//! # Why that is enough
//!
//! * *Merging.* At a loop head all that code knows is in its status and in flash, so two runs that are there in the same
//!   state go on alike. Without merging each of `n` nodes would be run to its end, `n` operations each.
//! * *Classes.* Before a node is explored, it is run once, up to its first merge and no further than the bootloader goes
//!   (or, with [`Cutter::started`], than the first reset), and it is noted which sectors that run erases before anything
//!   reads them. They are forgotten. Should any run read there all the same, the exploration begins again without
//!   forgetting that sector: then it was no such sector.
//! * *What torn operations leave in bulk* is forgotten in the same way. A copy of it makes other bytes unknown, a hash
//!   over it is not that of the image (that a tear leaves the hash of the image by chance is not looked for); where
//!   anything else reads it, the exploration begins again, and tries every unit.
//! * *Findings* are ways that [`replay`] runs again from the start, one cut after the other and with nothing forgotten: who
//!   tells of them does that before.
//!
//! `tests/sweep.rs` shows on small layouts, for every mode, that all three leave out nothing.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tear`] | what an interrupted operation leaves: named, finite |
//! | [`cutter`] | the hook |
//! | [`mod@explore`] | the search, its order and its limits |
//! | [`place`] | places of cuts as text |
//! | [`label`] | cuts in words |
//! | [`Property`] | what is known of a bootloader and shows in its sweeps |
//! | [`mcuboot`] | the machine: a bootloader, an application and a story |
//! | [`nordic`] | another one: a Secure DFU bootloader and an uploader |
//! | [`nordic_legacy`] | the same of Legacy DFU |
//! | [`gecko`] | the Gecko bootloader, in place and from a storage slot |

pub mod cutter;
pub mod explore;
mod forget;
pub mod gecko;
pub mod label;
pub mod mcuboot;
pub mod nordic;
pub mod nordic_legacy;
pub mod place;
mod property;
mod replay;
pub mod tear;

use std::fmt::Display;

use crate::boot::report::Boot;
use crate::flash::{Area, Flash, Interruption};

pub use cutter::Cutter;
pub use explore::{Depth, Finding, Limits, Progress, Settings, Sweep, explore, explore_until};
pub use label::Label;
pub use place::{CutPlace, Path};
pub use property::Property;
pub use replay::{Replay, Run, Step, replay};
pub use tear::{FieldKind, FieldSpan, Tears};

/// Something that runs from power-on and can lose its power.
pub trait Machine: Sync {
    /// What survives a power loss beside the flash, and what the invariants remember.
    type State: State;

    /// Where the story begins, and what is where.
    fn start(&self) -> &Start<Self::State>;

    /// Whether the sector at this offset of a device stays as it is when it is erased and an erase of it is cut, and is not
    /// forgotten because one is to come.
    ///
    /// For regions that are erased as a whole and then used in part: what was left in the rest would be there for ever, and
    /// multiply all that comes after. Off, more is tried than can be; on, a region that is erased sector by sector on the way
    /// multiplies by two for each.
    fn erased_stays_erased(&self, _device: u8, _offset: u32) -> bool {
        false
    }

    /// One run from power-on, over as many resets as the story has, until nothing changes any more.
    ///
    /// Tells `cutter` of every change of the state ([`Cutter::enter`]), and asks it at every reset ([`Cutter::reset`]). What
    /// is there when nothing changes any more.
    ///
    /// # Errors
    /// How it ended before.
    fn story(
        &self,
        flash: &mut Flash,
        state: Self::State,
        cutter: &mut Cutter<'_, Self::State>,
    ) -> Result<&'static str, End>;

    /// The same, as it ended.
    fn run(&self, flash: &mut Flash, state: Self::State, cutter: &mut Cutter<'_, Self::State>) -> End {
        self.story(flash, state, cutter).map_or_else(|end| end, End::Rest)
    }
}

/// What a machine begins with.
#[derive(Debug, Clone)]
pub struct Start<S> {
    /// The flash before the first power-on.
    pub flash: Flash,
    /// What is remembered then.
    pub state: S,
    /// Where in flash code reads single fields; what is not in here is bulk. Sorted by device and start.
    pub fields: Vec<FieldSpan>,
    /// What the parts of the flash are called.
    pub regions: Vec<Region>,
}

/// See [`Machine::State`].
pub trait State: Copy + Eq + Send + Sync + std::fmt::Debug {
    /// A number that is another one for another state.
    fn code(&self) -> u64;

    /// What the story is at: "during the swap".
    fn phase(&self) -> &'static str;
}

/// A part of the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it is.
    pub area: Area,
    /// What it is called in a sentence: "the primary slot".
    pub name: &'static str,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing would change any more; what is there then.
    Rest(&'static str),
    /// Power was lost, or the run was merged.
    Interrupted,
    /// What must hold does not.
    Violation(Violation),
}

impl From<Interruption> for End {
    fn from(_: Interruption) -> Self {
        Self::Interrupted
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// Something that must not happen, and has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What came of it, the same for all that are the same in kind.
    pub what: String,
}

impl Violation {
    /// This came of it.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// A boot in a line.
#[must_use]
pub fn told(boot: &Boot<impl Display, impl Display>) -> String {
    let decisions = boot.decisions.iter().map(|decision| format!("{decision}; "));
    decisions.chain([boot.outcome.to_string()]).collect()
}
