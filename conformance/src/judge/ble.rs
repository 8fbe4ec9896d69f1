//! SMP over Bluetooth LE, and the buffers of the device.
//!
//! What goes over a link is only seen where an air shows the Attribute Protocol; sizes and numbers of
//! packets (BLE-07, BLE-08) are seen everywhere.

use std::collections::BTreeMap;

use brickproof_simulator::gatt::{AttError, opcode};
use brickproof_simulator::smp::Command;
use brickproof_simulator::smp::gatt::CHARACTERISTIC_UUID;
use brickproof_simulator::trace::{AttRecord, CccdRecord, Direction, EndedBy, Kind, LinkEvent};

use super::packet::Shape;
use super::view::{Event, Place, View, is};
use super::written::{Break, is_smp_descriptor, is_smp_write};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("BLE-01", notifications_come_first),
    ("BLE-02", writes_without_response),
    ("BLE-03", writes_fit_the_mtu),
    ("BLE-04", fragments_are_in_order),
    ("BLE-05", packets_are_finished),
    ("BLE-06", no_fragments_without_reassembly),
    ("BLE-07", packets_fit_the_buffers),
    ("BLE-08", buffers_suffice),
    ("BLE-10", pairs_when_told_to),
    ("BLE-11", takes_parameters),
    ("RST-04", sets_up_every_link),
];

/// Packet buffer of a device that does not tell (`CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE`), in bytes.
const DEFAULT_SIZE: u64 = 384;
/// Packet buffers of a device that does not tell (`CONFIG_MCUMGR_TRANSPORT_NETBUF_COUNT`).
const DEFAULT_COUNT: u64 = 4;
/// A request without an answer for so long is not waited for any more, in microseconds.
const OPEN_US: u64 = 2_000_000;
/// A central that disconnects so soon after it was asked for parameters does not want them, in microseconds.
const REACTION_US: u64 = 1_000_000;
/// Length of what is written to a Client Characteristic Configuration descriptor, in bytes.
const CCC_LEN: u64 = 2;
/// `rc` of a packet that is shorter than its header announces.
const CORRUPT: i64 = 9;

const NO_ATT: CheckOutcome = CheckOutcome::NotObservable { missing: "the Attribute Protocol" };

/// What is known of the connections while the trace is gone through.
#[derive(Default)]
struct Links {
    /// Central of every connection, and whether it had one before.
    connections: BTreeMap<u64, (u64, bool)>,
    notifications: BTreeMap<u64, bool>,
    mtu: BTreeMap<u64, bool>,
}

impl Links {
    fn follow(&mut self, event: &Event<'_>) {
        match event {
            Event::Connection(LinkEvent::Connected { connection, central, .. }) => {
                let again = self.connections.values().any(|(other, _)| other == central);
                self.connections.insert(*connection, (*central, again));
            }
            Event::Connection(LinkEvent::Mtu { connection, .. }) => {
                self.mtu.insert(*connection, true);
            }
            Event::Cccd(CccdRecord { connection, notifications, uuid, .. }) if uuid == CHARACTERISTIC_UUID => {
                self.notifications.insert(*connection, *notifications);
            }
            _ => {}
        }
    }

    fn again(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_some_and(|(_, again)| *again)
    }

    fn notified(&self, connection: u64) -> bool {
        self.notifications.get(&connection).copied().unwrap_or(false)
    }
}

/// Goes through the writes to the SMP characteristic with what is known of their connections.
fn writes(view: &View<'_>, mut each: impl FnMut(&Links, &Place, &AttRecord)) {
    let mut links = Links::default();
    for entry in &view.entries {
        links.follow(&entry.event);
        if let Event::Att(att) = &entry.event
            && is_smp_write(att)
        {
            each(&links, &entry.place, att);
        }
    }
}

/// BLE-01: notifications are on before the first request of a first connection.
fn notifications_come_first(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    writes(view, |links, place, att| {
        if links.again(att.connection) {
            // RST-04.
        } else if links.notified(att.connection) {
            seen.met(place.n);
        } else {
            seen.violated(place, "a request is written while notifications are off: its answer cannot be sent");
        }
    });
    seen.outcome()
}

/// BLE-02: requests are written without response.
fn writes_without_response(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    writes(view, |_, place, att| {
        if att.opcode == opcode::WRITE_COMMAND {
            seen.met(place.n);
        } else {
            seen.violated(place, format!("the SMP characteristic is written by a {}", att.name));
        }
    });
    seen.outcome()
}

/// BLE-03: a write holds at most MTU-3 bytes.
fn writes_fit_the_mtu(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    writes(view, |_, place, att| {
        let max = u64::from(att.mtu.saturating_sub(3));
        if att.len <= max {
            seen.met(place.n);
        } else {
            seen.violated(place, format!("a write has {} bytes, and the MTU of {} leaves {max}", att.len, att.mtu));
        }
    });
    seen.outcome()
}

