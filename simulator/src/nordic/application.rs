//! An application of the nRF5 SDK: what of it leads into the bootloader.
//!
//! | service | request | what happens |
//! |---|---|---|
//! | without bonds | `01` | indication `20 01 01`; once it is confirmed, GPREGRET becomes 0xb1 and the device resets |
//! | | `02 <len> <name>` | the name is written behind the settings, without an erase; then `20 02 01` |
//! | with bonds | `01` | the bond is written behind the settings, then as above; `20 01 07` without a bond |
//! | experimental | `01` | notification `20 01 01`, and the reset follows |
//! | legacy | `01 04` | no answer: the device resets |
//!
//! What is written behind the settings is written once: `20 01 04` until a start of the bootloader has erased it. Flash
//! that does not take it is answered with "busy". A device that was asked for its bootloader enters it with the next
//! indication that is confirmed, on whatever connection: the code forgets the wish with a reset only. With bonds, every
//! central that has one is told of changed attributes when it comes back (`gscm_local_database_has_changed`).
//!
//! (nrf5 sdk 17.1: `ble_dfu.c`, `ble_dfu_unbonded.c`, `ble_dfu_bonded.c`; nrf5 sdk 11: `ble_dfu.c`)

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic::options::DFU_START;
use brickproof_flash_model::boot::nordic::{AdvName, FlashStep, PeerData};

use super::legacy::application::{Asked, asked};
use super::queue::{After, FlashQueue, Job};
use super::{Buttonless, Endpoint, NordicBoard, SharedBond};
use crate::device::program::{Input, Output, Saying, Surroundings};
use crate::trace::Cause;

/// First byte of every answer.
const RESPONSE: u8 = 0x20;
const ENTER: u8 = 0x01;
const SET_NAME: u8 = 0x02;
/// Longest name.
const NAME_MAX: usize = 20;

/// Results (nrf5 sdk 17.1: `ble_dfu.h`, `ble_dfu_buttonless_rsp_code_t`).
pub mod status {
    /// Success.
    pub const SUCCESS: u8 = 0x01;
    /// The opcode is not known.
    pub const OPCODE_NOT_SUPPORTED: u8 = 0x02;
    /// It did not work.
    pub const OPERATION_FAILED: u8 = 0x04;
    /// The name is too long, or empty.
    pub const ADVERTISING_NAME_INVALID: u8 = 0x05;
    /// Something is under way.
    pub const BUSY: u8 = 0x06;
    /// The central has no bond.
    pub const NOT_BONDED: u8 = 0x07;
}

/// An application.
#[derive(Debug, Clone)]
pub struct Application {
    queue: FlashQueue,
    /// What is written, and is answered when it is done.
    writing: Option<u8>,
    /// The central has been told that the device enters the bootloader.
    entering: bool,
    bonded: bool,
    /// What is known of the central that has asked.
    asked_by: Option<SharedBond>,
    /// When the device resets into the bootloader.
    leaves_at: Option<u64>,
    outputs: VecDeque<Output>,
}

