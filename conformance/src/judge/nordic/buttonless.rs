//! From an application into its bootloader.

use brickproof_simulator::gatt::AttError;
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::application::status;
use brickproof_simulator::nordic::gatt::CCC_IMPROPERLY_CONFIGURED;
use brickproof_simulator::trace::{EndedBy, LinkEvent};

use super::view::Event;
use super::walk::{Moment, Walk};
use super::{Check, CheckOutcome, NO_ATT, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("NB-01", indications_come_first),
    ("NB-02", indications_are_confirmed),
    ("NB-03", refusals_are_heeded),
    ("NB-04", bootloader_is_found),
    ("NB-05", bond_is_used),
    ("NB-06", names_fit),
    ("NB-07", silent_resets_are_borne),
];

/// An indication that is not confirmed for so long ends the connection (Core specification, volume 3, part F, 3.3.3),
/// in microseconds.
const CONFIRMED_US: u64 = 30_000_000;
/// How soon an initiator says that it has been refused, or asks again, in microseconds.
const HEEDED_US: u64 = 15_000_000;
/// Asks for the bootloader, or for a name.
const ENTER: u8 = 0x01;
const SET_NAME: u8 = 0x02;
/// Longest name in bytes.
const NAME_MAX: usize = 20;

/// Opcode and result of an answer.
fn answer(bytes: &[u8]) -> Option<(u8, u8)> {
    match bytes {
        [0x20, opcode, result, ..] => Some((*opcode, *result)),
        _ => None,
    }
}

/// NB-01: indications, or notifications of the experimental service, are on before anything is asked for.
fn indications_come_first(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    let mut on = false;
    for moment in walk.moments() {
        match moment.event {
            Event::Connected { .. } => on = false,
            Event::Switched { endpoint, notifications, indications } if *endpoint != Endpoint::ControlPoint => {
                on = if *endpoint == Endpoint::ExperimentalButtonless { *notifications } else { *indications };
            }
            Event::Enter(written) if written.error == Some(CCC_IMPROPERLY_CONFIGURED.code()) || !on => {
                seen.violated(&moment.place, "the bootloader is asked for while the answer cannot be sent");
            }
            Event::Enter(_) => seen.met(moment.place.n),
            _ => {}
        }
    }
    seen.outcome()
}

