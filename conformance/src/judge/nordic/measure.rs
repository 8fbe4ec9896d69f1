//! What a transfer of data came to: how long it took, and what was lost on the way.

use brickproof_simulator::nordic::wire::{DATA, Request, opcode};
use brickproof_simulator::trace::Record;
use serde::Serialize;

use super::view::{Event, View};
use super::walk::Walk;
use crate::scenario::ImageSet;

/// A transfer of data by Secure DFU, over all images and connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Bytes of the images.
    pub bytes: u64,
    /// From the first create of a data object to the response to the last execute, in microseconds.
    pub duration_us: u64,
    /// ATT MTU in force; 0 over a serial line.
    pub mtu: u16,
    /// Bytes of the longest packet.
    pub packet_len: u64,
    /// Packets between two receipts; 0 for none.
    pub receipts: u16,
    /// Packets that were sent.
    pub packets: u64,
    /// Those among them for which the device had no room.
    pub lost: u64,
    /// Objects that were created, and those among them that had been created before.
    pub objects: u64,
    /// See above.
    pub again: u64,
}

impl Transfer {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { bytes, mtu, packet_len, receipts, packets, lost, objects, again, .. } = self;
        let seconds = self.duration_us as f64 / 1e6;
        let rate = *bytes as f64 / 1000.0 / seconds.max(1e-6);
        let receipts = match receipts {
            0 => "no receipts".to_owned(),
            packets => format!("a receipt for every {packets}"),
        };
        let link = if *mtu == 0 { String::new() } else { format!(" at an MTU of {mtu}") };
        format!(
            "{bytes} bytes in {seconds:.1} s, {rate:.1} kB/s: packets of {packet_len} bytes{link}, {receipts}; \
             {lost} of {packets} packets lost, {again} of {objects} objects sent again"
        )
    }
}

/// What the transfer of a run came to; `None` when no data was taken.
#[must_use]
pub fn transfer(trace: &[Record], images: &ImageSet) -> Option<Transfer> {
    let view = View::new(trace, images);
    let walk = Walk::new(&view);
    let mut measured = Transfer {
        bytes: view.images().iter().map(|image| image.firmware.len() as u64).sum(),
        duration_us: 0,
        mtu: 0,
        packet_len: 0,
        receipts: 0,
        packets: 0,
        lost: 0,
        objects: 0,
        again: 0,
    };
    let (mut first, mut last, mut executed) = (None, None, 0);
    for moment in walk.moments() {
        match moment.event {
            Event::Request(_, Some(Request::Create { object: DATA, .. })) => {
                measured.objects += 1;
                first = first.or(Some(moment.place.at_us));
            }
            Event::Packet(written) if moment.state.current == DATA => {
                measured.packets += 1;
                measured.packet_len = measured.packet_len.max(written.len as u64);
                (measured.mtu, measured.receipts) = (written.mtu, moment.state.prn);
            }
            Event::Dropped { .. } if moment.state.current == DATA => measured.lost += 1,
            Event::Response(said) if !said.receipt => {
                let open = moment.state.open.is_some_and(|open| (open.opcode, open.object) == (opcode::EXECUTE, DATA));
                if open && said.response().is_some_and(|response| response.is_success()) {
                    executed += u64::from(moment.state.object.is_some());
                    last = Some(moment.place.at_us);
                }
            }
            _ => {}
        }
    }
    measured.again = measured.objects.saturating_sub(executed);
    measured.duration_us = last?.saturating_sub(first?);
    Some(measured)
}
