//! Reads and writes of attributes.

use std::sync::Arc;

use super::{CONNECTION, opcode_of};
use crate::device::attributes::Behind;
use crate::gatt::{AttError, CentralAction, GattEvent, Properties, VALUE_MAX, WriteKind, opcode};
use crate::nordic::Endpoint;
use crate::nordic::gatt::{CCC_IMPROPERLY_CONFIGURED, FEATURE_NOT_SUPPORTED};
use crate::smp::gatt::{GattConfig, Received};
use crate::trace::{Direction, Kind, LinkEvent};
use crate::world::{Carrier, World};

/// Bytes of a prepare write request that are not value: opcode, handle and offset.
const PREPARE_OVERHEAD: u16 = 5;

impl World {
    pub(super) fn exchange_mtu(&mut self, number: u64, asked: u16) {
        let board = Arc::clone(&self.board);
        let Some(link) = self.links.get(number) else { return };
        // Controllers have agreed on it by themselves, whatever the target would have said.
        let theirs = GattConfig { mtu: asked, ..board.gatt.clone() };
        let config = if self.carrier == Carrier::Adapter { &theirs } else { &board.gatt };
        let asked_of_target = board.mtu(asked, config.mtu);
        let mtu = link.server.exchange_mtu(config, asked_of_target);
        self.record(Kind::Link(LinkEvent::Mtu { connection: number, asked, mtu }));
        self.tell_link(number, GattEvent::Mtu(mtu));
    }

    pub(super) fn discover(&mut self, number: u64) {
        let Some(table) = self.links.get(number).map(|link| Arc::clone(&link.attributes.table)) else { return };
        self.att(number, Direction::ToTarget, opcode::READ_BY_GROUP_TYPE_REQUEST, 1, &[], Ok(()));
        self.tell_link(number, GattEvent::Discovered(table));
    }

    pub(super) fn read(&mut self, number: u64, handle: u16, offset: u16) {
        let value = self
            .value(number, handle)
            .and_then(|value| value.get(usize::from(offset)..).map(<[u8]>::to_vec).ok_or(AttError::INVALID_OFFSET));
        let opcode = if offset == 0 { opcode::READ_REQUEST } else { opcode::READ_BLOB_REQUEST };
        let result = value.as_ref().map(|_| ()).map_err(|error| *error);
        self.att(number, Direction::ToTarget, opcode, handle, &[], result);
        match value {
            Ok(value) => {
                self.att(number, Direction::FromTarget, opcode::READ_RESPONSE, handle, &value, Ok(()));
                self.tell_link(number, GattEvent::Read { handle, value });
            }
            Err(error) => self.tell_link(number, GattEvent::Error { handle, error }),
        }
    }

    /// The value of an attribute, if this link may read it.
    fn value(&mut self, number: u64, handle: u16) -> Result<Vec<u8>, AttError> {
        self.initialise_at(number, handle);
        let (refusal, percent) = (self.board.gatt.refusal, self.battery.percent);
        let link = self.links.get(number).ok_or(AttError::INVALID_HANDLE)?;
        let (attributes, server) = (Arc::clone(&link.attributes), link.server.clone());
        let attribute = attributes.get(handle).ok_or(AttError::INVALID_HANDLE)?;
        if !attribute.properties.has(Properties::READ) {
            return Err(AttError::READ_NOT_PERMITTED);
        }
        server.permits(attribute.access, refusal)?;
        Ok(match &attribute.behind {
            Behind::Fixed(value) => value.clone(),
            Behind::Value { start, .. } => self.links.values.get(&handle).unwrap_or(start).clone(),
            Behind::Battery => vec![percent],
            Behind::Configuration { .. } => server.configured.get(&handle).copied().unwrap_or(0).to_le_bytes().to_vec(),
            Behind::Smp | Behind::Dfu { .. } | Behind::ServiceChanged => return Err(AttError::READ_NOT_PERMITTED),
        })
    }

    /// Why this link may not write this attribute this way, if it may not.
    fn may_write(&mut self, number: u64, handle: u16, len: usize, kind: WriteKind) -> Result<(), AttError> {
        let refusal = self.board.gatt.refusal;
        let link = self.links.get(number).ok_or(AttError::INVALID_HANDLE)?;
        let attribute = link.attributes.get(handle).ok_or(AttError::INVALID_HANDLE)?;
        let needed = if kind == WriteKind::Command { Properties::WRITE_WITHOUT_RESPONSE } else { Properties::WRITE };
        if !attribute.properties.has(needed) {
            return Err(AttError::WRITE_NOT_PERMITTED);
        }
        if kind != WriteKind::Long {
            fits(&attribute.behind, len)?;
            if len > link.server.value_max() {
                return Err(AttError::INVALID_LENGTH);
            }
        }
        link.server.permits(attribute.access, refusal)?;
        match (&attribute.behind, kind) {
            (Behind::Dfu { endpoint, .. }, WriteKind::Long) if endpoint.is_answered_by_program() => {
                return Err(AttError::REQUEST_NOT_SUPPORTED);
            }
            (Behind::Dfu { endpoint, .. }, WriteKind::Long) if endpoint.is_legacy() => {
                return Err(FEATURE_NOT_SUPPORTED);
            }
            // What the bootloader gives no memory for.
            (Behind::Dfu { endpoint: Endpoint::Packet, .. }, WriteKind::Long) => {
                return Err(AttError::WRITE_NOT_PERMITTED);
            }
            _ => {}
        }
        if let Behind::Dfu { endpoint, descriptor: Some(descriptor) } = attribute.behind
            && endpoint.answers()
            && !link.server.notifies(descriptor)
            && !link.server.indicates(descriptor)
        {
            return Err(CCC_IMPROPERLY_CONFIGURED);
        }
        Ok(())
    }

