//! Scanning: when a scanner listens, and what it has told already (volume 6, part B, 4.4.3).

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::address::Address;
use super::link::phy::Phy;

/// Reports that the filter for duplicates remembers; the oldest is forgotten.
const SEEN_MAX: usize = 256;
/// How long it remembers one, in microseconds. Controllers differ: some never tell of a device again, most do when its
/// signal has changed, which on a real air it always has. Linux takes the second kind for granted: a report that comes
/// before it has noted that its scan began is lost, and with the first kind the device is not found until the next scan.
const SEEN_US: u64 = 1_000_000;
/// Primary advertising channels.
const CHANNELS: u64 = 3;

/// When a radio listens on one physical layer: for `window` of each `interval`, on one channel after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listening {
    pub(super) phy: Phy,
    pub(super) active: bool,
    pub(super) interval_us: u64,
    pub(super) window_us: u64,
}

impl Listening {
    /// Whether a packet on these channels is heard so long after the start.
    pub(super) fn hears(&self, since: u64, channels: u8, phy: Phy) -> bool {
        let channel = since / self.interval_us.max(1) % CHANNELS;
        let open = since % self.interval_us.max(1) < self.window_us;
        self.phy == phy && open && channels >> channel & 1 == 1
    }
}

/// A scanner.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    pub(super) own_kind: u8,
    /// Bit 0: only devices on the accept list.
    pub(super) filter: u8,
    pub(super) listening: Vec<Listening>,
    pub(super) running: Option<Running>,
    /// What was told, and when.
    seen: VecDeque<(u64, u64)>,
}

/// A scanner that is enabled.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) started: u64,
    /// Microseconds; 0 is without end.
    pub(super) duration_us: u64,
    /// Microseconds; 0 is once.
    pub(super) period_us: u64,
    pub(super) filters_duplicates: bool,
}

impl Running {
    /// When scanning ends by itself.
    pub(super) fn ends(&self) -> Option<u64> {
        (self.duration_us > 0 && self.period_us == 0).then_some(self.started + self.duration_us)
    }
}

impl Scanner {
    pub(super) fn start(&mut self, running: Running) {
        self.seen.clear();
        self.running = Some(running);
    }

    /// Whether it hears an advertising event, and if so whether it asks for more.
    pub(super) fn hears(&self, now: u64, channels: u8, phy: Phy) -> Option<bool> {
        let running = self.running.as_ref()?;
        let since = now.saturating_sub(running.started);
        if running.period_us > 0 && since % running.period_us >= running.duration_us {
            return None;
        }
        let heard = self.listening.iter().find(|listening| listening.hears(since, channels, phy))?;
        Some(heard.active)
    }

    /// Whether a report is to be told: another device, another kind of packet or other data than a moment before.
    pub(super) fn is_news(&mut self, now: u64, device: Address, sid: u8, response: bool, data: &[u8]) -> bool {
        if !self.running.as_ref().is_some_and(|running| running.filters_duplicates) {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        (device.random, device.bytes, sid, response, data).hash(&mut hasher);
        let digest = hasher.finish();
        self.seen.retain(|(_, told)| now.saturating_sub(*told) < SEEN_US);
        if self.seen.iter().any(|(told, _)| *told == digest) {
            return false;
        }
        if self.seen.len() >= SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((digest, now));
        true
    }
}
