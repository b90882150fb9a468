//! A test bench: a queue with plain memory, a bus that can fail, and a clock that the test sets.

use crate::{FaultSchedule, FrameFault, FrameFaults, HostSettings};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use vb3_plane::{Direction, HintSkip, MemOps, PlaneError};
use vb3_queue::{
    BufferInfo, Coherency, Config, Driver, Error, Memory as Model, PlaneRequest, Queue,
    QueueBuffer, QueueType, Session,
};
use vb3_v4l2::{
    Bus, BusFault, CopyFault, DriverEvent, Finished, Flow, HostSpan, InPlace, Lines, Peer,
    Progress, Role, Span, SpanReader, SpanWriter, VideoDriver, with_queue_driver,
};

/// Returns the settings of a host. JPEG's codec runs in a thread.
pub(crate) fn host() -> HostSettings {
    HostSettings {
        bus_info: "platform:vb3-000".into(),
        usb: None,
        userptr: false,
        codecs: vb3_codec::Launch::in_thread().into(),
    }
}

/// Returns a schedule of faults, each for the frame with its number.
pub(crate) fn schedule(faults: &[(u64, FrameFault)]) -> FaultSchedule {
    let schedule = FaultSchedule::default();
    for (step, (first, fault)) in (0..).zip(faults) {
        schedule.add(FrameFaults {
            step,
            fault: *fault,
            first: *first,
            every: 1,
            count: 1,
        });
    }
    schedule
}

/// The value of untouched bytes.
pub(crate) const FILLER: u8 = 0xa5;

/// Planes by their numbers, with records of how they are accessed.
#[derive(Debug, Default)]
pub(crate) struct BenchMemory {
    pub(crate) planes: RefCell<BTreeMap<u32, Vec<u8>>>,
    next: Cell<u32>,
    /// Planes without a mapping for the device.
    pub(crate) unmapped: Vec<u32>,
    /// Whether devices may access planes in place.
    pub(crate) shows: bool,
    /// How often a device accessed a plane in place.
    pub(crate) in_place: u32,
    /// Whether other processes may write to planes. Their writes go to `files`.
    pub(crate) maps: bool,
    pub(crate) files: BTreeMap<u32, File>,
    /// Number of bytes that devices only counted as read.
    pub(crate) unseen: usize,
    /// All accesses: plane, offset, length.
    pub(crate) accesses: Vec<(u32, u64, usize)>,
}

impl BenchMemory {
    /// Returns the number of planes made so far.
    pub(crate) const fn made(&self) -> u32 {
        self.next.get()
    }

    fn range(
        &self,
        cookie: u32,
        offset: u64,
        len: usize,
    ) -> Result<std::ops::Range<usize>, BusFault> {
        if self.unmapped.contains(&cookie) {
            return Err(BusFault::Unmapped {
                addr: u64::from(cookie),
            });
        }
        let planes = self.planes.borrow();
        let plane = planes.get(&cookie).ok_or(BusFault::Revoked)?;
        let start = usize::try_from(offset).expect("a small offset");
        let range = start..start + len;
        if range.end > plane.len() {
            return Err(BusFault::OutOfRange {
                offset,
                len: len as u64,
            });
        }
        Ok(range)
    }
}

/// Returns offset and length of each access. Lines without gaps between them are one access.
fn runs(lines: &Lines<'_, u32>) -> impl Iterator<Item = (u64, usize)> {
    let (count, len) = match lines.pitch == lines.line_bytes {
        true => (1, lines.line_bytes * lines.count),
        false => (lines.count, lines.line_bytes),
    };
    let (offset, pitch) = (lines.offset, lines.pitch);
    let len = usize::try_from(len).expect("a short line");
    (0..count).map(move |line| (offset + line * pitch, len))
}

