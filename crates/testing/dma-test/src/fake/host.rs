//! Implementation of the host's traits for the fake.

use super::{DIRT, Entry, Fake, FakePinned, FakeUser, PAGE};
use std::collections::btree_map::Entry as Slot;
use std::vec;
use std::vec::Vec;
use vb3_dma::{
    Caching, Constraint, DeviceInfo, DmaAddr, Error, PageRequest, PhysAddr, Platform, Prot, Reason,
    Segment,
};

/// Allocated pages: pieces that are not adjacent, or one run.
#[derive(Debug)]
pub struct FakePages {
    /// Address and length in bytes of each run.
    pub runs: Vec<(u64, u64)>,
    pub(super) granule: u64,
}

/// A mapping for the CPU.
#[derive(Debug)]
pub struct FakeVmap {
    segments: Vec<Segment>,
    caching: Caching,
}

const OUTSIDE: Error = Error::NoSuchMemory(Reason::new(Constraint::CpuMapping, 1, 0));

impl FakeVmap {
    fn phys(&self, offset: u64) -> Option<u64> {
        let runs = self.segments.iter();
        byte_of(runs.map(|run| (run.addr.get(), run.len)), offset)
    }
}

/// Returns the address of byte `offset` of memory in runs.
fn byte_of(runs: impl Iterator<Item = (u64, u64)>, offset: u64) -> Option<u64> {
    let mut left = offset;
    for (first, len) in runs {
        if left < len {
            return Some(first + left);
        }
        left -= len;
    }
    None
}

impl Platform for Fake {
    type Device = u32;
    type Pages = FakePages;
    type User = FakeUser;
    type Pinned = FakePinned;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn unmapped_granule(&self) -> u64 {
        self.setup.unmapped_granule
    }

    fn ram_bytes(&self) -> u64 {
        1 << 30
    }

    fn device_info(&self, dev: u32) -> Option<DeviceInfo> {
        let known = dev < self.setup.devices || self.setup.others.contains_key(&dev);
        let device = self.of(dev);
        known.then(|| {
            let mut info = DeviceInfo::new(device.limits)
                .with_iommu(device.iommu)
                .with_bounce(device.bounce);
            info.coherency = device.coherency;
            info.cache_alignment = device.cache_alignment;
            info
        })
    }

    fn device_number(&self, dev: u32) -> Option<usize> {
        self.setup.numbers.get(usize::try_from(dev).ok()?).copied()
    }

    fn alloc_pages(&self, request: PageRequest<u32>) -> Result<FakePages, Error> {
        let mut state = self.state();
        state.may_fail()?;
        let granule = match self.setup.small_pieces {
            true => PAGE,
            false => request.granule,
        };
        assert!(granule.is_power_of_two() && granule >= PAGE);
        assert!(request.len > 0 && request.len % granule == 0);
        let runs = match request.contiguous {
            false => (0..request.len / granule)
                .map(|_| (state.take_piece(granule), granule))
                .collect(),
            true => {
                state.pages_out += request.len / PAGE;
                vec![(state.take_new(request.len, granule), request.len)]
            }
        };
        let pages = FakePages { runs, granule };
        for &(first, len) in &pages.runs {
            state.memory.set(first, &vec![0; len as usize]);
            let is_cached = request.caching == Caching::Cached;
            state.memory.set_cached(first, len, is_cached);
            for page in (first..first + len).step_by(PAGE as usize) {
                match request.device {
                    Some(_) => state.shared.insert(page),
                    None => state.shared.remove(&page),
                };
            }
        }
        Ok(pages)
    }

    fn free_pages(&self, pages: FakePages) {
        let mut state = self.state();
        for (first, len) in pages.runs {
            for page in (first..first + len).step_by(PAGE as usize) {
                if state.tlb.values().any(|entry| entry.phys == page) {
                    state.freed_in_reach.push(page);
                }
                state.memory.set(page, &[DIRT; PAGE as usize]);
                state.pages_out -= 1;
            }
            let pieces = (first..first + len).step_by(pages.granule as usize);
            let free = state.free_pages.entry(pages.granule).or_default();
            free.extend(pieces);
        }
    }

    fn pages_segment(&self, pages: &FakePages, index: usize) -> Option<Segment> {
        let &(first, len) = pages.runs.get(index)?;
        Some(Segment::pages(PhysAddr::new(first), len))
    }

    fn bus_addr(&self, _: u32, addr: PhysAddr, len: u64) -> Option<DmaAddr> {
        let (first, last) = (addr.get(), addr.get() + (len - 1));
        let mut holes = self.setup.bus_holes.iter();
        let is_hidden = holes.any(|&(from, to)| first <= to && from <= last);
        (!is_hidden).then_some(DmaAddr::new(first))
    }

    fn min_address_align(&self, dev: u32) -> u64 {
        self.of(dev).align
    }

    fn cache_clean(&self, addr: PhysAddr, len: u64) {
        self.state().memory.clean(addr.get(), len);
    }

    fn cache_invalidate(&self, addr: PhysAddr, len: u64) {
        self.state().memory.invalidate(addr.get(), len);
    }

    fn iommu_group(&self, dev: u32) -> u32 {
        self.table_of(dev)
    }

