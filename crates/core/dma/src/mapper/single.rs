//! The short path, for the most frequent mapping: one run of memory that the device accepts
//! unchanged. It makes no plan and no bounce copy.
//!
//! A map locks the device's state once. An unmap locks it once, or twice if unmaps may wait for a flush. If the memory
//! has an entry in the table of counted memory, a map and an unmap each also lock that part of the table.

use super::flush::{Waiting, give_back};
use super::iommu::{prot, take_range};
use super::layout::to_boundary;
use super::{At, IovaRange, Mapper, Mapping, Runs, Slot, round_up};
use crate::ranges::RangeRoom;
use crate::{
    Attrs, BounceMode, Caching, Coherency, DeviceInfo, Direction, DmaAddr, Error, Locks, PhysAddr,
    Platform, Segment, SegmentKind, SegmentMode, SyncFor,
};
use core::mem::ManuallyDrop;
use core::num::NonZeroU64;
use core::slice;

/// A device, the index of its state, and the host's description of the device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<D> {
    pub(crate) at: At<D>,
    pub(super) info: DeviceInfo,
    /// Bytes of the IOMMU's smallest page; `None` without an IOMMU.
    pub(super) granule: Option<NonZeroU64>,
    /// Required alignment of an address in bytes.
    pub(super) align: u64,
    /// Size in bytes of aligned blocks: a page if the device is trusted, else 1. In each block that contains
    /// part of the mapped memory, the device may see all bytes, unless its group has an untrusted device.
    pub(super) shared: u64,
}

/// How memory is mapped: the CPU's caching, the direction and the caller's attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(super) caching: Caching,
    pub(super) direction: Direction,
    pub(super) attrs: Attrs,
}

impl Wanted {
    #[inline]
    pub(crate) const fn new(caching: Caching, direction: Direction, attrs: Attrs) -> Self {
        Self {
            caching,
            direction,
            attrs,
        }
    }

    /// Returns whether hand-overs need cache maintenance.
    pub(super) fn needs_sync(&self, info: &DeviceInfo) -> bool {
        let cached = self.caching == Caching::Cached && !self.attrs.contains(Attrs::MMIO);
        cached && info.coherency == Coherency::NonCoherent
    }

    /// Returns whether mapping fails unless the memory becomes one run without gaps.
    pub(super) fn one_run(&self) -> bool {
        self.attrs.contains(Attrs::ONE_RUN)
    }

    /// Returns whether mapping zeroes the bounce slots instead of copying the memory into them.
    pub(super) fn zeroes_copies(&self) -> bool {
        self.attrs.contains(Attrs::SKIP_CPU_SYNC) && !self.direction.device_writes()
    }

    /// Returns whether mapping must clean the cache lines of parts that have pages and do not bounce.
    pub(super) fn cleans(&self, info: &DeviceInfo) -> bool {
        !self.attrs.contains(Attrs::SKIP_CPU_SYNC) && self.needs_sync(info)
    }
}

impl<D> Facts<D> {
    /// Returns whether pages must be contiguous so that the device sees them as one run.
    pub(crate) const fn needs_contiguous(&self) -> bool {
        self.granule.is_none()
    }

