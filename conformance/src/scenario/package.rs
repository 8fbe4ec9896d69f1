//! The images of a scenario for a target of Nordic's: an application that is installed, and a package.
//!
//! ```toml
//! [images]
//! installed = { version = 1, size = "64 KiB" }
//! update = { version = 2, size = "96 KiB" }       # the application of the package
//! # contents = "application", "softdevice", "bootloader", "softdevice-bootloader", "softdevice-application" or
//! #            "softdevice-bootloader-application"
//! # softdevice = { firmware-id = 0x101, version = 7002001, size = "152 KiB" }  # what the package has of it
//! # bootloader = { version = 2, size = "20 KiB" }
//! # hw-version = 52            # left out: that of the target
//! # sd-req = [0x100]           # left out: the SoftDevice of the target; behind a new SoftDevice, that one
//! # debug = true
//! # boot-validation = "crc"    # or "none", "sha256", "ecdsa"
//! # key = "production"         # instead of the one that the target trusts
//! # broken = "signature"       # flash-model, image/nordic/sabotage.rs
//! # file = "package.zip"
//! ```
//!
//! `broken` breaks the last image of a package, the application where there is one.

use brickproof_flash_model::image::mcuboot::SigningKey;
use brickproof_flash_model::image::nordic::builder::{application_binary, bootloader_binary};
use brickproof_flash_model::image::nordic::{
    ImageKind, InitPacket, InitPacketBuilder, LegacyInitPacket, Package, PackageImage, SoftdeviceInfo, ValidationType,
};
use brickproof_flash_model::source::Mistake;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Image, ImageOrigin, ImageSpec, SignedWith, Version};
use crate::target::{LegacyTarget, NordicTarget};
use crate::units::Size;

/// What a package holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contents {
    /// An application.
    #[default]
    Application,
    /// A SoftDevice.
    Softdevice,
    /// A bootloader.
    Bootloader,
    /// Both in one image.
    SoftdeviceBootloader,
    /// A SoftDevice, and then an application for it.
    SoftdeviceApplication,
    /// SoftDevice and bootloader, and then an application.
    SoftdeviceBootloaderApplication,
    /// A bootloader and an application, in one file of Silicon Labs'.
    BootloaderApplication,
}

impl Contents {
    pub(super) fn has_application(self) -> bool {
        !matches!(self, Self::Softdevice | Self::Bootloader | Self::SoftdeviceBootloader)
    }

    pub(super) fn has_softdevice(self) -> bool {
        !matches!(self, Self::Application | Self::Bootloader | Self::BootloaderApplication)
    }

    pub(super) fn has_bootloader(self) -> bool {
        !matches!(self, Self::Application | Self::Softdevice | Self::SoftdeviceApplication)
    }
}

/// How an image is checked at every boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootValidation {
    /// By a CRC that the device computes.
    #[default]
    Crc,
    /// Not at all.
    None,
    /// By a hash that the device computes.
    Sha256,
    /// By a signature of the image.
    Ecdsa,
}

/// The SoftDevice of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SoftdeviceEntry {
    firmware_id: Option<u16>,
    id: Option<u32>,
    version: Option<u32>,
    size: Option<Size>,
}

/// The bootloader of a package.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootloaderEntry {
    version: Option<u32>,
    size: Option<Size>,
}

impl BootloaderEntry {
    /// Its size in bytes, where somebody says.
    #[must_use]
    pub fn size(&self) -> Option<u32> {
        self.size.map(|size| size.0)
    }
}

/// What an image is as a package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageSpec {
    /// What it holds.
    pub contents: Contents,
    /// Hardware it is for; `None` for that of the target.
    pub hw_version: Option<u32>,
    /// SoftDevices it works with; `None` for that of the target.
    pub sd_req: Option<Vec<u32>>,
    /// Whether debug builds skip the checks of versions.
    pub debug: bool,
    /// How it is checked at every boot.
    pub boot_validation: BootValidation,
    /// Its SoftDevice.
    pub softdevice: SoftdeviceEntry,
    /// Its bootloader.
    pub bootloader: BootloaderEntry,
}

/// Size of a bootloader in a package, where nobody says.
const BOOTLOADER_SIZE: u32 = 0x5000;

