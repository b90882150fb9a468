//! When removed translations are flushed, and when their addresses can be given out again.
//!
//! The one rule: an address goes back to the allocator only after a flush that came after its
//! translation was removed.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c, flush queues; differs: before memory
//! goes back (pages are freed, a pin ends), all that waits is flushed; what was bounced through, and
//! untrusted devices, are always flushed at once.

use super::{IovaRange, Mapper};
use crate::{Error, FlushPolicy, Iova, Platform};
use alloc::vec::Vec;

/// Ranges that wait at most; one more flushes.
const QUEUE: usize = 256;
/// How long they wait at most, once the host says what time it is.
const WAIT_NS: u64 = 10_000_000;

/// Ranges of a device that are unmapped but not flushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    policy: FlushPolicy,
    ranges: Vec<IovaRange>,
    /// When the first of them was queued.
    since_ns: u64,
}

impl<P: Platform> Mapper<P> {
    /// Sets when translations of `dev` are flushed. [`FlushPolicy::Lazy`] holds up to 256 ranges
    /// for up to 10 ms (by the times told to [`tick`](Self::tick)). An untrusted device stays
    /// strict.
    ///
    /// # Errors
    /// `NoMemory` for the queue; the device then is strict.
    pub fn set_flush_policy(&mut self, dev: P::Device, policy: FlushPolicy) -> Result<(), Error> {
        self.flush_lazy(dev);
        let untrusted = self.platform.is_untrusted(dev);
        let queue = &mut self.state_mut(dev)?.queue;
        queue.policy = FlushPolicy::Strict;
        if policy == FlushPolicy::Lazy && !untrusted {
            queue
                .ranges
                .try_reserve_exact(QUEUE)
                .map_err(|_| super::heap_exhausted(QUEUE * size_of::<IovaRange>()))?;
            queue.policy = FlushPolicy::Lazy;
        }
        Ok(())
    }

    /// Tells the time. Flushes what has waited for 10 ms.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        let now = self.now_ns;
        for index in 0..self.devices.len() {
            let due = self.devices.get(index).filter(|state| {
                let queue = &state.queue;
                !queue.ranges.is_empty() && now.saturating_sub(queue.since_ns) >= WAIT_NS
            });
            if let Some(dev) = due.map(|state| state.dev) {
                self.flush_lazy(dev);
            }
        }
    }

    /// Flushes what waits for `dev` now.
    pub fn flush_lazy(&mut self, dev: P::Device) {
        let Ok(state) = self.state_mut(dev) else {
            return;
        };
        let mut ranges = core::mem::take(&mut state.queue.ranges);
        if !ranges.is_empty() {
            self.platform.iommu_flush(dev);
        }
        for range in ranges.drain(..) {
            self.give_iova(dev, range);
        }
        // The room goes back with the queue, so that queueing never fails.
        if let Ok(state) = self.state_mut(dev) {
            state.queue.ranges = ranges;
        }
    }

    /// Flushes what waits for any device: memory is about to go back to its owner.
    pub(super) fn flush_all_lazy(&mut self) {
        for index in 0..self.devices.len() {
            let waits = self
                .devices
                .get(index)
                .filter(|state| !state.queue.ranges.is_empty());
            if let Some(dev) = waits.map(|state| state.dev) {
                self.flush_lazy(dev);
            }
        }
    }

    /// Whether ranges of `dev` wait for a flush.
    pub(super) fn has_queued(&self, dev: P::Device) -> bool {
        self.state(dev)
            .is_some_and(|state| !state.queue.ranges.is_empty())
    }

    /// Removes a range from the device's view; its addresses go back when that is certain.
    pub(super) fn unmap_iommu(&mut self, dev: P::Device, range: IovaRange) {
        let now = self.now_ns;
        self.platform
            .iommu_unmap(dev, Iova::new(range.base), range.len);
        let Some(state) = self.known_mut(dev) else {
            return;
        };
        let queue = &mut state.queue;
        if queue.policy == FlushPolicy::Strict {
            self.platform.iommu_flush(dev);
            self.give_iova(dev, range);
            return;
        }
        if queue.ranges.is_empty() {
            queue.since_ns = now;
        }
        // There is room: the queue is emptied when it is full.
        queue.ranges.push(range);
        if queue.ranges.len() >= QUEUE {
            self.flush_lazy(dev);
        }
    }

    /// As [`unmap_iommu`](Self::unmap_iommu), and certain at once: the memory is used for
    /// something else next.
    pub(super) fn unmap_iommu_now(&mut self, dev: P::Device, range: IovaRange) {
        self.unmap_iommu(dev, range);
        self.flush_lazy(dev);
    }
}
