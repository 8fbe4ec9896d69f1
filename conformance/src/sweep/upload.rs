//! A target that is updated over SMP as a [`Machine`].
//!
//! A run begins when power comes back. The bootloader runs, then the image that it found, with its server; the built-in
//! initiator updates it, with all resets that this takes. An initiator that reports a failure is started again; when it
//! fails twice from the same state, that is a violation. After its success the device resets until nothing changes any
//! more. Power is cut at each flash operation of server and bootloader, and between a boot and the start of its image.
//!
//! | invariant | what must hold |
//! |---|---|
//! | `boots` | every boot that is not cut starts an image |
//! | `known-image` | it is the old or the new one, whole |
//! | `way-back` | where the mode has a way back: while the new image runs unconfirmed, the old one lies whole in the other slot |
//! | `confirmed` | once a confirmation was acknowledged, the new image runs |
//! | `update` | the initiator, started again, succeeds |
//! | `report` | what it reports is true, and stays true |
//! | `untouched` | what is outside of the slots does not change |
//! | `rest` | without further cuts, resets stop to change flash |
//!
//! # What survives
//!
//! The flash, and [`State`]. The RAM of the server does not: an upload that was under way is forgotten (`Server::new` has
//! none), and every chunk of it but a first one is answered with offset 0 and changes nothing (`Action::Ignore`).
//!
//! # An initiator that is not started again
//!
//! [`Again::FromTheStart`] and [`Again::GoesOn`] are two machines, because they are not the same seen from the flash: who
//! begins anew looks first, and marks an image that lies there already; who goes on after the loss of its link sends the
//! chunk again that was not answered, is told offset 0, and uploads what may lie there already. So the second is run as it
//! is: it is brought by the answers of an update without a cut to the request that had no answer ([`Phase`]), and goes on
//! with the device that has started again.
//!
//! * Which chunk it was makes no difference to flash: whatever its offset, it is ignored. The second one stands for all.
//! * How often it has been patient is not carried over a cut: it never gives up because of those before. One that does is
//!   one that is started again.
//! * Power is back when the request times out. Were it not, the initiator would call the device, which changes nothing, and
//!   send a first chunk, which is what offset 0 leads to as well.
//! * Before the first chunk it has only read: there it is the same as one that is started again.
//!
//! # Merging
//!
//! A run is merged at each request and at each reset, where flash and [`State`] are what they were in another run, and a
//! number for all else is, too: for what the server has in RAM ([`Device::volatile`]), and for all that the initiator was
//! told since its start (packets, and the time that it let pass). The initiator is a function of that, and of what is the
//! same for all runs. The number is 0 while a device starts after a power loss, when nobody knows anything.
//!
//! [`Device::volatile`]: brickproof_simulator::device::Device::volatile

use brickproof_flash_model::boot::mcuboot::{Downgrade, Mode, Pair, Slot};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};
use brickproof_flash_model::image::mcuboot::inspect;
use brickproof_flash_model::sweep::cutter::Reset;
use brickproof_flash_model::sweep::mcuboot::fields::{Others, regions};
use brickproof_flash_model::sweep::mcuboot::{Confirm, Facts, Image, Story, can_be_swept};
use brickproof_flash_model::sweep::{Cutter, End, Machine, Start, Violation};
use brickproof_simulator::device::Board;
use brickproof_simulator::trace::Cause;
use sha2::{Digest, Sha256};

use super::fields;
use super::line::Line;
use super::script::Script;
use super::state::{Phase, State};
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
    /// What fails is tried once more with an erase of the slot before the upload ([`Task::EraseAndUpdate`]).
    pub erases: bool,
}

impl Default for Initiator<'_> {
    fn default() -> Self {
        Self { policy: &WellBehaved, reporter: &Truthful, again: Again::default(), erases: false }
    }
}

