//! Data objects: their sizes, their bytes, and what is done when they do not arrive as they were sent.

use brickproof_simulator::nordic::wire::{DATA, Request, opcode};
use brickproof_simulator::trace::EndedBy;

use super::control::on_connection;
use super::view::Event;
use super::walk::{Placed, Since, Walk};
use super::{Check, CheckOutcome, NO_PACKAGE, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NS-17", data_is_asked_about),
    ("NS-18", objects_have_their_size),
    ("NS-19", objects_are_not_overrun),
    ("NS-20", objects_are_verified),
    ("NS-21", wrong_objects_are_sent_again),
    ("NS-22", tries_are_bounded),
    ("NS-23", missing_bytes_are_sent),
    ("NS-33", resumes_where_the_device_is),
    ("NS-34", other_data_is_rewound),
    ("NS-35", empty_objects_are_borne),
    ("NS-42", images_are_sent_as_they_are),
];

/// Times that an object may be created without being executed.
const TRIES_MAX: u32 = 20;
/// "Operation not permitted".
const NOT_PERMITTED: u8 = 0x08;

/// Size of a data object that is created.
fn created(event: &Event<'_>) -> Option<usize> {
    match event {
        Event::Request(_, Some(Request::Create { object: DATA, size })) => {
            Some(usize::try_from(*size).unwrap_or(usize::MAX))
        }
        _ => None,
    }
}

/// NS-17: data is asked about once the init packet is executed, and no object is larger than what is told then.
fn data_is_asked_about(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Some(size) = created(moment.event) else { continue };
        match moment.state.data {
            _ if !moment.state.asked_data => {
                let what = "data is created, and it was not asked about since the init packet was executed";
                seen.violated(&moment.place, what);
            }
            Some(data) if size > data.max_size => {
                let max = data.max_size;
                let what = format!("an object of {size} bytes is created, and the device takes {max}");
                seen.violated(&moment.place, what);
            }
            _ => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-18: every object is as large as the device takes it, and the last one is what is left.
fn objects_have_their_size(walk: &Walk<'_, '_>) -> CheckOutcome {
    if walk.view.package.is_none() {
        return NO_PACKAGE;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let (Some(size), Some(data)) = (created(moment.event), state.data) else { continue };
        // The object before, where the device holds something else: NS-34.
        let before = matches!(state.since, Since::Foreign(_)).then(|| state.next.checked_sub(data.max_size)).flatten();
        let starts = || [Some(state.next), before].into_iter().flatten();
        let right =
            |len: usize| starts().any(|start| len.checked_sub(start).map(|left| left.min(data.max_size)) == Some(size));
        if size > data.max_size {
            // NS-17.
        } else if state.images(walk.view).any(|(_, image)| right(image.firmware.len())) {
            seen.met(moment.place.n);
        } else {
            let (next, max) = (state.next, data.max_size);
            let what = format!("an object of {size} bytes is created at {next}, and the device takes {max}");
            seen.violated(&moment.place, what);
        }
    }
    seen.outcome()
}

/// NS-19: no more bytes are sent than an object holds.
fn objects_are_not_overrun(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Packet(written) = moment.event else { continue };
        let Some(object) = moment.state.object.filter(|object| object.kind == DATA) else { continue };
        let at = match moment.placed {
            Placed::Right(at) => at.max(object.start),
            _ => object.at,
        };
        // A whole object before the one that is known here: NS-34.
        let end = at.saturating_add(written.len);
        if end > object.end {
            let (more, start) = (end - object.end, object.start);
            seen.violated(&moment.place, format!("{more} bytes more are sent than the object at {start} holds"));
        } else if end == object.end {
            seen.met(moment.place.n);
        }
    }
    seen.outcome()
}

/// NS-20: offset and CRC of an object were told since its last byte was sent, before it is executed.
fn objects_are_verified(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        if !matches!(moment.event, Event::Request(_, Some(Request::Execute))) || state.current != DATA {
            continue;
        }
        if state.report.is_some() {
            seen.met(moment.place.n);
        } else {
            seen.violated(&moment.place, "an object is executed without a CRC of all that was sent of it");
        }
    }
    seen.outcome()
}

