//! Requests and their answers.

use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{Command, Frame, Op, SmpMessage, Version};

use super::policy::Policy;
use super::wire::Wire;

/// A value of a request.
#[derive(Debug, Clone)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A byte string.
    Bytes(Vec<u8>),
    /// A boolean.
    Boolean(bool),
    /// A text.
    Text(&'static str),
}

/// A request that was sent: what its answer is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    command: Command,
    sequence: u8,
}

/// Sends requests and finds their answers.
pub struct Session<'a, W> {
    /// The wire.
    pub wire: &'a mut W,
    policy: &'a dyn Policy,
    sequence: u8,
    version: Version,
    /// The version has been changed: a device that refuses both is not asked again and again.
    fell_back: bool,
}

/// Longest packet besides the value of `data`, in bytes: header, keys, `len`, `off`, `sha`.
pub const UPLOAD_OVERHEAD: usize = 8 + 96;

/// `rc` of a device that wants to be asked again later.
pub const BUSY: i64 = 10;
/// `rc` of a device that does not speak the version of the request: too old, too new.
const WRONG_VERSION: [i64; 2] = [12, 13];

impl<'a, W: Wire> Session<'a, W> {
    /// A session that starts to count sequence numbers.
    pub fn new(wire: &'a mut W, policy: &'a dyn Policy) -> Self {
        Self { wire, policy, sequence: policy.first_sequence(), version: policy.version(), fell_back: false }
    }

    /// Sends a request.
    pub async fn send(&mut self, command: Command, op: Op, body: &[(&'static str, Value)]) -> Ticket {
        let (group, number) = command.numbers();
        let sequence = self.sequence;
        self.sequence = self.policy.next_sequence(sequence);
        let frame = Frame { version: self.version, op, reserved: (0, 0), group, sequence, command: number };
        self.wire.send(frame.emit(&emit(body, self.policy.indefinite_maps()))).await;
        Ticket { command, sequence }
    }

    /// Waits for the answer to one of these requests, the place of which is returned with it; other answers
    /// are passed over.
    ///
    /// `None` when `deadline_us` has come.
    pub async fn answer(
        &mut self,
        tickets: impl Iterator<Item = Ticket> + Clone,
        deadline_us: u64,
    ) -> Option<(usize, SmpMessage)> {
        while let Some(left) = deadline_us.checked_sub(self.wire.now_us()).filter(|left| *left > 0) {
            let packet = self.wire.receive(left).await?;
            let answer = SmpMessage::parse(&packet);
            let answers = |ticket: Ticket| {
                answer.known() == Some(ticket.command)
                    && self.policy.takes_answer(ticket.sequence, answer.sequence)
                    && !answer.is_request()
            };
            if let Some(place) = tickets.clone().position(answers) {
                if answer.version == Version::V0.number() && self.policy.falls_back() {
                    // A device from before version 1 does not look at the version of a request.
                    self.version = Version::V0;
                }
                return Some((place, answer));
            }
        }
        None
    }

    /// Whether the device refuses the version of the header; the next request has the other one.
    pub fn changes_version(&mut self, answer: &SmpMessage) -> bool {
        let refused = answer.failure().is_some_and(|(group, rc)| group.is_none() && WRONG_VERSION.contains(&rc));
        let changes = refused && !self.fell_back && self.policy.falls_back();
        if changes {
            self.fell_back = true;
            self.version = if self.version == Version::V0 { Version::V1 } else { Version::V0 };
        }
        changes
    }

    /// Sends a request and waits for its answer. A busy device is asked again after a pause, one that does
    /// not speak the version of the header in the other version.
    ///
    /// `None` when `timeout_us` has passed without an answer.
    pub async fn request(
        &mut self,
        command: Command,
        op: Op,
        body: &[(&'static str, Value)],
        timeout_us: u64,
    ) -> Option<SmpMessage> {
        let mut busy = 0;
        loop {
            let ticket = self.send(command, op, body).await;
            let deadline = self.wire.now_us() + timeout_us;
            let (_, answer) = self.answer(std::iter::once(ticket), deadline).await?;
            if self.changes_version(&answer) {
                continue;
            }
            if answer.failure() == Some((None, BUSY)) && busy < self.policy.busy_retries() {
                busy += 1;
                self.wire.sleep(self.policy.busy_pause_us()).await;
                continue;
            }
            return Some(answer);
        }
    }
}

fn emit(body: &[(&'static str, Value)], indefinite: bool) -> Vec<u8> {
    let mut map = Writer::new();
    if indefinite {
        map.begin_map();
    } else {
        map.map(body.len());
    }
    for (key, value) in body {
        map.text(key);
        match value {
            Value::Number(number) => map.unsigned(*number),
            Value::Bytes(bytes) => map.bytes(bytes),
            Value::Boolean(value) => map.boolean(*value),
            Value::Text(text) => map.text(text),
        };
    }
    if indefinite {
        map.end();
    }
    map.into_bytes()
}
