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

use std::collections::{BTreeMap, VecDeque};

use super::{HARNESS, Peer, World};
use crate::smp::gatt::{
    AttError, CCC_UUID, CHARACTERISTIC_UUID, ConnectionParameters, GattConnection, GattTransport, MTU_MIN, Pairing,
    Received, SERVICE_UUID, Security, opcode,
};
use crate::trace::{AttRecord, CccdRecord, Direction, EndedBy, Kind, LinkEvent, hex};

/// Marks the peers that stand for connections inside the world.
const CONNECTION: Peer = 1 << 63;
/// Handle of the first attribute of the SMP service.
const FIRST_HANDLE: u16 = 0x0010;
/// Distance of the tables of two images.
const TABLE_LEN: u16 = 0x0010;
/// Offsets of value and descriptor in the service.
const VALUE: u16 = 2;
const CCC: u16 = 3;
/// Links that centrals may hold, dead ones included.
const LINKS_MAX: usize = 64;
/// Packets that wait for a link to come back, each way; a controller has fewer buffers.
const WAITING_MAX: usize = 4096;
/// Longest part of a value that is kept in the trace, in bytes.
const VALUE_KEPT: usize = 514;
/// Error codes of the controller.
const CONNECTION_TIMEOUT: u8 = 0x08;
const REMOTE_USER_TERMINATED: u8 = 0x13;
/// After so long without SMP the preferred parameters are asked for again
/// (`CONFIG_MCUMGR_TRANSPORT_BT_CONN_PARAM_CONTROL_RESTORE_TIME`), in microseconds.
const RESTORE_US: u64 = 5_000_000;

/// What a central does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CentralAction {
    /// Connects.
    Connect,
    /// Disconnects.
    Disconnect,
    /// Asks for an ATT MTU.
    ExchangeMtu(u16),
    /// Looks for the SMP service.
    Discover,
    /// Writes an attribute.
    Write {
        /// Which.
        handle: u16,
        /// The value.
        value: Vec<u8>,
        /// Without a response.
        command: bool,
    },
    /// Pairs, or encrypts with the keys of an earlier pairing.
    Pair {
        /// Whether it can take part in a pairing that protects against somebody in the middle.
        protected: bool,
    },
    /// Answers a request for other parameters.
    AnswerParameters {
        /// Whether it takes them.
        accept: bool,
    },
}

/// What a central is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GattEvent {
    /// It is connected.
    Connected,
    /// There is nothing to connect to.
    Unreachable,
    /// The connection has ended, with this error code of the controller.
    Disconnected {
        /// Who ended it.
        by: EndedBy,
        /// The code.
        reason: u8,
    },
    /// The ATT MTU in force.
    Mtu(u16),
    /// Handles of the characteristic's value and of its CCC descriptor.
    Discovered {
        /// Value.
        value: u16,
        /// Descriptor.
        ccc: u16,
    },
    /// A write request was carried out.
    Written {
        /// Which attribute.
        handle: u16,
    },
    /// A request was refused.
    Error {
        /// Which attribute.
        handle: u16,
        /// Why.
        error: AttError,
    },
    /// A notification.
    Notification(Vec<u8>),
    /// The link is protected.
    Secured(Security),
    /// Pairing has failed.
    PairingFailed,
    /// The target asks for other parameters.
    ParametersAsked(ConnectionParameters),
}

/// Keys of a central.
#[derive(Debug, Clone, Copy)]
struct Bond {
    security: Security,
    notifications: bool,
}

/// A link as the central has it.
struct Link {
    number: u64,
    central: Peer,
    /// The target's side.
    server: GattConnection,
    /// First handle of the service in the image that runs.
    table: u16,
    /// The target has lost its RAM, and the connection with it.
    forgotten: bool,
    /// The central has ended it and the target does not know yet.
    central_gone: bool,
    /// When the supervision timeout ends it.
    dies_at: Option<u64>,
    parameters: ConnectionParameters,
    asked: Option<ConnectionParameters>,
    /// When the preferred parameters are asked for again.
    restore_at: Option<u64>,
    /// What waits for the link to come back.
    actions: Vec<CentralAction>,
    answers: Vec<(Vec<u8>, Option<u64>)>,
}

/// All links of a world.
#[derive(Default)]
pub(super) struct Links {
    links: Vec<Link>,
    connections: u64,
    outbox: VecDeque<(Peer, GattEvent)>,
    pub(super) transport: GattTransport,
    /// Kept by the settings of the target, which a power loss leaves alone.
    bonds: BTreeMap<Peer, Bond>,
    /// Images seen so far: each has its own table of attributes.
    tables: Vec<Option<[u8; 32]>>,
}

