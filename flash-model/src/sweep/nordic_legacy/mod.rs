//! A Legacy DFU bootloader, an application and an uploader as a [`Machine`].
//!
//! The old application runs and is asked for DFU mode; the uploader sends its package and asks for its activation; the
//! device resets and puts SoftDevice and bootloader into their places. The uploader sees what the device is, and begins
//! again from the start as long as that is not the new one: there is no resume.
//!
//! | invariant | what must hold |
//! |---|---|
//! | `starts` | every boot that is not cut ends in an application, in DFU mode or in a reset |
//! | `application` | an application can be started |
//! | `known-application` | it is the old or the new one, whole |
//! | `reachable` | DFU mode waits on Bluetooth LE |
//! | `softdevice` | what starts finds the old or the new SoftDevice, whole |
//! | `bootloader` | the bootloader area holds the old or the new bootloader, whole |
//! | `activated` | an image that the uploader was told is valid gets installed |
//! | `stays` | an update that was in its place stays there |
//! | `upload` | the package is accepted whenever it is sent |
//! | `revert` | an application that does not confirm itself is given up |
//! | `untouched` | MBR and application data do not change |
//! | `rest` | without further cuts, boots stop to change flash |
//!
//! A [`Strict`](Update::strict) machine wants all of them, and shows what the design cannot do: [`known`]. One that is not
//! goes on as a person would: a cable where Bluetooth LE does not reach, the button where a torn application runs, another
//! upload where there is none.

mod fields;
pub mod known;
mod monitor;
mod server;

pub use known::{Facts, Known};
pub use monitor::{Stage, State};

use server::{Ended, Upload};

use super::cutter::Reset;
use super::nordic::Print;
use super::{Cutter, End, FieldSpan, Machine, Region, Violation};
use crate::boot::nordic_legacy::init::{MODE_APPLICATION, MODE_BOOTLOADER, MODE_SOFTDEVICE};
use crate::boot::nordic_legacy::options::gpregret::DFU_START;
use crate::boot::nordic_legacy::{
    Boot, DfuReason, Entry, MBR_SIZE, NordicLegacy, Outcome, Settings, SoftdeviceInfo, Transport,
};
use crate::flash::{Controller, Flash};

/// What a device leaves the factory with.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    /// The SoftDevice, from `MBR_SIZE` on.
    pub softdevice: &'a [u8],
    /// The application.
    pub application: &'a [u8],
    /// Its CRC is stored, as a programmer may do it; an update never does.
    pub checked: bool,
    /// The bootloader.
    pub bootloader: &'a [u8],
}

/// An update.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// What is updated: bits of [`init`](crate::boot::nordic_legacy::init).
    pub mode: u8,
    /// Sizes of SoftDevice, bootloader and application.
    pub sizes: [u32; 3],
    /// The init packet.
    pub init: &'a [u8],
    /// The images, one behind the other.
    pub image: &'a [u8],
}

impl<'a> Package<'a> {
    /// Its SoftDevice, and what is behind that.
    fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.image.split_at_checked(self.sizes[0] as usize)
    }

    fn is_for(&self, kind: u8) -> bool {
        self.mode & kind != 0
    }
}

/// The machine.
#[derive(Debug)]
pub struct Update<'a> {
    legacy: &'a NordicLegacy,
    flash: Flash,
    package: Package<'a>,
    /// The old one, and the new one if it changes.
    applications: [Option<Print>; 2],
    softdevices: [Option<Print>; 2],
    bootloaders: [Option<Print>; 2],
    untouched: u128,
    facts: Facts,
    fields: Vec<FieldSpan>,
    regions: Vec<Region>,
    strict: bool,
}

/// The flash of a device as it leaves the factory, settings included.
///
/// # Errors
/// What does not fit.
pub fn factory(legacy: &NordicLegacy, mut flash: Flash, installed: &Installed<'_>) -> Result<Flash, String> {
    let map = legacy.map();
    let refused = |error: crate::flash::Refusal| error.to_string();
    let unread = |error: crate::flash::FlashError| error.to_string();
    flash.load(map.whole(), MBR_SIZE, installed.softdevice).map_err(refused)?;
    flash.load(map.bootloader(), 0, installed.bootloader).map_err(refused)?;
    let start = legacy.bank_0_start(&flash).map_err(unread)?;
    let size = u32::try_from(installed.application.len()).unwrap_or(u32::MAX);
    if start.checked_add(size).is_none_or(|end| end > legacy.region_end()) {
        return Err(format!("an application of {size:#x} bytes at {start:#x} reaches into the application data"));
    }
    flash.load(map.whole(), start, installed.application).map_err(refused)?;
    let crc = if installed.checked { legacy.crc16(&flash, start, size).map_err(unread)? } else { 0 };
    flash.load(map.settings(), 0, &Settings::application(size, crc).to_bytes()).map_err(refused)?;
    Ok(flash)
}

