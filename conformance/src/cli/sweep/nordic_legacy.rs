//! What is swept of a target with Legacy DFU.

use brickproof_flash_model::boot::nordic_legacy::init::{MODE_APPLICATION, MODE_BOOTLOADER, MODE_SOFTDEVICE};
use brickproof_flash_model::boot::nordic_legacy::{Entry, Kind, MBR_SIZE, NordicLegacy, Options};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::nordic::builder::{VERSION_ANY, bootloader_binary};
use brickproof_flash_model::image::nordic::{ImageKind, LegacyInitPacket, PackageImage, SoftdeviceInfo};
use brickproof_flash_model::sweep::nordic_legacy::{Installed, Known, Package, Update};
use brickproof_flash_model::sweep::{End, Path, replay};

use super::super::explain_text::Of;
use super::super::nordic_files::VERSION;
use super::super::{Failure, explain_parts};
use super::answer::Heading;
use super::given::{Given, holds, image, version_text};
use super::options::{Arguments, Place, Told};
use super::{Work, quiet_about};
use crate::report::terminal::Style;
use crate::target::Target;
use crate::target::nordic::{Softdevice, mbr};

/// Bytes of the bootloader that is installed.
const BOOTLOADER_LEN: u32 = 0x5000;

/// The target, and what is on it.
pub(super) struct Setup {
    pub(super) target: Target,
    legacy: NordicLegacy,
    /// Only what must not change.
    flash: Flash,
    softdevice: Softdevice,
    softdevice_bytes: Vec<u8>,
    bootloader: Vec<u8>,
    pub(super) given: Given,
    /// `None` where nobody knows.
    application_version: Option<u32>,
    /// Bytes that an application may have that is sent.
    room: u32,
}

/// What an uploader sends.
struct Sent {
    mode: u8,
    /// Of SoftDevice, bootloader and application.
    sizes: [u32; 3],
    init: Vec<u8>,
    image: Vec<u8>,
}

impl Setup {
    pub(super) fn new(arguments: &Arguments, target: Target) -> Result<Self, Failure> {
        Given::check(arguments, &target)?;
        if !arguments.keys.is_empty() {
            return Err(quiet_about("--key", &target, "has a Legacy DFU bootloader, which checks no signatures"));
        }
        let of_file = arguments.slots.iter().find(|slot| slot.place == Place::Application);
        if let Some(version) = of_file.and_then(|slot| slot.version) {
            let what = format!("stores no version of its application, and {version} would be one");
            return Err(quiet_about("--slot application=FILE:VERSION", &target, &what));
        }
        let own =
            target.of_nordic_legacy().ok_or_else(|| Failure::Harness(format!("{}: no Legacy DFU", target.name)))?;
        let softdevice = own.softdevice();
        let mut options = *own.options();
        if arguments.single_bank && options.kind == Kind::Sdk11 {
            options.single_bank = true;
            options.init_packet_max = options.init_packet_max.min(Options::sdk11_single_bank().init_packet_max);
        }
        let legacy = NordicLegacy::new(&target.layout, options, None)?;
        let map = legacy.map();
        let harness = |error: &dyn std::fmt::Display| Failure::Harness(format!("{}: {error}", target.name));
        let mut flash = target.layout.blank_flash();
        flash.load(map.whole(), 0, &mbr()).map_err(|error| harness(&error))?;
        let softdevice_bytes = softdevice.info.binary(softdevice.size.saturating_sub(MBR_SIZE) as usize);
        let mut there = flash.clone();
        there.load(map.whole(), MBR_SIZE, &softdevice_bytes).map_err(|error| harness(&error))?;
        let full = legacy.image_max_full(&there).map_err(|error| harness(&error))?;
        let banked = legacy.image_max_banked(&there).map_err(|error| harness(&error))?;
        let given = Given::new(arguments, &target, full)?;
        Ok(Self {
            flash,
            softdevice,
            softdevice_bytes,
            bootloader: bootloader_binary(VERSION, BOOTLOADER_LEN.min(map.bootloader().len) as usize),
            application_version: Some(given.application_version).filter(|_| of_file.is_none()),
            given,
            room: if options.single_bank { full } else { banked },
            legacy,
            target,
        })
    }