/// BLE-04: the first fragment holds the header, and fragments of a packet follow each other.
fn fragments_are_in_order(view: &View<'_>) -> CheckOutcome {
    breaks(view, |found| match found {
        Break::ShortStart { len } => Some(format!("a packet begins with {len} bytes, fewer than a header")),
        Break::TooMuch { len, missing } => {
            Some(format!("a fragment has {len} bytes, and only {missing} of its packet are missing"))
        }
        Break::Mixed { missing } => Some(format!("a packet begins while {missing} bytes of another are missing")),
        Break::Abandoned { .. } => None,
    })
}

/// BLE-05: a packet that has begun is finished before the next, or the link is cleared.
fn packets_are_finished(view: &View<'_>) -> CheckOutcome {
    breaks(view, |found| match found {
        Break::Abandoned { missing } => {
            Some(format!("a packet begins, and the last {missing} bytes of the one before never come"))
        }
        _ => None,
    })
}

fn breaks(view: &View<'_>, words: impl Fn(Break) -> Option<String>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    for (place, found) in &view.stream.breaks {
        if let Some(words) = words(*found) {
            seen.violated(place, words);
        }
    }
    for packet in view.stream.packets.iter().filter(|packet| packet.last.is_some_and(|last| last != packet.place.n)) {
        seen.met(packet.place.n);
    }
    seen.outcome()
}

