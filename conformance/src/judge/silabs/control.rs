//! What is written to OTA Control: SIL-05 to SIL-07, SIL-13 to SIL-15, SIL-17, SIL-18.

use brickproof_simulator::gatt::opcode;
use brickproof_simulator::trace::EndedBy;

use super::upload::{FINISH, Run, START, Stream};
use super::view::{Connection, Deed, To, Write};
use crate::judge::{CheckOutcome, Seen};

/// An ATT transaction that is not answered for so long is given up (Core specification, volume 3, part F, 3.3.3), in
/// microseconds; a little less, for clocks that differ.
pub(super) const TRANSACTION_US: u64 = 29_500_000;
/// How long a link may stay when the file is taken, in microseconds.
const STAYS_US: u64 = 30_000_000;
/// The third control byte.
const CLOSE: u8 = 0x04;

fn controls<'r>(run: &'r Run<'_>) -> impl Iterator<Item = &'r Write> {
    run.view.connections.iter().flat_map(Connection::writes).filter(|write| write.to == To::Control)
}

/// SIL-05. OTA Control is written by requests.
pub(super) fn by_request(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for write in controls(run) {
        if write.is_request() {
            seen.met(write.at.n);
        } else {
            seen.violated(&write.at, format!("OTA Control is written by {}", opcode::name(write.opcode)));
        }
    }
    seen.outcome()
}

/// SIL-06. One byte, and one of three.
pub(super) fn one_byte(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for write in controls(run) {
        if is_well_formed(write) {
            seen.met(write.at.n);
        } else {
            let value = hex::encode(&write.value);
            let what = format!("`{value}`, {} bytes, is written to OTA Control: 0x00, 0x03 or 0x04 is due", write.len);
            seen.violated(&write.at, what);
        }
    }
    seen.outcome()
}

fn is_well_formed(write: &Write) -> bool {
    write.len == 1 && matches!(write.value.first(), Some(&(START | FINISH | CLOSE)))
}

/// SIL-07. 0x00 once, its answer, and then the data.
///
/// What is broken off for a reason begins again with 0x00. To an AppLoader a second 0x00 before any data is the first one
/// again; an application with a slot takes it for an error.
pub(super) fn one_start(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let in_order = |write: &Write| write.is_request() && is_well_formed(write);
    for (n, upload) in run.uploads.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| run.uploads.get(n));
        if let (Some(before), Some(start)) =
            (before.filter(|before| std::ptr::eq(before.connection, upload.connection)), upload.start)
        {
            let first_taken = before.start.is_some_and(|start| start.taken().is_some());
            if before.finish.is_some() || before.is_troubled || before.start.is_none() {
                // It begins again.
            } else if !before.data.is_empty() {
                seen.violated(&start.at, format!("0x00 comes again, behind {} values", before.data.len()));
            } else if first_taken && run.is_slot(upload.connection) {
                seen.violated(&start.at, "0x00 comes twice: the application takes the second one for an error");
            }
        }
        let Some(data) = upload.data.first() else { continue };
        match upload.start {
            None => {
                // What was meant for one is SIL-05's and SIL-06's.
                let meant = upload.connection.writes().any(|write| write.to == To::Control && write.at.n < data.at.n);
                if !meant {
                    seen.violated(&data.at, "data is written, and no 0x00 before it in this connection");
                }
            }
            Some(start) if !in_order(start) => {}
            Some(start) => match start.answer {
                Some(answer) if answer.at.n > data.at.n => {
                    seen.violated(&data.at, "data is written before the answer to 0x00");
                }
                Some(answer) => match answer.error {
                    None => seen.met(answer.at.n),
                    Some(error) => {
                        seen.violated(
                            &data.at,
                            format!("data is written behind 0x00, which was refused with {error:#04x}"),
                        );
                    }
                },
                None => seen.violated(&data.at, "data is written, and 0x00 was never answered"),
            },
        }
    }
    seen.outcome()
}

