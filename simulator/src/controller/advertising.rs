//! Advertising sets, and what happens at an advertising event (volume 6, part B, 4.4.2).
//!
//! Legacy advertising is a set that the legacy commands own. The three primary channels of an event, and the auxiliary
//! packets of an extended one, are one moment here.

use super::Ether;
use super::address::Address;
use super::codec::Fields;
use super::host::{Dialect, le};
use super::link::phy::Phy;
use super::status::Status;

/// Handle of the set of the legacy commands, which no host can give (7.8.53: at most 0xEF).
pub(super) const LEGACY: u8 = 0xFF;
/// Sets of one controller.
pub(super) const SETS_MAX: usize = 8;
/// Longest data of a set, in bytes (volume 4, part E, 7.8.57).
pub(super) const DATA_MAX: usize = 1650;
/// Longest data of a legacy packet, in bytes.
pub(super) const LEGACY_DATA_MAX: usize = 31;
/// Longest random delay of an advertising event (volume 6, part B, 4.4.2.2.1).
const DELAY_US: u64 = 10_000;
/// Longest time of directed advertising at a high duty cycle (4.4.2.4.3).
const HIGH_DUTY_US: u64 = 1_280_000;
/// Data of one extended report, in bytes (volume 4, part E, 7.7.65.13).
const REPORT_DATA: usize = 229;

/// Bits of advertising event properties (7.8.53).
pub(super) mod property {
    pub(in super::super) const CONNECTABLE: u16 = 1 << 0;
    pub(in super::super) const SCANNABLE: u16 = 1 << 1;
    pub(in super::super) const DIRECTED: u16 = 1 << 2;
    pub(in super::super) const HIGH_DUTY: u16 = 1 << 3;
    pub(in super::super) const LEGACY: u16 = 1 << 4;
    pub(in super::super) const ANONYMOUS: u16 = 1 << 5;
    pub(in super::super) const TX_POWER: u16 = 1 << 6;
}

/// An advertising set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) handle: u8,
    pub(super) properties: u16,
    pub(super) interval_us: u64,
    /// Bit 0 for channel 37.
    pub(super) channels: u8,
    pub(super) own_kind: u8,
    pub(super) peer: Address,
    /// Bit 0: scan requests, bit 1: connections, from the accept list only.
    pub(super) filter: u8,
    pub(super) tx_power: i8,
    pub(super) primary: Phy,
    pub(super) secondary: Phy,
    pub(super) sid: u8,
    pub(super) tells_requests: bool,
    pub(super) random: Option<[u8; 6]>,
    pub(super) data: Vec<u8>,
    pub(super) response: Vec<u8>,
    /// A fragment of data came, the last is missing.
    pub(super) unfinished: bool,
    pub(super) running: Option<Running>,
}

/// A set that is enabled.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) next: u64,
    pub(super) ends: Option<u64>,
    /// 0 for no limit.
    pub(super) events_max: u8,
    pub(super) events: u8,
}

impl Set {
    pub(super) fn new(handle: u8) -> Self {
        Self {
            handle,
            properties: property::CONNECTABLE | property::SCANNABLE | property::LEGACY,
            interval_us: 1_280_000,
            channels: 0b111,
            own_kind: 0,
            peer: Address::default(),
            filter: 0,
            tx_power: 0,
            primary: Phy::Le1M,
            secondary: Phy::Le1M,
            sid: 0,
            tells_requests: false,
            random: None,
            data: Vec::new(),
            response: Vec::new(),
            unfinished: false,
            running: None,
        }
    }

    pub(super) fn has(&self, property: u16) -> bool {
        self.properties & property != 0
    }

    /// Starts it; `duration_us` of 0 is without end.
    pub(super) fn start(&mut self, now: u64, delay: u64, duration_us: u64, events_max: u8) {
        let duration = match (self.has(property::HIGH_DUTY), duration_us) {
            (true, 0) => HIGH_DUTY_US,
            (true, other) => other.min(HIGH_DUTY_US),
            (false, other) => other,
        };
        let ends = (duration > 0).then_some(now + duration);
        self.running = Some(Running { next: now + delay, ends, events_max, events: 0 });
    }
}

/// What is on the air at an advertising event.
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) set: Set,
    pub(super) address: Address,
    /// For whom it is, if directed.
    pub(super) target: Option<Address>,
}

impl Ether {
    /// The time of the next advertising event of a set has come.
    pub(super) fn advertise(&mut self, from: usize, handle: u8) {
        let delay = self.random.below(DELAY_US);
        let now = self.now;
        let controller = &mut self.controllers[from];
        let on_air = controller.is_on_air();
        let Ok(set) = controller.set(handle) else { return };
        let high_duty = set.has(property::HIGH_DUTY);
        let interval = set.interval_us + if high_duty { 0 } else { delay };
        let Some(running) = &mut set.running else { return };
        running.next = now + interval;
        running.events = running.events.saturating_add(1);
        let last = running.events_max != 0 && running.events >= running.events_max;
        let set = set.clone();
        let directed = set.has(property::DIRECTED).then_some(set.peer);
        let random = if handle == LEGACY { controller.random } else { set.random };
        let address = controller.own_address(set.own_kind, random, Some(set.peer));
        if let (true, Some(address)) = (on_air, address) {
            let sent = Sent { from, target: directed, set, address };
            for to in (0..self.controllers.len()).filter(|to| *to != from) {
                if self.controllers[to].is_on_air() {
                    self.overhear(to, &sent);
                }
                if self.controllers[to].is_on_air() && self.initiate(to, &sent) {
                    return;
                }
            }
        }
        if last {
            self.end_advertising(from, handle, Status::LIMIT_REACHED);
        }
    }

