//! Control procedures of the link layer (volume 6, part B, 5.1), as values: they travel, are lost and are repeated like
//! data, and take the time of their real length.

use super::super::Ether;
use super::super::codec::Fields;
use super::super::commands;
use super::super::host::{code, le};
use super::super::status::Status;
use super::encryption::Step;
use super::phy::{Phy, Phys};
use super::{CENTRAL, Change, LENGTH_MAX, Link, PERIPHERAL, Parameters, What};

/// Connection events between a change's announcement and its instant, at least (volume 6, part B, 5.1.1).
const NOTICE_EVENTS: u16 = 6;
/// The longest packet on an uncoded physical layer, in microseconds.
const UNCODED_TIME: u16 = 2120;

/// A procedure whose end a host may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Features,
    Version,
    Parameters,
    Phy,
    Encryption,
}

/// The longest packets of an end: octets, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct LengthLimits {
    pub(in super::super) rx: (u16, u16),
    pub(in super::super) tx: (u16, u16),
}

/// A control PDU (volume 6, part B, 2.4.2).
#[derive(Clone, Copy, Debug)]
pub(super) enum Control {
    Terminate(Status),
    FeatureRequest(u64),
    FeatureResponse(u64),
    Version([u8; 5]),
    LengthRequest(LengthLimits),
    LengthResponse(LengthLimits),
    /// What the sender likes for sending, for receiving.
    PhyRequest(Phys, Phys),
    PhyResponse(Phys, Phys),
    /// The answer to a request after which nothing changes.
    PhyUnchanged,
    ParametersRequest {
        interval: (u16, u16),
        latency: u16,
        timeout: u16,
    },
    /// The first of the changes that are waiting takes place at this event.
    Change(u16),
    Reject(Kind, Status),
    Encryption(Step),
}

impl Control {
    /// Length of its payload, in bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Terminate(_) => 2,
            Self::FeatureRequest(_) | Self::FeatureResponse(_) => 9,
            Self::Version(_) => 6,
            Self::LengthRequest(_) | Self::LengthResponse(_) => 9,
            Self::PhyRequest(..) | Self::PhyResponse(..) | Self::Reject(..) => 3,
            Self::PhyUnchanged => 5,
            Self::ParametersRequest { .. } => 24,
            Self::Change(_) => 12,
            Self::Encryption(step) => step.length(),
        }
    }
}

impl Link {
    /// Says goodbye.
    pub(in super::super) fn terminate(&mut self, end: usize, reason: Status) {
        self.ends[end].closing = true;
        self.ends[end].control.push_front(Control::Terminate(reason));
    }

    pub(in super::super) fn ask_features(&mut self, end: usize, features: u64) {
        self.ends[end].control.push_back(Control::FeatureRequest(features));
    }

    /// Says what version this end is, once.
    pub(in super::super) fn say_version(&mut self, end: usize) {
        if !std::mem::replace(&mut self.ends[end].sent_version, true) {
            self.ends[end].control.push_back(Control::Version(commands::VERSION));
        }
    }

    pub(in super::super) fn ask_length(&mut self, end: usize) {
        let limits = self.length_limits(end);
        // One that still waits would say the same.
        self.ends[end].control.retain(|control| !matches!(control, Control::LengthRequest(_)));
        self.ends[end].control.push_back(Control::LengthRequest(limits));
    }

    fn length_limits(&self, end: usize) -> LengthLimits {
        LengthLimits { rx: LENGTH_MAX, tx: self.ends[end].tx_limits }
    }

    pub(in super::super) fn ask_phys(&mut self, end: usize, tx: Phys, rx: Phys) {
        self.ends[end].phys = (tx, rx);
        self.ends[end].control.push_back(Control::PhyRequest(tx, rx));
    }

    /// The peripheral asks for other parameters.
    pub(in super::super) fn ask_parameters(&mut self, end: usize, interval: (u16, u16), latency: u16, timeout: u16) {
        self.ends[end].control.push_back(Control::ParametersRequest { interval, latency, timeout });
    }

    pub(in super::super) fn reject(&mut self, end: usize, kind: Kind, reason: Status) {
        self.ends[end].control.push_back(Control::Reject(kind, reason));
    }

