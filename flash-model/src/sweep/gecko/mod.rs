//! A Gecko bootloader, an application and an initiator as a [`Machine`].
//!
//! With an AppLoader the old application runs and is asked for it; the initiator sends its file from the first byte on,
//! takes the answer to 0x03, and disconnects. With a storage slot the application erases the slot, writes the file into it,
//! verifies it and resets into the bootloader, which installs it. The initiator sees what runs then, and begins again from
//! the start as long as that is not the new one: there is no resume.
//!
//! | invariant | what must hold |
//! |---|---|
//! | `starts` | every boot that is not cut ends in an application, in an AppLoader or in a reset |
//! | `faults` | neither a boot nor an upload makes the processor take a fault |
//! | `application` | an application can be started |
//! | `known-application` | it is the old or the new one, whole |
//! | `bootloader` | the bootloader area holds the old or the new bootloader, whole |
//! | `acknowledged` | what the answer to 0x03 calls good is in its place after the reset |
//! | `resumes` | what the application asked the bootloader to install gets installed, without another upload |
//! | `stays` | an update that was in its place stays there |
//! | `upload` | the file is accepted whenever it is sent |
//! | `revert` | an application that does not confirm itself is given up |
//! | `untouched` | lock bits and first stage do not change |
//! | `rest` | without further cuts, boots stop to change flash |
//!
//! A [`Strict`](Update::strict) machine wants all of them, and shows what the design cannot do: [`known`]. One that is not
//! goes on as a person would: another upload where the first came to nothing, a button where a torn application runs.
//!
#![doc = include_str!("../../../POWER-LOSS-SILABS.md")]

mod fields;
mod judge;
pub mod known;
mod monitor;
mod upload;

pub use known::{Facts, Known};
pub use monitor::{Stage, State};

use judge::Runs;
use upload::{Ended, Upload};

use super::{Cutter, End, Machine, Start, Violation, told};
use crate::boot::gecko::{AppLoader, Boot, Entry, Gecko, Outcome, reason};
use crate::flash::{Controller, Flash};
use crate::image::gbl::{ApplicationProperties, Gbl, application::signature_type};

/// Most bytes that the programs of a file may have.
const PROGRAMS_MAX: usize = 16 << 20;

/// What a device leaves the factory with.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    /// The bootloader, with the CRC-32 behind it.
    pub bootloader: &'a [u8],
    /// The application.
    pub application: &'a [u8],
    /// What is in the storage slot: the file of an update before.
    pub slot: &'a [u8],
}

/// An update.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// The GBL file.
    pub file: &'a [u8],
    /// The bootloader in it, with the CRC-32 behind it; empty for none.
    pub bootloader: &'a [u8],
    /// The application in it; empty for none.
    pub application: &'a [u8],
    /// Bytes that are sent at once.
    pub chunk: usize,
}

