//! An application that stores a file in a slot for its bootloader (simplicity sdk: `sl_bt_app_ota_dfu.c`).
//!
//! | state | what it does | what follows |
//! |---|---|---|
//! | init | asks the bootloader for the slot | read |
//! | read | looks whether anything is in the slot | erase, or ready |
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
//! | data | begin, and the slot is full | 0x82 | error |
//! | data | begin, and the slot cannot be written there | 0x83 | error |
//! | data | begin | success | |
//! | data | otherwise | 0x81 | error |
//!
//! Who has begun is forgotten with every error, so that 0x03 before any 0x00 leaves the device waiting for the end of a
//! connection that nobody has: only another 0x00, which is an error, or a reset brings it back.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{Code, Gecko, ResetInfo, SlotError, Stop, Verification, reason};
use brickproof_flash_model::flash::{Controller, Interruption, Uncut};

use super::config::{Erasing, SilabsBoard};
use super::gatt::{Control, result};
use crate::device::Endpoint;
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::AttError;
use crate::trace::Cause;

/// Slot that files are stored in (`SL_BT_APP_OTA_DFU_USED_SLOT`).
const SLOT: usize = 0;
/// Bytes that are verified at once (`SL_BT_APP_OTA_DFU_VERIFICATION_BLOCK_SIZE`).
const VERIFIED: u64 = 128;

/// Where it stands (`sl_bt_app_ota_dfu_status_t`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// It waits for nothing that it knows.
    Uninit,
    /// It begins.
    #[default]
    Init,
    /// It looks at the slot.
    Read,
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
    /// Something was wrong.
    Error,
}

/// Something that waits for the one loop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Waiting {
    Control(Vec<u8>),
    Data { value: Vec<u8>, acked: bool },
    Gone,
}

/// What flash work came to, until its time is over.
#[derive(Debug, Clone)]
enum Worked {
    Erased,
    Written(Result<(), SlotError>),
}

/// The component of an application that takes updates.
#[derive(Debug, Clone, Default)]
pub struct SlotUpdate {
    state: State,
    /// The connection that has begun is the one that is there.
    owned: bool,
    connected: bool,
    position: u32,
    waiting: VecDeque<Waiting>,
    worked: Option<Worked>,
    verified_at: Option<(u64, Result<(), Option<Code>>)>,
    outputs: VecDeque<Output>,
}

impl SlotUpdate {
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

    fn erases(&self) -> bool {
        self.state == State::Erase
    }

    fn writes(&self) -> bool {
        self.owned && self.state == State::Begin && matches!(self.waiting.front(), Some(Waiting::Data { .. }))
    }

    /// Whether the flash is needed now.
    pub(super) fn has_flash_work(&self) -> bool {
        self.worked.is_none() && (self.erases() || self.writes())
    }

    pub(super) fn do_flash_work(
        &mut self,
        board: &SilabsBoard,
        flash: &mut Controller<'_>,
    ) -> Result<(), Interruption> {
        let stopped = |stop| match stop {
            Stop::Interrupted(interruption) => Err(interruption),
            Stop::Fault(_) | Stop::Hang(_) => Ok(Err(SlotError::InvalidAddress)),
        };
        if self.erases() {
            let Some(slot) = board.bootloader.map().slots().get(SLOT).copied() else { return Ok(()) };
            let mut page = 0;
            loop {
                match board.bootloader.erase_slot_page(flash, slot, page) {
                    Ok(true) => page += 1,
                    Ok(false) => break,
                    Err(error) => {
                        if let Stop::Interrupted(interruption) = Stop::from(error) {
                            return Err(interruption);
                        }
                        break;
                    }
                }
            }
            self.worked = Some(Worked::Erased);
            return Ok(());
        }
        let Some(Waiting::Data { value, .. }) = self.waiting.front() else { return Ok(()) };
        let written = match board.bootloader.write_slot(flash, SLOT, self.position, value) {
            Ok(written) => written,
            Err(stop) => stopped(stop)?,
        };
        self.worked = Some(Worked::Written(written));
        Ok(())
    }

