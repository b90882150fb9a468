//! A complete host, a driver that maps a frame and writes a ring, and one whose queue an interrupt completes. The file
//! is kept below 150 lines. A real host would use locks in place of `RefCell`.

use alloc::{collections::BTreeMap, rc::Rc, vec, vec::Vec};
use core::cell::RefCell;
use vb3_dma::mapped::{FromDevice, ToDevice};
use vb3_dma::{
    Caching, Constraint, DeviceInfo, DmaOps, Error, Iommu, IommuInfo, Iova, KernelViews, Limits,
    Mapper, PageRequest, PageSource, PhysAddr, Prot, RangeAllocator, Segment,
};
use vb3_plane::{Cookie, Device, Planes};
use vb3_queue::{
    Active, Coherency, Completion, Completions, Config, DoneState, Driver, DriverError, MAX_PLANES,
    Memory, PlaneRequest, PlaneSizes, Prepare, Queue, QueueBuffer, QueueType,
};

const PAGE: u64 = 4096;
const PAGES: u64 = 512;
pub(crate) const FIRST_BEHIND_IOMMU: u8 = 2;

pub(crate) struct Host {
    ram: RefCell<Vec<u8>>,
    free: RefCell<RangeAllocator>,
    iommu: RefCell<BTreeMap<(u8, Iova), PhysAddr>>,
}

impl Host {
    pub(crate) fn new() -> Result<Self, Error> {
        let ram = RefCell::new(vec![0; (PAGES * PAGE) as usize]);
        let free = RangeAllocator::new(Constraint::Ram, PAGE, PAGE, PAGES * PAGE - 1)?;
        let (free, iommu) = (free.into(), RefCell::default());
        Ok(Self { ram, free, iommu })
    }
}

impl PageSource for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        let iommu = (dev >= FIRST_BEHIND_IOMMU).then_some(IommuInfo::new(PAGE, 32));
        Some(DeviceInfo::new(Limits::default()).with_iommu(iommu))
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        let addr = self.free.borrow_mut().take(request.len, 1, u64::MAX)?;
        self.ram.borrow_mut()[addr as usize..][..request.len as usize].fill(0);
        Ok(Segment::pages(PhysAddr::new(addr), request.len))
    }
    fn free_pages(&self, pages: Segment) {
        let (addr, len) = (pages.addr.get(), pages.len);
        let _freed = self.free.borrow_mut().give_back(addr, len);
    }
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }
}

impl Iommu for Host {
    fn iommu_map(&self, dev: u8, at: Iova, to: PhysAddr, _: u64, _: Prot) -> Result<(), Error> {
        self.iommu.borrow_mut().insert((dev, at), to);
        Ok(())
    }
    fn iommu_unmap(&self, dev: u8, at: Iova, _: u64) -> Result<(), Error> {
        let removed = self.iommu.borrow_mut().remove(&(dev, at));
        removed.map(|_| ()).ok_or(Error::Invalid)
    }
    fn iommu_flush(&self, _: u8) -> Result<(), Error> {
        Ok(())
    }
}

impl KernelViews for Host {
    type Vmap = u64;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<u64, Error> {
        let only = runs.first().filter(|_| runs.len() == 1);
        only.map(|run| run.addr.get()).ok_or(Error::Unsupported)
    }
    fn vmap_write(&self, view: &u64, offset: u64, data: &[u8]) -> Result<(), Error> {
        let at = (view + offset) as usize;
        self.ram.borrow_mut()[at..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

vb3_dma::without!(Host: Caches, Bounce, UserPages);

/// Maps a frame for two devices, and writes its address into a ring of one device.
pub(crate) fn ring(dma: &Mapper<Host>, first: u8) -> Result<(), Error> {
    let (camera, display) = (dma.device(first)?, dma.device(first + 1)?);
    let ring = camera.alloc_coherent(PAGE)?;
    let frame = dma.alloc_virtual(4 * PAGE)?;
    let filled = camera.map(&frame, FromDevice)?;
    let shown = display.map(&frame, ToDevice)?;
    ring.write(0, &filled.addr().get().to_le_bytes())?;
    drop((ring, filled, shown));
    dma.free(frame);
    dma.live().is_empty().then_some(()).ok_or(Error::Busy)
}

/// Puts buffers into the simulated hardware: a list that the interrupt handler empties.
struct Camera(Rc<RefCell<Vec<Active<Cookie>>>>);

impl Driver for Camera {
    type Cookie = Cookie;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[PAGE]).ok_or(DriverError(22))
    }
    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        buffer.payloads.copy_from_slice(buffer.lengths);
        Ok(())
    }
    fn buf_queue(&mut self, buffer: Active<Cookie>) {
        self.0.borrow_mut().push(buffer);
    }
    fn stop_streaming(&mut self) {
        self.0.borrow_mut().clear();
    }
}

/// Captures a frame, which an interrupt completes.
pub(crate) fn capture(dma: Mapper<Host>, device: u8) -> Result<(), vb3_queue::Error> {
    let memory = Planes::new(dma, ());
    let mut queue = Queue::new(Config::new(Device::contig(device), QueueType::Capture))?;
    let finished = RefCell::new(Completions::new(queue.config().max_num_buffers)?);
    let hardware = Rc::default();
    let mut camera = Camera(Rc::clone(&hardware));
    let interrupt = || {
        for token in hardware.borrow_mut().drain(..) {
            let done = Completion::new(DoneState::Done, 0);
            let _stale = finished.borrow_mut().push(token, done);
        }
    };
    let mut session = queue.session(&memory, &mut camera);
    session.reqbufs(Memory::Mmap, 1, Coherency::Coherent)?;
    let mut buffer = QueueBuffer::new(0, Memory::Mmap);
    let _ = buffer.push_plane(PlaneRequest::mmap(0));
    session.qbuf(buffer)?;
    session.streamon()?;
    interrupt();
    session.collect(|| finished.borrow_mut().pop());
    session.dqbuf(MAX_PLANES)?;
    session.release();
    Ok(())
}
