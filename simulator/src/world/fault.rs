//! What goes wrong, and when.

use std::fmt;

use brickproof_flash_model::boot::mcuboot::SwapType;
use brickproof_flash_model::flash::{Damage, TearModel};

use super::answer::{Change, Refusal};
use crate::device::Battery;
use crate::gatt::Uuid;
use crate::nordic::calls;
use crate::smp::{Command, SmpMessage};

/// Largest number of faults that are armed at once.
const FAULTS_MAX: usize = 256;

/// Which swaps a fault waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SwapFilter {
    /// Any.
    #[default]
    Any,
    /// Only this one.
    Only(SwapType),
}

impl SwapFilter {
    fn matches(self, swap: SwapType) -> bool {
        match self {
            Self::Any => swap != SwapType::None,
            Self::Only(wanted) => swap == wanted,
        }
    }
}

/// Which messages a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Selector {
    /// The command; `None` for any.
    pub command: Option<Command>,
    /// Only writes, or only reads; `None` for both.
    pub write: Option<bool>,
    /// Only the last chunk of an upload.
    pub last: bool,
    /// The first of them that it strikes, from 1.
    pub nth: u32,
    /// How many in a row it strikes; [`Selector::ALWAYS`] for all.
    pub times: u32,
}

impl Selector {
    /// Every one from the nth.
    pub const ALWAYS: u32 = u32::MAX;

    fn selects(&self, message: &SmpMessage, last: bool) -> bool {
        // A request and its answer are of one kind: 0 and 1 read, 2 and 3 write.
        let write = matches!(message.op, 2 | 3);
        self.command.is_none_or(|command| message.known() == Some(command))
            && self.write.is_none_or(|w| w == write)
            && (last || !self.last)
    }

    fn count(&self) -> Count {
        Count { nth: self.nth, times: self.times }
    }
}

/// Which of many it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Count {
    /// The first of them, from 1.
    pub nth: u32,
    /// How many in a row; [`Selector::ALWAYS`] for all.
    pub times: u32,
}

impl Count {
    /// This one only.
    #[must_use]
    pub fn once(nth: u32) -> Self {
        Self { nth, times: 1 }
    }

    fn strikes(self, seen: u32) -> bool {
        seen >= self.nth && seen - self.nth < self.times
    }

    fn is_over(self, seen: u32) -> bool {
        seen >= self.nth && seen - self.nth >= self.times - 1
    }
}

