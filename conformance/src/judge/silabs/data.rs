//! What is written to OTA Data: SIL-08 to SIL-12, SIL-16, SIL-21.

use brickproof_simulator::gatt::opcode;
use brickproof_simulator::silabs::gatt::DATA_MAX;

use super::upload::{Run, START, Stream};
use super::view::{Connection, Deed, To, Write};
use crate::judge::{CheckOutcome, Seen};

/// Bytes of an ATT header in a write.
const ATT_HEADER: u16 = 3;
/// Longest file that may go over without a larger ATT MTU, in bytes.
const SMALL: usize = 32 * 1024;
/// Most bytes behind a file.
const PADDING_MAX: usize = 3;
/// Commands that a host may have handed over before it has heard of a refusal.
const UNDER_WAY: usize = 8;

fn values<'r>(run: &'r Run<'_>) -> impl Iterator<Item = &'r Write> {
    run.view.connections.iter().flat_map(Connection::writes).filter(|write| write.to == To::Data)
}

/// SIL-08. 1 byte to what fits the ATT MTU, at most 244; in one write.
pub(super) fn length(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for write in values(run) {
        let max = usize::from(write.mtu.saturating_sub(ATT_HEADER)).min(DATA_MAX);
        if !write.is_request() && write.opcode != opcode::WRITE_COMMAND {
            seen.violated(&write.at, "a value of OTA Data comes in pieces, by a long write");
        } else if (1..=max).contains(&write.len) {
            seen.met(write.at.n);
        } else {
            seen.violated(&write.at, format!("a value of OTA Data has {} bytes, and not 1 to {max}", write.len));
        }
    }
    seen.outcome()
}

/// SIL-09. A larger ATT MTU is asked for before a file of more than 32 KiB, whatever comes of it.
pub(super) fn mtu(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for upload in &run.uploads {
        let len = run.file_of(upload).map_or(upload.sent.len(), |file| file.bytes.len());
        let Some(data) = upload.data.first().filter(|_| len > SMALL) else { continue };
        match upload.connection.first(|deed| matches!(deed, Deed::Mtu)).filter(|at| at.n < data.at.n) {
            Some(at) => seen.met(at.n),
            None => {
                let what = format!(
                    "a file of {len} bytes goes over with an ATT MTU of {}, and no larger one was asked for",
                    data.mtu
                );
                seen.violated(&data.at, what);
            }
        }
    }
    seen.outcome()
}

/// SIL-10. To an application with a slot, whole words: its flash takes nothing else, the end of the file included. An
/// AppLoader puts words together itself, and is not judged by it.
pub(super) fn whole_words(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in run.view.connections.iter().filter(|connection| run.is_slot(connection)) {
        for write in connection.writes().filter(|write| write.to == To::Data) {
            if write.len.is_multiple_of(4) {
                seen.met(write.at.n);
            } else {
                seen.violated(&write.at, format!("a value for the slot has {} bytes: no whole words", write.len));
            }
        }
    }
    seen.outcome()
}

/// SIL-11. The bytes of the file, one after the other. What is missing at the end is SIL-13's, what comes behind it SIL-12's,
/// and an upload that begins again somewhere else SIL-19's.
pub(super) fn in_order(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut earlier = false;
    for upload in &run.uploads {
        let begins_again = earlier;
        earlier |= !upload.data.is_empty();
        let (Some(file), Some(last)) = (run.file_of(upload), upload.data.last()) else { continue };
        let first = upload.data.first().map_or(0, |write| write.len);
        match upload.stream {
            Stream::Same => seen.met(last.at.n),
            Stream::Differs { offset, .. } if begins_again && offset < first => {}
            Stream::Differs { offset, at } => {
                let (sent, of) = (upload.sent.get(offset).copied(), file.bytes.get(offset).copied());
                let [sent, of] = [sent, of].map(Option::unwrap_or_default);
                seen.violated(&at, format!("byte {offset} is sent as {sent:#04x}, and the file has {of:#04x} there"));
            }
            Stream::Unknown => {}
        }
    }
    seen.outcome()
}

/// SIL-12. Behind the file come at most three bytes, all of them 0xff.
pub(super) fn padding(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for upload in run.uploads.iter().filter(|upload| upload.stream == Stream::Same) {
        let (Some(file), Some(last)) = (run.file_of(upload), upload.data.last()) else { continue };
        let Some(behind) = upload.sent.get(file.bytes.len()..) else { continue };
        if behind.len() > PADDING_MAX {
            seen.violated(&last.at, format!("{} bytes follow the file, and not at most {PADDING_MAX}", behind.len()));
        } else if behind.iter().any(|byte| *byte != 0xff) {
            seen.violated(&last.at, format!("`{}` follows the file, and not 0xff", hex::encode(behind)));
        } else {
            seen.met(last.at.n);
        }
    }
    seen.outcome()
}

/// SIL-16. When a value was refused, no other follows until a new 0x00. Commands may be on their way by then.
pub(super) fn stops(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in run.view.connections.iter().filter(|connection| run.takes_files(connection)) {
        let mut refusal = None;
        let mut commands = 0;
        for write in connection.writes() {
            if write.says(START) {
                refusal = None;
            }
            if write.to != To::Data {
                continue;
            }
            if let Some((at, error)) = refusal.filter(|(at, _): &(crate::judge::view::Place, u8)| at.n < write.at.n) {
                commands += 1;
                if write.is_request() || commands > UNDER_WAY {
                    seen.violated(&write.at, format!("data goes on behind a value that was refused with {error:#04x}"));
                    seen.evidence.retain(|n| *n != at.n);
                    break;
                }
            } else if let Some((at, error)) = write.refused() {
                (refusal, commands) = (Some((at, error)), 0);
                seen.met(at.n);
            }
        }
    }
    seen.outcome()
}

/// SIL-21. The device has room for what comes without a response.
pub(super) fn paced(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in &run.view.connections {
        for (at, deed) in &connection.deeds {
            if let Deed::Dropped(what) = deed {
                seen.violated(at, format!("the device has no room for it, and loses {what}"));
            }
        }
    }
    for upload in run.uploads.iter().filter(|upload| !upload.data.is_empty()) {
        upload.taken().into_iter().for_each(|at| seen.met(at.n));
    }
    seen.outcome()
}
