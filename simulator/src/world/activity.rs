//! Pieces of work that take time: boots, requests, the application's own confirm.

use std::collections::VecDeque;
use std::sync::Arc;

use brickproof_flash_model::boot::mcuboot::SwapType;
use brickproof_flash_model::flash::{Controller, Count};

use super::hook::{CutAt, Timed};
use super::{Action, HARNESS, Machine, Peer, World, answer};
use crate::device::{Battery, Persistent, Started, power_on};
use crate::smp::{Answer, Command, Field, SmpMessage};
use crate::trace::{BootRecord, Cause, FlashResult, Kind, PowerEvent, hex};

/// Shortest start of an image: a board that resets in no time at all would never let time pass.
const START_MIN_US: u64 = 100;

/// What is being done.
#[derive(Debug, Clone)]
enum Work {
    Boot(Cause),
    Request { peer: Peer, packet: Vec<u8>, battery: Battery },
    Confirm,
}

/// What follows when a piece of work ends.
#[derive(Debug, Clone)]
enum Ending {
    /// The image is started.
    Started,
    /// The device is dead.
    Dead(String),
    /// The bootloader resets the device.
    Resets,
    /// Packets are sent, and a reset may have been accepted.
    Answered { peer: Peer, answer: Answer, cause: u64 },
    /// Power is lost by this fault.
    Cut { fault: usize },
    /// Nothing.
    Idle,
}

/// A piece of work under way.
pub(super) struct Activity {
    /// The device before it.
    pub(super) before: Machine,
    work: Work,
    started_at: u64,
    pub(super) ends_at: u64,
    records: VecDeque<(u64, Kind)>,
    ending: Ending,
}

impl Activity {
    /// When its next record, or its end, is due.
    pub(super) fn next_due(&self) -> u64 {
        self.records.front().map_or(self.ends_at, |(at, _)| *at).min(self.ends_at)
    }
}

impl World {
    /// Starts a boot of what is off.
    pub(super) fn begin_boot(&mut self, cause: Cause) {
        self.forget();
        self.starts += 1;
        self.record(Kind::Power(PowerEvent::On { cause }));
        let Machine::Off { persistent, .. } = std::mem::replace(&mut self.machine, Machine::Changing) else { return };
        let before = Machine::Off { persistent: persistent.clone(), back_at: None };
        let fault = self.fault_in_boot(&persistent);
        let cut = fault.map(|(_, cut)| cut);
        let board = Arc::clone(&self.board);
        let mut timed = Timed::new(&board, board.boot_timing, self.now, cut, self.wants.flash);
        let number = persistent.boots + 1;
        let started = power_on(&board, persistent, cause, self.now, &mut timed);
        let ends_at = timed.now + board.start_us.max(START_MIN_US);
        let (operations, end_of_flash) = (timed.operations, timed.now);
        let mut records: VecDeque<_> = timed.records.into();
        let duration_us = ends_at - self.now;
        let mut boot_record = BootRecord { operations, ..BootRecord::interrupted(number, cause, duration_us) };
        let (machine, ending, ends_at) = match started {
            Started::Interrupted(persistent, _) => {
                boot_record.duration_us = end_of_flash - self.now;
                let ending = fault.map_or(Ending::Idle, |(index, _)| Ending::Cut { fault: index });
                (Machine::Off { persistent, back_at: None }, ending, end_of_flash)
            }
            Started::Running(device, boot) => {
                let boot = boot.summary();
                let outcome = match (device.recovery(), device.dfu_mode()) {
                    (Some(_), _) => "recovery",
                    (None, Some(_)) => "dfu-mode",
                    (None, None) => "boot",
                };
                boot_record.outcome = outcome.into();
                boot_record.reason = device.recovery().or(device.dfu_mode()).map(str::to_owned);
                boot_record.decisions = boot.decisions;
                boot_record.swapped = boot.swapped;
                boot_record.running = device.image().and_then(|image| image.hash).map(|hash| hex(&hash));
                boot_record.version = device.image().map(|image| image.version.clone());
                (Machine::Running(device), Ending::Started, ends_at)
            }
            Started::Dead(persistent, boot) => {
                let boot = boot.summary();
                let reason = boot.reason.unwrap_or_default();
                boot_record.outcome = "brick".into();
                boot_record.reason = Some(reason.clone());
                boot_record.decisions = boot.decisions;
                (Machine::Dead { persistent, reason: reason.clone() }, Ending::Dead(reason), ends_at)
            }
            Started::Resets(persistent, boot) => {
                let boot = boot.summary();
                boot_record.outcome = "reset".into();
                boot_record.reason = boot.reason;
                boot_record.decisions = boot.decisions;
                boot_record.swapped = boot.swapped;
                (Machine::Off { persistent, back_at: None }, Ending::Resets, end_of_flash.max(self.now + START_MIN_US))
            }
        };
        records.push_back((ends_at, Kind::Boot(boot_record)));
        self.machine = machine;
        self.activity =
            Some(Activity { before, work: Work::Boot(cause), started_at: self.now, ends_at, records, ending });
        self.release_activity();
    }

