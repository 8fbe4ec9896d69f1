//! The file of a target profile with a Gecko bootloader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::gecko::{Options, OwnCertificate};
use brickproof_flash_model::image::gbl::EncryptionKey;
use brickproof_flash_model::image::gbl::content::bootloader_version;
use brickproof_flash_model::image::mcuboot::PublicKey;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::{FlashTiming, Peripheral};
use brickproof_simulator::gatt::{AttError, Security, Uuid};
use brickproof_simulator::silabs::{Address, AfterEnd, Erasing, OtaConfig};
use serde::Deserialize;
use toml::Spanned;

use super::SilabsTarget;
use crate::target::common::{self, Timing, Wrong};
use crate::target::nordic::{LinkTable, link_of};
use crate::target::{Family, Target, bootloader, layout, peripheral};
use crate::units::{Duration, Size};

/// Longest name of an AppLoader in bytes.
const NAME_MAX: usize = 18;

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
    secure_boot: Option<Spanned<bool>>,
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

/// Reads a profile of this family.
pub(in crate::target) fn read(file: &str, folder: Option<&Path>, text: &str) -> Result<Target, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);
    common::check_schema(&read.schema, &mistake)?;
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
        // What the components have for a refusal of the application: of the way in, and of a start.
        let default = if own.options.storage { 0x80 } else { 0xfc };
        let error = read.battery.error.as_ref().map_or(Ok(AttError(default)), |error| att_error(error, &mistake))?;
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
    let gatt = link_of(&own.board(&layout)?.link(), &read.link, &mistake)?;
    // 8 KiB pages in 13 ms, 2 KiB pages in 25 ms; words in 11 us.
    let erase_us = if own.options.series_2 { 13_000 } else { 25_000 };
    let default = FlashTiming { erase_us, program_unit_ns: 11_000 };
    let heeded = read.battery.refuses != Refuses::Nothing;
    let battery = common::battery(read.battery.threshold.as_ref(), heeded, &mistake)?;
    Ok(Target {
        name: read.name,
        about: read.about,
        layout,
        gatt,
        peripheral,
        usb: false,
        timing: read.timing.flash(default),
        start_us: read.timing.start_us(),
        battery,
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
    if let (Some(wanted), None) = (table.secure_boot.as_ref().filter(|wanted| *wanted.get_ref()), point) {
        return Err(mistake(wanted.span().start, "secure boot checks a signature, and there is no key for it".into())
            .remedy("name a `key`: without it no application starts"));
    }
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
        secure_boot: table.secure_boot.as_ref().map_or(default.secure_boot, |wanted| *wanted.get_ref()),
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
