//! Storage slots: what a bootloader installs from them, and what an application does with them (simplicity sdk:
//! `btl_storage.c`, `btl_storage_library.c`, `btl_storage_internal_flash.c`).
//!
//! An update, when the application is the only thing in the file:
//!
//! | step | application | slot |
//! |---|---|---|
//! | the slot is erased, then the file comes in | old | new, in part |
//! | the bootloader is entered | old | new |
//! | the slot is verified | old | new |
//! | it is installed | pages are erased and programmed; the program counter stays 0xffffffff | new |
//! | its end is reached | **new**: the program counter comes last | new |
//!
//! So a power loss in the middle of the installation leaves an application without a program counter, which brings the
//! device back to the bootloader, and that installs it again. Verifying does not decompress: data that is compressed and
//! wrong under a good CRC is found when the old application is gone.

use super::{
    Callbacks, Code, Contents, Decision, Decompressor, Entry, Gecko, ImageProperties, Outcome, Parser, Slot, Stop,
    Taker,
};
use crate::flash::{Controller, Flash, FlashError};

/// Bytes of a slot that are read at once (`BTL_STORAGE_READ_BUFFER_SIZE`).
const READ_BUFFER: u32 = 128;

/// Why an application cannot write a slot (`BOOTLOADER_ERROR_STORAGE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotError {
    /// There is no such slot.
    InvalidSlot,
    /// Not within the slot, or not in whole words; or the flash refuses.
    InvalidAddress,
    /// It is not erased.
    NeedsErase,
}

impl SlotError {
    /// The number.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::InvalidSlot => 0x0401,
            Self::InvalidAddress => 0x0402,
            Self::NeedsErase => 0x0403,
        }
    }
}

/// A slot that is being read.
#[derive(Debug, Clone)]
pub struct Verification {
    slot: Slot,
    offset: u32,
    parser: Parser,
    decompressor: Decompressor,
    properties: ImageProperties,
    code: Option<Code>,
}

impl Verification {
    fn new(slot: Slot, custom_tags: bool, instructions: Contents) -> Self {
        Self {
            slot,
            offset: 0,
            parser: Parser::new(custom_tags),
            decompressor: Decompressor::default(),
            properties: ImageProperties { instructions, ..ImageProperties::default() },
            code: None,
        }
    }

    /// What is known of the file.
    #[must_use]
    pub fn properties(&self) -> &ImageProperties {
        &self.properties
    }

    /// Why it was refused.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    fn good(&self) -> bool {
        self.properties.completed && self.properties.verified
    }

    /// The next bytes of the slot (`advanceParser`).
    fn advance(&mut self, gecko: &Gecko, flash: &mut Controller<'_>, callbacks: Callbacks) -> Result<(), Stop> {
        if gecko.options().series_2 && callbacks.bootloader {
            let upgrade = gecko.upgrade_location();
            let start = self.slot.address.wrapping_add(self.offset);
            let inside = upgrade >= start && upgrade < start.wrapping_add(READ_BUFFER);
            let below = upgrade < start && upgrade.wrapping_add(gecko.options().upgrade_size) > start;
            if inside || below {
                self.code = Some(Code::Overlap);
                return Ok(());
            }
        }
        let len = READ_BUFFER.min(self.slot.len.saturating_sub(self.offset));
        let mut bytes = vec![0; len as usize];
        gecko.map().read(flash.flash(), self.slot.address.wrapping_add(self.offset), &mut bytes)?;
        let mut taker =
            Taker { gecko, flash, callbacks, properties: &mut self.properties, decompressor: &mut self.decompressor };
        self.code = self.parser.parse(&bytes, &mut taker)?.err();
        self.offset = self.offset.saturating_add(READ_BUFFER);
        Ok(())
    }

    /// The next bytes of the slot, without an effect (`storage_verifySlot`). `None`: there is more to read.
    ///
    /// # Errors
    /// What stops the flash.
    pub fn step(&mut self, gecko: &Gecko, flash: &mut Controller<'_>) -> Result<Option<bool>, Stop> {
        if self.code.is_none() && self.offset < self.slot.len {
            self.advance(gecko, flash, Callbacks::default())?;
            return Ok(self.code.is_some_and(|code| code != Code::Eof).then_some(false));
        }
        Ok(Some(self.good()))
    }
}

impl Gecko {
    fn slot(&self, slot: usize) -> Result<Slot, SlotError> {
        self.map().slots().get(slot).copied().ok_or(SlotError::InvalidSlot)
    }

    /// Begins to verify a slot (`bootloader_initVerifyImage`).
    ///
    /// # Errors
    /// [`SlotError::InvalidSlot`].
    pub fn verify_slot(&self, slot: usize) -> Result<Verification, SlotError> {
        Ok(Verification::new(self.slot(slot)?, false, Contents::default()))
    }

