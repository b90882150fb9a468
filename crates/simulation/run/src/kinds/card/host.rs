//! A card's memory and fences, and the program that calls it.

use crate::hosted::Hosted;
use crate::kinds::{Kinds, SyncFiles, sync_file};
use crate::memory::RunMemory;
use crate::needs::Wants;
use crate::shares::Shares;
use std::collections::BTreeMap;
use vb3_dma::{Coherency, Direction, Reason};
use vb3_dmabuf::fence::{Owner, Status, SyncFile, Timeline, Usage};
use vb3_dmabuf::{BufRef, MemoryId};
use vb3_drm::{BufferId, FenceId};
use vb3_frontend::{Detail, Errno, FileAccess, FileId, Install, Made, NumberAt, Step};
use vb3_machine::Device;
use vb3_plane::{Cookie, HintSkip, MemOps};

type Plane = <RunMemory as MemOps>::Plane;
type Fences = Timeline<Owner<Device>>;

/// A memory that the card knows.
struct Object {
    plane: Plane,
    memory: MemoryId,
    /// The imported dma-buf; `None` for the card's own memory.
    buf: Option<BufRef>,
    /// The process that allocated the card's own memory, or imported other memory.
    pid: u32,
}

/// A buffer to which the card writes.
pub(super) struct Written {
    plane: Plane,
    buf: BufRef,
}

impl Written {
    pub(super) fn cookie(&self, memory: &RunMemory) -> Option<Cookie> {
        memory.cookie(&self.plane)
    }

    fn put(self, memory: &mut RunMemory) {
        memory.put(self.plane);
        memory.put_dmabuf(self.buf);
    }
}

/// The memory and fences of a card.
pub(super) struct CardMemory {
    hosted: Hosted,
    objects: BTreeMap<BufferId, Object>,
    /// The fences that commits wait for.
    fences: BTreeMap<FenceId, SyncFile>,
    next_fence: u64,
    /// The timeline of each CRTC, then that of each CRTC's writeback connector.
    timelines: Vec<Fences>,
}

/// The memory of a card together with the run's.
pub(super) struct WithMemory<'a> {
    own: &'a mut CardMemory,
    memory: &'a mut RunMemory,
}

/// A card's memory, and the program that calls the card.
pub(super) struct Program<'a> {
    pub(super) memory: WithMemory<'a>,
    pub(super) caller: &'a Step<'a>,
    pub(super) shares: &'a mut Shares,
    pub(super) sync_files: &'a mut SyncFiles,
    pub(super) kinds: &'a mut Kinds,
    /// Files of the card that the call made.
    pub(super) made: Vec<(FileId, vb3_drm::FileId)>,
    /// Why memory was refused.
    pub(super) refused: Option<Reason>,
}

impl CardMemory {
    pub(super) fn new(memory: &RunMemory, hosted: Hosted, crtcs: usize) -> Self {
        let owner = Owner::Device(hosted.dma);
        let timelines = (0..2 * crtcs).map(|_| {
            memory
                .buffers()
                .with_fences(|fences, _| fences.timeline(owner))
        });
        Self {
            timelines: timelines.collect(),
            hosted,
            objects: BTreeMap::new(),
            fences: BTreeMap::new(),
            next_fence: 0,
        }
    }

    pub(super) const fn dma(&self) -> Device {
        self.hosted.dma
    }

    /// Returns what the card needs of memory.
    pub(super) const fn wants(&self) -> Wants {
        Wants {
            dma: self.hosted.dma,
            allocator: self.hosted.allocator,
            stride_align: 1,
            demands: self.hosted.demands,
        }
    }

    pub(super) const fn with<'a>(&'a mut self, memory: &'a mut RunMemory) -> WithMemory<'a> {
        WithMemory { own: self, memory }
    }

    /// Returns a buffer's memory for mapping `len_bytes` of it into a program.
    pub(super) fn mmap(
        &self,
        memory: &RunMemory,
        buffer: BufferId,
        len_bytes: u64,
    ) -> Result<(MemoryId, vb3_machine::Mmap), Errno> {
        let object = self.objects.get(&buffer).ok_or(Errno::EINVAL)?;
        let map = memory.mmap(&object.plane, len_bytes);
        let map = map.map_err(|e| Errno(e.errno()))?;
        Ok((object.memory, map.1))
    }

    /// Returns the process that allocated a buffer of the card's own memory.
    pub(super) fn maker(&self, buffer: BufferId) -> Option<u32> {
        let object = self.objects.get(&buffer)?;
        object.buf.is_none().then_some(object.pid)
    }

    /// Begins to read a buffer for the screen. Returns whether the card can reach it.
    pub(super) fn begin_scan(&mut self, memory: &RunMemory, buffer: BufferId) -> bool {
        let Some(object) = self.objects.get_mut(&buffer) else {
            return false;
        };
        let plane = &mut object.plane;
        let is_ready =
            memory.place(plane).is_ok() && memory.prepare(plane, HintSkip::empty()).is_ok();
        memory.begin_access(plane);
        is_ready
    }

