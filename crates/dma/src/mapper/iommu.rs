//! Mapping behind an IOMMU: a whole table becomes one range of I/O virtual addresses.
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
use super::layout::{Layouter, Report, Shape, check_one_run, with_whole_length};
use super::{At, IovaRange, Mapper, Slot};
use crate::iova::IovaAllocator;
use crate::ranges::RangeRoom;
use crate::{
    Caching, Coherency, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, IommuInfo, Iova, Locks,
    Platform, Prot, Segment, SegmentKind, SegmentMode,
};

pub(super) fn prot(direction: Direction, coherency: Coherency, kind: SegmentKind) -> Prot {
    let mut prot = match direction {
        Direction::ToDevice => Prot::READ,
        Direction::FromDevice => Prot::WRITE,
        Direction::Bidirectional => Prot::READ | Prot::WRITE,
    };
    if kind == SegmentKind::Physical {
        prot |= Prot::MMIO;
    } else if coherency == Coherency::Coherent {
        prot |= Prot::COHERENT;
    }
    prot
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Maps physical runs for `dev` at I/O virtual addresses, or returns an error and leaves none mapped.
    pub(super) fn map_iommu(
        &self,
        at: At<P::Device>,
        info: &DeviceInfo,
        iommu: &IommuInfo,
        targets: &[Segment],
        shape: Shape,
    ) -> Result<(List<DmaSegment>, IovaRange), Error> {
        let granule = iommu.granule().ok_or(Error::Invalid)?;
        if shape.one_run {
            check_one_run(targets, granule, self.platform.page_size())?;
        }
        let mut plan = Layouter::new(granule, shape.mode, &info.limits);
        for &segment in targets {
            plan.place(segment)?;
        }
        let needed = self.placing(at.dev, info, plan.total());
        if let Some(first) = targets.first() {
            // Only the offset in the first granule is fixed; the layer chooses all other bits of the address.
            self.check_align(at.dev, DmaAddr::new(first.addr.get() & (granule - 1)))?;
        }
        let align = match shape.mode {
            SegmentMode::Contiguous => needed,
            SegmentMode::Compatible => {
                let natural = plan.total().checked_next_power_of_two();
                needed.max(natural.unwrap_or(1 << 63))
            }
        };
        let range = self.take_iova(at, info, plan.total(), align)?;
        self.map_range(at, info, range, targets, shape)
            .map(|output| (output, range))
            .map_err(|err| with_whole_length(err, targets))
    }

    /// Writes the page-table entries of a range. A failure removes all entries written so far and frees the
    /// addresses.
    fn map_range(
        &self,
        at: At<P::Device>,
        info: &DeviceInfo,
        range: IovaRange,
        targets: &[Segment],
        shape: Shape,
    ) -> Result<List<DmaSegment>, Error> {
        let mut done = 0u64;
        let result = self.map_targets(at, info, range, targets, shape, &mut done);
        if result.is_err() {
            self.undo_map(at, range, (range.base, done), targets);
        }
        result
    }

    /// Unmaps the `len` bytes at `first` that a failed call had mapped, and frees the whole range. If the
    /// unmap fails, quarantines the range and its memory.
    pub(super) fn undo_map(
        &self,
        at: At<P::Device>,
        range: IovaRange,
        (first, len): (u64, u64),
        targets: &[Segment],
    ) {
        if self.remove_now(at, (first, len)).is_err() {
            self.set_stuck(targets, range.granule);
            self.quarantine(at, range);
        } else {
            self.give_iova(at, range);
        }
    }

    /// Removes part of a range from the device's view, and flushes. The addresses stay taken.
    ///
    /// # Errors
    /// The platform's error.
    pub(super) fn remove_now(
        &self,
        at: At<P::Device>,
        (first, len): (u64, u64),
    ) -> Result<(), Error> {
        if len == 0 {
            return Ok(());
        }
        let removed = self.platform.iommu_unmap(at.group, Iova::new(first), len);
        self.platform.iommu_flush(at.group);
        removed
    }

    fn map_targets(
        &self,
        at: At<P::Device>,
        info: &DeviceInfo,
        range: IovaRange,
        targets: &[Segment],
        shape: Shape,
        done: &mut u64,
    ) -> Result<List<DmaSegment>, Error> {
        let mut report = Report::new(shape.mode, info.limits);
        let mut plan = Layouter::new(range.granule, shape.mode, &info.limits);
        // A snooping device would work with either attribute; this one agrees with the CPU's mapping.
        let coherency = match shape.caching {
            Caching::Cached => info.coherency,
            Caching::Uncached => Coherency::NonCoherent,
        };
        for &segment in targets {
            let placed = plan.place(segment)?;
            report.push(range.base, &placed)?;
            let iova = range.base.checked_add(placed.base).ok_or(Error::Invalid)?;
            let prot = prot(shape.direction, coherency, segment.kind);
            let iova = Iova::new(iova);
            self.platform
                .iommu_map(at.group, iova, placed.phys, placed.mapped, prot)?;
            *done = placed.base.saturating_add(placed.mapped);
        }
        let (iova, len) = (Iova::new(range.base), range.len);
        self.platform.iommu_map_done(at.group, iova, len)?;
        Ok(report.finish())
    }

    /// Takes addresses for `len` bytes. If none are free, flushes the waiting ranges and tries again.
    pub(super) fn take_iova(
        &self,
        at: At<P::Device>,
        info: &DeviceInfo,
        len: u64,
        align: u64,
    ) -> Result<IovaRange, Error> {
        let limit = info.limits.mask;
        match self.try_iova(at, len, limit, align)? {
            Err(Error::NoMemory(_)) if self.has_queued(at) => {
                self.flush_slot(at.space);
                self.try_iova(at, len, limit, align)?
            }
            other => other,
        }
    }

    /// Takes addresses. The inner `Err` means that none are free, the outer that there is no address space.
    fn try_iova(
        &self,
        at: At<P::Device>,
        len: u64,
        limit: u64,
        align: u64,
    ) -> Result<Result<IovaRange, Error>, Error> {
        let mut room = RangeRoom::new();
        let mut new = None;
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
                Some(Err(_)) if room.fill() => {}
                Some(Err(_)) if self.free_spare(at) => {}
                Some(found) => return Ok(found),
                None if new.is_none() => new = Some(self.new_space(at.group)?),
                None => return Err(Error::Invalid),
            }
        }
    }

    /// Frees a spare range to the allocator; returns whether there was one.
    fn free_spare(&self, at: At<P::Device>) -> bool {
        let freed = self.with_slot(at.space, |state| {
            let (base, len) = state.spares.pop()?;
            state.iova.as_mut()?.free(Iova::new(base), len).ok()
        });
        freed.flatten().is_some()
    }

    /// Returns whether ranges wait for a flush.
    fn has_queued(&self, at: At<P::Device>) -> bool {
        self.with_slot(at.space, |state| state.queue.has_ranges()) == Some(true)
    }

    fn new_space(&self, dev: P::Device) -> Result<IovaAllocator, Error> {
        let info = self.device_info(dev)?;
        let mut space = IovaAllocator::new(&info.iommu.ok_or(Error::Unsupported)?)?;
        let mut index = 0usize;
        while let Some((first, last)) = self.platform.reserved_iova(dev, index) {
            // `reserve` refuses more than `MAX_RESERVED` regions, so this loop ends.
            space.reserve(first, last)?;
            index = index.saturating_add(1);
        }
        Ok(space)
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
    let at_hand = if align / 2 < len {
        state.spares.take(len, limit)
    } else {
        None
    };
    let taken = match at_hand {
        Some(base) => Ok(base),
        None => space.alloc_with(room, len, limit, align).map(Iova::get),
    };
    if taken.is_ok() {
        state.live.iova_bytes = state.live.iova_bytes.saturating_add(len);
    }
    Some(taken)
}
