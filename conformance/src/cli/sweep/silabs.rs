//! What is swept of a target with a Gecko bootloader.

use brickproof_flash_model::boot::gecko::{Entry, Gecko};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::gbl::content::bootloader_version_words;
use brickproof_flash_model::image::gbl::{
    ApplicationProperties, Content, EncryptionKey, FirmwareBuilder, Gbl, GblBuilder, Tag, TagKind,
};
use brickproof_flash_model::sweep::gecko::{Installed, Known, Package, Update};
use brickproof_flash_model::sweep::{End, Path, replay};

use super::super::explain_text::Of;
use super::super::silabs_files::{self, application_at, is_gbl};
use super::super::{Failure, explain_parts, read_file};
use super::answer::Heading;
use super::given::{bytes, image, one};
use super::mcuboot::UPDATE;
use super::options::{Arguments, Contents, ImageSize, Place, SlotImage, Told};
use super::{Work, quiet_about};
use crate::report::terminal::Style;
use crate::scenario::gbl::{UNPACKED_MAX, protected};
use crate::target::{SilabsTarget, Target};

/// Version of the application that is installed, where it is made.
const VERSION: u32 = 1;
/// Bytes of a file that are none of its application, at most: tags, signature, certificate.
const FILE_MORE: u32 = 0x200;
/// Bytes that an initiator sends at once: what fits an ATT MTU of 247.
const CHUNK: usize = 244;

/// The target, and what is on it.
pub(super) struct Setup {
    pub(super) target: Target,
    gecko: Gecko,
    /// Only what must not change.
    flash: Flash,
    bootloader: Vec<u8>,
    application: Vec<u8>,
    /// The file that the application came in, where a slot still has it.
    slot: Vec<u8>,
    update: Option<ImageSize>,
    /// What is sent, where it is a file.
    package: Option<Sent>,
    /// Where the images come from, as lines behind an error; empty when they are made.
    files: String,
}

/// What an initiator sends.
#[derive(Clone)]
struct Sent {
    file: Vec<u8>,
    /// With the CRC-32 behind it.
    bootloader: Vec<u8>,
    application: Vec<u8>,
    bootloader_version: u32,
}

impl Setup {
    pub(super) fn new(arguments: &Arguments, target: Target) -> Result<Self, Failure> {
        check(arguments, &target)?;
        let own = own(&target)?;
        let gecko = own.gecko(&target.layout)?;
        let start = gecko.map().application_start();
        let application = match one(arguments, Place::Application)? {
            Some(slot) => silabs_files::application(&slot.path, start, own.encryption_key().as_ref())?,
            None => {
                let firmware = FirmwareBuilder::new(start).version(VERSION);
                let size = bytes(arguments.installed, gecko.map().application_len());
                protected(&firmware.size(size), own).map_err(Failure::Harness)?
            }
        };
        let mut flash = target.layout.blank_flash();
        if own.options().rollback_protection {
            // It has been started before, and that is remembered.
            let (bootloader, len) = gecko.map().bootloader();
            if let Some((area, offset)) = gecko.map().place(bootloader + len.saturating_sub(4), 4) {
                let version = version_of(&application, start).unwrap_or(0);
                let loaded = flash.load(area, offset, &version.to_le_bytes());
                loaded.map_err(|error| Failure::Harness(error.to_string()))?;
            }
        }
        let package = match one(arguments, Place::Package)? {
            Some(slot) => Some(read(slot, &gecko, own.encryption_key().as_ref())?),
            None => None,
        };
        let line = |slot: &SlotImage| format!("\n  the {} is {}", slot.place.name(), slot.path.display());
        let mut setup = Self {
            bootloader: own.installed_bootloader(&gecko),
            flash,
            application,
            slot: Vec::new(),
            update: arguments.update,
            package,
            files: arguments.slots.iter().map(line).collect(),
            gecko,
            target,
        };
        if let Some(slot) = setup.gecko.map().slots().first().filter(|_| setup.gecko.options().storage) {
            let file = setup.file(None, Some(&setup.application))?;
            setup.slot = if file.len() <= slot.len as usize { file } else { Vec::new() };
        }
        Ok(setup)
    }