    /// The central changes something at an instant; one change after the other.
    pub(in super::super) fn change(&mut self, what: What) {
        self.changes.push_back(Change { instant: None, what });
        if self.changes.len() == 1 {
            self.announce_change();
        }
    }

    /// Other channels, unless they are on their way already.
    pub(in super::super) fn change_channel_map(&mut self, map: [u8; 5]) {
        let waiting = self.changes.iter_mut().rev().find(|change| matches!(change.what, What::ChannelMap(_)));
        match waiting {
            Some(change) => change.what = What::ChannelMap(map),
            None => self.change(What::ChannelMap(map)),
        }
    }

    fn announce_change(&mut self) {
        if !self.changes.is_empty() {
            let instant = self.counter.wrapping_add(NOTICE_EVENTS);
            self.ends[CENTRAL].control.push_back(Control::Change(instant));
        }
    }

    /// What the central makes of both ends' likes.
    fn choose_phys(&mut self, central: (Phys, Phys), peripheral: (Phys, Phys)) -> bool {
        let down = central.0.choose(peripheral.1).unwrap_or(self.phys.0);
        let up = peripheral.0.choose(central.1).unwrap_or(self.phys.1);
        let differs = (down, up) != self.phys;
        if differs {
            self.change(What::Phys(down, up));
        } else {
            self.ends[CENTRAL].control.push_back(Control::PhyUnchanged);
        }
        differs
    }
}

impl Ether {
    /// A control PDU has reached an end that is there.
    pub(super) fn control(&mut self, link: &mut Link, end: usize, control: Control) {
        let Some(controller) = link.ends[end].controller else { return };
        let handle = link.ends[end].handle;
        match control {
            Control::Terminate(reason) => link.ends[end].leaving = Some(reason),
            Control::FeatureRequest(features) => {
                link.ends[end].peer_features = Some(features);
                let own = commands::features(self.settings.extended);
                link.ends[end].control.push_back(Control::FeatureResponse(own));
            }
            Control::FeatureResponse(features) => {
                link.ends[end].peer_features = Some(features);
                if link.ends[end].answered(Kind::Features) {
                    self.tell_features(controller, handle, features);
                }
            }
            Control::Version(version) => {
                link.ends[end].peer_version = Some(version);
                link.say_version(end);
                if link.ends[end].answered(Kind::Version) {
                    self.tell_version(controller, handle, version);
                }
            }
            Control::LengthRequest(limits) => {
                let own = link.length_limits(end);
                link.ends[end].control.push_back(Control::LengthResponse(own));
                self.agree_length(link, end, limits);
            }
            Control::LengthResponse(limits) => self.agree_length(link, end, limits),
            Control::PhyRequest(tx, rx) if end == CENTRAL => {
                let own = link.ends[CENTRAL].phys;
                link.choose_phys(own, (tx, rx));
            }
            Control::PhyRequest(..) => {
                let (tx, rx) = link.ends[end].phys;
                link.ends[end].control.push_back(Control::PhyResponse(tx, rx));
            }
            Control::PhyResponse(tx, rx) => {
                let own = link.ends[end].phys;
                if !link.choose_phys(own, (tx, rx)) {
                    self.tell_phys(link, CENTRAL, false);
                }
            }
            Control::PhyUnchanged => self.tell_phys(link, end, false),
            Control::ParametersRequest { interval, latency, timeout } => {
                if self.controllers[controller].hears_le(le::PARAMETER_REQUEST) {
                    link.ends[end].owes_parameters = true;
                    let fields = Fields::new().u16(handle).u16(interval.0).u16(interval.1).u16(latency).u16(timeout);
                    self.controllers[controller].le_event(le::PARAMETER_REQUEST, &fields);
                } else {
                    link.reject(end, Kind::Parameters, Status::UNSUPPORTED_REMOTE_FEATURE);
                }
            }
            Control::Change(instant) => {
                // An instant that has passed while the announcement was repeated: see the page of this module.
                let passed = link.counter.wrapping_sub(instant) < u16::MAX / 2;
                let instant = if passed { link.counter.wrapping_add(1) } else { instant };
                if let Some(change) = link.changes.front_mut() {
                    change.instant = Some(instant);
                }
            }
            Control::Reject(Kind::Encryption, reason) => self.encryption_refused(link, end, reason),
            Control::Reject(kind, reason) => {
                if link.ends[end].answered(kind) && kind == Kind::Parameters {
                    self.tell_parameters(controller, handle, reason, link.parameters);
                }
            }
            Control::Encryption(step) => self.encryption_step(link, end, step),
        }
    }

