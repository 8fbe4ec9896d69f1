//! A board of Nordic's: from its bootloader to what runs.

use brickproof_flash_model::boot::nordic::{Boot, Decision, Entry, Outcome};
use brickproof_flash_model::flash::{Controller, Flash, FlashError, Hook, Interruption};

use super::attributes::Attributes;
use super::program::{Input, Output, Surroundings};
use super::{Battery, Board, BootSummary, Booted, Device, NoDfuMode, Persistent, Program, RunningImage, Started};
use crate::gatt::Advertisement;
use crate::nordic::gatt::SECURE_SERVICE;
use crate::nordic::queue::Job;
use crate::nordic::{self, DfuMessage, Endpoint, NordicBoard, SharedBond};
use crate::trace::Cause;

/// Flags of what is for one central alone: BR/EDR is not supported, and no mode of discovery.
pub(super) const NOT_DISCOVERABLE: u8 = 0x04;

/// The bootloader runs, and then what it has chosen.
pub(super) fn power_on(
    board: &Board,
    own: &NordicBoard,
    mut persistent: Persistent,
    cause: Cause,
    now_us: u64,
    hook: &mut dyn Hook,
) -> Started {
    let mut entry = Entry {
        gpregret: persistent.retained.gpregret,
        gpregret2: persistent.retained.gpregret2,
        button: own.starts_in_dfu && persistent.boots == 1,
        pin_reset: cause == Cause::PinReset,
        ..Entry::default()
    };
    let boot = own.bootloader.boot(&mut Controller::new(&mut persistent.flash, hook), &mut entry);
    (persistent.retained.gpregret, persistent.retained.gpregret2) = (entry.gpregret, entry.gpregret2);
    let boot = match boot {
        Err(interruption) => return Started::Interrupted(persistent, interruption),
        Ok(boot) => boot,
    };
    match &boot.outcome {
        Outcome::Application { hash, version, .. } => {
            let behaviour = board.behaviour(Some(*hash));
            let image = Some(RunningImage { hash: Some(*hash), version: version.to_string(), behaviour });
            let program = Program::Nordic { image, program: Box::new(nordic::Program::application()) };
            Started::Running(Device { persistent, program }, Booted::Nordic(boot, None))
        }
        Outcome::DfuMode { .. } if own.demands_bond() && nordic::dfu_mode::shared(own, &persistent.flash).is_none() => {
            Started::Resets(persistent, Booted::Nordic(boot, Some(NoDfuMode::NoBond)))
        }
        Outcome::DfuMode { reason, timeout_us } => {
            let mut retained = persistent.retained;
            let around = Surroundings {
                flash: &persistent.flash,
                retained: &mut retained,
                battery: Battery::default(),
                now_us: now_us.saturating_add(board.start_us),
            };
            let timeout = (*timeout_us > 0).then_some(*timeout_us);
            match nordic::Program::dfu(own, reason.to_string(), timeout, &around) {
                Ok(program) => {
                    let program = Program::Nordic { image: None, program: Box::new(program) };
                    Started::Running(Device { persistent, program }, Booted::Nordic(boot, None))
                }
                // The error handler resets the device.
                Err(refusal) => Started::Resets(persistent, Booted::Nordic(boot, Some(NoDfuMode::InitPacket(refusal)))),
            }
        }
        Outcome::Reset => Started::Resets(persistent, Booted::Nordic(boot, None)),
        Outcome::Fault { .. } | Outcome::Brick { .. } => Started::Dead(persistent, Booted::Nordic(boot, None)),
    }
}

/// Whom a program takes on Bluetooth LE, and by which keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Everybody, by the keys of pairings, and it pairs.
    Everybody,
    /// DFU mode, or an AppLoader: it pairs with nobody, and has the keys of this bond, if of any.
    Shared {
        /// The bond.
        bond: Option<SharedBond>,
        /// Whether the central with that bond is the only one that can connect.
        only: bool,
    },
}

