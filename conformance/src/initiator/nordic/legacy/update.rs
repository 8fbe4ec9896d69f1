//! A package for Legacy DFU over Bluetooth LE.
//!
//! | step | what is written | what is waited for |
//! |---|---|---|
//! | into the bootloader | `01 04` to an application whose version is 1 | that it is gone |
//! | start | `01 <mode>`, and the sizes | `10 01 01`, when flash is erased |
//! | init packet | `02 00`, the packet, `02 01` | `10 02 01` |
//! | image | `08 <packets>`, `03`, the image | a receipt after so many packets; `10 03 01` |
//! | end | `04`; `05` | `10 04 01`; that the device is gone |
//!
//! A bootloader that is still in another upload answers `10 01 02`: it is reset by `06`, as it is after every error. What
//! was sent before a link was lost is lost, too.

use brickproof_flash_model::image::nordic::PackageImage;
use brickproof_simulator::gatt::{Address, WriteKind};
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::nordic::gatt::LEGACY_SERVICE;
use brickproof_simulator::nordic::legacy::wire::{Answer, Request, opcode};
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::policy::LegacyPolicy;
use super::{mode, read, sizes};
use crate::initiator::link::{Found, Heard, Link, LinkError};
use crate::initiator::update::Report;

/// How long a device is looked for, in microseconds.
const SCAN_US: u64 = 60_000_000;
/// How long a device may go on with a link whose update is over, in microseconds.
const END_US: u64 = 60_000_000;
/// How often a device may turn out to be its application.
const ENTRIES: u32 = 3;
/// Notifications.
const NOTIFICATIONS: u16 = 1;
/// Longest packet that every bootloader takes, in bytes.
const SHORT: usize = 20;
/// Version of an application.
const APPLICATION: u16 = 1;
/// Mode of the request that an application takes for the way into its bootloader.
const ENTER: u8 = 4;
const SUCCESS: u8 = 1;
const INVALID_STATE: u8 = 2;

/// Why a session did not end well.
enum Failure {
    /// The link is gone.
    Lost,
    /// The bootloader is in an upload.
    Busy,
    /// Anything else.
    Other(String),
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Gone => Self::Lost,
            error => Self::Other(error.to_string()),
        }
    }
}

/// Updates a device by Bluetooth LE; what it says at the end is true.
pub async fn run<L: Link>(link: &mut L, package: &[u8], policy: &dyn LegacyPolicy) -> Report {
    let mut update = Update { link, policy, application: None };
    match update.run(package).await {
        Ok(()) => Report { success: true, message: "every image was taken".into() },
        Err(message) => Report { success: false, message },
    }
}

struct Update<'a, L> {
    link: &'a mut L,
    policy: &'a dyn LegacyPolicy,
    /// The address of the application, if it was met there.
    application: Option<Address>,
}

