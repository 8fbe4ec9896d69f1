//! How the software of a board with a Legacy DFU bootloader was built, beside what the bootloader keeps in flash.

use brickproof_flash_model::boot::nordic_legacy::{Kind, NordicLegacy};

use crate::gatt::{ConnectionParameters, MTU_MIN, Security};
use crate::nordic::config::{DISCOVERY_US, Writes};
use crate::nordic::gatt::adafruit_mtu;
use crate::smp::gatt::{GattConfig, Pace, Pairing};

/// What an application tells the bootloader of the central that has asked for DFU mode (nrf5 sdk 11:
/// `dfu_app_handler.c`, `dfu_app_peer_data_set`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Nothing: the bootloader advertises to everybody, from the next address.
    #[default]
    None,
    /// The address of the central: the bootloader keeps the address of the device, advertises to that central alone, and
    /// resets after 64 s without it.
    Address,
    /// The bond: the same without the end, for the central with its identity key, and it encrypts with the keys of the
    /// bond. A central without a bond, or one that has given no identity key, is treated as with its address.
    Bond,
}

/// The DFU server of a bootloader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyConfig {
    /// Largest ATT MTU.
    pub mtu: u16,
    /// Buffers for packets (`RX_BUF_QUEUE_SIZE`).
    pub buffers: usize,
    /// Bytes of one (`RX_BUF_SIZE`).
    pub buffer_size: usize,
    /// What the version characteristic of the bootloader says; `None`: there is none, as before SDK 7.
    pub version: Option<u16>,
    /// What that of the application says.
    pub application_version: Option<u16>,
    /// `DEVICE_NAME`.
    pub name: String,
    /// Manufacturer, model and firmware revision of its Device Information service, where it has one.
    pub information: Option<[String; 3]>,
    /// The packet characteristic offers to be written with a response, too.
    pub packet_requests: bool,
    /// What a write that is not offered comes to.
    pub writes: Writes,
    /// The end of the connection reaches the central before the device resets. In the code it is a race.
    pub says_goodbye: bool,
    /// Status of the answer to sizes while the battery is low; `None`: the bootloader does not look at it.
    pub low_battery: Option<u8>,
}

impl LegacyConfig {
    /// What the example of the SDK, or Adafruit's Makefile, builds.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        let adafruit = kind == Kind::Adafruit;
        let texts = ["Adafruit Industries", "Feather nRF52840 Express", "0.9.2"];
        Self {
            mtu: if adafruit { 247 } else { MTU_MIN },
            buffers: if adafruit { 16 } else { 8 },
            buffer_size: if adafruit { 600 } else { 32 },
            version: Some(0x0008),
            application_version: Some(0x0001),
            name: if adafruit { "AdaDFU" } else { "DfuTarg" }.into(),
            information: adafruit.then(|| texts.map(str::to_owned)),
            packet_requests: adafruit,
            writes: Writes::Strict,
            says_goodbye: true,
            low_battery: None,
        }
    }
}

/// All that a board with a Legacy DFU bootloader runs.
#[derive(Debug)]
pub struct LegacyBoard {
    /// The bootloader.
    pub bootloader: NordicLegacy,
    /// Its DFU server.
    pub dfu: LegacyConfig,
    /// Whether the application has the way into it.
    pub buttonless: bool,
    /// What the application tells the bootloader of the central.
    pub sharing: Sharing,
    /// Whether the application ends its connections before it hands over, as the example of the SDK does.
    pub application_says_goodbye: bool,
    /// Whether the application does not enter the bootloader while the battery is low.
    pub entry_heeds_battery: bool,
    /// Whether the button is held at the very first start.
    pub starts_in_dfu: bool,
}

impl LegacyBoard {
    /// A board with this bootloader and its server.
    #[must_use]
    pub fn new(bootloader: NordicLegacy) -> Self {
        let dfu = LegacyConfig::of(bootloader.options().kind);
        Self {
            bootloader,
            dfu,
            buttonless: true,
            sharing: Sharing::default(),
            application_says_goodbye: true,
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
            pairing: match self.sharing {
                Sharing::Bond => Pairing::JUST_WORKS,
                Sharing::None | Sharing::Address => Pairing::REFUSED,
            },
            // 15 ms, the least that is asked for; supervision timeout 4 s.
            parameters: ConnectionParameters { interval_min: 12, interval_max: 12, latency: 0, timeout: 400 },
            pace: Some(Pace::NORDIC),
            discovery_us: DISCOVERY_US,
            ..GattConfig::default()
        }
    }

    /// The ATT MTU that is answered.
    #[must_use]
    pub fn mtu(&self, asked: u16, max: u16) -> u16 {
        match self.bootloader.options().kind {
            Kind::Sdk11 => asked.min(max),
            Kind::Adafruit => adafruit_mtu(asked, max),
        }
    }
}
