//! Loading and writing the settings (nrf5 sdk 17.1: `nrf_dfu_settings.c`).
//!
//! Whether something has to be written is decided by comparing with flash as it is when the function is called. A boot
//! runs the steps at once; in DFU mode they go into a queue.

use super::settings::{SETTINGS_SIZE, SETTINGS_SIZE_V1, Settings, at};
use super::{Nordic, Profile};
use crate::flash::{Area, Controller, Flash, FlashError};

/// A call of the flash driver (`nrf_dfu_flash_erase`, `nrf_dfu_flash_store`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlashStep {
    /// Erases pages, one after the other.
    Erase {
        /// Address of the first.
        address: u32,
        /// How many.
        pages: u32,
    },
    /// Programs words, the lowest first.
    Store {
        /// Address of the first.
        address: u32,
        /// The bytes; a last word that is not whole is filled with 0xff.
        bytes: Vec<u8>,
    },
}

/// Where loaded settings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SettingsSource {
    /// The settings page; there is no valid backup.
    Page,
    /// Both pages are valid: the settings page, and from the backup what an application may not write.
    Both,
    /// The backup: the settings page is not valid.
    Backup,
    /// Neither is valid: zeros.
    Nothing,
}

impl FlashStep {
    /// Does it: an erase of a page is one operation; a program goes as far as its page.
    ///
    /// Words are programmed one after the other, so that a power loss leaves a prefix. One program for each page says the
    /// same with fewer operations.
    ///
    /// # Errors
    /// As [`Controller::erase`] and [`Controller::program`].
    pub fn run(&self, whole: Area, page: u32, flash: &mut Controller<'_>) -> Result<(), FlashError> {
        match self {
            Self::Erase { address, pages } => {
                for index in 0..*pages {
                    flash.erase(whole, address.wrapping_add(index.wrapping_mul(page)), page)?;
                }
            }
            Self::Store { address, bytes } => {
                let (mut at, mut rest) = (*address, bytes.as_slice());
                while !rest.is_empty() {
                    let room = (page - at % page) as usize;
                    let (now, later) = rest.split_at(room.min(rest.len()));
                    let mut words = now.to_vec();
                    words.resize(now.len().next_multiple_of(4), 0xff);
                    flash.program(whole, at, &words)?;
                    at = at.wrapping_add(words.len() as u32);
                    rest = later;
                }
            }
        }
        Ok(())
    }
}

impl Nordic {
    /// The settings as a boot or a reload finds them, and where they come from (`nrf_dfu_settings_reinit`).
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn load(&self, flash: &Flash) -> Result<(Settings, SettingsSource), FlashError> {
        let profile = self.options.profile;
        if profile.settings_version() == 1 {
            let mut raw = [0; SETTINGS_SIZE_V1];
            flash.read(self.map.settings(), 0, &mut raw)?;
            let read = Settings::parse_v1(&raw);
            return Ok(if read.crc_ok() {
                (read, SettingsSource::Page)
            } else {
                (Settings::blank(profile), SettingsSource::Nothing)
            });
        }
        let (mut raw, mut backup) = ([0; SETTINGS_SIZE], [0; SETTINGS_SIZE]);
        flash.read(self.map.settings(), 0, &mut raw)?;
        flash.read(self.map.params(), 0, &mut backup)?;
        let valid = Settings::parse(&raw).crc_ok();
        let source = match (valid, Settings::parse(&backup).backup_ok()) {
            (true, true) => SettingsSource::Both,
            (true, false) => SettingsSource::Page,
            (false, true) => SettingsSource::Backup,
            (false, false) => return Ok((Settings::blank(profile), SettingsSource::Nothing)),
        };
        match source {
            SettingsSource::Both => {
                for range in self.forbidden_parts() {
                    raw[range.clone()].copy_from_slice(&backup[range]);
                }
            }
            SettingsSource::Backup => raw = backup,
            SettingsSource::Page | SettingsSource::Nothing => {}
        }
        let mut settings = Settings::parse(&raw);
        if settings.settings_version == 1 {
            settings.upgrade(&raw);
        }
        Ok((settings, source))
    }

