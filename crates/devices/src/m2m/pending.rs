//! Metadata of the frames that a codec works on.

use super::Meta;
use std::collections::BTreeMap;

/// Maximum number of stored frames. A further frame replaces the oldest. A picture may consist of many small
/// pieces, each stored as a frame.
const MAX: usize = 8192;

/// The program's metadata of each frame, by the codec's tag.
#[derive(Debug)]
pub(crate) struct PendingFrames {
    next_tag: u64,
    /// Tags continue when this is cleared, so late output of a dropped frame is ignored.
    pub(super) metas: BTreeMap<u64, Meta>,
}

impl PendingFrames {
    pub(crate) const fn new() -> Self {
        Self {
            next_tag: 1,
            metas: BTreeMap::new(),
        }
    }

    /// Returns the tag that [`insert`](Self::insert) will use.
    pub(crate) const fn next_tag(&self) -> u64 {
        self.next_tag
    }

    /// Stores a frame that the codec took under [`next_tag`](Self::next_tag).
    pub(crate) fn insert(&mut self, meta: Meta) {
        if self.metas.len() >= MAX {
            self.metas.pop_first();
        }
        self.metas.insert(self.next_tag, meta);
        self.next_tag = self.next_tag.wrapping_add(1);
    }

    /// Returns the metadata of a frame that may have more output. Unknown tags have the default.
    pub(crate) fn get(&self, tag: u64) -> Meta {
        self.metas.get(&tag).copied().unwrap_or_default()
    }
}
