//! The Gecko bootloader of Silicon Labs' EFR32, as far as it survives a power loss.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | how the bootloader was built |
//! | [`map`] | where everything lies |
//! | [`parser`] | a GBL file, in pieces, on its way to flash |
//! | `application` | whether an application may be started; versions that were started |
//! | `run` | a boot: [`Gecko::boot`] |
//! | `report` | what it did, in words |
//! | [`explain`] | a flash in words: what is there, what happens next, what helps |
//! | `storage` | installing from a storage slot, and what an application does with a slot |
//! | [`apploader`] | an update in place |
//! | `upgrade` | a new bootloader comes into its place |
//! | [`codes`] | what it answers |

mod application;
pub mod apploader;
pub mod codes;
pub mod explain;
pub mod map;
pub mod options;
pub mod parser;
mod report;
mod run;
mod storage;
mod upgrade;

use crate::flash::{Controller, FlashError, Interruption};
use crate::layout::Layout;
use crate::source::Mistake;

pub use application::Unbootable;
pub use apploader::AppLoader;
pub use codes::Code;
pub use map::{MemoryMap, Slot};
pub use options::{Options, OwnCertificate, PublicKey};
pub use parser::{Callbacks, Contents, Decompressor, ImageProperties, Parser, Taker};
pub use report::reason_name;
pub use run::{Boot, Cause, Decision, Entry, Outcome, ResetInfo, reason};
pub use storage::{SlotError, Verification};

/// Why the code of the bootloader stops where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Power is lost, or the watchdog bites.
    Interrupted(Interruption),
    /// The processor takes a fault.
    Fault(String),
    /// It runs in a circle: why.
    Hang(&'static str),
}

impl From<FlashError> for Stop {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(interruption) => Self::Interrupted(interruption),
            other => Self::Fault(other.to_string()),
        }
    }
}

/// A Gecko bootloader.
#[derive(Debug, Clone)]
pub struct Gecko {
    map: MemoryMap,
    options: Options,
}

impl Gecko {
    /// A bootloader for the partitions of a layout.
    ///
    /// # Errors
    /// A [`Mistake`] when the layout or an option cannot be.
    pub fn new(layout: &Layout, options: Options) -> Result<Self, Mistake> {
        let map = MemoryMap::new(layout)?;
        let wrong = |message: String, remedy: &str| Err(Mistake::new("bootloader options", message).remedy(remedy));
        if options.storage && map.slots().is_empty() {
            return wrong(
                format!("a storage bootloader needs a slot, and `{}` has none", layout.name),
                "a partition `slot-0`",
            );
        }
        let upgrade = map.flash_base().checked_add(options.upgrade_offset);
        let end = upgrade.and_then(|upgrade| upgrade.checked_add(options.upgrade_size));
        if !options.upgrade_offset.is_multiple_of(map.page()) || end.is_none_or(|end| end > map.flash_end()) {
            return wrong(
                format!("a new bootloader cannot lie at {:#x}+{:#x}", options.upgrade_offset, options.upgrade_size),
                "the offset of a page, and a size that ends in the flash",
            );
        }
        let (bootloader, len) = map.bootloader();
        let over = upgrade.zip(end).is_some_and(|(from, to)| from < bootloader.saturating_add(len) && bootloader < to);
        if over {
            return wrong(
                format!(
                    "a new bootloader is put aside at {:#x}+{:#x}, over the one that runs",
                    options.upgrade_offset, options.upgrade_size
                ),
                "an offset behind the bootloader",
            );
        }
        if !options.series_2 && (options.version_dependency || options.certificate.is_some()) {
            return wrong("Series 1 has no version dependencies and no certificates".into(), "Series 2");
        }
        Ok(Self { map, options })
    }

    /// Where everything lies.
    #[must_use]
    pub fn map(&self) -> &MemoryMap {
        &self.map
    }

    /// How it was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where a new bootloader is put aside (`BTL_UPGRADE_LOCATION`).
    #[must_use]
    pub fn upgrade_location(&self) -> u32 {
        self.map.flash_base() + self.options.upgrade_offset
    }