    fn installed(&self) -> Installed<'_> {
        Installed { bootloader: &self.bootloader, application: &self.application, slot: &self.slot }
    }

    /// The story of a file that is sent as it is.
    pub(super) fn package_stories(&self) -> Option<Vec<Told>> {
        let sent = self.package.as_ref()?;
        Some(vec![Told::Gbl { contents: sent.contents(), strict: false }])
    }

    /// Does something with the machine of a story.
    pub(super) fn with<T>(&self, story: Told, work: impl Work<T>) -> Result<T, Failure> {
        let Told::Gbl { contents, strict } = story else {
            return Err(quiet_about(
                "--story",
                &self.target,
                "has a Gecko bootloader, and this is a story of another one",
            ));
        };
        let sent = self.sent(contents)?;
        let update = self.update(story, &sent)?.strict(strict);
        let facts = update.facts();
        work.on(&update, &|finding, _| Known::of(finding, &facts).map(Into::into))
    }

    /// The machine; without any power loss the device takes the file.
    fn update<'a>(&'a self, story: Told, sent: &'a Sent) -> Result<Update<'a>, Failure> {
        let wrong = |error: &str, remedy: &str| {
            let (target, story, files) = (&self.target.name, story.name(), &self.files);
            Failure::Usage(format!("{target}, {story}: {error}{files}{remedy}"))
        };
        let Sent { file, bootloader, application, .. } = sent;
        let package = Package { file, bootloader, application, chunk: CHUNK };
        let update = Update::new(&self.gecko, self.flash.clone(), &self.installed(), package);
        let update = update.map_err(|error| wrong(&error, ""))?;
        match replay(&update, &Path::default()).map_err(Failure::Harness)?.end {
            // What is compressed and wrong is found too late, which is a property.
            End::Violation(violation) if violation.invariant == "upload" && !update.facts().corrupt => {
                let remedy = format!(
                    "\n  remedy: `brickproof image verify --target {}` says why{}",
                    self.target.name,
                    if self.package.is_some() { "" } else { "; the size of --update may be the reason" }
                );
                Err(wrong(&format!("the device takes no such file: {}", violation.what), &remedy))
            }
            _ => Ok(update),
        }
    }

    /// What is sent in a story.
    fn sent(&self, contents: Contents) -> Result<Sent, Failure> {
        if let Some(sent) = &self.package {
            if sent.contents() == contents {
                return Ok(sent.clone());
            }
            let there = Told::Gbl { contents: sent.contents(), strict: false }.name();
            return Err(Failure::Usage(format!(
                "the file has something else in it{}\n  remedy: --story {there}",
                self.files
            )));
        }
        let own = own(&self.target)?;
        let bootloader_version = own.bootloader_version().saturating_add(1 << 16);
        let bootloader = if contents == Contents::Application {
            Vec::new()
        } else {
            let size = match (contents, self.update) {
                (Contents::Bootloader, Some(size)) => bytes(size, self.gecko.map().bootloader().1),
                _ => self.bootloader.len(),
            };
            own.bootloader(&self.gecko, bootloader_version, size)
        };
        let application = if contents == Contents::Bootloader {
            Vec::new()
        } else {
            let start = self.gecko.map().application_start();
            let version = version_of(&self.application, start).unwrap_or(VERSION).saturating_add(1);
            let firmware = FirmwareBuilder::new(start).version(version);
            protected(&firmware.size(bytes(self.update.unwrap_or(UPDATE), self.room())), own)
                .map_err(Failure::Harness)?
        };
        let has = |bytes: &Vec<u8>| !bytes.is_empty();
        let file = self.file(
            has(&bootloader).then_some((bootloader_version, &bootloader[..])),
            has(&application).then_some(&application),
        )?;
        Ok(Sent { file, bootloader, application, bootloader_version })
    }

    /// Bytes that an application may have which is sent.
    fn room(&self) -> u32 {
        let slot = self.gecko.map().slots().first().filter(|_| self.gecko.options().storage);
        let slot = slot.map_or(u32::MAX, |slot| slot.len.saturating_sub(FILE_MORE));
        self.gecko.map().application_len().min(slot) / 4 * 4
    }

    /// A file as the device wants it: signed and encrypted where it asks for that.
    fn file(&self, bootloader: Option<(u32, &[u8])>, application: Option<&Vec<u8>>) -> Result<Vec<u8>, Failure> {
        let own = own(&self.target)?;
        let mut builder = GblBuilder::new();
        if let Some((version, image)) = bootloader {
            // A CRC-32 is put behind it.
            let bare = image.get(..image.len().saturating_sub(4)).unwrap_or_default();
            builder = builder.bootloader(version, self.gecko.map().main_stage(), bare);
        }
        if let Some(application) = application {
            builder = builder.firmware(self.gecko.map().application_start(), application);
        }
        if let Some(key) = own.encryption_key().filter(|_| own.options().require_encrypted) {
            builder = builder.encrypt(&key, [0x5a; 12]);
        }
        let file =
            if own.options().require_signed { builder.sign(&own.signing_key(None)?) } else { builder.unsigned() };
        file.map_err(|error| Failure::Harness(error.to_string()))
    }

    /// What is swept, in words and for programs.
    pub(super) fn heading(&self, stories: &[Told]) -> Result<Heading, Failure> {
        let (page, start) = (self.gecko.map().page(), self.gecko.map().application_start());
        let version = |application: &[u8]| {
            version_of(application, start).map_or("of no known version".to_owned(), |version| version.to_string())
        };
        let installed = bootloader_version_words(own(&self.target)?.bootloader_version());
        let mut images = vec![
            image("installed", "application", version(&self.application), self.application.len(), page),
            image("installed", "bootloader", installed, self.bootloader.len(), page),
        ];
        for story in stories {
            let Told::Gbl { contents, .. } = *story else { continue };
            let sent = self.sent(contents)?;
            // Before anything is printed it shows that it cannot be.
            self.update(*story, &sent)?;
            let mut versions = Vec::new();
            if !sent.bootloader.is_empty() {
                versions.push(bootloader_version_words(sent.bootloader_version));
            }
            if !sent.application.is_empty() {
                versions.push(version(&sent.application));
            }
            images.push(image("update", contents.words(), versions.join(" and "), sent.file.len(), page));
        }
        let options = self.gecko.options();
        let (bootloader, mode, how) = if options.storage {
            ("gecko-storage", "slot", "from a slot")
        } else {
            ("gecko-apploader", "in-place", "in place")
        };
        Ok(Heading { bootloader, mode, words: format!("{}, {how}", explain_parts::gecko(options)), images })
    }

    /// A flash, explained.
    pub(super) fn explain(&self, flash: &Flash, of: Of<'_>, style: Style) -> String {
        let explanation = self.gecko.explain(flash, Entry::default());
        explain_parts::explain(&self.target.name, &explain_parts::gecko(self.gecko.options()), &explanation, of, style)
    }
}

