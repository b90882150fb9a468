//! Names of what the registry has.

use crate::SlabKey;
use core::fmt;

/// Names a memory: what a queue's plane and mappings of it in programs refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId(pub(crate) SlabKey);

/// Names a dma-buf. Not a reference: it may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufId(pub(crate) SlabKey);

impl MemoryId {
    #[cfg(test)]
    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(SlabKey::from_raw(raw))
    }

    /// The id as a number, never zero.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// As a host may show it to people: `3.1`.
impl fmt::Display for MemoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl BufId {
    /// The id as a number, never zero.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}
