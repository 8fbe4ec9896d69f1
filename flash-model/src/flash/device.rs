//! The contents of flash devices.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest, Sha256};
use twox_hash::XxHash3_128;

use super::sectors::Sectors;
use super::unknown::{Known, Trace, Watch};
use super::{Area, FlashError, Geometry, Operation, OperationKind, Overwrite, Refusal, Tear};

/// The bytes of one sector and which of its units have been programmed since the last erase.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) bytes: Box<[u8]>,
    /// One bit per program unit. Kept apart from the bytes: a unit programmed with the erased value
    /// looks erased and still must not be programmed again.
    pub(super) programmed: Box<[u64]>,
    /// What of the bytes is known; `None` for all of them.
    pub(super) known: Option<Known>,
    /// Filled when it is asked for, emptied when the contents change.
    fingerprint: OnceLock<u128>,
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.programmed == other.programmed && self.known == other.known
    }
}

impl Eq for Contents {}

impl Hash for Contents {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint().hash(state);
    }
}

impl Contents {
    fn erased(size: u32, geometry: &Geometry) -> Self {
        let units = size.div_ceil(geometry.program_unit()) as usize;
        Self {
            bytes: vec![geometry.erased_value(); size as usize].into(),
            programmed: vec![0; units.div_ceil(64)].into(),
            known: None,
            fingerprint: OnceLock::new(),
        }
    }

    /// The contents of a sector, to be changed.
    pub(super) fn change(sector: &mut Arc<Self>) -> &mut Self {
        let contents = Arc::make_mut(sector);
        contents.fingerprint.take();
        contents
    }

    /// Which units are programmed is left out: it matters where they cannot be programmed again.
    fn fingerprint(&self) -> u128 {
        *self.fingerprint.get_or_init(|| {
            let print = XxHash3_128::oneshot(&self.bytes);
            let Some(known) = &self.known else { return print };
            let ranges = known.ranges.iter().map(|range| u128::from(range.start) << 32 | u128::from(range.end));
            ranges.fold(fold(print, known.others as u128 + 1), fold)
        })
    }

    /// Marks the units of `from..to` (byte offsets in the sector) and says how many of these bytes
    /// lie in units that were marked before.
    fn mark(&mut self, from: u32, to: u32, unit: u32) -> u32 {
        let mut again = 0;
        for index in from / unit..to.div_ceil(unit) {
            let (word, bit) = ((index / 64) as usize, 1u64 << (index % 64));
            if self.programmed[word] & bit != 0 {
                let start = (index * unit).max(from);
                again += ((index + 1) * unit).min(to) - start;
            }
            self.programmed[word] |= bit;
        }
        again
    }

    fn first_programmed(&self, from: u32, to: u32, unit: u32) -> Option<u32> {
        (from / unit..to.div_ceil(unit))
            .find(|index| self.programmed[(index / 64) as usize] & (1 << (index % 64)) != 0)
            .map(|index| index * unit)
    }
}

/// What fails in a region that has gone bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// Programs are refused and change nothing.
    Program,
    /// Erases are refused and change nothing.
    Erase,
    /// Bytes cannot be read.
    Read,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Program => "cannot be programmed any more",
            Self::Erase => "cannot be erased any more",
            Self::Read => "cannot be read any more",
        })
    }
}

/// Regions of one device that may go bad.
const DAMAGED_MAX: usize = 64;

/// The fingerprint of a whole device.
#[derive(Debug, Clone, Copy)]
struct Sum {
    /// Without the sector that was changed last.
    rest: u128,
    changed: Option<usize>,
}

/// One flash chip.
///
/// Sectors are shared between clones until one of them changes a sector.
#[derive(Debug, Clone)]
pub struct Device {
    geometry: Arc<Geometry>,
    /// What an erased sector looks like, for each sector size: erasing shares it.
    erased: Arc<[(u32, Arc<Contents>)]>,
    /// Sectors of which nothing is known, made when they are first wanted: forgetting a sector shares one.
    pub(super) forgotten: Arc<[[OnceLock<Arc<Contents>>; 2]]>,
    pub(super) sectors: Sectors,
    /// Kept while an exploration wants it.
    sum: Option<Sum>,
    wear: Arc<Vec<u32>>,
    reprogrammed: u64,
    damaged: Vec<(std::ops::Range<u32>, Damage)>,
    pub(super) watch: Watch,
    pub(super) trace: Option<Arc<Trace>>,
}

