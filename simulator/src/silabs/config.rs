//! How the software of an EFR32 board was built, beside what its bootloader keeps in flash. What the vendor leaves open is here,
//! with a default.

use std::collections::BTreeMap;

use brickproof_flash_model::boot::gecko::{Code, Gecko};

use super::gatt::{self, result};
use super::known::KnownApplication;
use crate::gatt::{AttError, ConnectionParameters, Security, Uuid};
use crate::nordic::config::DISCOVERY_US;
use crate::smp::gatt::{GattConfig, Pace, Pairing};

/// Longest name of an AppLoader in bytes.
const NAME_MAX: usize = 18;

/// How updates come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// An AppLoader programs over the application.
    #[default]
    InPlace,
    /// The application stores the file in a slot, and the bootloader installs it.
    Slot,
}

/// What an AppLoader makes of what comes behind the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterEnd {
    /// Up to three bytes 0xff are padding; anything else is refused.
    #[default]
    Padding,
    /// Everything is taken, and nothing becomes of it.
    Anything,
    /// Everything is refused, as the parser does.
    Nothing,
}

/// What becomes of what is written while an application erases its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Erasing {
    /// It is answered when that is done. So without an operating system, where everything is one loop.
    #[default]
    Blocks,
    /// It is answered at once, and comes to nothing: a task erases, and as that ends the slot is ready. So gecko sdk with an
    /// operating system (`sl_bt_app_ota_dfu_freertos.c`), which is modelled in this only: that SDK also remembers who has
    /// begun when something goes wrong.
    Beside,
    /// It is lost, and never answered: the task that erases keeps its guard, and nobody waits for that longer than a moment.
    /// So simplicity sdk with an operating system (`sl_bt_app_ota_dfu.c`, `app_rta_acquire`).
    Deaf,
}

/// What an AppLoader shows of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Address {
    /// That of the application.
    #[default]
    Same,
    /// A static random one (`BTL_APPLOADER_USE_RANDOM_ADDRESS`).
    StaticRandom,
}

/// The OTA server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtaConfig {
    /// UUID of the service.
    pub service: Uuid,
    /// Largest ATT MTU.
    pub mtu: u16,
    /// Name of the AppLoader: of more than 18 bytes the first ones are shown (`DEVICE_NAME_LENGTH_MAX`).
    pub name: String,
    /// Its address.
    pub address: Address,
    /// In what it advertises of its address, the kind comes first.
    pub kind_first: bool,
    /// Version of the AppLoader: major, minor, patch, build.
    pub apploader_version: [u16; 4],
    /// Version of the OTA protocol.
    pub ota_version: u8,
    /// The application shows the four versions, too.
    pub application_versions: bool,
    /// Values without a response that wait for the flash, at most.
    pub queue: usize,
    /// What comes behind the end of a file.
    pub after_end: AfterEnd,
    /// A start erases the first page of the application.
    pub erase_on_start: bool,
    /// What is answered to what the bootloader says, where that is not the default.
    pub results: BTreeMap<u16, u8>,
    /// What is answered to a reserved byte in OTA Control.
    pub reserved: AttError,
    /// What an application answers to a start, or to the wish for its AppLoader, while the battery is low; `None`: nobody looks
    /// at it. No AppLoader does.
    pub low_battery: Option<AttError>,
    /// The application wants a bond before it enters the AppLoader; as shipped, it then refuses everybody.
    pub bonding_required: bool,
    /// Microseconds from the request to the end of the connection, at least (`SL_BT_IN_PLACE_OTA_DFU_CONFIG_MIN_DELAY`).
    pub reboot_us: u64,
    /// The same in intervals of the connection (`..._MULT`).
    pub reboot_intervals: u64,
    /// Who answers while a slot is erased.
    pub erasing: Erasing,
    /// Data of someone who has not begun is answered with success, as SDKs of 2022 do, and not never.
    pub answers_strangers: bool,
    /// Microseconds to verify 128 bytes of a slot.
    pub verify_us: u64,
}

impl Default for OtaConfig {
    fn default() -> Self {
        Self {
            service: gatt::SERVICE,
            mtu: 247,
            name: "OTA".into(),
            address: Address::Same,
            kind_first: false,
            apploader_version: [2, 0, 0, 0],
            ota_version: 3,
            application_versions: false,
            queue: 16,
            after_end: AfterEnd::Padding,
            erase_on_start: false,
            results: BTreeMap::new(),
            reserved: AttError(0x13),
            low_battery: None,
            bonding_required: false,
            reboot_us: 1_000_000,
            reboot_intervals: 5,
            erasing: Erasing::Blocks,
            answers_strangers: false,
            verify_us: 0,
        }
    }
}

impl OtaConfig {
    /// The name as it is shown.
    #[must_use]
    pub fn advertised_name(&self) -> &str {
        let end =
            self.name.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= NAME_MAX);
        self.name.get(..end.last().unwrap_or(0)).unwrap_or_default()
    }

    /// What an AppLoader answers to data when its parser says this. The library that does it is closed: this follows the names
    /// of the results.
    #[must_use]
    pub fn result(&self, code: Code) -> AttError {
        self.other_result(code).unwrap_or(match code {
            Code::Crc | Code::Signature => result::CRC,
            Code::Overlap => result::TOO_BIG,
            // In the middle of a file it is the version of the application that is rejected.
            Code::Rejected => result::VERSION,
            _ => result::NOT_SUPPORTED,
        })
    }

    /// What it answers to the end of an update when this came of it.
    #[must_use]
    pub fn verdict(&self, code: Code) -> AttError {
        match code {
            // There it is what was not verified.
            Code::Rejected => self.other_result(code).unwrap_or(result::CRC),
            code => self.result(code),
        }
    }

    fn other_result(&self, code: Code) -> Option<AttError> {
        self.results.get(&code.number()).copied().map(AttError)
    }
}

/// All that an EFR32 board runs.
#[derive(Debug)]
pub struct SilabsBoard {
    /// The bootloader.
    pub bootloader: Gecko,
    /// How updates come in.
    pub scheme: Scheme,
    /// The OTA server.
    pub ota: OtaConfig,
    /// What a link needs before the application's OTA characteristics can be written.
    pub access: Security,
    /// The button for the bootloader is held at the very first start.
    pub starts_in_bootloader: bool,
    /// Applications that are recognized when they run.
    pub known: Vec<KnownApplication>,
    /// Length in bytes of the file that is expected: an upload announces none, and [`Trigger::UploadProgress`] is a part
    /// of it.
    ///
    /// [`Trigger::UploadProgress`]: crate::world::Trigger::UploadProgress
    pub file_len: Option<u32>,
}

impl SilabsBoard {
    /// A board with this bootloader.
    #[must_use]
    pub fn new(bootloader: Gecko) -> Self {
        let scheme = if bootloader.options().storage { Scheme::Slot } else { Scheme::InPlace };
        Self {
            bootloader,
            scheme,
            ota: OtaConfig::default(),
            access: Security::Plain,
            starts_in_bootloader: false,
            known: Vec::new(),
            file_len: None,
        }
    }

    /// What its links are like.
    #[must_use]
    pub fn link(&self) -> GattConfig {
        GattConfig {
            mtu: self.ota.mtu,
            access: self.access,
            pairing: Pairing::JUST_WORKS,
            // What the central chooses: nothing is asked for.
            parameters: ConnectionParameters { interval_min: 24, interval_max: 40, latency: 0, timeout: 400 },
            pace: Some(Pace::EXTENDED),
            discovery_us: DISCOVERY_US,
            ..GattConfig::default()
        }
    }
}