/// The connection that a peer inside the world stands for.
pub(super) fn connection_of(peer: Peer) -> Option<u64> {
    (peer & CONNECTION != 0 && peer != HARNESS).then_some(peer & !CONNECTION)
}

impl World {
    /// A central does something now.
    pub fn central(&mut self, central: Peer, action: CentralAction) {
        if action == CentralAction::Connect {
            return self.connect(central);
        }
        let up = self.link;
        let Some(link) = self.links.links.iter_mut().find(|link| link.central == central && !link.central_gone) else {
            return;
        };
        let number = link.number;
        if action == CentralAction::Disconnect {
            let lingers = !up && !link.forgotten;
            link.central_gone = true;
            self.tell(central, GattEvent::Disconnected { by: EndedBy::Central, reason: REMOTE_USER_TERMINATED });
            if !lingers {
                self.end(number, EndedBy::Central);
            }
            return;
        }
        if link.forgotten {
            return self.lost_action(number, &action, "the target has forgotten the connection");
        }
        if !up {
            if link.actions.len() < WAITING_MAX {
                link.actions.push(action);
            } else {
                self.lost_action(number, &action, "the link is down, and too much waits for it");
            }
            return;
        }
        match action {
            CentralAction::Connect | CentralAction::Disconnect => {}
            CentralAction::ExchangeMtu(asked) => self.exchange_mtu(number, asked),
            CentralAction::Discover => self.discover(number),
            CentralAction::Write { handle, value, command } => self.write(number, handle, &value, command),
            CentralAction::Pair { protected } => self.pair(number, protected),
            CentralAction::AnswerParameters { accept } => self.parameters_answered(number, accept),
        }
    }

    /// What centrals have been told by now, in order.
    pub fn take_gatt(&mut self) -> Option<(Peer, GattEvent)> {
        self.links.outbox.pop_front()
    }

    fn tell(&mut self, central: Peer, event: GattEvent) {
        self.links.outbox.push_back((central, event));
    }

    fn tell_link(&mut self, number: u64, event: GattEvent) {
        if let Some(central) = self.links.get(number).filter(|link| !link.central_gone).map(|link| link.central) {
            self.tell(central, event);
        }
    }

    fn connect(&mut self, central: Peer) {
        let config = &self.board.gatt;
        let alive = self.links.links.iter().filter(|link| !link.forgotten).count();
        let reason = if self.links.links.iter().any(|link| link.central == central && !link.central_gone) {
            Some("this central has a connection already")
        } else if alive >= usize::from(config.connections) || self.links.links.len() >= LINKS_MAX {
            Some("the target has no connection left")
        } else {
            self.unreachable()
        };
        if let Some(reason) = reason {
            self.lost += 1;
            self.record(Kind::Link(LinkEvent::Unreachable { central, reason: reason.into() }));
            return self.tell(central, GattEvent::Unreachable);
        }
        let (parameters, reassembly) = (config.parameters, Some(config.reassembly));
        let table = self.table();
        self.links.connections += 1;
        let number = self.links.connections;
        self.links.links.push(Link {
            number,
            central,
            server: GattConnection::new(self.links.bonds.contains_key(&central)),
            table,
            forgotten: false,
            central_gone: false,
            dies_at: None,
            parameters,
            asked: None,
            restore_at: None,
            actions: Vec::new(),
            answers: Vec::new(),
        });
        self.record(Kind::Link(LinkEvent::Connected { connection: number, central, reassembly, parameters }));
        self.tell(central, GattEvent::Connected);
    }

    /// First handle of the service in the image that runs.
    fn table(&mut self) -> u16 {
        let hash = self.device().and_then(|device| device.image()?.hash);
        if !self.board.gatt.moving_handles {
            return FIRST_HANDLE;
        }
        let tables = &mut self.links.tables;
        let index = tables.iter().position(|known| *known == hash).unwrap_or_else(|| {
            tables.push(hash);
            tables.len() - 1
        });
        FIRST_HANDLE.wrapping_add(TABLE_LEN.wrapping_mul(u16::try_from(index % 256).unwrap_or(0)))
    }

    fn exchange_mtu(&mut self, number: u64, asked: u16) {
        let board = std::sync::Arc::clone(&self.board);
        let Some(link) = self.links.get(number) else { return };
        let mtu = link.server.exchange_mtu(&board.gatt, asked);
        self.record(Kind::Link(LinkEvent::Mtu { connection: number, asked, mtu }));
        self.tell_link(number, GattEvent::Mtu(mtu));
    }

