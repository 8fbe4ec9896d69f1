//! A wire to a device that may lose its power at any flash operation.

use std::collections::VecDeque;
use std::future::pending;
use std::hash::{DefaultHasher, Hasher};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use brickproof_flash_model::boot::mcuboot::Slot;
use brickproof_flash_model::flash::{Flash, Hook, Step};
use brickproof_flash_model::sweep::cutter::Reset;
use brickproof_flash_model::sweep::mcuboot::{Confirm, Image, told};
use brickproof_flash_model::sweep::{Cutter, End, Violation};
use brickproof_simulator::device::{Battery, Device, Persistent, Started, power_on};
use brickproof_simulator::smp::{Command, Field, Op, SmpMessage};
use brickproof_simulator::trace::{Cause, InitiatorEvent};

use super::Upload;
use super::script::Script;
use super::state::{Phase, State};
use crate::initiator::update::{self, Job, Report};
use crate::initiator::wire::Wire;
use crate::scenario::Task;

/// The device, whether it has power or not.
enum Supply {
    Off(Persistent),
    /// With the image that runs.
    On(Box<Device>, Image),
}

impl Supply {
    fn flash(&self) -> &Flash {
        match self {
            Self::Off(persistent) => &persistent.flash,
            Self::On(device, _) => &device.persistent().flash,
        }
    }
}

/// A device and what is on its way to an initiator.
pub(super) struct Line<'a, 's> {
    upload: &'a Upload<'a>,
    cutter: &'a mut Cutter<'s, State>,
    pub(super) state: State,
    supply: Option<Supply>,
    answers: VecDeque<Vec<u8>>,
    now_us: u64,
    /// All that this start of the initiator was told.
    told: DefaultHasher,
    /// Numbers of the next request and of the first one without an answer of a script.
    scripted: Option<(usize, usize)>,
    pub(super) record: Option<Script>,
    ended: Option<End>,
}

impl<'a, 's> Line<'a, 's> {
    pub(super) fn new(upload: &'a Upload<'a>, cutter: &'a mut Cutter<'s, State>, flash: Flash, state: State) -> Self {
        Self {
            upload,
            cutter,
            state,
            supply: Some(Supply::Off(Persistent::new(flash))),
            answers: VecDeque::new(),
            now_us: 0,
            told: DefaultHasher::new(),
            scripted: None,
            record: None,
            ended: None,
        }
    }

    pub(super) fn into_flash(self) -> Flash {
        match self.supply {
            Some(Supply::Off(persistent)) => persistent.flash,
            Some(Supply::On(device, _)) => device.power_off().flash,
            None => Flash::new(Vec::new()),
        }
    }

    /// A number for the flash and what the device keeps in RAM.
    pub(super) fn fingerprint(&self) -> (u128, u64) {
        let flash = self.supply.as_ref().map_or(0, |supply| supply.flash().fingerprint());
        let volatile = match &self.supply {
            Some(Supply::On(device, _)) => device.volatile(),
            _ => 0,
        };
        (flash, volatile)
    }

    /// The image that runs.
    pub(super) fn runs(&self) -> Option<Image> {
        match &self.supply {
            Some(Supply::On(_, image)) => Some(*image),
            _ => None,
        }
    }

