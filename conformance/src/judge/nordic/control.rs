//! Requests to the control point, and what is made of their responses.

use brickproof_simulator::gatt::opcode as att;
use brickproof_simulator::nordic::gatt::CCC_IMPROPERLY_CONFIGURED;
use brickproof_simulator::nordic::wire::{COMMAND, DATA, EXTENDED_ERROR, Request, opcode};
use brickproof_simulator::trace::EndedBy;

use super::view::{Event, Way};
use super::walk::{Moment, Open, Placed, Walk};
use super::{Check, CheckOutcome, NO_ATT, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NS-01", notifications_come_first),
    ("NS-02", requests_are_written_with_response),
    ("NS-03", packets_are_written_without_response),
    ("NS-04", requests_have_their_length),
    ("NS-05", one_request_at_a_time),
    ("NS-06", responses_are_heeded),
    ("NS-07", extended_errors_end_the_session),
    ("NS-39", nothing_optional_is_needed),
];

/// Who writes again so soon after a request has not waited for its response in earnest, in microseconds: no timeout of
/// an initiator is that short.
pub(super) const PATIENCE_US: u64 = 500_000;

/// Whether a connection, or the device behind it, is gone from here on.
pub(super) fn ends_connection(event: &Event<'_>) -> bool {
    matches!(event, Event::Connected { .. } | Event::Disconnected { .. } | Event::Boot(_) | Event::Power)
}

/// What follows a moment on the same connection.
pub(super) fn on_connection<'w, 'a>(walk: &'w Walk<'_, 'a>, at: usize) -> impl Iterator<Item = Moment<'w, 'a>> {
    walk.after(at).take_while(|moment| !ends_connection(moment.event))
}

/// NS-01: notifications are on before the first request of a connection.
fn notifications_come_first(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Request(written, _) = moment.event else { continue };
        if written.error == Some(CCC_IMPROPERLY_CONFIGURED.code()) || !moment.state.notified {
            seen.violated(&moment.place, "the control point is written while its notifications are off");
        } else {
            seen.met(moment.place.n);
        }
    }
    seen.outcome()
}

/// NS-02: requests are written by an ATT write request each.
fn requests_are_written_with_response(walk: &Walk<'_, '_>) -> CheckOutcome {
    written_by(walk, att::WRITE_REQUEST, |event| match event {
        Event::Request(written, _) => Some(written.way),
        _ => None,
    })
}

/// NS-03: packets are written by ATT write commands.
fn packets_are_written_without_response(walk: &Walk<'_, '_>) -> CheckOutcome {
    written_by(walk, att::WRITE_COMMAND, |event| match event {
        Event::Packet(written) => Some(written.way),
        _ => None,
    })
}

