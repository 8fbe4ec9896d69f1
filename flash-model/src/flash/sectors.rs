//! The sectors of a device, in groups that copies of it share.

use std::ops::Index;
use std::sync::Arc;

use super::device::Contents;

/// Sectors of a group. A copy of a device costs a pointer for each group, a change in it the pointers of one group: while
/// many states of one board are kept, neither grows with the board as fast as with a pointer for each sector.
const GROUP: usize = 16;

/// A group.
pub(super) type Group = Vec<Arc<Contents>>;

/// All sectors of a device, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sectors {
    groups: Vec<Arc<Group>>,
    len: usize,
}

impl Sectors {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<&Arc<Contents>> {
        self.groups.get(index / GROUP)?.get(index % GROUP)
    }

    /// The sector, in a group of this device's own.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut Arc<Contents> {
        &mut Arc::make_mut(&mut self.groups[index / GROUP])[index % GROUP]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Contents>> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn groups_mut(&mut self) -> impl Iterator<Item = &mut Arc<Group>> {
        self.groups.iter_mut()
    }
}

impl Index<usize> for Sectors {
    type Output = Arc<Contents>;

    fn index(&self, index: usize) -> &Self::Output {
        &self.groups[index / GROUP][index % GROUP]
    }
}

impl FromIterator<Arc<Contents>> for Sectors {
    fn from_iter<I: IntoIterator<Item = Arc<Contents>>>(sectors: I) -> Self {
        let all: Group = sectors.into_iter().collect();
        Self { len: all.len(), groups: all.chunks(GROUP).map(|group| Arc::new(group.to_vec())).collect() }
    }
}
