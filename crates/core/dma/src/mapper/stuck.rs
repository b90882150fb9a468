//! Memory of callers that devices may still reach, because the platform could not remove its translation. The layer
//! cannot keep the caller from reusing the memory, but refuses it if the host allocates it again.

use super::{Mapper, round_up};
use crate::{Lock, Locks, PhysAddr, Platform, Segment};
use ::alloc::vec::Vec;

/// Maximum number of attempts to make room for an insertion.
const MAX_ROUNDS: usize = 16;
/// Maximum number of runs that are looked up under one hold of the lock.
const AT_ONCE: usize = 64;

/// The quarantine. Memory never leaves it, because the platform has no call to report that a translation
/// was removed later.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// The quarantined runs, in whole granules of the IOMMU.
    runs: Runs,
    /// Set when there was no room to record a range. From then on, all memory is treated as quarantined.
    is_all: bool,
}

impl Stuck {
    fn has(&self, segment: &Segment) -> bool {
        self.is_all || self.runs.has(segment)
    }
}

/// Returns a segment's first address, and the address after its last.
const fn ends(segment: &Segment) -> (u64, u64) {
    let first = segment.addr.get();
    (first, first.saturating_add(segment.len))
}

/// A list of runs that do not overlap, sorted by address.
#[derive(Debug, Default)]
struct Runs(Vec<Segment>);

impl Runs {
    /// Returns the index of the first run that ends after an address.
    fn first_behind(&self, start: u64) -> usize {
        self.0.partition_point(|run| ends(run).1 <= start)
    }

    /// Returns whether part of a segment lies in a run.
    fn has(&self, segment: &Segment) -> bool {
        let (start, end) = ends(segment);
        let run = self.0.get(self.first_behind(start));
        start < end && run.is_some_and(|run| ends(run).0 < end)
    }

    /// Adds a run, and joins it with those that it touches. The list must have capacity for one more.
    fn add(&mut self, run: Segment) {
        let (mut start, mut end) = ends(&run);
        let first = self.0.partition_point(|run| ends(run).1 < start);
        let past = self.0.partition_point(|run| ends(run).0 <= end);
        for known in self.0.drain(first..past.max(first)) {
            let (known_start, known_end) = ends(&known);
            (start, end) = (start.min(known_start), end.max(known_end));
        }
        let joined = Segment::pages(PhysAddr::new(start), end.saturating_sub(start));
        self.0.insert(first, joined);
    }
}

/// Returns the whole granules that contain a segment.
fn in_granules(segment: &Segment, granule: u64) -> Segment {
    let first = segment.addr.get() & !(granule - 1);
    let end = round_up(ends(segment).1, granule).unwrap_or(u64::MAX);
    Segment::pages(PhysAddr::new(first), end.saturating_sub(first))
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Records memory that a device may still reach.
    pub(super) fn set_stuck(&self, segments: &[Segment], granule: u64) {
        for segment in segments {
            if !self.insert_stuck(in_granules(segment, granule)) {
                self.stuck.with(|stuck| stuck.is_all = true);
            }
        }
    }

    /// Adds a run. Returns false if there is no room. Allocates without holding the lock.
    fn insert_stuck(&self, run: Segment) -> bool {
        let mut longer = Vec::new();
        // Other contexts may use the room first, so the number of attempts is limited.
        for _ in 0..MAX_ROUNDS {
            let lacks = self.stuck.with(|stuck| {
                let items = &mut stuck.runs.0;
                if longer.capacity() > items.capacity() {
                    longer.append(items);
                    core::mem::swap(items, &mut longer);
                }
                if items.len() == items.capacity() {
                    return items.len().saturating_mul(2).max(4);
                }
                stuck.runs.add(run);
                0
            });
            if lacks == 0 {
                return true;
            }
            longer = Vec::new();
            if longer.try_reserve_exact(lacks).is_err() {
                return false;
            }
        }
        false
    }

    /// Returns whether any of these segments is recorded, even in part. Looks up `AT_ONCE` of them under one lock.
    pub(super) fn is_stuck(&self, segments: &[Segment]) -> bool {
        let is_empty = |stuck: &mut Stuck| !stuck.is_all && stuck.runs.0.is_empty();
        let has = |some: &[Segment]| {
            self.stuck
                .with(|stuck| some.iter().any(|run| stuck.has(run)))
        };
        !self.stuck.with(is_empty) && segments.chunks(AT_ONCE).any(has)
    }

    /// Returns part `index` of the callers' memory that devices may still reach, in order of address; `None` past the
    /// last. Memory that the layer allocated or pinned is not listed, because the layer itself keeps it.
    #[must_use]
    pub fn stuck_memory(&self, index: usize) -> Option<Segment> {
        self.stuck.with(|stuck| stuck.runs.0.get(index).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::{PhysAddr, Runs, Segment, Vec, in_granules};

    fn run(start: u64, end: u64) -> Segment {
        Segment::pages(PhysAddr::new(start), end - start)
    }

    #[test]
    fn granules_begin_below_the_segment() {
        let whole = in_granules(&run(0x1_3000, 0x1_4000), 0x1_0000);
        assert_eq!(whole, run(0x1_0000, 0x2_0000));
    }

    #[test]
    fn runs_agree_with_a_list_of_bytes() {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let (mut runs, mut bytes) = (Runs(Vec::new()), [false; 64]);
            for _ in 0..12 {
                let start = next(60);
                let end = start + 1 + next(63 - start).min(9);
                runs.add(run(start, end));
                bytes[start as usize..end as usize].fill(true);
                assert!(runs.0.is_sorted_by_key(|run| run.addr), "{runs:?}");
                for (from, to) in (0..63).flat_map(|a| (a + 1..64).map(move |b| (a, b))) {
                    let known = &bytes[from as usize..to as usize];
                    let probe = run(from, to);
                    assert_eq!(runs.has(&probe), known.contains(&true), "{from}..{to}");
                }
            }
        }
    }
}
