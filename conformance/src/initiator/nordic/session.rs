//! One image by Secure DFU: init packet, then data, one object after the other.
//!
//! | what the device has | what is done |
//! |---|---|
//! | nothing, or another init packet | it is created and sent |
//! | the beginning of this init packet | the rest of it is sent |
//! | all of it | it is executed, nothing more |
//! | no data | the first object is created |
//! | data that is ours, up to the end of an object | the object is executed, and the next one created |
//! | data that is ours, up to the middle of an object | the rest of it is sent |
//! | data that is not ours | the object that it ends in is created again |

use brickproof_flash_model::image::nordic::{PackageImage, crc32};
use brickproof_simulator::nordic::wire::{COMMAND, DATA, Payload, Request, Response, opcode};
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::channel::{Came, Channel, ChannelError};
use super::policy::DfuPolicy;

/// "Operation not permitted".
const NOT_PERMITTED: u8 = 0x08;
/// "Invalid object": of a create, that the device has no room for the erase.
const INVALID_OBJECT: u8 = 0x05;
/// "Opcode not supported".
const NOT_SUPPORTED: u8 = 0x02;
/// After such a pause no receipt is on its way any more, in microseconds.
const QUIET_US: u64 = 200_000;
/// How often an image is begun from nothing because the device holds what cannot be continued.
const STARTS_MAX: u32 = 2;

/// Why a session has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The link is gone.
    Lost,
    /// The device has refused something.
    Refused {
        /// What.
        what: &'static str,
        /// With this result, and this extended error.
        result: u8,
        /// See above.
        extended: Option<u8>,
    },
    /// The device does not answer.
    Silent(&'static str),
    /// What was sent does not arrive as it was sent, however often it is tried.
    Garbled,
    /// Something else.
    Other(String),
    /// The user has given up.
    GivenUp,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost => f.write_str("the link was lost"),
            Self::Refused { what, result, extended: None } => write!(f, "{what} was refused with result {result:#04x}"),
            Self::Refused { what, extended: Some(code), .. } => {
                write!(f, "{what} was refused with extended error {code:#04x}")
            }
            Self::Silent(what) => write!(f, "{what} was not answered"),
            Self::Garbled => f.write_str("an object does not arrive as it was sent, however often it is tried"),
            Self::Other(words) => f.write_str(words),
            Self::GivenUp => f.write_str("the user has given up"),
        }
    }
}

impl From<ChannelError> for Failure {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Lost => Self::Lost,
            ChannelError::Refused(words) => Self::Other(words),
        }
    }
}

/// Sends one image.
pub struct Session<'a, C> {
    channel: &'a mut C,
    policy: &'a dyn DfuPolicy,
    init: &'a [u8],
    firmware: &'a [u8],
    /// The connection to the bootloader, from 1.
    connection: u32,
    /// Packets since the last receipt.
    packets: u16,
    packet_len: usize,
    /// Bytes of the object that were sent last.
    sent: usize,
}

/// What a device says of an object.
#[derive(Debug, Clone, Copy)]
struct Selected {
    max_size: u32,
    offset: u32,
    crc: u32,
}

/// How sending bytes ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// All of them.
    All,
    /// A receipt did not fit.
    Mismatch,
}

impl<'a, C: Channel> Session<'a, C> {
    /// A session for this image.
    pub fn new(channel: &'a mut C, policy: &'a dyn DfuPolicy, image: &'a PackageImage, connection: u32) -> Self {
        let packet_len = policy.packet_len(channel.value_max());
        Self {
            channel,
            policy,
            init: &image.init,
            firmware: &image.firmware,
            connection,
            packets: 0,
            packet_len,
            sent: 0,
        }
    }

    /// Packets between two receipts on this connection; 0 for none.
    fn prn(&self) -> u16 {
        if self.policy.sets_prn(self.connection) { self.policy.prn().unwrap_or(0) } else { 0 }
    }

