//! One copy of every sector content, however many flashes hold it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Flash;
use super::device::Contents;
use super::sectors::Group;

/// Makes equal sectors of many [`Flash`]es share their memory.
///
/// Useful while many states of one board are kept at once, as after cutting a boot everywhere.
#[derive(Debug, Default)]
pub struct Interner {
    known: HashSet<Arc<Contents>>,
    /// Groups of sectors that were looked at, by where they are, and what they are replaced by. They are held, so that no
    /// other comes to be there.
    groups: HashMap<usize, (Arc<Group>, Arc<Group>)>,
}

impl Interner {
    /// Replaces each sector of `flash` by the copy that was seen first.
    pub fn intern(&mut self, flash: &mut Flash) {
        for device in &mut flash.devices {
            for group in device.sectors.groups_mut() {
                if let Some((_, known)) = self.groups.get(&Arc::as_ptr(group).addr()) {
                    *group = Arc::clone(known);
                    continue;
                }
                let seen = Arc::clone(group);
                for sector in Arc::make_mut(group) {
                    match self.known.get(sector) {
                        Some(known) if Arc::ptr_eq(known, sector) => {}
                        Some(known) => *sector = Arc::clone(known),
                        None => {
                            self.known.insert(Arc::clone(sector));
                        }
                    }
                }
                self.groups.insert(Arc::as_ptr(group).addr(), (Arc::clone(group), Arc::clone(group)));
                self.groups.insert(Arc::as_ptr(&seen).addr(), (seen, Arc::clone(group)));
            }
        }
    }

    /// Number of different sector contents seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing was interned yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}
