//! A machine with a CAPTURE and an OUTPUT queue, a device for each queue, and a program.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::Mutex;
use vb3_dma::{Mapper, SyncFor};
use vb3_dmabuf::{BufRef, Observer, Vma};
use vb3_machine::{BusFault, Device as Dev, DeviceLimits, Machine, Profile};
use vb3_machine::{User, UserFault, UserMemory};
use vb3_plane::{Allocator, Cookie, Device, MemOps, Planes};
use vb3_queue::{
    Active, BufferState, Coherency, Completion, Config, Direction, Driver, DriverError, Error,
    HintSkip, IoModes, Memory, Pieces, PlaneLocation, PlaneRequest, PlaneSizes, PlaneSource,
    Prepare, Queue, QueueBuffer, QueueType, Session, Source, Wait,
};

pub(crate) type Layer = Mapper<Machine>;
pub(crate) type Mem = Planes<Layer, Log>;
pub(crate) type Token = Active<Cookie>;

/// Bytes of a plane: three pages, so that scattered pages make a difference.
pub(crate) const LEN: u64 = 3 * 4096;
/// Number of the OUTPUT queue's side. The CAPTURE queue's is 0.
pub(crate) const OUTPUT: usize = 1;
/// Number of slots: places in the program's memory that it passes as USERPTR.
pub(crate) const SLOTS: usize = 3;
/// Maximum number of dma-bufs, and of mappings, that the program holds.
const MAX_HELD: usize = 8;
const BASE: u64 = 0x7000_0000;
const STRIDE: u64 = 2 * LEN;

thread_local! {
    /// The bytes of each stamp, made once: unoptimised, that takes most of a test's time.
    static MADE: RefCell<BTreeMap<u32, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Returns a plane's bytes for a stamp; zeroes for stamp zero. Two stamps have no cache line in common.
pub(crate) fn bytes_of(stamp: u32) -> Vec<u8> {
    if stamp == 0 {
        return vec![0; LEN as usize];
    }
    let make = || {
        let lines = (1..=LEN as u32 / 64).flat_map(|at| {
            let mixed = stamp
                .wrapping_mul(0x9e37_79b1)
                .wrapping_add(at)
                .wrapping_mul(0x85eb_ca6b);
            mixed.to_le_bytes().repeat(16)
        });
        lines.collect()
    };
    MADE.with_borrow_mut(|made| made.entry(stamp).or_insert_with(make).clone())
}

/// Counts missing syncs, as a host's observer does.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) missing: Cell<u64>,
}

impl Observer<Layer> for Log {
    fn stale_bytes(&self, ops: &Layer, alloc: &vb3_dma::Memory<Machine>) -> Option<u64> {
        Some(ops.platform().stale_bytes_of(alloc.pages()?))
    }

    fn missing_sync(&self, _: Dev, _: u64, _: SyncFor, _: Option<u64>) {
        self.missing.set(self.missing.get() + 1);
    }
}

/// The memory of the program.
#[derive(Debug)]
pub(crate) struct Program(Mutex<Vec<u8>>);

impl Program {
    fn range(&self, addr: u64, len: u64) -> Option<std::ops::Range<usize>> {
        let at = addr.checked_sub(BASE)?;
        let end = at.checked_add(len)?;
        let all = self.0.lock().unwrap().len() as u64;
        (end <= all).then_some(at as usize..end as usize)
    }
}

impl UserMemory for Program {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), UserFault> {
        let range = self.range(addr, out.len() as u64);
        let range = range.ok_or(UserFault { addr })?;
        out.copy_from_slice(&self.0.lock().unwrap()[range]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), UserFault> {
        let range = self.range(addr, data.len() as u64);
        let range = range.ok_or(UserFault { addr })?;
        self.0.lock().unwrap()[range].copy_from_slice(data);
        Ok(())
    }

    fn probe(&self, addr: u64, len: u64, _: bool) -> u64 {
        let end = BASE + self.0.lock().unwrap().len() as u64;
        if (BASE..end).contains(&addr) {
            len.min(end - addr)
        } else {
            0
        }
    }

    fn id(&self) -> u64 {
        1
    }
}

/// Returns the program's address of a slot.
pub(crate) fn slot_addr(slot: usize) -> u64 {
    BASE + slot as u64 * STRIDE
}

