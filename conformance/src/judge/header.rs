//! The header of requests, and how it agrees with what follows it.

use brickproof_simulator::smp::SmpMessage;

use super::packet::{Packet, Shape};
use super::view::{Event, Place, View};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("SMP-01", reserved_bits_are_zero),
    ("SMP-02", version_is_defined),
    ("SMP-03", op_fits_the_command),
    ("SMP-04", body_is_one_map),
];

/// Packets with a header that can be read, lost ones included.
fn headers<'v>(view: &'v View<'_>) -> impl Iterator<Item = (&'v Place, &'v Packet<'v>)> {
    view.entries.iter().filter_map(|entry| match &entry.event {
        Event::Sent(packet) if packet.shape != Shape::Part => Some((&entry.place, packet)),
        _ => None,
    })
}

/// SMP-01: the reserved bits and the flags are zero.
fn reserved_bits_are_zero(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (place, packet) in headers(view) {
        let [bits, flags] = packet.header.reserved.to_be_bytes();
        if (bits, flags) == (0, 0) {
            seen.met(place.n);
        } else {
            seen.violated(place, format!("a header has {bits:#x} in its reserved bits and {flags:#04x} in its flags"));
        }
    }
    seen.outcome()
}

/// SMP-02: the version is 0 or 1.
fn version_is_defined(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (place, packet) in headers(view) {
        match packet.header.version {
            0 | 1 => seen.met(place.n),
            version => seen.violated(place, format!("a header has version {version}")),
        }
    }
    seen.outcome()
}

/// Operations of a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ops {
    Read,
    Write,
    Both,
}

/// Operations of the commands that Zephyr documents, by group and number.
fn defined(message: &SmpMessage) -> Ops {
    match (message.group, message.command) {
        // Task and pool statistics, parameters, application and bootloader information, slots, statistics.
        (0, 2 | 3 | 6 | 7 | 8) | (1, 6) | (2, 0 | 1) | (8, 1..=3) | (10, 0..=3) => Ops::Read,
        // Console echo, reset, upload, erase, settings delete and commit, close, shell, storage erase.
        (0, 1 | 5) | (1, 1 | 5) | (3, 1 | 2) | (8, 4) | (9, 0) | (63, 0) => Ops::Write,
        _ => Ops::Both,
    }
}

/// SMP-03: a request reads or writes, whichever the command does.
fn op_fits_the_command(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (place, packet) in headers(view) {
        let message = &packet.header;
        let what = |word: &str| format!("{word} group {}, command {}", message.group, message.command);
        match (message.op, defined(message)) {
            (0, Ops::Write) => seen.violated(place, what("reads, what can only be written:")),
            (2, Ops::Read) => seen.violated(place, what("writes, what can only be read:")),
            (0 | 2, _) => seen.met(place.n),
            (op, _) => seen.violated(place, what(&format!("sends op {op}, which is no request:"))),
        }
    }
    seen.outcome()
}

/// SMP-04: the length is that of the payload, and that is one map whose keys stand once.
fn body_is_one_map(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut several = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Sent(packet) => {
                several = packet.shape == Shape::Several;
                if packet.shape == Shape::Wrong && packet.lost {
                    // Nothing follows that says more.
                    seen.violated(&entry.place, "the length in the header is not that of the payload");
                }
            }
            Event::Request(request) => match &request.malformed {
                // What follows the first packet of a datagram is another one.
                None => seen.met(entry.place.n),
                Some(_) if several => seen.met(entry.place.n),
                Some(problem) => seen.violated(&entry.place, problem.clone()),
            },
            _ => {}
        }
    }
    seen.outcome()
}
