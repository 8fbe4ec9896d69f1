//! What is swept, and how.

use std::path::PathBuf;
use std::str::FromStr;

use brickproof_flash_model::boot::mcuboot::Flaw;
use brickproof_flash_model::image::nordic::ImageKind;
use brickproof_flash_model::sweep::mcuboot::Story;
use brickproof_flash_model::sweep::{Depth, Path, Tears};
use clap::{Args, ValueEnum};

use super::super::dump::{DeviceFile, device_file};
use super::super::nordic_files::with_version;
use super::mcuboot::UPDATE;
use crate::sweep::Again;
use crate::units::{Duration, Size};

/// Most threads.
const THREADS_MAX: i64 = 256;

#[derive(Debug, Args)]
pub(in super::super) struct Arguments {
    /// The board and its bootloader: a profile or a path to a .toml file
    #[arg(long, default_value = "nrf52840-mcuboot-swap-move")]
    pub(super) target: String,
    /// What happens without a power loss; may be given several times [default: test-then-revert; for a target without
    /// MCUboot application]. In all stories of MCUboot but the uploads the application is handed an update whose upload is not cut
    #[arg(long = "story", value_enum)]
    pub(super) stories: Vec<StoryName>,
    /// Which power losses: none, linear (one), depth:N (up to N), exhaustive (any number), id:PATH (exactly these, told
    /// step by step)
    #[arg(long, default_value = "exhaustive")]
    pub(super) cuts: Cuts,
    /// What an interrupted operation leaves: see below
    #[arg(long, default_value = "fields", value_parser = tears)]
    pub(super) tears: Tears,
    /// An image file in a slot: primary=FILE[:confirmed] is installed, secondary=FILE is the update. On a target of
    /// Nordic's: application=FILE[:VERSION] (raw, .hex, or that of a package; no VERSION with Legacy DFU) is installed,
    /// package=FILE.zip is the update; of Silicon Labs' application=FILE (.s37, .hex, raw, or of a .gbl), package=FILE.gbl
    #[arg(long = "slot", value_name = "NAME=FILE[:STATE]", value_parser = slot)]
    pub(super) slots: Vec<SlotImage>,
    /// Size of the installed image that is made when no file is given: "96 KiB", 98304, or max
    #[arg(long, value_name = "SIZE", default_value = "96 KiB")]
    pub(super) installed: ImageSize,
    /// Size of the update that is made when no file is given [default: 100 KiB; of a SoftDevice or a bootloader that of
    /// the one that is installed]
    #[arg(long, value_name = "SIZE")]
    pub(super) update: Option<ImageSize>,
    /// Nordic: updates take the place of the application at once, whatever the target says
    #[arg(long)]
    pub(super) single_bank: bool,
    /// Nordic and Silicon Labs, with --cuts id:PATH: want what the design does not promise, too: a trial, an application at
    /// any time, and that what was acknowledged gets installed
    #[arg(long)]
    pub(super) strict: bool,
    /// A PEM file with a key that the bootloader trusts besides its own
    #[arg(long = "key", value_name = "FILE")]
    pub(super) keys: Vec<PathBuf>,
    /// Put a mistake of the past back into the bootloader, to see it found
    #[arg(long, value_name = "NAME", value_parser = flaw)]
    pub(super) flaw: Option<Flaw>,
    /// Threads; findings, ids and counts of a sweep that no limit ends are the same with any number [default: one for
    /// each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX))]
    pub(super) threads: Option<u16>,
    /// Stop after so many states
    #[arg(long, value_name = "N", default_value_t = 50_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) max_states: u32,
    /// Stop when the process has so much memory
    #[arg(long, value_name = "SIZE", default_value = "2 GiB", value_parser = memory)]
    pub(super) max_memory: u64,
    /// Stop after so long, all stories together: "30 s", "10 min" [default: never]
    #[arg(long, value_name = "TIME", value_parser = Duration::parse)]
    pub(super) max_time: Option<Duration>,
    /// Draw the story, the power losses that leave it, and where they end, as SVG
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// With --cuts id:PATH: write the flash at the end: raw; Intel HEX (.hex) or S-records (.s37) by extension
    #[arg(long, value_name = "[DEVICE=]FILE", value_parser = device_file)]
    pub(super) flash_out: Vec<DeviceFile>,
    /// The answer as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--help` says behind the options.
pub(in super::super) const AFTER_HELP: &str = "\
Tears, what an interrupted operation leaves:
  none         power is lost between operations only
  fields       one value for each that code can tell apart: trailer fields, headers, bulk; erases in halves, garbage
  adversarial  likewise, and erases end at every field: slow, for small images
  units        every program unit of every operation: for the smallest layouts

Exit codes: 0 nothing but known properties of the bootloader; 1 a violation, or not everything was covered; \
2 bad usage or input; 3 the harness itself; 130 Ctrl-C.";

/// A story that can be swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum StoryName {
    /// A test that is not confirmed: it must end where it began
    TestThenRevert,
    /// A test that is confirmed
    TestThenConfirm,
    /// A request for good
    Permanent,
    /// A test whose image erases the other slot before it is confirmed
    TestThenErase,
    /// The built-in initiator uploads, tests and confirms over SMP; it is started again after each power loss
    Upload,
    /// Likewise, and it waits for the device and goes on
    UploadGoesOn,
    /// Nordic, Silicon Labs: an application by DFU, or in a GBL file
    Application,
    /// Nordic: a SoftDevice
    Softdevice,
    /// Nordic, Silicon Labs: a bootloader
    Bootloader,
    /// Nordic: a SoftDevice and a bootloader as one image
    SoftdeviceBootloader,
    /// Silicon Labs: a bootloader and an application in one file
    BootloaderApplication,
    /// All but the uploads
    All,
}

