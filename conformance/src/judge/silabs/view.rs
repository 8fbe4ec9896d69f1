//! A trace as its connections, and what was done in each.

use brickproof_simulator::gatt::{Uuid, opcode};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::{AttRecord, Direction, EndedBy, InitiatorEvent, Kind, LinkEvent, PowerEvent, Record};

use crate::judge::view::Place;

/// What runs on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Nothing that a trace tells of.
    Unknown,
    Application,
    AppLoader,
}

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Control,
    Data,
    /// Something else, or nothing.
    Other,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) at: Place,
    pub(super) error: Option<u8>,
}

/// A write, as it reached the device.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) at: Place,
    pub(super) to: To,
    pub(super) handle: u16,
    pub(super) opcode: u8,
    /// Length of the value in bytes, and as much of it as was kept.
    pub(super) len: usize,
    pub(super) value: Vec<u8>,
    pub(super) mtu: u16,
    /// `None` where none has come, and of a command.
    pub(super) answer: Option<Answer>,
}

impl Write {
    pub(super) fn is_request(&self) -> bool {
        self.opcode == opcode::WRITE_REQUEST
    }

    /// The answer was a success.
    pub(super) fn taken(&self) -> Option<Place> {
        self.answer.filter(|answer| answer.error.is_none()).map(|answer| answer.at)
    }

    /// The answer was this error.
    pub(super) fn refused(&self) -> Option<(Place, u8)> {
        self.answer.and_then(|answer| Some((answer.at, answer.error?)))
    }

    /// Writes this byte to OTA Control, whatever follows it.
    pub(super) fn says(&self, byte: u8) -> bool {
        self.to == To::Control && self.value.first() == Some(&byte)
    }

    /// Nobody has answered it, and somebody should have.
    pub(super) fn is_unanswered(&self) -> bool {
        self.is_request() && self.answer.is_none()
    }
}

/// Something in a connection.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    /// Attributes are looked for.
    Discovery,
    /// The ATT MTU is exchanged.
    Mtu,
    /// An attribute is read.
    Read(Option<Uuid>),
    Write(Write),
    /// The device pairs with nobody.
    PairingFailed,
    /// A value found no room.
    Dropped(String),
    /// The scenario does something.
    Fault,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    pub(super) peer: Peer,
    pub(super) begun: Place,
    pub(super) deeds: Vec<(Place, Deed)>,
    pub(super) ended: Option<(Place, EndedBy)>,
}

impl Connection {
    pub(super) fn writes(&self) -> impl DoubleEndedIterator<Item = &Write> {
        self.deeds.iter().filter_map(|(_, deed)| if let Deed::Write(write) = deed { Some(write) } else { None })
    }

    pub(super) fn first(&self, wanted: impl Fn(&Deed) -> bool) -> Option<Place> {
        self.deeds.iter().find(|(_, deed)| wanted(deed)).map(|(at, _)| *at)
    }
}

/// What the initiator says of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) at: Place,
    pub(super) success: bool,
}

/// A trace.
#[derive(Debug)]
pub(super) struct View {
    pub(super) connections: Vec<Connection>,
    /// What began to run, and when.
    pub(super) boots: Vec<(Place, Peer)>,
    /// Attempts to connect that came to nothing.
    pub(super) unreachable: Vec<Place>,
    /// The scenario does something, or power or the link is lost.
    pub(super) disturbances: Vec<Place>,
    /// Power or the link is lost.
    pub(super) outages: Vec<Place>,
    /// The report, or the end of the last process.
    pub(super) said: Option<Said>,
    /// The device has a slot for files, so that its application takes them.
    pub(super) has_slot: bool,
    pub(super) shows_att: bool,
    /// Whether anybody is ever seen to look for attributes: what bluetoothd does on an adapter is not.
    pub(super) shows_discovery: bool,
}

impl View {
    pub(super) fn new(trace: &[Record]) -> Self {
        let mut view = Self {
            connections: Vec::new(),
            boots: Vec::new(),
            unreachable: Vec::new(),
            disturbances: Vec::new(),
            outages: Vec::new(),
            said: None,
            has_slot: false,
            shows_att: false,
            shows_discovery: false,
        };
        let mut reported = false;
        for record in trace {
            let at = Place { n: record.n, at_us: record.at_us };
            match &record.kind {
                Kind::Att(att) if att.lost.is_none() => view.att(at, record.cause, att),
                Kind::Link(link) => view.link(at, link),
                Kind::Boot(boot) => {
                    let peer = match boot.outcome.as_str() {
                        "boot" => Peer::Application,
                        "dfu-mode" => Peer::AppLoader,
                        _ => Peer::Unknown,
                    };
                    view.boots.push((at, peer));
                }
                Kind::Power(PowerEvent::Off { .. }) => view.disturbed(at, true),
                Kind::Fault { state, .. } if state == "fired" => {
                    view.disturbed(at, false);
                    view.did(None, at, Deed::Fault);
                }
                Kind::Resource { pool, dropped, .. } if pool == "ota-data" => {
                    view.did(None, at, Deed::Dropped(dropped.clone()));
                }
                Kind::State(state) => view.has_slot |= state.slots.iter().any(|slot| slot.slot.starts_with("slot-")),
                Kind::Initiator(InitiatorEvent::Reported { success, .. }) => {
                    (view.said, reported) = (Some(Said { at, success: *success }), true);
                }
                Kind::Initiator(InitiatorEvent::Exited { code }) if !reported => {
                    view.said = Some(Said { at, success: *code == Some(0) });
                }
                _ => {}
            }
        }
        view
    }

