//! Initiators that are broken on purpose, and some that are merely unusual.
//!
//! A check proves nothing until it has caught something. Each [`Mutant`] breaks one requirement at one of
//! three seams (policy, wire, report) and names what else falls with it; the test compares exactly. The
//! [`legal_oddities`] must pass everything: they are the control against false verdicts.

mod ble;
pub mod nordic;
pub mod nordic_legacy;
mod oddity;
mod protocol;
mod reset;
pub mod silabs;
mod state;
mod upload;

use crate::initiator::policy::{Policy, Reporter, Truthful, WellBehaved};
use crate::initiator::wire::{Tamper, Untouched};

/// A changed initiator.
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// The requirement it breaks.
    pub breaks: &'static str,
    /// Requirements that fall with it.
    pub also: &'static [&'static str],
    /// What it decides.
    pub policy: &'static dyn Policy,
    /// What it does to packets.
    pub tamper: &'static dyn Tamper,
    /// What it says.
    pub reporter: &'static dyn Reporter,
}

/// A mutant that decides wrongly.
const fn policy(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    policy: &'static dyn Policy,
) -> Mutant {
    Mutant { name, breaks, also, policy, tamper: &Untouched, reporter: &Truthful }
}

/// A mutant whose packets are changed on the way.
const fn wire(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    tamper: &'static dyn Tamper,
) -> Mutant {
    Mutant { name, breaks, also, policy: &WellBehaved, tamper, reporter: &Truthful }
}

/// A mutant that lies about how it went.
const fn report(
    name: &'static str,
    breaks: &'static str,
    also: &'static [&'static str],
    reporter: &'static dyn Reporter,
) -> Mutant {
    Mutant { name, breaks, also, policy: &WellBehaved, tamper: &Untouched, reporter }
}

/// All mutants: at least one for each requirement.
#[must_use]
pub fn all() -> Vec<Mutant> {
    [protocol::all(), ble::all(), upload::all(), state::all(), reset::all()].into_iter().flatten().collect()
}

/// Unusual initiators that do nothing wrong.
#[must_use]
pub fn legal_oddities() -> Vec<(&'static str, &'static dyn Policy)> {
    let mut all = oddity::all();
    all.extend(ble::oddities());
    all
}