    /// Advertising ends without a connection.
    pub(super) fn end_advertising(&mut self, from: usize, handle: u8, why: Status) {
        let controller = &mut self.controllers[from];
        let Ok(set) = controller.set(handle) else { return };
        let Some(running) = set.running.take() else { return };
        if handle == LEGACY {
            // Only directed advertising at a high duty cycle ends by itself.
            self.tell_failed_connection(from, 1, why);
        } else {
            let parameters = Fields::new().status(why).u8(handle).u16(0).u8(running.events);
            controller.le_event(le::ADVERTISING_SET_TERMINATED, &parameters);
        }
    }

    /// A scanner is in reach of an advertising event.
    fn overhear(&mut self, to: usize, sent: &Sent) {
        let loss = self.settings.loss;
        let scanner = &self.controllers[to].scanner;
        let Some(active) = scanner.hears(self.now, sent.set.channels, sent.set.primary) else { return };
        let legacy = sent.set.has(property::LEGACY);
        let extended = self.controllers[to].dialect == Some(Dialect::Extended);
        if !legacy && !extended || self.random.happens(loss) {
            return;
        }
        let own = self.controllers[to].own_address(scanner.own_kind, self.controllers[to].random, Some(sent.address));
        let (device, resolved) = self.controllers[to].identity(sent.address);
        let mine = |target: Address| Some(target) == own || target == self.controllers[to].public;
        if scanner.filter & 1 == 1 && !self.controllers[to].accepts(sent.address)
            || sent.target.is_some_and(|target| !mine(target))
        {
            return;
        }
        // The answer of a scannable extended packet is all the data that it has.
        if legacy || !sent.set.has(property::SCANNABLE) {
            self.report(to, sent, (device, resolved), false);
        }
        let scannable = sent.set.has(property::SCANNABLE);
        let asked = |controller: &super::host::Controller| own.is_some_and(|own| controller.accepts(own));
        let allowed = sent.set.filter & 1 == 0 || asked(&self.controllers[sent.from]);
        // The request, and the answer.
        if active && scannable && allowed && !self.random.happens(loss) {
            if let (true, Some(own)) = (sent.set.tells_requests, own) {
                let parameters = Fields::new().u8(sent.set.handle).address(own);
                self.controllers[sent.from].report(le::SCAN_REQUEST_RECEIVED, &parameters);
            }
            if !self.random.happens(loss) {
                self.report(to, sent, (device, resolved), true);
            }
        }
    }

    /// Tells a host what its scanner heard.
    fn report(&mut self, to: usize, sent: &Sent, (device, resolved): (Address, bool), response: bool) {
        let set = &sent.set;
        let legacy = set.has(property::LEGACY);
        let data = if response { &set.response } else { &set.data };
        let anonymous = !legacy && set.has(property::ANONYMOUS);
        let now = self.now;
        let controller = &mut self.controllers[to];
        if !controller.scanner.is_news(now, device, set.sid, response, data) {
            return;
        }
        let kind = device.kind() + if resolved { 2 } else { 0 };
        let rssi = self.settings.rssi.to_le_bytes()[0];
        if controller.dialect != Some(Dialect::Extended) {
            let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
            let event = if response { 4 } else { legacy_event(set.properties) };
            let parameters = Fields::new().u8(1).u8(event).u8(kind).bytes(&device.bytes);
            controller.report(le::ADVERTISING_REPORT, &parameters.u8(length).bytes(data).u8(rssi));
            return;
        }
        let event = set.properties & 0b1_0111 | if response { 1 << 3 } else { 0 };
        let (secondary, sid) = if legacy { (0, 0xFF) } else { (set.secondary.number(), set.sid) };
        let tx_power = if set.has(property::TX_POWER) { set.tx_power.to_le_bytes()[0] } else { 0x7F };
        let (kind, address) = if anonymous { (0xFF, [0; 6]) } else { (kind, device.bytes) };
        let target = sent.target.unwrap_or_default();
        let mut fragments = data.chunks(REPORT_DATA).peekable();
        loop {
            let fragment = fragments.next().unwrap_or_default();
            let more = fragments.peek().is_some();
            let event = event | if more { 1 << 5 } else { 0 };
            let parameters = Fields::new().u8(1).u16(event).u8(kind).bytes(&address);
            let parameters = parameters.u8(set.primary.number()).u8(secondary).u8(sid).u8(tx_power).u8(rssi);
            let parameters = parameters.u16(0).address(target);
            let length = u8::try_from(fragment.len()).unwrap_or(u8::MAX);
            controller.report(le::EXTENDED_ADVERTISING_REPORT, &parameters.u8(length).bytes(fragment));
            if !more {
                return;
            }
        }
    }
}

/// The event type of a legacy report (7.7.65.2).
fn legacy_event(properties: u16) -> u8 {
    let has = |property: u16| properties & property != 0;
    if has(property::DIRECTED) {
        1
    } else if has(property::CONNECTABLE) {
        0
    } else if has(property::SCANNABLE) {
        2
    } else {
        3
    }
}