impl StoryName {
    /// What it means depends on the target.
    pub(super) fn stories(self, family: Family) -> Vec<Told> {
        match self {
            Self::Application if family == Family::Silabs => vec![Told::gbl(Contents::Application)],
            Self::Bootloader if family == Family::Silabs => vec![Told::gbl(Contents::Bootloader)],
            Self::TestThenRevert => vec![Told::Boot(Story::TestThenRevert)],
            Self::TestThenConfirm => vec![Told::Boot(Story::TestThenConfirm)],
            Self::Permanent => vec![Told::Boot(Story::Permanent)],
            Self::TestThenErase => vec![Told::Boot(Story::TestThenErase)],
            Self::Upload => vec![Told::Upload(Again::FromTheStart)],
            Self::UploadGoesOn => vec![Told::Upload(Again::GoesOn)],
            Self::Application => vec![Told::dfu(ImageKind::Application)],
            Self::Softdevice => vec![Told::dfu(ImageKind::Softdevice)],
            Self::Bootloader => vec![Told::dfu(ImageKind::Bootloader)],
            Self::SoftdeviceBootloader => vec![Told::dfu(ImageKind::SoftdeviceBootloader)],
            Self::BootloaderApplication => vec![Told::gbl(Contents::BootloaderApplication)],
            Self::All => match family {
                Family::Mcuboot => Story::ALL.map(Told::Boot).to_vec(),
                Family::Nordic => DFU.map(Told::dfu).to_vec(),
                Family::Silabs => Contents::ALL.map(Told::gbl).to_vec(),
            },
        }
    }
}

/// Whose stories are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Mcuboot,
    Nordic,
    Silabs,
}

/// What a GBL file brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    Application,
    Bootloader,
    BootloaderApplication,
}

impl Contents {
    const ALL: [Self; 3] = [Self::Application, Self::Bootloader, Self::BootloaderApplication];

    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Application => "file with an application",
            Self::Bootloader => "file with a bootloader",
            Self::BootloaderApplication => "file with bootloader and application",
        }
    }
}

/// What can be updated by DFU.
const DFU: [ImageKind; 4] =
    [ImageKind::Application, ImageKind::Softdevice, ImageKind::Bootloader, ImageKind::SoftdeviceBootloader];

/// A story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// What the application asks of the bootloader.
    Boot(Story),
    /// What an initiator does, too.
    Upload(Again),
    /// An update by Nordic's DFU.
    Dfu {
        /// Of what.
        kind: ImageKind,
        /// Wants what the design does not promise.
        strict: bool,
    },
    /// An update by a GBL file.
    Gbl {
        /// What is in it.
        contents: Contents,
        /// Wants what the design does not promise.
        strict: bool,
    },
}

impl Told {
    fn gbl(contents: Contents) -> Self {
        Self::Gbl { contents, strict: false }
    }

    pub(super) fn dfu(kind: ImageKind) -> Self {
        Self::Dfu { kind, strict: false }
    }