/// The machine.
#[derive(Debug)]
pub struct Update<'a> {
    gecko: &'a Gecko,
    start: Start<State>,
    package: Package<'a>,
    /// The old one, and the new one if it changes.
    applications: [&'a [u8]; 2],
    bootloaders: [&'a [u8]; 2],
    untouched: u128,
    facts: Facts,
    strict: bool,
}

/// The flash of a device as it leaves the factory; `flash` is empty but for what must stay untouched.
///
/// # Errors
/// What does not fit.
pub fn factory(gecko: &Gecko, mut flash: Flash, installed: &Installed<'_>) -> Result<Flash, String> {
    let map = gecko.map();
    let (bootloader, bootloader_max) = map.bootloader();
    let slot = map.slots().first().map_or((0, 0), |slot| (slot.address, slot.len));
    for (what, address, max, bytes) in [
        ("a bootloader", bootloader, bootloader_max, installed.bootloader),
        ("an application", map.application_start(), map.application_len(), installed.application),
        ("a slot", slot.0, slot.1, installed.slot),
    ] {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if len == 0 {
            continue;
        }
        let Some((area, offset)) = map.place(address, len).filter(|_| len <= max) else {
            return Err(format!("{what} of {len:#x} bytes at {address:#x} does not fit"));
        };
        flash.load(area, offset, bytes).map_err(|error| error.to_string())?;
    }
    Ok(flash)
}

impl<'a> Update<'a> {
    /// An update of a device that is as it left the factory; `flash` is empty but for what must stay untouched.
    ///
    /// # Errors
    /// What does not fit, a file that cannot be read, and an image that fills no more than half a page.
    pub fn new(
        gecko: &'a Gecko,
        flash: Flash,
        installed: &Installed<'a>,
        package: Package<'a>,
    ) -> Result<Self, String> {
        let flash = factory(gecko, flash, installed)?;
        let (map, options) = (gecko.map(), gecko.options());
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if len(package.application) > map.application_len() || len(package.bootloader) > map.bootloader().1 {
            return Err("the application or the bootloader of the file does not fit".into());
        }
        // What an exploration forgets of a torn page is taken for torn.
        let images = [installed.application, package.application, installed.bootloader, package.bootloader];
        if let Some(image) = images.iter().find(|image| !image.is_empty() && len(image) <= map.page() / 2) {
            return Err(format!(
                "an image of {} bytes fills no more than half a page of {}, and a torn erase need not touch it: that is not swept",
                image.len(),
                map.page()
            ));
        }
        if options.storage && map.slots().first().is_none_or(|slot| len(package.file) > slot.len) {
            return Err(format!("the file has {} bytes, more than the slot", package.file.len()));
        }
        let gbl = Gbl::read(package.file).map_err(|error| error.to_string())?;
        let start = map.application_start();
        let applications = [installed.application, package.application];
        let bootloaders = [installed.bootloader, package.bootloader];
        let has_crc = |image: &&[u8]| {
            let properties = ApplicationProperties::read(image, start);
            properties.is_some_and(|properties| properties.signature_type == signature_type::CRC32)
        };
        let facts = Facts {
            storage: options.storage,
            series_2: options.series_2,
            application: !package.application.is_empty(),
            bootloader: !package.bootloader.is_empty(),
            secure_boot: options.secure_boot,
            crc: applications.iter().filter(|image| !image.is_empty()).all(has_crc),
            version_check: options.version_check,
            rollback_protection: options.rollback_protection,
            depends: !gbl.dependencies().is_empty(),
            corrupt: !gbl.is_encrypted() && gbl.programs(None, PROGRAMS_MAX).is_err(),
            covers_staging: start.saturating_add(len(package.application)) > gecko.upgrade_location(),
        };
        let mut made = Self {
            gecko,
            package,
            applications,
            bootloaders,
            untouched: 0,
            facts,
            start: Start {
                state: State::begin(),
                fields: fields::fields(gecko, &applications, &bootloaders, facts.bootloader),
                regions: fields::regions(gecko, facts.bootloader),
                flash,
            },
            strict: false,
        };
        made.untouched = made.untouched_print(&made.start.flash);
        Ok(made)
    }

    /// A machine that wants all invariants, also those of which it is known that the design cannot keep them.
    #[must_use]
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// What a [`Known`] property may depend on.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// Whether a boot will install from the slot.
    fn installs(&self, flash: &Flash, entry: &Entry) -> bool {
        let counter = self.gecko.map().application_start().wrapping_add(4);
        let asked = matches!(entry.info.reason, reason::BOOTLOAD | reason::UPGRADE) || entry.button;
        self.facts.storage && (asked || self.gecko.map().word(flash, counter).is_ok_and(|word| word == u32::MAX))
    }

    /// What comes of an application that runs.
    fn runs(
        &self,
        runs: Runs,
        flash: &mut Flash,
        entry: &mut Entry,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<&'static str, Ended> {
        let upload = Upload { gecko: self.gecko, package: self.package };
        let slot = self.gecko.map().slots().first().filter(|_| self.facts.storage);
        *entry = Entry::default();
        if runs == Runs::Torn {
            // Only the button helps.
            entry.button = true;
            return Ok(TORN);
        }
        if let Some(slot) = slot {
            upload.erase(flash, *slot, state, cutter)?;
        }
        if self.is_done(runs, state) {
            return Ok(if runs == Runs::New { "the new application runs" } else { "the old application runs" });
        }
        if slot.is_some() {
            upload.fill_slot(flash, entry, state, cutter)?;
        } else {
            entry.reset(reason::BOOTLOAD);
        }
        Ok("an update goes on")
    }

    /// What comes of an AppLoader that waits.
    fn waits(
        &self,
        flash: &mut Flash,
        entry: &mut Entry,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<&'static str, Ended> {
        *entry = Entry::default();
        if state.installed && (!self.facts.application || self.starts(flash)) {
            // The initiator looks what is there, and leaves.
            AppLoader::default().disconnect(self.gecko, &mut Controller::new(flash, cutter), entry)?;
            return Ok("the AppLoader waits for an application");
        }
        Upload { gecko: self.gecko, package: self.package }.in_place(flash, entry, state, cutter)?;
        Ok("an update goes on")
    }
}

impl Machine for Update<'_> {
    type State = State;

    fn start(&self) -> &Start<State> {
        &self.start
    }

    /// All of a slot is erased, and the file needs a part of it. What an application lies in is erased as it comes.
    fn erased_stays_erased(&self, device: u8, offset: u32) -> bool {
        let map = self.gecko.map();
        map.slots()
            .iter()
            .filter_map(|slot| map.place(slot.address, slot.len).map(|place| (slot.len, place)))
            .any(|(len, (area, start))| area.device == device && (start..start.saturating_add(len)).contains(&offset))
    }

    fn story(&self, flash: &mut Flash, mut state: State, cutter: &mut Cutter<'_, State>) -> Result<&'static str, End> {
        let mut entry = Entry::default();
        let mut rest = "nothing has happened";
        loop {
            state.stage = if self.installs(flash, &entry) { Stage::Installation } else { Stage::Boot };
            cutter.enter(state);
            cutter.remember(u64::from(entry.code()) | u64::from(entry.button) << 32);
            if !cutter.starts_again(flash)? {
                if rest == TORN {
                    let what = "a torn application runs, and stays whatever is done";
                    return Err(Violation::new("known-application", what).into());
                }
                return Ok(rest);
            }
            let boot = self.gecko.boot(&mut Controller::new(flash, cutter), &mut entry)?;
            entry.button = false;
            state.stage = Stage::Runs;
            cutter.enter(state);
            cutter.tell(|| told(&boot));
            let starts = boot.outcome == Outcome::Application;
            let runs = if starts { self.application(flash) } else { Runs::Torn };
            self.judge(&boot, runs, flash, &mut state)?;
            cutter.enter(state);
            if matches!(boot.outcome, Outcome::Reset { .. }) {
                continue;
            }
            cutter.started(flash)?;
            let ended = match (&boot.outcome, runs) {
                (Outcome::Application, Runs::New) if self.strict && self.facts.application => {
                    return Err(Violation::new("revert", "the update stays, whatever it does").into());
                }
                (Outcome::Application, _) => self.runs(runs, flash, &mut entry, &mut state, cutter),
                _ => self.waits(flash, &mut entry, &mut state, cutter),
            };
            match ended {
                Ok(what) => rest = what,
                Err(Ended::Interrupted) => return Err(End::Interrupted),
                Err(Ended::Refused(code)) => return Err(Violation::new("upload", format!("refused: {code}")).into()),
                Err(Ended::Stuck(why)) => {
                    cutter.tell(|| why);
                    let what = "the AppLoader takes a fault, whenever the file is sent";
                    return Err(Violation::new("faults", what).into());
                }
            }
        }
    }
}

/// How a run ends when not even a button helps.
const TORN: &str = "a torn application runs";
