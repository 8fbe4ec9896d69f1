//! A second reading of the component that takes updates for a slot, from the code alone (simplicity sdk 2024.6:
//! `sl_bt_app_ota_dfu.c`, `app_rta_bm.c`; `btl_storage_library.c`, `btl_storage_internal_flash.c`, `btl_internal_flash.c`).
//!
//! Function for function what the code does, with the callback of the application as shipped. Every event meets a component
//! whose steps have all been made, but for an erase. What the bootloader makes of a file in the slot is its parser's matter, and
//! is asked of that.

use std::collections::VecDeque;

use brickproof_flash_model::boot::gecko::{Gecko, Verification};
use brickproof_flash_model::flash::{Controller, Flash, Uncut};

use super::Said;
use crate::gatt::AttError;

/// `sl_bt_app_ota_dfu_status_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Uninit,
    Init,
    ReadFlash,
    Erase,
    Ready,
    Disconnect,
    DownloadBegin,
    DownloadEnd,
    Verify,
    Finalize,
    WaitForReboot,
    Error,
}

/// `SL_BT_INVALID_CONNECTION_HANDLE`.
const INVALID: u8 = 0xff;
/// Errors of the storage: 0x0402, 0x0403.
const INVALID_ADDRESS: i32 = 0x402;
const NEEDS_ERASE: i32 = 0x403;

/// An event of the stack.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// `sl_bt_evt_gatt_server_user_write_request`, by a request with this number or without one.
    Write { connection: u8, control: bool, value: Vec<u8>, request: Option<u64> },
    /// `sl_bt_evt_connection_closed`.
    Closed { connection: u8 },
}

/// The variables of the file, and what lies in the slot.
pub(super) struct Model {
    gecko: Gecko,
    /// The flash around the slot.
    around: Flash,
    pub(super) slot: Vec<u8>,
    pub(super) status: Status,
    connection: u8,
    image_position: usize,
    verification: Option<Verification>,
    /// Microseconds that a step of the verification takes, and when the one under way is over.
    verify_us: u64,
    step_over: u64,
    signal: u32,
    run: u32,
    /// The erase is under way, and what happens meanwhile: the loop gets to it afterwards, or nobody does.
    pub(super) erasing: bool,
    deaf: bool,
    events: VecDeque<Event>,
    pub(super) now_us: u64,
    pub(super) said: Vec<Said>,
}

impl Model {
    pub(super) fn new(gecko: &Gecko, flash: &Flash, slot: &[u8], verify_us: u64, deaf: bool) -> Self {
        let mut model = Self {
            gecko: gecko.clone(),
            around: flash.clone(),
            slot: slot.to_vec(),
            status: Status::Uninit,
            connection: INVALID,
            image_position: 0,
            verification: None,
            verify_us,
            step_over: 0,
            signal: 0,
            run: 0,
            erasing: false,
            deaf,
            events: VecDeque::new(),
            now_us: 0,
            said: Vec::new(),
        };
        model.init_state();
        model.set_main_status(Status::Init);
        model.steps();
        model
    }

    /// Something happens on the air.
    pub(super) fn event(&mut self, event: Event) {
        match (self.erasing, self.deaf) {
            // The guard cannot be had.
            (true, true) => {}
            (true, false) => self.events.push_back(event),
            (false, _) => {
                self.on_event(event);
                self.steps();
            }
        }
    }

    /// The erase is over.
    pub(super) fn erased(&mut self) {
        if !std::mem::take(&mut self.erasing) {
            return;
        }
        self.slot.fill(0xff);
        self.set_main_status(Status::Ready);
        self.steps();
        while !self.erasing
            && let Some(event) = self.events.pop_front()
        {
            self.on_event(event);
            self.steps();
        }
    }

    pub(super) fn wait(&mut self, us: u64) {
        let until = self.now_us + us;
        while self.status == Status::Verify && self.step_over <= until {
            self.now_us = self.step_over;
            self.verified();
            self.steps();
        }
        self.now_us = until;
    }

    /// Steps for as long as there is one to make, until one takes its time.
    fn steps(&mut self) {
        while self.run > 0 && !self.erasing && !self.said.contains(&Said::Reset) {
            self.run -= 1;
            self.step();
        }
    }

    fn init_state(&mut self) {
        self.connection = INVALID;
        self.status = Status::Uninit;
        self.image_position = 0;
    }

