//! Legacy DFU bootloaders, as far as they survive a power loss: that of the nRF5 SDK 11, and Adafruit's.
//!
//! | module | what it holds |
//! |---|---|
//! | [`options`] | how the bootloader was built |
//! | [`settings`] | the settings page |
//! | `run` | a boot: [`NordicLegacy::boot`] |
//! | [`report`] | what came of it, and why |
//! | [`mbr`] | what the master boot record does for it |
//! | `swap` | a new SoftDevice and a new bootloader come into their places |
//! | [`dfu`] | DFU mode: banks, init packet, data, activation |
//! | `explain` | what is in flash, what is wrong with it and what would help, in words: [`NordicLegacy::explain`] |
//! | [`init`] | whether an init packet and an image are accepted |
//!
//! Where everything lies is the same as with Secure DFU ([`MemoryMap`]); the parameters page of the MBR has no backup of
//! the settings here.
//!
//! # Banks
//!
//! The region from the end of the SoftDevice to the application data is bank 0. With two banks, bank 1 is its upper half.
//! An update of the application, SDK 11, two banks:
//!
//! | step | settings | bank 0 | bank 1 |
//! |---|---|---|---|
//! | before | bank 0 `01` | old | anything |
//! | Start: all of bank 1 is erased | bank 0 `01` | old | erased |
//! | data | bank 0 `01` | old | new, in part |
//! | activation: as much of bank 0 as the new one needs is erased | bank 0 `01` | erased from below | new |
//! | it is copied | bank 0 `01` | **new, in part** | new |
//! | the settings page is erased | nothing | new | new |
//! | and written | bank 0 `01`, CRC 0 | new | new |
//!
//! The CRC that is stored after an update is always 0, because nobody assigns the variable that it is taken from; and a
//! stored CRC of 0 is not checked. So a power loss in the copy leaves an application of two parts that is started, as soon
//! as its first word is there (nrf5 sdk 11: `dfu_dual_bank.c`, `m_image_crc`; `bootloader.c`, `bootloader_app_is_valid`).
//!
//! With one bank, Start erases as much of bank 0 as the image needs and then says so in the settings; data goes straight
//! into its place. There is no application from then on until one is there.
//!
//! A SoftDevice is received in bank 0, whatever the number of banks, and put into its place at the next boot.

pub mod dfu;
mod explain;
pub mod init;
pub mod mbr;
pub mod options;
pub mod report;
mod run;
pub mod settings;
mod swap;

use crate::flash::{Flash, FlashError};
use crate::layout::Layout;
use crate::source::Mistake;

pub use super::nordic::{CopyCommand, Entry, FlashStep, MBR_SIZE, MemoryMap, PublicKey, SoftdeviceInfo};
pub use dfu::{Data, Dfu, State, Status};
pub use options::{Kind, Options};
pub use report::{Boot, Decision, DfuReason, Outcome, Transport, Unbootable};
pub use settings::{BankCode, Settings};

/// Where the size of a SoftDevice is in its information struct, from the address of the SoftDevice on.
const SD_SIZE_OFFSET: u32 = super::nordic::softdevice::INFO_OFFSET + 8;

/// A Legacy DFU bootloader.
#[derive(Debug, Clone)]
pub struct NordicLegacy {
    map: MemoryMap,
    options: Options,
    public_key: Option<PublicKey>,
}

impl NordicLegacy {
    /// A bootloader for the partitions of a layout. With a public key it takes signed firmware only (Adafruit's
    /// `SIGNED_FW`).
    ///
    /// # Errors
    /// A [`Mistake`] when the layout or an option cannot be.
    pub fn new(layout: &Layout, options: Options, public_key: Option<PublicKey>) -> Result<Self, Mistake> {
        let map = MemoryMap::new(layout)?;
        let wrong = |message: &str, remedy: &str| Err(Mistake::new("bootloader options", message).remedy(remedy));
        if options.kind == Kind::Sdk11 && public_key.is_some() {
            return wrong("the bootloader of SDK 11 checks no signatures", "no key, or Adafruit's bootloader");
        }
        if options.kind == Kind::Sdk11 && options.single_bank && options.init_packet_max > 64 {
            return wrong("the single bank build of SDK 11 has 64 bytes for an init packet", "`init_packet_max` of 64");
        }
        if !(12..=252).contains(&options.init_packet_max) {
            return wrong("an init packet needs 12 bytes at least and has 252 at most", "128, as in the code");
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

    /// What the word says that holds the size of the SoftDevice, which may be anything (`SD_SIZE_GET`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn softdevice_end(&self, flash: &Flash) -> Result<u32, FlashError> {
        self.map.word(flash, MBR_SIZE + SD_SIZE_OFFSET)
    }

    /// Where bank 0 begins (`DFU_BANK_0_REGION_START`). Without a SoftDevice, SDK 11 reads what is not there.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bank_0_start(&self, flash: &Flash) -> Result<u32, FlashError> {
        match self.options.kind {
            Kind::Adafruit if SoftdeviceInfo::installed(&self.map, flash)?.is_none() => Ok(MBR_SIZE),
            Kind::Sdk11 | Kind::Adafruit => self.softdevice_end(flash),
        }
    }

    /// The address behind what an update may use.
    #[must_use]
    pub fn region_end(&self) -> u32 {
        self.map.bootloader().offset.saturating_sub(self.map.app_data())
    }

    /// The largest image, where it is received in bank 0 (`DFU_IMAGE_MAX_SIZE_FULL`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn image_max_full(&self, flash: &Flash) -> Result<u32, FlashError> {
        Ok(self.region_end().saturating_sub(self.bank_0_start(flash)?))
    }

    /// The largest image, where it is received in bank 1, whose size this is (`DFU_IMAGE_MAX_SIZE_BANKED`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn image_max_banked(&self, flash: &Flash) -> Result<u32, FlashError> {
        let full = self.image_max_full(flash)?;
        Ok(full.saturating_sub(full % (2 * self.map.page())) / 2)
    }

    /// Where bank 1 begins (`DFU_BANK_1_REGION_START`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn bank_1_start(&self, flash: &Flash) -> Result<u32, FlashError> {
        Ok(self.bank_0_start(flash)?.saturating_add(self.image_max_banked(flash)?))
    }

    /// The largest bootloader that is taken (`DFU_BL_IMAGE_MAX_SIZE`): SDK 11 counts the parameters page of the MBR.
    #[must_use]
    pub fn bootloader_max(&self) -> u32 {
        let end = match self.options.kind {
            Kind::Sdk11 => self.map.settings().offset,
            Kind::Adafruit => self.map.params().offset,
        };
        end.saturating_sub(self.map.bootloader().offset)
    }

    /// The settings as they are in flash; nothing says whether they are whole.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn settings(&self, flash: &Flash) -> Result<Settings, FlashError> {
        let mut bytes = [0; settings::SETTINGS_SIZE];
        flash.read(self.map.settings(), 0, &mut bytes)?;
        Ok(Settings::parse(&bytes))
    }

    /// The steps that replace the settings (`bootloader_settings_save`).
    #[must_use]
    pub fn settings_save(&self, settings: &Settings) -> Vec<FlashStep> {
        let address = self.map.settings().offset;
        vec![FlashStep::Erase { address, pages: 1 }, FlashStep::Store { address, bytes: settings.to_bytes().to_vec() }]
    }
}