/// Returns a file with the bytes of a plane.
fn file_of(plane: &[u8]) -> File {
    let fd = memfd_create("plane", MemfdFlags::ALLOW_SEALING).expect("a file in memory");
    let file = File::from(fd);
    file.write_all_at(plane, 0).expect("memory enough");
    let seals = SealFlags::SHRINK | SealFlags::GROW;
    fcntl_add_seals(&file, seals).expect("a file that may be sealed");
    file
}

impl Bus<u32> for BenchMemory {
    fn read(&mut self, cookie: &u32, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        let range = self.range(*cookie, offset, out.len())?;
        self.accesses.push((*cookie, offset, out.len()));
        out.copy_from_slice(&self.planes.borrow()[cookie][range]);
        Ok(())
    }

    fn note_read(&mut self, cookie: &u32, offset: u64, len: u64) -> Result<(), BusFault> {
        let len = usize::try_from(len).expect("a short span");
        self.range(*cookie, offset, len)?;
        self.accesses.push((*cookie, offset, len));
        self.unseen += len;
        Ok(())
    }

    fn write(&mut self, cookie: &u32, offset: u64, data: &[u8]) -> Result<(), BusFault> {
        let range = self.range(*cookie, offset, data.len())?;
        self.accesses.push((*cookie, offset, data.len()));
        let planes = self.planes.get_mut();
        planes.get_mut(cookie).expect("checked above")[range].copy_from_slice(data);
        Ok(())
    }