/// NS-21: an object whose CRC is wrong is not executed, and it is that object that is sent next.
fn wrong_objects_are_sent_again(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        match (moment.event, state.since, state.report) {
            (Event::Request(_, Some(Request::Execute)), _, Some(report))
                if state.current == DATA && state.object.is_some() && !walk.fits(state, DATA, &report) =>
            {
                let what = format!("an object is executed whose CRC is wrong, at offset {}", report.offset);
                seen.violated(&moment.place, what);
            }
            (Event::Packet(_), Since::Wrong(_), _) if state.current == DATA => match moment.placed {
                Placed::Right(_) => seen.met(moment.place.n),
                Placed::Elsewhere(at) => {
                    let what = format!("goes on at {at} after a wrong CRC, and the object is not sent again");
                    seen.violated(&moment.place, what);
                }
                Placed::Nowhere | Placed::Unknown => {}
            },
            (Event::Ended { .. } | Event::Disconnected { by: EndedBy::Central }, Since::Wrong(_), _) => {
                seen.met(moment.place.n);
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-22: an object is not tried for ever.
///
/// Tries are counted over all connections, from one object that was taken to the next.
fn tries_are_bounded(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut tries = 0;
    for moment in walk.moments() {
        if created(moment.event).is_some() {
            tries += 1;
            if tries == TRIES_MAX + 1 {
                seen.violated(&moment.place, format!("an object is created for the {tries}th time"));
            } else if tries > 1 {
                seen.met(moment.place.n);
            }
        } else if let (Event::Response(said), Some(open)) = (moment.event, moment.state.open) {
            let executed = (open.opcode, open.object) == (opcode::EXECUTE, DATA) && !said.receipt;
            if executed && said.response().is_some_and(|response| response.is_success()) {
                tries = 0;
            }
        }
    }
    seen.outcome()
}

/// NS-23: where only the end of an object is missing, it is sent, or the object is sent again; nothing is left out.
fn missing_bytes_are_sent(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        match (moment.event, state.since) {
            (Event::Request(_, Some(Request::Execute)), Since::Short(_)) if state.current == DATA => {
                let (at, end) = (state.report.map_or(0, |report| report.offset), state.executed_end());
                let what = format!("an object that ends at {end} is executed, and the device has {at} bytes");
                seen.violated(&moment.place, what);
            }
            (Event::Packet(_), Since::Short(_)) if state.current == DATA => match moment.placed {
                Placed::Right(_) => seen.met(moment.place.n),
                Placed::Elsewhere(at) => {
                    seen.violated(&moment.place, format!("goes on at {at}, and leaves out what the device lacks"));
                }
                Placed::Nowhere | Placed::Unknown => {}
            },
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-33: after a lost link it goes on where the device says that it is.
fn resumes_where_the_device_is(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut judged = None;
    for moment in walk.moments() {
        let state = moment.state;
        if !matches!(moment.event, Event::Packet(_)) || !state.resumes || state.current != DATA {
            continue;
        }
        if judged == Some(state.connections) {
            continue;
        }
        judged = Some(state.connections);
        match (state.data, moment.placed) {
            (None, _) => seen.violated(&moment.place, "goes on after a lost link without asking what the device has"),
            (Some(_), Placed::Right(_)) => seen.met(moment.place.n),
            (Some(_), Placed::Unknown) if state.object.is_none() => {
                seen.violated(&moment.place, "goes on after a lost link in an object that the device does not have");
            }
            (Some(data), Placed::Elsewhere(at)) if !matches!(state.since, Since::Foreign(_)) => {
                let offset = data.report.offset;
                let what = format!("goes on at {at} after a lost link, and the device has {offset} bytes");
                seen.violated(&moment.place, what);
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-34: where the device holds other data, the object is created again before anything is sent.
fn other_data_is_rewound(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let Since::Foreign(_) = state.since else { continue };
        if !matches!(moment.event, Event::Packet(_)) || state.current != DATA {
            continue;
        }
        match (state.object, moment.placed) {
            (Some(object), Placed::Right(_)) if object.created => seen.met(moment.place.n),
            (Some(object), Placed::Elsewhere(at)) if object.created => {
                let what = format!("goes on at {at}, and the data of the device was wrong before that");
                seen.violated(&moment.place, what);
            }
            // Nobody knows of it where it is from.
            (Some(object), Placed::Nowhere) if object.created => {}
            _ => seen.violated(&moment.place, "goes on behind data of the device that is not its own"),
        }
    }
    seen.outcome()
}

/// NS-35: that the object at which an earlier connection ended is empty, and so not permitted to be executed, is borne.
fn empty_objects_are_borne(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let (Event::Response(said), state) = (moment.event, moment.state) else { continue };
        let executed = state.open.is_some_and(|open| (open.opcode, open.object) == (opcode::EXECUTE, DATA));
        let refused = said.response().is_some_and(|response| response.result == NOT_PERMITTED) && !said.receipt;
        if !executed || !refused || !state.resumes || state.executed_data != 1 || state.object.is_some() {
            continue;
        }
        let next = on_connection(walk, moment.at)
            .find(|later| created(later.event).is_some() || matches!(later.event, Event::Ended { .. }));
        match next {
            Some(next) if created(next.event).is_some() => seen.met(moment.place.n),
            Some(next) => seen.violated(&next.place, "gives up at an object that is empty"),
            None => {
                let gone = walk.after(moment.at).find(|later| matches!(later.event, Event::Disconnected { .. }));
                if let Some(gone) =
                    gone.filter(|gone| matches!(gone.event, Event::Disconnected { by: EndedBy::Central }))
                {
                    seen.violated(&gone.place, "gives up at an object that is empty");
                }
            }
        }
    }
    seen.outcome()
}

/// NS-42: the bytes of the image are sent as they are, and all of them.
fn images_are_sent_as_they_are(walk: &Walk<'_, '_>) -> CheckOutcome {
    if walk.view.package.is_none() {
        return NO_PACKAGE;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let Event::Packet(_) = moment.event else { continue };
        let Some(object) = state.object.filter(|object| object.kind == DATA) else { continue };
        match moment.placed {
            Placed::Right(_) => seen.met(moment.place.n),
            Placed::Nowhere => seen.violated(&moment.place, "bytes are sent that are not of the image"),
            Placed::Elsewhere(at) if state.since == Since::Nothing => {
                let what = format!("byte {at} of the image is sent where byte {} belongs", object.at);
                seen.violated(&moment.place, what);
            }
            Placed::Elsewhere(_) | Placed::Unknown => {}
        }
    }
    seen.outcome()
}