/// Makes or reads an image of a scenario for a target of Nordic's.
pub(super) fn prepare(
    role: &'static str,
    spec: &ImageSpec,
    own: &NordicTarget,
    scenario: &str,
) -> Result<Image, Mistake> {
    let what = format!("image `{role}` of {scenario}");
    if role == "installed" {
        return installed(spec, &what);
    }
    let product = spec.key.map(|key| key == SignedWith::Production);
    let key = own.signing_key(product)?;
    let mut package = match &spec.origin {
        ImageOrigin::File(path) => {
            let file = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|error| Mistake::new(&file, error.to_string()).remedy(&what))?;
            let package = Package::read(&file, &bytes).map_err(|error| Mistake::new(&file, error.to_string()))?;
            if spec.broken.is_none() {
                return Ok(image(role, bytes, &package));
            }
            package
        }
        ImageOrigin::Made { version, size } => {
            let version = number(*version, &what)?;
            let images = made(spec, own, version, *size, &key);
            Package::new(images.map_err(|message| Mistake::new(&what, message))?)
        }
    };
    if let Some(broken) = spec.broken {
        let sabotage = broken.nordic.ok_or_else(|| {
            Mistake::new(&what, "this breaks an image of MCUboot's").remedy("see flash-model, image/nordic/sabotage.rs")
        })?;
        if let Some(last) = package.images.last_mut() {
            *last = sabotage.apply(last, Some(&key)).map_err(|error| Mistake::new(&what, error.to_string()))?;
        }
    }
    let bytes = package.write(&what).map_err(|error| Mistake::new(&what, error.to_string()))?;
    Ok(image(role, bytes, &package))
}

/// The same for a target with a Legacy DFU bootloader: its applications have no versions, so the version of an image
/// only makes it another one.
pub(super) fn prepare_legacy(
    role: &'static str,
    spec: &ImageSpec,
    own: &LegacyTarget,
    scenario: &str,
) -> Result<Image, Mistake> {
    let what = format!("image `{role}` of {scenario}");
    if role == "installed" {
        return installed(spec, &what);
    }
    if spec.broken.is_some_and(|broken| broken.legacy.is_none()) {
        return Err(Mistake::new(&what, "a legacy package is not broken so").remedy(LegacySabotage::names()));
    }
    let package = match &spec.origin {
        ImageOrigin::File(path) => {
            let file = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|error| Mistake::new(&file, error.to_string()).remedy(&what))?;
            let package = Package::read(&file, &bytes).map_err(|error| Mistake::new(&file, error.to_string()))?;
            return Ok(image(role, bytes, &package));
        }
        ImageOrigin::Made { version, size } => {
            let application = application_binary(number(*version, &what)?, *size as usize);
            let mut packet = LegacyInitPacket::new(&application);
            let there = own.softdevice().info.firmware_id;
            packet.sd_req = match &spec.package.sd_req {
                None => vec![there],
                Some(list) => list.iter().map(|id| u16::try_from(*id).unwrap_or(u16::MAX)).collect(),
            };
            packet.device_type = own.options().device_type;
            packet.device_revision = own.options().device_revision;
            let mut firmware = application;
            match spec.broken.and_then(|broken| broken.legacy) {
                None => {}
                Some(LegacySabotage::Firmware) => {
                    let middle = firmware.len() / 2;
                    if let Some(byte) = firmware.get_mut(middle) {
                        *byte ^= 0x10;
                    }
                }
                Some(LegacySabotage::DeviceType) => packet.device_type ^= 0x0100,
                Some(LegacySabotage::Softdevice) => packet.sd_req = vec![there ^ 0x0100],
            }
            Package::legacy(vec![PackageImage::legacy(ImageKind::Application, &packet, firmware)])
        }
    };
    let bytes = package.write(&what).map_err(|error| Mistake::new(&what, error.to_string()))?;
    Ok(image(role, bytes, &package))
}

/// What is wrong with a legacy package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacySabotage {
    /// One bit in the middle of the firmware is flipped: the CRC is another one.
    Firmware,
    /// The init packet is for another type of device.
    DeviceType,
    /// The init packet is for another SoftDevice.
    Softdevice,
}

impl LegacySabotage {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Firmware, "firmware"), (Self::DeviceType, "device-type"), (Self::Softdevice, "softdevice")];

    /// Their names.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(|(_, name)| name).join(", ")
    }
}

/// The application that is on the device from the start: no package, but what is in its flash.
fn installed(spec: &ImageSpec, what: &str) -> Result<Image, Mistake> {
    let (bytes, version) = match &spec.origin {
        ImageOrigin::Made { version, size } => {
            let version = number(*version, what)?;
            (application_binary(version, *size as usize), version)
        }
        ImageOrigin::File(path) => {
            let file = path.display().to_string();
            (std::fs::read(path).map_err(|error| Mistake::new(&file, error.to_string()).remedy(what))?, 0)
        }
    };
    let hash: [u8; 32] = Sha256::digest(&bytes).into();
    let version = Some(Version::Number(version));
    Ok(Image { role: "installed", sha256: hash, tlv_hash: Some(hash), version, known: None, bytes })
}

