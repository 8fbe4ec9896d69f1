//! All files: into what takes them, one upload for each, again after what went wrong, and a look at what runs then.
//!
//! | what is connected has | what it is | what is done |
//! |---|---|---|
//! | OTA Control alone | an application in front of an AppLoader | 0x00, and the link ends; what is found then is the AppLoader |
//! | OTA Data, too | an AppLoader, or an application with a slot | the upload; behind it the link is ended, and the device resets |

use brickproof_simulator::gatt::Uuid;
use brickproof_simulator::nordic::Endpoint;
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::files::{self, GblFile};
use super::policy::{Encryption, SilabsPolicy};
use super::upload::{self, Failure, START};
use crate::initiator::link::{Found, Heard, Link};
use crate::initiator::update::Report;

/// How long a device is looked for, in microseconds.
const SCAN_US: u64 = 60_000_000;
/// How long an application may take to end the link behind the way into the AppLoader, in microseconds.
const ENTER_US: u64 = 10_000_000;
/// From the end of an upload to the first look at what came of it, in microseconds.
const RESET_US: u64 = 2_000_000;
/// How long a device may take until its new application runs, in microseconds.
const INSTALL_US: u64 = 120_000_000;
/// How often a device is met as its AppLoader until it counts as one without an application.
const APPLOADERS: u32 = 3;
/// How often a device may turn out to be its application.
const ENTRIES: u32 = 3;
/// The firmware revision of the Device Information service.
const FIRMWARE_REVISION: Uuid = Uuid::short(0x2a26);

/// Updates a device; what it says at the end is true.
pub async fn run<L: Link>(link: &mut L, files: &[&[u8]], policy: &dyn SilabsPolicy) -> Report {
    let mut update = Update { link, policy, first: None, entered: false, probed: false };
    match update.run(files).await {
        Ok(message) => Report { success: true, message },
        Err(message) => Report { success: false, message },
    }
}

struct Update<'a, L> {
    link: &'a mut L,
    policy: &'a dyn SilabsPolicy,
    /// What was found before anything was done.
    first: Option<Found>,
    /// The AppLoader was asked for, and has not been met since.
    entered: bool,
    /// The AppLoader was looked at.
    probed: bool,
}

