//! An upload over a serial line (Adafruit's bootloader: `dfu_transport_serial.c`, `dfu_single_bank.c`, `flash_nrf5x.c`).
//!
//! Each packet is acknowledged when it comes, and says nothing of what becomes of it:
//!
//! | packet | what becomes of it | when it is refused |
//! |---|---|---|
//! | start | flash is erased, meanwhile nothing is heard | the error handler resets the device |
//! | init | it is checked | the error handler resets the device |
//! | data | it is gathered, a page at a time | nothing |
//! | stop | the image is checked and activated | nothing: DFU mode stays |
//!
//! While flash is at work the processor stands still: what comes meanwhile waits in the host.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic_legacy::{Dfu, FlashStep, State};
use brickproof_flash_model::flash::Flash;

use super::config::LegacyBoard;
use super::hci::{HEADER_LEN, Receiver, SerialPacket};
use crate::nordic::queue::{After, FlashQueue, Job};

/// Frames that wait in the host and on the way; a host that does not wait for acknowledgements loses what is more.
const WAITING_MAX: usize = 64;

/// What the server has to say to the rest of DFU mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// An acknowledgement of this call.
    Acknowledged([u8; HEADER_LEN], &'static str),
    /// Something was accepted: the time without activity begins again.
    Active,
    /// A frame was lost for want of room.
    Dropped,
    /// The image is being activated.
    Activating,
    /// The image is activated.
    Completed,
    /// The code ends in its error handler.
    Fault(String),
    /// Something that is worth knowing.
    Note(String),
}

/// A page that is gathered before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    address: u32,
    /// Where what was gathered begins on it.
    start: usize,
    bytes: Vec<u8>,
}

/// The server of one DFU mode, from its start to the reset.
#[derive(Debug, Clone, Default)]
pub struct SerialServer {
    dfu: Dfu,
    receiver: Receiver,
    page: Option<Page>,
    queue: FlashQueue,
    waiting: VecDeque<Vec<u8>>,
    said: VecDeque<Said>,
}

impl SerialServer {
    /// Where the upload stands.
    #[must_use]
    pub fn dfu(&self) -> &Dfu {
        &self.dfu
    }

    /// Bytes of the image received, and its size; `None` before it was announced.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        (self.dfu.state() != State::Idle).then_some((self.dfu.received(), self.dfu.image_size()))
    }

    pub(super) fn job(&self) -> Option<&Job> {
        self.queue.first()
    }

    pub(super) fn take_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// A frame has come.
    pub(super) fn received(&mut self, board: &LegacyBoard, frame: &[u8], flash: &Flash) {
        if self.waiting.len() >= WAITING_MAX {
            return self.said.push_back(Said::Dropped);
        }
        self.waiting.push_back(frame.to_vec());
        self.work(board, flash);
    }

    /// A step of the flash work has ended.
    pub(super) fn flashed(&mut self, board: &LegacyBoard, flash: &Flash, done: bool) {
        let after = self.queue.done();
        if !done {
            return self.said.push_back(Said::Fault("the flash has refused what it was asked".into()));
        }
        match after {
            Some(After::Answer) => {
                let settings = board.bootloader.erased(&mut self.dfu, flash);
                self.queue.push_all(settings, After::Nothing);
            }
            Some(After::Reset) => self.said.push_back(Said::Completed),
            _ => {}
        }
        self.work(board, flash);
    }

    /// Does what there is time for.
    fn work(&mut self, board: &LegacyBoard, flash: &Flash) {
        while self.queue.is_empty()
            && let Some(frame) = self.waiting.pop_front()
        {
            match self.receiver.receive(&frame) {
                Err(error) => self.said.push_back(Said::Note(format!("a frame is dropped: {error}"))),
                Ok((acknowledgement, payload)) => {
                    let packet = payload.map(SerialPacket::parse);
                    let call = packet.as_ref().map_or(crate::nordic::calls::MALFORMED, SerialPacket::call);
                    self.said.push_back(Said::Acknowledged(acknowledgement, call));
                    if let Some(packet) = packet {
                        self.handle(board, flash, packet);
                    }
                }
            }
        }
    }

    fn handle(&mut self, board: &LegacyBoard, flash: &Flash, packet: SerialPacket) {
        match packet {
            SerialPacket::Start { mode, sizes } => match board.bootloader.start(&mut self.dfu, mode, sizes, flash) {
                Ok(erase) => {
                    self.said.push_back(Said::Active);
                    self.queue.push(erase, After::Answer);
                }
                Err(status) => self.said.push_back(Said::Fault(format!("the sizes are refused: {status}"))),
            },
            SerialPacket::Init(bytes) => {
                if board.bootloader.init_packet(&mut self.dfu, &bytes).is_ok() {
                    self.said.push_back(Said::Active);
                }
                if let Err((status, why)) = board.bootloader.init_complete(&mut self.dfu, flash) {
                    let why = why.map_or_else(|| status.to_string(), |why| why.to_string());
                    self.said.push_back(Said::Fault(format!("the init packet is refused: {why}")));
                }
            }
            SerialPacket::Data(bytes) => match board.bootloader.data(&mut self.dfu, &bytes) {
                Ok(data) => {
                    self.said.push_back(Said::Active);
                    self.gather(board, data.step);
                    if data.complete {
                        self.flush();
                    }
                }
                Err(status) => self.said.push_back(Said::Note(format!("data is dropped: {status}"))),
            },
            SerialPacket::Stop => {
                let validated = board.bootloader.validate(&mut self.dfu, flash);
                match board.bootloader.activate(&self.dfu, flash) {
                    Ok(steps) => {
                        self.said.push_back(Said::Activating);
                        self.queue.push_all(steps, After::Reset);
                    }
                    Err(status) => {
                        let why = validated.err().unwrap_or(status);
                        self.said.push_back(Said::Note(format!("nothing is activated: {why}")));
                    }
                }
            }
            SerialPacket::Other(kind) => self.said.push_back(Said::Note(format!("a packet of type {kind} is ignored"))),
        }
    }

    /// `flash_nrf5x_write`.
    fn gather(&mut self, board: &LegacyBoard, step: FlashStep) {
        let FlashStep::Store { mut address, bytes } = step else { return };
        let size = board.bootloader.map().page();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let at = (address % size) as usize;
            let (now, later) = rest.split_at(rest.len().min(size as usize - at));
            let here = address - address % size;
            if self.page.as_ref().is_none_or(|page| page.address != here || page.start + page.bytes.len() != at) {
                self.flush();
                self.page = Some(Page { address: here, start: at, bytes: Vec::new() });
            }
            if let Some(page) = &mut self.page {
                page.bytes.extend_from_slice(now);
            }
            address = address.wrapping_add(u32::try_from(now.len()).unwrap_or(u32::MAX));
            rest = later;
        }
    }

    /// `flash_nrf5x_flush`.
    fn flush(&mut self) {
        let Some(page) = self.page.take() else { return };
        let address = page.address.wrapping_add(u32::try_from(page.start).unwrap_or(0));
        self.queue.push(FlashStep::Store { address, bytes: page.bytes }, After::Nothing);
    }
}