fn number(version: Version, what: &str) -> Result<u32, Mistake> {
    match version {
        Version::Number(number) => Ok(number),
        Version::Semantic(version) => Err(Mistake::new(what, format!("`{version}` is a version of MCUboot's"))
            .remedy("a number, without quotation marks: the target is Nordic's")),
    }
}

fn image(role: &'static str, bytes: Vec<u8>, package: &Package) -> Image {
    let application = package.image(ImageKind::Application);
    let version = application.and_then(|image| InitPacket::parse(&image.init).ok());
    Image {
        role,
        sha256: Sha256::digest(&bytes).into(),
        // What runs in the end is known by the hash of the whole application.
        tlv_hash: application.map(|image| Sha256::digest(&image.firmware).into()),
        version: version.and_then(|packet| packet.command.fw_version).map(Version::Number),
        known: None,
        bytes,
    }
}

fn made(
    spec: &ImageSpec,
    own: &NordicTarget,
    version: u32,
    size: u32,
    key: &SigningKey,
) -> Result<Vec<PackageImage>, String> {
    let package = &spec.package;
    let installed = own.softdevice();
    let there = installed.map_or(0, |softdevice| u32::from(softdevice.info.firmware_id));
    let hw_version = package.hw_version.unwrap_or(own.options().hw_version);
    let validation = match package.boot_validation {
        BootValidation::Crc => ValidationType::GeneratedCrc,
        BootValidation::None => ValidationType::NoValidation,
        BootValidation::Sha256 => ValidationType::Sha256,
        BootValidation::Ecdsa => ValidationType::EcdsaP256Sha256,
    };
    let finish = |kind: ImageKind, builder: InitPacketBuilder, requires: Vec<u32>, version: u32| {
        let sd_req = package.sd_req.clone().unwrap_or(requires);
        let builder = builder
            .fw_version(version)
            .hw_version(hw_version)
            .sd_req(&sd_req)
            .debug(package.debug)
            .boot_validation(validation);
        let init = builder.sign(key).map_err(|error| error.to_string())?;
        Ok::<_, String>(PackageImage::new(kind, init, builder.firmware()))
    };
    let info = SoftdeviceInfo {
        firmware_id: package.softdevice.firmware_id.unwrap_or(0x123),
        id: package.softdevice.id.or(installed.map(|softdevice| softdevice.info.id)).unwrap_or(140),
        version: package
            .softdevice
            .version
            .or(installed.map(|softdevice| softdevice.info.version + 1))
            .unwrap_or(7_002_001),
    };
    let softdevice_size =
        package.softdevice.size.map(|size| size.0).or(installed.map(|softdevice| softdevice.size)).unwrap_or(0x26000);
    let softdevice = info.binary(softdevice_size.saturating_sub(0x1000) as usize);
    let bootloader_version = package.bootloader.version.unwrap_or(2);
    let bootloader =
        bootloader_binary(bootloader_version, package.bootloader.size.map_or(BOOTLOADER_SIZE, |size| size.0) as usize);
    let contents = package.contents;
    if contents == Contents::BootloaderApplication {
        return Err("nrfutil makes no package of a bootloader and an application".into());
    }
    let mut images = Vec::new();
    // What nrfutil writes: so that half an update can be done again, the new SoftDevice is allowed, too.
    let either = vec![there, u32::from(info.firmware_id)];
    match (contents.has_softdevice(), contents.has_bootloader()) {
        (true, true) => images.push(finish(
            ImageKind::SoftdeviceBootloader,
            InitPacketBuilder::softdevice_bootloader(&softdevice, &bootloader),
            either,
            bootloader_version,
        )?),
        (true, false) => {
            images.push(finish(
                ImageKind::Softdevice,
                InitPacketBuilder::softdevice(&softdevice),
                either,
                0xffff_ffff,
            )?);
        }
        (false, true) => images.push(finish(
            ImageKind::Bootloader,
            InitPacketBuilder::bootloader(&bootloader),
            vec![there],
            bootloader_version,
        )?),
        (false, false) => {}
    }
    if contents.has_application() {
        let requires = if contents.has_softdevice() { u32::from(info.firmware_id) } else { there };
        let application = application_binary(version, size as usize);
        images.push(finish(
            ImageKind::Application,
            InitPacketBuilder::application(&application),
            vec![requires],
            version,
        )?);
    }
    Ok(images)
}
