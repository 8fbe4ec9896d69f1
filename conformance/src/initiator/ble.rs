//! The built-in initiator as a Bluetooth LE central, on virtual time.
//!
//! A link is made when the first packet is sent, and again after it was lost: connect, exchange the MTU,
//! look for the service, ask to be told when attributes move, switch notifications on, pair where the target demands
//! it; its user reads what the target shows. Requests are written in fragments of MTU-3 bytes, answers put together
//! from notifications.

use std::collections::VecDeque;

use brickproof_simulator::gatt::{CentralAction, GattEvent, MTU_MIN, Table, Uuid, WriteKind};
use brickproof_simulator::smp::gatt::CHARACTERISTIC;
use brickproof_simulator::smp::{Frame, frame::HEADER_LEN};
use brickproof_simulator::trace::{InitiatorEvent, Kind};
use brickproof_simulator::world::{Carrier, Peer, World};

use super::link_policy::{LinkPolicy, Takes};
use super::wire::Wire;

/// Name of the one initiator there is.
const PEER: Peer = 1;
/// An ATT transaction that is not answered for so long is given up (Core specification, volume 3,
/// part F, 3.3.3), in microseconds.
const TRANSACTION_US: u64 = 30_000_000;
/// Pairings on one link: without protection, then with.
const PAIRINGS_MAX: u32 = 2;

/// What is known of a link.
#[derive(Debug, Clone, Copy)]
struct Known {
    mtu: u16,
    mtu_asked: bool,
    value: u16,
    ccc: u16,
    notifications: bool,
    /// The target has said that its attributes are others.
    moved: bool,
}

/// A wire over a link of the world's.
pub struct BleWire<'a> {
    world: &'a mut World,
    policy: &'a dyn LinkPolicy,
    link: Option<Known>,
    /// The link before this one.
    before: Option<Known>,
    /// Answers to what was asked, in order.
    replies: VecDeque<GattEvent>,
    /// An answer that is being put together.
    pieces: Vec<u8>,
    packets: VecDeque<Vec<u8>>,
}

impl<'a> BleWire<'a> {
    /// A wire into this world, not connected yet.
    pub fn new(world: &'a mut World, policy: &'a dyn LinkPolicy) -> Self {
        world.set_carrier(Carrier::Bluetooth);
        Self {
            world,
            policy,
            link: None,
            before: None,
            replies: VecDeque::new(),
            pieces: Vec::new(),
            packets: VecDeque::new(),
        }
    }

    /// Takes what the target has sent by now.
    fn pump(&mut self) {
        while let Some((_, event)) = self.world.take_gatt() {
            match event {
                GattEvent::Notification { handle, value } => {
                    if self.link.is_some_and(|link| link.value == handle) {
                        self.notified(value);
                    }
                }
                // Nothing else is ever asked for.
                GattEvent::Indication { .. } => {
                    if let Some(link) = &mut self.link {
                        link.moved = true;
                    }
                }
                GattEvent::ParametersAsked(wanted) => {
                    let accept = self.policy.accepts(wanted);
                    self.world.central(PEER, CentralAction::AnswerParameters { accept });
                }
                GattEvent::Disconnected { .. } => {
                    self.before = self.link.take().or(self.before);
                    self.pieces.clear();
                    self.replies.push_back(event);
                }
                event => self.replies.push_back(event),
            }
        }
    }

    fn notified(&mut self, value: Vec<u8>) {
        let length = |packet: &[u8]| Frame::parse_header(packet).ok().map(|(_, len)| HEADER_LEN + usize::from(len));
        match self.policy.takes() {
            Takes::Whole => self.packets.push_back(value),
            Takes::OnlyWhole if length(&value) == Some(value.len()) => self.packets.push_back(value),
            Takes::OnlyWhole => {}
            Takes::Piece => {
                self.pieces.extend(value);
                while let Some(len) = length(&self.pieces).filter(|len| self.pieces.len() >= *len) {
                    let rest = self.pieces.split_off(len);
                    self.packets.push_back(std::mem::replace(&mut self.pieces, rest));
                }
            }
        }
    }

    /// Does something and waits for what comes of it; `None` when nothing does.
    fn ask(&mut self, action: CentralAction) -> Option<GattEvent> {
        self.pump();
        self.replies.clear();
        let deadline = self.world.now() + TRANSACTION_US;
        self.world.central(PEER, action);
        loop {
            self.pump();
            if let Some(reply) = self.replies.pop_front() {
                return Some(reply);
            }
            match self.world.next_wake().filter(|due| *due <= deadline) {
                Some(due) => self.world.advance(due),
                None => {
                    self.world.advance(deadline);
                    return None;
                }
            }
        }
    }

    /// Makes a link if there is none; whether there is one.
    fn connect(&mut self) -> bool {
        self.pump();
        if self.link.is_some() {
            return true;
        }
        if self.ask(CentralAction::Connect) != Some(GattEvent::Connected) {
            return false;
        }
        self.pieces.clear();
        if let Some(before) = self.before.filter(|_| !self.policy.sets_up_again()) {
            self.link = Some(before);
            return true;
        }
        let fresh = Known { mtu: MTU_MIN, mtu_asked: false, value: 0, ccc: 0, notifications: false, moved: false };
        self.link = Some(fresh);
        if !self.policy.mtu_on_demand() {
            self.exchange_mtu();
        }
        if !self.discover() {
            return self.give_up();
        }
        if !self.policy.late_notifications(self.before.is_none()) && !self.switch_on() {
            return self.give_up();
        }
        self.link.is_some()
    }