impl Device {
    /// An erased device.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        let mut erased: Vec<(u32, Arc<Contents>)> = Vec::new();
        let mut sectors = Vec::with_capacity(geometry.sectors().len());
        for sector in geometry.sectors() {
            let known = erased.iter().find(|(size, _)| *size == sector.size);
            let contents = if let Some((_, contents)) = known {
                Arc::clone(contents)
            } else {
                let contents = Arc::new(Contents::erased(sector.size, &geometry));
                erased.push((sector.size, Arc::clone(&contents)));
                contents
            };
            sectors.push(contents);
        }
        let wear = Arc::new(vec![0; sectors.len()]);
        Self {
            geometry: Arc::new(geometry),
            erased: erased.into(),
            forgotten: sectors.iter().map(|_| Default::default()).collect(),
            sectors: sectors.into_iter().collect(),
            sum: None,
            wear,
            reprogrammed: 0,
            damaged: Vec::new(),
            watch: Watch::default(),
            trace: None,
        }
    }

    /// Sectors, program unit, erased value and limits.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Erase cycles of each sector.
    #[must_use]
    pub fn wear(&self) -> &[u32] {
        &self.wear
    }

    /// Bytes that were programmed again without an erase between, over the life of the device.
    #[must_use]
    pub fn reprogrammed(&self) -> u64 {
        self.reprogrammed
    }

    /// A region goes bad for good. Of more than 64 regions the latest count.
    pub fn damage(&mut self, range: std::ops::Range<u32>, damage: Damage) {
        if self.damaged.len() >= DAMAGED_MAX {
            self.damaged.remove(0);
        }
        self.damaged.push((range, damage));
    }

    fn is_damaged(&self, offset: u32, end: u32, damage: Damage) -> bool {
        self.damaged.iter().any(|(range, kind)| *kind == damage && offset < range.end && range.start < end)
    }

    /// Reads `buffer.len()` bytes at `offset`; `false` when they are not all inside the device.
    #[must_use]
    pub fn read(&self, offset: u32, buffer: &mut [u8]) -> bool {
        let Some(end) = u32::try_from(buffer.len()).ok().and_then(|len| offset.checked_add(len)) else {
            return false;
        };
        if end > self.geometry.len() || self.is_damaged(offset, end, Damage::Read) {
            return false;
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let Some(sector) = self.geometry.sector_at(at) else { return false };
            let from = (at - sector.offset) as usize;
            let take = rest.len().min((sector.end() - at) as usize);
            let (head, tail) = rest.split_at_mut(take);
            let contents = &self.sectors[sector.index];
            if contents.known.is_some() || self.trace.is_some() {
                self.watch(at..at + take as u32);
            }
            head.copy_from_slice(&contents.bytes[from..from + take]);
            at = sector.offset + (from + take) as u32;
            rest = tail;
        }
        true
    }

    /// Calls `visit` with the pieces of `offset..offset + len`, in order and without copying.
    ///
    /// `false` when the range is not inside the device; nothing is visited then.
    pub fn visit(&self, offset: u32, len: u32, mut visit: impl FnMut(&[u8])) -> bool {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.geometry.len()) else {
            return false;
        };
        if self.is_damaged(offset, end, Damage::Read) {
            return false;
        }
        let mut at = offset;
        while at < end {
            let Some(sector) = self.geometry.sector_at(at) else { return false };
            let stop = sector.end().min(end);
            visit(&self.sectors[sector.index].bytes[(at - sector.offset) as usize..(stop - sector.offset) as usize]);
            at = stop;
        }
        true
    }

    /// A number that is the same for the same bytes, of these sectors. Where a unit must not be programmed twice, which
    /// ones are programmed is part of it. Not made to withstand an adversary.
    #[must_use]
    pub fn fingerprint(&self, sectors: std::ops::Range<usize>) -> u128 {
        sectors.fold(0, |sum, index| sum ^ self.term(index))
    }

    /// The term of one sector in the fingerprint.
    fn term(&self, index: usize) -> u128 {
        let Some(sector) = self.sectors.get(index) else { return 0 };
        let mut print = sector.fingerprint();
        if self.geometry.overwrite() == Overwrite::Refuse {
            for word in &*sector.programmed {
                print = fold(print, u128::from(*word));
            }
        }
        fold(print, index as u128 + 1)
    }

    /// From here on the fingerprint of the whole device is kept up to date.
    pub(super) fn keep_fingerprint(&mut self) {
        let rest = (0..self.sectors.len()).fold(0, |sum, index| sum ^ self.term(index));
        self.sum = Some(Sum { rest, changed: None });
    }

    pub(super) fn keeps_fingerprint(&self) -> bool {
        self.sum.is_some()
    }

    pub(super) fn whole_fingerprint(&self) -> u128 {
        match self.sum {
            Some(Sum { rest, changed: None }) => rest,
            Some(Sum { rest, changed: Some(index) }) => rest ^ self.term(index),
            None => self.fingerprint(0..self.sectors.len()),
        }
    }

    /// A sector, to be changed.
    pub(super) fn sector_mut(&mut self, index: usize) -> &mut Arc<Contents> {
        if let Some(Sum { rest, changed }) = self.sum
            && changed != Some(index)
        {
            let before = changed.map_or(0, |index| self.term(index));
            self.sum = Some(Sum { rest: rest ^ before ^ self.term(index), changed: Some(index) });
        }
        self.sectors.get_mut(index)
    }

    /// SHA-256 of the whole device.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for sector in self.sectors.iter() {
            hash.update(&sector.bytes);
        }
        hash.finalize().into()
    }

    /// A copy of all bytes, from offset 0.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        self.sectors.iter().flat_map(|sector| sector.bytes.iter().copied()).collect()
    }

    /// Replaces bytes from outside, as a debugger or a flash programmer does: no rules, no wear.
    ///
    /// Units whose bytes are all erased afterwards count as erased. `false` when the range is not
    /// inside the device.
    #[must_use]
    pub fn load(&mut self, offset: u32, data: &[u8]) -> bool {
        let Some(end) = u32::try_from(data.len()).ok().and_then(|len| offset.checked_add(len)) else {
            return false;
        };
        if end > self.geometry.len() {
            return false;
        }
        let unit = self.geometry.program_unit();
        let erased = self.geometry.erased_value();
        let mut at = offset;
        while at < end {
            let Some(sector) = self.geometry.sector_at(at) else { return false };
            let stop = sector.end().min(end);
            let (from, to) = (at - sector.offset, stop - sector.offset);
            if let Some(trace) = &self.trace {
                trace.note_load(sector.index, to - from == sector.size);
            }
            let contents = Contents::change(self.sector_mut(sector.index));
            if to - from == sector.size {
                contents.known = None;
            }
            contents.bytes[from as usize..to as usize]
                .copy_from_slice(&data[(at - offset) as usize..(stop - offset) as usize]);
            for index in from / unit..to.div_ceil(unit) {
                let range = (index * unit) as usize..((index + 1) * unit).min(sector.size) as usize;
                let (word, bit) = ((index / 64) as usize, 1u64 << (index % 64));
                if contents.bytes[range].iter().all(|byte| *byte == erased) {
                    contents.programmed[word] &= !bit;
                } else {
                    contents.programmed[word] |= bit;
                }
            }
            at = stop;
        }
        true
    }

    /// Makes these sectors those of another device with this geometry, as [`Device::load`] of their bytes would.
    pub(super) fn share(&mut self, other: &Self, sectors: std::ops::Range<usize>) {
        for index in sectors {
            let Some(sector) = other.sectors.get(index) else { return };
            if let Some(trace) = &self.trace {
                trace.note_load(index, true);
            }
            if !self.sectors.get(index).is_some_and(|here| Arc::ptr_eq(here, sector)) {
                *self.sector_mut(index) = Arc::clone(sector);
            }
        }
    }

    /// Whether an erase of this range is allowed.
    pub(super) fn check_erase(&self, device: u8, offset: u32, len: u32) -> Result<(), Refusal> {
        self.check_range(device, offset, len)?;
        let first = self.geometry.sector_at(offset);
        let last = self.geometry.sector_at((offset + len).saturating_sub(1));
        let whole = len > 0
            && first.is_some_and(|sector| sector.offset == offset)
            && last.is_some_and(|sector| sector.end() == offset + len);
        if !whole {
            return Err(Refusal::NotWholeSectors { offset, len });
        }
        if self.is_damaged(offset, offset + len, Damage::Erase) {
            return Err(Refusal::Failed { offset, len });
        }
        if let Some(cycles) = self.geometry.endurance() {
            let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
            for sector in &self.geometry.sectors()[first.index..=last.index] {
                if self.wear[sector.index] >= cycles {
                    return Err(Refusal::WornOut { offset: sector.offset, cycles });
                }
            }
        }
        Ok(())
    }

    /// Whether a program of this range is allowed.
    pub(super) fn check_program(&self, device: u8, offset: u32, len: u32) -> Result<(), Refusal> {
        self.check_range(device, offset, len)?;
        let unit = self.geometry.program_unit();
        if !offset.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(Refusal::Unaligned { offset, len, unit });
        }
        if self.is_damaged(offset, offset + len, Damage::Program) {
            return Err(Refusal::Failed { offset, len });
        }
        if self.geometry.overwrite() == Overwrite::Refuse {
            let mut at = offset;
            while at < offset + len {
                let Some(sector) = self.geometry.sector_at(at) else { break };
                let stop = sector.end().min(offset + len);
                let contents = &self.sectors[sector.index];
                if contents.known.is_some() {
                    self.watch(at..stop);
                }
                if let Some(unit) = contents.first_programmed(at - sector.offset, stop - sector.offset, unit) {
                    return Err(Refusal::AlreadyProgrammed { offset: sector.offset + unit });
                }
                at = stop;
            }
        }
        Ok(())
    }

    fn check_range(&self, device: u8, offset: u32, len: u32) -> Result<(), Refusal> {
        if offset.checked_add(len).is_none_or(|end| end > self.geometry.len()) {
            return Err(Refusal::OutOfRange { device, offset: offset.into(), len: len.into() });
        }
        let touched = |range: &std::ops::Range<u32>| offset < range.end && range.start < offset + len;
        match self.geometry.protected().iter().find(|region| touched(&region.range)) {
            Some(region) => Err(Refusal::Protected { offset, len, region: region.name.clone() }),
            None => Ok(()),
        }
    }

    /// Erases checked sectors; with a tear, only a part of their bytes.
    pub(super) fn erase(&mut self, offset: u32, len: u32, tear: Option<Tear>) {
        let (Some(first), Some(last)) =
            (self.geometry.sector_at(offset), self.geometry.sector_at((offset + len).saturating_sub(1)))
        else {
            return;
        };
        let geometry = Arc::clone(&self.geometry);
        for sector in &geometry.sectors()[first.index..=last.index] {
            let wear = &mut Arc::make_mut(&mut self.wear)[sector.index];
            *wear = wear.saturating_add(1);
            self.trace_erase(sector.index);
            match tear {
                None => *self.sector_mut(sector.index) = self.erased_contents(sector.size),
                Some(tear) => self.tear_erase(sector.index, sector.offset - offset, len, tear),
            }
        }
    }

    /// Whether these are the contents that all sectors share since they were erased.
    pub(super) fn is_shared_erased(&self, sector: &Arc<Contents>) -> bool {
        self.erased.iter().any(|(_, erased)| Arc::ptr_eq(sector, erased))
    }

    fn erased_contents(&self, size: u32) -> Arc<Contents> {
        let known = self.erased.iter().find(|(known, _)| *known == size);
        known.map_or_else(|| Arc::new(Contents::erased(size, &self.geometry)), |(_, contents)| Arc::clone(contents))
    }

    /// `start` is the offset of the sector inside the erase of `len` bytes.
    ///
    /// The whole sector counts as programmed afterwards: no bootloader may trust a half-erased one.
    fn tear_erase(&mut self, index: usize, start: u32, len: u32, tear: Tear) {
        let erased = self.geometry.erased_value();
        let contents = Contents::change(self.sector_mut(index));
        for (position, byte) in contents.bytes.iter_mut().enumerate() {
            let at = start + position as u32;
            match tear {
                Tear::Prefix(n) if at < n => *byte = erased,
                Tear::Suffix(n) if at >= len.saturating_sub(n) => *byte = erased,
                Tear::Prefix(_) | Tear::Suffix(_) => {}
                Tear::Bits(mask) => *byte = (*byte & !mask) | (erased & mask),
                Tear::Garbage => *byte = mix(0, at) as u8,
                Tear::Noise(seed) => {
                    let noise = mix(seed, at);
                    if noise & 0x100 != 0 {
                        *byte = if noise & 0x200 != 0 { erased } else { noise as u8 };
                    }
                }
            }
        }
        contents.programmed.fill(u64::MAX);
    }

    /// Programs checked bytes; with a tear, only a part of them.
    pub(super) fn program(&mut self, offset: u32, data: &[u8], tear: Option<Tear>) {
        let geometry = Arc::clone(&self.geometry);
        let ones = geometry.erased_value() == 0xff;
        let len = data.len() as u32;
        let end = offset + len;
        let mut at = offset;
        let mut again = 0;
        while at < end {
            let Some(sector) = geometry.sector_at(at) else { break };
            let stop = sector.end().min(end);
            let (from, to) = (at - sector.offset, stop - sector.offset);
            if self.trace.is_some() {
                // What it leaves depends on what stands there.
                self.watch(at..stop);
            }
            let contents = Contents::change(self.sector_mut(sector.index));
            again += u64::from(contents.mark(from, to, geometry.program_unit()));
            let target = &mut contents.bytes[from as usize..to as usize];
            let source = &data[(at - offset) as usize..(stop - offset) as usize];
            match tear {
                None if ones => target.iter_mut().zip(source).for_each(|(old, new)| *old &= new),
                None => target.iter_mut().zip(source).for_each(|(old, new)| *old |= new),
                Some(tear) => {
                    for (position, (old, new)) in target.iter_mut().zip(source).enumerate() {
                        let index = at - offset + position as u32;
                        let mask = match tear {
                            Tear::Prefix(n) => {
                                if index < n {
                                    0xff
                                } else {
                                    0
                                }
                            }
                            Tear::Suffix(n) => {
                                if index >= len.saturating_sub(n) {
                                    0xff
                                } else {
                                    0
                                }
                            }
                            Tear::Bits(mask) => mask,
                            Tear::Garbage => mix(0, index) as u8,
                            Tear::Noise(seed) => mix(seed, index) as u8,
                        };
                        // Bits outside the mask were not reached.
                        if ones { *old &= new | !mask } else { *old |= new & mask }
                    }
                }
            }
            at = stop;
        }
        self.reprogrammed += again;
    }
}

