//! An MCUboot, an application and a story as a [`Machine`].
//!
//! The old image runs, and the new one lies in the other slot. The application asks for it; the device resets; the new
//! image runs, and does what the [`Story`] says; the device resets, until nothing changes any more. An application that
//! finds its request undone asks again, and uploads again when the slot was erased.
//!
//! | invariant | what must hold |
//! |---|---|
//! | `boots` | every boot that is not cut starts an image |
//! | `known-image` | it is the old or the new one, whole |
//! | `trial` | a request that was acknowledged is carried out: the new image runs before the old one does again |
//! | `revert` | a test image that was not confirmed is gone after the next reset |
//! | `confirmed` | a confirmed image stays |
//! | `request` | the application can ask for the update, and confirm it |
//! | `untouched` | what is outside of the slots does not change |
//! | `rest` | without further cuts, boots stop to change flash |
//!
#![doc = include_str!("../../../POWER-LOSS.md")]

pub mod fields;
pub mod known;
mod monitor;

pub use known::{Facts, Known};
pub use monitor::{Confirm, Image, State};

use fields::Others;

use super::{Cutter, End, Machine, Start, Violation};
use crate::boot::mcuboot::{Boot, Downgrade, Mcuboot, Mode, Outcome, Pair, RequestError, Slot};
use crate::flash::{Controller, Flash, FlashError, Uncut};

/// What the application does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Story {
    /// A test that is not confirmed: it must end where it began.
    #[default]
    TestThenRevert,
    /// A test that is confirmed.
    TestThenConfirm,
    /// A request for good.
    Permanent,
    /// A test whose image erases the other slot before anything is confirmed, as one does that takes the next upload.
    TestThenErase,
}

impl Story {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::TestThenRevert, Self::TestThenConfirm, Self::Permanent, Self::TestThenErase];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TestThenRevert => "test-then-revert",
            Self::TestThenConfirm => "test-then-confirm",
            Self::Permanent => "permanent",
            Self::TestThenErase => "test-then-erase",
        }
    }
}

/// How the old image came to its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Factory {
    /// As it is: the slot has no trailer.
    #[default]
    Bare,
    /// With magic and `image_ok`, as `imgtool sign --pad --confirm` makes it.
    Confirmed,
}

/// The machine.
#[derive(Debug)]
pub struct Update<'a> {
    mcuboot: &'a Mcuboot,
    start: Start<State>,
    story: Story,
    /// What an upload leaves: the new image in either slot, and nothing else.
    uploaded: Flash,
    hashes: [[u8; 32]; 2],
    facts: Facts,
    others: Others,
    recovers: bool,
}

impl<'a> Update<'a> {
    /// An update from `old` to `new`, whole image files, of image 0; `flash` is empty but for what is beside its slots.
    ///
    /// # Errors
    /// Why the bootloader would not accept one of them, or that it has security counters in the device: a power loss
    /// does not take them back, and they are no part of a node.
    pub fn new(
        mcuboot: &'a Mcuboot,
        mut flash: Flash,
        old: &[u8],
        new: &[u8],
        story: Story,
        factory: Factory,
    ) -> Result<Self, String> {
        can_be_swept(mcuboot, &flash)?;
        let pair = mcuboot.pair(0).ok_or("a bootloader without images")?;
        let load = |flash: &mut Flash, slot: Slot, image: &[u8]| {
            let loaded = flash.load(pair.area(slot), pair.upload_offset(slot), image);
            loaded.map_err(|error| format!("the {slot} image: {error}"))
        };
        let blank = flash.clone();
        load(&mut flash, Slot::Primary, old)?;
        load(&mut flash, Slot::Secondary, new)?;
        let mut uploaded = blank;
        for slot in Slot::ALL {
            let area = pair.area(slot);
            let erased = vec![pair.trailer(slot).erased_value(); area.len as usize];
            uploaded.load(area, 0, &erased).map_err(|error| error.to_string())?;
            load(&mut uploaded, slot, new)?;
        }
        let mode = mcuboot.options().mode;
        let mut uncut = Uncut;
        let mut controller = Controller::new(&mut flash, &mut uncut);
        let prepared = if mode == (Mode::DirectXip { revert: true }) {
            pair.set_next_direct_xip(&mut controller, Slot::Primary, true)
        } else if factory == Factory::Confirmed {
            let trailer = pair.trailer(Slot::Primary);
            let written = trailer.write_magic(&mut controller).and_then(|()| trailer.write_image_ok(&mut controller));
            written.map_err(RequestError::from)
        } else {
            Ok(())
        };
        prepared.map_err(|error| error.to_string())?;
        let verify = |slot: Slot| pair.verify(&flash, slot).map_err(|error| format!("the {slot} image: {error}"));
        let images = [verify(Slot::Primary)?, verify(Slot::Secondary)?];
        let sector = flash.devices()[usize::from(pair.area(Slot::Primary).device)].geometry().sectors()[0].size;
        Ok(Self {
            mcuboot,
            hashes: images.map(|image| image.hash),
            facts: Facts {
                mode,
                story,
                sectors: images.map(|image| image.total_len.div_ceil(sector)),
                downgrade_prevention: mcuboot.options().downgrade != Downgrade::Allowed,
                several: mcuboot.pairs().len() > 1,
            },
            story,
            uploaded,
            others: Others::of(pair, &flash),
            start: Start {
                state: State::begin(),
                fields: fields::fields(pair, &[old, new]),
                regions: fields::regions(pair),
                flash,
            },
            recovers: false,
        })
    }

