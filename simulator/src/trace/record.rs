//! Record kinds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bus::BusEvent;
use super::gatt::{AttRecord, CccdRecord, LinkEvent};
use crate::nordic::DfuMessage;
use crate::smp::SmpMessage;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Position in the trace, from 0.
    pub n: u64,
    /// Microseconds since the start of the run, on the clock of the run.
    pub at_us: u64,
    /// Microseconds since the start of the run on the wall clock; absent on virtual time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wall_us: Option<u64>,
    /// The record that led to this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// The run begins; always record 0.
    Run(RunRecord),
    /// The link changed.
    Link(LinkEvent),
    /// A packet arrived at or left the target: a datagram of UDP, or the lines of a serial port put together.
    Datagram {
        /// Which way.
        direction: Direction,
        /// Length in bytes.
        len: u64,
        /// Contents in hexadecimal, up to 512 bytes of them.
        data: String,
        /// Why it was lost, if it was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lost: Option<String>,
    },
    /// A packet of the Attribute Protocol.
    Att(AttRecord),
    /// Notifications were switched on or off.
    Cccd(CccdRecord),
    /// Something happened on the virtual BlueZ.
    Bus(BusEvent),
    /// A line arrived at or left the target on a serial port. The packet that it completes follows as a
    /// datagram, whose `cause` it is; lines from the target have their datagram as `cause`.
    SerialFrame {
        /// Which way.
        direction: Direction,
        /// Length in bytes with the line feed.
        len: u64,
        /// Contents in hexadecimal with the line feed, up to 128 bytes of them; of SLIP what the frame holds.
        data: String,
        /// What it is.
        part: SerialPart,
        /// Why the receiver drops it, if it does; text is not dropped but belongs to somebody else.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        error: Option<String>,
        /// Bytes of an unfinished packet that the receiver drops because this line begins another.
        #[serde(skip_serializing_if = "is_zero", default)]
        abandoned: u64,
        /// Why it was lost, if it was.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        lost: Option<String>,
    },
    /// A decoded message; `cause` is its datagram, or the last write or notification it came in.
    Message {
        /// Which protocol: `smp`.
        protocol: String,
        /// Which way.
        direction: Direction,
        /// The message.
        smp: SmpMessage,
    },
    /// A message of another protocol; `cause` is the write, notification or indication that it came in.
    Dfu {
        /// Which way.
        direction: Direction,
        /// The message.
        message: DfuMessage,
    },
    /// A flash operation.
    Flash(FlashOp),
    /// A boot ended.
    Boot(BootRecord),
    /// Supply or reset.
    Power(PowerEvent),
    /// The battery.
    Battery {
        /// Charge in percent.
        percent: u8,
    },
    /// The application did something by itself.
    Application {
        /// What.
        event: String,
    },
    /// A limited resource overran.
    Resource {
        /// Which pool.
        pool: String,
        /// How much of it there is.
        size: u64,
        /// What was lost.
        dropped: String,
    },
    /// A fault of the scenario.
    Fault {
        /// Its id.
        id: String,
        /// `armed` or `fired`.
        state: String,
        /// What it does.
        what: String,
    },
    /// The initiator, as the runner sees it.
    Initiator(InitiatorEvent),
    /// What is in the slots.
    State(StateRecord),
}

/// What a line on a serial port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SerialPart {
    /// Of the shell or the log: it has no marker.
    Text,
    /// The first frame of a packet.
    Start,
    /// A frame that continues a packet.
    Continuation,
    /// A frame of SLIP, which is a packet.
    Slip,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Towards or from the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the initiator.
    ToTarget,
    /// From the target.
    FromTarget,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// Version of brickproof.
    pub version: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Id of the scenario.
    pub scenario: String,
    /// Name of the target profile.
    pub target: String,
    /// Name of the initiator profile.
    pub initiator: String,
    /// Name of the air.
    pub air: String,
    /// `virtual` or `real`.
    pub clock: String,
    /// Images of the scenario.
    pub artifacts: Vec<Artifact>,
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// `installed` or `update`.
    pub role: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The hash in its TLV area, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tlv_hash: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Size of the file in bytes.
    pub size: u64,
    /// The file with the published private key that signed it: a debug key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub debug_key: Option<String>,
}