    fn discover(&mut self, number: u64) {
        let table = self.links.table_of(number);
        self.att(number, Direction::ToTarget, opcode::FIND_BY_TYPE_VALUE_REQUEST, table, &[], Ok(()));
        self.tell_link(number, GattEvent::Discovered { value: table + VALUE, ccc: table + CCC });
    }

    fn write(&mut self, number: u64, handle: u16, value: &[u8], command: bool) {
        let board = std::sync::Arc::clone(&self.board);
        let Some(link) = self.links.get(number) else { return };
        let (value_max, permitted, table) = (link.server.value_max(), link.server.permits(&board.gatt), link.table);
        let opcode = if command { opcode::WRITE_COMMAND } else { opcode::WRITE_REQUEST };
        let result = if handle != table + VALUE && handle != table + CCC {
            Err(AttError::InvalidHandle)
        } else if handle == table + VALUE && !command {
            Err(AttError::WriteNotPermitted)
        } else if value.len() > value_max || (handle == table + CCC && value.len() != 2) {
            Err(AttError::InvalidLength)
        } else {
            permitted
        };
        if handle == table + VALUE && result.is_ok() && self.strike_fragment(number, handle, value) {
            return;
        }
        let record = self.att(number, Direction::ToTarget, opcode, handle, value, result);
        match result {
            // A command that fails is not answered.
            Err(_) if command => self.lost += 1,
            Err(error) => self.tell_link(number, GattEvent::Error { handle, error }),
            Ok(()) if handle == table + CCC => {
                self.set_notifications(number, value[0] & 1 != 0, "written");
                if !command {
                    self.tell_link(number, GattEvent::Written { handle });
                }
            }
            Ok(()) => self.smp_written(number, value, record),
        }
    }

    /// The fault that strikes when a packet continues; `true` when the write does not arrive.
    fn strike_fragment(&mut self, number: u64, handle: u16, value: &[u8]) -> bool {
        if !self.links.transport.is_collecting() {
            return false;
        }
        let Some((id, action)) = self.faults.at_fragment() else { return false };
        self.fire(&id, &action);
        let up = self.link;
        match self.links.get(number) {
            // Repeated by the controller until the link is back or given up.
            Some(link) if !up && !link.forgotten => {
                link.actions.push(CentralAction::Write { handle, value: value.to_vec(), command: true });
                true
            }
            Some(link) if !link.forgotten => false,
            _ => {
                let action = CentralAction::Write { handle, value: value.to_vec(), command: true };
                self.lost_action(number, &action, "the target has forgotten the connection");
                true
            }
        }
    }

    fn smp_written(&mut self, number: u64, value: &[u8], record: u64) {
        self.ask_fast_parameters(number);
        let board = std::sync::Arc::clone(&self.board);
        let size = usize::from(board.smp.buffer_size);
        let free = self.buffers_in_use() < usize::from(board.smp.buffer_count);
        match self.links.transport.write(&board.gatt, size, free, value) {
            Received::Fragment { .. } => {}
            Received::Packet(packet) => self.admit(CONNECTION | number, &packet, record),
            Received::Discarded { why } => {
                self.lost += 1;
                let pool = "smp reassembly".into();
                self.record(Kind::Resource { pool, size: board.smp.buffer_size.into(), dropped: why });
            }
        }
    }

    fn set_notifications(&mut self, number: u64, on: bool, by: &str) {
        let keeps = self.board.gatt.keeps_fragments;
        let Some(link) = self.links.get(number) else { return };
        let (central, bonded, forgotten) = (link.central, link.server.bonded, link.forgotten);
        let was = std::mem::replace(&mut link.server.notifications, on);
        if by != "disconnected" || was {
            self.record(Kind::Cccd(CccdRecord {
                connection: number,
                uuid: CHARACTERISTIC_UUID.into(),
                notifications: on,
                by: by.into(),
            }));
        }
        if by == "written"
            && bonded
            && let Some(bond) = self.links.bonds.get_mut(&central)
        {
            bond.notifications = on;
        }
        // The application is told of the last one that switches them off.
        let used = self.links.links.iter().any(|link| !link.forgotten && link.server.notifications);
        if !on && !forgotten && (by == "written" || (was && !used && !keeps)) {
            self.links.transport.clear();
        }
    }