    /// Ends the reads of a buffer.
    pub(super) fn end_scan(&mut self, memory: &RunMemory, buffer: BufferId) {
        if let Some(object) = self.objects.get_mut(&buffer) {
            memory.end_access(&mut object.plane, Ok(()));
            // This can fail only if data that the card wrote is lost, and the card has only read.
            let _ = memory.finish(&mut object.plane, HintSkip::empty());
        }
    }

    fn insert(
        &mut self,
        plane: Plane,
        (memory, buf): (MemoryId, Option<BufRef>),
        pid: u32,
    ) -> BufferId {
        let buffer = BufferId(memory.get());
        let object = Object {
            plane,
            memory,
            buf,
            pid,
        };
        self.objects.insert(buffer, object);
        buffer
    }

    /// Returns a new reference to a buffer's dma-buf.
    fn dmabuf(&self, memory: &mut RunMemory, buffer: BufferId) -> Result<BufRef, Errno> {
        let object = self.objects.get(&buffer).ok_or(Errno::ENOENT)?;
        let made = match &object.buf {
            Some(buf) => memory.clone_dmabuf(buf),
            None => memory.export(&object.plane),
        };
        made.map_err(|e| Errno(e.errno()))
    }

    /// Maps a buffer once more, so that the card may write to it, and begins to write. `None` if the card
    /// cannot reach the buffer.
    pub(super) fn begin_write(&self, memory: &mut RunMemory, buffer: BufferId) -> Option<Written> {
        let buf = self.dmabuf(memory, buffer).ok()?;
        let len = memory.dmabuf_len(&buf);
        // The bytes between the picture's lines must keep their values, so the buffer's data is also an
        // input.
        let way = Direction::Bidirectional;
        let attached = memory.attach_dmabuf(self.hosted.planes, &buf, len, way);
        let mut written = match attached {
            Ok(plane) => Written { plane, buf },
            Err(_) => {
                memory.put_dmabuf(buf);
                return None;
            }
        };
        let plane = &mut written.plane;
        let is_ready = memory.map_dmabuf(plane).is_ok()
            && memory.place(plane).is_ok()
            && memory.prepare(plane, HintSkip::empty()).is_ok();
        if !is_ready {
            written.put(memory);
            return None;
        }
        memory.begin_access(plane);
        Some(written)
    }

    /// Ends the write to a buffer.
    pub(super) fn end_write(
        memory: &mut RunMemory,
        mut written: Written,
        outcome: Result<(), i32>,
    ) {
        memory.end_access(&mut written.plane, outcome);
        // If the card has lost the buffer, this fails, but then the write itself has failed before.
        let _ = memory.finish(&mut written.plane, HintSkip::empty());
        written.put(memory);
    }

    /// Ends a fence of a timeline, and those before it.
    pub(super) fn end_fence(
        &mut self,
        memory: &RunMemory,
        (timeline, seqno): (usize, u64),
        outcome: Result<(), i32>,
    ) {
        if let Some(timeline) = self.timelines.get_mut(timeline) {
            memory.buffers().with_fences(|fences, now_ns| {
                fences.advance(timeline, seqno, outcome, now_ns);
            });
        }
    }

    pub(super) fn cookie(&self, memory: &RunMemory, buffer: BufferId) -> Option<Cookie> {
        memory.cookie(&self.objects.get(&buffer)?.plane)
    }
}

impl vb3_drm::Memory for WithMemory<'_> {
    fn release(&mut self, buffer: BufferId) {
        if let Some(object) = self.own.objects.remove(&buffer) {
            self.memory.put(object.plane);
            if let Some(buf) = object.buf {
                self.memory.put_dmabuf(buf);
            }
        }
    }

    fn is_written(&self, buffer: BufferId) -> bool {
        let object = self.own.objects.get(&buffer);
        object.is_some_and(|object| {
            // A reader waits for writers only.
            self.memory.buffers().is_busy(object.memory, Usage::Read)
        })
    }

    fn is_pending(&self, fence: FenceId) -> bool {
        let (memory, file) = (&self.memory, self.own.fences.get(&fence));
        let status = |file| {
            memory
                .buffers()
                .with_fences(|fences, _| fences.sync_file_status(file))
        };
        file.is_some_and(|file| status(file) == Status::Pending)
    }

    fn release_fence(&mut self, fence: FenceId) {
        let (memory, file) = (&self.memory, self.own.fences.remove(&fence));
        if let Some(file) = file {
            memory
                .buffers()
                .with_fences(|fences, _| fences.put_sync_file(file));
        }
    }

    fn signal(&mut self, timeline: usize, seqno: u64) {
        let end = (timeline, seqno);
        self.own.end_fence(self.memory, end, Ok(()));
    }
}

