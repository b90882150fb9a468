//! Allocations for a device: coherent, noncontiguous, virtual.

use super::coherent::as_shortage;
use super::memory::{Key, Origin};
use super::{
    At, Extent, Facts, IovaRange, Kind, Mapper, Memory, OwnMapping, Wanted, collect, round_up,
    total_len,
};
use crate::{
    Attrs, Caching, Coherency, Constraint, DeviceInfo, Direction, DmaOps, Error, Locks,
    PageRequest, PhysAddr, Platform, Reason, Segment, SegmentMode,
};
use ::alloc::vec::Vec;
use core::mem::ManuallyDrop;

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Rounds a caller's size up to pages; refuses zero, and more than the machine's RAM.
    fn checked_len(&self, len_bytes: u64) -> Result<u64, Error> {
        if len_bytes == 0 {
            return Err(Error::Invalid);
        }
        let limit = self.platform.ram_bytes();
        let too_big = Error::NoMemory(Reason::new(Constraint::SizeLimit, len_bytes, limit));
        if len_bytes > limit {
            return Err(too_big);
        }
        round_up(len_bytes, self.platform.page_size()).ok_or(too_big)
    }

    /// Returns the highest physical address that a device reaches without bouncing.
    pub(super) fn max_addr(&self, dev: P::Device, info: &DeviceInfo) -> PhysAddr {
        match info.iommu {
            Some(_) => PhysAddr::new(u64::MAX),
            None => self.platform.phys_limit(dev, info.limits.mask),
        }
    }

    /// Allocates memory for `dev`, mapped as one run of bus addresses.
    ///
    /// Source: Linux 7.2 `__iommu_dma_alloc_pages`. Linux also takes no pieces smaller than the IOMMU's
    /// smallest page.
    pub(crate) fn alloc_for(
        &self,
        at: At<P::Device>,
        len_bytes: u64,
        attrs: Attrs,
        caching: Option<Caching>,
        direction: Direction,
    ) -> Result<Memory<P>, Error> {
        let facts = &self.facts_of(at)?;
        let len = self.checked_len(len_bytes)?;
        // Counts the allocation first, so that the device is not removed meanwhile.
        let has_region = self.with_device(at, |state| {
            state.live.allocs = state.live.allocs.saturating_add(1);
            state.region.is_some()
        })?;
        let made = if caching.is_none() && has_region {
            self.alloc_from_region(facts, len)
        } else {
            self.alloc_pages_for(facts, len, attrs, caching, direction)
        };
        if made.is_err() {
            self.with_slot(at.slot, |state| {
                state.live.allocs = state.live.allocs.saturating_sub(1);
            });
        }
        made
    }

    /// Allocates as [`alloc_for`](Self::alloc_for) does, but always from the host's pages.
    fn alloc_pages_for(
        &self,
        facts: &Facts<P::Device>,
        len: u64,
        attrs: Attrs,
        caching: Option<Caching>,
        direction: Direction,
    ) -> Result<Memory<P>, Error> {
        let (at, info) = (facts.at, &facts.info);
        let caching = caching.unwrap_or(match info.coherency {
            Coherency::Coherent => Caching::Cached,
            Coherency::NonCoherent => Caching::Uncached,
        });
        let scattered = info.iommu.is_some() && !attrs.contains(Attrs::FORCE_CONTIGUOUS);
        // The pages fill whole granules of the IOMMU, so the device sees no other owner's memory.
        let page = self.platform.page_size();
        let granule = facts
            .granule
            .map_or(page, |granule| granule.get().max(page));
        let request = PageRequest {
            len: whole_pieces(len, granule)?,
            granule,
            contiguous: !scattered,
            max_addr: self.max_addr(at.dev, info),
            caching,
            device: Some(at.dev),
        };
        let key = self.new_entry()?;
        let (pages, segments) = self
            .take_pages(request, len)
            .inspect_err(|_| self.put(Some(key)))?;
        match self.map_own(facts, &segments, direction, caching) {
            Ok(own) => {
                self.count_bytes(at.slot, request.len);
                let mut extent = self.extent(segments, len, granule, caching);
                extent.entry = Some(key);
                let kind = Kind::Pages(ManuallyDrop::new(pages), Some(own));
                Ok(Memory { extent, kind })
            }
            Err(err) => {
                if let Error::StillReachable(_) = err {
                    self.hold_for_good(key);
                }
                self.give_up(key, Origin::pages(pages, request.len));
                Err(as_shortage(err))
            }
        }
    }

    /// Maps an allocation for the device that requested it.
    fn map_own(
        &self,
        facts: &Facts<P::Device>,
        segments: &[Segment],
        direction: Direction,
        caching: Caching,
    ) -> Result<OwnMapping<P::Device>, Error> {
        let at = facts.at;
        let wanted = Wanted::new(caching, direction, Attrs::ONE_RUN);
        let (addr, iova) = if facts.granule.is_some() {
            // The memory has one address instead of a table, so the number of segments does not matter.
            //
            // Source: Linux 7.2 `dma_alloc_attrs`, differs: a device that accepts only one segment keeps this limit.
            let mut facts = *facts;
            if facts.info.limits.max_segments != 1 {
                facts.info.limits.max_segments = u32::MAX;
            }
            let how = (wanted, SegmentMode::Contiguous);
            let (output, range) = self.map_iommu(&facts, segments, how)?;
            let Some(first) = output.first() else {
                self.unmap_now(at, range, (range.base, range.len))?;
                return Err(Error::Invalid);
            };
            (first.addr, Some(range))
        } else if let &[only] = segments {
            let addr = self.bus_run(facts, only)?;
            facts.check_one_address(addr, only.len)?;
            (addr, None)
        } else {
            let found = segments.first().map_or(0, |first| first.len);
            let reason = Reason::new(Constraint::Contiguous, total_len(segments)?, found);
            return Err(Error::NoMemory(reason));
        };
        Ok(OwnMapping {
            at,
            addr,
            iova,
            needs_sync: wanted.needs_sync(&facts.info),
        })
    }

    pub(super) fn count_bytes(&self, slot: usize, len: u64) {
        self.with_slot(slot, |state| {
            let c = &mut state.counters;
            c.allocated_bytes = c.allocated_bytes.saturating_add(len);
            c.peak_bytes = c.peak_bytes.max(c.allocated_bytes);
        });
    }

    /// Rounds the size of memory that is allocated for no device. Returns the size in whole pages, the host's granule
    /// for such memory, and the size in whole granules. Fails with `Invalid` if the granule is not a power of two of at
    /// least a page.
    pub(super) fn unmapped_lens(&self, len_bytes: u64) -> Result<(u64, u64, u64), Error> {
        let len = self.checked_len(len_bytes)?;
        let granule = self.platform.unmapped_granule();
        if !granule.is_power_of_two() || granule < self.platform.page_size() {
            return Err(Error::Invalid);
        }
        Ok((len, granule, whole_pieces(len, granule)?))
    }

    /// Allocates memory at physical addresses up to `max_addr`, without a mapping for a device.
    pub(super) fn alloc_unmapped(
        &self,
        len_bytes: u64,
        max_addr: PhysAddr,
    ) -> Result<Memory<P>, Error> {
        let (len, granule, held) = self.unmapped_lens(len_bytes)?;
        let request = PageRequest {
            len: held,
            granule,
            contiguous: false,
            max_addr,
            caching: Caching::Cached,
            device: None,
        };
        self.alloc_pieces(len, request)
    }

    /// Allocates memory, in one run if `contiguous`, that a device reaches without bouncing, in whole pages of the device's IOMMU.
    /// Does not map the memory.
    pub(crate) fn alloc_reached(
        &self,
        facts: &Facts<P::Device>,
        len_bytes: u64,
        contiguous: bool,
    ) -> Result<Memory<P>, Error> {
        let (len, granule, _) = self.unmapped_lens(len_bytes)?;
        let granule = facts.granule.map_or(granule, |own| own.get().max(granule));
        let dev = facts.at.dev;
        let request = PageRequest {
            len: whole_pieces(len, granule)?,
            granule,
            contiguous,
            max_addr: self.max_addr(dev, &facts.info),
            caching: Caching::Cached,
            device: Some(dev),
        };
        self.alloc_pieces(len, request)
    }

    /// Allocates pages for `len` bytes of cached memory, without a mapping for a device.
    fn alloc_pieces(&self, len: u64, request: PageRequest<P::Device>) -> Result<Memory<P>, Error> {
        let (pages, segments) = self.take_pages(request, len)?;
        let extent = self.extent(segments, len, request.granule, Caching::Cached);
        self.own(pages, request.len, extent)
    }

    /// Makes an allocation from `held` bytes of counted pages, without a mapping for a device. An error frees the
    /// pages.
    pub(super) fn own(
        &self,
        pages: P::Pages,
        held: u64,
        mut extent: Extent,
    ) -> Result<Memory<P>, Error> {
        let key = match self.new_entry() {
            Ok(key) => key,
            Err(err) => {
                self.give_pages(pages, held);
                return Err(err);
            }
        };
        L::with(&self.live, |live| live.allocs += 1);
        extent.entry = Some(key);
        let kind = Kind::Pages(ManuallyDrop::new(pages), None);
        Ok(Memory { extent, kind })
    }

    /// Makes an allocation of pages that the platform got elsewhere, such as from another driver. The
    /// memory is cached and belongs to no device. Freeing the allocation also frees the pages.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for no pages, or more than RAM; `NoMemory` (ENOMEM). An error also frees the pages.
    pub fn adopt(&self, pages: P::Pages) -> Result<Memory<P>, Error> {
        let next = |index| self.platform.pages_segment(&pages, index);
        let runs = collect(Vec::new(), self.platform.ram_bytes(), next)
            .and_then(|segments| Ok((total_len(&segments)?, segments)));
        let (len, segments) = match runs {
            Ok((len, segments)) if len > 0 => (len, segments),
            other => {
                self.platform.free_pages(pages);
                return Err(other.err().unwrap_or(Error::Invalid));
            }
        };
        self.count_pages(len);
        let extent = self.extent(segments, len, 1, Caching::Cached);
        self.own(pages, len, extent)
    }

    /// Allocates and counts pages, and returns the runs of their first `len` bytes. If there is no memory, releases the
    /// memory that waits for a flush, and tries again.
    fn take_pages(
        &self,
        request: PageRequest<P::Device>,
        len: u64,
    ) -> Result<(P::Pages, Vec<Segment>), Error> {
        let pages = match self.platform.alloc_pages(request) {
            Err(Error::NoMemory(_)) if self.has_waiting() && self.flush().is_ok() => {
                self.platform.alloc_pages(request)?
            }
            pages => pages?,
        };
        self.count_pages(request.len);
        let next = |index| self.platform.pages_segment(&pages, index);
        match collect(Vec::new(), request.len, next) {
            // A device may still reach this memory, and its former owner should have kept it. The layer neither uses
            // nor frees it.
            Ok(segments) if self.is_stuck(&segments) => {
                self.count_stuck((request.len, 0, request.len));
                let _ = ManuallyDrop::new(pages);
                Err(Error::no_ram(request.len))
            }
            Ok(mut segments) if are_pieces(&segments, request.len, request.granule) => {
                shorten(&mut segments, len);
                Ok((pages, segments))
            }
            other => {
                self.give_pages(pages, request.len);
                Err(other.err().unwrap_or(Error::Invalid))
            }
        }
    }

    /// Counts pages that the layer has got from the host.
    pub(super) fn count_pages(&self, len: u64) {
        L::with(&self.live, |live| {
            live.page_bytes = live.page_bytes.saturating_add(len)
        });
    }

    /// Gives counted pages back to the host.
    pub(super) fn give_pages(&self, pages: P::Pages, len: u64) {
        self.platform.free_pages(pages);
        L::with(&self.live, |live| {
            live.page_bytes = live.page_bytes.saturating_sub(len)
        });
    }

    /// Ends a handle of memory. For an allocation, also ends the mapping of the device that requested it. If that
    /// fails, quarantines the memory.
    pub(super) fn end_handle(&self, memory: Memory<P>) {
        let Memory { extent, kind } = memory;
        let held = extent.held_bytes();
        match (kind, extent.entry) {
            (Kind::Pages(pages, own), Some(key)) => {
                match &own {
                    Some(own) => self.end_own(own, key, held),
                    None => L::with(&self.live, |live| live.allocs -= 1),
                }
                self.give_up(key, Origin::Pages(pages, held));
            }
            (Kind::Region(own), Some(key)) => {
                self.end_own(&own, key, held);
                if let Some(&run) = extent.segments.first() {
                    self.give_up(key, Origin::Region(own.at, own.addr, run));
                }
            }
            (Kind::Pinned(pinned, direction), Some(key)) => {
                let wrote = direction.device_writes();
                self.give_up(key, Origin::Pinned(pinned, extent.len, wrote));
            }
            (Kind::Lent, _) => {
                L::with(&self.live, |live| live.handles -= 1);
                // Afterwards, the caller may reuse the memory.
                if self.flush().is_err() {
                    self.set_stuck(&extent.segments, self.platform.page_size());
                }
            }
            (Kind::Shared(_), entry) => {
                L::with(&self.live, |live| live.handles -= 1);
                self.put(entry);
            }
            (_, None) => {}
        }
    }

    /// Ends the mapping of an allocation of `held` bytes for the device that requested it.
    fn end_own(&self, own: &OwnMapping<P::Device>, key: Key, held: u64) {
        let unmap = |range: IovaRange| self.unmap_now(own.at, range, (range.base, range.len));
        if own.iova.is_some_and(|range| unmap(range).is_err()) {
            self.hold_for_good(key);
        }
        self.with_slot(own.at.slot, |state| {
            let c = &mut state.counters;
            c.allocated_bytes = c.allocated_bytes.saturating_sub(held);
            state.live.allocs = state.live.allocs.saturating_sub(1);
        });
    }
}

/// Rounds a length up to whole pieces.
fn whole_pieces(len: u64, piece: u64) -> Result<u64, Error> {
    let reason = Reason::new(Constraint::SizeLimit, len, u64::MAX - (piece - 1));
    round_up(len, piece).ok_or(Error::NoMemory(reason))
}

/// Returns whether the runs have `len` bytes in total, and each consists of whole, aligned pieces.
pub(super) fn are_pieces(runs: &[Segment], len: u64, piece: u64) -> bool {
    let mut bits = runs.iter().map(|run| run.addr.get() | run.len);
    total_len(runs) == Ok(len) && bits.all(|bits| bits & (piece - 1) == 0)
}

/// Truncates runs to their first `len` bytes.
pub(super) fn shorten(runs: &mut Vec<Segment>, len: u64) {
    let mut left = len;
    runs.retain_mut(|run| {
        run.len = run.len.min(left);
        left -= run.len;
        run.len > 0
    });
}
