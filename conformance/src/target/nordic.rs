//! Target profiles of Nordic's nRF5 SDK.
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//! about = "what it is"
//! layout = "nrf52840-nordic-s140"  # or nrf52832-nordic-s132, or a path to a layout file
//!
//! [bootloader]                 # nRF5 SDK, Secure DFU; the names in sdk_config.h
//! kind = "nordic-secure"
//! sdk = "17.1"                 # or 12.3, 14.2, 15.0, 15.3, 16.0: answers and checks differ
//! key = "development"          # public key, ECDSA P-256: `development`, `production` or the path of a PEM file
//! version = 1                  # of the bootloader itself
//! hw-version = 52              # NRF_DFU_HW_VERSION
//! signed = true                # NRF_DFU_REQUIRE_SIGNED_APP_UPDATE
//! downgrade-prevention = true  # NRF_DFU_APP_DOWNGRADE_PREVENTION
//! accept-same-version = true   # NRF_DFU_APP_ACCEPT_SAME_VERSION
//! single-bank = false          # NRF_DFU_SINGLE_BANK_APP_UPDATES
//! force-dual-bank = false      # NRF_DFU_FORCE_DUAL_BANK_APP_UPDATES
//! app-signature-check = false  # NRF_BL_APP_SIGNATURE_CHECK_REQUIRED
//! debug = false                # NRF_DFU_DEBUG
//! save-progress = false        # NRF_DFU_SAVE_PROGRESS_IN_FLASH
//! inactivity-timeout = "120 s" # NRF_BL_DFU_INACTIVITY_TIMEOUT_MS; "0 s" for none
//! continuation-timeout = "10 s"  # NRF_BL_DFU_CONTINUATION_TIMEOUT_MS
//! app-data = "12 KiB"          # NRF_DFU_APP_DATA_AREA_SIZE; left out: as the layout says
//! starts-in = "application"    # or "dfu-mode": the button is held at the first start
//!
//! [softdevice]                 # what is installed; `present = false` for none
//! firmware-id = 0x100          # S140 7.2.0
//! id = 140
//! version = 7002000
//! size = "152 KiB"             # with the MBR
//!
//! [dfu]                        # the DFU server
//! transport = "ble"            # or "serial": SLIP on a UART or USB
//! reduced-protocol = true      # NRF_DFU_PROTOCOL_REDUCED
//! mtu = 247                    # NRF_SDH_BLE_GATT_MAX_MTU_SIZE
//! buffers = 17                 # packets that wait to be written
//! flash-queue = 16             # operations that wait to be done
//! hvn-queue = 1                # notifications that wait while nothing arrives (hvn_tx_queue_size); one more is lost
//! leaks-on-reject = true       # the buffer of a refused packet is lost, as in the code
//! validation = "200 ms"        # how long the check of the whole image takes; the SDK gives no figure
//! bonds = false                # NRF_DFU_BLE_REQUIRES_BONDS: DFU mode is for the central whose bond a "bonded" application has
//!                              # shared, at the same address, and never pairs; without a shared bond it resets at once
//! next-address = true          # DFU mode has the next address
//! command-max = 512            # largest init packet that is told; left out: as the SDK has it
//! writes = "strict"            # what comes of a write request to the packet characteristic, which offers commands alone:
//!                              # "strict" refuses it (0x03), as the Core specification has it; "lenient" takes it.
//!                              # The bootloader would (`on_write` does not look at the opcode); whether its SoftDevice
//!                              # lets it through is not published
//! name = "DfuTarg"             # NRF_DFU_BLE_ADV_NAME
//! receipts = 0                 # packets between two receipts that an earlier initiator has left set
//! serial-frame = 65            # bytes of a frame: 65 on a UART, 1025 over USB
//!
//! [application]
//! buttonless = "unbonded"      # or "bonded", "experimental", "none"
//! goodbye = true               # ends its connections before it enters the bootloader
//!
//! [link]
//! connect-delay = "0 s"
//! supervision-timeout = "6 s"
//!
//! [battery]
//! threshold = 20               # percent below which `refuses` applies
//! refuses = "entry"            # into DFU mode; or "init": init packets are refused with result 0x0a; or "nothing"
//! service = true
//! ```
//!
//! `[advertisement]`, `[device-information]`, `[[service]]`, `[serial]` and `[timing]` are as in [`super`].

