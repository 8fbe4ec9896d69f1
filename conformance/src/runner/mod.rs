//! Running scenarios: one scenario, one world, one initiator, one verdict; many at once.
//!
//! | module | what it holds |
//! |---|---|
//! | [`case`] | a [`Case`] prepared to run, and what came of it |
//! | [`virtual_time`] | the built-in initiator in-process |
//! | [`real_time`] | external tools, and the built-in initiator over UDP or a serial port: the one event loop |
//! | [`live`] | a world on real time behind a UDP socket, a serial port or the virtual BlueZ |
//! | [`person`] | a person with an app: told what to do, watched, asked |
//! | [`recipe`] | what an external tool is made to do, step by step |
//! | [`external`] | processes: started in a group of their own, killed on expiry |
//! | [`site`] | the folder of a run and the mark of its processes |
//! | [`guard`] | the process that cleans up when the harness is killed |
//! | [`processes`] | who belongs to a run, found and killed |
//! | [`bypass`] | why a tool never opened the bus it was given |
//! | [`shard`] | a part of the chosen scenarios |
//! | [`verdict`] | statuses and how they follow from findings |
//! | [`evidence`] | the folder that a failed case leaves |

pub mod bypass;
pub mod case;
pub mod evidence;
pub mod external;
pub mod guard;
pub mod live;
pub mod person;
pub mod processes;
pub mod real_time;
pub mod recipe;
pub mod shard;
pub mod site;
mod suited;
pub mod verdict;
pub mod virtual_time;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use brickproof_flash_model::image::mcuboot::PublicKey;
use brickproof_flash_model::source::Mistake;

use crate::air::Air;
use crate::initiator::personality::Personality;
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::target::{Protocol, Target};
use case::{Case, CaseResult};
use person::Person;
use site::Site;

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
    /// The initiator of brickproof itself, as one client.
    Builtin(Personality),
    /// A tool.
    External(Profile),
    /// A person.
    Person(Person),
}

impl InitiatorChoice {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(personality) => personality.name,
            Self::External(profile) => &profile.name,
            Self::Person(_) => person::NAME,
        }
    }

    /// What it speaks; `None` where it speaks everything.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            // The personalities are clients of SMP's.
            Self::Builtin(personality) => (!personality.is_plain()).then_some(Protocol::Smp),
            Self::External(profile) => profile.protocol,
            Self::Person(_) => Some(Protocol::Smp),
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
    /// Seed of everything that is drawn; run `k` of a repeated case has `seed + k - 1`.
    pub seed: u64,
    /// Which run of the case this is, from 1.
    pub run: u32,
    /// How often each case is run.
    pub runs: u32,
    /// Cases at the same time.
    pub jobs: usize,
    /// Where the files and sockets of the run are; `None` when it needs none.
    pub site: Option<Arc<Site>>,
    /// Where evidence goes.
    pub report: PathBuf,
    /// Whether evidence is kept for cases that passed, too.
    pub keep_all: bool,
    /// Arguments that repeat a case, without the scenario, the seed and the command.
    pub repeat_with: Vec<String>,
    /// The command that was given instead of a profile.
    pub command: Vec<String>,
}

impl Plan {
    /// A target that trusts the keys of the plan, too.
    pub(super) fn trusted_by(&self, target: Target) -> Target {
        self.keys.iter().fold(target, |target, key| target.trusting(key.clone()))
    }

    /// Each scenario once with the built-in initiator, on virtual time and from seed 1; `report` is where
    /// evidence goes.
    #[must_use]
    pub fn builtin(personality: Personality, report: PathBuf) -> Self {
        Self {
            initiator: InitiatorChoice::Builtin(personality),
            air: Air::InProcess,
            target: None,
            images: Vec::new(),
            keys: Vec::new(),
            time_scale: None,
            timeout_s: 60,
            seed: 1,
            run: 1,
            runs: 1,
            jobs: 1,
            site: None,
            report,
            keep_all: false,
            repeat_with: Vec::new(),
            command: Vec::new(),
        }
    }

    /// The plan of run `run` (from 1) of each case.
    fn of_run(&self, run: u32) -> Self {
        Self { seed: self.seed.wrapping_add(u64::from(run.saturating_sub(1))), run, ..self.clone() }
    }
}

/// Prepares and runs all scenarios, each as often as the plan says; `progress` is told of each run that
/// ended. The runs of a scenario follow each other in the results.
///
/// The trace of a repeated case is in its evidence only: thousands of them do not fit in memory.
///
/// # Errors
/// A [`Mistake`] when a case cannot be prepared; nothing has been run then.
pub fn run(
    scenarios: &[Scenario],
    plan: &Plan,
    progress: &(dyn Fn(&CaseResult) + Sync),
) -> Result<Vec<CaseResult>, Mistake> {
    let cases = scenarios.iter().map(|scenario| Case::prepare(scenario, plan)).collect::<Result<Vec<_>, _>>()?;
    let runs: Vec<Plan> = (1..=plan.runs.max(1)).map(|run| plan.of_run(run)).collect();
    let old: Vec<Option<String>> =
        cases.iter().map(|case| evidence::clear(case, plan).err().map(|error| error.to_string())).collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, CaseResult)>> = Mutex::new(Vec::new());
    let all = cases.len().saturating_mul(runs.len());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.clamp(1, all.max(1)) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (number, run) = (index / runs.len(), index % runs.len());
                    let Some(case) = cases.get(number).filter(|_| !stopped()) else { return };
                    let mut result = match &old[number] {
                        None => case.run(&runs[run], index),
                        Some(error) => case.old_evidence_stays(&runs[run], error),
                    };
                    if runs.len() > 1 {
                        result.trace = Vec::new();
                    }
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
