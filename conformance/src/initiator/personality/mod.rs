//! The built-in initiator as other clients: their order of steps, their timeouts, their weaknesses.
//!
//! | name | client | mode |
//! |---|---|---|
//! | `builtin` | none: a well-behaved one | test and confirm |
//! | `builtin-go` | mcumgr and newtmgr, the command lines in Go | step by step |
//! | `builtin-android` | nRF Connect Device Manager for Android, default settings | test and confirm |
//! | `builtin-android-window` | the same with a window of three chunks | test and confirm |
//! | `builtin-android-confirm-only` | the same | confirm only |
//! | `builtin-ios` | nRF Connect Device Manager for iOS, default settings | confirm only |
//! | `builtin-ios-test-and-confirm` | the same | test and confirm |
//! | `builtin-ios-pipeline` | the same with a pipeline of three chunks | test and confirm |
//! | `builtin-ios-upload-only` | the same | upload only |
//!
//! They are written after the clients' sources, so that a target, and every check, meets what those do
//! without a phone. What they do wrong is what the clients do wrong: known findings, with their reasons, are
//! in `scenarios/known/`. In scenarios that end before the confirm, those that can run in their mode for that.
//!
//! An air without links has no disconnect and no connect: a second after the answer to a reset the link
//! counts as lost, and a client that connects again asks until the device answers or its patience ends.

mod android;
mod go;
mod ios;
mod known;

use brickproof_simulator::smp::{Command, Op, SmpMessage, Version};
use brickproof_simulator::trace::{InitiatorEvent, StepBy};

use super::policy::{Policy, WellBehaved};
use super::session::{Session, Ticket, Value};
use super::update::{self, Job, Report};
use super::wire::Wire;
use crate::air::{BLE, PAIRING, SERIAL_RECOVERY};
use crate::profile::Known;
use crate::runner::verdict::Finding;
use crate::scenario::Task;

/// What is done after the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Test, reset, confirm.
    TestAndConfirm,
    /// Confirm, reset.
    ConfirmOnly,
    /// Test, reset.
    TestOnly,
    /// Reset.
    UploadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    WellBehaved,
    Go,
    Android,
    Ios,
}

/// The built-in initiator as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Personality {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    client: Client,
    mode: Mode,
    /// Chunks under way at once.
    window: usize,
}

const fn personality(
    name: &'static str,
    about: &'static str,
    client: Client,
    mode: Mode,
    window: usize,
) -> Personality {
    Personality { name, about, client, mode, window }
}

impl Personality {
    /// Whether it is the well-behaved one, which speaks every protocol.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.client == Client::WellBehaved
    }

    /// The well-behaved one.
    pub const DEFAULT: Self = personality(
        "builtin",
        "the initiator of brickproof itself, on virtual time",
        Client::WellBehaved,
        Mode::TestAndConfirm,
        1,
    );

    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::DEFAULT,
        personality(
            "builtin-go",
            "as mcumgr and newtmgr, the command lines in Go",
            Client::Go,
            Mode::TestAndConfirm,
            5,
        ),
        personality(
            "builtin-android",
            "as nRF Connect Device Manager for Android, with its default settings",
            Client::Android,
            Mode::TestAndConfirm,
            1,
        ),
        personality(
            "builtin-android-window",
            "as nRF Connect Device Manager for Android, with three chunks under way",
            Client::Android,
            Mode::TestAndConfirm,
            3,
        ),
        personality(
            "builtin-android-confirm-only",
            "as nRF Connect Device Manager for Android, without a test",
            Client::Android,
            Mode::ConfirmOnly,
            1,
        ),
        personality(
            "builtin-ios",
            "as nRF Connect Device Manager for iOS, with its default settings: without a test",
            Client::Ios,
            Mode::ConfirmOnly,
            1,
        ),
        personality(
            "builtin-ios-test-and-confirm",
            "as nRF Connect Device Manager for iOS, with test and confirm",
            Client::Ios,
            Mode::TestAndConfirm,
            1,
        ),
        personality(
            "builtin-ios-pipeline",
            "as nRF Connect Device Manager for iOS, with test and confirm and three chunks under way",
            Client::Ios,
            Mode::TestAndConfirm,
            3,
        ),
        personality(
            "builtin-ios-upload-only",
            "as nRF Connect Device Manager for iOS, with neither test nor confirm",
            Client::Ios,
            Mode::UploadOnly,
            1,
        ),
    ];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|personality| personality.name == name)
    }

    /// Of the findings in a scenario, those that are known, because the client has them; and those that should
    /// be there and are not.
    #[must_use]
    pub fn known_for(&self, scenario: &str, findings: &[Finding]) -> Vec<Known> {
        known::known_for(self.name, scenario, findings)
    }

    /// What the client does wrong wherever it comes so far.
    pub fn habits(&self) -> impl Iterator<Item = &'static str> {
        known::habits(self.name)
    }

    /// Why it cannot do a scenario with these needs, if it cannot.
    #[must_use]
    pub fn unsupported(&self, scenario: &str, needs: &[String]) -> Option<&'static str> {
        if self.client != Client::WellBehaved
            && needs.iter().any(|need| [BLE, PAIRING, SERIAL_RECOVERY].contains(&need.as_str()))
        {
            return Some(
                "of this client only the application's updates over packets are modelled, no links and no recovery",
            );
        }
        known::unsupported(self.name, scenario)
    }

    /// Does the job; what is drawn comes from `seed`.
    pub async fn run<W: Wire>(&self, wire: &mut W, job: &Job, seed: u64) -> Report {
        let mode = match (job.task, self.mode) {
            (Task::TestOnly, Mode::TestAndConfirm) => Mode::TestOnly,
            (_, mode) => mode,
        };
        let ended = match self.client {
            Client::WellBehaved => return update::run(wire, job, &WellBehaved).await,
            Client::Go => go::run(wire, job, mode, seed).await,
            Client::Android => android::run(wire, job, mode, self.window).await,
            Client::Ios => ios::run(wire, job, mode, self.window, seed).await,
        };
        match ended {
            Ok(message) => Report { success: true, message },
            Err(message) => Report { success: false, message },
        }
    }
}

