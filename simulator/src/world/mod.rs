//! The one owner of device, link, clock, faults and trace.
//!
//! A [`World`] is stepped from outside: [`World::receive`] and [`World::control`] put something in,
//! [`World::advance`] lets time pass, [`World::take_sent`] gives what the target has sent by now.
//! It never asks for the time.
//!
//! # Work takes time, code does not
//!
//! Bootloader and server are straight-line code that runs to its end at once, while a swap takes 30
//! seconds. So each piece of work becomes an `Activity`: a snapshot from before, the device
//! as it will be, and the records and answers with the times at which they are due. When power is cut
//! from outside in the middle, the snapshot is taken out and the work is done again with a cut at that
//! time. Faults of a scenario that are tied to an operation act in the hook of that operation.
//!
//! # Dark targets
//!
//! Without power, during a boot and while the link is down, what arrives is lost, and the loss recorded.
//!
//! # Two ways in
//!
//! Datagrams come by [`World::receive`] and leave by [`World::take_sent`]. Centrals on Bluetooth LE come
//! by [`World::central`] and hear by [`World::take_gatt`]; their connections are in `world/link`. What they can
//! find is [`World::advertisement`].

mod activity;
mod answer;
mod console;
mod fault;
mod hook;
mod link;
mod program;
mod state;

use std::collections::VecDeque;
use std::sync::Arc;

use brickproof_flash_model::flash::{Controller, Damage, Flash, Uncut};

use crate::device::program::Input;
use crate::device::{Battery, Behaviour, Board, Device, Persistent, found_running};
use crate::smp::SmpMessage;
use crate::smp::console::Decoder;
use crate::trace::{Cause, Direction, Kind, LinkEvent, PowerEvent, Record, Wants, hex};

use activity::Activity;
use fault::Faults;
use link::Links;
use program::{Late, Step};

pub use crate::gatt::{CentralAction, GattEvent};
pub use answer::{Change, ImagesChange, Refusal, request};
pub use console::Carrier;
pub use fault::{Action, Count, Fault, FaultState, Selector, SwapFilter, Trigger};
pub use state::trimmed_sha256;

/// What the application notes when the last chunk of an upload is in flash.
pub const UPLOADED: &str = "has received a whole image";

/// Who is at the other end; chosen by the air.
pub type Peer = u64;

/// The harness itself, when it sends a request in a scenario.
const HARNESS: Peer = Peer::MAX;
/// State of a fault whose request or write the device has carried out.
pub const ACCEPTED: &str = "accepted";
/// State of a fault whose request or write the device has refused.
pub const REFUSED: &str = "refused by the device";

/// Records of a run beyond which only the rare kinds are kept, and nothing beyond twice as many: what an
/// initiator sends without end must not fill the memory.
const RECORDS_MAX: u64 = 500_000;
/// Longest part of a datagram that is kept in the trace, in bytes.
const DATAGRAM_KEPT: usize = 512;

/// Something done to the target from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Control {
    /// Supply off, or on again.
    Power(bool),
    /// The reset pin.
    Reset,
    /// The link down, or up again.
    Link(bool),
    /// The charge of the battery.
    Battery(Battery),
    /// Arms a fault.
    Fault(Fault),
}

/// The device in one of its states, as it will be when the running activity ends.
#[derive(Debug, Clone)]
enum Machine {
    Off {
        persistent: Persistent,
        back_at: Option<u64>,
    },
    Running(Device),
    Dead {
        persistent: Persistent,
        reason: String,
    },
    /// Only while one state is turned into another.
    Changing,
}

impl Machine {
    fn persistent(&self) -> Option<&Persistent> {
        match self {
            Self::Off { persistent, .. } | Self::Dead { persistent, .. } => Some(persistent),
            Self::Running(device) => Some(device.persistent()),
            Self::Changing => None,
        }
    }

    fn flash_mut(&mut self) -> Option<&mut Flash> {
        match self {
            Self::Off { persistent, .. } | Self::Dead { persistent, .. } => Some(&mut persistent.flash),
            Self::Running(device) => Some(device.flash_mut()),
            Self::Changing => None,
        }
    }

