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

use server::Upload;

use super::nordic::{Part, Parts, Print, load_application};
use super::{Cutter, End, Machine, Start, Violation, told};
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
    start: Start<State>,
    package: Package<'a>,
    application: Part,
    parts: Parts,
    facts: Facts,
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
    let size = load_application(map, legacy.region_end(), &mut flash, start, installed.application)?;
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
        let softdevice = Part::of(installed.softdevice, package.is_for(MODE_SOFTDEVICE).then_some(softdevice));
        let bootloader = Part::of(installed.bootloader, package.is_for(MODE_BOOTLOADER).then_some(rest));
        Ok(Self {
            legacy,
            package,
            application: Part::of(installed.application, package.is_for(MODE_APPLICATION).then_some(rest)),
            parts: Parts::new(map, legacy.region_end(), &flash, softdevice, bootloader),
            facts,
            start: Start {
                state: State::begin(),
                fields: fields::fields(legacy, &banks),
                regions: fields::regions(legacy, bank_0, bank_1),
                flash,
            },
            strict: false,
        })
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

    /// Which of the two applications begins at an address, whatever size the settings have for it.
    fn application_at(&self, flash: &Flash, start: u32) -> Runs {
        let is = |print: Option<Print>| print.is_some_and(|print| print.is_at(self.legacy.map(), flash, start));
        match self.application {
            Part { new, .. } if is(new) => Runs::New,
            Part { old, .. } if is(old) => Runs::Old,
            Part { .. } => Runs::Torn,
        }
    }

    /// Whether the update is in its place.
    fn is_installed(&self, flash: &Flash, runs: Runs) -> bool {
        (self.application.new.is_none() || runs == Runs::New) && self.parts.are_updated(flash)
    }

    /// What a boot must leave.
    fn judge(&self, boot: &Boot, runs: Runs, flash: &Flash, state: &mut State) -> Result<(), Violation> {
        let broken = |invariant, what: &str| Err(Violation::new(invariant, what));
        self.parts.judge(flash)?;
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
        self.parts.judge_softdevice(flash)?;
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

    fn start(&self) -> &Start<State> {
        &self.start
    }

    /// All of bank 1 is erased, and the image needs a part of it.
    fn erased_stays_erased(&self, _device: u8, _offset: u32) -> bool {
        true
    }

    fn story(&self, flash: &mut Flash, mut state: State, cutter: &mut Cutter<'_, State>) -> Result<&'static str, End> {
        let mut entry = Entry::default();
        let mut rest = "nothing has happened";
        loop {
            let installs = self.legacy.settings(flash).is_ok_and(|settings| settings.installs());
            state.stage = if installs { Stage::Installation } else { Stage::Boot };
            cutter.enter(state);
            cutter.remember(entry.code().into());
            if !cutter.starts_again(flash)? {
                return Ok(rest);
            }
            let boot = self.legacy.boot(&mut Controller::new(flash, cutter), &mut entry)?;
            state.stage = Stage::Runs;
            cutter.enter(state);
            cutter.tell(|| told(&boot));
            let runs = match &boot.outcome {
                Outcome::Application { start, .. } => self.application_at(flash, *start),
                _ => Runs::Nothing,
            };
            self.judge(&boot, runs, flash, &mut state)?;
            cutter.enter(state);
            if boot.outcome == Outcome::Reset {
                continue;
            }
            cutter.started(flash)?;
            let for_application = self.package.is_for(MODE_APPLICATION);
            match runs {
                Runs::Nothing if !state.installed || for_application => {
                    entry = Entry::default();
                    Upload { legacy: self.legacy, package: self.package }.run(flash, &mut state, cutter)?;
                }
                Runs::Nothing => (entry, rest) = (Entry::default(), "DFU mode waits for an application"),
                Runs::New if self.strict => {
                    return Err(Violation::new("revert", "the update stays, whatever it does").into());
                }
                Runs::New => (entry, rest) = (Entry::default(), "the new application runs"),
                Runs::Old if state.installed => (entry, rest) = (Entry::default(), "the old application runs"),
                // The old one is asked for DFU mode; on one that is torn only the button helps.
                Runs::Old => entry = Entry { gpregret: DFU_START, ..Entry::default() },
                Runs::Torn => entry = Entry { button: true, ..Entry::default() },
            }
        }
    }
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
