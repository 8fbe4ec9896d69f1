//! The scenario language.
//!
//! A scenario names a target, the images, what the initiator is asked to do, what goes wrong and when,
//! and what must hold at the end. It says in one sentence why it exists, with its source.
//!
//! ```toml
//! schema = 1
//! id = "power-loss/mid-swap-half"
//! why = "A swap that loses power halfway must finish, in the right order, when power returns"
//! source = "mcuboot docs/design.md, reset recovery"
//! needs = ["smp", "reboot"]
//! target = "nrf52840-mcuboot-swap-move"   # or a path to a target file
//! task = "update"                         # or "test-only" (no confirm), "erase-and-update", "recover" (upload over
//!                                         # the recovery of the bootloader, reset)
//! battery = 100                           # percent at the start
//! measures = "transfer"                   # its report tells how fast the data came, and what was lost on the way
//! finally = ["power-cycle"]               # after the initiator is done
//!
//! [images]
//! installed = { version = "1.0.0", size = "64 KiB", confirmed = true }
//! update = { version = "1.1.0", size = "96 KiB", application = "waits-to-be-confirmed" }
//! other = { version = "1.0.5", size = "64 KiB", state = "pending" }  # in the secondary slot: uploaded, pending, permanent
//! update-1 = { version = "2.0.0", size = "32 KiB" }    # for image 1 of a target with two: both in one update; of an
//!                                                      # EFR32 the second file of it
//! # also: installed = { .., state = "testing" }; broken = "signature" (the installed one only with
//! # needs = ["serial-recovery"]); file = "app.signed.bin"; application = { crashes = "500 ms" };
//! # key = "development" or "production", instead of the one that the target trusts
//! # of a target of Nordic's: see [`package`]; of an EFR32: see [`gbl`]
//!
//! [timing]                                # instead of the target's
//! erase = "85 ms"
//! program-unit = "41 us"
//! swap-erase = "750 ms"                   # while the bootloader runs
//! fixed = true                            # not scaled: the scenario is about time
//!
//! [override.smp]                          # any section of the target profile
//! params = false
//!
//! [[fault]]
//! when = { swap-progress = 0.5 }          # see below
//! do = { power-loss = { for = "2 s" } }
//!
//! [expect]
//! running = "update"                      # installed, update, any or nothing
//! state = "confirmed"                     # or testing; left out: any
//! initiator = "succeeds"                  # fails, truthful (no success without the update) or any
//! softdevice = "update"                   # or installed; left out: any. The same of `bootloader`
//! injected = "refused"                    # or accepted: requests and writes of the scenario's own
//! ```
//!
//! | `when` | the fault happens |
//! |---|---|
//! | `{ after = "3 s" }` | so long after the start |
//! | `{ swap-progress = 0.5, swap = "revert", tear = "first-half" }` | at a fraction of the flash operations of a boot that swaps; `swap` and `tear` may be left out |
//! | `{ upload-progress = 0.5 }` | when the upload has come so far |
//! | `{ request = "image-state", flash-operation = 1, nth = 1, tear = "nothing" }` | at a flash operation of a write request |
//! | `{ request = "image-upload", op = "write", nth = 3, times = 1 }` | before a request is handled; `"any"` is every command, `times` may be `"always"` |
//! | `{ fragment = 30 }` | over Bluetooth LE, before a write that continues a packet, the 30th of the run |
//! | `{ answer = "reset", nth = 1, times = 1 }` | when an answer is about to be sent |
//! | `{ connect = 1, times = 1 }` | over Bluetooth LE, when a central connects to a target that could be connected to, the first time |
//! | `{ pairing = 1, times = 1 }` | when a pairing begins; encryption with kept keys is none |
//! | `{ write = "bootloader", nth = 1, times = 1 }` | when a characteristic of a `[[service]]` of the target was written: its UUID, or the name of its trigger |
//!
//! | `{ request = "create-data", nth = 2, times = 1 }`, `{ answer = "execute-data" }` | the same of Nordic's protocols; the names are in `brickproof_simulator::nordic::calls` |
//! | `{ request = "execute-data", nth = 5, flash-operation = 0 }` | at an operation of the flash work behind such a call |
//! | `{ flash-operation = 3, tear = "first-half" }` | at an operation of the flash work that such a protocol does beside its answers, the first is 0 |
//! | `{ upload-progress = 0.5, flash-operation = 0, tear = "first-half" }` | at an operation of that work once the upload has come so far |
//!
//! `last = true` beside `request` or `answer` is the last chunk of an upload.
//!
//! `tear` says what the interrupted operation leaves: `nothing` of it (the default), its `first-half`,
//! `all-but-last` byte, or `noise`, any bytes, drawn from the seed of the run.
//!
//! | `do` | what happens |
//! |---|---|
//! | `{ power-loss = { for = "2 s" } }` | supply is lost and comes back; without `for` never |
//! | `{ link-loss = { for = "2 s" } }` | the link is lost silently and comes back |
//! | `{ battery = 10 }` | the battery is at that charge from now on |
//! | `"reset"` | the reset pin |
//! | `"lose-answer"`, `"double-answer"`, `{ delay-answer = "3 s" }` | what happens to the answer of `{ answer = .. }` |
//! | `{ change-answer = { set = { match = false }, remove = ["off"], version = 0, images = "reversed" } }` | the answer is changed; `images` is `reversed`, `frugal`, `without-hash`, `sha512`, `without-flags` or `empty` |
//! | `{ foreign-answer = { set = { off = 0 } } }` | before it comes a changed copy with another sequence number |
//! | `{ refuse = { rc = 10 } }`, `{ refuse = { group = 1, rc = 9 } }` | the request of `{ request = .. }` is not carried out; this is its answer |
//! | `{ stall = "35 s" }` | the device takes so much longer over the request of `{ request = .. }` |
//! | `"connect-fails"` | the connection of `{ connect = .. }` cannot be made |
//! | `"lose-keys"` | the initiator has lost the keys of its bond with the target, which has its own |
//! | `"lose-request"` | the request of `{ request = .. }` never arrives |
//! | `{ reply = "60040b07" }` | of Nordic's protocols: the request is not carried out, and these bytes are its answer; beside `answer` they take its place |
//! | `"double-request"`, `{ corrupt-request = { byte = 3, mask = 1 } }`, `{ corrupt-answer = { byte = 3 } }` | the same: it arrives twice, or with other bits |
//! | `{ inject = { group = 1, command = 5, op = "write", body = { slot = 2 } } }` | somebody else sends this request |
//! | `{ stray-write = { partition = "bootloader", offset = 0 } }` | the application writes zeros there |
//! | `{ flash-fails = { partition = "secondary", operation = "program", offset = 0, len = "4 KiB" } }` | the flash goes bad there: `program`, `erase` or `read` fails from now on |