/// NB-02: indications are confirmed.
///
/// An air that confirms by itself does it for every initiator.
fn indications_are_confirmed(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Status { indicated: true, .. } = moment.event else { continue };
        let next = walk.after(moment.at).find(|later| {
            matches!(
                later.event,
                Event::Confirmed | Event::Disconnected { .. } | Event::Power | Event::Fault | Event::Boot(_)
            )
        });
        let Some(next) = next else { continue };
        let late = next.place.at_us >= moment.place.at_us + CONFIRMED_US;
        match next.event {
            Event::Confirmed => seen.met(moment.place.n),
            Event::Disconnected { by: EndedBy::Central } => {
                seen.violated(&next.place, "leaves without having confirmed the indication");
            }
            Event::Disconnected { .. } if late => {
                seen.violated(&next.place, "the indication is not confirmed, and the connection ends");
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NB-03: a refusal is one.
///
/// The device cannot see that its bootloader is looked for. It sees that it is neither asked again nor left with a
/// failure, for longer than anybody needs for that.
fn refusals_are_heeded(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        let Event::Status { bytes, .. } = moment.event else { continue };
        let Some((ENTER, result)) = answer(bytes).filter(|(_, result)| *result != status::SUCCESS) else { continue };
        let next = walk.after(moment.at).find(|later| matches!(later.event, Event::Enter(_) | Event::Ended { .. }));
        match next {
            Some(next) if matches!(next.event, Event::Ended { success: true }) => {
                seen.violated(
                    &next.place,
                    format!("says that it succeeded, and was refused with status {result:#04x}"),
                );
            }
            Some(next) if next.place.at_us > moment.place.at_us + HEEDED_US => {
                let s = (next.place.at_us - moment.place.at_us) / 1_000_000;
                let what = format!("takes status {result:#04x} for none, and finds that out {s} s later");
                seen.violated(&next.place, what);
            }
            Some(_) => seen.met(moment.place.n),
            None => {}
        }
    }
    seen.outcome()
}

/// A device that has agreed to enter its bootloader, and has entered it.
struct Entered<'w, 'a> {
    to: Endpoint,
    /// Whether it was gone without a farewell.
    silently: bool,
    /// The address under which the application was found.
    application: Option<&'a str>,
    boot: Moment<'w, 'a>,
}

/// Every time that a device has entered its bootloader because it was asked to.
fn entries<'w, 'a>(walk: &'w Walk<'_, 'a>) -> Vec<Entered<'w, 'a>> {
    let mut all = Vec::new();
    let (mut application, mut to, mut agreed) = (None, None, false);
    for moment in walk.moments() {
        match moment.event {
            Event::Connected { address } => (application, to, agreed) = (*address, None, false),
            Event::Enter(written) if written.arrived() => to = Some(written.to),
            Event::Status { bytes, .. } => agreed = answer(bytes) == Some((ENTER, status::SUCCESS)),
            Event::Boot(boot) if agreed => {
                if let (Some(to), "dfu-mode") = (to, boot.outcome.as_str()) {
                    // A central notices only later that the device is gone.
                    all.push(Entered { to, silently: moment.state.up, application, boot: moment });
                }
                agreed = false;
            }
            _ => {}
        }
    }
    all
}

/// What comes of a device that waits in its bootloader.
enum Found<'w, 'a> {
    /// A central connects.
    Yes(Moment<'w, 'a>),
    /// Nobody does, and the initiator gives up.
    No(Moment<'w, 'a>),
    /// Something else has come in between.
    Unclear,
}

fn found<'w, 'a>(walk: &'w Walk<'_, 'a>, entered: &Entered<'w, 'a>) -> Found<'w, 'a> {
    let next = walk.after(entered.boot.at).find(|later| {
        matches!(
            later.event,
            Event::Connected { .. }
                | Event::Ended { .. }
                | Event::Fault
                | Event::Link(LinkEvent::Unreachable { .. } | LinkEvent::Down { .. })
        )
    });
    match next {
        Some(next) if matches!(next.event, Event::Connected { .. }) => Found::Yes(next),
        Some(next) if matches!(next.event, Event::Ended { success: false }) => Found::No(next),
        _ => Found::Unclear,
    }
}

/// NB-04: the bootloader is found at the next address, or by what it advertises.
///
/// Where the device was gone without a farewell, that may be what was not borne: NB-07.
fn bootloader_is_found(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for entered in entries(walk).iter().filter(|entered| entered.to != Endpoint::BondedButtonless) {
        match found(walk, entered) {
            Found::Yes(found) => {
                let moved = matches!(found.event, Event::Connected { address } if *address != entered.application);
                if moved {
                    seen.met(found.place.n);
                }
            }
            Found::No(end) if !entered.silently => {
                seen.violated(&end.place, "gives up, and the bootloader waits at its address");
            }
            Found::No(_) | Found::Unclear => {}
        }
    }
    seen.outcome()
}

/// NB-05: where application and bootloader share a bond, its keys are used, and there is no pairing in between.
///
/// A first access that is refused for lack of encryption may be what makes a host encrypt.
fn bond_is_used(walk: &Walk<'_, '_>) -> CheckOutcome {
    if !walk.view.shows_att {
        return NO_ATT;
    }
    let security = [AttError::INSUFFICIENT_AUTHENTICATION.code(), AttError::INSUFFICIENT_ENCRYPTION.code()];
    let mut seen = Seen::default();
    for entered in entries(walk).iter().filter(|entered| entered.to == Endpoint::BondedButtonless) {
        let Found::Yes(connected) = found(walk, entered) else { continue };
        let mut refused = None;
        for later in super::control::on_connection(walk, connected.at) {
            match later.event {
                Event::Link(LinkEvent::Pairing { .. } | LinkEvent::PairingFailed { .. }) => {
                    seen.violated(&later.place, "pairs with a bootloader that shares the bond of its application");
                    refused = None;
                    break;
                }
                Event::Link(LinkEvent::Security { .. }) => refused = None,
                // Something has come in between: without its keys an initiator has no bond.
                Event::Fault => {
                    refused = None;
                    break;
                }
                Event::Att(att) if att.error.is_some_and(|error| security.contains(&error)) => {
                    refused = Some(later.place);
                }
                Event::Request(written, _) => {
                    if written.error.is_some_and(|error| security.contains(&error)) {
                        refused = Some(later.place);
                    } else if written.encrypted {
                        seen.met(later.place.n);
                        break;
                    }
                }
                _ => {}
            }
        }
        if let Some(place) = refused {
            seen.violated(&place, "the bootloader wants the link encrypted, and it is not");
        }
    }
    seen.outcome()
}

/// NB-06: a name has 1 to 20 bytes, and one that is refused ends nothing.
fn names_fit(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for moment in walk.moments() {
        match moment.event {
            Event::Enter(written) if written.bytes.first() == Some(&SET_NAME) => {
                let declared = written.bytes.get(1).map_or(0, |len| usize::from(*len));
                let len = written.len.saturating_sub(2);
                if declared == len && (1..=NAME_MAX).contains(&len) {
                    seen.met(moment.place.n);
                } else {
                    seen.violated(&moment.place, format!("a name of {len} bytes is announced as {declared}"));
                }
            }
            Event::Status { bytes, .. } => {
                let refused =
                    answer(bytes).filter(|(opcode, result)| *opcode == SET_NAME && *result != status::SUCCESS);
                let Some((_, result)) = refused else { continue };
                let next =
                    walk.after(moment.at).find(|later| matches!(later.event, Event::Enter(_) | Event::Ended { .. }));
                match next {
                    Some(next) if matches!(next.event, Event::Enter(_)) => seen.met(moment.place.n),
                    Some(next) => {
                        let what = format!("gives up because its name is refused with status {result:#04x}");
                        seen.violated(&next.place, what);
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// NB-07: a device that resets without a farewell is looked for all the same, once the link is known to be gone.
fn silent_resets_are_borne(walk: &Walk<'_, '_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for entered in entries(walk).iter().filter(|entered| entered.silently) {
        match found(walk, entered) {
            Found::Yes(found) => seen.met(found.place.n),
            Found::No(end) => {
                seen.violated(&end.place, "gives up because the device was gone without a farewell");
            }
            Found::Unclear => {}
        }
    }
    seen.outcome()
}
