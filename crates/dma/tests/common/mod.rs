//! A platform that hurts on purpose: its devices keep every translation until a flush, its memory
//! is full of the last user's bytes until it is zeroed, and any call that may fail can.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use vb3_dma::{
    BounceMode, BouncePool, Caching, Coherency, Constraint, DeviceInfo, DmaAddr, Error, IommuInfo,
    Iova, Limits, Mapper, PageRequest, PhysAddr, Platform, Prot, Reason, Segment, SegmentKind,
};

pub(crate) const PAGE: u64 = 4096;
/// Where RAM, the bounce pool and device memory lie.
pub(crate) const RAM: u64 = 0x1_0000_0000;
pub(crate) const POOL: u64 = 0x8000_0000;
pub(crate) const SRAM: u64 = 0x4000_0000;
/// What memory holds before anybody has zeroed it.
pub(crate) const DIRT: u8 = 0xa5;

/// What a test sets up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) iommu: Option<IommuInfo>,
    pub(crate) bounce: BounceMode,
    pub(crate) pool_bytes: u64,
    pub(crate) run_bytes: u64,
    pub(crate) untrusted: bool,
    pub(crate) min_align: u64,
    pub(crate) low_first: bool,
    pub(crate) reserved: Vec<(u64, u64)>,
    pub(crate) coherency: Coherency,
    pub(crate) pool_base: u64,
    /// What memory for no device is made of.
    pub(crate) unmapped_granule: u64,
    /// It has pages alone, whatever it is asked for.
    pub(crate) small_pieces: bool,
    /// What addresses of the device must be multiples of.
    pub(crate) align: u64,
}

impl Setup {
    /// A device that reaches all memory at its own addresses.
    pub(crate) fn direct() -> Self {
        Self {
            limits: Limits {
                mask: u64::MAX,
                max_segment: 1 << 30,
                ..Limits::default()
            },
            iommu: None,
            bounce: BounceMode::Never,
            pool_bytes: 0,
            run_bytes: u64::MAX,
            untrusted: false,
            min_align: 0,
            low_first: false,
            reserved: Vec::new(),
            coherency: Coherency::Coherent,
            pool_base: POOL,
            unmapped_granule: PAGE,
            small_pieces: false,
            align: 1,
        }
    }

    /// The same with an IOMMU that has pages of this size.
    pub(crate) fn granule(mut self, granule: u64) -> Self {
        if let Some(iommu) = &mut self.iommu {
            iommu.page_sizes = granule;
        }
        self
    }

    /// A device behind an IOMMU with addresses of so many bits.
    pub(crate) fn iommu(bits: u32) -> Self {
        Self {
            iommu: Some(IommuInfo {
                page_sizes: PAGE,
                first: Iova::new(0),
                last: Iova::new((1 << bits) - 1),
            }),
            ..Self::direct()
        }
    }

    /// One that is not trusted, with a bounce pool.
    pub(crate) fn untrusted() -> Self {
        Self {
            untrusted: true,
            bounce: BounceMode::WhenNeeded,
            pool_bytes: 64 * PAGE,
            ..Self::iommu(32)
        }
    }

    /// One that reaches 32 bits, with a bounce pool.
    pub(crate) fn narrow(pool_bytes: u64) -> Self {
        Self {
            limits: Limits {
                mask: u32::MAX.into(),
                max_segment: 1 << 30,
                ..Limits::default()
            },
            bounce: BounceMode::WhenNeeded,
            pool_bytes,
            ..Self::direct()
        }
    }

    pub(crate) fn mapper(self) -> Mapper<Fake> {
        Mapper::new(Fake::new(self)).unwrap()
    }
}

/// An entry of the page table, or what a device keeps of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) phys: u64,
    pub(crate) prot: Prot,
}

/// The machine. One device, number 0.
#[derive(Debug)]
pub(crate) struct Fake {
    setup: Setup,
    memory: BTreeMap<u64, Vec<u8>>,
    next_page: u64,
    free_pages: BTreeMap<u64, Vec<u64>>,
    pub(crate) pages_out: u64,
    pub(crate) vmaps: u64,
    pub(crate) pins: u64,
    pub(crate) table: BTreeMap<u64, Entry>,
    /// What the device has in its translation buffer: everything it could have.
    tlb: BTreeMap<u64, Entry>,
    /// Addresses that were mapped anew while the buffer held an older translation of them.
    pub(crate) stale_reuse: Vec<u64>,
    /// Pages that were freed while the device could still reach them.
    pub(crate) freed_in_reach: Vec<u64>,
    pub(crate) flushes: u64,
    pub(crate) map_done: Vec<(u64, u64)>,
    pub(crate) fail_at: Option<u64>,
    pub(crate) calls: u64,
    pub(crate) hits: u64,
}

