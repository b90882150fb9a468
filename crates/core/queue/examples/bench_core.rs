//! Times the crates alone, without a front end, and counts the locks that they take: a buffer's QBUF, completion and
//! DQBUF, and freeing memory. `bench_core` prints all rows; `bench_core rounds mmap|same|turns N` makes N rounds of one
//! row, for a tool that counts instructions.

use std::cell::Cell;
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use vb3_dma::{
    DeviceInfo, Direction, DmaAddr, DmaOps as _, Error, FlushPolicy, IommuInfo, Limits, Locks,
    Mapper, PageRequest, PhysAddr, Platform, Prot, Segment,
};
use vb3_dma_test::fake::{CountedLocks, Mutexes};
use vb3_dmabuf::BufRef;
use vb3_plane::{Coherency, Device, MemOps, Plane, Planes};
use vb3_queue::{
    Active, Completion, Config, Driver, DriverError, Memory, PlaneRequest, PlaneSizes, PlaneSource,
    Prepare, Queue, QueueBuffer, QueueType,
};

const PAGE: u64 = 4096;
const CAMERA: Device<u32> = Device::contig(0);
const DISPLAY: Device<u32> = Device::contig(1);

/// A host whose page tables and memory cost nothing.
struct Host {
    next: AtomicU64,
    flushes: AtomicU64,
    devices: usize,
}

impl Platform for Host {
    type Device = u32;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u32) -> Option<DeviceInfo> {
        let limits = Limits {
            mask: u64::MAX,
            ..Limits::default()
        };
        Some(DeviceInfo::new(limits).with_iommu(Some(IommuInfo::new(PAGE, 48))))
    }

    fn device_number(&self, dev: u32) -> Option<usize> {
        usize::try_from(dev).ok().filter(|dev| *dev < self.devices)
    }

    fn alloc_pages(&self, request: PageRequest<u32>) -> Result<Segment, Error> {
        let at = self.next.fetch_add(request.len, Relaxed);
        Ok(Segment::pages(PhysAddr::new(at), request.len))
    }

    fn free_pages(&self, _: Segment) {}

    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    fn iommu_map(&self, _: u32, _: DmaAddr, _: PhysAddr, _: u64, _: Prot) -> Result<(), Error> {
        Ok(())
    }

    fn iommu_unmap(&self, _: u32, _: DmaAddr, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn iommu_flush(&self, _: u32) -> Result<(), Error> {
        self.flushes.fetch_add(1, Relaxed);
        Ok(())
    }

    vb3_dma::without!(caches, bounce, users, views);
}

type Layer<L> = Mapper<Host, L>;
type Memories<L> = Planes<Layer<L>, (), L>;

fn layer<L: Locks>(devices: usize) -> Layer<L> {
    let host = Host {
        next: AtomicU64::new(1 << 40),
        flushes: AtomicU64::new(0),
        devices,
    };
    Mapper::with_locks(host, devices).expect("a mapper")
}

/// A driver that keeps its buffers until the bench completes them.
struct Engine<C>(VecDeque<Active<C>>);

impl<C> Driver for Engine<C> {
    type Cookie = C;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[PAGE]).ok_or(DriverError::EINVAL)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        buffer.payloads.copy_from_slice(buffer.lengths);
        Ok(())
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.0.push_back(buffer);
    }

    fn stop_streaming(&mut self) {
        self.0.clear();
    }
}

type Sources<L> = Vec<(Plane<u32>, <Memories<L> as MemOps>::DmaBuf)>;

fn sources<L: Locks>(memory: &Memories<L>, count: usize) -> Sources<L> {
    let make = |_| {
        let plane = memory.alloc(CAMERA, PAGE, Direction::FromDevice, Coherency::Coherent);
        let plane = plane.expect("memory");
        let buf = memory.export(&plane).expect("a dma-buf");
        (plane, buf)
    };
    (0..count).map(make).collect()
}

fn request<L: Locks>(
    memory: &Memories<L>,
    index: u32,
    source: Option<&BufRef>,
) -> QueueBuffer<Memories<L>> {
    let kind = source.map_or(Memory::Mmap, |_| Memory::DmaBuf);
    let mut buffer = QueueBuffer::new(index, kind);
    let plane = match source {
        None => PlaneRequest::mmap(0),
        Some(buf) => PlaneRequest {
            source: PlaneSource::DmaBuf {
                fd: 0,
                buf: Some(memory.clone_dmabuf(buf).expect("a reference")),
            },
            length_bytes: PAGE,
            ..PlaneRequest::mmap(0)
        },
    };
    assert!(buffer.push_plane(plane).is_ok());
    buffer
}

