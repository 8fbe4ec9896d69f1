//! What an external tool is made to do: its one command, or its steps in an order of ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use brickproof_simulator::air::Place;
use brickproof_simulator::trace::{BusEvent, InitiatorEvent, StepBy, hex};
use tokio::sync::{mpsc, watch};

use super::bypass::{BUS, Watch};
use super::case::{Case, Ended};
use super::external::{Running, UNSUPPORTED, fill};
use super::real_time::Seen;
use super::site::CaseSite;
use crate::air::{Air, DECIDES};
use crate::profile::Profile;
use crate::scenario::Task;

/// Longest time from a reset command to the reset.
const RESET_MAX: Duration = Duration::from_secs(15);
/// Between two runs of a step that the recipe repeats, in milliseconds.
const REPEAT_PAUSE_MS: u64 = 1500;

/// The address of the system's own bus.
fn system_bus() -> String {
    std::env::var(BUS).unwrap_or_else(|_| "unix:path=/run/dbus/system_bus_socket".to_owned())
}

/// Drives an external tool.
pub(super) struct Recipe<'a> {
    profile: &'a Profile,
    commands: BTreeMap<String, Vec<String>>,
    values: BTreeMap<&'static str, String>,
    /// The address of the bus, on airs that have one.
    bus: Option<String>,
    site: &'a CaseSite<'a>,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    bus_notes: mpsc::UnboundedSender<BusEvent>,
    seen: watch::Receiver<Seen>,
}

/// How a command ended.
enum Command {
    Succeeded,
    Failed,
    Stop(Ended),
}

impl<'a> Recipe<'a> {
    /// The recipe of a case, whose image is in this file.
    ///
    /// # Errors
    /// A command that cannot be filled in, in words.
    #[expect(clippy::too_many_arguments, reason = "all that a tool is told and may say")]
    pub(super) fn new(
        case: &Case,
        profile: &'a Profile,
        air: Air,
        place: &Place,
        image: &Path,
        site: &'a CaseSite<'a>,
        notes: mpsc::UnboundedSender<InitiatorEvent>,
        bus_notes: mpsc::UnboundedSender<BusEvent>,
        seen: watch::Receiver<Seen>,
    ) -> Result<Self, String> {
        let update = &case.images.update;
        let mut values = BTreeMap::from([
            ("image", image.display().to_string()),
            ("hash", hex(&update.tlv_hash.unwrap_or(update.sha256))),
            ("name", case.scenario.target.clone()),
        ]);
        if let Some(driver) = &profile.driver {
            values.insert("driver", site.folder().join(&driver.name).display().to_string());
        }
        let mut bus = None;
        match place {
            Place::Socket(address) => {
                values.extend([("address", address.ip().to_string()), ("port", address.port().to_string())]);
            }
            Place::Port(path) => values.extend([("path", path.display().to_string())]),
            Place::Bus { bus: address, .. } => {
                values.extend([("bus", address.clone())]);
                bus = Some(address.clone());
            }
            Place::Adapter { address, .. } => {
                values.extend([("address", address.to_string()), ("bus", system_bus())]);
            }
        }
        let commands = profile.commands_on(air)?;
        Ok(Self { profile, commands, values, bus, site, notes, bus_notes, seen })
    }

    /// Does the task of a case.
    pub(super) async fn run(self, case: &Case) -> Ended {
        let has = |step: &str| self.profile.commands.contains_key(step);
        let decides = case.scenario.needs.iter().any(|need| need == DECIDES);
        match (self.profile.updates_by_itself(), case.scenario.task) {
            (false, _) if decides => Ended::Unsupported(
                "this scenario is about what an initiator decides, and this tool only carries out single steps".into(),
            ),
            (true, Task::Update | Task::Recover) => self.whole().await,
            (true, Task::TestOnly) => Ended::Unsupported(
                "this scenario ends before the confirm, and the one command of this tool does the whole update".into(),
            ),
            (true, Task::EraseAndUpdate) => Ended::Unsupported(
                "the one command of this tool does the whole update, and does not erase first".into(),
            ),
            (false, Task::EraseAndUpdate) if !has("erase") => {
                Ended::Unsupported("the profile has no command for `erase`".into())
            }
            (false, Task::Update | Task::EraseAndUpdate) if !has("confirm") => {
                Ended::Unsupported("the profile has no command for `confirm`".into())
            }
            (false, task) => self.steps(task).await,
        }
    }

    /// One command does everything.
    async fn whole(mut self) -> Ended {
        match self.step("update", StepBy::Tool).await {
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
            match self.step(step, StepBy::Recipe).await {
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

    /// A step, or the whole, repeated as the profile says: to start a tool again that failed because something was lost
    /// is its caller's part. A refusal is not repeated.
    async fn step(&mut self, step: &str, by: StepBy) -> Command {
        let runs = self.profile.repeat.get(step).copied().unwrap_or(1).max(1);
        for run in 1..=runs {
            let lost = self.seen.borrow().lost;
            match self.command(step, by).await {
                Command::Failed if run < runs && self.seen.borrow().lost > lost => {
                    tokio::time::sleep(Duration::from_millis(REPEAT_PAUSE_MS)).await;
                    let _ = self.seen.wait_for(|seen| seen.serving || seen.dead).await;
                }
                outcome => return outcome,
            }
        }
        Command::Failed
    }

    /// What the placeholders stand for now: a target may come back under another address.
    fn values(&self) -> BTreeMap<&'static str, String> {
        let mut values = self.values.clone();
        let seen = self.seen.borrow();
        values.extend(seen.address.map(|address| ("address", address.to_string())));
        values.extend(seen.name.clone().map(|name| ("name", name)));
        values
    }

    async fn command(&mut self, step: &str, by: StepBy) -> Command {
        let Some(command) = self.commands.get(step) else { return Command::Failed };
        let command = fill(command, &self.values());
        self.note(InitiatorEvent::Step { step: step.into(), by });
        self.note(InitiatorEvent::Started { what: command.join(" ") });
        let bus: Vec<_> = self.bus.iter().map(|bus| (BUS, bus.clone())).collect();
        let mut running = match Running::start(&command, self.site, &bus, &self.notes) {
            Ok(running) => running,
            Err(error) => return Command::Stop(Ended::NotStarted(error.to_string())),
        };
        let mut watch = self.bus.as_ref().map(|_| Watch::new(running.process(), &command[0]));
        let limit = Duration::from_micros(self.profile.timeout_us);
        let code = tokio::time::timeout(limit, self.end_of(&mut running, watch.as_mut())).await;
        if let Some(watch) = watch.filter(|_| !self.seen.borrow().opened) {
            let _ = self.bus_notes.send(BusEvent::Missed { reason: watch.reason() });
        }
        let Ok(code) = code else {
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

    /// Waits for the end of a process, and looks at it while nobody has opened the bus.
    async fn end_of(&self, running: &mut Running<'_>, watch: Option<&mut Watch>) -> Option<i32> {
        if let Some(watch) = watch {
            while !self.seen.borrow().opened {
                watch.look();
                tokio::select! {
                    biased;
                    code = running.wait() => return code,
                    () = tokio::time::sleep(watch.pause()) => {}
                }
            }
        }
        running.wait().await
    }

    fn note(&self, event: InitiatorEvent) {
        let _ = self.notes.send(event);
    }
}
