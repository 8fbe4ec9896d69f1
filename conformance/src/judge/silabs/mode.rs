//! What is connected to, and the way into the AppLoader: SIL-01 to SIL-04, SIL-24, SIL-27.

use brickproof_simulator::gatt::AttError;

use super::upload::{Run, START};
use super::view::{Connection, Deed, Peer, To, Write};
use crate::judge::view::Place;
use crate::judge::{CheckOutcome, Seen};

/// Who ends sooner behind the loss of a link has not looked for what comes back, in microseconds.
const LOOKS_US: u64 = 3_000_000;

/// SIL-01. Where there is no OTA Data, none is written; where there is, 0x00 is no way into something else.
///
/// An initiator that leaves at once, for good, gives up for a reason of its own. One that fails without a word about OTA Data
/// cannot be told from one that gives up: that is SIL-04.
pub(super) fn by_ota_data(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in &run.view.connections {
        if run.is_in_place(connection) {
            let nowhere = |write: &&Write| {
                write.to == To::Data
                    || write.refused().is_some_and(|(_, error)| AttError(error) == AttError::INVALID_HANDLE)
            };
            match (connection.writes().find(nowhere), trigger(connection)) {
                (Some(write), _) => seen.violated(&write.at, "data is written to an application that has no OTA Data"),
                (None, Some(trigger)) => seen.met(trigger.at.n),
                (None, None) => {}
            }
        } else if run.takes_files(connection) {
            let start = connection.writes().find(|write| write.says(START) && write.taken().is_some());
            let Some(start) = start else { continue };
            if let Some(data) = connection.writes().find(|write| write.to == To::Data) {
                seen.met(data.at.n);
                continue;
            }
            // It waits for something, or looks for something.
            let comes_back = run.view.connections.iter().any(|later| later.begun.n > connection.begun.n);
            let waits = |left: &Place| left.at_us.saturating_sub(start.at.at_us) >= LOOKS_US;
            let other = connection.writes().any(|write| write.to == To::Control && !write.says(START));
            let left = run.left(connection).filter(|left| comes_back || waits(left));
            if let Some(left) = left.filter(|left| !other && !run.is_disturbed(start.at, *left)) {
                let what = "0x00 is written to a device that has OTA Data, and no data follows: it leads nowhere else";
                seen.violated(&left, what);
            }
        }
    }
    seen.outcome()
}

/// The write that an application in front of an AppLoader has taken for the wish to get there.
fn trigger(connection: &Connection) -> Option<&Write> {
    connection.writes().find(|write| write.to == To::Control && write.taken().is_some())
}

/// Each way into an AppLoader: the write, and the connection behind it.
fn entries<'r>(run: &'r Run<'_>) -> impl Iterator<Item = (&'r Connection, &'r Write, Option<&'r Connection>)> {
    run.view.connections.iter().enumerate().filter(|(_, connection)| run.is_in_place(connection)).filter_map(
        |(n, connection)| Some((connection, trigger(connection)?, run.view.connections.get(n.saturating_add(1)))),
    )
}

/// SIL-02. Behind the way into the AppLoader, attributes are looked for before anything is written.
pub(super) fn rediscovers(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (_, _, next) in entries(run) {
        let Some(next) = next.filter(|next| next.peer == Peer::AppLoader) else { continue };
        let discovery = next.first(|deed| matches!(deed, Deed::Discovery));
        let early = |write: &&Write| discovery.is_none_or(|at| write.at.n < at.n);
        let stale = next.writes().find(|write| write.to == To::Other && write.refused().is_some());
        if let Some(write) = next.writes().find(early).filter(|_| run.view.shows_discovery) {
            let what = format!(
                "handle {:#06x} is written before the attributes of the AppLoader are looked for",
                write.handle
            );
            seen.violated(&write.at, what);
        } else if let Some(write) = stale {
            let what = format!("handle {:#06x} is written, where the AppLoader has nothing to write to", write.handle);
            seen.violated(&write.at, what);
        } else if let Some(at) = discovery {
            seen.met(at.n);
        }
    }
    seen.outcome()
}

