//! An application that stores a file in a slot for its bootloader (simplicity sdk: `sl_bt_app_ota_dfu.c`).
//!
//! | state | what it does | what follows |
//! |---|---|---|
//! | init, read | asks the bootloader for the slot, and looks whether anything is in it | erase, or ready; error where there is no slot |
//! | erase | erases the slot | ready |
//! | ready | waits | begin, on 0x00 |
//! | begin | appends what comes from the one who has begun | end, on 0x03; error when that one goes |
//! | end | waits until that one goes | verify |
//! | verify | reads the slot as the bootloader will | finalize, or error |
//! | finalize, reboot | resets, and the bootloader installs | |
//! | close | waits until that one goes | init |
//! | uninit | waits for ever, until the one who has begun goes | init |
//! | error | begins again | init |
//!
//! | what is written | when | answer | what follows |
//! |---|---|---|---|
//! | 0x00 | ready | success | begin |
//! | 0x00 | otherwise | success | error |
//! | 0x03, 0x04, another byte | always | success | end, close, uninit |
//! | data | by someone who has not begun | none | |
//! | data | begin, and the slot is full to its last byte | 0x82 | error |
//! | data | begin, and the slot cannot be written there, or has less room | 0x83 | error |
//! | data | begin | success | |
//! | data | otherwise | 0x81 | error |
//!
//! Who has begun is forgotten with every error, so that 0x03 before any 0x00 leaves the device waiting for the end of a
//! connection that nobody has: only another 0x00, which is an error, or a reset brings it back. The same to a slot that is
//! being verified ends that.
//!
//! With an operating system the erase has a task of its own ([`Erasing`]): as that ends the slot is ready, whatever was
//! written meanwhile.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{Code, Gecko, ResetInfo, SlotError, Stop, Verification, reason};
use brickproof_flash_model::flash::{Controller, Flash, FlashError, Interruption, Uncut};

use super::apploader::REQUESTS_MAX;
use super::config::{Erasing, SilabsBoard};
use super::gatt::{Control, result};
use crate::device::Endpoint;
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::AttError;
use crate::trace::Cause;

/// Slot that files are stored in (`SL_BT_APP_OTA_DFU_USED_SLOT`).
const SLOT: usize = 0;

/// Where it stands (`sl_bt_app_ota_dfu_status_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// It waits for nothing that it knows.
    Uninit,
    /// It begins, and looks at the slot.
    #[default]
    Init,
    /// It erases the slot.
    Erase,
    /// It can be begun with.
    Ready,
    /// A file comes in.
    Begin,
    /// The file is there, and its sender is to go.
    End,
    /// The sender is to go.
    Close,
    /// It verifies the slot.
    Verify,
    /// It resets.
    Reboot,
    /// There is no slot.
    Error,
}

/// Something that waits for the one loop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Control { value: Vec<u8>, request: u64 },
    Data { value: Vec<u8>, request: Option<u64> },
    Gone,
}

impl Waiting {
    fn is_request(&self) -> bool {
        matches!(self, Self::Control { .. } | Self::Data { request: Some(_), .. })
    }

    fn is_unanswered(&self) -> bool {
        matches!(self, Self::Data { request: None, .. })
    }
}

/// What flash work came to, until its time is over.
#[derive(Debug, Clone)]
enum Worked {
    Erased,
    Written(Result<Result<(), SlotError>, Stop>),
}

/// The component of an application that takes updates.
#[derive(Debug, Clone, Default)]
pub struct SlotUpdate {
    state: State,
    /// The connection that has begun is the one that is there.
    owned: bool,
    position: u32,
    waiting: VecDeque<Waiting>,
    worked: Option<Worked>,
    /// When the slot is verified, and what that comes to.
    verified_at: Option<(u64, Result<(), Option<Code>>)>,
    outputs: VecDeque<Output>,
}

impl SlotUpdate {
    /// One that has just started, with this flash.
    #[must_use]
    pub fn new(board: &SilabsBoard, flash: &Flash) -> Self {
        let mut new = Self::default();
        new.look(board, flash);
        new
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of the file that are in the slot.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.position.into()
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When its slot is verified, in microseconds.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.verified_at.map(|(at, _)| at)
    }

    /// An erase is to be done, or under way: a state that others have changed does not end it.
    fn erases(&self) -> bool {
        matches!((&self.worked, self.state), (Some(Worked::Erased), _) | (None, State::Erase))
    }

