//! Ids of the memories and dma-bufs in a registry (`Buffers`).

use crate::SlabKey;
use core::fmt;

/// Names a memory. A queue's plane and a program's mapping refer to their memory by this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId(pub(crate) SlabKey);

/// Names a dma-buf without keeping it: the dma-buf may no longer exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufId(pub(crate) SlabKey);

impl MemoryId {
    /// Returns the id as a number, never zero.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// Formats the id for messages to people, for example `3.1`.
impl fmt::Display for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