/// A device that keeps its tokens, even stale ones, until the test completes or drops them.
#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) tokens: Vec<Token>,
    pub(crate) planes: usize,
    /// Every call of this ordinal fails with ENXIO: 3 means every third call, 1 every call, 0 none.
    pub(crate) fails_every: u32,
    calls: u32,
}

impl Engine {
    fn call(&mut self) -> Result<(), DriverError> {
        self.calls += 1;
        match self.calls.checked_rem(self.fails_every) {
            Some(0) => Err(DriverError::ENXIO),
            _ => Ok(()),
        }
    }
}

impl Driver for Engine {
    type Cookie = Cookie;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.call()?;
        let sizes = PlaneSizes::new(&vec![LEN; self.planes]).unwrap();
        match create {
            Some(asked) if asked.as_slice().len() != self.planes => Err(DriverError::EINVAL),
            Some(asked) if asked.as_slice().iter().any(|len| *len < LEN) => {
                Err(DriverError::EINVAL)
            }
            Some(asked) => Ok(*asked),
            None => Ok(sizes),
        }
    }

    fn buffer_count(&mut self, offered: u32) -> Result<u32, DriverError> {
        self.call().map(|()| offered)
    }

    fn buf_init(&mut self, _: u32) -> Result<(), DriverError> {
        self.call()
    }

    fn prepare_streaming(&mut self) -> Result<(), DriverError> {
        self.call()
    }

    fn start_streaming(&mut self, _: u32) -> Result<(), DriverError> {
        let started = self.call();
        if started.is_err() {
            self.tokens.clear();
        }
        started
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.call()?;
        buffer.payloads.fill(LEN);
        Ok(())
    }

    fn buf_queue(&mut self, buffer: Token) {
        self.tokens.push(buffer);
    }

    fn stop_streaming(&mut self) {}
}

/// Configuration of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) machine: &'static str,
    pub(crate) seed: u64,
    /// Allocators of the CAPTURE queue's device and the OUTPUT queue's device.
    pub(crate) allocators: [Allocator; 2],
    pub(crate) planes: usize,
    /// Whether read() and write() are offered.
    pub(crate) files: bool,
}

/// One side: a queue and its device.
pub(crate) struct Side {
    pub(crate) queue: Queue<Mem>,
    pub(crate) engine: Engine,
    pub(crate) device: Device<Dev>,
    /// The wait of a caller that sleeps, if any.
    pub(crate) wait: Option<Wait>,
}

impl Side {
    /// Returns a session of the queue for one call.
    pub(crate) fn session<'a>(&'a mut self, mem: &'a Mem) -> Session<'a, Mem> {
        self.queue.session(mem, &mut self.engine)
    }
}

pub(crate) struct Lab {
    pub(crate) mem: Mem,
    pub(crate) sides: [Side; 2],
    pub(crate) user: User,
    pub(crate) bufs: Vec<BufRef>,
    /// The program's mappings.
    pub(crate) maps: Vec<(Vma, File)>,
    pub(crate) clock: u64,
}

/// An operation of a program or a device. The index `nth` is taken modulo the number of objects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Reqbufs(usize, Memory, u32, Coherency),
    Create(usize, Memory, u32, Coherency),
    Remove(usize, u32, u32),
    Prepare(usize, u32, Offer),
    Queue(usize, u32, Offer),
    Dequeue(usize),
    On(usize),
    Off(usize),
    /// The device does its work with its nth buffer and completes it with this outcome.
    Work(usize, usize, Result<(), DriverError>),
    /// The same, and the buffer is the stream's last one.
    Last(usize, usize),
    /// The device drops its nth token, and does no work.
    DropToken(usize, usize),
    SetError(usize),
    Wait(usize),
    Wake(usize),
    Poll(usize),
    Release(usize),
    /// read() of one frame on CAPTURE, write() of one on OUTPUT.
    File(usize),
    Export(usize, u32),
    CloseBuf(usize),
    Mmap(usize, u32),
    MmapBuf(usize),
    Munmap(usize),
    /// `DMA_BUF_IOCTL_SYNC` with these flags on the nth dma-buf.
    Sync(usize, u64),
    /// The program writes a new stamp through its nth mapping.
    Write(usize),
    /// The program writes a new stamp to its own memory.
    WriteSlot(usize),
}

