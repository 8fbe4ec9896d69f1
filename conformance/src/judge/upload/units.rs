//! Write units of the device.

use brickproof_simulator::smp::Command;

use crate::judge::view::{Event, View, data_len, is, offset};
use crate::judge::{Check, CheckOutcome, Seen};

/// The requirements judged here.
pub(super) const CHECKS: &[(&str, Check)] = &[("UPL-12", chunks_are_whole_units)];

/// Largest write unit of a device in bytes.
const UNIT_MAX: i64 = 32;

/// UPL-12: where the device takes whole write units only, every chunk but the last is a multiple of them.
///
/// That it takes no others shows in its answer: it asks again for the bytes beyond the last whole unit.
fn chunks_are_whole_units(view: &View<'_>) -> CheckOutcome {
    let mut seen = Seen::default();
    let mut recovery = false;
    let answered = &view.answered;
    for (at, entry) in view.entries.iter().enumerate() {
        match &entry.event {
            Event::Boot(boot) => recovery = boot.outcome == "recovery",
            Event::Answer(answer) if is(answer, Command::ImageUpload) && answer.failure().is_none() => {
                let Some(request) = answered.get(&at).and_then(|at| view.request(*at)) else { continue };
                let (Some(off), Some(returned)) = (offset(request), offset(answer)) else { continue };
                let left = off + data_len(request) - returned;
                if recovery && left == 0 {
                    seen.met(entry.place.n);
                } else if recovery && returned > off && (1..UNIT_MAX).contains(&left) {
                    let len = data_len(request);
                    seen.violated(&entry.place, format!("of a chunk of {len} bytes the device cannot write {left}"));
                }
            }
            _ => {}
        }
    }
    seen.outcome()
}
