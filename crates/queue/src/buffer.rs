//! Buffers: what the queue keeps of one, and how it shows it.

use crate::config::MAX_PLANES;
use crate::{Memory, PlaneView, RequestId, Timecode};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use vb3_plane::{HintSkip, MemOps};

/// The holder of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BufferState {
    /// The program.
    Dequeued,
    /// A media request that is not queued yet.
    InRequest,
    /// Being prepared.
    Preparing,
    /// The queue; the driver has not been started.
    Queued,
    /// The device: an [`Active`](crate::Active) token exists.
    Active,
    /// The queue; filled or shown.
    Done,
    /// The queue; the contents are not to be trusted.
    Error,
}

/// Where the memory of a plane is to come from.
pub enum PlaneSource<M: MemOps> {
    /// It is the queue's.
    Mmap,
    /// The program's memory.
    UserPtr {
        /// Whose.
        user: M::User,
        /// Address of its first byte in the program.
        addr: u64,
    },
    /// A dma-buf. The reference passes to the queue.
    DmaBuf {
        /// The dma-buf; `None` when the descriptor names none.
        buf: Option<M::DmaBuf>,
        /// The descriptor's number in the program, shown again by QUERYBUF.
        fd: i32,
    },
}

impl<M: MemOps> PlaneSource<M> {
    /// The reference to a dma-buf, where it is one.
    pub(crate) fn buf_mut(&mut self) -> Option<&mut Option<M::DmaBuf>> {
        match self {
            Self::DmaBuf { buf, .. } => Some(buf),
            Self::Mmap | Self::UserPtr { .. } => None,
        }
    }
}

/// One plane of a buffer that a program queues or prepares.
pub struct PlaneRequest<M: MemOps> {
    /// OUTPUT: bytes used; 0 for all (unless the queue allows zero).
    pub payload_bytes: u64,
    /// USERPTR, DMABUF: bytes of the plane; 0 for all of a dma-buf.
    pub length_bytes: u64,
    /// OUTPUT: first byte of the data.
    pub data_offset: u64,
    /// Where the memory is.
    pub source: PlaneSource<M>,
}

impl<M: MemOps> PlaneRequest<M> {
    /// A plane of the queue's memory with `payload_bytes` used.
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
/// The dma-buf references in it pass to the queue with the call, also if it fails.
pub struct QueueBuffer<M: MemOps> {
    /// Which buffer.
    pub index: u32,
    /// The memory model the program believes in.
    pub memory: Memory,
    /// Its planes, from the first on.
    pub planes: [Option<PlaneRequest<M>>; MAX_PLANES],
    /// OUTPUT on a queue that copies timestamps: nanoseconds.
    pub timestamp_ns: u64,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// Cache maintenance to leave out, this time.
    pub hints: HintSkip,
    /// OUTPUT: a timecode.
    pub timecode: Option<Timecode>,
    /// OUTPUT: the program's description of the frame, passed through unchecked.
    pub frame_flags: u32,
    /// The program named a media request: for
    /// [`qbuf_in_request`](crate::Session::qbuf_in_request), and refused elsewhere.
    pub with_request: bool,
}

impl<M: MemOps> QueueBuffer<M> {
    /// A buffer without planes yet.
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

    /// Adds the next plane.
    ///
    /// # Errors
    /// Gives the plane back when there are [`MAX_PLANES`] already.
    pub fn push_plane(&mut self, plane: PlaneRequest<M>) -> Result<(), PlaneRequest<M>> {
        match self.planes.iter_mut().find(|p| p.is_none()) {
            Some(place) => {
                *place = Some(plane);
                Ok(())
            }
            None => Err(plane),
        }
    }

    /// How many planes were given.
    pub(crate) fn num_planes(&self) -> usize {
        self.planes.iter().take_while(|p| p.is_some()).count()
    }

    /// Drops the dma-buf references that are left.
    pub(crate) fn release(&mut self, mem: &M) {
        for plane in self.planes.iter_mut().flatten() {
            if let Some(buf) = plane.source.buf_mut().and_then(Option::take) {
                mem.put_dmabuf(buf);
            }
        }
    }
}

impl<M: MemOps> fmt::Debug for QueueBuffer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueBuffer")
            .field("index", &self.index)
            .field("memory", &self.memory)
            .field("num_planes", &self.num_planes())
            .finish_non_exhaustive()
    }
}

