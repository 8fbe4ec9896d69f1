//! Whether an init packet is accepted (nrf5 sdk 17.1: `nrf_dfu_validation.c`).
//!
//! | order | 15.0 and later | answer | 14.2 (12.3: `0a` for each extended error) | answer |
//! |---|---|---|---|---|
//! | 1 | it is complete | 08 | the same | 08 |
//! | 2 | it was accepted before: success | 01 | the same | 01 |
//! | 3 | it can be decoded | 05 | the same; it is of the signed form | 05; 0b 03 |
//! | 4 | it has a signature, where one is required | 0b 08 | it is no packet for debug builds, in a release build | 0a |
//! | 5 | the signature is of the type it can check | 0b 0b | versions | as `versions` |
//! | 6 | it has 64 bytes | 0a | type, length and value of the signature | 0b 0b, 0a, 05 |
//! | 7 | it is right | 05 | each size that the type needs | 0b 04, 03 |
//! | 8 | versions | as `versions` | a bootloader fits its area | 04 |
//! | 9 | a bootloader fits its area | 04 | the size is not 0 | 03 |
//! | 10 | there is a size | 0b 04 | there is room | 04 |
//! | 11 | there is room | 04 | | |

use super::dfu::fault;
use super::versions::fw_type;
use super::{Dfu, ExtendedError, Nordic, Profile, Refusal, ResultCode, Settings};
use crate::flash::Flash;
use crate::image::nordic::{FwType, InitCommand, InitPacket, Signature, SignatureType, sign};

impl Nordic {
    /// The init packet of the settings (`stored_init_cmd_decode`).
    pub(super) fn stored_packet(&self, settings: &Settings) -> Option<InitPacket> {
        InitPacket::parse_as(settings.stored_init_command(), self.options.profile.decoder()).ok()
    }

    pub(super) fn execute_init_command(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let profile = self.options.profile;
        if dfu.settings.progress.command_offset != dfu.settings.progress.command_size {
            return Err(ResultCode::OperationNotPermitted.into());
        }
        if dfu.init_valid {
            return self.execute_again(dfu, flash);
        }
        let packet = self.stored_packet(&dfu.settings);
        dfu.decoded = packet.as_ref().map(|packet| packet.command.clone());
        let packet = packet.ok_or(ResultCode::InvalidObject)?;
        (dfu.firmware_start, dfu.firmware_size) = (0, 0);
        let accepted = if profile < Profile::V15_0 {
            self.accept_early(&packet, dfu, flash).map_err(|refusal| self.plain(refusal))
        } else {
            self.accept(&packet, dfu, flash)
        };
        match accepted {
            Ok(()) => dfu.init_valid = true,
            // SDK 15.0 and earlier keep what they refuse.
            Err(_) if profile >= Profile::V15_3 => dfu.settings.progress_reset(),
            Err(_) => {}
        }
        accepted
    }

    /// Start and size anew, of a packet that was accepted.
    fn execute_again(&self, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let profile = self.options.profile;
        if profile < Profile::V15_0 && dfu.firmware_start != 0 {
            return Ok(());
        }
        dfu.firmware_start = self.bank_1_start(&dfu.settings, flash).map_err(fault)?;
        if profile <= Profile::V15_0 {
            // Where the size was noted when the packet was accepted.
            dfu.firmware_size = dfu.settings.bank_1.image_size;
            return Ok(());
        }
        let init = dfu.decoded.as_ref().ok_or(ResultCode::InvalidObject)?;
        dfu.firmware_size = self.image_size(init)?;
        Ok(())
    }

    fn accept(&self, packet: &InitPacket, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        self.prevalidate(packet, &dfu.settings, flash)?;
        // SDK 15.0 takes the packet for accepted from here on.
        dfu.init_valid = self.options.profile == Profile::V15_0;
        dfu.firmware_size = self.image_size(&packet.command)?;
        dfu.firmware_start = self.make_room(&packet.command, dfu, flash)?;
        Ok(())
    }

    /// Signature and versions (`nrf_dfu_validation_prevalidate`).
    pub(super) fn prevalidate(&self, packet: &InitPacket, settings: &Settings, flash: &Flash) -> Result<(), Refusal> {
        if self.signature_required(fw_type(&packet.command)) {
            let signed = packet.signed_bytes(settings.stored_init_command()).unwrap_or_default();
            let signature = packet.signature.as_ref().ok_or(ExtendedError::SignatureMissing)?;
            self.check_signature(signature, signed)?;
        }
        self.check_versions(&packet.command, settings, flash)
    }

