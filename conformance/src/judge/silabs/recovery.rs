//! What follows when something went wrong: SIL-19, SIL-20, SIL-25, SIL-28.

use brickproof_simulator::silabs::gatt::result::WRONG_STATE;

use super::control::TRANSACTION_US;
use super::upload::{Run, START, Upload};
use super::view::{Peer, To, Write};
use crate::judge::view::Place;
use crate::judge::{CheckOutcome, Seen};

/// An answer that takes so long was waited for, in microseconds.
const LATE_US: u64 = 2_000_000;

fn with_data<'r, 'a>(run: &'r Run<'a>) -> impl Iterator<Item = &'r Upload<'a>> {
    run.uploads.iter().filter(|upload| !upload.data.is_empty())
}

/// SIL-19. What was broken off begins again with the first byte.
pub(super) fn from_the_first_byte(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut before: Option<&Upload<'_>> = None;
    for upload in with_data(run) {
        // What begins in the middle of another upload is SIL-07's.
        let broken_off = before.replace(upload).is_some_and(|before| {
            let is_same = std::ptr::eq(before.connection, upload.connection);
            before.taken().is_none() && (!is_same || before.is_troubled || before.finish.is_some())
        });
        if broken_off
            && let Some(first) = upload.data.first().filter(|write| write.len == write.value.len() && write.len > 0)
        {
            let starts = |bytes: &[u8]| bytes.iter().zip(&first.value).all(|(of, sent)| of == sent);
            let somewhere = run
                .files
                .iter()
                .find_map(|file| file.bytes.windows(first.value.len()).position(|part| part == first.value.as_slice()));
            match somewhere {
                _ if run.files.iter().any(|file| starts(file.bytes)) => seen.met(first.at.n),
                Some(offset) => {
                    seen.violated(&first.at, format!("the upload goes on at byte {offset}, and not at the first"));
                }
                None => {
                    seen.violated(
                        &first.at,
                        "the upload begins again with something that is not the first of the file",
                    );
                }
            }
        }
    }
    seen.outcome()
}

/// SIL-20. An AppLoader that waits behind a lost link or a lost supply gets another try. One that has had two may be left, and
/// so may one that has refused the file: the failure is told then (SIL-15, SIL-16).
pub(super) fn tries_again(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut before = 0;
    for upload in with_data(run).filter(|upload| upload.connection.peer == Peer::AppLoader) {
        before += 1;
        let last = upload.finish.or(upload.data.last().copied()).map_or(upload.begun(), |write| write.at);
        let refused = upload.data.iter().copied().chain(upload.finish).any(|write| write.refused().is_some());
        // Of a lost supply a central hears when the device has long started again.
        let waits = run.view.boots.iter().find(|(at, _)| at.n > last.n);
        let Some((waits, Peer::AppLoader)) = waits.filter(|_| upload.taken().is_none()).copied() else { continue };
        let mut later = run.view.connections.iter().filter(|connection| connection.peer == Peer::AppLoader);
        let again = later.find_map(|connection| {
            connection.writes().find(|write| write.says(START) && write.at.n > waits.n).map(|write| write.at)
        });
        match (again, run.view.said) {
            (Some(again), _) => seen.met(again.n),
            (None, Some(said)) if before > 1 => seen.met(said.at.n),
            (None, Some(said)) if !refused && !run.is_disturbed(waits, said.at) => {
                seen.violated(&said.at, "the upload was lost, the AppLoader waits for another, and it gives up");
            }
            (None, _) => {}
        }
    }
    seen.outcome()
}

/// SIL-25. An answer is waited for as long as one may take. That of 0x03 is SIL-17's.
///
/// The supervision timeout is not judged: what a central has asked for is not in the trace.
pub(super) fn patience(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in &run.view.connections {
        let asked = |write: &&Write| {
            write.is_request() && (write.to == To::Data || (write.to == To::Control && write.says(START)))
        };
        for write in connection.writes().filter(asked) {
            if let Some(answer) = write.answer {
                if answer.at.at_us.saturating_sub(write.at.at_us) >= LATE_US {
                    seen.met(answer.at.n);
                }
                continue;
            }
            let Some(left) = run.left(connection).filter(|left| !run.is_cut(write.at, *left)) else { continue };
            let waited = left.at_us.saturating_sub(write.at.at_us);
            if waited >= TRANSACTION_US {
                seen.met(left.n);
            } else {
                let what = if write.to == To::Data { "a value" } else { "0x00" };
                seen.violated(&left, format!("it leaves when {what} has not been answered for {} ms", waited / 1000));
            }
        }
    }
    seen.outcome()
}

/// SIL-28. An application that was not ready for 0x00 gets another one; who has tried twice may give up.
pub(super) fn starts_again(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut times = 0;
    for upload in run.uploads.iter().filter(|upload| run.is_slot(upload.connection)) {
        let (Some(start), Some(first)) = (upload.start, upload.data.iter().find(|write| write.is_request())) else {
            continue;
        };
        if start.taken().is_none() {
            continue;
        }
        let known: Option<Place> = match first.refused() {
            Some((at, error)) => Some(at).filter(|_| error == WRONG_STATE.code()),
            None if first.is_unanswered() => run.left(upload.connection).filter(|left| !run.is_cut(first.at, *left)),
            None => None,
        };
        let Some(known) = known else { continue };
        times += 1;
        let again = run.uploads.iter().filter_map(|upload| upload.start).find(|start| start.at.n > known.n);
        match (again, run.view.said) {
            (Some(again), _) => seen.met(again.at.n),
            (None, Some(said)) if times > 1 => seen.met(said.at.n),
            (None, Some(said)) if !run.is_cut(known, said.at) => {
                seen.violated(&said.at, "the application was not ready for 0x00, and no other one follows");
            }
            (None, _) => {}
        }
    }
    seen.outcome()
}
