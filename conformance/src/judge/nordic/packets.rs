//! Packets: their lengths, their number, and the receipts for them.

use brickproof_simulator::nordic::wire::{DATA, Payload, Request, opcode};
use brickproof_simulator::trace::EndedBy;

use super::control::on_connection;
use super::view::{Event, Way};
use super::walk::{Moment, Walk};
use super::{Check, CheckOutcome, NO_ATT, NO_PACKAGE, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NS-08", packets_fit_the_mtu),
    ("NS-09", packets_are_whole_words),
    ("NS-10", packets_are_long),
    ("NS-24", receipts_are_set_or_borne),
    ("NS-25", receipts_are_waited_for),
    ("NS-26", objects_begin_a_new_count),
    ("NS-27", receipts_are_compared),
    ("NS-28", silence_is_ended),
    ("NS-29", erases_get_time),
];

/// ATT MTU without an exchange, and the bytes of a packet then.
const MTU_MIN: u16 = 23;
const SHORT: usize = 20;
/// A packet that is written so long after the last one may be after a timeout, in microseconds.
const PAUSE_US: u64 = 1_000_000;
/// An initiator that does nothing for so long in the middle of an object waits for something, in microseconds.
const STALL_US: u64 = 5_000_000;
/// Longest time that something is waited for that does not come, in microseconds.
const SILENCE_US: u64 = 60_000_000;
/// How long an erase may take away the room for packets, in microseconds: 89.7 ms, and what follows it in the queue.
const ERASE_US: u64 = 200_000;

/// NS-08: a packet holds at most three bytes less than the MTU in force.
fn packets_fit_the_mtu(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Packet(written) = moment.event else { continue };
        let max = usize::from(written.mtu.saturating_sub(3));
        if written.len <= max {
            seen.met(moment.place.n);
        } else {
            let (len, mtu) = (written.len, written.mtu);
            seen.violated(&moment.place, format!("a packet has {len} bytes, and the MTU of {mtu} leaves {max}"));
        }
    }
    seen.outcome()
}

/// NS-09: packets of data are whole words, but for the end of an image that is none.
fn packets_are_whole_words(walk: &Walk<'_, '_>) -> CheckOutcome {
    if walk.view.package.is_none() {
        return NO_PACKAGE;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Packet(written) = moment.event else { continue };
        let Some(object) = moment.state.object.filter(|object| object.kind == DATA) else { continue };
        let ends = object.at.saturating_add(written.len) >= object.end && !object.end.is_multiple_of(4);
        if written.len.is_multiple_of(4) || ends {
            seen.met(moment.place.n);
        } else {
            seen.violated(&moment.place, format!("a packet of {} bytes in the middle of an image", written.len));
        }
    }
    seen.outcome()
}