/// BLE-06: a device that puts no fragments together gets none, as soon as that shows: it does not tell
/// its parameters, or answers a fragment as a corrupt packet.
fn no_fragments_without_reassembly(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    let mut puts_together: BTreeMap<u64, bool> = BTreeMap::new();
    let mut shown: Option<&str> = None;
    let mut fragmented: Option<(u64, u8)> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Connection(LinkEvent::Connected { connection, reassembly: Some(reassembly), .. }) => {
                puts_together.insert(*connection, *reassembly);
            }
            Event::Answer(answer) => {
                if is(answer, Command::Params) && answer.failure().is_some() {
                    shown = shown.or(Some("it has refused to tell its parameters"));
                }
                let answers_fragment = fragmented.is_some_and(|(_, sequence)| sequence == answer.sequence);
                if answers_fragment && answer.failure() == Some((None, CORRUPT)) {
                    shown = Some("it has answered a fragment as a corrupt packet");
                }
            }
            Event::Att(att) if is_smp_write(att) => {
                let Some(packet) = view.written_at(entry.place.n) else { continue };
                if puts_together.get(&att.connection) != Some(&false) {
                    continue;
                }
                let max = u64::from(packet.mtu.saturating_sub(3));
                if packet.announced <= max {
                    seen.met(entry.place.n);
                    continue;
                }
                fragmented = packet.bytes.get(6).map(|sequence| (packet.announced, *sequence));
                if let Some(shown) = shown {
                    let len = packet.announced;
                    let what = format!("a packet of {len} bytes needs more than one write of {max}");
                    seen.violated(&entry.place, format!("{what}, and the device puts none together: {shown}"));
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// What the device has told of its buffers: size and number.
fn told(event: &Event<'_>) -> Option<(u64, u64)> {
    match event {
        // A new process knows nothing.
        Event::Started => Some((DEFAULT_SIZE, DEFAULT_COUNT)),
        Event::Answer(answer) if is(answer, Command::Params) && answer.failure().is_none() => {
            let number = |key: &str| answer.body.get(key)?.number().and_then(|number| u64::try_from(number).ok());
            Some((number("buf_size").unwrap_or(DEFAULT_SIZE), number("buf_count").unwrap_or(DEFAULT_COUNT)))
        }
        _ => None,
    }
}

/// BLE-07: packets fit the packet buffers.
fn packets_fit_the_buffers(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut size = DEFAULT_SIZE;
    for entry in &view.entries {
        if let Some((told, _)) = told(&entry.event) {
            size = told;
        }
        let Event::Sent(packet) = &entry.event else { continue };
        let Some(len) = packet.size().filter(|_| packet.shape != Shape::Part) else { continue };
        if len <= size {
            seen.met(entry.place.n);
        } else {
            seen.violated(&entry.place, format!("a packet has {len} bytes, and the device's buffers {size}"));
        }
    }
    seen.outcome()
}

/// BLE-08: one buffer is left for the answer.
fn buffers_suffice(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut count = DEFAULT_COUNT;
    let mut open: Vec<(u64, u8)> = Vec::new();
    for entry in &view.entries {
        if let Some((_, told)) = told(&entry.event) {
            count = told;
        }
        match &entry.event {
            Event::Sent(packet) if packet.shape != Shape::Part && !packet.lost => {
                let sequence = packet.header.sequence;
                open.retain(|(at, other)| *other != sequence && at + OPEN_US > entry.place.at_us);
                open.push((entry.place.at_us, sequence));
                let (wait, max) = (open.len() as u64, count.saturating_sub(1).max(1));
                if wait <= max {
                    seen.met(entry.place.n);
                } else {
                    seen.violated(
                        &entry.place,
                        format!("{wait} requests wait for an answer, and {count} buffers are all there are"),
                    );
                }
            }
            // Answers come in the order of the requests.
            Event::Answer(answer) => {
                if let Some(at) = open.iter().position(|(_, sequence)| *sequence == answer.sequence) {
                    open.drain(..=at);
                }
            }
            Event::Started | Event::Link(_) | Event::Power(_) | Event::Boot(_) => open.clear(),
            _ => {}
        }
    }
    seen.outcome()
}

/// BLE-10: a write that is refused for lack of security is repeated after pairing.
fn pairs_when_told_to(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    // The refusal, and whether pairing was tried since.
    let mut refused: Option<(Place, u8, bool)> = None;
    let security = [AttError::INSUFFICIENT_AUTHENTICATION.code(), AttError::INSUFFICIENT_ENCRYPTION.code()];
    for entry in &view.entries {
        match &entry.event {
            // A command that fails is not answered: nobody can react to it.
            Event::Att(att)
                if att.direction == Direction::ToTarget
                    && att.opcode == opcode::WRITE_REQUEST
                    && att.lost.is_none()
                    && (is_smp_descriptor(att) || att.uuid.as_deref() == Some(CHARACTERISTIC_UUID)) =>
            {
                let repeated = refused.is_some_and(|(.., paired)| paired);
                match att.error.filter(|error| security.contains(error)) {
                    // Pairing was not enough: stronger pairing may not be within its means.
                    Some(_) if repeated => refused = None,
                    Some(error) => refused = refused.or(Some((entry.place, error, false))),
                    None if repeated => refused = None,
                    None => {}
                }
                if repeated {
                    seen.met(entry.place.n);
                }
            }
            Event::Connection(LinkEvent::Security { .. } | LinkEvent::PairingFailed { .. }) => {
                if let Some((.., paired)) = &mut refused {
                    *paired = true;
                }
            }
            _ => {}
        }
    }
    match refused {
        Some((place, error, false)) => {
            seen.violated(&place, format!("a write is refused with {error:#04x}, and no pairing follows"));
        }
        Some((place, error, true)) if !view.pairing_failed => {
            seen.violated(&place, format!("a write is refused with {error:#04x}, and not repeated after the pairing"));
        }
        _ => {}
    }
    seen.outcome()
}

/// BLE-11: parameters that the target asks for are taken.
fn takes_parameters(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let mut seen = Seen::default();
    let mut asked: BTreeMap<u64, Place> = BTreeMap::new();
    for entry in &view.entries {
        match &entry.event {
            Event::Connection(LinkEvent::ParametersAsked { connection, .. }) => {
                asked.insert(*connection, entry.place);
            }
            Event::Connection(LinkEvent::ParametersAnswered { connection, accepted, wanted }) => {
                asked.remove(connection);
                if *accepted {
                    seen.met(entry.place.n);
                } else {
                    let ms = |units: u16| f64::from(units) * 1.25;
                    let (min, max) = (ms(wanted.interval_min), ms(wanted.interval_max));
                    seen.violated(&entry.place, format!("an interval of {min} to {max} ms is refused"));
                }
            }
            Event::Connection(LinkEvent::Disconnected { connection, by: EndedBy::Central, .. }) => {
                if let Some(asked) = asked.remove(connection)
                    && entry.place.at_us <= asked.at_us + REACTION_US
                {
                    seen.violated(&entry.place, "it disconnects when the target asks for other parameters");
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// RST-04: a link after the first is set up like the first.
fn sets_up_every_link(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return NO_ATT;
    }
    let on_bluez = view.trace.iter().any(|record| matches!(&record.kind, Kind::Bus(_)));
    let mut seen = Seen::default();
    let mut links = Links::default();
    for entry in &view.entries {
        links.follow(&entry.event);
        let Event::Att(att) = &entry.event else { continue };
        if att.direction != Direction::ToTarget || !links.again(att.connection) {
            continue;
        }
        let assumed_mtu = att.len > u64::from(att.mtu.saturating_sub(3)) && !links.mtu.contains_key(&att.connection);
        if on_bluez && att.opcode == opcode::WRITE_REQUEST && att.len == CCC_LEN {
            // BlueZ takes notifications up again by itself, before it has looked at the attributes.
            continue;
        }
        let what = if att.error == Some(AttError::INVALID_HANDLE.code()) {
            "reads or writes a handle that the device had before"
        } else if !is_smp_write(att) {
            continue;
        } else if assumed_mtu {
            "writes more than the smallest MTU allows before one is exchanged"
        } else if !links.notified(att.connection) {
            "writes before notifications are switched on"
        } else {
            seen.met(entry.place.n);
            continue;
        };
        seen.violated(&entry.place, format!("on a new link it {what}"));
    }
    seen.outcome()
}