/// How a program finds the memory of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneLocation {
    /// MMAP: the cookie, an offset for mmap.
    Cookie(u64),
    /// USERPTR: the address that was given; 0 for none.
    UserPtr(u64),
    /// DMABUF: the descriptor's number that was given; 0 for none.
    Fd(i32),
}

/// One plane, as QUERYBUF shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneInfo {
    /// Bytes it can hold.
    pub length_bytes: u64,
    /// Bytes used, those before `data_offset` included.
    pub payload_bytes: u64,
    /// First byte of the data: the program's on OUTPUT, the device's on CAPTURE.
    pub data_offset: u64,
    /// Where it is.
    pub location: PlaneLocation,
}

/// A buffer, as QUERYBUF and DQBUF show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferInfo {
    /// Its index.
    pub index: u32,
    /// Its memory model.
    pub memory: Memory,
    /// The holder. [`Dequeued`](BufferState::Dequeued) in the answer of DQBUF.
    pub state: BufferState,
    /// Mapped into a program or exported.
    pub mapped: bool,
    /// Queued, or with the device.
    pub queued: bool,
    /// In a media request that is not queued yet.
    pub in_request: bool,
    /// QBUF's descriptor of a media request, until DQBUF.
    pub request_fd: Option<i32>,
    /// Prepared, and with the program or in a request.
    pub prepared: bool,
    /// Done, and not dequeued yet.
    pub done: bool,
    /// The contents are not to be trusted.
    pub error: bool,
    /// The last buffer.
    pub last: bool,
    /// Cache maintenance left out, as the QBUF asked.
    pub hints: HintSkip,
    /// Nanoseconds.
    pub timestamp_ns: u64,
    /// Frame sequence number.
    pub sequence: u32,
    /// `V4L2_FIELD_*`.
    pub field: u32,
    /// The program's timecode.
    pub timecode: Option<Timecode>,
    /// The description of the frame: the program's on OUTPUT, the device's on CAPTURE.
    pub frame_flags: u32,
    /// Its planes, from the first on.
    pub planes: [Option<PlaneInfo>; MAX_PLANES],
}

impl BufferInfo {
    /// How many planes it has.
    #[must_use]
    pub fn num_planes(&self) -> usize {
        self.planes.iter().flatten().count()
    }
}

/// One plane of a buffer.
///
/// # Invariants
/// `dmabuf` is there exactly when `memory` is an attachment to it.
pub(crate) struct Plane<M: MemOps> {
    pub(crate) memory: Option<M::Plane>,
    pub(crate) dmabuf: Option<M::DmaBuf>,
    /// Whose constraints hold for the memory.
    pub(crate) device: M::Device,
    /// Where the driver finds it, while the buffer is prepared.
    pub(crate) cookie: Option<M::Cookie>,
    pub(crate) location: PlaneLocation,
    pub(crate) length_bytes: u64,
    /// Bytes that the format needs.
    pub(crate) setup_bytes: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) data_offset: u64,
}

/// A buffer.
///
/// # Invariants
/// `synced` only while every plane has been handed over by `MemOps::prepare`. `initialised` only
/// between `buf_init` and `buf_cleanup`. `prepared` only between `buf_prepare` and `buf_finish`.
pub(crate) struct Buffer<M: MemOps> {
    pub(crate) planes: Vec<Plane<M>>,
    pub(crate) state: BufferState,
    pub(crate) prepared: bool,
    pub(crate) synced: bool,
    pub(crate) initialised: bool,
    /// Of its token, while it is Active.
    pub(crate) generation: u64,
    pub(crate) hints: HintSkip,
    pub(crate) timestamp_ns: u64,
    pub(crate) sequence: u32,
    pub(crate) field: u32,
    pub(crate) timecode: Option<Timecode>,
    pub(crate) frame_flags: u32,
    pub(crate) last: bool,
    /// In a request: one, while the buffer is InRequest; none otherwise.
    pub(crate) in_request: VecDeque<RequestEntry<M>>,
    /// The request that queued it, until the device has finished it.
    pub(crate) request: Option<RequestId>,
    pub(crate) request_fd: Option<i32>,
}

