//! Bluetooth LE links: connections of centrals, and what goes wrong with them.
//!
//! A central puts something in with [`World::central`] and gets what comes of it from
//! [`World::take_gatt`]. Over the air nothing is lost while a link lives: the controllers repeat every
//! packet until it has arrived. So what is sent while the link is down waits, and arrives when the link
//! comes back in time; when the supervision timeout ends the connection, it is gone.
//!
//! | what happens | the target | the central |
//! |---|---|---|
//! | power loss, crash, watchdog, reset pin | has forgotten the connection | learns of it after the supervision timeout |
//! | reset by command | the same, or says goodbye (`goodbye`) | the same, or learns of it at once |
//! | the link is lost | learns of it after the supervision timeout and keeps running | learns of it after the supervision timeout |
//! | the central disconnects | learns of it at once; while the link is down after the supervision timeout | |
//!
//! Every [`CentralAction::Connect`] is answered once, by [`GattEvent::Connected`] or [`GattEvent::Unreachable`];
//! one that is given up, by the latter. A [`CentralAction::Pair`] on a link comes to [`GattEvent::Secured`] or
//! [`GattEvent::PairingFailed`], the latter when the link ends; while one is under way, another is not heard.
//!
//! A program may have other keys than the application: DFU mode of Nordic's has those of the central whose bond was shared
//! with it ([`Takes`]), pairs with nobody, and keeps nothing of what is written to descriptors. A central that has given
//! its identity key is the only one that can connect then. The others see it advertise, and are not answered.
//!
//! | module | what it holds |
//! |---|---|
//! | `shared` | a bond that an application shares with its bootloader |
//! | `connect` | attempts to connect, advertising |
//! | `asked` | requests that the program answers itself |
//! | `attribute` | reads and writes of attributes |
//! | `notify` | notifications and indications |
//! | `pairing` | pairing and kept keys |
//! | `life` | outages, resets, ends |

mod asked;
mod attribute;
mod connect;
mod life;
mod notify;
mod pairing;
mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::{Carrier, HARNESS, Peer, World};
use crate::device::attributes::Attributes;
#[cfg(doc)]
use crate::device::nordic::Takes;
use crate::device::program::Saying;
use crate::gatt::{
    AttError, CentralAction, ConnectionParameters, GattEvent, MTU_MIN, Security, Table, WriteKind, opcode,
};
use crate::smp::gatt::{GattConnection, GattTransport, Pace};
use crate::trace::{AttRecord, Direction, EndedBy, Kind, hex};
pub(super) use asked::Asked;
use pairing::Ongoing;

/// Marks the peers that stand for connections inside the world.
const CONNECTION: Peer = 1 << 63;
/// Links that centrals may hold, dead ones included.
const LINKS_MAX: usize = 64;
/// Packets that wait for a link to come back, each way; a controller has fewer buffers.
const WAITING_MAX: usize = 4096;
/// Longest part of a value that is kept in the trace, in bytes.
const VALUE_KEPT: usize = 514;
/// Error codes of the controller.
const CONNECTION_TIMEOUT: u8 = 0x08;
const REMOTE_USER_TERMINATED: u8 = 0x13;

/// What target and central have kept of a pairing.
#[derive(Debug, Clone)]
struct Bond {
    security: Security,
    /// The central has its half.
    central_has: bool,
    /// What was written to descriptors, by their handles.
    configured: BTreeMap<u16, u16>,
    /// The attributes that the central was last told of.
    table: Arc<Table>,
    /// The application wants to tell it that they have changed, whatever they are now.
    changed: bool,
}

/// What the target sends when the link is back.
enum Waiting {
    /// An answer, and the record it comes from.
    Answer(Vec<u8>, Option<u64>),
    /// What the program says.
    Saying(Saying, Option<u64>),
    /// The answer to a write request.
    Written(Asked, Result<(), AttError>),
    /// A value of another characteristic.
    Value { value: u16, descriptor: u16, bytes: Vec<u8> },
}