    /// Looks for what there is; whether SMP is.
    fn discover(&mut self) -> bool {
        let Some(GattEvent::Discovered(table)) = self.ask(CentralAction::Discover) else { return false };
        let handles = |uuid| {
            let characteristic = Table::characteristic(&table, uuid)?;
            Some((characteristic.value_handle, characteristic.ccc()?))
        };
        let (Some((value, ccc)), Some(link)) = (handles(CHARACTERISTIC), &mut self.link) else { return false };
        (link.value, link.ccc, link.moved) = (value, ccc, false);
        if self.policy.heeds_service_changed()
            && let Some((_, handle)) = handles(Uuid::SERVICE_CHANGED)
        {
            self.ask(CentralAction::Write { handle, value: vec![2, 0], kind: WriteKind::Request });
        }
        self.link.is_some()
    }

    /// Pairs; whether the link is protected now.
    fn pair(&mut self, before: u32) -> bool {
        let (capability, wanted) = self.policy.pairs_with(before);
        let mut action = CentralAction::Pair { capability, wanted };
        loop {
            match self.ask(action) {
                Some(GattEvent::PairingAsks(ask)) => {
                    let answer = self.policy.answers_pairing(ask, self.world.board().gatt.pairing.passkey);
                    action = CentralAction::AnswerPairing(answer);
                }
                Some(GattEvent::Secured { .. }) => {
                    self.pump();
                    let moved = self.link.is_some_and(|link| link.moved);
                    return !moved || self.discover();
                }
                _ => return false,
            }
        }
    }

    /// A link that cannot be used is no use to others either.
    fn give_up(&mut self) -> bool {
        if self.link.is_some() {
            self.world.central(PEER, CentralAction::Disconnect);
            self.pump();
        }
        false
    }

    fn exchange_mtu(&mut self) {
        if let Some(GattEvent::Mtu(mtu)) = self.ask(CentralAction::ExchangeMtu(self.policy.mtu()))
            && let Some(link) = &mut self.link
        {
            (link.mtu, link.mtu_asked) = (mtu, true);
        }
    }

    /// Switches notifications on; whether they are.
    fn switch_on(&mut self) -> bool {
        let mut pairings = 0;
        for value in self.policy.ccc() {
            loop {
                let Some(handle) = self.link.map(|link| link.ccc) else { return false };
                let value = value.to_le_bytes().to_vec();
                match self.ask(CentralAction::Write { handle, value, kind: WriteKind::Request }) {
                    Some(GattEvent::Written { .. }) => break,
                    Some(GattEvent::Error { error, .. })
                        if self.policy.pairs_after(error) && pairings < PAIRINGS_MAX =>
                    {
                        // The second time, the first pairing was not enough.
                        if !self.pair(pairings) {
                            return false;
                        }
                        pairings += 1;
                    }
                    _ => return false,
                }
            }
        }
        if let Some(link) = &mut self.link {
            link.notifications = true;
        }
        true
    }

    /// Room for a packet of this length: asks for a larger MTU where that was put off.
    fn make_room(&mut self, len: usize) {
        if let Some(link) = self.link
            && len > value_max(link)
            && !link.mtu_asked
            && self.policy.mtu_on_demand()
        {
            self.exchange_mtu();
        }
    }

    fn write(&mut self, packet: &[u8]) {
        let Some(link) = self.link else { return };
        let mut fragments = self.policy.fragments(packet, value_max(link));
        if fragments.len() > 1 && self.policy.abandons(packet) {
            fragments.pop();
        }
        for fragment in fragments {
            let write = CentralAction::Write {
                handle: link.value,
                value: fragment.to_vec(),
                kind: if self.policy.write_requests() { WriteKind::Request } else { WriteKind::Command },
            };
            if self.policy.write_requests() {
                self.ask(write);
            } else {
                self.world.central(PEER, write);
                self.pump();
            }
            if self.link.is_none() {
                return;
            }
        }
    }
}

fn value_max(link: Known) -> usize {
    usize::from(link.mtu.saturating_sub(3))
}

impl Wire for BleWire<'_> {
    async fn send(&mut self, packet: Vec<u8>) {
        if !self.connect() {
            return;
        }
        self.make_room(packet.len());
        self.write(&packet);
        if self.link.is_some_and(|link| !link.notifications) {
            // Put off until now.
            self.switch_on();
        }
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        let deadline = self.world.now() + timeout_us;
        loop {
            self.pump();
            if let Some(packet) = self.packets.pop_front() {
                return Some(packet);
            }
            match self.world.next_wake().filter(|due| *due <= deadline) {
                Some(due) => self.world.advance(due),
                None => {
                    self.world.advance(deadline);
                    return None;
                }
            }
        }
    }

    async fn sleep(&mut self, us: u64) {
        let until = self.world.now() + us;
        while let Some(due) = self.world.next_wake().filter(|due| *due < until) {
            self.world.advance(due);
            self.pump();
        }
        self.world.advance(until);
        self.pump();
    }

    async fn one_write(&mut self) -> Option<usize> {
        self.connect();
        self.make_room(usize::MAX);
        Some(self.link.map_or(usize::from(MTU_MIN) - 3, value_max))
    }

    fn now_us(&self) -> u64 {
        self.world.now()
    }

    fn note(&mut self, event: InitiatorEvent) {
        self.world.record(Kind::Initiator(event));
    }
}