/// What became of a way into an AppLoader.
enum Behind {
    /// The AppLoader was connected to.
    Found(Place),
    /// It was looked for, and not found.
    NotFound(Place),
    /// Nobody looked for it.
    GivenUp(Place),
}

fn behind(run: &Run<'_>) -> Vec<Behind> {
    let mut all = Vec::new();
    for (_, trigger, next) in entries(run) {
        match next {
            Some(next) if next.peer == Peer::AppLoader => all.push(Behind::Found(next.begun)),
            // It has lost what it was asked for, and runs as before.
            Some(_) => {}
            None => {
                let Some(said) = run.view.said.map(|said| said.at) else { continue };
                if run.is_disturbed(trigger.at, said) {
                    continue;
                }
                let ready = run.view.boots.iter().find(|(at, peer)| at.n > trigger.at.n && *peer == Peer::AppLoader);
                let waited = ready.is_some_and(|(at, _)| said.at_us.saturating_sub(at.at_us) >= LOOKS_US);
                let tried = run.view.unreachable.iter().any(|at| at.n > trigger.at.n && at.n < said.n);
                all.push(if waited || tried { Behind::NotFound(said) } else { Behind::GivenUp(said) });
            }
        }
    }
    all
}

/// SIL-03. The AppLoader is found, whatever its name and its address are.
pub(super) fn finds_again(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for behind in behind(run) {
        match behind {
            Behind::Found(at) => seen.met(at.n),
            Behind::NotFound(at) => seen.violated(&at, "the AppLoader runs, and is not connected to"),
            Behind::GivenUp(_) => {}
        }
    }
    seen.outcome()
}

/// SIL-04. The loss of the link behind the way into the AppLoader is no failure.
pub(super) fn accepts_the_loss(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for behind in behind(run) {
        match behind {
            Behind::Found(at) | Behind::NotFound(at) => seen.met(at.n),
            Behind::GivenUp(at) => seen.violated(&at, "the way into the AppLoader is taken, and it gives up"),
        }
    }
    seen.outcome()
}

/// SIL-24. An AppLoader is updated without a bond; that it does not pair is no failure.
pub(super) fn without_bond(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let starts = || run.uploads.iter().filter_map(|upload| upload.start);
    for connection in run.view.connections.iter().filter(|connection| connection.peer == Peer::AppLoader) {
        let begun = connection.writes().find(|write| write.says(START) && write.taken().is_some());
        let Some(refused) = connection.first(|deed| matches!(deed, Deed::PairingFailed)) else {
            begun.into_iter().for_each(|start| seen.met(start.at.n));
            continue;
        };
        if let Some(start) = starts().find(|start| start.at.n > refused.n) {
            seen.met(start.at.n);
        } else if let Some(left) = run.left(connection).or(run.view.said.map(|said| said.at)) {
            seen.violated(&left, "the AppLoader is asked for a pairing, and left when it refuses");
        }
    }
    seen.outcome()
}

/// SIL-27. A connection to an AppLoader is for an upload: its end is a reset. When a file has been sent, a look at what came
/// of it is in order.
pub(super) fn no_probes(run: &Run<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for connection in run.view.connections.iter().filter(|connection| connection.peer == Peer::AppLoader) {
        if let Some(start) = connection.writes().find(|write| write.says(START)) {
            seen.met(start.at.n);
            continue;
        }
        let sent = run.uploads.iter().filter_map(|upload| upload.finish).any(|finish| finish.at.n < connection.begun.n);
        // Who writes is no mere onlooker, and who is refused a pairing is no better off with a second connection.
        let excused =
            connection.first(|deed| matches!(deed, Deed::Write(_) | Deed::PairingFailed | Deed::Fault)).is_some();
        if let Some(left) =
            run.left(connection).filter(|left| !sent && !excused && !run.is_disturbed(connection.begun, *left))
        {
            seen.violated(
                &left,
                "a connection to the AppLoader ends without 0x00, which resets the device for nothing",
            );
        }
    }
    seen.outcome()
}