impl PartialEq for Device {
    /// Equal contents: bytes and which units are programmed. Wear does not count.
    fn eq(&self, other: &Self) -> bool {
        self.geometry == other.geometry && self.sectors == other.sectors
    }
}

impl Eq for Device {}

/// Every flash device of a board: what survives a power loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flash {
    pub(super) devices: Vec<Device>,
}

impl Flash {
    /// Erased devices, in this order.
    #[must_use]
    pub fn new(geometries: Vec<Geometry>) -> Self {
        Self { devices: geometries.into_iter().map(Device::new).collect() }
    }

    /// The devices, in the order of the layout.
    #[must_use]
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device at `index`, to be changed from outside.
    #[must_use]
    pub fn device_mut(&mut self, index: u8) -> Option<&mut Device> {
        self.devices.get_mut(usize::from(index))
    }

    /// A number that is the same for the same contents: what an exploration recognises states by.
    #[must_use]
    pub fn fingerprint(&self) -> u128 {
        let devices = self.devices.iter().enumerate();
        devices.fold(0, |sum, (index, device)| sum ^ fold(device.whole_fingerprint(), index as u128 + 1))
    }

    /// Reads from an area.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] when the range is not inside the area or its device.
    pub fn read(&self, area: Area, offset: u32, buffer: &mut [u8]) -> Result<(), FlashError> {
        let fault = || FlashError::ReadFault {
            device: area.device,
            offset: u64::from(area.offset) + u64::from(offset),
            len: buffer.len() as u64,
        };
        if u64::from(offset) + buffer.len() as u64 > u64::from(area.len) {
            return Err(fault());
        }
        let fault = fault();
        let device = self.devices.get(usize::from(area.device)).ok_or_else(|| fault.clone())?;
        let start = area.offset.checked_add(offset).ok_or_else(|| fault.clone())?;
        if device.read(start, buffer) { Ok(()) } else { Err(fault) }
    }