    /// Where a fault cuts this boot. A trial on a copy tells how many operations the swap has.
    fn fault_in_boot(&self, persistent: &Persistent) -> Option<(usize, CutAt)> {
        let Some(mcuboot) = self.board.mcuboot() else { return self.fault_in_activation(persistent) };
        let interrupted = mcuboot.interrupted_swap(&persistent.flash).ok().flatten().map(|status| status.swap_type);
        let swap = interrupted.or_else(|| mcuboot.swap_type(&persistent.flash).ok())?;
        let (index, permille, tear) = self.faults.in_swap(swap)?;
        let mut trial = persistent.clone();
        let mut count = Count::default();
        let boot = mcuboot.boot_with(&mut Controller::new(&mut trial.flash, &mut count), &mut trial.counters).ok()?;
        boot.swapped()?;
        let last = count.operations.checked_sub(1)?;
        let n = (count.operations * u64::from(permille) / 1000).min(last);
        Some((index, CutAt::Operation { n, tear }))
    }

    /// The same for a bootloader that is not MCUboot: what it activates counts as a swap.
    fn fault_in_activation(&self, persistent: &Persistent) -> Option<(usize, CutAt)> {
        let (index, permille, tear) = self.faults.in_swap(SwapType::Permanent)?;
        let mut count = Count::default();
        let started = power_on(&self.board, persistent.clone(), Cause::SoftReset, self.now, &mut count);
        let (Started::Running(_, boot) | Started::Dead(_, boot) | Started::Resets(_, boot)) = started else {
            return None;
        };
        boot.summary().swapped?;
        let last = count.operations.checked_sub(1)?;
        let n = (count.operations * u64::from(permille) / 1000).min(last);
        Some((index, CutAt::Operation { n, tear }))
    }

    /// Starts to handle a packet.
    pub(super) fn begin_request(&mut self, peer: Peer, packet: &[u8], cause: u64) {
        if self.faults.none_armed() || peer == HARNESS {
            let work = Work::Request { peer, packet: packet.to_vec(), battery: self.battery };
            return self.begin_work(work, None, None, cause);
        }
        let message = SmpMessage::parse(packet);
        let mut stall_us = 0;
        let mut struck = Vec::new();
        if let Machine::Running(device) = &self.machine
            && let Some((offset, size)) = device.upload(&self.board)
            && message.known() == Some(Command::ImageUpload)
        {
            struck.extend(self.faults.at_upload(offset, size));
        }
        let last = self.is_last_chunk(&message);
        struck.extend(self.faults.at_request(&message, last));
        for (id, action) in struck {
            self.fire(&id, &action);
            match action {
                Action::Refuse(refusal) => {
                    if let Some(answer) = answer::refuse(packet, refusal) {
                        self.send(peer, &answer, Some(cause));
                    }
                    return;
                }
                Action::LoseRequest => return,
                Action::Stall { us } => {
                    stall_us = us;
                    continue;
                }
                // The other request was there first.
                Action::Inject { .. } => {
                    let injected = self.inbox.pop_back();
                    self.inbox.push_front((peer, packet.to_vec(), cause));
                    if let Some(injected) = injected {
                        self.inbox.push_front(injected);
                    }
                    return;
                }
                _ => {}
            }
            // The request meets what the fault left: no power, a device that starts, no link, or all as it was.
            if !self.link || self.activity.is_some() || !matches!(self.machine, Machine::Running(_)) {
                self.lost += 1;
                return;
            }
        }
        let fault = self.faults.in_request(&message);
        let cut = fault.map(|(_, n, tear)| CutAt::Operation { n, tear });
        let work = Work::Request { peer, packet: packet.to_vec(), battery: self.battery };
        self.begin_work(work, cut, fault.map(|(index, ..)| index), cause);
        if let Some(activity) = &mut self.activity {
            activity.ends_at += stall_us;
        }
    }