impl<'a> Update<'a> {
    /// An update of a device that is as it left the factory; `flash` is empty but for what must stay untouched.
    ///
    /// # Errors
    /// What does not fit.
    pub fn new(
        legacy: &'a NordicLegacy,
        flash: Flash,
        installed: &Installed<'_>,
        package: Package<'a>,
    ) -> Result<Self, String> {
        let flash = factory(legacy, flash, installed)?;
        let (softdevice, rest) = package.parts().ok_or("the image is shorter than its SoftDevice")?;
        let print = |old: &[u8], new: Option<&[u8]>| [(!old.is_empty()).then(|| Print::of(old)), new.map(Print::of)];
        let (map, unread) = (legacy.map(), |error: crate::flash::FlashError| error.to_string());
        let bank_0 = legacy.bank_0_start(&flash).map_err(unread)?;
        let bank_1 = legacy.bank_1_start(&flash).map_err(unread)?;
        let mut banks = vec![bank_0];
        let mut sent = flash.clone();
        if package.is_for(MODE_SOFTDEVICE) {
            sent.load(map.whole(), MBR_SIZE, softdevice).map_err(|error| error.to_string())?;
            let info = SoftdeviceInfo::installed(map, &sent).map_err(unread)?;
            banks.push(info.ok_or("the SoftDevice has no information struct")?.size);
        }
        let room = bank_0.saturating_sub(MBR_SIZE);
        let facts = Facts {
            mode: package.mode,
            kind: legacy.options().kind,
            single_bank: legacy.options().single_bank,
            to_ota: legacy.options().default_to_ota,
            checked: installed.checked,
            larger: package.sizes[0] > room,
            odd_room: !(room / 2).is_multiple_of(map.page()) && !legacy.options().whole_page_blocks,
            covers_itself: package.sizes[0] > room.saturating_add(room / 2),
        };
        let mut made = Self {
            legacy,
            package,
            applications: print(installed.application, package.is_for(MODE_APPLICATION).then_some(rest)),
            softdevices: print(installed.softdevice, package.is_for(MODE_SOFTDEVICE).then_some(softdevice)),
            bootloaders: print(installed.bootloader, package.is_for(MODE_BOOTLOADER).then_some(rest)),
            untouched: 0,
            facts,
            fields: fields::fields(legacy, &banks),
            regions: fields::regions(legacy, bank_0, bank_1),
            strict: false,
            flash,
        };
        made.untouched = made.untouched_print(&made.flash);
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

    /// A number for what must stay as it is.
    fn untouched_print(&self, flash: &Flash) -> u128 {
        let map = self.legacy.map();
        let page = map.page();
        let Some(device) = flash.devices().get(usize::from(map.device())) else { return 0 };
        let pages = |from: u32, to: u32| device.fingerprint((from / page) as usize..(to / page) as usize);
        pages(0, MBR_SIZE) ^ pages(self.legacy.region_end(), map.bootloader().offset)
    }

    fn any_at(&self, prints: &[Option<Print>; 2], flash: &Flash, address: u32) -> bool {
        let mut all = prints.iter().flatten().peekable();
        all.peek().is_none() || all.any(|print| print.is_at(self.legacy.map(), flash, address))
    }

    /// Which of the two applications begins at an address, whatever size the settings have for it.
    fn application_at(&self, flash: &Flash, start: u32) -> Runs {
        let is = |print: &Option<Print>| print.is_some_and(|print| print.is_at(self.legacy.map(), flash, start));
        match &self.applications {
            [_, new] if is(new) => Runs::New,
            [old, _] if is(old) => Runs::Old,
            _ => Runs::Torn,
        }
    }

    /// Whether the update is in its place.
    fn is_installed(&self, flash: &Flash, runs: Runs) -> bool {
        let map = self.legacy.map();
        let at =
            |print: &[Option<Print>; 2], address: u32| print[1].is_none_or(|print| print.is_at(map, flash, address));
        let application = self.applications[1].is_none() || runs == Runs::New;
        application && at(&self.softdevices, MBR_SIZE) && at(&self.bootloaders, map.bootloader().offset)
    }

    /// What a boot must leave.
    fn judge(&self, boot: &Boot, runs: Runs, flash: &Flash, state: &mut State) -> Result<(), Violation> {
        let broken = |invariant, what: &str| Err(Violation { invariant, what: what.into() });
        if !self.any_at(&self.bootloaders, flash, self.legacy.map().bootloader().offset) {
            return broken("bootloader", "the bootloader area holds neither the old nor the new bootloader");
        }
        if self.untouched_print(flash) != self.untouched {
            return broken("untouched", "MBR or application data have changed");
        }
        match &boot.outcome {
            Outcome::Reset => return Ok(()),
            // The reason, with its sizes, is in the replay.
            Outcome::Fault { .. } => {
                return broken("starts", "the bootloader stops at its error handler, at every start");
            }
            Outcome::Brick { reason } => return broken("starts", reason),
            Outcome::Application { .. } if self.strict && runs == Runs::Torn => {
                return broken("known-application", "what runs is neither the old nor the new application");
            }
            Outcome::Application { .. } | Outcome::DfuMode { .. } => {}
        }
        if !self.any_at(&self.softdevices, flash, MBR_SIZE) {
            return broken("softdevice", "the SoftDevice is neither the old nor the new one");
        }
        let installed = self.is_installed(flash, runs);
        let for_application = self.package.is_for(MODE_APPLICATION);
        if state.installed && !installed && !(for_application && matches!(boot.outcome, Outcome::DfuMode { .. })) {
            return broken("stays", "the update is gone");
        }
        state.installed |= installed;
        if !self.strict {
            return Ok(());
        }
        if let Outcome::DfuMode { reason, transport, .. } = &boot.outcome {
            if *transport == Transport::Serial {
                return broken("reachable", "DFU mode waits on a serial line, out of reach of Bluetooth LE");
            }
            if let DfuReason::NoApplication(_) = reason {
                return broken("application", "no application can be started");
            }
        }
        if state.activated && !installed {
            return broken("activated", "the uploader was told that the image is valid, and it is not installed");
        }
        Ok(())
    }
}

impl Machine for Update<'_> {
    type State = State;

