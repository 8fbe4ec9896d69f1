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
//! | [`mbr`] | the master boot record, which replaces the bootloader |
//! | `activate` | how an update comes into its place |
//! | [`report`] | what a boot did and why |
//! | [`explain`] | what is in flash, what is wrong with it and what would help, in words |
//!
//! # One boot
//!
//! | step | what happens | source |
//! |---|---|---|
//! | 1 | the MBR finishes a copy of a bootloader that was asked for, and starts the bootloader | [`mbr`] |
//! | 2 | the settings are loaded, and both pages brought to the same | `nrf_dfu_settings_init` |
//! | 3 | an update that the application has received is checked, where that is allowed | `postvalidate` |
//! | 4 | bank 1 holds an update: it is activated, and the device resets | `nrf_bootloader_fw_activate` |
//! | 5 | no valid application, button, pin, GPREGRET, flag: DFU mode | `dfu_enter_check` |
//! | 6 | peer data and name are removed, the backup is brought up to date, the application starts | `nrf_bootloader_app_start` |
//!
//! # Each kind of update
//!
//! Flash of 12 pages behind the MBR: SoftDevice `S`, application `A` (old) and `B` (new), bootloader `L` and `M`, `-` what
//! was there before. Of the settings the table has bank 0, bank 1 and the write offset in pages; `x` is invalid.
//!
//! ## Application, dual bank
//!
//! | step | SoftDevice | bank 0 | bank 1 | bank 0, bank 1, offset |
//! |---|---|---|---|---|
//! | application runs | S0 S1 | A0 A1 | - - | app, x, 0 |
//! | init packet accepted | S0 S1 | A0 A1 | - - | app, x, 0; init packet |
//! | first object | S0 S1 | A0 A1 | B0 - | the same |
//! | last object, image accepted: the commit | S0 S1 | A0 A1 | B0 B1 | x, app, 0 |
//! | reset; erased and copied, up to 8 pages and no more than the way is long | S0 S1 | B0 B1 | B0 B1 | x, app, 0 |
//! | progress written | S0 S1 | B0 B1 | B0 B1 | x, app, 2 |
//! | CRC right, bank 1 given up; reset | S0 S1 | B0 B1 | B0 B1 | app, x, 0 |
//!
//! Up to the commit the old application can be started, and behind it the new one comes, whatever is cut.
//!
//! ## Application, single bank
//!
//! By [`Options::single_bank`], or because there is no room behind the application.
//!
//! | step | SoftDevice | bank 0 | bank 0, bank 1, offset |
//! |---|---|---|---|
//! | application runs | S0 S1 | A0 A1 A2 | app, x, 0 |
//! | init packet accepted: there is no application any more | S0 S1 | A0 A1 A2 | x, x, 0; init packet |
//! | first object | S0 S1 | B0 A1 A2 | the same |
//! | last object, image accepted | S0 S1 | B0 B1 A2 | x, app, 0 |
//! | reset; nothing to copy, CRC right; reset | S0 S1 | B0 B1 A2 | app, x, 0 |
//!
//! ## SoftDevice
//!
//! | step | SoftDevice | bank 0 | bank 1 | bank 0, bank 1, offset |
//! |---|---|---|---|---|
//! | application runs | S0 S1 | A0 A1 | - - | app, x, 0 |
//! | image accepted | S0 S1 | A0 A1 | T0 T1 | app, SoftDevice, 0 |
//! | reset; copied | T0 T1 | A0 A1 | T0 T1 | app, SoftDevice, 0 |
//! | progress written | T0 T1 | A0 A1 | T0 T1 | app, SoftDevice, 2 |
//! | bank 1 given up, DFU mode for 10 s | T0 T1 | A0 A1 | T0 T1 | app, x, 0 |
//!
//! With another major version (only beside a bootloader) bank 0 is invalid from the acceptance on. With another size the
//! application would have to begin elsewhere: its CRC is wrong, and DFU mode waits for a new one.
//!
//! ## Bootloader
//!
//! | step | bank 1 | bootloader | backup | bank 0, bank 1 |
//! |---|---|---|---|---|
//! | image accepted | M0 M1 | L0 L1 | settings | app, bootloader |
//! | reset; the bootloader differs: the MBR is asked to copy | M0 M1 | L0 L1 | record of the MBR | app, bootloader |
//! | reset; the MBR copies | M0 M1 | M0 M1 | record of the MBR | app, bootloader |
//! | the new bootloader starts, and writes the backup | M0 M1 | M0 M1 | settings | app, bootloader |
//! | the bootloader is the same: bank 1 given up; reset | M0 M1 | M0 M1 | settings | app, x |
//!
//! ## SoftDevice and bootloader
//!
//! First as a SoftDevice, and without giving up bank 1 then as a bootloader that lies `sd_size` bytes higher:
//!
//! | step | SoftDevice | bank 1 | bootloader | bank 0, bank 1, offset |
//! |---|---|---|---|---|
//! | image accepted | S0 S1 | T0 T1 M0 M1 | L0 L1 | app, both, 0 |
//! | reset; SoftDevice copied, progress written | T0 T1 | T0 T1 M0 M1 | L0 L1 | app, both, 2 |
//! | the MBR is asked to copy; reset; it copies | T0 T1 | T0 T1 M0 M1 | M0 M1 | app, both, 2 |
//! | SoftDevice in place, bootloader the same: bank 1 given up | T0 T1 | T0 T1 M0 M1 | M0 M1 | app, x, 0 |
//!
//! # What each power loss does
//!
//! SDK 15.3 and later, dual bank; `tests/nordic_boot.rs` tries each operation of each row, whole, before and torn, and
//! [`sweep::nordic`](crate::sweep::nordic) any number of power losses in a row.
//!
//! | power is lost | the next boot |
//! |---|---|
//! | before the init packet is executed | old application; no init packet |
//! | while the settings with it are written | old application; the init packet is stored once the old backup is gone |
//! | while the image is on its way | old application; the init packet is stored, offset 0 |
//! | behind the last answer, before the commit | the same: the uploader has been told of a success that is none |
//! | while what to activate is written | the same; once the old backup is gone, the new application |
//! | behind the commit, while it is copied | the activation goes on from the write offset: new application |
//! | while the last settings are written | the last step of the activation once more: new application |
//!
//! In a single bank there is no application from the second row on, where the init packet is stored, to the commit: DFU
//! mode waits with the stored init packet.
//!
//! There is no trial and no way back: what was activated stays.
//!
//! Agreement with the real boot code and DFU mode of SDK 17.1, flash byte for byte at each of these power losses, is tested
//! in `tests/nordic_golden.rs`.
//!
//! # What is left out
//!
//! Whether flash is protected, watchdog, debug port, and on the nRF52832 the second look for a bootloader 0x4000 bytes
//! lower (for updates from SDK 12 to 14.1). The MBR is our own ([`mbr`]). SDK 12 to 14 differ only as
//! [`Profile`] says: in their own code an activation does not end in a reset, and the banks are chosen by `bank_current`.

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
pub use settings::{AdvName, PeerData, Progress, Settings};
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
