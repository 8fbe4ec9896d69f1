//! The event loop on real time: one task owns the world; socket or port, processes and clock feed it.
//!
//! The tool is external, or the built-in initiator behind a socket of its own. What it does is driven by
//! a script (`drive`) that runs beside the loop and tells it what happens by messages, so that the world
//! is answered for at every moment.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use brickproof_simulator::air::{self, Place, SerialAir, UdpAir};
use brickproof_simulator::trace::{InitiatorEvent, Kind, Record, StepBy, hex};
use brickproof_simulator::world::World;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::case::{Case, Ended, SETTLE_STARTS};
use super::external::{Running, UNSUPPORTED, fill};
use super::live::Live;
use super::{InitiatorChoice, Plan};
use crate::air::{Air, DECIDES};
use crate::initiator::serial::SerialWire;
use crate::initiator::udp::UdpWire;
use crate::profile::Profile;
use crate::scenario::Task;

/// Port of SMP over UDP (zephyr: `CONFIG_MCUMGR_TRANSPORT_UDP_PORT`); some clients fix it.
const SMP_PORT: u16 = 1337;
/// Lateness of the loop beyond which its own slowness may have failed the tool.
const LATE_MAX: Duration = Duration::from_secs(2);
/// Addresses that are tried for a case.
const ADDRESSES: u32 = 4096;
/// Longest time that a target is given to settle after the initiator is done, in microseconds.
const SETTLE_US: u64 = 120_000_000;
/// Longest time from a reset command to the reset.
const RESET_MAX: Duration = Duration::from_secs(15);
/// How long the last lines of a tool are waited for.
const LAST_LINES: Duration = Duration::from_millis(200);
/// Between two runs of a step that the recipe repeats, in milliseconds.
const REPEAT_PAUSE_MS: u64 = 1500;

pub(super) fn run(case: &Case, plan: &Plan, index: usize, world: &mut World, trace: &mut Vec<Record>) -> Ended {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Ended::Error(format!("no event loop: {error}")),
    };
    let local = tokio::task::LocalSet::new();
    let result = local.block_on(&runtime, run_case(case, plan, index, world, trace));
    result.unwrap_or_else(Ended::Error)
}

/// What a script sees of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    /// The target would answer, and no reset is under way.
    serving: bool,
    /// Starts and resets so far.
    starts: u64,
    /// It will never start again.
    dead: bool,
    /// Packets and lines lost so far.
    lost: u64,
}

impl Seen {
    fn of(world: &World) -> Self {
        Self {
            serving: world.serving() && !world.reset_asked(),
            starts: world.starts(),
            // Without power, and with nothing to come that brings it back, it is as good as dead.
            dead: world.dead().is_some() || (!world.powered() && world.next_wake().is_none()),
            lost: world.lost(),
        }
    }
}

async fn run_case(
    case: &Case,
    plan: &Plan,
    index: usize,
    world: &mut World,
    trace: &mut Vec<Record>,
) -> Result<Ended, String> {
    let files = tempfile::Builder::new().prefix("brickproof-").tempdir();
    let files = files.map_err(|error| format!("no folder for the image: {error}"))?;
    let image = files.path().join("update.bin");
    std::fs::write(&image, &case.images.update.bytes).map_err(|error| format!("{}: {error}", image.display()))?;

    let air = open(plan.air, index, world.board().usb, files.path())?;
    let mut live = Live::new(world, air);
    let place = live.place().map_err(|error| error.to_string())?;
    let (notes, mut noted) = mpsc::unbounded_channel();
    let (seen_sender, seen) = watch::channel(Seen::default());
    let mut script = Some(Box::pin(drive(case, plan, &place, &image, notes, seen, live.start())));
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(plan.timeout_s);
    let mut ended = None;
    let mut settling = Settling::default();

    loop {
        live.catch_up().await;
        trace.append(&mut live.records());
        let now = Seen::of(live.world);
        seen_sender.send_if_modified(|seen| std::mem::replace(seen, now) != now);
        if ended.is_some() && settling.is_over(&live) {
            if settling.last {
                break;
            }
            case.finally(live.world);
            settling = Settling { last: true, ..Settling::default() };
            continue;
        }
        tokio::select! {
            biased;
            Some(event) = noted.recv() => {
                live.world.record(Kind::Initiator(event));
            }
            result = finish(&mut script), if script.is_some() => {
                script = None;
                ended = Some(result);
            }
            () = tokio::time::sleep_until(deadline), if script.is_some() => {
                // Kills what it has started.
                script = None;
                ended = Some(Ended::Hung);
            }
            _ = tokio::signal::ctrl_c() => return Ok(interrupted()),
            _ = terminate.recv() => return Ok(interrupted()),
            () = live.next() => {}
        }
    }
    let last_lines = tokio::time::Instant::now() + LAST_LINES;
    while let Ok(Some(event)) = tokio::time::timeout_at(last_lines, noted.recv()).await {
        live.world.record(Kind::Initiator(event));
    }
    live.world.record_state("end");
    trace.append(&mut live.records());
    if live.latest() > LATE_MAX {
        return Ok(Ended::Error(format!("this machine was too busy: the target was {:?} late", live.latest())));
    }
    Ok(ended.unwrap_or(Ended::Done))
}