pub mod fault;
mod file;
pub mod gbl;
mod images;
pub mod own_gbl;
pub mod package;

use std::path::PathBuf;

use brickproof_flash_model::image::mcuboot::{ImageVersion, Sabotage};
use brickproof_flash_model::image::nordic;
use brickproof_flash_model::source::Mistake;
use brickproof_simulator::device::Behaviour;
use brickproof_simulator::world::Fault;

pub use gbl::GblSpec;
pub use images::{Image, ImageSet};
pub use package::PackageSpec;

/// What the initiator is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Upload, test, reset, confirm once the new image runs.
    #[default]
    Update,
    /// Upload, test, reset.
    TestOnly,
    /// Erase the secondary slot, then as an update.
    EraseAndUpdate,
    /// Upload to the recovery of the bootloader, reset, see the image run.
    Recover,
}

/// What is told of a run beside its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// How fast data came, and what was lost on the way; of Nordic's Secure DFU.
    Transfer,
}

/// What is done to the target after the initiator is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finally {
    /// Power off and on.
    PowerCycle,
}

/// Which image must run at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectRunning {
    /// The one from before.
    Installed,
    /// The new one.
    Update,
    /// One of the two.
    Any,
    /// Nothing: the device is off or in recovery.
    Nothing,
}

/// Whether the running image stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectState {
    /// The next boot swaps back.
    Testing,
    /// It stays.
    Confirmed,
}

/// Which SoftDevice or bootloader must be in place at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectPart {
    /// The one from before.
    Installed,
    /// That of the package.
    Update,
}

/// What the initiator must say at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectInitiator {
    /// That it succeeded.
    Succeeds,
    /// That it failed.
    Fails,
    /// What is true: that it succeeded only if the update runs.
    Truthful,
    /// Either.
    #[default]
    Any,
}

/// What must come of a request or a write of the scenario's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectInjected {
    /// The device carries all of them out.
    Accepted,
    /// The device refuses all of them.
    Refused,
}