/// When a fault happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// This long after the fault was armed, in microseconds.
    After {
        /// Microseconds.
        us: u64,
    },
    /// At a fraction of the flash operations of a boot that swaps: 0 is its first operation, 1000 its
    /// last. That operation is interrupted.
    SwapProgress {
        /// Thousandths of the operations.
        permille: u16,
        /// Which swaps.
        swap: SwapFilter,
        /// What the interrupted operation leaves.
        tear: TearModel,
    },
    /// When the upload has reached this fraction of its size, before the next chunk is handled.
    UploadProgress {
        /// Thousandths of its size.
        permille: u16,
    },
    /// At an operation of the flash work that is done beside the answers, once the upload has reached this fraction of its
    /// size.
    UploadOperation {
        /// Thousandths of its size.
        permille: u16,
        /// Which operation, from 0; it is interrupted.
        nth: u64,
        /// What the interrupted operation leaves.
        tear: TearModel,
    },
    /// When a packet that has begun to arrive over Bluetooth LE continues, before the write is handled.
    Fragment {
        /// Which of the writes that continue a packet, from 1.
        nth: u32,
    },
    /// When a central connects over Bluetooth LE to a target that can be connected to.
    Connect(Count),
    /// When a pairing begins; encryption with keys that were kept is none.
    Pairing(Count),
    /// When a characteristic of the board's own has been written, and the write answered.
    Write {
        /// Its UUID, or the name of its trigger.
        to: String,
        /// Which of these writes.
        count: Count,
    },
    /// At a flash operation of the nth request with this command.
    RequestOperation {
        /// Which command; only writes count.
        command: Command,
        /// Which of them, from 1.
        nth: u32,
        /// Which flash operation of its handling, from 0; it is interrupted.
        operation: u64,
        /// What the interrupted operation leaves.
        tear: TearModel,
    },
    /// When a request is about to be handled.
    Request(Selector),
    /// When an answer is about to be sent.
    Answer(Selector),
    /// When a call of another protocol than SMP is about to be handled: [`calls`](crate::nordic::calls) has their names.
    Call {
        /// Its name.
        name: String,
        /// Which of them.
        count: Count,
    },
    /// When the answer to such a call is about to be sent.
    CallAnswer {
        /// The name of the call.
        name: String,
        /// Which of them.
        count: Count,
    },
    /// At an operation of the flash work of a program that works beside its answers.
    FlashStep {
        /// Operations count from this call on, the nth of its kind; `None`: since the fault was armed.
        after: Option<(String, u32)>,
        /// Which operation, from 0; it is interrupted.
        nth: u64,
        /// What the interrupted operation leaves.
        tear: TearModel,
    },
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Supply is lost and comes back.
    PowerLoss {
        /// For so long, in microseconds; `None` for ever.
        for_us: Option<u64>,
    },
    /// The link is lost silently and comes back; the device keeps running.
    LinkLoss {
        /// For so long, in microseconds.
        for_us: u64,
    },
    /// The battery is at this charge from now on.
    Battery(Battery),
    /// The reset pin.
    Reset,
    /// The answer is not sent.
    LoseAnswer,
    /// The answer is sent later.
    DelayAnswer {
        /// By so long, in microseconds.
        by_us: u64,
    },
    /// The answer is sent twice.
    DoubleAnswer,
    /// The answer is changed.
    ChangeAnswer(Change),
    /// An answer to no open request is sent first.
    ForeignAnswer(Change),
    /// The request is not carried out; this is its answer.
    Refuse(Refusal),
    /// The connection cannot be made.
    ConnectFails,
    /// Centrals have lost the keys of their bonds; the device has its own.
    LoseKeys,
    /// The request never arrives.
    LoseRequest,
    /// The device takes so much longer over the request, in microseconds.
    Stall {
        /// Microseconds.
        us: u64,
    },
    /// The request is not carried out; these bytes are its answer. Of an answer, they are sent instead.
    Reply(Vec<u8>),
    /// The request arrives twice.
    DoubleRequest,
    /// A byte of the request is another one.
    CorruptRequest {
        /// Which byte, from 0.
        at: usize,
        /// Its bits that are changed.
        mask: u8,
    },
    /// A byte of the answer is another one.
    CorruptAnswer {
        /// Which byte, from 0.
        at: usize,
        /// Its bits that are changed.
        mask: u8,
    },
    /// Somebody else sends a request.
    Inject {
        /// The packet.
        packet: Vec<u8>,
    },
    /// A region of flash goes bad.
    FlashFails {
        /// Partition.
        partition: String,
        /// First byte inside the partition.
        offset: u32,
        /// Length in bytes; `None` to the end of the partition.
        len: Option<u32>,
        /// What fails there from now on.
        damage: Damage,
    },
    /// The application writes where it should not.
    StrayWrite {
        /// Partition.
        partition: String,
        /// First byte inside the partition.
        offset: u32,
    },
}

impl Action {
    /// The partition it names.
    #[must_use]
    pub fn partition(&self) -> Option<&str> {
        match self {
            Self::FlashFails { partition, .. } | Self::StrayWrite { partition, .. } => Some(partition),
            _ => None,
        }
    }

    /// Whether it concerns one answer.
    #[must_use]
    pub fn about_answer(&self) -> bool {
        matches!(
            self,
            Self::LoseAnswer
                | Self::DelayAnswer { .. }
                | Self::DoubleAnswer
                | Self::ChangeAnswer(_)
                | Self::ForeignAnswer(_)
                | Self::CorruptAnswer { .. }
        )
    }

