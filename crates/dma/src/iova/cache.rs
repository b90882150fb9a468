//! A cache of small address ranges for each CPU, in front of an allocator that has a lock.
//!
//! There is no lock in here. A host gives each CPU a [`CpuCache`] that this CPU alone uses, and
//! takes its lock around the [`IovaAllocator`] only where a method asks for one.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c `iova_rcache`, differs: no depot (a full magazine goes
//! back to the allocator at once), and a miss fetches several ranges.

use super::{IovaAlign, IovaAllocator};
use crate::{Error, Iova};

/// Sizes that are cached: one to 32 granules, in powers of two.
const ORDERS: usize = 6;
/// Ranges in a magazine.
const ROUNDS: usize = 127;
/// Ranges fetched at a miss.
const FETCH: usize = 32;

/// Some ranges of one size.
#[derive(Clone, Copy, Debug)]
struct Magazine {
    len: usize,
    rounds: [Iova; ROUNDS],
}

impl Magazine {
    const EMPTY: Self = Self {
        len: 0,
        rounds: [Iova::new(0); ROUNDS],
    };

    fn push(&mut self, at: Iova) -> bool {
        match self.rounds.get_mut(self.len) {
            Some(slot) => {
                *slot = at;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Takes a range of `len` bytes that ends at or below `limit`, the last one put in first.
    fn pop(&mut self, len: u64, limit: u64) -> Option<Iova> {
        let loaded = self.rounds.get_mut(..self.len)?;
        let fits = |at: &Iova| {
            at.checked_add(len - 1)
                .is_some_and(|last| last.get() <= limit)
        };
        let index = loaded.iter().rposition(fits)?;
        let last = loaded.len() - 1;
        loaded.swap(index, last);
        self.len = last;
        loaded.get(last).copied()
    }
}

/// What one CPU keeps: two magazines a size.
#[derive(Clone, Debug)]
pub struct CpuCache {
    granule: u64,
    loaded: [Magazine; ORDERS],
    spare: [Magazine; ORDERS],
}

impl CpuCache {
    /// An empty cache for ranges of this granule.
    #[must_use]
    pub const fn new(granule: u64) -> Self {
        Self {
            granule,
            loaded: [Magazine::EMPTY; ORDERS],
            spare: [Magazine::EMPTY; ORDERS],
        }
    }

    /// Ranges in the cache.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = |all: &[Magazine; ORDERS]| all.iter().map(|m| m.len).sum::<usize>();
        count(&self.loaded).saturating_add(count(&self.spare))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that a range of `len` bytes takes: cached sizes are powers of two.
    #[must_use]
    pub fn rounded(&self, len: u64) -> u64 {
        match self.order(len) {
            Some(order) => self.granule << order,
            None => len,
        }
    }

    fn order(&self, len: u64) -> Option<usize> {
        let units = len.div_ceil(self.granule);
        let order = units.checked_next_power_of_two()?.trailing_zeros() as usize;
        (units > 0 && order < ORDERS).then_some(order)
    }

    /// Takes a range from the cache. No lock is needed.
    pub fn take(&mut self, len: u64, limit: u64) -> Option<Iova> {
        let order = self.order(len)?;
        let size = self.granule << order;
        let loaded = self.loaded.get_mut(order)?;
        if let Some(at) = loaded.pop(size, limit) {
            return Some(at);
        }
        let spare = self.spare.get_mut(order)?;
        core::mem::swap(loaded, spare);
        loaded.pop(size, limit)
    }

    /// Puts a range into the cache. No lock is needed. Returns whether there was room.
    #[must_use = "a range that is not taken must go to `spill`"]
    pub fn give(&mut self, at: Iova, len: u64) -> bool {
        let Some(order) = self.order(len) else {
            return false;
        };
        let (Some(loaded), Some(spare)) = (self.loaded.get_mut(order), self.spare.get_mut(order))
        else {
            return false;
        };
        if loaded.push(at) {
            return true;
        }
        if spare.len > 0 {
            return false;
        }
        core::mem::swap(loaded, spare);
        loaded.push(at)
    }

    /// Takes a range from the allocator, and some more of its size for the cache.
    ///
    /// The host holds the allocator's lock.
    ///
    /// # Errors
    /// As [`IovaAllocator::alloc`].
    pub fn fetch(
        &mut self,
        space: &mut IovaAllocator,
        len: u64,
        limit: u64,
    ) -> Result<Iova, Error> {
        let size = self.rounded(len);
        let at = space.alloc(size, limit, IovaAlign::Natural)?;
        if let Some(loaded) = self.order(len).and_then(|order| self.loaded.get_mut(order)) {
            while loaded.len < FETCH {
                // A space that is nearly full is left to those who ask.
                let Ok(more) = space.alloc(size, limit, IovaAlign::Natural) else {
                    break;
                };
                loaded.push(more);
            }
        }
        Ok(at)
    }

    /// Gives a range for which there was no room to the allocator, with a magazine of its size.
    ///
    /// The host holds the allocator's lock.
    ///
    /// # Errors
    /// `Invalid` if the range was not given by this allocator. What was cached has gone back.
    pub fn spill(&mut self, space: &mut IovaAllocator, at: Iova, len: u64) -> Result<(), Error> {
        let (size, order) = (self.rounded(len), self.order(len));
        if let Some(spare) = order.and_then(|order| self.spare.get_mut(order)) {
            empty(space, spare, size);
        }
        space.free(at, size)
    }

    /// Gives everything to the allocator. The host holds its lock.
    pub fn flush(&mut self, space: &mut IovaAllocator) {
        for magazines in [&mut self.loaded, &mut self.spare] {
            for (order, magazine) in magazines.iter_mut().enumerate() {
                empty(space, magazine, self.granule << order);
            }
        }
    }
}

fn empty(space: &mut IovaAllocator, magazine: &mut Magazine, size: u64) {
    for at in magazine.rounds.iter().take(magazine.len) {
        // What is cached came from the allocator or was given as such. A range that did not is
        // refused there, and must not keep the others.
        let _ = space.free(*at, size);
    }
    magazine.len = 0;
}

/// An allocator with a cache for each of `CPUS` CPUs, for a host with one lock around all of it.
#[derive(Debug)]
pub struct CachedIova<const CPUS: usize> {
    space: IovaAllocator,
    caches: [CpuCache; CPUS],
}

impl<const CPUS: usize> CachedIova<CPUS> {
    /// Caches in front of `space`.
    #[must_use]
    pub fn new(space: IovaAllocator) -> Self {
        let granule = space.granule();
        Self {
            space,
            caches: core::array::from_fn(|_| CpuCache::new(granule)),
        }
    }

    /// Takes `len` bytes on `cpu`. If nothing is left, all caches are flushed, once.
    ///
    /// # Errors
    /// `Invalid` for a CPU there is not; else as [`IovaAllocator::alloc`].
    pub fn alloc(&mut self, cpu: usize, len: u64, limit: u64) -> Result<Iova, Error> {
        let cache = self.caches.get_mut(cpu).ok_or(Error::Invalid)?;
        if let Some(at) = cache.take(len, limit) {
            return Ok(at);
        }
        let first = cache.fetch(&mut self.space, len, limit);
        if first.is_ok() || first == Err(Error::Invalid) {
            return first;
        }
        self.flush();
        let cache = self.caches.get_mut(cpu).ok_or(Error::Invalid)?;
        self.space
            .alloc(cache.rounded(len), limit, IovaAlign::Natural)
    }

    /// Gives a range back on `cpu`, the one that took it or another.
    ///
    /// # Errors
    /// `Invalid` for a CPU there is not, or a range that was not given. A range that goes into a
    /// cache is looked at only when it leaves it.
    pub fn free(&mut self, cpu: usize, at: Iova, len: u64) -> Result<(), Error> {
        let cache = self.caches.get_mut(cpu).ok_or(Error::Invalid)?;
        if cache.give(at, len) {
            return Ok(());
        }
        cache.spill(&mut self.space, at, len)
    }

    /// Empties the caches.
    pub fn flush(&mut self) {
        for cache in &mut self.caches {
            cache.flush(&mut self.space);
        }
    }

    /// The allocator behind the caches. What is cached counts as live there.
    #[must_use]
    pub fn space(&self) -> &IovaAllocator {
        &self.space
    }
}
