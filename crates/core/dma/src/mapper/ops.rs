//! Implementation of [`DmaOps`] over a platform.

use super::bounce::Plan;
use super::memory::Key;
use super::sync::maintain;
use super::{
    Extent, Facts, Kind, List, Mapper, Mapping, Memory, OneRun, Parts, Runs, Slot, Vmap, Wanted,
    boxed, collect, copy_segments, push_segment, total_len,
};
use crate::error::check_within;
use crate::{
    Attrs, Caching, Coherency, DeviceInfo, Direction, DmaAddr, DmaOps, DmaSegment, Error, Locks,
    PhysAddr, Platform, Segment, SegmentMode, SyncFor,
};
use ::alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::num::NonZeroU64;
use core::slice;

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Makes a handle of physical ranges that the caller lends: its own pages, or ranges without pages (device
    /// memory, a carve-out). The CPU is assumed to map the pages cached.
    ///
    /// **Dangerous**: the ranges must stay valid as long as the handle, its mappings and its views.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for no ranges, an empty range or one that exceeds the address space; `NoMemory`
    /// (ENOMEM).
    pub fn lend(&self, ranges: &[Segment]) -> Result<Memory<P>, Error> {
        let mut segments = Vec::new();
        for &range in ranges {
            push_segment(&mut segments, range)?;
        }
        let len = total_len(&segments)?;
        if len == 0 {
            return Err(Error::Invalid);
        }
        let extent = self.extent(segments, len, 1, Caching::Cached);
        Ok(self.handle(extent, Kind::Lent))
    }

    /// Makes another handle of memory. The last handle, mapping or view of the memory gives it back.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for memory of another mapper; `NoMemory` (ENOMEM); `Busy` (EBUSY) beyond 2^32 - 1 handles.
    pub fn share(&self, memory: &Memory<P>) -> Result<Memory<P>, Error> {
        self.check_own(memory.extent.owner)?;
        let segments = copy_segments(memory.segments())?;
        self.hold(memory.extent.entry)?;
        let extent = Extent {
            segments,
            ..memory.extent
        };
        let kind = match memory.kind {
            Kind::Lent => Kind::Lent,
            _ => Kind::Shared(memory.is_writable()),
        };
        Ok(self.handle(extent, kind))
    }

    /// Counts a handle of memory that another handle or the caller gives back.
    fn handle(&self, extent: Extent, kind: Kind<P>) -> Memory<P> {
        L::with(&self.live, |live| live.handles += 1);
        Memory { extent, kind }
    }

    /// Maps runs for a device and a direction. Returns whether that copied or cleaned memory for the device.
    /// After a failure, `parts` holds no resources.
    fn map_parts(
        &self,
        facts: &Facts<P::Device>,
        memory: (&[Segment], u64),
        (wanted, mode): (Wanted, SegmentMode),
        parts: &mut Parts<P::Device>,
    ) -> Result<bool, Error> {
        let (info, attrs) = (&facts.info, wanted.attrs);
        if wanted.needs_sync(info) && attrs.contains(Attrs::REQUIRE_COHERENT) {
            return Err(Error::Unsupported);
        }
        let mut plan = Plan {
            targets: List::new(),
            direct: &mut parts.direct,
            bounced: &mut parts.bounced,
        };
        self.plan(facts, memory, attrs, &mut plan)?;
        let prepared = self.prepare(facts.at.slot, info, &plan, wanted);
        let addressed = prepared.and_then(|synced| match facts.granule {
            None => self
                .map_direct(facts, plan.targets(), (wanted, mode))
                .map(|output| (output, None, synced)),
            Some(_) => self
                .map_iommu(facts, plan.targets(), (wanted, mode))
                .map(|(output, range)| (output, Some(range), synced)),
        });
        match addressed {
            Ok((output, iova, synced)) => {
                (parts.output, parts.iova) = (output, iova);
                Ok(synced)
            }
            Err(err) => {
                // If the device may still reach the slots, they stay taken.
                if !matches!(err, Error::StillReachable(_)) {
                    self.release_slots(&core::mem::take(&mut parts.bounced));
                }
                Err(err)
            }
        }
    }

    /// Fills the bounce slots of a new mapping, and cleans the caches of its other parts, before the device
    /// sees either. Returns whether that copied or cleaned memory.
    ///
    /// Fills slots even with `SKIP_CPU_SYNC`. Otherwise the device could read another owner's bytes, and the copy
    /// back at unmap would overwrite memory that the device never wrote. With this flag, zeroes suffice for a
    /// device that only reads, because the caller syncs before the device reads.
    fn prepare(
        &self,
        slot: usize,
        info: &DeviceInfo,
        plan: &Plan<'_>,
        wanted: Wanted,
    ) -> Result<bool, Error> {
        for run in plan.bounced.iter() {
            if wanted.zeroes_copies() {
                self.platform.bounce_zero(run.at, run.len);
            } else {
                self.copy_run((slot, info.coherency), run, SyncFor::Device)?;
            }
        }
        let copied = !plan.bounced.is_empty() && !wanted.zeroes_copies();
        let (direction, sync) = (wanted.direction, SyncFor::Device);
        let cleaned = wanted.cleans(info) && maintain(&self.platform, plan.direct, direction, sync);
        Ok(copied || cleaned)
    }

    /// Maps runs of memory, as [`map_list`](Self::map_list) does.
    pub(crate) fn map_segments(
        &self,
        facts: &Facts<P::Device>,
        memory: (&[Segment], u64),
        wanted: Wanted,
    ) -> Result<Mapping<P>, Error> {
        match memory {
            ([segment], owned) => self.map_run(facts, (segment, owned), wanted),
            _ => self.map_list(facts, memory, wanted),
        }
    }

    /// Maps one run of memory, by the short path (`map_one`) if possible.
    #[inline(always)]
    pub(crate) fn map_run(
        &self,
        facts: &Facts<P::Device>,
        (segment, owned): (&Segment, u64),
        wanted: Wanted,
    ) -> Result<Mapping<P>, Error> {
        let Some((addr, exposes)) = self.map_one(facts, (segment, owned), wanted)? else {
            return self.map_list(facts, (slice::from_ref(segment), owned), wanted);
        };
        let len = segment.len;
        let needs_sync = wanted.needs_sync(&facts.info);
        Ok(Mapping {
            owner: self.id,
            dev: facts.at.dev,
            slot: facts.at.slot,
            direction: wanted.direction,
            needs_sync,
            is_plain: facts.granule.is_none() && !needs_sync,
            exposes,
            memory: None,
            runs: Runs::One(OneRun {
                segment: *segment,
                output: DmaSegment { addr, len },
                granule: facts.granule,
            }),
        })
    }

    /// Maps runs of memory. `memory` holds the runs and an alignment. The owner of the runs also owns the
    /// bytes around each run, out to multiples of this alignment.
    #[inline(never)]
    fn map_list(
        &self,
        facts: &Facts<P::Device>,
        memory: (&[Segment], u64),
        wanted: Wanted,
    ) -> Result<Mapping<P>, Error> {
        let (at, info) = (facts.at, &facts.info);
        let mut parts = boxed(|| Parts {
            at,
            coherency: info.coherency,
            output: List::new(),
            direct: List::new(),
            bounced: List::new(),
            iova: None,
        })?;
        // Counted first, so that the device cannot be removed meanwhile.
        let mode = self.with_device(at, |state| {
            state.count_map();
            state.mode
        })?;
        let has_rest = facts.has_rest(memory.0, memory.1);
        let exposes = has_rest && facts.shared > 1 && self.with_space(at, Slot::expose) == Ok(true);
        let mut facts = *facts;
        if has_rest && !exposes {
            facts.shared = 1;
        }
        let mapped = self.map_parts(&facts, memory, (wanted, mode), &mut parts[0]);
        match mapped {
            Ok(true) => self.count_sync(at.slot, SyncFor::Device),
            Ok(false) => {}
            Err(err) => {
                // A device that may still reach the memory also still sees the bytes around it.
                if exposes && !matches!(err, Error::StillReachable(_)) {
                    self.end_exposing(at.space);
                }
                self.with_slot(at.slot, Slot::undo_count_map);
                return Err(err);
            }
        }
        Ok(Mapping {
            owner: self.id,
            dev: at.dev,
            slot: at.slot,
            direction: wanted.direction,
            needs_sync: wanted.needs_sync(info),
            is_plain: false,
            exposes,
            memory: None,
            runs: Runs::List(parts),
        })
    }

    /// Ends a mapping's exposure of bytes around its memory.
    #[cold]
    pub(super) fn end_exposing(&self, space: usize) {
        self.with_slot(space, |state| {
            state.exposing = state.exposing.wrapping_sub(1)
        });
    }

    /// Maps memory, for a caller that has already looked up the device.
    pub(crate) fn map_memory(
        &self,
        facts: &Facts<P::Device>,
        memory: &Extent,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Mapping<P>, Error> {
        // Pages that are not placed yet have no runs.
        if !self.is_own(memory.owner) || memory.segments.is_empty() {
            return Err(Error::Invalid);
        }
        let wanted = Wanted::new(memory.caching, direction, attrs);
        self.hold(memory.entry)?;
        match self.map_segments(facts, (&memory.segments, memory.granule), wanted) {
            Ok(mut mapping) => {
                mapping.memory = memory.entry;
                Ok(mapping)
            }
            Err(Error::StillReachable(reason)) => {
                self.keep(memory.entry, &memory.segments, facts.granule);
                Err(Error::StillReachable(reason))
            }
            Err(err) => {
                self.put(memory.entry);
                Err(err)
            }
        }
    }

    /// Records that a device may still reach memory of the caller.
    #[cold]
    pub(crate) fn keep_lent(&self, runs: &[Segment], facts: &Facts<P::Device>) {
        self.keep(None, runs, facts.granule);
    }

    /// Quarantines memory after a failed unmap. Counted memory is kept by the reference that the caller never drops.
    /// Of other memory, `runs`, the addresses are recorded.
    #[cold]
    pub(super) fn keep(&self, entry: Option<Key>, runs: &[Segment], granule: Option<NonZeroU64>) {
        match entry {
            Some(key) => self.quarantine_memory(key),
            None => self.set_stuck(runs, granule.map_or(1, NonZeroU64::get)),
        }
    }

    /// Maps memory for the CPU.
    pub(crate) fn vmap_memory(&self, memory: &Extent) -> Result<Vmap<P>, Error> {
        self.check_own(memory.owner)?;
        let mut vmap = self.vmap_segments(&memory.segments, memory.caching)?;
        match self.hold(memory.entry) {
            Ok(()) => vmap.memory = memory.entry,
            Err(err) => {
                self.vunmap(vmap);
                return Err(err);
            }
        }
        Ok(vmap)
    }

    /// Maps physical runs for the CPU.
    pub(crate) fn vmap_segments(
        &self,
        segments: &[Segment],
        caching: Caching,
    ) -> Result<Vmap<P>, Error> {
        if segments.is_empty() {
            return Err(Error::Invalid);
        }
        let host = self.platform.vmap(segments, caching)?;
        L::with(&self.live, |live| live.vmaps += 1);
        Ok(Vmap {
            owner: self.id,
            host,
            memory: None,
        })
    }
}

impl<P: Platform, L: Locks> DmaOps for Mapper<P, L> {
    type Device = P::Device;
    type User = P::User;
    type Memory = Memory<P>;
    type Mapping = Mapping<P>;
    type Vmap = Vmap<P>;
    type Mmap = P::Mmap;

    fn page_size(&self) -> u64 {
        self.platform.page_size()
    }

    fn cache_alignment(&self, dev: P::Device) -> u64 {
        self.platform
            .device_info(dev)
            .map_or(1, |info| info.cache_alignment.max(1))
    }

    fn coherency(&self, dev: P::Device) -> Coherency {
        self.platform
            .device_info(dev)
            .map_or(Coherency::NonCoherent, |info| info.coherency)
    }

    fn alloc_coherent(
        &self,
        dev: P::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Memory<P>, Error> {
        let both = Direction::Bidirectional;
        self.alloc_for(self.at(dev)?, len_bytes, attrs, None, both)
    }

    fn alloc_noncontiguous(
        &self,
        dev: P::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Memory<P>, Error> {
        let cached = Some(Caching::Cached);
        self.alloc_for(self.at(dev)?, len_bytes, attrs, cached, direction)
    }

    fn alloc_virtual(&self, len_bytes: u64) -> Result<Memory<P>, Error> {
        self.alloc_unmapped(len_bytes, PhysAddr::new(u64::MAX))
    }

    fn alloc_scattered(&self, dev: P::Device, len_bytes: u64) -> Result<Memory<P>, Error> {
        let info = self.device_info(dev)?;
        self.alloc_unmapped(len_bytes, self.max_addr(dev, &info))
    }

    fn free(&self, memory: Memory<P>) {
        if self.is_own(memory.extent.owner) {
            self.end_handle(memory);
        }
    }

    fn alloc_dma_addr(&self, memory: &Memory<P>) -> Option<DmaAddr> {
        memory.own().map(|own| own.addr)
    }

    fn sync_alloc(&self, memory: &Memory<P>, direction: Direction, sync: SyncFor) -> bool {
        let is_own = self.is_own(memory.extent.owner);
        let own = memory.own().filter(|own| is_own && own.needs_sync);
        let synced = own.filter(|_| maintain(&self.platform, memory.segments(), direction, sync));
        if let Some(own) = synced {
            self.count_sync(own.at.slot, sync);
        }
        synced.is_some()
    }

    fn alloc_caching(&self, memory: &Memory<P>) -> Caching {
        memory.extent.caching
    }

    fn pin_user(
        &self,
        user: &P::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Memory<P>, Error> {
        if len_bytes == 0 || addr.checked_add(len_bytes).is_none() {
            return Err(Error::Invalid);
        }
        let key = self.new_entry()?;
        let put = |err| {
            self.put(Some(key));
            err
        };
        let writes = direction.device_writes();
        let pinned = self.platform.pin_user(user, addr, len_bytes, writes);
        let pinned = pinned.map_err(put)?;
        let next = |index| self.platform.pinned_segment(&pinned, index);
        match collect(Vec::new(), len_bytes, next) {
            Ok(segments) if total_len(&segments) == Ok(len_bytes) => {
                L::with(&self.live, |live| live.pins += 1);
                let mut extent = self.extent(segments, len_bytes, 1, Caching::Cached);
                extent.entry = Some(key);
                let kind = Kind::Pinned(ManuallyDrop::new(pinned), direction);
                Ok(Memory { extent, kind })
            }
            other => {
                self.platform.unpin_user(pinned, false);
                Err(put(other.err().unwrap_or(Error::Invalid)))
            }
        }
    }

    fn is_current(&self, memory: &Memory<P>, user: &P::User, addr: u64) -> bool {
        let Kind::Pinned(pinned, _) = &memory.kind else {
            return false;
        };
        self.platform.pin_is_current(pinned, user, addr)
    }

    fn memory_len(&self, memory: &Memory<P>) -> u64 {
        memory.extent.len
    }

    fn map(
        &self,
        dev: P::Device,
        memory: &Memory<P>,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Mapping<P>, Error> {
        self.map_memory(&self.facts(dev)?, &memory.extent, direction, attrs)
    }

    fn unmap(&self, mapping: Mapping<P>, attrs: Attrs) {
        // On failure, the layer quarantines the memory and counts it.
        let _ = self.try_unmap(mapping, attrs);
    }

    fn try_unmap(&self, mapping: Mapping<P>, attrs: Attrs) -> Result<(), Error> {
        self.check_own(mapping.owner)?;
        self.end_mapping(mapping, attrs, false)
    }

    fn flush(&self) -> Result<(), Error> {
        let mut result = Ok(());
        for slot in 0..self.used_slots() {
            // Flushes the other devices' ranges even after a failure.
            result = result.and(self.flush_slot(slot));
        }
        result
    }

    fn sync(
        &self,
        mapping: &Mapping<P>,
        direction: Direction,
        sync: SyncFor,
    ) -> Result<bool, Error> {
        self.check_own(mapping.owner)?;
        self.try_sync(mapping, direction, sync)
    }

    fn segment(&self, mapping: &Mapping<P>, index: usize) -> Option<DmaSegment> {
        mapping.segments().get(index).copied()
    }

    fn bounces(&self, mapping: &Mapping<P>) -> bool {
        !mapping.runs.bounced().is_empty()
    }

    fn vmap(&self, memory: &Memory<P>) -> Result<Vmap<P>, Error> {
        self.vmap_memory(&memory.extent)
    }

    fn vunmap(&self, vmap: Vmap<P>) {
        if !self.is_own(vmap.owner) {
            return;
        }
        self.platform.vunmap(vmap.host);
        L::with(&self.live, |live| live.vmaps -= 1);
        self.put(vmap.memory);
    }

    fn vmap_read(&self, vmap: &Vmap<P>, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.check_own(vmap.owner)?;
        self.platform.vmap_read(&vmap.host, offset, out)
    }

    fn vmap_write(&self, vmap: &Vmap<P>, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check_own(vmap.owner)?;
        self.platform.vmap_write(&vmap.host, offset, data)
    }

    fn mmap(&self, memory: &Memory<P>, offset: u64, len_bytes: u64) -> Result<P::Mmap, Error> {
        if !self.is_own(memory.extent.owner)
            || len_bytes == 0
            || offset & (self.platform.page_size() - 1) != 0
        {
            return Err(Error::Invalid);
        }
        check_within(memory.len_bytes(), offset, len_bytes)?;
        if let Some(pages) = memory.pages() {
            return self.platform.mmap(pages, offset, len_bytes);
        }
        let run = match (&memory.kind, memory.segments()) {
            (Kind::Region(_), &[run]) => run,
            _ => return Err(Error::Invalid),
        };
        let addr = run.addr.checked_add(offset).ok_or(Error::Invalid)?;
        self.platform.mmap_physical(Segment {
            addr,
            len: len_bytes,
            ..run
        })
    }
}
