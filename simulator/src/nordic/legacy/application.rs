//! The way from an application into a Legacy DFU bootloader (nrf5 sdk 11: `ble_dfu.c`, `dfu_app_handler.c`).
//!
//! | request | what comes of it |
//! |---|---|
//! | `01 <mode>` | no answer: GPREGRET becomes 0xb1, and the bootloader starts |
//! | `01` | `10 01 06` |
//! | `08 <one byte>` or less | `10 08 03` |
//! | another one that the protocol knows | `10 01 03` |
//! | any other | `10 <opcode> 03` |
//! | a packet | `10 01 03` |
//!
//! What the application tells the bootloader of the central that has asked lies in RAM that the start leaves alone: its
//! address, and with a bond its keys and what it has written to Service Changed (`dfu_app_peer_data_set`). The bootloader
//! takes it once.
//!
//! The example ends its connections and waits for half a second before (`reset_prepare`). The bootloader starts without a
//! reset; here it is one, which comes to the same.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic_legacy::Status;
use brickproof_flash_model::boot::nordic_legacy::options::gpregret::DFU_START;

use super::config::{LegacyBoard, Sharing};
use super::wire::{Answer, Malformed, Request, opcode};
use crate::device::program::{Input, Output, Saying, Surroundings};
use crate::nordic::{Endpoint, SharedBond};
use crate::trace::Cause;

/// What a request to an application comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nordic) enum Asked {
    /// The bootloader starts.
    Enter,
    /// An answer.
    Answer(Answer),
    /// Nothing.
    Nothing,
}

/// What a write comes to.
pub(in crate::nordic) fn asked(to: Endpoint, value: &[u8]) -> Asked {
    let answer = |request: u8, status: Status| Asked::Answer(Answer::Response { request, status: status.number() });
    match Request::parse(value) {
        _ if to == Endpoint::LegacyPacket => answer(opcode::START, Status::NotSupported),
        Ok(Request::Start { .. }) => Asked::Enter,
        Ok(_) => answer(opcode::START, Status::NotSupported),
        Err(Malformed::Empty) => Asked::Nothing,
        Err(Malformed::Short(opcode::PRN)) => answer(opcode::PRN, Status::NotSupported),
        Err(Malformed::Short(opcode)) => answer(opcode, Status::OperationFailed),
        Err(Malformed::Unknown(opcode)) => answer(opcode, Status::NotSupported),
    }
}

/// An application.
#[derive(Debug, Clone, Default)]
pub struct LegacyApplication {
    /// When the bootloader starts.
    leaves_at: Option<u64>,
    /// What is known of the central that has asked.
    asked_by: Option<SharedBond>,
    outputs: VecDeque<Output>,
}

/// Between the end of the connection and the bootloader, in microseconds.
const PREPARING_US: u64 = 500_000;

impl LegacyApplication {
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.leaves_at
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn input(&mut self, board: &LegacyBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        if input == Input::Due && self.leaves_at.is_some_and(|at| at <= around.now_us) {
            return self.leave(board, around);
        }
        if self.leaves_at.is_some() {
            return;
        }
        if let Input::AskedBy(bond) = input {
            self.asked_by = Some(bond);
        }
        let Input::Written { to: to @ (Endpoint::LegacyControlPoint | Endpoint::LegacyPacket), value } = input else {
            return;
        };
        match asked(to, value) {
            Asked::Enter if low => {
                self.outputs.push_back(Output::Note("does not enter the bootloader: the battery is low".into()));
            }
            Asked::Enter => {
                self.outputs.push_back(Output::Note("enters the bootloader".into()));
                if !board.application_says_goodbye {
                    return self.leave(board, around);
                }
                self.outputs.extend([Output::StopAdvertising, Output::Disconnect]);
                self.leaves_at = Some(around.now_us.saturating_add(PREPARING_US));
            }
            Asked::Answer(answer) => self.outputs.push_back(Output::Say(Saying {
                from: Endpoint::LegacyControlPoint,
                value: answer.emit(),
                call: Request::parse(value).map_or(crate::nordic::calls::MALFORMED, Request::call),
                indicated: false,
            })),
            Asked::Nothing => {}
        }
    }

    fn leave(&mut self, board: &LegacyBoard, around: &mut Surroundings<'_>) {
        self.leaves_at = None;
        around.retained.gpregret = DFU_START;
        around.retained.shared = match (board.sharing, self.asked_by) {
            (Sharing::None, _) => None,
            (Sharing::Bond, asked_by) => asked_by,
            (Sharing::Address, asked_by) => asked_by.map(SharedBond::without_keys),
        };
        if around.retained.shared.is_some_and(|shared| shared.has_key()) {
            self.outputs.push_back(Output::AttributesChange);
        }
        self.outputs.push_back(Output::Reset(Cause::SoftReset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_the_answer_of_the_code() {
        let answers = |value: &[u8]| match asked(Endpoint::LegacyControlPoint, value) {
            Asked::Enter => "enters".to_owned(),
            Asked::Answer(answer) => format!("{:02x?}", answer.emit()),
            Asked::Nothing => String::new(),
        };
        let all = [&[1, 4][..], &[1, 0], &[1], &[2], &[2, 0], &[4], &[8, 1], &[8, 1, 0], &[9], &[]].map(answers);
        assert_eq!(
            all,
            [
                "enters",
                "enters",
                "[10, 01, 06]",
                "[10, 02, 06]",
                "[10, 01, 03]",
                "[10, 01, 03]",
                "[10, 08, 03]",
                "[10, 01, 03]",
                "[10, 09, 03]",
                ""
            ]
        );
        let refused = Asked::Answer(Answer::Response { request: 1, status: 3 });
        assert_eq!(asked(Endpoint::LegacyPacket, &[1, 4]), refused);
    }
}
