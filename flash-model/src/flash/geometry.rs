//! The unchanging facts about a flash device.

use std::ops::Range;

use thiserror::Error;

/// Largest device that is modelled, in bytes. Keeps a mistyped layout from exhausting memory.
pub(super) const MAX_DEVICE_LEN: u64 = 256 << 20;
/// Largest number of sectors of one device.
pub(super) const MAX_SECTORS: u64 = 1 << 16;

/// `count` sectors of `size` bytes, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectorRun {
    /// How many sectors.
    pub count: u32,
    /// Bytes per sector.
    pub size: u32,
}

/// What a device does when a unit is programmed twice without an erase between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// Bits move from the erased value only, as in NOR flash: new contents are `old AND new`.
    #[default]
    Combine,
    /// The program is refused, as by flash with error correction codes.
    Refuse,
}

/// A region that may not be changed, such as the bootloader under a write-protection unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedRegion {
    /// What it is called in messages.
    pub name: String,
    /// Byte offsets from the start of the device.
    pub range: Range<u32>,
}

/// One erasable sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sector {
    /// Position among the sectors of the device.
    pub index: usize,
    /// Byte offset from the start of the device.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
}

impl Sector {
    /// Byte offset behind the last byte.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.offset + self.size
    }
}

/// A region of one device, usually a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Area {
    /// Index of the device in its [`Flash`](super::Flash).
    pub device: u8,
    /// Byte offset from the start of the device.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Area {
    /// Byte offset behind the last byte.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.offset + self.len
    }
}

/// A geometry that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GeometryError {
    /// No sectors, or a sector of size 0.
    #[error("a device needs at least one sector, and no sector may be empty")]
    Empty,
    /// Larger than this model allows.
    #[error(
        "the device has {len} bytes in {sectors} sectors; at most {MAX_DEVICE_LEN} bytes in {MAX_SECTORS} sectors are modelled"
    )]
    TooLarge {
        /// Total bytes.
        len: u64,
        /// Total sectors.
        sectors: u64,
    },
    /// The program unit is not 1, 2, 4, 8, 16 or 32.
    #[error("a program unit of {0} bytes is not possible: it is a power of two from 1 to 32")]
    ProgramUnit(u32),
    /// A sector does not hold a whole number of program units.
    #[error("a sector of {size} bytes is no multiple of the program unit of {unit} bytes")]
    SectorNotUnits {
        /// Sector size in bytes.
        size: u32,
        /// Program unit in bytes.
        unit: u32,
    },
    /// Only 0x00 and 0xff occur in real devices.
    #[error("an erased value of {0:#04x} is not possible: it is 0xff or 0x00")]
    ErasedValue(u8),
    /// A protected region reaches beyond the device.
    #[error("the protected region `{0}` is not inside the device")]
    Protected(String),
}

/// Sectors, program unit, erased value and limits of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    sectors: Vec<Sector>,
    /// Set when all sectors have the same size: index by division.
    uniform: Option<u32>,
    program_unit: u32,
    erased_value: u8,
    overwrite: Overwrite,
    endurance: Option<u32>,
    protected: Vec<ProtectedRegion>,
}

impl Geometry {
    /// A device of the given sectors, from offset 0 upwards.
    ///
    /// `program_unit` in bytes, a power of two from 1 to 32; `erased_value` 0xff or 0x00.
    ///
    /// # Errors
    /// [`GeometryError`] names what is impossible.
    pub fn new(runs: &[SectorRun], program_unit: u32, erased_value: u8) -> Result<Self, GeometryError> {
        let bytes = |run: &SectorRun| u64::from(run.count) * u64::from(run.size);
        let total = runs.iter().fold(0u64, |total, run| total.saturating_add(bytes(run)));
        let count = runs.iter().fold(0u64, |count, run| count.saturating_add(run.count.into()));
        if total == 0 || runs.iter().any(|run| run.size == 0) {
            return Err(GeometryError::Empty);
        }
        if total > MAX_DEVICE_LEN || count > MAX_SECTORS {
            return Err(GeometryError::TooLarge { len: total, sectors: count });
        }
        if !program_unit.is_power_of_two() || program_unit > 32 {
            return Err(GeometryError::ProgramUnit(program_unit));
        }
        if let Some(run) = runs.iter().find(|run| run.size % program_unit != 0) {
            return Err(GeometryError::SectorNotUnits { size: run.size, unit: program_unit });
        }
        if erased_value != 0xff && erased_value != 0x00 {
            return Err(GeometryError::ErasedValue(erased_value));
        }
        let mut sectors = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        let mut offset = 0;
        for run in runs {
            for _ in 0..run.count {
                sectors.push(Sector { index: sectors.len(), offset, size: run.size });
                offset += run.size;
            }
        }
        let first = sectors[0].size;
        let uniform = sectors.iter().all(|sector| sector.size == first).then_some(first);
        Ok(Self {
            sectors,
            uniform,
            program_unit,
            erased_value,
            overwrite: Overwrite::default(),
            endurance: None,
            protected: Vec::new(),
        })
    }

