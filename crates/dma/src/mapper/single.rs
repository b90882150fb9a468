//! The short path, for the most frequent mapping: one run of memory that the device accepts
//! unchanged. It makes no plan and no bounce copy, and locks the device's state once to map and
//! once to unmap.

use super::List;
use super::flush::give_back;
use super::iommu::{prot, take_range};
use super::layout::to_boundary;
use super::sync::maintain;
use super::{At, IovaRange, Mapper, Mapping, Slot, round_up};
use crate::iova::IovaAlign;
use crate::ranges::RangeRoom;
use crate::{
    Attrs, BounceMode, Caching, Coherency, DeviceInfo, Direction, DmaAddr, DmaSegment, Error, Iova,
    Locks, PhysAddr, Platform, Segment, SegmentKind, SegmentMode, SyncFor,
};
use ::alloc::vec::Vec;

/// The host's description of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(super) info: DeviceInfo,
    /// Required alignment of an address in bytes.
    align: u64,
    /// Whether the device must not see other memory in the same page.
    untrusted: bool,
}

/// The mapped memory, and how it is mapped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) caching: Caching,
    pub(crate) direction: Direction,
    pub(crate) attrs: Attrs,
}

impl Wanted {
    /// Returns whether hand-overs need cache maintenance.
    pub(super) fn needs_sync(&self, info: &DeviceInfo) -> bool {
        let cached = self.caching == Caching::Cached && !self.attrs.contains(Attrs::MMIO);
        cached && info.coherency == Coherency::NonCoherent
    }

