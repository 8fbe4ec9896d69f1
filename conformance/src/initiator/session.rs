//! One request and its answer.

use brickproof_simulator::smp::cbor::Writer;
use brickproof_simulator::smp::{Command, Frame, Op, SmpMessage};

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

/// Sends requests one at a time.
pub struct Session<'a, W> {
    /// The wire.
    pub wire: &'a mut W,
    policy: &'a dyn Policy,
    sequence: u8,
}

/// Longest packet besides the value of `data`, in bytes: header, keys, `len`, `off`, `sha`.
pub const UPLOAD_OVERHEAD: usize = 8 + 96;

impl<'a, W: Wire> Session<'a, W> {
    /// A session that starts to count sequence numbers.
    pub fn new(wire: &'a mut W, policy: &'a dyn Policy) -> Self {
        Self { wire, policy, sequence: policy.first_sequence() }
    }

    /// Sends a request and waits for its answer; answers to earlier requests are passed over.
    ///
    /// `None` when `timeout_us` has passed.
    pub async fn request(
        &mut self,
        command: Command,
        op: Op,
        body: &[(&'static str, Value)],
        timeout_us: u64,
    ) -> Option<SmpMessage> {
        let (group, number) = command.numbers();
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let frame = Frame { version: self.policy.version(), op, reserved: (0, 0), group, sequence, command: number };
        self.wire.send(frame.emit(&emit(body, self.policy.indefinite_maps()))).await;
        let deadline = self.wire.now_us() + timeout_us;
        while let Some(left) = deadline.checked_sub(self.wire.now_us()).filter(|left| *left > 0) {
            let packet = self.wire.receive(left).await?;
            let answer = SmpMessage::parse(&packet);
            if (answer.group, answer.command, answer.sequence) == (group, number, sequence) && !answer.is_request() {
                return Some(answer);
            }
        }
        None
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
