//! What a device with a bootloader of Nordic's is made of, and how one sees that it is whole.

use sha2::{Digest, Sha256};

use crate::boot::nordic::{MBR_SIZE, MemoryMap};
use crate::flash::Flash;
use crate::sweep::Violation;

/// An image that may be in a place, by its hash.
#[derive(Debug, Clone, Copy)]
pub(in crate::sweep) struct Print {
    len: u32,
    hash: [u8; 32],
}

impl Print {
    fn of(image: &[u8]) -> Self {
        Self { len: image.len() as u32, hash: Sha256::digest(image).into() }
    }

    pub(in crate::sweep) fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether it is at this address.
    pub(in crate::sweep) fn is_at(&self, map: &MemoryMap, flash: &Flash, address: u32) -> bool {
        map.sha256(flash, address, self.len).is_ok_and(|hash| hash == self.hash)
    }
}

/// What may be in a place: the old image if there is one, and the new one if it changes.
#[derive(Debug, Clone, Copy)]
pub(in crate::sweep) struct Part {
    pub(in crate::sweep) old: Option<Print>,
    pub(in crate::sweep) new: Option<Print>,
}

impl Part {
    /// `old` is empty for none.
    pub(in crate::sweep) fn of(old: &[u8], new: Option<&[u8]>) -> Self {
        Self { old: (!old.is_empty()).then(|| Print::of(old)), new: new.map(Print::of) }
    }

    /// Whether one of them is at an address, if there is any.
    fn is_at(&self, map: &MemoryMap, flash: &Flash, address: u32) -> bool {
        let mut all = [self.old, self.new].into_iter().flatten().peekable();
        all.peek().is_none() || all.any(|print| print.is_at(map, flash, address))
    }

    /// Whether the new one is at an address, if it changes.
    fn is_updated_at(&self, map: &MemoryMap, flash: &Flash, address: u32) -> bool {
        self.new.is_none_or(|print| print.is_at(map, flash, address))
    }
}

/// All of a device.
#[derive(Debug, Clone)]
pub(in crate::sweep) struct Parts {
    map: MemoryMap,
    region_end: u32,
    softdevice: Part,
    bootloader: Part,
    untouched: u128,
}

impl Parts {
    /// `region_end`: the address behind what an update may use.
    pub(in crate::sweep) fn new(
        map: &MemoryMap,
        region_end: u32,
        flash: &Flash,
        softdevice: Part,
        bootloader: Part,
    ) -> Self {
        let mut parts = Self { map: *map, region_end, softdevice, bootloader, untouched: 0 };
        parts.untouched = parts.untouched_print(flash);
        parts
    }

    /// A number for what must stay as it is.
    fn untouched_print(&self, flash: &Flash) -> u128 {
        let page = self.map.page();
        let Some(device) = flash.devices().get(usize::from(self.map.device())) else { return 0 };
        let pages = |from: u32, to: u32| device.fingerprint((from / page) as usize..(to / page) as usize);
        pages(0, MBR_SIZE) ^ pages(self.region_end, self.map.bootloader().offset)
    }

    /// What must hold after every boot, whatever its outcome.
    pub(in crate::sweep) fn judge(&self, flash: &Flash) -> Result<(), Violation> {
        if !self.bootloader.is_at(&self.map, flash, self.map.bootloader().offset) {
            let what = "the bootloader area holds neither the old nor the new bootloader";
            return Err(Violation::new("bootloader", what));
        }
        if self.untouched_print(flash) != self.untouched {
            return Err(Violation::new("untouched", "MBR or application data have changed"));
        }
        Ok(())
    }

    /// What must hold where an application or DFU mode starts.
    pub(in crate::sweep) fn judge_softdevice(&self, flash: &Flash) -> Result<(), Violation> {
        if !self.softdevice.is_at(&self.map, flash, MBR_SIZE) {
            return Err(Violation::new("softdevice", "the SoftDevice is neither the old nor the new one"));
        }
        Ok(())
    }

    /// Whether all of the update but the application is in its place.
    pub(in crate::sweep) fn are_updated(&self, flash: &Flash) -> bool {
        self.softdevice.is_updated_at(&self.map, flash, MBR_SIZE)
            && self.bootloader.is_updated_at(&self.map, flash, self.map.bootloader().offset)
    }
}

/// Loads an application of a device as it leaves the factory; its size.
///
/// # Errors
/// What does not fit.
pub(in crate::sweep) fn load_application(
    map: &MemoryMap,
    region_end: u32,
    flash: &mut Flash,
    start: u32,
    application: &[u8],
) -> Result<u32, String> {
    let size = u32::try_from(application.len()).unwrap_or(u32::MAX);
    if start.checked_add(size).is_none_or(|end| end > region_end) {
        return Err(format!("an application of {size:#x} bytes at {start:#x} reaches into the application data"));
    }
    flash.load(map.whole(), start, application).map_err(|error| error.to_string())?;
    Ok(size)
}