    /// Returns whether mapping must clean the segment's cache lines.
    fn cleans(&self, info: &DeviceInfo, segment: &Segment) -> bool {
        let skips = self.attrs.contains(Attrs::SKIP_CPU_SYNC);
        !skips && segment.kind == SegmentKind::Pages && self.needs_sync(info)
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Returns the host's description of a device, as mapping needs it.
    ///
    /// # Errors
    /// `Invalid` for a nonexistent device, or for limits or page sizes that no memory could meet.
    #[inline]
    pub(crate) fn facts(&self, dev: P::Device) -> Result<Facts, Error> {
        let info = self.device_info(dev)?;
        Ok(Facts {
            align: self.platform.min_address_align(dev),
            untrusted: info.iommu.is_some() && self.platform.is_untrusted(dev),
            info,
        })
    }

    /// Maps one run that the device accepts unchanged. Returns `None` for any other run.
    /// [`map_segments`](Self::map_segments) then maps the run, or refuses it with the reason. `owned` is
    /// the alignment described there.
    ///
    /// # Errors
    /// `Removed`; the platform's error.
    #[inline]
    pub(super) fn map_one(
        &self,
        at: At<P::Device>,
        facts: &Facts,
        (segment, owned): (Segment, u64),
        wanted: Wanted,
    ) -> Result<Option<Mapping<P>>, Error> {
        let (dev, info) = (at.dev, &facts.info);
        let is_plain = !wanted
            .attrs
            .intersects(Attrs::MMIO | Attrs::REQUIRE_COHERENT)
            && segment.len <= info.limits.max_segment
            && (segment.kind == SegmentKind::Physical
                || (info.bounce != BounceMode::Always && !self.platform.is_private(dev, segment)))
            && self.platform.check_use(dev, segment).is_ok();
        if !is_plain {
            return Ok(None);
        }
        let found = if info.iommu.is_some() {
            self.translate_one(at, facts, (segment, owned), wanted)?
        } else {
            self.reach_one(at, facts, segment, wanted)?
                .map(|addr| (addr, None))
        };
        let Some((addr, iova)) = found else {
            return Ok(None);
        };
        if wanted.cleans(info, &segment) {
            self.platform.cache_clean(segment.addr, segment.len);
        }
        let len = segment.len;
        Ok(Some(Mapping {
            owner: self.id,
            at,
            direction: wanted.direction,
            output: List::from_buf([DmaSegment { addr, len }]),
            direct: List::from_buf([segment]),
            bounced: Vec::new(),
            iova,
            needs_sync: wanted.needs_sync(info),
        }))
    }

    /// Returns a run's bus address without an IOMMU, and counts a mapping; `None` if the run is unsuitable.
    #[inline]
    fn reach_one(
        &self,
        at: At<P::Device>,
        facts: &Facts,
        segment: Segment,
        wanted: Wanted,
    ) -> Result<Option<DmaAddr>, Error> {
        let limits = &facts.info.limits;
        let behind = segment.len.wrapping_sub(1);
        let reached = || {
            let addr = self.platform.bus_addr(at.dev, segment.addr)?;
            let end = segment.addr.checked_add(behind)?;
            let last = addr.checked_add(behind)?;
            let whole = self.platform.bus_addr(at.dev, end) == Some(last);
            let fits = last.get() <= limits.mask
                && segment.len <= to_boundary(addr, limits.boundary)
                && addr.is_aligned(facts.align);
            (whole && fits).then_some(addr)
        };
        let Some(addr) = reached() else {
            return Ok(None);
        };
        let synced = wanted.cleans(&facts.info, &segment);
        self.with_device(at, |state| count_mapped(state, synced))?;
        Ok(Some(addr))
    }

    /// Maps a run in the device's own I/O address space, and counts it; `None` if the run is unsuitable.
    #[inline]
    fn translate_one(
        &self,
        at: At<P::Device>,
        facts: &Facts,
        (segment, owned): (Segment, u64),
        wanted: Wanted,
    ) -> Result<Option<(DmaAddr, Option<IovaRange>)>, Error> {
        let (info, limits) = (&facts.info, &facts.info.limits);
        let Some(granule) = info.iommu.and_then(|iommu| iommu.granule()) else {
            return Ok(None);
        };
        let inside = granule - 1;
        // The device may see other bytes only in aligned blocks of this size that hold the run.
        let unit = if facts.untrusted {
            owned
        } else {
            owned.max(self.platform.page_size())
        };
        let alone = unit >= granule || (segment.addr.get() | segment.len) & inside == 0;
        let offset = segment.addr.get() & inside;
        let len = offset
            .checked_add(segment.len)
            .and_then(|len| round_up(len, granule));
        let (Some(len), true) = (len, alone && limits.max_segments > 1) else {
            return Ok(None);
        };
        // A grouped device uses another device's address space, which that device's lock protects.
        if at.space != at.slot || facts.align > granule || offset & facts.align.wrapping_sub(1) != 0
        {
            return Ok(None);
        }
        let synced = wanted.cleans(info, &segment);
        let base = self.with_device(at, |state| {
            if state.mode != SegmentMode::Contiguous {
                return None;
            }
            let align = IovaAlign::Preferred;
            let base = take_range(state, &mut RangeRoom::new(), len, limits.mask, align)?.ok()?;
            // A run that crosses the boundary becomes several segments, which needs a list.
            if segment.len > to_boundary(DmaAddr::new(base.saturating_add(offset)), limits.boundary)
            {
                give_back(state, IovaRange { base, len, granule });
                return None;
            }
            count_mapped(state, synced);
            Some(base)
        })?;
        let Some(base) = base else {
            return Ok(None);
        };
        let range = IovaRange { base, len, granule };
        let coherency = match wanted.caching {
            Caching::Cached => info.coherency,
            Caching::Uncached => Coherency::NonCoherent,
        };
        let prot = prot(wanted.direction, coherency, segment.kind);
        let (iova, phys) = (Iova::new(base), PhysAddr::new(segment.addr.get() - offset));
        let mapped = self.platform.iommu_map(at.group, iova, phys, len, prot);
        let done = if mapped.is_ok() { len } else { 0 };
        let mapped = mapped.and_then(|()| self.platform.iommu_map_done(at.group, iova, len));
        if let Err(err) = mapped {
            self.undo_map(at, range, (base, done), &[segment]);
            self.with_slot(at.slot, |state| uncount_mapped(state, synced));
            return Err(err);
        }
        Ok(Some((
            DmaAddr::new(base.saturating_add(offset)),
            Some(range),
        )))
    }

    /// Ends a mapping. Flushes at once if `now` is set or ranges may not wait.
    ///
    /// # Errors
    /// As [`DmaOps::try_unmap`](crate::DmaOps::try_unmap).
    #[inline]
    pub(crate) fn end_mapping(
        &self,
        mapping: &Mapping<P>,
        attrs: Attrs,
        now: bool,
    ) -> Result<(), Error> {
        let at = mapping.at;
        let is_short = mapping.bounced.is_empty()
            && match mapping.iova {
                Some(_) => now || self.is_strict(at),
                None => true,
            };
        if !is_short {
            return self.end_any(mapping, attrs);
        }
        // Removes the device's view first, so that the CPU sees the device's last writes.
        if let Some(range) = mapping.iova {
            let iova = Iova::new(range.base);
            if let Err(err) = self.platform.iommu_unmap(at.group, iova, range.len) {
                self.quarantine(at, range);
                return self.end_view_of(mapping, attrs, Err(err));
            }
            self.platform.iommu_flush(at.group);
        }
        let syncs = mapping.needs_sync && !attrs.contains(Attrs::SKIP_CPU_SYNC);
        let synced = syncs
            && maintain(
                &self.platform,
                &mapping.direct,
                mapping.direction,
                SyncFor::Cpu,
            );
        let own = mapping.iova.filter(|_| at.space == at.slot);
        self.with_slot(at.slot, |state| {
            let c = &mut state.counters;
            c.unmaps = c.unmaps.saturating_add(1);
            c.syncs_for_cpu = c.syncs_for_cpu.saturating_add(synced.into());
            state.live.mappings = state.live.mappings.saturating_sub(1);
            if let Some(range) = own {
                give_back(state, range);
            }
        });
        if let (Some(range), None) = (mapping.iova, own) {
            self.give_iova(at, range);
        }
        Ok(())
    }
}

/// Counts a mapping.
#[inline]
fn count_mapped<D>(state: &mut Slot<D>, synced: bool) {
    state.live.mappings = state.live.mappings.saturating_add(1);
    let c = &mut state.counters;
    c.maps = c.maps.saturating_add(1);
    c.syncs_for_device = c.syncs_for_device.saturating_add(synced.into());
}

/// Undoes [`count_mapped`].
fn uncount_mapped<D>(state: &mut Slot<D>, synced: bool) {
    state.live.mappings = state.live.mappings.saturating_sub(1);
    let c = &mut state.counters;
    c.maps = c.maps.saturating_sub(1);
    c.syncs_for_device = c.syncs_for_device.saturating_sub(synced.into());
}
