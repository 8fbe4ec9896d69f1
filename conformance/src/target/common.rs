//! What target profiles of every family have.

use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{BatteryPolicy, FlashTiming};
use serde::Deserialize;
use toml::Spanned;

use crate::units::Duration;

/// Makes a mistake at a byte offset of the file.
pub(super) type Wrong<'a> = &'a dyn Fn(usize, String) -> Mistake;

/// From reset to the start of the image, where nobody says, in microseconds.
const START_US: u64 = 300_000;

/// The `[timing]` table.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Timing {
    erase: Option<Duration>,
    program_unit: Option<Duration>,
    start: Option<Duration>,
}

impl Timing {
    /// Durations of flash operations; what is left out is as in `default`.
    pub(super) fn flash(&self, default: FlashTiming) -> FlashTiming {
        FlashTiming {
            erase_us: self.erase.map_or(default.erase_us, |duration| duration.us),
            program_unit_ns: self.program_unit.map_or(default.program_unit_ns, |duration| duration.ns),
        }
    }

    /// From reset to the start of the image, in microseconds.
    pub(super) fn start_us(&self) -> u64 {
        self.start.map_or(START_US, |duration| duration.us)
    }
}

/// Refuses a profile for another version of the format.
pub(super) fn check_schema(schema: &Spanned<u32>, mistake: Wrong<'_>) -> Result<(), Mistake> {
    match schema.get_ref() {
        1 => Ok(()),
        other => Err(mistake(schema.span().start, format!("schema {other} is not known"))
            .remedy("this version reads schema = 1")),
    }
}

/// What a low battery is, where something heeds it.
pub(super) fn battery(
    threshold: Option<&Spanned<u8>>,
    is_heeded: bool,
    mistake: Wrong<'_>,
) -> Result<BatteryPolicy, Mistake> {
    if let Some(threshold) = threshold.filter(|threshold| *threshold.get_ref() > 100) {
        return Err(mistake(threshold.span().start, "a threshold is between 0 and 100 percent".into()));
    }
    let default = BatteryPolicy::default();
    let own = threshold.map_or(default.threshold, |threshold| *threshold.get_ref());
    Ok(BatteryPolicy { threshold: if is_heeded { own } else { 0 }, ..default })
}
