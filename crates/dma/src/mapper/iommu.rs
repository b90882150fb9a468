//! Mapping behind an IOMMU: a whole table becomes one run of I/O virtual addresses.
//!
//! Segments are laid one behind the other. Where a joint does not lie on a granule (the end of
//! one segment or the start of the next falls inside one), no page table can close the gap; a new
//! run starts in the next granule. Limits on a segment's length and boundary never open a gap:
//! they only split what is reported, and adjacent segments are one run all the same. Nothing is
//! ever mapped that belongs to no segment, except the rest of a granule at such a joint, at the
//! head and at the tail. That rest is out of software's hands; memory this layer allocates is
//! made of whole pages, so only pinned user memory has such a rest, and it is the program's own.
//!
//! Source: Linux 7.2 drivers/iommu/dma-iommu.c `iommu_dma_map_sg`, differs: no padding up to the
//! boundary mask.

use super::direct::Output;
use super::{IovaRange, Mapper, round_up};
use crate::ranges::{RangeAllocator, RangeError};
use crate::{
    Caching, Coherency, Constraint, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, IommuInfo,
    Iova, PhysAddr, Platform, Prot, Reason, Segment, SegmentKind,
};
use alloc::vec::Vec;

/// Largest alignment that is tried before the granule, in bytes: a larger one gains nothing.
const MAX_ALIGN: u64 = 1 << 30;

/// Where a segment goes, relative to the start of the I/O virtual range.
#[derive(Clone, Copy, Debug)]
struct Placed {
    segment: Segment,
    start: u64,
}

/// Lays segments out, granule by granule.
#[derive(Clone, Copy, Debug)]
struct Layouter {
    granule: u64,
    end: Option<u64>,
}

impl Layouter {
    const fn new(granule: u64) -> Self {
        Self { granule, end: None }
    }

    fn place(&mut self, segment: Segment) -> Result<Placed, Error> {
        let offset = segment.addr.get() & (self.granule - 1);
        let base = match self.end {
            None => Some(0),
            Some(end) => round_up(end, self.granule),
        };
        let start = base
            .and_then(|b| b.checked_add(offset))
            .ok_or(Error::Invalid)?;
        self.end = Some(start.checked_add(segment.len).ok_or(Error::Invalid)?);
        Ok(Placed { segment, start })
    }

    fn total(&self) -> Result<u64, Error> {
        round_up(self.end.unwrap_or(0), self.granule).ok_or(Error::Invalid)
    }
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
    /// The granule, if it can be worked with.
    fn granule(&self, iommu: &IommuInfo) -> Result<u64, Error> {
        let granule = iommu.granule().ok_or(Error::Invalid)?;
        if granule > self.platform.page_size() {
            // A page would be mapped together with its neighbours.
            return Err(Error::Unmappable(Reason {
                constraint: Constraint::Alignment,
                wanted: granule,
                found: self.platform.page_size(),
            }));
        }
        Ok(granule)
    }