    fn iommu_map(
        &self,
        dev: u32,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        let mut state = self.state();
        state.may_fail()?;
        let granule = self.of(dev).iommu.and_then(|i| i.granule()).unwrap_or(PAGE);
        let parts = iova.get() | phys.get() | len;
        assert_eq!(parts % granule, 0, "whole granules");
        assert!(iova.get() != 0 && len > 0);
        for offset in (0..len).step_by(PAGE as usize) {
            let (at, phys) = (iova.get() + offset, phys.get() + offset);
            let entry = Entry { phys, prot };
            let before = state.table.insert((dev, at), entry);
            assert_eq!(before, None, "{at:#x} mapped twice");
            // The device caches the entry at once. A device with an older translation keeps the older one.
            match state.tlb.entry((dev, at)) {
                Slot::Occupied(_) => state.stale_reuse.push(at),
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                }
            }
        }
        Ok(())
    }

    fn iommu_unmap(&self, dev: u32, iova: DmaAddr, len: u64) -> Result<(), Error> {
        let mut state = self.state();
        if state.unmap_fails {
            return Err(Error::Unsupported);
        }
        let granule = self.of(dev).iommu.and_then(|i| i.granule()).unwrap_or(PAGE);
        assert_eq!((iova.get() | len) % granule, 0, "whole granules");
        let range = (dev, iova.get())..(dev, iova.get() + len);
        state.table.retain(|at, _| !range.contains(at));
        Ok(())
    }

    fn iommu_flush(&self, dev: u32) -> Result<(), Error> {
        let state = &mut *self.state();
        state.flushes += 1;
        if state.flush_fails {
            return Err(Error::hardware());
        }
        let table = &state.table;
        state
            .tlb
            .retain(|at, _| at.0 != dev || table.contains_key(at));
        Ok(())
    }

    fn iommu_map_done(&self, _: u32, _: DmaAddr, _: u64) -> Result<(), Error> {
        self.state().may_fail()
    }

    fn reserved_iova(&self, dev: u32, index: usize) -> Option<(DmaAddr, DmaAddr)> {
        let region = self.of(dev).reserved.get(index)?;
        Some((DmaAddr::new(region.0), DmaAddr::new(region.1)))
    }

    fn is_untrusted(&self, dev: u32) -> bool {
        self.of(dev).untrusted && !self.setup.trusted.contains(&dev)
    }

    fn bounce_pool(&self) -> Option<Segment> {
        (self.setup.pool_bytes > 0).then_some(Segment::pages(
            PhysAddr::new(self.setup.pool_base),
            self.setup.pool_bytes,
        ))
    }

    fn is_private(&self, _: u32, segment: Segment) -> bool {
        self.setup.confidential && !self.state().shared.contains(&segment.addr.get())
    }

    fn bounce_run_bytes(&self) -> u64 {
        self.setup.run_bytes
    }

    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        let mut state = self.state();
        state.may_fail()?;
        let bytes = state.memory.cpu_read(from.get(), len);
        state.memory.cpu_write(slot.get(), &bytes);
        Ok(())
    }

    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        // The fake copies between any addresses.
        self.bounce_in(to, slot, len)
    }

    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        let mut state = self.state();
        state.memory.cpu_write(slot.get(), &vec![0; len as usize]);
        state.memory.clean(slot.get(), len);
    }

    type Vmap = FakeVmap;
    /// The address and length of the physical range that a program would see.
    type Mmap = (u64, u64);

    fn vmap(&self, segments: &[Segment], caching: Caching) -> Result<FakeVmap, Error> {
        let mut state = self.state();
        state.may_fail()?;
        state.vmaps += 1;
        let segments = segments.to_vec();
        Ok(FakeVmap { segments, caching })
    }

    fn vunmap(&self, _: FakeVmap) {
        self.state().vmaps -= 1;
    }

    fn vmap_read(&self, vmap: &FakeVmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let mut state = self.state();
        for (n, byte) in (0u64..).zip(out) {
            let at = vmap.phys(offset + n).ok_or(OUTSIDE)?;
            let read = match vmap.caching {
                Caching::Cached => state.memory.cpu_read(at, 1),
                Caching::Uncached => state.memory.read(at, 1),
            };
            *byte = read[0];
        }
        Ok(())
    }

    fn vmap_write(&self, vmap: &FakeVmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        state.may_fail()?;
        for (n, &byte) in (0u64..).zip(data) {
            let at = vmap.phys(offset + n).ok_or(OUTSIDE)?;
            match vmap.caching {
                Caching::Cached => state.memory.cpu_write(at, &[byte]),
                Caching::Uncached => state.memory.set(at, &[byte]),
            }
        }
        Ok(())
    }

    fn mmap(&self, pages: &FakePages, offset: u64, len: u64) -> Result<(u64, u64), Error> {
        self.state().may_fail()?;
        let first = byte_of(pages.runs.iter().copied(), offset);
        Ok((first.ok_or(Error::Invalid)?, len))
    }

    fn mmap_physical(&self, range: Segment) -> Result<(u64, u64), Error> {
        self.state().may_fail()?;
        Ok((range.addr.get(), range.len))
    }

    fn pin_user(
        &self,
        user: &FakeUser,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<FakePinned, Error> {
        self.pin(user, addr, len, device_writes)
    }

    fn unpin_user(&self, _: FakePinned, _: bool) {
        self.state().pins -= 1;
    }

    fn pinned_segment(&self, pinned: &FakePinned, index: usize) -> Option<Segment> {
        self.pages_segment(&pinned.pages, index)
    }

    fn pin_is_current(&self, pinned: &FakePinned, user: &FakeUser, addr: u64) -> bool {
        self.is_current(pinned, user, addr)
    }
}
