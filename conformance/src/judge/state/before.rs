//! What the device has before the upload, and lists of every form.

use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::StepBy;

use crate::judge::view::{Event, Listed, Place, View, confirms, is, listed, offset, writes_state};
use crate::judge::{CheckOutcome, Seen};
use crate::scenario::Version;

/// STA-01: the state is read before the upload, and an image that is there already is not uploaded.
pub(super) fn looks_before_uploading(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    // Whether the last list shows the image; `None` before the first list.
    let mut there: Option<bool> = None;
    let mut uploads = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Answer(answer) => {
                if let Some(images) = listed(answer) {
                    there = Some(images.iter().any(|image| image.hash.is_some() && image.hash == update.as_deref()));
                }
            }
            Event::Request(request) if entry.by == StepBy::Tool && is(request, Command::ImageUpload) => {
                // What follows belongs to this upload, also when it has to start again.
                if std::mem::replace(&mut uploads, true) || offset(request).unwrap_or(0) > 0 {
                    continue;
                }
                match there {
                    None => seen.violated(&entry.place, "uploads without having asked what the device has"),
                    Some(true) => seen.violated(&entry.place, "uploads an image that the list shows on the device"),
                    Some(false) => seen.met(entry.place.n),
                }
            }
            Event::Request(request)
                if entry.by == StepBy::Tool
                    && (writes_state(request) || is(request, Command::Reset))
                    && there == Some(true)
                    && !uploads =>
            {
                seen.met(entry.place.n);
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-09: an image that is pending or in its test is dealt with before anything is uploaded.
pub(super) fn clears_the_way(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let mut listed_once = false;
    let mut in_the_way: Option<(Place, &str)> = None;
    for entry in &view.entries {
        let by_tool = entry.by == StepBy::Tool;
        match &entry.event {
            Event::Answer(answer)
                if is(answer, Command::ImageUpload) && by_tool && !listed_once && slot_in_use(answer) =>
            {
                seen.violated(&entry.place, "uploads into a slot that is in use: it never asked for the state");
            }
            Event::Answer(answer) => {
                let Some(images) = listed(answer) else { continue };
                listed_once = true;
                let ours = |image: &Listed<'_>| image.hash.is_some() && image.hash == update.as_deref();
                let others = || images.iter().filter(|image| !ours(image));
                in_the_way = if images.iter().any(ours) {
                    None
                } else if others().any(Listed::is_marked) {
                    Some((entry.place, "another image is pending"))
                } else if others().any(Listed::is_in_test) {
                    Some((entry.place, "another image is in its test"))
                } else {
                    None
                };
            }
            Event::Request(request) if by_tool && is(request, Command::ImageUpload) && offset(request) == Some(0) => {
                if let Some((_, what)) = in_the_way.take() {
                    seen.violated(&entry.place, format!("uploads although {what}"));
                }
            }
            Event::Request(request)
                if by_tool
                    && (is(request, Command::Reset) || (writes_state(request) && confirms(request)))
                    && in_the_way.take().is_some() =>
            {
                seen.met(entry.place.n);
            }
            // To stop is one way to deal with it.
            Event::Reported { success: false, .. } if by_tool => {
                if let Some((place, _)) = in_the_way.take() {
                    seen.met(place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// Image group error 9; a version 0 request gets rc 6.
fn slot_in_use(answer: &SmpMessage) -> bool {
    matches!((answer.failure(), answer.version), (Some((Some(1), 9)), _) | (Some((None, 6)), 0))
}

/// STA-13: an initiator that was told that the bootloader refuses older images does not report success with
/// an older one.
pub(super) fn honours_no_downgrade(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let number = |version: Version| match version {
        Version::Semantic(version) => Some((version.major, version.minor, version.revision)),
        Version::Number(_) => None,
    };
    let (update, installed) =
        (view.images.update.version.and_then(number), view.images.installed.version.and_then(number));
    if update.is_none() || update >= installed {
        return CheckOutcome::NotExercised;
    }
    let mut told = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Answer(answer) if is(answer, Command::BootloaderInfo) && answer.failure().is_none() => {
                told |= answer.body.get("no-downgrade").and_then(Field::boolean) == Some(true);
            }
            Event::Reported { success, message } if told && entry.by == StepBy::Tool => {
                if *success {
                    let what = "the bootloader refuses older images, and an older one is a success";
                    seen.violated(&entry.place, format!("{what}: {message}"));
                } else {
                    seen.met(entry.place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-10: lists are read whatever a server leaves out of them and however it orders them.
///
/// An unusual list was read when something follows it. It was not when the initiator fails right after
/// it, although nothing in it speaks against going on.
pub(super) fn reads_any_list(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let mut open: Option<(Place, &'static str)> = None;
    // Whether the update should run by now, or be marked.
    let (mut reset, mut uploaded, mut writes) = (false, false, false);
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) => {
                // The same question again: an answer was late or could not be read.
                let again = is(request, Command::ImageState) && !request.is_write() || is(request, Command::Echo);
                if let Some((place, _)) = open.take_if(|_| !again) {
                    seen.met(place.n);
                }
                reset |= uploaded && is(request, Command::Reset);
                writes = writes_state(request);
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => uploaded |= answer.failure().is_none(),
            Event::Answer(answer) => {
                let Some(images) = listed(answer) else { continue };
                uploaded |= images.iter().any(|image| image.hash.is_some() && image.hash == update.as_deref());
                let ours = |image: &&Listed<'_>| image.hash == update.as_deref();
                let nothing_against = if reset {
                    images.iter().filter(ours).any(|image| image.active)
                } else if writes {
                    images.iter().filter(ours).any(Listed::is_marked)
                } else {
                    !images.iter().any(|image| image.is_marked() || image.is_in_test())
                };
                open = unusual(answer, &images).filter(|_| nothing_against).map(|what| (entry.place, what));
            }
            Event::Reported { success, .. } => match open.take() {
                Some((place, _)) if *success => seen.met(place.n),
                Some((place, what)) if entry.by == StepBy::Tool => {
                    seen.violated(&place, format!("fails at a list {what}"));
                }
                _ => {}
            },
            Event::Exited(code) if entry.by == StepBy::Recipe => match (open.take(), code) {
                (Some((place, _)), Some(0)) => seen.met(place.n),
                (Some((place, what)), _) => seen.violated(&place, format!("a command fails at a list {what}")),
                (None, _) => {}
            },
            _ => {}
        }
    }
    seen.outcome()
}

/// Length of a hash in hexadecimal, as most servers send it.
const HASH_LEN: usize = 64;

/// What is unusual about a list.
fn unusual(answer: &SmpMessage, images: &[Listed<'_>]) -> Option<&'static str> {
    let entries = answer.body.get("images").and_then(Field::list).unwrap_or_default();
    let flags = ["bootable", "pending", "confirmed", "active", "permanent"];
    let places: Vec<_> = images.iter().map(|image| (image.image, image.slot)).collect();
    if images.is_empty() {
        Some("without any image")
    } else if entries.iter().any(|image| flags.iter().any(|flag| image.get(flag).is_none())) {
        Some("that leaves flags out")
    } else if images.iter().any(|image| image.hash.is_none()) {
        Some("without hashes")
    } else if images.iter().any(|image| image.hash.is_some_and(|hash| hash.len() != HASH_LEN)) {
        Some("with hashes of another length")
    } else if !places.is_sorted() {
        Some("in another order")
    } else if !answer.body.contains_key("splitStatus") {
        Some("without `splitStatus`")
    } else {
        None
    }
}
