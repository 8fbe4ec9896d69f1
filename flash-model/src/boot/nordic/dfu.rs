//! DFU mode without its clock and its queue (nrf5 sdk 17.1: `nrf_dfu_req_handler.c`, `nrf_dfu_validation.c`).
//!
//! | what an uploader does | call | then write |
//! |---|---|---|
//! | (DFU mode begins) | [`Nordic::start`] | |
//! | create the init packet | [`Nordic::init_command_create`] | nothing |
//! | write some of it | [`Nordic::init_command_append`] | nothing |
//! | execute it | [`Nordic::init_command_execute`] | [`Nordic::settings_write_and_backup`] when it was accepted |
//! | create a data object | [`Nordic::data_create`] | the step it gives |
//! | write some of it | [`Nordic::data_write`] | the step it gives; when the queue takes it, [`Nordic::data_written`] |
//! | execute it | [`Nordic::data_execute`] | as the option says: [`Options::saves_progress`](super::Options::saves_progress) |
//! | (the whole image is there) | [`Nordic::activation_prepare`] | [`Nordic::settings_write_and_backup`] in any case; then reset |
//! | (the link breaks) | [`Nordic::reload`], from SDK 16 on | |
//! | (nothing happens for long) | | [`Nordic::settings_backup`]; then reset |
//!
//! # An image of no bytes
//!
//! Executing a data object asks for no accepted init packet. While none was accepted, the whole image has 0 bytes, and 0
//! are there: an Execute completes it. It is checked against the init packet that was decoded last, also when that was
//! refused, and fails whatever hash that has: the image is at address 0, which the hash functions refuse
//! (`nrf_crypto_hash.c`, `nrf_crypto_hash_update`). So anybody can end an update, and nothing is accepted that nobody
//! signed. Recorded from the real code of SDK 17.1 (`tests/nordic_golden.rs`).

use super::{FlashStep, Nordic, Refusal, ResultCode, Settings};
use crate::flash::{Flash, FlashError};
use crate::image::nordic::InitCommand;

/// What DFU mode keeps in RAM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dfu {
    /// `s_dfu_settings`.
    pub settings: Settings,
    /// An init packet was accepted (`m_valid_init_cmd_present`).
    pub init_valid: bool,
    /// Where the image goes (`m_firmware_start_addr`).
    pub firmware_start: u32,
    /// Size of the whole image (`m_firmware_size_req`).
    pub firmware_size: u32,
    /// The init packet that was decoded last, whether it was accepted or not (`mp_init`).
    pub decoded: Option<InitCommand>,
    /// What a call has written to flash at once; to be taken and done before anything else. Only builds that do not need
    /// the SoftDevice ever write so: they overwrite its magic.
    pub steps: Vec<FlashStep>,
}

impl Dfu {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, init_valid: false, firmware_start: 0, firmware_size: 0, decoded: None, steps: Vec::new() }
    }
}

/// A read beyond flash: the processor would take a fault. Nothing that was accepted leads there.
pub(super) fn fault(_: FlashError) -> Refusal {
    ResultCode::OperationFailed.into()
}

impl Nordic {
    /// DFU mode begins; a stored init packet counts (`nrf_dfu_req_handler_init`).
    ///
    /// # Errors
    /// The stored init packet is refused: the bootloader stops at its error handler, and resets for ever.
    pub fn start(&self, flash: &Flash) -> Result<Dfu, Refusal> {
        let (settings, _) = self.load(flash).map_err(fault)?;
        let mut dfu = Dfu::new(settings);
        self.decode_stored(&mut dfu);
        if dfu.init_valid {
            self.init_command_execute(&mut dfu, flash)?;
        }
        Ok(dfu)
    }

    /// A stored init packet that can be decoded counts as accepted (`nrf_dfu_validation_init`).
    pub(super) fn decode_stored(&self, dfu: &mut Dfu) {
        if dfu.settings.progress.command_size != 0 {
            dfu.decoded = self.stored_packet(&dfu.settings).map(|packet| packet.command);
        }
        dfu.init_valid = dfu.decoded.is_some();
    }

    /// The settings are what flash holds again, and the rest stays (`nrf_dfu_settings_reinit`).
    ///
    /// # Errors
    /// [`ResultCode::OperationFailed`] when flash cannot be read.
    pub fn reload(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        (dfu.settings, _) = self.load(flash).map_err(fault)?;
        Ok(())
    }

    /// An init packet of `size` bytes is to come (`nrf_dfu_validation_init_cmd_create`).
    ///
    /// # Errors
    /// 0 bytes, or too many.
    pub fn init_command_create(&self, dfu: &mut Dfu, size: u32) -> Result<(), Refusal> {
        if size == 0 {
            return Err(ResultCode::InvalidParameter.into());
        }
        if size > self.options.profile.init_command_max() {
            return Err(ResultCode::InsufficientResources.into());
        }
        dfu.init_valid = false;
        dfu.settings.progress_reset();
        dfu.settings.progress.command_size = size;
        Ok(())
    }

