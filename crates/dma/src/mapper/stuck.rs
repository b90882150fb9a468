//! Memory that devices may still reach although it is mapped no more: the page table did not let go
//! of it. It goes back to nobody: it is not freed, unpinned, or lent for bouncing again.

use super::{Mapper, push, round_up};
use crate::{Lock, Locks, PhysAddr, Platform, Segment, SegmentKind};
use ::alloc::vec::Vec;

/// Such memory, as long as the mapper lives: nothing says when a page table lets go after all.
#[derive(Debug)]
pub(super) struct Stuck<P: Platform> {
    /// In whole pages of the IOMMU.
    runs: Vec<Segment>,
    /// There was no room to remember one: any memory may be meant.
    is_all: bool,
    /// Pages that would have been freed.
    pages: Vec<P::Pages>,
    /// Memory of programs that would have been unpinned, and where it lies.
    pins: Vec<P::Pinned>,
    pinned: Vec<Segment>,
}

/// First byte, and the one behind the last.
const fn ends(segment: &Segment) -> (u64, u64) {
    let first = segment.addr.get();
    (first, first.saturating_add(segment.len))
}

fn covers(known: &Segment, segment: &Segment) -> bool {
    let ((first, stop), (start, end)) = (ends(known), ends(segment));
    first <= start && end <= stop
}

impl<P: Platform> Stuck<P> {
    pub(super) const fn new() -> Self {
        Self {
            runs: Vec::new(),
            is_all: false,
            pages: Vec::new(),
            pins: Vec::new(),
            pinned: Vec::new(),
        }
    }

    fn has(&self, segment: &Segment) -> bool {
        let (start, end) = ends(segment);
        let overlaps = |run: &Segment| {
            let (first, stop) = ends(run);
            start < stop && first < end
        };
        self.is_all || self.runs.iter().any(overlaps)
    }

    fn add(&mut self, segment: Segment, granule: u64) {
        let first = segment.addr.get() & !(granule - 1);
        let end = segment.addr.get().saturating_add(segment.len);
        let end = round_up(end, granule).unwrap_or(u64::MAX);
        let run = Segment {
            addr: PhysAddr::new(first),
            len: end.saturating_sub(first),
            kind: SegmentKind::Pages,
        };
        // Mapped again and again, it is remembered once.
        if !self.runs.iter().any(|known| covers(known, &run)) {
            self.is_all |= push(&mut self.runs, run).is_err();
        }
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Remembers memory that a device may reach from now on, whatever becomes of it.
    pub(super) fn set_stuck(&self, segments: &[Segment], granule: u64) {
        self.stuck.with(|stuck| {
            for &segment in segments {
                stuck.add(segment, granule);
            }
        });
    }

    /// Whether a device may reach part of some memory that is mapped no more.
    pub(super) fn is_stuck(&self, segments: &[Segment]) -> bool {
        self.stuck
            .with(|stuck| segments.iter().any(|segment| stuck.has(segment)))
    }

    /// Keeps pages from being used for anything else.
    pub(super) fn keep_pages(&self, pages: P::Pages, len: u64) {
        self.live
            .with(|live| live.page_bytes = live.page_bytes.saturating_sub(len));
        self.count_quarantined(len);
        // Without room for them, the pages are dropped, which leaves them allocated as well.
        let _ = self.stuck.with(|stuck| push(&mut stuck.pages, pages));
    }

    /// Counts memory that is never handed out again.
    pub(super) fn count_quarantined(&self, len: u64) {
        self.live.with(|live| {
            live.quarantined_bytes = live.quarantined_bytes.saturating_add(len);
        });
    }

    /// Whether a pin of a program's memory may end: a device reaches none of it, or an earlier pin is
    /// kept for that.
    pub(super) fn may_unpin(&self, segments: &[Segment]) -> bool {
        self.stuck.with(|stuck| {
            let is_kept = |run: &Segment| stuck.pinned.iter().any(|kept| covers(kept, run));
            segments.iter().all(|run| !stuck.has(run) || is_kept(run))
        })
    }

    /// Keeps a program's memory pinned.
    pub(super) fn keep_pin(&self, pinned: P::Pinned, segments: &[Segment], len: u64) {
        self.count_quarantined(len);
        self.stuck.with(|stuck| {
            for &run in segments {
                // Without room for it, it is kept once more another time.
                let _ = push(&mut stuck.pinned, run);
            }
            // Without room for it, it is dropped, and not unpinned, either.
            let _ = push(&mut stuck.pins, pinned);
        });
    }
}
