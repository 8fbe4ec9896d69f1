//! Lost links.

use brickproof_simulator::smp::{Command, Field};
use brickproof_simulator::trace::{LinkEvent, PowerEvent};

use super::complete;
use crate::judge::view::{Event, Place, View, is, offset};
use crate::judge::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UPL-10", resumes_by_sha), ("RST-05", lost_uploads_have_an_end)];

/// UPL-10: after a lost link the upload is resumed with the same `sha`.
fn resumes_by_sha(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut sha: Option<&str> = None;
    // Highest offset the device has returned in the upload it still knows.
    let mut reached = 0;
    let mut lost = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => {
                let given = request.body.get("sha").and_then(Field::hex);
                let off = offset(request).unwrap_or(0);
                if lost && reached > 0 {
                    lost = false;
                    if off == 0 && (given.is_none() || given != sha) {
                        seen.violated(
                            &entry.place,
                            "the upload starts from nothing although the device still knows it",
                        );
                    } else {
                        seen.met(entry.place.n);
                    }
                }
                if off == 0 {
                    sha = given.or(sha);
                }
            }
            Event::Request(request) if is(request, Command::ImageErase) && lost && reached > 0 => {
                seen.violated(&entry.place, "the slot is erased although the device still knows the upload");
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                reached = match offset(answer) {
                    Some(off) if answer.failure().is_none() && !complete(view, off) => off,
                    _ => 0,
                };
            }
            Event::Link(LinkEvent::Down { .. }) => lost = true,
            Event::Power(_) => {
                reached = 0;
                lost = false;
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// RST-05: an upload whose link was lost goes on, starts again, or is reported as failed.
fn lost_uploads_have_an_end(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    // Whether an upload is under way, and where its link was lost.
    let mut under_way = false;
    let mut lost: Option<Place> = None;
    for entry in &view.entries {
        match &entry.event {
            Event::Request(request) if is(request, Command::ImageUpload) => {
                under_way = true;
                if let Some(place) = lost.take() {
                    seen.met(place.n);
                }
            }
            Event::Answer(answer) if is(answer, Command::ImageUpload) => {
                under_way = answer.failure().is_none() && !offset(answer).is_some_and(|off| complete(view, off));
            }
            Event::Link(LinkEvent::Down { .. }) | Event::Power(PowerEvent::Off { .. }) if under_way => {
                lost = Some(entry.place);
            }
            // What was given up for a reset was not lost.
            Event::Request(request) if is(request, Command::Reset) => under_way = false,
            Event::Exited(code) => match (lost.take(), code) {
                (Some(_), Some(0)) => {
                    seen.violated(&entry.place, "the link was lost during the upload, and the tool ends with 0");
                }
                (Some(place), _) => seen.met(place.n),
                (None, _) => {}
            },
            Event::Reported { success, message } => match lost.take() {
                Some(_) if *success => {
                    let what = "the link was lost during the upload, and it reports success";
                    seen.violated(&entry.place, format!("{what}: {message}"));
                }
                Some(place) => seen.met(place.n),
                None => {}
            },
            _ => {}
        }
    }
    // Somebody started it, so somebody waits for its word.
    if let Some(place) = lost.filter(|_| view.entries.iter().any(|entry| matches!(entry.event, Event::Started))) {
        seen.violated(&place, "the link was lost during the upload, and nothing more is heard of it");
    }
    seen.outcome()
}