    /// Bytes of it (`nrf_dfu_validation_init_cmd_append`).
    ///
    /// # Errors
    /// More than were announced.
    pub fn init_command_append(&self, dfu: &mut Dfu, data: &[u8]) -> Result<(), Refusal> {
        let progress = &mut dfu.settings.progress;
        let end = u32::try_from(data.len()).ok().and_then(|len| progress.command_offset.checked_add(len));
        let end = end.filter(|end| *end <= progress.command_size).ok_or(ResultCode::InvalidParameter)?;
        let place = dfu.settings.init_command.get_mut(progress.command_offset as usize..end as usize);
        place.ok_or(ResultCode::InvalidParameter)?.copy_from_slice(data);
        progress.command_offset = end;
        progress.command_crc = super::crc32(data, progress.command_crc);
        Ok(())
    }

    /// The init packet is complete (`nrf_dfu_validation_init_cmd_execute`). Accepted, it is to be written with
    /// [`Nordic::settings_write_and_backup`]; that it may have given up the application for room is in the settings.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn init_command_execute(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        self.execute_init_command(dfu, flash)
    }

    /// A data object of `size` bytes is to come: the pages to erase (`on_data_obj_create_request`).
    ///
    /// # Errors
    /// Why it is refused; the order of the checks is that of the profile.
    pub fn data_create(&self, dfu: &mut Dfu, size: u32) -> Result<FlashStep, Refusal> {
        let page = self.map.page();
        let last = dfu.settings.progress.image_offset_last;
        let end = last.wrapping_add(size);
        let permitted = dfu.init_valid.then_some(()).ok_or(ResultCode::OperationNotPermitted);
        let early = self.options.profile < super::Profile::V15_0;
        if !early {
            permitted?;
        }
        if size == 0 || !size.is_multiple_of(page) && end != dfu.firmware_size {
            return Err(ResultCode::InvalidParameter.into());
        }
        if size > self.data_object_max() {
            return Err(ResultCode::InsufficientResources.into());
        }
        if early {
            permitted?;
        }
        if end > dfu.firmware_size {
            return Err(ResultCode::OperationNotPermitted.into());
        }
        let progress = &mut dfu.settings.progress;
        progress.data_object_size = size;
        progress.image_crc = progress.image_crc_last;
        progress.image_offset = last;
        dfu.settings.write_offset = last;
        Ok(FlashStep::Erase { address: dfu.firmware_start.wrapping_add(last), pages: size.div_ceil(page) })
    }

    /// Bytes of a data object: where they go (`on_data_obj_write_request`). Nothing is counted yet.
    ///
    /// # Errors
    /// No init packet, or more bytes than were announced.
    pub fn data_write(&self, dfu: &Dfu, data: &[u8]) -> Result<FlashStep, Refusal> {
        if !dfu.init_valid {
            return Err(ResultCode::OperationNotPermitted.into());
        }
        let progress = &dfu.settings.progress;
        let there = progress.image_offset.wrapping_sub(progress.image_offset_last);
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if there.checked_add(len).is_none_or(|end| end > progress.data_object_size) {
            return Err(ResultCode::InvalidParameter.into());
        }
        let address = dfu.firmware_start.wrapping_add(dfu.settings.write_offset);
        Ok(FlashStep::Store { address, bytes: data.to_vec() })
    }

    /// Those bytes count: the flash queue has taken them.
    pub fn data_written(&self, dfu: &mut Dfu, data: &[u8]) {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        dfu.settings.write_offset = dfu.settings.write_offset.wrapping_add(len);
        let progress = &mut dfu.settings.progress;
        progress.image_offset = progress.image_offset.wrapping_add(len);
        progress.image_crc = super::crc32(data, progress.image_crc);
    }

    /// A data object is complete: whether the whole image is (`on_data_obj_execute_request`). When flash is idle, what
    /// follows is [`Nordic::activation_prepare`], or where progress is saved [`Nordic::settings_write_and_backup`].
    ///
    /// # Errors
    /// Bytes are missing.
    pub fn data_execute(&self, dfu: &mut Dfu) -> Result<bool, Refusal> {
        let progress = &mut dfu.settings.progress;
        if progress.data_object_size != progress.image_offset.wrapping_sub(progress.image_offset_last) {
            return Err(ResultCode::OperationNotPermitted.into());
        }
        progress.data_object_size = 0;
        progress.image_crc_last = progress.image_crc;
        progress.image_offset_last = progress.image_offset;
        Ok(progress.image_offset == dfu.firmware_size)
    }

    /// `DATA_OBJECT_MAX_SIZE`: one page.
    #[must_use]
    pub fn data_object_max(&self) -> u32 {
        self.map.page()
    }

    /// The whole image is there: it is checked against the init packet that was decoded last, and what the next boot is to do with it noted in the settings
    /// (`nrf_dfu_validation_activation_prepare`). In either case they are then to be written with
    /// [`Nordic::settings_write_and_backup`], and the device resets.
    ///
    /// # Errors
    /// Why the image is refused; bank 1 and all progress are given up.
    pub fn activation_prepare(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let prepared = self.postvalidate(dfu, flash);
        self.plain_late(prepared)
    }
}