    /// Carries out what changes at the connection event that begins.
    pub(super) fn carry_out_changes(&mut self, link: &mut Link) {
        let Some(&Change { instant, what }) = link.changes.front() else { return };
        if instant != Some(link.counter) {
            return;
        }
        link.changes.pop_front();
        match what {
            What::Parameters(parameters) => {
                let changed = std::mem::replace(&mut link.parameters, parameters) != parameters;
                for end in &mut link.ends {
                    // The new timeout counts from the instant on.
                    end.heard = end.heard.map(|_| self.now);
                    let waited = end.answered(Kind::Parameters);
                    if let (Some(controller), true) = (end.controller, waited || changed) {
                        self.tell_parameters(controller, end.handle, Status::SUCCESS, parameters);
                    }
                }
            }
            What::Phys(down, up) => {
                link.phys = (down, up);
                for end in [CENTRAL, PERIPHERAL] {
                    self.tell_phys(link, end, true);
                }
            }
            What::ChannelMap(map) => link.channel_map = map,
        }
        link.announce_change();
    }

    /// Both ends' limits are known: the lesser ones hold.
    fn agree_length(&mut self, link: &mut Link, end: usize, peer: LengthLimits) {
        let lesser = |a: (u16, u16), b: (u16, u16)| (a.0.min(b.0), a.1.min(b.1));
        let own = link.length_limits(end);
        let agreed = LengthLimits { rx: lesser(own.rx, peer.tx), tx: lesser(own.tx, peer.rx) };
        if link.ends[end].effective == agreed {
            return;
        }
        link.ends[end].effective = agreed;
        let shown = |time: u16, phy: Phy| if phy == Phy::LeCoded { time } else { time.min(UNCODED_TIME) };
        let fields = Fields::new()
            .u16(link.ends[end].handle)
            .u16(agreed.tx.0)
            .u16(shown(agreed.tx.1, link.tx_phy(end)))
            .u16(agreed.rx.0)
            .u16(shown(agreed.rx.1, link.tx_phy(1 - end)));
        if let Some(controller) = link.ends[end].controller {
            self.controllers[controller].le_event(le::DATA_LENGTH_CHANGE, &fields);
        }
    }

    /// Tells of the physical layers a host that waits for that, or if they have changed any host.
    fn tell_phys(&mut self, link: &mut Link, end: usize, changed: bool) {
        let waited = link.ends[end].answered(Kind::Phy);
        if let (Some(controller), true) = (link.ends[end].controller, waited || changed) {
            let (tx, rx) = (link.tx_phy(end).number(), link.tx_phy(1 - end).number());
            let fields = Fields::new().status(Status::SUCCESS).u16(link.ends[end].handle).u8(tx).u8(rx);
            self.controllers[controller].le_event(le::PHY_UPDATE_COMPLETE, &fields);
        }
    }

    fn tell_parameters(&mut self, controller: usize, handle: u16, status: Status, parameters: Parameters) {
        let fields = Fields::new().status(status).u16(handle).u16(parameters.interval);
        let fields = fields.u16(parameters.latency).u16(parameters.timeout);
        self.controllers[controller].le_event(le::CONNECTION_UPDATE_COMPLETE, &fields);
    }

    pub(in super::super) fn tell_features(&mut self, controller: usize, handle: u16, features: u64) {
        let fields = Fields::new().status(Status::SUCCESS).u16(handle).u64(features);
        self.controllers[controller].le_event(le::READ_REMOTE_FEATURES_COMPLETE, &fields);
    }

    pub(in super::super) fn tell_version(&mut self, controller: usize, handle: u16, version: [u8; 5]) {
        let fields = Fields::new().status(Status::SUCCESS).u16(handle).bytes(&version);
        self.controllers[controller].event(code::READ_REMOTE_VERSION_COMPLETE, fields);
    }
}