    /// Returns whether the IOMMU's pages in which these runs lie may hold bytes of other owners. `owned` is an
    /// alignment: the runs' owner also owns the bytes around them, out to multiples of `owned`.
    #[inline]
    pub(super) fn has_rest(&self, runs: &[Segment], owned: u64) -> bool {
        let granule = self.granule.map_or(1, NonZeroU64::get);
        let is_partial = |run: &Segment| (run.addr.get() | run.len) & (granule - 1) != 0;
        owned < granule && runs.iter().any(is_partial)
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns a device's `Facts`, which a mapping needs. Makes the device's state on first use. Fails as
    /// [`at`](Self::at) and [`device_info`](Self::device_info) do.
    #[inline]
    pub(crate) fn facts(&self, dev: P::Device) -> Result<Facts<P::Device>, Error> {
        self.facts_of(self.at(dev)?)
    }

    /// Returns the `Facts` of a device whose state exists. Fails as [`device_info`](Self::device_info) does.
    #[inline]
    pub(super) fn facts_of(&self, at: At<P::Device>) -> Result<Facts<P::Device>, Error> {
        let (dev, info) = (at.dev, self.device_info(at.dev)?);
        Ok(Facts {
            at,
            granule: info
                .iommu
                .and_then(|iommu| NonZeroU64::new(iommu.granule()?)),
            align: self.platform.min_address_align(dev),
            shared: if info.iommu.is_some() && self.platform.is_untrusted(dev) {
                1
            } else {
                self.platform.page_size()
            },
            info,
        })
    }

    /// Maps one run that the device accepts unchanged. Returns the run's address, and whether the mapping is counted in
    /// [`exposing`](Slot::exposing), because the device sees bytes around the run. Returns `None` for any other
    /// run: [`map_list`](Self::map_list) then maps the run, or refuses it with the reason. `owned` is the
    /// alignment described there. Fails with `Removed`, or with the platform's error.
    #[inline(always)]
    pub(super) fn map_one(
        &self,
        facts: &Facts<P::Device>,
        (segment, owned): (&Segment, u64),
        wanted: Wanted,
    ) -> Result<Option<(DmaAddr, bool)>, Error> {
        let (dev, info) = (facts.at.dev, &facts.info);
        let is_plain = !wanted
            .attrs
            .intersects(Attrs::MMIO | Attrs::REQUIRE_COHERENT)
            && segment.len <= info.limits.max_segment
            && (segment.kind == SegmentKind::Physical
                || (info.bounce != BounceMode::Always && !self.platform.is_private(dev, *segment)))
            && self.platform.check_use(dev, *segment).is_ok();
        if !is_plain {
            return Ok(None);
        }
        let synced = segment.kind == SegmentKind::Pages && wanted.cleans(info);
        if let Some(granule) = facts.granule {
            let memory = (segment, owned);
            return self.translate_one(facts, granule.get(), memory, (wanted, synced));
        }
        let Some(addr) = self.reach_one(facts, segment) else {
            return Ok(None);
        };
        self.with_device(facts.at, |state| {
            state.count_map();
            if synced {
                state.count_sync(SyncFor::Device);
            }
        })?;
        if synced {
            self.platform.cache_clean(segment.addr, segment.len);
        }
        Ok(Some((addr, false)))
    }

    /// Returns a run's bus address without an IOMMU; `None` if the run is unsuitable.
    #[inline(always)]
    fn reach_one(&self, facts: &Facts<P::Device>, segment: &Segment) -> Option<DmaAddr> {
        let (dev, limits) = (facts.at.dev, &facts.info.limits);
        let behind = segment.len.wrapping_sub(1);
        segment.addr.checked_add(behind)?;
        let addr = self.platform.bus_addr(dev, segment.addr, segment.len)?;
        let last = addr.checked_add(behind)?;
        let fits = last.get() <= limits.mask
            && addr.get() ^ last.get() <= limits.boundary
            && addr.is_aligned(facts.align);
        fits.then_some(addr)
    }

    /// Maps a run in the device's own I/O address space, and counts it; `None` if the run is unsuitable.
    /// `synced` tells whether to clean the run's cache lines first. Returns the same values as
    /// [`map_one`](Self::map_one).
    #[inline(never)]
    fn translate_one(
        &self,
        facts: &Facts<P::Device>,
        granule: u64,
        (segment, owned): (&Segment, u64),
        (wanted, synced): (Wanted, bool),
    ) -> Result<Option<(DmaAddr, bool)>, Error> {
        let (at, info, limits) = (facts.at, &facts.info, &facts.info.limits);
        let inside = granule - 1;
        // Whether some bytes of the run's granules may belong to another owner.
        let exposes = facts.has_rest(slice::from_ref(segment), owned);
        let alone = !exposes || facts.shared >= granule;
        let offset = segment.addr.get() & inside;
        let len = offset
            .checked_add(segment.len)
            .and_then(|len| round_up(len, granule));
        let (Some(len), true) = (len, alone && limits.max_segments > 1) else {
            return Ok(None);
        };
        // A grouped device uses another device's address space. The other device's lock protects this space,
        // and the code below takes only the lock of `at.slot`.
        if at.space != at.slot || facts.align > granule || offset & facts.align.wrapping_sub(1) != 0
        {
            return Ok(None);
        }
        let base = self.with_device(at, |state| {
            if state.mode != SegmentMode::Contiguous || (exposes && !state.is_trusted()) {
                return None;
            }
            let base = take_range(state, &mut RangeRoom::default(), len, limits.mask, 1)?.ok()?;
            // A run that crosses the device's boundary becomes several segments, which only `map_list` can
            // return.
            if segment.len > to_boundary(DmaAddr::new(base.saturating_add(offset)), limits.boundary)
            {
                give_back(state, IovaRange { base, len, granule });
                return None;
            }
            state.exposing = state.exposing.wrapping_add(exposes.into());
            state.count_map();
            if synced {
                state.count_sync(SyncFor::Device);
            }
            Some(base)
        })?;
        let Some(base) = base else {
            return Ok(None);
        };
        let prot = prot(&wanted, info, segment.kind);
        let (iova, phys) = (
            DmaAddr::new(base),
            PhysAddr::new(segment.addr.get() - offset),
        );
        if synced {
            // The device sees the memory at once, and must not see older bytes than the CPU.
            self.platform.cache_clean(segment.addr, segment.len);
        }
        let mapped = self.platform.iommu_map(at.group, iova, phys, len, prot);
        let done = if mapped.is_ok() { len } else { 0 };
        let mapped = mapped.and_then(|()| self.platform.iommu_map_done(at.group, iova, len));
        if let Err(err) = mapped {
            let range = IovaRange { base, len, granule };
            let undone = self.unmap_now(at, range, (base, done));
            // A device that may still reach the run also still sees the bytes around it.
            let ended = exposes && undone.is_ok();
            self.with_slot(at.slot, |state| {
                state.undo_count_map();
                state.exposing = state.exposing.wrapping_sub(ended.into());
                let syncs = &mut state.counters.syncs_for_device;
                *syncs = syncs.wrapping_sub(synced.into());
            });
            return Err(undone.err().unwrap_or(err));
        }
        Ok(Some((DmaAddr::new(base.saturating_add(offset)), exposes)))
    }

    /// Ends a mapping. Flushes at once if `now` is set or the range may not wait for a later flush. Fails as
    /// [`DmaOps::try_unmap`](crate::DmaOps::try_unmap) does.
    #[inline(always)]
    pub(crate) fn end_mapping(
        &self,
        mapping: Mapping<P>,
        attrs: Attrs,
        now: bool,
    ) -> Result<(), Error> {
        let ended = match self.end_plain(&mapping) {
            true => Ok(()),
            false => self.end_runs(&mapping, attrs, now),
        };
        if let Runs::One(_) = mapping.runs {
            // It owns no heap memory, so it is not dropped.
            let _ = ManuallyDrop::new(mapping);
        }
        ended
    }

    /// Ends a [plain](Mapping::is_plain) mapping. Returns false for any other mapping, which then remains.
    #[inline(always)]
    pub(crate) fn end_plain(&self, mapping: &Mapping<P>) -> bool {
        if mapping.is_plain {
            self.with_slot(mapping.slot, Slot::count_unmap);
            self.put(mapping.memory);
        }
        mapping.is_plain
    }

    /// Ends, as [`end_mapping`](Self::end_mapping), a mapping with an IOMMU, with several runs or with syncs.
    #[inline(never)]
    fn end_runs(&self, mapping: &Mapping<P>, attrs: Attrs, now: bool) -> Result<(), Error> {
        let (at, bounces) = (mapping.at(), !mapping.runs.bounced().is_empty());
        // The range, unless its addresses are freed after a later flush.
        let mut iova = mapping.runs.iova();
        let mut memory = mapping.memory;
        // Removes the device's view first, so that the CPU sees the device's last writes.
        if let Some(range) = iova {
            let first = DmaAddr::new(range.base);
            let mut removed = self.platform.iommu_unmap(at.group, first, range.len);
            // A mapping that bounces is flushed now, because other mappings may reuse its slots next.
            let waits = !now && !bounces && removed.is_ok() && self.may_wait(at);
            if waits && self.enqueue(at, Waiting::new(range, mapping.memory)) {
                // The waiting range keeps the memory.
                (iova, memory) = (None, None);
            } else {
                removed = removed.and_then(|()| self.platform.iommu_flush(at.group));
            }
            if let Err(err) = removed {
                self.end_failed(mapping, attrs, range);
                return Err(err.still_reachable());
            }
        }
        let synced = (mapping.needs_sync || bounces)
            && !attrs.contains(Attrs::SKIP_CPU_SYNC)
            && self.sync_runs(mapping, mapping.direction, SyncFor::Cpu).0;
        let own = iova.filter(|_| at.space == at.slot);
        self.with_slot(at.slot, |state| {
            state.count_unmap();
            if synced {
                state.count_sync(SyncFor::Cpu);
            }
            if let Some(range) = own {
                give_back(state, range);
            }
        });
        if mapping.exposes {
            self.end_exposing(at.space);
        }
        if let (Some(range), None) = (iova, own) {
            self.give_iova(at, range);
        }
        if bounces {
            self.release_slots(mapping.runs.bounced());
        }
        self.put(memory);
        Ok(())
    }

    /// Ends a mapping whose device may still reach the memory and the bounce slots, and quarantines both.
    #[cold]
    fn end_failed(&self, mapping: &Mapping<P>, attrs: Attrs, range: IovaRange) {
        self.quarantine(mapping.at(), range);
        if !attrs.contains(Attrs::SKIP_CPU_SYNC) {
            // Even if this copy fails, the memory must be quarantined.
            let _ = self.try_sync(mapping, mapping.direction, SyncFor::Cpu);
        }
        self.with_slot(mapping.slot, Slot::count_unmap);
        // The mapping still exposes what it exposed, and its bounce slots stay taken.
        let granule = NonZeroU64::new(range.granule);
        self.keep(mapping.memory, mapping.runs.direct(), granule);
    }
}

/// Counters of 64 bits that grow by one never overflow, so the functions below need not saturate.
impl<D> Slot<D> {
    /// Returns the number of mappings that the device has now. A mapping whose unmapping failed does not count. Its
    /// addresses are quarantined.
    pub(super) fn mappings(&self) -> u64 {
        self.counters.maps.wrapping_sub(self.counters.unmaps)
    }

    /// Counts a mapping, so that its device is not removed meanwhile.
    #[inline]
    pub(super) fn count_map(&mut self) {
        self.counters.maps = self.counters.maps.wrapping_add(1);
    }

    /// Undoes [`count_map`](Self::count_map) after a failure.
    pub(super) fn undo_count_map(&mut self) {
        self.counters.maps = self.counters.maps.wrapping_sub(1);
    }

    /// Counts the end of a mapping.
    #[inline]
    pub(super) fn count_unmap(&mut self) {
        self.counters.unmaps = self.counters.unmaps.wrapping_add(1);
    }

    /// Counts a hand-over that needed work.
    #[inline]
    pub(super) fn count_sync(&mut self, sync: SyncFor) {
        let c = &mut self.counters;
        match sync {
            SyncFor::Device => c.syncs_for_device = c.syncs_for_device.wrapping_add(1),
            SyncFor::Cpu => c.syncs_for_cpu = c.syncs_for_cpu.wrapping_add(1),
        }
    }
}
