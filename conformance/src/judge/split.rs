//! Answers that come in several notifications.

use brickproof_simulator::gatt::opcode;
use brickproof_simulator::smp::gatt::CHARACTERISTIC_UUID;
use brickproof_simulator::smp::{Command, Field, SmpMessage};
use brickproof_simulator::trace::Direction;

use super::view::{Event, Place, View, is};
use super::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("BLE-09", split_answers_are_understood)];

/// BLE-09: the length in the header says where an answer ends.
///
/// Nobody sees what a tool makes of an answer. It has not understood one that brings good news when it
/// fails right after it, nor those after which it only ever asks the same again and then fails.
fn split_answers_are_understood(view: &View<'_>) -> CheckOutcome {
    if !view.shows_att {
        return CheckOutcome::NotObservable { missing: "the Attribute Protocol" };
    }
    let mut seen = Seen::default();
    let mut pieces = 0;
    // A split answer to which nothing has come yet.
    let mut waiting: Option<(Place, u64, &SmpMessage)> = None;
    let mut repeated: Option<(Place, u64)> = None;
    let mut understood = false;
    for entry in &view.entries {
        match &entry.event {
            Event::Att(att)
                if att.direction == Direction::FromTarget
                    && att.opcode == opcode::NOTIFICATION
                    && att.uuid.as_deref() == Some(CHARACTERISTIC_UUID) =>
            {
                pieces += u64::from(att.lost.is_none());
            }
            Event::Answer(answer) => {
                let count = std::mem::take(&mut pieces);
                waiting = (count > 1 && answer.failure().is_none()).then_some((entry.place, count, answer));
            }
            Event::Sent(packet) => {
                let Some((place, count, answer)) = waiting.take() else { continue };
                let same = (packet.header.group, packet.header.command) == (answer.group, answer.command)
                    && packet.header.op + 1 == answer.op;
                if same {
                    repeated = repeated.or(Some((place, count)));
                } else {
                    understood = true;
                    seen.met(place.n);
                }
            }
            Event::Link(_) | Event::Power(_) => waiting = None,
            Event::Reported { success: true, .. } | Event::Exited(Some(0)) => {
                if let Some((place, ..)) = waiting.take() {
                    understood = true;
                    seen.met(place.n);
                }
            }
            Event::Reported { .. } | Event::Exited(_) => {
                let good =
                    waiting.filter(|(.., answer)| good_news(view, answer)).map(|(place, count, _)| (place, count));
                let only_repeated = if understood { None } else { repeated };
                if let Some((_, count)) = good.or(only_repeated) {
                    let what = format!("it fails after an answer that came in {count} notifications");
                    seen.violated(&entry.place, what);
                }
                (waiting, repeated) = (None, None);
            }
            _ => {}
        }
    }
    seen.outcome()
}

/// Whether the answer lists the update as marked or running.
fn good_news(view: &View<'_>, answer: &SmpMessage) -> bool {
    let images = answer.body.get("images").and_then(Field::list).unwrap_or_default();
    let flag = |image: &Field, name: &str| image.get(name).and_then(Field::boolean) == Some(true);
    is(answer, Command::ImageState)
        && images.iter().any(|image| {
            let hash = image.get("hash").and_then(Field::hex);
            hash.is_some() && hash == view.update_hash().as_deref() && (flag(image, "pending") || flag(image, "active"))
        })
}
