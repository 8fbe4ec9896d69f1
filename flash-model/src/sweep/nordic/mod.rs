//! A Secure DFU bootloader, an application and an uploader as a [`Machine`].
//!
//! The old application runs and is asked for DFU mode; the uploader sends its package; the device resets, activates the
//! update and resets again. An uploader that was not told that the image is accepted tries again, from what the device
//! says it has; one that was told does nothing more.
//!
//! | invariant | what must hold |
//! |---|---|
//! | `starts` | every boot that is not cut ends in an application, in DFU mode or in a reset |
//! | `application` | an application can be started |
//! | `known-application` | it is the old or the new one, whole |
//! | `softdevice` | what starts finds the old or the new SoftDevice, whole |
//! | `bootloader` | the bootloader area holds the old or the new bootloader, whole |
//! | `acknowledged` | an image of which the uploader was told that it is accepted gets installed |
//! | `stays` | an update that was in its place stays there |
//! | `version` | the version in the settings is that of the application that runs |
//! | `upload` | the package is accepted whenever it is sent |
//! | `revert` | an application that does not confirm itself is given up |
//! | `untouched` | MBR and application data do not change |
//! | `rest` | without further cuts, boots stop to change flash |
//!
//! A [`Strict`](Update::strict) machine wants all of them, and shows what the design cannot do: [`known`]. One that is not
//! goes on where the design has no application for a while, where it keeps what it has, and where an uploader has to look
//! what became of an update that it was told is accepted, or has to send its init packet anew.
//!
#![doc = include_str!("../../../POWER-LOSS-NORDIC.md")]

mod fields;
pub mod known;
mod monitor;
mod parts;
mod server;

pub use known::{Facts, Known};
pub use monitor::{Stage, State};

pub(in crate::sweep) use parts::{Part, Parts, Print, load_application};
use server::Upload;
pub(in crate::sweep) use server::{Ended, run_steps};

use super::{Cutter, End, Machine, Start, Violation, told};
use crate::boot::nordic::{
    BankCode, Boot, DfuReason, Entry, ExtendedError, MBR_SIZE, Nordic, Outcome, Refusal, Settings, SoftdeviceInfo,
    options::DFU_START,
};
use crate::flash::{Controller, Flash};
use crate::image::nordic::{FwType, InitPacket};

/// What a device leaves the factory with.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    /// The SoftDevice, from `MBR_SIZE` on; empty for none.
    pub softdevice: &'a [u8],
    /// The application.
    pub application: &'a [u8],
    /// Its version.
    pub application_version: u32,
    /// The bootloader.
    pub bootloader: &'a [u8],
    /// Its version.
    pub bootloader_version: u32,
}

/// An update.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// The init packet.
    pub init: &'a [u8],
    /// The image.
    pub image: &'a [u8],
}

/// The machine.
#[derive(Debug)]
pub struct Update<'a> {
    nordic: &'a Nordic,
    start: Start<State>,
    package: Package<'a>,
    version: Option<u32>,
    installed_version: u32,
    application: Part,
    parts: Parts,
    facts: Facts,
    strict: bool,
}

/// The flash of a device as it leaves the factory, settings and their backup included.
///
/// # Errors
/// What does not fit.
pub fn factory(nordic: &Nordic, mut flash: Flash, installed: &Installed<'_>) -> Result<Flash, String> {
    let map = nordic.map();
    let refused = |error: crate::flash::Refusal| error.to_string();
    flash.load(map.whole(), MBR_SIZE, installed.softdevice).map_err(refused)?;
    flash.load(map.bootloader(), 0, installed.bootloader).map_err(refused)?;
    let start = nordic.bank_0_start(&flash).map_err(|error| error.to_string())?;
    let size = load_application(map, nordic.region_end(), &mut flash, start, installed.application)?;
    let crc = map.crc32(&flash, start, size).map_err(|error| error.to_string())?;
    let mut settings = Settings::factory(nordic.options().profile, size, crc);
    settings.app_version = installed.application_version;
    settings.bootloader_version = installed.bootloader_version;
    settings.seal();
    let bytes = nordic.settings_bytes(&settings);
    flash.load(map.settings(), 0, &bytes).map_err(refused)?;
    if nordic.options().profile.has_backup() {
        flash.load(map.params(), 0, &bytes).map_err(refused)?;
    }
    Ok(flash)
}