impl<L: Link> Update<'_, L> {
    async fn run(&mut self, files: &[&[u8]]) -> Result<String, String> {
        let files = files::look(files, self.policy)?;
        let count = if self.policy.sends_all_files() { files.len() } else { 1 };
        for file in files.iter().take(count) {
            self.deliver(file).await.map_err(|failure| failure.to_string())?;
        }
        if !self.policy.confirms() {
            return Ok("every file was taken".into());
        }
        match files.iter().rev().find_map(|file| file.application) {
            Some(version) => self.confirm(version).await,
            None => Ok("every file was taken; what version they bring cannot be seen".into()),
        }
    }

    fn step(&mut self, step: &str) {
        self.link.note(InitiatorEvent::Step { step: step.into(), by: StepBy::Tool });
    }

    /// One file, however often it takes.
    async fn deliver(&mut self, file: &GblFile<'_>) -> Result<(), Failure> {
        let (mut tries, mut sent) = (0, 0);
        loop {
            let done = self.session(file, &mut sent).await;
            // A device that is not left does nothing with what it has.
            if self.policy.disconnects() || done.is_err() {
                self.link.disconnect().await;
            }
            let failure = match done {
                Ok(()) => {
                    self.link.sleep(RESET_US).await;
                    return Ok(());
                }
                Err(failure) => failure,
            };
            tries += 1;
            let again = match failure {
                Failure::Other(_) => false,
                Failure::NotStarted => self.policy.starts_again(),
                Failure::Lost | Failure::Refused(..) | Failure::Silent(_) => true,
            };
            if !again || tries >= self.policy.attempts() {
                return Err(failure);
            }
            self.link.sleep(self.policy.pause_us()).await;
        }
    }

    /// A connection to what takes the file, and all of the file over it.
    async fn session(&mut self, file: &GblFile<'_>, sent: &mut usize) -> Result<(), Failure> {
        self.reach().await?;
        self.step("upload");
        let mtu = match self.policy.mtu(file.bytes.len()) {
            Some(mtu) => self.link.exchange_mtu(mtu).await,
            None => 23,
        };
        upload::run(self.link, self.policy, file.bytes, mtu, sent).await
    }

    /// Connects to what takes files; where that is an AppLoader, by way of its application.
    async fn reach(&mut self) -> Result<(), Failure> {
        for _ in 0..=self.policy.attempts() + ENTRIES {
            let found = self.find().await?;
            let discovers = self.policy.discovers_again() || !self.entered;
            if !self.link.connect(&found, discovers).await {
                self.link.sleep(self.policy.pause_us()).await;
                continue;
            }
            let behind_entry = std::mem::take(&mut self.entered);
            if self.takes_files(&found) {
                if behind_entry && self.policy.probes() && !std::mem::replace(&mut self.probed, true) {
                    let _ = self.link.read(Endpoint::OtaControl.uuid()).await;
                    self.link.disconnect().await;
                    self.link.sleep(self.policy.pause_us()).await;
                    continue;
                }
                if behind_entry {
                    self.in_apploader().await?;
                }
                for uuid in self.policy.reads() {
                    let _ = self.link.read(*uuid).await;
                }
                return Ok(());
            }
            if !self.link.has(Endpoint::OtaControl) {
                return Err(Failure::Other("the device has no OTA Control".into()));
            }
            self.enter().await?;
        }
        Err(Failure::Lost)
    }

    /// What is done in an AppLoader first.
    async fn in_apploader(&mut self) -> Result<(), Failure> {
        let encryption = self.policy.encryption();
        if encryption != Encryption::Never && !self.link.encrypt().await && encryption == Encryption::Needed {
            return Err(Failure::Other("the link cannot be encrypted".into()));
        }
        if self.policy.enters_again() {
            self.control_start().await?;
        }
        Ok(())
    }

    async fn find(&mut self) -> Result<Found, Failure> {
        let (policy, first) = (self.policy, self.first.clone());
        let wanted = |found: &Found| first.as_ref().is_none_or(|first| policy.is_device(found, first));
        let found = self.link.find(&wanted, SCAN_US).await;
        let found = found.ok_or_else(|| Failure::Other("the device is not found".into()))?;
        self.first.get_or_insert_with(|| found.clone());
        Ok(found)
    }

    fn takes_files(&self, found: &Found) -> bool {
        if self.policy.looks_for_data() {
            self.link.has(Endpoint::OtaData)
        } else {
            matches!(found.name.as_deref(), Some("OTA" | "AppLoader"))
        }
    }

    /// From an application into its AppLoader: any byte is the way, and the link ends.
    async fn enter(&mut self) -> Result<(), Failure> {
        self.step("enter-apploader");
        let mut done = self.control_start().await;
        if let Err(Failure::Refused(_, error)) = &done
            && error.is_security()
            && self.link.encrypt().await
        {
            done = self.control_start().await;
        }
        done?;
        self.entered = true;
        if !self.policy.waits_for_the_loss() {
            self.link.disconnect().await;
            return Ok(());
        }
        let end = self.link.now_us().saturating_add(ENTER_US);
        while self.link.is_connected() && self.link.now_us() < end {
            let left = end.saturating_sub(self.link.now_us());
            if let Some(Heard::Disconnected) | None = self.link.hear(left).await {
                break;
            }
        }
        let lost = !self.link.is_connected();
        self.link.disconnect().await;
        match lost {
            false => Err(Failure::Other("the application does not enter its AppLoader".into())),
            true if !self.policy.expects_the_loss() => Err(Failure::Other("the link is gone".into())),
            true => Ok(()),
        }
    }

    async fn control_start(&mut self) -> Result<(), Failure> {
        upload::control(self.link, self.policy, START, "the way into the AppLoader", self.policy.answer_us()).await
    }

    /// Looks for the version that the files have brought, until it runs.
    async fn confirm(&mut self, version: u32) -> Result<String, String> {
        self.step("confirm");
        let end = self.link.now_us().saturating_add(INSTALL_US);
        let mut seen = "the device is not found".to_owned();
        let mut without = 0;
        while self.link.now_us() < end && without < APPLOADERS {
            let Ok(found) = self.find().await else { break };
            if self.link.connect(&found, true).await {
                let revision = self.link.read(FIRMWARE_REVISION).await.ok();
                let revision = revision.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                self.link.disconnect().await;
                match revision {
                    Some(revision) if revision == version.to_string() => {
                        return Ok(format!("version {version} runs"));
                    }
                    Some(revision) => seen = format!("version {revision} runs, and not {version}"),
                    // A bootloader that has just come into its place waits once, whatever application there is: the end of
                    // a connection sends it on.
                    None => {
                        without += 1;
                        seen = "the device has no application: it waits for another update".into();
                    }
                }
            }
            self.link.sleep(self.policy.pause_us()).await;
        }
        Err(seen)
    }
}