    fn disturbed(&mut self, at: Place, is_outage: bool) {
        self.disturbances.push(at);
        if is_outage {
            self.outages.push(at);
        }
    }

    /// The connection with this number, or the one that is there.
    fn connection(&mut self, number: Option<u64>) -> Option<&mut Connection> {
        self.connections.iter_mut().rev().find(|connection| match number {
            Some(number) => connection.number == number,
            None => connection.ended.is_none(),
        })
    }

    fn did(&mut self, number: Option<u64>, at: Place, deed: Deed) {
        if let Some(connection) = self.connection(number) {
            connection.deeds.push((at, deed));
        }
    }

    fn link(&mut self, at: Place, link: &LinkEvent) {
        match link {
            LinkEvent::Connected { connection, .. } => {
                self.shows_att = true;
                let peer = self.boots.last().map_or(Peer::Unknown, |(_, peer)| *peer);
                self.connections.push(Connection {
                    number: *connection,
                    peer,
                    begun: at,
                    deeds: Vec::new(),
                    ended: None,
                });
            }
            LinkEvent::Disconnected { connection, by, .. } => {
                if let Some(connection) = self.connection(Some(*connection)) {
                    connection.ended = Some((at, *by));
                }
            }
            LinkEvent::Unreachable { .. } => self.unreachable.push(at),
            LinkEvent::Mtu { connection, .. } => self.did(Some(*connection), at, Deed::Mtu),
            LinkEvent::PairingFailed { connection, .. } => self.did(Some(*connection), at, Deed::PairingFailed),
            LinkEvent::Down { .. } => self.disturbed(at, true),
            _ => {}
        }
    }

    fn att(&mut self, at: Place, cause: Option<u64>, att: &AttRecord) {
        self.shows_att = true;
        let number = Some(att.connection);
        let uuid = || att.uuid.as_deref().and_then(|uuid| uuid.parse::<Uuid>().ok());
        match (att.direction, att.opcode) {
            (Direction::FromTarget, opcode::WRITE_RESPONSE | opcode::ERROR_RESPONSE) => {
                let Some(connection) = self.connection(number) else { return };
                let written = connection.deeds.iter_mut().rev().find_map(|(_, deed)| match deed {
                    Deed::Write(write) if Some(write.at.n) == cause => Some(write),
                    _ => None,
                });
                if let Some(write) = written {
                    write.answer = Some(Answer { at, error: att.error });
                }
            }
            (Direction::FromTarget, _) => {}
            (
                Direction::ToTarget,
                opcode::WRITE_REQUEST
                | opcode::WRITE_COMMAND
                | opcode::PREPARE_WRITE_REQUEST
                | opcode::EXECUTE_WRITE_REQUEST,
            ) => {
                let to = match uuid().and_then(Endpoint::of_uuid) {
                    Some(Endpoint::OtaControl) => To::Control,
                    Some(Endpoint::OtaData) => To::Data,
                    _ => To::Other,
                };
                // What the server refuses by itself is told with the request.
                let told = att.error.filter(|_| att.opcode != opcode::WRITE_COMMAND);
                let write = Write {
                    at,
                    to,
                    handle: att.handle,
                    opcode: att.opcode,
                    len: usize::try_from(att.len).unwrap_or(usize::MAX),
                    value: hex::decode(&att.value).unwrap_or_default(),
                    mtu: att.mtu,
                    answer: told.map(|error| Answer { at, error: Some(error) }),
                };
                self.did(number, at, Deed::Write(write));
            }
            (Direction::ToTarget, opcode::READ_REQUEST | opcode::READ_BLOB_REQUEST) => {
                self.did(number, at, Deed::Read(uuid()));
            }
            (Direction::ToTarget, opcode::READ_BY_GROUP_TYPE_REQUEST | opcode::FIND_BY_TYPE_VALUE_REQUEST) => {
                self.shows_discovery = true;
                self.did(number, at, Deed::Discovery);
            }
            (Direction::ToTarget, _) => {}
        }
    }
}
