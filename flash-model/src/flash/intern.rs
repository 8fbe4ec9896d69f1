//! One copy of every sector content, however many flashes hold it.

use std::collections::HashSet;
use std::sync::Arc;

use super::Flash;
use super::device::Contents;

/// Makes equal sectors of many [`Flash`]es share their memory.
///
/// Useful while many states of one board are kept at once, as after cutting a boot everywhere.
#[derive(Debug, Default)]
pub struct Interner {
    known: HashSet<Arc<Contents>>,
}

impl Interner {
    /// Replaces each sector of `flash` by the copy that was seen first.
    pub fn intern(&mut self, flash: &mut Flash) {
        for device in &mut flash.devices {
            for sector in &mut device.sectors {
                match self.known.get(sector) {
                    Some(known) if Arc::ptr_eq(known, sector) => {}
                    Some(known) => *sector = Arc::clone(known),
                    None => {
                        self.known.insert(Arc::clone(sector));
                    }
                }
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
