//! What is in the slots, what the next boot makes of it, what is wrong with it and what would help, in words.
//!
//! | module | what it says |
//! |---|---|
//! | [`image`] | the image in a slot: version, size, hash, TLVs, who signed it |
//! | [`trailer`] | the trailer of a slot, byte by byte, and how far a swap has come |
//! | [`rows`] | what the trailers ask for: each row of the table, and why it does or does not apply |
//! | [`wrong`] | what does not fit together |
//! | [`remedy`] | what would help; each remedy is tried on a copy before it is named |
//! | `direct_xip` | the last two for slots that are alike |
//!
//! Nothing here decides anything: the next boot is the bootloader itself on a copy of the flash.

mod direct_xip;
pub mod image;
pub mod remedy;
pub mod rows;
pub mod trailer;
pub mod wrong;

use serde::Serialize;

use super::{Boot, Mcuboot, Mode, Outcome, Pair, Slot, pair};
use crate::flash::{Area, Controller, Flash, Uncut};
use crate::layout::Layout;

pub use image::Contents;
pub use remedy::Remedy;
pub use rows::Row;
use trailer::Holder;
pub use trailer::{Field, TrailerText};
pub use wrong::Oddity;

/// Names for what a bootloader knows only as numbers.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// Names and addresses of the flash devices.
    pub layout: &'a Layout,
    /// A device without a bootable image runs a recovery instead.
    pub recovers: bool,
}

impl Names<'_> {
    /// The address of a byte of `area`, as in HEX files.
    #[must_use]
    pub fn address(&self, area: Area, offset: u32) -> u32 {
        let base = self.layout.devices.get(usize::from(area.device)).map_or(0, |device| device.base);
        base.wrapping_add(area.offset).wrapping_add(offset)
    }

    /// The address as text, with the device where there are several.
    #[must_use]
    pub fn at(&self, area: Area, offset: u32) -> String {
        format!("{}{:#x}", self.device(area), self.address(area, offset))
    }

    /// `from..to` (offsets in `area`) as addresses.
    #[must_use]
    pub fn range(&self, area: Area, from: u32, to: u32) -> String {
        format!("{}{:#x}..{:#x}", self.device(area), self.address(area, from), self.address(area, to))
    }

    fn device(&self, area: Area) -> String {
        match self.layout.devices.get(usize::from(area.device)) {
            Some(device) if self.layout.devices.len() > 1 => format!("{} ", device.name),
            _ => String::new(),
        }
    }
}

/// A flash and what an MCUboot makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// How updates are installed.
    pub mode: &'static str,
    /// Each image with its two slots.
    pub images: Vec<PairText>,
    /// The next boot.
    pub next_boot: NextBoot,
    /// What does not fit together.
    pub wrong: Vec<Oddity>,
    /// What would help.
    pub remedies: Vec<Remedy>,
}

/// The two slots of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairText {
    /// Number of the image.
    pub image: usize,
    /// Primary, then secondary.
    pub slots: Vec<SlotText>,
    /// The scratch area; swap-scratch only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scratch: Option<SlotText>,
    /// How far an interrupted swap has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<String>,
    /// What the trailers ask for; the first row that applies counts. Empty while a swap is interrupted, and in
    /// direct-XIP: then nothing is asked.
    pub rows: Vec<Row>,
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotText {
    /// Name of its partition.
    pub slot: String,
    /// Where it is.
    pub range: String,
    /// Its size in bytes.
    pub size: u32,
    /// What is in it.
    pub contents: Contents,
    /// Its trailer.
    pub trailer: TrailerText,
}

/// What the next boot does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NextBoot {
    /// `boot`, `recovery` or `brick`.
    pub outcome: &'static str,
    /// What it does and why, in order.
    pub steps: Vec<String>,
    /// How it ends.
    pub end: String,
    /// Flash operations.
    pub operations: u64,
    /// What the boot after it does, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_it: Option<String>,
}

/// The name of a mode, as in target profiles.
#[must_use]
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::SwapMove => "swap-move",
        Mode::SwapScratch => "swap-scratch",
        Mode::SwapOffset => "swap-offset",
        Mode::DirectXip { revert: false } => "direct-xip",
        Mode::DirectXip { revert: true } => "direct-xip-with-revert",
        Mode::OverwriteOnly { .. } => "overwrite-only",
    }
}

impl Mcuboot {
    /// Explains a flash.
    #[must_use]
    pub fn explain(&self, flash: &Flash, names: &Names<'_>) -> Explanation {
        let next = boot_copy(self, flash);
        let images = self.pairs().iter().map(|pair| pair_text(pair, self, flash, names)).collect();
        let wrong: Vec<Oddity> = self.pairs().iter().flat_map(|pair| wrong::find(pair, flash, names)).collect();
        let remedies = remedy::find(self, flash, names, next.as_ref().map(|(boot, _)| boot), &wrong);
        Explanation {
            mode: mode_name(self.options().mode),
            images,
            next_boot: next_boot(self, next, names),
            wrong,
            remedies,
        }
    }
}