    /// The one that is told when nobody says another one.
    pub(super) fn usual(family: Family) -> Self {
        match family {
            Family::Mcuboot => Self::Boot(Story::default()),
            Family::Nordic => Self::dfu(ImageKind::Application),
            Family::Silabs => Self::gbl(Contents::Application),
        }
    }

    /// All names of a family.
    pub(super) fn names(family: Family) -> String {
        let all = StoryName::value_variants().iter().filter(|name| **name != StoryName::All);
        let stories = all.flat_map(|name| name.stories(family)).filter(|story| story.family() == family);
        stories.map(Self::name).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Boot(_) | Self::Upload(_) => Family::Mcuboot,
            Self::Dfu { .. } => Family::Nordic,
            Self::Gbl { .. } => Family::Silabs,
        }
    }

    pub(super) fn is_strict(self) -> bool {
        matches!(self, Self::Dfu { strict: true, .. } | Self::Gbl { strict: true, .. })
    }

    /// The same with all that one may want, where that is another story.
    pub(super) fn strict(self) -> Option<Self> {
        match self {
            Self::Dfu { kind, .. } => Some(Self::Dfu { kind, strict: true }),
            Self::Gbl { contents, .. } => Some(Self::Gbl { contents, strict: true }),
            Self::Boot(_) | Self::Upload(_) => None,
        }
    }

    /// Size of its update when nobody says another one; `None` where that depends on what is installed.
    pub(super) fn update_size(self) -> Option<ImageSize> {
        match self {
            Self::Gbl { contents: Contents::Bootloader, .. } => None,
            Self::Dfu { kind: ImageKind::Application, .. } | Self::Gbl { .. } | Self::Boot(_) | Self::Upload(_) => {
                Some(UPDATE)
            }
            Self::Dfu { .. } => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Boot(story) => story.name(),
            Self::Upload(Again::FromTheStart) => "upload",
            Self::Upload(Again::GoesOn) => "upload-goes-on",
            Self::Dfu { kind: ImageKind::Application, .. } | Self::Gbl { contents: Contents::Application, .. } => {
                "application"
            }
            Self::Dfu { kind: ImageKind::Softdevice, .. } => "softdevice",
            Self::Dfu { kind: ImageKind::Bootloader, .. } | Self::Gbl { contents: Contents::Bootloader, .. } => {
                "bootloader"
            }
            Self::Gbl { contents: Contents::BootloaderApplication, .. } => "bootloader-application",
            Self::Dfu { kind: ImageKind::SoftdeviceBootloader, .. } => "softdevice-bootloader",
        }
    }
}

/// Which power losses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cuts {
    /// All up to a number, or all.
    Explore(Depth),
    /// These.
    Path(Path),
}

/// The path without a power loss, where a path is asked for.
const UNCUT: &str = "uncut";

impl FromStr for Cuts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let depth = |depth| Ok(Self::Explore(depth));
        match (text, text.split_once(':')) {
            ("none", _) => depth(Depth::AtMost(0)),
            ("linear", _) => depth(Depth::AtMost(1)),
            ("exhaustive", _) => depth(Depth::Exhaustive),
            (_, Some(("depth", number))) => match number.parse() {
                Ok(number) => depth(Depth::AtMost(number)),
                Err(_) => Err(format!("`{number}` is no number of power losses")),
            },
            (_, Some(("id", UNCUT))) => Ok(Self::Path(Path::default())),
            (_, Some(("id", ""))) => Err(format!("a path is missing: id:412,17p512 or id:{UNCUT}")),
            (_, Some(("id", path))) => path.parse().map(Self::Path),
            _ => Err("expected none, linear, depth:N, exhaustive or id:PATH".into()),
        }
    }
}

/// What `--cuts` takes.
pub(super) fn id(path: &Path) -> String {
    if path.0.is_empty() { UNCUT.into() } else { path.to_string() }
}

/// The size of an image that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageSize {
    Bytes(u32),
    /// As much as the bootloader takes.
    Max,
}

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => Size::parse(text).map(|size| Self::Bytes(size.0)).map_err(|error| format!("{error}, or max")),
        }
    }
}

/// Where a file belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Primary,
    Secondary,
    /// The application that is installed.
    Application,
    /// A package that is sent.
    Package,
}

impl Place {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
            Self::Application => "application",
            Self::Package => "package",
        }
    }

    pub(super) fn is_installed(self) -> bool {
        matches!(self, Self::Primary | Self::Application)
    }

    /// Whether it is of a target without MCUboot.
    pub(super) fn is_package(self) -> bool {
        matches!(self, Self::Application | Self::Package)
    }
}

