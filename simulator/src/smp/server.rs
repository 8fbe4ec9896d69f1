//! Zephyr's SMP server (zephyr: `subsys/mgmt/mcumgr/smp/src/smp.c`).
//!
//! Requests of one packet are answered one by one, each with a packet of its own, until the first
//! plain `rc` failure. The body reader is not bounded by the length field of the header: it sees the
//! rest of the packet. Agreement with the real server is tested in `tests/golden_smp.rs`.

use brickproof_flash_model::boot::mcuboot::Mcuboot;
use brickproof_flash_model::flash::{Area, Controller, Interruption};

use super::cbor::Writer;
use super::codes::{ImageError, SmpError, group};
use super::frame::{Frame, HEADER_LEN, Op, Version};
use super::image_group::{ImageGroup, Upload};
use super::os_group;

/// The release of Zephyr whose answers are given, where releases differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZephyrRelease {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
}

impl ZephyrRelease {
    /// Erasing an erased slot succeeds; before, it was answered with error 1.
    pub(super) fn erases_erased_slots(self) -> bool {
        self >= Self { major: 3, minor: 5 }
    }
}

impl Default for ZephyrRelease {
    fn default() -> Self {
        Self { major: 4, minor: 2 }
    }
}

/// How the server was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Size of a packet buffer in bytes (`CONFIG_MCUMGR_TRANSPORT_NETBUF_SIZE`).
    pub buffer_size: u16,
    /// Number of packet buffers (`CONFIG_MCUMGR_TRANSPORT_NETBUF_COUNT`).
    pub buffer_count: u8,
    /// Which release answers.
    pub zephyr: ZephyrRelease,
    /// From the answer to a reset request to the reset, in microseconds
    /// (`CONFIG_MCUMGR_GRP_OS_RESET_MS`).
    pub reset_delay_us: u64,
    /// Bytes gathered before they are written to flash (`CONFIG_IMG_BLOCK_BUF_SIZE`).
    pub write_block: u32,
    /// Whether the parameters command is built in (`CONFIG_MCUMGR_GRP_OS_MCUMGR_PARAMS`).
    pub params: bool,
    /// Slots beyond the two of the image, by absolute slot number from 2.
    pub other_slots: Vec<Area>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            buffer_size: 2475,
            buffer_count: 4,
            zephyr: ZephyrRelease::default(),
            reset_delay_us: 250_000,
            write_block: 512,
            params: true,
            other_slots: Vec::new(),
        }
    }
}

/// Why the application refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The `rc` of the answer.
    pub rc: u16,
}

/// What the server needs from the device while it handles one packet.
pub struct Environment<'a, 'flash> {
    /// The flash.
    pub flash: &'a mut Controller<'flash>,
    /// The bootloader whose trailers are read and written.
    pub mcuboot: &'a Mcuboot,
    /// Set when the application lets no chunk of an upload pass.
    pub refuse_upload: Option<Refused>,
    /// Set when the application does not let the running image be confirmed.
    pub refuse_confirm: Option<Refused>,
}

/// What came of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Packets to send, in order.
    pub packets: Vec<Vec<u8>>,
    /// A reset was accepted; the device resets [`ServerConfig::reset_delay_us`] later.
    pub reset: bool,
}

/// A failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Answered with `rc`; ends the packet.
    Smp(u16),
    /// Answered with `err` in version 1, with a translated `rc` in version 0.
    Image(ImageError),
    /// Not answered: power is gone.
    Interrupted(Interruption),
}

impl From<SmpError> for Failure {
    fn from(error: SmpError) -> Self {
        Self::Smp(error as u16)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

/// The server of one device, from one power-on to the next power-off.
#[derive(Debug, Clone)]
pub struct Server {
    config: ServerConfig,
    images: ImageGroup,
}

impl Server {
    /// A server that has just started.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self { config, images: ImageGroup::default() }
    }

    /// How it was built.
    #[must_use]
    pub fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Next expected offset and announced size of the upload under way, in bytes.
    #[must_use]
    pub fn upload(&self) -> Option<(u32, u32)> {
        self.images.upload.as_ref().map(Upload::progress)
    }

    /// Whether a packet fits a receive buffer; one that does not is lost without an answer.
    #[must_use]
    pub fn accepts(&self, packet: &[u8]) -> bool {
        packet.len() <= usize::from(self.config.buffer_size)
    }

    /// Handles one packet.
    ///
    /// # Errors
    /// The [`Interruption`] that ended it; answers to earlier requests of the packet are lost with it.
    pub fn handle(&mut self, packet: &[u8], device: &mut Environment<'_, '_>) -> Result<Answer, Interruption> {
        let mut answer = Answer::default();
        let mut rest = packet;
        while let Ok((frame, announced)) = Frame::parse_header(rest) {
            let body = &rest[HEADER_LEN..];
            let result = if usize::from(announced) > body.len() {
                Err(SmpError::Corrupt.into())
            } else if !frame.op.is_request() {
                Err(SmpError::NotSupported.into())
            } else {
                self.handle_request(&frame, body, device, &mut answer)
            };
            let (bytes, go_on) = match result {
                Err(Failure::Interrupted(interruption)) => return Err(interruption),
                Err(Failure::Smp(rc)) => (rc_body(rc), false),
                Err(Failure::Image(error)) if frame.version == Version::V0 => {
                    (rc_body(error.translated() as u16), false)
                }
                Err(Failure::Image(error)) => (err_body(error), true),
                Ok(bytes) => (bytes, true),
            };
            let (bytes, go_on) = if HEADER_LEN + bytes.len() > usize::from(self.config.buffer_size) {
                (rc_body(SmpError::TooLarge as u16), false)
            } else {
                (bytes, go_on)
            };
            answer.packets.push(frame.answer().emit(&bytes));
            if !go_on {
                break;
            }
            rest = &body[usize::from(announced)..];
        }
        Ok(answer)
    }

    /// The body of the answer to one request.
    fn handle_request(
        &mut self,
        frame: &Frame,
        body: &[u8],
        device: &mut Environment<'_, '_>,
        answer: &mut Answer,
    ) -> Result<Vec<u8>, Failure> {
        if matches!(frame.version, Version::Undefined(_)) {
            return Err(SmpError::TooNew.into());
        }
        let mut map = Writer::new();
        map.begin_map();
        match (frame.group, frame.command, frame.op) {
            (group::OS, 0, _) => os_group::echo(body, &mut map)?,
            (group::OS, 5, Op::Write) => answer.reset = true,
            (group::OS, 6, Op::Read) if self.config.params => os_group::params(&self.config, &mut map),
            (group::IMAGE, 0, Op::Read) => self.images.read_state(device, &mut map)?,
            (group::IMAGE, 0, Op::Write) => self.images.write_state(body, device, &mut map)?,
            (group::IMAGE, 1, Op::Write) => self.images.upload(&self.config, body, device, &mut map)?,
            (group::IMAGE, 5, Op::Write) => self.images.erase(&self.config, body, device)?,
            _ => return Err(SmpError::NotSupported.into()),
        }
        map.end();
        Ok(map.into_bytes())
    }
}

fn rc_body(rc: u16) -> Vec<u8> {
    let mut map = Writer::new();
    map.begin_map().text("rc").unsigned(rc.into()).end();
    map.into_bytes()
}

fn err_body(error: ImageError) -> Vec<u8> {
    let mut map = Writer::new();
    map.begin_map().text("err").begin_map();
    map.text("group").unsigned(group::IMAGE.into()).text("rc").unsigned(error as u64);
    map.end().end();
    map.into_bytes()
}