    /// What a torn operation leaves; `None` when the device would refuse it.
    #[must_use]
    pub fn torn(&self, operation: &Operation<'_>, tear: Tear) -> Option<Self> {
        let mut torn = self.clone();
        let (device, offset, len) = (operation.device, operation.offset, operation.len());
        let chip = torn.devices.get_mut(usize::from(device))?;
        match operation.kind {
            OperationKind::Erase { .. } => {
                chip.check_erase(device, offset, len).ok()?;
                chip.erase(offset, len, Some(tear));
            }
            OperationKind::Program { data } => {
                chip.check_program(device, offset, len).ok()?;
                chip.program(offset, data, Some(tear));
            }
        }
        Some(torn)
    }

    /// The whole contents of an area.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] when the area is not inside its device.
    pub fn read_area(&self, area: Area) -> Result<Vec<u8>, FlashError> {
        let mut bytes = vec![0; area.len as usize];
        self.read(area, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes an area of whole sectors what it is in another flash of this board, as [`Flash::load`] of its bytes would; the
    /// two share it.
    pub fn share(&mut self, other: &Self, area: Area) {
        let index = usize::from(area.device);
        if let (Some(device), Some(other)) = (self.devices.get_mut(index), other.devices.get(index))
            && let Some(sectors) = other.sectors_of(area.offset..area.end())
        {
            device.share(other, sectors);
        }
    }

    /// Replaces bytes of an area from outside: no rules, no wear.
    ///
    /// # Errors
    /// [`Refusal::OutOfRange`] when the range is not inside the area or its device.
    pub fn load(&mut self, area: Area, offset: u32, data: &[u8]) -> Result<(), Refusal> {
        let range = Refusal::OutOfRange {
            device: area.device,
            offset: u64::from(area.offset) + u64::from(offset),
            len: data.len() as u64,
        };
        if u64::from(offset) + data.len() as u64 > u64::from(area.len) {
            return Err(range);
        }
        let device = self.devices.get_mut(usize::from(area.device)).ok_or_else(|| range.clone())?;
        match area.offset.checked_add(offset) {
            Some(start) if device.load(start, data) => Ok(()),
            _ => Err(range),
        }
    }
}

/// One number from two, of which each bit depends on all of theirs.
pub(crate) fn fold(one: u128, other: u128) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mixed = (one ^ other.wrapping_mul(ODD)).wrapping_mul(ODD);
    let mixed = (mixed ^ (mixed >> 67)).wrapping_mul(ODD);
    mixed ^ (mixed >> 59)
}

/// A reproducible 64-bit mix of seed and position (SplitMix64).
pub(super) fn mix(seed: u64, position: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(position).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
