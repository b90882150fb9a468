//! The queue's record of a buffer, and the descriptions that programs and drivers get.

use crate::config::MAX_PLANES;
use crate::{Memory, PlaneView, RequestId};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use vb3_plane::{HintSkip, MemOps, PlaneError};

/// The holder of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BufferState {
    /// The program.
    Dequeued,
    /// A media request that is not queued yet.
    InRequest,
    /// The queue: the driver has not been started, or the buffer waits for fences.
    Queued,
    /// The device: an [`Active`](crate::Active) token exists.
    Active,
    /// The queue; the device has filled it (CAPTURE) or read it (OUTPUT).
    Done,
    /// The queue; the device reported an error, so the data is unreliable.
    Error,
}

/// Source of a plane's memory.
pub enum PlaneSource<M: MemOps> {
    /// The queue's own memory (MMAP).
    Mmap,
    /// The program's memory (USERPTR).
    UserPtr {
        /// The program.
        user: M::User,
        /// Address of the plane's first byte in the program.
        addr: u64,
    },
    /// A dma-buf. The queue takes over the reference. [`MemOps::clone_dmabuf`] makes another.
    DmaBuf {
        /// The dma-buf; `None` if the descriptor does not name one.
        buf: Option<M::DmaBuf>,
        /// The program's descriptor number, which QUERYBUF returns.
        fd: i32,
    },
}

/// One plane of a buffer that a program queues or prepares.
pub struct PlaneRequest<M: MemOps> {
    /// OUTPUT: bytes used; 0 for the full length (unless the queue allows zero).
    pub payload_bytes: u64,
    /// USERPTR, DMABUF: length in bytes; 0 for the whole dma-buf.
    pub length_bytes: u64,
    /// OUTPUT: offset of the first data byte, in bytes.
    pub data_offset: u64,
    /// Source of the memory.
    pub source: PlaneSource<M>,
}

impl<M: MemOps> PlaneRequest<M> {
    /// Makes a plane of the queue's memory with `payload_bytes` used.
    #[must_use]
    pub const fn mmap(payload_bytes: u64) -> Self {
        Self {
            payload_bytes,
            length_bytes: 0,
            data_offset: 0,
            source: PlaneSource::Mmap,
        }
    }
}

/// A buffer that a program queues or prepares.
///
/// The queue takes over its dma-buf references, even if the call fails.
pub struct QueueBuffer<M: MemOps> {
    /// Index of the buffer.
    pub index: u32,
    /// Memory model that the program expects.
    pub memory: Memory,
    /// Its planes, in order.
    pub planes: [Option<PlaneRequest<M>>; MAX_PLANES],
    /// Timestamp in nanoseconds, for OUTPUT queues that copy timestamps.
    pub timestamp_ns: u64,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// Cache maintenance to skip, for this call only.
    pub hints: HintSkip,
    /// OUTPUT: a timecode.
    pub timecode: Option<[u8; 16]>,
    /// OUTPUT: frame flags, passed through unchecked.
    pub frame_flags: u32,
    /// Whether the program named a media request. Only [`qbuf_in_request`](crate::Session::qbuf_in_request)
    /// accepts such a buffer.
    pub with_request: bool,
}

impl<M: MemOps> QueueBuffer<M> {
    /// Makes a buffer without planes.
    #[must_use]
    pub fn new(index: u32, memory: Memory) -> Self {
        Self {
            index,
            memory,
            planes: core::array::from_fn(|_| None),
            timestamp_ns: 0,
            field: 0,
            hints: HintSkip::empty(),
            timecode: None,
            frame_flags: 0,
            with_request: false,
        }
    }

    /// Makes a buffer with one plane of the queue's memory. On OUTPUT, all bytes of the plane count as used.
    #[must_use]
    pub fn mmap(index: u32) -> Self {
        let mut buffer = Self::new(index, Memory::Mmap);
        let [first, ..] = &mut buffer.planes;
        *first = Some(PlaneRequest::mmap(0));
        buffer
    }

    /// Adds the next plane.
    ///
    /// # Errors
    /// Returns the plane if there are [`MAX_PLANES`] already.
    pub fn push_plane(&mut self, plane: PlaneRequest<M>) -> Result<(), PlaneRequest<M>> {
        match self.planes.iter_mut().find(|p| p.is_none()) {
            Some(place) => {
                *place = Some(plane);
                Ok(())
            }
            None => Err(plane),
        }
    }

