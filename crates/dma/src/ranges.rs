//! An allocator of integer ranges, for I/O virtual addresses and bounce slots.
//!
//! Free ranges stand in one sorted vector. Room for every range that could come back is reserved
//! when a range is handed out, so giving back never allocates and cannot fail for want of memory.

use alloc::vec::Vec;

/// Why no range was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeError {
    /// Length zero, or an alignment that is no power of two.
    Invalid,
    /// No free range is long enough below the limit; the longest has this many units.
    Exhausted(u64),
    /// The heap had no room for the bookkeeping.
    Heap,
}

/// A free run, both ends included.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
}

impl Run {
    const fn units(self) -> u64 {
        // `last >= first`, and no allocator spans all of 2^64 units.
        (self.last - self.first).saturating_add(1)
    }
}

/// Hands out ranges of units, highest first.
///
/// # Invariants
/// `free` is sorted, its runs are apart by at least one unit, and its capacity is more than the
/// number of ranges handed out.
#[derive(Debug)]
pub struct RangeAllocator {
    first: u64,
    last: u64,
    free: Vec<Run>,
    live: usize,
    used: u64,
}

impl RangeAllocator {
    /// Most ranges that are handed out at one time: bounds memory and the cost of a call.
    pub const MAX_LIVE: usize = 1 << 20;

    /// All units from `first` to `last`, both included.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] for an empty span or one of 2^64 units; [`RangeError::Heap`].
    pub fn new(first: u64, last: u64) -> Result<Self, RangeError> {
        if first > last || (first == 0 && last == u64::MAX) {
            return Err(RangeError::Invalid);
        }
        let mut free = Vec::new();
        free.try_reserve(4).map_err(|_| RangeError::Heap)?;
        free.push(Run { first, last });
        Ok(Self {
            first,
            last,
            free,
            live: 0,
            used: 0,
        })
    }

    /// Units handed out.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Ranges handed out.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live
    }

    /// Units of the longest free run that lies at or below `limit`.
    #[must_use]
    pub fn largest_free(&self, limit: u64) -> u64 {
        self.free
            .iter()
            .take_while(|run| run.first <= limit)
            .map(|run| {
                Run {
                    first: run.first,
                    last: run.last.min(limit),
                }
                .units()
            })
            .max()
            .unwrap_or(0)
    }

    /// Hands out `units` units, none above `limit`, the first a multiple of `align`.
    ///
    /// The cost is the number of free runs, which never exceeds the number of live ranges by
    /// more than one.
    ///
    /// # Errors
    /// [`RangeError`]; nothing has changed.
    pub fn take(&mut self, units: u64, align: u64, limit: u64) -> Result<u64, RangeError> {
        if units == 0 || !align.is_power_of_two() {
            return Err(RangeError::Invalid);
        }
        let Some((index, at)) = self.find(units, align, limit) else {
            return Err(RangeError::Exhausted(self.largest_free(limit)));
        };
        if self.live >= Self::MAX_LIVE {
            return Err(RangeError::Heap);
        }
        // Live ranges after this one, plus one, bound the number of free runs.
        let wanted = self.live.saturating_add(2);
        let more = wanted.saturating_sub(self.free.len());
        self.free.try_reserve(more).map_err(|_| RangeError::Heap)?;
        self.carve(index, at, units);
        self.live = self.live.saturating_add(1);
        self.used = self.used.saturating_add(units);
        Ok(at)
    }

    fn find(&self, units: u64, align: u64, limit: u64) -> Option<(usize, u64)> {
        let below = self.free.partition_point(|run| run.first <= limit);
        let candidates = self.free.get(..below)?;
        candidates
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, run)| {
                let last = run.last.min(limit);
                // The highest aligned start that leaves room for all units up to `last`.
                let start = last.checked_sub(units.checked_sub(1)?)? & !(align - 1);
                (start >= run.first).then_some((index, start))
            })
    }

    fn carve(&mut self, index: usize, at: u64, units: u64) {
        let Some(run) = self.free.get_mut(index) else {
            return;
        };
        let end = at.saturating_add(units - 1);
        let low = (run.first < at).then(|| Run {
            first: run.first,
            last: at - 1,
        });
        let high = (end < run.last).then(|| Run {
            first: end + 1,
            last: run.last,
        });
        match (low, high) {
            (Some(low), Some(high)) => {
                *run = low;
                self.free.insert(index + 1, high);
            }
            (Some(only), None) | (None, Some(only)) => *run = only,
            (None, None) => {
                self.free.remove(index);
            }
        }
    }

    /// Takes a range back.
    ///
    /// # Errors
    /// [`RangeError::Invalid`] if any unit of it is not handed out; nothing has changed.
    pub fn give_back(&mut self, at: u64, units: u64) -> Result<(), RangeError> {
        let end = units
            .checked_sub(1)
            .and_then(|n| at.checked_add(n))
            .ok_or(RangeError::Invalid)?;
        if at < self.first || end > self.last || self.live == 0 || units > self.used {
            return Err(RangeError::Invalid);
        }
        // The first run that starts behind the range, and the run before it.
        let next = self.free.partition_point(|run| run.first <= end);
        let before = next
            .checked_sub(1)
            .and_then(|i| self.free.get(i).map(|run| (i, *run)));
        if before.is_some_and(|(_, run)| run.last >= at) {
            return Err(RangeError::Invalid);
        }
        let joins_before = before.filter(|(_, run)| run.last.checked_add(1) == Some(at));
        let joins_next = self
            .free
            .get(next)
            .filter(|run| end.checked_add(1) == Some(run.first))
            .copied();
        match (joins_before, joins_next) {
            (Some((i, _)), Some(after)) => {
                if let Some(run) = self.free.get_mut(i) {
                    run.last = after.last;
                }
                self.free.remove(next);
            }
            (Some((i, _)), None) => {
                if let Some(run) = self.free.get_mut(i) {
                    run.last = end;
                }
            }
            (None, Some(_)) => {
                if let Some(run) = self.free.get_mut(next) {
                    run.first = at;
                }
            }
            // Capacity was reserved by `take`.
            (None, None) => self.free.insert(
                next,
                Run {
                    first: at,
                    last: end,
                },
            ),
        }
        self.live -= 1;
        self.used -= units;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
