//! Cache of recently freed address ranges. A driver repeatedly maps the same few lengths, so most ranges
//! come from this cache without a search.
//!
//! Source: Linux 7.2 drivers/iommu/iova.c, the magazines of `iova_rcache`; differs: each address space, not
//! each CPU, has a cache, because the lock of the device that owns the space already protects it.

use super::IovaRange;

/// Maximum number of cached ranges.
const MAX_SPARES: usize = 16;
/// Length of the longest cached range, in granules.
const MAX_GRANULES: u64 = 32;

/// Cached ranges, each aligned to its length rounded up to a power of two. They are free for callers, but still
/// allocated in the address allocator.
#[derive(Debug, Default)]
pub(super) struct Spares {
    ranges: [IovaRange; MAX_SPARES],
    count: usize,
    /// Index of the entry to replace when all are used.
    next: usize,
}

impl Spares {
    /// Takes a range of `len` bytes that ends at or below `limit`.
    #[inline]
    pub(super) fn take(&mut self, len: u64, limit: u64) -> Option<u64> {
        let kept = self.ranges.get_mut(..self.count)?;
        let last = *kept.last()?;
        // No overflow: the range lies inside the space.
        let suits = |spare: &&mut IovaRange| spare.len == len && spare.base + (len - 1) <= limit;
        let spare = kept.iter_mut().rfind(suits)?;
        self.count -= 1;
        Some(core::mem::replace(spare, last).base)
    }

    /// Caches a range. Returns a range that the caller must free, if any: this one, or an older one that this one
    /// replaced.
    #[inline]
    pub(super) fn keep(&mut self, range: IovaRange) -> Option<IovaRange> {
        let IovaRange { base, len, granule } = range;
        let is_aligned = len
            .checked_next_power_of_two()
            .is_some_and(|size| base & (size - 1) == 0);
        if !is_aligned || len / granule > MAX_GRANULES {
            return Some(range);
        }
        if let Some(free) = self.ranges.get_mut(self.count) {
            *free = range;
            self.count += 1;
            return None;
        }
        let old = self.ranges.get_mut(self.next)?;
        self.next = (self.next + 1) % MAX_SPARES;
        Some(core::mem::replace(old, range))
    }

    /// Removes any range.
    pub(super) fn pop(&mut self) -> Option<IovaRange> {
        self.count = self.count.checked_sub(1)?;
        self.ranges.get(self.count).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{IovaRange, MAX_SPARES, Spares};

    fn range(base: u64, granules: u64) -> IovaRange {
        let (len, granule) = (granules << 12, 1 << 12);
        IovaRange { base, len, granule }
    }

    #[test]
    fn a_spare_is_taken_by_length_and_limit() {
        let mut spares = Spares::default();
        assert_eq!(spares.keep(range(0x10_0000, 1)), None);
        assert_eq!(spares.keep(range(0x8000, 3)), None);
        assert_eq!(spares.take(2 << 12, u64::MAX), None, "no such length");
        assert_eq!(spares.take(1 << 12, 0x10_0ffe), None, "ends above");
        assert_eq!(spares.take(1 << 12, 0x10_0fff), Some(0x10_0000));
        assert_eq!(spares.take(1 << 12, u64::MAX), None, "taken");
        assert_eq!(spares.pop(), Some(range(0x8000, 3)));
        assert_eq!(spares.pop(), None);
    }

    #[test]
    fn long_and_misplaced_ranges_are_not_kept() {
        let mut spares = Spares::default();
        for range in [range(0x5000, 2), range(0x4000, 3), range(0x40_0000, 33)] {
            let kept = range.base == 0x4000;
            assert_eq!(spares.keep(range).is_none(), kept, "{range:?}");
        }
    }

    #[test]
    fn full_spares_return_the_oldest_range() {
        let mut spares = Spares::default();
        for n in 0..MAX_SPARES as u64 {
            assert_eq!(spares.keep(range(n << 12, 1)), None);
        }
        for n in 0..3 {
            assert_eq!(
                spares.keep(range((100 + n) << 12, 1)),
                Some(range(n << 12, 1))
            );
        }
    }
}
