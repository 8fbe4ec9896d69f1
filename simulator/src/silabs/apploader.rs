//! An AppLoader: what comes over the air, in its order, on its way to flash (simplicity sdk: `btl_apploader_common.c`).
//!
//! | what is written | before a start | then |
//! |---|---|---|
//! | 0x00 | begins | begins again |
//! | data | 0x81; without a response nothing | parsed and programmed; what is wrong is the answer, also of all that follows |
//! | 0x03 | 0x81 | what came of the file |
//! | 0x04 | the connection ends | the same |
//!
//! A value is answered when its flash work is done. Meanwhile others wait, as many as there are buffers for; what comes
//! without a response and finds none is lost, and the next answer says so. Every end of a connection is a reset.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{AppLoader, Code, Entry, Outcome, ResetInfo, Stop};
use brickproof_flash_model::flash::{Controller, Interruption};

use super::config::{AfterEnd, SilabsBoard};
use super::gatt::{Control, result};
use crate::device::Endpoint;
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::AttError;
use crate::trace::Cause;

/// Most bytes of padding behind the end of a file.
const PADDING_MAX: usize = 3;

/// A value that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Control(Vec<u8>),
    Data {
        value: Vec<u8>,
        acked: bool,
    },
    /// The connection has ended.
    Gone,
}

/// What flash work came to, until its time is over.
#[derive(Debug, Clone)]
enum Worked {
    Data(Box<AppLoader>, Result<Result<(), Code>, Stop>),
    Gone(Entry, Result<Outcome, Stop>),
}

/// An AppLoader.
#[derive(Debug, Clone, Default)]
pub struct AppLoaderMode {
    /// Why it runs.
    pub(super) reason: String,
    session: AppLoader,
    connected: bool,
    waiting: VecDeque<Waiting>,
    worked: Option<Worked>,
    /// What was wrong first, since the start.
    refused: Option<AttError>,
    /// Something was lost for want of room.
    lost: bool,
    bytes: u64,
    halted: Option<&'static str>,
    outputs: VecDeque<Output>,
}

impl AppLoaderMode {
    /// One that has begun for this reason.
    #[must_use]
    pub fn new(reason: String) -> Self {
        Self { reason, ..Self::default() }
    }

    /// Bytes of the file that were taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why it does nothing any more.
    #[must_use]
    pub fn halted(&self) -> Option<&'static str> {
        self.halted
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn say(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Whether something waits that the flash is needed for.
    pub(super) fn has_flash_work(&self) -> bool {
        self.worked.is_none()
            && self.halted.is_none()
            && matches!(self.waiting.front(), Some(Waiting::Data { .. } | Waiting::Gone))
    }

    /// Does it. What it comes to is kept until the time for it is over: a power loss before does it again.
    pub(super) fn do_flash_work(
        &mut self,
        board: &SilabsBoard,
        flash: &mut Controller<'_>,
        info: ResetInfo,
    ) -> Result<(), Interruption> {
        let mut session = self.session.clone();
        let worked = match self.waiting.front() {
            Some(Waiting::Data { value, .. }) => {
                let result = session.data(&board.bootloader, flash, value);
                Worked::Data(Box::new(session), result)
            }
            Some(Waiting::Gone) => {
                let mut entry = Entry { info, ..Entry::default() };
                let outcome = session.disconnect(&board.bootloader, flash, &mut entry);
                Worked::Gone(entry, outcome)
            }
            Some(Waiting::Control(_)) | None => return Ok(()),
        };
        if let Worked::Data(_, Err(Stop::Interrupted(interruption)))
        | Worked::Gone(_, Err(Stop::Interrupted(interruption))) = &worked
        {
            return Err(*interruption);
        }
        self.worked = Some(worked);
        Ok(())
    }

    pub(super) fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match input {
            Input::Connected { .. } => self.connected = true,
            Input::Disconnected => {
                self.connected = false;
                // What waits is lost, but for what is under way.
                self.waiting.truncate(usize::from(self.worked.is_some()));
                self.waiting.push_back(Waiting::Gone);
            }
            Input::Asked { to: Endpoint::OtaControl, value } => {
                self.waiting.push_back(Waiting::Control(value.to_vec()))
            }
            Input::Asked { value, .. } => self.data_written(board, value, true),
            Input::Written { value, .. } => self.data_written(board, value, false),
            Input::Flashed { .. } => self.flashed(board, around),
            Input::Parameters(_) | Input::Bonded | Input::AskedBy(_) | Input::Confirmed | Input::Due => {}
        }
        self.go_on(board, low);
    }

