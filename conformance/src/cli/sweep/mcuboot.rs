//! What is swept of a target with MCUboot.

use std::path::Path;

use brickproof_flash_model::boot::mcuboot::Mcuboot;
use brickproof_flash_model::boot::mcuboot::explain::{Names, mode_name};
use brickproof_flash_model::flash::Flash;
use brickproof_flash_model::image::mcuboot::{ImageVersion, inspect};
use brickproof_flash_model::sweep::mcuboot::{Factory, Story, Update};

use super::super::{Failure, explain_text, read_file};
use super::answer::{Heading, Image};
use super::options::{Arguments, ImageSize, Place, SlotImage, Told};
use super::{Work, quiet_about};
use crate::report::terminal::Style;
use crate::sweep::{Initiator, Known, Upload};
use crate::target::Target;

/// Size of the update that is made when nobody says another one.
pub(super) const UPDATE: ImageSize = ImageSize::Bytes(100 << 10);

/// The target, and what is in its slots.
pub(super) struct Setup {
    pub(super) target: Target,
    mcuboot: Mcuboot,
    /// Everything but the slots of image 0.
    flash: Flash,
    installed: Vec<u8>,
    update: Vec<u8>,
    factory: Factory,
    /// Where the images come from, as lines behind an error; empty when they are made.
    files: String,
}

impl Setup {
    pub(super) fn new(arguments: &Arguments, target: Target) -> Result<Self, Failure> {
        let target = target.with_flaw(arguments.flaw);
        for (given, option) in [(arguments.single_bank, "--single-bank"), (arguments.strict, "--strict")] {
            if given {
                return Err(quiet_about(option, &target, "has MCUboot, and this is for targets of Nordic's"));
            }
        }
        if let Some(slot) = arguments.slots.iter().find(|slot| slot.place.is_package()) {
            let what = format!("has the slots `primary` and `secondary`, and no `{}`", slot.place.name());
            return Err(quiet_about("--slot", &target, &what));
        }
        let mcuboot = target.mcuboot()?;
        if let Some(flaw) = arguments.flaw.filter(|flaw| flaw.mode() != mcuboot.options().mode) {
            return Err(Failure::Usage(format!(
                "--flaw {}: a mistake of {}, and {} has {}\n  remedy: another --target; it shows with {}",
                flaw.name(),
                mode_name(flaw.mode()),
                target.name,
                mode_name(mcuboot.options().mode),
                flaw.needs()
            )));
        }
        let mut flash = target.layout.blank_flash();
        target.fill_other_images(&mut flash, &mcuboot)?;
        let image = |installed: bool, minor: u8, size: ImageSize| {
            let mut files = arguments.slots.iter().filter(|slot| (slot.place == Place::Primary) == installed);
            match (files.next(), files.next()) {
                (Some(slot), None) => image_file(&slot.path),
                (Some(_), Some(_)) => {
                    Err(Failure::Usage("a slot is given two images\n  remedy: one --slot for each".into()))
                }
                (None, _) => {
                    let version = ImageVersion { major: 1, minor, ..ImageVersion::default() };
                    let size = match size {
                        ImageSize::Bytes(bytes) => bytes,
                        ImageSize::Max => mcuboot.max_image_size(),
                    };
                    target.maker()?.image_of_size(version, size).map_err(Failure::Harness)
                }
            }
        };
        let (installed, update) =
            (image(true, 0, arguments.installed)?, image(false, 1, arguments.update.unwrap_or(UPDATE))?);
        let confirmed = arguments.slots.iter().any(|slot| slot.confirmed);
        let factory = if confirmed { Factory::Confirmed } else { Factory::Bare };
        let line = |slot: &SlotImage| format!("\n  the {} image is {}", slot.place.name(), slot.path.display());
        let files = arguments.slots.iter().map(line).collect();
        Ok(Self { target, mcuboot, flash, installed, update, factory, files })
    }

    /// Does something with the machine of a story.
    pub(super) fn with<T>(&self, story: Told, work: impl Work<T>) -> Result<T, Failure> {
        match story {
            Told::Boot(story) => {
                let update = self.update(story)?;
                let facts = update.facts();
                work.on(&update, &|finding, tears| Known::of(finding, &facts, tears))
            }
            Told::Upload(again) => {
                let initiator = Initiator { again, ..Initiator::default() };
                let upload = Upload::new(&self.target, &self.installed, &self.update, initiator);
                let upload = upload.map_err(|error| self.refused(&error))?;
                let facts = upload.facts();
                work.on(&upload, &|finding, tears| Known::of(finding, &facts, tears))
            }
            Told::Dfu { .. } | Told::Gbl { .. } => {
                Err(quiet_about("--story", &self.target, "has MCUboot, and this is a story of another bootloader"))
            }
        }
    }

    fn update(&self, story: Story) -> Result<Update<'_>, Failure> {
        let update = Update::new(&self.mcuboot, self.flash.clone(), &self.installed, &self.update, story, self.factory);
        let update = update.map_err(|error| self.refused(&error))?;
        Ok(update.with_recovery(self.target.recovers()))
    }

    /// This target, or one of these images, cannot be swept.
    fn refused(&self, error: &str) -> Failure {
        Failure::Usage(format!("{}: {error}{}", self.target.name, self.files))
    }

    /// What is swept, in words and for programs.
    pub(super) fn heading(&self) -> Result<Heading, Failure> {
        let mode = mode_name(self.mcuboot.options().mode);
        Ok(Heading { bootloader: "mcuboot", mode, words: format!("MCUboot {mode}"), images: self.images()?.into() })
    }

    /// A flash, explained.
    pub(super) fn explain(&self, flash: &Flash, of: explain_text::Of<'_>, style: Style) -> String {
        let names = Names { layout: &self.target.layout, recovers: self.target.recovers() };
        explain_text::explain(&self.target.name, &self.mcuboot.explain(flash, &names), of, style)
    }

    fn images(&self) -> Result<[Image; 2], Failure> {
        let sectors = self.update(Story::default())?.facts().sectors;
        let version = |bytes: &Vec<u8>| {
            inspect(&bytes.as_slice()).map_or_else(|_| "?".into(), |info| info.header.version.to_string())
        };
        let image = |role, bytes: &Vec<u8>, sectors| Image {
            role,
            holds: None,
            version: version(bytes),
            size: bytes.len(),
            sectors,
        };
        Ok([image("installed", &self.installed, sectors[0]), image("update", &self.update, sectors[1])])
    }
}

/// An image from a file, of which a mistake names the file.
fn image_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_file(path)?;
    match inspect(&bytes.as_slice()) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Usage(format!(
            "{}: no MCUboot image: {error}\n  remedy: sign it with imgtool or `brickproof image sign`",
            path.display()
        ))),
    }
}
