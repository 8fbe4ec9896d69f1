//! Faults as a scenario, or the control server, writes them.

use std::collections::BTreeMap;

use brickproof_flash_model::boot::mcuboot::SwapType;
use brickproof_flash_model::flash::{Damage, TearModel};
use brickproof_simulator::device::Battery;
use brickproof_simulator::nordic::calls;
use brickproof_simulator::smp::{Command, Field, Op};
use brickproof_simulator::world::{
    Action, Change, Count, Fault, ImagesChange, Refusal, Selector, SwapFilter, Trigger, request,
};
use serde::Deserialize;

use crate::units::{Duration, Size};

/// Any command, as the name of one.
const ANY: &str = "any";
/// Longest answer that a scenario puts in the place of the device's, in bytes.
const REPLY_MAX: usize = 512;
/// Deepest nesting of a value in a changed answer.
const DEPTH_MAX: usize = 8;

/// One `[[fault]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEntry {
    id: Option<String>,
    when: When,
    #[serde(rename = "do")]
    action: Do,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct When {
    after: Option<Duration>,
    swap_progress: Option<f64>,
    swap: Option<Swap>,
    upload_progress: Option<f64>,
    request: Option<String>,
    flash_operation: Option<u64>,
    answer: Option<String>,
    fragment: Option<u32>,
    connect: Option<u32>,
    pairing: Option<u32>,
    write: Option<String>,
    op: Option<OpEntry>,
    nth: Option<u32>,
    #[serde(default)]
    last: bool,
    times: Option<Times>,
    tear: Option<TearEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OpEntry {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a number of times, or \"always\"")]