/// Erase or program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlashOp {
    /// Name of the device.
    pub device: String,
    /// `erase` or `program`.
    pub op: String,
    /// Byte offset from the start of the device.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// First 8 bytes of the SHA-256 of programmed data, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha: Option<String>,
    /// Duration in microseconds.
    pub duration_us: u64,
    /// What came of it.
    pub result: FlashResult,
}

/// What came of a flash operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlashResult {
    /// Done.
    Done,
    /// Interrupted before it began.
    Cut,
    /// Interrupted in the middle.
    Torn,
    /// Refused by the device.
    Refused(String),
}

/// Why the device started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Supply came back.
    PowerOn,
    /// The application asked for a reset.
    SoftReset,
    /// The reset pin.
    PinReset,
    /// The application crashed.
    Crash,
    /// The watchdog fired.
    Watchdog,
}

/// A boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootRecord {
    /// Number of the boot, from 1.
    pub number: u64,
    /// Why it started.
    pub cause: Cause,
    /// `boot`, `recovery` (the bootloader's own), `dfu-mode`, `reset`, `brick` or `interrupted`.
    pub outcome: String,
    /// Why it ended that way, where that needs saying.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The turns it took.
    pub decisions: Vec<String>,
    /// The swap it performed or finished: `test`, `permanent` or `revert`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub swapped: Option<String>,
    /// Hash of the image that was started, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Flash operations.
    pub operations: u64,
    /// From reset to the start of the image, in microseconds.
    pub duration_us: u64,
}

impl BootRecord {
    /// A boot that came to nothing.
    pub(crate) fn interrupted(number: u64, cause: Cause, duration_us: u64) -> Self {
        Self {
            number,
            cause,
            outcome: "interrupted".into(),
            reason: None,
            decisions: Vec::new(),
            swapped: None,
            running: None,
            version: None,
            operations: 0,
            duration_us,
        }
    }
}

/// Supply or reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum PowerEvent {
    /// Supply lost.
    Off {
        /// Why.
        reason: String,
    },
    /// Reset or supply back.
    On {
        /// Which.
        cause: Cause,
    },
    /// The device does not start any more.
    Dead {
        /// Why.
        reason: String,
    },
}

/// Who chose a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepBy {
    /// The tool itself.
    Tool,
    /// The recipe that drives it.
    Recipe,
}

/// The initiator, as the runner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum InitiatorEvent {
    /// It starts to work.
    Started {
        /// What was started.
        what: String,
    },
    /// It begins a step.
    Step {
        /// Which: `upload`, `test`, `reset`, `confirm`, `list`, `update`, `wait`.
        step: String,
        /// Who chose it.
        by: StepBy,
    },
    /// A line it wrote to its standard output.
    Stdout {
        /// The line.
        line: String,
    },
    /// A line it wrote to its standard error.
    Stderr {
        /// The line.
        line: String,
    },
    /// A process of it ended.
    Exited {
        /// Its exit code, `None` when a signal ended it.
        code: Option<i32>,
    },
    /// A person is asked.
    Asked {
        /// The question.
        question: String,
    },
    /// What the person has typed.
    Answered {
        /// The line.
        line: String,
    },
    /// What it says of the whole.
    Reported {
        /// Whether it says that it succeeded.
        success: bool,
        /// Its words.
        message: String,
    },
}

/// Trailer fields of a slot in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trailer {
    /// `good`, `unset` or `bad`.
    pub magic: String,
    /// Which swap it belongs to.
    pub swap_type: String,
    /// `set`, `unset` or `bad`.
    pub copy_done: String,
    /// `set`, `unset` or `bad`.
    pub image_ok: String,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlotState {
    /// `primary` or `secondary`, of image 1 `primary-1` or `secondary-1`.
    pub slot: String,
    /// Hash of a valid image in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hash: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Why there is no valid image.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub invalid: Option<String>,
    /// The trailer, where the bootloader has trailers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trailer: Option<Trailer>,
}

/// What is known about the running image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageState {
    /// It stays.
    Confirmed,
    /// The next boot swaps back.
    Testing,
}

/// What is in the slots, and what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateRecord {
    /// When it was taken: `start`, `boot` or `end`.
    pub when: String,
    /// The slots.
    pub slots: Vec<SlotState>,
    /// What the trailers ask the next boot to do.
    pub next_boot: String,
    /// Hash of the running image in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub running: Option<String>,
    /// Whether it stays.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<ImageState>,
    /// SHA-256 over all flash devices, in hexadecimal.
    pub flash_sha256: String,
}
