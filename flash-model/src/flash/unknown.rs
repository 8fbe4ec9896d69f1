//! What an exploration need not know of a sector.
//!
//! States that differ only in what nobody reads are one state. An exploration finds out what a run erases before it
//! reads it ([`Flash::trace`]), forgets that and what torn operations leave ([`Device::forget`]), and watches that no
//! other run reads it after all ([`Flash::unknown_read`]): then no behaviour depends on it, and what was shown for one
//! state holds for all of them. Bytes that are not known look like noise.

use std::iter::once;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::device::{Contents, mix};
use super::{Area, Device, Flash};

/// Why bytes are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Forgotten {
    /// An operation on them was torn: anything, but not what stood there before or should stand there.
    Torn,
    /// They will be erased before they are read: anything at all.
    Dead,
}

/// Bytes of a sector that are known, as ranges with offsets in the sector; the others are not, for this reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) ranges: Arc<[Range<u32>]>,
    pub(super) others: Forgotten,
    /// Where it was forgotten: copies come from elsewhere.
    origin: Origin,
}

/// Device and sector.
type Origin = (u8, usize);

/// The first read of what is not known.
#[derive(Debug, Default)]
pub(super) struct Watch(AtomicU64);

impl Clone for Watch {
    /// A copy of a flash is watched anew.
    fn clone(&self) -> Self {
        Self::default()
    }
}

const DEAD: u64 = 1 << 63;