impl<'a> Update<'a> {
    /// An update of a device that is as it left the factory; `flash` is empty but for what must stay untouched.
    ///
    /// # Errors
    /// What does not fit, and why the bootloader would not accept the init packet.
    pub fn new(
        nordic: &'a Nordic,
        flash: Flash,
        installed: &Installed<'_>,
        package: Package<'a>,
    ) -> Result<Self, String> {
        let flash = factory(nordic, flash, installed)?;
        let command = InitPacket::parse(package.init).map_err(|error| error.to_string())?.command;
        let kind = command.fw_type.unwrap_or(FwType::Application);
        let (softdevice, rest) = if kind.has_softdevice() {
            let end = command.sd_size.unwrap_or(0) as usize;
            package.image.split_at_checked(end).ok_or("the image is shorter than its SoftDevice")?
        } else {
            (&[][..], package.image)
        };
        let mut dfu = nordic.start(&flash).map_err(|refusal| refusal.to_string())?;
        let accepted = nordic
            .init_command_create(&mut dfu, package.init.len() as u32)
            .and_then(|()| nordic.init_command_append(&mut dfu, package.init))
            .and_then(|()| nordic.init_command_execute(&mut dfu, &flash));
        accepted.map_err(|refusal| format!("the init packet is refused: {refusal}"))?;
        let read = |flash: &Flash, base: u32| SoftdeviceInfo::read(nordic.map(), flash, base).ok().flatten();
        let mut sent = flash.clone();
        let staged = sent.load(nordic.map().whole(), dfu.firmware_start, package.image);
        staged.map_err(|error| error.to_string())?;
        let [old_info, new_info] = [read(&flash, MBR_SIZE), read(&sent, dfu.firmware_start)];
        let page = nordic.map().page();
        let facts = Facts {
            kind,
            profile: nordic.options().profile,
            gives_up_application: dfu.settings.bank_0.code != BankCode::App,
            other_major: kind.has_softdevice()
                && old_info.map(|info| info.major()) != new_info.map(|info| info.major()),
            moves_application: kind.has_softdevice()
                && old_info.map(|info| info.size) != new_info.map(|info| info.size),
            covers_source: kind.has_softdevice()
                && nordic.map().align(MBR_SIZE + softdevice.len() as u32) > dfu.firmware_start + 0x2000,
            whole_words: package.image.len().is_multiple_of(4),
        };
        let bank_0 = nordic.bank_0_start(&flash).map_err(|error| error.to_string())?;
        let mut bases = vec![MBR_SIZE];
        if kind.has_softdevice() {
            bases.push(dfu.firmware_start);
        }
        // The MBR copies whole words.
        let words = kind.has_bootloader().then(|| rest.get(..rest.len() / 4 * 4).unwrap_or_default());
        let bootloader = Part::of(installed.bootloader, words);
        let softdevice = Part::of(installed.softdevice, kind.has_softdevice().then_some(softdevice));
        Ok(Self {
            nordic,
            package,
            version: command.fw_version,
            installed_version: installed.application_version,
            application: Part::of(installed.application, (kind == FwType::Application).then_some(rest)),
            parts: Parts::new(nordic.map(), nordic.region_end(), &flash, softdevice, bootloader),
            facts,
            start: Start {
                state: State::begin(),
                fields: fields::fields(nordic, &bases),
                regions: fields::regions(nordic, bank_0, dfu.firmware_start.max(bank_0 + page)),
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

    /// Whether the update is in its place.
    fn is_installed(&self, flash: &Flash, running: Option<&[u8; 32]>) -> bool {
        let application = self.application.new.is_none_or(|print| running == Some(print.hash()));
        application && self.parts.are_updated(flash)
    }

    /// What a boot must leave.
    fn judge(&self, boot: &Boot, flash: &Flash, state: &mut State) -> Result<(), Violation> {
        let broken = |invariant, what: &str| Err(Violation::new(invariant, what));
        self.parts.judge(flash)?;
        let running = match &boot.outcome {
            Outcome::Reset => return Ok(()),
            Outcome::Fault { reason } => return broken("starts", &format!("a fault: {reason}")),
            Outcome::Brick { reason } => return broken("starts", reason),
            Outcome::DfuMode { .. } => None,
            Outcome::Application { hash, version, .. } => {
                let known = |print: Option<Print>| print.is_some_and(|print| print.hash() == hash);
                let expected = match (known(self.application.old), known(self.application.new)) {
                    (true, _) => Some(self.installed_version),
                    (_, true) => self.version,
                    _ => return broken("known-application", "another application runs than the old or the new one"),
                };
                if expected.is_some_and(|expected| expected != *version) {
                    return broken("version", "the settings have the version of another application");
                }
                Some(hash)
            }
        };
        self.parts.judge_softdevice(flash)?;
        let installed = self.is_installed(flash, running);
        if state.installed && !installed {
            return broken("stays", "the update is gone");
        }
        state.installed = installed;
        if state.acknowledged && !installed {
            if self.strict {
                return broken(
                    "acknowledged",
                    "the uploader was told that the image is accepted, and it is not installed",
                );
            }
            // It looks what is there, and tries again.
            state.acknowledged = false;
        }
        if let (true, Outcome::DfuMode { reason: DfuReason::NoApplication(_), .. }) = (self.strict, &boot.outcome) {
            return broken("application", "no application can be started");
        }
        Ok(())
    }
}

impl Machine for Update<'_> {
    type State = State;

    fn start(&self) -> &Start<State> {
        &self.start
    }

    fn story(&self, flash: &mut Flash, mut state: State, cutter: &mut Cutter<'_, State>) -> Result<&'static str, End> {
        let mut entry = Entry::default();
        let mut rest = "nothing has happened";
        loop {
            let activates =
                self.nordic.load(flash).is_ok_and(|(settings, _)| settings.bank_1.code != BankCode::Invalid);
            state.stage = if activates { Stage::Activation } else { Stage::Boot };
            cutter.enter(state);
            cutter.remember(entry.code().into());
            if !cutter.starts_again(flash)? {
                return Ok(rest);
            }
            let boot = self.nordic.boot(&mut Controller::new(flash, cutter), &mut entry)?;
            state.stage = Stage::Runs;
            cutter.enter(state);
            cutter.tell(|| told(&boot));
            self.judge(&boot, flash, &mut state)?;
            cutter.enter(state);
            if boot.outcome == Outcome::Reset {
                continue;
            }
            cutter.started(flash)?;
            let done = state.acknowledged || state.installed && self.facts.kind == FwType::Application;
            match (&boot.outcome, done) {
                (Outcome::Application { .. }, true) if self.strict => {
                    return Err(Violation::new("revert", "the update stays, whatever it does").into());
                }
                (Outcome::Application { .. }, true) => (entry, rest) = (Entry::default(), "an application runs"),
                // The application is asked for DFU mode.
                (Outcome::Application { .. }, false) => entry = Entry { gpregret: DFU_START, ..Entry::default() },
                (_, true) => {
                    // The time without an upload is over.
                    rest = "DFU mode waits for an application";
                    entry = Entry::default();
                    let steps = self.nordic.settings_backup(flash);
                    run_steps(self.nordic.map(), &steps, &mut Controller::new(flash, cutter))
                        .map_err(|_| End::Interrupted)?;
                }
                (_, false) => {
                    let Package { init, image } = self.package;
                    entry = Entry::default();
                    let upload = Upload { nordic: self.nordic, init, image };
                    let mut ended = upload.run(flash, false, &mut state, cutter);
                    if let (Err(Ended::Refused(refusal)), false) = (&ended, self.strict) {
                        cutter.tell(|| format!("refused: {refusal}; the uploader begins anew"));
                        ended = upload.run(flash, true, &mut state, cutter);
                    }
                    match ended {
                        // The uploader sees that it is there already, and is done.
                        Err(Ended::Refused(Refusal::Extended(ExtendedError::FwVersionFailure))) if state.installed => {
                            state.acknowledged = true;
                        }
                        ended => ended?,
                    }
                }
            }
        }
    }
}
