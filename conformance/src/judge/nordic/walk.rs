//! A trace gone through once: what is known of the session before each of its events.
//!
//! Offsets are those of the initiator: what it has sent, whether or not it arrived. Where the device tells another
//! offset, and the initiator goes on there, that is its offset from then on.

use brickproof_flash_model::image::nordic::{PackageImage, crc32};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::wire::{COMMAND, DATA, Payload, Request, SUCCESS, opcode};

use super::view::{Entry, Event, Said, View, Written};
use crate::judge::view::Place;

/// ATT MTU of a connection on which none was exchanged.
const MTU_MIN: u16 = 23;
/// Bytes of the steps at which CRCs of the beginnings of an image are kept.
const STEP: usize = 4;

/// Offset and CRC that a device has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) place: Place,
    pub(super) by: ReportBy,
    pub(super) offset: usize,
    pub(super) crc: u32,
}

/// What a report came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportBy {
    /// It was asked for.
    Crc,
    /// A packet was its turn.
    Receipt,
    /// An object was selected.
    Select,
}

/// What an object is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) max_size: usize,
    pub(super) report: Report,
}

/// An object that is being sent; offsets are from the start of the init packet or the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) kind: u8,
    pub(super) start: usize,
    pub(super) end: usize,
    /// What the initiator sends next.
    pub(super) at: usize,
    /// Whether it was created on this connection.
    pub(super) created: bool,
    /// When the device had created it, in microseconds.
    pub(super) since_us: u64,
    /// Packets on this connection.
    pub(super) packets: u32,
    /// Packets that had no receipt when it was created.
    pub(super) left_over: u32,
    /// Whether a fault struck, or a packet was dropped, since it was created.
    pub(super) troubled: bool,
    /// Whether bytes were sent that do not belong here.
    pub(super) strange: bool,
}

impl Object {
    /// Whether all of it was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.at >= self.end
    }
}

/// Why the bytes that come next are not simply those after the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// They are.
    Nothing,
    /// The device has told a CRC that is not that of what was sent.
    Wrong(Place),
    /// The device has told fewer bytes than were sent, and the CRC of them.
    Short(Place),
    /// After a lost link the device has told what it has.
    Resumed(Place),
    /// The same, and it is not the beginning of the image.
    Foreign(Place),
}

/// Where in the image the bytes of a packet are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// Where they belong: at this offset.
    Right(usize),
    /// Somewhere else.
    Elsewhere(usize),
    /// Nowhere.
    Nowhere,
    /// Nobody can tell: no object, or no package.
    Unknown,
}

/// A request that waits for its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) place: Place,
    pub(super) opcode: u8,
    /// The object that it is about.
    pub(super) object: u8,
}

/// What is known before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Connections so far.
    pub(super) connections: u32,
    pub(super) up: bool,
    /// Whether notifications of the control point are on.
    pub(super) notified: bool,
    /// MTU in force, and that asked for.
    pub(super) mtu: u16,
    pub(super) asked: Option<u16>,
    pub(super) open: Option<Open>,
    /// The object that requests without a type are about.
    pub(super) current: u8,
    /// Packets for which the device notifies, as far as it was told; it does not forget it with the connection.
    pub(super) prn: u16,
    pub(super) prn_set: bool,
    /// Packets since the count began.
    pub(super) unreceipted: u32,
    /// When the last packet came, in microseconds.
    pub(super) packet_us: u64,
    /// Whether init packet and data were asked about on this connection.
    pub(super) asked_command: bool,
    pub(super) asked_data: bool,
    pub(super) command: Option<Selected>,
    pub(super) data: Option<Selected>,
    /// Whether an init packet was created on this connection.
    pub(super) created_command: bool,
    /// Execute requests on this connection.
    pub(super) executed_command: bool,
    pub(super) executed_data: u32,
    /// Where the next data object begins.
    pub(super) next: usize,
    pub(super) object: Option<Object>,
    /// The last report since the last packet.
    pub(super) report: Option<Report>,
    pub(super) since: Since,
    /// Whether an earlier connection has ended in the middle of an image.
    pub(super) resumes: bool,
    /// Whether an image has been begun and not completed.
    began: bool,
    /// Images of the package that the session may be about, a bit each.
    images: u32,
}

