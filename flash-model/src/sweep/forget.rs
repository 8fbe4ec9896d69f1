//! What of a sector need not be known.

use std::iter::once;
use std::ops::Range;
use std::sync::Arc;

use super::{FieldSpan, Machine, Start};
use crate::flash::{Device, Forgotten, Sector};

/// For each device, the ranges of the fields in each sector, with offsets in the sector.
pub(super) type Exempt = Vec<Arc<[Vec<Range<u32>>]>>;

pub(super) fn exempt<S>(start: &Start<S>) -> Exempt {
    let of = |(device, chip): (usize, &Device)| {
        let sectors = chip.geometry().sectors().iter();
        sectors.map(|sector| fields_in(&start.fields, device as u8, sector)).collect()
    };
    start.flash.devices().iter().enumerate().map(of).collect()
}

/// For each device, whether each sector stays erased; see [`Machine::erased_stays_erased`].
pub(super) type Stays = Vec<Vec<bool>>;

pub(super) fn stays<M: Machine>(machine: &M) -> Stays {
    let of = |(device, chip): (u8, &Device)| {
        let sectors = chip.geometry().sectors().iter();
        sectors.map(|sector| machine.erased_stays_erased(device, sector.offset)).collect()
    };
    (0u8..).zip(machine.start().flash.devices()).map(of).collect()
}

/// Ranges of the fields in a sector, with offsets in the sector; fields that touch are one range, so that a read of several
/// of them is one of what is known.
fn fields_in(fields: &[FieldSpan], device: u8, sector: &Sector) -> Vec<Range<u32>> {
    let here =
        fields.iter().filter(|field| field.device == device && field.start < sector.end() && sector.offset < field.end);
    let clip =
        |field: &FieldSpan| field.start.max(sector.offset) - sector.offset..field.end.min(sector.end()) - sector.offset;
    let mut ranges: Vec<Range<u32>> = Vec::new();
    for range in here.map(clip) {
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => ranges.push(range),
        }
    }
    ranges
}

/// What lies between fields in a range of a sector.
fn gaps(here: &[Range<u32>], range: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let mut at = range.start;
    let ends = here.iter().cloned().chain(once(range.end..u32::MAX));
    ends.filter_map(move |field| {
        let gap = at..field.start.min(range.end);
        at = at.max(field.end);
        (gap.start < gap.end).then_some(gap)
    })
}

/// Whether all that is bulk in a sector is erased.
pub(super) fn is_blank(chip: &Device, sector: &Sector, here: &[Range<u32>]) -> bool {
    gaps(here, 0..sector.size).all(|gap| chip.is_blank(sector.offset + gap.start..sector.offset + gap.end))
}

/// Forgets what is bulk in a sector that an operation on `start..end` has torn, if it has touched bulk.
pub(super) fn forget_torn(
    (device, chip): (u8, &mut Device),
    sector: &Sector,
    (start, end): (u32, u32),
    here: &[Range<u32>],
) {
    let range = start.max(sector.offset) - sector.offset..end.min(sector.end()) - sector.offset;
    if gaps(here, range).next().is_some() {
        chip.forget(device, sector.index, here.iter().cloned(), Forgotten::Torn);
    }
}

/// Whether an operation changes nothing but bulk of a sector.
pub(super) fn spares_fields(sector: &Sector, (start, end): (u32, u32), here: &[Range<u32>]) -> bool {
    here.iter().all(|field| end <= sector.offset + field.start || sector.offset + field.end <= start)
}
