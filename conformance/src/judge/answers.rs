//! What counts as a success, and what an initiator must do without.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::StepBy;

use super::view::{Entry, Event, Then, View, is, offset};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[
    ("SMP-09", both_successes_are_recognised),
    ("SMP-10", unknown_keys_are_passed_over),
    ("SMP-12", lives_without_optional_commands),
];

/// An end that comes so soon after an answer is because of it, in microseconds.
const AT_ONCE_US: u64 = 2_000_000;
/// `rc` of a command that the device does not have.
const NOT_SUPPORTED: i64 = 8;

/// Looks at every successful answer that `concerns` says something about, and at what followed.
fn aborts(view: &View<'_>, concerns: impl Fn(&SmpMessage) -> Option<String>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (&at, &request) in &view.answered {
        let (Some(entry), Some(Entry { event: Event::Request(request), .. })) =
            (view.entries.get(at), view.entries.get(request))
        else {
            continue;
        };
        let Event::Answer(answer) = &entry.event else { continue };
        let Some(what) = concerns(answer).filter(|_| answer.failure().is_none()) else { continue };
        match view.then(at) {
            Then::GoesOn(_) | Then::EndsWell(_) => seen.met(entry.place.n),
            Then::EndsBadly(place)
                if place.at_us - entry.place.at_us <= AT_ONCE_US && !has_a_reason(entry.by, request, answer) =>
            {
                let name = answer.name.as_deref().unwrap_or("a request");
                seen.violated(&place, format!("fails after `{name}` was answered with a success {what}"));
            }
            Then::EndsBadly(_) | Then::Nothing => {}
        }
    }
    seen.outcome()
}

/// Whether the contents of a successful answer are a reason to end.
fn has_a_reason(by: StepBy, request: &SmpMessage, answer: &SmpMessage) -> bool {
    if is(answer, Command::ImageState) {
        // A list may show what the tool cannot go on with; a recipe's step only asks for it.
        return by == StepBy::Tool;
    }
    if is(answer, Command::ImageUpload) {
        let mismatch = answer.body.get("match").and_then(Field::boolean) == Some(false);
        return mismatch || offset(answer) <= offset(request);
    }
    false
}

/// SMP-09: an empty map and a map with `rc: 0` are both successes.
fn both_successes_are_recognised(view: &View<'_>) -> CheckOutcome {
    aborts(view, |answer| {
        let empty = answer.body.is_empty()
            && answer.malformed.is_none()
            && (is(answer, Command::Reset) || is(answer, Command::ImageErase));
        match answer.body.get("rc") {
            Some(_) => Some("that has rc 0".into()),
            None => empty.then(|| "that is an empty map".into()),
        }
    })
}

/// Keys of answers by command, where this catalogue knows them all.
fn known_keys(answer: &SmpMessage) -> Option<&'static [&'static str]> {
    match (answer.group, answer.command) {
        (0, 0) => Some(&["r"]),
        (0, 5) | (1, 5) => Some(&[]),
        (0, 6) => Some(&["buf_size", "buf_count"]),
        (0, 8) => Some(&["bootloader", "mode", "no-downgrade", "active"]),
        (1, 0) => Some(&["images", "splitStatus"]),
        (1, 1) => Some(&["off", "match"]),
        _ => None,
    }
}

/// SMP-10: keys that nobody knows are passed over.
fn unknown_keys_are_passed_over(view: &View<'_>) -> CheckOutcome {
    aborts(view, |answer| {
        let known = known_keys(answer)?;
        let common = ["rc", "rsn", "err"];
        let unknown = answer.body.keys().find(|key| !known.contains(&key.as_str()) && !common.contains(&key.as_str()));
        unknown.map(|key| format!("that has the key `{key}`"))
    })
}

/// Whether an update can do without this command.
fn is_optional(message: &SmpMessage) -> bool {
    match message.group {
        0 => !is(message, Command::Reset),
        // Of the image group, only the list of slots.
        1 => message.command == 6,
        _ => true,
    }
}

/// SMP-12: an update goes on without the commands that a device need not have.
fn lives_without_optional_commands(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    for (at, entry) in view.entries.iter().enumerate() {
        let Event::Answer(answer) = &entry.event else { continue };
        if answer.failure() != Some((None, NOT_SUPPORTED)) || !is_optional(answer) {
            continue;
        }
        match view.then(at) {
            Then::GoesOn(_) | Then::EndsWell(_) => seen.met(entry.place.n),
            Then::EndsBadly(place) => {
                let (group, command) = (answer.group, answer.command);
                seen.violated(
                    &place,
                    format!("fails because the device does not have group {group}, command {command}"),
                );
            }
            Then::Nothing => {}
        }
    }
    seen.outcome()
}
