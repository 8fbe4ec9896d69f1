//! What does not fit together.

use serde::Serialize;

use super::{Names, bytes, direct_xip, trailer};
use crate::boot::mcuboot::{Flag, Magic, Mode, Pair, Slot, StatusSource, SwapType, TrailerState, pair, swap_scratch};
use crate::flash::{Area, Flash};
use crate::image::mcuboot::{IMAGE_MAGIC, ImageError, ImageHeader, SlotSource};

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// What kind it is, for programs.
    pub id: &'static str,
    /// Name of the partition.
    pub slot: String,
    /// What it is.
    pub words: String,
}

/// Everything odd about the slots of one image.
pub(super) fn find(pair: &Pair, flash: &Flash, names: &Names<'_>) -> Vec<Oddity> {
    if let Mode::DirectXip { revert } = pair.options.mode {
        return direct_xip::wrong(pair, flash, names, revert);
    }
    let mut found = Found { pair, flash, names, all: Vec::new() };
    let trailers = Slot::ALL.map(|slot| pair.trailer(slot).read(flash));
    let [Ok(primary), Ok(secondary)] = trailers else { return found.all };
    let swapping = pair.interrupted_swap(flash).ok().flatten().is_some();
    for (slot, state) in [(Slot::Primary, &primary), (Slot::Secondary, &secondary)] {
        found.trailer(slot, state);
        found.stray(slot);
        if !swapping && trailer::has_records(pair.options.mode) {
            found.records(slot, state);
        }
    }
    if swapping {
        found.swap();
    } else {
        found.images(&primary, &secondary);
    }
    found.all
}

/// Where the image in the slot begins one sector late, and whether it is valid there.
pub(super) fn late_image(pair: &Pair, slot: Slot, flash: &Flash) -> Option<(u32, bool)> {
    let area = pair.area(slot);
    let sector = pair.sector_size();
    let late = Area { offset: area.offset.checked_add(sector)?, len: area.len.checked_sub(sector)?, ..area };
    let header = ImageHeader::read(&SlotSource { flash, area: late }).ok()?;
    (header.magic == IMAGE_MAGIC)
        .then(|| (sector, pair.verifier.verify(&SlotSource { flash, area: late }, pair.max_image_size()).is_ok()))
}

struct Found<'a> {
    pair: &'a Pair,
    flash: &'a Flash,
    names: &'a Names<'a>,
    all: Vec<Oddity>,
}