    /// Maps physical runs for `dev` at I/O virtual addresses. All or nothing.
    pub(super) fn map_iommu(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        iommu: &IommuInfo,
        targets: &[Segment],
        direction: Direction,
        caching: Caching,
    ) -> Result<(Vec<DmaSegment>, IovaRange), Error> {
        let granule = self.granule(iommu)?;
        let mut plan = Layouter::new(granule);
        for &segment in targets {
            plan.place(segment)?;
        }
        let range = self.take_iova(dev, info, iommu, granule, plan.total()?)?;
        // An uncached view and a snooping device would disagree on nothing, but the attribute
        // says what the memory is for.
        let coherency = match caching {
            Caching::Cached => info.coherency,
            Caching::Uncached => Coherency::NonCoherent,
        };
        match self.enter(dev, info, range, targets, direction, coherency) {
            Ok(output) => Ok((output, range)),
            Err(err) => {
                self.give_iova(dev, range);
                Err(err)
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
        direction: Direction,
        coherency: Coherency,
    ) -> Result<Vec<DmaSegment>, Error> {
        let mut done = 0u64;
        let result = self.enter_from(dev, info, range, targets, (direction, coherency), &mut done);
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
        (direction, coherency): (Direction, Coherency),
        done: &mut u64,
    ) -> Result<Vec<DmaSegment>, Error> {
        let mut output = Output::new(info.limits)?;
        let mut plan = Layouter::new(range.granule);
        let inside = range.granule - 1;
        for &segment in targets {
            let placed = plan.place(segment)?;
            let addr = range.base.checked_add(placed.start).ok_or(Error::Invalid)?;
            output.push(DmaAddr::new(addr), placed.segment.len)?;
            let offset = segment.addr.get() & inside;
            let len = offset
                .checked_add(segment.len)
                .and_then(|len| round_up(len, range.granule))
                .ok_or(Error::Invalid)?;
            self.platform.iommu_map(
                dev,
                Iova::new(addr & !inside),
                PhysAddr::new(segment.addr.get() & !inside),
                len,
                prot(direction, coherency, segment.kind),
            )?;
            *done = (placed.start & !inside).saturating_add(len);
        }
        Ok(output.finish())
    }

    /// Removes a range from the device's view and gives its addresses back.
    pub(super) fn unmap_iommu(&mut self, dev: P::Device, range: IovaRange) {
        self.platform
            .iommu_unmap(dev, Iova::new(range.base), range.len);
        self.platform.iommu_flush(dev);
        self.give_iova(dev, range);
    }

    fn take_iova(
        &mut self,
        dev: P::Device,
        info: &DeviceInfo,
        iommu: &IommuInfo,
        granule: u64,
        len: u64,
    ) -> Result<IovaRange, Error> {
        let units = len / granule;
        let last = iommu.last.get().min(info.limits.mask);
        // The last granule must lie below the limit as a whole.
        let Some(limit) = last.checked_add(1).map_or(Some(u64::MAX / granule), |end| {
            (end / granule).checked_sub(1)
        }) else {
            return Err(no_iova(len, 0));
        };
        let state = self.state_mut(dev)?;
        let space = match &mut state.iova {
            Some(space) => space,
            none => none.insert(new_space(iommu, granule)?),
        };
        let natural = units
            .checked_next_power_of_two()
            .unwrap_or(1)
            .min(MAX_ALIGN / granule)
            .max(1);
        let base = match space.take(units, natural, limit) {
            Err(RangeError::Exhausted(_)) => space.take(units, 1, limit),
            other => other,
        };
        match base {
            Ok(unit) => {
                self.live.iova_bytes = self.live.iova_bytes.saturating_add(len);
                // No overflow: the unit lies within the aperture.
                Ok(IovaRange {
                    base: unit.saturating_mul(granule),
                    len,
                    granule,
                })
            }
            Err(RangeError::Exhausted(found)) => Err(no_iova(len, found.saturating_mul(granule))),
            Err(RangeError::Invalid) => Err(Error::Invalid),
            Err(RangeError::Heap) => Err(no_iova(len, 0)),
        }
    }

    fn give_iova(&mut self, dev: P::Device, range: IovaRange) {
        let Ok(state) = self.state_mut(dev) else {
            return;
        };
        let Some(space) = &mut state.iova else { return };
        if space
            .give_back(range.base / range.granule, range.len / range.granule)
            .is_ok()
        {
            self.live.iova_bytes = self.live.iova_bytes.saturating_sub(range.len);
        }
    }
}

/// All addresses of the aperture except zero.
fn new_space(iommu: &IommuInfo, granule: u64) -> Result<RangeAllocator, Error> {
    let first = iommu.first.get().div_ceil(granule).max(1);
    let last = match iommu.last.get().checked_add(1) {
        Some(end) => (end / granule).checked_sub(1).ok_or(Error::Invalid)?,
        None => u64::MAX / granule,
    };
    RangeAllocator::new(first, last).map_err(|err| match err {
        RangeError::Invalid => Error::Invalid,
        RangeError::Exhausted(_) | RangeError::Heap => no_iova(granule, 0),
    })
}

fn no_iova(wanted: u64, found: u64) -> Error {
    Error::NoMemory(Reason {
        constraint: Constraint::IovaSpace,
        wanted,
        found,
    })
}