/// NS-10: an MTU above 23 is asked for, and used.
///
/// Who has not asked cannot know what the device allows. Packets may be shorter than the MTU allows; only those that
/// would have fitted without any exchange make none of it.
fn packets_are_long(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    let mut moments = walk.moments().peekable();
    while let Some(moment) = moments.next() {
        let Event::Packet(first) = moment.event else { continue };
        let of_data = |moment: &Moment<'_, '_>| moment.state.current == DATA;
        if !of_data(&moment) || first.way == Way::Serial {
            continue;
        }
        let (mut longest, mut sum) = (first.len, first.len);
        while let Some(next) = moments.next_if(|next| !matches!(next.event, Event::Connected { .. })) {
            if let Event::Packet(written) = next.event
                && of_data(&next)
            {
                (longest, sum) = (longest.max(written.len), sum.saturating_add(written.len));
            }
        }
        let fits = usize::from(first.mtu.saturating_sub(3));
        match moment.state.asked {
            None => seen.violated(&moment.place, "data is sent, and no MTU was asked for"),
            Some(asked) if asked <= MTU_MIN => {
                seen.violated(&moment.place, format!("an MTU of {asked} is asked for, which is the smallest there is"));
            }
            Some(_) if longest <= SHORT && fits >= 2 * SHORT && sum > fits => {
                seen.violated(&moment.place, format!("packets have {longest} bytes, and {fits} would fit"));
            }
            Some(_) => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-24: receipts are set, or switched off, before the first packet of a connection; or those that nobody asked for
/// are borne with.
///
/// Without a receipt nothing shows whether they would be borne with.
fn receipts_are_set_or_borne(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut judged = None;
    for moment in walk.moments() {
        let Event::Packet(_) = moment.event else { continue };
        if judged == Some(moment.state.connections) {
            continue;
        }
        judged = Some(moment.state.connections);
        if moment.state.prn_set {
            seen.met(moment.place.n);
            continue;
        }
        let unasked =
            on_connection(walk, moment.at).find(|later| matches!(later.event, Event::Response(said) if said.receipt));
        let Some(unasked) = unasked.filter(|unasked| !unasked.state.prn_set) else { continue };
        let end = walk.after(unasked.at).find(|later| match later.event {
            Event::Ended { .. } | Event::Disconnected { .. } | Event::Power => true,
            Event::Response(said) => completes(walk, later, said),
            _ => false,
        });
        match end.map(|end| (end.place, end.event)) {
            Some((place, Event::Ended { success: false } | Event::Disconnected { by: EndedBy::Central })) => {
                seen.violated(&place, "gives up after receipts that it had not asked for");
            }
            _ => seen.met(unasked.place.n),
        }
    }
    seen.outcome()
}

/// Whether a response says that a whole image was taken.
pub(super) fn completes(walk: &Walk<'_, '_>, moment: &Moment<'_, '_>, said: &super::view::Said) -> bool {
    let open = moment.state.open.is_some_and(|open| (open.opcode, open.object) == (opcode::EXECUTE, DATA));
    let success = said.response().is_some_and(|response| response.is_success() && response.request == opcode::EXECUTE);
    open && success && moment.state.is_end(walk.view, moment.state.executed_end())
}

/// NS-25: after as many packets as a receipt is set for, it is waited for.
///
/// A device notifies as soon as the packet is there, so only a receipt that is late shows who waits.
fn receipts_are_waited_for(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let prn = u32::from(state.prn);
        if prn == 0 || !state.prn_set {
            continue;
        }
        match moment.event {
            Event::Packet(_) if state.unreceipted >= prn && state.packet_us + PAUSE_US > moment.place.at_us => {
                let many = state.unreceipted + 1;
                let what = format!("{many} packets are sent without a receipt, which is set for {prn}");
                seen.violated(&moment.place, what);
            }
            Event::Response(said) if said.receipt && state.unreceipted == prn => seen.met(moment.place.n),
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-26: the count of packets begins again with each object.
///
/// Who counts on waits for a receipt that is not due: so many packets after the last one, over the limit of an object,
/// nothing more is sent.
fn objects_begin_a_new_count(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let prn = u32::from(state.prn);
        let Some(object) = state.object.filter(|object| object.created && state.prn_set && prn > 0) else { continue };
        let counts_on = object.left_over % prn.max(1) != 0;
        match moment.event {
            Event::Response(said) if said.receipt && counts_on && object.packets == prn => seen.met(moment.place.n),
            Event::Request(..) | Event::Packet(_) | Event::Ended { .. } | Event::Inactive
                if counts_on
                    && !object.troubled
                    && !object.is_sent()
                    && object.packets > 0
                    && state.unreceipted < prn
                    && (object.left_over + object.packets).is_multiple_of(prn)
                    && state.packet_us + STALL_US <= moment.place.at_us =>
            {
                let (packets, before) = (object.packets, object.left_over);
                let what = format!("waits for a receipt after {packets} packets of an object and {before} of another");
                seen.violated(&moment.place, what);
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-27: offset and CRC of a receipt are compared, and an object that does not match is sent no further.
///
/// Asking again, or creating the object again, is right; sending the rest of it and executing it is not.
fn receipts_are_compared(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let state = moment.state;
        let Some(object) = state.object.filter(|_| said.receipt) else { continue };
        if state.prn == 0 || !state.prn_set {
            continue;
        }
        let right = match said.response() {
            Some(response) => match response.payload {
                Payload::Crc { offset, crc } => {
                    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                    let report =
                        super::walk::Report { place: moment.place, by: super::walk::ReportBy::Receipt, offset, crc };
                    let ahead = state.unreceipted > u32::from(state.prn);
                    walk.fits(state, object.kind, &report) && (offset == object.at || ahead)
                }
                _ => false,
            },
            None => false,
        };
        if right {
            seen.met(moment.place.n);
            continue;
        }
        let mut packets = 0;
        let mut asked = false;
        let executed = on_connection(walk, moment.at)
            .take_while(|later| !matches!(later.event, Event::Request(_, Some(Request::Create { .. }))))
            .find(|later| {
                packets += u32::from(!asked && matches!(later.event, Event::Packet(_)));
                asked |= matches!(later.event, Event::Request(..));
                matches!(later.event, Event::Request(_, Some(Request::Execute)))
            });
        match executed.filter(|_| packets > 0) {
            Some(executed) => {
                let what = format!("{packets} more packets are sent after a receipt that does not match, and executed");
                seen.violated(&executed.place, what);
            }
            None => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-28: a receipt or a response that does not come is not waited for until the device gives up.
///
/// The device sees only that nothing happens: for a minute, or until it resets. What is awaited is a response to the
/// last request, or a receipt after the last packet of a count or after packets that it dropped.
fn silence_is_ended(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let prn = u32::from(state.prn);
        let awaits = match moment.event {
            Event::Request(written, Some(request)) => written.arrived() && *request != Request::Abort,
            Event::Packet(written) => {
                let due = state.unreceipted + 1 >= prn || state.object.is_some_and(|object| object.troubled);
                written.arrived() && state.prn_set && prn > 0 && due
            }
            _ => false,
        };
        if !awaits {
            continue;
        }
        let next = walk.after(moment.at).find(|later| {
            !matches!(later.event, Event::Fault | Event::Dropped { .. } | Event::Link(_) | Event::Switched { .. })
        });
        let Some(next) = next else { continue };
        let waited = next.place.at_us.saturating_sub(moment.place.at_us);
        match next.event {
            Event::Inactive if waited >= STALL_US => {
                seen.violated(&next.place, "waits for what does not come, until the device resets");
            }
            Event::Request(..)
            | Event::Packet(_)
            | Event::Ended { .. }
            | Event::Disconnected { by: EndedBy::Central } => {
                if waited >= SILENCE_US {
                    seen.violated(&next.place, format!("waits {} s for what does not come", waited / 1_000_000));
                } else if waited >= PAUSE_US {
                    seen.met(next.place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-29: short packets leave the device time for the erase that a create begins.
///
/// More of them than the device has room for are no fault where it copes; that it does not shows when it drops one.
fn erases_get_time(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Some(object) = moment.state.object.filter(|object| object.kind == DATA && object.created) else { continue };
        let sent = object.at.saturating_sub(object.start);
        if object.packets == 0 || sent > SHORT * usize::try_from(object.packets).unwrap_or(usize::MAX) {
            continue;
        }
        match moment.event {
            Event::Dropped { pool: "packet buffers" | "flash queue" }
                if moment.place.at_us < object.since_us + ERASE_US =>
            {
                let (packets, ms) = (object.packets, (moment.place.at_us - object.since_us) / 1000);
                let what = format!("{packets} short packets come within {ms} ms of a create, while flash is erased");
                seen.violated(&moment.place, what);
            }
            Event::Request(_, Some(Request::Crc | Request::Execute)) if object.packets > 17 && !object.troubled => {
                seen.met(moment.place.n);
            }
            _ => {}
        }
    }
    seen.outcome()
}
