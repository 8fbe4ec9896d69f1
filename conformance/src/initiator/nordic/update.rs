//! A whole package: into the bootloader, one session for each image, and again after a lost link.

use brickproof_flash_model::image::nordic::{ImageKind, Package, PackageImage};
use brickproof_simulator::gatt::Address;
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::buttonless;
use super::channel::BleChannel;
use super::policy::DfuPolicy;
use super::session::{Failure, Session};
use crate::initiator::link::{Heard, Link, LinkError};
use crate::initiator::update::Report;

/// How long a device is looked for, in microseconds.
const SCAN_US: u64 = 60_000_000;
/// How long a device may go on with a link whose update is over, in microseconds.
const END_US: u64 = 10_000_000;
/// Notifications.
const NOTIFICATIONS: u16 = 1;
/// Extended error of a version that is not newer.
const FW_VERSION_FAILURE: u8 = 0x05;

/// Updates a device by Bluetooth LE; what it says at the end is true.
pub async fn run<L: Link>(link: &mut L, package: &[u8], policy: &dyn DfuPolicy) -> Report {
    let package = match Package::read("the package", package) {
        Ok(package) => package,
        Err(error) => return Report { success: false, message: error.to_string() },
    };
    let mut update = Update { link, policy, application: None, connection: 0 };
    match update.run(&package).await {
        Ok(message) => Report { success: true, message },
        Err(message) => Report { success: false, message },
    }
}

struct Update<'a, L> {
    link: &'a mut L,
    policy: &'a dyn DfuPolicy,
    /// The address of the application, if it was met there.
    application: Option<Address>,
    /// Connections to the bootloader so far.
    connection: u32,
}

impl<L: Link> Update<'_, L> {
    async fn run(&mut self, package: &Package) -> Result<String, String> {
        let last = package.images.len().saturating_sub(1);
        let mut refused = None;
        for (index, image) in package.images.iter().enumerate() {
            if index > 0 {
                self.link.sleep(self.policy.image_pause_us()).await;
            }
            match self.image(image).await {
                Ok(()) => {}
                Err(Failure::Refused { extended: Some(FW_VERSION_FAILURE), .. })
                    if index < last
                        && image.kind != ImageKind::Application
                        && self.policy.goes_on_with_application() =>
                {
                    refused = Some(image.kind);
                }
                Err(failure) => return Err(format!("{}: {failure}", image.kind.key())),
            }
        }
        Ok(match refused {
            None => "every image was taken".into(),
            Some(kind) => format!("the device has this {} already, and has taken the application", kind.key()),
        })
    }

    fn step(&mut self, step: &str) {
        self.link.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }

    /// One image, however often the link is lost.
    async fn image(&mut self, image: &PackageImage) -> Result<(), Failure> {
        let (mut losses, mut sent) = (0, 0);
        loop {
            let done = self.session(image, &mut sent).await;
            match done {
                Err(Failure::Lost) if losses < self.policy.reconnects() => {
                    losses += 1;
                    self.link.sleep(self.policy.reconnect_pause_us()).await;
                }
                Err(failure) => {
                    if failure != Failure::GivenUp || self.policy.leaves() {
                        self.link.disconnect().await;
                    }
                    return Err(failure);
                }
                Ok(()) if !self.policy.one_session_for_each_image() => return Ok(()),
                Ok(()) => {
                    self.wait_for_the_end().await;
                    return if self.policy.ends_with_the_link() { Ok(()) } else { Err(Failure::Lost) };
                }
            }
        }
    }

    /// The device ends the link by itself.
    async fn wait_for_the_end(&mut self) {
        let end = self.link.now_us().saturating_add(END_US);
        while self.link.is_connected() && self.link.now_us() < end {
            let left = end.saturating_sub(self.link.now_us());
            match self.link.hear(left).await {
                Some(Heard::Disconnected) | None => break,
                Some(_) => {}
            }
        }
        self.link.disconnect().await;
    }

    /// A connection to the bootloader, and all of the image over it.
    async fn session(&mut self, image: &PackageImage, sent: &mut usize) -> Result<(), Failure> {
        if !self.link.is_connected() {
            self.reach_bootloader().await?;
        }
        self.step("upload");
        let mtu = match self.policy.mtu() {
            Some(mtu) => self.link.exchange_mtu(mtu).await,
            None => 23,
        };
        if self.policy.subscribes_first() {
            let subscribed = self.link.subscribe(Endpoint::ControlPoint, NOTIFICATIONS).await;
            subscribed.map_err(|error| match error {
                LinkError::Gone => Failure::Lost,
                error => Failure::Other(format!("the control point: {error}")),
            })?;
        }
        self.connection += 1;
        let mut channel = BleChannel::new(self.link, self.policy, mtu);
        Session::new(&mut channel, self.policy, image, self.connection).run(sent).await
    }

    /// Connects to the bootloader; if it is the application that is there, asks that for it.
    async fn reach_bootloader(&mut self) -> Result<(), Failure> {
        for _ in 0..=self.policy.reconnects() {
            let (policy, application) = (self.policy, self.application);
            let entered = application.is_some();
            let found = self
                .link
                .find(
                    &|found| {
                        // Who takes a refusal for none looks for nothing but a bootloader.
                        if entered && !policy.heeds_entry_status() {
                            return buttonless::is_bootloader(found, application, policy);
                        }
                        !entered
                            || buttonless::is_bootloader(found, application, policy)
                            || Some(found.address) == application
                    },
                    SCAN_US,
                )
                .await;
            let Some(found) = found else {
                return Err(Failure::Other("the device is not found".into()));
            };
            if !self.link.connect(&found, self.policy.discovers() || !entered).await {
                self.link.sleep(self.policy.reconnect_pause_us()).await;
                continue;
            }
            if self.link.has(Endpoint::ControlPoint) {
                if self.policy.encrypts_in_bootloader()
                    && application == Some(found.address)
                    && !self.link.encrypt().await
                {
                    // A bootloader without bonds at the same address.
                }
                return Ok(());
            }
            let Some(endpoint) = buttonless::endpoint(self.link) else {
                self.link.disconnect().await;
                return Err(Failure::Other("the device has no DFU service".into()));
            };
            self.application = Some(found.address);
            self.step("enter-bootloader");
            let entered = buttonless::enter(self.link, endpoint, self.policy).await;
            match entered {
                Err(words) if self.link.is_connected() => {
                    self.link.disconnect().await;
                    return Err(Failure::Other(words));
                }
                // Perhaps it has entered its bootloader, perhaps not.
                Err(_) => {
                    self.link.sleep(self.policy.reconnect_pause_us()).await;
                    continue;
                }
                Ok(()) => {}
            }
            if !self.leave().await && !self.policy.bears_silence() {
                return Err(Failure::Other("the device does not end the link".into()));
            }
        }
        Err(Failure::Lost)
    }

    /// Waits until the application is gone; whether it has ended the link in time.
    async fn leave(&mut self) -> bool {
        let end = self.link.now_us().saturating_add(self.policy.entry_patience_us());
        while self.link.is_connected() && self.link.now_us() < end {
            let left = end.saturating_sub(self.link.now_us());
            if let Some(Heard::Disconnected) | None = self.link.hear(left).await {
                break;
            }
        }
        let ended = !self.link.is_connected();
        self.link.disconnect().await;
        self.link.sleep(self.policy.reconnect_pause_us()).await;
        ended
    }
}
