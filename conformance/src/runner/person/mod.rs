//! A person as initiator: told what to do in an app, watched by way of the target, asked what the app says.
//!
//! | module | what it holds |
//! |---|---|
//! | `shown` | what a target shows, read from the trace |
//! | `briefing` | what is said before a case |
//! | `dialogue` | the dialogue as a value: what is heard goes in, what is said and what came of it comes out |
//! | [`console`] | the terminal |
//!
//! The person is not told which faults will come: the app is tested, and whoever works it shall not help it. What the
//! device shows (that it lost its power, which image runs) is said when it happens, as lamps and a screen would.

mod briefing;
pub mod console;
mod dialogue;
mod shown;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brickproof_simulator::air::Place;
use brickproof_simulator::trace::{InitiatorEvent, Record, hex};
use tokio::sync::{mpsc, watch};

use super::Plan;
use super::case::{Case, Ended};
use super::real_time::Seen;
use crate::app::App;
use crate::initiator::personality::Mode;
use crate::scenario::{Scenario, Task};
use briefing::{Briefing, Facts};
use console::Console;
use dialogue::{Dialogue, End, Heard, Out};
use shown::{Reading, Shown};

/// The name on the command line.
pub const NAME: &str = "person";
/// What it is.
pub const ABOUT: &str = "a person with an app or any program, told what to do on the terminal and asked what it says";
/// Default deadline of a case in seconds: people are slow.
pub const TIMEOUT_S: u64 = 1800;
/// Silence after which the person is asked or reminded, and the longest to which it grows.
const QUIET: Duration = Duration::from_secs(60);
const QUIET_MAX: Duration = Duration::from_secs(600);

/// A person and what it works with.
#[derive(Debug, Clone)]
pub struct Person {
    /// The app.
    pub app: App,
    /// What is done after the upload; `None` for what the task of the scenario asks for.
    pub mode: Option<Mode>,
    /// Where it is spoken to.
    pub console: Arc<Console>,
}

impl Person {
    /// What is done after the upload of this task.
    fn mode_of(&self, task: Task) -> Mode {
        match task {
            Task::TestOnly => Mode::TestOnly,
            Task::Recover => Mode::UploadOnly,
            Task::Update | Task::EraseAndUpdate => self.mode.unwrap_or(Mode::TestAndConfirm),
        }
    }

    /// Why a scenario cannot be done with this app, if it cannot.
    pub(super) fn unsupported(&self, scenario: &Scenario) -> Option<String> {
        let app = &self.app.name;
        if scenario.update_1.is_some() {
            return Some("the scenario updates two images, and the person is given one file".into());
        }
        if scenario.task == Task::EraseAndUpdate && !self.app.has_steps_for(Task::EraseAndUpdate) {
            return Some(format!("the scenario erases the slot first, and `{app}` has no step for that"));
        }
        (!self.app.modes.contains_key(&self.mode_of(scenario.task)))
            .then(|| format!("`{app}` has no mode for what the scenario asks for after the upload"))
    }
}

/// The end of the event loop that tells a person's script what the target shows.
pub(super) struct Window {
    reading: Reading,
    shown: mpsc::UnboundedSender<Shown>,
}

/// What the script hears of the target.
pub(super) type View = mpsc::UnboundedReceiver<Shown>;

impl Window {
    pub(super) fn open(case: &Case) -> (Self, View) {
        let (shown, view) = mpsc::unbounded_channel();
        (Self { reading: Reading::new(&case.images), shown }, view)
    }

    pub(super) fn pass(&mut self, records: &[Record]) {
        for shown in records.iter().flat_map(|record| self.reading.of(record)) {
            // Only a person looks.
            let _ = self.shown.send(shown);
        }
    }
}

