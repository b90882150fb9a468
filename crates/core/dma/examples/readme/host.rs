//! The host of the READMEs' examples: RAM, and views of it for the CPU. It needs only `core` and `alloc`. A real host
//! has a page allocator, and locks in place of `RefCell`.

use alloc::vec::Vec;
use core::cell::RefCell;
use vb3_dma::{
    Caching, DeviceInfo, Error, KernelViews, Limits, PageRequest, PageSource, PhysAddr, Segment,
};

/// RAM that grows with each allocation.
#[derive(Default)]
pub struct Host(RefCell<Vec<u8>>);

impl PageSource for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        4096
    }
    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        let mut ram = self.0.borrow_mut();
        let (addr, end) = (ram.len() as u64, ram.len() as u64 + request.len);
        if end > request.max_addr.get() {
            return Err(Error::no_ram(request.len));
        }
        ram.resize(end as usize, 0);
        Ok(Segment::pages(PhysAddr::new(addr), request.len))
    }
    fn free_pages(&self, _: Segment) {}
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }
}

/// A view of memory is its physical address. Devices use the same functions, since there is no IOMMU.
impl KernelViews for Host {
    type Vmap = u64;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<u64, Error> {
        let only = runs.first().filter(|_| runs.len() == 1);
        only.map(|run| run.addr.get()).ok_or(Error::Unsupported)
    }
    fn vmap_read(&self, view: &u64, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(&self.0.borrow()[(view + offset) as usize..][..out.len()]);
        Ok(())
    }
    fn vmap_write(&self, view: &u64, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.borrow_mut()[(view + offset) as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

vb3_dma::without!(Host: Caches, Iommu, Bounce, UserPages);
