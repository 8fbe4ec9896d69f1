//! `brickproof image pack`.

use std::path::PathBuf;

use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::builder::{SD_REQ_ANY, VERSION_ANY};
use brickproof_flash_model::image::nordic::legacy::{DEVICE_ANY, SOFTDEVICE_ANY};
use brickproof_flash_model::image::nordic::{
    ImageKind, InitPacketBuilder, LegacyInitPacket, Package, PackageImage, Sabotage, ValidationType,
};
use clap::Args;

use super::super::nordic_files::firmware;
use super::super::options::number;
use super::super::{Failure, print, read_file, write_file};

/// What `--help` says behind the options.
pub(super) const AFTER_HELP: &str = "\
The options are named as those of `nrfutil pkg generate`, with --legacy as those of `adafruit-nrfutil dfu genpkg`. \
Together go: an application, a SoftDevice, a bootloader; SoftDevice and bootloader; and an application behind a \
SoftDevice, with or without a bootloader.

--break: signature, key, unsigned, signature-type, short-signature, hash-type, hash, no-hash, firmware, no-hw-version, \
no-fw-version, no-type, no-size, zero-size, larger-size, smaller-size, truncated, both-forms, init-twice, \
trailing-garbage or oversized; of the last image, which is the application where there is one.";

#[derive(Debug, Args)]
pub(in super::super) struct Pack {
    /// The package, FILE.zip
    output: PathBuf,
    /// The application: raw, or Intel HEX by extension
    #[arg(long, value_name = "FILE")]
    application: Option<PathBuf>,
    /// Its version
    #[arg(long, value_name = "N", value_parser = number, requires = "application")]
    application_version: Option<u32>,
    /// The application is for another chip, to which the device passes it on
    #[arg(long, requires = "application", conflicts_with_all = ["softdevice", "bootloader", "legacy"])]
    external_app: bool,
    /// The SoftDevice, without the MBR; of Intel HEX the MBR is left out
    #[arg(long, value_name = "FILE")]
    softdevice: Option<PathBuf>,
    /// The bootloader
    #[arg(long, value_name = "FILE")]
    bootloader: Option<PathBuf>,
    /// Its version
    #[arg(long, value_name = "N", value_parser = number, requires = "bootloader")]
    bootloader_version: Option<u32>,
    /// Which hardware it is for
    #[arg(long, value_name = "N", value_parser = number)]
    hw_version: Option<u32>,
    /// Firmware ids of SoftDevices, one of which must be there: 0x100, or 0x100,0x123; 0 for none at all
    #[arg(long, value_name = "IDS", value_parser = number, value_delimiter = ',')]
    sd_req: Vec<u32>,
    /// Firmware ids of the new SoftDevice, which the application behind it needs
    #[arg(long, value_name = "IDS", value_parser = number, value_delimiter = ',')]
    sd_id: Vec<u32>,
    /// What is checked of the application at every boot: NO_VALIDATION, VALIDATE_GENERATED_CRC,
    /// VALIDATE_GENERATED_SHA256 or VALIDATE_ECDSA_P256_SHA256
    #[arg(long, value_name = "KIND", value_parser = validation, default_value = "VALIDATE_GENERATED_CRC")]
    app_boot_validation: ValidationType,
    /// The same of the SoftDevice
    #[arg(long, value_name = "KIND", value_parser = validation, default_value = "VALIDATE_GENERATED_CRC")]
    sd_boot_validation: ValidationType,
    /// Debug builds of the bootloader skip the checks of versions, which may be left out here
    #[arg(long, conflicts_with = "legacy")]
    debug_mode: bool,
    /// A PEM file with a private key, ECDSA P-256; the development key of brickproof if none is given
    #[arg(long, alias = "key-file", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign nothing
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    /// A package of Legacy DFU (SDK 11 and before): with a CRC, and with hash and signature where --key is given
    #[arg(long)]
    legacy: bool,
    /// Legacy: type of the device [default: any]
    #[arg(long, value_name = "N", value_parser = number, requires = "legacy")]
    dev_type: Option<u32>,
    /// Legacy: revision of the device [default: any]
    #[arg(long, value_name = "N", value_parser = number, requires = "legacy")]
    dev_revision: Option<u32>,
    /// Break one thing on purpose: see below
    #[arg(long = "break", value_name = "WHAT", conflicts_with = "legacy")]
    sabotage: Option<Sabotage>,
}

fn validation(text: &str) -> Result<ValidationType, String> {
    // nrfutil calls it otherwise than the schema.
    let text = if text == "VALIDATE_GENERATED_SHA256" { "VALIDATE_SHA256" } else { text };
    let found = ValidationType::ALL.iter().find(|kind| kind.name() == Some(text));
    found.copied().ok_or_else(|| {
        "NO_VALIDATION, VALIDATE_GENERATED_CRC, VALIDATE_GENERATED_SHA256 or VALIDATE_ECDSA_P256_SHA256".into()
    })
}

