//! What is in the slots of a played target.

use std::path::{Path, PathBuf};

use brickproof_flash_model::boot::mcuboot::{Mcuboot, Slot, SwapType};
use brickproof_flash_model::flash::{Controller, Flash, FlashError, Uncut};
use brickproof_flash_model::image::gbl::FirmwareBuilder;
use brickproof_flash_model::image::mcuboot::{ImageVersion, inspect};
use brickproof_flash_model::image::nordic::builder::application_binary;

use super::super::nordic_files::{Application, VERSION, application, with_version};
use super::super::{Failure, read_file, silabs_files};
use crate::scenario::gbl::protected;
use crate::target::{SilabsTarget, Target};

/// Size of the image that is installed when none is given, in bytes.
const OWN_IMAGE: usize = 64 << 10;

/// A file for a slot.
#[derive(Debug, Clone)]
pub(super) struct SlotFile {
    place: Place,
    path: PathBuf,
    state: SlotState,
}

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Slot(Slot),
    /// On a target without MCUboot, with the version that was given.
    Application(Option<u32>),
    /// The first storage slot, with a Gecko bootloader.
    Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Plain,
    Confirmed,
    Pending,
    Testing,
}

/// Reads `NAME=FILE[:STATE]`, `application=FILE[:VERSION]`, or `slot-0=FILE`.
pub(super) fn slot(text: &str) -> Result<SlotFile, String> {
    let (name, rest) = text.split_once('=').ok_or("expected NAME=FILE[:STATE], like primary=app.bin:confirmed")?;
    let slot = match name {
        "primary" => Slot::Primary,
        "secondary" => Slot::Secondary,
        "application" => {
            let (path, version) = with_version(rest)?;
            return Ok(SlotFile { place: Place::Application(version), path, state: SlotState::Plain });
        }
        "slot-0" => return Ok(SlotFile { place: Place::Stored, path: rest.into(), state: SlotState::Plain }),
        other => {
            return Err(format!(
                "no slot is called `{other}`: primary or secondary; application on a target of Nordic's or Silicon Labs', and slot-0"
            ));
        }
    };
    let (path, state) = match rest.rsplit_once(':') {
        Some((path, "confirmed")) => (path, SlotState::Confirmed),
        Some((path, "pending")) => (path, SlotState::Pending),
        Some((path, "testing")) => (path, SlotState::Testing),
        Some((_, state)) if !Path::new(rest).exists() && state.chars().all(|c| c.is_ascii_alphabetic()) => {
            return Err(format!("no state is called `{state}`: confirmed, pending or testing"));
        }
        _ => (rest, SlotState::Plain),
    };
    let right = match state {
        SlotState::Plain => true,
        SlotState::Pending => slot == Slot::Secondary,
        SlotState::Confirmed | SlotState::Testing => slot == Slot::Primary,
    };
    if right {
        Ok(SlotFile { place: Place::Slot(slot), path: path.into(), state })
    } else {
        Err("`pending` is for the secondary slot, `confirmed` and `testing` are for the primary".into())
    }
}

/// The flash with the given images, or with a confirmed image of our own.
pub(super) fn fill(target: &Target, mcuboot: &Mcuboot, slots: &[SlotFile]) -> Result<Flash, Failure> {
    let mut flash = target.layout.blank_flash();
    target.fill_other_images(&mut flash, mcuboot)?;
    if !slots.iter().any(|slot| slot.place == Place::Slot(Slot::Primary)) {
        let version = ImageVersion { major: 1, ..ImageVersion::default() };
        let image = target.maker()?.image(version, OWN_IMAGE).map_err(Failure::Harness)?;
        install(target, mcuboot, &mut flash, Slot::Primary, Path::new("own image"), &image, SlotState::Confirmed)?;
    }
    for file in slots {
        let Place::Slot(slot) = file.place else {
            let name = if file.place == Place::Stored { "slot-0" } else { "application" };
            return Err(Failure::Usage(format!(
                "--slot {name}: {} has the slots `primary` and `secondary`\n  remedy: primary=FILE:confirmed",
                target.name
            )));
        };
        let image = read_file(&file.path)?;
        install(target, mcuboot, &mut flash, slot, &file.path, &image, file.state)?;
    }
    Ok(flash)
}