use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::nordic::{
    MBR_SIZE, Nordic, Options, Profile as Sdk, ResultCode, Settings, SoftdeviceInfo,
};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use brickproof_flash_model::image::nordic::builder::SoftdeviceInfo as SoftdeviceBinary;
use brickproof_flash_model::image::nordic::builder::bootloader_binary;
use brickproof_flash_model::image::nordic::crc::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{FlashTiming, Peripheral};
use brickproof_simulator::gatt::ConnectionParameters;
use brickproof_simulator::nordic::{Buttonless, DfuConfig, NordicBoard, Writes};
use brickproof_simulator::smp::gatt::GattConfig;
use serde::Deserialize;
use toml::Spanned;

use super::common::{self, Timing};
use super::{Family, Protocol, Serial, Target, bootloader, layout, peripheral};
use crate::air::{Air, BUTTONLESS, DOWNGRADE, MARKS, NO_DOWNGRADE, REVERT, SERIAL_DFU, SERIAL_RECOVERY, SOFTDEVICE};
use crate::units::{Duration, Size};

/// Kinds of bootloaders that are read here.
pub(super) const KINDS: [&str; 1] = ["nordic-secure"];
/// Bytes of the bootloader that is installed.
const BOOTLOADER_LEN: usize = 0x5000;

/// A target of Nordic's nRF5 SDK.
#[derive(Debug, Clone)]
pub struct NordicTarget {
    options: Options,
    key: PublicKey,
    /// It trusts the key of a product, and its packages are signed with that.
    product: bool,
    bootloader_version: u32,
    softdevice: Option<Softdevice>,
    dfu: DfuConfig,
    serial: bool,
    buttonless: Buttonless,
    goodbye: bool,
    starts_in_dfu: bool,
    refuses: Refuses,
}

/// A SoftDevice that is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Softdevice {
    /// What it is.
    pub info: SoftdeviceBinary,
    /// Where the application begins: its size with the MBR.
    pub size: u32,
}

impl Softdevice {
    /// Its bytes, without the MBR.
    #[must_use]
    pub fn binary(&self) -> Vec<u8> {
        self.info.binary(self.size.saturating_sub(MBR_SIZE) as usize)
    }
}

