//! What would help: concrete, and tried on a copy of the flash where it can be.

use serde::Serialize;

use super::{Names, Oddity, bytes, end, erased_value, wrong};
use crate::boot::mcuboot::{Boot, Flag, Magic, Mcuboot, Mode, Pair, Slot, SwapType, Trailer, pair};
use crate::flash::{Area, Controller, Flash, Uncut};

/// Something that helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What it is good for.
    pub purpose: String,
    /// What to do, in order.
    pub steps: Vec<String>,
    /// What the next boot then does, tried on a copy; `None` where it needs something that is not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub then: Option<String>,
}

/// A change from outside, as a debugger makes it.
pub(super) enum Edit {
    /// Offsets in the area.
    Erase { area: Area, from: u32, to: u32 },
    /// Bytes at an offset of the area.
    Write { area: Area, at: u32, bytes: Vec<u8>, name: &'static str },
    /// The start of one area to the start of another.
    Copy { from: Area, at: u32, to: Area, len: u32 },
}

impl Edit {
    fn words(&self, names: &Names<'_>) -> String {
        match self {
            Self::Erase { area, from, to } => format!("erase {}", names.range(*area, *from, *to)),
            Self::Write { area, at, bytes, name } => {
                let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("write {} at {} ({name})", bytes.join(" "), names.at(*area, *at))
            }
            Self::Copy { from, at, to, len } => {
                format!("copy {} to {}", names.range(*from, *at, at + len), names.at(*to, 0))
            }
        }
    }

    /// `false` when it does not fit.
    fn apply(&self, flash: &mut Flash) -> bool {
        match self {
            Self::Erase { area, from, to } => {
                let erased = erased_value(flash, *area);
                flash.load(*area, *from, &vec![erased; to.saturating_sub(*from) as usize]).is_ok()
            }
            Self::Write { area, at, bytes, .. } => flash.load(*area, *at, bytes).is_ok(),
            Self::Copy { from, at, to, len } => {
                let piece = bytes(flash, *from, *at, *len);
                flash.load(*to, 0, &piece).is_ok()
            }
        }
    }
}

/// The offset where the sectors of a trailer begin.
pub(super) fn trailer_start(pair: &Pair, slot: Slot) -> u32 {
    let trailer = pair.trailer(slot);
    let start = super::trailer::start(pair, trailer);
    pair.sectors[slot.index()].iter().find(|sector| sector.end() > start).map_or(start, |sector| sector.offset)
}

pub(super) fn erase_trailer(pair: &Pair, slot: Slot) -> Edit {
    let area = pair.area(slot);
    Edit::Erase { area, from: trailer_start(pair, slot), to: area.len }
}

/// The first sectors of a slot that hold `len` bytes.
fn erase_start(pair: &Pair, slot: Slot, len: u32) -> Edit {
    let area = pair.area(slot);
    let to = pair.sectors[slot.index()].iter().map(|sector| sector.end()).find(|end| *end >= len);
    Edit::Erase { area, from: 0, to: to.unwrap_or(area.len) }
}

pub(super) fn write_flag(trailer: &Trailer, at: u32, name: &'static str) -> Edit {
    Edit::Write { area: trailer.area(), at, bytes: vec![1], name }
}

pub(super) fn write_magic(trailer: &Trailer) -> Edit {
    Edit::Write { area: trailer.area(), at: trailer.magic_offset(), bytes: trailer.magic().to_vec(), name: "magic" }
}

pub(super) struct Search<'a> {
    mcuboot: &'a Mcuboot,
    pub(super) flash: &'a Flash,
    pub(super) names: &'a Names<'a>,
    found: Vec<Remedy>,
}

