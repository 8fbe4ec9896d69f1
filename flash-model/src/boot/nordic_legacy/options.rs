//! How a Legacy DFU bootloader was built.

/// Whose bootloader it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// The example of the nRF5 SDK 11, with Bluetooth LE.
    #[default]
    Sdk11,
    /// Adafruit's, for nRF52: Bluetooth LE, and a serial line.
    Adafruit,
}

/// `device_type` and `device_revision` of a device that has none (`DFU_DEVICE_TYPE_EMPTY`).
pub const DEVICE_EMPTY: u16 = 0xffff;
/// `device_type` of Adafruit's boards (`ADAFRUIT_DEVICE_TYPE`).
pub const ADAFRUIT_DEVICE_TYPE: u16 = 0x0052;
/// `device_rev` of Adafruit's boards with an nRF52840.
pub const ADAFRUIT_NRF52840: u16 = 52840;
/// The same with an nRF52832.
pub const ADAFRUIT_NRF52832: u16 = 0xadaf;

/// Values of GPREGRET (nrf5 sdk 11: `bootloader_types.h`; Adafruit's bootloader: `main.c`).
pub mod gpregret {
    /// An application asks for DFU mode; Adafruit's takes it for Bluetooth LE.
    pub const DFU_START: u8 = 0xb1;
    /// DFU mode over Bluetooth LE (`DFU_MAGIC_OTA_RESET`).
    pub const OTA: u8 = 0xa8;
    /// DFU mode over a serial line (`DFU_MAGIC_SERIAL_ONLY_RESET`).
    pub const SERIAL: u8 = 0x4e;
    /// DFU mode over a serial line and mass storage (`DFU_MAGIC_UF2_RESET`).
    pub const UF2: u8 = 0x57;
    /// No DFU mode, whatever else asks for it (`DFU_MAGIC_SKIP`).
    pub const SKIP: u8 = 0x6d;
}

/// How it was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whose it is.
    pub kind: Kind,
    /// `dfu_single_bank.c` in place of `dfu_dual_bank.c`.
    pub single_bank: bool,
    /// What init packets must be for: of SDK 11 from UICR, of Adafruit's fixed.
    pub device_type: u16,
    /// The same; Adafruit's looks at it for a SoftDevice or a bootloader only.
    pub device_revision: u16,
    /// Bytes there are for an init packet.
    pub init_packet_max: u8,
    /// Without an application, DFU mode is over Bluetooth LE (Adafruit's `DEFAULT_TO_OTA_DFU`; SDK 11 has no other).
    pub default_to_ota: bool,
    /// `DFU_TIMEOUT_INTERVAL`, in milliseconds.
    pub inactivity_timeout_ms: u32,
    /// The parts in which a SoftDevice that is larger than the old one is copied are of whole pages. Adafruit mended that.
    pub whole_page_blocks: bool,
}

impl Options {
    /// `dual_bank_ble_s132`.
    #[must_use]
    pub fn sdk11() -> Self {
        Self {
            kind: Kind::Sdk11,
            single_bank: false,
            device_type: DEVICE_EMPTY,
            device_revision: DEVICE_EMPTY,
            init_packet_max: 128,
            default_to_ota: true,
            inactivity_timeout_ms: 120_000,
            whole_page_blocks: false,
        }
    }

    /// `single_bank_ble_s132`.
    #[must_use]
    pub fn sdk11_single_bank() -> Self {
        Self { single_bank: true, init_packet_max: 64, ..Self::sdk11() }
    }

    /// Adafruit's for an nRF52840, as its Makefile builds it.
    #[must_use]
    pub fn adafruit() -> Self {
        Self {
            kind: Kind::Adafruit,
            single_bank: true,
            device_type: ADAFRUIT_DEVICE_TYPE,
            device_revision: ADAFRUIT_NRF52840,
            init_packet_max: 128,
            default_to_ota: false,
            inactivity_timeout_ms: 360_000,
            whole_page_blocks: true,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::sdk11()
    }
}
