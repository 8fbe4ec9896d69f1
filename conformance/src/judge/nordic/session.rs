//! Sessions: how they end, how one follows another, and what is not of the protocol itself.

use brickproof_flash_model::image::nordic::ImageKind;
use brickproof_simulator::gatt::{AttError, opcode as att};
use brickproof_simulator::nordic::wire::{COMMAND, DATA, EXTENDED_ERROR, Request, opcode};
use brickproof_simulator::trace::{Direction, EndedBy, hex};
use sha2::{Digest, Sha256};

use super::packets::completes;
use super::view::Event;
use super::walk::{Moment, Walk};
use super::{Check, CheckOutcome, NO_ATT, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NS-30", executes_are_waited_for),
    ("NS-31", failures_are_told),
    ("NS-32", ends_are_no_failures),
    ("NS-36", objects_are_quick),
    ("NS-37", images_have_their_sessions),
    ("NS-38", what_is_there_is_left_out),
    ("NS-40", give_ups_are_told),
    ("NS-41", handles_are_looked_up),
];

/// How long the response to an execute has to be waited for, in microseconds; that to the last one.
const EXECUTE_US: u64 = 5_000_000;
const LAST_EXECUTE_US: u64 = 20_000_000;
/// Between two objects the device waits no longer than this, in microseconds.
const OBJECT_US: u64 = 120_000_000;
/// Who has done nothing for so long is waiting: NS-28. In microseconds.
const IDLE_US: u64 = 60_000_000;
/// How soon the device is told that its user has given up, in microseconds.
const GIVE_UP_US: u64 = 5_000_000;
/// How the UUIDs of declarations begin.
const DECLARATIONS: &str = "0000280";
/// Code of a version that is not newer.
const FW_VERSION_FAILURE: u8 = 0x05;

/// Whether this asks for the execute of an object.
fn executes(event: &Event<'_>) -> bool {
    matches!(event, Event::Request(_, Some(Request::Execute)))
}

