// All that an operating system must provide to the mapping layer: its pages, its IOMMU's page table and its
// view of memory. Uses only `core` and `alloc`.
use crate::ram::{PAGE, PAGES, Ram};
use alloc::vec::Vec;
use core::cell::RefCell;
use vb3_dma::iopt::{Config, Format, PageTable, TableMemory};
use vb3_dma::{
    Caching, DeviceInfo, Error, Iommu, IommuInfo, Iova, KernelViews, Layout, Limits, PageRequest,
    PageSource, PhysAddr, Prot, Segment, SegmentKind,
};

/// The system: two devices, each behind a separate page table. A real system would use locks in place of
/// `RefCell`.
pub(crate) struct Os {
    pub(crate) ram: RefCell<Ram>,
    pub(crate) tables: [RefCell<PageTable>; 2],
}

impl Os {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut ram = Ram::new();
        let config = Config {
            format: Format::VtdSecondStage,
            page_sizes: PAGE,
            input_bits: 39,
            output_bits: 39,
        };
        let mut table = || PageTable::new(&mut ram, &config).map(RefCell::new);
        let tables = [table()?, table()?];
        let ram = RefCell::new(ram);
        Ok(Self { ram, tables })
    }

    pub(crate) fn table(&self, dev: u8) -> Result<&RefCell<PageTable>, Error> {
        self.tables.get(usize::from(dev)).ok_or(Error::Invalid)
    }
}

impl PageSource for Os {
    type Device = u8;
    type Pages = Vec<Segment>;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn ram_bytes(&self) -> u64 {
        PAGES as u64 * PAGE
    }
    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        self.table(dev).ok()?;
        let (first, last) = (Iova::new(PAGE), Iova::new(u64::from(u32::MAX)));
        let limits = Limits {
            max_segment: u64::MAX,
            ..Limits::default()
        };
        Some(DeviceInfo::new(limits).with_iommu(Some(IommuInfo {
            page_sizes: PAGE,
            first,
            last,
        })))
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Vec<Segment>, Error> {
        // All RAM is below `max_addr`, and `granule` is a page. Other systems must check both.
        if request.layout == Layout::Contiguous && request.len > PAGE {
            return Err(Error::Unsupported); // the IOMMU makes it unnecessary
        }
        let mut pages = Vec::new();
        for _ in 0..request.len / PAGE {
            let taken = self.ram.borrow_mut().take();
            match taken {
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
    fn free_pages(&self, pages: Vec<Segment>) {
        let mut ram = self.ram.borrow_mut();
        pages
            .iter()
            .for_each(|page| ram.free_table(page.addr, PAGE));
    }
    fn pages_segment(&self, pages: &Vec<Segment>, index: usize) -> Option<Segment> {
        pages.get(index).copied()
    }
}

impl Iommu for Os {
    fn iommu_map(
        &self,
        dev: u8,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        let (mut table, mut ram) = (self.table(dev)?.borrow_mut(), self.ram.borrow_mut());
        table.map(&mut *ram, iova, phys, len, prot)
    }
    fn iommu_unmap(&self, dev: u8, iova: Iova, len: u64) -> Result<(), Error> {
        let (mut table, mut ram) = (self.table(dev)?.borrow_mut(), self.ram.borrow_mut());
        table.unmap(&mut *ram, iova, len).map(|_removed| ())
    }
    fn iommu_flush(&self, dev: u8) {
        let Ok(table) = self.table(dev) else { return };
        let retired = table.borrow_mut().take_retired();
        // Real hardware: write the IOMMU's invalidation register here, and wait until the invalidation is
        // complete.
        retired.free(&mut *self.ram.borrow_mut());
    }
}

impl KernelViews for Os {
    type Vmap = Vec<Segment>;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _caching: Caching) -> Result<Vec<Segment>, Error> {
        Ok(runs.to_vec())
    }
    fn vmap_read(&self, vmap: &Vec<Segment>, at: u64, out: &mut [u8]) -> Result<(), Error> {
        for (mut offset, byte) in (at..).zip(out) {
            let mut runs = vmap.iter();
            let addr = loop {
                let run = runs.next().ok_or(Error::Invalid)?;
                match offset.checked_sub(run.len) {
                    None => break run.addr.get() + offset,
                    Some(left) => offset = left,
                }
            };
            *byte = self.ram.borrow_mut().at(addr, 1)[0];
        }
        Ok(())
    }
}

// The system has no caches that devices do not see, no bounce pool and no programs.
vb3_dma::without!(Os: Caches, Bounce, UserPages);
