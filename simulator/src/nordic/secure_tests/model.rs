//! A second reading of the DFU mode of SDK 17.1, over bytes as the C code has them (`nrf_dfu_req_handler.c`,
//! `nrf_dfu_ble.c`, `nrf_dfu_settings.c`, `nrf_fstorage_sd.c`). What it makes of init packets and images is in
//! [`super::validation`].

use std::collections::VecDeque;

use brickproof_flash_model::image::nordic::crc32;

use super::packets::Known;
use super::{BACKUP, PAGE, SETTINGS};

/// Offsets of `nrf_dfu_settings_t`.
pub(super) mod at {
    pub(in super::super) const VERSION: usize = 0x04;
    pub(in super::super) const APP_VERSION: usize = 0x08;
    pub(in super::super) const BOOTLOADER_VERSION: usize = 0x0c;
    pub(in super::super) const BANK_0: usize = 0x18;
    pub(in super::super) const BANK_1: usize = 0x24;
    pub(in super::super) const WRITE_OFFSET: usize = 0x30;
    pub(in super::super) const SD_SIZE: usize = 0x34;
    pub(in super::super) const COMMAND_SIZE: usize = 0x38;
    pub(in super::super) const COMMAND_OFFSET: usize = 0x3c;
    pub(in super::super) const COMMAND_CRC: usize = 0x40;
    pub(in super::super) const OBJECT_SIZE: usize = 0x44;
    /// Later the start of the update: a union.
    pub(in super::super) const IMAGE_CRC: usize = 0x48;
    pub(in super::super) const IMAGE_CRC_LAST: usize = 0x4c;
    pub(in super::super) const IMAGE_OFFSET: usize = 0x50;
    pub(in super::super) const IMAGE_OFFSET_LAST: usize = 0x54;
    pub(in super::super) const ENTER_DFU: usize = 0x58;
    pub(in super::super) const INIT_COMMAND: usize = 0x5c;
    pub(in super::super) const VALIDATION_CRC: usize = 0x25c;
    pub(in super::super) const VALIDATIONS: usize = 0x260;
    pub(in super::super) const VALIDATIONS_END: usize = 0x323;
    pub(in super::super) const PEER_DATA: usize = 0x324;
    pub(in super::super) const END: usize = 0x380;
}

/// What is chosen when a bootloader is built.
#[derive(Debug, Clone, Copy)]
pub(super) struct Built {
    pub(super) reduced: bool,
    pub(super) saves: bool,
    pub(super) single: bool,
    pub(super) force_dual: bool,
    pub(super) signed: bool,
    pub(super) downgrades: bool,
    pub(super) same_version: bool,
    pub(super) debug: bool,
}

/// What follows when the flash driver has done an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Free,
    Complete,
    Reset,
}

/// An operation of the flash driver.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operation {
    Erase {
        at: usize,
        pages: usize,
    },
    Packet {
        at: usize,
        bytes: Vec<u8>,
    },
    /// A page of settings, from the buffer that belongs to it when the operation is done.
    Page {
        backup: bool,
    },
}

/// Most operations that the driver queues.
const QUEUE: usize = 16;

/// The bootloader in DFU mode.
#[derive(Debug)]
pub(super) struct Model<'a> {
    pub(super) built: Built,
    pub(super) known: &'a [Known],
    pub(super) flash: Vec<u8>,
    /// `s_dfu_settings`.
    pub(super) settings: [u8; at::END],
    /// The static buffers of `nrf_dfu_settings_write` and `settings_backup`.
    buffers: [[u8; at::END]; 2],
    pub(super) current: u8,
    /// `m_valid_init_cmd_present`.
    pub(super) valid: bool,
    /// `mp_init`, `m_packet`.
    pub(super) init: Option<&'a Known>,
    pub(super) start: u32,
    pub(super) size: u32,
    receipts: (u16, u16),
    free: usize,
    queue: VecDeque<(Operation, Then)>,
    /// Executes of data objects that wait for the flash.
    waiting: usize,
    pub(super) inactive_at: u64,
    /// The transports are closed, and the device is about to reset.
    pub(super) closed: bool,
    pub(super) resets: bool,
}