impl Application {
    pub(super) fn start() -> Self {
        Self {
            queue: FlashQueue::default(),
            writing: None,
            entering: false,
            bonded: false,
            asked_by: None,
            leaves_at: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.leaves_at
    }

    pub(super) fn job(&self) -> Option<&Job> {
        self.queue.first()
    }

    pub(super) fn input(&mut self, board: &NordicBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match input {
            Input::Connected { bonded } => self.bonded = bonded,
            Input::Bonded => self.bonded = true,
            Input::AskedBy(bond) => self.asked_by = Some(bond),
            Input::Confirmed if self.entering => {
                if board.buttonless == Buttonless::Bonded {
                    self.outputs.push_back(Output::AttributesChange);
                }
                self.enter(board, around);
            }
            Input::Due if self.leaves_at.is_some_and(|at| at <= around.now_us) => self.leave(board, around),
            Input::Asked { .. }
            | Input::Parameters(_)
            | Input::Confirmed
            | Input::Disconnected
            | Input::Due
            | Input::Written { to: Endpoint::Serial, .. } => {}
            Input::Flashed { done } => {
                let after = self.queue.done();
                if after == Some(After::Reset) {
                    self.outputs.push_back(Output::Reset(Cause::SoftReset));
                }
                if after == Some(After::Answer)
                    && let Some(opcode) = self.writing.take()
                {
                    let result = if done { status::SUCCESS } else { status::BUSY };
                    self.entering |= done && opcode == ENTER;
                    self.answer(board, opcode, result);
                }
            }
            Input::Written { to: to @ (Endpoint::LegacyControlPoint | Endpoint::LegacyPacket), value } => {
                let call = "enter-bootloader";
                match asked(to, value) {
                    Asked::Enter => self.enter(board, around),
                    Asked::Answer(answer) => self.outputs.push_back(Output::Say(Saying {
                        from: Endpoint::LegacyControlPoint,
                        value: answer.emit(),
                        call,
                        indicated: false,
                    })),
                    Asked::Nothing => {}
                }
            }
            Input::Written { value, .. } => self.requested(board, value, around, low),
        }
    }

    fn requested(&mut self, board: &NordicBoard, value: &[u8], around: &mut Surroundings<'_>, low: bool) {
        let Some((&opcode, rest)) = value.split_first() else { return };
        let result = match (opcode, board.buttonless) {
            (ENTER, _) if low => status::OPERATION_FAILED,
            (ENTER, _) if self.writing.is_some() => status::BUSY,
            (ENTER, Buttonless::Bonded) if !self.bonded => status::NOT_BONDED,
            (ENTER, Buttonless::Bonded) => {
                let bond = self.asked_by.unwrap_or(SharedBond::of(0, false, true, 0));
                return self.write(board, ENTER, peer_data(board, &bond), around);
            }
            (ENTER, Buttonless::Experimental) => {
                self.answer(board, ENTER, status::SUCCESS);
                return self.enter(board, around);
            }
            (ENTER, _) => {
                self.entering = true;
                status::SUCCESS
            }
            (SET_NAME, Buttonless::Unbonded) => {
                let name = rest.split_first().map(|(len, name)| (usize::from(*len), name));
                match name {
                    _ if self.writing.is_some() => status::OPERATION_FAILED,
                    Some((len @ 1..=NAME_MAX, name)) if name.len() >= len => {
                        return self.write(board, SET_NAME, adv_name(board, &name[..len]), around);
                    }
                    _ => status::ADVERTISING_NAME_INVALID,
                }
            }
            _ => status::OPCODE_NOT_SUPPORTED,
        };
        self.answer(board, opcode, result);
    }

    /// Writes behind the settings, which works once: the words must be erased.
    fn write(&mut self, board: &NordicBoard, opcode: u8, step: FlashStep, around: &Surroundings<'_>) {
        let FlashStep::Store { address, bytes } = &step else { return };
        let mut there = vec![0; bytes.len()];
        let erased = board.bootloader.map().read(around.flash, *address, &mut there).is_ok()
            && there.iter().all(|byte| *byte == 0xff);
        if erased {
            self.writing = Some(opcode);
            self.queue.push(step, After::Answer);
        } else {
            self.answer(board, opcode, status::OPERATION_FAILED);
        }
    }

    fn answer(&mut self, board: &NordicBoard, opcode: u8, result: u8) {
        let from = match board.buttonless {
            Buttonless::Bonded => Endpoint::BondedButtonless,
            Buttonless::Experimental => Endpoint::ExperimentalButtonless,
            Buttonless::Unbonded | Buttonless::Legacy | Buttonless::None => Endpoint::Buttonless,
        };
        let call = if opcode == SET_NAME { "set-name" } else { "enter-bootloader" };
        let indicated = from != Endpoint::ExperimentalButtonless;
        self.outputs.push_back(Output::Say(Saying { from, value: vec![RESPONSE, opcode, result], call, indicated }));
    }

    /// GPREGRET asks for the bootloader, and the application ends what it has under way.
    fn enter(&mut self, board: &NordicBoard, around: &mut Surroundings<'_>) {
        around.retained.gpregret = DFU_START;
        self.outputs.push_back(Output::Note("enters the bootloader".into()));
        self.leaves_at = Some(around.now_us.saturating_add(board.entry_us));
    }

    fn leave(&mut self, board: &NordicBoard, around: &Surroundings<'_>) {
        self.leaves_at = None;
        if board.application_says_goodbye {
            self.outputs.push_back(Output::Disconnect);
        }
        // SDK 12 looks at a flag in the settings, and not at the register.
        if board.bootloader.options().enter_by_flag
            && let Ok((mut settings, _)) = board.bootloader.load(around.flash)
        {
            settings.enter_buttonless_dfu = 1;
            let steps = board.bootloader.settings_write(&mut settings, around.flash);
            if !steps.is_empty() {
                return self.queue.push_all(steps, After::Reset);
            }
        }
        self.outputs.push_back(Output::Reset(Cause::SoftReset));
    }
}

fn peer_data(board: &NordicBoard, bond: &SharedBond) -> FlashStep {
    let version = board.bootloader.options().profile.settings_version();
    FlashStep::Store {
        address: board.bootloader.map().settings().offset + PeerData::offset(version),
        bytes: PeerData::new(bond.to_bytes()).to_bytes().to_vec(),
    }
}

fn adv_name(board: &NordicBoard, name: &[u8]) -> FlashStep {
    let version = board.bootloader.options().profile.settings_version();
    FlashStep::Store {
        address: board.bootloader.map().settings().offset + AdvName::offset(version),
        bytes: AdvName::new(name).to_bytes().to_vec(),
    }
}