/// An image file for a slot.
#[derive(Debug, Clone)]
pub(super) struct SlotImage {
    pub(super) place: Place,
    pub(super) confirmed: bool,
    /// Of an application.
    pub(super) version: Option<u32>,
    pub(super) path: PathBuf,
    /// As it was given.
    pub(super) text: String,
}

fn slot(text: &str) -> Result<SlotImage, String> {
    let (name, rest) = text.split_once('=').ok_or("expected NAME=FILE, like secondary=app.signed.bin")?;
    let all = [Place::Primary, Place::Secondary, Place::Application, Place::Package];
    let Some(place) = all.into_iter().find(|place| place.name() == name) else {
        return Err(format!(
            "no slot is called `{name}`: primary or secondary; application or package on a target of Nordic's or Silicon Labs'"
        ));
    };
    if place == Place::Application {
        let (path, version) = with_version(rest)?;
        return Ok(SlotImage { place, confirmed: false, version, path, text: text.into() });
    }
    let (path, confirmed) = match rest.strip_suffix(":confirmed") {
        Some(path) => (path, true),
        None => (rest, false),
    };
    if rest.ends_with(":pending") || rest.ends_with(":testing") {
        return Err("the story says what is asked for and tested: see --story".into());
    }
    if confirmed && place != Place::Primary {
        return Err("`confirmed` is for the primary slot".into());
    }
    Ok(SlotImage { place, confirmed, version: None, path: path.into(), text: text.into() })
}

fn tears(text: &str) -> Result<Tears, String> {
    let names = || Tears::ALL.map(Tears::name).join(", ");
    Tears::ALL.into_iter().find(|tears| tears.name() == text).ok_or_else(|| format!("one of: {}", names()))
}

fn flaw(text: &str) -> Result<Flaw, String> {
    let names = || Flaw::ALL.map(Flaw::name).join(", ");
    Flaw::ALL.into_iter().find(|flaw| flaw.name() == text).ok_or_else(|| format!("one of: {}", names()))
}

/// Bytes; unlike the sizes of images, up to what a machine has.
fn memory(text: &str) -> Result<u64, String> {
    const GIB: u64 = 1 << 30;
    let gib = text.trim().strip_suffix("GiB").and_then(|number| number.trim().parse::<u32>().ok());
    match gib {
        Some(gib) => Ok(u64::from(gib) * GIB),
        None => Size::parse(text).map(|size| size.0.into()).map_err(|error| format!("{error}, or \"2 GiB\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_read() {
        let read = |text: &str| text.parse::<Cuts>();
        assert_eq!(read("none"), Ok(Cuts::Explore(Depth::AtMost(0))));
        assert_eq!(read("linear"), read("depth:1"));
        assert_eq!(read("exhaustive"), Ok(Cuts::Explore(Depth::Exhaustive)));
        assert_eq!(read("id:uncut"), Ok(Cuts::Path(Path::default())));
        let Ok(Cuts::Path(path)) = read("id:@0,17p512") else { panic!() };
        assert_eq!(id(&path), "@0,17p512");
        for wrong in ["", "all", "depth", "depth:", "depth:x", "id:", "id:x", "id:1,", "linear:2"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slots_and_sizes_are_read() {
        let confirmed = slot("primary=a.bin:confirmed").unwrap();
        assert!(confirmed.place == Place::Primary && confirmed.confirmed && confirmed.path == *"a.bin");
        assert_eq!(slot("secondary=a:b.bin").unwrap().place, Place::Secondary);
        let application = slot("application=a.bin:0x10").unwrap();
        assert_eq!((application.version, application.path), (Some(16), "a.bin".into()));
        for wrong in ["a.bin", "scratch=a.bin", "secondary=a.bin:confirmed", "secondary=a.bin:pending"] {
            assert!(slot(wrong).is_err(), "{wrong}");
        }
        assert_eq!("96 KiB".parse(), Ok(ImageSize::Bytes(98_304)));
        assert_eq!("max".parse(), Ok(ImageSize::Max));
        assert!("much".parse::<ImageSize>().is_err());
        assert_eq!(memory("3 GiB"), Ok(3 << 30));
        assert_eq!(memory("64 MiB"), Ok(64 << 20));
        assert!(memory("x").is_err());
    }
}
