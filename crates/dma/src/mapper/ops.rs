//! [`DmaOps`] over a platform.

use super::bounce::Plan;
use super::iommu::Shape;
use super::list::List;
use super::{
    Alloc, Mapper, Mapping, Memory, Table, collect, copy_segments, push_segment, total_len,
};
use crate::{
    Attrs, Caching, Coherency, Constraint, DeviceInfo, Direction, DmaAddr, DmaOps, DmaSegment,
    Error, Platform, Reason, Segment, SegmentMode, SyncFor,
};
use ::alloc::vec::Vec;

impl<P: Platform> Mapper<P> {
    /// A table of physical ranges the caller vouches for: pages of its own, or ranges no page
    /// stands behind (device memory, a carve-out). Pages count as cached.
    ///
    /// The ranges must stay valid as long as the table.
    ///
    /// # Errors
    /// `Invalid` for no ranges, an empty one or one that wraps; `NoMemory`.
    pub fn table_of_segments(&mut self, ranges: &[Segment]) -> Result<Table<P>, Error> {
        let mut segments = Vec::new();
        for &range in ranges {
            push_segment(&mut segments, range)?;
        }
        let len = total_len(&segments)?;
        if len == 0 {
            return Err(Error::Invalid);
        }
        self.live.tables = self.live.tables.saturating_add(1);
        Ok(Table {
            owner: self.id,
            memory: Memory::Callers,
            segments,
            len,
            granule: 1,
            caching: Caching::Cached,
        })
    }

    /// Fills in a mapping that was made for the device and the direction. It is empty if that fails.
    fn map_table(
        &mut self,
        (info, mode): (&DeviceInfo, SegmentMode),
        table: &Table<P>,
        attrs: Attrs,
        mapping: &mut Mapping<P>,
    ) -> Result<(), Error> {
        let (dev, direction) = (mapping.dev, mapping.direction);
        let cached = table.caching == Caching::Cached && !attrs.contains(Attrs::MMIO);
        mapping.needs_sync = cached && info.coherency == Coherency::NonCoherent;
        if mapping.needs_sync && attrs.contains(Attrs::REQUIRE_COHERENT) {
            return Err(Error::Unsupported);
        }
        let mut plan = Plan::new(&mut mapping.direct, &mut mapping.bounced);
        let memory = (&table.segments[..], table.granule);
        self.plan(dev, info, memory, attrs, &mut plan)?;
        let shape = Shape {
            direction,
            caching: table.caching,
            mode,
            one_run: attrs.contains(Attrs::ONE_RUN),
        };
        let addressed = match &info.iommu {
            None => self
                .map_direct(dev, info, plan.targets(), shape)
                .map(|output| (output, None)),
            Some(iommu) => self
                .map_iommu(dev, info, iommu, plan.targets(), shape)
                .map(|(output, range)| (output, Some(range))),
        };
        match addressed {
            Ok((output, iova)) => {
                (mapping.output, mapping.iova) = (output, iova);
                Ok(())
            }
            Err(err) => {
                self.release_slots(&core::mem::take(&mut mapping.bounced));
                Err(err)
            }
        }
    }

    /// The first hand-over. Counts the mapping, if it succeeds.
    ///
    /// A bounce slot may hold somebody else's bytes, and what the device leaves unwritten must
    /// come back as it was, so the slot is filled even if the caller syncs later. If the device
    /// only reads, zeroes do until then.
    fn fill(&mut self, mapping: &Mapping<P>, attrs: Attrs) -> Result<(), Error> {
        let skips = attrs.contains(Attrs::SKIP_CPU_SYNC);
        let zero = skips && !mapping.direction.device_writes();
        let (mut copied, mut result) = (0u64, Ok(()));
        for run in mapping.bounced.iter() {
            if zero {
                self.platform.bounce_zero(run.at, run.len);
                continue;
            }
            result = self.copy_part_counting(run, (0, run.len), SyncFor::Device, &mut copied);
            if result.is_err() {
                break;
            }
        }
        let done = result.is_ok();
        let maintained = done && !skips && mapping.needs_sync && self.maintain_direct(mapping);
        let synced = maintained || (done && !mapping.bounced.is_empty() && !zero);
        self.count(mapping.dev, |c| {
            c.maps = c.maps.saturating_add(done.into());
            c.syncs_for_device = c.syncs_for_device.saturating_add(synced.into());
            c.count_bounced(copied);
        });
        result
    }

