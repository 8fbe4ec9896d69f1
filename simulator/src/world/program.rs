//! Programs that speak by characteristics: what they hear, what they do, and their work on the flash.
//!
//! Such a program answers at once and leaves its flash work to a queue, which is worked off beside it, step by step.
//! A step has been done in the flash of the device when it begins, but takes its time: who reads the flash meanwhile, the
//! program and a power loss, sees the flash from before.

use std::collections::VecDeque;
use std::sync::Arc;

use brickproof_flash_model::flash::Interruption;

use super::hook::{CutAt, Timed};
use super::link::Asked;
use super::{Action, Machine, World};
use crate::device::program::{Input, Output, Saying};
use crate::device::{Device, Persistent};
use crate::gatt::{AttError, Properties};
use crate::nordic::{DfuMessage, Endpoint, calls};
use crate::trace::{Cause, Direction, EndedBy, FlashResult, Kind};

/// Values that are held back by a fault, both ways.
const LATE_MAX: usize = 1024;

/// A step of flash work under way.
pub(super) struct Step {
    /// What was there before it.
    pub(super) before: Persistent,
    started_at: u64,
    ends_at: u64,
    records: VecDeque<(u64, Kind)>,
    result: Result<bool, Interruption>,
    /// The fault that cuts it.
    fault: Option<usize>,
}

impl Step {
    pub(super) fn next_due(&self) -> u64 {
        self.records.front().map_or(self.ends_at, |(at, _)| *at).min(self.ends_at)
    }
}

/// Something that a fault holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Late {
    /// A write of this connection.
    Write { number: u64, to: Endpoint, value: Vec<u8>, record: u64 },
    /// A write request that the program answers itself.
    Asked { number: u64, request: u64, to: Endpoint, value: Vec<u8>, record: u64 },
    /// Its answer.
    Answer { asked: Asked, answer: Result<(), AttError> },
    /// What the program says.
    Saying { saying: Saying, record: u64 },
}

impl World {
    /// A characteristic of the program was written, or a frame has arrived: what comes of it; `record` shows how.
    pub(super) fn program_written(&mut self, number: u64, to: Endpoint, value: &[u8], record: u64) {
        let Machine::Running(device) = &self.machine else { return };
        let (message, name) = device.describe(to, value);
        let progress = device.upload(&self.board);
        if self.wants.messages {
            self.record_caused(Some(record), Kind::Dfu { direction: Direction::ToTarget, message });
        }
        let mut value = value.to_vec();
        if !self.faults.none_armed() {
            let mut struck = Vec::new();
            if let (Some((offset, size)), true) = (progress, calls::selects("packet", name)) {
                struck.extend(self.faults.at_upload(offset, size));
            }
            struck.extend(self.faults.at_call(name));
            for (id, action) in struck {
                self.fire(&id, &action);
                match action {
                    Action::LoseRequest => return,
                    Action::Reply(bytes) => {
                        let from = to.answered_by();
                        let indicated = from.properties().has(Properties::INDICATE);
                        let saying = Saying { from, value: bytes, call: name, indicated };
                        return self.say(&saying, Some(record));
                    }
                    Action::Stall { us } => {
                        let late = Late::Write { number, to, value: value.clone(), record };
                        return self.hold_back(us, late);
                    }
                    Action::DoubleRequest => self.tell_program(Input::Written { to, value: &value }, Some(record)),
                    Action::CorruptRequest { at, mask } => {
                        if let Some(byte) = value.get_mut(at) {
                            *byte ^= mask;
                        }
                    }
                    _ => {}
                }
                if !self.link || self.activity.is_some() || !matches!(self.machine, Machine::Running(_)) {
                    self.lost += 1;
                    return;
                }
            }
        }
        self.tell_program(Input::Written { to, value: &value }, Some(record));
    }

    pub(super) fn hold_back(&mut self, us: u64, late: Late) {
        if self.late.len() < LATE_MAX {
            self.late.push((self.now.saturating_add(us), late));
        }
    }

    /// When something that is held back is due.
    pub(super) fn late_due(&self) -> Option<u64> {
        self.late.iter().map(|(at, _)| *at).min()
    }

    /// Lets go of one thing whose time has come; `false` when there is none.
    pub(super) fn step_late(&mut self) -> bool {
        let now = self.now;
        let due = |(_, (at, _)): &(usize, &(u64, Late))| *at <= now;
        let first = self.late.iter().enumerate().filter(due).min_by_key(|(index, (at, _))| (*at, *index));
        let Some(index) = first.map(|(index, _)| index) else { return false };
        match self.late.remove(index).1 {
            Late::Write { number, to, value, record } => {
                if self.link_is_alive(number) {
                    self.tell_program(Input::Written { to, value: &value }, Some(record));
                }
            }
            Late::Asked { number, request, to, value, record } => {
                if self.link_is_alive(number) {
                    self.tell_program(Input::Asked { request, to, value: &value }, Some(record));
                }
            }
            Late::Answer { asked, answer } => {
                if self.link_is_alive(asked.number) {
                    self.send_answer(asked, answer);
                }
            }
            Late::Saying { saying, record } => self.say(&saying, Some(record)),
        }
        true
    }

    /// Tells the program that runs something, and carries out what it says.
    pub(super) fn tell_program(&mut self, input: Input<'_>, cause: Option<u64>) {
        if self.activity.is_some() {
            return;
        }
        let board = Arc::clone(&self.board);
        let (now, battery) = (self.now, self.battery);
        let Machine::Running(device) = &mut self.machine else { return };
        let before = self.step.as_ref().map(|step| &step.before.flash);
        device.input(&board, input, battery, now, before);
        self.pump(cause);
    }

