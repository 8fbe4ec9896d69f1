//! The Legacy DFU server on Bluetooth LE: requests and packets in, answers out (nrf5 sdk 11: `ble_dfu.c`,
//! `dfu_transport_ble.c`; Adafruit's bootloader has the same).
//!
//! | what is written | refused with |
//! |---|---|
//! | `01` or `02` without a second byte | `10 <opcode> 06` |
//! | `08` with less than three bytes | `10 08 03` |
//! | an unknown opcode | `10 <opcode> 03` |
//! | sizes that are not 12 bytes | `10 01 03` |
//! | sizes that cannot be | `10 01 03`, `10 01 04`; `10 01 02` unless nothing has begun |
//! | an init packet when none is expected, or too long | `10 02 02`, `10 02 06` |
//! | data that is not of whole words | `10 03 03` |
//! | data, and no buffer is free | `10 03 06`; what does not fit one `10 03 04` |
//! | data when none is expected | `10 03 02` |
//! | more data than was announced | `10 03 04`; after that `10 03 06`, unless it is too much again |
//! | `04` before all of it has come | `10 04 02` |
//! | `04`, and what is in flash is not the image | `10 04 05`; after that everything is `02` |
//!
//! A packet before any request is ignored. Which kind of packet one is decides the last of `01`, `02` and `03`, whatever
//! the state. `04` looks at flash as it is: before the last byte is there, the CRC is wrong; and the answer to `03` that is
//! still due then never comes.
//!
//! What of it is answered when flash work ends needs a connection. Without one, the code ends in its error handler, which
//! resets the device.

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic_legacy::{Dfu, FlashStep, State, Status};
use brickproof_flash_model::flash::Flash;

use super::config::LegacyBoard;
use super::wire::{Answer, Malformed, Request, call_of_opcode, opcode, parse_sizes};
use crate::nordic::queue::{After, FlashQueue, Job};

/// What a packet is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketKind {
    /// Nothing.
    Invalid,
    /// Sizes.
    Sizes,
    /// The init packet.
    Init,
    /// The image.
    Image,
}

/// What the server has to say to the rest of DFU mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// An answer to this call; of a packet, its receipt.
    Answer(Answer, &'static str),
    /// Something was accepted: the time without activity begins again.
    Active,
    /// A packet was lost for want of room.
    Dropped { what: String },
    /// The device is to reset at once.
    Reset,
    /// The image is being activated: the connection ends.
    Activating,
    /// The image is activated.
    Completed,
    /// The code ends in its error handler.
    Fault(String),
    /// Something that is worth knowing.
    Note(String),
}

/// The server of one DFU mode, from its start to the reset.
#[derive(Debug, Clone)]
pub struct LegacyServer {
    dfu: Dfu,
    kind: PacketKind,
    mode: u8,
    /// Bytes of the image that were taken, in all.
    bytes: u32,
    prn: u16,
    prn_left: u16,
    buffers_used: usize,
    queue: FlashQueue,
    /// The flash driver refuses its first job for ever.
    stuck: bool,
    connected: bool,
    said: VecDeque<Said>,
}

impl Default for LegacyServer {
    fn default() -> Self {
        Self {
            dfu: Dfu::default(),
            kind: PacketKind::Invalid,
            mode: 0,
            bytes: 0,
            prn: 0,
            prn_left: 0,
            buffers_used: 0,
            queue: FlashQueue::default(),
            stuck: false,
            connected: false,
            said: VecDeque::new(),
        }
    }
}

impl LegacyServer {
    /// Where the upload stands.
    #[must_use]
    pub fn dfu(&self) -> &Dfu {
        &self.dfu
    }

    /// What a packet would be taken for.
    #[must_use]
    pub fn packet_kind(&self) -> PacketKind {
        self.kind
    }

    /// Buffers that hold a packet.
    #[must_use]
    pub fn buffers_used(&self) -> usize {
        self.buffers_used
    }