    /// Whether it concerns one request.
    #[must_use]
    pub fn about_request(&self) -> bool {
        matches!(
            self,
            Self::Refuse(_)
                | Self::LoseRequest
                | Self::Stall { .. }
                | Self::DoubleRequest
                | Self::CorruptRequest { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: &u64| *us as f64 / 1e6;
        match self {
            Self::PowerLoss { for_us: Some(for_us) } => write!(f, "power is lost for {} s", seconds(for_us)),
            Self::PowerLoss { for_us: None } => f.write_str("power is lost for ever"),
            Self::LinkLoss { for_us } => write!(f, "the link is lost for {} s", seconds(for_us)),
            Self::Battery(battery) => write!(f, "the battery is at {} %", battery.percent),
            Self::Reset => f.write_str("the reset pin is pulled"),
            Self::LoseAnswer => f.write_str("the answer is lost"),
            Self::DelayAnswer { by_us } => write!(f, "the answer comes {} s late", seconds(by_us)),
            Self::DoubleAnswer => f.write_str("the answer comes twice"),
            Self::ChangeAnswer(_) => f.write_str("the answer is changed"),
            Self::ForeignAnswer(_) => f.write_str("an answer to no open request comes first"),
            Self::Refuse(Refusal { group: None, rc }) => write!(f, "the request is refused with rc {rc}"),
            Self::Refuse(Refusal { group: Some(group), rc }) => {
                write!(f, "the request is refused with err: group {group}, rc {rc}")
            }
            Self::ConnectFails => f.write_str("the connection cannot be made"),
            Self::LoseKeys => f.write_str("the initiator has lost its keys"),
            Self::LoseRequest => f.write_str("the request is lost"),
            Self::Reply(bytes) => write!(f, "the answer is {}", crate::trace::hex(bytes)),
            Self::DoubleRequest => f.write_str("the request arrives twice"),
            Self::CorruptRequest { at, .. } => write!(f, "byte {at} of the request is another one"),
            Self::CorruptAnswer { at, .. } => write!(f, "byte {at} of the answer is another one"),
            Self::Stall { us } => write!(f, "the device takes {} s longer", seconds(us)),
            Self::Inject { packet } => {
                let message = SmpMessage::parse(packet);
                write!(f, "somebody else sends group {}, command {}", message.group, message.command)
            }
            Self::FlashFails { partition, damage, .. } => write!(f, "the flash of `{partition}` {damage}"),
            Self::StrayWrite { partition, .. } => write!(f, "the application writes to `{partition}`"),
        }
    }
}

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its name in the trace.
    pub id: String,
    /// When.
    pub trigger: Trigger,
    /// What.
    pub action: Action,
}

impl Fault {
    /// The same with everything that is drawn taken from this seed.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        if let Trigger::SwapProgress { tear, .. }
        | Trigger::RequestOperation { tear, .. }
        | Trigger::UploadOperation { tear, .. }
        | Trigger::FlashStep { tear, .. } = &mut self.trigger
            && let TearModel::Noise(drawn) = tear
        {
            *drawn = seed;
        }
        self
    }
}

/// How far a fault has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultState {
    /// It waits for its trigger.
    Armed {
        /// Since when, in microseconds.
        since: u64,
        /// Triggers of its kind seen so far.
        seen: u32,
        /// Times that it has struck so far.
        struck: u32,
    },
    /// It has happened, and will not happen again.
    Fired,
}

impl FaultState {
    /// Whether it never happened.
    #[must_use]
    pub fn never_struck(self) -> bool {
        matches!(self, Self::Armed { struck: 0, .. })
    }
}

/// All faults of a world.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults {
    all: Vec<(Fault, FaultState)>,
}

impl Faults {
    pub(super) fn all(&self) -> &[(Fault, FaultState)] {
        &self.all
    }

    /// Arms a fault; `false` when too many are armed already.
    pub(super) fn arm(&mut self, fault: Fault, now: u64) -> bool {
        if self.all.len() >= FAULTS_MAX {
            self.all.retain(|(_, state)| *state != FaultState::Fired);
        }
        let room = self.all.len() < FAULTS_MAX;
        if room {
            self.all.push((fault, FaultState::Armed { since: now, seen: 0, struck: 0 }));
        }
        room
    }

    pub(super) fn none_armed(&self) -> bool {
        self.all.iter().all(|(_, state)| *state == FaultState::Fired)
    }

    pub(super) fn next_timer(&self) -> Option<u64> {
        self.all.iter().filter_map(due).min()
    }

    pub(super) fn take_timer(&mut self, now: u64) -> Option<(String, Action)> {
        self.take(|entry| due(entry).is_some_and(|due| due <= now))
    }

