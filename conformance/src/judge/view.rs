//! A trace as checks read it.

use std::collections::BTreeMap;

use brickproof_simulator::smp::{Command, Field, Frame, SmpMessage};
use brickproof_simulator::trace::{
    AttRecord, BootRecord, CccdRecord, Direction, EndedBy, InitiatorEvent, Kind, LinkEvent, PowerEvent, Record,
    RunRecord, SerialPart, StateRecord, StepBy, hex,
};
use brickproof_simulator::world::{ACCEPTED, REFUSED};

use super::packet::{self, Packet, Shape};
use super::written::{Stream, Written};
use crate::scenario::ImageSet;

/// A connection has ended.
static DOWN: LinkEvent = LinkEvent::Down { reason: String::new() };

/// Where something is in the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) n: u64,
    pub(super) at_us: u64,
}

/// Something that checks look at, in the order of the trace.
#[derive(Debug, Clone)]
pub(super) enum Event<'a> {
    /// A process of the initiator starts.
    Started,
    /// A packet was sent; what follows shows whether it arrived.
    Sent(Packet<'a>),
    /// A line was sent over a serial port.
    Line(Line<'a>),
    /// A request that reached the target.
    Request(&'a SmpMessage),
    /// An answer that left the target.
    Answer(&'a SmpMessage),
    /// The target cannot be reached, or can be again; a connection that ends or begins counts as that.
    Link(&'a LinkEvent),
    /// A connection over Bluetooth LE changes.
    Connection(&'a LinkEvent),
    /// A packet of the Attribute Protocol.
    Att(&'a AttRecord),
    /// Notifications were switched on or off.
    Cccd(&'a CccdRecord),
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

/// A line that was sent over a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) part: SerialPart,
    /// Length in bytes with the line feed.
    pub(super) len: u64,
    /// Why the receiver drops it.
    pub(super) error: Option<&'a str>,
    /// Bytes of an unfinished packet that the receiver drops because this line begins another.
    pub(super) abandoned: u64,
    pub(super) lost: bool,
}

/// An event with its place and with who chose the step it belongs to.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) event: Event<'a>,
    pub(super) by: StepBy,
}

/// What the initiator did next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It sent something.
    GoesOn(Place),
    /// It reported success, or the process ended with 0.
    EndsWell(Place),
    /// It reported a failure, or the process ended otherwise.
    EndsBadly(Place),
    /// The trace ends.
    Nothing,
}

/// A trace as checks read it.
pub(super) struct View<'a> {
    pub(super) trace: &'a [Record],
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) images: &'a ImageSet,
    /// What is known about the run.
    pub(super) run: Option<&'a RunRecord>,
    /// Requests that were sent, lost ones included.
    pub(super) sent: usize,
    /// Requests that arrived, and those among them that were taken apart.
    arrived: usize,
    decoded: usize,
    pub(super) start: Option<&'a StateRecord>,
    pub(super) end: Option<&'a StateRecord>,
    pub(super) dead: Option<(Place, &'a str)>,
    /// Changes of protected regions that the flash refused.
    pub(super) refused: Vec<(Place, String)>,
    /// What came of requests and writes of the scenario's own: state and words.
    pub(super) injected: Vec<(Place, &'a str, &'a str)>,
    pub(super) last: Place,
    /// What was written over Bluetooth LE.
    pub(super) stream: Stream,
    /// Whether the air shows the Attribute Protocol.
    pub(super) shows_att: bool,
    /// Whether a pairing has failed.
    pub(super) pairing_failed: bool,
    /// For every answer the request that it answers, as places in `entries`. Of several requests that look
    /// the same it is the first without an answer; what answers nothing is not there.
    pub(super) answered: BTreeMap<usize, usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(trace: &'a [Record], images: &'a ImageSet) -> Self {
        let mut view = View {
            trace,
            entries: Vec::new(),
            images,
            run: None,
            sent: 0,
            arrived: 0,
            decoded: 0,
            start: None,
            end: None,
            dead: None,
            refused: Vec::new(),
            injected: Vec::new(),
            last: Place { n: 0, at_us: 0 },
            stream: Stream::new(trace),
            shows_att: false,
            pairing_failed: false,
            answered: BTreeMap::new(),
        };
        let mut by = StepBy::Tool;
        let shapes = packet::shapes(trace);
        let parts_of_packets =
            |cause: Option<u64>| cause.and_then(|n| shapes.get(&n)).is_some_and(|shape| *shape == Shape::Part);
        for record in trace {
            let place = Place { n: record.n, at_us: record.at_us };
            view.last = place;
            let event = match &record.kind {
                Kind::Run(run) => {
                    view.run = Some(run);
                    continue;
                }
                // A piece of a packet is no request.
                Kind::Message { direction: Direction::ToTarget, .. } if parts_of_packets(record.cause) => {
                    view.decoded += 1;
                    continue;
                }
                // What a target makes of pieces is no request of the initiator's either.
                Kind::Message { direction: Direction::ToTarget, smp, .. } if view.is_no_packet(record.cause, smp) => {
                    view.decoded += 1;
                    continue;
                }
                Kind::Message { direction: Direction::ToTarget, smp, .. } => {
                    view.decoded += 1;
                    if record
                        .cause
                        .is_none_or(|cause| !shapes.contains_key(&cause) && !view.stream.of.contains_key(&cause))
                    {
                        // Only the message was kept.
                        view.entries.push(Entry { place, event: Event::Sent(Packet::of_message(smp)), by });
                    }
                    Event::Request(smp)
                }
                Kind::Message { direction: Direction::FromTarget, smp, .. } => Event::Answer(smp),
                Kind::Datagram { direction: Direction::ToTarget, lost, data, len } => {
                    view.sent += 1;
                    view.arrived += usize::from(lost.is_none());
                    let shape = shapes.get(&record.n).copied().unwrap_or(Shape::Whole);
                    Event::Sent(Packet::of_datagram(data, *len, lost.is_some(), shape))
                }
                // Taken apart by the checks of its own protocol.
                Kind::Dfu { direction: Direction::ToTarget, .. } => {
                    view.sent += 1;
                    continue;
                }
                Kind::Link(link) if link.connection().is_some() => {
                    view.shows_att = true;
                    view.pairing_failed |= matches!(link, LinkEvent::PairingFailed { .. });
                    view.entries.push(Entry { place, event: Event::Connection(link), by });
                    match link {
                        LinkEvent::Connected { .. } => Event::Link(&LinkEvent::Up),
                        // What the initiator does itself is no loss.
                        LinkEvent::Disconnected { by: EndedBy::Central, .. } => continue,
                        LinkEvent::Disconnected { .. } => Event::Link(&DOWN),
                        _ => continue,
                    }
                }
                Kind::SerialFrame { direction: Direction::ToTarget, len, part, error, abandoned, lost, .. } => {
                    Event::Line(Line {
                        part: *part,
                        len: *len,
                        error: error.as_deref(),
                        abandoned: *abandoned,
                        lost: lost.is_some(),
                    })
                }
                Kind::Link(link) => Event::Link(link),
                Kind::Att(att) => {
                    view.shows_att = true;
                    view.entries.push(Entry { place, event: Event::Att(att), by });
                    let Some(written) = view.written_at(record.n) else { continue };
                    let packet = Packet::of_written(written);
                    view.sent += 1;
                    view.arrived += usize::from(!packet.lost);
                    // Its header can be read, whether or not it is ever completed.
                    view.decoded += 1;
                    Event::Sent(packet)
                }
                Kind::Cccd(cccd) => Event::Cccd(cccd),
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
                Kind::State(state) if state.when == "start" => {
                    view.start = Some(state);
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
                Kind::Initiator(InitiatorEvent::Started { .. }) => Event::Started,
                Kind::Initiator(InitiatorEvent::Exited { code }) => Event::Exited(*code),
                Kind::Initiator(InitiatorEvent::Reported { success, message }) => {
                    Event::Reported { success: *success, message }
                }
                _ => continue,
            };
            view.entries.push(Entry { place, event, by });
        }
        view.answered = pairs(&view.entries);
        view
    }

    /// The packet that begins with this write.
    pub(super) fn written_at(&self, n: u64) -> Option<&Written> {
        let index = self.stream.of.get(&n).copied().flatten()?;
        self.stream.packets.get(index).filter(|packet| packet.place.n == n)
    }

    /// Whether a message that the target has read in writes is not what the initiator has sent.
    fn is_no_packet(&self, cause: Option<u64>, message: &SmpMessage) -> bool {
        let Some(index) = cause.and_then(|cause| self.stream.of.get(&cause)) else { return false };
        let packet = index.and_then(|index| self.stream.packets.get(index)).filter(|packet| packet.last == cause);
        let header = packet
            .and_then(|packet| Frame::parse_header(&packet.bytes).ok())
            .map(|(frame, _)| (frame.op.number(), frame.group, frame.sequence, frame.command));
        header != Some((message.op, message.group, message.sequence, message.command))
    }

    /// Whether the requests can be read: a capture may hold only what went over the air.
    pub(super) fn is_decoded(&self) -> bool {
        self.arrived == 0 || self.decoded > 0
    }

    /// The request at this place.
    pub(super) fn request(&self, at: usize) -> Option<&SmpMessage> {
        match self.entries.get(at).map(|entry| &entry.event) {
            Some(Event::Request(request)) => Some(request),
            _ => None,
        }
    }

    /// What the initiator did after this entry: sent something, ended well, ended badly.
    pub(super) fn then(&self, at: usize) -> Then {
        let rest = self.entries.get(at + 1..).unwrap_or_default();
        rest.iter()
            .find_map(|entry| match &entry.event {
                Event::Sent(_) => Some(Then::GoesOn(entry.place)),
                Event::Exited(Some(0)) | Event::Reported { success: true, .. } => Some(Then::EndsWell(entry.place)),
                Event::Exited(_) | Event::Reported { success: false, .. } => Some(Then::EndsBadly(entry.place)),
                _ => None,
            })
            .unwrap_or(Then::Nothing)
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

/// Which answer belongs to which request.
fn pairs(entries: &[Entry<'_>]) -> BTreeMap<usize, usize> {
    let mut open: Vec<(usize, &SmpMessage)> = Vec::new();
    let mut pairs = BTreeMap::new();
    let key = |message: &SmpMessage| (message.group, message.command, message.sequence);
    for (at, entry) in entries.iter().enumerate() {
        match &entry.event {
            Event::Started => open.clear(),
            Event::Request(request) => {
                // The number is used again: what had it is not waited for any more, unless this is it again.
                open.retain(|(_, other)| key(other) != key(request) || same(other, request));
                open.push((at, request));
            }
            Event::Answer(answer) => {
                if let Some(place) = open.iter().position(|(_, other)| key(other) == key(answer)) {
                    pairs.insert(at, open.remove(place).0);
                }
            }
            _ => {}
        }
    }
    pairs
}

/// Whether both are the same request but for version and sequence number.
pub(super) fn same(one: &SmpMessage, other: &SmpMessage) -> bool {
    (one.op, one.group, one.command, &one.body) == (other.op, other.group, other.command, &other.body)
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

/// One entry of a list of images; flags that are left out are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed<'a> {
    /// Image number; 0 when it is left out.
    pub(super) image: i64,
    pub(super) slot: i64,
    pub(super) hash: Option<&'a str>,
    pub(super) pending: bool,
    pub(super) confirmed: bool,
    pub(super) active: bool,
    pub(super) permanent: bool,
}

impl Listed<'_> {
    /// Whether the next boot swaps it in, for test or for good.
    pub(super) fn is_marked(&self) -> bool {
        self.pending || self.permanent
    }

    /// Whether it is the image with this hash, or has none that could be compared with it.
    pub(super) fn may_be(&self, hash: Option<&str>) -> bool {
        match (self.hash, hash) {
            (Some(own), Some(other)) => own == other || own.len() != other.len(),
            _ => true,
        }
    }

    /// Whether it runs, and the next boot goes back to another one.
    pub(super) fn is_in_test(&self) -> bool {
        self.active && !self.confirmed
    }
}

/// The list of images in an answer to a state request; `None` for anything else and for failures.
pub(super) fn listed(answer: &SmpMessage) -> Option<Vec<Listed<'_>>> {
    if !is(answer, Command::ImageState) || answer.failure().is_some() {
        return None;
    }
    let images = answer.body.get("images").and_then(Field::list)?;
    let entry = |image| {
        let number = |key: &str| Field::get(image, key).and_then(Field::number);
        let flag = |key: &str| Field::get(image, key).and_then(Field::boolean).unwrap_or(false);
        Listed {
            image: number("image").unwrap_or(0),
            slot: number("slot").unwrap_or(-1),
            hash: Field::get(image, "hash").and_then(Field::hex),
            pending: flag("pending"),
            confirmed: flag("confirmed"),
            active: flag("active"),
            permanent: flag("permanent"),
        }
    };
    Some(images.iter().map(entry).collect())
}

/// Whether it is a write of the image state: test or confirm.
pub(super) fn writes_state(request: &SmpMessage) -> bool {
    is(request, Command::ImageState) && request.is_write()
}

/// Op of the answer to a write.
const WRITE_RESPONSE: u8 = 3;

/// Whether it answers a write of the image state.
pub(super) fn answers_state_write(answer: &SmpMessage) -> bool {
    is(answer, Command::ImageState) && answer.op == WRITE_RESPONSE
}

/// The hash that a write of the image state names; an empty one is none.
pub(super) fn named_hash(request: &SmpMessage) -> Option<&str> {
    request.body.get("hash").and_then(Field::hex).filter(|hash| !hash.is_empty())
}

/// How a request was answered, in words.
pub(super) fn words(answer: &SmpMessage) -> String {
    match answer.failure() {
        Some((Some(group), rc)) => format!("was answered with err: group {group}, rc {rc}"),
        Some((None, rc)) => format!("was answered with rc {rc}"),
        None => "was answered".to_owned(),
    }
}