impl<M: MemOps> Buffer<M> {
    pub(crate) fn new(planes: Vec<Plane<M>>) -> Self {
        Self {
            planes,
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

    /// Leaves the request the buffer is in, or was queued by: which it was.
    pub(crate) fn leave_request(&mut self, mem: &M) -> Option<RequestId> {
        let mut left = self.request.take();
        for mut entry in self.in_request.drain(..) {
            entry.wanted.release(mem);
            left = Some(entry.request);
        }
        left
    }

    /// Hands the planes back to the CPU, if the device has them.
    pub(crate) fn finish(&mut self, mem: &M) {
        if !core::mem::take(&mut self.synced) {
            return;
        }
        let skip = self.hints;
        for memory in self.planes.iter_mut().filter_map(|p| p.memory.as_mut()) {
            mem.finish(memory, skip);
        }
    }

    /// Gives the memory of all planes back, last plane first.
    pub(crate) fn put_planes(&mut self, mem: &M) {
        for plane in self.planes.iter_mut().rev() {
            plane.put(mem);
        }
    }

    /// The planes, as a token shows them.
    pub(crate) fn views(&self) -> [Option<PlaneView<M::Cookie>>; MAX_PLANES] {
        core::array::from_fn(|i| {
            let plane = self.planes.get(i)?;
            Some(PlaneView {
                cookie: plane.cookie.clone()?,
                length_bytes: plane.length_bytes,
                payload_bytes: plane.payload_bytes,
                data_offset: plane.data_offset,
            })
        })
    }

    /// Describes the buffer.
    pub(crate) fn info(&self, mem: &M, index: u32, memory: Memory) -> BufferInfo {
        let mapped = memory == Memory::Mmap
            && self
                .planes
                .iter()
                .filter_map(|p| p.memory.as_ref())
                .any(|p| mem.num_users(p) > 1);
        BufferInfo {
            index,
            memory,
            state: self.state,
            mapped,
            queued: matches!(self.state, BufferState::Queued | BufferState::Active),
            in_request: self.state == BufferState::InRequest,
            request_fd: self.request_fd,
            prepared: self.prepared
                && matches!(self.state, BufferState::Dequeued | BufferState::InRequest),
            done: matches!(self.state, BufferState::Done | BufferState::Error),
            error: self.state == BufferState::Error,
            last: self.last,
            hints: self.hints,
            timestamp_ns: self.timestamp_ns,
            sequence: self.sequence,
            field: self.field,
            timecode: self.timecode,
            frame_flags: self.frame_flags,
            planes: core::array::from_fn(|i| self.planes.get(i).map(Plane::info)),
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
            memory,
            dmabuf: None,
            device,
            cookie: None,
            location,
            length_bytes: setup_bytes,
            setup_bytes,
            payload_bytes: 0,
            data_offset: 0,
        }
    }

    /// Sets what of the plane is used: no more than there is, and no offset beyond what is used.
    pub(crate) fn set_payload(&mut self, payload_bytes: u64, data_offset: u64) {
        self.payload_bytes = payload_bytes.min(self.length_bytes);
        self.data_offset = data_offset.min(self.payload_bytes);
    }

    /// Gives the memory back. The plane is as it was before it ever had any.
    pub(crate) fn put(&mut self, mem: &M) {
        self.cookie = None;
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
        self.location = match self.location {
            PlaneLocation::Cookie(cookie) => PlaneLocation::Cookie(cookie),
            PlaneLocation::UserPtr(_) => PlaneLocation::UserPtr(0),
            PlaneLocation::Fd(_) => PlaneLocation::Fd(0),
        };
        self.length_bytes = self.setup_bytes;
        self.payload_bytes = 0;
        self.data_offset = 0;
    }

    fn info(&self) -> PlaneInfo {
        PlaneInfo {
            length_bytes: self.length_bytes,
            payload_bytes: self.payload_bytes,
            data_offset: self.data_offset,
            location: self.location,
        }
    }
}

/// The arguments of a buffer's QBUF, kept until the request is queued.
pub(crate) struct RequestEntry<M: MemOps> {
    pub(crate) request: RequestId,
    pub(crate) wanted: QueueBuffer<M>,
    /// The request has prepared it, not PREPARE_BUF.
    pub(crate) prepared: bool,
}
