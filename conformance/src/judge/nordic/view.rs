//! A trace of Nordic's DFU as its checks read it: what the initiator wrote, what it was told, and what happened to both.
//!
//! What the initiator wrote is taken from the Attribute Protocol, or the frames of a serial line, and so is there as it
//! left the initiator, whatever the air made of it. What it was told are the bytes that it got.

use std::collections::BTreeMap;

use brickproof_flash_model::image::nordic::{Package, PackageImage};
use brickproof_simulator::gatt::{Uuid, opcode};
use brickproof_simulator::nordic::wire::{Malformed, Request, Response};
use brickproof_simulator::nordic::{DfuMessage, Endpoint};
use brickproof_simulator::trace::{
    AttRecord, BootRecord, Direction, EndedBy, InitiatorEvent, Kind, LinkEvent, Record, SerialPart,
};

use crate::judge::view::Place;
use crate::scenario::ImageSet;

/// How something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By an operation of the Attribute Protocol, with this opcode.
    Att(u8),
    /// In a frame of a serial line.
    Serial,
}

/// What the initiator wrote to the control point, the packet characteristic or a buttonless one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written<'a> {
    pub(super) to: Endpoint,
    pub(super) way: Way,
    pub(super) bytes: Vec<u8>,
    /// Length in bytes: of a long one not all bytes are in the trace.
    pub(super) len: usize,
    /// ATT MTU in force.
    pub(super) mtu: u16,
    /// Whether the link was encrypted.
    pub(super) encrypted: bool,
    /// ATT error with which it was refused.
    pub(super) error: Option<u8>,
    /// What is wrong with its length, as a request.
    pub(super) malformed: Option<Malformed>,
    /// What the device took it for.
    pub(super) call: Option<&'a str>,
}

impl Written<'_> {
    /// Whether the device has got it.
    pub(super) fn arrived(&self) -> bool {
        self.error.is_none()
    }
}

/// What a device said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    /// Whether it is for packets, and not for a request.
    pub(super) receipt: bool,
}

impl Said {
    pub(super) fn response(&self) -> Option<Response> {
        Response::parse(&self.bytes)
    }
}