impl Sent {
    fn contents(&self) -> Contents {
        match (self.bootloader.is_empty(), self.application.is_empty()) {
            (false, true) => Contents::Bootloader,
            (false, false) => Contents::BootloaderApplication,
            (true, _) => Contents::Application,
        }
    }
}

/// Nothing in the arguments is for others only.
fn check(arguments: &Arguments, target: &Target) -> Result<(), Failure> {
    if let Some(flaw) = arguments.flaw {
        let what = format!("has no MCUboot, and `{}` is a mistake of that", flaw.name());
        return Err(quiet_about("--flaw", target, &what));
    }
    if arguments.single_bank {
        return Err(quiet_about("--single-bank", target, "has no banks, and this is for targets of Nordic's"));
    }
    let slots = &arguments.slots;
    if let Some(slot) = slots.iter().find(|slot| !matches!(slot.place, Place::Application | Place::Package)) {
        return Err(Failure::Usage(format!(
            "--slot {}: {} has a Gecko bootloader\n  remedy: application=FILE is installed, package=FILE.gbl is sent",
            slot.place.name(),
            target.name
        )));
    }
    match slots.iter().find_map(|slot| slot.version) {
        Some(version) => {
            let what = format!("reads versions in its applications, and {version} would be another one");
            Err(quiet_about("--slot application=FILE:VERSION", target, &what))
        }
        None => Ok(()),
    }
}

/// What is of Silicon Labs' in this target.
fn own(target: &Target) -> Result<&SilabsTarget, Failure> {
    target.of_silabs().ok_or_else(|| Failure::Harness(format!("{}: no Gecko bootloader", target.name)))
}

fn version_of(application: &[u8], start: u32) -> Option<u32> {
    ApplicationProperties::read(application, start).map(|properties| properties.application.version)
}

/// A file that is sent, and what is in it.
fn read(slot: &SlotImage, gecko: &Gecko, key: Option<&EncryptionKey>) -> Result<Sent, Failure> {
    let name = slot.path.display();
    let file = read_file(&slot.path)?;
    if !is_gbl(&slot.path, &file) {
        return Err(Failure::Usage(format!("{name}: no GBL file\n  remedy: `brickproof image gbl` makes one")));
    }
    let mistake = |error: &dyn std::fmt::Display| Failure::Usage(format!("{name}: {error}"));
    let gbl = Gbl::read(&file).map_err(|error| mistake(&error))?;
    let decrypted = match key.filter(|_| gbl.tag(TagKind::EncryptionInit).is_some()) {
        Some(key) => Some(gbl.decrypt(key).map_err(|error| mistake(&error))?),
        None => None,
    };
    let in_clear = gbl.tags().iter().map(|tag| (tag, gbl.bytes()));
    let inside = decrypted.iter().flat_map(|inside| inside.tags().iter().map(|tag| (tag, inside.bytes())));
    let tags: Vec<(&Tag, &[u8])> = in_clear.chain(inside).collect();
    let mut bootloader = (0, Vec::new());
    for (tag, stream) in &tags {
        if let Ok(Content::Bootloader { version, image, .. }) = Content::read(tag, stream) {
            bootloader = (version, image.to_vec());
        }
    }
    let start = gecko.map().application_start();
    let application = match gbl.programs(key, UNPACKED_MAX) {
        Ok(programs) if programs.is_empty() => Vec::new(),
        Ok(programs) => application_at(&slot.path, &programs, start)?,
        // What cannot be unpacked never comes to be an application, and the sweep shows what becomes of that.
        Err(_) if tags.iter().any(|(tag, _)| matches!(tag.kind, Some(TagKind::ProgramLz4 | TagKind::ProgramLzma))) => {
            vec![0; gecko.map().page() as usize]
        }
        Err(error) => return Err(mistake(&error)),
    };
    let (bootloader_version, bootloader) = bootloader;
    if bootloader.is_empty() && application.is_empty() {
        return Err(mistake(&"neither an application nor a bootloader is in it"));
    }
    Ok(Sent { bootloader, application, bootloader_version, file })
}