impl State {
    fn start() -> Self {
        Self {
            connections: 0,
            up: false,
            notified: false,
            mtu: MTU_MIN,
            asked: None,
            open: None,
            current: COMMAND,
            prn: 0,
            prn_set: false,
            unreceipted: 0,
            packet_us: 0,
            asked_command: false,
            asked_data: false,
            command: None,
            data: None,
            created_command: false,
            executed_command: false,
            executed_data: 0,
            next: 0,
            object: None,
            report: None,
            since: Since::Nothing,
            resumes: false,
            began: false,
            images: u32::MAX,
        }
    }

    /// A connection begins, or on a serial line a new start.
    fn again(&self) -> Self {
        Self {
            connections: self.connections,
            current: self.current,
            prn: self.prn,
            unreceipted: self.unreceipted,
            resumes: self.began,
            began: self.began,
            ..Self::start()
        }
    }

    /// The images that the session may be about.
    pub(super) fn images<'v>(&self, view: &'v View<'_>) -> impl Iterator<Item = (usize, &'v PackageImage)> {
        let images = self.images;
        view.images().iter().enumerate().filter(move |(index, _)| images >> (index & 31) & 1 == 1)
    }

    /// Leaves the images of which this holds, if there are any.
    fn narrow(&mut self, view: &View<'_>, holds: impl Fn(usize, &PackageImage) -> bool) {
        let left = self
            .images(view)
            .filter(|(index, image)| holds(*index, image))
            .fold(0, |left, (index, _)| left | 1 << (index & 31));
        if left != 0 {
            self.images = left;
        }
    }

    /// Whether the image ends here, if it is known at all.
    pub(super) fn is_end(&self, view: &View<'_>, offset: usize) -> bool {
        self.images(view).any(|(_, image)| image.firmware.len() == offset)
    }

    /// Where the data that an execute is about ends.
    pub(super) fn executed_end(&self) -> usize {
        self.object.filter(|object| object.kind == DATA).map_or(self.next, |object| object.end)
    }

    /// Whether an execute now is the last one of an image.
    pub(super) fn executes_last(&self, view: &View<'_>) -> bool {
        self.current == DATA && self.is_end(view, self.executed_end())
    }
}

/// CRCs of the beginnings of something.
#[derive(Debug)]
struct Beginnings<'v> {
    bytes: &'v [u8],
    crcs: Vec<u32>,
}

impl<'v> Beginnings<'v> {
    fn new(bytes: &'v [u8]) -> Self {
        let mut crc = crc32(&[], 0);
        let mut crcs = vec![crc];
        for step in bytes.chunks(STEP) {
            crc = crc32(step, crc);
            crcs.push(crc);
        }
        Self { bytes, crcs }
    }

    fn crc(&self, offset: usize) -> Option<u32> {
        if offset == self.bytes.len() {
            return self.crcs.last().copied();
        }
        let before = *self.crcs.get(offset / STEP)?;
        let rest = self.bytes.get(offset / STEP * STEP..offset)?;
        Some(crc32(rest, before))
    }
}

/// A trace with what is known before each of its events.
pub(super) struct Walk<'v, 'a> {
    pub(super) view: &'v View<'a>,
    states: Vec<State>,
    placed: Vec<Placed>,
    inits: Vec<Beginnings<'v>>,
    firmwares: Vec<Beginnings<'v>>,
}

/// An event with what is known before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'v, 'a> {
    /// Its place among the entries.
    pub(super) at: usize,
    pub(super) place: Place,
    pub(super) event: &'v Event<'a>,
    pub(super) state: &'v State,
    /// Of a packet.
    pub(super) placed: Placed,
}

