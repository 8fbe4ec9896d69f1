//! What is swept of a target with Secure DFU.

use brickproof_flash_model::boot::nordic::{Nordic, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::nordic::builder::bootloader_binary;
use brickproof_flash_model::image::nordic::{ImageKind, InitPacket, InitPacketBuilder, SoftdeviceInfo};
use brickproof_flash_model::sweep::nordic::{Installed, Known, Package, Update};

use super::super::explain_text::Of;
use super::super::{Failure, explain_parts};
use super::answer::Heading;
use super::given::{Given, holds, image, version_text};
use super::options::{Arguments, Told};
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
    bootloader: Vec<u8>,
    bootloader_version: u32,
    pub(super) given: Given,
}

/// What an uploader sends.
struct Sent {
    init: Vec<u8>,
    image: Vec<u8>,
    version: Option<u32>,
}

impl Setup {
    pub(super) fn new(arguments: &Arguments, target: Target) -> Result<Self, Failure> {
        Given::check(arguments, &target)?;
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
        let given = Given::new(arguments, &target, room(&nordic, softdevice))?;
        Ok(Self {
            nordic,
            flash,
            softdevice,
            softdevice_bytes: softdevice.map_or(Vec::new(), |softdevice| softdevice.binary()),
            bootloader,
            bootloader_version,
            given,
            target,
        })
    }

    fn installed(&self) -> Installed<'_> {
        Installed {
            softdevice: &self.softdevice_bytes,
            application: &self.given.application,
            application_version: self.given.application_version,
            bootloader: &self.bootloader,
            bootloader_version: self.bootloader_version,
        }
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
        update.map_err(|error| {
            Failure::Usage(format!("{}, {}: {error}{}", self.target.name, story.name(), self.given.files))
        })
    }

    /// What is sent in a story.
    fn sent(&self, kind: ImageKind) -> Result<Sent, Failure> {
        if let Some(image) = self.given.packed(kind)? {
            let version = InitPacket::parse(&image.init).ok().and_then(|packet| packet.command.fw_version);
            return Ok(Sent { init: image.init.clone(), image: image.firmware.clone(), version });
        }
        let key = own(&self.target)?.signing_key(None)?;
        let there = self.softdevice.map_or(0, |softdevice| u32::from(softdevice.info.firmware_id));
        let softdevice = || {
            let Some(old) = self.softdevice else {
                return Err(Failure::Usage(format!(
                    "--story {}: {} has no SoftDevice\n  remedy: --story application or bootloader",
                    Told::dfu(kind).name(),
                    self.target.name
                )));
            };
            let size = self.given.size(self.softdevice_bytes.len());
            let info = SoftdeviceInfo { version: old.info.version.saturating_add(1), ..old.info };
            Ok(info.binary(size))
        };
        let bootloader_version = self.bootloader_version.saturating_add(1);
        let application;
        let (builder, version) = match kind {
            ImageKind::Application => {
                let version = self.given.application_version.saturating_add(1);
                application = self.given.made_application(version, room(&self.nordic, self.softdevice));
                (InitPacketBuilder::application(&application), Some(version))
            }
            ImageKind::Softdevice => (InitPacketBuilder::softdevice(&softdevice()?), None),
            ImageKind::Bootloader => {
                let bootloader = bootloader_binary(bootloader_version, self.given.size(self.bootloader.len()));
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

    /// What is swept, in words and for programs.
    pub(super) fn heading(&self, stories: &[Told]) -> Result<Heading, Failure> {
        let page = self.nordic.map().page();
        let mut images = Vec::new();
        if let Some(softdevice) = self.softdevice {
            let version = version_text(softdevice.info.version);
            images.push(image("installed", "SoftDevice", version, self.softdevice_bytes.len(), page));
        }
        let installed = self.installed();
        let version = installed.application_version.to_string();
        images.push(image("installed", "application", version, installed.application.len(), page));
        let version = installed.bootloader_version.to_string();
        images.push(image("installed", "bootloader", version, installed.bootloader.len(), page));
        for story in stories {
            let Told::Dfu { kind, .. } = *story else { continue };
            let sent = self.sent(kind)?;
            // Before anything is printed it shows that it cannot be.
            self.update(*story, &sent)?;
            let version = sent
                .version
                .map(|version| version.to_string())
                .filter(|_| kind != ImageKind::Softdevice && kind != ImageKind::SoftdeviceBootloader)
                .or_else(|| SoftdeviceInfo::parse(&sent.image).map(|info| version_text(info.version)))
                .unwrap_or_else(|| "?".into());
            images.push(image("update", holds(kind), version, sent.image.len(), page));
        }
        let options = self.nordic.options();
        let (mode, banks) =
            if options.single_bank { ("single-bank", "single bank") } else { ("dual-bank", "dual bank") };
        let words = format!("{}, {banks}", explain_parts::secure(options.profile.name()));
        Ok(Heading { bootloader: "nordic-secure", mode, words, images })
    }

    /// A flash, explained.
    pub(super) fn explain(&self, flash: &Flash, of: Of<'_>, style: Style) -> String {
        let explanation = self.nordic.explain(flash);
        let bootloader = explain_parts::secure(explanation.profile);
        explain_parts::explain(&self.target.name, &bootloader, &explanation, of, style)
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