impl Fake {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            memory: BTreeMap::new(),
            next_page: RAM,
            free_pages: BTreeMap::new(),
            pages_out: 0,
            vmaps: 0,
            pins: 0,
            table: BTreeMap::new(),
            tlb: BTreeMap::new(),
            stale_reuse: Vec::new(),
            freed_in_reach: Vec::new(),
            flushes: 0,
            map_done: Vec::new(),
            fail_at: None,
            calls: 0,
            hits: 0,
        }
    }

    fn may_fail(&mut self) -> Result<(), Error> {
        let call = self.calls;
        self.calls += 1;
        if self.fail_at != Some(call) {
            return Ok(());
        }
        self.hits += 1;
        Err(Error::NoMemory(Reason {
            constraint: Constraint::InjectedFault,
            wanted: call,
            found: 0,
        }))
    }

    /// Makes call `n` from now fail; `None` for none.
    pub(crate) fn fail(&mut self, n: Option<u64>) {
        (self.fail_at, self.calls, self.hits) = (n, 0, 0);
    }

    fn page(&mut self, addr: u64) -> &mut Vec<u8> {
        self.memory
            .entry(addr & !(PAGE - 1))
            .or_insert_with(|| vec![DIRT; PAGE as usize])
    }

    pub(crate) fn poke(&mut self, addr: u64, data: &[u8]) {
        let (mut at, mut rest) = (addr, data);
        while !rest.is_empty() {
            let offset = (at % PAGE) as usize;
            let (part, tail) = rest.split_at(rest.len().min(PAGE as usize - offset));
            self.page(at)[offset..offset + part.len()].copy_from_slice(part);
            (at, rest) = (at + part.len() as u64, tail);
        }
    }

    pub(crate) fn peek(&mut self, addr: u64, len: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while (out.len() as u64) < len {
            let at = addr + out.len() as u64;
            let part = (len - out.len() as u64).min(PAGE - at % PAGE);
            let offset = (at % PAGE) as usize;
            out.extend_from_slice(&self.page(at)[offset..offset + part as usize]);
        }
        out
    }

    /// Where the device gets to, with whatever its buffer still holds.
    pub(crate) fn reach(&self, addr: DmaAddr) -> Option<u64> {
        let addr = addr.get();
        if self.setup.iommu.is_none() {
            return Some(addr);
        }
        let page = addr & !(PAGE - 1);
        let entry = self.tlb.get(&page)?;
        Some(entry.phys + addr % PAGE)
    }

    /// Where the parts of a device's access lie, page by page.
    fn parts(&self, addr: DmaAddr, len: u64) -> Option<Vec<(u64, u64)>> {
        let (mut list, mut done) = (Vec::new(), 0);
        while done < len {
            let at = addr.checked_add(done)?;
            let part = (len - done).min(PAGE - at.get() % PAGE);
            list.push((self.reach(at)?, part));
            done += part;
        }
        Some(list)
    }

    pub(crate) fn dev_read(&mut self, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        let parts = self.parts(addr, len)?;
        Some(
            parts
                .into_iter()
                .flat_map(|(at, len)| self.peek(at, len))
                .collect(),
        )
    }

    pub(crate) fn dev_write(&mut self, addr: DmaAddr, data: &[u8]) -> Option<()> {
        let mut done = 0;
        for (at, len) in self.parts(addr, data.len() as u64)? {
            self.poke(at, &data[done..done + len as usize]);
            done += len as usize;
        }
        Some(())
    }

    /// A piece that touches none handed out before.
    fn take_piece(&mut self, granule: u64) -> u64 {
        let free = self.free_pages.get_mut(&granule).and_then(Vec::pop);
        let piece = free.unwrap_or_else(|| self.take_new(granule, granule));
        self.pages_out += granule / PAGE;
        piece
    }

    fn take_new(&mut self, len: u64, granule: u64) -> u64 {
        let first = (self.next_page + PAGE).next_multiple_of(granule);
        self.next_page = first + len;
        first
    }

    /// Physical pages that the device gets to, with whatever its buffer still holds.
    pub(crate) fn reached(&self) -> BTreeSet<u64> {
        self.tlb.values().map(|entry| entry.phys).collect()
    }

    fn iommu_granule(&self) -> u64 {
        self.setup.iommu.and_then(|i| i.granule()).unwrap_or(PAGE)
    }

    /// Nothing is out: what a balanced run leaves.
    pub(crate) fn is_clean(&self) -> bool {
        self.pages_out == 0 && self.vmaps == 0 && self.pins == 0 && self.table.is_empty()
    }
}