impl<'v, 'a> Walk<'v, 'a> {
    pub(super) fn new(view: &'v View<'a>) -> Self {
        let images = view.images();
        let mut walk = Self {
            view,
            states: Vec::with_capacity(view.entries.len()),
            placed: Vec::with_capacity(view.entries.len()),
            inits: images.iter().map(|image| Beginnings::new(&image.init)).collect(),
            firmwares: images.iter().map(|image| Beginnings::new(&image.firmware)).collect(),
        };
        let mut state = State::start();
        for entry in &view.entries {
            walk.states.push(state);
            let placed = walk.follow(&mut state, entry);
            walk.placed.push(placed);
        }
        walk
    }

    pub(super) fn moments(&self) -> impl Iterator<Item = Moment<'_, 'a>> {
        self.from(0)
    }

    /// The same, behind a moment.
    pub(super) fn after(&self, at: usize) -> impl Iterator<Item = Moment<'_, 'a>> {
        self.from(at + 1)
    }

    fn from(&self, first: usize) -> impl Iterator<Item = Moment<'_, 'a>> {
        (first..self.states.len()).filter_map(|at| {
            let entry = self.view.entries.get(at)?;
            let (state, placed) = (self.states.get(at)?, *self.placed.get(at)?);
            Some(Moment { at, place: entry.place, event: &entry.event, state, placed })
        })
    }

    /// Whether offset and CRC of a report are those of a beginning of an image, or an init packet, that the session may
    /// be about. Where other bytes were sent, what the CRC should be is not known here.
    pub(super) fn fits(&self, state: &State, kind: u8, report: &Report) -> bool {
        let strange = state.object.is_some_and(|object| object.kind == kind && object.strange);
        if strange || self.view.images().is_empty() {
            return true;
        }
        let beginnings = if kind == COMMAND { &self.inits } else { &self.firmwares };
        state
            .images(self.view)
            .any(|(index, _)| beginnings.get(index).and_then(|own| own.crc(report.offset)) == Some(report.crc))
    }

    fn follow(&self, state: &mut State, entry: &Entry<'a>) -> Placed {
        match &entry.event {
            Event::Connected { .. } => {
                *state = State { connections: state.connections + 1, up: true, ..state.again() };
            }
            Event::Disconnected { .. } => (state.up, state.notified, state.open) = (false, false, None),
            // Another process may have left the connection to this one. A line has none: there a step begins anew.
            Event::Started | Event::Step(_) if !state.up => *state = state.again(),
            Event::Fault | Event::Dropped { .. } => {
                if let Some(object) = &mut state.object {
                    object.troubled = true;
                }
            }
            Event::Boot(_) => {
                // A serial line does not end with the reset, but a session does.
                if !state.up {
                    *state = state.again();
                }
                (state.prn, state.unreceipted) = (0, 0);
            }
            Event::Link(brickproof_simulator::trace::LinkEvent::Mtu { asked, mtu, .. }) => {
                (state.asked, state.mtu) = (Some(*asked), *mtu);
            }
            Event::Switched { endpoint: Endpoint::ControlPoint, notifications, .. } => state.notified = *notifications,
            Event::Request(written, Some(request)) if written.arrived() => self.request(state, entry.place, request),
            Event::Packet(written) => return self.packet(state, entry.place, written),
            Event::Response(said) => self.response(state, entry.place, said),
            _ => {}
        }
        Placed::Unknown
    }