    fn data_written(&mut self, board: &SilabsBoard, value: &[u8], acked: bool) {
        let unanswered =
            self.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Data { acked: false, .. })).count();
        if !acked && unanswered >= board.ota.queue {
            self.lost = true;
            self.say(Output::Dropped {
                pool: "ota-data",
                size: board.ota.queue as u64,
                what: format!("{} bytes without a response", value.len()),
            });
            return;
        }
        self.waiting.push_back(Waiting::Data { value: value.to_vec(), acked });
    }

    fn answer(&mut self, acked: bool, answer: Result<(), AttError>) {
        if acked && self.connected {
            self.say(Output::Answer(answer));
        }
    }

    /// Handles what waits in front and needs no flash.
    fn go_on(&mut self, board: &SilabsBoard, low: bool) {
        while self.worked.is_none() && self.halted.is_none() {
            match self.waiting.front() {
                Some(Waiting::Control(_)) => {
                    if let Some(Waiting::Control(value)) = self.waiting.pop_front() {
                        self.control(board, &value, low);
                    }
                }
                Some(Waiting::Data { value, .. }) => {
                    let known = if !self.session.is_ready() {
                        Some(Err(result::WRONG_STATE))
                    } else if self.session.properties().completed && self.refused.is_none() {
                        self.behind_end(board, value)
                    } else {
                        self.refused.map(Err)
                    };
                    let Some(known) = known else { return };
                    if let Some(Waiting::Data { acked, .. }) = self.waiting.pop_front() {
                        self.answer(acked, known);
                    }
                }
                Some(Waiting::Gone) | None => return,
            }
        }
    }

    /// What is answered to a value behind the end of the file, where the parser is not asked.
    fn behind_end(&self, board: &SilabsBoard, value: &[u8]) -> Option<Result<(), AttError>> {
        let padding = value.len() <= PADDING_MAX && value.iter().all(|byte| *byte == 0xff);
        match board.ota.after_end {
            AfterEnd::Padding if padding => Some(Ok(())),
            AfterEnd::Anything => Some(Ok(())),
            AfterEnd::Padding | AfterEnd::Nothing => None,
        }
    }

    fn control(&mut self, board: &SilabsBoard, value: &[u8], low: bool) {
        let [byte] = value else { return self.answer(true, Err(AttError::INVALID_LENGTH)) };
        let answer = match Control::of(*byte) {
            Control::Start => match board.ota.low_battery.filter(|_| low) {
                Some(error) => Err(error),
                None => {
                    self.session.start();
                    (self.refused, self.bytes) = (None, 0);
                    Ok(())
                }
            },
            Control::Finish if !self.session.is_ready() => Err(result::WRONG_STATE),
            Control::Finish => match (self.refused, std::mem::take(&mut self.lost)) {
                (Some(error), _) => Err(error),
                (None, true) => Err(result::BUFFERS_FULL),
                (None, false) => self.session.finish().map_err(|code| board.ota.result(code)),
            },
            Control::Close => {
                self.answer(true, Ok(()));
                return self.say(Output::Disconnect);
            }
            Control::Reserved(_) => Err(board.ota.reserved),
        };
        self.answer(true, answer);
    }

    fn flashed(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>) {
        match self.worked.take() {
            Some(Worked::Data(session, result)) => {
                let Some(Waiting::Data { value, acked }) = self.waiting.pop_front() else { return };
                self.session = *session;
                match result {
                    Ok(Ok(())) => {
                        self.bytes = self.bytes.saturating_add(value.len() as u64);
                        let lost = acked && std::mem::take(&mut self.lost);
                        self.answer(acked, if lost { Err(result::BUFFERS_FULL) } else { Ok(()) });
                    }
                    Ok(Err(code)) => {
                        let error = board.ota.result(code);
                        self.refused = Some(error);
                        self.say(Output::Note(format!("the file is refused: {code}")));
                        self.answer(acked, Err(error));
                    }
                    Err(Stop::Fault(reason)) => self.say(Output::Fault(reason)),
                    Err(Stop::Hang(reason)) => {
                        self.halted = Some(reason);
                        self.say(Output::Note(format!("the device hangs: {reason}")));
                    }
                    Err(Stop::Interrupted(_)) => {}
                }
            }
            Some(Worked::Gone(entry, _)) => {
                self.waiting.clear();
                around.retained.reset_info = entry.info;
                self.say(Output::Reset(Cause::SoftReset));
            }
            None => {}
        }
    }
}
