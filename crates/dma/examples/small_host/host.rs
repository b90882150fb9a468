// A complete host that uses only `core` and `alloc`: RAM, and devices that use physical addresses.
use alloc::vec::Vec;
use core::cell::RefCell;
use vb3_dma::{
    Caching, DeviceInfo, DmaAddr, Error, KernelViews, Limits, PageRequest, PageSource, PhysAddr,
    RangeAllocator, Segment,
};

pub(crate) const PAGE: u64 = 4096;
const PAGES: u64 = 512;

/// The host. A real host would use locks in place of `RefCell`.
pub(crate) struct Host {
    pub(crate) ram: RefCell<Vec<u8>>,
    pages: RefCell<RangeAllocator>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let pages = RangeAllocator::new(1, PAGES - 1).expect("room for 512 pages");
        let ram = RefCell::new(alloc::vec![0; (PAGES * PAGE) as usize]);
        Self {
            ram,
            pages: RefCell::new(pages),
        }
    }
    pub(crate) fn take(&self, len: u64) -> Result<Segment, Error> {
        let taken = self.pages.borrow_mut().take(len / PAGE, 1, PAGES);
        let first = taken.map_err(|_| Error::no_ram(len))? * PAGE;
        self.ram.borrow_mut()[first as usize..][..len as usize].fill(0);
        Ok(Segment::pages(PhysAddr::new(first), len))
    }
    /// Writes to a DMA address as a device does.
    pub(crate) fn device_writes(&self, addr: DmaAddr, data: &[u8]) {
        self.ram.borrow_mut()[addr.get() as usize..][..data.len()].copy_from_slice(data);
    }
}

impl PageSource for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, _device: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        self.take(request.len)
    }
    fn free_pages(&self, pages: Segment) {
        let (first, len) = (pages.addr.get() / PAGE, pages.len / PAGE);
        let freed = self.pages.borrow_mut().give_back(first, len);
        freed.expect("taken above");
    }
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }
}

impl KernelViews for Host {
    type Vmap = Segment;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<Segment, Error> {
        match runs {
            &[run] => Ok(run),
            _ => Err(Error::Unsupported),
        }
    }
    fn vmap_read(&self, view: &Segment, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let first = (view.addr.get() + offset) as usize;
        out.copy_from_slice(&self.ram.borrow()[first..][..out.len()]);
        Ok(())
    }
    fn vmap_write(&self, view: &Segment, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.device_writes(DmaAddr::new(view.addr.get() + offset), data);
        Ok(())
    }
}

vb3_dma::without!(Host: Caches, Iommu, Bounce, UserPages);
