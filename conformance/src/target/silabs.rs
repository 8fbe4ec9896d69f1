//! Target profiles of Silicon Labs' EFR32 with a Gecko bootloader.
//!
//! ```toml
//! schema = 1
//! name = "my-board"
//! about = "what it is"
//! layout = "efr32xg22-apploader"  # or efr32xg24-storage, efr32xg13-apploader, efr32xg13-storage, or a path to a layout file
//!
//! [bootloader]                 # how it was built; the names in btl_core_cfg.h and btl_config.h
//! kind = "gecko-apploader"     # programs in place; or "gecko-storage": installs from a slot that the application fills
//! series = 2                   # or 1
//! version = "2.5.0"            # of the bootloader itself: major, minor, customer
//! key = "development"          # checks signatures, ECDSA P-256: `development`, `production`, the path of a PEM file, or "none"
//! signed = false               # BOOTLOADER_ENFORCE_SIGNED_UPGRADE
//! encryption = true            # it can decrypt
//! encrypted = false            # BOOTLOADER_ENFORCE_ENCRYPTED_UPGRADE
//! encryption-key = "000102030405060708090a0b0c0d0e0f"  # left out: none, as erased flash has it
//! secure-boot = false          # BOOTLOADER_ENFORCE_SECURE_BOOT
//! certificate = 1              # version of its certificate, which is for `key`; left out: none (BOOTLOADER_SUPPORT_CERTIFICATES)
//! reject-direct-signed = false # BOOTLOADER_REJECT_DIRECT_SIGNED_IMG
//! lz4 = false                  # BTL_PARSER_SUPPORT_LZ4
//! lzma = false                 # BTL_PARSER_SUPPORT_LZMA
//! version-dependency = false   # BTL_PARSER_SUPPORT_VERSION_DEPENDENCY_TAG
//! version-check = false        # btl_parser_app_version_check.c: only a higher version for the same product
//! rollback-protection = false  # BOOTLOADER_ROLLBACK_PROTECTION
//! minimum-version = 0          # BOOTLOADER_ROLLBACK_PROTECTION_MINIMUM_VERSION
//! upgrade-offset = "96 KiB"    # BTL_UPGRADE_LOCATION_BASE; a storage bootloader 32 KiB
//! upgrade-size = "96 KiB"      # MINIMUM_REQUIRED_UPGRADE_SIZE
//! starts-in = "application"    # or "bootloader": the button is held at the first start
//!
//! [ota]                        # the OTA server; what the vendor leaves open has the default here
//! service = "1d14d6ee-fd63-4fa1-bfa4-8f47b42119f0"
//! mtu = 247
//! name = "OTA"                 # of an AppLoader: "AppLoader" on Series 1
//! address = "same"             # of an AppLoader: that of the application, or "static-random"
//! kind-first = false           # AD type 0x1b: the kind of the address comes before the address
//! apploader-version = [2, 0, 0, 0]
//! ota-version = 3
//! application-versions = false # the application has the four version characteristics, too
//! queue = 16                   # values without a response that wait for the flash (open)
//! after-end = "padding"        # what an AppLoader takes behind the end of a file: up to 3 bytes 0xff, "anything", "nothing" (open)
//! erase-on-start = false       # 0x00 erases the first page of the application (open; the published code does not)
//! results = { 0x1005 = 0x80 }  # ATT error for an error of the parser (open)
//! reserved = 0x13              # ATT error for another control byte (open)
//! bonding-required = false     # SL_BT_IN_PLACE_OTA_DFU_CONFIG_BONDING_REQUIRED
//! reboot-delay = "1 s"         # SL_BT_IN_PLACE_OTA_DFU_CONFIG_MIN_DELAY
//! reboot-intervals = 5         # SL_BT_IN_PLACE_OTA_DFU_CONFIG_MULT
//! erasing = "blocks"           # what is written while a slot is erased is answered behind it; "beside": at once, and comes to
//!                              # nothing; "deaf": never
//! answers-strangers = false    # data of someone who has not begun is answered, as by SDKs of 2022
//! verify = "0 s"               # time to verify 128 bytes of a slot
//!
//! [application]
//! access = "open"              # or "encrypted", "authenticated": what its OTA characteristics ask of a link
//!
//! [battery]
//! threshold = 20               # percent
//! refuses = "nothing"          # or "start": 0x00, and the way into the AppLoader, is answered with `error`
//! error = 0x80
//! service = true
//! ```
//!
//! `[link]`, `[advertisement]`, `[device-information]`, `[[service]]` and `[timing]` are as in [`super::nordic`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::gecko::{Gecko, Options, OwnCertificate};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::content::bootloader_version;
use brickproof_flash_model::image::gbl::device::DeviceCertificate;
use brickproof_flash_model::image::gbl::{BootRules, Device, EncryptionKey, FirmwareBuilder, Trust};
use brickproof_flash_model::image::mcuboot::{PublicKey, SigningKey};
use brickproof_flash_model::image::nordic::crc32;
use brickproof_flash_model::layout::Layout;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{BatteryPolicy, FlashTiming, Peripheral};
use brickproof_simulator::gatt::{AttError, Security, Uuid};
use brickproof_simulator::silabs::{Address, AfterEnd, Erasing, OtaConfig, SilabsBoard};
use serde::Deserialize;
use toml::Spanned;

