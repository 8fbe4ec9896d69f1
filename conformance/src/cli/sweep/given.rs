//! What the command line gives a sweep of any bootloader of Nordic's, Secure or Legacy.

use brickproof_flash_model::image::nordic::builder::application_binary;
use brickproof_flash_model::image::nordic::{ImageKind, Package, PackageImage};

use super::super::Failure;
use super::super::nordic_files::{VERSION, application, package};
use super::answer::Image;
use super::mcuboot::UPDATE;
use super::options::{Arguments, ImageSize, Place, SlotImage, Told};
use super::quiet_about;
use crate::target::Target;

/// Files, sizes and what is made of them.
pub(super) struct Given {
    pub(super) application: Vec<u8>,
    pub(super) application_version: u32,
    /// What is sent, where it is a file.
    package: Option<(SlotImage, Package)>,
    update: Option<ImageSize>,
    /// Where the images come from, as lines behind an error; empty when they are made.
    pub(super) files: String,
}

impl Given {
    /// Nothing in the arguments is for MCUboot only.
    pub(super) fn check(arguments: &Arguments, target: &Target) -> Result<(), Failure> {
        if let Some(flaw) = arguments.flaw {
            let what = format!("has no MCUboot, and `{}` is a mistake of that", flaw.name());
            return Err(quiet_about("--flaw", target, &what));
        }
        if let Some(slot) = arguments.slots.iter().find(|slot| !slot.place.is_package()) {
            return Err(Failure::Usage(format!(
                "--slot {}: {} has banks and no slots\n  remedy: application=FILE{} is installed, package=FILE.zip is sent",
                slot.place.name(),
                target.name,
                if target.of_nordic_legacy().is_some() { "" } else { "[:VERSION]" }
            )));
        }
        Ok(())
    }

    /// `room`: bytes that an application may have.
    pub(super) fn new(arguments: &Arguments, target: &Target, room: u32) -> Result<Self, Failure> {
        let (application, application_version) = match one(arguments, Place::Application)? {
            Some(slot) => {
                let application = application(&slot.path, slot.version)?;
                (application.bytes, application.version)
            }
            None => (application_binary(VERSION, bytes(arguments.installed, room)), VERSION),
        };
        let package = match one(arguments, Place::Package)? {
            Some(slot) => Some((slot.clone(), read(slot, target)?)),
            None => None,
        };
        let line = |slot: &SlotImage| format!("\n  the {} is {}", slot.place.name(), slot.path.display());
        let files = arguments.slots.iter().map(line).collect();
        Ok(Self { application, application_version, package, update: arguments.update, files })
    }

    /// A story for each image of the package, in the order in which they are sent; `None` where they are made.
    pub(super) fn package_stories(&self) -> Option<Vec<Told>> {
        let (_, package) = self.package.as_ref()?;
        Some(package.images.iter().map(|image| Told::dfu(image.kind)).collect())
    }

    /// The image of the package; `None` where it is to be made.
    pub(super) fn packed(&self, kind: ImageKind) -> Result<Option<&PackageImage>, Failure> {
        let Some((slot, package)) = &self.package else { return Ok(None) };
        if let Some(image) = package.image(kind) {
            return Ok(Some(image));
        }
        let there: Vec<_> = package.images.iter().map(|image| Told::dfu(image.kind).name()).collect();
        Err(Failure::Usage(format!(
            "{}: the package has no {}\n  remedy: --story {}",
            slot.path.display(),
            Told::dfu(kind).name(),
            there.join(" or ")
        )))
    }

    /// The application that is sent, with `room` for it.
    pub(super) fn made_application(&self, version: u32, room: u32) -> Vec<u8> {
        application_binary(version, bytes(self.update.unwrap_or(UPDATE), room))
    }

    /// The size that was asked for, or that of what it replaces.
    pub(super) fn size(&self, replaced: usize) -> usize {
        match self.update {
            Some(ImageSize::Bytes(bytes)) => bytes as usize,
            Some(ImageSize::Max) | None => replaced,
        }
    }
}

/// The file for a place; there is one at most.
pub(super) fn one(arguments: &Arguments, place: Place) -> Result<Option<&SlotImage>, Failure> {
    let mut files = arguments.slots.iter().filter(|slot| slot.place == place);
    match (files.next(), files.next()) {
        (Some(_), Some(_)) => {
            Err(Failure::Usage(format!("--slot {} is given twice\n  remedy: one of each", place.name())))
        }
        (file, _) => Ok(file),
    }
}

/// A size in bytes, where there is so much room.
pub(super) fn bytes(size: ImageSize, room: u32) -> usize {
    match size {
        ImageSize::Bytes(bytes) => bytes as usize,
        ImageSize::Max => room as usize,
    }
}

/// A package for the DFU of the target.
fn read(slot: &SlotImage, target: &Target) -> Result<Package, Failure> {
    let package = package(&slot.path)?;
    let [own, other] = if target.of_nordic_legacy().is_some() { ["Legacy", "Secure"] } else { ["Secure", "Legacy"] };
    if package.is_legacy() == (own == "Legacy") {
        return Ok(package);
    }
    let remedy = if own == "Legacy" { "brickproof image pack --legacy" } else { "brickproof image pack" };
    Err(Failure::Usage(format!(
        "{}: a package for {other} DFU, and {} has {own} DFU\n  remedy: `{remedy}`, or another --target",
        slot.path.display(),
        target.name
    )))
}

/// What is updated, in words.
pub(super) fn holds(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Application => "application",
        ImageKind::Bootloader => "bootloader",
        ImageKind::Softdevice => "SoftDevice",
        ImageKind::SoftdeviceBootloader => "SoftDevice and bootloader",
    }
}

/// An image in flash of such pages.
pub(super) fn image(role: &'static str, holds: &'static str, version: String, size: usize, page: u32) -> Image {
    let sectors = u32::try_from(size.div_ceil(page as usize)).unwrap_or(u32::MAX);
    Image { role, holds: Some(holds), version, size, sectors }
}

/// `7.2.0`, of a SoftDevice.
pub(super) fn version_text(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