    /// What files are decrypted with.
    fn encryption_key(&self) -> &[u8; 16] {
        self.options.encryption_key.as_ref().unwrap_or(&[0xff; 16])
    }

    /// Programs a part of an application; outside of the flash for applications, silently nothing
    /// (`bootload_applicationCallback`).
    fn program_application(&self, flash: &mut Controller<'_>, address: u32, data: &[u8]) -> Result<(), Stop> {
        let end = address.wrapping_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        if address < self.map.application_start() || end > self.map.application_end() {
            return Ok(());
        }
        self.program(flash, address, data)
    }

    /// Puts a part of a new bootloader aside (`bootload_bootloaderCallback`). The first erases the first page of the application,
    /// if that could be overwritten.
    fn program_upgrade(&self, flash: &mut Controller<'_>, offset: u32, data: &[u8]) -> Result<(), Stop> {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        // The last page of the flash has the keys in it; those of Series 1 are elsewhere.
        let keys = if self.options.series_2 { self.map.page() } else { 0 };
        let end = self.map.flash_end() - keys;
        let Some(address) = self.upgrade_location().checked_add(offset).filter(|address| *address < end) else {
            return Ok(());
        };
        if len > end - address {
            return Ok(());
        }
        if offset == 0 && self.upgrade_location() < self.map.application_end() {
            self.erase_page(flash, self.map.application_start())?;
        }
        self.program(flash, address, data)
    }

    /// Erases the pages that begin in a range, and programs it (`flashData`). A flash that refuses is not noticed.
    fn program(&self, flash: &mut Controller<'_>, address: u32, data: &[u8]) -> Result<(), Stop> {
        let page = self.map.page();
        let end = address.wrapping_add(u32::try_from(data.len()).unwrap_or(0));
        if address.is_multiple_of(page) {
            self.erase_page(flash, address)?;
        }
        let mut next = address.wrapping_add(page) / page * page;
        while next < end {
            self.erase_page(flash, next)?;
            next = next.wrapping_add(page);
        }
        self.store(flash, address, data).map_err(Stop::from)
    }

    fn erase_page(&self, flash: &mut Controller<'_>, address: u32) -> Result<(), FlashError> {
        let Some((area, offset)) = self.map.place(address, self.map.page()) else { return Ok(()) };
        unless_interrupted(flash.erase(area, offset, self.map.page()))
    }

    /// Programs aligned words (`flash_writeBuffer`). Series 1 takes half words: one at the start or the end is programmed by
    /// itself.
    fn store(&self, flash: &mut Controller<'_>, address: u32, data: &[u8]) -> Result<(), FlashError> {
        let unit = if self.options.series_2 { 4 } else { 2 };
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if !address.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Ok(());
        }
        let first = data.len().min((address % 4) as usize);
        let (half, data) = data.split_at(first);
        let (words, last) = data.split_at(data.len() / 4 * 4);
        let after = address.wrapping_add(first as u32);
        if let [one, other] = half {
            self.store_words(flash, address - 2, &[0xff, 0xff, *one, *other])?;
        }
        self.store_words(flash, after, words)?;
        if let [one, other] = last {
            self.store_words(flash, after.wrapping_add(words.len() as u32), &[*one, *other, 0xff, 0xff])?;
        }
        Ok(())
    }

    fn store_words(&self, flash: &mut Controller<'_>, address: u32, words: &[u8]) -> Result<(), FlashError> {
        let len = u32::try_from(words.len()).unwrap_or(u32::MAX);
        match self.map.place(address, len) {
            Some((area, offset)) if len > 0 => unless_interrupted(flash.program(area, offset, words)),
            _ => Ok(()),
        }
    }
}

/// What the C code does not look at.
fn unless_interrupted(done: Result<(), FlashError>) -> Result<(), FlashError> {
    match done {
        Err(FlashError::Refused(_)) => Ok(()),
        done => done,
    }
}
