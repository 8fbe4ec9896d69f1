//! mcumgr and newtmgr, the command lines in Go.
//!
//! Each step is a command of its own; their order, and the waiting between them, is the caller's, here a
//! recipe: upload, test, reset, wait, confirm, list.
//!
//! | command | request | ends with |
//! |---|---|---|
//! | `image upload FILE` | chunks of at most 512 bytes, `image` in each, a window from 1 to 5 | 0 when every byte was acknowledged; never, when the device refuses |
//! | `image test HASH` | `hash`, `confirm: false` | 0, also when the answer is a failure: it is printed |
//! | `image confirm` | an empty `hash`, `confirm: true` | 0, likewise |
//! | `image list` | | 0, likewise |
//! | `reset` | | 1 without an answer |
//!
//! Headers have version 0, and each command counts sequence numbers from a random one. Every request has
//! 10 s and one try. Sources: `nmxact/xact/image.go`, `newtmgr/cli/image.go`, `newtmgr/cli/commands.go` of
//! apache/mynewt-newtmgr, which mcumgr-cli is built from.

use std::collections::{BTreeMap, VecDeque};

use brickproof_simulator::smp::{Command, Field, Op, Version};
use brickproof_simulator::trace::{InitiatorEvent, StepBy, hex};

use super::{CONNECT_US, Caller, Job, Mode, Ticket, Value, Wire, drawn};
use crate::initiator::policy::FirstChunk;

/// `--timeout`, in microseconds.
const TIMEOUT_US: u64 = 10_000_000;
/// `IMAGE_UPLOAD_MAX_CHUNK`.
const CHUNK_MAX: usize = 512;
/// `IMAGE_UPLOAD_DEF_MAX_WS`.
const WINDOW_MAX: i64 = 5;
/// `IMAGE_UPLOAD_CHUNK_MISSED_WM`.
const MISSED: i64 = -1;
/// How long the recipe waits for the device after a reset, in microseconds.
const WAIT_US: u64 = 180_000_000;
/// Pause of the recipe after the reset, in microseconds.
const PAUSE_US: u64 = 1_000_000;

/// How a command ended: its exit code; `None` when a person had to end it.
type Exit = Option<i32>;

struct Go<'a, W> {
    wire: &'a mut W,
    job: &'a Job,
    seed: u64,
    commands: u64,
}

pub(super) async fn run<W: Wire>(wire: &mut W, job: &Job, mode: Mode, seed: u64) -> Result<String, String> {
    let steps: &[&str] = match mode {
        Mode::TestOnly => &["upload", "test", "reset"],
        _ => &["upload", "test", "reset", "wait", "confirm", "list"],
    };
    let mut go = Go { wire, job, seed, commands: 0 };
    let mut failed = None;
    for step in steps {
        super::step(go.wire, step, StepBy::Recipe);
        if *step == "wait" {
            if !go.wait().await {
                return Err("the device did not come back".into());
            }
            continue;
        }
        match go.command(step).await {
            Some(0) => {}
            // A missing answer to a reset says nothing about the reset: the target tells.
            _ if *step == "reset" => failed = Some(*step),
            _ => return Err(format!("the step `{step}` failed")),
        }
    }
    match failed {
        None => Ok("every step succeeded".into()),
        Some(step) => Err(format!("the step `{step}` failed")),
    }
}