/// SIL-13. 0x03 when the last byte has been sent.
///
/// Of a file that was broken off for a reason, or that is not what was sent (SIL-11), nothing can be said.
pub(super) fn end_behind_all(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for upload in run.uploads.iter().filter(|upload| upload.start.is_some()) {
        let (Some(finish), Some(file)) = (upload.finish, run.file_of(upload)) else { continue };
        if upload.stream != Stream::Same
            || upload.data.iter().any(|write| write.refused().is_some() || write.is_unanswered())
        {
            continue;
        }
        let (sent, len) = (upload.sent.len(), file.bytes.len());
        if sent < len {
            seen.violated(&finish.at, format!("0x03 comes when {sent} of {len} bytes have been sent"));
        } else {
            seen.met(finish.at.n);
        }
    }
    seen.outcome()
}

/// SIL-14. No data behind 0x03 until a new 0x00. Where 0x03 was refused, nothing is harmed by it.
pub(super) fn nothing_behind_end(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for upload in &run.uploads {
        let Some(finish) = upload.finish.filter(|finish| finish.refused().is_none()) else { continue };
        match upload.behind.first() {
            Some(write) => seen.violated(&write.at, format!("{} bytes of data come behind 0x03", write.len)),
            None => seen.met(finish.at.n),
        }
    }
    seen.outcome()
}

/// SIL-15. What 0x03 was refused with is not a success.
pub(super) fn result(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let finishes = || run.uploads.iter().filter_map(|upload| upload.finish);
    for finish in finishes() {
        let Some((at, error)) = finish.refused() else { continue };
        if let Some(again) = run.uploads.iter().find(|upload| upload.begun().n > at.n) {
            seen.met(again.begun().n);
            continue;
        }
        match run.view.said {
            Some(said) if said.success => {
                seen.violated(&said.at, format!("0x03 is refused with {error:#04x}, and success is reported"));
            }
            Some(said) => seen.met(said.at.n),
            None => {}
        }
    }
    seen.outcome()
}

/// SIL-17. The link stays until 0x03 is answered, or for as long as an answer may take.
pub(super) fn waits_for_result(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for upload in &run.uploads {
        let Some(finish) = upload.finish.filter(|finish| finish.is_request()) else { continue };
        if let Some(answer) = finish.answer {
            seen.met(answer.at.n);
        } else if let Some(left) = run.left(upload.connection) {
            let waited = left.at_us.saturating_sub(finish.at.at_us);
            if waited < TRANSACTION_US {
                seen.violated(&left, format!("it leaves {} ms after 0x03, before the answer", waited / 1000));
            } else {
                seen.met(left.n);
            }
        }
    }
    seen.outcome()
}

/// SIL-18. The link ends when the file is taken: before that an application does not install it, and an AppLoader does not
/// leave for it.
pub(super) fn disconnects(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in &run.view.connections {
        let mut finishes = run.uploads.iter().filter(|upload| std::ptr::eq(upload.connection, connection));
        let Some(taken) = finishes.next_back().and_then(|upload| upload.taken()) else { continue };
        let stays = |us: u64| format!("the link is still there {} s after 0x03 was answered", us / 1_000_000);
        match connection.ended {
            Some((at, EndedBy::Central | EndedBy::Target)) => {
                let us = at.at_us.saturating_sub(taken.at_us);
                if us > STAYS_US {
                    seen.violated(&at, stays(us));
                } else {
                    seen.met(at.n);
                }
            }
            Some((_, EndedBy::Timeout)) => {}
            None => {
                if let Some(said) = run.view.said
                    && !connection.deeds.iter().any(|(at, deed)| matches!(deed, Deed::Fault) && at.n > taken.n)
                {
                    seen.violated(&said.at, "it is done, and the link is still there: the device does not restart");
                }
            }
        }
    }
    seen.outcome()
}
