//! What is in flash, what the next boots make of it, what is wrong with it and what would help, in words: the form of it for
//! bootloaders without slots and trailers.
//!
//! Nothing here decides anything: the next boots are the bootloader itself on a copy of the flash, and each remedy is tried
//! on a copy before it is named.

use serde::Serialize;

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