/// The machine.
pub struct Upload<'p> {
    pub(super) board: Board,
    pub(super) initiator: Initiator<'p>,
    pub(super) job: Job,
    /// The same with an erase before it.
    with_erase: Job,
    facts: Facts,
    pub(super) script: Script,
    /// Of the old and the new image.
    pub(super) hashes: [[u8; 32]; 2],
    /// The mode has a way back.
    pub(super) reverts: bool,
    start: Start<State>,
    pub(super) others: Others,
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
        let Some(mcuboot) = board.mcuboot() else { return Err("only uploads to MCUboot are swept".into()) };
        let [pair] = mcuboot.pairs() else { return Err("an upload of several images is not swept".into()) };
        let options = mcuboot.options();
        can_be_swept(mcuboot, &board.layout.blank_flash())?;
        let load = |flash: &mut Flash, slot: Slot, image: &[u8]| {
            let loaded = flash.load(pair.area(slot), pair.upload_offset(slot), image);
            loaded.map_err(|error| format!("the image for the {slot} slot: {error}"))
        };
        let hash = |flash: &Flash, slot: Slot| {
            let verified =
                pair.verify(flash, slot).map_err(|error| format!("the image for the {slot} slot: {error}"))?;
            Ok::<_, String>(verified.hash)
        };
        let mut flash = board.layout.blank_flash();
        load(&mut flash, Slot::Primary, old)?;
        let mut uncut = Uncut;
        target
            .mark_installed(&mut Controller::new(&mut flash, &mut uncut), mcuboot, None)
            .map_err(|error| error.to_string())?;
        let mut with_both = flash.clone();
        load(&mut with_both, Slot::Secondary, new)?;
        let hashes = [hash(&flash, Slot::Primary)?, hash(&with_both, Slot::Secondary)?];
        let regions = regions(pair);
        let sector = pair.sectors(Slot::Primary).first().map_or(1, |sector| sector.size);
        let sectors = [old, new].map(|image| (image.len() as u32).div_ceil(sector));
        let job = Job {
            image: new.to_vec(),
            sha256: Sha256::digest(new).into(),
            tlv_hash: hashes[1],
            version: inspect(&new).ok().map(|info| info.header.version),
            task: Task::Update,
            number: None,
            further: Vec::new(),
        };
        let mut upload = Self {
            with_erase: Job { task: Task::EraseAndUpdate, ..job.clone() },
            job,
            facts: Facts {
                mode: options.mode,
                story: Story::TestThenConfirm,
                sectors,
                downgrade_prevention: options.downgrade != Downgrade::Allowed,
                several: false,
            },
            script: Script::default(),
            hashes,
            reverts: !matches!(options.mode, Mode::OverwriteOnly { .. } | Mode::DirectXip { revert: false }),
            others: Others::of(pair, &flash),
            start: Start { state: State::begin(), fields: fields::all(pair, &[old, new], &regions), regions, flash },
            initiator,
            board,
        };
        upload.script = upload.record();
        Ok(upload)
    }

    /// What a property that is known may depend on.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    fn pair(&self) -> &Pair {
        match self.board.mcuboot() {
            Some(mcuboot) => &mcuboot.pairs()[0],
            None => unreachable!("an upload is only made for MCUboot"),
        }
    }

    /// Whether the old image lies whole in a slot.
    pub(super) fn holds_old(&self, flash: &Flash, slot: Slot) -> bool {
        self.pair().verify(flash, slot).is_ok_and(|verified| verified.hash == self.hashes[0])
    }

    /// The update without a power loss.
    fn record(&self) -> Script {
        let Start { flash, state, .. } = &self.start;
        let mut cutter = Cutter::uncut(*state);
        let mut line = Line::new(self, &mut cutter, flash.clone(), *state);
        line.record = Some(Script::default());
        let _ = line.start(Cause::PowerOn).and_then(|()| line.update(&self.job, None));
        line.record.unwrap_or_default()
    }

    /// Starts the initiator again and again; `open` is the answer that it waits for when it goes on.
    fn until_success(&self, line: &mut Line<'_, '_>, mut open: Option<usize>) -> Result<(), End> {
        let mut begun = Vec::new();
        let mut erased = false;
        let mut job = &self.job;
        let mut said = String::new();
        loop {
            if open.is_none() {
                let here = line.fingerprint();
                if begun.contains(&here) {
                    if !self.initiator.erases || erased {
                        return Err(Violation::new("update", said).into());
                    }
                    (job, erased) = (&self.with_erase, true);
                }
                begun.push(here);
                line.enter(State { phase: Phase::Start, waiting: Phase::Look, ..line.state });
            }
            let report = line.update(job, open.take())?;
            match (report.success, line.runs()) {
                (true, Some(Image::New)) => return Ok(()),
                (true, _) => {
                    let what = "success is reported, and the old image runs";
                    return Err(Violation::new("report", what).into());
                }
                (false, _) if line.state.confirm == Confirm::Done => {
                    let what = format!("the new image is confirmed, and it is said: {}", report.message);
                    return Err(Violation::new("report", what).into());
                }
                (false, _) => said = report.message,
            }
            job = &self.job;
        }
    }

    /// From power-on to rest; what ends it before is an error here.
    fn update(&self, line: &mut Line<'_, '_>) -> Result<&'static str, End> {
        let open = self.script.open(line.state.waiting);
        line.enter(State { phase: Phase::Start, ..line.state });
        line.start(Cause::PowerOn)?;
        if !line.state.reported {
            self.until_success(line, open)?;
            line.answer(State { phase: Phase::Done, waiting: Phase::Look, reported: true, ..line.state })?;
        }
        loop {
            match line.reset()? {
                Reset::Idle => return Ok("the new image runs for good"),
                Reset::Again => return Err(Violation::new("rest", "boots change flash for ever").into()),
                Reset::New | Reset::Merged => line.start(Cause::SoftReset)?,
            }
        }
    }
}

impl Machine for Upload<'_> {
    type State = State;

    fn start(&self) -> &Start<State> {
        &self.start
    }

    /// The bootloader and a mark that is refused erase the whole slot, an upload only what the image needs of it.
    fn erased_stays_erased(&self, _device: u8, _offset: u32) -> bool {
        true
    }

    fn story(&self, flash: &mut Flash, state: State, cutter: &mut Cutter<'_, State>) -> Result<&'static str, End> {
        let mut line = Line::new(self, cutter, std::mem::replace(flash, Flash::new(Vec::new())), state);
        let ended = self.update(&mut line);
        *flash = line.into_flash();
        ended
    }
}