    /// Takes the device's view away. Slots are used for something else next, so no translation
    /// to them may be left.
    fn end_view(&mut self, mapping: &Mapping<P>) {
        match mapping.iova {
            Some(range) if mapping.bounced.is_empty() => self.unmap_iommu(mapping.dev, range),
            Some(range) => self.unmap_iommu_now(mapping.dev, range),
            None => {}
        }
    }

    /// Takes the device's view away and gives slots back, copying nothing.
    fn take_down(&mut self, mapping: &Mapping<P>) {
        self.end_view(mapping);
        self.release_slots(&mapping.bounced);
    }
}

impl<P: Platform> DmaOps for Mapper<P> {
    type Device = P::Device;
    type User = P::User;
    type Alloc = Alloc<P>;
    type Table = Table<P>;
    type Mapping = Mapping<P>;
    type Vmap = P::Vmap;
    type Mmap = P::Mmap;

    fn page_size(&self) -> u64 {
        self.platform.page_size()
    }

    fn cache_alignment(&self, dev: Self::Device) -> u64 {
        self.platform
            .device_info(dev)
            .map_or(1, |info| info.cache_alignment.max(1))
    }

    fn coherency(&self, dev: Self::Device) -> Coherency {
        self.platform
            .device_info(dev)
            .map_or(Coherency::NonCoherent, |info| info.coherency)
    }

    fn alloc_coherent(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        self.alloc_for(dev, len_bytes, attrs, None, Direction::Bidirectional)
    }