    /// A device whose bootloader runs a recovery when no image can be started.
    #[must_use]
    pub fn with_recovery(mut self, recovers: bool) -> Self {
        self.recovers = recovers;
        self
    }

    /// What a [`Known`] property may depend on.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// The slot that begins here.
    fn slot(&self, offset: u32) -> Slot {
        if offset == self.pair().area(Slot::Primary).offset { Slot::Primary } else { Slot::Secondary }
    }

    fn pair(&self) -> &Pair {
        &self.mcuboot.pairs()[0]
    }

    /// What the running image does.
    fn act(
        &self,
        image: Image,
        slot: Slot,
        flash: &mut Flash,
        state: &mut State,
        cutter: &mut Cutter<'_, State>,
    ) -> Result<(), RequestError> {
        match image {
            Image::Old if !state.requested => {
                cutter.tell(|| format!("{}; it asks for the update", image.runs()));
                // From here on it counts anew: the request may be durable before it is acknowledged.
                state.tried = false;
                cutter.enter(*state);
                self.request(slot, flash, cutter)?;
                state.requested = true;
            }
            Image::New if self.story == Story::TestThenConfirm && state.confirm != Confirm::Done => {
                cutter.tell(|| format!("{}; it confirms itself", image.runs()));
                state.confirm = Confirm::Begun;
                cutter.enter(*state);
                self.confirm(slot, flash, cutter)?;
                state.confirm = Confirm::Done;
            }
            Image::New if self.story == Story::TestThenErase && !state.erasing => {
                cutter.tell(|| format!("{}; it erases the other slot", image.runs()));
                state.erasing = true;
                cutter.enter(*state);
                self.erase(other(slot), flash, cutter)?;
            }
            Image::Old | Image::New => cutter.tell(|| image.runs().into()),
        }
        Ok(())
    }

    fn request(&self, slot: Slot, flash: &mut Flash, cutter: &mut Cutter<'_, State>) -> Result<(), RequestError> {
        let (pair, update) = (self.pair(), other(slot));
        if !pair.verify(flash, update).is_ok_and(|verified| verified.hash == self.hashes[1]) {
            self.upload(update, flash);
            cutter.changed();
        }
        let permanent = self.story == Story::Permanent;
        let ask = |flash: &mut Flash, cutter: &mut Cutter<'_, State>| {
            let mut controller = Controller::new(flash, cutter);
            match self.mcuboot.options().mode {
                Mode::DirectXip { revert: false } => Ok(()),
                Mode::DirectXip { revert: true } => pair.set_next_direct_xip(&mut controller, update, permanent),
                _ => pair.set_next(&mut controller, update, false, permanent),
            }
        };
        match ask(flash, cutter) {
            // The slot is in no state to be asked for: it is uploaded again.
            Err(RequestError::BadImage) => {
                self.upload(update, flash);
                cutter.changed();
                ask(flash, cutter)
            }
            asked => asked,
        }
    }

    fn confirm(&self, slot: Slot, flash: &mut Flash, cutter: &mut Cutter<'_, State>) -> Result<(), RequestError> {
        let mut controller = Controller::new(flash, cutter);
        match self.mcuboot.options().mode {
            Mode::DirectXip { revert: false } => Ok(()),
            Mode::DirectXip { revert: true } => self.pair().set_next_direct_xip(&mut controller, slot, true),
            _ => self.pair().set_next(&mut controller, slot, true, true),
        }
    }

    /// Erases a slot, the first sector first.
    fn erase(&self, slot: Slot, flash: &mut Flash, cutter: &mut Cutter<'_, State>) -> Result<(), RequestError> {
        let mut controller = Controller::new(flash, cutter);
        for sector in self.pair().sectors(slot) {
            controller.erase(self.pair().area(slot), sector.offset, sector.size)?;
        }
        Ok(())
    }

    /// Erases a slot and puts the new image there, as an upload does that is not cut.
    fn upload(&self, slot: Slot, flash: &mut Flash) {
        flash.share(&self.uploaded, self.pair().area(slot));
    }
}

