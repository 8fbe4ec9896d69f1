//! Whether an image is accepted, and what the next boot does with it (nrf5 sdk 17.1: `nrf_dfu_validation.c`,
//! `postvalidate`).
//!
//! | order | check | answer |
//! |---|---|---|
//! | 1 | the SHA-256 is that of the init packet | 0b 0c |
//! | 2 | SoftDevice: magic, size, family, and with another major version a bootloader beside it | 05 |
//! | 3 | the boot validation can be made, and holds | 05 |
//! | 4 | application: it is a signature, where one is required | 05 |
//!
//! | accepted | bank 0 | bank 1 | also |
//! |---|---|---|---|
//! | application | code invalid | application | its boot validation and version |
//! | SoftDevice | all invalid if the major version is another one | SoftDevice | its boot validation and size |
//! | bootloader | as it was | bootloader | its version |
//! | SoftDevice with bootloader | as with a SoftDevice | both | all of these |
//!
//! In each case, and also when the image is refused, the init packet and all progress are gone, and the place of the image
//! is noted. A refused image leaves bank 1 invalid.

use super::cache::{needs_softdevice, softdevice_invalidate};
use super::dfu::fault;
use super::versions::fw_type;
use super::{
    BankCode, BootValidation, Dfu, ExtendedError, MBR_SIZE, Nordic, Profile, Refusal, ResultCode, Settings,
    SoftdeviceInfo, ValidationKind,
};
use crate::flash::{Flash, FlashError};
use crate::image::nordic::{FwType, HashType, InitCommand, sign};

impl Nordic {
    pub(super) fn postvalidate(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let (start, size) = (dfu.firmware_start, dfu.firmware_size);
        let received = dfu.settings.progress.image_crc;
        // Without any init packet the C code follows a null pointer, and compares with what stands there.
        let init = dfu.decoded.clone();
        let checked = init.map_or(Err(ExtendedError::VerificationFailed.into()), |init| self.take(&init, dfu, flash));
        let taken = checked.and_then(|()| {
            // SDK 15.0 and earlier take the CRC of what was received for that of what is in flash.
            let early = self.options.profile <= Profile::V15_0;
            if early { Ok(received) } else { self.map.crc32(flash, start, size).map_err(fault) }
        });
        match taken {
            Ok(crc) => (dfu.settings.bank_1.image_crc, dfu.settings.bank_1.image_size) = (crc, size),
            Err(_) => dfu.settings.invalidate_bank_1(),
        }
        dfu.settings.progress_reset();
        dfu.settings.progress.image_crc = start;
        taken.map(|_| ())
    }

    fn take(&self, init: &InitCommand, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let (start, size) = (dfu.firmware_start, dfu.firmware_size);
        let hash = init.hash.as_ref();
        if self.options.profile < Profile::V15_0 && hash.map(|hash| hash.kind) != Some(HashType::Sha256) {
            return Err(ExtendedError::WrongHashType.into());
        }
        let mut expected = [0; 32];
        for (to, from) in expected.iter_mut().rev().zip(hash.map_or(&[][..], |hash| &hash.bytes)) {
            *to = *from;
        }
        // Bytes at address 0 are none to the hash functions (nrf5 sdk 15.0: `nrf_crypto_hash.c`, `nrf_crypto_hash_update`).
        let nowhere = start == 0 && self.options.profile >= Profile::V15_0;
        if nowhere || self.map.sha256(flash, start, size).map_err(fault)? != expected {
            return Err(ExtendedError::VerificationFailed.into());
        }
        match fw_type(init) {
            FwType::Application => self.take_app(init, dfu, flash),
            FwType::ExternalApplication => {
                dfu.settings.bank_1.code = BankCode::ExternalApp;
                Ok(())
            }
            kind => {
                let taken = self.take_softdevice_bootloader(init, &mut dfu.settings, (start, size), flash);
                if taken.is_err() && kind.has_softdevice() && !self.options.ble && start == MBR_SIZE {
                    self.invalidate_softdevice(dfu, flash)?;
                }
                taken
            }
        }
    }

    /// `postvalidate_app`.
    fn take_app(&self, init: &InitCommand, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        if self.options.profile > Profile::V15_0 {
            let place = (dfu.firmware_start, dfu.firmware_size);
            let validation = self.extract(init, 0, place, ValidationKind::Crc, flash)?;
            let signed = validation.kind == ValidationKind::EcdsaP256Sha256.number();
            if self.options.app_signature_check_required && !signed {
                return Err(ResultCode::InvalidObject.into());
            }
            dfu.settings.boot_validation_app = validation;
        }
        dfu.settings.bank_1.code = BankCode::App;
        dfu.settings.bank_0.code = BankCode::Invalid;
        if !self.options.ble && !needs_softdevice(init) {
            self.invalidate_softdevice(dfu, flash)?;
        }
        if !self.is_lenient(init) {
            dfu.settings.app_version = init.fw_version.unwrap_or(0);
        }
        Ok(())
    }

