//! Contexts, whose fences end in order.

use super::table::{FenceTable, is_later};
use super::{FenceId, Fences};
use crate::Error;
use alloc::vec::Vec;

/// A fence on its timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    seqno: u64,
    fence: FenceId,
    /// Whether the timeline itself holds a reference to the fence, which it drops when the fence ends.
    kept: bool,
}

/// A context: fences begin and end on it in the order of their sequence numbers.
///
/// A timeline cannot be copied, so it cannot be closed twice.
///
/// ```compile_fail,E0382
/// use vb3_dmabuf::fence::{Fences, Timeline};
/// fn twice(fences: &mut Fences<u32>, timeline: Timeline<u32>) {
///     fences.close(timeline, Ok(()), 0);
///     fences.close(timeline, Ok(()), 0);
/// }
/// ```
#[must_use = "a timeline's fences end through `Fences::close`"]
#[derive(Debug)]
pub struct Timeline<T> {
    /// The number of the context, which no other timeline has.
    pub(super) context: u64,
    /// The party that ends the fences.
    pub(super) owner: T,
    /// All fences up to this sequence number have ended.
    value: u64,
    /// The later fences, in order.
    pub(super) points: Vec<Point>,
}

impl<T> Timeline<T> {
    /// Returns the sequence number up to which all work has ended.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.value
    }
}

impl<T: Copy> Fences<T> {
    /// Makes a timeline whose fences `owner` ends.
    pub const fn timeline(&mut self, owner: T) -> Timeline<T> {
        // A host never makes 2^64 timelines.
        self.last_context = self.last_context.wrapping_add(1);
        Timeline {
            context: self.last_context,
            owner,
            value: 0,
            points: Vec::new(),
        }
    }

    /// Begins the next fence of a timeline. The timeline keeps the fence until the fence ends.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM).
    pub fn begin(&mut self, timeline: &mut Timeline<T>) -> Result<FenceId, Error> {
        self.table.begin(timeline)
    }

    /// Makes a fence with this sequence number, already ended if the timeline has reached it. The caller gets
    /// a reference. The fence is removed when its last reference is dropped.
    ///
    /// # Errors
    /// `TableFull` (ENOMEM).
    pub(super) fn begin_at(
        &mut self,
        timeline: &mut Timeline<T>,
        seqno: u64,
        now_ns: u64,
    ) -> Result<FenceId, Error> {
        if !is_later(seqno, timeline.value) {
            let fence = self.table.insert(timeline.context, seqno, timeline.owner)?;
            self.table.end(fence, Ok(()), now_ns);
            return Ok(fence);
        }
        if timeline.points.len() == timeline.points.capacity() {
            timeline.points.retain(|p| self.table.is_pending(p.fence));
        }
        let points = &mut timeline.points;
        let at = points.partition_point(|p| is_later(seqno, p.seqno));
        let same = points.get_mut(at).filter(|p| p.seqno == seqno);
        if let Some(point) = same {
            if self.table.is_pending(point.fence) {
                self.table.hold(point.fence)?;
            } else {
                point.fence = self.table.insert(timeline.context, seqno, timeline.owner)?;
            }
            return Ok(point.fence);
        }
        self.table.add_point(timeline, at, seqno, false)
    }

    /// Ends all fences of a timeline up to a sequence number, in order. Numbers that the timeline has passed
    /// change nothing.
    pub fn advance(
        &mut self,
        timeline: &mut Timeline<T>,
        to: u64,
        outcome: Result<(), i32>,
        now_ns: u64,
    ) {
        if is_later(to, timeline.value) {
            timeline.value = to;
        }
        let points = &mut timeline.points;
        let due = points.partition_point(|p| !is_later(p.seqno, timeline.value));
        self.end_all(points.drain(..due), outcome, now_ns);
    }

    /// Ends the oldest fence of a timeline, if one is pending.
    pub fn end_oldest(
        &mut self,
        timeline: &mut Timeline<T>,
        outcome: Result<(), i32>,
        now_ns: u64,
    ) {
        if let Some(seqno) = timeline.points.first().map(|p| p.seqno) {
            self.advance(timeline, seqno, outcome, now_ns);
        }
    }

    /// Ends a timeline with all its fences, in order.
    pub fn close(&mut self, timeline: Timeline<T>, outcome: Result<(), i32>, now_ns: u64) {
        self.end_all(timeline.points, outcome, now_ns);
    }

    fn end_all(
        &mut self,
        points: impl IntoIterator<Item = Point>,
        outcome: Result<(), i32>,
        now_ns: u64,
    ) {
        for point in points {
            self.table.end(point.fence, outcome, now_ns);
            if point.kept {
                self.table.put(point.fence);
            }
        }
    }
}

impl<T: Copy> FenceTable<T> {
    /// Begins the next fence of a timeline.
    pub(super) fn begin(&mut self, timeline: &mut Timeline<T>) -> Result<FenceId, Error> {
        let last = timeline.points.last().map_or(timeline.value, |p| p.seqno);
        let seqno = last.wrapping_add(1);
        let at = timeline.points.len();
        self.add_point(timeline, at, seqno, true)
    }

    fn add_point(
        &mut self,
        timeline: &mut Timeline<T>,
        at: usize,
        seqno: u64,
        kept: bool,
    ) -> Result<FenceId, Error> {
        timeline.points.try_reserve(1).map_err(|_| self.full())?;
        let fence = self.insert(timeline.context, seqno, timeline.owner)?;
        timeline.points.insert(at, Point { seqno, fence, kept });
        Ok(fence)
    }
}