fn written_by(walk: &Walk<'_, '_>, right: u8, way: impl Fn(&Event<'_>) -> Option<Way>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let name = |opcode| match opcode {
        att::WRITE_REQUEST => "a write request",
        att::WRITE_COMMAND => "a write command",
        _ => "a long write",
    };
    let mut seen = Seen::default();
    for moment in walk.moments() {
        match way(moment.event) {
            Some(Way::Att(own)) if own == right => seen.met(moment.place.n),
            Some(Way::Att(own)) => {
                seen.violated(&moment.place, format!("it is written by {}, and not by {}", name(own), name(right)));
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-04: requests have the length of their opcode.
fn requests_have_their_length(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Request(written, request) = moment.event else { continue };
        match (written.malformed, request) {
            (Some(malformed), _) => seen.violated(&moment.place, malformed.to_string()),
            (None, Some(Request::Unknown(_)) | None) => {}
            (None, Some(_)) => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-05: the response to a request comes before the next request, and the one to a create or an execute before the
/// next packet.
///
/// An initiator that writes again only after a while has given the response up, which is its right. Give-ups need not
/// wait.
fn one_request_at_a_time(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let what = match moment.event {
            Event::Request(written, request) if written.arrived() && *request != Some(Request::Abort) => "a request",
            Event::Packet(_) => "a packet",
            _ => continue,
        };
        let packet = what == "a packet";
        match moment.state.open {
            Some(open)
                if open.place.at_us + PATIENCE_US > moment.place.at_us
                    && (!packet || matches!(open.opcode, opcode::CREATE | opcode::EXECUTE)) =>
            {
                let waits = opcode::name(open.opcode);
                seen.violated(&moment.place, format!("{what} is written while {waits} has no response"));
            }
            Some(_) => {}
            None if packet => {}
            None => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-06: what answers another request is not taken for the response, and a result that is no success is not taken for
/// one.
///
/// What "as if it had succeeded" is depends on the request: packets after a create that was refused, an init packet or
/// data used after its select or execute was refused. Of data objects the bytes that follow decide: the same object
/// again is right, the next one is not.
fn responses_are_heeded(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let Some(open) = moment.state.open.filter(|_| !said.receipt) else { continue };
        let response = said.response();
        if response.is_none_or(|response| response.request != open.opcode && response.request != opcode::CRC) {
            let soon = |later: &Moment<'_, '_>| later.place.at_us < moment.place.at_us + PATIENCE_US;
            let next = on_connection(walk, moment.at)
                .take_while(soon)
                .find(|later| matches!(later.event, Event::Request(..) | Event::Packet(_)));
            match next {
                Some(next) => {
                    let waits = opcode::name(open.opcode);
                    seen.violated(&next.place, format!("what is no response to {waits} is taken for one"));
                }
                None => seen.met(moment.place.n),
            }
            continue;
        }
        let Some(response) = response.filter(|response| response.request == open.opcode) else { continue };
        if response.is_success() || response.result == EXTENDED_ERROR {
            continue;
        }
        match as_if_successful(walk, &moment, open) {
            Some(next) => {
                let what = format!("{} was refused with result {:#04x}", opcode::name(open.opcode), response.result);
                seen.violated(&next.place, format!("{what}, and it goes on as if it had succeeded"));
            }
            None => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// Where an initiator goes on as if a request had succeeded that was refused.
fn as_if_successful<'w, 'a>(walk: &'w Walk<'_, 'a>, refused: &Moment<'w, 'a>, open: Open) -> Option<Moment<'w, 'a>> {
    let mut later = on_connection(walk, refused.at);
    let again = |moment: &Moment<'_, '_>, opcode: u8| matches!(moment.event, Event::Request(_, Some(request)) if request.opcode() == opcode);
    match (open.opcode, open.object) {
        (opcode::CREATE, _) => later
            .find(|moment| matches!(moment.event, Event::Packet(_) | Event::Request(..)))
            .filter(|moment| matches!(moment.event, Event::Packet(_))),
        (opcode::SELECT, _) => later
            .find(|moment| matches!(moment.event, Event::Packet(_) | Event::Request(..)))
            .filter(|moment| !again(moment, opcode::SELECT) && !again(moment, opcode::ABORT)),
        (opcode::EXECUTE, COMMAND) => later
            .take_while(|moment| !again(moment, opcode::EXECUTE) || moment.state.current != COMMAND)
            .find(|moment| matches!(moment.event, Event::Request(_, Some(Request::Create { object: DATA, .. })))),
        (opcode::EXECUTE, DATA) if refused.state.object.is_some() => later
            .take_while(|moment| !again(moment, opcode::SELECT))
            .find(|moment| matches!(moment.event, Event::Packet(_)))
            .filter(|moment| matches!(moment.placed, Placed::Elsewhere(_))),
        _ => None,
    }
}

/// NS-07: an extended error ends the session, and is not waited behind for ever.
///
/// That of the last execute is about the whole image: NS-31.
fn extended_errors_end_the_session(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let Some(open) = moment.state.open else { continue };
        let Some(response) = said.response().filter(|response| response.result == EXTENDED_ERROR) else { continue };
        if said.receipt || (open.opcode, open.object) == (opcode::EXECUTE, DATA) {
            continue;
        }
        let code = response.extended.unwrap_or(0);
        let next = on_connection(walk, moment.at).find(|later| {
            matches!(
                later.event,
                Event::Request(_, Some(Request::Create { .. })) | Event::Inactive | Event::Ended { .. }
            )
        });
        match next {
            // With another init packet another image begins.
            Some(next) if matches!(next.event, Event::Request(_, Some(Request::Create { object: DATA, .. }))) => {
                seen.violated(&next.place, format!("data is created after the extended error {code:#04x}"));
            }
            Some(next) if matches!(next.event, Event::Inactive) => {
                seen.violated(&next.place, format!("nothing is done after the extended error {code:#04x}"));
            }
            _ => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-39: that an optional request is not supported ends nothing.
fn nothing_optional_is_needed(walk: &Walk<'_, '_>) -> CheckOutcome {
    let optional = |opcode: u8| {
        !matches!(
            opcode,
            opcode::CREATE
                | opcode::SET_PRN
                | opcode::CRC
                | opcode::EXECUTE
                | opcode::SELECT
                | opcode::WRITE
                | opcode::ABORT
        )
    };
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let Some(response) = said.response().filter(|response| optional(response.request)) else { continue };
        let asked = moment.state.open.is_some_and(|open| open.opcode == response.request);
        if response.is_success() || said.receipt || !asked {
            continue;
        }
        let next = walk.after(moment.at).find(|later| {
            matches!(
                later.event,
                Event::Request(..) | Event::Ended { .. } | Event::Disconnected { by: EndedBy::Central } | Event::Power
            )
        });
        match next.map(|next| (next.place, next.event)) {
            Some((_, Event::Request(..))) => seen.met(moment.place.n),
            Some((place, Event::Ended { .. } | Event::Disconnected { .. })) => {
                let what = format!("gives up because {} is not supported", opcode::name(response.request));
                seen.violated(&place, what);
            }
            _ => {}
        }
    }
    seen.outcome()
}
