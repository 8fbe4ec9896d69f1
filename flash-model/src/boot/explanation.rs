//! What is in flash, what the next boots make of it, what is wrong with it and what would help, in words: the form of it for
//! bootloaders without slots and trailers.
//!
//! Nothing here decides anything: the next boots are the bootloader itself on a copy of the flash, and each remedy is tried
//! on a copy before it is named.

use std::fmt::Display;

use serde::Serialize;

use super::report::Boot;
use crate::flash::{Controller, Flash, Interruption, Uncut};

/// How a boot ends.
pub(super) trait Ending: Display {
    /// As in [`NextBoot::outcome`].
    fn name(&self) -> &'static str;

    /// Whether the device resets, and boots again.
    fn resets(&self) -> bool;
}

/// A flash and what a bootloader of Nordic's or of Silicon Labs' makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The SDK of the bootloader, or whose or which it is.
    pub profile: &'static str,
    /// From the lowest address.
    pub parts: Vec<PartText>,
    /// The next boot, and while it ends in a reset the ones behind it.
    pub next_boots: Vec<NextBoot>,
    /// What does not fit together.
    pub wrong: Vec<Oddity>,
    /// What would help.
    pub remedies: Vec<Remedy>,
}

/// A part of the flash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartText {
    /// What it is called.
    pub part: &'static str,
    /// Where it is.
    pub range: String,
    /// What is in it.
    pub contents: String,
}

impl PartText {
    pub(super) fn new(part: &'static str, from: u32, to: u32, contents: String) -> Self {
        Self { part, range: format!("{from:#x}..{to:#x}"), contents }
    }
}

/// What a boot does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextBoot {
    /// `application`, `dfu` (an AppLoader, too), `reset`, `halted`, `fault` or `brick`.
    pub outcome: &'static str,
    /// What it does and why, in order.
    pub steps: Vec<String>,
    /// How it ends.
    pub end: String,
    /// Flash operations.
    pub operations: u64,
}

impl NextBoot {
    pub(super) fn of(boot: &Boot<impl Ending, impl Display>) -> Self {
        Self {
            outcome: boot.outcome.name(),
            steps: boot.decisions.iter().map(ToString::to_string).collect(),
            end: boot.outcome.to_string(),
            operations: boot.operations,
        }
    }
}

/// Something that does not fit together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// Its name.
    pub id: &'static str,
    /// What it is.
    pub what: String,
}

/// Something that would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to do.
    pub what: String,
    /// How the next boot ends then; `None` where that cannot be tried.
    pub then: Option<String>,
}

/// The next boot and, while one ends in a reset, the ones behind it: at most `most`, on a copy of the flash.
pub(super) fn next_boots<O: Ending, D>(
    flash: &Flash,
    most: usize,
    mut boot: impl FnMut(&mut Controller<'_>) -> Result<Boot<O, D>, Interruption>,
) -> Vec<Boot<O, D>> {
    let mut copy = flash.clone();
    let mut boots = Vec::new();
    while boots.len() < most {
        let Ok(boot) = boot(&mut Controller::new(&mut copy, &mut Uncut)) else { break };
        let resets = boot.outcome.resets();
        boots.push(boot);
        if !resets {
            break;
        }
    }
    boots
}

/// How the last of them ends.
pub(super) fn end_of<O: Display, D>(boots: &[Boot<O, D>]) -> Option<String> {
    boots.last().map(|boot| boot.outcome.to_string())
}
