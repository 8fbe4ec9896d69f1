//! How a bootloader was built: `sdk_config.h`, and which SDK it comes from.

use crate::image::nordic::Decoder;

/// A version of the SDK, with the behaviour that is its own.
///
/// | behaviour | 12.3 | 14.2 | 15.0 | 15.3 | 16.0 | 17.1 |
/// |---|---|---|---|---|---|---|
/// | extended errors | no | yes | yes | yes | yes | yes |
/// | longest init packet in bytes | 256 | 256 | 256 | 512 | 512 | 512 |
/// | settings version | 1 | 1 | 1 | 2 | 2 | 2 |
/// | backup of the settings | no | no | no | yes | yes | yes |
/// | versions are checked before the signature | yes | yes | no | no | no | no |
/// | unsigned init packets | no | no | by option | by option | by option | by option |
/// | GPREGRET asks for DFU mode | never | 0xb1 | any bit of 0xb1 | any bit | any bit | 0xb1 of 0xf9 |
/// | GPREGRET2 skips CRC checks | never | never | any bit of 0xa9 | any bit | bit 0 | 0xa9 of 0xf9 |
/// | SoftDevice of another family is refused | no | no | no | no | yes | yes |
/// | a refused init packet is wiped | no | no | no | yes | yes | yes |
///
/// What is stored where, and how an update is activated, is modelled as in 15.0 and later: 12.3 and 14.2, which chose
/// banks by `bank_current`, differ here in the rows of the table alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Profile {
    /// nRF5 SDK 12.3.
    V12_3,
    /// nRF5 SDK 13.0 to 14.2.
    V14_2,
    /// nRF5 SDK 15.0.
    V15_0,
    /// nRF5 SDK 15.3.
    V15_3,
    /// nRF5 SDK 16.0.
    V16_0,
    /// nRF5 SDK 17.x.
    #[default]
    V17_1,
}

impl Profile {
    /// All of them, the oldest first.
    pub const ALL: [Self; 6] = [Self::V12_3, Self::V14_2, Self::V15_0, Self::V15_3, Self::V16_0, Self::V17_1];

    /// Its name: `17.1`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V12_3 => "12.3",
            Self::V14_2 => "14.2",
            Self::V15_0 => "15.0",
            Self::V15_3 => "15.3",
            Self::V16_0 => "16.0",
            Self::V17_1 => "17.1",
        }
    }

    /// Whether there is a backup of the settings page.
    #[must_use]
    pub fn has_backup(self) -> bool {
        self >= Self::V15_3
    }

    /// `NRF_DFU_SETTINGS_VERSION`.
    #[must_use]
    pub fn settings_version(self) -> u32 {
        if self >= Self::V15_3 { 2 } else { 1 }
    }

    /// `INIT_COMMAND_MAX_SIZE` in bytes.
    #[must_use]
    pub fn init_command_max(self) -> u32 {
        if self >= Self::V15_3 { 512 } else { 256 }
    }

    /// How it reads init packets.
    #[must_use]
    pub fn decoder(self) -> Decoder {
        match self {
            Self::V12_3 => Decoder::Sdk12,
            Self::V14_2 => Decoder::Sdk14,
            Self::V15_0 => Decoder::Sdk15,
            Self::V15_3 | Self::V16_0 | Self::V17_1 => Decoder::Sdk15_3,
        }
    }

    /// Whether the link that breaks makes the bootloader load its settings again.
    #[must_use]
    pub fn reloads_on_disconnect(self) -> bool {
        self >= Self::V16_0
    }

    /// Whether progress is written to flash at each executed data object, whatever the options say.
    #[must_use]
    pub fn always_saves_progress(self) -> bool {
        self <= Self::V14_2
    }

    /// Whether it has extended errors.
    #[must_use]
    pub fn has_extended_errors(self) -> bool {
        self >= Self::V14_2
    }

    /// Whether GPREGRET asks for DFU mode.
    #[must_use]
    pub fn gpregret_asks(self, value: u8) -> bool {
        match self {
            Self::V12_3 => false,
            Self::V14_2 => value == DFU_START,
            Self::V15_0 | Self::V15_3 | Self::V16_0 => value & DFU_START != 0,
            Self::V17_1 => value & MAGIC_MASK == DFU_START,
        }
    }

    /// GPREGRET behind the entry into DFU mode.
    #[must_use]
    pub fn gpregret_cleared(self, value: u8) -> u8 {
        match self {
            Self::V12_3 => value,
            Self::V14_2 => 0,
            Self::V16_0 if value & 0x01 == 0 => value,
            _ if self.gpregret_asks(value) => value & !DFU_START,
            _ => value,
        }
    }

    /// Whether GPREGRET2 asks to skip CRC checks.
    #[must_use]
    pub fn gpregret2_asks(self, value: u8) -> bool {
        match self {
            Self::V12_3 | Self::V14_2 => false,
            Self::V15_0 | Self::V15_3 => value & SKIP_CRC != 0,
            Self::V16_0 => value & 0x01 != 0,
            Self::V17_1 => value & MAGIC_MASK == SKIP_CRC,
        }
    }
}

/// `BOOTLOADER_DFU_START`: written to GPREGRET by an application that wants DFU mode.
pub const DFU_START: u8 = 0xb1;
/// `BOOTLOADER_DFU_SKIP_CRC`: written to GPREGRET2 by an application that was whole a moment ago.
pub const SKIP_CRC: u8 = 0xa9;
/// `BOOTLOADER_DFU_START_MASK`, `BOOTLOADER_DFU_SKIP_CRC_MASK`.
const MAGIC_MASK: u8 = 0xf9;