use super::nordic::{LinkTable, link_of};
use super::{Family, Target, Timing, bootloader, layout, peripheral};
use crate::air::{APPLOADER, Air, DOWNGRADE, MARKS, NO_DOWNGRADE, REVERT, SERIAL_DFU, SERIAL_RECOVERY, STORAGE_SLOT};
use crate::units::{Duration, Size};

/// Kinds of bootloaders that are read here.
pub(super) const KINDS: [&str; 2] = ["gecko-apploader", "gecko-storage"];
/// Bytes of the bootloader that is installed.
const BOOTLOADER_LEN: usize = 0x2000;
/// Longest name of an AppLoader in bytes.
const NAME_MAX: usize = 18;

/// A target with a Gecko bootloader.
#[derive(Debug, Clone)]
pub struct SilabsTarget {
    options: Options,
    key: Option<PublicKey>,
    /// It trusts the key of a product, and its files are signed with that.
    product: bool,
    version: u32,
    ota: OtaConfig,
    access: Security,
    starts_in_bootloader: bool,
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
    ota: OtaTable,
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
    timing: Timing,
    #[serde(default)]
    battery: BatteryTable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BootloaderTable {
    kind: String,
    series: Option<Spanned<u8>>,
    version: Option<Spanned<String>>,
    key: Option<Spanned<String>>,
    signed: Option<bool>,
    encryption: Option<bool>,
    encrypted: Option<bool>,
    encryption_key: Option<Spanned<String>>,
    secure_boot: Option<bool>,
    certificate: Option<Spanned<u32>>,
    reject_direct_signed: Option<bool>,
    lz4: Option<bool>,
    lzma: Option<bool>,
    version_dependency: Option<bool>,
    version_check: Option<bool>,
    rollback_protection: Option<bool>,
    minimum_version: Option<u32>,
    upgrade_offset: Option<Size>,
    upgrade_size: Option<Size>,
    #[serde(default)]
    starts_in: StartsIn,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum StartsIn {
    #[default]
    Application,
    Bootloader,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OtaTable {
    service: Option<Spanned<String>>,
    mtu: Option<Spanned<u16>>,
    name: Option<Spanned<String>>,
    #[serde(default)]
    address: AddressEntry,
    kind_first: Option<bool>,
    apploader_version: Option<[u16; 4]>,
    ota_version: Option<u8>,
    application_versions: Option<bool>,
    queue: Option<Spanned<usize>>,
    #[serde(default)]
    after_end: AfterEndEntry,
    erase_on_start: Option<bool>,
    #[serde(default)]
    results: BTreeMap<Spanned<String>, Spanned<u8>>,
    reserved: Option<Spanned<u8>>,
    bonding_required: Option<bool>,
    reboot_delay: Option<Duration>,
    reboot_intervals: Option<u8>,
    #[serde(default)]
    erasing: ErasingEntry,
    answers_strangers: Option<bool>,
    verify: Option<Duration>,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum AddressEntry {
    #[default]
    Same,
    StaticRandom,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum AfterEndEntry {
    #[default]
    Padding,
    Anything,
    Nothing,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum ErasingEntry {
    #[default]
    Blocks,
    Beside,
    Deaf,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ApplicationTable {
    #[serde(default)]
    access: AccessEntry,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum AccessEntry {
    #[default]
    Open,
    Encrypted,
    Authenticated,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BatteryTable {
    threshold: Option<Spanned<u8>>,
    #[serde(default)]
    refuses: Refuses,
    error: Option<Spanned<u8>>,
    service: Option<bool>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Refuses {
    #[default]
    Nothing,
    Start,
}

/// Makes a mistake at a byte offset of the file.
type Wrong<'a> = &'a dyn Fn(usize, String) -> Mistake;

/// Reads a profile of this family.
pub(super) fn read(file: &str, folder: Option<&Path>, text: &str) -> Result<Target, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
    if *read.schema.get_ref() != 1 {
        return Err(mistake(read.schema.span().start, format!("schema {} is not known", read.schema.get_ref()))
            .remedy("this version reads schema = 1"));
    }
    let resolve = |name: &str| folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
    let layout = layout(read.layout.get_ref(), &resolve)?;
    let table = &read.bootloader;
    let (key, product) = match table.key.as_ref() {
        None => (Some(development()?), false),
        Some(name) if name.get_ref() == "none" => (None, false),
        Some(name) => {
            let key = bootloader::read_p256(name.get_ref(), &resolve)
                .map_err(|message| mistake(name.span().start, message).remedy("or \"none\""))?;
            (Some(key), name.get_ref() == bootloader::PRODUCTION)
        }
    };
    let mut own = SilabsTarget {
        options: options(table, key.as_ref(), &mistake)?,
        key,
        product,
        version: match &table.version {
            None => 0x0205_0000,
            Some(text) => bootloader_version(text.get_ref()).map_err(|message| mistake(text.span().start, message))?,
        },
        ota: ota(&read.ota, &mistake)?,
        access: match read.application.access {
            AccessEntry::Open => Security::Plain,
            AccessEntry::Encrypted => Security::Encrypted,
            AccessEntry::Authenticated => Security::Authenticated,
        },
        starts_in_bootloader: table.starts_in == StartsIn::Bootloader,
    };
    if !own.options.series_2 && read.ota.name.is_none() {
        own.ota.name = "AppLoader".into();
    }
    if read.battery.refuses == Refuses::Start {
        let error = read.battery.error.as_ref().map_or(Ok(AttError(0x80)), |error| att_error(error, &mistake))?;
        own.ota.low_battery = Some(error);
    }
    let peripheral = peripheral::read(
        Peripheral::nordic(&read.name),
        &read.name,
        &read.advertisement,
        &read.device_information,
        &read.service,
        read.battery.service.unwrap_or(true),
        &mistake,
    )?;
    if let Some(threshold) = read.battery.threshold.as_ref().filter(|threshold| *threshold.get_ref() > 100) {
        return Err(mistake(threshold.span().start, "a threshold is between 0 and 100 percent".into()));
    }
    let gatt = link_of(&own.board(&layout)?.link(), &read.link, &mistake)?;
    // 8 KiB pages in 13 ms, 2 KiB pages in 25 ms; words in 11 us.
    let erase_us = if own.options.series_2 { 13_000 } else { 25_000 };
    let threshold = match read.battery.refuses {
        Refuses::Nothing => 0,
        Refuses::Start => read.battery.threshold.map_or(BatteryPolicy::default().threshold, Spanned::into_inner),
    };
    Ok(Target {
        name: read.name,
        about: read.about,
        layout,
        gatt,
        peripheral,
        usb: false,
        timing: FlashTiming {
            erase_us: read.timing.erase.map_or(erase_us, |duration| duration.us),
            program_unit_ns: read.timing.program_unit.map_or(11_000, |duration| duration.ns),
        },
        start_us: read.timing.start.map_or(300_000, |duration| duration.us),
        battery: BatteryPolicy { threshold, ..BatteryPolicy::default() },
        family: Family::Silabs(Box::new(own)),
    })
}

fn development() -> Result<PublicKey, Mistake> {
    PublicKey::from_pem(brickproof_scenarios::DEVELOPMENT_KEY)
        .map_err(|error| Mistake::new("bundled development key", error.to_string()))
}

fn options(table: &BootloaderTable, key: Option<&PublicKey>, mistake: Wrong<'_>) -> Result<Options, Mistake> {
    let series_2 = match &table.series {
        None => true,
        Some(series) => match series.get_ref() {
            1 => false,
            2 => true,
            other => {
                return Err(mistake(series.span().start, format!("Series {other} is not known here"))
                    .remedy("1 or 2; Series 3 has another format of files"));
            }
        },
    };
    let default = if table.kind == "gecko-storage" { Options::storage() } else { Options::apploader() };
    let point = |key: &PublicKey| key.p256_point().map_err(|error| Mistake::new("the key", error.to_string()));
    let point = key.map(point).transpose()?;
    let certificate = match (&table.certificate, point) {
        (None, _) => None,
        (Some(version), Some(key)) => Some(OwnCertificate { version: *version.get_ref(), key }),
        (Some(version), None) => {
            return Err(mistake(version.span().start, "a certificate is for a key, and there is none".into())
                .remedy("name a `key`"));
        }
    };
    let encryption_key = match &table.encryption_key {
        None => None,
        Some(digits) => Some(
            *EncryptionKey::read("encryption-key", digits.get_ref())
                .map_err(|error| mistake(digits.span().start, error.to_string()))?
                .bytes(),
        ),
    };
    Ok(Options {
        series_2,
        upgrade_offset: table.upgrade_offset.map_or(default.upgrade_offset, |size| size.0),
        upgrade_size: table.upgrade_size.map_or(default.upgrade_size, |size| size.0),
        encryption: table.encryption.unwrap_or(default.encryption),
        require_encrypted: table.encrypted.unwrap_or(default.require_encrypted),
        require_signed: table.signed.unwrap_or(default.require_signed),
        secure_boot: table.secure_boot.unwrap_or(default.secure_boot),
        lz4: table.lz4.unwrap_or(default.lz4),
        lzma: table.lzma.unwrap_or(default.lzma),
        version_dependency: table.version_dependency.unwrap_or(default.version_dependency),
        version_check: table.version_check.unwrap_or(default.version_check),
        rollback_protection: table.rollback_protection.unwrap_or(default.rollback_protection),
        minimum_version: table.minimum_version.unwrap_or(default.minimum_version),
        reject_direct_signed: table.reject_direct_signed.unwrap_or(default.reject_direct_signed),
        // With certificates the key is in there.
        public_key: point.filter(|_| certificate.is_none()),
        certificate,
        encryption_key,
        ..default
    })
}

/// An ATT error of an application, or one that the Core specification has.
fn att_error(error: &Spanned<u8>, mistake: Wrong<'_>) -> Result<AttError, Mistake> {
    match *error.get_ref() {
        0 => Err(mistake(error.span().start, "0 is no error".into())
            .remedy("from 0x80 to 0x9f, or one of the Core specification")),
        code => Ok(AttError(code)),
    }
}

fn ota(table: &OtaTable, mistake: Wrong<'_>) -> Result<OtaConfig, Mistake> {
    let default = OtaConfig::default();
    if let Some(mtu) = table.mtu.as_ref().filter(|mtu| !(23..=247).contains(mtu.get_ref())) {
        return Err(mistake(mtu.span().start, format!("an ATT MTU is not {}", mtu.get_ref())).remedy("from 23 to 247"));
    }
    if let Some(name) = table.name.as_ref().filter(|name| !(1..=NAME_MAX).contains(&name.get_ref().len())) {
        return Err(mistake(name.span().start, format!("the name has {} bytes", name.get_ref().len()))
            .remedy("1 to 18, so that it fits the advertising data"));
    }
    if let Some(queue) = table.queue.as_ref().filter(|queue| !(1..=4096).contains(queue.get_ref())) {
        return Err(mistake(queue.span().start, format!("room for {} is not possible", queue.get_ref()))
            .remedy("from 1 to 4096"));
    }
    let service = match &table.service {
        None => default.service,
        Some(text) => text.get_ref().parse::<Uuid>().map_err(|error| mistake(text.span().start, error.to_string()))?,
    };
    let mut results = BTreeMap::new();
    for (code, result) in &table.results {
        let number = code.get_ref().strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| {
            mistake(code.span().start, format!("`{}` is no error of the parser", code.get_ref()))
                .remedy("a number like 0x1005: see btl_errorcode.h")
        })?;
        results.insert(number, att_error(result, mistake)?.code());
    }
    Ok(OtaConfig {
        service,
        mtu: table.mtu.as_ref().map_or(default.mtu, |mtu| *mtu.get_ref()),
        name: table.name.as_ref().map_or(default.name, |name| name.get_ref().clone()),
        address: match table.address {
            AddressEntry::Same => Address::Same,
            AddressEntry::StaticRandom => Address::StaticRandom,
        },
        kind_first: table.kind_first.unwrap_or(default.kind_first),
        apploader_version: table.apploader_version.unwrap_or(default.apploader_version),
        ota_version: table.ota_version.unwrap_or(default.ota_version),
        application_versions: table.application_versions.unwrap_or(default.application_versions),
        queue: table.queue.as_ref().map_or(default.queue, |queue| *queue.get_ref()),
        after_end: match table.after_end {
            AfterEndEntry::Padding => AfterEnd::Padding,
            AfterEndEntry::Anything => AfterEnd::Anything,
            AfterEndEntry::Nothing => AfterEnd::Nothing,
        },
        erase_on_start: table.erase_on_start.unwrap_or(default.erase_on_start),
        results,
        reserved: table.reserved.as_ref().map_or(Ok(default.reserved), |error| att_error(error, mistake))?,
        low_battery: None,
        bonding_required: table.bonding_required.unwrap_or(default.bonding_required),
        reboot_us: table.reboot_delay.map_or(default.reboot_us, |duration| duration.us),
        reboot_intervals: table.reboot_intervals.map_or(default.reboot_intervals, u64::from),
        erasing: match table.erasing {
            ErasingEntry::Blocks => Erasing::Blocks,
            ErasingEntry::Beside => Erasing::Beside,
            ErasingEntry::Deaf => Erasing::Deaf,
        },
        answers_strangers: table.answers_strangers.unwrap_or(default.answers_strangers),
        verify_us: table.verify.map_or(default.verify_us, |duration| duration.us),
    })
}

impl SilabsTarget {
    /// How the bootloader was built.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Version of the bootloader that is installed.
    #[must_use]
    pub fn bootloader_version(&self) -> u32 {
        self.version
    }

    /// What decrypts its files, if it has a key.
    #[must_use]
    pub fn encryption_key(&self) -> Option<EncryptionKey> {
        self.options.encryption_key.map(EncryptionKey::new)
    }

    /// The key that checks signatures, if it has one.
    #[must_use]
    pub fn public_key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    /// What it lacks of something that a scenario needs of a target, in words.
    pub(super) fn lacks(&self, need: &str) -> Option<&'static str> {
        let older = self.options.version_check || self.options.rollback_protection;
        match need {
            REVERT => Some("has no way back to the old image"),
            MARKS => Some("has images that are valid or not: nothing is marked"),
            SERIAL_RECOVERY => Some("has no serial recovery"),
            SERIAL_DFU => Some("has a bootloader without a serial line"),
            APPLOADER if self.options.storage => Some("has no AppLoader: its application stores what comes in a slot"),
            STORAGE_SLOT if !self.options.storage => Some("has an AppLoader, and no storage slot"),
            DOWNGRADE if older => Some("takes no older images"),
            NO_DOWNGRADE if !older => Some("takes older images"),
            _ => None,
        }
    }

    /// Why it cannot be reached on this air, if it cannot.
    #[must_use]
    pub fn unreachable_on(&self, air: Air) -> Option<&'static str> {
        super::nordic::unreachable(false, air)
    }

    /// Trusts this key: a bootloader has but one.
    pub(super) fn trust(&mut self, key: PublicKey) {
        if let Ok(point) = key.p256_point() {
            match &mut self.options.certificate {
                Some(own) => own.key = point,
                None => self.options.public_key = Some(point),
            }
        }
        self.key = Some(key);
    }

    /// The key that its files are signed with: that of a product, or the development key.
    ///
    /// # Errors
    /// Why the bundled key does not read.
    pub fn signing_key(&self, product: Option<bool>) -> Result<SigningKey, Mistake> {
        let product = product.unwrap_or(self.product);
        let pem = if product { brickproof_scenarios::PRODUCTION_KEY } else { brickproof_scenarios::DEVELOPMENT_KEY };
        SigningKey::from_pem(pem).map_err(|error| Mistake::new("bundled key", error.to_string()))
    }

    /// What runs on the board.
    pub(super) fn board(&self, layout: &Layout) -> Result<SilabsBoard, Mistake> {
        let mut board = SilabsBoard::new(self.gecko(layout)?);
        board.ota = self.ota.clone();
        board.access = self.access;
        board.starts_in_bootloader = self.starts_in_bootloader;
        Ok(board)
    }

    /// Its bootloader.
    ///
    /// # Errors
    /// That the layout does not suit it.
    pub fn gecko(&self, layout: &Layout) -> Result<Gecko, Mistake> {
        Gecko::new(layout, self.options.clone())
    }

    /// A bootloader for it, with its CRC-32 behind it, `size` bytes in all.
    #[must_use]
    pub fn bootloader(&self, gecko: &Gecko, version: u32, size: usize) -> Vec<u8> {
        let image = FirmwareBuilder::bootloader(gecko.map().main_stage(), version).size(size.saturating_sub(4)).build();
        [image.as_slice(), &crc32(&image, 0).to_le_bytes()].concat()
    }

    /// The bootloader that is installed, with its CRC-32 behind it.
    #[must_use]
    pub fn installed_bootloader(&self, gecko: &Gecko) -> Vec<u8> {
        self.bootloader(gecko, self.version, BOOTLOADER_LEN.min(gecko.map().bootloader().1 as usize))
    }

    /// What a file for it is checked for; which versions run is not known.
    ///
    /// # Errors
    /// That bootloader and layout do not go together.
    pub fn device(&self, layout: &Layout) -> Result<Device, Mistake> {
        let gecko = self.gecko(layout)?;
        let (map, options) = (gecko.map(), &self.options);
        Ok(Device {
            series_2: options.series_2,
            communication: !options.storage,
            encryption: options.encryption,
            lz4: options.lz4,
            lzma: options.lzma,
            dependencies: options.version_dependency,
            require_signature: options.require_signed,
            require_encryption: options.require_encrypted,
            trust: self.key.clone().map_or(Trust::Nothing, Trust::from),
            certificate: options
                .certificate
                .and_then(|own| Some(DeviceCertificate { key: self.key.clone()?, version: own.version })),
            decryption: self.encryption_key(),
            application_area: Some(map.application_start()..map.application_end()),
            bootloader_address: Some(map.main_stage()),
            slot_size: map.slots().first().map(|slot| slot.len).filter(|_| options.storage),
            ..Device::default()
        })
    }

    /// What its bootloader asks of an application before it starts it.
    ///
    /// # Errors
    /// As [`SilabsTarget::device`].
    pub fn boot_rules(&self, layout: &Layout) -> Result<BootRules, Mistake> {
        let gecko = self.gecko(layout)?;
        let Device { trust, certificate, .. } = self.device(layout)?;
        Ok(BootRules {
            flash: gecko.map().flash_base()..gecko.map().flash_end(),
            ram: self.options.ram.clone(),
            application_start: gecko.map().application_start(),
            secure_boot: self.options.secure_boot,
            trust,
            certificate,
            crc32: true,
        })
    }

    /// The flash as it leaves the factory with this application, and with a file that is in slot 0.
    ///
    /// # Errors
    /// That something does not fit.
    pub fn factory_flash(&self, layout: &Layout, application: &[u8], stored: Option<&[u8]>) -> Result<Flash, Mistake> {
        let gecko = self.gecko(layout)?;
        let map = gecko.map();
        let mut flash = layout.blank_flash();
        let wrong = |what: &str, message: String| Mistake::new(format!("{what} of layout `{}`", layout.name), message);
        let mut load = |what: &str, address: u32, bytes: &[u8]| {
            let mut words = bytes.to_vec();
            words.resize(words.len().next_multiple_of(4), 0xff);
            let place = map.place(address, u32::try_from(words.len()).unwrap_or(u32::MAX));
            let (area, offset) =
                place.ok_or_else(|| wrong(what, format!("{} bytes do not fit at {address:#x}", bytes.len())))?;
            flash.load(area, offset, &words).map_err(|error| wrong(what, error.to_string()))
        };
        load("the bootloader", map.main_stage(), &self.installed_bootloader(&gecko))?;
        if application.len() > map.application_len() as usize {
            return Err(Mistake::new("the installed application", format!("{} bytes do not fit", application.len()))
                .remedy(format!("at most {} bytes", map.application_len())));
        }
        load("the application", map.application_start(), application)?;
        if let Some(stored) = stored {
            let slot = map.slots().first().ok_or_else(|| {
                Mistake::new("image `other`", format!("layout `{}` has no slot", layout.name)).remedy("leave it out")
            })?;
            load("the file in slot 0", slot.address, stored)?;
        }
        Ok(flash)
    }
}