/// NS-30: the response to an execute is waited for, 5 s at least, and 20 s where it completes the image.
fn executes_are_waited_for(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments().filter(|moment| executes(moment.event)) {
        let last = moment.state.executes_last(walk.view);
        let limit = if last { LAST_EXECUTE_US } else { EXECUTE_US };
        let next = walk.after(moment.at).find(|later| match later.event {
            Event::Response(said) => !said.receipt,
            Event::Request(_, Some(Request::Create { .. })) => true,
            Event::Connected { .. } | Event::Disconnected { .. } | Event::Boot(_) | Event::Power => true,
            _ => false,
        });
        let Some(next) = next else { continue };
        let waited = next.place.at_us.saturating_sub(moment.place.at_us);
        match next.event {
            Event::Response(_) => seen.met(moment.place.n),
            Event::Request(..) | Event::Disconnected { by: EndedBy::Central } if waited < limit => {
                let what = if let Event::Request(..) = next.event { "the next object is created" } else { "it leaves" };
                let ms = waited / 1000;
                seen.violated(&next.place, format!("{what} {ms} ms after an execute that has no response yet"));
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-31: an execute that completes the image and fails is a failure, though the device resets as after a success.
///
/// Another try may make it good again.
fn failures_are_told(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut failed: Option<u8> = None;
    for moment in walk.moments() {
        match moment.event {
            Event::Response(said) if !said.receipt => {
                let Some(open) = moment.state.open else { continue };
                let Some(response) = said.response().filter(|response| response.request == open.opcode) else {
                    continue;
                };
                let last = moment.state.is_end(walk.view, moment.state.executed_end());
                if (open.opcode, open.object, last) == (opcode::EXECUTE, DATA, true) {
                    failed = (!response.is_success()).then(|| response.extended.unwrap_or(response.result));
                }
            }
            Event::Ended { success } => match failed {
                Some(code) if *success => {
                    let what = format!("says that it succeeded, and the last execute has failed with {code:#04x}");
                    seen.violated(&moment.place, what);
                }
                Some(_) => seen.met(moment.place.n),
                None => {}
            },
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-32: that the device ends the connection after the last execute is the end, and no failure.
///
/// That an update has failed may be said of what comes later: where a fault strikes behind the last execute, or the new
/// application does not run in the end, nobody is blamed.
fn ends_are_no_failures(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let application = walk.view.package.as_ref().and_then(|package| package.image(ImageKind::Application));
    let hash = application.map(|image| hex(&Sha256::digest(&image.firmware)));
    let runs = hash.as_deref().is_none_or(|hash| walk.view.running == Some(hash));
    let last_image = walk.view.images().len().saturating_sub(1);
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        if said.receipt || !completes(walk, &moment, said) {
            continue;
        }
        let connection = moment.state.connections;
        let request = walk
            .after(moment.at)
            .take_while(|later| !super::control::ends_connection(later.event) && later.state.connections == connection)
            .find(|later| matches!(later.event, Event::Request(..)));
        if let Some(request) = request {
            seen.violated(&request.place, "a request follows on the connection on which the image was completed");
            continue;
        }
        let all = moment.state.images(walk.view).any(|(index, _)| index == last_image);
        let later = walk
            .after(moment.at)
            .find(|later| matches!(later.event, Event::Fault | Event::Ended { .. } | Event::Finally));
        match later.map(|later| (later.place, later.event)) {
            Some((place, Event::Ended { success: false })) if all && runs => {
                seen.violated(&place, "says that it failed, and the device has taken the image and runs it");
            }
            _ => seen.met(moment.place.n),
        }
    }
    seen.outcome()
}

/// NS-36: an object does not take longer than the device waits for it.
///
/// Judged by the 120 s of the SDK: a device that waits less long does not say so.
fn objects_are_quick(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let state = moment.state;
        let Some(object) = state.object.filter(|object| object.kind == DATA && state.up) else { continue };
        let took = moment.place.at_us.saturating_sub(object.since_us);
        // The device has counted since the execute before.
        let late = took + EXECUTE_US >= OBJECT_US;
        let active = state.packet_us + IDLE_US > moment.place.at_us;
        match moment.event {
            Event::Inactive if late && active => {
                let s = took / 1_000_000;
                seen.violated(&moment.place, format!("an object is not complete after {s} s, and the device resets"));
            }
            Event::Request(_, Some(Request::Execute)) if !late => seen.met(moment.place.n),
            _ => {}
        }
    }
    seen.outcome()
}

/// The one image that a session is about, as far as that is clear.
fn only_image(walk: &Walk<'_, '_>, moment: &Moment<'_, '_>) -> Option<usize> {
    let mut images = moment.state.images(walk.view).map(|(index, _)| index);
    images.next().filter(|_| images.next().is_none())
}

/// NS-37: SoftDevice and bootloader first and the application after them, each on a connection of its own; and the
/// second before the device, which waits 10 s for it, goes back to its application.
///
/// Which image an init packet belongs to is known by its bytes.
fn images_have_their_sessions(walk: &Walk<'_, '_>) -> CheckOutcome {
    if walk.view.images().len() < 2 {
        return CheckOutcome::NotExercised;
    }
    let mut seen = Seen::default();
    let (mut done, mut over) = (None, Vec::new());
    let mut idle = false;
    for moment in walk.moments() {
        match moment.event {
            Event::Response(said) if !said.receipt => {
                let Some(open) = moment.state.open.filter(|open| open.opcode == opcode::EXECUTE) else { continue };
                let Some(response) = said.response().filter(|response| response.request == open.opcode) else {
                    continue;
                };
                let Some(index) = only_image(walk, &moment) else { continue };
                if completes(walk, &moment, said) {
                    done = Some(moment.state.connections);
                    over.push(index);
                    idle = true;
                } else if open.object == COMMAND && !response.is_success() {
                    over.push(index);
                }
            }
            Event::Request(_, Some(request)) => {
                idle = false;
                if done == Some(moment.state.connections) {
                    done = None;
                    seen.violated(&moment.place, "the next image begins on the connection of the one before");
                }
                if *request == Request::Execute && moment.state.current == COMMAND {
                    match only_image(walk, &moment) {
                        None | Some(0) => {}
                        Some(index) if (0..index).all(|before| over.contains(&before)) => seen.met(moment.place.n),
                        Some(index) => {
                            let kind = walk.view.images().get(index).map_or("?", |image| image.kind.key());
                            seen.violated(&moment.place, format!("the {kind} is sent before what it needs"));
                        }
                    }
                }
            }
            Event::Fault => idle = false,
            Event::Inactive if idle => {
                idle = false;
                seen.violated(&moment.place, "the device has waited for the next image in vain");
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-38: where the device has the SoftDevice or the bootloader already, the application is tried.
fn what_is_there_is_left_out(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let images = walk.view.images();
    let Some(application) = images.iter().position(|image| image.kind == ImageKind::Application) else {
        return CheckOutcome::NotExercised;
    };
    for moment in walk.moments() {
        let Event::Response(said) = moment.event else { continue };
        let executed = moment.state.open.is_some_and(|open| (open.opcode, open.object) == (opcode::EXECUTE, COMMAND));
        let refused = said
            .response()
            .is_some_and(|response| (response.result, response.extended) == (EXTENDED_ERROR, Some(FW_VERSION_FAILURE)));
        if said.receipt || !executed || !refused || only_image(walk, &moment).is_none_or(|own| own >= application) {
            continue;
        }
        let tried =
            walk.after(moment.at).any(|later| executes(later.event) && only_image(walk, &later) == Some(application));
        if tried {
            seen.met(moment.place.n);
        } else {
            seen.violated(&moment.place, "gives up at what the device has already, and does not try the application");
        }
    }
    seen.outcome()
}

/// NS-40: when its user gives up, the device is told, or left, and that is the end.
///
/// Whether it waits for a response to the give-up cannot be seen: a device that closes its connections late is left to
/// the supervision timeout by patient and impatient ones alike. Who begins again has taken the silence for a fault.
fn give_ups_are_told(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        match moment.event {
            // A serial line cannot be left.
            Event::Step("abort") if walk.view.shows_att => {
                let told = walk.after(moment.at).find(|later| {
                    matches!(
                        later.event,
                        Event::Request(_, Some(Request::Abort)) | Event::Disconnected { .. } | Event::Power
                    )
                });
                match told {
                    Some(told) if told.place.at_us <= moment.place.at_us + GIVE_UP_US => seen.met(told.place.n),
                    _ => seen
                        .violated(&moment.place, "its user gives up, and the device neither hears of it nor is left"),
                }
            }
            Event::Request(_, Some(Request::Abort)) => {
                let again =
                    walk.after(moment.at).take_while(|later| !matches!(later.event, Event::Started)).find(|later| {
                        matches!(
                            later.event,
                            Event::Request(_, Some(Request::Create { .. } | Request::Select { .. })) | Event::Packet(_)
                        )
                    });
                match again {
                    Some(again) => seen.violated(&again.place, "begins again after its user has given up"),
                    None => seen.met(moment.place.n),
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NS-41: attributes are looked up where they are now.
///
/// What an initiator keeps of one program shows at the other, by handles that it does not have, or that are of
/// something else.
fn handles_are_looked_up(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    let mut entered = false;
    for moment in walk.moments() {
        let error = match moment.event {
            Event::Att(own) if own.direction == Direction::ToTarget => {
                // Nobody writes to a declaration.
                let unknown = own.uuid.as_deref().is_none_or(|uuid| uuid.starts_with(DECLARATIONS))
                    && matches!(own.opcode, att::WRITE_REQUEST | att::WRITE_COMMAND);
                if unknown { Some(AttError::INVALID_HANDLE.code()) } else { own.error }
            }
            Event::Request(written, _) => {
                if entered && written.error.is_none() {
                    seen.met(moment.place.n);
                }
                written.error
            }
            Event::Packet(written) => written.error,
            Event::Enter(written) => {
                entered |= written.error.is_none();
                written.error
            }
            _ => None,
        };
        if error == Some(AttError::INVALID_HANDLE.code()) {
            seen.violated(&moment.place, "a handle is used that this program does not have");
        }
    }
    seen.outcome()
}
