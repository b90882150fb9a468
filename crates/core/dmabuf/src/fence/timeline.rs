//! Contexts, whose fences end in order.

use super::table::is_later;
use super::{FenceId, Fences};
use crate::Error;
use alloc::vec::Vec;

/// A fence on its timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    seqno: u64,
    fence: FenceId,
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

impl<T: Copy + PartialEq> Fences<T> {
    /// Makes a timeline whose fences `owner` ends.
    pub const fn timeline(&mut self, owner: T) -> Timeline<T> {
        Timeline {
            context: self.next_context(),
            owner,
            value: 0,
            points: Vec::new(),
        }
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
        let table = &mut self.table;
        let points = &mut timeline.points;
        if points.len() == points.capacity() {
            points.retain(|p| table.pending(p.fence).is_some());
        }
        let at = points.partition_point(|p| is_later(seqno, p.seqno));
        let same = points.get(at).filter(|p| p.seqno == seqno);
        if let Some(point) = same.filter(|p| table.pending(p.fence).is_some()) {
            table.hold(point.fence)?;
            return Ok(point.fence);
        }
        points.try_reserve(1).map_err(|_| table.full())?;
        let fence = table.insert(timeline.context, seqno, timeline.owner)?;
        table.counts.0 = table.counts.0.saturating_add(1);
        if !is_later(seqno, timeline.value) {
            table.end(fence, Ok(()), now_ns);
            return Ok(fence);
        }
        points.insert(at, Point { seqno, fence });
        Ok(fence)
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
        }
    }
}
