//! Mapping behind an IOMMU: a whole table becomes one range of I/O virtual addresses.
//!
//! Nothing is ever mapped that belongs to no segment, except the rest of a granule at a segment's
//! head and tail. That rest is out of software's hands; memory this layer allocates is made of
//! whole granules, so only memory of others has such a rest. It is shown as far as it lies in the
//! memory's own pages: in pinned user memory, it is the program's own. What lies in other pages, in
//! a granule larger than a page, is shown to no device; to an untrusted device nothing of the rest
//! is. There the head and the tail bounce, or the mapping is refused.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c, differs: a granule larger than a page works.

use super::layout::{Layouter, Report, check_one_run, of_whole};
use super::list::List;
use super::{IovaRange, Mapper};
use crate::iova::{IovaAlign, IovaAllocator};
use crate::{
    Caching, Coherency, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, IommuInfo, Iova,
    Platform, Prot, Segment, SegmentKind, SegmentMode,
};

/// What is asked of a mapping behind an IOMMU.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) direction: Direction,
    pub(super) caching: Caching,
    pub(super) mode: SegmentMode,
    /// One run without gaps, or nothing.
    pub(super) one_run: bool,
}

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

impl<P: Platform> Mapper<P> {
    /// Maps physical runs for `dev` at I/O virtual addresses. All or nothing.
    pub(super) fn map_iommu(
        &mut self,
        dev: P::Device,
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
        let needed = self.placing(dev, info, plan.total());
        if let Some(first) = targets.first() {
            // The rest of the address is ours to choose.
            self.check_align(dev, DmaAddr::new(first.addr.get() & (granule - 1)))?;
        }
        let align = match shape.mode {
            SegmentMode::Contiguous if needed <= granule => IovaAlign::Preferred,
            SegmentMode::Contiguous => IovaAlign::To(needed),
            SegmentMode::Compatible if needed <= plan.total() => IovaAlign::Natural,
            SegmentMode::Compatible => IovaAlign::To(needed),
        };
        let range = self.take_iova(dev, info, plan.total(), align)?;
        match self.enter(dev, info, range, targets, shape) {
            Ok(output) => Ok((output, range)),
            Err(err) => {
                self.give_iova(dev, range);
                Err(of_whole(err, targets))
            }
        }
    }

    /// Fills the page table; undoes what it entered if it fails.
    fn enter(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        range: IovaRange,
        targets: &[Segment],
        shape: Shape,
    ) -> Result<List<DmaSegment>, Error> {
        let mut done = 0u64;
        let result = self.enter_from(dev, info, range, targets, shape, &mut done);
        if result.is_err() && done > 0 {
            self.platform.iommu_unmap(dev, Iova::new(range.base), done);
            self.platform.iommu_flush(dev);
        }
        result
    }

    fn enter_from(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        range: IovaRange,
        targets: &[Segment],
        shape: Shape,
        done: &mut u64,
    ) -> Result<List<DmaSegment>, Error> {
        let mut report = Report::new(shape.mode, info.limits)?;
        let mut plan = Layouter::new(range.granule, shape.mode, &info.limits);
        // An uncached view and a snooping device would disagree on nothing, but the attribute
        // says what the memory is for.
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
                .iommu_map(dev, iova, placed.phys, placed.mapped, prot)?;
            *done = placed.base.saturating_add(placed.mapped);
        }
        let (iova, len) = (Iova::new(range.base), range.len);
        self.platform.iommu_map_done(dev, iova, len)?;
        Ok(report.finish())
    }

    /// Takes addresses for `len` bytes. What waits for a flush is flushed before giving up.
    pub(super) fn take_iova(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        len: u64,
        align: IovaAlign,
    ) -> Result<IovaRange, Error> {
        let space = self.iova_space(dev)?;
        let granule = space.granule();
        let first = space.alloc(len, info.limits.mask, align);
        let base = match first {
            Err(Error::NoMemory(_)) if self.has_queued(dev) => {
                self.flush_lazy(dev);
                self.iova_space(dev)?.alloc(len, info.limits.mask, align)?
            }
            other => other?,
        };
        self.live.iova_bytes = self.live.iova_bytes.saturating_add(len);
        Ok(IovaRange {
            base: base.get(),
            len,
            granule,
        })
    }

    /// The addresses of `dev`, made on first use.
    fn iova_space(&mut self, dev: P::Device) -> Result<&mut IovaAllocator, Error> {
        if self.state(dev).is_none_or(|state| state.iova.is_none()) {
            let space = self.new_space(dev)?;
            self.state_mut(dev)?.iova = Some(space);
        }
        let state = self.known_mut(dev).ok_or(Error::Invalid)?;
        state.iova.as_mut().ok_or(Error::Invalid)
    }

    fn new_space(&self, dev: P::Device) -> Result<IovaAllocator, Error> {
        let info = self.device_info(dev)?;
        let mut space = IovaAllocator::new(&info.iommu.ok_or(Error::Unsupported)?)?;
        let mut index = 0usize;
        while let Some((first, last)) = self.platform.reserved_iova(dev, index) {
            // Refuses one too many, so this ends.
            space.reserve(first, last)?;
            index = index.saturating_add(1);
        }
        if self.platform.prefers_low_iova(dev) {
            space.prefer_low();
        }
        Ok(space)
    }

    /// Gives addresses back, of which no translation is left anywhere.
    pub(super) fn give_iova(&mut self, dev: P::Device, range: IovaRange) {
        let Some(state) = self.known_mut(dev) else {
            return;
        };
        let Some(space) = &mut state.iova else { return };
        if space.free(Iova::new(range.base), range.len).is_ok() {
            self.live.iova_bytes = self.live.iova_bytes.saturating_sub(range.len);
        }
    }
}