enum Times {
    Number(u32),
    Always(Always),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Always {
    Always,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Swap {
    Test,
    Permanent,
    Revert,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TearEntry {
    Nothing,
    FirstHalf,
    AllButLast,
    /// Any bytes, drawn from the seed of the run.
    Noise,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Do {
    PowerLoss(MaybeFor),
    LinkLoss(For),
    Battery(u8),
    Reset,
    LoseAnswer,
    DoubleAnswer,
    DelayAnswer(Duration),
    ChangeAnswer(ChangeEntry),
    ForeignAnswer(ChangeEntry),
    Refuse(Refusal),
    LoseRequest,
    DoubleRequest,
    CorruptRequest(CorruptEntry),
    CorruptAnswer(CorruptEntry),
    /// Bytes in hexadecimal.
    Reply(String),
    ConnectFails,
    LoseKeys,
    Stall(Duration),
    Inject(InjectEntry),
    FlashFails(FlashFailsEntry),
    StrayWrite(StrayWriteEntry),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct For {
    #[serde(rename = "for")]
    duration: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaybeFor {
    #[serde(rename = "for")]
    duration: Option<Duration>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeEntry {
    #[serde(default)]
    set: BTreeMap<String, toml::Value>,
    #[serde(default)]
    remove: Vec<String>,
    version: Option<u8>,
    images: Option<ImagesChange>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct InjectEntry {
    group: u16,
    command: u8,
    op: OpEntry,
    #[serde(default)]
    body: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlashFailsEntry {
    partition: String,
    operation: Damage,
    offset: Option<Size>,
    len: Option<Size>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct CorruptEntry {
    byte: usize,
    #[serde(default = "one_bit")]
    mask: u8,
}

fn one_bit() -> u8 {
    0x01
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StrayWriteEntry {
    partition: String,
    offset: Option<Size>,
}

impl FaultEntry {
    /// The fault, named by its number if it has no id.
    ///
    /// # Errors
    /// What cannot be, and what could.
    pub fn fault(&self, number: usize) -> Result<Fault, String> {
        let action = self.action.action()?;
        let trigger = self.when.trigger(&action)?;
        let cuts = matches!(
            trigger,
            Trigger::SwapProgress { .. }
                | Trigger::RequestOperation { .. }
                | Trigger::FlashStep { .. }
                | Trigger::UploadOperation { .. }
        );
        let of_call = matches!(trigger, Trigger::Call { .. } | Trigger::CallAnswer { .. });
        let of_smp = matches!(
            action,
            Action::ChangeAnswer(_) | Action::ForeignAnswer(_) | Action::Refuse(_) | Action::Inject { .. }
        );
        if of_call && of_smp {
            return Err("this is about SMP; of other protocols a request or an answer is told by its bytes: do = { reply = \"60040b07\" }".into());
        }
        let only_calls = matches!(
            action,
            Action::Reply(_) | Action::DoubleRequest | Action::CorruptRequest { .. } | Action::CorruptAnswer { .. }
        );
        if only_calls && !of_call {
            let names = calls::NAMES.join(", ");
            return Err(format!("bytes are changed of the calls of other protocols than SMP: {names}"));
        }
        if action.about_answer() && !matches!(trigger, Trigger::Answer(_) | Trigger::CallAnswer { .. }) {
            return Err("what happens to an answer needs when = { answer = \"...\" }".into());
        }
        if action.about_request() && !matches!(trigger, Trigger::Request(_) | Trigger::Call { .. }) {
            return Err("what happens to a request needs when = { request = \"...\" } without flash-operation".into());
        }
        if cuts && !matches!(action, Action::PowerLoss { .. }) {
            return Err("a flash operation can only be interrupted by do = { power-loss = { for = \"...\" } }".into());
        }
        let between = matches!(action, Action::LinkLoss { .. } | Action::PowerLoss { .. } | Action::Reset);
        if matches!(trigger, Trigger::Fragment { .. }) && !between {
            return Err("between two fragments there is only link-loss, power-loss or reset".into());
        }
        if matches!(action, Action::ConnectFails) && !matches!(trigger, Trigger::Connect(_)) {
            return Err("a connection that fails needs when = { connect = 1 }".into());
        }
        Ok(Fault { id: self.id.clone().unwrap_or_else(|| format!("fault-{number}")), trigger, action })
    }
}

impl Do {
    fn action(&self) -> Result<Action, String> {
        Ok(match self {
            Self::PowerLoss(duration) => Action::PowerLoss { for_us: duration.duration.map(|duration| duration.us) },
            Self::LinkLoss(duration) => Action::LinkLoss { for_us: duration.duration.us },
            Self::Battery(percent) if *percent <= 100 => Action::Battery(Battery { percent: *percent }),
            Self::Battery(percent) => return Err(format!("a battery holds 0 to 100 percent, not {percent}")),
            Self::Reset => Action::Reset,
            Self::LoseAnswer => Action::LoseAnswer,
            Self::DoubleAnswer => Action::DoubleAnswer,
            Self::DelayAnswer(by) => Action::DelayAnswer { by_us: by.us },
            Self::ChangeAnswer(change) => Action::ChangeAnswer(change.change()?),
            Self::ForeignAnswer(change) => Action::ForeignAnswer(change.change()?),
            Self::Refuse(Refusal { rc: 0, .. }) => return Err("rc 0 is a success: it refuses nothing".into()),
            Self::Refuse(refusal) => Action::Refuse(*refusal),
            Self::LoseRequest => Action::LoseRequest,
            Self::DoubleRequest => Action::DoubleRequest,
            Self::CorruptRequest(corrupt) => Action::CorruptRequest { at: corrupt.byte, mask: corrupt.mask },
            Self::CorruptAnswer(corrupt) => Action::CorruptAnswer { at: corrupt.byte, mask: corrupt.mask },
            Self::Reply(bytes) => match hex::decode(bytes) {
                Ok(bytes) if bytes.len() <= REPLY_MAX => Action::Reply(bytes),
                Ok(_) => return Err(format!("a reply has at most {REPLY_MAX} bytes")),
                Err(_) => return Err(format!("`{bytes}` are no bytes in hexadecimal")),
            },
            Self::ConnectFails => Action::ConnectFails,
            Self::LoseKeys => Action::LoseKeys,
            Self::Stall(by) => Action::Stall { us: by.us },
            Self::Inject(inject) => {
                let op = if inject.op == OpEntry::Write { Op::Write } else { Op::Read };
                Action::Inject { packet: request(op, inject.group, inject.command, &fields(&inject.body)?) }
            }
            Self::FlashFails(fails) => Action::FlashFails {
                partition: fails.partition.clone(),
                offset: fails.offset.map_or(0, |offset| offset.0),
                len: fails.len.map(|len| len.0),
                damage: fails.operation,
            },
            Self::StrayWrite(write) => Action::StrayWrite {
                partition: write.partition.clone(),
                offset: write.offset.map_or(0, |offset| offset.0),
            },
        })
    }
}

impl ChangeEntry {
    fn change(&self) -> Result<Change, String> {
        if self.version.is_some_and(|version| version > 3) {
            return Err("a header version has two bits: 0 to 3".into());
        }
        Ok(Change { set: fields(&self.set)?, remove: self.remove.clone(), version: self.version, images: self.images })
    }
}

fn fields(values: &BTreeMap<String, toml::Value>) -> Result<BTreeMap<String, Field>, String> {
    values.iter().map(|(key, value)| Ok((key.clone(), field(value, DEPTH_MAX)?))).collect()
}

/// A TOML value as CBOR has it; `{ bytes = "00ff" }` is a byte string.
fn field(value: &toml::Value, depth: usize) -> Result<Field, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err("the value is nested too deeply".into()) };
    Ok(match value {
        toml::Value::Integer(number) => Field::Number(*number),
        toml::Value::Boolean(value) => Field::Boolean(*value),
        toml::Value::String(text) => Field::Text(text.clone()),
        toml::Value::Array(list) => {
            Field::List(list.iter().map(|value| field(value, depth)).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(table) => match table.get("bytes") {
            Some(toml::Value::String(hex)) if table.len() == 1 => {
                if hex.len() % 2 != 0 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(format!("`{hex}` is no byte string in hexadecimal"));
                }
                Field::Bytes(hex.to_ascii_lowercase())
            }
            _ => Field::Map(
                table
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), field(value, depth)?)))
                    .collect::<Result<_, String>>()?,
            ),
        },
        toml::Value::Float(_) | toml::Value::Datetime(_) => {
            return Err(format!("`{value}` has no form here: numbers without fraction, booleans, texts, lists, maps"));
        }
    })
}

impl When {
    fn trigger(&self, action: &Action) -> Result<Trigger, String> {
        let alone = self.flash_operation.is_some() && self.request.is_none() && self.upload_progress.is_none();
        let given = [
            alone,
            self.after.is_some(),
            self.swap_progress.is_some(),
            self.upload_progress.is_some(),
            self.request.is_some(),
            self.answer.is_some(),
            self.fragment.is_some(),
            self.connect.is_some(),
            self.pairing.is_some(),
            self.write.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(
                "`when` needs exactly one of: after, swap-progress, upload-progress, request, answer, fragment, \
                        connect, pairing, write, flash-operation"
                    .to_owned(),
            );
        }
        let upload = Some(Command::ImageUpload.name());
        if self.last && self.answer.as_deref() != upload && self.request.as_deref() != upload {
            return Err("`last` is about the last chunk: it needs request or answer = \"image-upload\"".into());
        }
        let nth = self.nth.unwrap_or(1);
        if nth == 0 {
            return Err("`nth` counts from 1".into());
        }
        self.check_companions()?;
        let tear = match self.tear {
            None | Some(TearEntry::Nothing) => TearModel::Nothing,
            Some(TearEntry::FirstHalf) => TearModel::FirstHalf,
            Some(TearEntry::AllButLast) => TearModel::AllButLast,
            Some(TearEntry::Noise) => TearModel::Noise(0),
        };
        if let (true, Some(nth)) = (alone, self.flash_operation) {
            return Ok(Trigger::FlashStep { after: None, nth, tear });
        }
        let call = self.request.as_deref().or(self.answer.as_deref());
        if let Some(name) = call.filter(|name| calls::NAMES.contains(name)) {
            if self.op.is_some() || self.last {
                return Err(format!(
                    "`{name}` is no command of SMP: only `nth`, `times` and `flash-operation` mean something beside it"
                ));
            }
            if let (Some(operation), Some(name)) = (self.flash_operation, &self.request) {
                return Ok(Trigger::FlashStep { after: Some((name.clone(), nth)), nth: operation, tear });
            }
            let (name, count) = (name.to_owned(), Count { nth, times: self.times()? });
            return Ok(if self.request.is_some() {
                Trigger::Call { name, count }
            } else {
                Trigger::CallAnswer { name, count }
            });
        }
        if let Some(trigger) = self.on_a_link(nth)? {
            return Ok(trigger);
        }
        if let Some(after) = self.after {
            return Ok(Trigger::After { us: after.us });
        }
        if let Some(progress) = self.swap_progress {
            let swap = match self.swap {
                None => SwapFilter::Any,
                Some(Swap::Test) => SwapFilter::Only(SwapType::Test),
                Some(Swap::Permanent) => SwapFilter::Only(SwapType::Permanent),
                Some(Swap::Revert) => SwapFilter::Only(SwapType::Revert),
            };
            return Ok(Trigger::SwapProgress { permille: permille(progress)?, swap, tear });
        }
        if let Some(progress) = self.upload_progress {
            let permille = permille(progress)?;
            return Ok(match self.flash_operation {
                Some(nth) => Trigger::UploadOperation { permille, nth, tear },
                None => Trigger::UploadProgress { permille },
            });
        }
        if let Some(name) = &self.request
            && (self.flash_operation.is_some() || (self.tear.is_some() && matches!(action, Action::PowerLoss { .. })))
        {
            let operation = self.flash_operation.unwrap_or(0);
            let Some(command) = command(name)? else {
                return Err("a flash operation is one of a named command".into());
            };
            return Ok(Trigger::RequestOperation { command, nth, operation, tear });
        }
        let times = self.times()?;
        let selector = |name: &str| {
            let write = self.op.map(|op| op == OpEntry::Write);
            Ok::<_, String>(Selector { command: command(name)?, write, last: self.last, nth, times })
        };
        match &self.request {
            Some(name) => Ok(Trigger::Request(selector(name)?)),
            None => Ok(Trigger::Answer(selector(self.answer.as_deref().unwrap_or_default())?)),
        }
    }
}

impl When {
    fn times(&self) -> Result<u32, String> {
        Ok(match self.times {
            None => 1,
            Some(Times::Number(0)) => return Err("`times` counts from 1".into()),
            Some(Times::Number(times)) => times,
            Some(Times::Always(_)) => Selector::ALWAYS,
        })
    }

    /// What happens on a Bluetooth LE link, if it is that.
    fn on_a_link(&self, nth: u32) -> Result<Option<Trigger>, String> {
        let times = self.times()?;
        let counted = |name: &str, nth: u32| match nth {
            0 => Err(format!("`{name}` counts from 1")),
            nth => Ok(Count { nth, times }),
        };
        Ok(match (self.fragment, self.connect, self.pairing, &self.write) {
            (Some(nth), ..) => Some(Trigger::Fragment { nth: counted("fragment", nth)?.nth }),
            (_, Some(nth), ..) => Some(Trigger::Connect(counted("connect", nth)?)),
            (_, _, Some(nth), _) => Some(Trigger::Pairing(counted("pairing", nth)?)),
            (.., Some(to)) if to.is_empty() => {
                return Err("`write` is the UUID of a characteristic, or the name of its trigger".into());
            }
            (.., Some(to)) => Some(Trigger::Write { to: to.clone(), count: counted("nth", nth)? }),
            (None, None, None, None) => None,
        })
    }

    /// Refuses keys that mean nothing beside the one that says when.
    fn check_companions(&self) -> Result<(), String> {
        let swap = self.swap_progress.is_some();
        let (request, answer, write) = (self.request.is_some(), self.answer.is_some(), self.write.is_some());
        let counted = self.connect.is_some() || self.pairing.is_some();
        for (given, name, allowed, with) in [
            (self.swap.is_some(), "swap", swap, "swap-progress"),
            (
                self.tear.is_some(),
                "tear",
                swap || request || self.flash_operation.is_some(),
                "swap-progress, request or flash-operation",
            ),
            (self.nth.is_some(), "nth", request || answer || write, "request, answer or write"),
            (
                self.times.is_some(),
                "times",
                request || answer || write || counted,
                "request, answer, write, connect or pairing",
            ),
            (self.op.is_some(), "op", request || answer, "request or answer"),
        ] {
            if given && !allowed {
                return Err(format!("`{name}` means something only together with {with}"));
            }
        }
        if self.upload_progress == Some(1.0) {
            return Err("an upload that has come to 1.0 is over: give something less".into());
        }
        Ok(())
    }
}

fn permille(progress: f64) -> Result<u16, String> {
    if (0.0..=1.0).contains(&progress) {
        Ok((progress * 1000.0) as u16)
    } else {
        Err(format!("a progress is between 0.0 and 1.0, not {progress}"))
    }
}

/// The command of this name; `None` for any.
fn command(name: &str) -> Result<Option<Command>, String> {
    if name == ANY {
        return Ok(None);
    }
    Command::ALL.into_iter().find(|command| command.name() == name).map(Some).ok_or_else(|| {
        let names: Vec<_> = Command::ALL.iter().map(|command| command.name()).collect();
        format!(
            "no command is called `{name}`: `{ANY}` or one of {}; of other protocols {}",
            names.join(", "),
            calls::NAMES.join(", ")
        )
    })
}