    /// Whether a slot has anything in it.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn slot_is_dirty(&self, flash: &Flash, slot: Slot) -> Result<bool, FlashError> {
        let mut dirty = false;
        self.map().visit(flash, slot.address, slot.len, |piece| {
            dirty |= piece.iter().any(|byte| *byte != 0xff);
        })?;
        Ok(dirty)
    }

    /// Erases a page of a slot; false when there is none (`bootloader_eraseStorageSlot`, one page at a time).
    ///
    /// # Errors
    /// What stops the flash.
    pub fn erase_slot_page(&self, flash: &mut Controller<'_>, slot: Slot, page: u32) -> Result<bool, FlashError> {
        let offset = page.saturating_mul(self.map().page());
        if offset >= slot.len {
            return Ok(false);
        }
        self.erase_page(flash, slot.address + offset)?;
        Ok(true)
    }

    /// Writes a part of a slot (`bootloader_writeStorage`).
    ///
    /// # Errors
    /// [`Stop`]: power is lost. Inside, why nothing is written.
    pub fn write_slot(
        &self,
        flash: &mut Controller<'_>,
        slot: usize,
        offset: u32,
        data: &[u8],
    ) -> Result<Result<(), SlotError>, Stop> {
        let Ok(slot) = self.slot(slot) else { return Ok(Err(SlotError::InvalidSlot)) };
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if offset.checked_add(len).is_none_or(|end| end > slot.len) {
            return Ok(Err(SlotError::InvalidAddress));
        }
        let address = slot.address + offset;
        let unit = if self.options().series_2 { 4 } else { 2 };
        // The check reads whole words, from wherever they begin.
        let checked = len.next_multiple_of(4);
        let mut erased = true;
        match self.map().place(address, checked) {
            Some(_) => self.map().visit(flash.flash(), address, checked, |piece| {
                erased &= piece.iter().all(|byte| *byte == 0xff);
            })?,
            None => return Err(Stop::Fault("a write at the end of the flash is checked behind it".into())),
        }
        if !erased {
            return Ok(Err(SlotError::NeedsErase));
        }
        if !address.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Ok(Err(SlotError::InvalidAddress));
        }
        self.store(flash, address, data)?;
        Ok(Ok(()))
    }

    /// Installs from the slots, in their order (`storage_main`). `None`: the device resets with what the entry says.
    pub(super) fn install(
        &self,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
        decisions: &mut Vec<Decision>,
    ) -> Result<Installed, Stop> {
        for slot in 0..self.map().slots().len() {
            match self.install_from(flash, entry, slot, decisions)? {
                Installed::Nothing => {}
                done => return Ok(done),
            }
        }
        Ok(Installed::Nothing)
    }

    /// Installs from one slot (`installImageFromSlot`).
    fn install_from(
        &self,
        flash: &mut Controller<'_>,
        entry: &mut Entry,
        n: usize,
        decisions: &mut Vec<Decision>,
    ) -> Result<Installed, Stop> {
        let Ok(slot) = self.slot(n) else { return Ok(Installed::Nothing) };
        let mut verification = Verification::new(slot, false, Contents::default());
        let good = loop {
            if let Some(good) = verification.step(self, flash)? {
                break good;
            }
        };
        let properties = verification.properties;
        decisions.push(Decision::Verified { slot: n, good, code: verification.code.filter(|code| *code != Code::Eof) });
        if !good {
            return Ok(Installed::Nothing);
        }
        let Contents { application, bootloader, se } = properties.contents;
        if !self.options().series_2 && bootloader && !application {
            return Ok(Installed::Nothing);
        }
        if se && properties.se_version > self.options().se_version {
            let wanted = Contents { se: true, ..Contents::default() };
            if self.run_slot(flash, (n, slot), wanted, false, entry)?.is_ok() {
                return Ok(Installed::Reset(self.commit_se(entry)));
            }
        }
        if bootloader && properties.bootloader_version > self.bootloader_version(flash.flash())? {
            let wanted = Contents { bootloader: true, ..Contents::default() };
            let put_aside = self.run_slot(flash, (n, slot), wanted, false, entry)?;
            decisions.push(Decision::PutAside { slot: n, result: put_aside });
            if put_aside.is_ok()
                && let Some(outcome) = self.commit_bootloader(flash, entry, properties.bootloader_size)?
            {
                return Ok(Installed::Reset(outcome));
            }
            return Ok(Installed::Nothing);
        }
        if !application {
            return Ok(Installed::Nothing);
        }
        let wanted = Contents { application: true, ..Contents::default() };
        let installed = self.run_slot(flash, (n, slot), wanted, true, entry)?;
        decisions.push(Decision::Installed { slot: n, result: installed });
        Ok(if installed.is_ok() { Installed::Application } else { Installed::Nothing })
    }

    /// Reads a slot once more, with an effect: its application is programmed, or what is for elsewhere put aside
    /// (`bootloadFromSlot`).
    fn run_slot(
        &self,
        flash: &mut Controller<'_>,
        (n, slot): (usize, Slot),
        wanted: Contents,
        application: bool,
        entry: &Entry,
    ) -> Result<Result<(), Code>, Stop> {
        let callbacks = Callbacks { application, bootloader: !application };
        let mut run = Verification::new(slot, true, wanted);
        let what = u32::from(wanted.application) | u32::from(wanted.bootloader) << 1 | u32::from(wanted.se) << 2;
        let what = what | u32::try_from(n).unwrap_or(u32::MAX) << 8;
        while run.code.is_none() && run.offset < slot.len {
            // Of what has been read, which is still there, only this depended on what was elsewhere.
            let known = what | run.parser.unmet() << 16;
            flash.checkpoint("storage: a piece of a slot", [run.offset, known, entry.code(), 0])?;
            run.advance(self, flash, callbacks)?;
        }
        Ok(if run.good() { Ok(()) } else { Err(run.code.unwrap_or(Code::ImageError)) })
    }
}

/// What an installation comes to.
pub(super) enum Installed {
    Nothing,
    Application,
    Reset(Outcome),
}