/// A program's arguments of QBUF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) memory: Memory,
    /// Index of the dma-buf or slot.
    pub(crate) nth: usize,
    pub(crate) hints: HintSkip,
}

/// The bytes of a plane, which a message shows as a checksum.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Vec<u8>);

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lines = self.0.chunks(64).filter_map(|line| line.first());
        let sum = lines.fold(0u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte));
        write!(f, "Frame({} bytes, {sum:#x})", self.0.len())
    }
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The operation was done.
    Done,
    /// There was no object for the operation.
    Nothing,
    Count(u32),
    /// First index and count.
    Range(u32, u32),
    /// DQBUF returned this buffer.
    Back {
        index: u32,
        error: bool,
    },
    /// The device worked on a buffer. On OUTPUT, `read` has the bytes that it read.
    Worked {
        index: u32,
        read: Frame,
    },
    /// Whether the queue is ready; `None` if a wait would never end.
    Poll(Option<bool>),
    /// The bytes that read() returned.
    Bytes(Frame),
}

impl Lab {
    pub(crate) fn new(setup: Setup) -> Self {
        let profile = Profile::builtin(setup.machine).expect("built in");
        let mut machine = Machine::new(&profile, setup.seed).expect("machine");
        let devices = [0, 1].map(|side| {
            let name = ["camera", "display"][side];
            let dev = machine.add_device(name, DeviceLimits::default());
            let dev = dev.expect("room");
            match setup.allocators[side] {
                Allocator::Contig => Device::contig(dev),
                Allocator::Sg => Device::sg(dev),
                Allocator::Vmalloc => Device::vmalloc(dev),
            }
        });
        let side = |side: usize| {
            let queue_type = [QueueType::Capture, QueueType::Output][side];
            let mut config = Config::new(devices[side], queue_type);
            config.io_modes = IoModes::MMAP | IoModes::USERPTR | IoModes::DMABUF;
            if setup.files {
                config.io_modes = IoModes::all();
            }
            config.allow_cache_hints = true;
            config.min_queued_buffers = 2 * (1 - side as u32);
            Side {
                queue: Queue::new(config).expect("queue"),
                engine: Engine {
                    planes: setup.planes,
                    ..Engine::default()
                },
                device: devices[side],
                wait: None,
            }
        };
        let memory = vec![0; (SLOTS as u64 * STRIDE) as usize];
        Self {
            mem: Planes::new(Mapper::new(machine).expect("mapper"), Log::default()),
            sides: [side(0), side(1)],
            user: Arc::new(Program(Mutex::new(memory))),
            bufs: Vec::new(),
            maps: Vec::new(),
            clock: 0,
        }
    }

    pub(crate) fn machine(&mut self) -> &mut Machine {
        self.mem.ops_mut().platform_mut()
    }

