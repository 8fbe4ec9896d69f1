//! Scanning, and creating connections.

use super::super::codec::{Fields, Reader};
use super::super::host::Dialect;
use super::super::initiating::Initiator;
use super::super::link::phy::Phy;
use super::super::link::{LINKS_MAX, Parameters};
use super::super::scanning::{Listening, Running};
use super::super::status::Status;
use super::connection::connection_parameters;
use super::{Ether, Outcome};

/// Unit of scan intervals and windows, in microseconds.
const UNIT_US: u64 = 625;

/// Interval and window of a scanner (7.8.10).
fn listening(p: &mut Reader<'_>, phy: Phy, active: bool) -> Result<Listening, Status> {
    let (interval, window) = (p.u16_in(4..=0xFFFF)?, p.u16_in(4..=0xFFFF)?);
    if window > interval {
        return Err(Status::INVALID_PARAMETERS);
    }
    Ok(Listening { phy, active, interval_us: u64::from(interval) * UNIT_US, window_us: u64::from(window) * UNIT_US })
}

/// The physical layers of a mask, in its order.
fn layers(mask: u8) -> impl Iterator<Item = Phy> {
    [Phy::Le1M, Phy::Le2M, Phy::LeCoded].into_iter().filter(move |phy| mask >> (phy.number() - 1) & 1 == 1)
}

impl Ether {
    pub(super) fn set_scan_parameters(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Legacy)?;
        let active = p.u8_to(1)? == 1;
        let listening = listening(&mut p, Phy::Le1M, active)?;
        let (own_kind, filter) = (p.u8_to(3)?, p.u8_to(3)?);
        let scanner = &mut self.controllers[on].scanner;
        if scanner.running.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        (scanner.own_kind, scanner.filter, scanner.listening) = (own_kind, filter, vec![listening]);
        Ok(Fields::new())
    }

    pub(super) fn set_extended_scan_parameters(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let (own_kind, filter, mask) = (p.u8_to(3)?, p.u8_to(3)?, p.u8()?);
        if mask & !0b101 != 0 || mask == 0 {
            // There are no primary channels on 2M.
            return Err(if mask == 0 { Status::INVALID_PARAMETERS } else { Status::UNSUPPORTED_FEATURE });
        }
        let mut all = Vec::new();
        for phy in layers(mask) {
            let active = p.u8_to(1)? == 1;
            all.push(listening(&mut p, phy, active)?);
        }
        p.end()?;
        let scanner = &mut self.controllers[on].scanner;
        if scanner.running.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        (scanner.own_kind, scanner.filter, scanner.listening) = (own_kind, filter, all);
        Ok(Fields::new())
    }

    pub(super) fn set_scan_enable(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Legacy)?;
        let (enable, duplicates) = (p.u8_to(1)?, p.u8_to(1)?);
        self.enable_scanning(on, enable == 1, duplicates != 0, 0, 0)
    }

    pub(super) fn set_extended_scan_enable(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let (enable, duplicates, duration, period) = (p.u8_to(1)?, p.u8_to(2)?, p.u16()?, p.u16()?);
        let (duration, period) = (u64::from(duration) * 10_000, u64::from(period) * 1_280_000);
        if enable == 1 && (duplicates == 2 && period == 0 || period > 0 && (duration == 0 || duration >= period)) {
            return Err(Status::INVALID_PARAMETERS);
        }
        self.enable_scanning(on, enable == 1, duplicates != 0, duration, period)
    }

    fn enable_scanning(
        &mut self,
        on: usize,
        enable: bool,
        filters_duplicates: bool,
        duration_us: u64,
        period_us: u64,
    ) -> Outcome {
        let now = self.now;
        let controller = &mut self.controllers[on];
        if !enable {
            controller.scanner.running = None;
            return Ok(Fields::new());
        }
        if controller.scanner.own_kind & 1 == 1 && controller.random.is_none() {
            return Err(Status::INVALID_PARAMETERS);
        }
        if controller.scanner.listening.is_empty() {
            // Never set: 10 ms of every 10 ms, passive (7.8.10).
            let default = Listening { phy: Phy::Le1M, active: false, interval_us: 10_000, window_us: 10_000 };
            controller.scanner.listening.push(default);
        }
        controller.scanner.start(Running { started: now, duration_us, period_us, filters_duplicates });
        Ok(Fields::new())
    }

    pub(super) fn create_connection(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Legacy)?;
        let listening = listening(&mut p, Phy::Le1M, false)?;
        let by_list = p.u8_to(1)? == 1;
        let peer = p.address()?;
        let own_kind = p.u8_to(3)?;
        let (_, parameters) = connection_parameters(&mut p)?;
        let peer = (!by_list).then_some(peer);
        self.start_initiating(
            on,
            Initiator { peer, own_kind, started: self.now, listening: vec![listening], parameters },
        )
    }

    pub(super) fn extended_create_connection(&mut self, on: usize, mut p: Reader<'_>) -> Outcome {
        self.speak(on, Dialect::Extended)?;
        let by_list = p.u8_to(1)? == 1;
        let own_kind = p.u8_to(3)?;
        let peer = p.address()?;
        let mask = p.u8()?;
        // What listens on a primary channel: 1M or Coded.
        if mask & 0b101 == 0 || mask & !0b111 != 0 {
            return Err(if mask & !0b111 == 0 { Status::INVALID_PARAMETERS } else { Status::UNSUPPORTED_FEATURE });
        }
        let mut all = Vec::new();
        let mut first: Option<Parameters> = None;
        for phy in layers(mask) {
            let one = listening(&mut p, phy, false)?;
            let (_, parameters) = connection_parameters(&mut p)?;
            if phy != Phy::Le2M {
                all.push(one);
                first = first.or(Some(parameters));
            }
        }
        p.end()?;
        let parameters = first.ok_or(Status::INVALID_PARAMETERS)?;
        let peer = (!by_list).then_some(peer);
        self.start_initiating(on, Initiator { peer, own_kind, started: self.now, listening: all, parameters })
    }

    fn start_initiating(&mut self, on: usize, initiator: Initiator) -> Outcome {
        let ends = self.links.values().flat_map(|link| &link.ends);
        let mut peers = ends.filter(|end| end.controller == Some(on)).map(|end| end.peer);
        let controller = &self.controllers[on];
        if controller.initiator.is_some() {
            return Err(Status::COMMAND_DISALLOWED);
        }
        if peers.any(|peer| Some(controller.identity(peer).0) == initiator.peer) {
            return Err(Status::CONNECTION_EXISTS);
        }
        if self.links_of(on) >= LINKS_MAX {
            return Err(Status::CONNECTION_LIMIT_EXCEEDED);
        }
        if initiator.own_kind & 1 == 1 && controller.random.is_none() {
            return Err(Status::INVALID_PARAMETERS);
        }
        self.controllers[on].initiator = Some(initiator);
        Ok(Fields::new())
    }

    pub(super) fn create_connection_cancel(&mut self, on: usize) -> Outcome {
        self.controllers[on].initiator.take().ok_or(Status::COMMAND_DISALLOWED)?;
        self.tell_failed_connection(on, 0, Status::UNKNOWN_CONNECTION);
        Ok(Fields::new())
    }
}
