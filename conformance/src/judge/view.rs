//! A trace as checks read it.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::{
    BootRecord, Direction, InitiatorEvent, Kind, LinkEvent, PowerEvent, Record, StateRecord, StepBy, hex,
};
use brickproof_simulator::world::{ACCEPTED, REFUSED};

use crate::scenario::ImageSet;

/// Where something is in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) n: u64,
    pub(super) at_us: u64,
}

/// Something that checks look at, in the order of the trace.
#[derive(Debug, Clone)]
pub(super) enum Event<'a> {
    /// A request that reached the target.
    Request(&'a SmpMessage),
    /// An answer that left the target.
    Answer(&'a SmpMessage),
    /// The target cannot be reached, or can be again.
    Link(&'a LinkEvent),
    /// Power.
    Power(&'a PowerEvent),
    /// A boot ended.
    Boot(&'a BootRecord),
    /// The initiator begins a step.
    Step,
    /// A process of the initiator ended.
    Exited(Option<i32>),
    /// What is done to the target after the initiator is done begins.
    Finally,
    /// The initiator's own verdict.
    Reported { success: bool, message: &'a str },
}

/// An event with its place and with who chose the step it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) event: Event<'a>,
    pub(super) by: StepBy,
}

/// A trace as checks read it.
pub(super) struct View<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) images: &'a ImageSet,
    /// Requests that were sent, lost ones included.
    pub(super) sent: usize,
    /// Requests that arrived, and those among them that were taken apart.
    arrived: usize,
    decoded: usize,
    pub(super) end: Option<&'a StateRecord>,
    pub(super) dead: Option<(Place, &'a str)>,
    /// Changes of protected regions that the flash refused.
    pub(super) refused: Vec<(Place, String)>,
    /// What came of requests and writes of the scenario's own: state and words.
    pub(super) injected: Vec<(Place, &'a str, &'a str)>,
    pub(super) last: Place,
}

impl<'a> View<'a> {
    pub(super) fn new(trace: &'a [Record], images: &'a ImageSet) -> Self {
        let mut view = View {
            entries: Vec::new(),
            images,
            sent: 0,
            arrived: 0,
            decoded: 0,
            end: None,
            dead: None,
            refused: Vec::new(),
            injected: Vec::new(),
            last: Place { n: 0, at_us: 0 },
        };
        let mut by = StepBy::Tool;
        for record in trace {
            let place = Place { n: record.n, at_us: record.at_us };
            view.last = place;
            let event = match &record.kind {
                Kind::Message { direction: Direction::ToTarget, smp, .. } => {
                    view.decoded += 1;
                    Event::Request(smp)
                }
                Kind::Message { direction: Direction::FromTarget, smp, .. } => Event::Answer(smp),
                Kind::Datagram { direction: Direction::ToTarget, lost, .. } => {
                    view.sent += 1;
                    view.arrived += usize::from(lost.is_none());
                    continue;
                }
                Kind::Link(link) => Event::Link(link),
                Kind::Power(power) => {
                    if let PowerEvent::Dead { reason } = power {
                        view.dead = Some((place, reason));
                    } else {
                        view.dead = None;
                    }
                    Event::Power(power)
                }
                Kind::Boot(boot) => Event::Boot(boot),
                Kind::Fault { id, state, .. } if id == "finally" && state == "fired" => Event::Finally,
                Kind::Fault { state, what, .. } if state == ACCEPTED || state == REFUSED => {
                    view.injected.push((place, state, what));
                    continue;
                }
                Kind::Flash(operation) => {
                    if let brickproof_simulator::trace::FlashResult::Refused(refusal) = &operation.result {
                        view.refused.push((place, refusal.clone()));
                    }
                    continue;
                }
                Kind::State(state) if state.when == "end" => {
                    view.end = Some(state);
                    continue;
                }
                Kind::Initiator(InitiatorEvent::Step { by: chosen, .. }) => {
                    by = *chosen;
                    Event::Step
                }
                Kind::Initiator(InitiatorEvent::Exited { code }) => Event::Exited(*code),
                Kind::Initiator(InitiatorEvent::Reported { success, message }) => {
                    Event::Reported { success: *success, message }
                }
                _ => continue,
            };
            view.entries.push(Entry { place, event, by });
        }
        view
    }

    /// Whether the requests can be read: a capture may hold only what went over the air.
    pub(super) fn is_decoded(&self) -> bool {
        self.arrived == 0 || self.decoded > 0
    }

    /// Hash of the image that the initiator left running: that of the last boot before the end of its part.
    pub(super) fn left_running(&self) -> Option<&'a str> {
        let own = self.entries.iter().take_while(|entry| !matches!(entry.event, Event::Finally));
        own.filter_map(|entry| match &entry.event {
            Event::Boot(boot) => boot.running.as_deref(),
            _ => None,
        })
        .last()
    }

    /// The hash of the update in hexadecimal.
    pub(super) fn update_hash(&self) -> Option<String> {
        self.images.update.tlv_hash.map(|hash| hex(&hash))
    }

    /// The hash of the installed image in hexadecimal.
    pub(super) fn installed_hash(&self) -> Option<String> {
        self.images.installed.tlv_hash.map(|hash| hex(&hash))
    }
}

/// A request of this command.
pub(super) fn is(message: &SmpMessage, command: Command) -> bool {
    message.known() == Some(command)
}

/// Offset of an upload request or answer.
pub(super) fn offset(message: &SmpMessage) -> Option<i64> {
    message.body.get("off").and_then(Field::number)
}

/// Length of the data of an upload request.
pub(super) fn data_len(message: &SmpMessage) -> i64 {
    let len = message.body.get("data").and_then(Field::bytes_sha256).map_or(0, |(len, _)| len);
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Whether a write of the image state confirms.
pub(super) fn confirms(message: &SmpMessage) -> bool {
    message.body.get("confirm").and_then(Field::boolean).unwrap_or(false)
}

/// Hash of the image that a list shows as running.
pub(super) fn active(message: &SmpMessage) -> Option<&str> {
    let images = message.body.get("images").and_then(Field::list)?;
    let running = images.iter().find(|image| image.get("active").and_then(Field::boolean) == Some(true))?;
    running.get("hash").and_then(Field::hex)
}
