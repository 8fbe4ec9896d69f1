//! Whether an init packet is for this device, and new enough (nrf5 sdk 17.1: `nrf_dfu_ver_validation.c`).
//!
//! | SoftDevice | first entry of `sd_req` | accepted |
//! |---|---|---|
//! | there | no entries | no (SDK 15.0: as an entry of 0) |
//! | there | not 0 | when an entry is the firmware id of the SoftDevice; for another device also when one is 0xfffe |
//! | there | 0, for an application | with downgrade prevention and further entries only when one is its firmware id, and never in a build that needs it; otherwise yes |
//! | there | 0, for a SoftDevice | only in builds without SoftDevice and without downgrade prevention |
//! | there | 0, otherwise | yes; for another device no |
//! | not there | not 0 | no; for another device when one is 0xfffe |
//! | not there | 0, or no entries | when there is a version, or downgrades are allowed |
//!
//! | type | compared with | accepted | a version is required |
//! |---|---|---|---|
//! | application | application | greater, or equal by option; any by option | unless any is accepted |
//! | SoftDevice | application | likewise | no |
//! | bootloader, SoftDevice with bootloader | bootloader | greater | yes |
//! | another device | application | greater or equal, by option | by option |

use super::dfu::fault;
use super::{ExtendedError, Nordic, Profile, Refusal, Settings, SoftdeviceInfo};
use crate::flash::Flash;
use crate::image::nordic::{FwType, HashType, InitCommand};

/// `SD_REQ_APP_OVERWRITES_SD`.
const OVERWRITES_SD: u32 = 0;
/// `SD_REQ_ANY_VERSION`.
const ANY_VERSION: u32 = 0xfffe;

/// The type, as the C code reads one that is absent.
pub(super) fn fw_type(init: &InitCommand) -> FwType {
    init.fw_type.unwrap_or(FwType::Application)
}

impl Nordic {
    /// Whether versions do not count: a packet for development in a build for development.
    pub(super) fn is_lenient(&self, init: &InitCommand) -> bool {
        self.options.debug && init.is_debug == Some(true)
    }

    /// `nrf_dfu_ver_validation_check`.
    pub(super) fn check_versions(&self, init: &InitCommand, settings: &Settings, flash: &Flash) -> Result<(), Refusal> {
        let known = match init.fw_type {
            Some(FwType::ExternalApplication) => self.options.external_app,
            Some(FwType::Other(_)) | None => false,
            Some(_) => true,
        };
        if !known {
            return Err(ExtendedError::InitCommandInvalid.into());
        }
        if init.hash.as_ref().map(|hash| hash.kind) != Some(HashType::Sha256) {
            return Err(ExtendedError::WrongHashType.into());
        }
        if self.is_lenient(init) {
            return Ok(());
        }
        let hardware = init.hw_version.ok_or(ExtendedError::InitCommandInvalid)?;
        if hardware != self.options.hw_version {
            return Err(ExtendedError::HwVersionFailure.into());
        }
        let installed = SoftdeviceInfo::installed(&self.map, flash).map_err(fault)?;
        if !self.sd_req_ok(init, installed) {
            return Err(ExtendedError::SdVersionFailure.into());
        }
        match init.fw_version {
            Some(version) if !self.fw_version_ok(fw_type(init), version, settings) => {
                Err(ExtendedError::FwVersionFailure.into())
            }
            None if self.fw_version_required(fw_type(init)) => Err(ExtendedError::InitCommandInvalid.into()),
            _ => Ok(()),
        }
    }

    /// `sd_req_ok`.
    fn sd_req_ok(&self, init: &InitCommand, installed: Option<SoftdeviceInfo>) -> bool {
        let (options, kind) = (&self.options, fw_type(init));
        let early = options.profile == Profile::V15_0;
        let external = kind == FwType::ExternalApplication;
        let prevents = options.app_downgrade_prevention || options.ble && kind == FwType::Softdevice;
        let matches = |fwid: Option<u16>, any: bool| {
            init.sd_req
                .iter()
                .any(|asked| fwid.is_some_and(|fwid| *asked == u32::from(fwid)) || any && *asked == ANY_VERSION)
        };
        match (installed, init.sd_req.first()) {
            (Some(_), None) if !early => false,
            (Some(info), Some(first)) if *first != OVERWRITES_SD => matches(Some(info.fwid), external && !early),
            (Some(info), _) if kind == FwType::Application => {
                if prevents && init.sd_req.len() > 1 {
                    matches(Some(info.fwid), false) && (!options.ble || early)
                } else {
                    true
                }
            }
            (Some(_), _) if external && options.external_app => false,
            (Some(_), _) => !prevents || kind != FwType::Softdevice,
            (None, Some(first)) if *first != OVERWRITES_SD => options.external_app && matches(None, external),
            (None, _) => !prevents || init.fw_version.is_some(),
        }
    }

    /// `fw_version_ok`.
    fn fw_version_ok(&self, kind: FwType, version: u32, settings: &Settings) -> bool {
        let options = &self.options;
        match kind {
            FwType::Application | FwType::Softdevice => {
                let same = options.accept_same_version || options.profile == Profile::V15_0;
                !options.app_downgrade_prevention
                    || version > settings.app_version
                    || version == settings.app_version && same
            }
            FwType::ExternalApplication if options.external_app => {
                !options.external_app_versioning || version >= settings.app_version
            }
            _ => version > settings.bootloader_version,
        }
    }

    /// `fw_version_required`.
    fn fw_version_required(&self, kind: FwType) -> bool {
        match kind {
            FwType::Softdevice => false,
            FwType::Application => self.options.app_downgrade_prevention,
            FwType::ExternalApplication if self.options.external_app => self.options.external_app_versioning,
            _ => true,
        }
    }

    /// The version checks of SDK 12 to 14, which come before that of the signature (nrf5 sdk 14.2:
    /// `dfu_req_handling.c`, `dfu_handle_prevalidate`).
    pub(super) fn check_versions_early(
        &self,
        init: &InitCommand,
        settings: &Settings,
        flash: &Flash,
    ) -> Result<(), Refusal> {
        let kind = fw_type(init);
        let hardware = init.hw_version.ok_or(ExtendedError::InitCommandInvalid)?;
        if hardware != self.options.hw_version {
            return Err(ExtendedError::HwVersionFailure.into());
        }
        let any = self.options.profile > Profile::V12_3 && kind == FwType::SoftdeviceBootloader;
        if self.options.ble && !any {
            let installed = SoftdeviceInfo::installed(&self.map, flash).map_err(fault)?;
            let fwid = installed.map_or(u32::from(u16::MAX), |info| info.fwid.into());
            if !init.sd_req.contains(&fwid) {
                return Err(ExtendedError::SdVersionFailure.into());
            }
        }
        let too_low = match kind {
            FwType::Softdevice => false,
            FwType::Application => init.fw_version.ok_or(ExtendedError::InitCommandInvalid)? < settings.app_version,
            FwType::Bootloader | FwType::SoftdeviceBootloader => {
                init.fw_version.ok_or(ExtendedError::InitCommandInvalid)? <= settings.bootloader_version
            }
            FwType::ExternalApplication | FwType::Other(_) => return Err(ExtendedError::InitCommandInvalid.into()),
        };
        if too_low { Err(ExtendedError::FwVersionFailure.into()) } else { Ok(()) }
    }
}