    fn alloc_noncontiguous(
        &mut self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Alloc, Error> {
        self.alloc_for(dev, len_bytes, attrs, Some(Caching::Cached), direction)
    }

    fn alloc_virtual(&mut self, len_bytes: u64) -> Result<Self::Alloc, Error> {
        self.alloc_unmapped(len_bytes)
    }

    fn free(&mut self, alloc: Self::Alloc) {
        if self.is_own(alloc.owner) {
            self.free_alloc(alloc);
        }
    }

    fn alloc_dma_addr(&self, alloc: &Self::Alloc) -> Option<DmaAddr> {
        alloc.home.as_ref().map(|home| home.addr)
    }

    fn sync_alloc(&mut self, alloc: &Self::Alloc, direction: Direction, sync: SyncFor) -> bool {
        self.is_own(alloc.owner) && self.sync_allocation(alloc, direction, sync)
    }

    fn alloc_caching(&self, alloc: &Self::Alloc) -> Caching {
        alloc.caching
    }

    fn table_of(&mut self, alloc: &Self::Alloc) -> Result<Self::Table, Error> {
        if !self.is_own(alloc.owner) {
            return Err(Error::Invalid);
        }
        let segments = copy_segments(&alloc.segments)?;
        self.live.tables = self.live.tables.saturating_add(1);
        Ok(Table {
            owner: self.id,
            memory: Memory::Allocated,
            segments,
            len: alloc.len,
            granule: alloc.granule,
            caching: alloc.caching,
        })
    }

    fn pin_user(
        &mut self,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Table, Error> {
        if len_bytes == 0 || addr.checked_add(len_bytes).is_none() {
            return Err(Error::Invalid);
        }
        let pinned = self
            .platform
            .pin_user(user, addr, len_bytes, direction.device_writes())?;
        match collect(|index| self.platform.pinned_segment(&pinned, index)) {
            Ok(segments) if total_len(&segments) == Ok(len_bytes) => {
                self.live.tables = self.live.tables.saturating_add(1);
                self.live.pins = self.live.pins.saturating_add(1);
                let caching = Caching::Cached;
                Ok(Table {
                    owner: self.id,
                    memory: Memory::Pinned(pinned),
                    segments,
                    len: len_bytes,
                    granule: 1,
                    caching,
                })
            }
            other => {
                self.platform.unpin_user(pinned, false);
                Err(other.err().unwrap_or(Error::Invalid))
            }
        }
    }

    fn is_current(&self, table: &Self::Table, user: &Self::User, addr: u64) -> bool {
        match &table.memory {
            Memory::Pinned(pinned) => self.platform.pin_is_current(pinned, user, addr),
            Memory::Allocated | Memory::Callers => false,
        }
    }

    fn free_table(&mut self, table: Self::Table, device_wrote: bool) {
        if !self.is_own(table.owner) {
            return;
        }
        match table.memory {
            Memory::Allocated => {}
            Memory::Callers => self.flush_all_lazy(),
            Memory::Pinned(pinned) => {
                self.flush_all_lazy();
                self.platform.unpin_user(pinned, device_wrote);
                self.live.pins = self.live.pins.saturating_sub(1);
            }
        }
        self.live.tables = self.live.tables.saturating_sub(1);
    }

    fn table_len(&self, table: &Self::Table) -> u64 {
        table.len
    }

    fn map(
        &mut self,
        dev: Self::Device,
        table: &Self::Table,
        direction: Direction,
        attrs: Attrs,
    ) -> Result<Self::Mapping, Error> {
        if !self.is_own(table.owner) {
            return Err(Error::Invalid);
        }
        let info = self.device_info(dev)?;
        let mode = match self.known_mut(dev) {
            Some(state) => state.mode,
            None => self.state_mut(dev)?.mode,
        };
        let mut mapping = Mapping {
            owner: self.id,
            dev,
            direction,
            output: List::new(),
            direct: List::new(),
            bounced: List::new(),
            iova: None,
            needs_sync: false,
        };
        self.map_table((&info, mode), table, attrs, &mut mapping)?;
        if let Err(err) = self.fill(&mapping, attrs) {
            self.take_down(&mapping);
            return Err(err);
        }
        self.live.mappings = self.live.mappings.saturating_add(1);
        Ok(mapping)
    }

    fn unmap(&mut self, mapping: Self::Mapping, attrs: Attrs) {
        if !self.is_own(mapping.owner) {
            return;
        }
        // The device's view goes first: what is copied out is what it left.
        self.end_view(&mapping);
        if !attrs.contains(Attrs::SKIP_CPU_SYNC) {
            self.sync_mapping(&mapping, mapping.direction, SyncFor::Cpu);
        }
        self.count(mapping.dev, |c| c.unmaps = c.unmaps.saturating_add(1));
        self.live.mappings = self.live.mappings.saturating_sub(1);
        self.release_slots(&mapping.bounced);
    }

    fn sync(&mut self, mapping: &Self::Mapping, direction: Direction, sync: SyncFor) -> bool {
        self.is_own(mapping.owner) && self.sync_mapping(mapping, direction, sync)
    }

    fn segment(&self, mapping: &Self::Mapping, index: usize) -> Option<DmaSegment> {
        mapping.output.get(index).copied()
    }

    fn bounces(&self, mapping: &Self::Mapping) -> bool {
        !mapping.bounced.is_empty()
    }

    fn vmap_alloc(&mut self, alloc: &Self::Alloc) -> Result<Self::Vmap, Error> {
        if !self.is_own(alloc.owner) {
            return Err(Error::Invalid);
        }
        let vmap = self.platform.vmap(&alloc.segments, alloc.caching)?;
        self.live.vmaps = self.live.vmaps.saturating_add(1);
        Ok(vmap)
    }

    fn vmap_table(&mut self, table: &Self::Table) -> Result<Self::Vmap, Error> {
        if !self.is_own(table.owner) {
            return Err(Error::Invalid);
        }
        let vmap = self.platform.vmap(&table.segments, table.caching)?;
        self.live.vmaps = self.live.vmaps.saturating_add(1);
        Ok(vmap)
    }

    fn vunmap(&mut self, vmap: Self::Vmap) {
        self.platform.vunmap(vmap);
        self.live.vmaps = self.live.vmaps.saturating_sub(1);
    }

    fn vmap_read(&mut self, vmap: &Self::Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.platform.vmap_read(vmap, offset, out)
    }

    fn vmap_write(&mut self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.platform.vmap_write(vmap, offset, data)
    }

    fn mmap(
        &mut self,
        alloc: &Self::Alloc,
        offset: u64,
        len_bytes: u64,
    ) -> Result<Self::Mmap, Error> {
        if !self.is_own(alloc.owner)
            || len_bytes == 0
            || offset & (self.platform.page_size() - 1) != 0
        {
            return Err(Error::Invalid);
        }
        let end = offset.checked_add(len_bytes);
        match end {
            Some(end) if end <= alloc.len => self.mmap_part(alloc, offset, len_bytes),
            _ => Err(Error::NoSuchMemory(Reason {
                constraint: Constraint::BufferSize,
                wanted: end.unwrap_or(u64::MAX),
                found: alloc.len,
            })),
        }
    }
}