    /// Sets what a second program of the same unit does.
    #[must_use]
    pub fn with_overwrite(mut self, overwrite: Overwrite) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets the number of erase cycles after which a sector refuses further erases.
    #[must_use]
    pub fn with_endurance(mut self, cycles: u32) -> Self {
        self.endurance = Some(cycles);
        self
    }

    /// Adds a region that may not be changed.
    ///
    /// # Errors
    /// [`GeometryError::Protected`] when it is not inside the device.
    pub fn with_protected(mut self, region: ProtectedRegion) -> Result<Self, GeometryError> {
        if region.range.start > region.range.end || region.range.end > self.len() {
            return Err(GeometryError::Protected(region.name));
        }
        self.protected.push(region);
        Ok(self)
    }

    /// Size of the device in bytes.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.sectors.last().map_or(0, Sector::end)
    }

    /// Never true: a geometry has at least one sector.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// All sectors, from offset 0 upwards.
    #[must_use]
    pub fn sectors(&self) -> &[Sector] {
        &self.sectors
    }

    /// The sector that holds the byte at `offset`, if it is inside the device.
    #[must_use]
    pub fn sector_at(&self, offset: u32) -> Option<Sector> {
        if let Some(size) = self.uniform {
            return self.sectors.get((offset / size) as usize).copied();
        }
        let index = self.sectors.partition_point(|sector| sector.end() <= offset);
        self.sectors.get(index).copied()
    }

    /// Smallest programmable piece in bytes, 1 to 32.
    #[must_use]
    pub fn program_unit(&self) -> u32 {
        self.program_unit
    }

    /// Value of an erased byte.
    #[must_use]
    pub fn erased_value(&self) -> u8 {
        self.erased_value
    }

    /// What a second program of the same unit does.
    #[must_use]
    pub fn overwrite(&self) -> Overwrite {
        self.overwrite
    }

    /// Erase cycles after which a sector is worn out.
    #[must_use]
    pub fn endurance(&self) -> Option<u32> {
        self.endurance
    }

    /// Regions that may not be changed.
    #[must_use]
    pub fn protected(&self) -> &[ProtectedRegion] {
        &self.protected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_unequal_sectors() {
        let runs = [SectorRun { count: 4, size: 16384 }, SectorRun { count: 1, size: 65536 }];
        let geometry = Geometry::new(&runs, 4, 0xff).unwrap();
        assert_eq!(geometry.len(), 131_072);
        assert_eq!(geometry.sector_at(16383).unwrap().index, 0);
        assert_eq!(geometry.sector_at(16384).unwrap().index, 1);
        assert_eq!(geometry.sector_at(131_071).unwrap().index, 4);
        assert_eq!(geometry.sector_at(131_072), None);
    }

    #[test]
    fn names_what_is_impossible() {
        let run = [SectorRun { count: 2, size: 4096 }];
        assert_eq!(Geometry::new(&[], 4, 0xff), Err(GeometryError::Empty));
        assert_eq!(Geometry::new(&run, 3, 0xff), Err(GeometryError::ProgramUnit(3)));
        assert_eq!(Geometry::new(&run, 64, 0xff), Err(GeometryError::ProgramUnit(64)));
        assert_eq!(Geometry::new(&run, 4, 0x55), Err(GeometryError::ErasedValue(0x55)));
        let huge = [SectorRun { count: u32::MAX, size: u32::MAX }];
        assert!(matches!(Geometry::new(&huge, 4, 0xff), Err(GeometryError::TooLarge { .. })));
    }
}
