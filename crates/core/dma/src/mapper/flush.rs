//! Flushing of removed translations, and reuse of their addresses.
//!
//! The rule: an address returns to the allocator only after a flush that followed the removal of
//! its translation. If a translation could not be removed, its address never returns.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c, flush queues; differs: a waiting range keeps its memory
//! allocated or pinned. Bounced mappings and untrusted devices are always flushed at once.

use super::memory::Key;
use super::{At, IovaRange, Mapper, Slot};
use crate::{Error, FlushPolicy, Locks, Platform};
use alloc::collections::VecDeque;
use core::sync::atomic::Ordering;

/// Number of waiting ranges at which the queue is full and is flushed.
const QUEUE: usize = 256;
/// Maximum number of ranges freed under one hold of the lock.
const BATCH: usize = 16;
/// Maximum time in nanoseconds that ranges wait, if the host reports the time.
const WAIT_NS: u64 = 10_000_000;

/// A range that is unmapped but not flushed, and the memory that the range keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    range: IovaRange,
    memory: Option<Key>,
}

impl Waiting {
    pub(super) const fn new(range: IovaRange, memory: Option<Key>) -> Self {
        Self { range, memory }
    }
}

/// Ranges of a device that are unmapped but not flushed.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) policy: FlushPolicy,
    pub(super) ranges: VecDeque<Waiting>,
    /// Number of ranges that have left the queue, including those of devices that used this state earlier.
    pub(super) flushed: u64,
    /// Time in nanoseconds at which the queue last became non-empty.
    since_ns: u64,
}