/// A link as the central has it.
struct Link {
    number: u64,
    central: Peer,
    /// The address that the target had.
    address: Option<String>,
    /// The target's side.
    server: GattConnection,
    /// Attributes of the image that ran when it was made.
    attributes: Arc<Attributes>,
    /// The target has lost its RAM, and the connection with it.
    forgotten: bool,
    /// The central has ended it and the target does not know yet.
    central_gone: bool,
    /// When the supervision timeout ends it.
    dies_at: Option<u64>,
    /// When an indication that nobody confirms ends it, on the target's side.
    unconfirmed_until: Option<u64>,
    parameters: ConnectionParameters,
    asked: Option<ConnectionParameters>,
    /// When the preferred parameters are asked for again.
    restore_at: Option<u64>,
    pairing: Option<Ongoing>,
    /// DFU mode has said what is written to descriptors at the beginning.
    initialised: bool,
    /// What is on the air, with the times at which it arrives; and until when the air is taken.
    on_air: VecDeque<(u64, CentralAction)>,
    air_until: u64,
    /// What waits for the link to come back.
    actions: Vec<CentralAction>,
    waiting: Vec<Waiting>,
}

/// All links of a world.
#[derive(Default)]
pub(super) struct Links {
    links: Vec<Link>,
    /// Attempts to connect, with the times at which they succeed or fail.
    attempts: Vec<(u64, Peer)>,
    connections: u64,
    outbox: VecDeque<(Peer, GattEvent)>,
    pub(super) transport: GattTransport,
    /// Values that were written since the start, by handle.
    values: BTreeMap<u16, Vec<u8>>,
    /// Kept by the settings of the target, which a power loss leaves alone.
    bonds: BTreeMap<Peer, Bond>,
    /// Centrals give no identity key when they pair.
    nameless: bool,
    /// The program has stopped advertising for good.
    pub(super) silent: bool,
    /// Requests that the program has not answered.
    asked: asked::Open,
    /// Images seen so far: each may have its own attributes.
    images: Vec<Option<[u8; 32]>>,
}

/// The connection that a peer inside the world stands for.
pub(super) fn connection_of(peer: Peer) -> Option<u64> {
    (peer & CONNECTION != 0 && peer != HARNESS).then_some(peer & !CONNECTION)
}

impl World {
    /// A central does something now.
    pub fn central(&mut self, central: Peer, action: CentralAction) {
        match action {
            CentralAction::Connect => return self.try_to_connect(central),
            CentralAction::ForgetKeys => return self.keys_forgotten(central),
            CentralAction::Lose => return self.link_lost(central),
            CentralAction::Disconnect if self.give_up_connecting(central) => return,
            _ => {}
        }
        let up = self.link;
        let Some(link) = self.links.of_central(central) else { return };
        let number = link.number;
        if action == CentralAction::Disconnect {
            let lingers = !up && !link.forgotten;
            self.pairing_ends_with(number);
            if let Some(link) = self.links.get(number) {
                link.central_gone = true;
            }
            self.tell(central, GattEvent::Disconnected { by: EndedBy::Central, reason: REMOTE_USER_TERMINATED });
            if !lingers {
                self.end(number, EndedBy::Central);
            }
            return;
        }
        if link.forgotten {
            if matches!(action, CentralAction::Pair { .. }) {
                link.pairing = Some(Ongoing::Unheard);
            }
            return self.lost_action(number, &action, "the target has forgotten the connection");
        }
        // What follows something on the air does not overtake it.
        if !up && link.on_air.is_empty() {
            if link.actions.len() < WAITING_MAX {
                link.actions.push(action);
            } else {
                self.lost_action(number, &action, "the link is down, and too much waits for it");
            }
            return;
        }
        if let Some(due) = self.on_the_air(number, &action) {
            if let Some(link) = self.links.get(number) {
                link.on_air.push_back((due, action));
            }
            return;
        }
        self.arrived(number, action);
    }

    /// When this arrives, if the link has a pace.
    fn on_the_air(&mut self, number: u64, action: &CentralAction) -> Option<u64> {
        if self.carrier == Carrier::Adapter {
            return None;
        }
        let (now, discovery_us, pace) = (self.now, self.board.gatt.discovery_us, self.board.gatt.pace);
        let link = self.links.get(number)?;
        if *action == CentralAction::Discover && discovery_us > 0 {
            return Some(link.air_until.max(now) + discovery_us);
        }
        // What was sent later does not arrive before it.
        let pace = match pace {
            None if link.on_air.is_empty() => return None,
            None => Pace { payload: u16::MAX, packet_us: 0 },
            Some(pace) => pace,
        };
        let len = match action {
            CentralAction::Write { value, .. } => value.len(),
            CentralAction::Read { .. } => 0,
            // What is paced is what an update is made of.
            _ if link.on_air.is_empty() => return None,
            _ => 0,
        };
        let due = link.air_until.max(now) + pace.duration_us(len);
        link.air_until = due;
        Some(due)
    }

