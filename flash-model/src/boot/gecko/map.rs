//! Where everything lies. Addresses are those of the processor.
//!
//! | partition | what it is |
//! |---|---|
//! | `bootloader` | the bootloader: at the start of the main flash, or a device of its own (the information block of some Series 1 chips) |
//! | `application` | the application, from where the bootloader or an AppLoader ends; also what an AppLoader may program |
//! | `slot-0` to `slot-2` | storage slots, within the main flash, behind `application` |
//!
//! What an AppLoader may program reaches to the end of the flash, over everything behind `application`
//! (`BTL_APP_SPACE_SIZE`).

use crate::flash::{Area, Flash, FlashError};
use crate::layout::Layout;
use crate::source::Mistake;

/// Most storage slots.
const SLOTS_MAX: usize = 3;

/// A range of addresses on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    device: u8,
    base: u32,
    len: u32,
}

impl Block {
    fn area(self) -> Area {
        Area { device: self.device, offset: 0, len: self.len }
    }

    /// The offset of an address in it, if all of `len` bytes are.
    fn offset(self, address: u32, len: u32) -> Option<u32> {
        let offset = address.checked_sub(self.base)?;
        offset.checked_add(len).filter(|end| *end <= self.len).map(|_| offset)
    }
}

/// A storage slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Its first address.
    pub address: u32,
    /// Its size in bytes.
    pub len: u32,
}

/// Where everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap {
    main: Block,
    page: u32,
    /// Where the bootloader is, if not in the main flash.
    own: Option<Block>,
    bootloader: (u32, u32),
    application: u32,
    application_len: u32,
    slots: Vec<Slot>,
}

impl MemoryMap {
    /// The map of a layout.
    ///
    /// # Errors
    /// A [`Mistake`] when a partition is missing or is not where it has to be.
    pub fn new(layout: &Layout) -> Result<Self, Mistake> {
        let wrong = |message: String| Mistake::new(format!("layout `{}`", layout.name), message);
        let area = |name: &str| {
            layout.area(name).ok_or_else(|| {
                wrong(format!("a Gecko bootloader needs a partition `{name}`"))
                    .remedy("bootloader, application, and slot-0, slot-1, slot-2 for a storage bootloader")
            })
        };
        let block = |device: u8| {
            let spec = layout.devices.get(usize::from(device)).ok_or_else(|| wrong("no device".into()))?;
            if spec.geometry.erased_value() != 0xff || spec.geometry.program_unit() > 4 {
                return Err(wrong(format!(
                    "`{}` must be written in words of 4 bytes or less, erased to 0xff",
                    spec.name
                )));
            }
            if spec.base.checked_add(spec.geometry.len()).is_none() {
                return Err(wrong(format!("`{}` ends behind the last address", spec.name)));
            }
            Ok(Block { device, base: spec.base, len: spec.geometry.len() })
        };
        let (bootloader, application) = (area("bootloader")?, area("application")?);
        let main = block(application.device)?;
        let sectors = layout.devices.get(usize::from(application.device)).map(|spec| spec.geometry.sectors());
        let page = sectors.and_then(|sectors| sectors.first().map(|sector| sector.size)).unwrap_or(0);
        if sectors.is_none_or(|sectors| sectors.iter().any(|sector| sector.size != page)) || page < 64 {
            return Err(wrong("the pages of the main flash are not all of one size, of 64 bytes or more".into()));
        }
        let own = if bootloader.device == application.device { None } else { Some(block(bootloader.device)?) };
        let base = own.map_or(main.base, |own| own.base);
        let mut slots = Vec::new();
        for n in 0..SLOTS_MAX {
            let Some(slot) = layout.area(&format!("slot-{n}")) else { break };
            if slot.device != application.device || slot.offset < application.end() {
                return Err(wrong(format!("`slot-{n}` must be behind `application`, in the same flash")));
            }
            slots.push(Slot { address: main.base + slot.offset, len: slot.len });
        }
        Ok(Self {
            main,
            page,
            own,
            bootloader: (base + bootloader.offset, bootloader.len),
            application: main.base + application.offset,
            application_len: application.len,
            slots,
        })
    }

    /// Size of a page in bytes (`FLASH_PAGE_SIZE`).
    #[must_use]
    pub fn page(&self) -> u32 {
        self.page
    }

    /// First address of the main flash (`FLASH_BASE`).
    #[must_use]
    pub fn flash_base(&self) -> u32 {
        self.main.base
    }

    /// The address behind the main flash.
    #[must_use]
    pub fn flash_end(&self) -> u32 {
        self.main.base + self.main.len
    }

    /// First address of the bootloader's main stage, and its size (`BTL_MAIN_STAGE_BASE`).
    #[must_use]
    pub fn bootloader(&self) -> (u32, u32) {
        self.bootloader
    }

    /// First address of the bootloader's main stage (`BTL_MAIN_STAGE_BASE`).
    #[must_use]
    pub fn main_stage(&self) -> u32 {
        self.bootloader.0
    }

    /// First address of the application (`startOfAppSpace`).
    #[must_use]
    pub fn application_start(&self) -> u32 {
        self.application
    }

    /// The address behind all that an application may have (`endOfAppSpace`).
    #[must_use]
    pub fn application_end(&self) -> u32 {
        self.flash_end()
    }

    /// Size of the partition of the application in bytes.
    #[must_use]
    pub fn application_len(&self) -> u32 {
        self.application_len
    }

    /// The storage slots.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The area that an address is in, with the offset there, if all of `len` bytes are.
    #[must_use]
    pub fn place(&self, address: u32, len: u32) -> Option<(Area, u32)> {
        let blocks = [Some(self.main), self.own].into_iter().flatten();
        blocks.into_iter().find_map(|block| Some((block.area(), block.offset(address, len)?)))
    }

    fn found(&self, address: u32, len: u32) -> Result<(Area, u32), FlashError> {
        let fault = FlashError::ReadFault { device: self.main.device, offset: address.into(), len: len.into() };
        self.place(address, len).ok_or(fault)
    }

    /// Reads bytes at an address.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`] outside of the flash, where the processor would take a fault.
    pub fn read(&self, flash: &Flash, address: u32, buffer: &mut [u8]) -> Result<(), FlashError> {
        let (area, offset) = self.found(address, u32::try_from(buffer.len()).unwrap_or(u32::MAX))?;
        flash.read(area, offset, buffer)
    }

    /// Reads a little-endian word.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn word(&self, flash: &Flash, address: u32) -> Result<u32, FlashError> {
        let mut word = [0; 4];
        self.read(flash, address, &mut word)?;
        Ok(u32::from_le_bytes(word))
    }

    /// Calls `piece` with the bytes of a range in order. What an exploration has forgotten there counts as anything but
    /// what it was.
    ///
    /// # Errors
    /// As [`MemoryMap::read`].
    pub fn visit(&self, flash: &Flash, address: u32, len: u32, piece: impl FnMut(&[u8])) -> Result<(), FlashError> {
        let (area, offset) = self.found(address, len)?;
        let _ = flash.examine(area, offset..offset.saturating_add(len));
        let visited = flash.devices().get(usize::from(area.device)).is_some_and(|d| d.visit(offset, len, piece));
        if visited { Ok(()) } else { self.found(u32::MAX, u32::MAX).map(|_| ()) }
    }
}
