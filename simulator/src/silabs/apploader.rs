//! An AppLoader: what comes over the air, in its order, on its way to flash (simplicity sdk: `btl_apploader_common.c`).
//!
//! | what is written | before a start | then |
//! |---|---|---|
//! | 0x00 | begins; by option the first page of the application is erased | begins again |
//! | data | 0x81; without a response nothing | parsed and programmed; what is wrong is the answer, also of all that follows |
//! | 0x03 | 0x81 | what came of the file |
//! | 0x04 | the connection ends | the same |
//!
//! A value is answered when its flash work is done. Meanwhile others wait, as many as there are buffers for; what comes
//! without a response and finds none is lost, and the next answer says so. Every end of a connection is a reset.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{AppLoader, Code, Entry, Outcome, ResetInfo, Stop};
use brickproof_flash_model::flash::{Controller, FlashError, Interruption};

use super::config::{AfterEnd, SilabsBoard};
use super::gatt::{Control, result};
use crate::device::Endpoint;
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::AttError;
use crate::trace::Cause;

/// Most bytes of padding behind the end of a file.
const PADDING_MAX: usize = 3;
/// Requests that wait, at most: a connection has one, unless its central breaks the rules.
pub(super) const REQUESTS_MAX: usize = 16;

/// A value that waits, with its request where it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Control {
        value: Vec<u8>,
        request: u64,
    },
    /// A start, for which the first page of the application is erased.
    Erase {
        request: u64,
    },
    Data {
        value: Vec<u8>,
        request: Option<u64>,
    },
    /// The connection has ended.
    Gone,
}

impl Waiting {
    fn is_request(&self) -> bool {
        matches!(self, Self::Control { .. } | Self::Erase { .. } | Self::Data { request: Some(_), .. })
    }

    fn is_unanswered(&self) -> bool {
        matches!(self, Self::Data { request: None, .. })
    }
}

/// What flash work came to, until its time is over.
#[derive(Debug, Clone)]
enum Worked {
    Erased,
    Data(Box<AppLoader>, Result<Result<(), Code>, Stop>),
    Gone(Entry, Result<Outcome, Stop>),
}

