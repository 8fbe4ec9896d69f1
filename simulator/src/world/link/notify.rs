//! What the target sends by itself: answers, the charge of the battery, that its attributes have moved.

use std::sync::Arc;

use super::{LINKS_MAX, WAITING_MAX, Waiting};
use crate::device::program::{Input, Saying};
use crate::gatt::{GattEvent, opcode};
use crate::nordic::Endpoint;
use crate::trace::{AttRecord, CccdRecord, Direction, Kind};
use crate::world::World;

/// An indication that is not confirmed for so long ends the connection (Core specification, volume 3, part F, 3.3.3),
/// in microseconds.
const TRANSACTION_US: u64 = 30_000_000;

impl World {
    /// Notifies an answer on the connection that its request came on.
    pub(in crate::world) fn notify(&mut self, number: u64, packet: &[u8], cause: Option<u64>) {
        let up = self.link;
        let Some(link) = self.links.get(number).filter(|link| !link.forgotten) else {
            return self.lost_answer(number, packet, "its connection is gone");
        };
        let Some((value, descriptor)) = link.attributes.smp else {
            return self.lost_answer(number, packet, "the program serves no SMP any more");
        };
        if !link.server.notifies(descriptor) {
            return self.lost_answer(number, packet, "notifications are switched off");
        }
        if !up {
            if link.waiting.len() < WAITING_MAX {
                link.waiting.push(Waiting::Answer(packet.to_vec(), cause));
            }
            return;
        }
        let server = link.server.clone();
        let mut last = cause;
        for piece in server.pieces(packet) {
            last = Some(self.att(number, Direction::FromTarget, opcode::NOTIFICATION, value, piece, Ok(())));
            self.tell_link(number, GattEvent::Notification { handle: value, value: piece.to_vec() });
        }
        if self.wants.messages {
            self.record_caused(last, crate::world::message(Direction::FromTarget, packet));
        }
    }

    pub(super) fn lost_answer(&mut self, number: u64, packet: &[u8], why: &str) {
        let first = crate::device::attributes::FIRST_SMP_VALUE;
        let handle = self.links.get(number).and_then(|link| link.attributes.smp).map_or(first, |(value, _)| value);
        let lost = Some(why.to_owned());
        let opcode = opcode::NOTIFICATION;
        let record = AttRecord { lost, ..self.links.record(number, Direction::FromTarget, opcode, handle, packet) };
        self.lost += 1;
        self.record(Kind::Att(record));
    }

    /// Sends a short value to a central that wants it, as a notification or an indication.
    pub(super) fn send_value(&mut self, number: u64, value: u16, descriptor: u16, bytes: &[u8]) {
        let up = self.link;
        let Some(link) = self.links.get(number).filter(|link| !link.forgotten) else { return };
        let (notifies, indicates) = (link.server.notifies(descriptor), link.server.indicates(descriptor));
        if !notifies && !indicates {
            return;
        }
        if !up {
            if link.waiting.len() < WAITING_MAX {
                link.waiting.push(Waiting::Value { value, descriptor, bytes: bytes.to_vec() });
            }
            return;
        }
        let opcode = if notifies { opcode::NOTIFICATION } else { opcode::INDICATION };
        self.att(number, Direction::FromTarget, opcode, value, bytes, Ok(()));
        let (handle, bytes) = (value, bytes.to_vec());
        self.tell_link(
            number,
            if notifies {
                GattEvent::Notification { handle, value: bytes }
            } else {
                GattEvent::Indication { handle, value: bytes }
            },
        );
    }

    /// Says something of the program's to the central that has its connection. An indication that is not confirmed in
    /// time ends the connection.
    pub(in crate::world) fn say(&mut self, saying: &Saying, cause: Option<u64>) {
        if saying.from == Endpoint::Serial {
            return self.send_frame(saying, cause);
        }
        let until = self.now + TRANSACTION_US;
        let room = self.board.as_nordic().and_then(|own| own.dfu.hvn_queue).unwrap_or(WAITING_MAX);
        for (number, _) in self.links.alive() {
            let up = self.link;
            let Some(link) = self.links.get(number) else { continue };
            let Some((value, Some(descriptor))) = link.attributes.endpoint(saying.from) else { continue };
            let on =
                if saying.indicated { link.server.indicates(descriptor) } else { link.server.notifies(descriptor) };
            if !on {
                self.lost_value(number, value, &saying.value, "notifications or indications are switched off");
                continue;
            }
            if saying.indicated {
                link.unconfirmed_until = Some(until);
            }
            if !up {
                let notified = |waiting: &&Waiting| matches!(waiting, Waiting::Saying(saying, _) if !saying.indicated);
                if !saying.indicated && link.waiting.iter().filter(notified).count() >= room {
                    self.lost_value(number, value, &saying.value, "as many notifications wait as can");
                } else if link.waiting.len() < WAITING_MAX {
                    link.waiting.push(Waiting::Saying(saying.clone(), cause));
                }
                continue;
            }
            let bytes = &saying.value[..saying.value.len().min(link.server.value_max())];
            let opcode = if saying.indicated { opcode::INDICATION } else { opcode::NOTIFICATION };
            let record = self.att(number, Direction::FromTarget, opcode, value, bytes, Ok(()));
            self.record_saying(saying, record);
            let (handle, value) = (value, bytes.to_vec());
            let event = if saying.indicated {
                GattEvent::Indication { handle, value }
            } else {
                GattEvent::Notification { handle, value }
            };
            self.tell_link(number, event);
        }
    }