    /// A value is to be written, or being written.
    fn writes(&self, board: &SilabsBoard) -> bool {
        self.owned
            && self.state == State::Begin
            && self.position < slot_len(board)
            && matches!(self.waiting.front(), Some(Waiting::Data { .. }))
    }

    /// Whether the flash is needed now.
    pub(super) fn has_flash_work(&self, board: &SilabsBoard) -> bool {
        self.worked.is_none() && (self.erases() || self.writes(board))
    }

    pub(super) fn do_flash_work(
        &mut self,
        board: &SilabsBoard,
        flash: &mut Controller<'_>,
    ) -> Result<(), Interruption> {
        if self.erases() {
            let Some(slot) = board.bootloader.map().slots().get(SLOT).copied() else { return Ok(()) };
            let mut page = 0;
            loop {
                match board.bootloader.erase_slot_page(flash, slot, page) {
                    Ok(true) => page += 1,
                    Ok(false) => break,
                    Err(FlashError::Interrupted(interruption)) => return Err(interruption),
                    // What a page refuses is not looked at.
                    Err(FlashError::Refused(_) | FlashError::ReadFault { .. }) => break,
                }
            }
            self.worked = Some(Worked::Erased);
            return Ok(());
        }
        let Some(Waiting::Data { value, .. }) = self.waiting.front() else { return Ok(()) };
        let written = board.bootloader.write_slot(flash, SLOT, self.position, value);
        if let Err(Stop::Interrupted(interruption)) = written {
            return Err(interruption);
        }
        self.worked = Some(Worked::Written(written));
        Ok(())
    }

