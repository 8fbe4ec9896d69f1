//! The Secure DFU server: requests and packets in, responses out (nrf5 sdk 17.1: `nrf_dfu_req_handler.c`, and of
//! `nrf_dfu_ble.c` what counts packets).
//!
//! It answers at once, and its flash work goes into a queue. Only the execute of a data object waits until the queue is
//! empty, and the one that completes the image until that has been checked.
//!
//! | what is written | refused with | otherwise |
//! |---|---|---|
//! | a packet, and no buffer is free | nothing: it is lost | |
//! | a packet of a data object, and the flash queue is full | nothing: it is lost, but counts for a receipt | |
//! | a packet that does not fit its object | a receipt, if one is due | it is counted |
//! | a request, and the scheduler is full | nothing: it is lost | it is handled when the code has time |

use std::collections::VecDeque;

use brickproof_flash_model::boot::nordic::{
    BankCode, Dfu, FlashStep, MBR_SIZE, Profile, Refusal, ResultCode, SoftdeviceInfo,
};
use brickproof_flash_model::flash::Flash;

use super::NordicBoard;
use super::message::{call_of_opcode, packet_call};
use super::queue::{After, FlashQueue, Job};
use super::wire::{COMMAND, DATA, EXTENDED_ERROR, Malformed, Payload, Request, Response, opcode};

/// The transport that a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Bluetooth LE.
    Ble,
    /// A serial line, whose longest encoded frame is this.
    Serial {
        /// Bytes.
        mtu: u16,
    },
}

/// What waits for the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheduled {
    Request(Request),
    Malformed(Malformed),
    Packet(Vec<u8>),
}

/// Where the bytes of a packet are.
#[derive(Clone, Copy)]
enum Buffer<'a> {
    /// In a packet buffer, which is to be free again.
    Pool,
    /// In what a serial line has received.
    Line,
    /// Nowhere: there are none. The flash driver, which writes a word at least, takes it from address 0.
    Nothing(&'a Flash),
}

impl Buffer<'_> {
    /// What the driver is given.
    fn written(self, board: &NordicBoard, step: FlashStep) -> FlashStep {
        match (self, step) {
            (Self::Nothing(flash), FlashStep::Store { address, .. }) => {
                let word = board.bootloader.map().word(flash, 0).unwrap_or(u32::MAX);
                FlashStep::Store { address, bytes: word.to_le_bytes().to_vec() }
            }
            (_, step) => step,
        }
    }
}