impl Queue {
    /// Returns the number of ranges ever queued.
    pub(super) fn queued(&self) -> u64 {
        // CAST: a vector's length fits 64 bits.
        self.flushed.saturating_add(self.ranges.len() as u64)
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Sets when removed translations of `dev` (and of the other devices of its group) are flushed.
    /// [`FlushPolicy::Lazy`] lets up to 256 ranges wait, each for up to 10 ms of the time that
    /// [`tick`](Self::tick) reports. An untrusted device and its group stay strict. A group becomes strict
    /// when an untrusted device joins it.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) for the queue; the device is then strict. `Invalid` (EINVAL) for a
    /// nonexistent device; `Busy` (EBUSY) if the mapper has no room for the device; `Removed` (ENODEV); the errors of
    /// [`flush_lazy`](Self::flush_lazy).
    pub fn set_flush_policy(&self, dev: P::Device, policy: FlushPolicy) -> Result<(), Error> {
        let at = self.at(dev)?;
        // Makes the queue strict first, so that no context queues another range after the flush.
        self.with_space(at, |state| state.queue.policy = FlushPolicy::Strict)?;
        self.set_may_wait(at, false);
        self.flush_slot(at.space)?;
        if policy == FlushPolicy::Strict {
            return Ok(());
        }
        // Allocates the new queue without the lock. If the old queue has less capacity, it was never lazy and
        // is empty, so replacing it loses no ranges.
        let mut room = VecDeque::new();
        room.try_reserve_exact(QUEUE)
            .map_err(|_| super::heap_exhausted(QUEUE * size_of::<Waiting>()))?;
        self.with_space(at, |state| {
            if !state.is_trusted() {
                return;
            }
            let queue = &mut state.queue;
            if queue.ranges.capacity() < QUEUE {
                core::mem::swap(&mut queue.ranges, &mut room);
            }
            queue.policy = FlushPolicy::Lazy;
            self.set_may_wait(at, true);
        })
    }

    fn set_may_wait(&self, at: At<P::Device>, may_wait: bool) {
        if let Some(cell) = self.slots.get(at.space) {
            cell.0.may_wait.store(may_wait, Ordering::Relaxed);
        }
    }

    /// Updates the layer's time to `now_ns`, in nanoseconds. Flushes ranges that have waited for 10 ms. Ranges whose
    /// flush fails wait for the next call.
    pub fn tick(&self, now_ns: u64) {
        let now = self.now_ns.fetch_max(now_ns, Ordering::Relaxed).max(now_ns);
        for slot in 0..self.used_slots() {
            let due = self.with_slot(slot, |state| {
                let queue = &state.queue;
                !queue.ranges.is_empty() && now.saturating_sub(queue.since_ns) >= WAIT_NS
            });
            if due == Some(true) {
                let _ = self.flush_slot(slot);
            }
        }
    }

    /// Returns whether an unmapped range may wait for a flush. If so, [`enqueue`](Self::enqueue) decides.
    #[inline]
    pub(super) fn may_wait(&self, at: At<P::Device>) -> bool {
        let cell = self.slots.get(at.space);
        cell.is_some_and(|cell| cell.0.may_wait.load(Ordering::Relaxed))
    }

    pub(super) fn used_slots(&self) -> usize {
        self.used.load(Ordering::Relaxed).min(self.slots.len())
    }

    /// Flushes the waiting ranges of `dev` now.
    ///
    /// # Errors
    /// The error of [`iommu_flush`](crate::Platform::iommu_flush). The ranges keep waiting.
    pub fn flush_lazy(&self, dev: P::Device) -> Result<(), Error> {
        match self.at(dev) {
            Ok(at) => self.flush_slot(at.space),
            Err(_) => Ok(()),
        }
    }

    /// Flushes the waiting ranges of one address space. Ranges that are queued meanwhile keep waiting. If the flush
    /// fails, all ranges keep waiting.
    pub(crate) fn flush_slot(&self, slot: usize) -> Result<(), Error> {
        let waiting = self.with_slot(slot, |state| {
            let waits = !state.queue.ranges.is_empty();
            Some((state.dev.filter(|_| waits)?, state.queue.queued()))
        });
        let Some((dev, until)) = waiting.flatten() else {
            return Ok(());
        };
        self.platform.iommu_flush(dev)?;
        loop {
            let given = self.with_slot(slot, |state| give_batch(state, until));
            let (memories, more) = given.unwrap_or_default();
            memories.into_iter().for_each(|memory| self.put(memory));
            if !more {
                return Ok(());
            }
        }
    }

    /// Lets a range wait for a flush; returns false if it may not wait.
    #[inline(never)]
    pub(super) fn enqueue(&self, at: At<P::Device>, waiting: Waiting) -> bool {
        let now = self.now_ns.load(Ordering::Relaxed);
        let queued = self.with_slot(at.space, |state| {
            let queue = &mut state.queue;
            // The queue may be full while another context flushes.
            if queue.policy == FlushPolicy::Strict || queue.ranges.len() >= QUEUE {
                return None;
            }
            if queue.ranges.is_empty() {
                queue.since_ns = now;
            }
            // `set_flush_policy` has reserved the room.
            queue.ranges.push_back(waiting);
            Some(queue.ranges.len())
        });
        if queued.flatten() == Some(QUEUE) {
            // If this fails, the queue stays full, and later ranges do not wait.
            let _ = self.flush_slot(at.space);
        }
        queued.flatten().is_some()
    }

    /// Returns whether any range waits for a flush.
    pub(super) fn has_waiting(&self) -> bool {
        let waits = |slot| self.with_slot(slot, |state| !state.queue.ranges.is_empty());
        (0..self.used_slots()).any(|slot| waits(slot) == Some(true))
    }

    /// Quarantines addresses that a device may still use.
    pub(super) fn quarantine(&self, at: At<P::Device>, range: IovaRange) {
        self.with_slot(at.space, |state| {
            let live = &mut state.live;
            live.iova_bytes = live.iova_bytes.saturating_sub(range.len);
            live.quarantined_bytes = live.quarantined_bytes.saturating_add(range.len);
        });
    }

    /// Frees an IOVA range. No translation of it may remain, cached or not.
    pub(super) fn give_iova(&self, at: At<P::Device>, range: IovaRange) {
        self.with_slot(at.space, |state| give_back(state, range));
    }
}

/// Frees waiting ranges with serial numbers below `until`; the first range ever queued has number 0.
/// Returns the memory that these ranges kept, and whether more of them wait.
/// Frees at most `BATCH` ranges, because interrupts may wait for the lock that the caller holds.
fn give_batch<D>(state: &mut Slot<D>, until: u64) -> ([Option<Key>; BATCH], bool) {
    let mut memories = [None; BATCH];
    for memory in &mut memories {
        // Another context may have freed some of these ranges meanwhile.
        if state.queue.flushed >= until {
            break;
        }
        // The queue keeps its capacity, so that queueing never fails.
        let Some(waiting) = state.queue.ranges.pop_front() else {
            return (memories, false);
        };
        state.queue.flushed = state.queue.flushed.saturating_add(1);
        *memory = waiting.memory;
        give_back(state, waiting.range);
    }
    (memories, state.queue.flushed < until)
}

#[inline]
pub(super) fn give_back<D>(state: &mut Slot<D>, range: IovaRange) {
    let Some(space) = &mut state.iova else { return };
    state.live.iova_bytes = state.live.iova_bytes.saturating_sub(range.len);
    if let Some(range) = state.spares.keep(range) {
        // The allocator refuses a range that is not allocated, and changes nothing.
        let _ = space.give_back(range.base, range.len);
    }
}