    /// A central has confirmed an indication.
    pub(super) fn confirmed(&mut self, number: u64) {
        let Some(link) = self.links.get(number) else { return };
        if link.unconfirmed_until.take().is_none() {
            return;
        }
        let record = self.att(number, Direction::ToTarget, opcode::CONFIRMATION, 0, &[], Ok(()));
        self.tell_program(Input::Confirmed, Some(record));
    }

    fn lost_value(&mut self, number: u64, handle: u16, bytes: &[u8], why: &str) {
        let lost = Some(why.to_owned());
        let opcode = opcode::NOTIFICATION;
        let record = AttRecord { lost, ..self.links.record(number, Direction::FromTarget, opcode, handle, bytes) };
        self.lost += 1;
        self.record(Kind::Att(record));
    }

    /// The charge of the battery has changed.
    pub(in crate::world) fn notify_battery(&mut self) {
        let percent = self.battery.percent;
        for (number, _) in self.links.alive() {
            if let Some((value, descriptor)) = self.links.get(number).and_then(|link| link.attributes.battery) {
                self.send_value(number, value, descriptor, &[percent]);
            }
        }
    }

    /// A central that is known again, by its keys, is told when its attributes are not those it knows.
    ///
    /// Only one that has asked for it: Zephyr forgets the others (`sc_ccc_cfg_write`), and sends the indication to
    /// this one when its subscriptions are restored (`sc_restore`).
    pub(super) fn tell_service_changed(&mut self, number: u64) {
        let Some(link) = self.links.get(number) else { return };
        let (central, attributes) = (link.central, Arc::clone(&link.attributes));
        let Some(bond) = self.links.bonds.get_mut(&central) else { return };
        if bond.table == attributes.table && !bond.changed {
            return;
        }
        bond.changed = false;
        bond.table = Arc::clone(&attributes.table);
        let (value, descriptor) = attributes.service_changed;
        if self.links.get(number).is_some_and(|link| link.server.indicates(descriptor)) {
            self.send_value(number, value, descriptor, &self.changed_handles(&attributes));
        }
    }

    /// Notifications and indications are switched on or off; `by` is as in the trace.
    pub(super) fn configure(&mut self, number: u64, descriptor: u16, bits: u16, by: &str) {
        let keeps = self.board.gatt.keeps_fragments;
        let Some(link) = self.links.get(number) else { return };
        let (central, bonded, forgotten) = (link.central, link.server.bonded, link.forgotten);
        let is_smp = link.attributes.smp.is_some_and(|(_, smp)| smp == descriptor);
        let Some(uuid) = link.attributes.get(descriptor).and_then(|attribute| attribute.characteristic) else { return };
        let was = link.server.notifies(descriptor);
        let before = link.server.configured.insert(descriptor, bits).unwrap_or(0);
        let (notifications, indications) = (link.server.notifies(descriptor), link.server.indicates(descriptor));
        if by != "disconnected" || before != 0 {
            self.record(Kind::Cccd(CccdRecord {
                connection: number,
                uuid: uuid.to_string(),
                notifications,
                indications,
                by: by.into(),
            }));
        }
        let keeps_bond = !self.is_in_dfu_mode();
        if by == "written"
            && bonded
            && keeps_bond
            && let Some(bond) = self.links.bonds.get_mut(&central)
            && (bond.configured.len() < LINKS_MAX || bond.configured.contains_key(&descriptor))
        {
            bond.configured.insert(descriptor, bits);
        }
        // The application is told of the last one that switches them off.
        let used = |link: &super::Link| {
            !link.forgotten && link.attributes.smp.is_some_and(|(_, smp)| link.server.notifies(smp))
        };
        let used = self.links.links.iter().any(used);
        if is_smp && !notifications && !forgotten && (by == "written" || (was && !used && !keeps)) {
            self.links.transport.clear();
        }
    }

    /// A connection ends, and its subscriptions with it.
    pub(super) fn all_switched_off(&mut self, number: u64) {
        let Some(link) = self.links.get(number) else { return };
        let smp = link.attributes.smp.map(|(_, descriptor)| descriptor);
        let on = link.server.configured.iter().filter(|(_, bits)| **bits != 0);
        let mut descriptors: Vec<u16> = on.map(|(descriptor, _)| *descriptor).collect();
        descriptors.sort_by_key(|descriptor| Some(*descriptor) != smp);
        for descriptor in descriptors {
            self.configure(number, descriptor, 0, "disconnected");
        }
    }
}