/// What a boot did, for people.
pub(super) fn summary(boot: &Boot, refused: Option<NoDfuMode>) -> BootSummary {
    let reason = match (&boot.outcome, refused) {
        (_, Some(NoDfuMode::InitPacket(refusal))) => {
            Some(format!("the stored init packet is refused in DFU mode: {refusal}"))
        }
        (_, Some(NoDfuMode::NoBond)) => Some("DFU mode demands a bond, and no application has shared one".into()),
        (Outcome::DfuMode { reason, .. }, None) => Some(reason.to_string()),
        (Outcome::Fault { reason } | Outcome::Brick { reason }, None) => Some(reason.clone()),
        (Outcome::Application { .. } | Outcome::Reset, None) => None,
    };
    BootSummary {
        decisions: boot.decisions.iter().map(ToString::to_string).collect(),
        swapped: boot.decisions.iter().find_map(|decision| match decision {
            Decision::Activate { code, .. } => Some(code.to_string()),
            _ => None,
        }),
        reason,
    }
}

impl Device {
    fn nordic(&self) -> Option<&nordic::Program> {
        match &self.program {
            Program::Nordic { program, .. } => Some(program),
            _ => None,
        }
    }

    fn nordic_mut(&mut self) -> Option<&mut nordic::Program> {
        match &mut self.program {
            Program::Nordic { program, .. } => Some(program),
            _ => None,
        }
    }

    /// Why the bootloader stays in DFU mode, if it does.
    #[must_use]
    pub fn dfu_mode(&self) -> Option<&str> {
        if let Some(program) = self.silabs() {
            return program.apploader_reason();
        }
        match self.legacy() {
            Some(program) => program.dfu_reason(),
            None => self.nordic()?.dfu_reason(),
        }
    }

    /// Tells a program that speaks by characteristics what happens; `before` is the flash as it was before the step of
    /// flash work that is under way.
    pub(crate) fn input(
        &mut self,
        board: &Board,
        input: Input<'_>,
        battery: Battery,
        now_us: u64,
        before: Option<&Flash>,
    ) {
        let flash = before.unwrap_or(&self.persistent.flash);
        let mut around = Surroundings { flash, retained: &mut self.persistent.retained, battery, now_us };
        let low = battery.percent < board.battery.threshold;
        if let (Program::Silabs { program, .. }, Some(own)) = (&mut self.program, board.as_silabs()) {
            return program.input(own, input, &mut around, low);
        }
        match (&mut self.program, board.as_nordic(), board.as_legacy()) {
            (Program::Nordic { program, .. }, Some(own), _) => program.input(own, input, &mut around, low),
            (Program::NordicLegacy { program, .. }, _, Some(own)) => program.input(own, input, &mut around, low),
            _ => {}
        }
    }

    pub(crate) fn take_output(&mut self) -> Option<Output> {
        if let Some(program) = self.silabs_mut() {
            return program.take_output();
        }
        match self.legacy_mut() {
            Some(program) => program.take_output(),
            None => self.nordic_mut()?.take_output(),
        }
    }

    /// When such a program wants to be told that its time has come, in microseconds.
    pub(crate) fn next_timer(&self) -> Option<u64> {
        if let Some(program) = self.silabs() {
            return program.next_timer();
        }
        match self.legacy() {
            Some(program) => program.next_timer(),
            None => self.nordic()?.next_timer(),
        }
    }

    pub(crate) fn has_flash_work(&self, board: &Board) -> bool {
        if let (Some(program), Some(own)) = (self.silabs(), board.as_silabs()) {
            return program.has_flash_work(own);
        }
        self.job().is_some()
    }

    fn job(&self) -> Option<&Job> {
        match self.legacy() {
            Some(program) => program.job(),
            None => self.nordic()?.job(),
        }
    }

