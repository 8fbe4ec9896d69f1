//! Target profiles with a Legacy DFU bootloader: nRF5 SDK 11, and Adafruit's.
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//! about = "what it is"
//! layout = "nrf52832-nordic-legacy-s132"  # or nrf52840-adafruit-s140, or a path to a layout file
//!
//! [bootloader]
//! kind = "nordic-legacy"       # SDK 11; or "adafruit"
//! single-bank = false          # dfu_single_bank.c; Adafruit's is built so
//! device-type = 0xffff         # what init packets must be for; 0xffff takes any
//! device-revision = 0xffff
//! inactivity-timeout = "120 s" # 360 s of Adafruit's
//! default-to-ota = true        # without an application DFU mode is on Bluetooth LE; of Adafruit's on USB
//! starts-in = "application"    # or "dfu-mode": the button is held at the first start
//!
//! [softdevice]                 # what is installed
//! firmware-id = 0x81           # S132 2.0.1
//! id = 132
//! version = 2000001
//! size = "112 KiB"             # with the MBR
//!
//! [dfu]                        # the DFU server
//! transport = "ble"            # or "serial": Adafruit's frames on a UART or USB
//! mtu = 23                     # 247 of Adafruit's
//! version = 8                  # of the version characteristic; `has-version = false` for none
//! name = "DfuTarg"
//! writes = "strict"            # or "lenient": see [`super::nordic`]
//!
//! [application]
//! buttonless = true            # the way into DFU mode: 01 04 on the control point
//! goodbye = true
//! sharing = "none"             # what it tells the bootloader of the central that has asked: "none", its "address", or
//!                              # its "bond" (dfu_app_peer_data_set); then the bootloader stays at the same address, for
//!                              # that central alone. One without a bond, or without an identity key, is as with "address"
//!
//! [battery]
//! threshold = 20
//! refuses = "nothing"          # or "entry" into DFU mode, which is not answered; or "init": sizes are answered with status 6
//! ```
//!
//! `[advertisement]`, `[device-information]`, `[[service]]`, `[link]`, `[serial]` and `[timing]` are as in
//! [`super::nordic`].

use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::nordic_legacy::{Kind, MBR_SIZE, NordicLegacy, Options, Settings};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::nordic::SoftdeviceInfo;
use brickproof_flash_model::image::nordic::builder::bootloader_binary;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{FlashTiming, Peripheral};
use brickproof_simulator::nordic::legacy::Sharing;
use brickproof_simulator::nordic::{LegacyBoard, Writes};
use serde::Deserialize;
use toml::Spanned;

use super::common::{self, Timing};
use super::nordic::{LinkTable, Softdevice, StartsIn, Transport, WritesEntry, link_of};
use super::{Family, Serial, Target, layout, peripheral};
use crate::air::{Air, DOWNGRADE, MARKS, NO_DOWNGRADE, REVERT, SERIAL_DFU, SERIAL_RECOVERY};
use crate::units::{Duration, Size};

/// Kinds of bootloaders that are read here.
pub(super) const KINDS: [&str; 2] = ["nordic-legacy", "adafruit"];
/// Bytes of the bootloader that is installed.
const BOOTLOADER_LEN: usize = 0x5000;
/// "Operation failed".
const OPERATION_FAILED: u8 = 6;