    /// Packets of this central that are still on the air.
    #[must_use]
    pub fn on_air(&self, central: Peer) -> usize {
        let link = self.links.links.iter().find(|link| link.central == central && !link.central_gone);
        link.map_or(0, |link| link.on_air.len())
    }

    /// Something has come over the air.
    fn arrived(&mut self, number: u64, action: CentralAction) {
        match action {
            CentralAction::Connect | CentralAction::Disconnect | CentralAction::ForgetKeys | CentralAction::Lose => {}
            CentralAction::ExchangeMtu(asked) => self.exchange_mtu(number, asked),
            CentralAction::Discover => self.discover(number),
            CentralAction::Read { handle, offset } => self.read(number, handle, offset),
            CentralAction::Write { handle, value, kind } => self.write(number, handle, &value, kind),
            CentralAction::Pair { capability, wanted } => self.pair(number, capability, wanted),
            CentralAction::Secure { level, bonded } => self.secured_by_controllers(number, level, bonded),
            CentralAction::AnswerPairing(answer) => self.pairing_answered(number, answer),
            CentralAction::AnswerParameters { accept } => self.parameters_answered(number, accept),
            CentralAction::Confirm => self.confirmed(number),
        }
    }

    /// What centrals have been told by now, in order.
    pub fn take_gatt(&mut self) -> Option<(Peer, GattEvent)> {
        self.links.outbox.pop_front()
    }

    /// Whether this central's packets reach the target now: neither has lost the connection.
    #[must_use]
    pub fn hears(&self, central: Peer) -> bool {
        self.link
            && self.links.links.iter().any(|link| link.central == central && !link.forgotten && !link.central_gone)
    }

    fn tell(&mut self, central: Peer, event: GattEvent) {
        self.links.outbox.push_back((central, event));
    }

    fn tell_link(&mut self, number: u64, event: GattEvent) {
        if let Some(central) = self.links.get(number).filter(|link| !link.central_gone).map(|link| link.central) {
            self.tell(central, event);
        }
    }

    fn lost_action(&mut self, number: u64, action: &CentralAction, why: &str) {
        let CentralAction::Write { handle, value, kind } = action else { return };
        let lost = Some(why.to_owned());
        let record =
            AttRecord { lost, ..self.links.record(number, Direction::ToTarget, opcode_of(*kind), *handle, value) };
        self.lost += 1;
        self.record(Kind::Att(record));
    }

    fn att(
        &mut self,
        number: u64,
        direction: Direction,
        opcode: u8,
        handle: u16,
        value: &[u8],
        result: Result<(), AttError>,
    ) -> u64 {
        if !self.wants.messages && result.is_ok() {
            return self.next_record;
        }
        let error = result.err().map(AttError::code);
        self.record(Kind::Att(AttRecord { error, ..self.links.record(number, direction, opcode, handle, value) }))
    }
}

/// The opcode of the first packet of a write.
fn opcode_of(kind: WriteKind) -> u8 {
    match kind {
        WriteKind::Request => opcode::WRITE_REQUEST,
        WriteKind::Command => opcode::WRITE_COMMAND,
        WriteKind::Long => opcode::PREPARE_WRITE_REQUEST,
    }
}

impl Links {
    fn get(&mut self, number: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.number == number)
    }

    /// The link that this central knows of.
    fn of_central(&mut self, central: Peer) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.central == central && !link.central_gone)
    }

    /// Connections that the target knows of, with their centrals.
    fn alive(&self) -> Vec<(u64, Peer)> {
        self.links.iter().filter(|link| !link.forgotten).map(|link| (link.number, link.central)).collect()
    }

    fn record(&self, number: u64, direction: Direction, opcode: u8, handle: u16, value: &[u8]) -> AttRecord {
        let link = self.links.iter().find(|link| link.number == number);
        let attribute = link.and_then(|link| link.attributes.get(handle));
        AttRecord {
            connection: number,
            direction,
            opcode,
            name: opcode::name(opcode).into(),
            handle,
            uuid: attribute.map(|attribute| attribute.uuid.to_string()),
            characteristic: attribute.and_then(|attribute| attribute.characteristic).map(|uuid| uuid.to_string()),
            len: value.len() as u64,
            value: hex(&value[..value.len().min(VALUE_KEPT)]),
            mtu: link.map_or(MTU_MIN, |link| link.server.mtu),
            security: link.map_or(Security::Plain, |link| link.server.security),
            error: None,
            lost: None,
        }
    }
}
