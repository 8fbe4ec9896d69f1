//! Zephyr's SMP server (zephyr: `subsys/mgmt/mcumgr/smp/src/smp.c`).
//!
//! Requests of one packet are answered one by one, each with a packet of its own, until the first
//! plain `rc` failure. The body reader is not bounded by the length field of the header: it sees the
//! rest of the packet. Agreement with the real server is tested in `tests/golden_smp.rs`.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use brickproof_flash_model::boot::mcuboot::Mcuboot;
use brickproof_flash_model::flash::{Area, Controller, Interruption};

use super::cbor::Writer;
use super::codes::SmpError;
use super::config::ServerConfig;
use super::dispatch::{self, Exchange, Failure};
use super::file_group::Transfer;
use super::frame::{Frame, HEADER_LEN, Version};
use super::image_group::{ImageGroup, Upload};
use super::vendor_group;
use crate::device::Retained;

/// Why the application refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The `rc` of the answer.
    pub rc: u16,
}

/// What the application keeps in flash beside the images.
///
/// It is kept by content, not by flash operation: a power loss leaves the last complete state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// Saved settings; the erase of the storage partition takes them.
    pub settings: BTreeMap<String, Vec<u8>>,
    /// Files by full path.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Kept {
    /// What a new device keeps.
    #[must_use]
    pub fn factory(config: &ServerConfig) -> Self {
        Self {
            settings: config.settings.as_ref().map(|settings| settings.values.clone()).unwrap_or_default(),
            files: config.files.as_ref().map(|files| files.files.clone()).unwrap_or_default(),
        }
    }
}

/// What the server needs from the device while it handles one packet.
pub struct Environment<'a, 'flash> {
    /// The flash.
    pub flash: &'a mut Controller<'flash>,
    /// The bootloader whose trailers are read and written.
    pub mcuboot: &'a Mcuboot,
    /// Absolute number of the slot the application runs from: 0, but for direct-xip.
    pub running_slot: u32,
    /// Set when the application lets no chunk of an upload pass.
    pub refuse_upload: Option<Refused>,
    /// Set when the application does not let the running image be confirmed.
    pub refuse_confirm: Option<Refused>,
    /// The storage partition, if there is one.
    pub storage: Option<Area>,
    /// Saved settings and files.
    pub kept: &'a mut Kept,
    /// RAM that keeps its contents through a reset: boot mode and clock.
    pub retained: &'a mut Retained,
    /// Time in microseconds.
    pub now_us: u64,
}

/// What came of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Packets to send, in order.
    pub packets: Vec<Vec<u8>>,
    /// A reset was accepted; the device resets [`ServerConfig::reset_delay_us`] later.
    pub reset: bool,
}

/// The server of one device, from one power-on to the next power-off.
#[derive(Debug, Clone)]
pub struct Server {
    /// Shared: a server is copied with its device for every request.
    pub(super) config: Arc<ServerConfig>,
    pub(super) images: ImageGroup,
    /// Values of the settings in RAM.
    pub(super) settings: BTreeMap<String, Vec<u8>>,
    /// The open file.
    pub(super) transfer: Option<Transfer>,
}

/// The body of an answer, and whether the rest of the packet is looked at.
type Body = (Vec<u8>, bool);

impl Server {
    /// A server that has just started and loaded its settings.
    #[must_use]
    pub fn new(config: ServerConfig, kept: &Kept) -> Self {
        let mut settings = config.settings.as_ref().map(|settings| settings.values.clone()).unwrap_or_default();
        for (key, value) in &mut settings {
            // A deleted setting is back at its default after a restart.
            value.clone_from(kept.settings.get(key).unwrap_or(&value.clone()));
        }
        Self { config: Arc::new(config), images: ImageGroup::default(), settings, transfer: None }
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

    /// All that it keeps in RAM.
    pub(crate) fn hash_ram(&self, hasher: &mut impl Hasher) {
        let Self { config: _, images, settings, transfer } = self;
        (images, settings, transfer).hash(hasher);
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
        // The reason stays from one request of the packet to the next one that has no handler.
        let mut reason = None;
        while let Ok((frame, announced)) = Frame::parse_header(rest) {
            let body = &rest[HEADER_LEN..];
            let (bytes, go_on) = if usize::from(announced) > body.len() {
                self.plain(SmpError::Corrupt as u16, None)
            } else if !frame.op.is_request() {
                self.plain(SmpError::NotSupported as u16, None)
            } else {
                self.request(&frame, body, device, &mut reason, &mut answer)?
            };
            let (bytes, go_on) = if HEADER_LEN + bytes.len() > usize::from(self.config.buffer_size) {
                self.plain(SmpError::TooLarge as u16, None)
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

    /// Answers one request of a version that is looked at.
    fn request(
        &mut self,
        frame: &Frame,
        body: &[u8],
        device: &mut Environment<'_, '_>,
        reason: &mut Option<&'static str>,
        answer: &mut Answer,
    ) -> Result<Body, Interruption> {
        match frame.version {
            Version::V0 if !self.config.original_protocol => return Ok(self.plain(SmpError::TooOld as u16, None)),
            Version::Undefined(_) => return Ok(self.plain(SmpError::TooNew as u16, None)),
            Version::V0 | Version::V1 => {}
        }
        let mut exchange = Exchange { body, map: self.open_map(), reason: None, reset: false, translated: None };
        let result = if let Some(canned) = vendor_group::find(&self.config, frame) {
            *reason = None;
            vendor_group::answer(canned, &mut exchange)
        } else if let Some(handler) = dispatch::handler(&self.config, frame.group, frame.command, frame.op) {
            *reason = None;
            handler(self, &mut exchange, device)
        } else {
            Err(SmpError::NotSupported.into())
        };
        answer.reset |= exchange.reset;
        *reason = exchange.reason.or(*reason);
        match result {
            Err(Failure::Interrupted(interruption)) => return Err(interruption),
            Err(Failure::Smp(rc)) => return Ok(self.plain(rc, *reason)),
            Err(Failure::Group { group, code }) => {
                exchange.map = self.open_map();
                exchange.put_error(group, code);
            }
            Ok(()) => {}
        }
        if frame.version == Version::V0
            && let Some(rc) = exchange.translated
        {
            return Ok(self.plain(rc, *reason));
        }
        if frame.version == Version::V0 && matches!(result, Err(Failure::Group { .. })) {
            // A failure that its group translates to none. The real server sends a packet it never wrote.
            exchange.map = self.open_map();
        }
        exchange.map.end();
        Ok((exchange.map.into_bytes(), true))
    }

    fn open_map(&self) -> Writer {
        let mut map = Writer::with_encoding(self.config.map_encoding);
        map.begin_map();
        map
    }

    /// The answer that ends a packet.
    fn plain(&self, rc: u16, reason: Option<&'static str>) -> Body {
        let mut map = self.open_map();
        map.text("rc").unsigned(rc.into());
        if let Some(reason) = reason.filter(|_| self.config.verbose_errors) {
            map.text("rsn").text(reason);
        }
        map.end();
        (map.into_bytes(), false)
    }
}

impl Exchange<'_> {
    /// `rc: 0`, where the build says so.
    pub(super) fn success(&mut self, config: &ServerConfig) {
        if config.legacy_rc {
            self.map.text("rc").unsigned(0);
        }
    }
}