    fn set_main_status(&mut self, status: Status) {
        self.status = status;
        self.run += 1;
        // sl_bt_app_ota_dfu_on_status_event
        match status {
            Status::Error => {
                self.signal += 1;
                self.run += 1;
            }
            Status::WaitForReboot => self.said.push(Said::Reset),
            _ => {}
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Write { connection, control, value, request } => self.written(connection, control, &value, request),
            Event::Closed { connection } => self.closed(connection),
        }
    }

    fn written(&mut self, connection: u8, control: bool, value: &[u8], request: Option<u64>) {
        let mut wanted = Status::Uninit;
        let mut attr_status = 0;
        if control {
            match value.first().copied().unwrap_or(0) {
                0 => {
                    let free = self.connection == INVALID || self.connection == connection;
                    if self.status == Status::Ready && free {
                        wanted = Status::DownloadBegin;
                        self.image_position = 0;
                        self.connection = connection;
                    } else {
                        wanted = Status::Error;
                    }
                }
                3 => wanted = Status::DownloadEnd,
                4 => wanted = Status::Disconnect,
                _ => {}
            }
        } else if self.connection == connection {
            if self.status != Status::DownloadBegin {
                wanted = Status::Error;
                attr_status = 0x81;
            } else if self.image_position >= self.slot.len() {
                wanted = Status::Error;
                attr_status = 0x82;
            } else if self.write_storage(self.image_position, value) != 0 {
                wanted = Status::Error;
                attr_status = 0x83;
            } else {
                wanted = Status::DownloadBegin;
                self.image_position += value.len();
            }
        } else {
            return;
        }
        if let Some(request) = request {
            let answer = if attr_status == 0 { Ok(()) } else { Err(AttError(attr_status)) };
            self.said.push(Said::Answer(request, answer));
        }
        if self.status != wanted {
            self.set_main_status(wanted);
        }
    }

    fn closed(&mut self, connection: u8) {
        if self.connection != connection {
            return;
        }
        let wanted = match self.status {
            Status::DownloadEnd => {
                self.verification = Some(self.gecko.verify_slot(0).unwrap());
                self.image_position = 0;
                self.step_over = self.now_us + self.verify_us;
                Status::Verify
            }
            Status::DownloadBegin => Status::Error,
            _ => Status::Init,
        };
        if self.status != wanted {
            self.set_main_status(wanted);
        }
        self.connection = INVALID;
        self.run += 1;
    }

    fn step(&mut self) {
        match self.status {
            Status::Init => self.set_main_status(Status::ReadFlash),
            Status::ReadFlash => {
                let dirty = self.slot.chunks_exact(4).any(|word| word != [0xff; 4]);
                self.set_main_status(if dirty { Status::Erase } else { Status::Ready });
            }
            Status::Erase => {
                // The step goes on when that is done.
                self.erasing = true;
                return;
            }
            Status::Verify if self.verify_us == 0 => self.verified(),
            Status::Finalize => self.set_main_status(Status::WaitForReboot),
            Status::Uninit
            | Status::Ready
            | Status::Disconnect
            | Status::DownloadBegin
            | Status::DownloadEnd
            | Status::Verify
            | Status::WaitForReboot
            | Status::Error => {}
        }
        if self.signal > 0 {
            self.signal -= 1;
            self.init_state();
            self.set_main_status(Status::Init);
        }
    }

    /// A step of the verification is over.
    fn verified(&mut self) {
        let mut flash = self.around.clone();
        let (area, offset) = self.gecko.map().place(super::SLOT.0, super::SLOT.1).unwrap();
        flash.load(area, offset, &self.slot).unwrap();
        let verification = self.verification.as_mut().unwrap();
        match verification.step(&self.gecko, &mut Controller::new(&mut flash, &mut Uncut)).unwrap() {
            None => self.step_over += self.verify_us,
            Some(true) => self.set_main_status(Status::Finalize),
            Some(false) => self.set_main_status(Status::Error),
        }
        self.run += 1;
    }

    /// `bootloader_writeStorage`, on Series 2.
    fn write_storage(&mut self, offset: usize, data: &[u8]) -> i32 {
        if offset + data.len() > self.slot.len() {
            return INVALID_ADDRESS;
        }
        // verifyErased: word by word, the last one whole.
        let mut at = 0;
        while at < data.len() {
            if self.slot[offset + at..].iter().take(4).any(|byte| *byte != 0xff) {
                return NEEDS_ERASE;
            }
            at += 4;
        }
        if data.is_empty() {
            return 0;
        }
        if !offset.is_multiple_of(4) || !data.len().is_multiple_of(4) {
            return INVALID_ADDRESS;
        }
        self.slot[offset..offset + data.len()].copy_from_slice(data);
        0
    }
}