/// What stands for the master boot record.
#[must_use]
pub fn mbr() -> Vec<u8> {
    (0..MBR_SIZE).map(|at| (at as u8).wrapping_mul(31) | 1).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: Spanned<u32>,
    name: String,
    about: String,
    layout: Spanned<String>,
    bootloader: BootloaderTable,
    softdevice: Option<Spanned<SoftdeviceTable>>,
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
    #[serde(rename = "kind")]
    _kind: String,
    sdk: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    version: Option<u32>,
    hw_version: Option<u32>,
    signed: Option<bool>,
    downgrade_prevention: Option<bool>,
    accept_same_version: Option<bool>,
    single_bank: Option<bool>,
    force_dual_bank: Option<bool>,
    app_signature_check: Option<bool>,
    debug: Option<bool>,
    save_progress: Option<bool>,
    inactivity_timeout: Option<Duration>,
    continuation_timeout: Option<Duration>,
    app_data: Option<Size>,
    #[serde(default)]
    starts_in: StartsIn,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartsIn {
    #[default]
    Application,
    DfuMode,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SoftdeviceTable {
    present: Option<bool>,
    firmware_id: Option<u16>,
    id: Option<u32>,
    version: Option<u32>,
    size: Option<Size>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DfuTable {
    transport: Option<Transport>,
    reduced_protocol: Option<bool>,
    mtu: Option<Spanned<u16>>,
    buffers: Option<Spanned<usize>>,
    flash_queue: Option<Spanned<usize>>,
    hvn_queue: Option<Spanned<usize>>,
    leaks_on_reject: Option<bool>,
    validation: Option<Duration>,
    bonds: Option<bool>,
    next_address: Option<bool>,
    command_max: Option<u32>,
    writes: Option<WritesEntry>,
    name: Option<Spanned<String>>,
    receipts: Option<u16>,
    serial_frame: Option<Spanned<usize>>,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Transport {
    Ble,
    Serial,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WritesEntry {
    Strict,
    Lenient,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ApplicationTable {
    #[serde(default)]
    buttonless: ButtonlessEntry,
    goodbye: Option<bool>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum ButtonlessEntry {
    #[default]
    Unbonded,
    Bonded,
    Experimental,
    None,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LinkTable {
    connect_delay: Option<Duration>,
    supervision_timeout: Option<Spanned<Duration>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BatteryTable {
    threshold: Option<Spanned<u8>>,
    #[serde(default)]
    refuses: Refuses,
    service: Option<bool>,
}

/// What a low battery keeps from happening.
#[derive(Debug, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Refuses {
    #[default]
    Entry,
    Init,
    Nothing,
}

/// Reads a profile of this family.
pub(super) fn read(file: &str, folder: Option<&Path>, text: &str) -> Result<Target, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
    common::check_schema(&read.schema, &mistake)?;
    let resolve = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let layout = layout(read.layout.get_ref(), &resolve)?;
    let sdk = match &read.bootloader.sdk {
        None => Sdk::default(),
        Some(name) => Sdk::ALL.into_iter().find(|sdk| sdk.name() == name.get_ref()).ok_or_else(|| {
            let names: Vec<_> = Sdk::ALL.iter().map(|sdk| sdk.name()).collect();
            mistake(name.span().start, format!("no SDK `{}` is known here", name.get_ref()))
                .remedy(format!("one of: {}", names.join(", ")))
        })?,
    };
    let options = Options { ble: read.dfu.transport != Some(Transport::Serial), ..options(&read.bootloader, sdk) };
    let (key, product) = match &read.bootloader.key {
        None => (development(), false),
        Some(name) => {
            let key = bootloader::read_p256(name.get_ref(), &resolve)
                .map_err(|message| mistake(name.span().start, message))?;
            (key, name.get_ref() == bootloader::PRODUCTION)
        }
    };
    let mut dfu = dfu(&read.dfu, sdk, &mistake)?;
    if read.battery.refuses == Refuses::Init {
        dfu.low_battery = Some(ResultCode::OperationFailed.number());
    }
    let softdevice = match &read.softdevice {
        Some(table) => softdevice(table.get_ref(), table.span().start, &mistake)?,
        None => softdevice(&SoftdeviceTable::default(), 0, &mistake)?,
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
    let own = NordicTarget {
        options,
        key,
        product,
        bootloader_version: read.bootloader.version.unwrap_or(1),
        softdevice,
        serial: read.dfu.transport == Some(Transport::Serial),
        buttonless: match read.application.buttonless {
            ButtonlessEntry::Unbonded => Buttonless::Unbonded,
            ButtonlessEntry::Bonded => Buttonless::Bonded,
            ButtonlessEntry::Experimental => Buttonless::Experimental,
            ButtonlessEntry::None => Buttonless::None,
        },
        goodbye: read.application.goodbye.unwrap_or(true),
        starts_in_dfu: read.bootloader.starts_in == StartsIn::DfuMode,
        refuses: read.battery.refuses,
        dfu,
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
        family: Family::Nordic(Box::new(own)),
    })
}

fn development() -> PublicKey {
    // That the bundled key reads is a test.
    PublicKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY)
        .unwrap_or_else(|error| unreachable!("the bundled key reads: {error}"))
}

fn options(table: &BootloaderTable, sdk: Sdk) -> Options {
    let default = Options { profile: sdk, ..Options::default() };
    let ms = |duration: Duration| u32::try_from(duration.us / 1000).unwrap_or(u32::MAX);
    Options {
        require_signed_app: table.signed.unwrap_or(default.require_signed_app),
        app_downgrade_prevention: table.downgrade_prevention.unwrap_or(default.app_downgrade_prevention),
        accept_same_version: table.accept_same_version.unwrap_or(default.accept_same_version),
        hw_version: table.hw_version.unwrap_or(default.hw_version),
        single_bank: table.single_bank.unwrap_or(default.single_bank),
        force_dual_bank: table.force_dual_bank.unwrap_or(default.force_dual_bank),
        app_signature_check_required: table.app_signature_check.unwrap_or(default.app_signature_check_required),
        debug: table.debug.unwrap_or(default.debug),
        save_progress: table.save_progress.unwrap_or(default.save_progress),
        inactivity_timeout_ms: table.inactivity_timeout.map_or(default.inactivity_timeout_ms, ms),
        continuation_timeout_ms: table.continuation_timeout.map_or(default.continuation_timeout_ms, ms),
        app_data: table.app_data.map(|size| size.0),
        // SDK 12 knows no other way from an application.
        enter_by_flag: default.enter_by_flag || sdk == Sdk::V12_3,
        ..default
    }
}

fn softdevice(
    own: &SoftdeviceTable,
    at: usize,
    mistake: &dyn Fn(usize, String) -> Mistake,
) -> Result<Option<Softdevice>, Mistake> {
    if own.present == Some(false) {
        return Ok(None);
    }
    let size = own.size.map_or(0x26000, |size| size.0);
    if size < MBR_SIZE + 0x3000 {
        return Err(
            mistake(at, format!("a SoftDevice of {size} bytes is too small")).remedy("16 KiB or more, the MBR with it")
        );
    }
    let info = SoftdeviceBinary {
        firmware_id: own.firmware_id.unwrap_or(0x100),
        id: own.id.unwrap_or(140),
        version: own.version.unwrap_or(7_002_000),
    };
    Ok(Some(Softdevice { info, size }))
}

fn dfu(table: &DfuTable, sdk: Sdk, mistake: &dyn Fn(usize, String) -> Mistake) -> Result<DfuConfig, Mistake> {
    let default = DfuConfig::of(sdk);
    if let Some(mtu) = table.mtu.as_ref().filter(|mtu| !(23..=247).contains(mtu.get_ref()) || mtu.get_ref() % 4 != 3) {
        let message = format!("an MTU of {} leaves no whole words", mtu.get_ref());
        return Err(mistake(mtu.span().start, message).remedy("from 23 to 247, three more than a multiple of 4"));
    }
    for limit in [&table.buffers, &table.flash_queue, &table.hvn_queue].into_iter().flatten() {
        if !(1..=4096).contains(limit.get_ref()) {
            return Err(mistake(limit.span().start, format!("room for {} is not possible", limit.get_ref()))
                .remedy("from 1 to 4096"));
        }
    }
    if let Some(name) = table.name.as_ref().filter(|name| !(1..=20).contains(&name.get_ref().len())) {
        return Err(mistake(name.span().start, format!("the name has {} bytes", name.get_ref().len()))
            .remedy("1 to 20, so that it fits the advertising data"));
    }
    if let Some(frame) = table.serial_frame.as_ref().filter(|frame| !(21..=4096).contains(frame.get_ref())) {
        return Err(mistake(frame.span().start, format!("a frame of {} bytes is not possible", frame.get_ref()))
            .remedy("21 to 4096: 65 on a UART, 1025 over USB"));
    }
    let serial = table.transport == Some(Transport::Serial);
    Ok(DfuConfig {
        // Serial lines have the whole protocol.
        reduced_protocol: table.reduced_protocol.unwrap_or(!serial),
        mtu: table.mtu.as_ref().map_or(default.mtu, |mtu| *mtu.get_ref()),
        buffers: table.buffers.as_ref().map_or(default.buffers, |buffers| *buffers.get_ref()),
        flash_queue: table.flash_queue.as_ref().map_or(default.flash_queue, |queue| *queue.get_ref()),
        hvn_queue: table.hvn_queue.as_ref().map(|queue| *queue.get_ref()).or(default.hvn_queue),
        leaks_on_reject: table.leaks_on_reject.unwrap_or(default.leaks_on_reject),
        validation_us: table.validation.map_or(default.validation_us, |duration| duration.us),
        requires_bonds: table.bonds.unwrap_or(false),
        next_address: table.next_address.unwrap_or(!table.bonds.unwrap_or(false)),
        command_max: table.command_max,
        writes: match table.writes {
            None | Some(WritesEntry::Strict) => Writes::Strict,
            Some(WritesEntry::Lenient) => Writes::Lenient,
        },
        name: table.name.as_ref().map_or(default.name, |name| name.get_ref().clone()),
        receipts: table.receipts.unwrap_or(0),
        // A serial line has flow control: what does not fit waits at the other end.
        scheduler_queue: if serial { 1 << 16 } else { default.scheduler_queue },
        serial_frame: table.serial_frame.as_ref().map_or(default.serial_frame, |frame| *frame.get_ref()),
        ..default
    })
}

/// How a link is, where the profile says something of it.
pub(super) fn link_of(
    default: &GattConfig,
    table: &LinkTable,
    mistake: &dyn Fn(usize, String) -> Mistake,
) -> Result<GattConfig, Mistake> {
    let timeout = match &table.supervision_timeout {
        None => default.parameters.timeout,
        Some(timeout) => {
            let units = u16::try_from(timeout.get_ref().us / 10_000).unwrap_or(u16::MAX);
            if !(10..=3200).contains(&units) {
                return Err(mistake(timeout.span().start, "no supervision timeout is that long or short".into())
                    .remedy("from 100 ms to 32 s"));
            }
            units
        }
    };
    Ok(GattConfig {
        connect_delay_us: table.connect_delay.map_or(default.connect_delay_us, |delay| delay.us),
        parameters: ConnectionParameters { timeout, ..default.parameters },
        ..default.clone()
    })
}

impl NordicTarget {
    pub(super) fn protocol(&self) -> Protocol {
        Protocol::SecureDfu
    }

    /// Whether its bootloader is on a serial line, and not on Bluetooth LE.
    #[must_use]
    pub fn is_serial(&self) -> bool {
        self.serial
    }

    /// Why its bootloader cannot be reached on this air, if it cannot.
    #[must_use]
    pub fn unreachable_on(&self, air: Air) -> Option<&'static str> {
        unreachable(self.serial, air)
    }

    /// What it lacks of something that a scenario needs of a target, in words.
    pub(super) fn lacks(&self, need: &str) -> Option<&'static str> {
        match need {
            REVERT => Some("has no way back to the old image"),
            MARKS => Some("has images that are valid or not: nothing is marked"),
            SERIAL_RECOVERY => Some("has no serial recovery"),
            SERIAL_DFU if !self.serial => Some("has a bootloader without a serial line"),
            SOFTDEVICE if self.softdevice.is_none() => Some("has no SoftDevice"),
            BUTTONLESS if self.buttonless == Buttonless::None => Some("has an application that leads to no bootloader"),
            DOWNGRADE if self.options.app_downgrade_prevention => Some("takes no older images"),
            NO_DOWNGRADE if !self.options.app_downgrade_prevention => Some("takes older images"),
            _ => None,
        }
    }

    /// Trusts this key: a bootloader of Nordic's has but one.
    pub(super) fn trust(&mut self, key: PublicKey) {
        self.key = key;
    }

    /// How the bootloader was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The SoftDevice that is installed.
    #[must_use]
    pub fn softdevice(&self) -> Option<Softdevice> {
        self.softdevice
    }

    /// The key that its packages are signed with: that of a product, or the development key.
    ///
    /// # Errors
    /// Why the bundled key does not read.
    pub fn signing_key(&self, product: Option<bool>) -> Result<SigningKey, Mistake> {
        let product = product.unwrap_or(self.product);
        let pem = if product { brickproof_scenarios::PRODUCTION_KEY } else { brickproof_scenarios::DEVELOPMENT_KEY };
        SigningKey::from_pem(pem).map_err(|error| Mistake::new("bundled key", error.to_string()))
    }

    /// What runs on the board.
    pub(super) fn board(&self, layout: &Layout) -> Result<NordicBoard, Mistake> {
        let bootloader = Nordic::new(layout, self.options, Some(self.key.clone()))?;
        let mut board = NordicBoard::new(bootloader);
        board.dfu = self.dfu.clone();
        board.buttonless = self.buttonless;
        board.application_says_goodbye = self.goodbye;
        board.entry_heeds_battery = self.refuses == Refuses::Entry;
        board.starts_in_dfu = self.starts_in_dfu;
        Ok(board)
    }

    /// The flash as it leaves the factory with this application.
    ///
    /// # Errors
    /// That something does not fit.
    pub fn factory_flash(&self, layout: &Layout, application: &[u8], version: u32) -> Result<Flash, Mistake> {
        let board = self.board(layout)?;
        let bootloader = &board.bootloader;
        let map = bootloader.map();
        let mut flash = layout.blank_flash();
        let wrong = |what: &str, error: &dyn std::fmt::Display| {
            Mistake::new(format!("{what} of layout `{}`", layout.name), error.to_string())
        };
        let whole = map.whole();
        flash.load(whole, 0, &mbr()).map_err(|error| wrong("the MBR", &error))?;
        let mut start = MBR_SIZE;
        if let Some(softdevice) = self.softdevice {
            flash.load(whole, MBR_SIZE, &softdevice.binary()).map_err(|error| wrong("the SoftDevice", &error))?;
            start = map.align(softdevice.size);
        }
        let size = u32::try_from(application.len()).unwrap_or(u32::MAX);
        if size > bootloader.region_end().saturating_sub(start) {
            return Err(Mistake::new("the installed application", format!("{size} bytes do not fit"))
                .remedy(format!("at most {} bytes", bootloader.region_end().saturating_sub(start))));
        }
        let mut words = application.to_vec();
        words.resize(words.len().next_multiple_of(4), 0xff);
        flash.load(whole, start, &words).map_err(|error| wrong("the application", &error))?;
        let (_, own) = self.installed_bootloader(map.bootloader().len);
        flash.load(map.bootloader(), 0, &own).map_err(|error| wrong("the bootloader", &error))?;
        let mut settings = Settings::factory(self.options.profile, size, crc32(application, 0));
        settings.app_version = version;
        settings.bootloader_version = self.bootloader_version;
        settings.sd_size = self.softdevice.map_or(0, |softdevice| softdevice.size - MBR_SIZE);
        settings.seal();
        let bytes = bootloader.settings_bytes(&settings);
        flash.load(map.settings(), 0, &bytes).map_err(|error| wrong("the settings", &error))?;
        if self.options.profile.has_backup() {
            flash.load(map.params(), 0, &bytes).map_err(|error| wrong("the settings", &error))?;
        }
        Ok(flash)
    }

    /// The bootloader that is installed: its version and its bytes, at most `room` of them.
    #[must_use]
    pub fn installed_bootloader(&self, room: u32) -> (u32, Vec<u8>) {
        (self.bootloader_version, bootloader_binary(self.bootloader_version, BOOTLOADER_LEN.min(room as usize)))
    }

    /// The SoftDevice whose information is in these bytes of flash.
    #[must_use]
    pub fn installed_softdevice(&self, layout: &Layout, flash: &Flash) -> Option<SoftdeviceInfo> {
        let board = self.board(layout).ok()?;
        SoftdeviceInfo::installed(board.bootloader.map(), flash).ok().flatten()
    }
}

/// Why a bootloader, on a serial line or on Bluetooth LE, cannot be reached on this air, if it cannot.
pub(super) fn unreachable(serial: bool, air: Air) -> Option<&'static str> {
    match (serial, air) {
        (true, Air::InProcess | Air::Serial) => None,
        (true, _) => Some("has a bootloader on a serial line"),
        (false, Air::Serial | Air::Udp | Air::InProcess) => Some("has a bootloader on Bluetooth LE"),
        (false, _) => None,
    }
}