    fn in_place(
        &mut self,
        from: &[Lines<'_, u32>],
        to: &[Lines<'_, u32>],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        let there = |lines: &Lines<'_, u32>| {
            let len = usize::try_from(lines.extent()?).expect("a short span");
            let range = self.range(*lines.cookie, lines.offset, len).ok()?;
            Some(self.planes.borrow()[lines.cookie][range].to_vec())
        };
        let sources: Vec<Vec<u8>> = from.iter().map(there).collect::<Option<_>>()?;
        let mut targets: Vec<Vec<u8>> = to.iter().map(there).collect::<Option<_>>()?;
        if !self.shows {
            return None;
        }
        let mut lent: Vec<&mut [u8]> = targets.iter_mut().map(Vec::as_mut_slice).collect();
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        let done = act(&sources, &mut lent);
        self.in_place += 1;
        for lines in from {
            let runs = runs(lines).map(|(offset, len)| (*lines.cookie, offset, len));
            self.accesses.extend(runs);
        }
        for (lines, bytes) in to.iter().zip(&targets) {
            for (offset, len) in runs(lines) {
                let start = usize::try_from(offset - lines.offset).expect("a short span");
                let written = self.write(lines.cookie, offset, &bytes[start..start + len]);
                written.expect("checked above");
            }
            let plane = &self.planes.get_mut()[lines.cookie][lines.offset as usize..];
            assert!(plane.starts_with(bytes), "between lines nothing is changed");
        }
        Some(done)
    }

    fn host_spans(&mut self, spans: &[Span<'_, u32>]) -> Option<Vec<HostSpan<'_>>> {
        let is_there = |span: &Span<'_, u32>| {
            let len = usize::try_from(span.len).expect("a short span");
            self.range(*span.cookie, span.offset, len).is_ok()
        };
        if !self.maps || !spans.iter().all(is_there) {
            return None;
        }
        for span in spans {
            let plane = &self.planes.get_mut()[span.cookie];
            let file = self.files.entry(*span.cookie);
            file.or_insert_with(|| file_of(plane));
        }
        let found = spans.iter().map(|span| HostSpan {
            file: self.files[span.cookie].as_fd(),
            number: u64::from(*span.cookie),
            file_len: self.planes.borrow()[span.cookie].len() as u64,
            offset: span.offset,
            len: span.len,
        });
        Some(found.collect())
    }

    fn readers(&mut self, spans: &[Span<'_, u32>]) -> Option<Vec<SpanReader>> {
        let reader = |span: &Span<'_, u32>| {
            let len = usize::try_from(span.len).expect("a short span");
            let range = self.range(*span.cookie, span.offset, len).ok()?;
            let bytes = self.planes.borrow()[span.cookie][range].to_vec();
            Some(Box::new(move |offset, out: &mut [u8]| {
                let start = usize::try_from(offset).expect("a small offset");
                let from = bytes.get(start..start + out.len());
                from.map(|from| out.copy_from_slice(from)).is_some()
            }) as SpanReader)
        };
        self.maps.then(|| spans.iter().map(reader).collect())?
    }

    fn writers(&mut self, spans: &[Span<'_, u32>]) -> Option<Vec<SpanWriter>> {
        let found = self.host_spans(spans)?;
        let writer = |span: HostSpan<'_>| {
            let file = span.file.try_clone_to_owned().expect("a descriptor");
            let file = File::from(file);
            Box::new(move |offset, data: &[u8]| {
                let fits = offset + data.len() as u64 <= span.len;
                fits && file.write_all_at(data, span.offset + offset).is_ok()
            }) as SpanWriter
        };
        // The closures keep numbers of the span and a file of their own.
        Some(found.into_iter().map(writer).collect())
    }

    fn note_written(&mut self, cookie: &u32, offset: u64, len: u64) -> Result<(), BusFault> {
        let len = usize::try_from(len).expect("a short span");
        let range = self.range(*cookie, offset, len)?;
        self.accesses.push((*cookie, offset, len));
        let planes = self.planes.get_mut();
        let to = &mut planes.get_mut(cookie).expect("checked above")[range];
        let file = &self.files[cookie];
        file.read_exact_at(to, offset).expect("a file as long");
        Ok(())
    }
}

impl MemOps for BenchMemory {
    type Device = ();
    type User = ();
    type Plane = u32;
    type DmaBuf = ();
    type Cookie = u32;
    type Mmap = ();

    fn supports_userptr(&self) -> bool {
        false
    }

    fn alloc(&self, (): (), len_bytes: u64, _: Direction, _: Coherency) -> Result<u32, PlaneError> {
        let len = usize::try_from(len_bytes).map_err(|_| PlaneError::NoMemory(None))?;
        let number = self.next.get() + 1;
        self.next.set(number);
        self.planes.borrow_mut().insert(number, vec![FILLER; len]);
        Ok(number)
    }

    fn get_userptr(
        &self,
        (): (),
        (): &(),
        _addr: u64,
        _len_bytes: u64,
        _direction: Direction,
    ) -> Result<u32, PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn is_current(&self, _plane: &u32, (): &(), _addr: u64) -> bool {
        false
    }

    fn attach_dmabuf(
        &self,
        (): (),
        (): &(),
        _len_bytes: u64,
        _direction: Direction,
    ) -> Result<u32, PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn map_dmabuf(&self, _plane: &mut u32) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn unmap_dmabuf(&self, _plane: &mut u32) {}

    fn put(&self, plane: u32) {
        self.planes.borrow_mut().remove(&plane);
    }

    fn prepare(&self, _plane: &mut u32, _skip: HintSkip) -> Result<(), PlaneError> {
        Ok(())
    }

    fn finish(&self, _plane: &mut u32, _skip: HintSkip) -> Result<(), PlaneError> {
        Ok(())
    }

    fn cookie(&self, plane: &u32) -> Option<u32> {
        Some(*plane)
    }

    fn num_users(&self, _plane: &u32) -> u32 {
        1
    }

    fn mmap(&self, _plane: &u32, _len_bytes: u64) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn export(&self, _plane: &u32) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn dmabuf_len(&self, (): &()) -> u64 {
        0
    }

    fn same_dmabuf(&self, (): &(), (): &()) -> bool {
        false
    }

    fn clone_dmabuf(&self, (): &()) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn put_dmabuf(&self, (): ()) {}

    fn copy_from(&self, _plane: &mut u32, _offset: u64, _out: &mut [u8]) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }

    fn copy_to(&self, _plane: &mut u32, _offset: u64, _data: &[u8]) -> Result<(), PlaneError> {
        Err(PlaneError::Invalid(None))
    }
}

/// Another device's memory, and pairs of planes that share memory: one of this device, one of the other.
pub(crate) struct OtherMemory<'a> {
    pub(crate) other: &'a mut BenchMemory,
    pub(crate) same: &'a [(u32, u32)],
}

/// A bus to the memory of two devices.
struct Joined<'a> {
    own: &'a mut BenchMemory,
    beside: OtherMemory<'a>,
}

