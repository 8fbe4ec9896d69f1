//! One boot, step by step (nrf5 sdk 17.1: `nrf_bootloader.c`, `nrf_bootloader_init`).

use super::activate::Activated;
use super::report::{DfuReason, Unbootable};
use super::{
    BankCode, Boot, Decision, Dfu, FlashStep, MBR_SIZE, Nordic, Outcome, Profile, Refusal, ResultCode, Settings,
    SettingsSource, SoftdeviceInfo, ValidationKind,
};
use crate::flash::{Controller, FlashError, Interruption};

/// What a boot finds beside the flash. Flags that it has seen are cleared in it, as the bootloader clears them in its
/// registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry {
    /// `POWER.GPREGRET`.
    pub gpregret: u8,
    /// `POWER.GPREGRET2`.
    pub gpregret2: u8,
    /// The button is held.
    pub button: bool,
    /// `POWER.RESETREAS.RESETPIN`.
    pub pin_reset: bool,
    /// `POWER.RESETREAS.OFF`: the device wakes from System OFF.
    pub from_system_off: bool,
}

impl Entry {
    /// A number for it, below 2^19.
    #[must_use]
    pub fn code(&self) -> u32 {
        let bit = |flag: bool, at: u32| u32::from(flag) << at;
        u32::from(self.gpregret)
            | u32::from(self.gpregret2) << 8
            | bit(self.button, 16)
            | bit(self.pin_reset, 17)
            | bit(self.from_system_off, 18)
    }
}

/// Why straight-line bootloader code stops.
#[derive(Debug)]
pub(super) enum Stop {
    Interrupted(Interruption),
    /// An error that the C code hands to its error handler.
    Fault(String),
}

impl From<FlashError> for Stop {
    fn from(error: FlashError) -> Self {
        match error {
            FlashError::Interrupted(interruption) => Self::Interrupted(interruption),
            other => Self::Fault(other.to_string()),
        }
    }
}

/// The RAM of one boot.
pub(super) struct Run<'a> {
    pub(super) nordic: &'a Nordic,
    pub(super) settings: Settings,
    pub(super) decisions: Vec<Decision>,
}

