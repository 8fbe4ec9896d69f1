//! Checks of the requirements on initiators of Legacy DFU over Bluetooth LE, NL-01 to NL-09: one pass over what the
//! initiator wrote and was told, as it went over the air.
//!
//! A serial line has none of it: its packets are acknowledged one by one, and nothing else is said.

use brickproof_simulator::gatt::{Uuid, opcode as att};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::legacy::wire::{Answer, Request, opcode, parse_sizes};
use brickproof_simulator::trace::{AttRecord, Direction, EndedBy, InitiatorEvent, Kind, LinkEvent, Record};

use super::view::Place;
use super::{CheckOutcome, Seen};

/// The requirements judged here.
const IDS: [&str; 9] = ["NL-01", "NL-02", "NL-03", "NL-04", "NL-05", "NL-06", "NL-07", "NL-08", "NL-09"];
const SUCCESS: u8 = 1;
const INVALID_STATE: u8 = 2;
/// Version of an application.
const APPLICATION: [u8; 2] = [1, 0];

/// Ids of the requirements that have a check here.
pub(super) fn checked() -> impl Iterator<Item = &'static str> {
    IDS.into_iter()
}

/// What comes of every check.
pub(super) fn outcomes(trace: &[Record]) -> Vec<(&'static str, CheckOutcome)> {
    let mut pass = Pass::default();
    for record in trace {
        pass.record(record);
    }
    let seen = pass.seen;
    let outcome = |seen: Seen| {
        if pass.shows_att { seen.outcome() } else { CheckOutcome::NotObservable { missing: "the Attribute Protocol" } }
    };
    IDS.into_iter().zip(seen.map(outcome)).collect()
}

/// A requirement, as an index.
#[derive(Clone, Copy)]
enum Nl {
    Version,
    Sizes,
    Erased,
    Busy,
    Init,
    Packets,
    Receipts,
    Validated,
    Reset,
}

/// What the next packet is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Nothing,
    Sizes {
        mode: u8,
    },
    /// Nothing: the sizes have come, and no request since.
    Bare,
    Init,
    Image,
}

/// Receipts of an image.
#[derive(Default)]
struct Receipts {
    /// Packets between two; 0 for none.
    every: u16,
    packets: u64,
    bytes: u64,
    /// Counts that are right, of receipts that are due.
    due: std::collections::VecDeque<u64>,
    /// The last one was wrong: how.
    wrong: Option<String>,
}

/// What is known of a run so far.
#[derive(Default)]
struct Pass {
    seen: [Seen; 9],
    shows_att: bool,
    /// An application runs, and not its bootloader.
    in_application: bool,
    read_version: bool,
    next: Next,
    /// The bootloader is asked for, or an upload begun, and no sizes have followed.
    started: Option<Place>,
    /// Flash is being erased.
    erasing: bool,
    /// "Invalid state" is the answer to the sizes.
    busy: bool,
    init_begun: bool,
    init_ended: bool,
    init_taken: bool,
    valid: bool,
    receipts: Receipts,
    /// An answer was an error, and nothing was done about it so far.
    error: Option<u8>,
}

impl Pass {
    fn met(&mut self, of: Nl, at: Place) {
        if let Some(seen) = self.seen.get_mut(of as usize) {
            seen.met(at.n);
        }
    }

    fn violated(&mut self, of: Nl, at: Place, happened: impl Into<String>) {
        if let Some(seen) = self.seen.get_mut(of as usize) {
            seen.violated(&at, happened);
        }
    }

    fn judge(&mut self, of: Nl, at: Place, holds: bool, happened: impl FnOnce() -> String) {
        if holds { self.met(of, at) } else { self.violated(of, at, happened()) }
    }

