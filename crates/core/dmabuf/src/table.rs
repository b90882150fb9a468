//! A bounded table that threads share: each entry has a lock.

use crate::SlabKey;
use crate::slab::Slot;
use alloc::boxed::Box;
use alloc::vec::Vec;
use once_cell::race::OnceBox;
use vb3_dma::Locks;

/// Number of slots in the first chunk. Each further chunk has twice as many as the one before it.
const FIRST: u32 = 16;

/// Number of chunks that together hold [`Table::LIMIT`] slots.
const CHUNKS: usize = 17;

/// Slots that never move, each with its lock. `OnceBox` needs a `Box` around them. A box of an array of
/// length one can be made from a `Vec`, whose allocation may fail without a panic.
type Chunk<T, L> = [Box<[<L as Locks>::Lock<Slot<T>>]>; 1];

/// The vacancy list: the slots that have no entry.
#[derive(Default)]
struct Vacant {
    /// Slots that were used and are vacant. Its capacity is enough for all slots, so removing never
    /// allocates.
    free: Vec<u32>,
    /// The first slot that was never used.
    next: u32,
    /// The number of slots.
    end: u32,
}

impl Vacant {
    fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let index = (self.next < self.end).then_some(self.next)?;
            self.next = index.saturating_add(1);
            Some(index)
        })
    }
}

/// A bounded table on the heap that threads share. Growing the table can fail, but never panics.
///
/// Each entry has its own lock, which the host provides. An entry in use delays only threads that want the
/// same entry. Finding an entry takes no other lock. Inserting and removing also take the lock of the vacancy
/// list for a moment, but not while they hold an entry's lock. Memory is allocated outside both locks.
///
/// # Context
/// An entry's lock is held while the caller's closure runs. The closure must not access the same entry through
/// the table: that deadlocks, or panics with [`NoLocks`](vb3_dma::NoLocks).
pub struct Table<T, L: Locks> {
    chunks: [OnceBox<Chunk<T, L>>; CHUNKS],
    vacant: L::Lock<Vacant>,
    limit: u32,
}

impl<T, L: Locks> Table<T, L> {
    /// Maximum number of entries of any table.
    pub const LIMIT: u32 = 1 << 20;

    /// Makes an empty table for at most `limit` entries, and never more than [`LIMIT`](Self::LIMIT).
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            chunks: [const { OnceBox::new() }; CHUNKS],
            vacant: L::new_lock(Vacant::default()),
            limit: limit.min(Self::LIMIT),
        }
    }

    /// Puts a value into the table.
    ///
    /// # Errors
    /// Returns the value when the table is full or memory is short; callers then fail with ENOMEM.
    pub fn insert(&self, value: T) -> Result<SlabKey, T> {
        let vacancy = self.vacancy();
        let Some((index, slot)) = vacancy.and_then(|index| Some((index, self.slot(index)?))) else {
            return Err(value);
        };
        Ok(L::with(slot, |slot| {
            slot.value = Some(value);
            slot.key(index)
        }))
    }

    /// Calls `act` with an entry, which stays locked meanwhile; `None` if the entry does not exist.
    pub fn with<R>(&self, key: SlabKey, act: impl FnOnce(&mut T) -> R) -> Option<R> {
        L::with(self.slot(key.index)?, |slot| slot.get_mut(key).map(act))
    }

    /// Takes an entry out of the table and returns its value.
    pub fn remove(&self, key: SlabKey) -> Option<T> {
        self.remove_if(key, |_| true)
    }

    /// Takes an entry out if `decide` returns true for it. The entry stays locked from decision to removal.
    pub fn remove_if(&self, key: SlabKey, decide: impl FnOnce(&mut T) -> bool) -> Option<T> {
        let slot = self.slot(key.index)?;
        let value = L::with(slot, |slot| slot.take_if(key, decide))?;
        L::with(&self.vacant, |vacant| vacant.free.push(key.index));
        Some(value)
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        L::with(&self.vacant, |vacant| {
            let used = usize::try_from(vacant.next).unwrap_or(usize::MAX);
            used.saturating_sub(vacant.free.len())
        })
    }

    /// Returns whether the table has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the keys of all entries. The iterator reads each slot when it comes to it, so other threads
    /// may insert and remove entries meanwhile.
    pub fn keys(&self) -> impl Iterator<Item = SlabKey> + '_ {
        let next = L::with(&self.vacant, |vacant| vacant.next);
        (0..next).filter_map(|index| {
            L::with(self.slot(index)?, |slot| {
                slot.value.is_some().then_some(slot.key(index))
            })
        })
    }

    /// Calls `look` with one entry after the other until it returns a value. Locks one entry at a time.
    pub fn find_map<R>(&self, mut look: impl FnMut(SlabKey, &mut T) -> Option<R>) -> Option<R> {
        self.keys()
            .find_map(|key| self.with(key, |value| look(key, value))?)
    }

    fn slot(&self, index: u32) -> Option<&L::Lock<Slot<T>>> {
        let (chunk, at) = spot(index)?;
        let [slots] = self.chunks.get(chunk)?.get()?;
        slots.get(at)
    }

    /// Takes a vacant slot, and adds slots if none is vacant. `None` if that is impossible.
    fn vacancy(&self) -> Option<u32> {
        // Other threads may take all slots that this thread added. Each attempt adds slots up to the limit,
        // so the loop ends.
        loop {
            let (index, end) = L::with(&self.vacant, |vacant| (vacant.take(), vacant.end));
            if index.is_some() || end >= self.limit {
                return index;
            }
            self.grow(end)?;
        }
    }

    /// Makes the chunk that begins with slot `start`, unless another thread does so first.
    fn grow(&self, start: u32) -> Option<()> {
        let (chunk, _) = spot(start)?;
        let most = start.saturating_add(FIRST);
        let len = usize::try_from(most.min(self.limit.saturating_sub(start))).ok()?;
        let mut slots = Vec::new();
        slots.try_reserve_exact(len).ok()?;
        slots.resize_with(len, || L::new_lock(Slot::EMPTY));
        let end = start.saturating_add(u32::try_from(len).ok()?);
        let mut free = Vec::new();
        free.try_reserve_exact(usize::try_from(end).ok()?).ok()?;
        let mut one = Vec::new();
        one.try_reserve_exact(1).ok()?;
        one.push(slots.into_boxed_slice());
        // If another thread was faster, its chunk is kept and this one is dropped.
        let _slower = self.chunks.get(chunk)?.set(Box::try_from(one).ok()?);
        let _former = L::with(&self.vacant, |vacant| {
            if vacant.end == start {
                free.append(&mut vacant.free);
                core::mem::swap(&mut free, &mut vacant.free);
                vacant.end = end;
            }
            free
        });
        Some(())
    }
}

/// Returns the chunk of slot `index`, and the slot's index within the chunk.
fn spot(index: u32) -> Option<(usize, usize)> {
    let from_first = index.checked_add(FIRST)?;
    let chunk = from_first.ilog2().checked_sub(FIRST.ilog2())?;
    let at = from_first.checked_sub(FIRST.checked_shl(chunk)?)?;
    Some((usize::try_from(chunk).ok()?, usize::try_from(at).ok()?))
}
