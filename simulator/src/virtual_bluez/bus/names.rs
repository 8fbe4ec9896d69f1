//! Who owns which name, and who waits for it.

use std::collections::{BTreeMap, VecDeque};

use super::ClientId;

/// What RequestName answers: the name is the caller's now.
pub(super) const PRIMARY_OWNER: u32 = 1;
/// The caller waits for it.
pub(super) const IN_QUEUE: u32 = 2;
/// It is another's, and the caller does not wait.
pub(super) const EXISTS: u32 = 3;
/// It was the caller's already.
pub(super) const ALREADY_OWNER: u32 = 4;

/// What ReleaseName answers: it is no longer the caller's.
pub(super) const RELEASED: u32 = 1;
/// Nobody has it.
pub(super) const NON_EXISTENT: u32 = 2;
/// Others have it.
pub(super) const NOT_OWNER: u32 = 3;

/// Flags of RequestName: others may take it.
const ALLOW_REPLACEMENT: u32 = 1;
/// Take it from its owner, if that allows it.
const REPLACE_EXISTING: u32 = 2;
/// Do not wait for it.
const DO_NOT_QUEUE: u32 = 4;

/// A signal that must be sent because of names, in the order of `dbus-daemon`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// To the client that has lost the name.
    Lost(ClientId, String),
    /// To everybody: name, old and new owner.
    Owner(String, Option<ClientId>, Option<ClientId>),
    /// To the client that has the name now.
    Acquired(ClientId, String),
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    client: ClientId,
    allow_replacement: bool,
    do_not_queue: bool,
}

impl Owner {
    fn new(client: ClientId, flags: u32) -> Self {
        Self { client, allow_replacement: flags & ALLOW_REPLACEMENT != 0, do_not_queue: flags & DO_NOT_QUEUE != 0 }
    }
}

/// All names; the first of a queue owns it, and no queue is empty.
#[derive(Debug, Default)]
pub(super) struct Names {
    queues: BTreeMap<String, VecDeque<Owner>>,
    /// The names in whose queues a client is, in the order in which it came there.
    held: BTreeMap<ClientId, Vec<String>>,
}

impl Names {
    /// Who owns a name.
    pub(super) fn owner(&self, name: &str) -> Option<ClientId> {
        self.queues.get(name)?.front().map(|owner| owner.client)
    }

    /// The owner and those that wait.
    pub(super) fn queue(&self, name: &str) -> Option<impl Iterator<Item = ClientId>> {
        Some(self.queues.get(name)?.iter().map(|owner| owner.client))
    }

    /// All names that are owned.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// How many names a client has or waits for.
    pub(super) fn count(&self, client: ClientId) -> usize {
        self.held.get(&client).map_or(0, Vec::len)
    }

    /// The names that a client has or waits for, in the order in which it asked for them.
    pub(super) fn held(&self, client: ClientId) -> Vec<String> {
        self.held.get(&client).cloned().unwrap_or_default()
    }

    /// RequestName.
    pub(super) fn request(&mut self, client: ClientId, name: &str, flags: u32) -> (u32, Vec<Change>) {
        let new = Owner::new(client, flags);
        let Some(queue) = self.queues.get_mut(name).filter(|queue| !queue.is_empty()) else {
            self.queues.insert(name.to_owned(), VecDeque::from([new]));
            self.hold(client, name);
            let changes =
                vec![Change::Owner(name.to_owned(), None, Some(client)), Change::Acquired(client, name.to_owned())];
            return (PRIMARY_OWNER, changes);
        };
        let old = queue[0];
        let replace = flags & REPLACE_EXISTING != 0 && old.allow_replacement;
        if old.client == client {
            queue[0] = new;
            (ALREADY_OWNER, Vec::new())
        } else if replace {
            queue.retain(|owner| owner.client != client);
            queue.push_front(new);
            if old.do_not_queue {
                queue.remove(1);
                self.drop_held(old.client, name);
            }
            self.hold(client, name);
            let changes = vec![
                Change::Lost(old.client, name.to_owned()),
                Change::Owner(name.to_owned(), Some(old.client), Some(client)),
                Change::Acquired(client, name.to_owned()),
            ];
            (PRIMARY_OWNER, changes)
        } else if new.do_not_queue {
            queue.retain(|owner| owner.client != client);
            self.drop_held(client, name);
            (EXISTS, Vec::new())
        } else {
            match queue.iter().position(|owner| owner.client == client) {
                // Who would replace goes to the front of those that wait.
                known if flags & REPLACE_EXISTING != 0 => {
                    known.and_then(|at| queue.remove(at));
                    queue.insert(1, new);
                }
                Some(at) => queue[at] = new,
                None => queue.push_back(new),
            }
            self.hold(client, name);
            (IN_QUEUE, Vec::new())
        }
    }

    /// ReleaseName.
    pub(super) fn release(&mut self, client: ClientId, name: &str) -> (u32, Vec<Change>) {
        let Some(queue) = self.queues.get_mut(name) else { return (NON_EXISTENT, Vec::new()) };
        let Some(at) = queue.iter().position(|owner| owner.client == client) else { return (NOT_OWNER, Vec::new()) };
        queue.remove(at);
        let next = queue.front().map(|owner| owner.client);
        if next.is_none() {
            self.queues.remove(name);
        }
        self.drop_held(client, name);
        if at > 0 {
            return (RELEASED, Vec::new());
        }
        let mut changes =
            vec![Change::Lost(client, name.to_owned()), Change::Owner(name.to_owned(), Some(client), next)];
        changes.extend(next.map(|next| Change::Acquired(next, name.to_owned())));
        (RELEASED, changes)
    }

    fn hold(&mut self, client: ClientId, name: &str) {
        let held = self.held.entry(client).or_default();
        if !held.iter().any(|known| known == name) {
            held.push(name.to_owned());
        }
    }

    fn drop_held(&mut self, client: ClientId, name: &str) {
        if let Some(held) = self.held.get_mut(&client) {
            held.retain(|known| known != name);
            if held.is_empty() {
                self.held.remove(&client);
            }
        }
    }
}