impl<W: Wire> Go<'_, W> {
    /// A new process, with a sequence of its own.
    fn caller(&mut self) -> Caller {
        self.commands += 1;
        Caller { version: Version::V0, sequence: drawn(self.seed, self.commands), adopts: false }
    }

    async fn command(&mut self, step: &str) -> Exit {
        let what = match step {
            "upload" => "image upload".to_owned(),
            "test" => format!("image test {}", hex(&self.job.tlv_hash)),
            "confirm" => "image confirm".to_owned(),
            "list" => "image list".to_owned(),
            other => other.to_owned(),
        };
        self.wire.note(InitiatorEvent::Started { what: format!("mcumgr {what}") });
        let mut caller = self.caller();
        let code = match step {
            "upload" => self.upload(&mut caller).await,
            "test" => self.write_state(&mut caller, self.job.tlv_hash.to_vec(), false).await,
            "confirm" => self.write_state(&mut caller, Vec::new(), true).await,
            "list" => self.ask(&mut caller, Command::ImageState, Op::Read, &[]).await,
            _ => self.ask(&mut caller, Command::Reset, Op::Write, &[]).await,
        };
        self.wire.note(InitiatorEvent::Exited { code });
        code
    }

    /// Whatever the answer says, it was answered.
    async fn ask(&mut self, caller: &mut Caller, command: Command, op: Op, body: super::Body<'_>) -> Exit {
        let answer = caller.ask(self.wire, command, op, body, TIMEOUT_US).await;
        if let Some(words) = answer.as_ref().and_then(super::refused) {
            self.wire.note(InitiatorEvent::Stdout { line: format!("Error: {words}") });
        }
        Some(i32::from(answer.is_none()))
    }

    async fn write_state(&mut self, caller: &mut Caller, hash: Vec<u8>, confirm: bool) -> Exit {
        let body = [("hash", Value::Bytes(hash)), ("confirm", Value::Boolean(confirm))];
        self.ask(caller, Command::ImageState, Op::Write, &body).await
    }

    /// The recipe's part: a person sees when the device is back.
    async fn wait(&mut self) -> bool {
        self.wire.sleep(PAUSE_US).await;
        let until = self.wire.now_us() + WAIT_US;
        let mut caller = self.caller();
        while self.wire.now_us() < until {
            let body = [("d", Value::Text("there?"))];
            if caller.ask(self.wire, Command::Echo, Op::Write, &body, CONNECT_US).await.is_some() {
                return true;
            }
        }
        false
    }

    async fn send_chunk(&mut self, caller: &mut Caller, offset: usize) -> Open {
        let total = self.job.image.len();
        let end = (offset + CHUNK_MAX).min(total);
        let mut body = vec![("image", Value::Number(0)), ("off", Value::Number(offset as u64))];
        let fields = if offset == 0 { FirstChunk::WHOLE } else { FirstChunk::NONE };
        if fields.len {
            body.push(("len", Value::Number(total as u64)));
        }
        if fields.sha {
            body.push(("sha", Value::Bytes(self.job.sha256.to_vec())));
        }
        body.push(("data", Value::Bytes(self.job.image[offset..end].to_vec())));
        let ticket = caller.send(self.wire, Command::ImageUpload, Op::Write, &body).await;
        Open { ticket, offset, end, deadline: self.wire.now_us() + TIMEOUT_US }
    }

    /// `ImageUploadCmd.Run`: a failure in an answer is not looked at, its missing `off` counts as 0.
    async fn upload(&mut self, caller: &mut Caller) -> Exit {
        let total = self.job.image.len();
        let mut tracker = Tracker { answers: BTreeMap::new(), offset: 0, cap: 1, grows: true };
        let mut open: VecDeque<Open> = VecDeque::new();
        let (mut reached, mut stalled, mut failed) = (0, 0, false);
        while reached < total {
            tracker.process_missed();
            let room = i64::try_from(open.len()).is_ok_and(|count| count < tracker.cap);
            if room && tracker.offset < total {
                let chunk = self.send_chunk(caller, tracker.offset).await;
                tracker.offset = chunk.end;
                tracker.answers.insert(chunk.end, 1);
                open.push_back(chunk);
                continue;
            }
            // Everything was sent, nothing is under way, and not everything was acknowledged: it spins.
            let deadline = open.iter().map(|chunk| chunk.deadline).min()?;
            let tickets = open.iter().map(|chunk| chunk.ticket);
            // A person ends what would go on for ever.
            stalled += 1;
            if stalled > super::STALLED_MAX {
                return None;
            }
            let count = i64::try_from(open.len()).unwrap_or(i64::MAX);
            if let Some((place, answer)) = caller.answer(self.wire, tickets, deadline).await {
                open.remove(place);
                failed = answer.failure().is_some();
                let off = answer.body.get("off").and_then(Field::number).and_then(|off| usize::try_from(off).ok());
                let off = off.unwrap_or(0).min(total);
                *tracker.answers.entry(off).or_default() -= 1;
                if off > reached {
                    (reached, stalled) = (off, 0);
                }
                if tracker.grows && tracker.cap < WINDOW_MAX {
                    tracker.cap += 1;
                }
            } else {
                let place = open.iter().position(|chunk| chunk.deadline <= deadline).unwrap_or(0);
                let offset = open.remove(place).map_or(0, |chunk| chunk.offset);
                tracker.answers.insert(offset, MISSED);
                if count > 2 {
                    tracker.cap -= 1;
                }
                tracker.grows = false;
            }
        }
        if failed {
            self.wire.note(InitiatorEvent::Stdout { line: "Error".into() });
        }
        Some(0)
    }
}

/// A chunk under way.
struct Open {
    ticket: Ticket,
    offset: usize,
    end: usize,
    deadline: u64,
}

/// `ImageUploadIntTracker`.
struct Tracker {
    /// By offset: 1 when an answer is expected to name it, less by one for each that did.
    answers: BTreeMap<usize, i64>,
    offset: usize,
    cap: i64,
    grows: bool,
}

impl Tracker {
    fn process_missed(&mut self) {
        let missed = self.answers.iter().find(|(_, count)| **count < MISSED).map(|(offset, _)| *offset);
        if let Some(offset) = missed {
            self.answers.remove(&offset);
            self.offset = offset;
        }
        self.answers.retain(|_, count| *count != 0);
    }
}
