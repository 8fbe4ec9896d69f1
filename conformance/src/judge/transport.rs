//! How packets travel where the air is no Bluetooth.

use super::packet::Shape;
use super::view::{Event, View};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UDP-01", one_packet_per_datagram)];

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
