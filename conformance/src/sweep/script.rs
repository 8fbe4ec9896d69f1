//! How an initiator that was not started again is brought to where it was when power was lost.

use std::collections::BTreeMap;

use super::state::Phase;

/// An update without a power loss: requests with their answers, and the first request of each phase.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    exchanges: Vec<(Vec<u8>, Vec<u8>)>,
    /// Number of the request that is without an answer when power is lost in this phase.
    open: BTreeMap<Phase, usize>,
}

impl Script {
    pub(super) fn note_request(&mut self, phase: Phase, packet: &[u8]) {
        let number = self.exchanges.len();
        // A reset is answered: what is not is the question behind it, whether the device is back.
        self.open.entry(phase).or_insert(if phase == Phase::Reset { number + 1 } else { number });
        self.exchanges.push((packet.to_vec(), Vec::new()));
    }

    pub(super) fn note_answer(&mut self, packet: &[u8]) {
        if let Some((_, answer)) = self.exchanges.last_mut() {
            *answer = packet.to_vec();
        }
    }

    /// Number of the request that has no answer; `None` where the initiator may as well begin anew.
    pub(super) fn open(&self, phase: Phase) -> Option<usize> {
        self.open.get(&phase).copied().filter(|_| phase > Phase::Look && phase < Phase::Done)
    }

    /// The answer to a request, if it is the one with this number.
    pub(super) fn answer(&self, number: usize, packet: &[u8]) -> Option<&[u8]> {
        self.exchanges.get(number).filter(|(request, _)| request == packet).map(|(_, answer)| answer.as_slice())
    }
}
