//! Calls that wait for an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::ClientId;
use super::limits::CALLS_MAX;

/// Why a call cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The caller has used its serial for a call that is still open.
    Serial,
    /// The caller has too many open calls.
    TooMany,
}

/// Who waits for an answer from whom; only such answers are passed on.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Called client, caller, serial of the call.
    open: BTreeSet<(ClientId, ClientId, NonZeroU32)>,
    /// How many open calls a caller has; none of them is 0.
    counts: BTreeMap<ClientId, usize>,
}

impl Calls {
    /// A call goes out.
    pub(super) fn open(&mut self, caller: ClientId, called: ClientId, serial: NonZeroU32) -> Result<(), Refused> {
        if self.open.contains(&(called, caller, serial)) {
            return Err(Refused::Serial);
        }
        let count = self.counts.entry(caller).or_default();
        if *count >= CALLS_MAX {
            return Err(Refused::TooMany);
        }
        *count += 1;
        self.open.insert((called, caller, serial));
        Ok(())
    }

    /// An answer comes; whether somebody waits for it.
    pub(super) fn answered(&mut self, called: ClientId, caller: ClientId, serial: NonZeroU32) -> bool {
        let known = self.open.remove(&(called, caller, serial));
        if known {
            self.forget(caller);
        }
        known
    }

    /// A client is gone: its own calls are forgotten, and these callers wait for it in vain.
    pub(super) fn gone(&mut self, client: ClientId) -> Vec<(ClientId, NonZeroU32)> {
        self.open.retain(|(_, caller, _)| *caller != client);
        self.counts.remove(&client);
        let first = (client, ClientId::SERVICE, NonZeroU32::MIN);
        let waiting: Vec<_> = self.open.range(first..).take_while(|(called, ..)| *called == client).copied().collect();
        for call in &waiting {
            self.open.remove(call);
            self.forget(call.1);
        }
        waiting.into_iter().map(|(_, caller, serial)| (caller, serial)).collect()
    }

    fn forget(&mut self, caller: ClientId) {
        if let Some(count) = self.counts.get_mut(&caller) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&caller);
            }
        }
    }
}
