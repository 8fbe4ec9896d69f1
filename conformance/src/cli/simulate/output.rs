//! What a played target says: JSON Lines on standard output, or words on standard error.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use brickproof_simulator::trace::{BusEvent, Kind, LinkEvent, PowerEvent, Record};

/// The trace on standard output, written by a thread of its own: a reader that is slow, or that only wanted
/// the first line, must not stop the target.
pub(super) struct Output {
    /// `None` when it is words on standard error.
    lines: Option<SyncSender<String>>,
    /// Lines that wait for the first one.
    held: Option<Vec<String>>,
    /// Whether records say which target they are of.
    many: bool,
    dropped: u64,
}

/// Lines that wait for a slow reader; then further ones are counted and left out.
const LINES_MAX: usize = 10_000;

impl Output {
    /// Holds everything back until [`Output::ready`].
    pub(super) fn new(json: bool, many: bool) -> Self {
        let lines = json.then(|| {
            let (lines, waiting) = sync_channel::<String>(LINES_MAX);
            std::thread::spawn(move || while waiting.recv().is_ok_and(|line| emit(&line)) {});
            lines
        });
        Self { lines, held: Some(Vec::new()), many, dropped: 0 }
    }

    /// The first line, as JSON and in words.
    pub(super) fn ready(&mut self, json: &serde_json::Value, words: &str) {
        if self.lines.is_some() {
            emit(&json.to_string());
        } else {
            eprintln!("{words}");
        }
        for line in self.held.take().unwrap_or_default() {
            self.say(line);
        }
    }

    /// A record of a target, numbered from 1; `false` when nobody reads any more.
    pub(super) fn record(&mut self, target: usize, record: &Record) -> bool {
        let line = if self.lines.is_some() {
            let Ok(mut json) = serde_json::to_value(record) else { return true };
            if self.many
                && let Some(object) = json.as_object_mut()
            {
                object.insert("target".into(), target.into());
            }
            json.to_string()
        } else {
            let Some(words) = words(record) else { return true };
            let seconds = record.at_us as f64 / 1e6;
            if self.many { format!("{seconds:10.3} [{target}] {words}") } else { format!("{seconds:10.3} {words}") }
        };
        match &mut self.held {
            Some(held) => held.push(line),
            None => return self.say(line),
        }
        true
    }

    fn say(&mut self, line: String) -> bool {
        let Some(lines) = &self.lines else {
            eprintln!("{line}");
            return true;
        };
        if self.dropped > 0 {
            let note = serde_json::json!({ "event": "dropped", "records": self.dropped }).to_string();
            if lines.try_send(note).is_ok() {
                self.dropped = 0;
            }
        }
        match lines.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// What happens, in words; `None` for what is not worth a line.
fn words(record: &Record) -> Option<String> {
    Some(match &record.kind {
        Kind::Power(PowerEvent::Off { reason }) => format!("power off: {reason}"),
        Kind::Power(PowerEvent::On { .. }) => "starts".to_owned(),
        Kind::Power(PowerEvent::Dead { reason }) => format!("BRICK: {reason}"),
        Kind::Link(LinkEvent::Up) => "link up".to_owned(),
        Kind::Link(LinkEvent::Down { reason }) => format!("link down: {reason}"),
        Kind::Link(LinkEvent::Connected { connection, central, .. }) => {
            format!("connection {connection} of central {central}")
        }
        Kind::Link(LinkEvent::Disconnected { connection, reason, .. }) => {
            format!("connection {connection} ended: 0x{reason:02x}")
        }
        Kind::Boot(boot) => format!(
            "boot {}: {}{}",
            boot.number,
            boot.decisions.join("; "),
            match (&boot.version, boot.outcome.as_str()) {
                (Some(version), _) => format!("; runs {version}"),
                (None, "recovery") => "; the serial recovery runs".to_owned(),
                (None, _) => String::new(),
            }
        ),
        Kind::Message { smp, .. } if smp.failure().is_some() => match (smp.name.as_deref(), smp.failure()) {
            (name, Some((Some(group), rc))) => {
                format!("{} refused: group {group}, error {rc}", name.unwrap_or("request"))
            }
            (name, failure) => {
                format!("{} refused: rc {}", name.unwrap_or("request"), failure.map_or(0, |(_, rc)| rc))
            }
        },
        Kind::Fault { id, state, what } => format!("fault {id} {state}: {what}"),
        Kind::Battery { percent } => format!("battery {percent} %"),
        Kind::Resource { pool, dropped, .. } => format!("{pool} overrun: {dropped} dropped"),
        Kind::SerialFrame { error: Some(error), .. } => format!("a frame is dropped: {error}"),
        Kind::Application { event } => format!("application {event}"),
        Kind::Bus(BusEvent::Opened { client, process }) => match process {
            Some(process) => format!("process {process} opens the bus as {client}"),
            None => format!("{client} opens the bus"),
        },
        Kind::Bus(BusEvent::Call { client, path, member, error: Some(error) }) => {
            format!("{client} is refused {member} of {path}: {error}")
        }
        Kind::Bus(BusEvent::Adapter { what }) => what.clone(),
        _ => return None,
    })
}

fn emit(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}