    fn installed(&self) -> Installed<'_> {
        Installed {
            softdevice: &self.softdevice_bytes,
            application: &self.given.application,
            checked: false,
            bootloader: &self.bootloader,
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

    /// The machine; without any power loss the device takes the package.
    fn update<'a>(&'a self, story: Told, sent: &'a Sent) -> Result<Update<'a>, Failure> {
        let wrong = |error: &str, remedy: &str| {
            let (target, story, files) = (&self.target.name, story.name(), &self.given.files);
            Failure::Usage(format!("{target}, {story}: {error}{files}{remedy}"))
        };
        let package = Package { mode: sent.mode, sizes: sent.sizes, init: &sent.init, image: &sent.image };
        let update = Update::new(&self.legacy, self.flash.clone(), &self.installed(), package);
        let update = update.map_err(|error| wrong(&error, ""))?;
        match replay(&update, &Path::default()).map_err(Failure::Harness)?.end {
            End::Violation(violation) if violation.invariant == "upload" => {
                let remedy =
                    "\n  remedy: sizes of whole words that fit; of a package also the right device and SoftDevice";
                Err(wrong(&format!("the device takes no such update: {}", violation.what), remedy))
            }
            _ => Ok(update),
        }
    }

    /// What is sent in a story.
    fn sent(&self, kind: ImageKind) -> Result<Sent, Failure> {
        if let Some(packed) = self.given.packed(kind)? {
            return self.sent_file(packed);
        }
        let softdevice = || {
            let old = self.softdevice.info;
            let size = match kind {
                ImageKind::Softdevice => self.given.size(self.softdevice_bytes.len()),
                _ => self.softdevice_bytes.len(),
            };
            SoftdeviceInfo { version: old.version.saturating_add(1), ..old }.binary(size)
        };
        let bootloader = || {
            let size = match kind {
                ImageKind::Bootloader => self.given.size(self.bootloader.len()),
                _ => self.bootloader.len(),
            };
            bootloader_binary(VERSION + 1, size)
        };
        let application = || self.given.made_application(VERSION + 1, self.room);
        let none = Vec::new;
        let (mode, parts) = match kind {
            ImageKind::Application => (MODE_APPLICATION, [none(), none(), application()]),
            ImageKind::Softdevice => (MODE_SOFTDEVICE, [softdevice(), none(), none()]),
            ImageKind::Bootloader => (MODE_BOOTLOADER, [none(), bootloader(), none()]),
            ImageKind::SoftdeviceBootloader => {
                (MODE_SOFTDEVICE | MODE_BOOTLOADER, [softdevice(), bootloader(), none()])
            }
        };
        let image = parts.concat();
        let options = self.legacy.options();
        let packet = LegacyInitPacket {
            device_type: options.device_type,
            device_revision: options.device_revision,
            application_version: if kind == ImageKind::Application { VERSION + 1 } else { VERSION_ANY },
            sd_req: vec![self.softdevice.info.firmware_id],
            ..LegacyInitPacket::new(&image)
        };
        Ok(Sent { mode, sizes: parts.map(|part| len(&part)), init: packet.emit(), image })
    }

    fn sent_file(&self, packed: &PackageImage) -> Result<Sent, Failure> {
        let size = len(&packed.firmware);
        let (mode, sizes) = match packed.kind {
            ImageKind::Application => (MODE_APPLICATION, [0, 0, size]),
            ImageKind::Softdevice => (MODE_SOFTDEVICE, [size, 0, 0]),
            ImageKind::Bootloader => (MODE_BOOTLOADER, [0, size, 0]),
            ImageKind::SoftdeviceBootloader => {
                let parts = packed.entry.part_sizes().ok_or_else(|| {
                    Failure::Usage(format!(
                        "{}: its manifest does not say where the bootloader begins{}",
                        holds(packed.kind),
                        self.given.files
                    ))
                })?;
                (MODE_SOFTDEVICE | MODE_BOOTLOADER, [parts.sd_size, parts.bl_size, 0])
            }
        };
        Ok(Sent { mode, sizes, init: packed.init.clone(), image: packed.firmware.clone() })
    }

    /// What is swept, in words and for programs.
    pub(super) fn heading(&self, stories: &[Told]) -> Result<Heading, Failure> {
        let page = self.legacy.map().page();
        let unknown = || "of no known version".to_owned();
        let application = self.application_version.map_or_else(unknown, |version| version.to_string());
        let softdevice = version_text(self.softdevice.info.version);
        let mut images = vec![
            image("installed", "SoftDevice", softdevice, self.softdevice_bytes.len(), page),
            image("installed", "application", application, self.given.application.len(), page),
            image("installed", "bootloader", VERSION.to_string(), self.bootloader.len(), page),
        ];
        for story in stories {
            let Told::Dfu { kind, .. } = *story else { continue };
            let sent = self.sent(kind)?;
            // Before anything is printed it shows that it cannot be.
            self.update(*story, &sent)?;
            let packet = LegacyInitPacket::parse(&sent.init).ok();
            let named = packet.map(|packet| packet.application_version).filter(|version| *version != VERSION_ANY);
            let made = self.given.packed(kind)?.is_none();
            let version = match kind {
                ImageKind::Application => named.map(|version| version.to_string()),
                ImageKind::Bootloader => made.then(|| (VERSION + 1).to_string()),
                ImageKind::Softdevice | ImageKind::SoftdeviceBootloader => {
                    SoftdeviceInfo::parse(&sent.image).map(|info| version_text(info.version))
                }
            };
            images.push(image("update", holds(kind), version.unwrap_or_else(unknown), sent.image.len(), page));
        }
        let options = self.legacy.options();
        let bootloader = match options.kind {
            Kind::Sdk11 => "nordic-legacy",
            Kind::Adafruit => "adafruit",
        };
        let (mode, banks) =
            if options.single_bank { ("single-bank", "single bank") } else { ("dual-bank", "dual bank") };
        let words = format!("{}, {banks}", explain_parts::legacy(options.kind));
        Ok(Heading { bootloader, mode, words, images })
    }

    /// A flash, explained.
    pub(super) fn explain(&self, flash: &Flash, of: Of<'_>, style: Style) -> String {
        let explanation = self.legacy.explain(flash, Entry::default());
        let bootloader = explain_parts::legacy(self.legacy.options().kind);
        explain_parts::explain(&self.target.name, bootloader, &explanation, of, style)
    }
}

fn len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