    fn start(&self) -> (Flash, State) {
        (self.flash.clone(), State::begin())
    }

    fn fields(&self) -> &[FieldSpan] {
        &self.fields
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// All of bank 1 is erased, and the image needs a part of it.
    fn erased_stays_erased(&self, _device: u8, _offset: u32) -> bool {
        true
    }

    fn run(&self, flash: &mut Flash, mut state: State, cutter: &mut Cutter<'_, State>) -> End {
        let violation = |invariant, what: String| End::Violation(Violation { invariant, what });
        let mut entry = Entry::default();
        let mut rest = "nothing has happened";
        loop {
            let installs = self.legacy.settings(flash).is_ok_and(|settings| settings.installs());
            state.stage = if installs { Stage::Installation } else { Stage::Boot };
            cutter.enter(state);
            cutter.remember(entry.code().into());
            match cutter.reset(flash) {
                Reset::New => {}
                Reset::Idle => return End::Rest(rest),
                Reset::Merged => return End::Interrupted,
                Reset::Again => return violation("rest", "boots change flash for ever".into()),
            }
            cutter.tell(|| "the bootloader starts".into());
            let Ok(boot) = self.legacy.boot(&mut Controller::new(flash, cutter), &mut entry) else {
                return End::Interrupted;
            };
            state.stage = Stage::Runs;
            cutter.enter(state);
            cutter.tell(|| told(&boot));
            let runs = match &boot.outcome {
                Outcome::Application { start, .. } => self.application_at(flash, *start),
                _ => Runs::Nothing,
            };
            if let Err(broken) = self.judge(&boot, runs, flash, &mut state) {
                return End::Violation(broken);
            }
            cutter.enter(state);
            if boot.outcome == Outcome::Reset {
                continue;
            }
            if cutter.started(flash).is_err() {
                return End::Interrupted;
            }
            let for_application = self.package.is_for(MODE_APPLICATION);
            match runs {
                Runs::Nothing if !state.installed || for_application => {
                    entry = Entry::default();
                    match (Upload { legacy: self.legacy, package: self.package }.run(flash, &mut state, cutter)) {
                        Ok(()) => {}
                        Err(Ended::Interrupted) => return End::Interrupted,
                        Err(Ended::Refused(status)) => return violation("upload", format!("refused: {status}")),
                        Err(Ended::Flash(error)) => return violation("upload", format!("flash: {error}")),
                    }
                }
                Runs::Nothing => (entry, rest) = (Entry::default(), "DFU mode waits for an application"),
                Runs::New if self.strict => return violation("revert", "the update stays, whatever it does".into()),
                Runs::New => (entry, rest) = (Entry::default(), "the new application runs"),
                Runs::Old if state.installed => (entry, rest) = (Entry::default(), "the old application runs"),
                // The old one is asked for DFU mode; on one that is torn only the button helps.
                Runs::Old => entry = Entry { gpregret: DFU_START, ..Entry::default() },
                Runs::Torn => entry = Entry { button: true, ..Entry::default() },
            }
        }
    }
}

/// A boot in a line.
#[must_use]
pub fn told(boot: &Boot) -> String {
    let decisions = boot.decisions.iter().map(|decision| format!("{decision}; "));
    decisions.chain([boot.outcome.to_string()]).collect()
}

/// What a boot has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    Nothing,
    Old,
    New,
    /// Neither.
    Torn,
}