    /// `postvalidate_sd_bl`.
    fn take_softdevice_bootloader(
        &self,
        init: &InitCommand,
        settings: &mut Settings,
        (start, size): (u32, u32),
        flash: &Flash,
    ) -> Result<(), Refusal> {
        let kind = fw_type(init);
        let (with_sd, with_bl) = (kind.has_softdevice(), kind.has_bootloader());
        let sd_size = init.sd_size.unwrap_or(0);
        let validates = self.options.profile > Profile::V15_0;
        let mut major = false;
        if with_sd {
            major = self.check_softdevice(start, sd_size, flash)?;
            if major && self.options.ble && !with_bl {
                return Err(ResultCode::InvalidObject.into());
            }
        }
        let mut validations = (settings.boot_validation_softdevice, settings.boot_validation_bootloader);
        if with_sd && validates {
            validations.0 = self.extract(init, 0, (start, sd_size), ValidationKind::Crc, flash)?;
        }
        if with_bl && validates {
            let before = if with_sd { sd_size } else { 0 };
            let place = (start.wrapping_add(before), size.wrapping_sub(before));
            validations.1 = self.extract(init, usize::from(with_sd), place, ValidationKind::None, flash)?;
        }
        (settings.boot_validation_softdevice, settings.boot_validation_bootloader) = validations;
        settings.bank_1.code = BankCode::Bootloader;
        if with_sd {
            if major {
                settings.invalidate_bank_0();
            }
            settings.bank_1.code = if with_bl { BankCode::SoftdeviceBootloader } else { BankCode::Softdevice };
            settings.sd_size = sd_size;
        }
        if with_bl && !self.is_lenient(init) {
            settings.bootloader_version = init.fw_version.unwrap_or(0);
        }
        Ok(())
    }

    /// Whether what lies at `start` is a SoftDevice for this device; whether its major version is another one
    /// (`softdevice_info_ok`, `is_major_softdevice_update`).
    fn check_softdevice(&self, start: u32, sd_size: u32, flash: &Flash) -> Result<bool, Refusal> {
        let read = |base: u32| SoftdeviceInfo::read(&self.map, flash, base).map_err(fault);
        let new = read(start)?.ok_or(ResultCode::InvalidObject)?;
        if new.size < self.map.align(sd_size.wrapping_add(MBR_SIZE)) {
            return Err(ResultCode::InvalidObject.into());
        }
        let Some(installed) = read(MBR_SIZE)? else { return Ok(true) };
        if self.options.profile >= Profile::V16_0 && installed.id != new.id {
            return Err(ResultCode::InvalidObject.into());
        }
        Ok(installed.major() != new.major())
    }

    /// The boot validation of an image, which must hold (`boot_validation_extract`).
    fn extract(
        &self,
        init: &InitCommand,
        index: usize,
        (start, size): (u32, u32),
        default: ValidationKind,
        flash: &Flash,
    ) -> Result<BootValidation, Refusal> {
        let entry = init.boot_validation.get(index);
        let kind = entry.map_or(default.number(), |entry| entry.kind.code());
        let validation = match ValidationKind::of(kind) {
            None => return Err(ResultCode::InvalidObject.into()),
            Some(ValidationKind::None) => BootValidation::NONE,
            Some(ValidationKind::Crc) => BootValidation::crc(self.map.crc32(flash, start, size).map_err(fault)?),
            Some(ValidationKind::Sha256) => BootValidation::sha256(self.map.sha256(flash, start, size).map_err(fault)?),
            Some(ValidationKind::EcdsaP256Sha256) => {
                let mut bytes = [0; 64];
                for (to, from) in bytes.iter_mut().zip(entry.map_or(&[][..], |entry| &entry.bytes)) {
                    *to = *from;
                }
                BootValidation { kind, bytes }
            }
        };
        if self.boot_validate(&validation, start, size, flash).map_err(fault)? {
            Ok(validation)
        } else {
            Err(ResultCode::InvalidObject.into())
        }
    }

    /// Whether an image is what its boot validation says (`nrf_dfu_validation_boot_validate`). A wrong CRC passes in a
    /// debug build.
    ///
    /// # Errors
    /// [`FlashError::ReadFault`].
    pub fn boot_validate(
        &self,
        validation: &BootValidation,
        start: u32,
        size: u32,
        flash: &Flash,
    ) -> Result<bool, FlashError> {
        Ok(match ValidationKind::of(validation.kind) {
            None => false,
            Some(ValidationKind::None) => true,
            Some(ValidationKind::Crc) => {
                self.map.crc32(flash, start, size)? == validation.crc_value() || self.options.debug
            }
            Some(ValidationKind::Sha256) => self.map.sha256(flash, start, size)? == validation.bytes[..32],
            Some(ValidationKind::EcdsaP256Sha256) => {
                let mut image = Vec::new();
                self.map.visit(flash, start, size, |piece| image.extend_from_slice(piece))?;
                self.public_key().is_some_and(|key| sign::verify(key, &image, &validation.bytes))
            }
        })
    }

    /// `nrf_dfu_softdevice_invalidate`.
    fn invalidate_softdevice(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let Some(installed) = SoftdeviceInfo::installed(&self.map, flash).map_err(fault)? else { return Ok(()) };
        dfu.steps.push(softdevice_invalidate());
        let bank = &mut dfu.settings.bank_0;
        if bank.code == BankCode::App {
            bank.code = BankCode::Invalid;
        }
        bank.image_size = bank.image_size.wrapping_add(installed.size.wrapping_sub(MBR_SIZE));
        Ok(())
    }
}