/// How the bootloader was built. The default is `pca10056_s140_ble` of SDK 17.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Which SDK.
    pub profile: Profile,
    /// `NRF_DFU_REQUIRE_SIGNED_APP_UPDATE`.
    pub require_signed_app: bool,
    /// `NRF_DFU_APP_DOWNGRADE_PREVENTION`.
    pub app_downgrade_prevention: bool,
    /// `NRF_DFU_APP_ACCEPT_SAME_VERSION`.
    pub accept_same_version: bool,
    /// `NRF_DFU_HW_VERSION`.
    pub hw_version: u32,
    /// `NRF_DFU_SINGLE_BANK_APP_UPDATES`: an update takes the place of what it replaces at once.
    pub single_bank: bool,
    /// `NRF_DFU_FORCE_DUAL_BANK_APP_UPDATES`: what does not fit beside the application is refused.
    pub force_dual_bank: bool,
    /// `NRF_DFU_SUPPORTS_EXTERNAL_APP`.
    pub external_app: bool,
    /// `NRF_DFU_EXTERNAL_APP_VERSIONING`.
    pub external_app_versioning: bool,
    /// `NRF_BL_APP_SIGNATURE_CHECK_REQUIRED`: each boot checks a signature of the application.
    pub app_signature_check_required: bool,
    /// `NRF_DFU_DEBUG`: a build for development.
    pub debug: bool,
    /// `BLE_STACK_SUPPORT_REQD`: the bootloader itself needs the SoftDevice.
    pub ble: bool,
    /// `NRF_DFU_APP_DATA_AREA_SIZE` in bytes; `None`: as the layout says.
    pub app_data: Option<u32>,
    /// `NRF_DFU_SAVE_PROGRESS_IN_FLASH`: progress survives a reset.
    pub save_progress: bool,
    /// `NRF_BL_DFU_ALLOW_UPDATE_FROM_APP`: an application may receive an update for the bootloader to check.
    pub update_from_app: bool,
    /// `NRF_BL_DFU_ENTER_METHOD_BUTTON`.
    pub enter_by_button: bool,
    /// `NRF_BL_DFU_ENTER_METHOD_PINRESET`.
    pub enter_by_pin_reset: bool,
    /// `NRF_BL_DFU_ENTER_METHOD_GPREGRET`.
    pub enter_by_gpregret: bool,
    /// `NRF_BL_DFU_ENTER_METHOD_BUTTONLESS`: by a flag in the settings.
    pub enter_by_flag: bool,
    /// `NRF_BL_APP_CRC_CHECK_SKIPPED_ON_SYSTEMOFF_RESET`.
    pub skip_crc_on_system_off: bool,
    /// `NRF_BL_APP_CRC_CHECK_SKIPPED_ON_GPREGRET2`.
    pub skip_crc_on_gpregret2: bool,
    /// `NRF_BL_DFU_INACTIVITY_TIMEOUT_MS`; 0 for none.
    pub inactivity_timeout_ms: u32,
    /// `NRF_BL_DFU_CONTINUATION_TIMEOUT_MS`.
    pub continuation_timeout_ms: u32,
    /// `NRF_BL_FW_COPY_PROGRESS_STORE_STEP`: pages that are copied between two writes of the settings.
    pub copy_step: u32,
    /// `BOOTLOADER_SIZE`, the largest bootloader that is taken, in bytes; `None`: the bootloader area.
    pub bootloader_size: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            require_signed_app: true,
            app_downgrade_prevention: true,
            accept_same_version: true,
            hw_version: 52,
            single_bank: false,
            force_dual_bank: false,
            external_app: false,
            external_app_versioning: true,
            app_signature_check_required: false,
            debug: false,
            ble: true,
            app_data: None,
            save_progress: false,
            update_from_app: false,
            enter_by_button: true,
            enter_by_pin_reset: false,
            enter_by_gpregret: true,
            enter_by_flag: false,
            skip_crc_on_system_off: true,
            skip_crc_on_gpregret2: true,
            inactivity_timeout_ms: 120_000,
            continuation_timeout_ms: 10_000,
            copy_step: 8,
            bootloader_size: None,
        }
    }
}

impl Options {
    /// Whether progress is written to flash at each executed data object.
    #[must_use]
    pub fn saves_progress(&self) -> bool {
        self.save_progress || self.profile.always_saves_progress()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpregret_is_read_as_each_sdk_reads_it() {
        let asks = |value: u8| Profile::ALL.map(|profile| u8::from(profile.gpregret_asks(value)));
        assert_eq!(asks(0xb1), [0, 1, 1, 1, 1, 1]);
        assert_eq!(asks(0xb7), [0, 0, 1, 1, 1, 1]);
        assert_eq!(asks(0xb0), [0, 0, 1, 1, 1, 0]);
        assert_eq!(asks(0x01), [0, 0, 1, 1, 1, 0]);
        assert_eq!(asks(0x4e), [0, 0, 0, 0, 0, 0]);
        let cleared = |value: u8| Profile::ALL.map(|profile| profile.gpregret_cleared(value));
        assert_eq!(cleared(0xb7), [0xb7, 0, 0x06, 0x06, 0x06, 0x06]);
        assert_eq!(cleared(0xb0), [0xb0, 0, 0, 0, 0xb0, 0xb0]);
    }
}