impl Watch {
    fn note(&self, known: &Known) {
        let dead = if known.others == Forgotten::Dead { DEAD } else { 0 };
        let (device, sector) = known.origin;
        let noted = dead | u64::from(device) << 48 | (sector as u64 + 1);
        let _ = self.0.compare_exchange(0, noted, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn noted(&self) -> Option<(u8, usize, Forgotten)> {
        let noted = self.0.load(Ordering::Relaxed);
        let why = if noted & DEAD == 0 { Forgotten::Torn } else { Forgotten::Dead };
        let sector = (noted & 0xffff_ffff_ffff).checked_sub(1)?;
        Some((((noted & !DEAD) >> 48) as u8, sector as usize, why))
    }
}

/// What was done first with each sector: nothing, a read, or an erase.
#[derive(Debug)]
pub(super) struct Trace {
    first: Vec<AtomicU8>,
    /// Ranges of each sector whose reads do not count.
    exempt: Arc<[Vec<Range<u32>>]>,
}

const READ: u8 = 1;
const ERASED: u8 = 2;

impl Trace {
    /// Bytes were replaced from outside.
    pub(super) fn note_load(&self, sector: usize, whole: bool) {
        self.note(sector, if whole { ERASED } else { READ });
    }

    fn note(&self, sector: usize, what: u8) {
        if let Some(first) = self.first.get(sector) {
            let _ = first.compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

fn covers(ranges: &[Range<u32>], from: u32, to: u32) -> bool {
    ranges.iter().any(|range| range.start <= from && to <= range.end)
}

impl Contents {
    fn covers(&self, from: u32, to: u32) -> bool {
        self.known.as_ref().is_none_or(|known| covers(&known.ranges, from, to))
    }
}

impl Device {
    /// Forgets a sector, but for these ranges (offsets in the sector). An erase makes it known again.
    ///
    /// `device`: the index of this device.
    pub fn forget(&mut self, device: u8, sector: usize, known: impl IntoIterator<Item = Range<u32>>, why: Forgotten) {
        let known: Vec<_> = known.into_iter().collect();
        let shared = Arc::clone(&self.forgotten);
        let shared = shared.get(sector).filter(|_| known.is_empty()).map(|of| &of[usize::from(why == Forgotten::Dead)]);
        if let Some(whole) = shared.and_then(OnceLock::get) {
            *self.sector_mut(sector) = Arc::clone(whole);
            return;
        }
        self.forget_as(sector, known, why, (device, sector));
        if let Some(shared) = shared {
            let _ = shared.set(Arc::clone(&self.sectors[sector]));
        }
    }

    fn forget_as(
        &mut self,
        sector: usize,
        known: impl IntoIterator<Item = Range<u32>>,
        why: Forgotten,
        origin: Origin,
    ) {
        if sector >= self.sectors.len() {
            return;
        }
        let ranges: Arc<[Range<u32>]> = known.into_iter().collect();
        let contents = Contents::change(self.sector_mut(sector));
        let mut at = 0;
        for range in ranges.iter().cloned().chain(once(contents.bytes.len() as u32..u32::MAX)) {
            for position in at..range.start.max(at) {
                contents.bytes[position as usize] = mix(1, position) as u8;
            }
            at = range.end.max(at);
        }
        contents.programmed.fill(u64::MAX);
        contents.known = Some(Known { ranges, others: why, origin });
    }

    /// Forgets a range of a sector: what was copied there was not known.
    fn forget_range(&mut self, sector: usize, range: Range<u32>, origin: Origin) {
        let Some(contents) = self.sectors.get(sector) else { return };
        let size = contents.bytes.len() as u32;
        let (ranges, before) = match &contents.known {
            None => (once(0..size).collect(), Forgotten::Torn),
            Some(known) => (known.ranges.to_vec(), known.others),
        };
        let parts =
            |known: Range<u32>| [known.start..known.end.min(range.start), known.start.max(range.end)..known.end];
        let left = ranges.into_iter().flat_map(parts).filter(|part| part.start < part.end);
        self.forget_as(sector, left.collect::<Vec<_>>(), before, origin);
    }

    /// What of a range was torn, as ranges with offsets in it; `None` when some of it is not known for another reason.
    fn torn_in(&self, range: Range<u32>) -> Option<Vec<(Range<u32>, Origin)>> {
        let mut torn = Vec::new();
        for (index, from, to) in self.pieces(range.clone()) {
            let sector = self.geometry().sectors().get(index)?.offset;
            let Some(known) = &self.sectors[index].known else { continue };
            if covers(&known.ranges, from, to) {
                continue;
            }
            if known.others != Forgotten::Torn {
                return None;
            }
            let (mut at, known_origin) = (from, known.origin);
            for known in known.ranges.iter().cloned().chain(once(to..to)) {
                let gap = at..known.start.clamp(at, to);
                if !gap.is_empty() {
                    let gap = sector + gap.start - range.start..sector + gap.end - range.start;
                    torn.push((gap, known_origin));
                }
                at = at.max(known.end.min(to));
            }
        }
        Some(torn)
    }

    /// Whether a range is known, and erased.
    #[must_use]
    pub fn is_blank(&self, range: Range<u32>) -> bool {
        let erased = self.geometry().erased_value();
        self.pieces(range).all(|(index, from, to)| {
            let contents = &self.sectors[index];
            if self.is_shared_erased(contents) {
                return true;
            }
            contents.covers(from, to) && contents.bytes[from as usize..to as usize].iter().all(|byte| *byte == erased)
        })
    }

    /// Whether an operation was torn there since the last erase.
    #[must_use]
    pub fn is_torn(&self, sector: usize) -> bool {
        let known = self.sectors.get(sector).and_then(|contents| contents.known.as_ref());
        known.is_some_and(|known| known.others == Forgotten::Torn)
    }

    /// Something reads a range, or cannot be done whatever stands there.
    pub(super) fn watch(&self, range: Range<u32>) {
        for (index, from, to) in self.pieces(range) {
            self.trace_read(index, from, to);
            if let Some(known) = &self.sectors[index].known
                && !covers(&known.ranges, from, to)
            {
                self.watch.note(known);
            }
        }
    }

    fn trace_read(&self, index: usize, from: u32, to: u32) {
        if let Some(trace) = &self.trace
            && trace.exempt.get(index).is_none_or(|exempt| !covers(exempt, from, to))
        {
            trace.note(index, READ);
        }
    }

    pub(super) fn trace_erase(&self, index: usize) {
        if let Some(trace) = &self.trace {
            trace.note(index, ERASED);
        }
    }

    /// A hash is taken of a range; whether it can be that of an image.
    fn examine(&self, range: Range<u32>) -> bool {
        let mut whole = true;
        for (index, from, to) in self.pieces(range) {
            self.trace_read(index, from, to);
            if let Some(known) = &self.sectors[index].known
                && !covers(&known.ranges, from, to)
            {
                whole = false;
                if known.others == Forgotten::Dead {
                    self.watch.note(known);
                }
            }
        }
        whole
    }

    /// The sectors of a range that is not empty, by index.
    pub(super) fn sectors_of(&self, range: Range<u32>) -> Option<Range<usize>> {
        let index = |offset: u32| self.geometry().sector_at(offset).map(|sector| sector.index);
        Some(index(range.start)?..index(range.end.checked_sub(1)?)? + 1)
    }

    /// The sectors of a range: index, and first and last offset in the sector.
    fn pieces(&self, range: Range<u32>) -> impl Iterator<Item = (usize, u32, u32)> {
        let first = self.geometry().sector_at(range.start).map_or(usize::MAX, |sector| sector.index);
        let sectors = self.geometry().sectors().get(first..).unwrap_or_default();
        let here = sectors.iter().take_while(move |sector| sector.offset < range.end);
        here.map(move |sector| {
            (sector.index, range.start.max(sector.offset) - sector.offset, range.end.min(sector.end()) - sector.offset)
        })
    }
}

impl Flash {
    /// The first sector that was read, since this flash was made or cloned, where it is not known: device, sector, and why
    /// it is not known.
    #[must_use]
    pub fn unknown_read(&self) -> Option<(u8, usize, Forgotten)> {
        self.devices.iter().find_map(|chip| chip.watch.noted())
    }

    /// A range of an area was read, by whoever remembers what came of it.
    pub(crate) fn note_read(&self, area: Area, range: Range<u32>) {
        if let Some(device) = self.devices.get(usize::from(area.device)) {
            let at = |offset: u32| area.offset.saturating_add(offset.min(area.len));
            device.watch(at(range.start)..at(range.end));
        }
    }

    /// From here on the fingerprint is kept up to date, so that asking for it is cheap.
    pub fn keep_fingerprint(&mut self) {
        self.devices.iter_mut().for_each(Device::keep_fingerprint);
    }

    /// A number for the contents of an area of whole sectors; `None` unless fingerprints are kept.
    #[must_use]
    pub fn area_fingerprint(&self, area: Area) -> Option<u128> {
        let device = self.devices.get(usize::from(area.device)).filter(|device| device.keeps_fingerprint())?;
        Some(device.fingerprint(device.sectors_of(area.offset..area.end())?))
    }

    /// From here on it is noted what is done first with each sector. `exempt`: for each device the ranges of each sector
    /// whose reads do not count.
    pub fn trace(&mut self, exempt: &[Arc<[Vec<Range<u32>>]>]) {
        for (device, exempt) in self.devices.iter_mut().zip(exempt) {
            let first = device.sectors.iter().map(|_| AtomicU8::new(0)).collect();
            device.trace = Some(Arc::new(Trace { first, exempt: Arc::clone(exempt) }));
        }
    }

    /// Sectors that were erased, since [`Flash::trace`], before anything was read there: device and index.
    pub fn erased_first(&self) -> impl Iterator<Item = (u8, usize)> {
        self.devices.iter().enumerate().flat_map(|(device, chip)| {
            let sectors = chip.trace.iter().flat_map(|trace| trace.first.iter().enumerate());
            let erased = sectors.filter(|(_, first)| first.load(Ordering::Relaxed) == ERASED);
            erased.map(move |(sector, _)| (device as u8, sector))
        })
    }

    /// What of a range of an area was torn, as ranges with offsets in it; none when some of it is not known for another
    /// reason. A copy of what was torn makes other bytes unknown in their turn, and is no read that counts.
    pub(super) fn torn_in(&self, area: Area, offset: u32, len: u32) -> Vec<(Range<u32>, Origin)> {
        let device = self.devices.get(usize::from(area.device));
        let (Some(device), Some(start)) = (device, area.offset.checked_add(offset)) else { return Vec::new() };
        device.torn_in(start..start.saturating_add(len)).unwrap_or_default()
    }

    /// Reads as a copy does.
    pub(super) fn read_unwatched(&self, area: Area, offset: u32, buffer: &mut [u8]) {
        let Some(device) = self.devices.get(usize::from(area.device)) else { return };
        let (mut at, len) = (0, buffer.len() as u32);
        device.visit(area.offset.saturating_add(offset), len, |piece| {
            buffer[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        });
    }

    pub(super) fn forget_range(&mut self, area: Area, offset: u32, len: u32, origin: Origin) {
        let Some(device) = self.devices.get_mut(usize::from(area.device)) else { return };
        let start = area.offset.saturating_add(offset);
        let pieces: Vec<_> = device.pieces(start..start.saturating_add(len)).collect();
        for (sector, from, to) in pieces {
            device.forget_range(sector, from..to, origin);
        }
    }

    /// Sectors that have been forgotten because they will be erased: device and index.
    pub fn dead(&self) -> impl Iterator<Item = (u8, usize)> {
        self.devices.iter().enumerate().flat_map(|(device, chip)| {
            let sectors = chip.sectors.iter().enumerate();
            let dead = sectors
                .filter(|(_, sector)| sector.known.as_ref().is_some_and(|known| known.others == Forgotten::Dead));
            dead.map(move |(sector, _)| (device as u8, sector))
        })
    }

    /// A hash is taken of a range of an area: whether all of it is known. What was torn there is not what it was.
    #[must_use]
    pub fn examine(&self, area: Area, range: Range<u32>) -> bool {
        let device = self.devices.get(usize::from(area.device));
        device.is_none_or(|device| {
            let at = |offset: u32| area.offset.saturating_add(offset.min(area.len));
            device.examine(at(range.start)..at(range.end))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::{Controller, Geometry, SectorRun, Uncut};

    const AREA: Area = Area { device: 0, offset: 256, len: 512 };

    fn flash() -> Flash {
        let geometry = Geometry::new(&[SectorRun { count: 4, size: 256 }], 4, 0xff).unwrap();
        let mut flash = Flash::new(vec![geometry]);
        flash.load(AREA, 0, &[7; 512]).unwrap();
        flash
    }

    #[test]
    fn what_is_not_known_is_watched() {
        for (why, examined) in [(Forgotten::Torn, None), (Forgotten::Dead, Some((0, 1, Forgotten::Dead)))] {
            let mut flash = flash();
            let before = flash.fingerprint();
            flash.device_mut(0).unwrap().forget(0, 1, [8..16, 240..256], why);
            assert_ne!(flash.fingerprint(), before);
            assert!(flash.examine(AREA, 8..16) && flash.examine(AREA, 256..512) && flash.examine(AREA, 240..256));
            assert_eq!(flash.unknown_read(), None);
            assert!(!flash.examine(AREA, 8..17) && !flash.examine(AREA, 0..512) && !flash.examine(AREA, 7..8));
            assert_eq!(flash.unknown_read(), examined);
            let flash = flash.clone();
            let mut bytes = [0; 8];
            flash.read(AREA, 8, &mut bytes).unwrap();
            flash.read(AREA, 256, &mut bytes).unwrap();
            assert_eq!((bytes, flash.unknown_read()), ([7; 8], None));
            flash.read(AREA, 100, &mut bytes).unwrap();
            assert_eq!(flash.unknown_read(), Some((0, 1, why)));
            let mut again = flash.clone();
            assert_eq!(again.unknown_read(), None);
            Controller::new(&mut again, &mut Uncut).erase(AREA, 0, 256).unwrap();
            assert!(again.examine(AREA, 0..512));
        }
    }

    #[test]
    fn a_trace_tells_what_is_erased_before_it_is_read() {
        let mut flash = flash();
        let exempt = vec![Vec::new(), vec![0..32; 1], vec![0..32; 1], Vec::new()];
        flash.trace(&[exempt.into()]);
        flash.read(AREA, 0, &mut [0; 16]).unwrap();
        flash.read(AREA, 256 + 20, &mut [0; 16]).unwrap();
        let mut uncut = Uncut;
        Controller::new(&mut flash, &mut uncut).erase(AREA, 0, 512).unwrap();
        assert_eq!(flash.erased_first().collect::<Vec<_>>(), [(0, 1)]);
    }
}
