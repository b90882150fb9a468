//! The host of the examples: RAM, views of it for the CPU, and an IOMMU. It needs only `core` and `alloc`, and its
//! locks spin. If interrupt handlers call the layer, a kernel's locks also disable interrupts.

extern crate alloc;

use alloc::{collections::BTreeMap, vec, vec::Vec};
use vb3_dma::{
    Caching, Constraint, DeviceInfo, DmaAddr, Error, IommuInfo, Limits, Locks, PageRequest,
    PhysAddr, Platform, Prot, RangeAllocator, Segment,
};

const PAGE: u64 = 4096;
const PAGES: u64 = 256;

/// The host. Device 0 uses physical addresses, and all other devices are behind the IOMMU.
pub(crate) struct Host {
    ram: spin::Mutex<Vec<u8>>,
    free: spin::Mutex<RangeAllocator>,
    iommu: spin::Mutex<BTreeMap<(u8, u64), u64>>,
}

impl Host {
    pub(crate) fn new() -> Result<Self, Error> {
        let free = RangeAllocator::new(Constraint::Ram, PAGE, PAGE, PAGES * PAGE - 1)?;
        Ok(Self {
            ram: spin::Mutex::new(vec![0; (PAGES * PAGE) as usize]),
            free: spin::Mutex::new(free),
            iommu: spin::Mutex::default(),
        })
    }

    /// Plays the device: lets `copy` access the memory at the device's address `at`.
    #[allow(
        dead_code,
        reason = "not every example has a device that accesses memory"
    )]
    pub(crate) fn device_access(
        &self,
        dev: u8,
        at: u64,
        copy: impl FnOnce(&mut [u8]),
    ) -> Result<(), Error> {
        let page = at & !(PAGE - 1);
        let page = match dev {
            0 => Some(page),
            _ => self.iommu.lock().get(&(dev, page)).copied(),
        };
        let start = (page.ok_or(Error::Invalid)? + at % PAGE) as usize;
        copy(&mut self.ram.lock()[start..]);
        Ok(())
    }
}

impl Platform for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        let iommu = (dev > 0).then_some(IommuInfo::new(PAGE, 32));
        Some(DeviceInfo::new(Limits::default()).with_iommu(iommu))
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        let addr = self.free.lock().take(request.len, 1, u64::MAX)?;
        self.ram.lock()[addr as usize..][..request.len as usize].fill(0);
        Ok(Segment::pages(PhysAddr::new(addr), request.len))
    }
    fn free_pages(&self, pages: Segment) {
        let _ = self.free.lock().give_back(pages.addr.get(), pages.len);
    }
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    fn iommu_map(
        &self,
        dev: u8,
        at: DmaAddr,
        to: PhysAddr,
        len: u64,
        _: Prot,
    ) -> Result<(), Error> {
        let pages = (0..len).step_by(PAGE as usize);
        let entries = pages.map(|page| ((dev, at.get() + page), to.get() + page));
        self.iommu.lock().extend(entries);
        Ok(())
    }
    fn iommu_unmap(&self, dev: u8, at: DmaAddr, len: u64) -> Result<(), Error> {
        let range = at.get()..at.get() + len;
        self.iommu
            .lock()
            .retain(|&(of, page), _| of != dev || !range.contains(&page));
        Ok(())
    }
    fn iommu_flush(&self, _: u8) -> Result<(), Error> {
        Ok(())
    }

    type Vmap = usize;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<usize, Error> {
        let only = runs.first().filter(|_| runs.len() == 1);
        only.map(|run| run.addr.get() as usize)
            .ok_or(Error::Unsupported)
    }
    fn vmap_read(&self, view: &usize, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(&self.ram.lock()[view + offset as usize..][..out.len()]);
        Ok(())
    }
    fn vmap_write(&self, view: &usize, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.ram.lock()[view + offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    vb3_dma::without!(caches, bounce, users);
}

/// The host's locks.
#[allow(dead_code, reason = "some examples run in one context")]
pub(crate) struct SpinLocks;
impl Locks for SpinLocks {
    type Lock<T> = spin::Mutex<T>;

    fn new_lock<T>(value: T) -> spin::Mutex<T> {
        spin::Mutex::new(value)
    }
    fn with<T, R>(lock: &spin::Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut lock.lock())
    }
}