    /// Returns the bytes that the device at a side sees in a plane.
    pub(crate) fn device_read(&mut self, side: usize, cookie: Cookie) -> Result<Vec<u8>, BusFault> {
        let dev = self.sides[side].device.dma;
        let mut out = vec![0; LEN as usize];
        match cookie {
            // The device need not be permitted to read: a CAPTURE buffer may be mapped only for writing.
            Cookie::Dma(addr) => self.machine().bus_inspect(dev, addr, &mut out)?,
            Cookie::Sg(view) => {
                let mut done = 0;
                while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
                    let (addr, len) = self.mem.sg_find(view, done as u64).expect("a segment");
                    let len = rest.len().min(len as usize);
                    let machine = self.mem.ops_mut().platform_mut();
                    machine.bus_inspect(dev, addr, &mut rest[..len])?;
                    done += len;
                }
            }
            view @ Cookie::Cpu(_) => {
                let read = self.mem.cpu_read(dev, view, 0, &mut out);
                read.expect("mapped for the driver");
            }
        }
        Ok(out)
    }

    fn device_write(&mut self, side: usize, cookie: Cookie, stamp: u32) {
        let dev = self.sides[side].device.dma;
        let data = bytes_of(stamp);
        match cookie {
            Cookie::Dma(addr) => self.machine().bus_write(dev, addr, &data).expect("reached"),
            Cookie::Sg(view) => {
                let mut done = 0;
                while let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
                    let (addr, len) = self.mem.sg_find(view, done as u64).expect("a segment");
                    let len = rest.len().min(len as usize);
                    let written = self.machine().bus_write(dev, addr, &rest[..len]);
                    written.expect("reached");
                    done += len;
                }
            }
            view @ Cookie::Cpu(_) => {
                let written = self.mem.cpu_write(dev, view, 0, &data);
                written.expect("mapped for the driver");
            }
        }
    }

    /// Returns the indices of a side's tokens that are not stale.
    pub(crate) fn live_tokens(&self, side: usize) -> Vec<usize> {
        let tokens = self.sides[side].engine.tokens.iter().enumerate();
        let live = tokens.filter(|(_, token)| !token.is_stale());
        live.map(|(at, _)| at).collect()
    }

    fn request(&mut self, index: u32, offer: Offer, planes: usize) -> QueueBuffer<Mem> {
        let mut request = QueueBuffer::new(index, offer.memory);
        request.hints = offer.hints;
        for plane in 0..planes {
            let nth = offer.nth + plane;
            let source = match offer.memory {
                Memory::Mmap => PlaneSource::Mmap,
                Memory::UserPtr => PlaneSource::UserPtr {
                    user: self.user.clone(),
                    addr: slot_addr(nth % SLOTS),
                },
                Memory::DmaBuf => {
                    let buf = pick(&self.bufs, nth).map(|at| self.bufs[at].id());
                    let buf = buf.map(|id| self.mem.buffers().get_buf(id).expect("held"));
                    PlaneSource::DmaBuf { buf, fd: 3 }
                }
            };
            let plane = PlaneRequest {
                payload_bytes: 0,
                length_bytes: if offer.memory == Memory::UserPtr {
                    LEN
                } else {
                    0
                },
                data_offset: 0,
                source,
            };
            assert!(request.push_plane(plane).is_ok());
        }
        request
    }

    /// Performs an operation. If it writes, it writes the bytes of `stamp`.
    pub(crate) fn apply(&mut self, op: Op, stamp: u32) -> Result<Reply, i32> {
        self.clock += 1000;
        let now = self.clock;
        self.mem.buffers().set_now(now);
        self.machine().set_now_ns(now);
        match op {
            Op::Prepare(side, index, offer) | Op::Queue(side, index, offer) => {
                let planes = self.sides[side].engine.planes;
                let request = self.request(index, offer, planes);
                let mut session = self.sides[side].session(&self.mem);
                let done = match op {
                    Op::Prepare(..) => session.prepare_buf(request),
                    _ => session.qbuf(request),
                };
                done.map(|_| Reply::Done).map_err(Error::errno)
            }
            Op::Work(side, nth, outcome) => {
                Ok(self.work(side, nth, Completion::new(outcome, 0), stamp))
            }
            Op::Last(side, nth) => {
                let mut completion = Completion::done(0);
                completion.last = true;
                Ok(self.work(side, nth, completion, stamp))
            }
            Op::DropToken(side, nth) => Ok(self.drop_token(side, nth)),
            Op::Export(..)
            | Op::CloseBuf(_)
            | Op::Mmap(..)
            | Op::MmapBuf(_)
            | Op::Munmap(_)
            | Op::Sync(..)
            | Op::Write(_)
            | Op::WriteSlot(_) => self.program(op, stamp),
            Op::File(side) => self.file(side, stamp),
            _ => self.stream(op),
        }
    }

    fn file(&mut self, side: usize, stamp: u32) -> Result<Reply, i32> {
        let mut session = self.sides[side].session(&self.mem);
        let mut bytes = Bytes(bytes_of(stamp));
        let whole = Pieces {
            call: 0,
            most_bytes: u64::MAX,
        };
        let moved = if side == OUTPUT {
            session.begin_write(&mut bytes, LEN, self.clock, whole)
        } else {
            session.begin_read(&mut |at, data| bytes.put(at, data), LEN, whole)
        };
        let moved = moved.map_err(Error::errno)?;
        bytes.0.truncate(moved as usize);
        Ok(Reply::Bytes(Frame(bytes.0)))
    }

    /// Performs an operation that passes no memory to the queue.
    fn stream(&mut self, op: Op) -> Result<Reply, i32> {
        let mem = &mut self.mem;
        let (Op::Reqbufs(side, ..)
        | Op::Create(side, ..)
        | Op::Remove(side, ..)
        | Op::Dequeue(side)
        | Op::On(side)
        | Op::Off(side)
        | Op::SetError(side)
        | Op::Wait(side)
        | Op::Wake(side)
        | Op::Poll(side)
        | Op::Release(side)) = op
        else {
            return Ok(Reply::Nothing);
        };
        let planes = self.sides[side].engine.planes;
        let mut session = self.sides[side].session(mem);
        let reply = match op {
            Op::Reqbufs(_, memory, count, coherency) => session
                .reqbufs(memory, count, coherency)
                .map(|(made, _)| Reply::Count(made.end)),
            Op::Create(_, memory, count, coherency) => {
                let sizes = vec![LEN; planes];
                session
                    .create_bufs(memory, count, coherency, &sizes)
                    .map(|(made, _)| Reply::Range(made.start, made.end - made.start))
            }
            Op::Remove(_, first, count) => session.remove_bufs(first, count).map(|()| Reply::Done),
            Op::Dequeue(_) => session.dqbuf().map(|info| {
                assert_eq!(info.state, BufferState::Dequeued);
                Reply::Back {
                    index: info.index,
                    error: info.error,
                }
            }),
            Op::On(_) => session.streamon().map(|()| Reply::Done),
            Op::Off(_) => session.streamoff().map(|()| Reply::Done),
            Op::Wait(_) => session.queue().wait().map(|wait| {
                self.sides[side].wait = Some(wait);
                Reply::Done
            }),
            Op::Poll(_) => {
                let found = session.poll(true);
                Ok(Reply::Poll(found.ok()))
            }
            Op::SetError(_) => {
                self.sides[side].queue.set_error();
                Ok(Reply::Done)
            }
            Op::Wake(_) => {
                self.sides[side].wait = None;
                Ok(Reply::Done)
            }
            _ => {
                session.release();
                Ok(Reply::Done)
            }
        };
        reply.map_err(Error::errno)
    }

    /// Lets the device at a side work: a camera writes the stamp, a display reads.
    fn work(&mut self, side: usize, nth: usize, completion: Completion, stamp: u32) -> Reply {
        let live = self.live_tokens(side);
        let Some(at) = pick(&live, nth) else {
            return Reply::Nothing;
        };
        let token = self.sides[side].engine.tokens.remove(live[at]);
        let views: Vec<Cookie> = token.planes().expect("live").map(|v| v.cookie).collect();
        let mut read = Frame::default();
        for cookie in views {
            if side == OUTPUT {
                let seen = self.device_read(side, cookie).expect("reached");
                if read.0.is_empty() {
                    read = Frame(seen);
                }
            } else {
                self.device_write(side, cookie, stamp);
            }
        }
        let index = token.index();
        let completion = Completion {
            timestamp_ns: Some(self.clock),
            ..completion
        };
        let mut session = self.sides[side].session(&self.mem);
        session.complete(token, completion).expect("live");
        Reply::Worked { index, read }
    }

    fn drop_token(&mut self, side: usize, nth: usize) -> Reply {
        let live = self.live_tokens(side);
        let Some(at) = pick(&live, nth) else {
            return Reply::Nothing;
        };
        let token = self.sides[side].engine.tokens.remove(live[at]);
        let index = token.index();
        drop(token);
        self.sides[side].session(&self.mem).reap();
        Reply::Worked {
            index,
            read: Frame::default(),
        }
    }

    /// Performs a program's operation on its memory.
    fn program(&mut self, op: Op, stamp: u32) -> Result<Reply, i32> {
        match op {
            Op::Export(side, index) => {
                if self.bufs.len() >= MAX_HELD {
                    return Ok(Reply::Nothing);
                }
                for plane in 0..self.sides[side].engine.planes as u32 {
                    let mut session = self.sides[side].session(&self.mem);
                    let buf = session.expbuf(index, plane).map_err(Error::errno)?;
                    self.bufs.push(buf);
                }
            }
            Op::CloseBuf(nth) => {
                let Some(at) = pick(&self.bufs, nth) else {
                    return Ok(Reply::Nothing);
                };
                let buf = self.bufs.swap_remove(at);
                self.mem.put_dmabuf(buf);
            }
            Op::Mmap(side, index) => return self.mmap(side, index),
            Op::MmapBuf(nth) => {
                let (Some(at), false) = (pick(&self.bufs, nth), self.maps.len() >= MAX_HELD) else {
                    return Ok(Reply::Nothing);
                };
                let id = self.bufs[at].id();
                let mmap = self
                    .mem
                    .buffers()
                    .mmap_buf(id, 0, LEN)
                    .map_err(|e| e.errno())?;
                let vma = self.mem.buffers().vma_open_buf(id).map_err(|e| e.errno())?;
                self.maps.push((vma, File::from(mmap.fd)));
            }
            Op::Munmap(nth) => {
                let Some(at) = pick(&self.maps, nth) else {
                    return Ok(Reply::Nothing);
                };
                self.munmap(at);
            }
            Op::Sync(nth, flags) => {
                let Some(at) = pick(&self.bufs, nth) else {
                    return Ok(Reply::Nothing);
                };
                let id = self.bufs[at].id();
                self.mem.buffers().sync(id, flags).map_err(|e| e.errno())?;
            }
            Op::Write(nth) => {
                let Some(at) = pick(&self.maps, nth) else {
                    return Ok(Reply::Nothing);
                };
                self.maps[at].1.write_all_at(&bytes_of(stamp), 0).unwrap();
            }
            Op::WriteSlot(slot) => {
                let addr = slot_addr(slot % SLOTS);
                self.user.write(addr, &bytes_of(stamp)).unwrap();
            }
            _ => return Ok(Reply::Nothing),
        }
        Ok(Reply::Done)
    }

    fn mmap(&mut self, side: usize, index: u32) -> Result<Reply, i32> {
        if self.maps.len() >= MAX_HELD {
            return Ok(Reply::Nothing);
        }
        let mut session = self.sides[side].session(&self.mem);
        let info = session.querybuf(index).map_err(Error::errno)?;
        let cookie = match info.planes[0].map(|p| p.cookie) {
            Some(PlaneLocation::Cookie(cookie)) => cookie,
            _ => u64::MAX,
        };
        let access = Some(Direction::Bidirectional);
        let (memory, map) = session.mmap(cookie, LEN, access).map_err(Error::errno)?;
        let vma = self.mem.buffers().vma_open(memory).map_err(|e| e.errno())?;
        self.maps.push((vma, File::from(map.fd)));
        Ok(Reply::Done)
    }

    pub(crate) fn munmap(&mut self, at: usize) {
        let (vma, _) = self.maps.swap_remove(at);
        self.mem.vma_close(vma);
    }

    /// Returns the bytes of a program's mapping.
    pub(crate) fn mapped_bytes(&self, at: usize) -> Vec<u8> {
        let mut out = vec![0; LEN as usize];
        self.maps[at].1.read_exact_at(&mut out, 0).unwrap();
        out
    }

    /// Ends everything, from any state, and checks that no resource is in use.
    pub(crate) fn end(mut self) {
        self.machine().set_faults(vb3_machine::Faults::Off);
        for side in &mut self.sides {
            side.session(&self.mem).release();
            let Side { queue, engine, .. } = side;
            assert_eq!(queue.num_buffers(), 0);
            assert!(!queue.is_busy() && queue.memory().is_none());
            assert!(engine.tokens.iter().all(Token::is_stale));
        }
        while !self.maps.is_empty() {
            self.munmap(0);
        }
        while let Some(buf) = self.bufs.pop() {
            self.mem.put_dmabuf(buf);
        }
        assert!(self.mem.live().is_empty(), "{:?}", self.mem.live());
        let layer = self.mem.ops();
        assert!(layer.live().is_empty(), "{:?}", layer.live());
        assert_eq!(layer.platform().held(), Default::default());
    }
}

/// Returns `nth` modulo the list's length; `None` for an empty list.
pub(crate) fn pick<T>(list: &[T], nth: usize) -> Option<usize> {
    nth.checked_rem(list.len())
}

/// A program's buffer for read() and write().
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    fn put(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let at = offset as usize;
        let to = self.0.get_mut(at..at + data.len()).ok_or(Error::Fault)?;
        to.copy_from_slice(data);
        Ok(())
    }
}

impl Source for Bytes {
    fn get(&mut self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let at = offset as usize;
        out.copy_from_slice(self.0.get(at..at + out.len()).ok_or(Error::Fault)?);
        Ok(())
    }
}
