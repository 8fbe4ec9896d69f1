//! The air: the one owner of controllers, links and virtual time.

use std::collections::BTreeMap;

use super::address::Address;
use super::advertising::LEGACY;
use super::codec::{ACL, COMMAND, Fields, Reader};
use super::host::{Controller, code, le};
use super::link::Link;
use super::random::Random;
use super::status::Status;

/// What the air and its controllers are like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Controllers have extended advertising, scanning and connecting; hosts then use those commands.
    pub extended: bool,
    /// Probability that a packet on the air is lost, 0 to 1.
    pub loss: f64,
    /// Data packets that a host may have in its controller at once, over all connections.
    pub acl_packets: u8,
    /// Longest data packet from a host, in bytes.
    pub acl_length: u16,
    /// What is said when a host asks how strong a signal is, in dBm.
    pub rssi: i8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { extended: true, loss: 0.0, acl_packets: 16, acl_length: 251, rssi: -50 }
    }
}

/// What is due at a time of its own; what is first here is first at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A packet on a link begins or ends.
    Step(u32),
    /// An end of a link gives it up.
    Deadline(u32, usize),
    /// An advertising event.
    Advertise(usize, u8),
    AdvertisingEnd(usize, u8),
    ScanEnd(usize),
}

/// Controllers and the air between them. Has no clock: every call says what time it is, in microseconds since any
/// moment; time that seems to go back stands still.
///
/// Packets are those of the H4 transport (Core specification, volume 4, part A): type, then packet.
#[derive(Debug)]
pub struct Ether {
    pub(super) settings: Settings,
    pub(super) random: Random,
    pub(super) now: u64,
    pub(super) controllers: Vec<Controller>,
    pub(super) links: BTreeMap<u32, Link>,
    next_link: u32,
}

impl Ether {
    /// An air without controllers; losses and delays are drawn from `random`.
    #[must_use]
    pub fn new(settings: Settings, random: Random) -> Self {
        Self { settings, random, now: 0, controllers: Vec::new(), links: BTreeMap::new(), next_link: 0 }
    }

    /// A new controller with this public address; its number, the first is 0.
    pub fn add_controller(&mut self, address: Address) -> usize {
        self.controllers.push(Controller::new(address));
        self.controllers.len() - 1
    }

    /// The probability that a packet is lost from now on.
    pub fn set_loss(&mut self, loss: f64) {
        self.settings.loss = loss;
    }

    /// Takes the radio of a controller off the air, or puts it back, without a word to anyone: its peers, and its own
    /// host, see supervision timeouts.
    pub fn set_silent(&mut self, controller: usize, silent: bool) {
        if let Some(controller) = self.controllers.get_mut(controller) {
            controller.silent = silent;
        }
    }

    /// The transport of a controller was closed: it is gone without a word, for good.
    pub fn remove(&mut self, controller: usize) {
        if controller < self.controllers.len() {
            self.forget_links(controller);
            self.controllers[controller].reset();
            self.controllers[controller].present = false;
            while self.controllers[controller].take().is_some() {}
        }
    }

    /// Connections that are alive at a controller.
    #[must_use]
    pub fn connections(&self, controller: usize) -> usize {
        self.links_of(controller)
    }

