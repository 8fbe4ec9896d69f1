//! A target that is updated over SMP as a [`Machine`].

use std::ops::Range;

use brickproof_flash_model::boot::mcuboot::{Mode, Pair, Slot};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::inspect;
use brickproof_flash_model::sweep::cutter::Reset;
use brickproof_flash_model::sweep::mcuboot::fields::{others, regions};
use brickproof_flash_model::sweep::{Cutter, End, FieldSpan, Machine, Region};
use brickproof_simulator::device::Board;
use brickproof_simulator::trace::Cause;
use sha2::{Digest, Sha256};

use super::fields;
use super::line::Line;
use super::script::Script;
use super::state::{Confirm, Image, Phase, State, violation};
use crate::initiator::policy::{Policy, Reporter, Truthful, WellBehaved};
use crate::initiator::update::Job;
use crate::scenario::{Task, TimingSpec};
use crate::target::Target;

/// What an initiator does about a device that lost its power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Again {
    /// It is gone, and is started again from the beginning.
    #[default]
    FromTheStart,
    /// It waits for the device and goes on as the server says; when it gives up, it is started again.
    GoesOn,
}

/// Who updates the target.
#[derive(Clone, Copy)]
pub struct Initiator<'p> {
    /// What it decides.
    pub policy: &'p dyn Policy,
    /// What it says.
    pub reporter: &'p dyn Reporter,
    /// What it does after a power loss.
    pub again: Again,
}

impl Default for Initiator<'_> {
    fn default() -> Self {
        Self { policy: &WellBehaved, reporter: &Truthful, again: Again::default() }
    }
}

/// The machine.
pub struct Upload<'p> {
    pub(super) board: Board,
    pub(super) initiator: Initiator<'p>,
    pub(super) job: Job,
    pub(super) script: Script,
    /// Of the old and the new image.
    pub(super) hashes: [[u8; 32]; 2],
    /// The mode has a way back.
    pub(super) reverts: bool,
    pub(super) untouched: u128,
    flash: Flash,
    fields: Vec<FieldSpan>,
    regions: Vec<Region>,
    /// Sectors outside of the slots.
    others: Vec<(u8, Range<usize>)>,
}

impl<'p> Upload<'p> {
    /// An update of `target` from `old` to `new`, whole image files that its bootloader accepts.
    ///
    /// The old image is installed as a factory does it ([`Target::mark_installed`]).
    ///
    /// # Errors
    /// What of the target is not swept: several images, hardware rollback protection; why the bootloader would not accept
    /// one of the images.
    pub fn new(target: &Target, old: &[u8], new: &[u8], initiator: Initiator<'p>) -> Result<Self, String> {
        let board = target.board(TimingSpec::default(), 1.0, Vec::new()).map_err(|mistake| mistake.to_string())?;
        let [pair] = board.mcuboot.pairs() else { return Err("an upload of several images is not swept".into()) };
        let options = board.mcuboot.options();
        if options.hardware_rollback_protection {
            return Err("security counters outside of the flash are not swept".into());
        }
        let load = |flash: &mut Flash, slot: Slot, image: &[u8]| {
            let loaded = flash.load(pair.area(slot), pair.upload_offset(slot), image);
            loaded.map_err(|error| format!("the image for the {slot} slot: {error}"))
        };
        let hash = |flash: &Flash, slot: Slot| {
            let verified = pair.verify(flash, slot).map_err(|error| format!("the image for the {slot} slot: {error}"))?;
            Ok::<_, String>(verified.hash)
        };
        let mut flash = board.layout.blank_flash();
        load(&mut flash, Slot::Primary, old)?;
        let mut uncut = Uncut;
        target
            .mark_installed(&mut Controller::new(&mut flash, &mut uncut), &board.mcuboot, None)
            .map_err(|error| error.to_string())?;
        let mut with_both = flash.clone();
        load(&mut with_both, Slot::Secondary, new)?;
        let hashes = [hash(&flash, Slot::Primary)?, hash(&with_both, Slot::Secondary)?];
                let regions = regions(pair);
        let mut upload = Self {
            job: Job {
                image: new.to_vec(),
                sha256: Sha256::digest(new).into(),
                tlv_hash: hashes[1],
                version: inspect(&new).ok().map(|info| info.header.version),
                task: Task::Update,
                number: None,
                further: Vec::new(),
            },
            script: Script::default(),
            hashes,
            reverts: !matches!(options.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { revert: false }),
            untouched: 0,
            fields: fields::all(pair, &[old, new], &regions),
            regions,
            others: others(pair, &flash),
            flash,
            initiator,
            board,
        };
        upload.untouched = upload.others(&upload.flash);
        upload.script = upload.record();
        Ok(upload)
    }