    /// Bytes of the image received, and its size; `None` before it was announced.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        (self.dfu.state() != State::Idle).then_some((self.bytes, self.dfu.image_size()))
    }

    /// The flash work that is to be done now.
    pub(super) fn job(&self) -> Option<&Job> {
        if self.stuck { None } else { self.queue.first() }
    }

    pub(super) fn take_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    pub(super) fn connected(&mut self, connected: bool) {
        self.connected = connected;
    }

    fn say(&mut self, said: Said) {
        self.said.push_back(said);
    }

    fn answer(&mut self, answer: Answer, call: &'static str) {
        if self.connected {
            self.say(Said::Answer(answer, call));
        } else {
            self.say(Said::Fault("there is nobody to answer to".into()));
        }
    }

    fn respond(&mut self, request: u8, status: Status) {
        self.answer(Answer::Response { request, status: status.number() }, call_of_opcode(request));
    }

    /// The answer to a packet.
    fn respond_to_packet(&mut self, status: Status) {
        let request = opcode::RECEIVE;
        self.answer(Answer::Response { request, status: status.number() }, "legacy-packet");
    }

    /// The control point was written.
    pub(super) fn requested(&mut self, board: &LegacyBoard, value: &[u8], flash: &Flash) {
        let request = match Request::parse(value) {
            Ok(request) => request,
            Err(Malformed::Empty) => return self.say(Said::Note("nothing was written to the control point".into())),
            Err(Malformed::Short(opcode::PRN)) => return self.respond(opcode::PRN, Status::NotSupported),
            Err(Malformed::Short(opcode)) => return self.respond(opcode, Status::OperationFailed),
            Err(Malformed::Unknown(opcode)) => return self.respond(opcode, Status::NotSupported),
        };
        match request {
            Request::Start { mode } => (self.kind, self.mode) = (PacketKind::Sizes, mode),
            Request::InitBegin => self.kind = PacketKind::Init,
            Request::InitEnd => {
                self.kind = PacketKind::Init;
                let status = match board.bootloader.init_complete(&mut self.dfu, flash) {
                    Ok(()) => Status::Success,
                    Err((status, why)) => {
                        if let Some(why) = why {
                            self.say(Said::Note(why.to_string()));
                        }
                        status
                    }
                };
                self.respond(opcode::INIT, status);
            }
            Request::Receive => self.kind = PacketKind::Image,
            Request::Validate => {
                let validated = board.bootloader.validate(&mut self.dfu, flash);
                if !matches!(validated, Err(Status::InvalidState)) {
                    self.say(Said::Active);
                }
                self.respond(opcode::VALIDATE, validated.err().unwrap_or(Status::Success));
            }
            Request::Activate => self.activate(board, flash),
            Request::Reset => self.say(Said::Reset),
            Request::ReportSize => self.answer(Answer::Size(self.bytes), request.call()),
            Request::Prn(packets) => (self.prn, self.prn_left) = (packets, packets),
        }
    }

    /// What is activated is put into the queue; nothing to activate means a reset.
    pub(super) fn activate(&mut self, board: &LegacyBoard, flash: &Flash) {
        match board.bootloader.activate(&self.dfu, flash) {
            Ok(steps) => {
                self.say(Said::Activating);
                self.queue.push_all(steps, After::Reset);
            }
            Err(_) => self.say(Said::Reset),
        }
    }

    /// A packet was written; `refuses` is the answer to sizes while the battery is low.
    pub(super) fn packet(&mut self, board: &LegacyBoard, bytes: &[u8], flash: &Flash, refuses: Option<u8>) {
        match self.kind {
            PacketKind::Invalid => self.say(Said::Note("a packet of no kind is ignored".into())),
            PacketKind::Sizes => self.sizes(board, bytes, flash, refuses),
            PacketKind::Init => self.init_packet(board, bytes),
            PacketKind::Image => self.image_packet(board, bytes),
        }
    }

    fn sizes(&mut self, board: &LegacyBoard, bytes: &[u8], flash: &Flash, refuses: Option<u8>) {
        let Some(sizes) = parse_sizes(bytes) else { return self.respond(opcode::START, Status::NotSupported) };
        if let Some(status) = refuses {
            let answer = Answer::Response { request: opcode::START, status };
            return self.answer(answer, call_of_opcode(opcode::START));
        }
        match self.start(board, self.mode, sizes, flash) {
            Ok(()) => {}
            Err(status) => self.respond(opcode::START, status),
        }
    }

    /// Sizes are taken, and flash is to be erased for them.
    pub(super) fn start(
        &mut self,
        board: &LegacyBoard,
        mode: u8,
        sizes: [u32; 3],
        flash: &Flash,
    ) -> Result<(), Status> {
        let erase = board.bootloader.start(&mut self.dfu, mode, sizes, flash)?;
        self.say(Said::Active);
        self.queue.push(erase, After::Answer);
        Ok(())
    }

    fn init_packet(&mut self, board: &LegacyBoard, bytes: &[u8]) {
        let taken = board.bootloader.init_packet(&mut self.dfu, bytes);
        if !matches!(taken, Err(Status::InvalidState)) {
            self.say(Said::Active);
        }
        if let Err(status) = taken {
            let answer = Answer::Response { request: opcode::INIT, status: status.number() };
            self.answer(answer, "legacy-init-packet");
        }
    }

    fn image_packet(&mut self, board: &LegacyBoard, bytes: &[u8]) {
        if !bytes.len().is_multiple_of(4) {
            return self.respond_to_packet(Status::NotSupported);
        }
        if self.buffers_used >= board.dfu.buffers {
            self.say(Said::Dropped { what: format!("a packet of {} bytes", bytes.len()) });
            return self.respond_to_packet(Status::OperationFailed);
        }
        if bytes.len() > board.dfu.buffer_size {
            return self.respond_to_packet(Status::DataSize);
        }
        let taken = board.bootloader.data(&mut self.dfu, bytes);
        if matches!(taken, Ok(_) | Err(Status::OperationFailed)) {
            self.say(Said::Active);
        }
        let data = match taken {
            Ok(data) => data,
            Err(status) => return self.respond_to_packet(status),
        };
        self.buffers_used += 1;
        self.bytes = self.bytes.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if bytes.is_empty() {
            return self.empty_packet();
        }
        self.queue.push(data.step, if data.complete { After::Completed } else { After::FreeBuffer });
        if !data.complete {
            self.count();
        }
    }

    /// The flash driver refuses to write nothing. When it is idle it says so at once, which counts as taken, and then does
    /// nothing any more (nrf5 sdk 11: `pstorage_raw.c`, `cmd_queue_enqueue`).
    fn empty_packet(&mut self) {
        if self.queue.is_empty() {
            self.stuck = true;
            self.say(Said::Note("the flash driver was asked to write nothing, and is stuck".into()));
        } else {
            self.queue.push_refused(After::FreeBuffer);
        }
        self.count();
    }

    /// A packet that does not complete the image counts for a receipt.
    fn count(&mut self) {
        if self.prn == 0 {
            return;
        }
        self.prn_left = self.prn_left.wrapping_sub(1);
        if self.prn_left == 0 {
            self.prn_left = self.prn;
            self.answer(Answer::Receipt(self.bytes), "legacy-packet");
        }
    }

    /// A step of the flash work has ended.
    pub(super) fn flashed(&mut self, board: &LegacyBoard, flash: &Flash, done: bool) {
        let after = self.queue.done();
        if !done {
            return self.say(Said::Fault("the flash driver has failed".into()));
        }
        match after {
            Some(After::Answer) => {
                let settings = board.bootloader.erased(&mut self.dfu, flash);
                self.push_settings(settings);
                self.respond(opcode::START, Status::Success);
            }
            Some(after @ (After::FreeBuffer | After::Completed)) if self.dfu.state() == State::ReceivingData => {
                self.buffers_used = self.buffers_used.saturating_sub(1);
                if after == After::Completed {
                    self.respond(opcode::RECEIVE, Status::Success);
                }
            }
            Some(After::Reset) => self.say(Said::Completed),
            Some(After::FreeBuffer | After::Completed | After::Nothing) | None => {}
        }
    }

    fn push_settings(&mut self, steps: Vec<FlashStep>) {
        self.queue.push_all(steps, After::Nothing);
    }
}
