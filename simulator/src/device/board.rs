//! What does not change: the board and what was built for it.

use brickproof_flash_model::boot::mcuboot::Mcuboot;
use brickproof_flash_model::flash::{Geometry, Operation, OperationKind};
use brickproof_flash_model::layout::Layout;

use super::{BatteryPolicy, Behaviour, Peripheral};
use crate::nordic::{LegacyBoard, NordicBoard};
use crate::silabs::{KnownApplication, SilabsBoard};
use crate::smp::gatt::GattConfig;
use crate::smp::{RecoveryConfig, ServerConfig};

/// How long flash operations take, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashTiming {
    /// Erase of one sector.
    pub erase_us: u64,
    /// Program of one unit, in nanoseconds.
    pub program_unit_ns: u64,
}

impl FlashTiming {
    /// Duration of an operation on a device of this geometry, in microseconds.
    #[must_use]
    pub fn duration_us(&self, geometry: &Geometry, operation: &Operation<'_>) -> u64 {
        match operation.kind {
            OperationKind::Erase { len } => {
                let sector = geometry.sector_at(operation.offset).map_or(len, |sector| sector.size).max(1);
                self.erase_us * u64::from(len.div_ceil(sector))
            }
            OperationKind::Program { data } => {
                self.program_unit_ns * (data.len() as u64).div_ceil(geometry.program_unit().into()) / 1000
            }
        }
    }

    /// The same, times `factor`.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scale = |duration: u64| (duration as f64 * factor.max(0.0)) as u64;
        Self { erase_us: scale(self.erase_us), program_unit_ns: scale(self.program_unit_ns) }
    }
}

impl Default for FlashTiming {
    /// nRF52840: 85 ms to erase a page, 41 µs to write a word (product specification, NVMC).
    fn default() -> Self {
        Self { erase_us: 85_000, program_unit_ns: 41_000 }
    }
}

/// Which family of bootloaders and protocols a board belongs to.
#[derive(Debug)]
pub enum Bootloader {
    /// MCUboot with its keys; applications serve SMP.
    Mcuboot(Box<Mcuboot>),
    /// Nordic's nRF5 SDK.
    Nordic(Box<NordicBoard>),
    /// The same, or Adafruit's, with Legacy DFU.
    NordicLegacy(Box<LegacyBoard>),
    /// Silicon Labs' EFR32 with a Gecko bootloader.
    Silabs(Box<SilabsBoard>),
}

/// The board, its bootloader and its application's build options.
#[derive(Debug)]
pub struct Board {
    /// Name of the target profile.
    pub name: String,
    /// Flash devices and partitions.
    pub layout: Layout,
    /// The bootloader, and what goes with it.
    pub bootloader: Bootloader,
    /// The SMP server, where there is one.
    pub smp: ServerConfig,
    /// Its transport over Bluetooth LE.
    pub gatt: GattConfig,
    /// What it is on Bluetooth LE beside that.
    pub peripheral: Peripheral,
    /// The bootloader's recovery over a serial port, if it has one.
    pub recovery: Option<RecoveryConfig>,
    /// The serial port is one of USB: it goes away while the device is dark.
    pub usb: bool,
    /// Durations of flash operations while the application runs.
    pub timing: FlashTiming,
    /// Durations of flash operations while the bootloader runs.
    pub boot_timing: FlashTiming,
    /// From reset to the start of the image, without flash operations, in microseconds.
    pub start_us: u64,
    /// What the application does about a low battery.
    pub battery: BatteryPolicy,
    /// What the applications in known images do, by image hash.
    pub behaviours: Vec<([u8; 32], Behaviour)>,
}

impl Board {
    /// A board with the stock SMP server and the flash timing of an nRF52840.
    #[must_use]
    pub fn new(name: &str, layout: Layout, mcuboot: Mcuboot) -> Self {
        Self {
            name: name.to_owned(),
            layout,
            bootloader: Bootloader::Mcuboot(Box::new(mcuboot)),
            smp: ServerConfig::default(),
            gatt: GattConfig::default(),
            peripheral: Peripheral::new(name),
            recovery: None,
            usb: false,
            timing: FlashTiming::default(),
            boot_timing: FlashTiming::default(),
            start_us: 300_000,
            battery: BatteryPolicy::default(),
            behaviours: Vec::new(),
        }
    }

    /// A board of Nordic's nRF5 SDK with the flash timing of an nRF52840.
    #[must_use]
    pub fn nordic(name: &str, layout: Layout, nordic: NordicBoard) -> Self {
        Self {
            name: name.to_owned(),
            layout,
            peripheral: Peripheral::nordic(name),
            gatt: nordic.link(),
            bootloader: Bootloader::Nordic(Box::new(nordic)),
            smp: ServerConfig::default(),
            recovery: None,
            usb: false,
            timing: FlashTiming::default(),
            boot_timing: FlashTiming::default(),
            start_us: 300_000,
            battery: BatteryPolicy::default(),
            behaviours: Vec::new(),
        }
    }

