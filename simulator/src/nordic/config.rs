//! How the software of a board of Nordic's was built, beside what its bootloader keeps in flash.

use brickproof_flash_model::boot::nordic::{Nordic, Profile};

use super::gatt::secure_mtu;
use crate::gatt::{ConnectionParameters, Security};
use crate::smp::gatt::{GattConfig, Pace, Pairing};

/// The way from the application into DFU mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Buttonless {
    /// There is none: by button or by a lost application only.
    None,
    /// `ble_dfu_unbonded.c`: the bootloader is at the next address.
    #[default]
    Unbonded,
    /// `ble_dfu_bonded.c`: the bond is shared, and the address stays.
    Bonded,
    /// SDK 12: notifications in place of indications.
    Experimental,
    /// SDK 11 and before: the control point of Legacy DFU.
    Legacy,
}

/// What a SoftDevice makes of writes that the properties of a characteristic do not offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// They are refused: "write not permitted".
    #[default]
    Strict,
    /// A write request to the packet characteristic is taken like a command, and answered.
    Lenient,
}

/// The Secure DFU server of a bootloader (nrf5 sdk 17.1: `sdk_config.h` of `pca10056_s140_ble`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DfuConfig {
    /// `NRF_DFU_PROTOCOL_REDUCED`: version, MTU and ping are not there over Bluetooth LE.
    pub reduced_protocol: bool,
    /// `NRF_SDH_BLE_GATT_MAX_MTU_SIZE`.
    pub mtu: u16,
    /// Buffers for packets (`MAX_DFU_BUFFERS`).
    pub buffers: usize,
    /// Operations that the flash driver queues (`NRF_FSTORAGE_SD_QUEUE_SIZE`).
    pub flash_queue: usize,
    /// Events that the scheduler queues (`SCHED_QUEUE_SIZE`).
    pub scheduler_queue: usize,
    /// Notifications that wait to be sent (`hvn_tx_queue_size`); one more is lost, for the bootloader does not look at what
    /// becomes of it (`response_send`). `None`: no bound is known, as of SoftDevices before SDK 14.
    ///
    /// A link that works takes each of them at once here, so that none waits: nothing is said of two in one connection
    /// event. They wait while nothing arrives.
    pub hvn_queue: Option<usize>,
    /// Whether the buffer of a data packet that is refused is never free again, as in the code.
    pub leaks_on_reject: bool,
    /// How long the check of a whole image takes, in microseconds; the code gives no figure.
    pub validation_us: u64,
    /// From the response to the last execute to the end of the connection at least, in microseconds: settings are written
    /// meanwhile, however fast the flash of a run is.
    pub completion_us: u64,
    /// `NRF_DFU_BLE_REQUIRES_BONDS`.
    pub requires_bonds: bool,
    /// Whether the address in DFU mode is the next one; it is in every build without bonds.
    pub next_address: bool,
    /// Largest init packet that is told; `None`: that of the profile.
    pub command_max: Option<u32>,
    /// What a write that is not offered comes to.
    pub writes: Writes,
    /// `NRF_DFU_BLE_ADV_NAME`.
    pub name: String,
    /// Packets between two receipts that an earlier initiator has left set: the code never resets it.
    pub receipts: u16,
    /// Result of a create of an init packet while the battery is low; `None`: the bootloader does not look at it.
    pub low_battery: Option<u8>,
    /// Over a serial line: longest decoded frame (`NRF_SERIAL_OPCODE_SIZE` + data), 65 for a UART, 1025 for USB.
    pub serial_frame: usize,
    /// Part, variant, ROM, RAM and page size, as a serial line tells them.
    pub hardware: [u32; 5],
}

impl DfuConfig {
    /// What a serial line tells as its MTU: the longest frame, were every byte of it escaped.
    #[must_use]
    pub fn serial_mtu(&self) -> u16 {
        u16::try_from(2 * self.serial_frame + 1).unwrap_or(u16::MAX)
    }

    /// What the SDK of this profile has.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        let wide = profile >= Profile::V15_0;
        Self {
            reduced_protocol: true,
            mtu: if wide { 247 } else { 23 },
            buffers: if wide { 4096 / 244 + 1 } else { 4096 / 20 + 1 },
            flash_queue: 16,
            scheduler_queue: 32,
            hvn_queue: (profile > Profile::V12_3).then_some(1),
            leaks_on_reject: wide,
            validation_us: 200_000,
            completion_us: COMPLETION_US,
            requires_bonds: false,
            next_address: true,
            command_max: None,
            writes: Writes::Strict,
            name: "DfuTarg".into(),
            receipts: 0,
            low_battery: None,
            serial_frame: 65,
            hardware: [0x52840, 0x4141_4430, 0x10_0000, 0x4_0000, 0x1000],
        }
    }
}

/// A dozen round trips, which is fast.
pub(crate) const DISCOVERY_US: u64 = 200_000;
/// From the outcome of an update to the end of the connection: two pages of settings are written, each erased before
/// (nRF52840 product specification, NVMC).
const COMPLETION_US: u64 = 190_000;
/// Two connection events of a usual interval; the SDK gives no figure.
const ENTRY_US: u64 = 100_000;

/// All that a board of Nordic's runs.
#[derive(Debug)]
pub struct NordicBoard {
    /// The bootloader.
    pub bootloader: Nordic,
    /// Its DFU server.
    pub dfu: DfuConfig,
    /// The way into it from an application.
    pub buttonless: Buttonless,
    /// Whether an application ends its connections before it resets, as the example of the SDK does.
    pub application_says_goodbye: bool,
    /// From the confirmation of an entry to the reset, in microseconds: the application shuts down what it has.
    pub entry_us: u64,
    /// Whether an application does not enter the bootloader while the battery is low.
    pub entry_heeds_battery: bool,
    /// Whether the button is held at the very first start.
    pub starts_in_dfu: bool,
}

impl NordicBoard {
    /// A board with this bootloader and the server of its SDK.
    #[must_use]
    pub fn new(bootloader: Nordic) -> Self {
        let dfu = DfuConfig::of(bootloader.options().profile);
        Self {
            bootloader,
            dfu,
            buttonless: Buttonless::default(),
            application_says_goodbye: true,
            entry_us: ENTRY_US,
            entry_heeds_battery: true,
            starts_in_dfu: false,
        }
    }

    /// What its links are like.
    #[must_use]
    pub fn link(&self) -> GattConfig {
        GattConfig {
            mtu: self.dfu.mtu,
            access: Security::Plain,
            // The application pairs; DFU mode never does.
            pairing: if self.dfu.requires_bonds || self.buttonless == Buttonless::Bonded {
                Pairing::JUST_WORKS
            } else {
                Pairing::REFUSED
            },
            // 15 ms, as DFU mode asks for; supervision timeout 6 s.
            parameters: ConnectionParameters { interval_min: 12, interval_max: 12, latency: 0, timeout: 600 },
            pace: Some(Pace::NORDIC),
            discovery_us: DISCOVERY_US,
            ..GattConfig::default()
        }
    }

    /// The ATT MTU that is answered.
    #[must_use]
    pub fn mtu(&self, asked: u16, max: u16) -> u16 {
        secure_mtu(asked, max)
    }

    /// Whether DFU mode on Bluetooth LE is not there without a bond that an application has shared.
    #[must_use]
    pub fn demands_bond(&self) -> bool {
        self.dfu.requires_bonds && self.bootloader.options().ble
    }

    /// What a link needs before it can use DFU.
    #[must_use]
    pub fn access(&self) -> Security {
        if self.dfu.requires_bonds { Security::Encrypted } else { Security::Plain }
    }
}
