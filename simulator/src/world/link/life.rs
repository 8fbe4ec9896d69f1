//! Outages, resets, and the ends of links.

use super::{CONNECTION, CONNECTION_TIMEOUT, Links, REMOTE_USER_TERMINATED, Waiting};
use crate::device::program::Input;
use crate::gatt::{CentralAction, ConnectionParameters, GattEvent};
use crate::trace::{EndedBy, Kind, LinkEvent};
use crate::world::{Peer, World};

/// After so long without SMP the preferred parameters are asked for again
/// (`CONFIG_MCUMGR_TRANSPORT_BT_CONN_PARAM_CONTROL_RESTORE_TIME`), in microseconds.
const RESTORE_US: u64 = 5_000_000;

impl World {
    /// The first write of a burst asks for a short interval; each one puts off its end.
    pub(super) fn ask_fast_parameters(&mut self, number: u64) {
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

    pub(super) fn parameters_answered(&mut self, number: u64, accepted: bool) {
        let Some(link) = self.links.get(number) else { return };
        let Some(wanted) = link.asked.take() else { return };
        if accepted {
            link.parameters = wanted;
        }
        self.record(Kind::Link(LinkEvent::ParametersAnswered { connection: number, accepted, wanted }));
        if accepted {
            self.tell_program(Input::Parameters(wanted), None);
        }
    }

    /// The link of all connections is down, or up again.
    pub(in crate::world) fn links_changed(&mut self, up: bool) {
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
            self.pairing_goes_on(number);
            let Some(link) = self.links.get(number) else { continue };
            let (actions, waiting) = (std::mem::take(&mut link.actions), std::mem::take(&mut link.waiting));
            for waiting in waiting {
                match waiting {
                    Waiting::Answer(packet, cause) => self.notify(number, &packet, cause),
                    Waiting::Saying(saying, cause) => self.say(&saying, cause),
                    Waiting::Written(asked, answer) => self.send_answer(asked, answer),
                    Waiting::Value { value, descriptor, bytes } => self.send_value(number, value, descriptor, &bytes),
                }
            }
            for action in actions {
                self.central(central, action);
            }
        }
    }

    /// The target has forgotten everything in RAM: its centrals hear nothing any more.
    pub(in crate::world) fn links_forgotten(&mut self) {
        self.forget_asked();
        let now = self.now;
        self.links.transport.clear();
        self.links.values.clear();
        self.links.silent = false;
        for link in &mut self.links.links {
            link.forgotten = true;
            link.restore_at = None;
            link.unconfirmed_until = None;
            link.waiting.clear();
            link.forget_pairing();
            link.dies_at.get_or_insert(now + link.parameters.timeout_us());
        }
    }

    /// The target ends its connections before a reset, if it is one that does.
    pub(in crate::world) fn say_goodbye(&mut self) {
        if !self.board.gatt.goodbye || !self.link {
            return;
        }
        self.end_all(EndedBy::Target);
    }

    /// A central has lost its connection; the target finds out with it, if it has not before.
    pub(super) fn link_lost(&mut self, central: Peer) {
        if let Some(number) = self.links.of_central(central).map(|link| link.number) {
            self.end(number, EndedBy::Timeout);
        }
    }

    /// The target ends every connection that it has.
    pub(in crate::world) fn end_all(&mut self, by: EndedBy) {
        for (number, _) in self.links.alive() {
            self.end(number, by);
        }
    }

    /// Whether this connection is there, for the target.
    pub(in crate::world) fn link_is_alive(&self, number: u64) -> bool {
        self.links.links.iter().any(|link| link.number == number && !link.forgotten)
    }

    /// What was on the air first arrives, unless there is nobody to hear it.
    fn let_arrive(&mut self, number: u64) {
        let up = self.link;
        let Some(link) = self.links.get(number) else { return };
        let Some((_, action)) = link.on_air.pop_front() else { return };
        if link.forgotten {
            self.lost_action(number, &action, "the target has forgotten the connection");
        } else if up {
            self.arrived(number, action);
        } else {
            link.actions.push(action);
        }
    }

    /// Does what is due on a link; `false` when nothing is.
    pub(in crate::world) fn step_links(&mut self) -> bool {
        let now = self.now;
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        let arrives = |link: &&super::Link| link.on_air.front().is_some_and(|(at, _)| *at <= now);
        if let Some(number) = self.links.links.iter().find(arrives).map(|link| link.number) {
            self.let_arrive(number);
            return true;
        }
        if let Some(number) = self.links.links.iter().find(|link| due(link.dies_at)).map(|link| link.number) {
            self.end(number, EndedBy::Timeout);
            return true;
        }
        if let Some(number) = self.links.links.iter().find(|link| due(link.unconfirmed_until)).map(|link| link.number) {
            self.end(number, EndedBy::Target);
            return true;
        }
        if let Some(link) = self.links.links.iter_mut().find(|link| due(link.restore_at)) {
            link.restore_at = None;
            let number = link.number;
            self.ask_parameters(number, ConnectionParameters::PREFERRED);
            return true;
        }
        self.step_pairings() || self.step_attempts()
    }

    /// Ends a link on both sides.
    pub(super) fn end(&mut self, number: u64, by: EndedBy) {
        let Some(link) = self.links.get(number) else { return };
        let mut actions = std::mem::take(&mut link.actions);
        actions.extend(std::mem::take(&mut link.on_air).into_iter().map(|(_, action)| action));
        let waiting = std::mem::take(&mut link.waiting);
        if actions.iter().any(|action| matches!(action, CentralAction::Pair { .. })) {
            link.pairing.get_or_insert(super::Ongoing::Unheard);
        }
        for action in actions {
            self.lost_action(number, &action, "the connection has ended before the link came back");
        }
        for waiting in waiting {
            if let Waiting::Answer(packet, _) = waiting {
                self.lost_answer(number, &packet, "the connection has ended before the link came back");
            }
        }
        self.pairing_ends_with(number);
        self.all_switched_off(number);
        let Some(index) = self.links.links.iter().position(|link| link.number == number) else { return };
        let link = self.links.links.remove(index);
        let forgotten = link.forgotten;
        // Requests of a connection that is gone are dropped.
        self.inbox.retain(|(peer, ..)| *peer != CONNECTION | number);
        self.links.asked.end(number);
        let reason = if by == EndedBy::Timeout { CONNECTION_TIMEOUT } else { REMOTE_USER_TERMINATED };
        self.lost += u64::from(by == EndedBy::Timeout);
        let by = if link.central_gone { EndedBy::Central } else { by };
        self.record(Kind::Link(LinkEvent::Disconnected { connection: number, by, reason }));
        if !link.central_gone {
            self.tell(link.central, GattEvent::Disconnected { by, reason });
        }
        if !forgotten {
            self.tell_program(Input::Disconnected, None);
        }
    }
}

impl Links {
    /// When something is due.
    pub(in crate::world) fn next_due(&self) -> Option<u64> {
        let due = |link: &super::Link| {
            let on_air = link.on_air.front().map(|(at, _)| *at);
            [on_air, link.dies_at, link.unconfirmed_until, link.restore_at, link.pairing_due()]
        };
        let links = self.links.iter().flat_map(due).flatten();
        links.chain(self.attempts.iter().map(|(at, _)| *at)).min()
    }
}