type Said = Vec<Vec<u8>>;

impl<'a> Model<'a> {
    /// A start of the bootloader with this flash, which stays in DFU mode; `None` where it ends in its error handler.
    pub(super) fn start(built: Built, known: &'a [Known], flash: Vec<u8>, now: u64) -> Option<Self> {
        let mut model = Self {
            built,
            known,
            flash,
            settings: [0; at::END],
            buffers: [[0; at::END]; 2],
            current: 1,
            valid: false,
            init: None,
            start: 0,
            size: 0,
            receipts: (0, 0),
            free: 4096 / 244 + 1,
            queue: VecDeque::new(),
            waiting: 0,
            inactive_at: now + 120_000_000,
            closed: false,
            resets: false,
        };
        model.reload();
        assert!(model.write_and_backup(Then::Nothing));
        while model.work().is_some() {}
        // `nrf_dfu_req_handler_init`.
        model.valid = model.get(at::COMMAND_SIZE) != 0 && model.decode();
        if model.valid && model.execute_init().is_err() {
            return None;
        }
        Some(model)
    }

    pub(super) fn get(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.settings[offset..offset + 4].try_into().unwrap())
    }

    pub(super) fn set(&mut self, offset: usize, value: u32) {
        self.settings[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn busy(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn buffers_free(&self) -> usize {
        self.free
    }

    /// `nrf_dfu_settings_reinit`.
    fn reload(&mut self) {
        let page: [u8; at::END] = self.flash[SETTINGS..SETTINGS + at::END].try_into().unwrap();
        let backup: [u8; at::END] = self.flash[BACKUP..BACKUP + at::END].try_into().unwrap();
        let word = |of: &[u8], offset: usize| u32::from_le_bytes(of[offset..offset + 4].try_into().unwrap());
        let sealed = |of: &[u8]| word(of, 0) != u32::MAX && word(of, 0) == crc32(&of[4..at::INIT_COMMAND], 0);
        let validations = crc32(&backup[at::VALIDATIONS..at::VALIDATIONS_END], 0);
        let kept =
            sealed(&backup) && (word(&backup, at::VERSION) == 1 || word(&backup, at::VALIDATION_CRC) == validations);
        match (sealed(&page), kept) {
            (true, true) => {
                self.settings = page;
                for part in [at::VERSION..at::ENTER_DFU, at::INIT_COMMAND..at::PEER_DATA] {
                    self.settings[part.clone()].copy_from_slice(&backup[part]);
                }
            }
            (true, false) => self.settings = page,
            (false, true) => self.settings = backup,
            (false, false) => {
                self.settings = [0; at::END];
                self.set(at::VERSION, 2);
            }
        }
    }

    /// `nrf_dfu_settings_progress_reset`.
    pub(super) fn progress_reset(&mut self) {
        self.settings[at::INIT_COMMAND..at::VALIDATION_CRC].fill(0xff);
        self.settings[at::COMMAND_SIZE..at::ENTER_DFU].fill(0);
        self.set(at::WRITE_OFFSET, 0);
    }

    fn push(&mut self, operation: Operation, then: Then) -> bool {
        let room = self.queue.len() < QUEUE;
        if room {
            self.queue.push_back((operation, then));
        }
        room
    }

    /// `settings_write`.
    fn write_page(&mut self, source: [u8; at::END], backup: bool, then: Then) -> bool {
        let page = if backup { BACKUP } else { SETTINGS };
        if self.flash[page..page + at::END] == source {
            self.then(then);
            return true;
        }
        if !self.push(Operation::Erase { at: page, pages: 1 }, Then::Nothing) {
            return false;
        }
        self.buffers[usize::from(backup)] = source;
        self.push(Operation::Page { backup }, then)
    }

    /// `nrf_dfu_settings_write_and_backup`.
    fn write_and_backup(&mut self, then: Then) -> bool {
        let crc = crc32(&self.settings[4..at::INIT_COMMAND], 0);
        self.set(0, crc);
        let crc = crc32(&self.settings[at::VALIDATIONS..at::VALIDATIONS_END], 0);
        self.set(at::VALIDATION_CRC, crc);
        let written = self.write_page(self.settings, false, Then::Nothing);
        if written {
            self.write_page(self.settings, true, then);
        }
        written
    }

    /// `bootloader_reset`: the page is copied to the backup, and then comes the reset.
    fn reset(&mut self) {
        self.closed = true;
        let page = self.flash[SETTINGS..SETTINGS + at::END].try_into().unwrap();
        self.write_page(page, true, Then::Reset);
    }

    /// `nrf_dfu_transports_close`: what is queued is written in the 200 ms that it waits.
    fn close(&mut self) {
        self.closed = true;
        while !self.resets && self.work().is_some() {}
        self.reset();
    }

    fn then(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Free => self.free += 1,
            Then::Complete => self.close(),
            Then::Reset => self.resets = true,
        }
    }

    pub(super) fn disconnected(&mut self) {
        self.reload();
    }

    /// Time has passed.
    pub(super) fn at(&mut self, now: u64) {
        if !self.closed && now >= self.inactive_at {
            self.reset();
        }
    }

    /// `on_ctrl_pt_write`, and the handler behind the scheduler, which is idle.
    pub(super) fn ask(&mut self, value: &[u8], now: u64) -> Said {
        if self.closed {
            return vec![];
        }
        let Some((&opcode, rest)) = value.split_first() else { return vec![] };
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        match (opcode, rest) {
            (1, [kind, size @ ..]) if size.len() >= 4 => {
                self.receipts.1 = self.receipts.0;
                self.current = *kind;
                let size = word(&size[..4]);
                match self.object() {
                    1 => {
                        self.inactive_at = now + 120_000_000;
                        let result = self.create_command(size);
                        self.answer(1, result, &[])
                    }
                    2 => {
                        let result = self.create_data(size);
                        self.answer(1, result, &[])
                    }
                    _ => self.answer(1, Err(0x05), &[]),
                }
            }
            (2, [low, high, ..]) => {
                let packets = u16::from_le_bytes([*low, *high]);
                self.receipts = (packets, packets);
                self.answer(2, Ok(()), &[])
            }
            (6, [kind, ..]) => {
                self.current = *kind;
                let max = match self.object() {
                    1 => 512,
                    2 => PAGE,
                    _ => return self.answer(6, Err(0x05), &[]),
                };
                let [offset, crc] = self.report();
                self.answer(6, Ok(()), &[max, offset, crc])
            }
            // Bytes that are not there are whatever was in the buffer; the bench says what it makes of them.
            (1 | 2 | 6, _) => self.answer(opcode, Err(0x03), &[]),
            (3, _) if self.object() == 0 => self.answer(3, Err(0x05), &[]),
            (3, _) => {
                let report = self.report();
                self.answer(3, Ok(()), &report)
            }
            (4, _) => match self.object() {
                1 => {
                    let mut result = self.execute_init();
                    if result.is_ok() && !self.write_and_backup(Then::Nothing) {
                        result = Err(0x0a);
                    }
                    self.answer(4, result, &[])
                }
                2 => self.execute_data(now),
                _ => self.answer(4, Err(0x05), &[]),
            },
            // A write without bytes, of which the C code gives address 0.
            (8, _) => {
                let vectors = self.flash[..4].to_vec();
                self.packet(&[], Some(vectors))
            }
            (0x0c, _) => {
                self.close();
                vec![]
            }
            // Over Bluetooth LE nothing of what these ask for is encoded.
            (0 | 7 | 9 | 0x0a | 0x0b, _) if !self.built.reduced => self.answer(opcode, Ok(()), &[]),
            _ => self.answer(opcode, Err(0x02), &[]),
        }
    }

    /// The current object, 0 for none.
    fn object(&mut self) -> u8 {
        if !matches!(self.current, 1 | 2) {
            self.current = 0;
        }
        self.current
    }

    fn report(&mut self) -> [u32; 2] {
        match self.object() {
            1 => [at::COMMAND_OFFSET, at::COMMAND_CRC].map(|offset| self.get(offset)),
            _ => [at::IMAGE_OFFSET, at::IMAGE_CRC].map(|offset| self.get(offset)),
        }
    }

    /// A result of 0x0b00 or more is an extended error.
    #[allow(clippy::unused_self, reason = "reads as an action of the model")]
    fn answer(&self, opcode: u8, result: Result<(), u16>, words: &[u32]) -> Said {
        let mut said = vec![0x60, opcode];
        match result {
            Ok(()) => said.push(1),
            Err(code) if code > 0xff => said.extend(code.to_be_bytes()),
            Err(code) => said.push(code as u8),
        }
        if result.is_ok() {
            words.iter().for_each(|word| said.extend(word.to_le_bytes()));
        }
        vec![said]
    }

    fn create_command(&mut self, size: u32) -> Result<(), u16> {
        match size {
            0 => Err(0x03),
            513.. => Err(0x04),
            _ => {
                self.valid = false;
                self.progress_reset();
                self.set(at::COMMAND_SIZE, size);
                Ok(())
            }
        }
    }

    fn create_data(&mut self, size: u32) -> Result<(), u16> {
        let last = self.get(at::IMAGE_OFFSET_LAST);
        if !self.valid {
            return Err(0x08);
        }
        if size == 0 || !size.is_multiple_of(PAGE) && last.wrapping_add(size) != self.size {
            return Err(0x03);
        }
        if size > PAGE {
            return Err(0x04);
        }
        if last.wrapping_add(size) > self.size {
            return Err(0x08);
        }
        self.set(at::OBJECT_SIZE, size);
        let crc = self.get(at::IMAGE_CRC_LAST);
        self.set(at::IMAGE_CRC, crc);
        self.set(at::IMAGE_OFFSET, last);
        self.set(at::WRITE_OFFSET, last);
        let at = (self.start + last) as usize;
        if self.push(Operation::Erase { at, pages: size.div_ceil(PAGE) as usize }, Then::Nothing) {
            Ok(())
        } else {
            Err(0x05)
        }
    }

    fn execute_data(&mut self, now: u64) -> Said {
        let sent = self.get(at::IMAGE_OFFSET).wrapping_sub(self.get(at::IMAGE_OFFSET_LAST));
        if self.get(at::OBJECT_SIZE) != sent {
            return self.answer(4, Err(0x08), &[]);
        }
        self.set(at::OBJECT_SIZE, 0);
        let [offset, crc] = [at::IMAGE_OFFSET, at::IMAGE_CRC].map(|offset| self.get(offset));
        self.set(at::IMAGE_OFFSET_LAST, offset);
        self.set(at::IMAGE_CRC_LAST, crc);
        self.inactive_at = now + 120_000_000;
        self.waiting += 1;
        self.executed()
    }

    /// `on_data_obj_execute_request_sched`, of each execute that waits.
    fn executed(&mut self) -> Said {
        let mut said = vec![];
        while self.waiting > 0 && self.queue.is_empty() && !self.closed {
            self.waiting -= 1;
            if self.get(at::IMAGE_OFFSET) == self.size {
                let result = self.postvalidate();
                said.extend(self.answer(4, result, &[]));
                self.write_and_backup(Then::Complete);
            } else {
                said.extend(self.answer(4, Ok(()), &[]));
                if self.built.saves {
                    self.write_and_backup(Then::Nothing);
                }
            }
        }
        said
    }

    /// `on_write`.
    pub(super) fn send(&mut self, value: &[u8]) -> Said {
        if self.closed || self.free == 0 {
            return vec![];
        }
        self.free -= 1;
        self.packet(value, None)
    }

    /// A write request: of a packet in a buffer, or of none, which has the driver write this.
    fn packet(&mut self, value: &[u8], none: Option<Vec<u8>>) -> Said {
        let len = value.len() as u32;
        let buffer = usize::from(none.is_none());
        let mut told = None;
        let result = match self.object() {
            1 => {
                self.free += buffer;
                let offset = self.get(at::COMMAND_OFFSET);
                if offset.wrapping_add(len) > self.get(at::COMMAND_SIZE) {
                    Err(0x03)
                } else {
                    let place = at::INIT_COMMAND + offset as usize;
                    self.settings[place..place + value.len()].copy_from_slice(value);
                    self.set(at::COMMAND_OFFSET, offset + len);
                    let crc = crc32(value, self.get(at::COMMAND_CRC));
                    self.set(at::COMMAND_CRC, crc);
                    Ok(())
                }
            }
            2 if !self.valid => Err(0x08),
            2 => {
                let sent = self.get(at::IMAGE_OFFSET).wrapping_sub(self.get(at::IMAGE_OFFSET_LAST));
                if sent.wrapping_add(len) > self.get(at::OBJECT_SIZE) {
                    Err(0x03)
                } else {
                    let at = (self.start + self.get(at::WRITE_OFFSET)) as usize;
                    let then = if none.is_some() { Then::Nothing } else { Then::Free };
                    let bytes = none.unwrap_or_else(|| value.to_vec());
                    if self.push(Operation::Packet { at, bytes }, then) {
                        let crc = crc32(value, self.get(at::IMAGE_CRC));
                        self.set(at::IMAGE_CRC, crc);
                        self.set(at::IMAGE_OFFSET, self.get(at::IMAGE_OFFSET) + len);
                        self.set(at::WRITE_OFFSET, self.get(at::WRITE_OFFSET) + len);
                    } else {
                        self.free += buffer;
                        // What the response says is never filled in.
                        told = Some([0, 0]);
                    }
                    Ok(())
                }
            }
            _ => Err(0x05),
        };
        self.receipts.1 = self.receipts.1.wrapping_sub(1);
        if self.receipts.0 == 0 || self.receipts.1 != 0 {
            return vec![];
        }
        self.receipts.1 = self.receipts.0;
        let report = told.unwrap_or_else(|| self.report());
        self.answer(3, result, &report)
    }

    /// The driver does one operation; `None` when there is none.
    pub(super) fn work(&mut self) -> Option<Said> {
        let (operation, then) = self.queue.pop_front()?;
        match operation {
            Operation::Erase { at, pages } => self.flash[at..at + pages * PAGE as usize].fill(0xff),
            Operation::Packet { at, bytes } => self.write(at, &bytes),
            Operation::Page { backup } => {
                let at = if backup { BACKUP } else { SETTINGS };
                let bytes = self.buffers[usize::from(backup)];
                self.write(at, &bytes);
            }
        }
        self.then(then);
        Some(self.executed())
    }

    /// `write_execute`: by 20 bytes, each of them whole words. What is no word is filled up or left out, and what does
    /// not begin at a word is refused.
    fn write(&mut self, at: usize, bytes: &[u8]) {
        if !at.is_multiple_of(4) {
            return;
        }
        for (index, piece) in bytes.chunks(20).enumerate() {
            let whole = piece.len() / 4 * 4;
            let piece = if whole == 0 { piece } else { &piece[..whole] };
            for (flash, byte) in self.flash[at + 20 * index..].iter_mut().zip(piece) {
                *flash &= byte;
            }
        }
    }
}