    pub(super) fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match input {
            // Nobody is told of what happens while the erase has the component to itself.
            Input::Disconnected | Input::Asked { .. } | Input::Written { .. }
                if self.erases() && board.ota.erasing == Erasing::Deaf => {}
            Input::Disconnected => self.waiting.push_back(Waiting::Gone),
            Input::Asked { request, to: Endpoint::OtaControl, value } => {
                self.push(board, Waiting::Control { value: value.to_vec(), request });
            }
            Input::Asked { request, value, .. } => {
                self.push(board, Waiting::Data { value: value.to_vec(), request: Some(request) });
            }
            Input::Written { value, .. } => self.push(board, Waiting::Data { value: value.to_vec(), request: None }),
            Input::Flashed { .. } => self.flashed(),
            Input::Due => self.verified(around),
            Input::Connected { .. } | Input::Parameters(_) | Input::Bonded | Input::AskedBy(_) | Input::Confirmed => {}
        }
        self.go_on(board, around, low);
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
        let what = match waiting {
            Waiting::Data { value, request: None } => format!("{} bytes without a response", value.len()),
            _ => "a request before the answer to others".into(),
        };
        self.outputs.push_back(Output::Dropped { pool: "ota-data", size: room as u64, what });
    }

    fn answer(&mut self, request: Option<u64>, answer: Result<(), AttError>) {
        if let Some(request) = request {
            self.outputs.push_back(Output::Answer { request, answer });
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.outputs.push_back(Output::Note(what.into()));
    }

    /// An error, and what the component does by itself then: it begins again.
    fn fails(&mut self, why: &str) {
        self.note(format!("update failed: {why}; it begins again"));
        self.enter(State::Init);
        (self.owned, self.position) = (false, 0);
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        if state != State::Verify {
            self.verified_at = None;
        }
    }

    fn flashed(&mut self) {
        match self.worked.take() {
            // The task that has erased says so, whatever has happened beside it.
            Some(Worked::Erased) => self.enter(State::Ready),
            Some(Worked::Written(written)) => {
                let Some(Waiting::Data { value, request }) = self.waiting.pop_front() else { return };
                match written {
                    Ok(Ok(())) => {
                        self.position = self.position.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
                        self.answer(request, Ok(()));
                    }
                    Ok(Err(error)) => {
                        self.answer(request, Err(result::TOO_BIG));
                        self.fails(&format!("the slot cannot be written: {:#06x}", error.number()));
                    }
                    Err(Stop::Fault(reason)) => self.outputs.push_back(Output::Fault(reason)),
                    Err(Stop::Hang(_) | Stop::Interrupted(_)) => {}
                }
            }
            None => {}
        }
    }

    /// Begins: looks for its slot, and into it.
    fn look(&mut self, board: &SilabsBoard, flash: &Flash) {
        let slot = board.bootloader.map().slots().get(SLOT).copied();
        self.state = match slot.map(|slot| board.bootloader.slot_is_dirty(flash, slot)) {
            None => {
                self.note("there is no slot");
                State::Error
            }
            Some(Ok(false)) => State::Ready,
            Some(Ok(true) | Err(_)) => {
                self.note("erases its slot");
                State::Erase
            }
        };
    }

    /// What can be done without the flash.
    fn go_on(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>, low: bool) {
        loop {
            match self.state {
                State::Init => self.look(board, around.flash),
                State::Verify if self.verified_at.is_none() => self.verify(board, around),
                _ if self.erases() && board.ota.erasing == Erasing::Blocks => return,
                _ if self.writes(board) => return,
                _ => match self.waiting.pop_front() {
                    Some(waiting) => self.handle(board, waiting, low),
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, board: &SilabsBoard, waiting: Waiting, low: bool) {
        match waiting {
            Waiting::Control { value, request } => {
                let byte = value.first().copied().unwrap_or(0);
                if let (Control::Start, Some(error)) = (Control::of(byte), board.ota.low_battery.filter(|_| low)) {
                    return self.answer(Some(request), Err(error));
                }
                self.answer(Some(request), Ok(()));
                match Control::of(byte) {
                    Control::Start if self.state == State::Ready => {
                        self.enter(State::Begin);
                        (self.owned, self.position) = (true, 0);
                    }
                    Control::Start => self.fails("it was begun with at the wrong time"),
                    Control::Finish => self.enter(State::End),
                    Control::Close => self.enter(State::Close),
                    Control::Reserved(_) => self.enter(State::Uninit),
                }
            }
            Waiting::Data { request, .. } if !self.owned => {
                if board.ota.answers_strangers {
                    self.answer(request, Ok(()));
                }
            }
            Waiting::Data { request, .. } if self.state == State::Begin => {
                self.answer(request, Err(result::BUFFERS_FULL));
                self.fails("the slot is full");
            }
            Waiting::Data { request, .. } => {
                self.answer(request, Err(result::WRONG_STATE));
                self.fails("data came at the wrong time");
            }
            Waiting::Gone if !self.owned => {}
            Waiting::Gone => {
                self.owned = false;
                match self.state {
                    State::End => self.enter(State::Verify),
                    State::Begin => self.fails("the connection ended in the middle"),
                    _ => self.enter(State::Init),
                }
            }
        }
    }

    /// Reads the slot as the bootloader will; what comes of it is known when the time for it is over.
    fn verify(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>) {
        let (blocks, outcome) = match board.bootloader.verify_slot(SLOT) {
            Ok(verification) => {
                // Nothing is written; a controller is what the bootloader reads by.
                let mut flash = around.flash.clone();
                verify(&board.bootloader, verification, &mut Controller::new(&mut flash, &mut Uncut))
            }
            Err(_) => (0, Err(None)),
        };
        let at = around.now_us.saturating_add(board.ota.verify_us.saturating_mul(blocks));
        self.verified_at = Some((at, outcome));
        if at <= around.now_us {
            self.verified(around);
        }
    }

    fn verified(&mut self, around: &mut Surroundings<'_>) {
        let Some((_, outcome)) = self.verified_at.take_if(|(at, _)| *at <= around.now_us) else { return };
        match outcome {
            Ok(()) => {
                self.state = State::Reboot;
                self.note("the slot is verified: the bootloader is to install it");
                around.retained.reset_info = ResetInfo::new(reason::BOOTLOAD);
                self.outputs.push_back(Output::Reset(Cause::SoftReset));
            }
            Err(Some(code)) => self.fails(&format!("the slot is refused: {code}")),
            Err(None) => self.fails("the slot has no whole file"),
        }
    }
}

/// Bytes of the slot; 0 where there is none.
fn slot_len(board: &SilabsBoard) -> u32 {
    board.bootloader.map().slots().get(SLOT).map_or(0, |slot| slot.len)
}

/// Reads a slot to the end of its file: in how many steps, and what comes of it.
fn verify(
    gecko: &Gecko,
    mut verification: Verification,
    flash: &mut Controller<'_>,
) -> (u64, Result<(), Option<Code>>) {
    let mut steps = 0;
    loop {
        steps += 1;
        match verification.step(gecko, flash) {
            Ok(None) => {}
            Ok(Some(true)) => return (steps, Ok(())),
            Ok(Some(false)) | Err(_) => {
                return (steps, Err(verification.code().filter(|code| *code != Code::Eof)));
            }
        }
    }
}
