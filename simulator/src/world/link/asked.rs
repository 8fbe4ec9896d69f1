//! Requests that the program answers itself: when it likes, with a result, or never.

use std::collections::VecDeque;

use super::{WAITING_MAX, Waiting};
use crate::device::Endpoint;
use crate::device::program::Input;
use crate::gatt::{AttError, GattEvent, opcode};
use crate::nordic::calls;
use crate::trace::{AttRecord, Direction, Kind};
use crate::world::program::Late;
use crate::world::{Action, Machine, World};

/// A write request that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::world) struct Asked {
    pub(in crate::world) number: u64,
    request: u64,
    handle: u16,
    call: &'static str,
    record: u64,
}

/// Requests that wait.
#[derive(Default)]
pub(super) struct Open {
    /// Requests so far.
    count: u64,
    waiting: VecDeque<Asked>,
}

impl Open {
    /// One that waits from now on, with its number.
    fn begin(&mut self, number: u64, handle: u16, call: &'static str, record: u64) -> u64 {
        self.count += 1;
        // A central that asks on without an answer breaks the rule: the oldest is as good as lost.
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Asked { number, request: self.count, handle, call, record });
        self.count
    }

    fn take(&mut self, request: u64) -> Option<Asked> {
        let at = self.waiting.iter().position(|asked| asked.request == request)?;
        self.waiting.remove(at)
    }

    /// A connection has ended: nobody waits there.
    pub(super) fn end(&mut self, number: u64) {
        self.waiting.retain(|asked| asked.number != number);
    }
}

impl World {
    /// The program was asked by a write request: what comes of it; `record` shows how.
    pub(super) fn program_asked(&mut self, number: u64, handle: u16, to: Endpoint, value: &[u8], record: u64) {
        let Machine::Running(device) = &self.machine else { return };
        let (message, call) = device.describe(to, value);
        if self.wants.messages {
            self.record_caused(Some(record), Kind::Dfu { direction: Direction::ToTarget, message });
        }
        let request = self.links.asked.begin(number, handle, call, record);
        let Some(value) = self.struck_by_faults((number, request), to, value, record, call) else { return };
        self.tell_program(Input::Asked { request, to, value: &value }, Some(record));
    }

    /// The program answers a request: faults may have it otherwise.
    pub(in crate::world) fn program_answers(&mut self, request: u64, answer: Result<(), AttError>) {
        let Some(asked) = self.links.asked.take(request) else { return };
        let mut answer = answer;
        if let Some((id, action)) = self.faults.at_call_answer(asked.call) {
            self.fire(&id, &action);
            match action {
                Action::LoseAnswer | Action::PowerLoss { .. } | Action::Reset => return,
                Action::DelayAnswer { by_us } => return self.hold_back(by_us, Late::Answer { asked, answer }),
                Action::Reply(bytes) => {
                    answer = match bytes.first() {
                        Some(code) if *code != 0 => Err(AttError(*code)),
                        _ => Ok(()),
                    };
                }
                _ => {}
            }
        }
        self.send_answer(asked, answer);
    }

    /// Sends the answer to a request, or keeps it until the link is back.
    pub(in crate::world) fn send_answer(&mut self, asked: Asked, answer: Result<(), AttError>) {
        let Asked { number, handle, record, .. } = asked;
        let up = self.link;
        let Some(link) = self.links.get(number).filter(|link| !link.forgotten) else { return };
        if !up {
            if link.waiting.len() < WAITING_MAX {
                link.waiting.push(Waiting::Written(asked, answer));
            }
            return;
        }
        let opcode = if answer.is_ok() { opcode::WRITE_RESPONSE } else { opcode::ERROR_RESPONSE };
        if self.wants.messages || answer.is_err() {
            let shown = self.links.record(number, Direction::FromTarget, opcode, handle, &[]);
            self.record_caused(Some(record), Kind::Att(AttRecord { error: answer.err().map(AttError::code), ..shown }));
        }
        self.tell_link(
            number,
            match answer {
                Ok(()) => GattEvent::Written { handle },
                Err(error) => GattEvent::Error { handle, error },
            },
        );
    }

    /// What faults do to a call; `None` when it does not arrive.
    fn struck_by_faults(
        &mut self,
        (number, request): (u64, u64),
        to: Endpoint,
        value: &[u8],
        record: u64,
        call: &'static str,
    ) -> Option<Vec<u8>> {
        let mut value = value.to_vec();
        if self.faults.none_armed() {
            return Some(value);
        }
        let Machine::Running(device) = &self.machine else { return None };
        let progress = device.upload(&self.board);
        let mut struck = Vec::new();
        if let (Some((offset, size)), true) = (progress, calls::selects("packet", call)) {
            struck.extend(self.faults.at_upload(offset, size));
        }
        struck.extend(self.faults.at_call(call));
        for (id, action) in struck {
            self.fire(&id, &action);
            match action {
                Action::LoseRequest => return None,
                Action::Reply(bytes) => {
                    let asked = self.links.asked.take(request)?;
                    let code = bytes.first().copied().unwrap_or(0);
                    self.send_answer(asked, if code == 0 { Ok(()) } else { Err(AttError(code)) });
                    return None;
                }
                Action::Stall { us } => {
                    self.hold_back(us, Late::Asked { number, request, to, value: value.clone(), record });
                    return None;
                }
                Action::CorruptRequest { at, mask } => {
                    if let Some(byte) = value.get_mut(at) {
                        *byte ^= mask;
                    }
                }
                _ => {}
            }
            if !self.link || self.activity.is_some() || !matches!(self.machine, Machine::Running(_)) {
                self.lost += 1;
                return None;
            }
        }
        Some(value)
    }

    /// Nobody waits for answers of a device that has forgotten its connections.
    pub(in crate::world) fn forget_asked(&mut self) {
        self.links.asked.waiting.clear();
    }
}