    fn record(&mut self, record: &Record) {
        let at = Place { n: record.n, at_us: record.at_us };
        match &record.kind {
            Kind::Att(att) if att.lost.is_none() => {
                self.shows_att = true;
                self.att(at, att);
            }
            Kind::Boot(boot) => {
                let shows_att = self.shows_att;
                let seen = std::mem::take(&mut self.seen);
                *self = Self { seen, shows_att, in_application: boot.running.is_some(), ..Self::default() };
            }
            Kind::Power(_) => (self.error, self.started) = (None, None),
            // What it makes of that is not what it would do by itself.
            Kind::Fault { state, .. } if state == "fired" => (self.error, self.started) = (None, None),
            Kind::Link(LinkEvent::Connected { .. }) => {
                self.shows_att = true;
                (self.read_version, self.started) = (false, None);
            }
            Kind::Link(LinkEvent::Disconnected { by: EndedBy::Central, .. }) => self.leaves(at),
            Kind::Link(LinkEvent::Disconnected { .. }) => (self.error, self.started) = (None, None),
            Kind::Initiator(InitiatorEvent::Exited { .. } | InitiatorEvent::Reported { .. }) => self.leaves(at),
            _ => {}
        }
    }

    /// The initiator ends the connection, or is done.
    fn leaves(&mut self, at: Place) {
        if let Some(begun) = self.started.take()
            && !self.in_application
        {
            self.violated(Nl::Version, begun, "a bootloader is asked for itself: no sizes follow");
        }
        if let Some(status) = self.error.take() {
            self.violated(
                Nl::Reset,
                at,
                format!("leaves after status {status}, and the bootloader stays in the upload"),
            );
        }
    }

    fn att(&mut self, at: Place, att: &AttRecord) {
        let endpoint = att.uuid.as_deref().and_then(|uuid| uuid.parse::<Uuid>().ok()).and_then(Endpoint::of_uuid);
        let value = hex::decode(&att.value).unwrap_or_default();
        let len = usize::try_from(att.len).unwrap_or(usize::MAX);
        match (att.direction, endpoint, att.opcode) {
            (Direction::FromTarget, Some(Endpoint::LegacyVersion), att::READ_RESPONSE) => {
                self.read_version = true;
                let application = value == APPLICATION;
                self.in_application = application;
            }
            (Direction::FromTarget, Some(Endpoint::LegacyControlPoint), att::NOTIFICATION) => {
                if let Some(answer) = Answer::parse(&value) {
                    self.answer(at, answer);
                }
            }
            (Direction::ToTarget, Some(Endpoint::LegacyControlPoint), att::WRITE_REQUEST | att::WRITE_COMMAND)
                if att.error.is_none() =>
            {
                if let Ok(request) = Request::parse(&value) {
                    self.request(at, request);
                }
            }
            (Direction::ToTarget, Some(Endpoint::LegacyPacket), att::WRITE_REQUEST | att::WRITE_COMMAND)
                if att.error.is_none() =>
            {
                self.packet(at, &value, len, att.mtu);
            }
            _ => {}
        }
    }

    fn answer(&mut self, at: Place, answer: Answer) {
        match answer {
            Answer::Response { request, status } => {
                let done = status == SUCCESS;
                match request {
                    opcode::START => {
                        self.erasing = false;
                        self.busy = status == INVALID_STATE;
                    }
                    opcode::INIT => self.init_taken = done,
                    opcode::VALIDATE => self.valid = done,
                    _ => {}
                }
                // What is to be done about another upload is a requirement of its own.
                if !done && !self.busy {
                    self.error = Some(status);
                }
            }
            Answer::Receipt(bytes) => {
                if let Some(due) = self.receipts.due.pop_front() {
                    let right = u64::from(bytes) == due;
                    self.receipts.wrong =
                        (!right).then(|| format!("goes on behind a receipt of {bytes} bytes where {due} were sent"));
                    if right {
                        self.met(Nl::Receipts, at);
                    }
                }
            }
            Answer::Size(_) => {}
        }
    }