    /// A packet from a host. What is no packet, and data that belongs to no connection, is dropped; a command is
    /// answered at once, once.
    pub fn host_packet(&mut self, controller: usize, now_us: u64, packet: &[u8]) {
        self.advance(now_us);
        let Some(host) = self.controllers.get(controller) else { return };
        if !host.present || !host.listens() {
            return;
        }
        match packet.split_first() {
            Some((&COMMAND, command)) => self.command_packet(controller, command),
            Some((&ACL, data)) => {
                let _ = self.data_packet(controller, data);
            }
            _ => {}
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, now_us: u64) {
        while let Some((at, timer)) = self.earliest().filter(|(at, _)| *at <= now_us) {
            self.now = self.now.max(at);
            self.fire(timer);
        }
        self.now = self.now.max(now_us);
    }

    /// When `advance` has something to do again.
    #[must_use]
    pub fn next_wake(&self) -> Option<u64> {
        self.earliest().map(|(at, _)| at)
    }

    /// The next packet for a host, and whose host it is.
    pub fn take(&mut self) -> Option<(usize, Vec<u8>)> {
        let waiting = self.controllers.iter_mut().enumerate();
        waiting.filter_map(|(number, controller)| Some((number, controller.take()?))).next()
    }

    fn earliest(&self) -> Option<(u64, Timer)> {
        let links = self.links.iter().flat_map(|(id, link)| {
            let deadlines = link.deadlines().map(|(end, at)| (at, Timer::Deadline(*id, end)));
            link.next().map(|at| (at, Timer::Step(*id))).into_iter().chain(deadlines)
        });
        let controllers = self.controllers.iter().enumerate().flat_map(|(number, controller)| {
            let sets = controller.sets.iter().flat_map(move |set| {
                let running = set.running.as_ref();
                let next = running.map(|running| (running.next, Timer::Advertise(number, set.handle)));
                let ends = running.and_then(|running| running.ends);
                next.into_iter().chain(ends.map(|at| (at, Timer::AdvertisingEnd(number, set.handle))))
            });
            let scan = controller.scanner.running.as_ref().and_then(|running| running.ends());
            sets.chain(scan.map(|at| (at, Timer::ScanEnd(number))))
        });
        links.chain(controllers).min()
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Step(id) => {
                if let Some(mut link) = self.links.remove(&id) {
                    self.step(&mut link);
                    self.put_back(id, link);
                }
            }
            Timer::Deadline(id, end) => {
                if let Some(mut link) = self.links.remove(&id) {
                    self.give_up(&mut link, end);
                    self.put_back(id, link);
                }
            }
            Timer::Advertise(controller, handle) => self.advertise(controller, handle),
            Timer::AdvertisingEnd(controller, handle) => {
                self.end_advertising(controller, handle, Status::ADVERTISING_TIMEOUT);
                if handle == LEGACY {
                    self.controllers[controller].sets.retain(|set| set.handle != LEGACY || set.running.is_none());
                }
            }
            Timer::ScanEnd(controller) => {
                self.controllers[controller].scanner.running = None;
                self.controllers[controller].le_event(le::SCAN_TIMEOUT, &Fields::new());
            }
        }
    }

    pub(super) fn add(&mut self, link: Link) {
        self.links.insert(self.next_link, link);
        self.next_link = self.next_link.wrapping_add(1);
    }

    /// A link lives while one of its ends does.
    fn put_back(&mut self, id: u32, link: Link) {
        if link.ends.iter().any(|end| end.controller.is_some()) {
            self.links.insert(id, link);
        }
    }

    pub(super) fn links_of(&self, controller: usize) -> usize {
        let ends = self.links.values().flat_map(|link| &link.ends);
        ends.filter(|end| end.controller == Some(controller)).count()
    }

    /// A controller loses its links, and nobody is told: a reset (volume 4, part E, 7.3.2) or its end.
    pub(super) fn forget_links(&mut self, controller: usize) {
        for link in self.links.values_mut() {
            for end in &mut link.ends {
                if end.controller == Some(controller) {
                    end.controller = None;
                }
            }
        }
        self.links.retain(|_, link| link.ends.iter().any(|end| end.controller.is_some()));
    }

    /// Does something with a connection that a host names by its handle.
    pub(super) fn with_link<T>(
        &mut self,
        controller: usize,
        handle: u16,
        work: impl FnOnce(&mut Self, &mut Link, usize) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let found = self.links.iter().find_map(|(id, link)| {
            let mine = |end: &super::link::End| end.controller == Some(controller) && end.handle == handle;
            Some((*id, link.ends.iter().position(mine)?))
        });
        let (id, end) = found.ok_or(Status::UNKNOWN_CONNECTION)?;
        let mut link = self.links.remove(&id).ok_or(Status::UNKNOWN_CONNECTION)?;
        let result = work(self, &mut link, end);
        self.put_back(id, link);
        result
    }

    /// Data from a host (volume 4, part E, 5.4.2).
    fn data_packet(&mut self, controller: usize, packet: &[u8]) -> Result<(), Status> {
        let mut reader = Reader::new(packet);
        let head = reader.u16()?;
        let length = reader.u16()?;
        let bytes = reader.bytes(length.into())?;
        reader.end()?;
        // Boundaries: 0 and 2 begin an L2CAP PDU, 1 continues one.
        let start = match head >> 12 & 0b11 {
            0b01 => false,
            0b11 => return Err(Status::INVALID_PARAMETERS),
            _ => true,
        };
        let ends = self.links.values().flat_map(|link| &link.ends);
        let mine = ends.filter(|end| end.controller == Some(controller));
        let used: usize = mine.map(super::link::End::buffers).sum();
        if used >= self.settings.acl_packets.into() || length > self.settings.acl_length {
            self.controllers[controller].event(code::DATA_BUFFER_OVERFLOW, Fields::new().u8(1));
            return Err(Status::MEMORY_CAPACITY_EXCEEDED);
        }
        self.with_link(controller, head & 0x0FFF, |ether, link, end| {
            if bytes.is_empty() {
                let handle = link.ends[end].handle;
                ether.controllers[controller].completed(handle, 1);
            } else {
                link.ends[end].queue(start, bytes.to_vec());
            }
            Ok(())
        })
    }
}
