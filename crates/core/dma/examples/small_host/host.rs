// A complete host that uses only `core` and `alloc`: RAM, and devices with or without an IOMMU. A real host would
// use locks in place of `RefCell`.
use alloc::{vec, vec::Vec};
use core::cell::{RefCell, RefMut};
use vb3_dma::iopt::{Config, Format, PageTable, TableMemory};
use vb3_dma::{
    Caching, Constraint, DeviceInfo, Error, Iommu, IommuInfo, Iova, KernelViews, Limits,
    PageRequest, PageSource, PhysAddr, Prot, RangeAllocator, Segment,
};

pub(crate) const PAGE: u64 = 4096;
const PAGES: u64 = 512;
const TABLES: Config = Config {
    format: Format::VtdSecondStage,
    page_sizes: PAGE,
    input_bits: 39,
    output_bits: 39,
};

type Result<T = ()> = core::result::Result<T, Error>;

/// RAM and its allocator, also for page tables.
pub(crate) struct Ram {
    bytes: Vec<u8>,
    pages: RangeAllocator,
}

impl Ram {
    pub(crate) fn at(&mut self, addr: u64, len: usize) -> &mut [u8] {
        &mut self.bytes[addr as usize..][..len]
    }
}

impl TableMemory for Ram {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr> {
        let addr = self.pages.take(len, 1, u64::MAX)?;
        self.at(addr, len as usize).fill(0);
        Ok(PhysAddr::new(addr))
    }
    fn free_table(&mut self, table: PhysAddr, len: u64) {
        let freed = self.pages.give_back(table.get(), len);
        freed.expect("allocated above");
    }
    fn read_entry(&self, at: PhysAddr) -> u64 {
        let word = self.bytes[at.get() as usize..].first_chunk();
        u64::from_le_bytes(*word.unwrap_or(&[0; 8]))
    }
    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        self.at(at.get(), 8).copy_from_slice(&entry.to_le_bytes());
    }
}

/// The host. Each device behind the IOMMU has its own page table.
pub(crate) struct Host {
    pub(crate) ram: RefCell<Ram>,
    pub(crate) tables: Vec<RefCell<PageTable>>,
}

impl Host {
    /// Makes a host whose first `translated` devices are behind an IOMMU.
    pub(crate) fn new(translated: usize) -> Result<Self> {
        let bytes = vec![0; (PAGES * PAGE) as usize];
        let pages = RangeAllocator::new(Constraint::Ram, PAGE, PAGE, PAGES * PAGE - 1)?;
        let mut ram = Ram { bytes, pages };
        let table = |_| PageTable::new(&mut ram, &TABLES).map(RefCell::new);
        let tables = (0..translated).map(table).collect::<Result<_>>()?;
        let ram = RefCell::new(ram);
        Ok(Self { ram, tables })
    }
    fn table(&self, dev: u8) -> RefMut<'_, PageTable> {
        self.tables[usize::from(dev)].borrow_mut()
    }
}

impl PageSource for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        let table = self.tables.get(usize::from(dev));
        let iommu = table.map(|_| IommuInfo::from(&TABLES));
        Some(DeviceInfo::new(Limits::default()).with_iommu(iommu))
    }
    // Each page of this RAM lies below 2 MiB, so it meets every `max_addr`; whole pages meet the granule.
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment> {
        let addr = self.ram.borrow_mut().alloc_table(request.len)?;
        Ok(Segment::pages(addr, request.len))
    }
    fn free_pages(&self, pages: Segment) {
        self.ram.borrow_mut().free_table(pages.addr, pages.len);
    }
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }
}

impl Iommu for Host {
    fn iommu_map(&self, dev: u8, at: Iova, to: PhysAddr, len: u64, prot: Prot) -> Result {
        let ram = &mut *self.ram.borrow_mut();
        self.table(dev).map(ram, at, to, len, prot)
    }
    fn iommu_unmap(&self, dev: u8, at: Iova, len: u64) -> Result {
        let ram = &mut *self.ram.borrow_mut();
        self.table(dev).unmap(ram, at, len).map(|_removed| ())
    }
    fn iommu_flush(&self, dev: u8) -> Result {
        let retired = self.table(dev).take_retired();
        // Real hardware: flush the IOMMU's translation buffer here.
        retired.free(&mut *self.ram.borrow_mut());
        Ok(())
    }
}

impl KernelViews for Host {
    type Vmap = u64;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<u64> {
        match runs {
            [run] => Ok(run.addr.get()),
            _ => Err(Error::Unsupported),
        }
    }
    fn vmap_read(&self, view: &u64, offset: u64, out: &mut [u8]) -> Result {
        out.copy_from_slice(self.ram.borrow_mut().at(view + offset, out.len()));
        Ok(())
    }
    fn vmap_write(&self, view: &u64, offset: u64, data: &[u8]) -> Result {
        let ram = &mut *self.ram.borrow_mut();
        ram.at(view + offset, data.len()).copy_from_slice(data);
        Ok(())
    }
}

vb3_dma::without!(Host: Caches, Bounce, UserPages);
