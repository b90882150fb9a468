// All that an operating system brings to the mapping layer: its pages, its IOMMU's page table and
// its view of memory. Uses `core` and `alloc` alone.
use crate::ram::{PAGE, PAGES, Ram};
use alloc::vec::Vec;
use vb3_dma::iopt::{Config, EmptyTables, Format, PageTable, TableMemory};
use vb3_dma::{
    BounceMode, Caching, Coherency, DeviceInfo, Error, IommuInfo, Iova, Layout, Limits,
    PageRequest, PhysAddr, Platform, Prot, Segment, SegmentKind,
};

/// The system: one kind of device, all behind one page table.
pub(crate) struct Os {
    pub(crate) ram: Ram,
    pub(crate) table: PageTable,
}

impl Os {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut ram = Ram::new();
        let config = Config {
            format: Format::VtdSecondStage,
            page_sizes: PAGE,
            input_bits: 39,
            output_bits: 39,
            empty_tables: EmptyTables::Free,
        };
        let table = PageTable::new(&mut ram, &config)?;
        Ok(Self { ram, table })
    }
}

impl Platform for Os {
    type Device = u8;
    type User = ();
    type Pages = Vec<Segment>;
    type Pinned = ();
    type Vmap = Vec<Segment>;
    type Mmap = ();

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn ram_bytes(&self) -> u64 {
        PAGES as u64 * PAGE
    }
    fn device_info(&self, _dev: u8) -> Option<DeviceInfo> {
        let (first, last) = (Iova::new(PAGE), Iova::new(u64::from(u32::MAX)));
        Some(DeviceInfo {
            limits: Limits {
                max_segment: u64::MAX,
                ..Limits::default()
            },
            coherency: Coherency::Coherent,
            cache_alignment: 1,
            iommu: Some(IommuInfo {
                page_sizes: PAGE,
                first,
                last,
            }),
            bounce: BounceMode::Never,
        })
    }
    fn alloc_pages(&mut self, request: PageRequest<u8>) -> Result<Vec<Segment>, Error> {
        if request.layout == Layout::Contiguous && request.len > PAGE {
            return Err(Error::Unsupported); // the IOMMU makes it unnecessary
        }
        let mut pages = Vec::new();
        for _ in 0..request.len / PAGE {
            match self.ram.take() {
                Ok(frame) => pages.push(Segment {
                    addr: PhysAddr::new(frame * PAGE),
                    len: PAGE,
                    kind: SegmentKind::Pages,
                }),
                Err(err) => {
                    self.free_pages(pages);
                    return Err(err);
                }
            }
        }
        Ok(pages)
    }
    fn free_pages(&mut self, pages: Vec<Segment>) {
        pages
            .iter()
            .for_each(|page| self.ram.free_table(page.addr, PAGE));
    }
    fn pages_segment(&self, pages: &Vec<Segment>, index: usize) -> Option<Segment> {
        pages.get(index).copied()
    }
    fn pin_user(&mut self, _: &(), _: u64, _: u64, _: bool) -> Result<(), Error> {
        Err(Error::Unsupported) // no programs here
    }
    fn unpin_user(&mut self, (): (), _dirty: bool) {}
    fn pinned_segment(&self, (): &(), _index: usize) -> Option<Segment> {
        None
    }
    fn pin_is_current(&self, (): &(), (): &(), _addr: u64) -> bool {
        false
    }
    fn cache_clean(&mut self, _addr: PhysAddr, _len: u64) {}
    fn cache_invalidate(&mut self, _addr: PhysAddr, _len: u64) {}
    fn iommu_map(
        &mut self,
        _dev: u8,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.table.map(&mut self.ram, iova, phys, len, prot)
    }
    fn iommu_unmap(&mut self, _dev: u8, iova: Iova, len: u64) {
        // Pages need no splitting, so nothing can run out.
        let _removed = self.table.unmap(&mut self.ram, iova, len);
    }
    fn iommu_flush(&mut self, _dev: u8) {
        self.table.reclaim(&mut self.ram); // after writing the IOMMU's invalidation register
    }
    fn vmap(&mut self, runs: &[Segment], _caching: Caching) -> Result<Vec<Segment>, Error> {
        Ok(runs.to_vec())
    }
    fn vunmap(&mut self, _vmap: Vec<Segment>) {}
    fn vmap_read(&mut self, vmap: &Vec<Segment>, at: u64, out: &mut [u8]) -> Result<(), Error> {
        for (mut offset, byte) in (at..).zip(out) {
            let mut runs = vmap.iter();
            let addr = loop {
                let run = runs.next().ok_or(Error::Invalid)?;
                match offset.checked_sub(run.len) {
                    None => break run.addr.get() + offset,
                    Some(left) => offset = left,
                }
            };
            *byte = self.ram.at(addr, 1)[0];
        }
        Ok(())
    }
    fn mmap(&mut self, _pages: &Vec<Segment>, _offset: u64, _len: u64) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}
