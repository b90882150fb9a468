//! Several contexts use one mapper. Threads map at the same time, and an interrupt handler makes calls while
//! another context sleeps inside a call.

use std::sync::{Barrier, Mutex, mpsc};
use vb3_dma::mapped::{CpuOwned, Mapped, Raw, ToDevice};
use vb3_dma::{
    Attrs, Caching, DeviceInfo, Direction, DmaAddr, DmaOps, Error, FlushPolicy, Mapper, NoLocks,
    PageRequest, PhysAddr, Platform, Prot, Segment, SyncFor,
};
use vb3_dma_test::fake::{Fake, Mutexes, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

fn shared(setup: Setup) -> Mapper<Fake, Mutexes> {
    Mapper::with_locks(Fake::new(setup), 8).unwrap()
}

type Host<'a> = &'a Mapper<Fake, Mutexes>;
type Arced = std::sync::Arc<Mapper<Fake, Mutexes>>;

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}

/// Checks which public types are `Send` and which are `Sync`. The host's type parameters are both in this
/// test.
#[test]
fn public_types_are_send_and_sync_as_they_say() {
    is_send::<Mapper<Fake, Mutexes>>();
    is_sync::<Mapper<Fake, Mutexes>>();
    // A mapper without locks can go to another thread, but threads cannot share it.
    is_send::<Mapper<Fake, NoLocks>>();
    is_send::<&Mapper<Fake, Mutexes>>();
    is_send::<vb3_dma::Mapping<Fake>>();
    is_sync::<vb3_dma::Mapping<Fake>>();
    is_send::<vb3_dma::Memory<Fake>>();
    is_sync::<vb3_dma::Memory<Fake>>();
    is_send::<vb3_dma::Vmap<Fake>>();
    is_sync::<vb3_dma::Vmap<Fake>>();
    is_send::<vb3_dma::iopt::Retired>();
    is_sync::<vb3_dma::iopt::Retired>();
    is_send::<vb3_dma::mapped::DmaDevice<Host<'_>>>();
    is_sync::<vb3_dma::mapped::DmaDevice<Host<'_>>>();
    is_send::<CpuOwned<Host<'_>, Raw, ToDevice>>();
    is_sync::<Mapped<Host<'_>, Raw, ToDevice>>();
    is_send::<vb3_dma::mapped::CpuView<Host<'_>, ToDevice>>();
    is_send::<vb3_dma::mapped::InRuns<Raw>>();
    is_sync::<vb3_dma::mapped::InRuns<Raw>>();
    is_send::<vb3_dma::mapped::Ring<[u64; 2], Host<'_>>>();
    is_sync::<vb3_dma::mapped::Ring<[u64; 2], Host<'_>>>();
    is_send::<Fake>();
    is_sync::<Fake>();
    is_send::<vb3_dma::RangeAllocator>();
    is_sync::<vb3_dma::RangeAllocator>();
    is_send::<vb3_dma::iopt::PageTable>();
    is_sync::<vb3_dma::iopt::PageTable>();
    is_send::<Error>();
    is_sync::<Error>();
}

/// As [`public_types_are_send_and_sync_as_they_say`], for plain values, wrappers and the fake host.
#[test]
fn types_say_which_threads_they_may_visit() {
    use vb3_dma::iopt::{Config, Format, Leaf};
    use vb3_dma::mapped::{
        Bidirectional, Coherent, CpuView, FromDevice, NotHandedOver, OwnedMemory,
    };
    use vb3_dma::{
        BounceMode, Coherency, Constraint, Counters, DmaSegment, IommuInfo, Limits, Live,
        Protected, Reason, SegmentKind, SegmentMode,
    };
    use vb3_dma_test::check::{Checked, Report, Site, Tracked, Violation};
    use vb3_dma_test::fake::{CountedLocks, Entry, FakePages, FakePinned, FakeUser, FakeVmap};
    fn any_thread<T: Send + Sync>() {}
    any_thread::<(Setup, Entry, FakePages, FakeVmap, PageRequest<u8>)>();
    any_thread::<(CountedLocks, Mutexes)>();
    any_thread::<(FakePinned, FakeUser)>();
    any_thread::<(Config, Format, Leaf)>();
    any_thread::<(Bidirectional, FromDevice, ToDevice, NotHandedOver<u8>)>();
    any_thread::<CpuView<Host<'_>, ToDevice>>();
    any_thread::<Coherent<Host<'_>>>();
    any_thread::<OwnedMemory<Arced>>();
    any_thread::<Checked<&Mapper<Fake, Mutexes>, u8, Mutexes>>();
    any_thread::<(Tracked<u8>, Report<u8>, Site, Violation)>();
    any_thread::<(BounceMode, Caching, Coherency, Constraint, Counters)>();
    any_thread::<(DeviceInfo, Direction, DmaSegment, FlushPolicy, IommuInfo)>();
    any_thread::<(Limits, Live, Protected, Reason, Segment)>();
    any_thread::<(SegmentKind, SegmentMode, SyncFor)>();
}