/// After the answer to a reset the link counts as lost, in microseconds.
const DISCONNECT_US: u64 = 1_000_000;
/// One attempt to connect, in microseconds.
const CONNECT_US: u64 = 1_000_000;
/// Longest packet where the device does not tell: an ATT MTU of 247 without its header.
const PACKET_DEFAULT: usize = 244;

/// Sends requests with header fields of its own.
struct Caller {
    version: Version,
    sequence: u8,
    /// Whether later requests have the version of the answers.
    adopts: bool,
}

/// The header of one request.
struct Header {
    version: Version,
    sequence: u8,
}

impl Policy for Header {
    fn version(&self) -> Version {
        self.version
    }

    fn first_sequence(&self) -> u8 {
        self.sequence
    }

    fn falls_back(&self) -> bool {
        false
    }

    fn busy_retries(&self) -> u32 {
        0
    }
}

type Body<'a> = &'a [(&'static str, Value)];

impl Caller {
    fn header(&self) -> Header {
        Header { version: self.version, sequence: self.sequence }
    }

    async fn send<W: Wire>(&mut self, wire: &mut W, command: Command, op: Op, body: Body<'_>) -> Ticket {
        let header = self.header();
        let ticket = Session::new(wire, &header).send(command, op, body).await;
        self.sequence = self.sequence.wrapping_add(1);
        ticket
    }

    /// The answer to one of these requests, with its place among them.
    async fn answer<W: Wire>(
        &mut self,
        wire: &mut W,
        tickets: impl Iterator<Item = Ticket> + Clone,
        deadline_us: u64,
    ) -> Option<(usize, SmpMessage)> {
        let header = self.header();
        let (place, answer) = Session::new(wire, &header).answer(tickets, deadline_us).await?;
        if self.adopts {
            self.version = if answer.version == Version::V0.number() { Version::V0 } else { Version::V1 };
        }
        Some((place, answer))
    }

    async fn ask<W: Wire>(
        &mut self,
        wire: &mut W,
        command: Command,
        op: Op,
        body: Body<'_>,
        timeout_us: u64,
    ) -> Option<SmpMessage> {
        let ticket = self.send(wire, command, op, body).await;
        let deadline = wire.now_us() + timeout_us;
        self.answer(wire, std::iter::once(ticket), deadline).await.map(|(_, answer)| answer)
    }
}

/// A number from the seed: the nth that is drawn.
fn drawn(seed: u64, nth: u64) -> u8 {
    // The finishing steps of SplitMix64.
    let mut z = seed.wrapping_add(nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 56) as u8
}

/// Length of an unsigned number in CBOR, in bytes.
fn cbor_len(number: usize) -> usize {
    match number {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    }
}

/// Length of a chunk's packet without its image bytes: header, map, `data` with three bytes of length,
/// `off`, and in a first chunk `len` and `sha`.
fn packet_overhead(total: usize, offset: usize) -> usize {
    let first = if offset == 0 { 4 + cbor_len(total) + 4 + 2 + 32 } else { 0 };
    8 + 1 + 5 + 3 + 4 + cbor_len(offset) + first
}

/// How a request was refused, in words.
fn refused(answer: &SmpMessage) -> Option<String> {
    answer.failure().map(|(group, rc)| update::refusal(group, rc))
}

/// Whether the bootloader tells that it runs images where they lie: modes direct-XIP with and without revert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bootloader {
    /// `MCUBOOT_MODE` of the answer.
    mode: Option<i64>,
}

impl Bootloader {
    const DIRECT_XIP: i64 = 4;
    const DIRECT_XIP_WITH_REVERT: i64 = 5;

    fn swaps(self) -> bool {
        !matches!(self.mode, Some(Self::DIRECT_XIP | Self::DIRECT_XIP_WITH_REVERT))
    }

    fn reverts(self) -> bool {
        self.mode != Some(Self::DIRECT_XIP)
    }

    /// Asks for the name of the bootloader and, of MCUboot, for its mode; a device that does not tell is
    /// taken for one that swaps.
    async fn ask<W: Wire>(caller: &mut Caller, wire: &mut W, timeout_us: u64) -> Self {
        let text = |answer: &SmpMessage, key: &str, wanted: &str| matches!(answer.body.get(key), Some(brickproof_simulator::smp::Field::Text(text)) if text == wanted);
        let name = caller.ask(wire, Command::BootloaderInfo, Op::Read, &[], timeout_us).await;
        if !name.is_some_and(|answer| answer.failure().is_none() && text(&answer, "bootloader", "MCUboot")) {
            return Self::default();
        }
        let query = [("query", Value::Text("mode"))];
        let answer = caller.ask(wire, Command::BootloaderInfo, Op::Read, &query, timeout_us).await;
        let answer = answer.filter(|answer| answer.failure().is_none());
        Self { mode: answer.and_then(|answer| answer.body.get("mode")?.number()) }
    }
}

fn step<W: Wire>(wire: &mut W, step: &str, by: StepBy) {
    wire.note(InitiatorEvent::Step { step: step.into(), by });
}

/// Answers and timeouts in a row without progress after which an upload is ended here; the clients have no
/// such limit.
const STALLED_MAX: u32 = 100;
/// What is said then.
const NEVER_ENDS: &str = "the upload goes on for ever: a person ends it";