    /// Releases the dma-buf references in the planes.
    pub(crate) fn release(&mut self, mem: &M) {
        for plane in self.planes.iter_mut().flatten() {
            if let PlaneSource::DmaBuf { buf, .. } = &mut plane.source {
                if let Some(buf) = buf.take() {
                    mem.put_dmabuf(buf);
                }
            }
        }
    }
}

/// How a program finds a plane's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneLocation {
    /// MMAP: the offset for mmap.
    Cookie(u64),
    /// USERPTR: the address from the last QBUF or PREPARE_BUF; 0 for none.
    UserPtr(u64),
    /// DMABUF: the descriptor's number from the last QBUF or PREPARE_BUF; 0 for none.
    Fd(i32),
}

/// A buffer, as QUERYBUF and DQBUF return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferInfo {
    /// Its index.
    pub index: u32,
    /// Its memory model.
    pub memory: Memory,
    /// The holder. DQBUF returns [`Dequeued`](BufferState::Dequeued).
    pub state: BufferState,
    /// Whether any of its planes is mapped into a program or exported.
    pub mapped: bool,
    /// The descriptor with which QBUF named the media request, until DQBUF.
    pub request_fd: Option<i32>,
    /// Whether the buffer is prepared, and owned by the program or by a request that is not queued yet.
    pub prepared: bool,
    /// Whether the device reported an error, so that the data is unreliable.
    pub error: bool,
    /// Whether the buffer is the last one of the stream.
    pub last: bool,
    /// Cache maintenance that QBUF asked to skip.
    pub hints: HintSkip,
    /// Timestamp in nanoseconds.
    pub timestamp_ns: u64,
    /// Frame sequence number.
    pub sequence: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// The program's timecode.
    pub timecode: Option<[u8; 16]>,
    /// Frame flags: the program's on OUTPUT, the device's on CAPTURE.
    pub frame_flags: u32,
    /// Its planes, in order.
    pub planes: [Option<PlaneView<PlaneLocation>>; MAX_PLANES],
}

impl BufferInfo {
    /// Returns the number of planes.
    #[must_use]
    pub fn num_planes(&self) -> usize {
        self.planes.iter().flatten().count()
    }
}

/// One plane of a buffer.
///
/// # Invariants
/// `dmabuf` is set exactly when `memory` is an attachment to that dma-buf.
pub(crate) struct Plane<M: MemOps> {
    /// Device whose constraints apply to the memory.
    pub(crate) device: M::Device,
    pub(crate) memory: Option<M::Plane>,
    pub(crate) dmabuf: Option<M::DmaBuf>,
    /// The driver's view of the memory; `None` unless the buffer is prepared.
    pub(crate) cookie: Option<M::Cookie>,
    /// Bytes that the format needs.
    pub(crate) setup_bytes: u64,
    pub(crate) info: PlaneView<PlaneLocation>,
}

/// A buffer.
///
/// # Invariants
/// `synced` is set only between `MemOps::prepare` of all planes and `MemOps::finish`. `initialised`
/// is set only between `buf_init` and `buf_cleanup`, `prepared` only between `buf_prepare` and
/// `buf_finish`.
pub(crate) struct Buffer<M: MemOps> {
    pub(crate) planes: Vec<Plane<M>>,
    pub(crate) state: BufferState,
    pub(crate) prepared: bool,
    pub(crate) synced: bool,
    pub(crate) initialised: bool,
    /// Identifies the buffer's token, while the buffer is Active.
    pub(crate) generation: u64,
    pub(crate) hints: HintSkip,
    pub(crate) timestamp_ns: u64,
    pub(crate) sequence: u32,
    pub(crate) field: u32,
    pub(crate) timecode: Option<[u8; 16]>,
    pub(crate) frame_flags: u32,
    pub(crate) last: bool,
    /// The stored QBUF arguments while the buffer is InRequest; otherwise empty.
    pub(crate) in_request: VecDeque<RequestEntry<M>>,
    /// The request that queued the buffer, until the device has finished with the buffer.
    pub(crate) request: Option<RequestId>,
    pub(crate) request_fd: Option<i32>,
}

impl<M: MemOps> Buffer<M> {
    pub(crate) fn new() -> Self {
        Self {
            planes: Vec::new(),
            state: BufferState::Dequeued,
            prepared: false,
            synced: false,
            initialised: false,
            generation: 0,
            hints: HintSkip::empty(),
            timestamp_ns: 0,
            sequence: 0,
            field: 0,
            timecode: None,
            frame_flags: 0,
            last: false,
            in_request: VecDeque::new(),
            request: None,
            request_fd: None,
        }
    }

