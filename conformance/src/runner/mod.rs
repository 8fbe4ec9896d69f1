//! Running scenarios: one scenario, one world, one initiator, one verdict; many at once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`case`] | a [`Case`] prepared to run, and what came of it |
//! | [`virtual_time`] | the built-in initiator in-process |
//! | [`real_time`] | external tools, and the built-in initiator over UDP or a serial port: the one event loop |
//! | [`live`] | a world on real time behind a UDP socket or a serial port |
//! | [`external`] | processes: started in a group of their own, killed on expiry |
//! | [`verdict`] | statuses and how they follow from findings |
//! | [`evidence`] | the folder that a failed case leaves |

pub mod case;
pub mod evidence;
pub mod external;
pub mod live;
pub mod real_time;
pub mod verdict;
pub mod virtual_time;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use brickproof_flash_model::image::mcuboot::PublicKey;
use brickproof_flash_model::source::Mistake;

use crate::air::Air;
use crate::profile::Profile;
use crate::scenario::Scenario;
use case::{Case, CaseResult};

/// Set when a person has stopped the run.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Whether a person has stopped the run.
#[must_use]
pub fn stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

/// Who is tested.
#[derive(Debug, Clone)]
pub enum InitiatorChoice {
    /// The initiator of brickproof itself.
    Builtin,
    /// A tool.
    External(Profile),
}

impl InitiatorChoice {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin => "builtin",
            Self::External(profile) => &profile.name,
        }
    }
}

/// What is the same for all cases of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who is tested.
    pub initiator: InitiatorChoice,
    /// On which air.
    pub air: Air,
    /// Target instead of the scenarios' own.
    pub target: Option<String>,
    /// Images instead of the scenarios' own, by role.
    pub images: Vec<(String, PathBuf)>,
    /// Keys that every target trusts besides its own.
    pub keys: Vec<PublicKey>,
    /// Factor on flash durations; `None` is 1 on virtual time and 0 on real time.
    pub time_scale: Option<f64>,
    /// Deadline of a case in seconds.
    pub timeout_s: u64,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Cases at the same time.
    pub jobs: usize,
    /// Where evidence goes.
    pub report: PathBuf,
    /// Whether evidence is kept for cases that passed, too.
    pub keep_all: bool,
    /// Arguments that repeat a case, without the scenario.
    pub repeat_with: Vec<String>,
}

/// Prepares and runs all scenarios; `progress` is told of each case that ended.
///
/// # Errors
/// A [`Mistake`] when a case cannot be prepared; nothing has been run then.
pub fn run(
    scenarios: &[Scenario],
    plan: &Plan,
    progress: &(dyn Fn(&CaseResult) + Sync),
) -> Result<Vec<CaseResult>, Mistake> {
    let cases = scenarios.iter().map(|scenario| Case::prepare(scenario, plan)).collect::<Result<Vec<_>, _>>()?;
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, CaseResult)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.clamp(1, cases.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index).filter(|_| !stopped()) else { return };
                    let result = case.run(plan, index);
                    progress(&result);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, result));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
