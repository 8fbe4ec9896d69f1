//! The Secure DFU bootloader of the nRF5 SDK, as far as it survives a power loss.
//!
//! | module | what it holds |
//! |---|---|
//! | [`map`] | where everything lies |
//! | [`options`] | how the bootloader was built, and from which SDK |
//! | [`settings`] | the settings page, and its two copies |
//! | [`bank`] | what a bank holds, and how an image is checked at each boot |
//! | [`store`] | loading and writing the settings |
//! | [`softdevice`] | the SoftDevice, as far as the bootloader reads it |
//! | [`dfu`] | DFU mode: init packet, data objects |
//! | `prevalidate`, `versions` | whether an init packet is accepted |
//! | `cache` | where the image goes, and what is given up for it |
//! | `postvalidate` | whether the image is accepted, and what the next boot does with it |
//! | [`result`] | what an uploader is told |

mod activate;
pub mod bank;
mod cache;
pub mod dfu;
pub mod explain;
pub mod map;
pub mod mbr;
pub mod options;
mod postvalidate;
mod prevalidate;
pub mod report;
pub mod result;
mod run;
pub mod settings;
pub mod softdevice;
pub mod store;
mod versions;

use crate::image::nordic::crc32;
use crate::layout::Layout;
use crate::source::Mistake;

pub use bank::{Bank, BankCode, BootValidation, ValidationKind};
pub use dfu::Dfu;
pub use map::{MBR_SIZE, MemoryMap};
pub use mbr::CopyCommand;
pub use options::{Options, Profile};
pub use report::{Boot, Decision, DfuReason, Outcome, Unbootable};
pub use result::{ExtendedError, Refusal, ResultCode};
pub use run::Entry;
pub use settings::{Progress, Settings};
pub use softdevice::SoftdeviceInfo;
pub use store::{FlashStep, SettingsSource};

pub use crate::image::mcuboot::PublicKey;

/// A Secure DFU bootloader.
#[derive(Debug, Clone)]
pub struct Nordic {
    map: MemoryMap,
    options: Options,
    public_key: Option<PublicKey>,
}

impl Nordic {
    /// A bootloader for the partitions of a layout ([`map`]). Without a public key no signature is right.
    ///
    /// # Errors
    /// A [`Mistake`] when the layout or an option cannot be.
    pub fn new(layout: &Layout, options: Options, public_key: Option<PublicKey>) -> Result<Self, Mistake> {
        let map = MemoryMap::new(layout)?;
        let wrong = |message: String, remedy: &str| Err(Mistake::new("bootloader options", message).remedy(remedy));
        if options.copy_step == 0 {
            return wrong("0 pages are copied between two writes of the settings".into(), "1 or more, 8 by default");
        }
        if options.app_data.is_some_and(|size| !size.is_multiple_of(map.page())) {
            return wrong("the app data area is not of whole pages".into(), "a multiple of the page size");
        }
        if options.app_data.unwrap_or(map.app_data()) > map.bootloader().offset.saturating_sub(MBR_SIZE) {
            return wrong("the app data area leaves no room for an application".into(), "a smaller one");
        }
        if (1..100).contains(&options.inactivity_timeout_ms) {
            return wrong(
                format!("an inactivity timeout of {} ms", options.inactivity_timeout_ms),
                "100 ms or more, or 0 for none",
            );
        }
        if options.update_from_app && !options.profile.has_backup() {
            return wrong("only SDK 15.3 and later take updates from an application".into(), "a later profile");
        }
        Ok(Self { map, options, public_key })
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

    /// What signatures are checked with.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.public_key.as_ref()
    }

    /// The address behind what an update may use (`DFU_REGION_END`).
    #[must_use]
    pub fn region_end(&self) -> u32 {
        self.map.bootloader().offset.saturating_sub(self.options.app_data.unwrap_or(self.map.app_data()))
    }

    /// The largest bootloader that is taken (`BOOTLOADER_SIZE`).
    #[must_use]
    pub fn bootloader_size(&self) -> u32 {
        self.options.bootloader_size.unwrap_or(self.map.bootloader().len)
    }
}