    fn pair(&mut self, number: u64, protected: bool) {
        let (pairing, bonding) = (self.board.gatt.pairing, self.board.gatt.bonding);
        let Some(link) = self.links.get(number) else { return };
        let (central, bonded) = (link.central, link.server.bonded);
        let reached = match pairing {
            Pairing::Passkey if protected => Some(Security::Authenticated),
            Pairing::Passkey | Pairing::JustWorks => Some(Security::Encrypted),
            Pairing::Refused => None,
        };
        let kept = self.links.bonds.get(&central).copied().filter(|bond| bonded && Some(bond.security) >= reached);
        let Some(level) = kept.map(|bond| bond.security).or(reached) else {
            let reason = "the target does not pair".to_owned();
            self.record(Kind::Link(LinkEvent::PairingFailed { connection: number, reason }));
            return self.tell_link(number, GattEvent::PairingFailed);
        };
        if let Some(link) = self.links.get(number) {
            link.server.security = level;
            link.server.bonded = bonding;
        }
        let event = LinkEvent::Security { connection: number, level, with_kept_keys: kept.is_some() };
        self.record(Kind::Link(event));
        if kept.is_some_and(|bond| bond.notifications) {
            self.set_notifications(number, true, "restored");
        } else if bonding && kept.is_none() && self.links.bonds.len() < LINKS_MAX {
            self.links.bonds.insert(central, Bond { security: level, notifications: false });
        }
        self.tell_link(number, GattEvent::Secured(level));
    }

    /// The first write of a burst asks for a short interval; each one puts off its end.
    fn ask_fast_parameters(&mut self, number: u64) {
        if !self.board.gatt.parameter_update {
            return;
        }
        let restore_at = self.now + RESTORE_US;
        let Some(link) = self.links.get(number) else { return };
        if link.restore_at.replace(restore_at).is_none() {
            self.ask_parameters(number, ConnectionParameters::FAST);
        }
    }

    fn ask_parameters(&mut self, number: u64, wanted: ConnectionParameters) {
        let Some(link) = self.links.get(number) else { return };
        link.asked = Some(wanted);
        self.record(Kind::Link(LinkEvent::ParametersAsked { connection: number, wanted }));
        self.tell_link(number, GattEvent::ParametersAsked(wanted));
    }

    fn parameters_answered(&mut self, number: u64, accepted: bool) {
        let Some(link) = self.links.get(number) else { return };
        let Some(wanted) = link.asked.take() else { return };
        if accepted {
            link.parameters = wanted;
        }
        self.record(Kind::Link(LinkEvent::ParametersAnswered { connection: number, accepted, wanted }));
    }

    /// Notifies an answer on the connection that its request came on.
    pub(super) fn notify(&mut self, number: u64, packet: &[u8], cause: Option<u64>) {
        let up = self.link;
        let Some(link) = self.links.get(number).filter(|link| !link.forgotten) else {
            return self.lost_answer(number, packet, "its connection is gone");
        };
        let (server, table) = (link.server.clone(), link.table);
        if !server.notifications {
            return self.lost_answer(number, packet, "notifications are switched off");
        }
        if !up {
            if link.answers.len() < WAITING_MAX {
                link.answers.push((packet.to_vec(), cause));
            }
            return;
        }
        let mut last = cause;
        for piece in server.pieces(packet) {
            last = Some(self.att(number, Direction::FromTarget, opcode::NOTIFICATION, table + VALUE, piece, Ok(())));
            self.tell_link(number, GattEvent::Notification(piece.to_vec()));
        }
        if self.wants.messages {
            self.record_caused(last, super::message(Direction::FromTarget, packet));
        }
    }

    /// The link of all connections is down, or up again.
    pub(super) fn links_changed(&mut self, up: bool) {
        let now = self.now;
        if !up {
            for link in &mut self.links.links {
                link.dies_at.get_or_insert(now + link.parameters.timeout_us());
            }
            return;
        }
        for (number, central) in self.links.alive() {
            let Some(link) = self.links.get(number) else { continue };
            if link.central_gone {
                self.end(number, EndedBy::Central);
                continue;
            }
            link.dies_at = None;
            let (actions, answers) = (std::mem::take(&mut link.actions), std::mem::take(&mut link.answers));
            for (packet, cause) in answers {
                self.notify(number, &packet, cause);
            }
            for action in actions {
                self.central(central, action);
            }
        }
    }