/// Something that checks look at.
#[derive(Debug, Clone)]
pub(super) enum Event<'a> {
    /// A process of the initiator starts.
    Started,
    /// It begins a step.
    Step(&'a str),
    /// It says how it went, or a process of it ends.
    Ended { success: bool },
    /// What is done to the target after the initiator is done begins.
    Finally,
    /// A connection begins.
    Connected { address: Option<&'a str> },
    /// A connection has ended.
    Disconnected { by: EndedBy },
    /// Anything else about a connection.
    Link(&'a LinkEvent),
    /// Notifications or indications of an endpoint were switched.
    Switched { endpoint: Endpoint, notifications: bool, indications: bool },
    /// An operation on an attribute that is not one of those below.
    Att(&'a AttRecord),
    /// A request to the control point, as far as it is one: what is too long is read without its end.
    Request(Written<'a>, Option<Request>),
    /// A packet.
    Packet(Written<'a>),
    /// A notification of the control point.
    Response(Said),
    /// A request to a buttonless service.
    Enter(Written<'a>),
    /// What a buttonless service says, by a notification or an indication.
    Status { bytes: Vec<u8>, indicated: bool },
    /// An indication was confirmed.
    Confirmed,
    /// A packet or a request was lost for want of room.
    Dropped { pool: &'a str },
    /// A fault of the scenario strikes.
    Fault,
    /// The device resets because nothing has happened for too long.
    Inactive,
    /// A boot ended.
    Boot(&'a BootRecord),
    /// Supply was lost, or a reset.
    Power,
}

/// An event with its place.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) place: Place,
    pub(super) event: Event<'a>,
}

/// A trace as checks read it.
pub(super) struct View<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// What the initiator was given; `None` where that is no package.
    pub(super) package: Option<Package>,
    /// Whether the air shows the Attribute Protocol.
    pub(super) shows_att: bool,
    /// Hash of the application that runs in the end.
    pub(super) running: Option<&'a str>,
    pub(super) last: Place,
}

impl<'a> View<'a> {
    pub(super) fn new(trace: &'a [Record], images: &ImageSet) -> Self {
        let mut view = View {
            entries: Vec::new(),
            package: Package::read("the update", &images.update.bytes).ok(),
            shows_att: false,
            running: None,
            last: Place { n: 0, at_us: 0 },
        };
        let messages: BTreeMap<u64, &DfuMessage> = trace
            .iter()
            .filter_map(|record| match &record.kind {
                Kind::Dfu { message, .. } => record.cause.map(|cause| (cause, message)),
                _ => None,
            })
            .collect();
        for record in trace {
            let place = Place { n: record.n, at_us: record.at_us };
            view.last = place;
            let message = messages.get(&record.n).copied();
            let event = match &record.kind {
                Kind::Att(att) => {
                    view.shows_att = true;
                    // What was on its way when a connection ended says nothing of who sent it.
                    att.lost.is_none().then(|| of_att(att, message))
                }
                Kind::SerialFrame { direction, data, part: SerialPart::Slip, error: None, lost: None, .. } => {
                    of_frame(*direction, data, message)
                }
                Kind::Link(LinkEvent::Connected { address, .. }) => {
                    view.shows_att = true;
                    Some(Event::Connected { address: address.as_deref() })
                }
                Kind::Link(LinkEvent::Disconnected { by, .. }) => Some(Event::Disconnected { by: *by }),
                Kind::Link(link) => Some(Event::Link(link)),
                Kind::Cccd(cccd) => endpoint(Some(&cccd.uuid)).map(|endpoint| Event::Switched {
                    endpoint,
                    notifications: cccd.notifications,
                    indications: cccd.indications,
                }),
                Kind::Resource { pool, .. } => Some(Event::Dropped { pool }),
                Kind::Fault { id, state, .. } if state == "fired" => {
                    Some(if id == "finally" { Event::Finally } else { Event::Fault })
                }
                Kind::Application { event } if event.contains("inactive for too long") => Some(Event::Inactive),
                Kind::Boot(boot) => Some(Event::Boot(boot)),
                Kind::Power(_) => Some(Event::Power),
                Kind::State(state) if state.when == "end" => {
                    view.running = state.running.as_deref();
                    None
                }
                Kind::Initiator(event) => of_initiator(event),
                _ => None,
            };
            view.entries.extend(event.map(|event| Entry { place, event }));
        }
        view
    }

    /// The images of the package, in their order.
    pub(super) fn images(&self) -> &[PackageImage] {
        self.package.as_ref().map_or(&[], |package| &package.images)
    }
}

fn of_initiator(event: &InitiatorEvent) -> Option<Event<'_>> {
    match event {
        InitiatorEvent::Started { .. } => Some(Event::Started),
        InitiatorEvent::Step { step, .. } => Some(Event::Step(step)),
        InitiatorEvent::Exited { code } => Some(Event::Ended { success: *code == Some(0) }),
        InitiatorEvent::Reported { success, .. } => Some(Event::Ended { success: *success }),
        _ => None,
    }
}

/// The endpoint with this UUID, as the trace writes it.
fn endpoint(uuid: Option<&str>) -> Option<Endpoint> {
    uuid.and_then(|uuid| uuid.parse::<Uuid>().ok()).and_then(Endpoint::of_uuid)
}

fn of_att<'a>(att: &'a AttRecord, message: Option<&'a DfuMessage>) -> Event<'a> {
    let bytes = || hex::decode(&att.value).unwrap_or_default();
    let writes = matches!(att.opcode, opcode::WRITE_REQUEST | opcode::WRITE_COMMAND | opcode::PREPARE_WRITE_REQUEST);
    match (att.direction, endpoint(att.uuid.as_deref())) {
        (Direction::ToTarget, _) if att.opcode == opcode::CONFIRMATION => Event::Confirmed,
        (Direction::ToTarget, Some(to)) if writes => {
            let written = Written {
                to,
                way: Way::Att(att.opcode),
                bytes: bytes(),
                len: usize::try_from(att.len).unwrap_or(usize::MAX),
                mtu: att.mtu,
                encrypted: att.security != brickproof_simulator::gatt::Security::Plain,
                error: att.error,
                malformed: None,
                call: message.map(|message| message.call.as_str()),
            };
            match to {
                Endpoint::ControlPoint => of_request(written),
                Endpoint::Packet => Event::Packet(written),
                Endpoint::Buttonless | Endpoint::BondedButtonless | Endpoint::ExperimentalButtonless => {
                    Event::Enter(written)
                }
                _ => Event::Att(att),
            }
        }
        (Direction::FromTarget, Some(from)) => match (from, att.opcode) {
            (Endpoint::ControlPoint, opcode::NOTIFICATION) => Event::Response(said(bytes(), message)),
            (
                Endpoint::Buttonless | Endpoint::BondedButtonless | Endpoint::ExperimentalButtonless,
                opcode::NOTIFICATION | opcode::INDICATION,
            ) => Event::Status { bytes: bytes(), indicated: att.opcode == opcode::INDICATION },
            _ => Event::Att(att),
        },
        _ => Event::Att(att),
    }
}

fn said(bytes: Vec<u8>, message: Option<&DfuMessage>) -> Said {
    let receipt = message.is_some_and(|message| matches!(message.call.as_str(), "data-packet" | "command-packet"));
    Said { bytes, receipt }
}

fn of_frame<'a>(direction: Direction, data: &str, message: Option<&'a DfuMessage>) -> Option<Event<'a>> {
    let bytes = hex::decode(data).ok()?;
    if direction == Direction::FromTarget {
        return Some(Event::Response(said(bytes, message)));
    }
    let request = Request::parse(&bytes);
    let call = message.map(|message| message.call.as_str());
    let written = |bytes: Vec<u8>| Written {
        to: Endpoint::Serial,
        way: Way::Serial,
        len: bytes.len(),
        bytes,
        mtu: 0,
        encrypted: false,
        error: None,
        malformed: None,
        call,
    };
    Some(match request {
        Ok(Request::Write(data)) => {
            let len = message.and_then(|message| message.len).and_then(|len| usize::try_from(len).ok());
            let written = written(data);
            Event::Packet(Written { len: len.unwrap_or(written.len), ..written })
        }
        _ => of_request(written(bytes)),
    })
}

fn of_request(mut written: Written<'_>) -> Event<'_> {
    let request = match Request::parse(&written.bytes) {
        Ok(request) => Some(request),
        Err(malformed) => {
            written.malformed = Some(malformed);
            let known = match malformed {
                Malformed::Empty => None,
                Malformed::Length { expected, .. } => written.bytes.get(..expected),
            };
            known.and_then(|known| Request::parse(known).ok())
        }
    };
    Event::Request(written, request)
}