    fn request(&self, state: &mut State, place: Place, request: &Request) {
        match request {
            Request::Select { object } => {
                state.current = *object;
                state.asked_command |= *object == COMMAND;
                state.asked_data |= *object == DATA;
                if *object == COMMAND {
                    state.images = u32::MAX;
                }
            }
            Request::Create { object, size } => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                state.current = *object;
                let start = if *object == COMMAND { 0 } else { state.next };
                // Whatever made it create the object again, here is why it had to.
                if let (DATA, Some(report), Since::Nothing) = (*object, state.report, state.since)
                    && state.object.is_some()
                    && !self.fits(state, DATA, &report)
                {
                    state.since = Since::Wrong(report.place);
                }
                state.object = Some(Object {
                    kind: *object,
                    start,
                    end: start.saturating_add(size),
                    at: start,
                    created: true,
                    since_us: place.at_us,
                    packets: 0,
                    left_over: state.unreceipted,
                    troubled: false,
                    strange: false,
                });
                (state.unreceipted, state.report) = (0, None);
                if *object == COMMAND {
                    // All begins again, perhaps with another image.
                    (state.next, state.created_command, state.executed_data, state.images) = (0, true, 0, u32::MAX);
                    state.narrow(self.view, |_, image| image.init.len() == size);
                }
            }
            Request::SetPrn(packets) => (state.prn, state.prn_set, state.unreceipted) = (*packets, true, 0),
            Request::Execute if state.current == COMMAND => {
                (state.executed_command, state.asked_data, state.began) = (true, false, true);
            }
            Request::Execute => state.executed_data += 1,
            // Nobody answers a give-up.
            Request::Abort => return,
            _ => {}
        }
        state.open = Some(Open { place, opcode: request.opcode(), object: state.current });
    }

    fn response(&self, state: &mut State, place: Place, said: &Said) {
        let Some(response) = said.response() else { return };
        let report =
            |by, offset: u32, crc| Report { place, by, offset: usize::try_from(offset).unwrap_or(usize::MAX), crc };
        let answers = state.open.is_some_and(|open| open.opcode == opcode::CRC);
        if said.receipt || (response.request == opcode::CRC && !answers) {
            state.unreceipted = 0;
            if let Payload::Crc { offset, crc } = response.payload {
                state.report = Some(report(ReportBy::Receipt, offset, crc));
            }
            return;
        }
        let open = state.open.take();
        let Some(open) = open.filter(|open| open.opcode == response.request) else { return };
        match response.payload {
            Payload::Select { max_size, offset, crc } => {
                let report = report(ReportBy::Select, offset, crc);
                let selected = Selected { max_size: usize::try_from(max_size).unwrap_or(usize::MAX), report };
                self.selected(state, place, open.object, selected);
            }
            Payload::Crc { offset, crc } => {
                let report = report(ReportBy::Crc, offset, crc);
                state.report = Some(report);
                // The receipt that was due is not coming any more.
                if state.prn > 0 && state.unreceipted >= u32::from(state.prn) {
                    state.unreceipted %= u32::from(state.prn);
                }
                if let Some(object) = state.object.filter(|object| object.kind == DATA && object.is_sent()) {
                    let fits = self.fits(state, DATA, &report);
                    state.since = match (fits, report.offset == object.end) {
                        (true, true) => Since::Nothing,
                        (true, false) if report.offset < object.end => Since::Short(place),
                        _ => Since::Wrong(place),
                    };
                }
            }
            _ => {}
        }
        match (open.opcode, response.result == SUCCESS, open.object) {
            (opcode::CREATE, true, _) => {
                if let Some(object) = &mut state.object {
                    object.since_us = place.at_us;
                }
            }
            (opcode::CREATE, false, _) => state.object = None,
            (opcode::EXECUTE, true, DATA) => {
                let end = state.executed_end();
                state.began = !state.is_end(self.view, end);
                // That an object is executed again tells nothing of what the device has.
                if state.object.is_some() {
                    state.since = Since::Nothing;
                }
                (state.next, state.object) = (end, None);
            }
            (opcode::EXECUTE, true, _) => state.object = None,
            _ => {}
        }
    }

    fn selected(&self, state: &mut State, place: Place, kind: u8, selected: Selected) {
        let report = selected.report;
        state.report = Some(report);
        if kind == COMMAND {
            state.command = Some(selected);
            if report.offset == 0 {
                return;
            }
            let inits = &self.inits;
            state.narrow(self.view, |index, _| {
                inits.get(index).and_then(|init| init.crc(report.offset)) == Some(report.crc)
            });
            let end = state.images(self.view).map(|(_, image)| image.init.len()).max().unwrap_or(report.offset);
            state.object = Some(resumed(COMMAND, 0, end, &report, place));
            return;
        }
        state.data = Some(selected);
        let max = selected.max_size.max(1);
        state.next = report.offset / max * max;
        state.object = None;
        let len = state.images(self.view).map(|(_, image)| image.firmware.len()).max();
        if !report.offset.is_multiple_of(max) && Some(report.offset) != len {
            let end = state.next.saturating_add(max).min(len.unwrap_or(usize::MAX));
            state.object = Some(resumed(DATA, state.next, end, &report, place));
        } else if Some(report.offset) == len {
            state.next = report.offset;
        }
        state.since = match (report.offset, self.fits(state, DATA, &report)) {
            (0, _) if !state.resumes => Since::Nothing,
            (_, true) => Since::Resumed(place),
            (_, false) => Since::Foreign(place),
        };
    }

    fn packet(&self, state: &mut State, place: Place, written: &Written<'_>) -> Placed {
        state.packet_us = place.at_us;
        if written.arrived() {
            state.unreceipted = state.unreceipted.saturating_add(1);
        }
        let Some(mut object) = state.object.filter(|object| object.kind == state.current) else {
            state.report = None;
            return Placed::Unknown;
        };
        let (placed, at) = self.place(state, &object, written);
        if let (Placed::Right(_), COMMAND) = (placed, object.kind) {
            state.narrow(self.view, |_, image| is_at(&image.init, at, &written.bytes));
        }
        // An object is where its first bytes are: what follows them is right, however wrong they were.
        if object.packets == 0 && object.created && at != object.start {
            object.end = at.saturating_add(object.end.saturating_sub(object.start));
            (object.start, state.next) = (at, at);
        }
        object.strange |= matches!(placed, Placed::Elsewhere(_) | Placed::Nowhere);
        object.at = at.saturating_add(written.len);
        object.packets = object.packets.saturating_add(1);
        (state.object, state.report, state.since, state.began) = (Some(object), None, Since::Nothing, true);
        placed
    }

    /// Where the bytes of a packet are, and at what offset the initiator sends them.
    fn place(&self, state: &State, object: &Object, written: &Written<'_>) -> (Placed, usize) {
        let whole = |image: &'v PackageImage| -> &'v [u8] {
            if object.kind == COMMAND { &image.init } else { &image.firmware }
        };
        let images = || state.images(self.view).filter_map(|(index, _)| self.view.images().get(index));
        if images().next().is_none() || written.bytes.is_empty() {
            return (Placed::Unknown, object.at);
        }
        let told =
            state.report.map(|report| report.offset).filter(|offset| (object.start..object.end).contains(offset));
        let foreign = matches!(state.since, Since::Foreign(_));
        let before = state.data.filter(|_| foreign && object.kind == DATA && object.created && object.packets == 0);
        let before = before.and_then(|data| object.start.checked_sub(data.max_size));
        for offset in [Some(object.at), told, before].into_iter().flatten() {
            if images().any(|image| is_at(whole(image), offset, &written.bytes)) {
                return (Placed::Right(offset), offset);
            }
        }
        let find = |image: &'v PackageImage| {
            whole(image).windows(written.bytes.len()).position(|window| window == written.bytes)
        };
        match images().find_map(find) {
            Some(offset) => (Placed::Elsewhere(offset), offset),
            None => (Placed::Nowhere, object.at),
        }
    }
}

fn resumed(kind: u8, start: usize, end: usize, report: &Report, place: Place) -> Object {
    Object {
        kind,
        start,
        end,
        at: report.offset,
        created: false,
        since_us: place.at_us,
        packets: 0,
        left_over: 0,
        troubled: false,
        strange: false,
    }
}

fn is_at(whole: &[u8], offset: usize, bytes: &[u8]) -> bool {
    offset.checked_add(bytes.len()).and_then(|end| whole.get(offset..end)) == Some(bytes)
}