    fn request(&mut self, at: Place, request: Request) {
        if std::mem::take(&mut self.busy) {
            let resets = request == Request::Reset;
            self.judge(Nl::Busy, at, resets, || format!("{} follows \"invalid state\"", request.call()));
        }
        match request {
            Request::Start { mode } => self.start(at, mode),
            Request::InitBegin => {
                let erased = !self.erasing;
                self.judge(Nl::Erased, at, erased, || "the init packet begins while flash is erased".into());
                (self.init_begun, self.init_ended, self.init_taken, self.next) = (true, false, false, Next::Init);
            }
            Request::InitEnd => {
                self.init_ended = true;
                if !self.init_begun {
                    self.violated(Nl::Init, at, "an init packet ends that has not begun");
                }
            }
            Request::Receive => {
                let taken = self.init_begun && self.init_ended && self.init_taken;
                self.judge(Nl::Init, at, taken, || "the image begins before the init packet is taken".into());
                self.next = Next::Image;
                self.receipts = Receipts { every: self.receipts.every, ..Receipts::default() };
            }
            Request::Activate => {
                let valid = self.valid;
                self.judge(Nl::Validated, at, valid, || "an image is activated that was not found valid".into());
                self.error = None;
            }
            Request::Reset => {
                if self.error.take().is_some() {
                    self.met(Nl::Reset, at);
                }
            }
            Request::Prn(packets) => self.receipts.every = packets,
            Request::Validate | Request::ReportSize => {}
        }
    }

    fn start(&mut self, at: Place, mode: u8) {
        self.started = Some(at);
        if self.in_application {
            let read = self.read_version;
            self.judge(Nl::Version, at, read, || "asks for the bootloader, and has not read the version".into());
        }
        (self.next, self.erasing, self.valid) = (Next::Sizes { mode }, false, false);
        (self.init_begun, self.init_ended, self.init_taken, self.error) = (false, false, false, None);
    }

    fn packet(&mut self, at: Place, value: &[u8], len: usize, mtu: u16) {
        match self.next {
            Next::Nothing => {}
            Next::Bare => self.violated(Nl::Init, at, "a packet follows the sizes, and no request says what it is"),
            Next::Sizes { mode } => {
                (self.started, self.next) = (None, Next::Bare);
                if self.in_application {
                    return self.violated(Nl::Version, at, "sizes are sent to an application");
                }
                self.erasing = true;
                let wrong = wrong_sizes(mode, value, len);
                self.judge(Nl::Sizes, at, wrong.is_none(), || wrong.unwrap_or_default());
            }
            Next::Init => {
                if self.init_ended {
                    self.violated(Nl::Init, at, "a packet follows the end of the init packet");
                }
            }
            Next::Image => self.image(at, len, mtu),
        }
    }

    fn image(&mut self, at: Place, len: usize, mtu: u16) {
        let max = usize::from(mtu.saturating_sub(3));
        let fits = len.is_multiple_of(4) && len <= max;
        self.judge(Nl::Packets, at, fits, || format!("a packet has {len} bytes: not whole words, at most {max} bytes"));
        if let Some(wrong) = self.receipts.wrong.take() {
            self.violated(Nl::Receipts, at, wrong);
        }
        let receipts = &mut self.receipts;
        receipts.packets += 1;
        receipts.bytes = receipts.bytes.saturating_add(len as u64);
        let every = u64::from(receipts.every);
        if every == 0 {
            return;
        }
        // The packet is one too many if a receipt for all of those before it is due.
        let open = !receipts.due.is_empty();
        if receipts.packets.is_multiple_of(every) {
            receipts.due.push_back(receipts.bytes);
        }
        if open {
            self.violated(Nl::Receipts, at, format!("more than {every} packets are sent without a receipt"));
        }
    }
}

/// What is wrong with the sizes.
fn wrong_sizes(mode: u8, value: &[u8], len: usize) -> Option<String> {
    let Some(sizes) = parse_sizes(value).filter(|_| len == value.len()) else {
        return Some(format!("the sizes have {len} bytes, and not 12"));
    };
    if !(1..=4).contains(&mode) {
        return Some(format!("mode {mode} is none of SoftDevice, bootloader, both, or application"));
    }
    let [softdevice, bootloader, application] = sizes.map(|size| size != 0);
    let of_sizes = u8::from(softdevice) | u8::from(bootloader) << 1 | u8::from(application) << 2;
    (of_sizes != mode).then(|| format!("mode {mode} with sizes of {sizes:?} bytes"))
}
