//! Marking for test or for good.

use std::collections::BTreeSet;

use brickproof_simulator::smp::{Command, SmpMessage};
use brickproof_simulator::trace::{StepBy, hex};

use super::mode::chooses_by_version;
use crate::judge::view::{
    Event, Listed, Place, View, answers_state_write, confirms, is, listed, named_hash, offset, words, writes_state,
};
use crate::judge::{CheckOutcome, Seen};

/// Number of the image group.
const IMAGE_GROUP: Option<i64> = Some(1);
/// Image group: no image with this hash; a hash of the wrong length.
const UNKNOWN_HASH: [i64; 2] = [8, 24];
/// The same two as a version 0 request gets them: unknown error, invalid value.
const UNKNOWN_HASH_TRANSLATED: [i64; 2] = [1, 3];

/// STA-02: the hash in a state write is that of a TLV area, never that of the file.
///
/// A hash that no image of the scenario and no list has is judged by what the device says of it. A device
/// that refuses the right hash is not the initiator's doing.
pub(super) fn hash_is_from_the_image(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let file = hex(&view.images.update.sha256);
    let own = [&view.images.installed, &view.images.update].into_iter().chain(&view.images.other);
    let mut known: BTreeSet<String> = own.filter_map(|image| image.tlv_hash).map(|hash| hex(&hash)).collect();
    let mut strange = None;
    for entry in &view.entries {
        match &entry.event {
            // A hash that the recipe filled in is ours.
            Event::Request(request) if writes_state(request) && entry.by == StepBy::Tool => {
                strange = None;
                match named_hash(request) {
                    None => {}
                    Some(hash) if known.contains(hash) => seen.met(entry.place.n),
                    Some(hash) if hash == file => seen.violated(&entry.place, "the hash is the SHA-256 of the file"),
                    Some(hash) => strange = Some(hash),
                }
            }
            Event::Answer(answer) if is(answer, Command::ImageState) => {
                if let Some(hash) = strange.filter(|_| answers_state_write(answer)) {
                    strange = None;
                    if does_not_know_hash(answer) {
                        seen.violated(&entry.place, format!("the device knows no image with the hash {hash}"));
                    }
                }
                known.extend(
                    listed(answer).unwrap_or_default().iter().filter_map(|image| image.hash).map(str::to_owned),
                );
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// Whether this refuses a hash. In version 0 other failures are translated to the same numbers.
fn does_not_know_hash(answer: &SmpMessage) -> bool {
    match answer.failure() {
        Some((group, rc)) if group == IMAGE_GROUP => UNKNOWN_HASH.contains(&rc),
        Some((None, rc)) => answer.version == 0 && UNKNOWN_HASH_TRANSLATED.contains(&rc),
        _ => false,
    }
}

/// STA-03: the image is marked, for test or for good, before the reset; not where the device has told that its
/// bootloader chooses by version.
pub(super) fn marked_before_reset(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    // Whether the update waits in the other slot, and whether the next boot swaps it in.
    let (mut waits, mut marked) = (false, false);
    // The recovery of a bootloader uploads to the slot that runs: nothing swaps.
    let mut recovery = false;
    let mut by_version = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Boot(boot) => recovery = boot.outcome == "recovery",
            Event::Answer(answer) if is(answer, Command::BootloaderInfo) => {
                by_version = chooses_by_version(answer).unwrap_or(by_version);
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) && answer.failure().is_none() => {
                let reached = usize::try_from(offset(answer).unwrap_or(0)).unwrap_or(0);
                if reached >= view.images.update.bytes.len() {
                    (waits, marked) = (true, false);
                }
            }
            Event::Answer(answer) if is(answer, Command::ImageState) && answer.failure().is_none() => {
                marked |= answers_state_write(answer);
                for image in listed(answer).unwrap_or_default() {
                    marked |= image.is_marked();
                    if image.hash == update.as_deref() {
                        // One that runs needs no mark: power was lost after it was written.
                        waits = !image.active;
                        // Confirmed and not running: the next boot goes back to it.
                        marked |= image.confirmed;
                    }
                }
            }
            Event::Request(request) if is(request, Command::Reset) && !recovery && entry.by == StepBy::Tool => {
                match (std::mem::take(&mut waits) && !by_version, std::mem::take(&mut marked)) {
                    (true, true) => seen.met(entry.place.n),
                    (true, false) => seen.violated(
                        &entry.place,
                        "the reset comes after the upload, and nothing was marked for test or for good",
                    ),
                    (false, _) => {}
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-04: a refused test or confirm is reported, and no reset follows by itself.
///
/// A refusal is over when a later write is accepted or a list shows what was asked for: the answer to an
/// earlier one was lost. While the update runs, a reset is how a device is sent back to its old image.
pub(super) fn refused_mark_is_reported(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let mut asked_to_confirm = false;
    let mut running = view.installed_hash();
    let mut refused: Option<(Place, String)> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Boot(boot) => running.clone_from(&boot.running),
            Event::Request(request) if writes_state(request) && entry.by == StepBy::Tool => {
                asked_to_confirm = confirms(request);
            }
            Event::Answer(answer) if answers_state_write(answer) && entry.by == StepBy::Tool => {
                refused = answer.failure().is_some().then(|| (entry.place, words(answer)));
            }
            Event::Answer(answer) => {
                let images = listed(answer).unwrap_or_default();
                let done = |image: &Listed<'_>| image.permanent || (image.active && image.confirmed);
                let as_asked =
                    |image: &Listed<'_>| done(image) || (!asked_to_confirm && (image.pending || image.active));
                if images.iter().any(|image| image.hash == update.as_deref() && as_asked(image)) {
                    refused = None;
                }
            }
            Event::Request(request) if is(request, Command::Reset) && entry.by == StepBy::Tool && running != update => {
                if let Some((_, words)) = refused.take() {
                    seen.violated(&entry.place, format!("resets although the image state {words}"));
                }
            }
            Event::Reported { success, message } if entry.by == StepBy::Tool => match refused.take() {
                Some((_, words)) if *success => {
                    seen.violated(&entry.place, format!("reports success although the image state {words}: {message}"));
                }
                Some((place, _)) => seen.met(place.n),
                None => {}
            },
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-05: before the reset it looks whether the list that answers the mark shows it.
///
/// Only a list without the mark tells whether anybody looked.
pub(super) fn mark_is_verified(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let mut unseen: Option<Place> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Answer(answer) if entry.by == StepBy::Tool => {
                let Some(images) = listed(answer) else { continue };
                let ours = |image: &&Listed<'_>| image.may_be(update.as_deref());
                if images
                    .iter()
                    .filter(ours)
                    .any(|image| image.is_marked() || image.active && image.hash == update.as_deref())
                {
                    unseen = None;
                } else if answers_state_write(answer) {
                    unseen = Some(entry.place);
                }
            }
            Event::Request(request)
                if is(request, Command::Reset) && entry.by == StepBy::Tool && unseen.take().is_some() =>
            {
                seen.violated(&entry.place, "resets although no list shows the image as pending");
            }
            Event::Reported { .. } if entry.by == StepBy::Tool => {
                if let Some(place) = unseen.take() {
                    seen.met(place.n);
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// STA-06: the update is tested first, and made permanent once it has run.
pub(super) fn tests_before_confirming(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let update = view.update_hash();
    let (mut tested, mut ran) = (false, false);
    for entry in &view.entries {
        match &entry.event {
            Event::Boot(boot) => ran |= boot.running.is_some() && boot.running == update,
            Event::Answer(answer) => {
                let runs = |image: &Listed<'_>| image.active && image.hash == update.as_deref();
                ran |= listed(answer).unwrap_or_default().iter().any(runs);
            }
            Event::Request(request) if writes_state(request) && entry.by == StepBy::Tool => {
                let ours = named_hash(request).is_none_or(|hash| Some(hash) == update.as_deref());
                match (confirms(request), ran) {
                    (false, _) => tested |= ours,
                    (true, true) if ours && tested => seen.met(entry.place.n),
                    (true, false) if ours && named_hash(request).is_some() => {
                        seen.violated(&entry.place, "makes the image permanent before it has run");
                    }
                    (true, _) => {}
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