impl Nordic {
    /// One boot from reset: the MBR, the bootloader, and what it starts.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it. Refused operations end in [`Outcome::Fault`].
    pub fn boot(&self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<Boot, Interruption> {
        let mut run = Run { nordic: self, settings: Settings::blank(self.options.profile), decisions: Vec::new() };
        let outcome = match run.boot(flash, entry) {
            Ok(outcome) => outcome,
            Err(Stop::Interrupted(interruption)) => return Err(interruption),
            Err(Stop::Fault(reason)) => Outcome::Fault { reason },
        };
        Ok(Boot { outcome, decisions: run.decisions, operations: flash.operations() })
    }
}

impl Run<'_> {
    fn boot(&mut self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<Outcome, Stop> {
        let options = *self.nordic.options();
        if !self.nordic.run_mbr(flash, &mut self.decisions)? {
            return Ok(Outcome::Brick { reason: "the bootloader area has no vectors".into() });
        }
        let source;
        (self.settings, source) = self.nordic.load(flash.flash())?;
        if source != SettingsSource::Both && (options.profile.has_backup() || source == SettingsSource::Nothing) {
            self.decisions.push(Decision::Settings(source));
        }
        if options.profile.has_backup() || source == SettingsSource::Nothing {
            self.write_and_backup(flash)?;
        }
        flash.checkpoint("boot: settings loaded", [entry.code(), 0, 0, 0])?;
        if options.update_from_app && self.settings.bank_current == 1 {
            self.take_from_application(flash)?;
        }
        let (reason, timeout_ms) = match self.activate(flash)? {
            Activated::CopyAsked => return Ok(Outcome::Reset),
            Activated::Done => {
                self.run_steps(flash, &self.nordic.settings_backup(flash.flash()))?;
                return Ok(Outcome::Reset);
            }
            Activated::MoreExpected => (DfuReason::MoreExpected, options.continuation_timeout_ms),
            Activated::Nothing => match self.reason_for_dfu(flash, entry)? {
                None => return self.start_application(flash, entry),
                Some(reason) => (reason, options.inactivity_timeout_ms),
            },
        };
        self.enter_dfu(flash, entry)?;
        Ok(Outcome::DfuMode { reason, timeout_us: u64::from(timeout_ms) * 1000 })
    }

    pub(super) fn write_and_backup(&mut self, flash: &mut Controller<'_>) -> Result<(), Stop> {
        let steps = self.nordic.settings_write_and_backup(&mut self.settings, flash.flash());
        self.run_steps(flash, &steps)
    }

    fn run_steps(&self, flash: &mut Controller<'_>, steps: &[FlashStep]) -> Result<(), Stop> {
        let map = self.nordic.map();
        for step in steps {
            step.run(map.whole(), map.page(), flash)?;
        }
        Ok(())
    }

    /// `postvalidate` of `nrf_bootloader.c`.
    fn take_from_application(&mut self, flash: &mut Controller<'_>) -> Result<(), Stop> {
        let mut dfu = Dfu::new(self.settings.clone());
        self.nordic.decode_stored(&mut dfu);
        let packet = dfu.init_valid.then(|| self.nordic.stored_packet(&dfu.settings)).flatten();
        let taken = packet.ok_or(Refusal::Code(ResultCode::InvalidObject)).and_then(|packet| {
            self.nordic.init_command_execute(&mut dfu, flash.flash())?;
            self.nordic.prevalidate(&packet, &dfu.settings, flash.flash())?;
            self.nordic.activation_prepare(&mut dfu, flash.flash())
        });
        self.decisions.push(Decision::FromApplication(taken));
        self.run_steps(flash, &std::mem::take(&mut dfu.steps))?;
        self.settings = dfu.settings;
        self.settings.bank_current = 0;
        self.write_and_backup(flash)
    }

    /// `dfu_enter_check`.
    fn reason_for_dfu(&mut self, flash: &Controller<'_>, entry: &mut Entry) -> Result<Option<DfuReason>, Stop> {
        let options = self.nordic.options();
        let checks_crc = self.crc_required(entry);
        if let Some(why) = self.unbootable(flash, checks_crc)? {
            return Ok(Some(DfuReason::NoApplication(why)));
        }
        let asked = if options.enter_by_button && entry.button {
            DfuReason::Button
        } else if options.enter_by_pin_reset && entry.pin_reset {
            DfuReason::PinReset
        } else if options.enter_by_gpregret && options.profile.gpregret_asks(entry.gpregret) {
            DfuReason::Gpregret(entry.gpregret)
        } else if options.enter_by_flag && self.settings.enter_buttonless_dfu == 1 {
            DfuReason::Flag
        } else {
            return Ok(None);
        };
        Ok(Some(asked))
    }

    /// `crc_on_valid_app_required`.
    fn crc_required(&mut self, entry: &mut Entry) -> bool {
        let options = self.nordic.options();
        if options.profile < Profile::V15_0 {
            return true;
        }
        if options.skip_crc_on_system_off && entry.from_system_off {
            entry.from_system_off = false;
        } else if options.skip_crc_on_gpregret2 && options.profile.gpregret2_asks(entry.gpregret2) {
            entry.gpregret2 &= !super::options::SKIP_CRC;
        } else {
            return true;
        }
        self.decisions.push(Decision::CrcSkipped);
        false
    }

    /// Why the application cannot be started (`app_is_valid`).
    fn unbootable(&self, flash: &Controller<'_>, checks_crc: bool) -> Result<Option<Unbootable>, Stop> {
        let (settings, options, map) = (&self.settings, self.nordic.options(), self.nordic.map());
        if settings.bank_0.code != BankCode::App {
            return Ok(Some(Unbootable::Bank(settings.bank_0.code)));
        }
        let start = self.nordic.bank_0_start(flash.flash())?;
        if options.profile <= Profile::V15_0 {
            // No boot validation; a CRC of 0 is none.
            let crc = settings.bank_0.image_crc;
            let holds = crc == 0 || !checks_crc || map.crc32(flash.flash(), start, settings.bank_0.image_size)? == crc;
            return Ok((!holds).then_some(Unbootable::Application(Some(ValidationKind::Crc))));
        }
        let app = &settings.boot_validation_app;
        if options.app_signature_check_required && app.kind != ValidationKind::EcdsaP256Sha256.number() {
            return Ok(Some(Unbootable::NotSigned));
        }
        let skipped = |kind: u8| !checks_crc && kind == ValidationKind::Crc.number();
        let softdevice = &settings.boot_validation_softdevice;
        if SoftdeviceInfo::installed(map, flash.flash())?.is_some()
            && !skipped(softdevice.kind)
            && !self.nordic.boot_validate(softdevice, MBR_SIZE, settings.sd_size, flash.flash())?
        {
            return Ok(Some(Unbootable::Softdevice(ValidationKind::of(softdevice.kind))));
        }
        if !skipped(app.kind) && !self.nordic.boot_validate(app, start, settings.bank_0.image_size, flash.flash())? {
            return Ok(Some(Unbootable::Application(ValidationKind::of(app.kind))));
        }
        Ok(None)
    }

    fn start_application(&mut self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<Outcome, Stop> {
        let steps = self.nordic.additional_erase(&self.settings);
        if !steps.is_empty() {
            self.decisions.push(Decision::AdditionalErased);
        }
        self.run_steps(flash, &steps)?;
        self.run_steps(flash, &self.nordic.settings_backup(flash.flash()))?;
        if self.nordic.options().profile == Profile::V14_2 {
            entry.gpregret = 0;
        }
        let start = self.nordic.bank_0_start(flash.flash())?;
        let size = self.settings.bank_0.image_size;
        let hash = self.nordic.map().sha256(flash.flash(), start, size)?;
        Ok(Outcome::Application { start, size, hash, version: self.settings.app_version })
    }

    /// `dfu_enter_flags_clear`, `nrf_dfu_init`.
    fn enter_dfu(&mut self, flash: &mut Controller<'_>, entry: &mut Entry) -> Result<(), Stop> {
        let options = self.nordic.options();
        if options.enter_by_pin_reset {
            entry.pin_reset = false;
        }
        if options.enter_by_gpregret {
            entry.gpregret = options.profile.gpregret_cleared(entry.gpregret);
        }
        if options.enter_by_flag && self.settings.enter_buttonless_dfu == 1 {
            self.settings.enter_buttonless_dfu = 0;
            let steps = self.nordic.settings_write(&mut self.settings, flash.flash());
            self.run_steps(flash, &steps)?;
        }
        if options.ble && SoftdeviceInfo::installed(self.nordic.map(), flash.flash())?.is_none() {
            return Err(Stop::Fault("there is no SoftDevice, and DFU mode needs its radio".into()));
        }
        match self.nordic.start(flash.flash()) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(Stop::Fault(format!("the stored init packet is refused: {refusal}"))),
        }
    }
}
