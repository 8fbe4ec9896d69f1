//! Where MCUboot reads single fields.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::boot::mcuboot::{Pair, Slot, Trailer};
use crate::flash::{Area, Flash};
use crate::image::mcuboot::ImageHeader;
use crate::sweep::{FieldKind, FieldSpan, Region};

/// What the parts of the flash are called.
#[must_use]
pub fn regions(pair: &Pair) -> Vec<Region> {
    let slots = Slot::ALL.map(|slot| Region { area: pair.area(slot), name: names(slot)[0] });
    let scratch = pair.scratch().map(|trailer| Region { area: trailer.area(), name: SCRATCH[0] });
    slots.into_iter().chain(scratch).collect()
}

/// Trailer fields, status records, headers, and the lengths of TLV areas where images have them.
#[must_use]
pub fn fields(pair: &Pair, images: &[&[u8]]) -> Vec<FieldSpan> {
    let mut fields = Vec::new();
    let mut add = |area: Area, start: u32, len: u32, kind: FieldKind, name: &'static str| {
        let start = area.offset + start;
        fields.push(FieldSpan { device: area.device, start, end: start + len, kind, name });
    };
    for slot in Slot::ALL {
        let name = names(slot)[0];
        for begin in BTreeSet::from([0, pair.upload_offset(slot)]) {
            add(pair.area(slot), begin, 32, FieldKind::Header, name);
            for info in images.iter().flat_map(|image| tlv_infos(image)) {
                add(pair.area(slot), begin + info, 4, FieldKind::TlvInfo, name);
            }
        }
    }
    if let Some(scratch) = pair.scratch() {
        // Parts of images pass through it.
        let longest = images.iter().map(|image| image.len() as u32).max().unwrap_or(0);
        for (offset, size) in pair.scratch_steps(longest) {
            if offset == 0 {
                add(scratch.area(), 0, 32, FieldKind::Header, SCRATCH[0]);
            }
            for info in images.iter().flat_map(|image| tlv_infos(image)) {
                if (offset..offset + size - 3).contains(&info) {
                    add(scratch.area(), info - offset, 4, FieldKind::TlvInfo, SCRATCH[0]);
                }
            }
        }
    }
    let slots = Slot::ALL.map(|slot| (pair.trailer(slot), names(slot)));
    for (trailer, names) in slots.into_iter().chain(pair.scratch().map(|trailer| (trailer, SCRATCH))) {
        let [_, magic, image_ok, copy_done, swap_info, sizes, size, records] = names;
        let area = trailer.area();
        let width = trailer.image_ok_offset() - trailer.copy_done_offset();
        // With the padding in front of it, which is written together with it.
        let behind = trailer.image_ok_offset() + width;
        add(area, behind, area.len - behind, FieldKind::Magic, magic);
        add(area, trailer.image_ok_offset(), width, FieldKind::Flag, image_ok);
        add(area, trailer.copy_done_offset(), width, FieldKind::Flag, copy_done);
        add(area, trailer.swap_info_offset(), width, FieldKind::SwapInfo { images: false }, swap_info);
        if let Some(offset) = trailer.tlv_sizes_offset() {
            add(area, offset, width, FieldKind::Number, sizes);
        }
        add(area, trailer.swap_size_offset(), width, FieldKind::Number, size);
        let begin = trailer.status_offset(0);
        add(area, begin, trailer.swap_size_offset() - begin, FieldKind::Records, records);
    }
    fields.sort_by_key(|field| (field.device, field.start));
    fields
}

/// Offsets of the magic and length of the TLV areas of an image.
fn tlv_infos(image: &[u8]) -> BTreeSet<u32> {
    let header = image.first_chunk().map(ImageHeader::parse);
    header.iter().flat_map(|header| [header.tlv_offset(), header.hashed_len()]).flatten().collect()
}

/// The region, magic, image_ok, copy_done, swap info, TLV sizes, swap size, status.
type Names = [&'static str; 8];

fn names(slot: Slot) -> Names {
    match slot {
        Slot::Primary => [
            "the primary slot",
            "primary magic",
            "primary image_ok",
            "primary copy_done",
            "primary swap info",
            "primary TLV sizes",
            "primary swap size",
            "primary swap status",
        ],
        Slot::Secondary => [
            "the secondary slot",
            "secondary magic",
            "secondary image_ok",
            "secondary copy_done",
            "secondary swap info",
            "secondary TLV sizes",
            "secondary swap size",
            "secondary swap status",
        ],
    }
}

const SCRATCH: Names = [
    "the scratch area",
    "scratch magic",
    "scratch image_ok",
    "scratch copy_done",
    "scratch swap info",
    "scratch TLV sizes",
    "scratch swap size",
    "scratch swap status",
];

/// What is outside of the slots, and must stay as it is.
#[derive(Debug)]
pub struct Others {
    runs: Vec<(u8, Range<usize>)>,
    print: u128,
}

impl Others {
    /// As it is in this flash.
    #[must_use]
    pub fn of(pair: &Pair, flash: &Flash) -> Self {
        let runs = others(pair, flash);
        Self { print: print(&runs, flash), runs }
    }

    /// Whether it is the same in this one.
    #[must_use]
    pub fn are_untouched(&self, flash: &Flash) -> bool {
        print(&self.runs, flash) == self.print
    }
}

/// A number for the contents of runs of sectors.
fn print(runs: &[(u8, Range<usize>)], flash: &Flash) -> u128 {
    let print = |(device, sectors): &(u8, Range<usize>)| {
        flash.devices().get(usize::from(*device)).map_or(0, |device| device.fingerprint(sectors.clone()))
    };
    runs.iter().map(print).fold(0, |sum, print| sum.rotate_left(1) ^ print)
}

/// Runs of sectors that belong to no slot: device and indices.
fn others(pair: &Pair, flash: &Flash) -> Vec<(u8, Range<usize>)> {
    let slots = Slot::ALL.map(|slot| pair.area(slot));
    let areas: Vec<Area> = slots.into_iter().chain(pair.scratch().map(Trailer::area)).collect();
    let mut runs: Vec<(u8, Range<usize>)> = Vec::new();
    for (device, contents) in flash.devices().iter().enumerate() {
        let device = device as u8;
        for sector in contents.geometry().sectors() {
            let used = |area: &Area| area.device == device && sector.offset < area.end() && area.offset < sector.end();
            if areas.iter().any(used) {
                continue;
            }
            match runs.last_mut() {
                Some((last, run)) if *last == device && run.end == sector.index => run.end += 1,
                _ => runs.push((device, sector.index..sector.index + 1)),
            }
        }
    }
    runs
}
