//! An application that hands over to its AppLoader (simplicity sdk: `sl_bt_in_place_ota_dfu.c`).
//!
//! | when | what happens |
//! |---|---|
//! | anything is written to OTA Control | success is answered |
//! | a while later | the connection ends |
//! | the connection has ended, by whomever | the device resets into the AppLoader |
//!
//! How long it waits follows from the parameters that a connection was last told of: so many times the interval and the
//! latency, in whole milliseconds, and not less than a second. Before any connection it is that.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{ResetInfo, reason};

use super::config::{OtaConfig, SilabsBoard};
use crate::device::program::{Input, Output, Surroundings};
use crate::gatt::{AttError, ConnectionParameters};
use crate::trace::Cause;

/// Write request rejected: what an application that wants a bond answers.
const REJECTED: AttError = AttError(0xfc);

/// The way into the AppLoader.
#[derive(Debug, Clone, Default)]
pub struct InPlace {
    /// Microseconds that it waits, since a connection has parameters.
    delay: Option<u64>,
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
            Input::Parameters(parameters) => self.delay = Some(delay(&board.ota, parameters)),
            Input::Asked { request, .. } if board.ota.bonding_required => {
                self.outputs.push_back(Output::Answer { request, answer: Err(REJECTED) });
            }
            Input::Asked { request, .. } => match board.ota.low_battery.filter(|_| low) {
                Some(error) => self.outputs.push_back(Output::Answer { request, answer: Err(error) }),
                None => {
                    self.outputs.push_back(Output::Answer { request, answer: Ok(()) });
                    self.outputs.push_back(Output::Note("enters the AppLoader".into()));
                    self.asked = true;
                    let delay = self.delay.unwrap_or(board.ota.reboot_us);
                    self.leaves_at = Some(around.now_us.saturating_add(delay));
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

/// Microseconds from the request to the end of a connection with these parameters (`calculate_delay_ms`).
fn delay(ota: &OtaConfig, parameters: ConnectionParameters) -> u64 {
    let intervals = parameters.longest_silence_us().saturating_mul(ota.reboot_intervals);
    intervals.div_ceil(1000).saturating_mul(1000).max(ota.reboot_us)
}