/// The files that were given.
struct Files {
    application: Option<Vec<u8>>,
    softdevice: Option<Vec<u8>>,
    bootloader: Option<Vec<u8>>,
}

pub(super) fn run(arguments: &Pack) -> Result<u8, Failure> {
    let read = |path: &Option<PathBuf>| path.as_deref().map(firmware).transpose();
    check(arguments)?;
    let files = Files {
        application: read(&arguments.application)?,
        softdevice: read(&arguments.softdevice)?,
        bootloader: read(&arguments.bootloader)?,
    };
    let key = key(arguments)?;
    let mut package = if arguments.legacy {
        Package::legacy(legacy(arguments, &files, key.as_ref())?)
    } else {
        Package::new(secure(arguments, &files, key.as_ref())?)
    };
    if let Some(sabotage) = arguments.sabotage
        && let Some(last) = package.images.last_mut()
    {
        let broken = sabotage.apply(last, key.as_ref());
        *last = broken.map_err(|error| Failure::Usage(format!("--break {}: {error}", sabotage.name())))?;
    }
    let name = arguments.output.display().to_string();
    let bytes = package.write(&name).map_err(|error| Failure::Harness(error.to_string()))?;
    write_file(&arguments.output, &bytes)?;
    let images: Vec<String> = package
        .images
        .iter()
        .map(|image| format!("{} ({} bytes)", image.kind.key().replace('_', "-"), image.firmware.len()))
        .collect();
    let protocol = if arguments.legacy { "Legacy" } else { "Secure" };
    print(&format!("{name}: {} bytes, {protocol} DFU: {}\n", bytes.len(), images.join(", then ")))?;
    Ok(0)
}

/// What nrfutil wants, too.
fn check(arguments: &Pack) -> Result<(), Failure> {
    let Pack { application, softdevice, bootloader, .. } = arguments;
    let wrong = |message: &str, remedy: &str| Err(Failure::Usage(format!("{message}\n  remedy: {remedy}")));
    let exists = |path: &Option<PathBuf>| path.is_some();
    match (exists(application), exists(softdevice), exists(bootloader)) {
        (false, false, false) => {
            return wrong("there is nothing to pack", "--application, --softdevice or --bootloader FILE");
        }
        (true, false, true) => {
            return wrong(
                "an application and a bootloader do not go into one package",
                "two packages, the one with the bootloader first",
            );
        }
        _ => {}
    }
    if !arguments.output.extension().is_some_and(|end| end.eq_ignore_ascii_case("zip")) {
        return wrong("uploaders know a package by its name", "the name ends in .zip");
    }
    if arguments.legacy {
        let short = |number: Option<u32>| number.is_none_or(|number| number <= u32::from(u16::MAX));
        let ids = arguments.sd_req.iter().chain(&arguments.sd_id).all(|id| short(Some(*id)));
        if !(short(arguments.dev_type) && short(arguments.dev_revision) && ids) {
            return wrong("the numbers of Legacy DFU have 16 bits", "0xffff at most; 0xfffe is any SoftDevice");
        }
        return Ok(());
    }
    if arguments.debug_mode {
        return Ok(());
    }
    let lacks = [
        (arguments.hw_version.is_none(), "--hw-version", "the number that the bootloader has: 52 in the examples"),
        (
            arguments.sd_req.is_empty() && !arguments.external_app,
            "--sd-req",
            "the firmware id of the SoftDevice on the device, like 0x100; 0 for none",
        ),
        (
            exists(application) && arguments.application_version.is_none(),
            "--application-version",
            "a number that is not lower than that of the application on the device",
        ),
        (
            exists(bootloader) && arguments.bootloader_version.is_none(),
            "--bootloader-version",
            "a number that is higher than that of the bootloader on the device",
        ),
        (
            exists(application) && exists(softdevice) && arguments.sd_id.is_empty(),
            "--sd-id",
            "the firmware id of the new SoftDevice, which the application needs",
        ),
    ];
    match lacks.into_iter().find(|(lacks, ..)| *lacks) {
        Some((_, option, remedy)) => wrong(&format!("{option} is missing"), &format!("{option} N: {remedy}")),
        None => Ok(()),
    }
}

/// What is signed with; legacy packets are only signed where that is asked for.
fn key(arguments: &Pack) -> Result<Option<SigningKey>, Failure> {
    let (name, pem) = match &arguments.key {
        Some(path) => (path.display().to_string(), String::from_utf8_lossy(&read_file(path)?).into_owned()),
        None if arguments.unsigned || arguments.legacy => return Ok(None),
        None => ("development key".into(), brickproof_scenarios::DEVELOPMENT_KEY.to_owned()),
    };
    SigningKey::from_pem(&pem).map(Some).map_err(|error| Failure::Usage(format!("{name}: {error}")))
}

