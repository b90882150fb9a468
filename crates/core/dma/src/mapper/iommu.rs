//! Mapping behind an IOMMU: a whole scatter table becomes one range of I/O virtual addresses.
//!
//! An IOMMU maps whole granules (its smallest pages). A mapping therefore exposes its segments, and also the
//! other bytes of the granules in which a segment begins or ends (the *rest*). Allocations of this layer
//! consist of whole granules, so only other memory has a rest. A trusted device may see the part of the rest
//! that is in the memory's own pages. In pinned user memory, that part belongs to the same program. If a
//! granule is larger than a page, no device may see the granule's other pages. An untrusted device may see
//! nothing of the rest. To hide the rest, the ends of the segments bounce, or the mapping is refused.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c, differs: a granule may be larger than a page.

use super::List;
use super::layout::{Layouter, Output, check_one_run, with_whole_length};
use super::{At, Facts, IovaRange, Mapper, Slot, Wanted};
use crate::ranges::{RangeAllocator, RangeRoom};
use crate::{
    Caching, Coherency, Constraint, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, Locks,
    Platform, Prot, Segment, SegmentKind, SegmentMode,
};

/// Returns the accesses and the memory type of a mapping's entries. A device that snoops works with either type, so the
/// type is that of the CPU's mapping.
#[inline]
pub(super) fn prot(wanted: &Wanted, info: &DeviceInfo, kind: SegmentKind) -> Prot {
    let mut prot = match wanted.direction {
        Direction::ToDevice => Prot::READ,
        Direction::FromDevice => Prot::WRITE,
        Direction::Bidirectional => Prot::READ | Prot::WRITE,
    };
    if kind == SegmentKind::Physical {
        prot |= Prot::MMIO;
    } else if (wanted.caching, info.coherency) == (Caching::Cached, Coherency::Coherent) {
        prot |= Prot::COHERENT;
    }
    prot
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Maps physical runs at I/O virtual addresses, or returns an error and leaves none mapped.
    pub(super) fn map_iommu(
        &self,
        facts: &Facts<P::Device>,
        targets: &[Segment],
        (wanted, mode): (Wanted, SegmentMode),
    ) -> Result<(List<DmaSegment>, IovaRange), Error> {
        let (at, limits) = (facts.at, &facts.info.limits);
        let granule = facts.granule.ok_or(Error::Invalid)?.get();
        if wanted.one_run() {
            check_one_run(targets, granule, self.platform.page_size())?;
        }
        let mut plan = Layouter::new(granule, mode, limits);
        for &segment in targets {
            plan.place(segment)?;
        }
        if let Some(first) = targets.first() {
            // Only the offset in the first granule is fixed; the layer chooses all other bits of the address.
            facts.check_align(DmaAddr::new(first.addr.get() & (granule - 1)))?;
        }
        let needed = facts.placing(plan.total);
        let align = match mode {
            SegmentMode::Contiguous => needed,
            SegmentMode::Compatible => {
                let natural = plan.total.checked_next_power_of_two();
                needed.max(natural.unwrap_or(1 << 63))
            }
        };
        let range = self.take_iova(at, plan.total, limits.mask, align)?;
        let mut done = 0u64;
        match self.map_targets(facts, range, targets, (wanted, mode), &mut done) {
            Ok(output) => Ok((output, range)),
            Err(err) => {
                let undone = self.unmap_now(at, range, (range.base, done));
                Err(undone.err().unwrap_or(with_whole_length(err, targets)))
            }
        }
    }

    /// Unmaps the mapped part of a range, `len` bytes at `first`, flushes, and frees the whole range. If that
    /// fails, quarantines the range. The caller keeps the memory.
    pub(super) fn unmap_now(
        &self,
        at: At<P::Device>,
        range: IovaRange,
        (first, len): (u64, u64),
    ) -> Result<(), Error> {
        if len > 0 {
            let removed = self
                .platform
                .iommu_unmap(at.group, DmaAddr::new(first), len);
            let flushed = removed.and_then(|()| self.platform.iommu_flush(at.group));
            if let Err(err) = flushed {
                self.quarantine(at, range);
                return Err(err.still_reachable());
            }
        }
        self.give_iova(at, range);
        Ok(())
    }

    /// Writes the page-table entries of a range. `done` is the number of bytes mapped so far, also after a
    /// failure.
    fn map_targets(
        &self,
        facts: &Facts<P::Device>,
        range: IovaRange,
        targets: &[Segment],
        (wanted, mode): (Wanted, SegmentMode),
        done: &mut u64,
    ) -> Result<List<DmaSegment>, Error> {
        let (group, info) = (facts.at.group, &facts.info);
        let mut output = Output::new(mode, info.limits);
        let mut plan = Layouter::new(range.granule, mode, &info.limits);
        for &segment in targets {
            let placed = plan.place(segment)?;
            output.push_placed(range.base, &placed)?;
            let iova = range.base.checked_add(placed.base).ok_or(Error::Invalid)?;
            let (iova, prot) = (DmaAddr::new(iova), prot(&wanted, info, segment.kind));
            self.platform
                .iommu_map(group, iova, placed.phys, placed.mapped, prot)?;
            *done = placed.base.saturating_add(placed.mapped);
        }
        let first = DmaAddr::new(range.base);
        self.platform.iommu_map_done(group, first, range.len)?;
        Ok(output.segments)
    }

    /// Takes addresses for `len` bytes. If none are free, flushes the waiting ranges and tries again.
    fn take_iova(
        &self,
        at: At<P::Device>,
        len: u64,
        limit: u64,
        align: u64,
    ) -> Result<IovaRange, Error> {
        let mut room = RangeRoom::default();
        let (mut new, mut has_flushed) = (None, false);
        loop {
            let found = self.with_space(at, |state| {
                if state.iova.is_none() {
                    state.iova = new.take();
                }
                let granule = state.iova.as_ref()?.granule();
                let base = take_range(state, &mut room, len, limit, align)?;
                Some(base.map(|base| IovaRange { base, len, granule }))
            });
            match found? {
                Some(Err(_)) if room.fill() || self.free_spare(at) => {}
                Some(Err(Error::NoMemory(_))) if !has_flushed && self.has_queued(at) => {
                    // If this fails, no address became free, and the next round returns the allocator's error.
                    let _ = self.flush_slot(at.space);
                    has_flushed = true;
                }
                Some(found) => return found,
                None if new.is_none() => new = Some(self.new_space(at.group)?),
                None => return Err(Error::Invalid),
            }
        }
    }

    /// Frees a spare range to the allocator; returns whether there was one.
    fn free_spare(&self, at: At<P::Device>) -> bool {
        let freed = self.with_slot(at.space, |state| {
            let spare = state.spares.pop()?;
            state.iova.as_mut()?.give_back(spare.base, spare.len).ok()
        });
        freed.flatten().is_some()
    }

    /// Returns whether ranges wait for a flush.
    fn has_queued(&self, at: At<P::Device>) -> bool {
        self.with_slot(at.space, |state| state.queue.ranges.is_empty()) == Some(false)
    }

    fn new_space(&self, dev: P::Device) -> Result<RangeAllocator, Error> {
        let info = self.device_info(dev)?.iommu.ok_or(Error::Unsupported)?;
        let granule = info.granule().ok_or(Error::Invalid)?;
        // Address zero is never allocated.
        let (first, last) = (info.first.get().max(1), info.last.get());
        let mut space = RangeAllocator::new(Constraint::IovaSpace, granule, first, last)?;
        for index in 0..=RangeAllocator::MAX_RESERVED {
            match self.platform.reserved_iova(dev, index) {
                Some((first, last)) => space.reserve(first.get(), last.get())?,
                None => return Ok(space),
            }
        }
        Err(Error::Invalid)
    }
}

/// Allocates a range of addresses: a spare one, or a new one. `None` if there is no address space.
#[inline]
pub(super) fn take_range<D>(
    state: &mut Slot<D>,
    room: &mut RangeRoom,
    len: u64,
    limit: u64,
    align: u64,
) -> Option<Result<u64, Error>> {
    let space = state.iova.as_mut()?;
    // A spare range is aligned to its length rounded up to a power of two. That power must be a multiple of
    // `align`.
    let suits = align / 2 < len;
    let at_hand = suits.then(|| state.spares.take(len, limit)).flatten();
    let taken = at_hand.map_or_else(|| space.take_with(room, len, align, limit), Ok);
    if taken.is_ok() {
        // No overflow: all ranges lie in one address space, and never at address zero.
        state.live.iova_bytes = state.live.iova_bytes.wrapping_add(len);
    }
    Some(taken)
}
