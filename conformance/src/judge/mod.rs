//! One pure check per requirement, and the expectations of a scenario.
//!
//! A check is a function of the trace and the images alone, so it judges a run of last year or a capture
//! from the field just as well. It says one of four things: the requirement was met, and by what; it was
//! violated, and where; it was not exercised; it cannot be observed here.
//!
//! Requirements about the order of steps apply to what the tool chose itself: steps of a recipe are ours.
//!
//! | module | requirements |
//! |---|---|
//! | `header` | SMP-01, SMP-02, SMP-03, SMP-04 |
//! | `sequence` | SMP-05, SMP-06, SMP-07 |
//! | `protocol` | SMP-08 |
//! | `answers` | SMP-09, SMP-10, SMP-12 |
//! | `retries` | SMP-11, SMP-13, SMP-14 |
//! | `transport` | UDP-01, SER-01 |
//! | `ble` | BLE-01 to BLE-08, BLE-10, BLE-11, RST-04 |
//! | `split` | BLE-09 |
//! | `upload` | UPL-01 to UPL-13, RST-05 |
//! | `state` | STA-01 to STA-13 |
//! | `reset` | RST-01, RST-02, RST-03 |
//! | `nordic` | NS-01 to NS-43, NB-01 to NB-07 |
//! | `nordic_legacy` | NL-01 to NL-09 |
//! | `silabs` | SIL-01 to SIL-28 |
//! | `parts` | none: an update of several images as one trace for each |
//! | `expect` | expectations of the scenario, and what must hold after every scenario |
//! | `silence` | none: why nothing was sent |

mod answers;
mod ble;
mod expect;
mod header;
pub mod nordic;
mod nordic_legacy;
mod packet;
mod parts;
mod protocol;
pub mod requirements;
mod reset;
mod retries;
mod sequence;
mod silabs;
mod silence;
mod split;
mod state;
mod transport;
mod upload;
mod view;
mod written;

#[cfg(test)]
mod tests;

use brickproof_flash_model::image::gbl::TagKind;
use brickproof_flash_model::image::nordic::Package;
use brickproof_simulator::trace::{Kind, Record};

use crate::runner::verdict::{Finding, Weight};
use crate::scenario::{ImageSet, Scenario};
use view::View;

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// It held; records that show it.
    Met {
        /// Numbers of records.
        evidence: Vec<u64>,
    },
    /// It did not hold.
    Violated {
        /// Where and how.
        findings: Vec<Violation>,
    },
    /// The situation it is about did not arise.
    NotExercised,
    /// What it needs to see cannot be seen here.
    NotObservable {
        /// What is missing.
        missing: &'static str,
    },
}

/// One violation of a requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What happened.
    pub happened: String,
    /// The record that shows it.
    pub record: u64,
    /// When, in microseconds since the start of the run.
    pub at_us: u64,
}

/// Collects what a check sees.
#[derive(Debug, Default)]
struct Seen {
    evidence: Vec<u64>,
    violations: Vec<Violation>,
}

impl Seen {
    fn met(&mut self, record: u64) {
        self.evidence.push(record);
    }

    fn violated(&mut self, at: &view::Place, happened: impl Into<String>) {
        self.violations.push(Violation { happened: happened.into(), record: at.n, at_us: at.at_us });
    }

    fn outcome(self) -> CheckOutcome {
        if !self.violations.is_empty() {
            CheckOutcome::Violated { findings: self.violations }
        } else if self.evidence.is_empty() {
            CheckOutcome::NotExercised
        } else {
            CheckOutcome::Met { evidence: self.evidence }
        }
    }
}