/// What an image at the start of a scenario is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// It runs unconfirmed after a test swap.
    Testing,
    /// It lies in the secondary slot, and that is all.
    Uploaded,
    /// It lies in the secondary slot, marked for test.
    Pending,
    /// It lies in the secondary slot, marked for good.
    Permanent,
}

/// What must hold at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// The running image.
    pub running: ExpectRunning,
    /// Its state; `None` for any.
    pub state: Option<ExpectState>,
    /// The SoftDevice, and the bootloader; `None` for any.
    pub softdevice: Option<ExpectPart>,
    /// See above.
    pub bootloader: Option<ExpectPart>,
    /// The initiator's own verdict.
    pub initiator: ExpectInitiator,
    /// What comes of the scenario's own requests and writes; `None` for anything.
    pub injected: Option<ExpectInjected>,
}

/// The version of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MCUboot's, in a file a text.
    Semantic(ImageVersion),
    /// Nordic's or Silicon Labs', in a file a number.
    Number(u32),
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Semantic(version) => version.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Broken {
    /// As an image of MCUboot's.
    pub mcuboot: Option<Sabotage>,
    /// As a package of Nordic's.
    pub nordic: Option<nordic::Sabotage>,
    /// As a package for Legacy DFU.
    pub legacy: Option<package::LegacySabotage>,
    /// As a GBL file.
    pub gbl: Option<brickproof_flash_model::image::gbl::Sabotage>,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageOrigin {
    /// Made here.
    Made {
        /// Its version.
        version: Version,
        /// Its total size in bytes, as near as the signature allows; of a package, of its application.
        size: u32,
    },
    /// A file.
    File(PathBuf),
}

/// Which of the keys of brickproof signs an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignedWith {
    /// The development key: a debug key, everybody has it.
    Development,
    /// The key of a product.
    Production,
}

/// An image of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// Where it comes from.
    pub origin: ImageOrigin,
    /// What the application in it does.
    pub behaviour: Behaviour,
    /// What is wrong with it.
    pub broken: Option<Broken>,
    /// What it is as a package of Nordic's.
    pub package: PackageSpec,
    /// What it is as a GBL file.
    pub gbl: GblSpec,
    /// Whether it has a trailer that says so; only for the installed one.
    pub confirmed: bool,
    /// What it is marked as at the start.
    pub state: Option<ImageState>,
    /// Which key signs it; `None` for the one that the target trusts.
    pub key: Option<SignedWith>,
}

/// Durations of flash operations, where a scenario has its own, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimingSpec {
    /// Erase of a sector.
    pub erase_ns: Option<u64>,
    /// Program of a unit.
    pub program_unit_ns: Option<u64>,
    /// Erase of a sector while the bootloader runs.
    pub swap_erase_ns: Option<u64>,
    /// Not to be scaled.
    pub fixed: bool,
}

/// A scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name, like a path.
    pub id: String,
    /// What it is called on the command line: its id, or the path of its file.
    pub name: String,
    /// Why it exists.
    pub why: String,
    /// Where that comes from.
    pub source: String,
    /// What the air and the initiator must be capable of.
    pub needs: Vec<String>,
    /// Target profile: a name or a path.
    pub target: String,
    /// What the initiator is asked to do.
    pub task: Task,
    /// Charge at the start in percent.
    pub battery: u8,
    /// What is in the primary slot.
    pub installed: ImageSpec,
    /// What the initiator is given.
    pub update: ImageSpec,
    /// What the initiator is given for image 1, of a target that has one; of an EFR32 the second file.
    pub update_1: Option<ImageSpec>,
    /// What lies in the secondary slot at the start.
    pub other: Option<ImageSpec>,
    /// Keys of the target profile that are different here.
    pub overrides: toml::Table,
    /// Durations of its own.
    pub timing: TimingSpec,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is told of a run beside its verdict.
    pub measures: Option<Measure>,
    /// What is done after the initiator is done.
    pub finally: Vec<Finally>,
    /// What must hold at the end.
    pub expect: Expectation,
}

impl Scenario {
    /// Reads a scenario; `file` names it in mistakes, `folder` is where relative paths start.
    ///
    /// # Errors
    /// A [`Mistake`] with line, column and remedy.
    pub fn parse(file: &str, folder: Option<&std::path::Path>, text: &str) -> Result<Self, Mistake> {
        file::parse(file, folder, text)
    }
}
