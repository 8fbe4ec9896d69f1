//! DFU mode of the Secure DFU bootloader: the server, its timers, and how an update ends.
//!
//! | what ends it | what is sent | then |
//! |---|---|---|
//! | the outcome of the whole image is in flash | the response came before | the connection is ended, and 200 ms later the device resets |
//! | abort | nothing | the same; before SDK 16 it resets without ending the connection |
//! | nothing for 120 s (10 s after a SoftDevice was installed and an application waits) | nothing | the device resets, silently |
//!
//! With `NRF_DFU_BLE_REQUIRES_BONDS` it is for the central whose bond its application has shared ([`DfuMode::bond`]): that
//! encrypts with the keys it has, and nobody pairs.
//!
//! Before each reset the settings page is backed up, if the backup is not the same (nrf5 sdk 17.1: `nrf_bootloader.c`,
//! `dfu_observer`; `nrf_dfu.c`).

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic::{Profile, Refusal};
use brickproof_flash_model::flash::Flash;

use super::queue::Job;
use super::secure::{Said, SecureServer, Transport};
use super::{Endpoint, NordicBoard, SharedBond};
use crate::device::program::{Input, Output, Saying, Surroundings};
use crate::trace::Cause;

/// Between the end of the connection and the reset (`ble_dfu_transport_close`), in microseconds.
const CLOSING_US: u64 = 200_000;

/// The bond that an application has shared with the bootloader by its settings.
pub(crate) fn shared(board: &NordicBoard, flash: &Flash) -> Option<SharedBond> {
    let (settings, _) = board.bootloader.load(flash).ok()?;
    settings.peer_data.is_valid().then(|| SharedBond::parse(&settings.peer_data.data))
}

/// DFU mode.
#[derive(Debug, Clone)]
pub struct DfuMode {
    /// Why the bootloader stays.
    pub(super) reason: String,
    /// What an application has shared of its bond: copied at the start.
    bond: Option<SharedBond>,
    server: SecureServer,
    transport: Transport,
    inactive_at: Option<u64>,
    /// When the connection may be ended at the earliest, once the outcome is in flash.
    completes_at: u64,
    completed: bool,
    /// When the radio is off and the device resets.
    closed_at: Option<u64>,
    resetting: bool,
    outputs: VecDeque<Output>,
}

impl DfuMode {
    /// DFU mode begins, for `timeout_us` without activity.
    ///
    /// # Errors
    /// A stored init packet is refused: the bootloader ends in its error handler.
    pub(super) fn start(
        board: &NordicBoard,
        reason: String,
        timeout_us: Option<u64>,
        around: &Surroundings<'_>,
    ) -> Result<Self, Refusal> {
        Ok(Self {
            reason,
            bond: if board.demands_bond() { shared(board, around.flash) } else { None },
            server: SecureServer::start(board, around.flash)?,
            transport: Transport::Ble,
            inactive_at: timeout_us.map(|timeout| around.now_us.saturating_add(timeout)),
            completes_at: 0,
            completed: false,
            closed_at: None,
            resetting: false,
            outputs: VecDeque::new(),
        })
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &SecureServer {
        &self.server
    }

    /// What an application has shared of its bond, where the bootloader demands one.
    #[must_use]
    pub fn bond(&self) -> Option<&SharedBond> {
        self.bond.as_ref()
    }

    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        if self.resetting {
            return None;
        }
        match self.closed_at {
            Some(at) => Some(at),
            None => {
                let completes_at = self.completed.then_some(self.completes_at);
                [self.inactive_at, self.server.busy_until(), completes_at].into_iter().flatten().min()
            }
        }
    }

    pub(super) fn job(&self) -> Option<&Job> {
        self.server.job()
    }