    /// What an application may not change, and the backup decides (`settings_forbidden_parts_copy_from_backup`).
    fn forbidden_parts(&self) -> Vec<std::ops::Range<usize>> {
        if self.options.update_from_app {
            vec![
                at::VERSION..at::BANK_CURRENT,
                at::BANK_0..at::WRITE_OFFSET,
                at::SD_SIZE..at::PROGRESS,
                at::VALIDATION_CRC..at::PEER_DATA,
            ]
        } else {
            vec![at::VERSION..at::ENTER_DFU, at::INIT_COMMAND..at::PEER_DATA]
        }
    }

    /// The bytes that this bootloader writes to a page.
    #[must_use]
    pub fn settings_bytes(&self, settings: &Settings) -> Vec<u8> {
        if self.options.profile.settings_version() == 1 {
            settings.to_bytes_v1().to_vec()
        } else {
            settings.to_bytes().to_vec()
        }
    }

    /// Seals the settings; the steps that bring them to the settings page, none when they are there
    /// (`nrf_dfu_settings_write`).
    #[must_use]
    pub fn settings_write(&self, settings: &mut Settings, flash: &Flash) -> Vec<FlashStep> {
        let profile = self.options.profile;
        let before = self.settings_bytes(settings);
        settings.crc = settings.expected_crc();
        if profile.has_backup() {
            settings.boot_validation_crc = settings.expected_boot_validation_crc();
        }
        let bytes = self.settings_bytes(settings);
        // SDK 15.0 compares before it seals, 12 to 14 do not compare.
        match profile {
            Profile::V12_3 | Profile::V14_2 => page_steps(self.map.settings(), bytes),
            Profile::V15_0 if self.same(flash, self.map.settings(), &before) => Vec::new(),
            Profile::V15_0 => page_steps(self.map.settings(), bytes),
            _ => self.page_write(self.map.settings(), bytes, flash),
        }
    }

    /// The same, and the steps that bring them to the backup (`nrf_dfu_settings_write_and_backup`).
    #[must_use]
    pub fn settings_write_and_backup(&self, settings: &mut Settings, flash: &Flash) -> Vec<FlashStep> {
        let mut steps = self.settings_write(settings, flash);
        if self.options.profile.has_backup() {
            steps.extend(self.page_write(self.map.params(), self.settings_bytes(settings), flash));
        }
        steps
    }

    /// The steps that bring what is on the settings page to the backup (`nrf_dfu_settings_backup`).
    #[must_use]
    pub fn settings_backup(&self, flash: &Flash) -> Vec<FlashStep> {
        if !self.options.profile.has_backup() {
            return Vec::new();
        }
        let mut bytes = vec![0; SETTINGS_SIZE];
        match flash.read(self.map.settings(), 0, &mut bytes) {
            Ok(()) => self.page_write(self.map.params(), bytes, flash),
            Err(_) => Vec::new(),
        }
    }

    /// The steps that remove peer data and name before an application starts (`nrf_dfu_settings_additional_erase`).
    #[must_use]
    pub fn additional_erase(&self, settings: &Settings) -> Vec<FlashStep> {
        if settings.peer_data.crc == u32::MAX && settings.adv_name.crc == u32::MAX {
            return Vec::new();
        }
        let end = if self.options.profile.settings_version() == 1 { at::PEER_DATA_V1 } else { at::PEER_DATA };
        let mut bytes = self.settings_bytes(settings);
        bytes.truncate(end);
        page_steps(self.map.settings(), bytes)
    }

    /// `settings_write`: nothing when the page begins with these bytes.
    fn page_write(&self, page: Area, bytes: Vec<u8>, flash: &Flash) -> Vec<FlashStep> {
        if self.same(flash, page, &bytes) { Vec::new() } else { page_steps(page, bytes) }
    }

    fn same(&self, flash: &Flash, page: Area, bytes: &[u8]) -> bool {
        let mut there = vec![0; bytes.len()];
        flash.read(page, 0, &mut there).is_ok() && there == bytes
    }
}

fn page_steps(page: Area, bytes: Vec<u8>) -> Vec<FlashStep> {
    vec![FlashStep::Erase { address: page.offset, pages: 1 }, FlashStep::Store { address: page.offset, bytes }]
}
