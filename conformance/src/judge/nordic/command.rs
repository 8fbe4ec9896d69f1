//! The init packet.

use brickproof_simulator::nordic::wire::{COMMAND, DATA, Payload, Request};

use super::control::on_connection;
use super::view::Event;
use super::walk::{Placed, Report, ReportBy, Walk};
use super::{Check, CheckOutcome, NO_PACKAGE, Seen};
use crate::judge::view::Place;

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NS-11", init_packets_are_asked_about),
    ("NS-12", init_packets_fit),
    ("NS-13", init_packets_are_sent_whole),
    ("NS-14", init_packets_are_verified),
    ("NS-15", init_packets_are_executed),
    ("NS-16", other_init_packets_are_replaced),
    ("NS-43", init_packets_are_executed_once),
];

/// What is wrong with an object that was created, held against it once it is used.
///
/// A create that another one follows at once only throws away what the device has: Nordic's own library begins an
/// update from the start in that way (pc-nrf-dfu-js 0.2.12: `DfuAbstractTransport.js`, `restart`).
#[derive(Default)]
struct Created(Option<(Place, String)>);

impl Created {
    /// Follows what was created; what is wrong with it once that counts.
    fn used(&mut self, event: &Event<'_>) -> Option<(Place, String)> {
        match event {
            Event::Packet(_) | Event::Request(_, Some(Request::Execute)) => self.0.take(),
            Event::Request(_, Some(Request::Create { .. })) | Event::Disconnected { .. } => {
                self.0 = None;
                None
            }
            _ => None,
        }
    }
}

/// NS-11: the init packet is asked about on every connection before anything is created.
fn init_packets_are_asked_about(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut created = Created::default();
    for moment in walk.moments() {
        if let Some((place, what)) = created.used(moment.event) {
            seen.violated(&place, what);
        }
        let Event::Request(_, Some(Request::Create { object, .. })) = moment.event else { continue };
        if moment.state.asked_command {
            seen.met(moment.place.n);
        } else {
            let what = if *object == COMMAND { "an init packet" } else { "data" };
            created.0 = Some((moment.place, format!("{what} is created, and the init packet was not asked about")));
        }
    }
    seen.outcome()
}

