//! Two queues share one memory. While one waits for the host's allocator, the other is not delayed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};
use std::thread;
use vb3_dma::{
    DeviceInfo, Error, Limits, Mapper, PageRequest, PhysAddr, Platform, Segment, SegmentKind,
};
use vb3_dma_test::fake::CountedLocks;
use vb3_plane::{Device, Planes};
use vb3_queue::{
    Active, Coherency, Completion, Completions, Config, Driver, DriverError, MemOps, Memory,
    PlaneRequest, PlaneSizes, Prepare, Queue, QueueBuffer, QueueType,
};

const PAGE: u64 = 4096;
const FAST: u8 = 0;
const SLOW: u8 = 1;

/// A host that allocates pages. For the slow device, it waits until the test lets it continue.
struct Host {
    next: AtomicU64,
    asleep: mpsc::SyncSender<()>,
    wake: Mutex<mpsc::Receiver<()>>,
}

impl Platform for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()).non_coherent(64))
    }

    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        if request.device == Some(SLOW) {
            self.asleep.send(()).unwrap();
            self.wake.lock().unwrap().recv().unwrap();
        }
        Ok(Segment {
            addr: PhysAddr::new(self.next.fetch_add(request.len, SeqCst)),
            len: request.len,
            kind: SegmentKind::Pages,
        })
    }

    fn free_pages(&self, _: Segment) {}

    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    fn cache_clean(&self, _: PhysAddr, _: u64) {}
    fn cache_invalidate(&self, _: PhysAddr, _: u64) {}

    vb3_dma::without!(iommu, bounce, users, views);
}

/// A driver that keeps its buffers until the test completes them.
struct Camera<C>(Vec<Active<C>>);

impl<C> Driver for Camera<C> {
    type Cookie = C;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[PAGE]).ok_or(DriverError::EINVAL)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        buffer.payloads.copy_from_slice(buffer.lengths);
        Ok(())
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.0.push(buffer);
    }

    fn stop_streaming(&mut self) {
        self.0.clear();
    }
}

type Layer<'a> = &'a Mapper<Host, CountedLocks>;
type Memories<'a> = Planes<Layer<'a>, (), CountedLocks>;

fn queue<M: MemOps>(device: M::Device) -> Queue<M> {
    Queue::new(Config::new(device, QueueType::Capture)).unwrap()
}

fn buffer<M: MemOps>() -> QueueBuffer<M> {
    let mut buffer = QueueBuffer::new(0, Memory::Mmap);
    assert!(buffer.push_plane(PlaneRequest::mmap(0)).is_ok());
    buffer
}

/// Makes and frees the buffers of a queue. For the slow device, REQBUFS sleeps in the host.
fn allocate(memory: &Memories<'_>, device: u8) {
    let mut queue = queue::<Memories<'_>>(Device::contig(device));
    let mut camera = Camera(Vec::new());
    let mut session = queue.session(memory, &mut camera);
    let made = session.reqbufs(Memory::Mmap, 1, Coherency::Coherent);
    assert_eq!(made.unwrap().0, 0..1);
    session.release();
}

/// A queue that streams.
struct Stream<'a> {
    queue: Queue<Memories<'a>>,
    camera: Camera<<Memories<'a> as MemOps>::Cookie>,
    done: Completions<<Memories<'a> as MemOps>::Cookie>,
}

impl<'a> Stream<'a> {
    fn new(memory: &Memories<'a>) -> Self {
        let queue = queue::<Memories<'a>>(Device::contig(FAST));
        let done = Completions::new(queue.config().max_num_buffers).unwrap();
        let mut stream = Self {
            queue,
            camera: Camera(Vec::new()),
            done,
        };
        let mut session = stream.queue.session(memory, &mut stream.camera);
        let made = session.reqbufs(Memory::Mmap, 1, Coherency::Coherent);
        assert_eq!(made.unwrap().0, 0..1);
        session.qbuf(buffer()).unwrap();
        session.streamon().unwrap();
        stream
    }

    /// Returns the number of locks that ten frames take.
    fn run(&mut self, memory: &Memories<'a>) -> u64 {
        let before = CountedLocks::taken();
        for sequence in 0..10 {
            let token = self.camera.0.pop().unwrap();
            let frame = Completion::done(sequence);
            self.done.push(token, frame).unwrap();
            let mut session = self.queue.session(memory, &mut self.camera);
            session.collect(|| self.done.pop());
            assert_eq!(session.dqbuf().unwrap().sequence, sequence);
            session.qbuf(buffer()).unwrap();
        }
        CountedLocks::taken() - before
    }
}

#[test]
fn sleeping_allocation_delays_no_other_queue() {
    let (asleep, is_asleep) = mpsc::sync_channel(0);
    let (wake, woken) = mpsc::channel();
    let mut wake = Some(wake);
    let host = Host {
        next: AtomicU64::new(0x10_0000),
        asleep,
        wake: Mutex::new(woken),
    };
    let layer = Mapper::<_, CountedLocks>::with_locks(host, 2).unwrap();
    let memory = Memories::with_locks(&layer, ());
    let mut stream = Stream::new(&memory);
    let alone = stream.run(&memory);
    thread::scope(|scope| {
        // If this thread fails, `wake` is dropped, so the other thread ends, too.
        let wake = wake.take().unwrap();
        scope.spawn(|| allocate(&memory, SLOW));
        is_asleep.recv().unwrap();
        assert_eq!(CountedLocks::held(), 0, "nothing is locked while it sleeps");
        assert_eq!(stream.run(&memory), alone, "frames take as many locks");
        allocate(&memory, FAST);
        assert_eq!(CountedLocks::contended(), 0, "none that the other holds");
        wake.send(()).unwrap();
    });
    let mut session = stream.queue.session(&memory, &mut stream.camera);
    session.release();
    assert!(memory.live().is_empty());
    assert!(layer.live().is_empty());
}
