//! An application that hands over to its AppLoader (simplicity sdk: `in_place_ota_dfu`).
//!
//! | when | what happens |
//! |---|---|
//! | anything is written to OTA Control | success is answered |
//! | a while later, at least a second | the connection ends |
//! | the connection has ended, by whomever | the device resets into the AppLoader |

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{ResetInfo, reason};

use super::config::SilabsBoard;
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::AttError;
use crate::trace::Cause;

/// Write request rejected: what an application that wants a bond answers.
const REJECTED: AttError = AttError(0xfc);

/// The way into the AppLoader.
#[derive(Debug, Clone, Default)]
pub struct InPlace {
    /// When the connection is to end.
    leaves_at: Option<u64>,
    /// It has been asked for.
    asked: bool,
    outputs: VecDeque<Output>,
}

impl InPlace {
    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.leaves_at
    }

    pub(super) fn input(&mut self, board: &SilabsBoard, input: Input<'_>, around: &mut Surroundings<'_>, low: bool) {
        match input {
            Input::Asked { .. } if board.ota.bonding_required => self.outputs.push_back(Output::Answer(Err(REJECTED))),
            Input::Asked { .. } => match board.ota.low_battery.filter(|_| low) {
                Some(error) => self.outputs.push_back(Output::Answer(Err(error))),
                None => {
                    self.outputs.push_back(Output::Answer(Ok(())));
                    self.outputs.push_back(Output::Note("enters the AppLoader".into()));
                    self.asked = true;
                    let intervals = board.interval_us().saturating_mul(board.ota.reboot_intervals);
                    self.leaves_at = Some(around.now_us.saturating_add(board.ota.reboot_us.max(intervals)));
                }
            },
            Input::Due if self.leaves_at.is_some_and(|at| at <= around.now_us) => {
                self.leaves_at = None;
                self.outputs.push_back(Output::Disconnect);
            }
            Input::Disconnected if self.asked => {
                self.leaves_at = None;
                around.retained.reset_info = ResetInfo::new(reason::BOOTLOAD);
                self.outputs.push_back(Output::Reset(Cause::SoftReset));
            }
            _ => {}
        }
    }
}