/// A target with a Legacy DFU bootloader.
#[derive(Debug, Clone)]
pub struct LegacyTarget {
    options: Options,
    softdevice: Softdevice,
    serial: bool,
    mtu: Option<u16>,
    version: Option<Option<u16>>,
    name: Option<String>,
    lenient: bool,
    buttonless: bool,
    goodbye: bool,
    sharing: Sharing,
    starts_in_dfu: bool,
    refuses: Refuses,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: Spanned<u32>,
    name: String,
    about: String,
    layout: Spanned<String>,
    bootloader: BootloaderTable,
    #[serde(default)]
    softdevice: SoftdeviceTable,
    #[serde(default)]
    dfu: DfuTable,
    #[serde(default)]
    application: ApplicationTable,
    #[serde(default)]
    link: LinkTable,
    #[serde(default)]
    advertisement: peripheral::AdvertisementTable,
    #[serde(default)]
    device_information: peripheral::InformationTable,
    #[serde(default)]
    service: Vec<Spanned<peripheral::ServiceTable>>,
    #[serde(default)]
    serial: Serial,
    #[serde(default)]
    timing: Timing,
    #[serde(default)]
    battery: BatteryTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BootloaderTable {
    kind: String,
    single_bank: Option<bool>,
    device_type: Option<u16>,
    device_revision: Option<u16>,
    inactivity_timeout: Option<Duration>,
    default_to_ota: Option<bool>,
    #[serde(default)]
    starts_in: StartsIn,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SoftdeviceTable {
    firmware_id: Option<u16>,
    id: Option<u32>,
    version: Option<u32>,
    size: Option<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DfuTable {
    transport: Option<Transport>,
    mtu: Option<Spanned<u16>>,
    version: Option<u16>,
    has_version: Option<bool>,
    name: Option<Spanned<String>>,
    writes: Option<WritesEntry>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ApplicationTable {
    buttonless: Option<bool>,
    goodbye: Option<bool>,
    #[serde(default)]
    sharing: SharingEntry,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum SharingEntry {
    #[default]
    None,
    Address,
    Bond,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BatteryTable {
    threshold: Option<Spanned<u8>>,
    #[serde(default)]
    refuses: Refuses,
    service: Option<bool>,
}

#[derive(Debug, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Refuses {
    #[default]
    Nothing,
    Entry,
    Init,
}

/// Reads a profile of this family.
pub(super) fn read(file: &str, folder: Option<&Path>, text: &str) -> Result<Target, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
    common::check_schema(&read.schema, &mistake)?;
    let resolve = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let layout = layout(read.layout.get_ref(), &resolve)?;
    let adafruit = read.bootloader.kind == "adafruit";
    let table = &read.bootloader;
    let default = if adafruit { Options::adafruit() } else { Options::sdk11() };
    let default = if table.single_bank == Some(true) && !adafruit { Options::sdk11_single_bank() } else { default };
    let ms = |duration: Duration| u32::try_from(duration.us / 1000).unwrap_or(u32::MAX);
    let options = Options {
        single_bank: table.single_bank.unwrap_or(default.single_bank),
        device_type: table.device_type.unwrap_or(default.device_type),
        device_revision: table.device_revision.unwrap_or(default.device_revision),
        default_to_ota: table.default_to_ota.unwrap_or(default.default_to_ota),
        inactivity_timeout_ms: table.inactivity_timeout.map_or(default.inactivity_timeout_ms, ms),
        ..default
    };
    if let Some(mtu) = read.dfu.mtu.as_ref().filter(|mtu| !(23..=247).contains(mtu.get_ref())) {
        return Err(mistake(mtu.span().start, format!("an ATT MTU is not {}", mtu.get_ref())).remedy("from 23 to 247"));
    }
    if let Some(name) = read.dfu.name.as_ref().filter(|name| !(1..=20).contains(&name.get_ref().len())) {
        return Err(mistake(name.span().start, format!("the name has {} bytes", name.get_ref().len()))
            .remedy("1 to 20, so that it fits the advertising data"));
    }
    let usual = if adafruit {
        Softdevice { info: SoftdeviceInfo::S140_6_1_1, size: 0x26000 }
    } else {
        Softdevice { info: SoftdeviceInfo { firmware_id: 0x81, id: 132, version: 2_000_001 }, size: 0x1c000 }
    };
    let softdevice = Softdevice {
        info: SoftdeviceInfo {
            firmware_id: read.softdevice.firmware_id.unwrap_or(usual.info.firmware_id),
            id: read.softdevice.id.unwrap_or(usual.info.id),
            version: read.softdevice.version.unwrap_or(usual.info.version),
        },
        size: read.softdevice.size.map_or(usual.size, |size| size.0),
    };
    let peripheral = peripheral::read(
        Peripheral::nordic(&read.name),
        &read.name,
        &read.advertisement,
        &read.device_information,
        &read.service,
        read.battery.service.unwrap_or(true),
        &mistake,
    )?;
    let own = LegacyTarget {
        options,
        softdevice,
        serial: read.dfu.transport == Some(Transport::Serial),
        mtu: read.dfu.mtu.as_ref().map(|mtu| *mtu.get_ref()),
        version: match (read.dfu.has_version, read.dfu.version) {
            (Some(false), _) => Some(None),
            (_, version) => version.map(Some),
        },
        name: read.dfu.name.as_ref().map(|name| name.get_ref().clone()),
        lenient: read.dfu.writes == Some(WritesEntry::Lenient),
        buttonless: read.application.buttonless.unwrap_or(true),
        goodbye: read.application.goodbye.unwrap_or(true),
        sharing: match read.application.sharing {
            SharingEntry::None => Sharing::None,
            SharingEntry::Address => Sharing::Address,
            SharingEntry::Bond => Sharing::Bond,
        },
        starts_in_dfu: read.bootloader.starts_in == StartsIn::DfuMode,
        refuses: read.battery.refuses,
    };
    let gatt = link_of(&own.board(&layout)?.link(), &read.link, &mistake)?;
    let heeded = own.refuses != Refuses::Nothing;
    let battery = common::battery(read.battery.threshold.as_ref(), heeded, &mistake)?;
    Ok(Target {
        name: read.name,
        about: read.about,
        layout,
        gatt,
        peripheral,
        usb: read.serial.usb,
        timing: read.timing.flash(FlashTiming::default()),
        start_us: read.timing.start_us(),
        battery,
        family: Family::NordicLegacy(Box::new(own)),
    })
}

impl LegacyTarget {
    /// Whether its bootloader is on a serial line, and not on Bluetooth LE.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        self.serial
    }

    /// How the bootloader was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The SoftDevice that is installed.
    #[must_use]
    pub fn softdevice(&self) -> Softdevice {
        self.softdevice
    }

    /// What it lacks of something that a scenario needs of a target, in words.
    pub(super) fn lacks(&self, need: &str) -> Option<&'static str> {
        match need {
            REVERT => Some("has no way back to the old image"),
            MARKS => Some("has images that are valid or not: nothing is marked"),
            SERIAL_RECOVERY => Some("has no serial recovery"),
            SERIAL_DFU if !self.serial => Some("has a bootloader without a serial line"),
            NO_DOWNGRADE => Some("takes older images"),
            DOWNGRADE => None,
            _ => None,
        }
    }

    /// Why its bootloader cannot be reached on this air, if it cannot.
    #[must_use]
    pub fn unreachable_on(&self, air: Air) -> Option<&'static str> {
        super::nordic::unreachable(self.serial, air)
    }

    /// What runs on the board.
    pub(super) fn board(&self, layout: &Layout) -> Result<LegacyBoard, Mistake> {
        let mut board = LegacyBoard::new(NordicLegacy::new(layout, self.options, None)?);
        if let Some(mtu) = self.mtu {
            board.dfu.mtu = mtu;
        }
        if let Some(version) = self.version {
            board.dfu.version = version;
        }
        if let Some(name) = &self.name {
            board.dfu.name.clone_from(name);
        }
        if self.lenient {
            board.dfu.writes = Writes::Lenient;
        }
        board.dfu.low_battery = (self.refuses == Refuses::Init).then_some(OPERATION_FAILED);
        board.entry_heeds_battery = self.refuses == Refuses::Entry;
        board.buttonless = self.buttonless;
        board.sharing = self.sharing;
        board.application_says_goodbye = self.goodbye;
        board.starts_in_dfu = self.starts_in_dfu;
        Ok(board)
    }

    /// The flash as it leaves the factory with this application.
    ///
    /// # Errors
    /// That something does not fit.
    pub fn factory_flash(&self, layout: &Layout, application: &[u8]) -> Result<Flash, Mistake> {
        let board = self.board(layout)?;
        let bootloader = &board.bootloader;
        let map = bootloader.map();
        let mut flash = layout.blank_flash();
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            Mistake::new(format!("{what} of layout `{}`", layout.name), error.to_string())
        };
        let whole = map.whole();
        let softdevice = self.softdevice.info.binary(self.softdevice.size.saturating_sub(MBR_SIZE) as usize);
        flash.load(whole, MBR_SIZE, &softdevice).map_err(|error| wrong("the SoftDevice", &error))?;
        let start = bootloader.bank_0_start(&flash).map_err(|error| wrong("the SoftDevice", &error))?;
        let room = bootloader.region_end().saturating_sub(start);
        let size = u32::try_from(application.len()).unwrap_or(u32::MAX);
        if size > room {
            return Err(Mistake::new("the installed application", format!("{size} bytes do not fit"))
                .remedy(format!("at most {room} bytes")));
        }
        let mut words = application.to_vec();
        words.resize(words.len().next_multiple_of(4), 0xff);
        flash.load(whole, start, &words).map_err(|error| wrong("the application", &error))?;
        let own = bootloader_binary(1, BOOTLOADER_LEN.min(map.bootloader().len as usize));
        flash.load(map.bootloader(), 0, &own).map_err(|error| wrong("the bootloader", &error))?;
        let settings = Settings::application(size, 0).to_bytes();
        flash.load(map.settings(), 0, &settings).map_err(|error| wrong("the settings", &error))?;
        Ok(flash)
    }

    /// Whether it is Adafruit's.
    #[must_use]
    pub fn is_adafruit(&self) -> bool {
        self.options.kind == Kind::Adafruit
    }
}
