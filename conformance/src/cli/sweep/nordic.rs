//! What is swept of a target with a bootloader of Nordic's.

use brickproof_flash_model::boot::nordic::{Nordic, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::nordic::builder::{application_binary, bootloader_binary};
use brickproof_flash_model::image::nordic::{
    ImageKind, InitPacket, InitPacketBuilder, Package as PackageFile, SoftdeviceInfo,
};
use brickproof_flash_model::sweep::nordic::{Installed, Known, Package, Update};

use super::super::explain_text::Of;
use super::super::nordic_files::{VERSION, application, package};
use super::super::{Failure, explain_nordic};
use super::answer::{Heading, Image};
use super::mcuboot::UPDATE;
use super::options::{Arguments, ImageSize, Place, SlotImage, Told};
use super::{Work, quiet_about};
use crate::report::terminal::Style;
use crate::target::nordic::{Softdevice, mbr};
use crate::target::{NordicTarget, Target};

/// The target, and what is on it.
pub(super) struct Setup {
    pub(super) target: Target,
    nordic: Nordic,
    /// Only what must not change.
    flash: Flash,
    softdevice: Option<Softdevice>,
    softdevice_bytes: Vec<u8>,
    application: Vec<u8>,
    application_version: u32,
    bootloader: Vec<u8>,
    bootloader_version: u32,
    /// What is sent, where it is a file.
    package: Option<(SlotImage, PackageFile)>,
    update: Option<ImageSize>,
    files: String,
}

/// What an uploader sends.
struct Sent {
    init: Vec<u8>,
    image: Vec<u8>,
    version: Option<u32>,
}

impl Setup {
    pub(super) fn new(arguments: &Arguments, target: Target) -> Result<Self, Failure> {
        if let Some(flaw) = arguments.flaw {
            let what = format!("has no MCUboot, and `{}` is a mistake of that", flaw.name());
            return Err(quiet_about("--flaw", &target, &what));
        }
        if let Some(slot) = arguments.slots.iter().find(|slot| !slot.place.is_of_nordic()) {
            return Err(Failure::Usage(format!(
                "--slot {}: {} has banks and no slots\n  remedy: application=FILE[:VERSION] is installed, package=FILE.zip is sent",
                slot.place.name(),
                target.name
            )));
        }
        let of_target = target.nordic()?;
        let options = of_target.options();
        let options = Options { single_bank: options.single_bank || arguments.single_bank, ..*options };
        let nordic = Nordic::new(&target.layout, options, of_target.public_key().cloned())?;
        let own = own(&target)?;
        let mut flash = target.layout.blank_flash();
        let loaded = flash.load(nordic.map().whole(), 0, &mbr());
        loaded.map_err(|error| Failure::Harness(format!("{}: the MBR: {error}", target.name)))?;
        let softdevice = own.softdevice();
        let (bootloader_version, bootloader) = own.installed_bootloader(nordic.map().bootloader().len);
        let one = |place: Place| {
            let mut files = arguments.slots.iter().filter(move |slot| slot.place == place);
            match (files.next(), files.next()) {
                (Some(_), Some(_)) => {
                    Err(Failure::Usage(format!("--slot {} is given twice\n  remedy: one of each", place.name())))
                }
                (file, _) => Ok(file),
            }
        };
        let (application, application_version) = match one(Place::Application)? {
            Some(slot) => {
                let application = application(&slot.path, slot.version)?;
                (application.bytes, application.version)
            }
            None => {
                let size = match arguments.installed {
                    ImageSize::Bytes(bytes) => bytes,
                    ImageSize::Max => room(&nordic, softdevice),
                };
                (application_binary(VERSION, size as usize), VERSION)
            }
        };
        let package = one(Place::Package)?.map(|slot| Ok::<_, Failure>((slot.clone(), package(&slot.path)?)));
        let line = |slot: &SlotImage| format!("\n  the {} is {}", slot.place.name(), slot.path.display());
        Ok(Self {
            nordic,
            flash,
            softdevice,
            softdevice_bytes: softdevice.map_or(Vec::new(), |softdevice| softdevice.binary()),
            application,
            application_version,
            bootloader,
            bootloader_version,
            package: package.transpose()?,
            update: arguments.update,
            files: arguments.slots.iter().map(line).collect(),
            target,
        })
    }

    fn installed(&self) -> Installed<'_> {
        Installed {
            softdevice: &self.softdevice_bytes,
            application: &self.application,
            application_version: self.application_version,
            bootloader: &self.bootloader,
            bootloader_version: self.bootloader_version,
        }
    }

    /// A story for each image of the package, in the order in which they are sent; `None` where they are made.
    pub(super) fn package_stories(&self) -> Option<Vec<Told>> {
        let (_, package) = self.package.as_ref()?;
        Some(package.images.iter().map(|image| Told::dfu(image.kind)).collect())
    }

    /// Does something with the machine of a story.
    pub(super) fn with<T>(&self, story: Told, work: impl Work<T>) -> Result<T, Failure> {
        let Told::Dfu { kind, strict } = story else {
            return Err(quiet_about("--story", &self.target, "has no MCUboot, and this is a story of that"));
        };
        let sent = self.sent(kind)?;
        let update = self.update(story, &sent)?.strict(strict);
        let facts = update.facts();
        work.on(&update, &|finding, _| Known::of(finding, &facts).map(Into::into))
    }

    fn update<'a>(&'a self, story: Told, sent: &'a Sent) -> Result<Update<'a>, Failure> {
        let package = Package { init: &sent.init, image: &sent.image };
        let update = Update::new(&self.nordic, self.flash.clone(), &self.installed(), package);
        update.map_err(|error| Failure::Usage(format!("{}, {}: {error}{}", self.target.name, story.name(), self.files)))
    }

    /// What is sent in a story.
    fn sent(&self, kind: ImageKind) -> Result<Sent, Failure> {
        if let Some((slot, package)) = &self.package {
            let Some(image) = package.image(kind) else {
                let there: Vec<_> = package.images.iter().map(|image| image.kind.key().replace('_', "-")).collect();
                return Err(Failure::Usage(format!(
                    "{}: the package has no {}\n  remedy: --story {}",
                    slot.path.display(),
                    kind.key().replace('_', "-"),
                    there.join(" or ")
                )));
            };
            let version = InitPacket::parse(&image.init).ok().and_then(|packet| packet.command.fw_version);
            return Ok(Sent { init: image.init.clone(), image: image.firmware.clone(), version });
        }
        let key = own(&self.target)?.signing_key(None)?;
        let there = self.softdevice.map_or(0, |softdevice| u32::from(softdevice.info.firmware_id));
        let softdevice = || {
            let Some(old) = self.softdevice else {
                return Err(Failure::Usage(format!(
                    "--story {}: {} has no SoftDevice\n  remedy: --story application or bootloader",
                    kind.key().replace('_', "-"),
                    self.target.name
                )));
            };
            let size = self.size(self.softdevice_bytes.len());
            let info = SoftdeviceInfo { version: old.info.version.saturating_add(1), ..old.info };
            Ok(info.binary(size))
        };
        let bootloader_version = self.bootloader_version.saturating_add(1);
        let application;
        let (builder, version) = match kind {
            ImageKind::Application => {
                let version = self.application_version.saturating_add(1);
                let size = match self.update.unwrap_or(UPDATE) {
                    ImageSize::Bytes(bytes) => bytes as usize,
                    ImageSize::Max => room(&self.nordic, self.softdevice) as usize,
                };
                application = application_binary(version, size);
                (InitPacketBuilder::application(&application), Some(version))
            }
            ImageKind::Softdevice => (InitPacketBuilder::softdevice(&softdevice()?), None),
            ImageKind::Bootloader => {
                let bootloader = bootloader_binary(bootloader_version, self.size(self.bootloader.len()));
                (InitPacketBuilder::bootloader(&bootloader), Some(bootloader_version))
            }
            ImageKind::SoftdeviceBootloader => {
                let bootloader = bootloader_binary(bootloader_version, self.bootloader.len());
                let builder = InitPacketBuilder::softdevice_bootloader(&softdevice()?, &bootloader);
                (builder, Some(bootloader_version))
            }
        };
        let builder = builder.hw_version(self.nordic.options().hw_version).sd_req(&[there]);
        let builder = if let Some(version) = version { builder.fw_version(version) } else { builder };
        let init = builder.sign(&key).map_err(|error| Failure::Harness(error.to_string()))?;
        Ok(Sent { init, image: builder.firmware(), version })
    }

    /// The size that was asked for, or that of what it replaces.
    fn size(&self, replaced: usize) -> usize {
        match self.update {
            Some(ImageSize::Bytes(bytes)) => bytes as usize,
            Some(ImageSize::Max) | None => replaced,
        }
    }

    /// What is swept, in words and for programs.
    pub(super) fn heading(&self, stories: &[Told]) -> Result<Heading, Failure> {
        let page = self.nordic.map().page() as usize;
        let image = |role, holds: &'static str, version: String, size: usize| Image {
            role,
            holds: Some(holds),
            version,
            size,
            sectors: u32::try_from(size.div_ceil(page)).unwrap_or(u32::MAX),
        };
        let mut images = Vec::new();
        if let Some(softdevice) = self.softdevice {
            let version = version_text(softdevice.info.version);
            images.push(image("installed", "SoftDevice", version, self.softdevice_bytes.len()));
        }
        let installed = self.installed();
        let version = installed.application_version.to_string();
        images.push(image("installed", "application", version, installed.application.len()));
        let version = installed.bootloader_version.to_string();
        images.push(image("installed", "bootloader", version, installed.bootloader.len()));
        for story in stories {
            let Told::Dfu { kind, .. } = *story else { continue };
            let sent = self.sent(kind)?;
            // Before anything is printed it shows that it cannot be.
            self.update(*story, &sent)?;
            let (holds, version) = match kind {
                ImageKind::Application => ("application", sent.version.map(|version| version.to_string())),
                ImageKind::Bootloader => ("bootloader", sent.version.map(|version| version.to_string())),
                ImageKind::Softdevice => ("SoftDevice", None),
                ImageKind::SoftdeviceBootloader => ("SoftDevice and bootloader", None),
            };
            let version = version
                .or_else(|| SoftdeviceInfo::parse(&sent.image).map(|info| version_text(info.version)))
                .unwrap_or_else(|| "?".into());
            images.push(image("update", holds, version, sent.image.len()));
        }
        let options = self.nordic.options();
        let (mode, banks) =
            if options.single_bank { ("single-bank", "single bank") } else { ("dual-bank", "dual bank") };
        let words = format!("Secure DFU of nRF5 SDK {}, {banks}", options.profile.name());
        Ok(Heading { bootloader: "nordic-secure", mode, words, images })
    }

    /// A flash, explained.
    pub(super) fn explain(&self, flash: &Flash, of: Of<'_>, style: Style) -> String {
        explain_nordic::explain(&self.target.name, &self.nordic.explain(flash), of, style)
    }
}

/// What is of Nordic's in this target.
fn own(target: &Target) -> Result<&NordicTarget, Failure> {
    target.of_nordic().ok_or_else(|| Failure::Harness(format!("{}: no target of Nordic's", target.name)))
}

/// Bytes that an application may have.
fn room(nordic: &Nordic, softdevice: Option<Softdevice>) -> u32 {
    let start = softdevice
        .map_or(brickproof_flash_model::boot::nordic::MBR_SIZE, |softdevice| nordic.map().align(softdevice.size));
    nordic.region_end().saturating_sub(start)
}

/// `7.2.0`.
fn version_text(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
