//! Reading a scenario file.

use std::path::Path;

use brickproof_flash_model::image::mcuboot::Sabotage;
use brickproof_flash_model::image::{gbl, nordic};
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::Behaviour;
use serde::Deserialize;
use toml::Spanned;

use super::fault::FaultEntry;
use super::package::{BootValidation, BootloaderEntry, Contents, LegacySabotage, PackageSpec, SoftdeviceEntry};
use super::{
    Broken, ExpectInitiator, ExpectInjected, ExpectPart, ExpectRunning, ExpectState, Expectation, Finally, GblSpec,
    ImageOrigin, ImageSpec, ImageState, Measure, Scenario, SignedWith, Task, TimingSpec, Version,
};
use crate::air::SERIAL_RECOVERY;
use crate::units::{Duration, Size};

/// Smallest and largest image that is made, in bytes.
const SIZE_RANGE: std::ops::RangeInclusive<u32> = 1024..=16 << 20;
const FAULTS_MAX: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    schema: Spanned<u32>,
    id: Spanned<String>,
    why: Spanned<String>,
    source: Spanned<String>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    target: String,
    #[serde(default)]
    task: Task,
    #[serde(default = "full")]
    battery: Spanned<u8>,
    measures: Option<Measure>,
    #[serde(default)]
    finally: Vec<Finally>,
    images: Images,
    #[serde(default)]
    timing: Timing,
    #[serde(default, rename = "override")]
    overrides: toml::Table,
    #[serde(default)]
    fault: Vec<Spanned<FaultEntry>>,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Images {
    installed: Spanned<ImageEntry>,
    update: Spanned<ImageEntry>,
    #[serde(rename = "update-1")]
    update_1: Option<Spanned<ImageEntry>>,
    other: Option<Spanned<ImageEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageEntry {
    version: Option<Spanned<VersionEntry>>,
    size: Option<Spanned<Size>>,
    file: Option<Spanned<String>>,
    #[serde(default)]
    application: ApplicationEntry,
    broken: Option<Spanned<String>>,
    key: Option<SignedWith>,
    confirmed: Option<bool>,
    state: Option<ImageState>,
    contents: Option<Spanned<Contents>>,
    hw_version: Option<u32>,
    sd_req: Option<Vec<u32>>,
    debug: Option<bool>,
    boot_validation: Option<BootValidation>,
    softdevice: Option<SoftdeviceEntry>,
    bootloader: Option<BootloaderEntry>,
    gbl: Option<GblSpec>,
}

/// A version of MCUboot's, or of Nordic's.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a version like \"1.2.3\", or a number")]
enum VersionEntry {
    Text(String),
    Number(u32),
}

/// A name, or a name with a duration.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum ApplicationEntry {
    #[default]
    WaitsToBeConfirmed,
    ConfirmsItself(Duration),
    NeverConfirms(Duration),
    Crashes(Duration),
    Hangs(Duration),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Timing {
    erase: Option<Duration>,
    program_unit: Option<Duration>,
    swap_erase: Option<Duration>,
    #[serde(default)]
    fixed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    running: ExpectRunning,
    state: Option<ExpectState>,
    softdevice: Option<ExpectPart>,
    bootloader: Option<ExpectPart>,
    #[serde(default)]
    initiator: ExpectInitiator,
    injected: Option<ExpectInjected>,
}

fn full() -> Spanned<u8> {
    Spanned::new(0..0, 100)
}

pub(super) fn parse(file: &str, folder: Option<&Path>, text: &str) -> Result<Scenario, Mistake> {
    let read: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let mistake = |offset: usize, message: String| Mistake::new(file, message).at(text, offset);

    if *read.schema.get_ref() != 1 {
        return Err(mistake(read.schema.span().start, format!("schema {} is not known", read.schema.get_ref()))
            .remedy("this version reads schema = 1"));
    }
    let id = read.id.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let word = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.');
    if !id.chars().all(plain) || !id.split('/').all(word) {
        return Err(mistake(read.id.span().start, format!("`{id}` is no id"))
            .remedy("letters, digits, `-`, `_`, `.` and `/`, like \"power-loss/mid-swap\""));
    }
    for (value, what) in [(&read.why, "why"), (&read.source, "source")] {
        if value.get_ref().trim().is_empty() {
            return Err(mistake(value.span().start, format!("`{what}` is empty"))
                .remedy("a scenario says in one sentence why it exists, and where that comes from"));
        }
    }
    for need in &read.needs {
        if !crate::air::CAPABILITIES.contains(&need.get_ref().as_str()) {
            return Err(mistake(need.span().start, format!("nothing is called `{}`", need.get_ref()))
                .remedy(format!("needs are some of: {}", crate::air::CAPABILITIES.join(", "))));
        }
    }
    if *read.battery.get_ref() > 100 {
        return Err(mistake(read.battery.span().start, "a battery holds 0 to 100 percent".into()));
    }
    if read.fault.len() > FAULTS_MAX {
        return Err(Mistake::new(file, format!("at most {FAULTS_MAX} faults in one scenario")));
    }
    let mut faults = Vec::new();
    for (index, entry) in read.fault.iter().enumerate() {
        let fault = entry.get_ref().fault(index + 1).map_err(|message| mistake(entry.span().start, message))?;
        faults.push(fault);
    }
    let installed = image(&read.images.installed, folder, &mistake)?;
    let update = image(&read.images.update, folder, &mistake)?;
    let update_1 = read.images.update_1.as_ref().map(|entry| image(entry, folder, &mistake)).transpose()?;
    let recovers = read.needs.iter().any(|need| need.get_ref() == SERIAL_RECOVERY);
    if installed.broken.is_some() && !recovers {
        return Err(mistake(read.images.installed.span().start, "the installed image cannot be broken".into())
            .remedy("break the update instead, or say `needs = [\"serial-recovery\"]`"));
    }
    if read.task == Task::Recover && !recovers {
        return Err(Mistake::new(file, "`task = \"recover\"` needs a target with a recovery")
            .remedy("`needs = [\"serial-recovery\"]`"));
    }
    let start = read.images.installed.span().start;
    match (installed.confirmed, installed.state) {
        (true, Some(_)) => {
            return Err(
                mistake(start, "an image is confirmed, or it has another state".into()).remedy("only one of them")
            );
        }
        (_, None | Some(ImageState::Testing)) => {}
        (_, Some(_)) => {
            return Err(mistake(start, "the installed image is confirmed or in its test".into())
                .remedy("state = \"testing\", or confirmed = true"));
        }
    }
    let other = read.images.other.as_ref().map(|entry| image(entry, folder, &mistake)).transpose()?;
    if let (Some(other), Some(entry)) = (&other, &read.images.other)
        && (other.state == Some(ImageState::Testing) || other.confirmed)
    {
        return Err(mistake(entry.span().start, "the other image waits in the secondary slot".into())
            .remedy("state = \"uploaded\", \"pending\" or \"permanent\""));
    }
    for entry in std::iter::once(&read.images.update).chain(&read.images.update_1) {
        let start = entry.span().start;
        if entry.get_ref().state.is_some() {
            return Err(mistake(start, "the update is not on the device yet: it has no state".into())
                .remedy("`other` is an image that lies in the secondary slot at the start"));
        }
        if entry.get_ref().confirmed.is_some() {
            return Err(mistake(start, "`confirmed` is for the installed image".into()));
        }
    }
    if let Some(entry) = read.images.update_1.as_ref().filter(|_| recovers || read.task == Task::EraseAndUpdate) {
        return Err(mistake(entry.span().start, "two images are uploaded to a running application".into())
            .remedy("`task = \"update\"` or \"test-only\", without `serial-recovery`"));
    }
    Ok(Scenario {
        name: read.id.get_ref().clone(),
        id: read.id.into_inner(),
        why: read.why.into_inner(),
        source: read.source.into_inner(),
        needs: read.needs.into_iter().map(Spanned::into_inner).collect(),
        target: read.target,
        task: read.task,
        battery: read.battery.into_inner(),
        installed,
        update,
        update_1,
        other,
        overrides: read.overrides,
        timing: TimingSpec {
            erase_ns: read.timing.erase.map(|duration| duration.ns),
            program_unit_ns: read.timing.program_unit.map(|duration| duration.ns),
            swap_erase_ns: read.timing.swap_erase.map(|duration| duration.ns),
            fixed: read.timing.fixed,
        },
        faults,
        measures: read.measures,
        finally: read.finally,
        expect: Expectation {
            running: read.expect.running,
            state: read.expect.state,
            softdevice: read.expect.softdevice,
            bootloader: read.expect.bootloader,
            initiator: read.expect.initiator,
            injected: read.expect.injected,
        },
    })
}

fn image(
    entry: &Spanned<ImageEntry>,
    folder: Option<&Path>,
    mistake: &dyn Fn(usize, String) -> Mistake,
) -> Result<ImageSpec, Mistake> {
    let image = entry.get_ref();
    let origin = match (&image.file, &image.version, &image.size) {
        (Some(file), None, None) => {
            let path = Path::new(file.get_ref());
            ImageOrigin::File(folder.map_or_else(|| path.to_path_buf(), |folder| folder.join(path)))
        }
        (Some(file), ..) => {
            return Err(mistake(file.span().start, "a file has its own version and size".into())
                .remedy("either `file`, or `version` and `size`"));
        }
        (None, Some(version), Some(size)) => {
            let parsed = match version.get_ref() {
                VersionEntry::Number(number) => Version::Number(*number),
                VersionEntry::Text(text) => Version::Semantic(text.parse().map_err(
                    |error: brickproof_flash_model::image::mcuboot::VersionError| {
                        mistake(version.span().start, error.to_string())
                    },
                )?),
            };
            if !SIZE_RANGE.contains(&size.get_ref().0) {
                return Err(mistake(size.span().start, format!("an image of {} bytes is not made", size.get_ref().0))
                    .remedy("from 1 KiB to 16 MiB"));
            }
            ImageOrigin::Made { version: parsed, size: size.get_ref().0 }
        }
        (None, ..) => {
            return Err(mistake(entry.span().start, "an image needs `version` and `size`, or `file`".into()));
        }
    };
    let broken = match &image.broken {
        None => None,
        Some(name) => Some(broken(name.get_ref()).map_err(|message| mistake(name.span().start, message))?),
    };
    let behaviour = match image.application {
        ApplicationEntry::WaitsToBeConfirmed => Behaviour::WaitsToBeConfirmed,
        ApplicationEntry::ConfirmsItself(after) => Behaviour::ConfirmsItself { after_us: after.us },
        ApplicationEntry::NeverConfirms(after) => Behaviour::NeverConfirms { resets_after_us: after.us },
        ApplicationEntry::Crashes(after) => Behaviour::Crashes { after_us: after.us },
        ApplicationEntry::Hangs(period) => Behaviour::Hangs { watchdog_us: period.us },
    };
    Ok(ImageSpec {
        origin,
        behaviour,
        broken,
        package: package(image),
        gbl: image.gbl.clone().unwrap_or_default(),
        confirmed: image.confirmed.unwrap_or(false),
        state: image.state,
        key: image.key,
    })
}

/// What this name means of an image of MCUboot's, of a package of Nordic's, and of a GBL file.
fn broken(name: &str) -> Result<Broken, String> {
    let broken = Broken {
        mcuboot: Sabotage::ALL.into_iter().find(|sabotage| sabotage.name() == name),
        nordic: nordic::Sabotage::ALL.into_iter().find(|sabotage| sabotage.name() == name),
        legacy: LegacySabotage::ALL.into_iter().find(|(_, known)| *known == name).map(|(sabotage, _)| sabotage),
        gbl: gbl::Sabotage::ALL.into_iter().find(|sabotage| sabotage.name() == name),
    };
    if broken == Broken::default() {
        let mcuboot = Sabotage::ALL.map(Sabotage::name).join(", ");
        let nordic = nordic::Sabotage::ALL.map(nordic::Sabotage::name).join(", ");
        let gbl = gbl::Sabotage::ALL.map(gbl::Sabotage::name).join(", ");
        return Err(format!(
            "nothing is broken by `{name}`: an image of MCUboot's by {mcuboot}; a package of Nordic's by {nordic}; a GBL \
             file by {gbl}"
        ));
    }
    Ok(broken)
}

fn package(image: &ImageEntry) -> PackageSpec {
    PackageSpec {
        contents: image.contents.as_ref().map(|contents| *contents.get_ref()).unwrap_or_default(),
        hw_version: image.hw_version,
        sd_req: image.sd_req.clone(),
        debug: image.debug.unwrap_or(false),
        boot_validation: image.boot_validation.unwrap_or_default(),
        softdevice: image.softdevice.clone().unwrap_or_default(),
        bootloader: image.bootloader.clone().unwrap_or_default(),
    }
}