/// Refuses what a power loss does not take back, and what is therefore no part of a node (how worn the flash is, security
/// counters in the device), and a bootloader that could not install any update.
///
/// # Errors
/// What there is of it, and the remedy.
pub fn can_be_swept(mcuboot: &Mcuboot, flash: &Flash) -> Result<(), String> {
    let (what, remedy) = if mcuboot.options().hardware_rollback_protection {
        (
            "a bootloader with security counters in the device is not swept: a power loss does not take them back"
                .into(),
            "the same target without `downgrade-prevention = \"security-counter\"`",
        )
    } else if flash.devices().iter().any(|device| device.geometry().endurance().is_some()) {
        (
            "flash that wears out is not swept: any number of power losses wears out anything".into(),
            "the same layout without `endurance`",
        )
    } else if let Some(Err(reason)) = mcuboot.pair(0).map(Pair::slots_compatible) {
        (
            format!("this bootloader cannot install any update in these slots: {reason}"),
            "another mode, or another layout",
        )
    } else {
        return Ok(());
    };
    Err(format!("{what}\n  remedy: {remedy}"))
}

/// A boot in a line.
#[must_use]
pub fn told(boot: &Boot) -> String {
    let decisions: Vec<String> = boot.decisions.iter().map(ToString::to_string).collect();
    if decisions.is_empty() { "it has nothing to do".to_owned() } else { decisions.join("; ") }
}

fn other(slot: Slot) -> Slot {
    if slot == Slot::Primary { Slot::Secondary } else { Slot::Primary }
}

impl Machine for Update<'_> {
    type State = State;

    fn start(&self) -> &Start<State> {
        &self.start
    }

    fn story(&self, flash: &mut Flash, mut state: State, cutter: &mut Cutter<'_, State>) -> Result<&'static str, End> {
        let primary = self.pair().area(Slot::Primary).offset;
        let violation = |invariant, what: &str| Err(Violation::new(invariant, what).into());
        let mut running = Image::Old;
        loop {
            let mut offset = primary;
            if !std::mem::take(&mut state.begins) {
                if !cutter.starts_again(flash)? {
                    return Ok(running.runs());
                }
                let boot = self.mcuboot.boot(&mut Controller::new(flash, cutter))?;
                cutter.between(flash)?;
                if !self.others.are_untouched(flash) {
                    return violation("untouched", "flash outside of the slots has changed");
                }
                cutter.tell(|| told(&boot));
                match &boot.outcome {
                    Outcome::Boot { offset: at, hash, .. } => {
                        // A bootloader that does not validate has not looked at it.
                        let found = || self.pair().verify(flash, self.slot(*at)).ok().map(|verified| verified.hash);
                        (running, offset) = (state.judge(self.story, &self.hashes, hash.or_else(found))?, *at);
                    }
                    Outcome::NoBootableImage { .. } if self.recovers => return Ok("the recovery runs"),
                    Outcome::NoBootableImage { .. } => return violation("boots", "no image is valid: nothing boots"),
                    Outcome::Halt { reason } => return violation("boots", reason),
                }
            }
            cutter.enter(state);
            let slot = self.slot(offset);
            match self.act(running, slot, flash, &mut state, cutter) {
                Ok(()) => cutter.answer(flash, state)?,
                Err(RequestError::Flash(FlashError::Interrupted(interruption))) => return Err(interruption.into()),
                Err(RequestError::BadVector) if running == Image::New => {
                    return violation(
                        "request",
                        "the new image cannot confirm itself: the primary trailer has a bad magic",
                    );
                }
                Err(_) => return violation("request", "the application cannot ask for the update"),
            }
        }
    }
}
