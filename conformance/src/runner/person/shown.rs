//! What a target shows of itself while a person works, read from the trace.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::{BusEvent, Direction, Kind, LinkEvent, PowerEvent, Record, hex};

use crate::scenario::ImageSet;

/// The application has made its image stay.
const CONFIRMS_ITSELF: &str = "confirms itself";

/// Which image runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Runs {
    /// The one from before.
    Old,
    /// The one that is brought.
    New,
    /// Another one.
    Other,
    /// None: the bootloader waits for one.
    Nothing,
}

/// Something that a target shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Somebody is connected, or has sent the first request where nobody connects.
    Connected,
    /// A connection has ended.
    Disconnected,
    /// So many bytes of the image are there.
    Upload { done: u64, total: u64 },
    /// The new image is marked.
    Marked { for_good: bool },
    /// The new image is confirmed while it runs.
    Confirmed,
    /// Power is gone.
    Off,
    /// It starts, after a reset or with its power back.
    Starts,
    /// An image runs, of this version.
    Runs(Runs, Option<String>),
    /// It will not start any more.
    Dead,
    /// Something of the adapter it is on: a passkey that it shows, above all.
    Adapter(String),
}

/// Reads records one after the other.
#[derive(Debug)]
pub(crate) struct Reading {
    installed: Option<String>,
    update: Option<String>,
    total: u64,
    connected: bool,
    running: Option<String>,
    /// The last write of image state: its sequence number, hash and `confirm`.
    mark: Option<(u8, Option<String>, bool)>,
}

impl Reading {
    pub(crate) fn new(images: &ImageSet) -> Self {
        Self {
            installed: images.installed.tlv_hash.map(|hash| hex(&hash)),
            update: images.update.tlv_hash.map(|hash| hex(&hash)),
            total: images.update.bytes.len() as u64,
            connected: false,
            running: None,
            mark: None,
        }
    }

    /// What a record shows.
    pub(crate) fn of(&mut self, record: &Record) -> Vec<Shown> {
        match &record.kind {
            Kind::Link(LinkEvent::Connected { .. }) => {
                self.connected = true;
                vec![Shown::Connected]
            }
            Kind::Link(LinkEvent::Disconnected { .. }) => vec![Shown::Disconnected],
            Kind::Message { direction: Direction::ToTarget, smp, .. } => {
                let first = !std::mem::replace(&mut self.connected, true);
                self.request(smp);
                if first { vec![Shown::Connected] } else { Vec::new() }
            }
            Kind::Message { direction: Direction::FromTarget, smp, .. } => self.answer(smp).into_iter().collect(),
            Kind::Power(PowerEvent::Off { .. }) => vec![Shown::Off],
            Kind::Bus(BusEvent::Adapter { what }) => vec![Shown::Adapter(what.clone())],
            Kind::Power(PowerEvent::On { .. }) => vec![Shown::Starts],
            Kind::Power(PowerEvent::Dead { .. }) => vec![Shown::Dead],
            Kind::Boot(boot) if boot.outcome == "interrupted" => Vec::new(),
            Kind::Boot(boot) => {
                self.running.clone_from(&boot.running);
                let runs = match &self.running {
                    None => Runs::Nothing,
                    running if *running == self.update => Runs::New,
                    running if *running == self.installed => Runs::Old,
                    _ => Runs::Other,
                };
                vec![Shown::Runs(runs, boot.version.clone())]
            }
            Kind::Application { event } if event == CONFIRMS_ITSELF && self.new_runs() => vec![Shown::Confirmed],
            Kind::State(state) if state.when == "start" => {
                self.running.clone_from(&state.running);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn new_runs(&self) -> bool {
        self.update.is_some() && self.running == self.update
    }

    fn request(&mut self, smp: &SmpMessage) {
        match smp.known() {
            Some(Command::ImageUpload) => {
                if let Some(len) = smp.body.get("len").and_then(Field::number) {
                    self.total = u64::try_from(len).unwrap_or(0);
                }
            }
            Some(Command::ImageState) if smp.is_write() => {
                let hash = smp.body.get("hash").and_then(Field::hex).map(str::to_owned).filter(|hash| !hash.is_empty());
                let confirm = smp.body.get("confirm").and_then(Field::boolean).unwrap_or(false);
                self.mark = Some((smp.sequence, hash, confirm));
            }
            _ => {}
        }
    }

    fn answer(&mut self, smp: &SmpMessage) -> Option<Shown> {
        if smp.failure().is_some() {
            return None;
        }
        match smp.known() {
            Some(Command::ImageUpload) => {
                let done = smp.body.get("off").and_then(Field::number).and_then(|off| u64::try_from(off).ok())?;
                Some(Shown::Upload { done, total: self.total })
            }
            Some(Command::ImageState) => {
                let (_, hash, confirm) = self.mark.take_if(|(sequence, ..)| *sequence == smp.sequence)?;
                // Without a hash it is the running image that is confirmed.
                let of_running = hash.is_none() || hash == self.running;
                match (confirm, of_running) {
                    (true, true) => self.new_runs().then_some(Shown::Confirmed),
                    (for_good, false) => (hash == self.update).then_some(Shown::Marked { for_good }),
                    (false, true) => None,
                }
            }
            _ => None,
        }
    }
}
