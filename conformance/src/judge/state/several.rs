//! Several images in one update.

use brickproof_simulator::smp::Command;
use brickproof_simulator::trace::{StepBy, hex};

use crate::judge::parts::{brings, named};
use crate::judge::view::{Event, View, answers_state_write, is, listed, named_hash, offset};
use crate::judge::{CheckOutcome, Seen};
use crate::scenario::Image;

/// How far one image of the update is.
#[derive(Default, Clone)]
struct Progress {
    hash: Option<String>,
    /// The next boot swaps it in.
    marked: bool,
    runs: bool,
}

/// STA-11: each image is uploaded as what it is, and the reset that swaps one of them in finds all of them marked.
pub(super) fn all_before_one_reset(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    if view.images.update_1.is_none() {
        return CheckOutcome::NotExercised;
    }
    let progress = |image: &Image| Progress { hash: image.tlv_hash.map(|hash| hex(&hash)), ..Progress::default() };
    let mut parts: Vec<Progress> = view.images.updates().map(progress).collect();
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) && offset(request) == Some(0) => {
                let Some(brought) = brings(view.images, request) else { continue };
                let number = named(request);
                if usize::try_from(number) == Ok(brought) {
                    seen.met(entry.place.n);
                } else {
                    let what = format!("the file for image {brought} is uploaded to image {number}");
                    seen.violated(&entry.place, what);
                }
            }
            Event::Answer(answer) => {
                if let Some(images) = listed(answer) {
                    for part in &mut parts {
                        let own =
                            images.iter().find(|image| image.hash.is_some() && image.hash == part.hash.as_deref());
                        part.marked = own.is_some_and(|image| image.is_marked());
                        part.runs = own.is_some_and(|image| image.active);
                    }
                } else if answers_state_write(answer) && answer.failure().is_none() {
                    // A server may leave the list out.
                    let hash = view.answered.get(&at).and_then(|at| view.request(*at)).and_then(named_hash);
                    for part in parts.iter_mut().filter(|part| hash.is_some() && part.hash.as_deref() == hash) {
                        part.marked = true;
                    }
                }
            }
            Event::Request(request) if is(request, Command::Reset) && entry.by == StepBy::Tool => {
                let swaps = parts.iter().any(|part| part.marked && !part.runs);
                match parts.iter().position(|part| !part.marked && !part.runs) {
                    _ if !swaps => {}
                    None => seen.met(entry.place.n),
                    Some(left) => {
                        let what = format!("resets to swap an image in, and image {left} is not marked");
                        seen.violated(&entry.place, what);
                    }
                }
            }
            Event::Boot(_) => parts.iter_mut().for_each(|part| (part.marked, part.runs) = (false, false)),
            _ => {}
        }
    }
    seen.outcome()
}