/// Guides a person through a case.
#[expect(clippy::too_many_arguments, reason = "all that a person is told and may say")]
pub(super) async fn run(
    person: &Person,
    case: &Case,
    plan: &Plan,
    place: &Place,
    image: &Path,
    notes: mpsc::UnboundedSender<InitiatorEvent>,
    seen: watch::Receiver<Seen>,
    mut view: View,
    start: Instant,
) -> Ended {
    // Files of many cases end up side by side on a phone.
    let facts = facts(case, place, image, &seen.borrow());
    if let Err(error) = std::fs::copy(image, &facts.image) {
        return Ended::Error(format!("{}: {error}", facts.image));
    }
    let task = case.scenario.task;
    let briefing = Briefing::new(&facts, &person.app, task, person.mode_of(task));
    let _ = notes.send(InitiatorEvent::Started { what: format!("a person with {}", person.app.about) });
    let console = &person.console;
    if !console.begin().await {
        return Ended::Undecided(dialogue::CLOSED.into());
    }
    let (mut dialogue, mut out) = Dialogue::new(briefing);
    // That the device has started is no news.
    let mut early: Vec<Shown> = std::iter::from_fn(|| view.try_recv().ok()).collect();
    early.retain(|shown| !matches!(shown, Shown::Starts | Shown::Runs(..)));
    out.extend(early.into_iter().flat_map(|shown| dialogue.hear(Heard::Shown(shown))));
    let deadline = start + Duration::from_secs(plan.timeout_s);
    let mut quiet = QUIET;
    let _bar = Bar(console);
    loop {
        for out in out {
            match out {
                Out::Say(tone, text) => console.say(tone, &text),
                Out::Progress { done, total } => console.progress(done, total),
                Out::Note(event) => {
                    let _ = notes.send(event);
                }
                Out::End(End::Reported) => return Ended::Done,
                Out::End(End::Undecided(reason)) => return Ended::Undecided(reason),
                Out::End(End::Hung) => return Ended::Hung,
            }
        }
        let heard = tokio::select! {
            biased;
            Some(shown) = view.recv() => Heard::Shown(shown),
            line = console.line() => line.map_or(Heard::Closed, Heard::Line),
            () = tokio::time::sleep_until(deadline.into()) => Heard::Deadline,
            () = tokio::time::sleep(quiet) => Heard::Quiet,
        };
        quiet = if heard == Heard::Quiet { (quiet * 2).min(QUIET_MAX) } else { QUIET };
        out = dialogue.hear(heard);
    }
}

/// Takes the bar away, whatever ends the case.
struct Bar<'a>(&'a Console);

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

fn facts(case: &Case, place: &Place, image: &Path, seen: &Seen) -> Facts {
    let update = &case.images.update;
    let mut device = Vec::new();
    match place {
        Place::Socket(address) => {
            device.extend([("address", address.ip().to_string()), ("port", address.port().to_string())]);
        }
        Place::Port(path) => device.push(("path", path.display().to_string())),
        Place::Adapter { .. } => {}
        Place::Bus { bus, .. } => device.push(("bus", format!("DBUS_SYSTEM_BUS_ADDRESS={bus}"))),
    }
    device.extend(seen.address.map(|address| ("address", address.to_string())));
    device.extend(seen.name.clone().map(|name| ("name", name)));
    // A device would show it, or have it printed on it; bluetoothd draws one when it is needed.
    if matches!(place, Place::Bus { .. }) {
        device.extend(case.shown_passkey().map(|passkey| ("passkey", format!("{passkey:06}"))));
    }
    device.sort_by_key(|(what, _)| {
        ["name", "address", "port", "path", "passkey", "bus"].iter().position(|known| known == what)
    });
    let version = update.version.map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    let file = format!("{}-{}.bin", case.scenario.id.replace('/', "-"), version.replace('+', "-"));
    Facts {
        scenario: case.scenario.id.clone(),
        why: case.scenario.why.clone(),
        target: case.target_name().to_owned(),
        device,
        image: image.with_file_name(&file).display().to_string(),
        file,
        version,
        size: update.bytes.len() as u64,
        sha256: hex(&update.sha256),
        hash: hex(&update.tlv_hash.unwrap_or(update.sha256)),
    }
}