/// The flash of a board of Nordic's as it leaves the factory, with the given application or one of our own.
pub(super) fn fill_nordic(target: &Target, slots: &[SlotFile]) -> Result<Flash, Failure> {
    let application = match slots {
        [] => Application { bytes: application_binary(VERSION, OWN_IMAGE), version: VERSION },
        [SlotFile { place: Place::Application(version), path, .. }] => application(path, *version)?,
        [SlotFile { place: Place::Application(_), .. }, ..] => {
            return Err(Failure::Usage("--slot application is given twice\n  remedy: one application".into()));
        }
        _ => {
            return Err(Failure::Usage(format!(
                "--slot: {} has banks and no slots\n  remedy: application=FILE[:VERSION]; an update reaches it by a package",
                target.name
            )));
        }
    };
    let Application { bytes, version } = application;
    match (target.of_nordic(), target.of_nordic_legacy()) {
        (Some(own), _) => Ok(own.factory_flash(&target.layout, &bytes, version)?),
        // Its settings have no version.
        (None, Some(own)) => Ok(own.factory_flash(&target.layout, &bytes)?),
        (None, None) => Err(Failure::Harness("a target of no known family".into())),
    }
}

/// The flash of an EFR32 as it leaves the factory, with the given application or one of our own, and with a file in its slot.
pub(super) fn fill_silabs(target: &Target, own: &SilabsTarget, slots: &[SlotFile]) -> Result<Flash, Failure> {
    let start = own.gecko(&target.layout)?.map().application_start();
    let (mut application, mut stored) = (None, None);
    for file in slots {
        let (place, twice) = match file.place {
            Place::Application(Some(version)) => {
                return Err(Failure::Usage(format!(
                    "--slot application=FILE:{version}: applications of {} say their version themselves\n  remedy: leave `:{version}` out",
                    target.name
                )));
            }
            Place::Application(None) => {
                let bytes = silabs_files::application(&file.path, start, own.encryption_key().as_ref())?;
                ("application", application.replace(bytes).is_some())
            }
            Place::Stored => ("slot-0", stored.replace(read_file(&file.path)?).is_some()),
            Place::Slot(_) => {
                return Err(Failure::Usage(format!(
                    "--slot: {} has a Gecko bootloader\n  remedy: application=FILE, and slot-0=FILE.gbl where it has a slot",
                    target.name
                )));
            }
        };
        if twice {
            return Err(Failure::Usage(format!("--slot {place} is given twice\n  remedy: one of each")));
        }
    }
    let application = match application {
        Some(application) => application,
        None => {
            protected(&FirmwareBuilder::new(start).version(VERSION).size(OWN_IMAGE), own).map_err(Failure::Harness)?
        }
    };
    Ok(own.factory_flash(&target.layout, &application, stored.as_deref())?)
}

fn install(
    target: &Target,
    mcuboot: &Mcuboot,
    flash: &mut Flash,
    slot: Slot,
    path: &Path,
    image: &[u8],
    state: SlotState,
) -> Result<(), Failure> {
    let area = mcuboot.area(slot);
    let mistake = |message: String| Failure::Usage(format!("{}: {message}", path.display()));
    if slot == Slot::Primary
        && let Err(error) = inspect(&image)
    {
        return Err(mistake(format!("no MCUboot image: {error}")));
    }
    // Images that imgtool padded bring their own trailer, and what else a slot has.
    let has_trailer = image.len() > (area.len - mcuboot.trailer(slot).len()) as usize;
    let start = mcuboot.pair(0).map_or(0, |pair| pair.upload_offset(slot));
    flash.load(area, if has_trailer { 0 } else { start }, image).map_err(|error| mistake(error.to_string()))?;
    let mut hook = Uncut;
    let mut controller = Controller::new(flash, &mut hook);
    let written: Result<(), FlashError> = match state {
        _ if has_trailer => Ok(()),
        SlotState::Plain if slot == Slot::Secondary => Ok(()),
        SlotState::Plain => target.mark_installed(&mut controller, mcuboot, None),
        SlotState::Pending => {
            mcuboot.set_pending(&mut controller, false).map_err(|error| mistake(error.to_string())).map(Ok)?
        }
        SlotState::Confirmed => target.mark_installed(&mut controller, mcuboot, Some(SwapType::Permanent)),
        SlotState::Testing => target.mark_installed(&mut controller, mcuboot, Some(SwapType::Test)),
    };
    written.map_err(|error| mistake(error.to_string()))
}