    fn into_persistent(self) -> Option<Persistent> {
        match self {
            Self::Off { persistent, .. } | Self::Dead { persistent, .. } => Some(persistent),
            Self::Running(device) => Some(device.power_off()),
            Self::Changing => None,
        }
    }
}

/// Something that is due at a time.
#[derive(Debug, Clone)]
struct Timers {
    /// Reset that was asked for or will happen by itself.
    reset: Option<(u64, Cause)>,
    /// A request asked for a reset and was answered.
    reset_asked: bool,
    /// The application confirms itself.
    confirm: Option<u64>,
    /// The link comes back.
    link_up: Option<u64>,
    /// Answers that were delayed or doubled by a fault.
    late: Vec<(u64, Peer, Vec<u8>)>,
}

/// A target and everything around it.
pub struct World {
    board: Arc<Board>,
    machine: Machine,
    activity: Option<Activity>,
    /// The step of flash work that a program has under way beside it.
    step: Option<Step>,
    /// What faults hold back, with the times at which it is let go.
    late: Vec<(u64, Late)>,
    timers: Timers,
    /// `false` while the link is down.
    link: bool,
    links: Links,
    battery: Battery,
    inbox: VecDeque<(Peer, Vec<u8>, u64)>,
    /// Faults whose request waits for its answer.
    injected: VecDeque<String>,
    outbox: VecDeque<(Peer, Vec<u8>)>,
    faults: Faults,
    now: u64,
    trace: Vec<Record>,
    next_record: u64,
    starts: u64,
    lost: u64,
    wants: Wants,
    carrier: Carrier,
    /// The receiver of the serial port, if that is the carrier.
    console: Option<Decoder>,
    /// The same for frames of SLIP, and who sent the last one.
    slip: Option<(console::Frames, Peer)>,
}

impl World {
    /// A world in which this board is off.
    #[must_use]
    pub fn new(board: Arc<Board>, persistent: Persistent, wants: Wants) -> Self {
        Self {
            board,
            machine: Machine::Off { persistent, back_at: None },
            activity: None,
            step: None,
            late: Vec::new(),
            timers: Timers { reset: None, reset_asked: false, confirm: None, link_up: None, late: Vec::new() },
            link: true,
            links: Links::default(),
            battery: Battery::default(),
            inbox: VecDeque::new(),
            injected: VecDeque::new(),
            outbox: VecDeque::new(),
            faults: Faults::default(),
            now: 0,
            trace: Vec::new(),
            next_record: 0,
            starts: 0,
            lost: 0,
            wants,
            carrier: Carrier::default(),
            console: None,
            slip: None,
        }
    }

    /// Time of the world in microseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The board.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What survives a power loss, as it is now: of an unfinished piece of work, what was before it.
    #[must_use]
    pub fn persistent(&self) -> Option<&Persistent> {
        if let Some(step) = &self.step {
            return Some(&step.before);
        }
        self.activity.as_ref().map_or_else(|| self.machine.persistent(), |activity| activity.before.persistent())
    }