    /// Removes the buffer from its request, and returns that request.
    pub(crate) fn leave_request(&mut self, mem: &M) -> Option<RequestId> {
        let mut left = self.request.take();
        for mut entry in self.in_request.drain(..) {
            entry.wanted.release(mem);
            left = Some(entry.request);
        }
        left
    }

    /// Returns the memory of the planes that have memory.
    pub(crate) fn memories(&self) -> impl Iterator<Item = &M::Plane> {
        self.planes.iter().filter_map(|p| p.memory.as_ref())
    }

    pub(crate) fn memories_mut(&mut self) -> impl Iterator<Item = &mut M::Plane> {
        self.planes.iter_mut().filter_map(|p| p.memory.as_mut())
    }

    /// Returns the planes to the CPU, if the device has them. Fails if the CPU does not see all bytes that the device
    /// wrote.
    pub(crate) fn finish(&mut self, mem: &M) -> Result<(), PlaneError> {
        if !core::mem::take(&mut self.synced) {
            return Ok(());
        }
        let skip = self.hints;
        let mut result = Ok(());
        for memory in self.memories_mut() {
            result = result.and(mem.finish(memory, skip));
        }
        result
    }

    /// Releases the memory of all planes, last plane first.
    pub(crate) fn put_planes(&mut self, mem: &M) {
        for plane in self.planes.iter_mut().rev() {
            plane.put(mem);
        }
    }

    /// Describes the planes for a token.
    pub(crate) fn views(&self) -> [Option<PlaneView<M::Cookie>>; MAX_PLANES] {
        core::array::from_fn(|i| {
            let plane = self.planes.get(i)?;
            Some(PlaneView {
                cookie: plane.cookie.clone()?,
                length_bytes: plane.info.length_bytes,
                payload_bytes: plane.info.payload_bytes,
                data_offset: plane.info.data_offset,
            })
        })
    }

    /// Describes the buffer for QUERYBUF and DQBUF.
    pub(crate) fn info(&self, mem: &M, index: u32, memory: Memory) -> BufferInfo {
        let mapped = memory == Memory::Mmap && self.memories().any(|p| mem.num_users(p) > 1);
        BufferInfo {
            index,
            memory,
            state: self.state,
            mapped,
            request_fd: self.request_fd,
            prepared: self.prepared
                && matches!(self.state, BufferState::Dequeued | BufferState::InRequest),
            error: self.state == BufferState::Error,
            last: self.last,
            hints: self.hints,
            timestamp_ns: self.timestamp_ns,
            sequence: self.sequence,
            field: self.field,
            timecode: self.timecode,
            frame_flags: self.frame_flags,
            planes: core::array::from_fn(|i| self.planes.get(i).map(|plane| plane.info)),
        }
    }
}

impl<M: MemOps> Plane<M> {
    pub(crate) fn new(
        device: M::Device,
        setup_bytes: u64,
        location: PlaneLocation,
        memory: Option<M::Plane>,
    ) -> Self {
        Self {
            device,
            memory,
            dmabuf: None,
            cookie: None,
            setup_bytes,
            info: PlaneView {
                length_bytes: setup_bytes,
                payload_bytes: 0,
                data_offset: 0,
                cookie: location,
            },
        }
    }

    /// Sets payload and data offset. Limits the payload to the length, and the offset to the
    /// payload.
    pub(crate) fn set_payload(&mut self, payload_bytes: u64, data_offset: u64) {
        self.info.payload_bytes = payload_bytes.min(self.info.length_bytes);
        self.info.data_offset = data_offset.min(self.info.payload_bytes);
    }

    /// Releases the memory, and resets the plane.
    pub(crate) fn put(&mut self, mem: &M) {
        let dmabuf = self.dmabuf.take();
        if let Some(mut memory) = self.memory.take() {
            if dmabuf.is_some() {
                mem.unmap_dmabuf(&mut memory);
            }
            mem.put(memory);
        }
        if let Some(dmabuf) = dmabuf {
            mem.put_dmabuf(dmabuf);
        }
        let location = match self.info.cookie {
            PlaneLocation::Cookie(cookie) => PlaneLocation::Cookie(cookie),
            PlaneLocation::UserPtr(_) => PlaneLocation::UserPtr(0),
            PlaneLocation::Fd(_) => PlaneLocation::Fd(0),
        };
        *self = Self::new(self.device, self.setup_bytes, location, None);
    }
}

/// The arguments of a buffer's QBUF, kept until the media request is queued.
pub(crate) struct RequestEntry<M: MemOps> {
    pub(crate) request: RequestId,
    pub(crate) wanted: QueueBuffer<M>,
    /// Whether the request prepared the buffer; false if an earlier PREPARE_BUF did.
    pub(crate) prepared: bool,
}