    pub(super) fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match input {
            Input::Connected { .. } => self.connected = true,
            Input::Disconnected => {
                self.connected = false;
                self.waiting.push_back(Waiting::Gone);
            }
            Input::Asked { to: Endpoint::OtaControl, value } => {
                self.waiting.push_back(Waiting::Control(value.to_vec()))
            }
            Input::Asked { value, .. } => self.waiting.push_back(Waiting::Data { value: value.to_vec(), acked: true }),
            Input::Written { value, .. } => self.unasked(board, value),
            Input::Flashed { .. } => self.flashed(),
            Input::Due => self.verified(around),
            Input::Parameters(_) | Input::Bonded | Input::AskedBy(_) | Input::Confirmed => {}
        }
        self.go_on(board, around, low);
    }

    /// Data without a response, which is lost when too much of it waits.
    fn unasked(&mut self, board: &SilabsBoard, value: &[u8]) {
        let waits = |waiting: &&Waiting| matches!(waiting, Waiting::Data { acked: false, .. });
        if self.waiting.iter().filter(waits).count() < board.ota.queue {
            return self.waiting.push_back(Waiting::Data { value: value.to_vec(), acked: false });
        }
        self.outputs.push_back(Output::Dropped {
            pool: "ota-data",
            size: board.ota.queue as u64,
            what: format!("{} bytes without a response", value.len()),
        });
    }

    fn answer(&mut self, acked: bool, answer: Result<(), AttError>) {
        if acked && self.connected {
            self.outputs.push_back(Output::Answer(answer));
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.outputs.push_back(Output::Note(what.into()));
    }

    /// An error, and what the component does by itself then: it begins again.
    fn fails(&mut self, why: &str) {
        self.note(format!("update failed: {why}; it begins again"));
        self.state = State::Init;
        (self.owned, self.position) = (false, 0);
    }

    fn flashed(&mut self) {
        match self.worked.take() {
            Some(Worked::Erased) if self.erases() => self.state = State::Ready,
            Some(Worked::Written(written)) => {
                let Some(Waiting::Data { value, acked }) = self.waiting.pop_front() else { return };
                match written {
                    Ok(()) => {
                        self.position = self.position.saturating_add(u32::try_from(value.len()).unwrap_or(u32::MAX));
                        self.answer(acked, Ok(()));
                    }
                    Err(error) => {
                        self.answer(acked, Err(result::TOO_BIG));
                        self.fails(&format!("the slot cannot be written: {:#06x}", error.number()));
                    }
                }
            }
            Some(Worked::Erased) | None => {}
        }
    }

    /// What can be done without the flash.
    fn go_on(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>, low: bool) {
        loop {
            match self.state {
                State::Init => self.state = State::Read,
                State::Read => {
                    let dirty = board
                        .bootloader
                        .map()
                        .slots()
                        .get(SLOT)
                        .copied()
                        .is_some_and(|slot| board.bootloader.slot_is_dirty(around.flash, slot).unwrap_or(true));
                    self.state = if dirty { State::Erase } else { State::Ready };
                    if dirty {
                        self.note("erases its slot");
                    }
                }
                State::Verify if self.verified_at.is_none() => self.verify(board, around),
                _ if self.worked.is_some()
                    || (self.erases() && board.ota.erasing == Erasing::Blocks)
                    || self.writes() =>
                {
                    return;
                }
                _ => match self.waiting.pop_front() {
                    Some(waiting) => self.handle(board, waiting, low),
                    None => return,
                },
            }
        }
    }

    fn handle(&mut self, board: &SilabsBoard, waiting: Waiting, low: bool) {
        match waiting {
            Waiting::Control(value) => {
                let byte = value.first().copied().unwrap_or(0);
                if let (Control::Start, Some(error)) = (Control::of(byte), board.ota.low_battery.filter(|_| low)) {
                    return self.answer(true, Err(error));
                }
                self.answer(true, Ok(()));
                match Control::of(byte) {
                    Control::Start if self.state == State::Ready => {
                        self.state = State::Begin;
                        (self.owned, self.position) = (true, 0);
                    }
                    Control::Start => self.fails("it was begun with at the wrong time"),
                    Control::Finish => self.state = State::End,
                    Control::Close => self.state = State::Close,
                    Control::Reserved(_) => self.state = State::Uninit,
                }
            }
            Waiting::Data { acked, .. } if !self.owned => {
                if board.ota.answers_strangers {
                    self.answer(acked, Ok(()));
                }
            }
            Waiting::Data { acked, .. } => {
                self.answer(acked, Err(result::WRONG_STATE));
                self.fails("data came at the wrong time");
            }
            Waiting::Gone if !self.owned => {}
            Waiting::Gone => {
                self.owned = false;
                match self.state {
                    State::End => self.state = State::Verify,
                    State::Begin => self.fails("the connection ended in the middle"),
                    _ => self.state = State::Init,
                }
            }
        }
    }

    /// Reads the slot as the bootloader will; what comes of it is known when the time for it is over.
    fn verify(&mut self, board: &SilabsBoard, around: &mut Surroundings<'_>) {
        let outcome = match board.bootloader.verify_slot(SLOT) {
            Ok(verification) => {
                // Nothing is written; a controller is what the bootloader reads by.
                let mut flash = around.flash.clone();
                verify(&board.bootloader, verification, &mut Controller::new(&mut flash, &mut Uncut))
            }
            Err(_) => Err(None),
        };
        let blocks = board.bootloader.map().slots().get(SLOT).map_or(0, |slot| u64::from(slot.len)) / VERIFIED;
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

/// Reads a slot to its end.
fn verify(gecko: &Gecko, mut verification: Verification, flash: &mut Controller<'_>) -> Result<(), Option<Code>> {
    loop {
        match verification.step(gecko, flash) {
            Ok(None) => {}
            Ok(Some(true)) => return Ok(()),
            Ok(Some(false)) | Err(_) => return Err(verification.code().filter(|code| *code != Code::Eof)),
        }
    }
}