/// What the server has to say to the rest of DFU mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// A response to this call; of a packet, its receipt.
    Response(Response, &'static str),
    /// An object was begun or is complete: the inactivity timer starts again.
    Active,
    /// A packet or a request was lost for want of room.
    Dropped { pool: &'static str, size: usize, what: String },
    /// The uploader gives up.
    Aborted,
    /// The whole image was checked, and the outcome told.
    Checked,
    /// The outcome of the update is in flash: the device is to reset.
    Completed,
    /// Something that is worth knowing.
    Note(String),
}

/// The server of one DFU mode, from its start to the reset.
#[derive(Debug, Clone)]
pub struct SecureServer {
    pub(super) dfu: Dfu,
    current: u8,
    prn: u16,
    prn_left: u16,
    queue: FlashQueue,
    buffers: usize,
    /// Executes of data objects that wait for the queue.
    executing: u32,
    /// Until when the code checks the image and has time for nothing else, in microseconds.
    busy_until: Option<u64>,
    scheduled: VecDeque<Scheduled>,
    said: VecDeque<Said>,
    /// Flash work blocks the code, as it does without a SoftDevice: nothing is heard or said before it is done.
    blocking: bool,
    over: bool,
}

impl SecureServer {
    /// DFU mode begins.
    ///
    /// # Errors
    /// A stored init packet is refused: the bootloader ends in its error handler.
    pub(super) fn start(board: &NordicBoard, flash: &Flash) -> Result<Self, Refusal> {
        let mut dfu = board.bootloader.start(flash)?;
        let mut queue = FlashQueue::default();
        queue.push_all(std::mem::take(&mut dfu.steps), After::Nothing);
        Ok(Self {
            dfu,
            current: COMMAND,
            prn: board.dfu.receipts,
            prn_left: board.dfu.receipts,
            queue,
            blocking: !board.bootloader.options().ble,
            buffers: board.dfu.buffers,
            executing: 0,
            busy_until: None,
            scheduled: VecDeque::new(),
            said: VecDeque::new(),
            over: false,
        })
    }

    /// The object that requests without a type are about.
    #[must_use]
    pub fn current(&self) -> u8 {
        self.current
    }

    /// Bytes of the image received, and its size; `None` without an init packet.
    #[must_use]
    pub fn progress(&self) -> Option<(u32, u32)> {
        self.dfu.init_valid.then_some((self.dfu.settings.progress.image_offset, self.dfu.firmware_size))
    }

    /// Until when it checks the image.
    pub(super) fn busy_until(&self) -> Option<u64> {
        self.busy_until
    }

    /// The flash work that is to be done now.
    pub(super) fn job(&self) -> Option<&Job> {
        self.queue.first()
    }

    pub(super) fn take_said(&mut self) -> Option<Said> {
        if self.blocking && !self.queue.is_empty() {
            return None;
        }
        self.said.pop_front()
    }

    /// The connection has ended: later SDKs load their settings again.
    pub(super) fn disconnected(&mut self, board: &NordicBoard, flash: &Flash) {
        if board.bootloader.options().profile.reloads_on_disconnect()
            && let Err(refusal) = board.bootloader.reload(&mut self.dfu, flash)
        {
            self.said.push_back(Said::Note(format!("the settings cannot be read: {refusal}")));
        }
    }

    /// A request has arrived.
    pub(super) fn requested(&mut self, board: &NordicBoard, bytes: &[u8]) {
        let profile = board.bootloader.options().profile;
        let scheduled = match Request::parse(bytes) {
            Ok(request) => Scheduled::Request(request),
            // Since SDK 15 nobody looks at the length: what is too much is left alone.
            Err(Malformed::Length { expected, .. }) if profile >= Profile::V15_0 && bytes.len() > expected => {
                match Request::parse(&bytes[..expected]) {
                    Ok(request) => Scheduled::Request(request),
                    Err(malformed) => Scheduled::Malformed(malformed),
                }
            }
            Err(malformed) => Scheduled::Malformed(malformed),
        };
        // Counted where it arrives, whatever comes of it.
        match &scheduled {
            Scheduled::Request(Request::Create { .. }) => self.prn_left = self.prn,
            Scheduled::Request(Request::SetPrn(packets)) => (self.prn, self.prn_left) = (*packets, *packets),
            _ => {}
        }
        self.schedule(board, scheduled, "a request");
    }

    /// A packet has arrived.
    pub(super) fn packet(&mut self, board: &NordicBoard, bytes: &[u8]) {
        if self.buffers == 0 {
            let what = format!("a packet of {} bytes", bytes.len());
            return self.said.push_back(Said::Dropped { pool: "packet buffers", size: board.dfu.buffers, what });
        }
        self.buffers -= 1;
        if !self.schedule(board, Scheduled::Packet(bytes.to_vec()), "a packet") {
            self.buffers += 1;
        }
    }

    fn schedule(&mut self, board: &NordicBoard, scheduled: Scheduled, what: &str) -> bool {
        let room = self.scheduled.len() < board.dfu.scheduler_queue;
        if room {
            self.scheduled.push_back(scheduled);
        } else {
            let size = board.dfu.scheduler_queue;
            self.said.push_back(Said::Dropped { pool: "scheduler queue", size, what: what.into() });
        }
        room
    }

    /// Does what there is time for.
    pub(super) fn work(
        &mut self,
        board: &NordicBoard,
        flash: &Flash,
        transport: Transport,
        refuses: Option<u8>,
        now_us: u64,
    ) {
        loop {
            let blocked = self.blocking && !self.queue.is_empty();
            if self.over || blocked || self.busy_until.is_some_and(|until| now_us < until) {
                return;
            }
            if self.busy_until.take().is_some() {
                self.check_image(board, flash);
            } else if let Some(next) = self.scheduled.pop_front() {
                match next {
                    Scheduled::Packet(bytes) => self.handle_packet(board, &bytes, Buffer::Pool),
                    Scheduled::Request(request) => self.handle(board, flash, transport, refuses, &request),
                    // Over Bluetooth LE nobody reads what these ask for.
                    Scheduled::Malformed(Malformed::Length { opcode: opcode::PING, .. })
                        if transport == Transport::Ble && board.bootloader.options().profile >= Profile::V15_0 =>
                    {
                        self.handle(board, flash, transport, refuses, &Request::Ping(0));
                    }
                    Scheduled::Malformed(Malformed::Length { opcode: opcode::FIRMWARE_VERSION, .. })
                        if transport == Transport::Ble && board.bootloader.options().profile >= Profile::V15_0 =>
                    {
                        self.handle(board, flash, transport, refuses, &Request::FirmwareVersion(0));
                    }
                    Scheduled::Malformed(malformed) => self.handle_malformed(board, malformed),
                }
            } else if self.executing > 0 && self.queue.is_empty() {
                self.executing -= 1;
                self.go_on_with_execute(board, flash, now_us);
            } else {
                return;
            }
        }
    }

    /// A step of the flash work has ended; whether the device is to reset now.
    pub(super) fn flashed(&mut self, done: bool) -> bool {
        let address = match self.queue.first().and_then(|job| job.step.as_ref()) {
            Some(FlashStep::Erase { address, .. } | FlashStep::Store { address, .. }) => *address,
            None => 0,
        };
        if !done {
            self.said.push_back(Said::Note(format!("the flash driver gives up at {address:#x}")));
        }
        match self.queue.done() {
            Some(After::FreeBuffer) => self.buffers += 1,
            Some(After::Completed) => self.complete(),
            Some(After::Reset) => return true,
            Some(After::Nothing | After::Answer) | None => {}
        }
        false
    }

    fn complete(&mut self) {
        self.over = true;
        self.said.push_back(Said::Completed);
    }

    fn respond(&mut self, response: Response) {
        let call = call_of_opcode(response.request, self.current);
        self.said.push_back(Said::Response(response, call));
    }

    fn refuse(&mut self, request: u8, refusal: Refusal) {
        self.respond(refused(request, refusal));
    }

    fn handle_malformed(&mut self, board: &NordicBoard, malformed: Malformed) {
        let Some(opcode) = malformed.opcode() else { return };
        if board.bootloader.options().profile >= Profile::V15_0 {
            self.said.push_back(Said::Note(format!("{malformed}: a real device would read on in its memory")));
        }
        self.respond(Response::result(opcode, ResultCode::InvalidParameter.number()));
    }

    fn handle(
        &mut self,
        board: &NordicBoard,
        flash: &Flash,
        transport: Transport,
        refuses: Option<u8>,
        request: &Request,
    ) {
        let opcode = request.opcode();
        let early = board.bootloader.options().profile < Profile::V15_0;
        if let Request::Create { object, .. } | Request::Select { object } = request {
            self.current = *object;
            if !matches!(*object, COMMAND | DATA) {
                self.current = 0;
            }
        }
        let about_object = matches!(opcode, opcode::CREATE | opcode::SELECT | opcode::CRC | opcode::EXECUTE);
        if about_object && self.current == 0 {
            let code = if early { ResultCode::UnsupportedType } else { ResultCode::InvalidObject };
            return self.refuse(opcode, code.into());
        }
        match request {
            Request::SetPrn(_) => self.respond(Response::success(opcode, Payload::None)),
            Request::Crc => {
                let (offset, crc) = self.received();
                self.respond(Response::success(opcode, Payload::Crc { offset, crc }));
            }
            Request::Select { .. } => {
                let (offset, crc) = self.received();
                let max_size = if self.current == COMMAND {
                    board.dfu.command_max.unwrap_or(board.bootloader.options().profile.init_command_max())
                } else {
                    board.bootloader.data_object_max()
                };
                self.respond(Response::success(opcode, Payload::Select { max_size, offset, crc }));
            }
            Request::Create { size, .. } if self.current == COMMAND => {
                self.said.push_back(Said::Active);
                let created = match refuses {
                    Some(result) => return self.respond(Response::result(opcode, result)),
                    None => board.bootloader.init_command_create(&mut self.dfu, *size),
                };
                self.answer(opcode, created);
            }
            Request::Create { size, .. } => {
                let created = board.bootloader.data_create(&mut self.dfu, *size).and_then(|step| {
                    if !self.blocking && self.queue.len() >= board.dfu.flash_queue {
                        return Err(ResultCode::InvalidObject.into());
                    }
                    self.queue.push(step, After::Nothing);
                    Ok(())
                });
                if matches!(board.bootloader.options().profile, Profile::V14_2) {
                    self.said.push_back(Said::Active);
                }
                self.answer(opcode, created);
            }
            Request::Execute if self.current == COMMAND => self.execute_command(board, flash),
            Request::Execute => match board.bootloader.data_execute(&mut self.dfu) {
                Err(refusal) => self.refuse(opcode, refusal),
                Ok(_) => {
                    self.executing = self.executing.saturating_add(1);
                    self.said.push_back(Said::Active);
                }
            },
            Request::Abort if !early => self.said.push_back(Said::Aborted),
            Request::ProtocolVersion
            | Request::Ping(_)
            | Request::Mtu
            | Request::HardwareVersion
            | Request::FirmwareVersion(_)
                if !(board.dfu.reduced_protocol && transport == Transport::Ble) =>
            {
                let payload = match transport {
                    // The encoder for Bluetooth LE knows none of them.
                    Transport::Ble => Payload::None,
                    Transport::Serial { mtu } => self.about(board, flash, request, mtu),
                };
                self.respond(Response::success(opcode, payload));
            }
            // Over a serial line it is a packet. On the control point it is one of no bytes, at address 0.
            Request::Write(data) => match transport {
                Transport::Ble => self.handle_packet(board, &[], Buffer::Nothing(flash)),
                Transport::Serial { .. } => self.handle_packet(board, data, Buffer::Line),
            },
            _ => {
                let code = if early { ResultCode::InvalidParameter } else { ResultCode::OpCodeNotSupported };
                self.refuse(opcode, code.into());
            }
        }
    }

    fn answer(&mut self, opcode: u8, result: Result<(), Refusal>) {
        match result {
            Ok(()) => self.respond(Response::success(opcode, Payload::None)),
            Err(refusal) => self.refuse(opcode, refusal),
        }
    }

    /// Offset and CRC of the current object, of data from the start of the image.
    fn received(&self) -> (u32, u32) {
        let progress = &self.dfu.settings.progress;
        if self.current == COMMAND {
            (progress.command_offset, progress.command_crc)
        } else {
            (progress.image_offset, progress.image_crc)
        }
    }

    fn execute_command(&mut self, board: &NordicBoard, flash: &Flash) {
        let executed = board.bootloader.init_command_execute(&mut self.dfu, flash).and_then(|()| {
            self.queue.push_all(std::mem::take(&mut self.dfu.steps), After::Nothing);
            let settings = board.bootloader.map().settings().offset;
            for step in board.bootloader.settings_write_and_backup(&mut self.dfu.settings, flash) {
                self.queue.buffer_settings(&step);
                let (FlashStep::Erase { address, .. } | FlashStep::Store { address, .. }) = &step;
                if !self.blocking && self.queue.len() >= board.dfu.flash_queue {
                    // What is queued already is done all the same, and nobody asks what became of the backup.
                    return if *address == settings { Err(ResultCode::OperationFailed.into()) } else { Ok(()) };
                }
                self.queue.push(step, After::Nothing);
            }
            Ok(())
        });
        self.answer(opcode::EXECUTE, executed);
    }

    /// The device is to reset, behind what is queued: the backup is brought up to date.
    pub(super) fn back_up(&mut self, steps: Vec<FlashStep>) {
        for step in steps {
            let after = if matches!(step, FlashStep::Store { .. }) { After::Reset } else { After::Nothing };
            self.queue.buffer_settings(&step);
            self.queue.push(step, after);
        }
    }

    /// A data object is complete and in flash.
    fn go_on_with_execute(&mut self, board: &NordicBoard, flash: &Flash, now_us: u64) {
        if self.dfu.settings.progress.image_offset == self.dfu.firmware_size {
            self.busy_until = Some(now_us.saturating_add(board.dfu.validation_us));
            return;
        }
        self.respond(Response::success(opcode::EXECUTE, Payload::None));
        if board.bootloader.options().saves_progress() {
            let steps = board.bootloader.settings_write_and_backup(&mut self.dfu.settings, flash);
            self.queue.push_all(steps, After::Nothing);
        }
    }

    /// The whole image is in flash: its outcome is told, written, and the device resets, whatever it is.
    fn check_image(&mut self, board: &NordicBoard, flash: &Flash) {
        let checked = board.bootloader.activation_prepare(&mut self.dfu, flash);
        self.answer(opcode::EXECUTE, checked);
        self.said.push_back(Said::Checked);
        let steps = board.bootloader.settings_write_and_backup(&mut self.dfu.settings, flash);
        if steps.is_empty() {
            self.complete();
        } else {
            self.queue.push_all(steps, After::Completed);
        }
    }

    fn handle_packet(&mut self, board: &NordicBoard, bytes: &[u8], buffer: Buffer<'_>) {
        let profile = board.bootloader.options().profile;
        let pooled = usize::from(matches!(buffer, Buffer::Pool));
        let mut receipt = None;
        let refusal = match self.current {
            COMMAND => {
                self.buffers += pooled;
                let appended = board.bootloader.init_command_append(&mut self.dfu, bytes);
                receipt = Some(self.received());
                appended.err()
            }
            DATA => match board.bootloader.data_write(&self.dfu, bytes) {
                Err(refusal) => {
                    self.buffers += if board.dfu.leaks_on_reject { 0 } else { pooled };
                    Some(refusal)
                }
                Ok(_) if !self.blocking && self.queue.len() >= board.dfu.flash_queue => {
                    self.buffers += pooled;
                    let size = board.dfu.flash_queue;
                    let what = format!("a packet of {} bytes", bytes.len());
                    self.said.push_back(Said::Dropped { pool: "flash queue", size, what });
                    // Its fields were never filled in.
                    receipt = Some((0, 0));
                    None
                }
                Ok(step) => {
                    let after = if pooled > 0 { After::FreeBuffer } else { After::Nothing };
                    let step = buffer.written(board, step);
                    // Earlier SDKs gather packets in buffers of their own before they write.
                    self.queue.push_packet(step, self.blocking || profile < Profile::V15_0, after);
                    board.bootloader.data_written(&mut self.dfu, bytes);
                    receipt = Some(self.received());
                    None
                }
            },
            _ => {
                self.buffers += if board.dfu.leaks_on_reject { 0 } else { pooled };
                Some(ResultCode::InvalidObject.into())
            }
        };
        self.prn_left = self.prn_left.wrapping_sub(1);
        if self.prn == 0 || self.prn_left != 0 {
            return;
        }
        self.prn_left = self.prn;
        let response = match refusal {
            Some(refusal) => refused(opcode::CRC, refusal),
            None => {
                let (offset, crc) = receipt.unwrap_or((0, 0));
                Response::success(opcode::CRC, Payload::Crc { offset, crc })
            }
        };
        self.said.push_back(Said::Response(response, packet_call(self.current)));
    }

    /// What a serial line can be told of the device.
    fn about(&self, board: &NordicBoard, flash: &Flash, request: &Request, mtu: u16) -> Payload {
        const SOFTDEVICE: u8 = 0;
        const APPLICATION: u8 = 1;
        const BOOTLOADER: u8 = 2;
        const UNKNOWN: u8 = 0xff;
        let map = board.bootloader.map();
        match request {
            Request::ProtocolVersion => Payload::ProtocolVersion(1),
            Request::Ping(id) => Payload::Ping(*id),
            Request::Mtu => Payload::Mtu(mtu),
            Request::HardwareVersion => Payload::Hardware(board.dfu.hardware),
            Request::FirmwareVersion(image) => {
                let softdevice = SoftdeviceInfo::read(map, flash, MBR_SIZE).ok().flatten();
                let settings = &self.dfu.settings;
                let application = settings.bank_0.code == BankCode::App;
                let start = softdevice.map_or(MBR_SIZE, |info| map.align(info.size));
                match (image, softdevice) {
                    (0, _) => {
                        let place = map.bootloader();
                        let numbers = [settings.bootloader_version, place.offset, place.len];
                        Payload::Firmware { kind: BOOTLOADER, numbers }
                    }
                    (1, Some(info)) => {
                        Payload::Firmware { kind: SOFTDEVICE, numbers: [info.version, MBR_SIZE, info.size] }
                    }
                    (1, None) | (2, Some(_)) if application => Payload::Firmware {
                        kind: APPLICATION,
                        numbers: [settings.app_version, start, settings.bank_0.image_size],
                    },
                    _ => Payload::Firmware { kind: UNKNOWN, numbers: [0; 3] },
                }
            }
            _ => Payload::None,
        }
    }
}

/// The response that refuses a request.
fn refused(request: u8, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Code(code) => Response::result(request, code.number()),
        Refusal::Extended(error) => {
            Response { extended: Some(error.number()), ..Response::result(request, EXTENDED_ERROR) }
        }
    }
}