    /// Does it all; what is at the device already is not sent again. `sent` is how much of the image was sent on this
    /// and earlier connections.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn run(&mut self, sent: &mut usize) -> Result<(), Failure> {
        for request in self.policy.curious() {
            let response = self.ask(request, "a question").await?;
            if response.result == NOT_SUPPORTED && self.policy.needs_curious() {
                return Err(refused("a question", &response));
            }
        }
        if let Some(prn) = self.policy.prn().filter(|_| self.policy.sets_prn(self.connection)) {
            self.succeed(&Request::SetPrn(prn), "PRN").await?;
        }
        for start in 1..=STARTS_MAX {
            self.command(start > 1 || !self.policy.resumes()).await?;
            match self.data(sent).await {
                Err(Failure::Garbled) if start < STARTS_MAX => {}
                Ok(()) if self.policy.asks_after_the_end() => return Ok(self.channel.request(&Request::Crc).await?),
                other => return other,
            }
        }
        Err(Failure::Garbled)
    }

    async fn response(&mut self, opcode: u8, timeout_us: u64, what: &'static str) -> Result<Response, Failure> {
        let end = self.channel.now_us().saturating_add(timeout_us);
        let mut other = false;
        loop {
            let left = end.saturating_sub(self.channel.now_us());
            match self.channel.receive(left).await {
                Came::Response(response) if self.policy.takes_response(&response, opcode) => return Ok(response),
                Came::Response(response) if response.request == opcode::CRC && !self.policy.bears_receipts() => {
                    return Err(Failure::Other("a receipt, and none was asked for".into()));
                }
                Came::Response(_) => other = true,
                Came::Nothing if other => {
                    return Err(Failure::Other(format!("{what} was answered with something else")));
                }
                Came::Nothing => return Err(Failure::Silent(what)),
                Came::Lost => return Err(Failure::Lost),
            }
        }
    }

    async fn ask(&mut self, request: &Request, what: &'static str) -> Result<Response, Failure> {
        self.channel.request(request).await?;
        if !self.policy.waits_for_response(request) {
            return Ok(Response::success(request.opcode(), Payload::None));
        }
        self.response(request.opcode(), self.policy.response_us(), what).await
    }

    async fn succeed(&mut self, request: &Request, what: &'static str) -> Result<Response, Failure> {
        let response = self.ask(request, what).await?;
        self.heed(response, what)
    }

    fn heed(&self, response: Response, what: &'static str) -> Result<Response, Failure> {
        if response.is_success() || !self.policy.heeds_result(&response) {
            Ok(response)
        } else {
            Err(refused(what, &response))
        }
    }

    async fn select(&mut self, object: u8) -> Result<Selected, Failure> {
        let response = self.succeed(&Request::Select { object }, "select").await?;
        match response.payload {
            Payload::Select { max_size, offset, crc } => Ok(Selected { max_size, offset, crc }),
            _ => Err(Failure::Other("the answer to a select says nothing".into())),
        }
    }

    async fn crc(&mut self) -> Result<(u32, u32), Failure> {
        // Receipts look like what is asked for: those that are there, or were not waited for, come first.
        let set = self.policy.prn().is_some() && self.policy.sets_prn(self.connection);
        let expected = set && (self.prn() == 0 || self.policy.waits_for_receipts());
        let quiet = if expected { 0 } else { QUIET_US };
        while let Came::Response(_) = self.channel.receive(quiet).await {
            if !self.policy.bears_receipts() {
                return Err(Failure::Other("a receipt, and none was asked for".into()));
            }
        }
        for _ in 1..self.policy.crcs() {
            self.succeed(&Request::Crc, "the question for the CRC").await?;
        }
        let response = self.succeed(&Request::Crc, "the question for the CRC").await?;
        match response.payload {
            Payload::Crc { offset, crc } => Ok((offset, crc)),
            _ => Err(Failure::Other("the answer about the CRC says nothing".into())),
        }
    }

    /// The init packet, up to its execute.
    async fn command(&mut self, from_nothing: bool) -> Result<(), Failure> {
        let init = self.policy.init_packet(self.init);
        let len = u32::try_from(init.len()).unwrap_or(u32::MAX);
        let there = if self.policy.selects_command() {
            self.select(COMMAND).await?
        } else {
            Selected { max_size: u32::MAX, offset: 0, crc: 0 }
        };
        if len > there.max_size && self.policy.heeds_command_max() {
            return Err(Failure::Other(format!(
                "the init packet has {len} bytes, and the device takes {}",
                there.max_size
            )));
        }
        let known = init.get(..there.offset as usize).map(|start| crc32(start, 0));
        let ours = known == Some(there.crc) || !self.policy.compares_stored_command();
        let mut start = if there.offset > 0 && ours && !from_nothing { there.offset as usize } else { 0 };
        if start == init.len() && !self.policy.executes_stored_command() {
            return Ok(());
        }
        let mut sent = start == init.len();
        for _ in 0..self.policy.object_tries() {
            if sent {
                break;
            }
            if start == 0 {
                let size = self.policy.command_size(len);
                self.create(COMMAND, size, "the create of the init packet").await?;
            }
            sent = self.send(&init, start, init.len(), 0).await? == Sent::All;
            if sent && self.policy.verifies_command() {
                let (offset, crc) = self.crc().await?;
                sent = offset == len && crc == crc32(&init, 0);
            }
            start = 0;
        }
        if !sent {
            return Err(Failure::Garbled);
        }
        self.succeed(&Request::Execute, "the execute of the init packet").await?;
        Ok(())
    }

    async fn create(&mut self, object: u8, size: u32, what: &'static str) -> Result<(), Failure> {
        if self.policy.counts_again_at_create() {
            self.packets = 0;
        }
        self.succeed(&Request::Create { object, size }, what).await?;
        Ok(())
    }

    /// All data, up to the execute of the last object.
    async fn data(&mut self, memory: &mut usize) -> Result<(), Failure> {
        let len = self.firmware.len();
        let mut there = if self.policy.selects_data() {
            self.select(DATA).await?
        } else {
            Selected { max_size: 4096, offset: 0, crc: 0 }
        };
        if *memory > 0 && !self.policy.reads_state_again() {
            there.offset = u32::try_from(*memory).unwrap_or(u32::MAX);
            there.crc = crc32(self.firmware.get(..*memory).unwrap_or_default(), 0);
        }
        let object = self.policy.object_size(there.max_size).max(1) as usize;
        let mut at = there.offset as usize;
        let ours = self.firmware.get(..at).map(|start| crc32(start, 0)) == Some(there.crc);
        if at > len {
            return Err(Failure::Garbled);
        }
        // Whether what is left of the object that `at` lies in can be sent without creating it.
        let mut begun = false;
        if at > 0 && ours {
            begun = !at.is_multiple_of(object) && at < len;
            if !begun {
                self.execute_again(at == len).await?;
                if at == len {
                    return Ok(());
                }
            }
        } else if at > 0 && self.policy.rewinds() {
            at = (at - 1) / object * object;
        } else {
            begun = at > 0;
        }
        let mut tries = 0;
        while at < len {
            let start = at / object * object;
            let end = (start + object).min(len);
            if !begun && self.policy.selects_between() {
                self.select(DATA).await?;
            }
            if !begun {
                at = start;
                let size = u32::try_from(end - start).unwrap_or(u32::MAX);
                if tries > 0 {
                    self.channel.sleep(self.policy.retry_pause_us()).await;
                }
                match self.create(DATA, size, "the create of a data object").await {
                    Err(Failure::Refused { result: INVALID_OBJECT, .. }) if tries + 1 < self.policy.object_tries() => {
                        tries += 1;
                        continue;
                    }
                    created => created?,
                }
                let pause = self.policy.pause_after_create_us(self.packet_len);
                let more = if tries > 0 { self.policy.retry_pause_us() } else { 0 };
                self.channel.sleep(pause.max(more)).await;
            }
            self.give_up_at(at).await?;
            let mut sent = self.send_data(at, end, memory).await?;
            if sent == Sent::All && self.policy.verifies_data() {
                let (offset, crc) = self.crc().await?;
                let offset = offset as usize;
                let right = |offset: usize| self.firmware.get(..offset).map(|start| crc32(start, 0)) == Some(crc);
                if offset == end && right(offset) {
                    // As it should be.
                } else if self.policy.sends_what_is_missing() && (at..end).contains(&offset) && right(offset) {
                    (at, begun) = (offset, true);
                    tries += 1;
                    if tries < self.policy.object_tries() {
                        continue;
                    }
                    return Err(Failure::Garbled);
                } else if self.policy.heeds_short_offset() || !right(offset) {
                    sent = Sent::Mismatch;
                }
            }
            begun = false;
            if sent == Sent::Mismatch && self.policy.heeds_wrong_crc() {
                tries += 1;
                if tries >= self.policy.object_tries() {
                    return Err(Failure::Garbled);
                }
                at = start;
                continue;
            }
            tries = 0;
            self.execute_data(end == len).await?;
            if end < len && start == 0 && self.policy.executes_command_again() {
                self.succeed(&Request::Select { object: COMMAND }, "select").await?;
                self.succeed(&Request::Execute, "the execute of the init packet").await?;
                self.succeed(&Request::Select { object: DATA }, "select").await?;
            }
            at = end;
        }
        Ok(())
    }

    /// Its user gives up when so much was sent.
    async fn give_up_at(&mut self, at: usize) -> Result<(), Failure> {
        let Some(permille) = self.policy.gives_up_at_permille() else { return Ok(()) };
        if at * 1000 < self.firmware.len() * permille {
            return Ok(());
        }
        self.channel.note(InitiatorEvent::Step { step: "abort".into(), by: StepBy::Tool });
        if self.policy.aborts() {
            self.channel.request(&Request::Abort).await?;
            if self.policy.waits_for_abort() {
                self.response(opcode::ABORT, self.policy.response_us(), "the abort").await?;
            }
        }
        Err(Failure::GivenUp)
    }

    /// The object that ends here was perhaps executed already.
    async fn execute_again(&mut self, last: bool) -> Result<(), Failure> {
        let response = self.execute(last).await?;
        if response.result == NOT_PERMITTED && self.policy.tolerates_empty_object() && !last {
            return Ok(());
        }
        self.heed(response, "the execute of a data object").map(|_| ())
    }

    async fn execute(&mut self, last: bool) -> Result<Response, Failure> {
        self.channel.request(&Request::Execute).await?;
        if !self.policy.waits_for_response(&Request::Execute) {
            return Ok(Response::success(opcode::EXECUTE, Payload::None));
        }
        self.response(opcode::EXECUTE, self.policy.execute_us(last), "the execute of a data object").await
    }

    async fn execute_data(&mut self, last: bool) -> Result<(), Failure> {
        let response = self.execute(last).await?;
        if last && !self.policy.heeds_last_execute() {
            return Ok(());
        }
        self.heed(response, "the execute of a data object").map(|_| ())
    }

    async fn send_data(&mut self, start: usize, end: usize, memory: &mut usize) -> Result<Sent, Failure> {
        let mut bytes = self.policy.firmware(self.firmware, start, end);
        let crc = self.firmware.get(..start).map_or(0, |before| crc32(before, 0));
        bytes.resize(bytes.len() + self.policy.overshoot(), 0);
        let len = bytes.len();
        let sent = self.send_from(&bytes, 0, len, start, crc).await;
        *memory = start + self.sent;
        sent
    }

    async fn send(&mut self, bytes: &[u8], start: usize, end: usize, base: usize) -> Result<Sent, Failure> {
        let crc = bytes.get(..start).map_or(0, |before| crc32(before, 0));
        self.send_from(bytes, start, end, base, crc).await
    }

    /// Sends bytes in packets; `base` is the offset of the first of `bytes` at the device, `crc` that of all before `start`.
    async fn send_from(
        &mut self,
        bytes: &[u8],
        start: usize,
        end: usize,
        base: usize,
        mut crc: u32,
    ) -> Result<Sent, Failure> {
        let prn = self.prn();
        let mut at = start;
        self.sent = 0;
        while at < end {
            let next = (at + self.packet_len).min(end);
            let packet = bytes.get(at..next).unwrap_or_default();
            crc = crc32(packet, crc);
            self.channel.packet(packet.to_vec()).await?;
            at = next;
            self.sent = at - start;
            self.packets = self.packets.wrapping_add(1);
            if prn > 0 && self.packets.is_multiple_of(prn) && self.policy.waits_for_receipts() {
                self.packets = 0;
                if !self.receipt(base + at, crc).await? {
                    return Ok(Sent::Mismatch);
                }
            }
            if self.policy.pause_us() > 0 {
                self.channel.sleep(self.policy.pause_us()).await;
            }
        }
        Ok(Sent::All)
    }

    /// Whether the receipt says what was sent. One that does not come is asked for.
    async fn receipt(&mut self, expected: usize, expected_crc: u32) -> Result<bool, Failure> {
        let timeout = self.policy.receipt_us().unwrap_or(u64::MAX / 2);
        match self.response(opcode::CRC, timeout, "a packet").await {
            Ok(Response { payload: Payload::Crc { offset, crc }, .. }) => {
                Ok(!self.policy.checks_receipts() || (offset as usize == expected && crc == expected_crc))
            }
            Ok(response) if response.is_success() || !self.policy.checks_receipts() => Ok(true),
            Ok(_) => Ok(false),
            Err(Failure::Silent(_)) => {
                let (offset, crc) = self.crc().await?;
                Ok(offset as usize == expected && crc == expected_crc)
            }
            Err(failure) => Err(failure),
        }
    }
}

fn refused(what: &'static str, response: &Response) -> Failure {
    Failure::Refused { what, result: response.result, extended: response.extended }
}
