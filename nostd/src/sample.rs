//! A sample that was written only from the crates' documentation. It has a host with an IOMMU and one
//! without, two devices, a ring, and a capture queue whose buffers an interrupt completes.

use crate::host::{Host, PAGE};
use alloc::{rc::Rc, vec::Vec};
use core::cell::RefCell;
use vb3_dma::iopt::{Config as Tables, Format, PageTable, TableMemory};
use vb3_dma::mapped::{FromDevice, ToDevice};
use vb3_dma::{
    Caching, DeviceInfo, DmaAddr, DmaOps, Error, Iommu, IommuInfo, Iova, KernelViews, Mapper,
    PageRequest, PageSource, PhysAddr, Platform, Prot, Segment,
};
use vb3_plane::{Cookie, Device, Planes};
use vb3_queue::{
    Active, Coherency, Completion, Completions, Config, DoneState, Driver, DriverError, MAX_PLANES,
    Memory, PlaneRequest, PlaneSizes, Prepare, Queue, QueueBuffer, QueueType,
};

/// Page tables in the host's RAM.
struct Ram<'a>(&'a Host);

impl TableMemory for Ram<'_> {
    fn alloc_table(&mut self, len: u64) -> Result<PhysAddr, Error> {
        self.0.take(len).map(|run| run.addr)
    }
    fn free_table(&mut self, table: PhysAddr, len: u64) {
        self.0.free_pages(Segment::pages(table, len));
    }
    fn read_entry(&self, at: PhysAddr) -> u64 {
        let ram = self.0.ram.borrow();
        let word = ram[at.get() as usize..].first_chunk();
        u64::from_le_bytes(*word.unwrap_or(&[0; 8]))
    }
    fn write_entry(&mut self, at: PhysAddr, entry: u64) {
        let at = DmaAddr::new(at.get());
        self.0.device_writes(at, &entry.to_le_bytes());
    }
}

/// The same host behind an IOMMU: a page table for each of two devices.
pub(crate) struct Translated(Host, [RefCell<PageTable>; 2]);

impl Translated {
    pub(crate) fn new() -> Result<Self, Error> {
        let host = Host::new();
        let tables = Tables {
            format: Format::VtdSecondStage,
            page_sizes: PAGE,
            input_bits: 39,
            output_bits: 39,
        };
        let table = || PageTable::new(&mut Ram(&host), &tables).map(RefCell::new);
        let tables = [table()?, table()?];
        Ok(Self(host, tables))
    }
    fn table<R>(&self, dev: u8, act: impl FnOnce(&mut PageTable, &mut Ram<'_>) -> R) -> R {
        act(
            &mut self.1[usize::from(dev)].borrow_mut(),
            &mut Ram(&self.0),
        )
    }
}

impl PageSource for Translated {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, dev: u8) -> Option<DeviceInfo> {
        let (first, last) = (Iova::new(PAGE), Iova::new(u32::MAX.into()));
        let mut info = self.0.device_info(dev).filter(|_| dev < 2)?;
        info.iommu = Some(IommuInfo {
            page_sizes: PAGE,
            first,
            last,
        });
        Some(info)
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        self.0.alloc_pages(request)
    }
    fn free_pages(&self, pages: Segment) {
        self.0.free_pages(pages);
    }
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        self.0.pages_segment(pages, index)
    }
}

impl Iommu for Translated {
    fn iommu_map(
        &self,
        dev: u8,
        at: Iova,
        to: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.table(dev, |table, ram| table.map(ram, at, to, len, prot))
    }
    fn iommu_unmap(&self, dev: u8, at: Iova, len: u64) -> Result<(), Error> {
        self.table(dev, |table, ram| {
            table.unmap(ram, at, len).map(|_removed| ())
        })
    }
    fn iommu_flush(&self, dev: u8) {
        // Between `take_retired` and `free`, a real host would flush the hardware's translation buffer.
        self.table(dev, |table, ram| table.take_retired().free(ram));
    }
}

impl KernelViews for Translated {
    type Vmap = Segment;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], caching: Caching) -> Result<Segment, Error> {
        self.0.vmap(runs, caching)
    }
    fn vmap_read(&self, view: &Segment, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.vmap_read(view, offset, out)
    }
    fn vmap_write(&self, view: &Segment, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.vmap_write(view, offset, data)
    }
}

vb3_dma::without!(Translated: Caches, Bounce, UserPages);

/// Maps a frame for two devices, and writes its address into a ring of one device.
pub(crate) fn ring<P: Platform<Device = u8>>(dma: &Mapper<P>) -> Result<(), Error> {
    let (camera, display) = (dma.device(0)?, dma.device(1)?);
    let ring = camera.alloc_coherent(PAGE)?;
    let frame = dma.alloc_virtual(4 * PAGE)?;
    let (filled, shown) = (
        camera.map(&frame, FromDevice)?,
        display.map(&frame, ToDevice)?,
    );
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
    fn start_streaming(&mut self, _: u32) -> Result<(), DriverError> {
        Ok(())
    }
    fn stop_streaming(&mut self) {}
}

/// Captures a frame, which an interrupt completes.
pub(crate) fn capture<P>(dma: Mapper<P>) -> Result<(), vb3_queue::Error>
where
    P: Platform<Device = u8>,
{
    let memory = Planes::new(dma, ());
    let config = Config::new(Device::contig(0), QueueType::Capture);
    let mut queue: Queue<Planes<_, ()>> = Queue::new(config)?;
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