/// What helps with this flash; the most convenient first.
pub(super) fn find(
    mcuboot: &Mcuboot,
    flash: &Flash,
    names: &Names<'_>,
    next: Option<&Boot>,
    wrong: &[Oddity],
) -> Vec<Remedy> {
    let mut search = Search { mcuboot, flash, names, found: Vec::new() };
    let boots = next.is_some_and(|boot| boot.outcome.is_boot());
    for pair in mcuboot.pairs() {
        if let Mode::DirectXip { revert } = pair.options.mode {
            search.of_direct_xip(pair, revert, boots);
            continue;
        }
        let secondary = pair::partition(Slot::Secondary, pair.image());
        let odd: Vec<&str> = wrong.iter().filter(|oddity| oddity.slot == secondary).map(|oddity| oddity.id).collect();
        if boots {
            search.of_working(pair, &odd, next.and_then(Boot::swapped));
        } else {
            search.of_brick(pair);
        }
    }
    search.found
}

impl Search<'_> {
    /// Names the edits if the device starts an image after them; whether it does.
    pub(super) fn offer(&mut self, purpose: &str, edits: &[Edit]) -> bool {
        let mut copy = self.flash.clone();
        if !edits.iter().all(|edit| edit.apply(&mut copy)) {
            return false;
        }
        let Ok(boot) = self.mcuboot.boot(&mut Controller::new(&mut copy, &mut Uncut)) else { return false };
        if !boot.outcome.is_boot() {
            return false;
        }
        let swapped = if boot.swapped().is_some() { "after the update " } else { "" };
        self.found.push(Remedy {
            purpose: purpose.into(),
            steps: edits.iter().map(|edit| edit.words(self.names)).collect(),
            then: Some(format!("{swapped}{}", end(&boot, self.names, self.mcuboot))),
        });
        true
    }

    pub(super) fn advise(&mut self, purpose: &str, steps: Vec<String>) {
        self.found.push(Remedy { purpose: purpose.into(), steps, then: None });
    }

    /// The bootloader starts nothing.
    fn of_brick(&mut self, pair: &Pair) {
        let (primary, secondary) = (pair.area(Slot::Primary), pair.area(Slot::Secondary));
        let trailer = pair.trailer(Slot::Secondary);
        let name = |slot| pair::partition(slot, pair.image());
        let primary_valid = pair.verify(self.flash, Slot::Primary).is_ok();
        let purpose = format!("start the image in `{}`", name(Slot::Primary));
        if primary_valid {
            let scratch =
                || pair.scratch().map(|trailer| Edit::Erase { area: trailer.area(), from: 0, to: trailer.area().len });
            let trailers = || [erase_trailer(pair, Slot::Primary), erase_trailer(pair, Slot::Secondary)];
            let done = self.offer(&purpose, &[erase_trailer(pair, Slot::Secondary)])
                || self.offer(&purpose, &[erase_trailer(pair, Slot::Primary)])
                || scratch().is_some_and(|scratch| self.offer(&purpose, &[scratch]))
                || self.offer(&purpose, &trailers())
                || scratch().is_some_and(|scratch| {
                    self.offer(&purpose, &trailers().into_iter().chain([scratch]).collect::<Vec<_>>())
                });
            if done {
                return;
            }
        } else {
            if let Some((at, true)) = wrong::late_image(pair, Slot::Primary, self.flash) {
                let len = trailer_start(pair, Slot::Primary).saturating_sub(at);
                let copy = Edit::Copy { from: primary, at, to: primary, len };
                let purpose = "start the image that was moved up by one sector";
                self.offer(purpose, &[copy, erase_trailer(pair, Slot::Primary), erase_trailer(pair, Slot::Secondary)]);
            }
            if let Ok(verified) = pair.verify(self.flash, Slot::Secondary) {
                let purpose = format!("start the image in `{}`", name(Slot::Secondary));
                let image_ok = write_flag(trailer, trailer.image_ok_offset(), "image_ok");
                let start = super::trailer::start(pair, trailer);
                let blank = bytes(self.flash, secondary, start, secondary.len - start);
                let erased = erased_value(self.flash, secondary);
                let mut edits = vec![write_magic(trailer), image_ok];
                if blank.iter().any(|byte| *byte != erased) {
                    edits.insert(0, erase_trailer(pair, Slot::Secondary));
                }
                if !self.offer(&purpose, &edits) {
                    let at = pair.image_offset(self.flash, Slot::Secondary);
                    let copy = Edit::Copy { from: secondary, at, to: primary, len: verified.total_len };
                    let edits = [
                        erase_start(pair, Slot::Primary, verified.total_len),
                        erase_trailer(pair, Slot::Primary),
                        erase_trailer(pair, Slot::Secondary),
                        copy,
                    ];
                    self.offer(&purpose, &edits);
                }
            }
        }
        let area = primary;
        self.advise(
            &format!("write `{}` anew, with a debugger", name(Slot::Primary)),
            vec![
                format!("erase {}", self.names.range(area, 0, area.len)),
                format!("write an image that is signed with a trusted key at {}", self.names.at(area, 0)),
            ],
        );
    }

    /// The bootloader starts an image; something may still be in the way of the next update. `odd`: what does
    /// not fit in the secondary slot.
    fn of_working(&mut self, pair: &Pair, odd: &[&str], swapped: Option<SwapType>) {
        let trailers = Slot::ALL.map(|slot| pair.trailer(slot).read(self.flash));
        let [Ok(primary), Ok(secondary)] = trailers else { return };
        let (running, other) = (pair.trailer(Slot::Primary), pair.trailer(Slot::Secondary));
        let name = |slot| pair::partition(slot, pair.image());
        let swapping = pair.interrupted_swap(self.flash).ok().flatten().is_some();
        if swapping {
            self.advise(
                "finish the swap",
                vec!["let the device boot: it goes on by itself, and erasing anything before destroys an image".into()],
            );
            return;
        }
        let asked = pair.swap_type(self.flash).unwrap_or(SwapType::None);
        let testing = primary.magic == Magic::Good && primary.copy_done == Flag::Set && primary.image_ok == Flag::Unset;
        if testing && secondary.magic != Magic::Good {
            let confirm = write_flag(running, running.image_ok_offset(), "image_ok");
            self.offer("keep the running image; the application does the same when it confirms", &[confirm]);
        }
        if matches!(asked, SwapType::Test | SwapType::Permanent) {
            let end = pair.verify(self.flash, Slot::Secondary).map_or(u32::MAX, |verified| verified.total_len);
            if swapped.is_some() && end <= trailer_start(pair, Slot::Secondary) {
                self.offer("cancel the update", &[erase_trailer(pair, Slot::Secondary)]);
            }
        }
        let in_trailer = |slot: Slot| {
            let slot_name = name(slot);
            let flag = match slot {
                Slot::Primary => (primary.magic == Magic::Bad, primary.image_ok, primary.copy_done),
                Slot::Secondary => (secondary.magic == Magic::Bad, secondary.image_ok, secondary.copy_done),
            };
            (slot_name, flag.0 || flag.1 == Flag::Bad || flag.2 == Flag::Bad)
        };
        for slot in Slot::ALL {
            let (slot_name, torn) = in_trailer(slot);
            let image_end = pair.verify(self.flash, slot).map_or(0, |verified| verified.total_len);
            // A swap erases the trailers itself.
            if torn && swapped.is_none() && image_end <= trailer_start(pair, slot) {
                let purpose = format!("make the trailer of `{slot_name}` usable again");
                self.offer(&purpose, &[erase_trailer(pair, slot)]);
            }
        }
        if other_left_over(odd) && !in_trailer(Slot::Secondary).1 && asked == SwapType::None {
            let edits = [erase_trailer(pair, Slot::Secondary)];
            let stray = super::trailer::written(other, self.flash).len();
            if stray > 0 || super::trailer::stray(pair, other, self.flash).is_some() {
                self.offer("clean the trailer of the slot for updates", &edits);
            }
        }
        if [
            "pending-invalid",
            "secondary-invalid",
            "swap-offset-image",
            "update-at-wrong-sector",
            "tlv-missing",
            "revert-lost",
        ]
        .iter()
        .any(|id| odd.contains(id))
        {
            self.advise(
                "update",
                vec![format!("upload a signed image to `{}` and mark it for test", name(Slot::Secondary))],
            );
        }
    }
}

fn other_left_over(odd: &[&str]) -> bool {
    ["leftover-records", "stray-bytes", "image-ok-without-magic", "copy-done-without-magic"]
        .iter()
        .any(|id| odd.contains(id))
}