    pub(super) fn input(
        &mut self,
        board: &NordicBoard,
        input: Input<'_>,
        around: &Surroundings<'_>,
        refuses: Option<u8>,
    ) {
        if self.resetting || self.closed_at.is_some() {
            // The code waits; what is queued for the flash is done all the same.
            match input {
                Input::Flashed { done } if self.server.flashed(done) => self.reset(),
                Input::Due if !self.resetting => self.back_up(board, around),
                _ => {}
            }
            return;
        }
        match input {
            Input::Connected { .. } | Input::Parameters(_) | Input::Bonded | Input::AskedBy(_) | Input::Confirmed => {}
            Input::Disconnected => self.server.disconnected(board, around.flash),
            Input::Written { to: Endpoint::ControlPoint, value } => {
                self.transport = Transport::Ble;
                self.server.requested(board, value);
            }
            Input::Written { to: Endpoint::Packet, value } => {
                self.transport = Transport::Ble;
                self.server.packet(board, value);
            }
            Input::Written { to: Endpoint::Serial, value } => {
                self.transport = Transport::Serial { mtu: board.dfu.serial_mtu() };
                self.server.requested(board, value);
            }
            Input::Written { .. } | Input::Asked { .. } => {}
            Input::Flashed { done } => {
                self.server.flashed(done);
            }
            Input::Due => {
                self.complete(around);
                if self.closed_at.is_some() {
                    return;
                }
                if self.inactive_at.is_some_and(|at| at <= around.now_us) {
                    self.outputs.push_back(Output::Note("was inactive for too long".into()));
                    return self.back_up(board, around);
                }
            }
        }
        self.server.work(board, around.flash, self.transport, refuses, around.now_us);
        self.say(board, around);
    }

    /// Carries out what the server says.
    fn say(&mut self, board: &NordicBoard, around: &Surroundings<'_>) {
        while let Some(said) = self.server.take_said() {
            match said {
                Said::Response(response, call) => {
                    let from = match self.transport {
                        Transport::Ble => Endpoint::ControlPoint,
                        Transport::Serial { .. } => Endpoint::Serial,
                    };
                    let value = response.emit();
                    self.outputs.push_back(Output::Say(Saying { from, value, call, indicated: false }));
                }
                Said::Active => self.active(board, around),
                Said::Dropped { pool, size, what } => {
                    self.outputs.push_back(Output::Dropped { pool, size: size as u64, what });
                }
                Said::Note(words) => self.outputs.push_back(Output::Note(words)),
                Said::Aborted if board.bootloader.options().profile < Profile::V16_0 => self.back_up(board, around),
                Said::Checked => self.completes_at = around.now_us.saturating_add(board.dfu.completion_us),
                Said::Completed => {
                    self.completed = true;
                    self.complete(around);
                }
                Said::Aborted => self.close(around),
            }
        }
    }

    fn active(&mut self, board: &NordicBoard, around: &Surroundings<'_>) {
        let timeout = u64::from(board.bootloader.options().inactivity_timeout_ms) * 1000;
        // SDK 12 has no such timer.
        if timeout > 0 && board.bootloader.options().profile > Profile::V12_3 {
            self.inactive_at = Some(around.now_us.saturating_add(timeout));
        }
    }

    /// The connection is ended, unless it is too early.
    fn complete(&mut self, around: &Surroundings<'_>) {
        if self.completed && self.completes_at <= around.now_us {
            self.close(around);
        }
    }

    fn close(&mut self, around: &Surroundings<'_>) {
        self.outputs.extend([Output::StopAdvertising, Output::Disconnect]);
        self.closed_at = Some(around.now_us.saturating_add(CLOSING_US));
    }

    fn back_up(&mut self, board: &NordicBoard, around: &Surroundings<'_>) {
        self.resetting = true;
        let steps = board.bootloader.settings_backup(around.flash);
        if steps.is_empty() {
            return self.reset();
        }
        self.server.back_up(steps);
    }

    fn reset(&mut self) {
        self.outputs.push_back(Output::Reset(Cause::SoftReset));
    }
}