impl Bus<u32> for Joined<'_> {
    fn read(&mut self, cookie: &u32, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        self.own.read(cookie, offset, out)
    }

    fn note_read(&mut self, cookie: &u32, offset: u64, len: u64) -> Result<(), BusFault> {
        self.own.note_read(cookie, offset, len)
    }

    fn write(&mut self, cookie: &u32, offset: u64, data: &[u8]) -> Result<(), BusFault> {
        self.own.write(cookie, offset, data)
    }

    fn peer(&self) -> Option<Peer> {
        Some(Peer(0))
    }

    fn copy_from(
        &mut self,
        _: Peer,
        from: &Span<'_, u32>,
        to: &u32,
        offset: u64,
    ) -> Result<u64, CopyFault> {
        let len = usize::try_from(from.len).expect("a short span");
        let mut bytes = vec![0; len];
        let read = self
            .beside
            .other
            .inspect(from.cookie, from.offset, &mut bytes);
        read.map_err(CopyFault::From)?;
        self.write(to, offset, &bytes).map_err(CopyFault::To)?;
        Ok(from.len)
    }

    fn is_same_memory(&mut self, _: Peer, from: &Span<'_, u32>, to: &u32) -> bool {
        self.beside.same.contains(&(*to, *from.cookie))
    }
}

/// A device with its queue.
pub(crate) struct Bench<D> {
    pub(crate) device: D,
    flow: Flow,
    pub(crate) queue: Queue<BenchMemory>,
    pub(crate) memory: BenchMemory,
    /// Events since the test last took them.
    pub(crate) events: Vec<DriverEvent>,
    /// Whether the last tick reported that the buffers no longer fit the source's format.
    pub(crate) outdated: bool,
}

impl<D: VideoDriver<Cookie = u32>> Bench<D> {
    /// Makes a bench with `buffers` buffers, which are not queued.
    pub(crate) fn new(device: D, buffers: u32) -> Self {
        let (flow, kind) = match device.role() {
            Role::Capture => (Flow::Capture, QueueType::Capture),
            Role::Output => (Flow::Output, QueueType::Output),
            Role::MemToMem | Role::Duplex | Role::Subdevice => {
                unreachable!("this bench has one queue")
            }
        };
        let mut config = Config::new((), kind);
        config.copy_timestamps = device.queue_policy(flow).copy_timestamps;
        let queue = Queue::new(config).expect("a valid queue");
        let mut bench = Self {
            device,
            flow,
            queue,
            memory: BenchMemory::default(),
            events: Vec::new(),
            outdated: false,
        };
        bench.make(buffers);
        bench
    }