    /// The running device; `None` while it is off, dead or starting.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match (&self.activity, &self.machine) {
            (Some(activity), _) => match &activity.before {
                Machine::Running(device) => Some(device),
                _ => None,
            },
            (None, Machine::Running(device)) => Some(device),
            _ => None,
        }
    }

    /// Why the device will never start again, if it will not.
    #[must_use]
    pub fn dead(&self) -> Option<&str> {
        match (&self.activity, &self.machine) {
            (None, Machine::Dead { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    /// Charge of the battery.
    #[must_use]
    pub fn battery(&self) -> Battery {
        self.battery
    }

    /// Whether the target would answer a request now.
    #[must_use]
    pub fn serving(&self) -> bool {
        self.unreachable().is_none()
    }

    /// Whether a request has asked for a reset that is still to come: whoever sees the target serve now will soon
    /// see it gone.
    #[must_use]
    pub fn reset_asked(&self) -> bool {
        self.timers.reset_asked
    }

    /// Whether supply is on.
    #[must_use]
    pub fn powered(&self) -> bool {
        !matches!((&self.activity, &self.machine), (None, Machine::Off { .. }))
    }

    /// Starts and resets so far, unfinished ones included.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Packets and lines of a serial port that were lost so far, either way.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The faults with their states.
    #[must_use]
    pub fn faults(&self) -> &[(Fault, FaultState)] {
        self.faults.all()
    }

    /// When [`World::advance`] would next do something, in microseconds.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        let timers = &self.timers;
        [
            self.activity.as_ref().map(Activity::next_due),
            self.step.as_ref().map(Step::next_due),
            self.late_due(),
            self.running().and_then(Device::next_timer),
            match &self.machine {
                Machine::Off { back_at, .. } if self.activity.is_none() => *back_at,
                _ => None,
            },
            timers.reset.map(|(at, _)| at),
            timers.confirm,
            timers.link_up,
            timers.late.iter().map(|(at, ..)| *at).min(),
            self.faults.next_timer(),
            self.links.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Lets time pass until `now`, in microseconds; does everything that is due, in order.
    pub fn advance(&mut self, now: u64) {
        while let Some(due) = self.next_wake().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.step();
        }
        self.now = self.now.max(now);
    }

    /// Something arrives at the target now: a packet, or bytes of its serial port, whatever the [`Carrier`] is.
    pub fn receive(&mut self, peer: Peer, bytes: &[u8]) {
        if self.slip.is_some() {
            self.receive_slip(peer, bytes);
        } else if self.console.is_some() {
            self.receive_console(peer, bytes);
        } else {
            self.receive_packet(peer, bytes, None);
        }
    }

    /// Why what arrives now is lost, if it is.
    fn unreachable(&self) -> Option<&'static str> {
        if !self.link {
            return Some("the link is down");
        }
        match (&self.activity, &self.machine) {
            (None, Machine::Off { .. }) => Some("the target has no power"),
            (None, Machine::Dead { .. }) => Some("the target does not start any more"),
            _ => match self.device() {
                None => Some("the target is starting"),
                Some(device) if !device.serves() => Some("the application does not serve"),
                Some(device)
                    if device.recovery().is_some()
                        && matches!(self.carrier, Carrier::Network | Carrier::Bluetooth | Carrier::Adapter) =>
                {
                    Some("the recovery of the bootloader listens to its serial port only")
                }
                Some(_) => None,
            },
        }
    }

    /// Packet buffers in use: the request being handled holds one, its answer another.
    fn buffers_in_use(&self) -> usize {
        let handled = if self.activity.is_some() { 2 } else { 0 };
        handled + self.inbox.len() + usize::from(self.links.transport.is_collecting())
    }

    fn receive_packet(&mut self, peer: Peer, packet: &[u8], cause: Option<u64>) {
        let lost = self.unreachable();
        let record = self.datagram(Direction::ToTarget, packet, lost, cause);
        if lost.is_none() {
            self.admit(peer, packet, record);
        }
    }

    /// A whole packet has arrived; `record` shows how.
    fn admit(&mut self, peer: Peer, packet: &[u8], record: u64) {
        let Some((buffer_size, buffer_count)) = self.device().map(Device::buffers) else { return };
        if packet.len() > usize::from(buffer_size) {
            self.record(Kind::Resource {
                pool: "smp packet buffer".into(),
                size: buffer_size.into(),
                dropped: format!("a packet of {} bytes", packet.len()),
            });
            return;
        }
        if self.buffers_in_use() >= usize::from(buffer_count) {
            self.record(Kind::Resource {
                pool: "smp packet buffers".into(),
                size: buffer_count.into(),
                dropped: format!("a packet of {} bytes", packet.len()),
            });
            return;
        }
        if self.wants.messages {
            self.record_caused(Some(record), message(Direction::ToTarget, packet));
        }
        self.inbox.push_back((peer, packet.to_vec(), record));
        self.work();
    }

    /// A board that is off is found running instead: no bootloader has touched what its trailers ask for.
    pub fn found_running(&mut self) {
        if self.activity.is_some() || !matches!(self.machine, Machine::Off { .. }) {
            return;
        }
        let Machine::Off { persistent, .. } = std::mem::replace(&mut self.machine, Machine::Changing) else { return };
        let device = match found_running(&self.board, persistent) {
            Ok(device) => device,
            Err(persistent) => {
                self.machine = Machine::Off { persistent: *persistent, back_at: None };
                return;
            }
        };
        let behaviour = device.image().map(|image| image.behaviour);
        self.machine = Machine::Running(device);
        self.starts += 1;
        if let Some(behaviour) = behaviour {
            self.start_application(behaviour);
        }
    }

    /// Something is done to the target from outside now.
    pub fn control(&mut self, control: Control) {
        match control {
            Control::Power(false) => self.power_loss("switched off", None, None),
            Control::Power(true) => {
                if let (None, Machine::Off { back_at, .. }) = (&self.activity, &mut self.machine) {
                    *back_at = Some(self.now);
                    self.step();
                }
            }
            Control::Reset => self.reset(Cause::PinReset),
            Control::Link(up) => self.set_link(up, "taken down from outside", None),
            Control::Battery(battery) => {
                self.battery = battery;
                self.record(Kind::Battery { percent: battery.percent });
                self.notify_battery();
            }
            Control::Fault(fault) => {
                let (id, what) = (fault.id.clone(), fault.action.to_string());
                let state = if self.faults.arm(fault, self.now) { "armed" } else { "refused: too many are armed" };
                self.record(Kind::Fault { id, state: state.into(), what });
            }
        }
    }

    /// What the target has sent by now, in order: packets, or the bytes of its serial port.
    pub fn take_sent(&mut self) -> Option<(Peer, Vec<u8>)> {
        self.outbox.pop_front()
    }

    /// Adds a record of the runner.
    pub fn record(&mut self, kind: Kind) -> u64 {
        self.record_caused(None, kind)
    }

    /// Records since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.trace)
    }

    fn record_caused(&mut self, cause: Option<u64>, kind: Kind) -> u64 {
        let n = self.next_record;
        self.next_record += 1;
        let common = matches!(
            kind,
            Kind::SerialFrame { .. }
                | Kind::Att(_)
                | Kind::Bus(_)
                | Kind::Datagram { .. }
                | Kind::Message { .. }
                | Kind::Dfu { .. }
                | Kind::Flash(_)
                | Kind::Resource { .. }
        );
        if (n > RECORDS_MAX && common) || n > 2 * RECORDS_MAX {
            return n;
        }
        self.trace.push(Record { n, at_us: self.now, wall_us: None, cause, kind });
        n
    }

    fn datagram(&mut self, direction: Direction, packet: &[u8], lost: Option<&str>, cause: Option<u64>) -> u64 {
        self.lost += u64::from(lost.is_some());
        if !self.wants.messages && lost.is_none() {
            return self.next_record;
        }
        let kind = Kind::Datagram {
            direction,
            len: packet.len() as u64,
            data: hex(&packet[..packet.len().min(DATAGRAM_KEPT)]),
            lost: lost.map(str::to_owned),
        };
        self.record_caused(cause, kind)
    }

    /// Does the one thing that is due.
    fn step(&mut self) {
        if self.activity.as_ref().is_some_and(|activity| activity.next_due() <= self.now) {
            self.work();
        } else if self.step.as_ref().is_some_and(|step| step.next_due() <= self.now) {
            self.pump(None);
        } else if self.timers.link_up.is_some_and(|at| at <= self.now) {
            self.set_link(true, "", None);
        } else if self.step_links() {
            // One thing at a time.
        } else if self.step_late() {
            // The same.
        } else if let Some(at) = self.timers.late.iter().position(|(at, ..)| *at <= self.now) {
            let (_, peer, packet) = self.timers.late.remove(at);
            self.send(peer, &packet, None);
        } else if let Some((fault, action)) = self.faults.take_timer(self.now) {
            self.fire(&fault, &action);
            if matches!(action, Action::Inject { .. }) {
                self.work();
            }
        } else if self.running().and_then(Device::next_timer).is_some_and(|at| at <= self.now) {
            self.tell_program(Input::Due, None);
        } else if self.timers.reset.is_some_and(|(at, _)| at <= self.now) {
            if let Some((_, cause)) = self.timers.reset.take() {
                self.reset(cause);
            }
        } else if self.timers.confirm.is_some_and(|at| at <= self.now) {
            self.timers.confirm = None;
            if self.activity.is_none() {
                self.begin_confirm();
                self.work();
            } else {
                // After the work that is being done.
                self.timers.confirm = self.activity.as_ref().map(|activity| activity.ends_at + 1);
            }
        } else if let (None, Machine::Off { back_at, .. }) = (&self.activity, &mut self.machine)
            && back_at.is_some_and(|at| at <= self.now)
        {
            *back_at = None;
            self.begin_boot(Cause::PowerOn);
        }
    }

    /// Ends what is over, and starts on the next packets while the device is free: work without flash
    /// operations takes no time.
    fn work(&mut self) {
        loop {
            self.release_activity();
            if self.activity.is_some() {
                return;
            }
            let Some((peer, packet, record)) = self.inbox.pop_front() else { return };
            if matches!(self.machine, Machine::Running(_)) {
                self.begin_request(peer, &packet, record);
            }
        }
    }

    fn fire(&mut self, id: &str, action: &Action) {
        self.record(Kind::Fault { id: id.to_owned(), state: "fired".into(), what: action.to_string() });
        self.lost += u64::from(matches!(action, Action::LoseAnswer | Action::LoseRequest));
        match action {
            Action::PowerLoss { for_us } => self.power_loss("fault", *for_us, None),
            Action::LinkLoss { for_us } => self.set_link(false, "fault", Some(*for_us)),
            Action::Battery(battery) => self.control(Control::Battery(*battery)),
            Action::Reset => self.reset(Cause::PinReset),
            Action::Inject { packet } => {
                self.injected.push_back(id.to_owned());
                self.inbox.push_back((HARNESS, packet.clone(), 0));
            }
            Action::FlashFails { partition, offset, len, damage } => {
                self.damage(partition, *offset, *len, *damage);
            }
            Action::StrayWrite { partition, offset } => self.stray_write(id, partition, *offset),
            Action::LoseKeys => self.all_keys_forgotten(),
            // These concern one request or answer and are applied where it is handled or sent.
            Action::LoseAnswer
            | Action::DelayAnswer { .. }
            | Action::DoubleAnswer
            | Action::ChangeAnswer(_)
            | Action::ForeignAnswer(_)
            | Action::Refuse(_)
            | Action::LoseRequest
            | Action::Stall { .. }
            | Action::Reply(_)
            | Action::DoubleRequest
            | Action::CorruptRequest { .. }
            | Action::CorruptAnswer { .. }
            // And this one an attempt to connect.
            | Action::ConnectFails => {}
        }
    }

    /// A region of flash goes bad, in what is and in what was before the work under way.
    fn damage(&mut self, partition: &str, offset: u32, len: Option<u32>, damage: Damage) {
        let Some(area) = self.board.layout.area(partition) else { return };
        let offset = offset.min(area.len);
        let len = len.unwrap_or(area.len).min(area.len - offset);
        let machines = [Some(&mut self.machine), self.activity.as_mut().map(|activity| &mut activity.before)];
        for flash in machines.into_iter().flatten().filter_map(Machine::flash_mut) {
            if let Some(device) = flash.device_mut(area.device) {
                device.damage(area.offset + offset..area.offset + offset + len, damage);
            }
        }
    }

    /// The application writes zeros, one program unit of them.
    fn stray_write(&mut self, id: &str, partition: &str, offset: u32) {
        let Some(area) = self.board.layout.area(partition) else { return };
        let unit = self.board.layout.devices[usize::from(area.device)].geometry.program_unit();
        let zeros = vec![0; unit as usize];
        let Some(flash) = self.machine.flash_mut() else { return };
        let written = Controller::new(flash, &mut Uncut).program(area, offset, &zeros);
        let (state, what) = match written {
            Ok(()) => (ACCEPTED, "the write was carried out".to_owned()),
            Err(error) => (REFUSED, error.to_string()),
        };
        self.record(Kind::Fault { id: id.to_owned(), state: state.into(), what });
    }

    /// The device has answered a request of the harness.
    fn answered_harness(&mut self, packets: &[Vec<u8>]) {
        let Some(id) = self.injected.pop_front() else { return };
        let failure = packets.iter().find_map(|packet| SmpMessage::parse(packet).failure());
        let (state, what) = match failure {
            None => (ACCEPTED, "the request was carried out".to_owned()),
            Some((None, rc)) => (REFUSED, format!("rc {rc}")),
            Some((Some(group), rc)) => (REFUSED, format!("err: group {group}, rc {rc}")),
        };
        self.record(Kind::Fault { id, state: state.into(), what });
    }

    fn set_link(&mut self, up: bool, reason: &str, for_us: Option<u64>) {
        self.timers.link_up = for_us.map(|duration| self.now + duration);
        if self.link != up {
            self.link = up;
            self.start_console();
            let event = if up { LinkEvent::Up } else { LinkEvent::Down { reason: reason.to_owned() } };
            self.record(Kind::Link(event));
            self.links_changed(up);
        }
    }

    /// Power goes now; it comes back after `for_us`, or never by itself. `state` is what an interrupted
    /// piece of work left, where its own hook has cut it.
    fn power_loss(&mut self, reason: &str, for_us: Option<u64>, state: Option<Persistent>) {
        let was_off = !self.powered();
        self.stop_step();
        let persistent = state.or_else(|| match self.activity.take() {
            Some(activity) => self.rewind(activity),
            None => std::mem::replace(&mut self.machine, Machine::Changing).into_persistent(),
        });
        self.activity = None;
        let Some(persistent) = persistent else { return };
        self.forget();
        self.machine = Machine::Off { persistent, back_at: for_us.map(|duration| self.now + duration) };
        if !was_off {
            self.record(Kind::Power(PowerEvent::Off { reason: reason.to_owned() }));
        }
    }

    /// Resets the device now, in the middle of whatever it does.
    fn reset(&mut self, cause: Cause) {
        self.stop_step();
        let persistent = match self.activity.take() {
            Some(activity) => self.rewind(activity),
            None if matches!(self.machine, Machine::Off { .. }) => return,
            None => std::mem::replace(&mut self.machine, Machine::Changing).into_persistent(),
        };
        let Some(persistent) = persistent else { return };
        if cause == Cause::SoftReset {
            self.say_goodbye();
        }
        self.machine = Machine::Off { persistent, back_at: None };
        self.begin_boot(cause);
    }

    /// Everything in RAM is gone.
    fn forget(&mut self) {
        self.inbox.clear();
        self.injected.clear();
        self.links_forgotten();
        self.late.clear();
        self.timers.late.clear();
        self.timers.reset = None;
        self.timers.reset_asked = false;
        self.timers.confirm = None;
        self.start_console();
    }

    fn send(&mut self, peer: Peer, packet: &[u8], cause: Option<u64>) {
        if let Some(connection) = link::connection_of(peer) {
            return self.notify(connection, packet, cause);
        }
        let lost = (!self.link).then_some("the link is down");
        let record = self.datagram(Direction::FromTarget, packet, lost, cause);
        if lost.is_none() {
            if self.wants.messages {
                self.record_caused(Some(record), message(Direction::FromTarget, packet));
            }
            let bytes = if self.console.is_some() { self.send_console(packet, record) } else { packet.to_vec() };
            self.outbox.push_back((peer, bytes));
        }
    }

    /// What the image that has just been started will do by itself.
    fn start_application(&mut self, behaviour: Behaviour) {
        let start = self.now;
        match behaviour {
            Behaviour::WaitsToBeConfirmed => {}
            Behaviour::ConfirmsItself { after_us } => self.timers.confirm = Some(start + after_us),
            Behaviour::NeverConfirms { resets_after_us } => {
                self.timers.reset = Some((start + resets_after_us, Cause::SoftReset));
            }
            Behaviour::Crashes { after_us } => self.timers.reset = Some((start + after_us, Cause::Crash)),
            Behaviour::Hangs { watchdog_us } => self.timers.reset = Some((start + watchdog_us, Cause::Watchdog)),
        }
    }
}

fn message(direction: Direction, packet: &[u8]) -> Kind {
    Kind::Message { protocol: "smp".into(), direction, smp: SmpMessage::parse(packet) }
}
