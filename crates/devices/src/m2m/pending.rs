//! Metadata of the frames in a codec.

use super::Meta;
use std::collections::BTreeMap;

/// Largest number of stored frames. Beyond it, the oldest is dropped.
const MAX: usize = 256;

/// The program's metadata of each frame, by the codec's tag.
#[derive(Debug)]
pub(crate) struct PendingFrames {
    next_tag: u64,
    metas: BTreeMap<u64, Meta>,
}

impl PendingFrames {
    pub(crate) const fn new() -> Self {
        Self {
            next_tag: 1,
            metas: BTreeMap::new(),
        }
    }

    /// The tag that [`insert`](Self::insert) gives next.
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

    /// Returns the metadata of a frame that may have more output.
    pub(crate) fn get(&self, tag: u64) -> Meta {
        self.metas.get(&tag).copied().unwrap_or_default()
    }

    /// Whether a frame is remembered.
    pub(crate) fn has(&self, tag: u64) -> bool {
        self.metas.contains_key(&tag)
    }

    /// Removes the metadata of a frame without further output.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Meta> {
        self.metas.remove(&tag)
    }

    /// Frames that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    /// Drops all metadata. Tags continue, so late output of dropped frames is ignored.
    pub(crate) fn clear(&mut self) {
        self.metas.clear();
    }
}