impl<L: Link> Update<'_, L> {
    async fn run(&mut self, package: &[u8]) -> Result<(), String> {
        for image in &read(package)?.images {
            self.image(image).await.map_err(|why| format!("{}: {why}", image.kind.key()))?;
        }
        Ok(())
    }

    fn step(&mut self, step: &str) {
        self.link.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }

    /// One image, however often the link is lost.
    async fn image(&mut self, image: &PackageImage) -> Result<(), String> {
        let mut again = 0;
        loop {
            let done = self.session(image).await;
            let failure = match done {
                Ok(()) => {
                    self.wait_until_gone().await;
                    return Ok(());
                }
                Err(failure) => failure,
            };
            let words = match failure {
                Failure::Lost => "the link is gone".into(),
                Failure::Busy => "the bootloader is in another upload".into(),
                Failure::Other(ref words) => words.clone(),
            };
            let reset = match failure {
                Failure::Lost => false,
                Failure::Busy => self.policy.resets_what_is_there(),
                Failure::Other(_) => self.policy.resets_after_error(),
            };
            if reset && self.request(Request::Reset).await.is_ok() {
                self.wait_until_gone().await;
            }
            self.link.disconnect().await;
            again += 1;
            if matches!(failure, Failure::Other(_)) || again > self.policy.reconnects() {
                return Err(words);
            }
            self.link.sleep(self.policy.reconnect_pause_us()).await;
        }
    }

    async fn wait_until_gone(&mut self) {
        let end = self.link.now_us().saturating_add(END_US);
        while self.link.is_connected() && self.link.now_us() < end {
            let left = end.saturating_sub(self.link.now_us());
            if let Some(Heard::Disconnected) | None = self.link.hear(left).await {
                break;
            }
        }
        self.link.disconnect().await;
        self.link.sleep(self.policy.reconnect_pause_us()).await;
    }

    async fn request(&mut self, request: Request) -> Result<(), Failure> {
        Ok(self.link.write(Endpoint::LegacyControlPoint, request.emit(), WriteKind::Request).await?)
    }

    async fn packet(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        Ok(self.link.write(Endpoint::LegacyPacket, bytes, WriteKind::Command).await?)
    }

    /// What the bootloader says next.
    async fn hear(&mut self, timeout_us: u64, what: &str) -> Result<Answer, Failure> {
        let end = self.link.now_us().saturating_add(timeout_us);
        loop {
            let left = end.saturating_sub(self.link.now_us());
            match self.link.hear(left).await {
                Some(Heard::Notified(Endpoint::LegacyControlPoint, value)) => {
                    if let Some(answer) = Answer::parse(&value) {
                        return Ok(answer);
                    }
                }
                Some(Heard::Disconnected) => return Err(Failure::Lost),
                Some(Heard::Indicated(..)) => self.link.confirm().await,
                Some(Heard::Notified(..)) => {}
                None if self.link.is_connected() => {
                    return Err(Failure::Other(format!("no answer to {what}")));
                }
                None => return Err(Failure::Lost),
            }
        }
    }

    /// Waits for the answer to a request; receipts that are still on their way are passed over.
    async fn answer(&mut self, opcode: u8, timeout_us: u64, what: &str) -> Result<(), Failure> {
        loop {
            match self.hear(timeout_us, what).await? {
                Answer::Response { request, status: SUCCESS } if request == opcode => return Ok(()),
                Answer::Response { request: opcode::START, status: INVALID_STATE } if opcode == opcode::START => {
                    return Err(Failure::Busy);
                }
                Answer::Response { status, .. } if status != SUCCESS => {
                    return Err(Failure::Other(format!("{what} is refused: status {status}")));
                }
                _ => {}
            }
        }
    }

    /// A connection to the bootloader, and all of the image over it.
    async fn session(&mut self, image: &PackageImage) -> Result<(), Failure> {
        self.reach_bootloader().await?;
        self.step("upload");
        let mtu = match self.policy.mtu() {
            Some(mtu) => self.link.exchange_mtu(mtu).await,
            None => 23,
        };
        let (policy, wait_us) = (self.policy, self.policy.answer_us());
        self.link.subscribe(Endpoint::LegacyControlPoint, NOTIFICATIONS).await?;
        self.request(Request::Start { mode: mode(image) }).await?;
        self.packet(policy.sizes(sizes(image))).await?;
        if policy.waits_for_start() {
            self.answer(opcode::START, policy.start_us(), "the sizes").await?;
        }
        if policy.frames_init_packet() {
            self.request(Request::InitBegin).await?;
        }
        for piece in image.init.chunks(SHORT) {
            self.packet(piece.to_vec()).await?;
        }
        if policy.frames_init_packet() {
            self.request(Request::InitEnd).await?;
            if policy.waits_for_init() {
                self.answer(opcode::INIT, wait_us, "the init packet").await?;
            }
        }
        self.firmware(&image.firmware, usize::from(mtu.saturating_sub(3))).await?;
        if policy.validates() {
            self.request(Request::Validate).await?;
            let valid = self.answer(opcode::VALIDATE, wait_us, "the check of the image").await;
            if policy.heeds_validation() {
                valid?;
            }
        }
        self.request(Request::Activate).await
    }

    async fn firmware(&mut self, firmware: &[u8], value_max: usize) -> Result<(), Failure> {
        let (policy, wait_us) = (self.policy, self.policy.answer_us());
        let prn = policy.prn();
        if prn > 0 {
            self.request(Request::Prn(prn)).await?;
        }
        self.request(Request::Receive).await?;
        let (mut sent, mut unconfirmed) = (0, 0);
        for piece in firmware.chunks(policy.packet_len(value_max)) {
            self.packet(piece.to_vec()).await?;
            sent += piece.len();
            unconfirmed += 1;
            if prn > 0 && unconfirmed == prn && sent < firmware.len() {
                unconfirmed = 0;
                if policy.waits_for_receipts() {
                    self.receipt(sent, wait_us).await?;
                }
            }
        }
        self.answer(opcode::RECEIVE, wait_us, "the image").await
    }

    /// Waits for a receipt.
    async fn receipt(&mut self, sent: usize, timeout_us: u64) -> Result<(), Failure> {
        match self.hear(timeout_us, "a number of packets").await? {
            Answer::Receipt(bytes) if bytes as usize == sent || !self.policy.checks_receipts() => Ok(()),
            Answer::Receipt(bytes) => {
                Err(Failure::Other(format!("{sent} bytes are sent, and {bytes} of them have come")))
            }
            Answer::Response { request, status } => {
                Err(Failure::Other(format!("opcode {request:#04x} has the status {status} in the middle of the image")))
            }
            Answer::Size(_) => Ok(()),
        }
    }

    /// Connects to the bootloader; if it is the application that is there, asks that for it.
    async fn reach_bootloader(&mut self) -> Result<(), Failure> {
        for _ in 0..=self.policy.reconnects() + ENTRIES {
            let application = self.application;
            let found = self.link.find(&|found| is_device(found, application), SCAN_US).await;
            let Some(found) = found else { return Err(Failure::Other("the device is not found".into())) };
            if !self.link.connect(&found, true).await {
                self.link.sleep(self.policy.reconnect_pause_us()).await;
                continue;
            }
            if !self.link.has(Endpoint::LegacyControlPoint) {
                return Err(Failure::Other("the device has no Legacy DFU service".into()));
            }
            if !self.is_application(&found).await? {
                return Ok(());
            }
            self.application = Some(found.address);
            self.step("enter-bootloader");
            self.link.subscribe(Endpoint::LegacyControlPoint, NOTIFICATIONS).await?;
            match self.request(Request::Start { mode: ENTER }).await {
                Ok(()) | Err(Failure::Lost) => self.wait_until_gone().await,
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Lost)
    }

    /// Whether what is connected is an application: its version says so. What has none, and advertises the service, is a
    /// bootloader from before there were versions.
    async fn is_application(&mut self, found: &Found) -> Result<bool, Failure> {
        if !self.policy.reads_version() {
            return Ok(false);
        }
        if !self.link.has(Endpoint::LegacyVersion) {
            return Ok(!found.services.contains(&LEGACY_SERVICE));
        }
        let version = self.link.read(Endpoint::LegacyVersion.uuid()).await?;
        match version.as_slice() {
            [low, high] => Ok(u16::from_le_bytes([*low, *high]) == APPLICATION),
            other => Err(Failure::Other(format!("a version of {} bytes", other.len()))),
        }
    }
}

/// Whether this is the device whose application had this address, or its bootloader.
fn is_device(found: &Found, application: Option<Address>) -> bool {
    application.is_none_or(|application| {
        let next = found.address == application.next_in_last_byte() && found.services.contains(&LEGACY_SERVICE);
        found.address == application || next
    })
}