impl Found<'_> {
    fn add(&mut self, id: &'static str, slot: Slot, words: String) {
        let image = self.pair.image();
        self.all.push(Oddity { id, slot: pair::partition(slot, image), words });
    }

    /// The fields of a trailer.
    fn trailer(&mut self, slot: Slot, state: &TrailerState) {
        let trailer = self.pair.trailer(slot);
        let area = trailer.area();
        let at = |offset| self.names.at(area, offset);
        let byte = |offset| bytes(self.flash, area, offset, 1)[0];
        let mut odd: Vec<(&'static str, String)> = Vec::new();
        let asked = self.pair.swap_type(self.flash).unwrap_or(SwapType::None);
        if state.magic == Magic::Bad {
            let means = match slot {
                Slot::Primary if asked.is_upgrade() => {
                    "it does not count, and the swap that is asked for writes it anew"
                }
                Slot::Primary => "the bootloader ignores the trailer, and the application cannot confirm any more",
                Slot::Secondary => "the bootloader ignores the trailer, and the application cannot request an update",
            };
            odd.push((
                "magic-bad",
                format!("the magic at {} is neither good nor erased: {means}", at(trailer.magic_offset())),
            ));
        }
        for (name, flag, offset) in [
            ("copy_done", state.copy_done, trailer.copy_done_offset()),
            ("image_ok", state.image_ok, trailer.image_ok_offset()),
        ] {
            match flag {
                Flag::Bad => {
                    let means = match (slot, name) {
                        (Slot::Secondary, "image_ok") => {
                            ": the request is neither for a test nor for good, nothing is swapped"
                        }
                        (Slot::Primary, "image_ok") => {
                            ": it cannot be confirmed any more, and it is not swapped back either"
                        }
                        (Slot::Primary, _) => {
                            ": the swap counts as neither complete nor under way, nothing is swapped back"
                        }
                        _ => "",
                    };
                    odd.push((
                        "flag-bad",
                        format!("{name} at {} is {:#04x}, a torn write{means}", at(offset), byte(offset)),
                    ));
                }
                Flag::Set if state.magic != Magic::Good => {
                    let id = if name == "image_ok" { "image-ok-without-magic" } else { "copy-done-without-magic" };
                    let words = format!(
                        "{name} is set and the magic is {}: without a good magic it does not count",
                        state.magic
                    );
                    odd.push((id, words));
                }
                Flag::Set | Flag::Unset => {}
            }
        }
        let info = byte(trailer.swap_info_offset());
        if info != super::erased_value(self.flash, area) {
            let at = at(trailer.swap_info_offset());
            match SwapType::from_nibble(info & 0x0f) {
                None => odd.push((
                    "swap-info-bad",
                    format!("swap_info at {at} is {info:#04x}, and {} is no swap type", info & 0x0f),
                )),
                Some(_) if usize::from(info >> 4) != self.pair.image() => odd.push((
                    "swap-info-image",
                    format!(
                        "swap_info at {at} is of image {}, and the slot belongs to image {}",
                        info >> 4,
                        self.pair.image()
                    ),
                )),
                Some(_) => {}
            }
        }
        if slot == Slot::Primary && state.swap_size != u32::MAX && (state.swap_size == 0 || state.swap_size > area.len)
        {
            let size = state.swap_size;
            odd.push((
                "swap-size-bad",
                format!("swap_size at {} is {size} bytes, the slot has {}", at(trailer.swap_size_offset()), area.len),
            ));
        }
        for (id, words) in odd {
            self.add(id, slot, words);
        }
    }

    /// Bytes in the trailer that belong to no field: an image that reaches into it, or the rest of one.
    fn stray(&mut self, slot: Slot) {
        let trailer = self.pair.trailer(slot);
        let area = trailer.area();
        let start = trailer::start(self.pair, trailer);
        let begins = self.pair.image_offset(self.flash, slot);
        let header = ImageHeader::read(&self.pair.image_source(self.flash, slot)).ok();
        let end = header.filter(|header| header.magic == IMAGE_MAGIC).and_then(|header| header.tlv_offset());
        let end = end.and_then(|end| end.checked_add(begins));
        if let Some(end) = end.filter(|end| *end > start && *end < area.len) {
            let words = format!(
                "the image reaches to {}, into the trailer, which begins at {}: a swap destroys it",
                self.names.at(area, end),
                self.names.at(area, start)
            );
            self.add("image-in-trailer", slot, words);
        } else if let Some((count, first)) = trailer::stray(self.pair, trailer, self.flash) {
            let words = format!(
                "{count} bytes of the trailer are written where no field is, the first at {}: the rest of an image, or torn writes",
                self.names.at(area, first)
            );
            self.add("stray-bytes", slot, words);
        }
    }

    /// Status records of no swap.
    fn records(&mut self, slot: Slot, state: &TrailerState) {
        let trailer = self.pair.trailer(slot);
        let written = trailer::written(trailer, self.flash);
        let Some((first, _)) = written.first() else { return };
        let complete = state.magic == Magic::Good && state.copy_done == Flag::Set;
        if slot == Slot::Primary && complete {
            return;
        }
        let words = format!(
            "{} status records are written from {} on, and no swap is under way: left over from one whose trailer was lost",
            written.len(),
            self.names.at(trailer.area(), trailer.status_offset(*first))
        );
        self.add("leftover-records", slot, words);
    }

    /// An interrupted swap.
    fn swap(&mut self) {
        let Some(status) = self.pair.interrupted_swap(self.flash).ok().flatten() else { return };
        let (trailer, words) = match (status.source, self.pair.scratch()) {
            (StatusSource::Scratch, Some(scratch)) => (scratch, "in the scratch area "),
            _ => (self.pair.trailer(Slot::Primary), ""),
        };
        let size = status.swap_size;
        if size == u32::MAX {
            self.add("swap-size-missing", Slot::Primary, format!("a swap is under way and swap_size {words}is erased"));
            return;
        }
        if size == 0 || size > self.pair.area(Slot::Primary).len {
            return;
        }
        let (all, max) = (trailer::sectors(self.pair, size), self.pair.options.max_sectors);
        let steps = swap_scratch::step_count(self.pair, size).unwrap_or(u32::MAX);
        let beyond = |record: u32| match self.pair.options.mode {
            Mode::SwapMove => (record >= all && record < max) || record >= max.saturating_add(2 * all),
            Mode::SwapScratch => record >= steps.saturating_mul(3),
            Mode::SwapOffset => record >= all.saturating_mul(2),
            Mode::OverwriteOnly { .. } | Mode::DirectXip { .. } => false,
        };
        let written = trailer::written(trailer, self.flash);
        if let Some((record, _)) = written.iter().find(|(record, _)| beyond(*record)) {
            let at = self.names.at(trailer.area(), trailer.status_offset(*record));
            let words =
                format!("status record {record} {words}at {at} is written, beyond the {all} sectors of the images");
            self.add("status-beyond-image", Slot::Primary, words);
        }
    }

    /// What is in the slots, while no swap is under way.
    fn images(&mut self, primary: &TrailerState, secondary: &TrailerState) {
        let verified = Slot::ALL.map(|slot| self.pair.verify(self.flash, slot).err());
        let asked = self.pair.swap_type(self.flash).unwrap_or(SwapType::None);
        let [primary_error, secondary_error] = verified;
        let overwrite = matches!(self.pair.options.mode, Mode::OverwriteOnly { .. });
        if primary_error.is_some() && overwrite && asked.is_upgrade() && secondary_error.is_none() {
            let words = "its image is not whole, as in the middle of an overwrite: the next boot does that again";
            self.add("overwrite-interrupted", Slot::Primary, words.into());
        } else if let Some(error) = &primary_error
            && self.pair.options.validate_primary
        {
            self.invalid(Slot::Primary, error, "primary-invalid", "the bootloader does not start it");
        }
        if let Some(error) = &secondary_error {
            match asked {
                SwapType::Revert => {
                    let words =
                        format!("the running image is in its test, and there is nothing to go back to: {error}");
                    self.add("revert-lost", Slot::Secondary, words);
                }
                SwapType::Test | SwapType::Permanent => {
                    self.invalid(
                        Slot::Secondary,
                        error,
                        "pending-invalid",
                        "it is requested, and the next boot refuses it",
                    );
                }
                _ if !matches!(error, ImageError::Magic { .. }) => {
                    self.invalid(Slot::Secondary, error, "secondary-invalid", "a request for it would be refused");
                }
                _ => {}
            }
        }
        for (slot, error) in [(Slot::Primary, &primary_error), (Slot::Secondary, &secondary_error)] {
            if !matches!(error, Some(ImageError::Magic { .. })) {
                continue;
            }
            let looked_at = match slot {
                Slot::Primary => self.pair.options.mode == Mode::SwapMove,
                Slot::Secondary => self.pair.options.mode != Mode::SwapOffset,
            };
            if !looked_at {
                continue;
            }
            if let Some((sector, valid)) = late_image(self.pair, slot, self.flash) {
                let area = self.pair.area(slot);
                let valid = if valid { "a valid image" } else { "an image header" };
                let why = match slot {
                    Slot::Primary => "as in the middle of a swap-move whose trailer was lost",
                    Slot::Secondary => "as a bootloader with swap-offset has it; this one looks in the first sector",
                };
                let words = format!("{valid} begins one sector late, at {}: {why}", self.names.at(area, sector));
                self.add(if slot == Slot::Primary { "moved-image" } else { "swap-offset-image" }, slot, words);
            }
        }
        if self.pair.options.mode == Mode::SwapOffset
            && matches!(asked, SwapType::Test | SwapType::Permanent)
            && self.pair.image_offset(self.flash, Slot::Secondary) == 0
        {
            let words = "its image is requested and begins in the first sector, where this bootloader wants none: the \
                         next boot erases the slot";
            self.add("update-at-wrong-sector", Slot::Secondary, words.into());
        }
        // Of swap-offset the secondary trailer asks for a revert, too.
        let requests = secondary.magic == Magic::Good && asked != SwapType::Revert;
        if requests && primary.magic == Magic::Good && primary.copy_done == Flag::Set && primary.image_ok == Flag::Unset
        {
            let words =
                "an update is requested while the running image is still in its test: it will not be reverted to";
            self.add("request-during-test", Slot::Secondary, words.into());
        }
    }

    fn invalid(&mut self, slot: Slot, error: &ImageError, id: &'static str, means: &str) {
        let area = self.pair.area(slot);
        let erased = super::erased_value(self.flash, area);
        let source = self.pair.image_source(self.flash, slot);
        if matches!(error, ImageError::Magic { found } if *found == u32::from_ne_bytes([erased; 4])) {
            let rest = bytes(self.flash, area, 0, trailer::start(self.pair, self.pair.trailer(slot)));
            let rest = if rest.iter().all(|byte| *byte == erased) { "" } else { " at its start, and not behind it" };
            self.add(id, slot, format!("the slot is erased{rest}: {means}"));
            return;
        }
        let header = ImageHeader::read(&source).ok();
        let header = header.filter(|header| header.magic == IMAGE_MAGIC);
        let hint = header.and_then(|header| super::image::unfinished(self.flash, self.pair, slot, &header));
        let hint = hint.map_or(String::new(), |hint| format!(" ({hint})"));
        let missing = matches!(error, ImageError::TlvMagic { .. } | ImageError::TlvOverrun { .. });
        let id = if missing { "tlv-missing" } else { id };
        let what = if missing { "the header is good and the TLVs behind the payload are not there: " } else { "" };
        self.add(id, slot, format!("{what}{error}{hint}: {means}"));
    }
}