/// The script's end; never, once it is gone.
async fn finish<F: Future<Output = Ended>>(script: &mut Option<std::pin::Pin<Box<F>>>) -> Ended {
    match script {
        Some(script) => script.as_mut().await,
        None => std::future::pending().await,
    }
}

/// The time that a target is given to do what it does by itself.
#[derive(Default)]
struct Settling {
    /// When it is over at the latest, and after how many starts.
    limits: Option<(u64, u64)>,
    /// Nothing more is done to the target afterwards.
    last: bool,
}

impl Settling {
    fn is_over(&mut self, live: &Live<'_>) -> bool {
        let (end, starts) =
            *self.limits.get_or_insert((live.elapsed_us() + SETTLE_US, live.world.starts() + SETTLE_STARTS));
        live.world.next_wake().is_none() || live.elapsed_us() > end || live.world.starts() > starts
    }
}

fn interrupted() -> Ended {
    super::STOPPED.store(true, std::sync::atomic::Ordering::Relaxed);
    Ended::Error("interrupted".into())
}

/// The target's end of an air; `folder` is for the link to a USB port.
fn open(air: Air, index: usize, usb: bool, folder: &Path) -> Result<air::Air, String> {
    let no_port = |error| format!("no serial port can be made: {error}");
    match air {
        Air::Serial if usb => SerialAir::open_usb(folder).map(air::Air::Serial).map_err(no_port),
        Air::Serial => SerialAir::open().map(air::Air::Serial).map_err(no_port),
        Air::Udp | Air::InProcess | Air::InProcessBle => bind(index).map(air::Air::Udp),
    }
}

/// A loopback address of its own for each case, because clients fix the port.
fn bind(index: usize) -> Result<UdpAir, String> {
    let offset = std::process::id().wrapping_mul(64).wrapping_add(u32::try_from(index).unwrap_or(0));
    let mut last = String::new();
    for attempt in 0..ADDRESSES {
        let number = offset.wrapping_add(attempt) % (1 << 22);
        let [_, b, c, d] = number.to_be_bytes();
        let ip = Ipv4Addr::new(127, 64 + b, c, d.max(1));
        match UdpAir::bind(SocketAddr::from((ip, SMP_PORT))) {
            Ok(air) => return Ok(air),
            Err(error) => last = format!("{ip}:{SMP_PORT}: {error}"),
        }
    }
    Err(format!("no loopback address is free for the target, the last tried was {last}"))
}

/// What the initiator does, until it is done.
async fn drive(
    case: &Case,
    plan: &Plan,
    place: &Place,
    image: &Path,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    mut seen: watch::Receiver<Seen>,
    start: Instant,
) -> Ended {
    let _ = seen.wait_for(|seen| seen.serving || seen.dead).await;
    let profile = match &plan.initiator {
        InitiatorChoice::Builtin(personality) => {
            let _ = notes.send(InitiatorEvent::Started { what: "the built-in initiator".into() });
            let job = case.job();
            let report = match place {
                Place::Socket(address) => match UdpWire::connect(*address, start, notes.clone()).await {
                    Ok(mut wire) => personality.run(&mut wire, &job, plan.seed).await,
                    Err(error) => return Ended::Error(format!("{place}: {error}")),
                },
                Place::Port(path) => {
                    let mut wire = SerialWire::new(path.clone(), start, notes.clone());
                    personality.run(&mut wire, &job, plan.seed).await
                }
            };
            let _ = notes.send(InitiatorEvent::Reported { success: report.success, message: report.message });
            return Ended::Done;
        }
        InitiatorChoice::External(profile) => profile,
    };
    let update = &case.images.update;
    let mut values = BTreeMap::from([
        ("image", image.display().to_string()),
        ("hash", hex(&update.tlv_hash.unwrap_or(update.sha256))),
        ("name", case.scenario.target.clone()),
    ]);
    match place {
        Place::Socket(address) => {
            values.extend([("address", address.ip().to_string()), ("port", address.port().to_string())]);
        }
        Place::Port(path) => values.extend([("path", path.display().to_string())]),
    }
    let commands = match profile.commands_on(plan.air) {
        Ok(commands) => commands,
        Err(message) => return Ended::NotStarted(message),
    };
    let recipe = Recipe { profile, commands, values, notes, seen };
    match (profile.updates_by_itself(), case.scenario.task) {
        (false, _) if case.scenario.needs.iter().any(|need| need == DECIDES) => Ended::Unsupported(
            "this scenario is about what an initiator decides, and this tool only carries out single steps".into(),
        ),
        (true, Task::Update | Task::Recover) => recipe.whole().await,
        (true, Task::TestOnly) => Ended::Unsupported(
            "this scenario ends before the confirm, and the one command of this tool does the whole update".into(),
        ),
        (true, Task::EraseAndUpdate) => {
            Ended::Unsupported("the one command of this tool does the whole update, and does not erase first".into())
        }
        (false, Task::EraseAndUpdate) if !profile.commands.contains_key("erase") => {
            Ended::Unsupported("the profile has no command for `erase`".into())
        }
        (false, Task::Update | Task::EraseAndUpdate) if !profile.commands.contains_key("confirm") => {
            Ended::Unsupported("the profile has no command for `confirm`".into())
        }
        (false, task) => recipe.steps(task).await,
    }
}

