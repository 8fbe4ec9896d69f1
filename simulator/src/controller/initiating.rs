//! Initiating: an advertiser is answered with a connection (volume 6, part B, 4.4.4).

use super::Ether;
use super::address::Address;
use super::advertising::{LEGACY, Sent, property};
use super::codec::Fields;
use super::host::{Dialect, le};
use super::link::{CENTRAL, End, LINKS_MAX, Link, PERIPHERAL, Parameters};
use super::scanning::Listening;
use super::status::Status;

/// From the connection request to the first anchor: its transmit window begins 1.25 ms after it, and is 1.25 ms long
/// (volume 6, part B, 4.5.3).
const TRANSMIT_WINDOW_US: u64 = 2_500;

/// A host waits for an advertiser.
#[derive(Clone, Debug)]
pub(super) struct Initiator {
    /// `None`: whoever is on the accept list.
    pub(super) peer: Option<Address>,
    pub(super) own_kind: u8,
    pub(super) started: u64,
    pub(super) listening: Vec<Listening>,
    pub(super) parameters: Parameters,
}

impl Ether {
    /// Answers an advertising event with a connection, if the controller waits for it; whether it did.
    pub(super) fn initiate(&mut self, to: usize, sent: &Sent) -> bool {
        let now = self.now;
        let (central, peripheral) = (&self.controllers[to], &self.controllers[sent.from]);
        let Some(initiator) = central.initiator.clone() else { return false };
        let legacy = sent.set.has(property::LEGACY);
        let hears =
            |listening: &Listening| listening.hears(now - initiator.started, sent.set.channels, sent.set.primary);
        let (device, _) = central.identity(sent.address);
        let wanted = initiator.peer.map_or_else(|| central.accepts(sent.address), |peer| peer == device);
        let Some(own) = central.own_address(initiator.own_kind, central.random, Some(device)) else { return false };
        let for_me = sent.target.is_none_or(|target| target == own || peripheral.identity(own).0 == target);
        let allowed = sent.set.filter & 2 == 0 || peripheral.accepts(own);
        let understood = legacy || central.dialect == Some(Dialect::Extended);
        let connectable = sent.set.has(property::CONNECTABLE) && wanted && for_me && allowed && understood;
        if !connectable
            || !initiator.listening.iter().any(hears)
            || self.links_of(sent.from) >= LINKS_MAX
            || self.random.happens(self.settings.loss)
        {
            return false;
        }
        let arrived = !self.random.happens(self.settings.loss);
        // The request on a secondary channel is answered; the one on a primary channel is not.
        if !legacy && (!arrived || self.random.happens(self.settings.loss)) {
            return false;
        }
        self.connect(to, &initiator, sent, own, arrived);
        arrived
    }

    fn connect(&mut self, to: usize, initiator: &Initiator, sent: &Sent, own: Address, arrived: bool) {
        let central_handle = self.new_handle(to);
        let peripheral_handle = self.new_handle(sent.from);
        let phy = if sent.set.has(property::LEGACY) { sent.set.primary } else { sent.set.secondary };
        let new_end = |controller: usize, handle: u16| End::new(controller, handle, &self.controllers[controller]);
        let ends = [new_end(to, central_handle), new_end(sent.from, peripheral_handle)];
        let mut link = Link::new(ends, self.now + TRANSMIT_WINDOW_US, initiator.parameters, phy);
        link.ends[CENTRAL].peer = sent.address;
        link.ends[PERIPHERAL].peer = own;
        let (device, resolved) = self.controllers[to].identity(sent.address);
        self.controllers[to].initiator = None;
        self.tell_connection(to, central_handle, 0, (device, resolved), (own, sent.address), initiator.parameters);
        if arrived {
            let peer = self.controllers[sent.from].identity(own);
            let addresses = (sent.address, own);
            self.tell_connection(sent.from, peripheral_handle, 1, peer, addresses, initiator.parameters);
            let controller = &mut self.controllers[sent.from];
            if let Ok(set) = controller.set(sent.set.handle) {
                let events = set.running.take().map_or(0, |running| running.events);
                if sent.set.handle != LEGACY {
                    let parameters =
                        Fields::new().status(Status::SUCCESS).u8(sent.set.handle).u16(peripheral_handle).u8(events);
                    controller.le_event(le::ADVERTISING_SET_TERMINATED, &parameters);
                }
            }
            link.begin_procedures(&self.controllers[to]);
        } else {
            link.ends[PERIPHERAL].controller = None;
        }
        self.add(link);
    }

    /// Tells a host of its new connection.
    fn tell_connection(
        &mut self,
        to: usize,
        handle: u16,
        role: u8,
        (device, resolved): (Address, bool),
        (own, peer): (Address, Address),
        parameters: Parameters,
    ) {
        let controller = &mut self.controllers[to];
        let enhanced = controller.hears_le(le::ENHANCED_CONNECTION_COMPLETE);
        let kind = device.kind() + if resolved { 2 } else { 0 };
        let mut fields = Fields::new().status(Status::SUCCESS).u16(handle).u8(role).u8(kind).bytes(&device.bytes);
        if enhanced {
            let own_private =
                if own.is_resolvable() && Some(own.bytes) != controller.random { own.bytes } else { [0; 6] };
            fields = fields.bytes(&own_private).bytes(&if resolved { peer.bytes } else { [0; 6] });
        }
        fields = fields.u16(parameters.interval).u16(parameters.latency).u16(parameters.timeout).u8(0);
        let subevent = if enhanced { le::ENHANCED_CONNECTION_COMPLETE } else { le::CONNECTION_COMPLETE };
        controller.le_event(subevent, &fields);
    }

    /// Tells a host that there is no connection.
    pub(super) fn tell_failed_connection(&mut self, to: usize, role: u8, why: Status) {
        let controller = &mut self.controllers[to];
        let enhanced = controller.hears_le(le::ENHANCED_CONNECTION_COMPLETE);
        let (subevent, rest) =
            if enhanced { (le::ENHANCED_CONNECTION_COMPLETE, 26) } else { (le::CONNECTION_COMPLETE, 14) };
        let fields = Fields::new().status(why).u16(0).u8(role).bytes(&[0; 26][..rest]);
        controller.le_event(subevent, &fields);
    }

    fn new_handle(&mut self, controller: usize) -> u16 {
        let taken: Vec<u16> = self
            .links
            .values()
            .flat_map(|link| &link.ends)
            .filter(|end| end.controller == Some(controller))
            .map(|end| end.handle)
            .collect();
        self.controllers[controller].handle(|handle| taken.contains(&handle))
    }
}