/// An AppLoader.
#[derive(Debug, Clone, Default)]
pub struct AppLoaderMode {
    /// Why it runs.
    pub(super) reason: String,
    session: AppLoader,
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
            && matches!(self.waiting.front(), Some(Waiting::Erase { .. } | Waiting::Data { .. } | Waiting::Gone))
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
            Some(Waiting::Erase { .. }) => {
                let map = board.bootloader.map();
                // The code does not look at what comes of it.
                if let Some((area, offset)) = map.place(map.application_start(), map.page())
                    && let Err(FlashError::Interrupted(interruption)) = flash.erase(area, offset, map.page())
                {
                    return Err(interruption);
                }
                Worked::Erased
            }
            Some(Waiting::Control { .. }) | None => return Ok(()),
        };
        if let Worked::Data(_, Err(Stop::Interrupted(interruption)))
        | Worked::Gone(_, Err(Stop::Interrupted(interruption))) = &worked
        {
            return Err(*interruption);
        }
        self.worked = Some(worked);
        Ok(())
    }

    pub(super) fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>) {
        match input {
            Input::Disconnected => {
                // What waits is lost, but for what is under way.
                self.waiting.truncate(usize::from(self.worked.is_some()));
                self.waiting.push_back(Waiting::Gone);
            }
            Input::Asked { request, to: Endpoint::OtaControl, value } => {
                self.push(board, Waiting::Control { value: value.to_vec(), request });
            }
            Input::Asked { request, value, .. } => {
                self.push(board, Waiting::Data { value: value.to_vec(), request: Some(request) });
            }
            Input::Written { value, .. } => self.push(board, Waiting::Data { value: value.to_vec(), request: None }),
            Input::Flashed { .. } => self.flashed(board, around),
            Input::Connected { .. }
            | Input::Parameters(_)
            | Input::Bonded
            | Input::AskedBy(_)
            | Input::Confirmed
            | Input::Due => {}
        }
        self.go_on(board);
    }

    /// Takes what was written, if there is room for it.
    fn push(&mut self, board: &SilabsBoard, waiting: Waiting) {
        let (kind, room): (fn(&Waiting) -> bool, _) = if waiting.is_request() {
            (Waiting::is_request, REQUESTS_MAX)
        } else {
            (Waiting::is_unanswered, board.ota.queue)
        };
        if self.waiting.iter().filter(|waiting| kind(waiting)).count() < room {
            return self.waiting.push_back(waiting);
        }
        self.lost |= waiting.is_unanswered();
        let what = match waiting {
            Waiting::Data { value, request: None } => format!("{} bytes without a response", value.len()),
            _ => "a request before the answer to others".into(),
        };
        self.say(Output::Dropped { pool: "ota-data", size: room as u64, what });
    }

    fn answer(&mut self, request: Option<u64>, answer: Result<(), AttError>) {
        if let Some(request) = request {
            self.say(Output::Answer { request, answer });
        }
    }

    /// Handles what waits in front and needs no flash.
    fn go_on(&mut self, board: &SilabsBoard) {
        while self.worked.is_none() && self.halted.is_none() {
            match self.waiting.front() {
                Some(Waiting::Control { .. }) => {
                    if let Some(Waiting::Control { value, request }) = self.waiting.pop_front() {
                        self.control(board, &value, request);
                    }
                }
                Some(Waiting::Data { .. }) => {
                    let known = if self.session.is_ready() { self.refused } else { Some(result::WRONG_STATE) };
                    let Some(error) = known else { return };
                    if let Some(Waiting::Data { request, .. }) = self.waiting.pop_front() {
                        self.answer(request, Err(error));
                    }
                }
                Some(Waiting::Erase { .. } | Waiting::Gone) | None => return,
            }
        }
    }

    fn control(&mut self, board: &SilabsBoard, value: &[u8], request: u64) {
        let [byte] = value else { return self.answer(Some(request), Err(AttError::INVALID_LENGTH)) };
        let answer = match Control::of(*byte) {
            Control::Start if board.ota.erase_on_start => return self.waiting.push_front(Waiting::Erase { request }),
            Control::Start => return self.start(request),
            Control::Finish if !self.session.is_ready() => Err(result::WRONG_STATE),
            Control::Finish => match (self.refused, std::mem::take(&mut self.lost)) {
                (Some(error), _) => Err(error),
                (None, true) => Err(result::BUFFERS_FULL),
                (None, false) => self.session.finish().map_err(|code| board.ota.verdict(code)),
            },
            Control::Close => {
                self.answer(Some(request), Ok(()));
                return self.say(Output::Disconnect);
            }
            Control::Reserved(_) => Err(board.ota.reserved),
        };
        self.answer(Some(request), answer);
    }

    fn start(&mut self, request: u64) {
        self.session.start();
        (self.refused, self.lost, self.bytes) = (None, false, 0);
        self.answer(Some(request), Ok(()));
    }

    /// What comes of a value, as the parser has it. Behind the end of a file its answer is not the last word.
    fn taken(&self, board: &SilabsBoard, value: &[u8], result: Result<(), Code>) -> Result<(), Code> {
        let padding = value.len() <= PADDING_MAX && value.iter().all(|byte| *byte == 0xff);
        match (result, board.ota.after_end) {
            // Nothing was refused before this.
            (Err(Code::Eof), AfterEnd::Anything) => Ok(()),
            (Err(Code::Eof), AfterEnd::Padding) if padding => Ok(()),
            (result, _) => result,
        }
    }

    fn flashed(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>) {
        match self.worked.take() {
            Some(Worked::Erased) => {
                if let Some(Waiting::Erase { request }) = self.waiting.pop_front() {
                    self.start(request);
                }
            }
            Some(Worked::Data(session, result)) => {
                let Some(Waiting::Data { value, request }) = self.waiting.pop_front() else { return };
                self.session = *session;
                match result.map(|result| self.taken(board, &value, result)) {
                    Ok(Ok(())) => {
                        self.bytes = self.bytes.saturating_add(value.len() as u64);
                        let lost = request.is_some() && std::mem::take(&mut self.lost);
                        self.answer(request, if lost { Err(result::BUFFERS_FULL) } else { Ok(()) });
                    }
                    Ok(Err(code)) => {
                        let error = board.ota.result(code);
                        self.refused = Some(error);
                        self.say(Output::Note(format!("the file is refused: {code}")));
                        self.answer(request, Err(error));
                    }
                    Err(Stop::Fault(reason)) => self.say(Output::Fault(reason)),
                    Err(Stop::Hang(reason)) => {
                        self.halted = Some(reason);
                        self.say(Output::StopAdvertising);
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