    /// Carries out what the program says, and goes on with its flash work.
    pub(super) fn pump(&mut self, cause: Option<u64>) {
        loop {
            if self.activity.is_some() {
                return;
            }
            let Machine::Running(device) = &mut self.machine else { return };
            if let Some(output) = device.take_output() {
                self.carry_out(output, cause);
            } else if self.step.is_none() && device.has_flash_work(&self.board) {
                self.begin_step();
            } else if self.step.as_ref().is_some_and(|step| step.next_due() <= self.now) {
                self.go_on_with_step();
            } else {
                return;
            }
        }
    }

    fn begin_step(&mut self) {
        let board = Arc::clone(&self.board);
        let fault = self.faults.at_flash_step();
        let cut = fault.map(|(_, n, tear)| CutAt::Operation { n, tear });
        let mut timed = Timed::new(&board, board.timing, self.now, cut, self.wants.flash);
        let Machine::Running(device) = &mut self.machine else { return };
        let before = device.persistent().clone();
        let result = device.do_flash_work(&board, &mut timed);
        self.faults.flash_operations(timed.operations);
        self.step = Some(Step {
            before,
            started_at: self.now,
            ends_at: timed.now,
            records: timed.records.into(),
            result,
            fault: fault.map(|(index, ..)| index),
        });
    }

    /// Releases what of the step is due, and ends it when its time has come.
    fn go_on_with_step(&mut self) {
        let Some(mut step) = self.step.take() else { return };
        while step.records.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((at, kind)) = step.records.pop_front() {
                let now = std::mem::replace(&mut self.now, at);
                self.record(kind);
                self.now = now;
            }
        }
        if step.ends_at > self.now {
            self.step = Some(step);
            return;
        }
        match (step.result, step.fault) {
            (Ok(done), _) => {
                let board = Arc::clone(&self.board);
                let (now, battery) = (self.now, self.battery);
                let Machine::Running(device) = &mut self.machine else { return };
                device.input(&board, Input::Flashed { done }, battery, now, None);
            }
            (Err(_), Some(fault)) => {
                if let Some((id, action)) = self.faults.fired(fault) {
                    self.record(Kind::Fault { id, state: "fired".into(), what: action.to_string() });
                    let for_us = if let Action::PowerLoss { for_us } = action { for_us } else { Some(0) };
                    let state = std::mem::replace(&mut self.machine, Machine::Changing).into_persistent();
                    self.power_loss("fault", for_us, state);
                }
            }
            (Err(_), None) => {}
        }
    }

    /// The device stops in the middle of a step: what is left of the flash then.
    pub(super) fn stop_step(&mut self) {
        let Some(step) = self.step.take() else { return };
        let board = Arc::clone(&self.board);
        let Machine::Running(device) = &mut self.machine else { return };
        let cut = Some(CutAt::Time(self.now));
        let mut timed = Timed::new(&board, board.timing, step.started_at, cut, self.wants.flash);
        *device.flash_mut() = step.before.flash;
        let _ = device.do_flash_work(&board, &mut timed);
        for (_, kind) in std::mem::take(&mut timed.records) {
            if matches!(&kind, Kind::Flash(operation) if matches!(operation.result, FlashResult::Cut | FlashResult::Torn))
            {
                self.record(kind);
            }
        }
    }

    fn carry_out(&mut self, output: Output, cause: Option<u64>) {
        match output {
            Output::Say(saying) => self.answered(saying, cause),
            Output::Answer { request, answer } => self.program_answers(request, answer),
            Output::Fault(reason) => {
                self.record(Kind::Application { event: format!("a fault of the processor: {reason}") });
                self.reset(Cause::Crash);
            }
            Output::Disconnect => self.end_all(EndedBy::Target),
            Output::StopAdvertising => self.links.silent = true,
            Output::AttributesChange => self.attributes_change(),
            Output::Reset(cause) => self.reset(cause),
            Output::Dropped { pool, size, what } => {
                self.lost += 1;
                self.record(Kind::Resource { pool: pool.into(), size, dropped: what });
            }
            Output::Note(event) => {
                self.record(Kind::Application { event });
            }
        }
    }

    /// The program answers: faults may have it otherwise.
    fn answered(&mut self, mut saying: Saying, cause: Option<u64>) {
        let Some((id, action)) = self.faults.at_call_answer(saying.call) else {
            return self.say(&saying, cause);
        };
        self.fire(&id, &action);
        match action {
            // Power or reset: the device is gone before it has sent anything.
            Action::LoseAnswer | Action::PowerLoss { .. } | Action::Reset => return,
            Action::DelayAnswer { by_us } => {
                return self.hold_back(by_us, Late::Saying { saying, record: cause.unwrap_or(0) });
            }
            Action::DoubleAnswer => self.say(&saying, cause),
            Action::Reply(bytes) => saying.value = bytes,
            Action::CorruptAnswer { at, mask } => {
                if let Some(byte) = saying.value.get_mut(at) {
                    *byte ^= mask;
                }
            }
            _ => {}
        }
        self.say(&saying, cause);
    }

    /// The device that runs now, whatever step it has begun.
    pub(super) fn running(&self) -> Option<&Device> {
        match (&self.activity, &self.machine) {
            (None, Machine::Running(device)) => Some(device),
            _ => None,
        }
    }

    /// What the program says is a message, which came with this record.
    pub(super) fn record_saying(&mut self, saying: &Saying, cause: u64) {
        if self.wants.messages {
            let message = DfuMessage::of_saying(saying);
            self.record_caused(Some(cause), Kind::Dfu { direction: Direction::FromTarget, message });
        }
    }
}
