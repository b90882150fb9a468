//! What is remembered of frames that are with a codec.

use super::Meta;
use std::collections::BTreeMap;

/// Most frames that are remembered; past them the oldest is forgotten.
const MAX: usize = 256;

/// What the program said of each frame, by the tag the codec knows it by.
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

    /// The codec took a frame under [`next_tag`](Self::next_tag).
    pub(crate) fn insert(&mut self, meta: Meta) {
        if self.metas.len() >= MAX {
            self.metas.pop_first();
        }
        self.metas.insert(self.next_tag, meta);
        self.next_tag = self.next_tag.wrapping_add(1);
    }

    /// What was said of a frame of which more may come.
    pub(crate) fn get(&self, tag: u64) -> Meta {
        self.metas.get(&tag).copied().unwrap_or_default()
    }

    /// Whether a frame is remembered.
    pub(crate) fn has(&self, tag: u64) -> bool {
        self.metas.contains_key(&tag)
    }

    /// What was said of a frame of which no more comes.
    pub(crate) fn take(&mut self, tag: u64) -> Option<Meta> {
        self.metas.remove(&tag)
    }

    /// Frames that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.metas.len()
    }

    /// Forgets all; tags go on, so that what comes late of them means nothing.
    pub(crate) fn clear(&mut self) {
        self.metas.clear();
    }
}