/// Four threads with lazy flushing: two use one device each, and two share a device. Each sees its
/// own bytes, and nothing is held at the end.
#[test]
fn threads_map_at_the_same_time() {
    let setup = Setup {
        devices: 4,
        grouped: vec![3],
        ..Setup::iommu(24)
    };
    let dma = shared(setup);
    for dev in 0..3 {
        dma.set_flush_policy(dev, FlushPolicy::Lazy).unwrap();
    }
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (dma, start) = (&dma, &start);
            scope.spawn(move || {
                let memory = ram(u64::from(thread) << 20, 3 * PAGE);
                let handle = dma.lend(&[memory]).unwrap();
                start.wait();
                for round in 0..300u32 {
                    let mapping = dma.map(thread, &handle, BOTH, Attrs::empty()).unwrap();
                    let mark = [(round ^ thread) as u8; 16];
                    let at = mapping.segments()[0].addr;
                    let fake = dma.platform();
                    assert_eq!(fake.dev_write_as(thread, at, &mark), Some(()));
                    assert_eq!(fake.peek(memory.addr.get(), 16), mark, "its own memory");
                    dma.unmap(mapping, Attrs::empty());
                }
                dma.free(handle);
            });
        }
    });
    for dev in 0..4 {
        dma.flush_lazy(dev).unwrap();
        let counters = dma.counters(dev);
        assert_eq!((counters.maps, counters.unmaps), (300, 300));
    }
    assert_eq!(dma.platform().stale_reuse(), []);
    assert!(
        dma.live().is_empty() && dma.platform().is_clean(),
        "{:?}",
        dma.live()
    );
}

/// A host whose page allocation sleeps until the test wakes it.
struct Sleepy {
    fake: Fake,
    asleep: Mutex<mpsc::Sender<()>>,
    wake: Mutex<mpsc::Receiver<()>>,
}

impl Platform for Sleepy {
    type Device = u32;
    type Pages = vb3_dma_test::fake::FakePages;

    fn page_size(&self) -> u64 {
        self.fake.page_size()
    }
    fn device_info(&self, dev: u32) -> Option<DeviceInfo> {
        self.fake.device_info(dev)
    }
    fn alloc_pages(&self, request: PageRequest<u32>) -> Result<Self::Pages, Error> {
        self.asleep.lock().unwrap().send(()).unwrap();
        self.wake.lock().unwrap().recv().unwrap();
        self.fake.alloc_pages(request)
    }
    fn free_pages(&self, pages: Self::Pages) {
        self.fake.free_pages(pages);
    }
    fn pages_segment(&self, pages: &Self::Pages, index: usize) -> Option<Segment> {
        self.fake.pages_segment(pages, index)
    }

    fn cache_clean(&self, addr: PhysAddr, len: u64) {
        self.fake.cache_clean(addr, len);
    }
    fn cache_invalidate(&self, addr: PhysAddr, len: u64) {
        self.fake.cache_invalidate(addr, len);
    }

    fn iommu_map(
        &self,
        dev: u32,
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.fake.iommu_map(dev, iova, phys, len, prot)
    }
    fn iommu_unmap(&self, dev: u32, iova: DmaAddr, len: u64) -> Result<(), Error> {
        self.fake.iommu_unmap(dev, iova, len)
    }
    fn iommu_flush(&self, dev: u32) -> Result<(), Error> {
        self.fake.iommu_flush(dev)
    }

    type Vmap = vb3_dma_test::fake::FakeVmap;
    type Mmap = ();

    fn vmap(&self, segments: &[Segment], caching: Caching) -> Result<Self::Vmap, Error> {
        self.fake.vmap(segments, caching)
    }
    fn vunmap(&self, vmap: Self::Vmap) {
        self.fake.vunmap(vmap);
    }
    fn vmap_write(&self, vmap: &Self::Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.fake.vmap_write(vmap, offset, data)
    }

    vb3_dma::without!(bounce, users);
}

/// While one context sleeps in an allocation, another one syncs and writes to coherent memory of the same device.
/// If a lock were held during the sleep, the test would never end.
#[test]
fn nothing_that_sleeps_holds_what_an_interrupt_needs() {
    let (asleep, is_asleep) = mpsc::channel();
    let (wake, woken) = mpsc::channel();
    let host = Sleepy {
        fake: Fake::new(Setup::iommu(32).non_coherent()),
        asleep: Mutex::new(asleep),
        wake: Mutex::new(woken),
    };
    let dma: Mapper<Sleepy, Mutexes> = Mapper::with_locks(host, 2).unwrap();
    wake.send(()).unwrap();
    let ring = dma.device(0).unwrap().alloc_coherent(PAGE).unwrap();
    is_asleep.recv().unwrap();
    let memory = ram(0, PAGE);
    let handle = dma.lend(&[memory]).unwrap();
    let mapping = dma.map(0, &handle, BOTH, Attrs::empty()).unwrap();
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| dma.alloc_coherent(0, PAGE, Attrs::empty()).unwrap());
        is_asleep.recv().unwrap();
        // Does what an interrupt handler does when a frame has arrived.
        let at = mapping.segments()[0].addr;
        let _ = dma.platform().fake.peek(memory.addr.get(), 7);
        assert_eq!(dma.platform().fake.dev_write(at, b"a frame"), Some(()));
        assert!(dma.sync(&mapping, BOTH, SyncFor::Cpu).unwrap());
        assert_eq!(dma.platform().fake.peek(memory.addr.get(), 7), b"a frame");
        assert!(dma.sync(&mapping, BOTH, SyncFor::Device).unwrap());
        ring.write(0, b"a command").unwrap();
        // The handler may even unmap, because this host's page tables do not sleep.
        dma.unmap(mapping, Attrs::empty());
        wake.send(()).unwrap();
        dma.free(sleeper.join().unwrap());
    });
    dma.free(handle);
    drop(ring);
    assert!(dma.live().is_empty() && dma.platform().fake.is_clean());
}

/// A reference implements `DmaOps`: each context has a copy, and none needs exclusive access.
#[test]
fn each_context_has_ops_of_its_own() {
    fn stream<D: DmaOps<Device = u32>>(ops: D) {
        let alloc = ops.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
        let mapping = ops.map(0, &alloc, BOTH, Attrs::empty()).unwrap();
        ops.unmap(mapping, Attrs::empty());
        ops.free(alloc);
    }
    let dma = shared(Setup::iommu(32));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| stream(&dma));
        }
    });
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}