/// Everything that was found in a run.
#[derive(Debug)]
pub struct Judgement {
    /// What did not hold.
    pub findings: Vec<Finding>,
    /// Each requirement and what came of its check.
    pub checks: Vec<(&'static str, CheckOutcome)>,
}

type Check = fn(&View<'_>) -> CheckOutcome;

/// Every requirement with its check.
fn checks() -> impl Iterator<Item = (&'static str, Check)> {
    let protocol =
        [header::CHECKS, sequence::CHECKS, protocol::CHECKS, answers::CHECKS, retries::CHECKS, transport::CHECKS];
    let rest = [ble::CHECKS, split::CHECKS, state::CHECKS, reset::CHECKS];
    protocol.into_iter().flatten().chain(upload::checks()).chain(rest.into_iter().flatten()).copied()
}

/// Which requirements a run is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Those on initiators that speak SMP.
    Smp,
    /// Those on initiators that speak Nordic's Secure DFU.
    SecureDfu,
    /// Those on initiators that speak Nordic's Legacy DFU.
    LegacyDfu,
    /// Those on initiators that speak Silicon Labs' OTA.
    SilabsOta,
}

/// What [`DfuMessage::protocol`](brickproof_simulator::nordic::DfuMessage::protocol) has of Legacy DFU.
const LEGACY: &str = "legacy-dfu";
/// And of Silicon Labs' OTA.
const SILABS: &str = "silabs-ota";

impl Family {
    /// That of a run: by what the initiator was given, and if that is no package, by what was said.
    fn of(trace: &[Record], images: &ImageSet) -> Self {
        if let Ok(package) = Package::read("the update", &images.update.bytes) {
            return if package.is_legacy() { Self::LegacyDfu } else { Self::SecureDfu };
        }
        if images.update.bytes.starts_with(&TagKind::Header.id().to_le_bytes()) {
            return Self::SilabsOta;
        }
        let spoken = trace.iter().find_map(|record| match &record.kind {
            Kind::Dfu { message, .. } if message.protocol == LEGACY => Some(Self::LegacyDfu),
            Kind::Dfu { message, .. } if message.protocol == SILABS => Some(Self::SilabsOta),
            Kind::Dfu { .. } => Some(Self::SecureDfu),
            Kind::Message { .. } | Kind::Datagram { .. } => Some(Self::Smp),
            _ => None,
        });
        spoken.unwrap_or(Self::Smp)
    }
}

/// Ids of the requirements of a family that have a check.
pub fn checked_of(family: Family) -> Box<dyn Iterator<Item = &'static str>> {
    match family {
        Family::Smp => Box::new(checks().map(|(id, _)| id)),
        Family::SecureDfu => Box::new(nordic::checked()),
        Family::LegacyDfu => Box::new(nordic_legacy::checked()),
        Family::SilabsOta => Box::new(silabs::checked()),
    }
}

/// Ids of the requirements that have a check.
pub fn checked() -> impl Iterator<Item = &'static str> {
    [Family::Smp, Family::SecureDfu, Family::LegacyDfu, Family::SilabsOta].into_iter().flat_map(checked_of)
}

/// Ids of everything that can be found: requirements and expectations.
pub fn findings() -> impl Iterator<Item = &'static str> {
    checked().chain(expect::IDS)
}

/// Judges a run.
#[must_use]
pub fn judge(scenario: &Scenario, images: &ImageSet, trace: &[Record], hung: bool) -> Judgement {
    let view = View::new(trace, images);
    let mut findings = expect::findings(scenario, &view, hung);
    let outcomes = match Family::of(trace, images) {
        Family::Smp => outcomes(trace, images, &view),
        Family::SecureDfu => nordic::outcomes(trace, images),
        Family::LegacyDfu => nordic_legacy::outcomes(trace),
        Family::SilabsOta => silabs::outcomes(trace, images),
    };
    for (id, outcome) in &outcomes {
        if let CheckOutcome::Violated { findings: violations } = &outcome
            && let Some(first) = violations.first()
        {
            let requirement = requirements::get(id);
            let more = violations.len() - 1;
            findings.push(Finding {
                id: (*id).to_owned(),
                weight: requirement.map_or(Weight::Must, |requirement| requirement.level),
                expected: requirement.map_or_else(String::new, |requirement| requirement.text.clone()),
                happened: if more == 0 {
                    first.happened.clone()
                } else {
                    format!("{} (and {more} more)", first.happened)
                },
                at_us: Some(first.at_us),
                record: Some(first.record),
            });
        }
    }
    Judgement { findings, checks: outcomes }
}

/// What comes of every check of SMP.
fn outcomes(trace: &[Record], images: &ImageSet, view: &View<'_>) -> Vec<(&'static str, CheckOutcome)> {
    let parts = parts::split(trace, images);
    let parts: Vec<_> = parts.iter().map(|part| View::new(&part.trace, &part.images)).collect();
    let outcome = |(id, check): (&'static str, Check)| {
        let outcome = if !view.is_decoded() {
            CheckOutcome::NotObservable { missing: "decoded messages" }
        } else if !parts.is_empty() && parts::one_by_one(id) {
            parts::together(parts.iter().map(check))
        } else {
            check(view)
        };
        (id, outcome)
    };
    checks().map(outcome).collect()
}