impl Program<'_> {
    /// Finds the dma-buf of a program's descriptor, and takes a reference to it.
    fn resolve(&mut self, fd: i32) -> Result<BufRef, Errno> {
        let known = |of| self.caller.descriptor(fd, of);
        let file = known(Detail::Name)?.id;
        let own = self
            .shares
            .named(file, || Ok(known(Detail::Description)?.tag))?;
        let memory = &mut *self.memory.memory;
        let buf = match own {
            Some(own) => Some(own),
            None => self.shares.imports.resolve(memory, self.caller, (fd, file)),
        };
        self.refused = self.shares.imports.take_refused().pop();
        let found = memory.buffers().get_buf(buf.ok_or(Errno::EINVAL)?);
        found.map_err(|e| Errno(e.errno()))
    }
}

impl vb3_drm::Program for Program<'_> {
    fn memory(&mut self) -> &mut dyn vb3_drm::Memory {
        &mut self.memory
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.caller.read(addr, out)
    }

    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        self.caller.prepare_read(addr, len_bytes)
    }

    fn write(&mut self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.caller.write(addr, data);
        Ok(())
    }

    fn pid(&self) -> u32 {
        self.caller.pid()
    }

    fn is_root(&self) -> bool {
        super::rights::is_root(self.caller.pid())
    }

    fn allocate(&mut self, len_bytes: u64) -> Result<BufferId, Errno> {
        let WithMemory { own, memory } = &mut self.memory;
        let (direction, coherency) = (Direction::ToDevice, Coherency::Coherent);
        let plane = memory.alloc(own.hosted.planes, len_bytes, direction, coherency);
        let plane = plane.map_err(|e| {
            self.refused = e.reason();
            Errno(e.errno())
        })?;
        let Some(id) = plane.memory() else {
            memory.put(plane);
            return Err(Errno::ENOMEM);
        };
        Ok(own.insert(plane, (id, None), self.caller.pid()))
    }

    fn import(&mut self, fd: i32) -> Result<(BufferId, u64), Errno> {
        let buf = self.resolve(fd)?;
        let WithMemory { own, memory } = &mut self.memory;
        let (id, len) = (buf.memory(), memory.dmabuf_len(&buf));
        let buffer = BufferId(id.get());
        if own.objects.contains_key(&buffer) {
            memory.put_dmabuf(buf);
            return Ok((buffer, len));
        }
        let attached = memory.attach_dmabuf(own.hosted.planes, &buf, len, Direction::ToDevice);
        let mapped = attached.and_then(|mut plane| match memory.map_dmabuf(&mut plane) {
            Ok(()) => Ok(plane),
            Err(e) => {
                memory.put(plane);
                Err(e)
            }
        });
        match mapped {
            Ok(plane) => Ok((own.insert(plane, (id, Some(buf)), self.caller.pid()), len)),
            Err(e) => {
                self.refused = e.reason();
                memory.put_dmabuf(buf);
                // Source: Linux drm_gem_dma_prime_import_sg_table: memory that is not contiguous is EINVAL.
                Err(Errno::EINVAL)
            }
        }
    }

    fn export(&mut self, buffer: BufferId, cloexec: bool, at: u64) -> Result<i32, Errno> {
        let WithMemory { own, memory } = &mut self.memory;
        let buf = own.dmabuf(memory, buffer)?;
        let how = (cloexec, FileAccess::ReadWrite, NumberAt::Address(at));
        let installed = self.shares.install(memory, buf, self.caller, how);
        installed.map(|()| 0).map_err(|(e, buf)| {
            memory.put_dmabuf(buf);
            e
        })
    }

    fn sync_file(&mut self, fd: i32) -> Result<FenceId, Errno> {
        let file = sync_file::named(self.caller, fd, Errno::EINVAL)?;
        let file = self.sync_files.named(file).ok_or(Errno::EINVAL)?;
        let WithMemory { own, memory } = &mut self.memory;
        let copy = memory
            .buffers()
            .with_fences(|fences, now_ns| fences.merge(file, file, now_ns));
        let copy = copy.map_err(|e| Errno(e.errno()))?;
        own.next_fence = own.next_fence.wrapping_add(1);
        own.fences.insert(FenceId(own.next_fence), copy);
        Ok(FenceId(own.next_fence))
    }

    fn out_fence(&mut self, timeline: usize, seqno: u64, at: u64) -> Result<i32, Errno> {
        let id = self.kinds.new_file();
        let WithMemory { own, memory } = &mut self.memory;
        let timeline = own.timelines.get_mut(timeline).ok_or(Errno::EINVAL)?;
        let made = memory
            .buffers()
            .with_fences(|fences, now_ns| fences.sync_file_at(timeline, seqno, now_ns));
        let file = made.map_err(|e| Errno(e.errno()))?;
        self.sync_files.install(memory, (id, file), self.caller, at);
        self.kinds.add(id, SyncFiles::KIND);
        Ok(0)
    }

    fn install_file(
        &mut self,
        file: vb3_drm::FileId,
        cloexec: bool,
        at: u64,
    ) -> Result<i32, Errno> {
        let id = self.kinds.new_file();
        let (made, number) = (
            Made::File {
                file: id,
                name: c"card",
            },
            NumberAt::Address(at),
        );
        self.caller.install(Install {
            made,
            cloexec,
            number,
        });
        self.kinds.add(id, super::CardFiles::NAME);
        self.made.push((id, file));
        Ok(0)
    }
}
