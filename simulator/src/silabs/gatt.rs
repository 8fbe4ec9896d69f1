//! What Silicon Labs' OTA is on GATT (docs.silabs.com: "Using the Gecko Bootloader with Silicon Labs Bluetooth Applications").
//!
//! | characteristic | length | properties | application, in place | AppLoader | application with a slot |
//! |---|---|---|---|---|---|
//! | `f7bf3564` OTA Control | 1 | write | yes | yes | yes |
//! | `984227f3` OTA Data | 1 to 244 | write, write without response | no | yes | yes |
//! | `4f4a2368` AppLoader version | 8 | read | by option | yes | no |
//! | `4cc07bcf` OTA version | 1 | read | by option | yes | no |
//! | `25f05c0a` Gecko bootloader version | 4 | read | by option | from OTA version 3 on | no |
//! | `0d77cc11` application version | 4 | read | by option | from OTA version 3 on | no |

use crate::gatt::{AttError, Uuid};

/// The OTA service. Builds with another one exist.
pub const SERVICE: Uuid = Uuid::from_bits(0x1d14_d6ee_fd63_4fa1_bfa4_8f47_b421_19f0);
/// OTA Control.
pub const CONTROL: Uuid = Uuid::from_bits(0xf7bf_3564_fb6d_4e53_88a4_5e37_e032_6063);
/// OTA Data.
pub const DATA: Uuid = Uuid::from_bits(0x9842_27f3_34fc_4045_a5d0_2c58_1f81_a153);
/// Version of the AppLoader: major, minor, patch, build.
pub const APPLOADER_VERSION: Uuid = Uuid::from_bits(0x4f4a_2368_8cca_451e_bfff_cf0e_e2ee_23e9);
/// Version of the OTA protocol.
pub const OTA_VERSION: Uuid = Uuid::from_bits(0x4cc0_7bcf_0868_4b32_9dad_ba4c_c41e_5316);
/// Version of the bootloader.
pub const BOOTLOADER_VERSION: Uuid = Uuid::from_bits(0x25f0_5c0a_e917_46e9_b2a5_aa2b_e124_5afe);
/// Version of the application.
pub const APPLICATION_VERSION: Uuid = Uuid::from_bits(0x0d77_cc11_4ac1_49f2_bfa9_cd96_ac7a_92f8);

/// Longest value of OTA Data in bytes.
pub const DATA_MAX: usize = 244;

/// Results of a write, as ATT application errors.
pub mod result {
    use super::AttError;

    /// CRC or signature is wrong. Of an application with a slot: the application refuses.
    pub const CRC: AttError = AttError(0x80);
    /// Data or the end before the start.
    pub const WRONG_STATE: AttError = AttError(0x81);
    /// There is no room for what comes without a response. Of an application with a slot: the slot is full.
    pub const BUFFERS_FULL: AttError = AttError(0x82);
    /// The image does not fit. Of an application with a slot: the slot could not be written.
    pub const TOO_BIG: AttError = AttError(0x83);
    /// Not a file that can be read.
    pub const NOT_SUPPORTED: AttError = AttError(0x84);
    /// Flash could not be erased or written.
    pub const BOOTLOADER: AttError = AttError(0x85);
    /// The bootloader cannot be used with this AppLoader.
    pub const INCORRECT_BOOTLOADER: AttError = AttError(0x86);
    /// The application lies over the AppLoader.
    pub const OVERLAP: AttError = AttError(0x87);
    /// The bootloader is too old.
    pub const INCOMPATIBLE_BOOTLOADER: AttError = AttError(0x88);
    /// The version of the application is refused.
    pub const VERSION: AttError = AttError(0x89);
}

/// What is written to OTA Control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// An update begins.
    Start,
    /// All of it has been sent.
    Finish,
    /// The device is to end the connection.
    Close,
    /// Reserved.
    Reserved(u8),
}

impl Control {
    /// What a byte means.
    #[must_use]
    pub fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Start,
            3 => Self::Finish,
            4 => Self::Close,
            other => Self::Reserved(other),
        }
    }

    /// Its name in traces and faults.
    #[must_use]
    pub fn call(self) -> &'static str {
        match self {
            Self::Start => "ota-start",
            Self::Finish => "ota-finish",
            Self::Close => "ota-close",
            Self::Reserved(_) => "ota-reserved",
        }
    }
}