    /// Calls `act` with a session of the queue.
    fn in_session<T>(&mut self, act: impl FnOnce(Session<'_, BenchMemory>) -> T) -> T {
        let (queue, memory) = (&mut self.queue, &self.memory);
        let act = |driver: &mut dyn Driver<Cookie = u32>| act(queue.session(memory, driver));
        with_queue_driver(&mut self.device, self.flow, act).expect("it acts")
    }

    /// Allocates buffers.
    pub(crate) fn make(&mut self, buffers: u32) {
        self.in_session(|mut session| session.reqbufs(Model::Mmap, buffers, Coherency::Coherent))
            .expect("memory enough");
    }

    /// Queues an OUTPUT buffer with these payloads in bytes.
    pub(crate) fn try_queue(&mut self, index: u32, payloads: &[u64]) -> Result<(), Error> {
        let mut request = QueueBuffer::new(index, Model::Mmap);
        for payload in payloads {
            assert!(
                request.push_plane(PlaneRequest::mmap(*payload)).is_ok(),
                "too many planes"
            );
        }
        self.in_session(|mut session| session.qbuf(request))
            .map(drop)
    }

    /// Queues a buffer of one plane whose data begins at `data_offset`.
    pub(crate) fn try_queue_at(
        &mut self,
        index: u32,
        payload_bytes: u64,
        data_offset: u64,
    ) -> Result<(), Error> {
        let mut request = QueueBuffer::new(index, Model::Mmap);
        let plane = PlaneRequest {
            data_offset,
            ..PlaneRequest::mmap(payload_bytes)
        };
        assert!(request.push_plane(plane).is_ok(), "too many planes");
        self.in_session(|mut session| session.qbuf(request))
            .map(drop)
    }

    /// Queues a full OUTPUT buffer, or an empty CAPTURE buffer.
    pub(crate) fn queue(&mut self, index: u32) {
        let format = self.device.format(self.flow);
        let sizes: Vec<u64> = format
            .layouts()
            .iter()
            .map(|l| u64::from(l.sizeimage))
            .collect();
        self.try_queue(index, &sizes)
            .expect("the buffer can be queued");
    }

    /// Starts streaming. Returns the error of STREAMON.
    pub(crate) fn try_start(&mut self) -> Result<(), Error> {
        self.in_session(|mut session| session.streamon())
    }

    pub(crate) fn start(&mut self) {
        self.try_start().expect("streaming starts");
    }

    pub(crate) fn stop(&mut self) {
        self.in_session(|mut session| session.streamoff())
            .expect("streaming ends");
    }

    /// Frees all buffers.
    pub(crate) fn release(&mut self) {
        self.in_session(|mut session| session.reqbufs(Model::Mmap, 0, Coherency::Coherent))
            .expect("buffers are freed");
    }

    /// Runs a tick. Returns the number of finished buffers.
    pub(crate) fn tick(&mut self, now_ns: u64) -> usize {
        let mut progress = Progress::default();
        self.device.tick(now_ns, &mut self.memory, &mut progress);
        self.complete_finished(progress)
    }

    /// Runs a tick of a device that also reaches another device's memory.
    pub(crate) fn tick_with_other(&mut self, now_ns: u64, beside: OtherMemory<'_>) -> usize {
        let mut progress = Progress::default();
        let mut bus = Joined {
            own: &mut self.memory,
            beside,
        };
        self.device.tick(now_ns, &mut bus, &mut progress);
        self.complete_finished(progress)
    }

    fn complete_finished(&mut self, progress: Progress<u32>) -> usize {
        let mut progress = progress;
        let finished = progress.finished.len();
        for Finished {
            token, completion, ..
        } in progress.finished
        {
            self.in_session(|mut session| session.complete(token, completion))
                .expect("a token that counts");
        }
        self.events.append(&mut progress.events);
        self.outdated = progress.outdated;
        if progress.broken {
            self.queue.set_error();
        }
        finished
    }

    /// Dequeues a finished buffer.
    pub(crate) fn take(&mut self) -> Result<BufferInfo, Error> {
        self.in_session(|mut session| session.dqbuf())
    }

    /// Returns the memory of a buffer's plane. Planes have consecutive numbers, buffer by buffer.
    pub(crate) fn plane(&mut self, index: u32, plane: u32) -> &mut Vec<u8> {
        let planes = u32::try_from(self.device.format(self.flow).num_planes).expect("a few planes");
        let cookie = index * planes + plane + 1;
        self.memory
            .planes
            .get_mut()
            .get_mut(&cookie)
            .expect("a plane")
    }
}