/// The images of Secure DFU.
fn secure(arguments: &Pack, files: &Files, key: Option<&SigningKey>) -> Result<Vec<PackageImage>, Failure> {
    let or_any = |ids: &[u32]| if ids.is_empty() { vec![SD_REQ_ANY] } else { ids.to_vec() };
    // So that half an update can be done again, the new SoftDevice is allowed, too.
    let mut either = arguments.sd_req.clone();
    for id in &arguments.sd_id {
        if !either.contains(id) {
            either.push(*id);
        }
    }
    let finish = |kind, builder: InitPacketBuilder, ids: &[u32], version: Option<u32>, validation| {
        let builder = builder
            .fw_version(version.unwrap_or(VERSION_ANY))
            .hw_version(arguments.hw_version.unwrap_or(VERSION_ANY))
            .sd_req(&or_any(ids))
            .debug(arguments.debug_mode)
            .boot_validation(validation);
        let init = match key {
            Some(key) => builder.sign(key),
            None => builder.unsigned(),
        };
        let init = init.map_err(|error| Failure::Usage(error.to_string()))?;
        Ok::<_, Failure>(PackageImage::new(kind, init, builder.firmware()))
    };
    let crc = ValidationType::GeneratedCrc;
    let mut images = Vec::new();
    match (&files.softdevice, &files.bootloader) {
        (Some(softdevice), Some(bootloader)) => images.push(finish(
            ImageKind::SoftdeviceBootloader,
            InitPacketBuilder::softdevice_bootloader(softdevice, bootloader),
            &either,
            arguments.bootloader_version,
            arguments.sd_boot_validation,
        )?),
        (Some(softdevice), None) => {
            let builder = InitPacketBuilder::softdevice(softdevice);
            images.push(finish(ImageKind::Softdevice, builder, &either, None, arguments.sd_boot_validation)?);
        }
        (None, Some(bootloader)) => {
            let builder = InitPacketBuilder::bootloader(bootloader);
            images.push(finish(ImageKind::Bootloader, builder, &either, arguments.bootloader_version, crc)?);
        }
        (None, None) => {}
    }
    if let Some(application) = &files.application {
        let builder = if arguments.external_app {
            InitPacketBuilder::external_application(application)
        } else {
            InitPacketBuilder::application(application)
        };
        let ids = if arguments.sd_id.is_empty() { &arguments.sd_req } else { &arguments.sd_id };
        let version = arguments.application_version;
        images.push(finish(ImageKind::Application, builder, ids, version, arguments.app_boot_validation)?);
    }
    Ok(images)
}

/// The images of Legacy DFU.
fn legacy(arguments: &Pack, files: &Files, key: Option<&SigningKey>) -> Result<Vec<PackageImage>, Failure> {
    let short = |number: Option<u32>, or: u16| number.and_then(|number| u16::try_from(number).ok()).unwrap_or(or);
    let packet = |firmware: &[u8], ids: &[u32]| {
        let sd_req: Vec<u16> = ids.iter().filter_map(|id| u16::try_from(*id).ok()).collect();
        let packet = LegacyInitPacket {
            device_type: short(arguments.dev_type, DEVICE_ANY),
            device_revision: short(arguments.dev_revision, DEVICE_ANY),
            application_version: arguments.application_version.unwrap_or(u32::MAX),
            sd_req: if sd_req.is_empty() { vec![SOFTDEVICE_ANY] } else { sd_req },
            ..LegacyInitPacket::new(firmware)
        };
        match key {
            Some(key) => packet.sign(firmware, key).map_err(|error| Failure::Usage(error.to_string())),
            None => Ok(packet),
        }
    };
    let mut images = Vec::new();
    let req = &arguments.sd_req;
    match (&files.softdevice, &files.bootloader) {
        (Some(softdevice), Some(bootloader)) => {
            let packet = packet(&[&softdevice[..], bootloader].concat(), req)?;
            images.push(PackageImage::legacy_softdevice_bootloader(&packet, softdevice, bootloader));
        }
        (Some(softdevice), None) => {
            let packet = packet(softdevice, req)?;
            images.push(PackageImage::legacy(ImageKind::Softdevice, &packet, softdevice.clone()));
        }
        (None, Some(bootloader)) => {
            let packet = packet(bootloader, req)?;
            images.push(PackageImage::legacy(ImageKind::Bootloader, &packet, bootloader.clone()));
        }
        (None, None) => {}
    }
    if let Some(application) = &files.application {
        let ids = if arguments.sd_id.is_empty() { req } else { &arguments.sd_id };
        let packet = packet(application, ids)?;
        images.push(PackageImage::legacy(ImageKind::Application, &packet, application.clone()));
    }
    Ok(images)
}
