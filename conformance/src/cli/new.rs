//! `brickproof new`: a file to start from, complete and commented.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, print, write_file};
use crate::runner::case::quote;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What to start
    what: What,
    /// The file; its name without .toml becomes the id
    file: PathBuf,
    /// Which bootloader it is about
    #[arg(long, value_enum, default_value_t = Kind::Mcuboot)]
    kind: Kind,
}

/// As in `[bootloader]` of a target.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// MCUboot, and SMP
    Mcuboot,
    /// Nordic's nRF5 SDK, and Secure DFU
    NordicSecure,
    /// Silicon Labs' Gecko bootloader with an AppLoader, which programs in place
    GeckoApploader,
    /// Silicon Labs' Gecko bootloader with a storage slot, which the application fills
    GeckoStorage,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Scenario,
    Target,
    Layout,
    Initiator,
}

const SCENARIO: &str = include_str!("templates/scenario.toml");
const TARGET: &str = include_str!("templates/target.toml");
const LAYOUT: &str = include_str!("templates/layout.toml");
const INITIATOR: &str = include_str!("templates/initiator.toml");
const NORDIC_SCENARIO: &str = include_str!("templates/nordic-scenario.toml");
const NORDIC_TARGET: &str = include_str!("templates/nordic-target.toml");
const NORDIC_LAYOUT: &str = include_str!("templates/nordic-layout.toml");
const NORDIC_INITIATOR: &str = include_str!("templates/nordic-initiator.toml");
const GECKO_SCENARIO: &str = include_str!("templates/gecko-scenario.toml");
const APPLOADER_TARGET: &str = include_str!("templates/gecko-apploader-target.toml");
const APPLOADER_LAYOUT: &str = include_str!("templates/gecko-apploader-layout.toml");
const STORAGE_TARGET: &str = include_str!("templates/gecko-storage-target.toml");
const STORAGE_LAYOUT: &str = include_str!("templates/gecko-storage-layout.toml");
const GECKO_INITIATOR: &str = include_str!("templates/gecko-initiator.toml");

/// The bundled target of a kind, in templates that are for several.
fn bundled(kind: Kind) -> &'static str {
    match kind {
        Kind::Mcuboot => "nrf52840-mcuboot-swap-move",
        Kind::NordicSecure => "nrf52840-nordic-secure",
        Kind::GeckoApploader => "efr32mg22-apploader",
        Kind::GeckoStorage => "efr32mg24-storage",
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let path = &arguments.file;
    if path.extension().is_none_or(|end| end != "toml") {
        return Err(Failure::Usage(format!("{}: the name must end in .toml", path.display())));
    }
    if path.exists() {
        return Err(Failure::Usage(format!("{}: there is such a file already", path.display())));
    }
    let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let shown = quote(&path.display().to_string());
    let written = path.display();
    let layout = |kind: &str| format!("layout = \"{written}\" in a file from `brickproof new target{kind}`");
    let (template, next) = match (arguments.what, arguments.kind) {
        (What::Scenario, Kind::Mcuboot) => (SCENARIO, format!("brickproof run {shown}")),
        (What::Target, Kind::Mcuboot) => (TARGET, format!("brickproof run --target {shown}")),
        (What::Layout, Kind::Mcuboot) => (LAYOUT, layout("")),
        (What::Initiator, Kind::Mcuboot) => (INITIATOR, format!("brickproof run --initiator {shown}")),
        (What::Scenario, Kind::NordicSecure) => (NORDIC_SCENARIO, format!("brickproof run {shown}")),
        (What::Target, Kind::NordicSecure) => (NORDIC_TARGET, format!("brickproof sweep --target {shown}")),
        (What::Layout, Kind::NordicSecure) => (NORDIC_LAYOUT, layout(" --kind nordic-secure")),
        (What::Initiator, Kind::NordicSecure) => {
            (NORDIC_INITIATOR, format!("brickproof run nordic-update --initiator {shown}"))
        }
        (What::Scenario, Kind::GeckoApploader | Kind::GeckoStorage) => {
            (GECKO_SCENARIO, format!("brickproof run {shown}"))
        }
        (What::Target, Kind::GeckoApploader) => (APPLOADER_TARGET, format!("brickproof sweep --target {shown}")),
        (What::Target, Kind::GeckoStorage) => (STORAGE_TARGET, format!("brickproof sweep --target {shown}")),
        (What::Layout, Kind::GeckoApploader) => (APPLOADER_LAYOUT, layout(" --kind gecko-apploader")),
        (What::Layout, Kind::GeckoStorage) => (STORAGE_LAYOUT, layout(" --kind gecko-storage")),
        (What::Initiator, Kind::GeckoApploader | Kind::GeckoStorage) => {
            (GECKO_INITIATOR, format!("brickproof run silabs-update --initiator {shown}"))
        }
    };
    let kind = arguments.kind.to_possible_value().unwrap_or_default();
    let text =
        template.replace("NAME", &id).replace("BUNDLED", bundled(arguments.kind)).replace("KIND", kind.get_name());
    write_file(path, text.as_bytes())?;
    print(&format!("{}\nnext: {next}\n", path.display()))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use brickproof_flash_model::boot::nordic::{Nordic, Options};
    use brickproof_flash_model::layout::Layout;

    use super::*;
    use crate::profile::Profile;
    use crate::scenario::Scenario;
    use crate::target::{Protocol, Target};

    #[test]
    fn templates_read_as_they_are() {
        Scenario::parse("scenario.toml", None, SCENARIO).unwrap();
        Target::parse("target.toml", None, TARGET).unwrap();
        Layout::parse("layout.toml", LAYOUT).unwrap();
        Profile::parse("initiator.toml", INITIATOR).unwrap();
        Scenario::parse("scenario.toml", None, NORDIC_SCENARIO).unwrap();
        let target = Target::parse("target.toml", None, NORDIC_TARGET).unwrap();
        assert!(target.nordic().is_ok());
        Nordic::new(&Layout::parse("layout.toml", NORDIC_LAYOUT).unwrap(), Options::default(), None).unwrap();
        let profile = Profile::parse("initiator.toml", NORDIC_INITIATOR).unwrap();
        assert_eq!(profile.protocol, Some(Protocol::SecureDfu));
        for (kind, target, layout) in [
            (Kind::GeckoApploader, APPLOADER_TARGET, APPLOADER_LAYOUT),
            (Kind::GeckoStorage, STORAGE_TARGET, STORAGE_LAYOUT),
        ] {
            Scenario::parse("scenario.toml", None, &GECKO_SCENARIO.replace("BUNDLED", bundled(kind))).unwrap();
            let target = Target::parse("target.toml", None, target).unwrap();
            let own = target.of_silabs().unwrap();
            own.gecko(&target.layout).unwrap();
            own.gecko(&Layout::parse("layout.toml", layout).unwrap()).unwrap();
        }
        let profile = Profile::parse("initiator.toml", GECKO_INITIATOR).unwrap();
        assert_eq!(profile.protocol, Some(Protocol::SilabsOta));
    }
}