/// Drives an external tool.
struct Recipe<'a> {
    profile: &'a Profile,
    commands: BTreeMap<String, Vec<String>>,
    values: BTreeMap<&'static str, String>,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    seen: watch::Receiver<Seen>,
}

/// How a command ended.
enum Command {
    Succeeded,
    Failed,
    Stop(Ended),
}

impl Recipe<'_> {
    /// One command does everything.
    async fn whole(mut self) -> Ended {
        match self.command("update", StepBy::Tool).await {
            Command::Stop(ended) => ended,
            outcome => {
                let success = matches!(outcome, Command::Succeeded);
                let message = if success { "exit code 0" } else { "an exit code other than 0" };
                self.note(InitiatorEvent::Reported { success, message: message.into() });
                Ended::Done
            }
        }
    }

    /// The tool has commands for the steps; their order, and the waiting between them, is ours.
    async fn steps(mut self, task: Task) -> Ended {
        let steps: &[&str] = match task {
            Task::Update => &["upload", "test", "reset", "wait", "confirm", "list"],
            Task::TestOnly => &["upload", "test", "reset"],
            Task::EraseAndUpdate => &["erase", "upload", "test", "reset", "wait", "confirm", "list"],
            Task::Recover => &["upload", "reset", "wait", "list"],
        };
        let mut failed = None;
        let mut starts = 0;
        for step in steps {
            if *step == "wait" {
                self.note(InitiatorEvent::Step { step: "wait".into(), by: StepBy::Recipe });
                let restarts = self.seen.wait_for(|seen| seen.dead || seen.starts > starts);
                if tokio::time::timeout(RESET_MAX, restarts).await.is_err() {
                    failed = failed.or(Some("reset"));
                    break;
                }
                let _ = self.seen.wait_for(|seen| seen.dead || seen.serving).await;
                continue;
            }
            if *step == "reset" {
                starts = self.seen.borrow().starts;
            }
            if !self.profile.commands.contains_key(*step) {
                continue;
            }
            match self.step(step).await {
                Command::Stop(ended) => return ended,
                Command::Succeeded => {}
                // A missing answer to a reset says nothing about the reset: the target tells.
                Command::Failed if *step == "reset" => failed = failed.or(Some(*step)),
                Command::Failed => {
                    failed = failed.or(Some(*step));
                    break;
                }
            }
        }
        let message = failed.map_or("every step succeeded".to_owned(), |step| format!("the step `{step}` failed"));
        self.note(InitiatorEvent::Reported { success: failed.is_none(), message });
        Ended::Done
    }

    /// A step, repeated as the profile says: to start a tool again that failed because something was lost
    /// is its caller's part. A refusal is not repeated.
    async fn step(&mut self, step: &str) -> Command {
        let runs = self.profile.repeat.get(step).copied().unwrap_or(1).max(1);
        for run in 1..=runs {
            let lost = self.seen.borrow().lost;
            match self.command(step, StepBy::Recipe).await {
                Command::Failed if run < runs && self.seen.borrow().lost > lost => {
                    tokio::time::sleep(Duration::from_millis(REPEAT_PAUSE_MS)).await;
                    let _ = self.seen.wait_for(|seen| seen.serving || seen.dead).await;
                }
                outcome => return outcome,
            }
        }
        Command::Failed
    }

    async fn command(&mut self, step: &str, by: StepBy) -> Command {
        let Some(command) = self.commands.get(step) else { return Command::Failed };
        let command = fill(command, &self.values);
        self.note(InitiatorEvent::Step { step: step.into(), by });
        self.note(InitiatorEvent::Started { what: command.join(" ") });
        let mut running = match Running::start(&command, &self.notes) {
            Ok(running) => running,
            Err(error) => return Command::Stop(Ended::NotStarted(error.to_string())),
        };
        let limit = Duration::from_micros(self.profile.timeout_us);
        let Ok(code) = tokio::time::timeout(limit, running.wait()).await else {
            return Command::Stop(Ended::Hung);
        };
        self.note(InitiatorEvent::Exited { code });
        match code {
            Some(0) => Command::Succeeded,
            Some(UNSUPPORTED) => {
                Command::Stop(Ended::Unsupported(format!("`{}` exited with {UNSUPPORTED}", command.join(" "))))
            }
            _ => Command::Failed,
        }
    }

    fn note(&self, event: InitiatorEvent) {
        let _ = self.notes.send(event);
    }
}