    /// From here on a power loss leaves this state.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.cutter.enter(state);
    }

    /// What was asked for is done: power may be lost before that is known, and from here on it leaves this state.
    pub(super) fn answer(&mut self, state: State) -> Result<(), End> {
        let Some(supply) = &self.supply else { return Err(End::Interrupted) };
        self.cutter.answer(supply.flash(), state)?;
        self.state = state;
        Ok(())
    }

    /// Starts the device: the bootloader, and the image that it finds.
    pub(super) fn start(&mut self, cause: Cause) -> Result<(), End> {
        let persistent = match self.supply.take() {
            Some(Supply::Off(persistent)) => persistent,
            Some(Supply::On(device, _)) => device.power_off(),
            None => return Err(End::Interrupted),
        };
        let upload = self.upload;
        self.cutter.tell(|| "the bootloader starts".into());
        let (supply, outcome, other) = match power_on(&upload.board, persistent, cause, 0, self.cutter) {
            Started::Interrupted(persistent, _) => {
                self.supply = Some(Supply::Off(persistent));
                return Err(End::Interrupted);
            }
            Started::Dead(persistent, boot) | Started::Resets(persistent, boot) => {
                let Some(boot) = boot.into_mcuboot() else { return Err(End::Interrupted) };
                self.cutter.tell(|| told(&boot));
                (Supply::Off(persistent), boot.outcome, Slot::Secondary)
            }
            Started::Running(device, boot) => {
                let Some(boot) = boot.into_mcuboot() else { return Err(End::Interrupted) };
                self.cutter.tell(|| told(&boot));
                let primary = device.running_slot() == Slot::Primary;
                let other = if primary { Slot::Secondary } else { Slot::Primary };
                (Supply::On(Box::new(device), Image::Old), boot.outcome, other)
            }
        };
        let supply = self.supply.insert(supply);
        let flash = supply.flash();
        self.cutter.started(flash)?;
        if !upload.others.are_untouched(flash) {
            return Err(Violation::new("untouched", "flash outside of the slots has changed").into());
        }
        let image = self.state.judge(&upload.hashes, &outcome)?;
        let unconfirmed = image == Image::New && self.state.confirm == Confirm::No && !self.state.reported;
        if unconfirmed && upload.reverts && !upload.holds_old(flash, other) {
            let what = "the new image runs unconfirmed, and the old one is not there any more";
            return Err(Violation::new("way-back", what).into());
        }
        if let Supply::On(_, runs) = supply {
            *runs = image;
        }
        self.cutter.enter(self.state);
        self.cutter.tell(|| image.runs().into());
        Ok(())
    }

    /// The device resets because it was asked to.
    pub(super) fn reset(&mut self) -> Result<Reset, End> {
        let Some(Supply::On(device, _)) = &self.supply else { return Err(End::Interrupted) };
        let reset = self.cutter.reset(&device.persistent().flash);
        if reset == Reset::Merged { Err(End::Interrupted) } else { Ok(reset) }
    }

    /// Runs the initiator, from its beginning or from where it waits for this answer of a script.
    pub(super) fn update(&mut self, job: &Job, waits_for: Option<usize>) -> Result<Report, End> {
        self.told = DefaultHasher::new();
        // Two tasks are two initiators.
        self.told.write_u8(u8::from(job.task == Task::EraseAndUpdate));
        self.answers.clear();
        self.scripted = waits_for.map(|open| (0, open));
        self.cutter.tell(|| match waits_for {
            Some(_) => "the initiator waits for an answer, and goes on".into(),
            None => "the initiator is started".into(),
        });
        self.now_us = 0;
        let upload = self.upload;
        let polled = {
            let run = pin!(update::run(self, job, upload.initiator.policy));
            run.poll(&mut Context::from_waker(Waker::noop()))
        };
        self.cutter.remember(0);
        match polled {
            Poll::Ready(report) => {
                let report = upload.initiator.reporter.report(report);
                let what = if report.success { "success" } else { "failure" };
                self.cutter.tell(|| format!("the initiator reports {what}: {}", report.message));
                Ok(report)
            }
            Poll::Pending => Err(self.ended.take().unwrap_or(End::Interrupted)),
        }
    }

    /// What the initiator and the device know beside the flash.
    fn known(&self) -> u64 {
        let mut known = self.told.clone();
        if let Some(Supply::On(device, _)) = &self.supply {
            known.write_u64(device.volatile());
        }
        known.finish()
    }

    fn handle(&mut self, packet: &[u8]) -> Result<(), End> {
        let phase = self.upload.phase(packet, self.state.phase);
        if let Some(record) = &mut self.record {
            record.note_request(phase, packet);
        }
        let mut state = self.state;
        if state.phase != phase {
            self.cutter.tell(|| format!("  {}", phase.words()));
        }
        state.phase = phase;
        if self.upload.initiator.again == super::Again::GoesOn {
            state.waiting = if self.upload.script.open(phase).is_some() { phase } else { Phase::Look };
        }
        // Without a hash the image that runs is meant.
        let confirms = phase == Phase::Confirm && self.runs() == Some(Image::New);
        if confirms && state.confirm == Confirm::No {
            state.confirm = Confirm::Begun;
        }
        self.answer(state)?;
        self.cutter.remember(self.known());
        let upload = self.upload;
        let Some(Supply::On(device, _)) = &mut self.supply else { return Err(End::Interrupted) };
        let step = Step { name: "request", status: [0; 4] };
        if self.cutter.checkpoint(&step, &device.persistent().flash).is_some() {
            return Err(End::Interrupted);
        }
        let answer = device
            .handle(&upload.board, Battery::default(), self.now_us, packet, self.cutter)
            .map_err(|_| End::Interrupted)?;
        if confirms && answer.packets.first().is_some_and(|packet| succeeds(packet)) {
            self.answer(State { confirm: Confirm::Done, ..self.state })?;
        }
        self.answers.extend(answer.packets);
        if answer.reset {
            self.cutter.remember(self.known());
            self.reset()?;
            self.start(Cause::SoftReset)?;
        }
        Ok(())
    }
}