/// NS-12: no init packet is created that is longer than the device has told.
fn init_packets_fit(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        match moment.event {
            Event::Request(_, Some(Request::Create { object: COMMAND, size })) => {
                let Some(command) = moment.state.command else { continue };
                let (size, max) = (usize::try_from(*size).unwrap_or(usize::MAX), command.max_size);
                if size <= max {
                    seen.met(moment.place.n);
                } else {
                    let what = format!("an init packet of {size} bytes is created, and the device takes {max}");
                    seen.violated(&moment.place, what);
                }
            }
            // Not to create it is what is asked for.
            Event::Response(said) => {
                let select = moment.state.open.is_some_and(|open| open.object == COMMAND);
                let told = said.response().map(|response| response.payload);
                if let (true, Some(Payload::Select { max_size, .. })) = (select, told) {
                    let max = usize::try_from(max_size).unwrap_or(usize::MAX);
                    let mut images = walk.view.images().iter().peekable();
                    if images.peek().is_some() && images.all(|image| image.init.len() > max) {
                        seen.met(moment.place.n);
                    }
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-13: the init packet has the announced length, and is sent as it is in the package.
///
/// Where the device has the beginning of it, or has told how far it has come, it goes on from there.
fn init_packets_are_sent_whole(walk: &Walk<'_, '_>) -> CheckOutcome {
    if walk.view.package.is_none() {
        return NO_PACKAGE;
    }
    let mut seen = Seen::default();
    let mut created = Created::default();
    for moment in walk.moments() {
        if let Some((place, what)) = created.used(moment.event) {
            seen.violated(&place, what);
        }
        match moment.event {
            Event::Request(_, Some(Request::Create { object: COMMAND, size })) => {
                let size = usize::try_from(*size).unwrap_or(usize::MAX);
                let lens = || walk.view.images().iter().map(|image| image.init.len());
                if !lens().any(|len| len == size) {
                    let len = lens().next().unwrap_or(0);
                    let what = format!("an init packet of {size} bytes is announced, and the package has one of {len}");
                    created.0 = Some((moment.place, what));
                }
            }
            Event::Packet(written) => {
                let Some(object) = moment.state.object.filter(|object| object.kind == COMMAND) else { continue };
                match moment.placed {
                    Placed::Right(at) if at.saturating_add(written.len) <= object.end => seen.met(moment.place.n),
                    Placed::Right(_) => seen.violated(&moment.place, "more is sent than the init packet has"),
                    Placed::Elsewhere(_) | Placed::Nowhere if object.strange => {}
                    Placed::Elsewhere(at) => {
                        let what = format!("byte {at} of the init packet is sent where byte {} belongs", object.at);
                        seen.violated(&moment.place, what);
                    }
                    Placed::Nowhere => seen.violated(&moment.place, "bytes are sent that are not of the init packet"),
                    Placed::Unknown => {}
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-14: offset and CRC of the whole init packet were told, and are right, before it is executed.
fn init_packets_are_verified(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        if !matches!(moment.event, Event::Request(_, Some(Request::Execute))) || state.current != COMMAND {
            continue;
        }
        let end = state.object.filter(|object| object.kind == COMMAND).map(|object| object.end);
        match state.report {
            None => seen.violated(&moment.place, "the init packet is executed without a CRC of it"),
            Some(report) if end.is_some_and(|end| report.offset != end) => {
                let offset = report.offset;
                let what = format!("the init packet is executed, and the device has told of {offset} bytes");
                seen.violated(&moment.place, what);
            }
            Some(report) if !walk.fits(state, COMMAND, &report) => {
                seen.violated(&moment.place, "the init packet is executed though its CRC is wrong");
            }
            Some(_) => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-15: the init packet is executed on every connection before data is sent.
fn init_packets_are_executed(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut judged = None;
    for moment in walk.moments() {
        let state = moment.state;
        let data = match moment.event {
            Event::Request(_, Some(Request::Create { object: DATA, .. })) => true,
            Event::Packet(_) => state.current == DATA,
            _ => false,
        };
        if !data || judged == Some(state.connections) {
            continue;
        }
        judged = Some(state.connections);
        if state.executed_command {
            seen.met(moment.place.n);
        } else {
            seen.violated(&moment.place, "data is sent, and the init packet was not executed on this connection");
        }
    }
    seen.outcome()
}

/// NS-16: an init packet that is not the beginning of the own one is replaced.
fn other_init_packets_are_replaced(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let Some(open) = moment.state.open.filter(|open| open.object == COMMAND && !said.receipt) else { continue };
        let Some(Payload::Select { offset, crc, .. }) = said.response().map(|response| response.payload) else {
            continue;
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let report = Report { place: open.place, by: ReportBy::Select, offset, crc };
        if offset == 0 || walk.fits(moment.state, COMMAND, &report) {
            continue;
        }
        let next = on_connection(walk, moment.at).find(|later| {
            matches!(later.event, Event::Packet(_) | Event::Request(_, Some(Request::Create { .. } | Request::Execute)))
        });
        match next.map(|next| (next.place, next.event)) {
            Some((_, Event::Request(_, Some(Request::Create { object: COMMAND, .. })))) => seen.met(moment.place.n),
            Some((place, _)) => {
                let what = format!("goes on with an init packet of which the device has {offset} bytes of another");
                seen.violated(&place, what);
            }
            None => {}
        }
    }
    seen.outcome()
}

/// NS-43: the init packet is not executed again in the middle of the image.
fn init_packets_are_executed_once(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        if !matches!(moment.event, Event::Request(_, Some(Request::Execute))) {
            continue;
        }
        match (state.current, state.executed_data) {
            (COMMAND, 1..) => {
                let executed = state.executed_data;
                let what = format!("the init packet is executed again behind {executed} executes of data");
                seen.violated(&moment.place, what);
            }
            (DATA, _) => seen.met(moment.place.n),
            _ => {}
        }
    }
    seen.outcome()
}