    fn pair(&self) -> &Pair {
        &self.board.mcuboot.pairs()[0]
    }

    /// A number for what is outside of the slots.
    pub(super) fn others(&self, flash: &Flash) -> u128 {
        let print = |(device, sectors): &(u8, Range<usize>)| {
            flash.devices().get(usize::from(*device)).map_or(0, |device| device.fingerprint(sectors.clone()))
        };
        self.others.iter().map(print).fold(0, |sum, print| sum.rotate_left(1) ^ print)
    }

    /// Whether the old image lies whole in a slot.
    pub(super) fn holds_old(&self, flash: &Flash, slot: Slot) -> bool {
        self.pair().verify(flash, slot).is_ok_and(|verified| verified.hash == self.hashes[0])
    }

    /// The update without a power loss.
    fn record(&self) -> Script {
        let state = State::begin();
        let mut cutter = Cutter::replay(None, state);
        let mut line = Line::new(self, &mut cutter, self.flash.clone(), state);
        line.record = Some(Script::default());
        let _ = line.start(Cause::PowerOn).and_then(|()| line.update(None));
        line.record.unwrap_or_default()
    }

    /// From power-on to rest; what ends it before is an error here.
    fn story(&self, line: &mut Line<'_, '_>) -> Result<&'static str, End> {
        let mut open = self.script.open(line.state.waiting);
        line.enter(State { phase: Phase::Start, ..line.state });
        line.start(Cause::PowerOn)?;
        if !line.state.reported {
            let mut begun = Vec::new();
            let mut said = String::new();
            loop {
                if open.is_none() {
                    let here = line.fingerprint();
                    if begun.contains(&here) {
                        return Err(End::Violation(violation("update", &said)));
                    }
                    begun.push(here);
                    line.enter(State { phase: Phase::Start, waiting: Phase::Look, ..line.state });
                }
                let report = line.update(open.take())?;
                match (report.success, line.runs()) {
                    (true, Some(Image::New)) => break,
                    (true, _) => {
                        let what = "success is reported, and the old image runs";
                        return Err(End::Violation(violation("report", what)));
                    }
                    (false, _) if line.state.confirm == Confirm::Done => {
                        let what = format!("the new image is confirmed, and it is said: {}", report.message);
                        return Err(End::Violation(violation("report", &what)));
                    }
                    (false, _) => said = report.message,
                }
            }
            line.enter(State { phase: Phase::Done, waiting: Phase::Look, reported: true, ..line.state });
        }
        loop {
            match line.reset()? {
                Reset::Idle => return Ok("the new image runs for good"),
                Reset::Again => return Err(End::Violation(violation("rest", "boots change flash for ever"))),
                Reset::New | Reset::Merged => line.start(Cause::SoftReset)?,
            }
        }
    }
}

impl Machine for Upload<'_> {
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

    fn run(&self, flash: &mut Flash, state: State, cutter: &mut Cutter<'_, State>) -> End {
        let mut line = Line::new(self, cutter, std::mem::replace(flash, Flash::new(Vec::new())), state);
        let end = self.story(&mut line).map_or_else(|end| end, End::Rest);
        *flash = line.into_flash();
        end
    }
}