    /// Does the step of flash work that is to be done now; whether the flash took it.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it.
    pub(crate) fn do_flash_work(&mut self, board: &Board, hook: &mut dyn Hook) -> Result<bool, Interruption> {
        if let (Program::Silabs { program, .. }, Some(own)) = (&mut self.program, board.as_silabs()) {
            let info = self.persistent.retained.reset_info;
            let mut flash = Controller::new(&mut self.persistent.flash, hook);
            return program.do_flash_work(own, &mut flash, info).map(|()| true);
        }
        let Some(job) = self.job() else { return Ok(true) };
        let Some(step) = job.step.clone() else { return Ok(false) };
        let map = match (board.as_nordic(), board.as_legacy()) {
            (Some(own), _) => own.bootloader.map(),
            (None, Some(own)) => own.bootloader.map(),
            (None, None) => return Ok(true),
        };
        let mut flash = Controller::new(&mut self.persistent.flash, hook);
        match step.run(map.whole(), map.page(), &mut flash) {
            Ok(()) => Ok(true),
            Err(FlashError::Interrupted(interruption)) => Err(interruption),
            Err(_) => Ok(false),
        }
    }

    /// What is written to a characteristic of its program, taken apart, and the name of the call.
    pub(crate) fn describe(&self, to: Endpoint, value: &[u8]) -> (DfuMessage, &'static str) {
        if let Some(program) = self.silabs() {
            return program.describe(to, value);
        }
        match (self.nordic(), self.legacy()) {
            (Some(program), _) => program.describe(to, value),
            (None, Some(program)) => program.describe(to, value),
            (None, None) => (DfuMessage::default(), ""),
        }
    }

    /// Whom its program takes.
    pub(crate) fn takes(&self) -> Takes {
        if self.silabs().is_some_and(|program| program.mode().is_some()) {
            return Takes::Shared { bond: None, only: false };
        }
        match (self.nordic().and_then(nordic::Program::mode), self.legacy_mode()) {
            (Some(mode), _) => {
                let bond = mode.bond().copied();
                Takes::Shared { bond, only: bond.is_some_and(|bond| bond.is_identified()) }
            }
            (None, Some(mode)) => Takes::Shared { bond: mode.peer(), only: mode.peer().is_some() },
            (None, None) => Takes::Everybody,
        }
    }

    /// What its program shows on the air, where that is not what the board shows.
    pub(crate) fn advertisement(&self, board: &Board) -> Option<Advertisement> {
        if self.silabs().is_some() {
            return self.apploader_advertisement(board);
        }
        self.dfu_mode()?;
        if self.legacy().is_some() {
            return self.legacy_advertisement(board);
        }
        let own = board.as_nordic()?;
        let usual = &board.peripheral.advertisement;
        let address = if own.dfu.next_address { usual.address.next_in_last_byte() } else { usual.address };
        let settings = own.bootloader.load(&self.persistent.flash).ok();
        let alone = matches!(self.takes(), Takes::Shared { only: true, .. });
        let text =
            settings.as_ref().and_then(|(settings, _)| settings.adv_name.text()).filter(|_| !own.dfu.requires_bonds);
        let name = text.map_or_else(|| own.dfu.name.clone(), |text| String::from_utf8_lossy(text).into_owned());
        Some(Advertisement {
            name: Some(name),
            services: vec![SECURE_SERVICE],
            flags: if alone { NOT_DISCOVERABLE } else { Advertisement::FLAGS },
            rssi: usual.rssi,
            ..Advertisement::new(address, usual.address_kind)
        })
    }

    /// The attributes of such a program.
    pub(crate) fn attributes(&self, board: &Board) -> Option<Attributes> {
        if self.legacy().is_some() {
            return self.legacy_attributes(board);
        }
        if self.silabs().is_some() {
            return self.silabs_attributes(board);
        }
        let (program, own) = (self.nordic()?, board.as_nordic()?);
        let version = self.image().map(|image| image.version.as_str());
        Some(Attributes::nordic(board, &program.serves(own), own.access(), version))
    }
}