    /// The target has forgotten everything in RAM: its centrals hear nothing any more.
    pub(super) fn links_forgotten(&mut self) {
        let now = self.now;
        self.links.transport.clear();
        for link in &mut self.links.links {
            link.forgotten = true;
            link.restore_at = None;
            link.answers.clear();
            link.dies_at.get_or_insert(now + link.parameters.timeout_us());
        }
    }

    /// The target ends its connections before a reset, if it is one that does.
    pub(super) fn say_goodbye(&mut self) {
        if !self.board.gatt.goodbye || !self.link {
            return;
        }
        for (number, _) in self.links.alive() {
            self.end(number, EndedBy::Target);
        }
    }

    /// Does what is due on a link; `false` when nothing is.
    pub(super) fn step_links(&mut self) -> bool {
        let now = self.now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if let Some(number) = self.links.links.iter().find(|link| due(link.dies_at)).map(|link| link.number) {
            self.end(number, EndedBy::Timeout);
            return true;
        }
        if let Some(link) = self.links.links.iter_mut().find(|link| due(link.restore_at)) {
            link.restore_at = None;
            let number = link.number;
            self.ask_parameters(number, ConnectionParameters::PREFERRED);
            return true;
        }
        false
    }

    /// Ends a link on both sides.
    fn end(&mut self, number: u64, by: EndedBy) {
        let Some(index) = self.links.links.iter().position(|link| link.number == number) else { return };
        for action in std::mem::take(&mut self.links.links[index].actions) {
            self.lost_action(number, &action, "the connection has ended before the link came back");
        }
        for (packet, _) in std::mem::take(&mut self.links.links[index].answers) {
            self.lost_answer(number, &packet, "the connection has ended before the link came back");
        }
        self.set_notifications(number, false, "disconnected");
        let link = self.links.links.remove(index);
        // Requests of a connection that is gone are dropped.
        self.inbox.retain(|(peer, ..)| *peer != CONNECTION | number);
        let reason = if by == EndedBy::Timeout { CONNECTION_TIMEOUT } else { REMOTE_USER_TERMINATED };
        let by = if link.central_gone { EndedBy::Central } else { by };
        self.record(Kind::Link(LinkEvent::Disconnected { connection: number, by, reason }));
        if !link.central_gone {
            self.tell(link.central, GattEvent::Disconnected { by, reason });
        }
    }

    fn lost_action(&mut self, number: u64, action: &CentralAction, why: &str) {
        let CentralAction::Write { handle, value, command } = action else { return };
        let opcode = if *command { opcode::WRITE_COMMAND } else { opcode::WRITE_REQUEST };
        let lost = Some(why.to_owned());
        let record = AttRecord { lost, ..self.links.record(number, Direction::ToTarget, opcode, *handle, value) };
        self.lost += 1;
        self.record(Kind::Att(record));
    }

    fn lost_answer(&mut self, number: u64, packet: &[u8], why: &str) {
        let handle = self.links.table_of(number) + VALUE;
        let lost = Some(why.to_owned());
        let opcode = opcode::NOTIFICATION;
        let record = AttRecord { lost, ..self.links.record(number, Direction::FromTarget, opcode, handle, packet) };
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

impl Links {
    fn get(&mut self, number: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.number == number)
    }

    fn table_of(&self, number: u64) -> u16 {
        self.links.iter().find(|link| link.number == number).map_or(FIRST_HANDLE, |link| link.table)
    }

    /// Connections that the target knows of, with their centrals.
    fn alive(&self) -> Vec<(u64, Peer)> {
        self.links.iter().filter(|link| !link.forgotten).map(|link| (link.number, link.central)).collect()
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.links.iter().flat_map(|link| [link.dies_at, link.restore_at]).flatten().min()
    }

    fn record(&self, number: u64, direction: Direction, opcode: u8, handle: u16, value: &[u8]) -> AttRecord {
        let link = self.links.iter().find(|link| link.number == number);
        let uuid = match handle.checked_sub(self.table_of(number)) {
            Some(0) => Some(SERVICE_UUID),
            Some(VALUE) => Some(CHARACTERISTIC_UUID),
            Some(CCC) => Some(CCC_UUID),
            _ => None,
        };
        AttRecord {
            connection: number,
            direction,
            opcode,
            name: opcode::name(opcode).into(),
            handle,
            uuid: uuid.map(str::to_owned),
            len: value.len() as u64,
            value: hex(&value[..value.len().min(VALUE_KEPT)]),
            mtu: link.map_or(MTU_MIN, |link| link.server.mtu),
            security: link.map_or(Security::Plain, |link| link.server.security),
            error: None,
            lost: None,
        }
    }
}