    /// Whether this chunk ends where the image does.
    fn is_last_chunk(&self, request: &SmpMessage) -> bool {
        let Machine::Running(device) = &self.machine else { return false };
        let number = |key: &str| request.body.get(key).and_then(Field::number).and_then(|n| u64::try_from(n).ok());
        let len = request.body.get("data").and_then(Field::bytes_sha256).map_or(0, |(len, _)| len);
        let (Some(off), true) = (number("off"), request.known() == Some(Command::ImageUpload)) else { return false };
        let size = device.upload(&self.board).map(|(_, size)| u64::from(size)).filter(|_| off > 0).or(number("len"));
        size == Some(off.saturating_add(len))
    }

    /// The application confirms itself.
    pub(super) fn begin_confirm(&mut self) {
        if matches!(self.machine, Machine::Running(_)) {
            self.record(Kind::Application { event: "confirms itself".into() });
            self.begin_work(Work::Confirm, None, None, 0);
        }
    }

    fn begin_work(&mut self, work: Work, cut: Option<CutAt>, fault: Option<usize>, cause: u64) {
        let Machine::Running(mut device) = std::mem::replace(&mut self.machine, Machine::Changing) else { return };
        let before = device.clone();
        let board = Arc::clone(&self.board);
        let mut timed = Timed::new(&board, board.timing, self.now, cut, self.wants.flash);
        let ending = match &work {
            Work::Request { peer, packet, battery } => device
                .handle(&board, *battery, self.now, packet, &mut timed)
                .map(|answer| Ending::Answered { peer: *peer, answer, cause }),
            Work::Confirm | Work::Boot(_) => device.confirm_itself(&board, &mut timed).map(|()| Ending::Idle),
        };
        let (machine, ending) = match ending {
            Ok(ending) => (Machine::Running(device), ending),
            Err(_) => (
                Machine::Off { persistent: device.power_off(), back_at: None },
                fault.map_or(Ending::Idle, |fault| Ending::Cut { fault }),
            ),
        };
        self.machine = machine;
        self.activity = Some(Activity {
            before: Machine::Running(before),
            work,
            started_at: self.now,
            ends_at: timed.now,
            records: timed.records.into(),
            ending,
        });
    }

