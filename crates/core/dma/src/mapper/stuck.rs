//! Memory of callers that devices may still reach, because the platform could not remove its translation. The layer
//! cannot keep the caller from reusing the memory, but refuses it if the host allocates it again.

use super::{Mapper, round_up, with_room};
use crate::{Locks, PhysAddr, Platform, Segment};
use ::alloc::vec::Vec;

/// The quarantine. Memory never leaves it, because the platform has no call to report that a translation
/// was removed later.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    /// The quarantined runs, in whole granules of the IOMMU.
    runs: Vec<Segment>,
    /// Set when there was no room to record a range. From then on, all memory is treated as quarantined.
    is_all: bool,
}

impl Stuck {
    fn has(&self, segment: &Segment) -> bool {
        let (start, end) = ends(segment);
        let overlaps = |run: &Segment| start < ends(run).1 && ends(run).0 < end;
        self.is_all || self.runs.iter().any(overlaps)
    }
}

/// Returns a segment's first address, and the address after its last.
const fn ends(segment: &Segment) -> (u64, u64) {
    let first = segment.addr.get();
    (first, first.saturating_add(segment.len))
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
                L::with(&self.stuck, |stuck| stuck.is_all = true);
            }
        }
    }

    /// Adds a run, unless it is recorded already. Returns false if there is no room.
    fn insert_stuck(&self, run: Segment) -> bool {
        let insert = |stuck: &mut Stuck| {
            let runs = &mut stuck.runs;
            if !runs.contains(&run) {
                if runs.len() == runs.capacity() {
                    return None;
                }
                runs.push(run);
            }
            Some(())
        };
        with_room::<L, _, _, _>(&self.stuck, |stuck| &mut stuck.runs, insert).is_ok()
    }

    /// Returns whether any of these segments is recorded, even in part. Takes the lock for each segment, but only once
    /// if nothing is recorded.
    pub(super) fn is_stuck(&self, segments: &[Segment]) -> bool {
        let is_empty = |stuck: &mut Stuck| !stuck.is_all && stuck.runs.is_empty();
        let has = |segment| L::with(&self.stuck, |stuck| stuck.has(segment));
        !L::with(&self.stuck, is_empty) && segments.iter().any(has)
    }

    /// Returns part `index` of the callers' memory that devices may still reach, in the order of the failures; `None`
    /// past the last. Memory that the layer allocated or pinned is not listed, because the layer itself keeps it.
    #[must_use]
    pub fn stuck_memory(&self, index: usize) -> Option<Segment> {
        L::with(&self.stuck, |stuck| stuck.runs.get(index).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::{PhysAddr, Segment, Stuck, in_granules};
    use alloc::vec;

    fn run(start: u64, end: u64) -> Segment {
        Segment::pages(PhysAddr::new(start), end - start)
    }

    #[test]
    fn granules_begin_below_the_segment() {
        let whole = in_granules(&run(0x1_3000, 0x1_4000), 0x1_0000);
        assert_eq!(whole, run(0x1_0000, 0x2_0000));
    }

    #[test]
    fn runs_that_share_a_byte_are_found() {
        let runs = vec![run(60, 61), run(10, 20), run(30, 40)];
        let mut stuck = Stuck {
            runs,
            is_all: false,
        };
        for (start, end) in (0..64).flat_map(|a| (a + 1..65).map(move |b| (a, b))) {
            let shares = (start..end).any(|at| matches!(at, 10..20 | 30..40 | 60));
            assert_eq!(stuck.has(&run(start, end)), shares, "{start}..{end}");
        }
        stuck.is_all = true;
        assert!(stuck.has(&run(0, 1)));
    }
}