    /// The place in a boot that swaps at which power is lost.
    pub(super) fn in_swap(&self, swap: SwapType) -> Option<(usize, u16, TearModel)> {
        self.all.iter().enumerate().find_map(|(index, (fault, state))| match (&fault.trigger, state) {
            (Trigger::SwapProgress { permille, swap: filter, tear }, FaultState::Armed { .. })
                if filter.matches(swap) =>
            {
                Some((index, *permille, *tear))
            }
            _ => None,
        })
    }

    /// The place in the handling of this request at which power is lost. Counts the request.
    pub(super) fn in_request(&mut self, message: &SmpMessage) -> Option<(usize, u64, TearModel)> {
        let mut found = None;
        for (index, (fault, state)) in self.all.iter_mut().enumerate() {
            let (Trigger::RequestOperation { command, nth, operation, tear }, FaultState::Armed { seen, .. }) =
                (&fault.trigger, state)
            else {
                continue;
            };
            if message.is_write() && message.known() == Some(*command) {
                *seen += 1;
                if *seen == *nth && found.is_none() {
                    found = Some((index, *operation, *tear));
                }
            }
        }
        found
    }

    /// The fault that strikes instead of handling a chunk, if the upload is that far.
    pub(super) fn at_upload(&mut self, offset: u32, size: u32) -> Option<(String, Action)> {
        let has_come = |permille: u16| u64::from(offset) * 1000 >= u64::from(size) * u64::from(permille);
        for (fault, state) in &mut self.all {
            if let (Trigger::UploadOperation { permille, .. }, FaultState::Armed { seen, .. }) = (&fault.trigger, state)
                && *seen == 0
                && has_come(*permille)
            {
                // From here on operations count.
                *seen = 1;
            }
        }
        self.take(|(fault, state)| match (&fault.trigger, state) {
            (Trigger::UploadProgress { permille }, FaultState::Armed { .. }) => has_come(*permille),
            _ => false,
        })
    }

    /// The fault that strikes before this write, which continues a packet. Counts the write.
    pub(super) fn at_fragment(&mut self) -> Option<(String, Action)> {
        self.at_count(|trigger| if let Trigger::Fragment { nth } = trigger { Some(Count::once(*nth)) } else { None })
    }

    /// The fault that strikes at this attempt to connect. Counts it.
    pub(super) fn at_connect(&mut self) -> Option<(String, Action)> {
        self.at_count(|trigger| if let Trigger::Connect(count) = trigger { Some(*count) } else { None })
    }

    /// The fault that strikes at this pairing. Counts it.
    pub(super) fn at_pairing(&mut self) -> Option<(String, Action)> {
        self.at_count(|trigger| if let Trigger::Pairing(count) = trigger { Some(*count) } else { None })
    }

    /// The fault that strikes before this call is handled. Counts it.
    pub(super) fn at_call(&mut self, call: &str) -> Option<(String, Action)> {
        for (fault, state) in &mut self.all {
            if let (Trigger::FlashStep { after: Some((name, nth)), .. }, FaultState::Armed { seen, .. }) =
                (&fault.trigger, state)
                && *seen < *nth
                && calls::selects(name, call)
            {
                *seen += 1;
            }
        }
        self.at_count(|trigger| match trigger {
            Trigger::Call { name, count } if calls::selects(name, call) => Some(*count),
            _ => None,
        })
    }

    /// The fault that concerns the answer to this call. Counts it.
    pub(super) fn at_call_answer(&mut self, call: &str) -> Option<(String, Action)> {
        self.at_count(|trigger| match trigger {
            Trigger::CallAnswer { name, count } if calls::selects(name, call) => Some(*count),
            _ => None,
        })
    }

    /// The fault that strikes next in flash work, and in how many operations of it.
    pub(super) fn at_flash_step(&self) -> Option<(usize, u64, TearModel)> {
        let waits = self.all.iter().enumerate().filter_map(|(index, (fault, state))| {
            let (operations, nth) = flash_operations(fault, state)?;
            let (Trigger::FlashStep { tear, .. } | Trigger::UploadOperation { tear, .. }) = fault.trigger else {
                return None;
            };
            Some((index, nth.checked_sub(u64::from(operations))?, tear))
        });
        waits.min_by_key(|(_, left, _)| *left)
    }

