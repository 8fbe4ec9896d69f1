//! Exchanges: the central sends, the peripheral answers, and again while there is more and time (volume 6, part B, 4.5.1).

use super::super::Ether;
use super::super::codec::acl;
use super::super::status::Status;
use super::control::Control;
use super::phy::IFS_US;
use super::{CENTRAL, Link, PERIPHERAL, Packet, Pdu};

/// Where a connection event is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The central sends next.
    Between,
    ToPeripheral(Packet),
    ToCentral(Packet),
}

impl Ether {
    /// The time of a link's next step has come.
    pub(in super::super) fn step(&mut self, link: &mut Link) {
        let now = self.now;
        match std::mem::replace(&mut link.phase, Phase::Between) {
            Phase::Between => {
                if now == link.anchor {
                    link.counter = link.counter.wrapping_add(1);
                    self.carry_out_changes(link);
                }
                let packet = if self.is_on_air(link, CENTRAL) { self.transmit(link, CENTRAL) } else { None };
                match packet {
                    Some(packet) => {
                        link.at = Some(now + link.air_time(CENTRAL, &packet.pdu));
                        link.phase = Phase::ToPeripheral(packet);
                    }
                    None => link.close_event(now),
                }
            }
            Phase::ToPeripheral(packet) => {
                if !self.arrives(link, PERIPHERAL) {
                    return link.close_event(now);
                }
                self.receive(link, PERIPHERAL, packet);
                match self.transmit(link, PERIPHERAL) {
                    Some(packet) => {
                        link.at = Some(now + IFS_US + link.air_time(PERIPHERAL, &packet.pdu));
                        link.phase = Phase::ToCentral(packet);
                    }
                    None => link.close_event(now),
                }
            }
            Phase::ToCentral(packet) => {
                if !self.arrives(link, CENTRAL) {
                    return link.close_event(now);
                }
                let more = packet.more;
                self.receive(link, CENTRAL, packet);
                if (more || link.has_more(CENTRAL)) && link.fits(now) {
                    link.at = Some(now + IFS_US);
                } else {
                    link.close_event(now);
                }
            }
        }
    }

    /// The supervision timeout of an end is over, or the link never worked. A goodbye that was not acknowledged changes
    /// nothing: its own timer is as long, and began later.
    pub(in super::super) fn give_up(&mut self, link: &mut Link, end: usize) {
        let worked = link.ends[end].heard.is_some();
        let reason = if worked { Status::CONNECTION_TIMEOUT } else { Status::FAILED_TO_BE_ESTABLISHED };
        self.leave(link, end, reason);
    }

    /// An end leaves the link, and its host is told why.
    pub(super) fn leave(&mut self, link: &mut Link, end: usize, reason: Status) {
        let side = &mut link.ends[end];
        if let Some(controller) = side.controller.take() {
            self.controllers[controller].disconnection(side.handle, reason);
        }
    }

    fn is_on_air(&self, link: &Link, end: usize) -> bool {
        link.ends[end].controller.is_some_and(|controller| self.controllers[controller].is_on_air())
    }

    /// Whether a packet is heard at an end.
    fn arrives(&mut self, link: &Link, end: usize) -> bool {
        let lost = self.random.happens(self.settings.loss);
        !lost && self.is_on_air(link, end)
    }

    /// The next packet of an end.
    fn transmit(&mut self, link: &mut Link, end: usize) -> Option<Packet> {
        link.ends[end].controller?;
        if link.ends[end].in_flight.is_none() {
            link.ends[end].in_flight = Some(link.next_pdu(end));
        }
        let more = link.has_more(end);
        let side = &link.ends[end];
        let packet = Packet { sn: side.sn, nesn: side.nesn, more, pdu: side.in_flight.clone()? };
        if let Some(reason) = link.ends[end].leaving.take() {
            self.leave(link, end, reason);
        }
        Some(packet)
    }

    /// A packet was heard at an end that is there.
    fn receive(&mut self, link: &mut Link, end: usize, packet: Packet) {
        let side = &mut link.ends[end];
        let Some(controller) = side.controller else { return };
        side.heard = Some(self.now);
        if packet.nesn != side.sn {
            side.sn = !side.sn;
            match side.in_flight.take() {
                Some(Pdu::Data { last: true, .. }) => self.controllers[controller].completed(side.handle, 1),
                Some(Pdu::Control(Control::Terminate(_))) => {
                    return self.leave(link, end, Status::TERMINATED_BY_LOCAL_HOST);
                }
                _ => {}
            }
        }
        if packet.sn != side.nesn {
            // Heard before: the acknowledgement was lost.
            return;
        }
        match packet.pdu {
            Pdu::Empty => side.nesn = !side.nesn,
            Pdu::Data { start, bytes, .. } => {
                // Without room it is as if it had been lost, and comes again.
                if self.controllers[controller].has_room() {
                    side.nesn = !side.nesn;
                    self.controllers[controller].send(acl(side.handle, start, &bytes));
                }
            }
            Pdu::Control(control) => {
                side.nesn = !side.nesn;
                self.control(link, end, control);
            }
        }
    }
}

impl Link {
    /// No more in this connection event.
    fn close_event(&mut self, now: u64) {
        self.phase = Phase::Between;
        // Events that could not be kept up with (no time passes without steps, so none in fact).
        while self.anchor <= now {
            self.anchor += self.parameters.interval_us();
        }
        // With one end gone nothing is ever heard again: only deadlines are left.
        let both = self.ends.iter().all(|end| end.controller.is_some());
        self.at = both.then_some(self.anchor);
    }

    /// Takes what an end sends next.
    fn next_pdu(&mut self, end: usize) -> Pdu {
        let phy = self.tx_phy(end);
        let side = &mut self.ends[end];
        if let Some(control) = side.control.pop_front() {
            return Pdu::Control(control);
        }
        let limit = phy.payload_within(side.effective.tx.1, side.effective.tx.0);
        match side.data.front_mut() {
            Some(data) if !side.encryption.holds_data() => {
                let fragment = &data.bytes[data.sent..];
                let fragment = &fragment[..fragment.len().min(limit.into())];
                let (start, bytes) = (data.start && data.sent == 0, fragment.to_vec());
                data.sent += bytes.len();
                let last = data.sent == data.bytes.len();
                if last {
                    side.data.pop_front();
                }
                Pdu::Data { start, last, bytes }
            }
            _ => Pdu::Empty,
        }
    }

    /// Whether an end has more than what is in flight.
    fn has_more(&self, end: usize) -> bool {
        let side = &self.ends[end];
        !side.control.is_empty() || !side.data.is_empty() && !side.encryption.holds_data()
    }

    pub(super) fn air_time(&self, end: usize, pdu: &Pdu) -> u64 {
        self.tx_phy(end).air_time(pdu.length(), self.ends[end].encryption.is_on())
    }

    /// Whether another exchange ends before the next connection event.
    fn fits(&self, now: u64) -> bool {
        let next = |end: usize| {
            let side = &self.ends[end];
            let phy = self.tx_phy(end);
            let limit = usize::from(phy.payload_within(side.effective.tx.1, side.effective.tx.0));
            let waiting = side.data.front().map_or(0, |data| data.bytes.len() - data.sent).min(limit);
            let control = side.control.front().map_or(0, Control::length);
            let flying = side.in_flight.as_ref().map(Pdu::length);
            phy.air_time(flying.unwrap_or(waiting.max(control)), side.encryption.is_on())
        };
        let end = now + IFS_US + next(CENTRAL) + IFS_US + next(PERIPHERAL) + IFS_US;
        end <= self.anchor + self.parameters.interval_us()
    }
}