    /// A board with a Legacy DFU bootloader, with the flash timing of an nRF52840.
    #[must_use]
    pub fn nordic_legacy(name: &str, layout: Layout, legacy: LegacyBoard) -> Self {
        Self {
            name: name.to_owned(),
            layout,
            peripheral: Peripheral::nordic(name),
            gatt: legacy.link(),
            bootloader: Bootloader::NordicLegacy(Box::new(legacy)),
            smp: ServerConfig::default(),
            recovery: None,
            usb: false,
            timing: FlashTiming::default(),
            boot_timing: FlashTiming::default(),
            start_us: 300_000,
            battery: BatteryPolicy::default(),
            behaviours: Vec::new(),
        }
    }

    /// An EFR32 board, with the flash timing of Series 2 (8 KiB pages in 13 ms, words in 11 us) or Series 1.
    #[must_use]
    pub fn silabs(name: &str, layout: Layout, silabs: SilabsBoard) -> Self {
        let erase_us = if silabs.bootloader.options().series_2 { 13_000 } else { 25_000 };
        let timing = FlashTiming { erase_us, program_unit_ns: 11_000 };
        Self {
            name: name.to_owned(),
            layout,
            peripheral: Peripheral::nordic(name),
            gatt: silabs.link(),
            bootloader: Bootloader::Silabs(Box::new(silabs)),
            smp: ServerConfig::default(),
            recovery: None,
            usb: false,
            timing,
            boot_timing: timing,
            start_us: 300_000,
            battery: BatteryPolicy::default(),
            behaviours: Vec::new(),
        }
    }

    /// What an EFR32 board cannot find out by itself: the applications that it is to recognize when they run, since
    /// nothing in its flash says where one ends, and the length in bytes of the file that comes.
    pub fn expect(&mut self, known: Vec<KnownApplication>, file_len: u32) {
        if let Bootloader::Silabs(own) = &mut self.bootloader {
            own.known = known;
            own.file_len = Some(file_len);
        }
    }

    /// MCUboot, where that is its bootloader.
    #[must_use]
    pub fn mcuboot(&self) -> Option<&Mcuboot> {
        match &self.bootloader {
            Bootloader::Mcuboot(mcuboot) => Some(mcuboot),
            Bootloader::Nordic(_) | Bootloader::NordicLegacy(_) | Bootloader::Silabs(_) => None,
        }
    }

    /// What Nordic's software on it was built with, where that is its family.
    #[must_use]
    pub fn as_nordic(&self) -> Option<&NordicBoard> {
        match &self.bootloader {
            Bootloader::Mcuboot(_) | Bootloader::NordicLegacy(_) | Bootloader::Silabs(_) => None,
            Bootloader::Nordic(nordic) => Some(nordic),
        }
    }

    /// What its Legacy DFU software was built with, where that is its family.
    #[must_use]
    pub fn as_legacy(&self) -> Option<&LegacyBoard> {
        match &self.bootloader {
            Bootloader::NordicLegacy(legacy) => Some(legacy),
            Bootloader::Mcuboot(_) | Bootloader::Nordic(_) | Bootloader::Silabs(_) => None,
        }
    }

    /// What Silicon Labs' software on it was built with, where that is its family.
    #[must_use]
    pub fn as_silabs(&self) -> Option<&SilabsBoard> {
        match &self.bootloader {
            Bootloader::Silabs(silabs) => Some(silabs),
            Bootloader::Mcuboot(_) | Bootloader::Nordic(_) | Bootloader::NordicLegacy(_) => None,
        }
    }

    /// The ATT MTU that it answers with, of at most `max`.
    #[must_use]
    pub fn mtu(&self, asked: u16, max: u16) -> u16 {
        match &self.bootloader {
            Bootloader::Mcuboot(_) => asked,
            Bootloader::Silabs(_) => asked.min(max),
            Bootloader::Nordic(nordic) => nordic.mtu(asked, max),
            Bootloader::NordicLegacy(legacy) => legacy.mtu(asked, max),
        }
    }

    /// What the application in this image does.
    #[must_use]
    pub fn behaviour(&self, hash: Option<[u8; 32]>) -> Behaviour {
        let known = self.behaviours.iter().find(|(known, _)| Some(*known) == hash);
        known.map_or_else(Behaviour::default, |(_, behaviour)| *behaviour)
    }
}