/// Passes `rounds` frames through a queue of `buffers` buffers. With dma-bufs, the pool has `pool` of them, and
/// each QBUF takes the next. Returns the nanoseconds of a frame, and, if `counts` is set, the
/// locks of its completion, DQBUF and QBUF.
fn cycle<L: Locks>(buffers: u32, pool: usize, (rounds, counts): (u32, bool)) -> (f64, [f64; 3]) {
    let memory: Memories<L> = Planes::with_locks(layer(2), ());
    let sources = sources(&memory, pool);
    let (device, kind) = match pool {
        0 => (CAMERA, QueueType::Capture),
        _ => (DISPLAY, QueueType::Output),
    };
    let mut config = Config::new(device, kind);
    config.max_num_buffers = config.max_num_buffers.max(buffers);
    let mut queue = Queue::new(config).expect("a queue");
    let mut engine = Engine(VecDeque::new());
    let mut session = queue.session(&memory, &mut engine);
    let model = if pool == 0 {
        Memory::Mmap
    } else {
        Memory::DmaBuf
    };
    let made = session
        .reqbufs(model, buffers, Coherency::Coherent)
        .expect("buffers");
    assert_eq!(made.0, 0..buffers);
    let mut turn = 0;
    let mut next = |index| {
        let source = (pool > 0).then(|| &sources[turn % pool].1);
        turn += 1;
        request(&memory, index, source)
    };
    for index in 0..buffers {
        session.qbuf(next(index)).expect("queued");
    }
    session.streamon().expect("started");
    let locks = Cell::new([0; 3]);
    let taken = || counts.then(CountedLocks::taken).unwrap_or_default();
    let mut frame = |sequence| {
        let token = engine.0.pop_front().expect("a token");
        let mut session = queue.session(&memory, &mut engine);
        let begin = taken();
        session
            .complete(token, Completion::done(sequence))
            .expect("completed");
        let completed = taken();
        let index = session.dqbuf().expect("a frame").index;
        let dequeued = taken();
        // With a dma-buf, this includes the lock for the program's reference to it.
        session.qbuf(next(black_box(index))).expect("queued");
        let queued = taken();
        let [done, dqbuf, qbuf] = locks.get();
        let more = [completed - begin, dequeued - completed, queued - dequeued];
        locks.set([done + more[0], dqbuf + more[1], qbuf + more[2]]);
    };
    // First, the device maps each dma-buf.
    let warm = u32::try_from(pool).expect("small") + buffers;
    (0..warm).for_each(&mut frame);
    locks.set([0; 3]);
    let begin = Instant::now();
    (0..rounds).for_each(&mut frame);
    let ns = begin.elapsed().as_nanos() as f64 / f64::from(rounds);
    let locks = locks.get().map(|count| count as f64 / f64::from(rounds));
    queue.session(&memory, &mut engine).release();
    for (plane, buf) in sources {
        memory.put_dmabuf(buf);
        memory.put(plane);
    }
    (ns, locks)
}

/// Frees memory that no device has mapped, while each device has a range that waits for a flush. Returns
/// nanoseconds and flushes of a free.
fn free(devices: usize) -> (f64, f64) {
    const ROUNDS: u32 = 1_000;
    let dma = layer::<Mutexes>(devices);
    let (mut ns, mut flushes) = (0.0, 0);
    let shared = dma.alloc_virtual(PAGE).expect("memory");
    let table = dma.share(&shared).expect("a table");
    for _ in 0..ROUNDS {
        for dev in 0..u32::try_from(devices).expect("few") {
            dma.set_flush_policy(dev, FlushPolicy::Lazy).expect("lazy");
            let mapping = dma.map(dev, &table, Direction::ToDevice, vb3_dma::Attrs::empty());
            dma.unmap(mapping.expect("mapped"), vb3_dma::Attrs::empty());
        }
        let memory = dma.alloc_virtual(PAGE).expect("memory");
        let before = dma.platform().flushes.load(Relaxed);
        let begin = Instant::now();
        dma.free(memory);
        ns += begin.elapsed().as_nanos() as f64;
        flushes += dma.platform().flushes.load(Relaxed) - before;
    }
    dma.free(table);
    dma.free(shared);
    (ns / f64::from(ROUNDS), flushes as f64 / f64::from(ROUNDS))
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [_, row, rounds] = words.as_slice() {
        let pool = match row.as_str() {
            "mmap" => 0,
            "same" => 4,
            _ => 66,
        };
        cycle::<Mutexes>(4, pool, (rounds.parse().expect("a number"), false));
        return;
    }
    println!("QBUF, completion and DQBUF: ns of a frame; locks of completion, DQBUF and QBUF");
    let row = |name: &str, buffers, pool, rounds| {
        let (ns, _) = cycle::<Mutexes>(buffers, pool, (rounds, false));
        let (_, [done, dqbuf, qbuf]) = cycle::<CountedLocks>(buffers, pool, (100, true));
        println!("  {name:<34} {ns:>9.0} {done:>5.1} {dqbuf:>5.1} {qbuf:>5.1}");
    };
    for buffers in [4, 64, 1024] {
        row(&format!("MMAP, {buffers} buffers"), buffers, 0, 100_000);
    }
    row("DMABUF, the same in each buffer", 4, 4, 100_000);
    for pool in [5, 10, 66, 100, 1_000, 4_096] {
        row(&format!("DMABUF, {pool} in turn"), 4, pool, 5_000);
    }
    row("DMABUF, one buffer, 2 in turn", 1, 2, 5_000);
    println!("free of memory that was never mapped: ns and flushes");
    for devices in [1, 10, 100, 1_000] {
        let (ns, flushes) = free(devices);
        println!("  {devices:>4} devices {ns:>31.0} {flushes:>9.1}");
    }
}
