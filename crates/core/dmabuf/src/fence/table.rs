//! The table of fences.

use super::Status;
use crate::{Error, Slab, SlabKey, Store};

/// Names a fence without keeping it. If the fence is gone, it has ended or has lost its last reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FenceId(pub(super) SlabKey);

/// The state of a fence. `T` names the party that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceInfo<T> {
    /// The number of the fence's context.
    pub context: u64,
    /// The fence's sequence number in the context.
    pub seqno: u64,
    /// The party that ends the fence.
    pub owner: T,
    /// Whether the fence has ended, and how.
    pub status: Status,
}

#[derive(Debug)]
struct Fence<T> {
    info: FenceInfo<T>,
    /// Number of references. When the last one is dropped, the table removes the fence.
    holders: u32,
}

/// The fences that sync files and imports refer to.
///
/// `T` names the party that ends a fence: a device, a program's timeline or another driver. A device's access that no
/// sync file refers to has no fence here.
#[derive(Debug)]
pub struct Fences<T> {
    pub(super) table: FenceTable<T>,
    pub(super) last_context: u64,
}

/// All fences, with their references.
#[derive(Debug)]
pub(super) struct FenceTable<T> {
    fences: Slab<Fence<T>>,
    /// Number of fences that have begun on timelines, and number of fences that have ended.
    pub(super) counts: (u64, u64),
}

/// Returns whether sequence number `a` comes after `b` in one context. They are compared modulo 2^32.
///
/// Source: Linux 6.12 include/linux/dma-fence.h `__dma_fence_is_later`.
pub(super) const fn is_later(a: u64, b: u64) -> bool {
    // CAST: compares the low 32 bits; of all 32-bit numbers, half are later than a given one.
    ((a as u32).wrapping_sub(b as u32) as i32) > 0
}

impl<T: Copy + PartialEq> Default for Fences<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy + PartialEq> Fences<T> {
    /// Maximum number of fences at one time.
    pub const LIMIT: u32 = 1 << 18;

    /// Makes a table without fences.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: FenceTable {
                fences: Slab::new(Self::LIMIT),
                counts: (0, 0),
            },
            last_context: 0,
        }
    }

    /// Returns the number of fences, including ended ones that a sync file still refers to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.fences.len()
    }

    /// Returns whether the table has no fence, not even an ended one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.fences.is_empty()
    }

    /// Returns the number of fences that have begun on timelines, and the number of all fences that have ended.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        self.table.counts
    }

    /// Makes the fence of a device's access. The access was counted when it began.
    pub(super) fn of_access(&mut self, owner: T) -> Result<FenceId, Error> {
        let context = self.next_context();
        self.table.insert(context, 1, owner)
    }

    /// Ends the fence of a device's access.
    pub(crate) fn end_access(&mut self, fence: FenceId, outcome: Result<(), i32>, now_ns: u64) {
        self.table.end(fence, outcome, now_ns);
        self.table.put(fence);
    }

    /// Returns the number of a context that no other fences have. A host never makes 2^64 contexts.
    pub(super) const fn next_context(&mut self) -> u64 {
        self.last_context = self.last_context.wrapping_add(1);
        self.last_context
    }
}

impl<T: Copy> FenceTable<T> {
    /// Returns a fence's state; `None` if the fence is gone.
    pub(super) fn get(&self, fence: FenceId) -> Option<FenceInfo<T>> {
        Some(self.fences.get(fence.0)?.info)
    }

    /// Returns a fence's state if the fence is pending.
    pub(super) fn pending(&self, fence: FenceId) -> Option<FenceInfo<T>> {
        self.get(fence)
            .filter(|info| info.status == Status::Pending)
    }

    pub(super) fn insert(&mut self, context: u64, seqno: u64, owner: T) -> Result<FenceId, Error> {
        let info = FenceInfo {
            context,
            seqno,
            owner,
            status: Status::Pending,
        };
        let inserted = self.fences.insert(Fence { info, holders: 1 });
        inserted.map(FenceId).map_err(|_| self.full())
    }

    pub(super) fn full(&self) -> Error {
        Error::table_full(self.fences.len())
    }

    /// Ends a fence that is pending, if it is not gone. A timeline or an access ends each of its fences once.
    pub(super) fn end(&mut self, fence: FenceId, outcome: Result<(), i32>, at_ns: u64) {
        if let Some(found) = self.fences.get_mut(fence.0) {
            found.info.status = Status::Ended { outcome, at_ns };
            self.counts.1 = self.counts.1.saturating_add(1);
        }
    }

    /// Takes one more reference to the fence.
    ///
    /// # Errors
    /// `Invalid` for a fence that is gone, `TableFull` when the count is at its maximum.
    pub(super) fn hold(&mut self, fence: FenceId) -> Result<(), Error> {
        let found = self.fences.get_mut(fence.0).ok_or(Error::Invalid)?;
        let full = Error::table_full(found.holders);
        found.holders = found.holders.checked_add(1).ok_or(full)?;
        Ok(())
    }

    /// Drops one reference to the fence. If it was the last one, the table removes the fence, without
    /// reporting an end.
    pub(super) fn put(&mut self, fence: FenceId) {
        let Some(found) = self.fences.get_mut(fence.0) else {
            return;
        };
        found.holders = found.holders.saturating_sub(1);
        if found.holders > 0 {
            return;
        }
        if found.info.status == Status::Pending {
            self.counts.1 = self.counts.1.saturating_add(1);
        }
        self.fences.remove(fence.0);
    }
}