/// The next boot on a copy, and the copy after it.
fn boot_copy(mcuboot: &Mcuboot, flash: &Flash) -> Option<(Boot, Flash)> {
    let mut copy = flash.clone();
    let boot = mcuboot.boot(&mut Controller::new(&mut copy, &mut Uncut)).ok()?;
    Some((boot, copy))
}

fn next_boot(mcuboot: &Mcuboot, next: Option<(Boot, Flash)>, names: &Names<'_>) -> NextBoot {
    let Some((boot, after)) = next else {
        return NextBoot {
            outcome: "brick",
            steps: Vec::new(),
            end: "the flash cannot be worked on".into(),
            operations: 0,
            after_it: None,
        };
    };
    let second = boot_copy(mcuboot, &after).map(|(boot, _)| boot);
    let goes_back = |second: &Boot| match mcuboot.options().mode {
        Mode::DirectXip { .. } => second.outcome != boot.outcome,
        _ => second.swapped().is_some(),
    };
    let after_it = second
        .filter(|second| boot.outcome.is_boot() && goes_back(second))
        .map(|second| format!("unless the image is confirmed before: {}", end(&second, names, mcuboot)));
    NextBoot {
        outcome: match &boot.outcome {
            Outcome::Boot { .. } => "boot",
            Outcome::NoBootableImage { .. } if names.recovers => "recovery",
            Outcome::NoBootableImage { .. } | Outcome::Halt { .. } => "brick",
        },
        steps: boot.decisions.iter().map(ToString::to_string).collect(),
        end: end(&boot, names, mcuboot),
        operations: boot.operations,
        after_it,
    }
}

/// How a boot ends, in words.
fn end(boot: &Boot, names: &Names<'_>, mcuboot: &Mcuboot) -> String {
    match &boot.outcome {
        Outcome::Boot { header, offset, .. } => {
            let area = mcuboot.area(mcuboot.first().slot_at(*offset));
            format!("version {} starts at {}", header.version, names.at(area, 0))
        }
        Outcome::NoBootableImage { reason } if names.recovers => {
            format!("no image is started, the serial recovery runs: {reason}")
        }
        Outcome::NoBootableImage { reason } | Outcome::Halt { reason } => format!("BRICK: {reason}"),
    }
}

fn pair_text(pair: &Pair, mcuboot: &Mcuboot, flash: &Flash, names: &Names<'_>) -> PairText {
    let moves = !matches!(pair.options.mode, Mode::DirectXip { .. });
    let swap = trailer::progress(pair, flash).filter(|_| moves);
    let slots = Slot::ALL
        .into_iter()
        .map(|slot| {
            let area = pair.area(slot);
            SlotText {
                slot: pair::partition(slot, pair.image()),
                range: names.range(area, 0, area.len),
                size: area.len,
                contents: image::contents(pair, slot, mcuboot, flash),
                trailer: trailer::explain(pair, Holder::Slot(slot), flash, names),
            }
        })
        .collect();
    let scratch = pair.scratch().map(|trailer| {
        let area = trailer.area();
        SlotText {
            slot: "scratch".into(),
            range: names.range(area, 0, area.len),
            size: area.len,
            contents: image::scratch(area, flash),
            trailer: trailer::explain(pair, Holder::Scratch, flash, names),
        }
    });
    let rows = if swap.is_some() || !moves { Vec::new() } else { rows::explain(pair, flash) };
    PairText { image: pair.image(), slots, scratch, swap, rows }
}

/// `1 sector`, `2 sectors`.
fn count(number: u32, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Bytes in hexadecimal, with spaces; equal ones at the end as one.
fn raw(bytes: &[u8]) -> String {
    let words = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let same = bytes.iter().rev().take_while(|byte| Some(*byte) == bytes.last()).count();
    match (bytes.len() - same, bytes.last()) {
        (0, Some(last)) if same > 1 => format!("{last:02x} * {same}"),
        (head, Some(last)) if same > 3 => format!("{} {last:02x} * {same}", words(&bytes[..head])),
        _ => words(bytes),
    }
}

/// Bytes in hexadecimal, without spaces.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The erased value of the device of an area.
fn erased_value(flash: &Flash, area: Area) -> u8 {
    flash.devices().get(usize::from(area.device)).map_or(0xff, |device| device.geometry().erased_value())
}

/// Bytes of an area; all erased where they cannot be read.
fn bytes(flash: &Flash, area: Area, offset: u32, len: u32) -> Vec<u8> {
    let mut bytes = vec![0; len.min(area.len) as usize];
    if flash.read(area, offset, &mut bytes).is_err() {
        bytes.fill(erased_value(flash, area));
    }
    bytes
}