    /// Releases the records that are due, and ends the activity when its time has come.
    pub(super) fn release_activity(&mut self) {
        let Some(mut activity) = self.activity.take() else { return };
        while activity.records.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((at, kind)) = activity.records.pop_front() {
                let now = std::mem::replace(&mut self.now, at);
                self.record(kind);
                self.now = now;
            }
        }
        if activity.ends_at > self.now {
            self.activity = Some(activity);
            return;
        }
        match activity.ending {
            Ending::Started => {
                self.start_console();
                self.record_state("boot");
                if let Machine::Running(device) = &self.machine
                    && let Some(image) = device.image()
                {
                    let behaviour = image.behaviour;
                    self.start_application(behaviour);
                }
                self.pump(None);
            }
            Ending::Resets => {
                self.record_state("boot");
                self.begin_boot(Cause::SoftReset);
            }
            Ending::Dead(reason) => {
                self.record(Kind::Power(PowerEvent::Dead { reason }));
                self.record_state("boot");
            }
            Ending::Answered { peer, answer, cause } => self.answer(peer, &answer, cause),
            Ending::Cut { fault } => {
                // The answer never comes.
                self.lost += u64::from(matches!(activity.work, Work::Request { .. }));
                if let Some((id, action)) = self.faults.fired(fault) {
                    self.record(Kind::Fault { id, state: "fired".into(), what: action.to_string() });
                    let state = std::mem::replace(&mut self.machine, Machine::Changing).into_persistent();
                    let for_us = if let Action::PowerLoss { for_us } = action { for_us } else { Some(0) };
                    self.power_loss("fault", for_us, state);
                }
            }
            Ending::Idle => {}
        }
    }

    fn answer(&mut self, peer: Peer, answer: &Answer, cause: u64) {
        if answer.reset
            && let Machine::Running(device) = &self.machine
        {
            let due = self.now + device.reset_delay_us();
            self.timers.reset_asked = true;
            if self.timers.reset.is_none_or(|(at, _)| due < at) {
                self.timers.reset = Some((due, Cause::SoftReset));
            }
        }
        if peer == HARNESS {
            return self.answered_harness(&answer.packets);
        }
        for packet in &answer.packets {
            let message = SmpMessage::parse(packet);
            let last = self.completes_upload(&message);
            if last {
                self.record(Kind::Application { event: super::UPLOADED.into() });
            }
            let Some((id, action)) = self.faults.at_answer(&message, last) else {
                self.send(peer, packet, Some(cause));
                continue;
            };
            self.fire(&id, &action);
            match action {
                Action::LoseAnswer => {}
                // The device is gone before it has sent anything.
                Action::PowerLoss { .. } | Action::Reset => return,
                Action::DelayAnswer { by_us } => self.timers.late.push((self.now + by_us, peer, packet.clone())),
                Action::DoubleAnswer => {
                    self.send(peer, packet, Some(cause));
                    self.send(peer, packet, Some(cause));
                }
                Action::ChangeAnswer(change) => self.send(peer, &answer::change(packet, &change), Some(cause)),
                Action::ForeignAnswer(change) => {
                    self.send(peer, &answer::foreign(packet, &change), Some(cause));
                    self.send(peer, packet, Some(cause));
                }
                Action::LinkLoss { .. }
                | Action::Battery(_)
                | Action::Refuse(_)
                | Action::LoseRequest
                | Action::Stall { .. }
                | Action::Reply(_)
                | Action::DoubleRequest
                | Action::CorruptRequest { .. }
                | Action::CorruptAnswer { .. }
                | Action::ConnectFails
                | Action::LoseKeys
                | Action::Inject { .. }
                | Action::FlashFails { .. }
                | Action::StrayWrite { .. } => self.send(peer, packet, Some(cause)),
            }
        }
    }

    /// Whether this answers the last chunk: the server has forgotten the upload and still names an offset.
    fn completes_upload(&self, answer: &SmpMessage) -> bool {
        let Machine::Running(device) = &self.machine else { return false };
        let offset = answer.body.get("off").and_then(Field::number).unwrap_or(0);
        answer.known() == Some(Command::ImageUpload) && offset > 0 && device.upload(&self.board).is_none()
    }

    /// Does interrupted work again with a cut at this moment; what survives of it.
    pub(super) fn rewind(&mut self, activity: Activity) -> Option<Persistent> {
        let board = Arc::clone(&self.board);
        let timing = if matches!(activity.work, Work::Boot(_)) { board.boot_timing } else { board.timing };
        let cut = Some(CutAt::Time(self.now));
        let mut timed = Timed::new(&board, timing, activity.started_at, cut, self.wants.flash);
        let mut boot_record = None;
        // The answer never comes.
        self.lost += u64::from(matches!(activity.work, Work::Request { .. }));
        let persistent = match (activity.before, activity.work) {
            (Machine::Off { persistent, .. }, Work::Boot(cause)) => {
                let number = persistent.boots + 1;
                boot_record = Some(BootRecord::interrupted(number, cause, self.now - activity.started_at));
                match power_on(&board, persistent, cause, activity.started_at, &mut timed) {
                    Started::Interrupted(persistent, _)
                    | Started::Dead(persistent, _)
                    | Started::Resets(persistent, _) => Some(persistent),
                    Started::Running(device, _) => Some(device.power_off()),
                }
            }
            (Machine::Running(mut device), Work::Request { packet, battery, .. }) => {
                let _ = device.handle(&board, battery, activity.started_at, &packet, &mut timed);
                Some(device.power_off())
            }
            (Machine::Running(mut device), _) => {
                let _ = device.confirm_itself(&board, &mut timed);
                Some(device.power_off())
            }
            (before, _) => before.into_persistent(),
        };
        // What was done before this moment is recorded already; the rest of the plan never happens.
        for (_, kind) in std::mem::take(&mut timed.records) {
            let interrupted = |result: &FlashResult| matches!(result, FlashResult::Cut | FlashResult::Torn);
            if matches!(&kind, Kind::Flash(operation) if interrupted(&operation.result)) {
                self.record(kind);
            }
        }
        if let Some(record) = boot_record {
            self.record(Kind::Boot(BootRecord { operations: timed.operations, ..record }));
        }
        persistent
    }
}