fn succeeds(packet: &[u8]) -> bool {
    SmpMessage::parse(packet).failure().is_none()
}

impl Wire for Line<'_, '_> {
    async fn send(&mut self, packet: Vec<u8>) {
        self.told.write(&packet);
        if let Some((next, open)) = self.scripted {
            let answer = self.upload.script.answer(next, &packet);
            if next < open
                && let Some(answer) = answer
            {
                self.scripted = Some((next + 1, open));
                self.answers.push_back(answer.to_vec());
            } else {
                // This one is not answered: power was lost.
                self.scripted = None;
            }
            return;
        }
        if let Err(end) = self.handle(&packet) {
            self.ended = Some(end);
            pending::<()>().await;
        }
    }

    async fn receive(&mut self, timeout_us: u64) -> Option<Vec<u8>> {
        if let Some(answer) = self.answers.pop_front() {
            self.told.write(&answer);
            if let Some(record) = &mut self.record {
                record.note_answer(&answer);
            }
            return Some(answer);
        }
        self.sleep(timeout_us).await;
        None
    }

    async fn sleep(&mut self, us: u64) {
        self.now_us += us;
        self.told.write_u64(self.now_us);
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    fn note(&mut self, _: InitiatorEvent) {}
}

impl Upload<'_> {
    /// What the initiator is at when it sends this.
    fn phase(&self, packet: &[u8], before: Phase) -> Phase {
        let message = SmpMessage::parse(packet);
        let number = |key: &str| message.body.get(key).and_then(Field::number);
        match message.known() {
            Some(Command::ImageUpload) => {
                let len = message.body.get("data").and_then(Field::bytes_sha256).map_or(0, |(len, _)| len as i64);
                match number("off") {
                    Some(0) | None => Phase::FirstChunk,
                    Some(off) if off + len >= self.job.image.len() as i64 => Phase::LastChunk,
                    Some(_) => Phase::Chunks,
                }
            }
            Some(Command::ImageState) if message.op == Op::Write.number() => {
                let confirms = message.body.get("confirm").and_then(Field::boolean) == Some(true);
                let by_hash = message.body.contains_key("hash");
                if confirms && !by_hash { Phase::Confirm } else { Phase::Mark }
            }
            Some(Command::Reset) => Phase::Reset,
            _ if before == Phase::Start => Phase::Look,
            _ => before,
        }
    }
}