    /// Counts operations of flash work.
    pub(super) fn flash_operations(&mut self, done: u64) {
        let done = u32::try_from(done).unwrap_or(u32::MAX);
        for (fault, state) in &mut self.all {
            if flash_operations(fault, state).is_some()
                && let FaultState::Armed { seen, .. } = state
            {
                *seen = seen.saturating_add(done);
            }
        }
    }

    /// The fault that strikes after this write to a characteristic of the board's own. Counts it.
    pub(super) fn at_write(&mut self, uuid: Uuid, name: Option<&str>) -> Option<(String, Action)> {
        self.at_count(|trigger| match trigger {
            Trigger::Write { to, count } if Some(to.as_str()) == name || to.parse() == Ok(uuid) => Some(*count),
            _ => None,
        })
    }

    /// Of several faults that count one event, the first strikes; the others count it.
    fn at_count(&mut self, counted: impl Fn(&Trigger) -> Option<Count>) -> Option<(String, Action)> {
        let mut found = None;
        for (fault, state) in &mut self.all {
            if let (Some(count), FaultState::Armed { .. }) = (counted(&fault.trigger), &state) {
                tally(fault, state, count, &mut found);
            }
        }
        found
    }

    /// The fault that concerns this answer, which may be that to the last chunk. Counts the answer.
    pub(super) fn at_answer(&mut self, message: &SmpMessage, last: bool) -> Option<(String, Action)> {
        self.at_message(
            message,
            last,
            |trigger| if let Trigger::Answer(selector) = trigger { Some(*selector) } else { None },
        )
    }

    /// The fault that strikes before this request, which may be the last chunk, is handled. Counts the request.
    pub(super) fn at_request(&mut self, message: &SmpMessage, last: bool) -> Option<(String, Action)> {
        self.at_message(
            message,
            last,
            |trigger| if let Trigger::Request(selector) = trigger { Some(*selector) } else { None },
        )
    }

    /// Of several faults that concern one message, the first strikes; the others count it.
    fn at_message(
        &mut self,
        message: &SmpMessage,
        last: bool,
        selector: impl Fn(&Trigger) -> Option<Selector>,
    ) -> Option<(String, Action)> {
        let selected = |trigger: &Trigger| selector(trigger).filter(|selector| selector.selects(message, last));
        self.at_count(|trigger| selected(trigger).map(|selector| selector.count()))
    }

    /// Marks a fault as fired; its id and action.
    pub(super) fn fired(&mut self, index: usize) -> Option<(String, Action)> {
        let (fault, state) = self.all.get_mut(index)?;
        *state = FaultState::Fired;
        Some((fault.id.clone(), fault.action.clone()))
    }

    fn take(&mut self, matches: impl Fn(&(Fault, FaultState)) -> bool) -> Option<(String, Action)> {
        let index = self.all.iter().position(matches)?;
        self.fired(index)
    }
}

/// Counts an event for an armed fault, which strikes unless another one has.
fn tally(fault: &Fault, state: &mut FaultState, count: Count, found: &mut Option<(String, Action)>) {
    let FaultState::Armed { seen, struck, .. } = state else { return };
    *seen = seen.saturating_add(1);
    let seen = *seen;
    if found.is_none() && count.strikes(seen) {
        *struck += 1;
        *found = Some((fault.id.clone(), fault.action.clone()));
    }
    if count.is_over(seen) && !state.never_struck() {
        *state = FaultState::Fired;
    }
}

/// Operations behind what a fault waits for, and the one that it strikes at; `None` while it does not count.
fn flash_operations(fault: &Fault, state: &FaultState) -> Option<(u32, u64)> {
    let FaultState::Armed { seen, .. } = state else { return None };
    let (before, nth) = match &fault.trigger {
        Trigger::FlashStep { after, nth, .. } => (after.as_ref().map_or(0, |(_, calls)| *calls), *nth),
        Trigger::UploadOperation { nth, .. } => (1, *nth),
        _ => return None,
    };
    Some((seen.checked_sub(before)?, nth))
}

fn due((fault, state): &(Fault, FaultState)) -> Option<u64> {
    match (&fault.trigger, state) {
        (Trigger::After { us }, FaultState::Armed { since, .. }) => Some(since + us),
        _ => None,
    }
}