    pub(super) fn write(&mut self, number: u64, handle: u16, value: &[u8], kind: WriteKind) {
        self.initialise_at(number, handle);
        let mut result = self.may_write(number, handle, value.len(), kind);
        let Some(attributes) = self.links.get(number).map(|link| Arc::clone(&link.attributes)) else { return };
        let behind = attributes.get(handle).map(|attribute| &attribute.behind);
        if behind == Some(&Behind::Smp) && result.is_ok() && self.strike_fragment(number, handle, value) {
            return;
        }
        let record = if kind == WriteKind::Long {
            result = self.prepare(number, handle, value, result);
            if result.is_ok() {
                result = behind.map_or(Err(AttError::INVALID_HANDLE), |behind| fits(behind, value.len()));
                self.att(number, Direction::ToTarget, opcode::EXECUTE_WRITE_REQUEST, handle, &[], result);
            }
            self.next_record
        } else {
            self.att(number, Direction::ToTarget, opcode_of(kind), handle, value, result)
        };
        match (result, behind) {
            // A command that fails is not answered.
            (Err(_), _) if kind == WriteKind::Command => self.lost += 1,
            (Err(error), _) => self.tell_link(number, GattEvent::Error { handle, error }),
            (Ok(()), Some(Behind::Smp)) => self.smp_written(number, value, record),
            (Ok(()), Some(Behind::Dfu { endpoint, .. })) => {
                if kind != WriteKind::Command && endpoint.is_answered_by_program() {
                    return self.program_asked(number, handle, *endpoint, value, record);
                }
                if kind != WriteKind::Command {
                    self.tell_link(number, GattEvent::Written { handle });
                }
                self.tell_who_asks(number, *endpoint);
                self.program_written(number, *endpoint, value, record);
            }
            (Ok(()), behind) => {
                match behind {
                    Some(Behind::Configuration { .. }) => {
                        let bits = value.iter().take(2).rev().fold(0, |bits, byte| bits << 8 | u16::from(*byte));
                        self.configure(number, handle, bits, "written");
                    }
                    Some(Behind::Value { .. }) => {
                        self.links.values.insert(handle, value.to_vec());
                    }
                    _ => {}
                }
                if kind != WriteKind::Command {
                    self.tell_link(number, GattEvent::Written { handle });
                }
                if let Some(attribute) = attributes.get(handle)
                    && let Behind::Value { trigger, .. } = &attribute.behind
                {
                    self.triggered(&attribute.uuid, trigger.as_deref());
                }
            }
        }
    }

    /// The pieces of a long write; the first one is refused if the write is.
    fn prepare(
        &mut self,
        number: u64,
        handle: u16,
        value: &[u8],
        result: Result<(), AttError>,
    ) -> Result<(), AttError> {
        let mtu = self.links.get(number).map_or(crate::gatt::MTU_MIN, |link| link.server.mtu);
        let pieces: Vec<&[u8]> = value.chunks(usize::from(mtu - PREPARE_OVERHEAD)).collect();
        let pieces = if pieces.is_empty() { vec![value] } else { pieces };
        for piece in pieces {
            self.att(number, Direction::ToTarget, opcode::PREPARE_WRITE_REQUEST, handle, piece, result);
            result?;
        }
        Ok(())
    }

    /// A value of the board's own was written; what it sets off follows the answer.
    fn triggered(&mut self, uuid: &crate::gatt::Uuid, trigger: Option<&str>) {
        if let Some(trigger) = trigger {
            self.record(Kind::Application { event: format!("its trigger `{trigger}` is written") });
        }
        if let Some((id, action)) = self.faults.at_write(*uuid, trigger) {
            self.fire(&id, &action);
            if matches!(action, crate::world::Action::Inject { .. }) {
                self.work();
            }
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
        let write = CentralAction::Write { handle, value: value.to_vec(), kind: WriteKind::Command };
        match self.links.get(number) {
            // Repeated by the controller until the link is back or given up.
            Some(link) if !up && !link.forgotten => {
                link.actions.push(write);
                true
            }
            Some(link) if !link.forgotten => false,
            _ => {
                self.lost_action(number, &write, "the target has forgotten the connection");
                true
            }
        }
    }

    fn smp_written(&mut self, number: u64, value: &[u8], record: u64) {
        self.ask_fast_parameters(number);
        let board = Arc::clone(&self.board);
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
}

/// Whether a whole value of this length can be what is behind an attribute.
fn fits(behind: &Behind, len: usize) -> Result<(), AttError> {
    let fits = match behind {
        Behind::Configuration { .. } => len == 2,
        // Nothing is stored: Zephyr hands over whatever fits the MTU, and smpclient fills an MTU of 517.
        Behind::Smp => true,
        Behind::Dfu { endpoint, .. } => len <= endpoint.value_max(),
        _ => len <= VALUE_MAX,
    };
    if fits { Ok(()) } else { Err(AttError::INVALID_LENGTH) }
}
