//! How packets travel where the air is no Bluetooth.

use brickproof_simulator::smp::console::FRAME_MAX;
use brickproof_simulator::trace::SerialPart;

use super::packet::Shape;
use super::view::{Event, Line, View};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UDP-01", one_packet_per_datagram), ("SER-01", lines_are_frames)];

/// Airs on which a datagram is one of UDP, or stands for one.
const AIRS: [&str; 2] = ["udp", "in-process"];

/// UDP-01: a datagram is one whole packet.
fn one_packet_per_datagram(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    if view.run.is_some_and(|run| !AIRS.contains(&run.air.as_str())) {
        return CheckOutcome::NotExercised;
    }
    for entry in &view.entries {
        let Event::Sent(packet) = &entry.event else { continue };
        match packet.shape {
            Shape::Whole => seen.met(entry.place.n),
            Shape::Several => seen.violated(&entry.place, "a datagram holds more than one packet"),
            Shape::Part => seen.violated(&entry.place, "a packet is cut into several datagrams"),
            // The packet is wrong, whatever carries it.
            Shape::Wrong => {}
        }
    }
    seen.outcome()
}

/// SER-01: what goes over a serial port are frames of at most 127 bytes, and they make up whole packets.
///
/// What a receiver that was reset or could not be reached misses is not held against the sender.
fn lines_are_frames(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // The receiver has missed a beginning.
    let mut missed = false;
    for entry in &view.entries {
        match &entry.event {
            // Text belongs to the shell.
            Event::Line(Line { part: SerialPart::Text, .. }) => {}
            Event::Line(Line { lost: true, .. }) | Event::Power(_) | Event::Boot(_) | Event::Link(_) => missed = true,
            Event::Line(line) => {
                missed &= line.part != SerialPart::Start;
                if line.len > FRAME_MAX as u64 {
                    let len = line.len;
                    seen.violated(&entry.place, format!("a frame has {len} bytes, at most {FRAME_MAX} are allowed"));
                } else if missed {
                    // It continues what never began here.
                } else if let Some(error) = line.error {
                    seen.violated(&entry.place, format!("a frame is dropped: {error}"));
                } else if line.abandoned > 0 {
                    let bytes = line.abandoned;
                    seen.violated(&entry.place, format!("a packet begins before the {bytes} bytes sent are complete"));
                } else {
                    seen.met(entry.place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