/// Pages: all apart from each other, or one run.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) runs: Vec<(u64, u64)>,
    granule: u64,
}

/// A mapping for the CPU.
#[derive(Debug)]
pub(crate) struct Vmap {
    segments: Vec<Segment>,
}

impl Vmap {
    fn phys(&self, offset: u64) -> u64 {
        let mut at = 0;
        for s in &self.segments {
            if offset < at + s.len {
                return s.addr.get() + (offset - at);
            }
            at += s.len;
        }
        panic!("outside the mapping");
    }
}

impl Platform for Fake {
    type Device = u32;
    type User = ();
    type Pages = Pages;
    type Pinned = Pages;
    type Vmap = Vmap;
    /// The physical range a program would see.
    type Mmap = (u64, u64);

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
        (dev == 0).then_some(DeviceInfo {
            limits: self.setup.limits,
            coherency: self.setup.coherency,
            cache_alignment: 1,
            iommu: self.setup.iommu,
            bounce: self.setup.bounce,
        })
    }

    fn alloc_pages(&mut self, request: PageRequest<u32>) -> Result<Pages, Error> {
        self.may_fail()?;
        let granule = match self.setup.small_pieces {
            true => PAGE,
            false => request.granule,
        };
        assert!(granule.is_power_of_two() && granule >= PAGE);
        assert!(request.len > 0 && request.len % granule == 0);
        let runs = match request.layout {
            vb3_dma::Layout::Scattered => (0..request.len / granule)
                .map(|_| (self.take_piece(granule), granule))
                .collect(),
            vb3_dma::Layout::Contiguous => {
                self.pages_out += request.len / PAGE;
                vec![(self.take_new(request.len, granule), request.len)]
            }
        };
        let pages = Pages { runs, granule };
        for &(first, len) in &pages.runs {
            self.poke(first, &vec![0; len as usize]);
        }
        Ok(pages)
    }

    fn free_pages(&mut self, pages: Pages) {
        for (first, len) in pages.runs {
            for page in (first..first + len).step_by(PAGE as usize) {
                if self.tlb.values().any(|entry| entry.phys == page) {
                    self.freed_in_reach.push(page);
                }
                self.poke(page, &[DIRT; PAGE as usize]);
                self.pages_out -= 1;
            }
            let pieces = (first..first + len).step_by(pages.granule as usize);
            let free = self.free_pages.entry(pages.granule).or_default();
            free.extend(pieces);
        }
    }

    fn pages_segment(&self, pages: &Pages, index: usize) -> Option<Segment> {
        pages.runs.get(index).map(|&(first, len)| Segment {
            addr: PhysAddr::new(first),
            len,
            kind: SegmentKind::Pages,
        })
    }

    fn pin_user(&mut self, (): &(), addr: u64, len: u64, _: bool) -> Result<Pages, Error> {
        self.may_fail()?;
        self.pins += 1;
        Ok(Pages {
            runs: vec![(RAM + (addr & 0xfff_ffff), len)],
            granule: PAGE,
        })
    }

    fn unpin_user(&mut self, _: Pages, _: bool) {
        self.pins -= 1;
    }

    fn pinned_segment(&self, pinned: &Pages, index: usize) -> Option<Segment> {
        self.pages_segment(pinned, index)
    }

    fn pin_is_current(&self, _: &Pages, (): &(), _: u64) -> bool {
        true
    }

    fn cache_clean(&mut self, _: PhysAddr, _: u64) {}

    fn cache_invalidate(&mut self, _: PhysAddr, _: u64) {}

    fn iommu_map(
        &mut self,
        _: u32,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.may_fail()?;
        let parts = iova.get() | phys.get() | len;
        assert_eq!(parts % self.iommu_granule(), 0, "whole granules");
        assert!(iova.get() != 0 && len > 0);
        for offset in (0..len).step_by(PAGE as usize) {
            let (at, phys) = (iova.get() + offset, phys.get() + offset);
            let entry = Entry { phys, prot };
            assert_eq!(self.table.insert(at, entry), None, "{at:#x} mapped twice");
            // The device has looked at once, and an older translation wins.
            match self.tlb.entry(at) {
                Slot::Occupied(_) => self.stale_reuse.push(at),
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                }
            }
        }
        Ok(())
    }

    fn iommu_unmap(&mut self, _: u32, iova: Iova, len: u64) {
        let parts = iova.get() | len;
        assert_eq!(parts % self.iommu_granule(), 0, "whole granules");
        let range = iova.get()..iova.get() + len;
        let gone: Vec<u64> = self.table.range(range).map(|(&at, _)| at).collect();
        for at in gone {
            self.table.remove(&at);
        }
    }

    fn iommu_flush(&mut self, _: u32) {
        self.flushes += 1;
        let table: BTreeSet<u64> = self.table.keys().copied().collect();
        self.tlb.retain(|at, _| table.contains(at));
    }

    fn iommu_map_done(&mut self, _: u32, iova: Iova, len: u64) -> Result<(), Error> {
        self.may_fail()?;
        self.map_done.push((iova.get(), len));
        Ok(())
    }

    fn prefers_low_iova(&self, _: u32) -> bool {
        self.setup.low_first
    }

    fn reserved_iova(&self, _: u32, index: usize) -> Option<(Iova, Iova)> {
        let region = self.setup.reserved.get(index)?;
        Some((Iova::new(region.0), Iova::new(region.1)))
    }

    fn is_untrusted(&self, _: u32) -> bool {
        self.setup.untrusted
    }

    fn min_address_align(&self, _: u32) -> u64 {
        self.setup.align
    }

    fn min_align_mask(&self, _: u32) -> u64 {
        self.setup.min_align
    }

    fn bounce_run_bytes(&self) -> u64 {
        self.setup.run_bytes
    }

    fn bounce_pool(&self) -> Option<BouncePool> {
        (self.setup.pool_bytes > 0).then_some(BouncePool {
            base: PhysAddr::new(self.setup.pool_base),
            len: self.setup.pool_bytes,
        })
    }

    fn bounce_in(&mut self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.may_fail()?;
        self.copy(slot, from, len);
        Ok(())
    }

    fn bounce_out(&mut self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        self.copy(to, slot, len);
        Ok(())
    }

    fn bounce_zero(&mut self, slot: PhysAddr, len: u64) {
        self.poke(slot.get(), &vec![0; len as usize]);
    }

    fn vmap(&mut self, segments: &[Segment], _: Caching) -> Result<Vmap, Error> {
        self.may_fail()?;
        self.vmaps += 1;
        Ok(Vmap {
            segments: segments.to_vec(),
        })
    }

    fn vunmap(&mut self, _: Vmap) {
        self.vmaps -= 1;
    }

    fn vmap_read(&mut self, vmap: &Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        for (n, byte) in out.iter_mut().enumerate() {
            *byte = self.peek(vmap.phys(offset + n as u64), 1)[0];
        }
        Ok(())
    }

    fn vmap_write(&mut self, vmap: &Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.may_fail()?;
        for (n, &byte) in data.iter().enumerate() {
            self.poke(vmap.phys(offset + n as u64), &[byte]);
        }
        Ok(())
    }

    fn mmap(&mut self, pages: &Pages, offset: u64, len: u64) -> Result<(u64, u64), Error> {
        self.may_fail()?;
        let mut at = 0;
        for &(first, run) in &pages.runs {
            if offset < at + run {
                return Ok((first + (offset - at), len));
            }
            at += run;
        }
        Err(Error::Invalid)
    }

    fn mmap_physical(&mut self, range: Segment) -> Result<(u64, u64), Error> {
        self.may_fail()?;
        Ok((range.addr.get(), range.len))
    }
}

impl Fake {
    fn copy(&mut self, to: PhysAddr, from: PhysAddr, len: u64) {
        let bytes = self.peek(from.get(), len);
        self.poke(to.get(), &bytes);
    }
}

/// Pages of RAM that start at `offset` bytes into it.
pub(crate) fn ram(offset: u64, len: u64) -> Segment {
    Segment {
        addr: PhysAddr::new(RAM + 0x1000_0000 + offset),
        len,
        kind: SegmentKind::Pages,
    }
}

/// Device memory without pages.
pub(crate) fn sram(offset: u64, len: u64) -> Segment {
    Segment {
        addr: PhysAddr::new(SRAM + offset),
        len,
        kind: SegmentKind::Physical,
    }
}