    /// `signature_required`.
    fn signature_required(&self, kind: FwType) -> bool {
        match kind {
            FwType::Application => self.options.require_signed_app,
            FwType::Softdevice if !self.options.ble => self.options.require_signed_app,
            _ => true,
        }
    }

    /// `nrf_dfu_validation_signature_check`.
    fn check_signature(&self, signature: &Signature, message: &[u8]) -> Result<(), Refusal> {
        if signature.kind != SignatureType::EcdsaP256Sha256 {
            return Err(ExtendedError::WrongSignatureType.into());
        }
        // SDK 12 leaves a wrong length to the check itself.
        if signature.bytes.len() != sign::SIGNATURE_LEN && self.options.profile > Profile::V12_3 {
            return Err(ResultCode::OperationFailed.into());
        }
        if self.public_key().is_some_and(|key| sign::verify(key, message, &signature.bytes)) {
            Ok(())
        } else {
            Err(ResultCode::InvalidObject.into())
        }
    }

    /// `update_data_size_get`.
    fn image_size(&self, init: &InitCommand) -> Result<u32, Refusal> {
        let kind = fw_type(init);
        let app = matches!(kind, FwType::Application | FwType::ExternalApplication);
        let size = match init.app_size {
            Some(size) if app => size,
            _ => {
                let softdevice = kind.has_softdevice().then_some(init.sd_size).flatten().unwrap_or(0);
                let bootloader = kind.has_bootloader().then_some(init.bl_size).flatten().unwrap_or(0);
                if bootloader > self.bootloader_size() {
                    return Err(ResultCode::InsufficientResources.into());
                }
                softdevice.wrapping_add(bootloader)
            }
        };
        if size == 0 { Err(ExtendedError::InitCommandInvalid.into()) } else { Ok(size) }
    }

    fn accept_early(&self, packet: &InitPacket, dfu: &mut Dfu, flash: &Flash) -> Result<(), Refusal> {
        let init = &packet.command;
        let signature = packet.signature.as_ref().ok_or(ExtendedError::UnknownCommand)?;
        if !self.options.debug && init.is_debug == Some(true) {
            return Err(ResultCode::OperationFailed.into());
        }
        if !self.is_lenient(init) {
            self.check_versions_early(init, &dfu.settings, flash)?;
        }
        let signed = packet.signed_bytes(dfu.settings.stored_init_command()).unwrap_or_default();
        self.check_signature(signature, signed)?;
        let size = |size: Option<u32>| size.ok_or(ExtendedError::InitCommandInvalid);
        let total = match fw_type(init) {
            FwType::Application => size(init.app_size)?,
            FwType::Softdevice => size(init.sd_size)?,
            FwType::Bootloader => size(init.bl_size)?,
            FwType::SoftdeviceBootloader => {
                let (bootloader, softdevice) = (size(init.bl_size)?, size(init.sd_size)?);
                if bootloader == 0 || softdevice == 0 {
                    return Err(ResultCode::InvalidParameter.into());
                }
                softdevice.wrapping_add(bootloader)
            }
            FwType::ExternalApplication | FwType::Other(_) => return Err(ExtendedError::InitCommandInvalid.into()),
        };
        if fw_type(init).has_bootloader() && init.bl_size.is_some_and(|size| size > self.bootloader_size()) {
            return Err(ResultCode::InsufficientResources.into());
        }
        if total == 0 {
            return Err(ResultCode::InvalidParameter.into());
        }
        dfu.firmware_size = total;
        dfu.firmware_start = self.make_room(init, dfu, flash)?;
        Ok(())
    }

    /// SDK 12 has no extended errors.
    fn plain(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Extended(_) if !self.options.profile.has_extended_errors() => ResultCode::OperationFailed.into(),
            _ => refusal,
        }
    }

    /// The same for what is refused later.
    pub(super) fn plain_late(&self, refused: Result<(), Refusal>) -> Result<(), Refusal> {
        refused.map_err(|refusal| self.plain(refusal))
    }
}
