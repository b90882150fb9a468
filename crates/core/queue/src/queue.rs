//! The queue's state, and the calls that only read it.

use crate::active::Ownership;
use crate::buffer::{Buffer, BufferState};
use crate::config::MIN_MAX_BUFFERS;
use crate::sync::Arc;
use crate::{Busy, Config, Error, Invalid, IoModes, MAX_PLANES, Memory, PlaneView, Requests};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use vb3_plane::{Coherency, MemOps, Reason};

/// How buffers were queued since the queue was last cancelled. The two ways cannot be mixed.
///
/// Source: Linux 7.2 `vb2_queue`, `uses_qbuf` and `uses_requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuedBy {
    Qbuf,
    Requests,
}

/// Position of read() or write() in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) index: u32,
    pub(crate) pos: u64,
    pub(crate) end: u64,
}

impl Current {
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.pos)
    }

    /// Returns the position `bytes` further on.
    pub(crate) fn after(&self, bytes: u64) -> Self {
        let pos = self.pos.saturating_add(bytes);
        Self { pos, ..*self }
    }
}

/// State of read() or write() emulation.
#[derive(Debug)]
pub(crate) struct FileIo {
    pub(crate) current: Option<Current>,
    /// write(): index of the next buffer that has never been queued.
    pub(crate) fresh: u32,
    /// Intermediate buffer for copies between a plane and the program.
    pub(crate) chunk: Vec<u8>,
    /// The read() or write() that has moved a piece and is not finished.
    pub(crate) under_way: Option<UnderWay>,
}

/// A read() or write() that moves its bytes in pieces. The buffer's position stays at the start
/// until all pieces are moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    pub(crate) call: u64,
    /// Total number of bytes, and number of bytes moved.
    pub(crate) count: u64,
    pub(crate) done: u64,
}

/// Counters of a queue since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statistics {
    /// Buffers queued.
    pub queued: u64,
    /// Buffers that returned without an error.
    pub done: u64,
    /// Buffers that returned with an error, including those of dropped tokens.
    pub errors: u64,
    /// Queued buffers that returned unfinished, because the program ended streaming or freed the buffers.
    pub taken_back: u64,
    /// Stale tokens that drivers returned.
    pub stale_tokens: u64,
    /// Tokens dropped while the device owned their buffer.
    pub dropped_tokens: u64,
}

impl Statistics {
    /// Adds the counts of another queue.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.queued, other.queued),
            (&mut self.done, other.done),
            (&mut self.errors, other.errors),
            (&mut self.taken_back, other.taken_back),
            (&mut self.stale_tokens, other.stale_tokens),
            (&mut self.dropped_tokens, other.dropped_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// A queue of video buffers.
///
/// Calls that use memory or the device are methods of [`Session`](crate::Session); calls that only read the
/// queue are here. A host must end a queue with [`Session::release`](crate::Session::release). If the queue
/// is dropped without it, tokens become stale, but the memory of the planes is not freed.
///
/// # Invariants
/// A buffer's state says where it is: Dequeued with the program, InRequest in a request, Queued in `queued`,
/// Active with the device, Done and Error in `done`. `queued_count` counts all buffers except Dequeued and
/// InRequest. Every list has capacity for all buffers. `memory` is set while the queue has buffers or
/// is streaming.
pub struct Queue<M: MemOps> {
    pub(crate) config: Config<M::Device>,
    pub(crate) ownership: Arc<Ownership>,
    /// The buffers by index; `None` at indices without a buffer.
    pub(crate) buffers: Vec<Option<Buffer<M>>>,
    pub(crate) num_buffers: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) coherency: Coherency,
    /// Indices of buffers that are queued and not passed to the driver yet, in order. In a started queue, the
    /// first one waits for fences.
    pub(crate) queued: VecDeque<u32>,
    /// Indices of buffers that are done and not dequeued yet, in order.
    pub(crate) done: VecDeque<u32>,
    /// How buffers were queued; `None` after a cancel.
    pub(crate) queued_by: Option<QueuedBy>,
    pub(crate) queued_count: u32,
    pub(crate) next_generation: u64,
    pub(crate) streaming: bool,
    /// True from the success of `start_streaming` to the call of `stop_streaming`.
    pub(crate) started: bool,
    pub(crate) error: bool,
    /// Whether the device has failed, and the fences of its buffers have been signalled with EIO.
    pub(crate) accesses_failed: bool,
    pub(crate) last_buffer_dequeued: bool,
    pub(crate) queues_each_write: bool,
    /// CAPTURE: whether no QBUF was made since allocation or STREAMOFF. Poll then returns an error.
    pub(crate) waiting_for_buffers: bool,
    /// The reason why fewer buffers were made than requested.
    pub(crate) shortfall: Option<Reason>,
    pub(crate) fileio: Option<FileIo>,
    pub(crate) statistics: Statistics,
}

impl<M: MemOps> Queue<M> {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::NoMemoryModel`], [`Invalid::PageShift`], [`Invalid::MaxBuffers`] (below 32 or above
    ///   the limit of mmap cookies), [`Invalid::RequestsWithMinBuffers`], [`Invalid::MinBuffers`].
    /// * [`Error::NoMemory`] (ENOMEM): no memory for the tables.
    pub fn new(config: Config<M::Device>) -> Result<Self, Error> {
        let config = config.checked()?;
        let most = config.max_num_buffers;
        let ownership = Ownership::new(most).ok_or(Error::no_memory(most.into()))?;
        Ok(Self {
            config,
            ownership,
            buffers: Vec::new(),
            num_buffers: 0,
            memory: None,
            coherency: Coherency::Coherent,
            queued: VecDeque::new(),
            done: VecDeque::new(),
            queued_by: None,
            queued_count: 0,
            next_generation: 1,
            streaming: false,
            started: false,
            error: false,
            accesses_failed: false,
            last_buffer_dequeued: false,
            queues_each_write: false,
            waiting_for_buffers: false,
            shortfall: None,
            fileio: None,
            statistics: Statistics::default(),
        })
    }

    /// Returns the settings of the queue, with defaults filled in.
    #[must_use]
    pub fn config(&self) -> &Config<M::Device> {
        &self.config
    }

    /// Returns the number of buffers.
    #[must_use]
    pub fn num_buffers(&self) -> u32 {
        self.num_buffers
    }

    pub(crate) fn has_buffers(&self) -> bool {
        self.num_buffers != 0
    }

    /// Returns the memory model; `None` before buffers are made.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.memory
    }

    /// Returns whether the queue has buffers or streams. While it does, the format cannot change
    /// and the owning file handle stays the owner. Afterwards, a host clears the owner.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.has_buffers() || self.streaming || self.fileio.is_some()
    }

    /// Returns whether STREAMON has succeeded.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Returns whether the driver has been started. With `min_queued_buffers` this is later than
    /// STREAMON.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Returns whether read() or write() emulation uses the queue.
    #[must_use]
    pub fn fileio_active(&self) -> bool {
        self.fileio.is_some()
    }

    /// Returns the number of buffers that the queue or the device owns.
    #[must_use]
    pub fn queued_count(&self) -> u32 {
        self.queued_count
    }

    /// Returns the number of buffers that the device owns. A buffer whose token was dropped is included until
    /// [`reap`](crate::Session::reap).
    #[must_use]
    pub fn active_count(&self) -> u32 {
        // CAST: lists contain at most 32768 buffers.
        let listed = self.queued.len().saturating_add(self.done.len()) as u32;
        self.queued_count.saturating_sub(listed)
    }

    /// Returns the counters. They include a dropped token only after [`reap`](crate::Session::reap).
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Finds the first plane whose memory `is_it` accepts. Returns the indices of buffer and plane.
    pub fn find_plane(&self, is_it: impl Fn(&M::Plane) -> bool) -> Option<(u32, u32)> {
        (0u32..).zip(&self.buffers).find_map(|(index, buffer)| {
            let mut planes = (0u32..).zip(&buffer.as_ref()?.planes);
            let (plane, _) = planes.find(|(_, p)| p.memory.as_ref().is_some_and(&is_it))?;
            Some((index, plane))
        })
    }

    /// Returns the number of a buffer's planes.
    ///
    /// # Errors
    /// [`Invalid::Index`] (EINVAL).
    pub fn num_planes(&self, index: u32) -> Result<usize, Error> {
        Ok(self.buffer(index)?.planes.len())
    }

    /// Returns the planes of a buffer that the device has finished, to inspect the frame.
    ///
    /// Returns `None` if the buffer has another sequence number, waits in the queue with an error, was queued again
    /// or no longer exists. The program may write to the memory at any time.
    #[must_use]
    pub fn finished_planes(
        &self,
        index: u32,
        sequence: u32,
    ) -> Option<[Option<PlaneView<M::Cookie>>; MAX_PLANES]> {
        let buffer = self.buffer(index).ok()?;
        let is_finished = matches!(buffer.state, BufferState::Done | BufferState::Dequeued);
        (is_finished && buffer.sequence == sequence).then(|| buffer.views())
    }

    /// Returns the reason why the last REQBUFS or CREATE_BUFS made fewer buffers than requested,
    /// and clears it.
    pub fn take_shortfall(&mut self) -> Option<Reason> {
        self.shortfall.take()
    }

    /// Returns whether a program that uses `memory` may ask for non-coherent memory and skip cache
    /// maintenance.
    pub(crate) fn allows_hints(&self, memory: Memory) -> bool {
        self.config.allow_cache_hints && memory == Memory::Mmap
    }

    /// Checks that read() and write() emulation does not use the queue (`vb2_fileio_is_busy`).
    ///
    /// # Errors
    /// EBUSY: [`Busy::FileIo`].
    pub fn check_no_fileio(&self) -> Result<(), Error> {
        match self.fileio {
            Some(_) => Err(Busy::FileIo.into()),
            None => Ok(()),
        }
    }

    fn no_such(&self, index: u32) -> Error {
        let buffers = self.num_buffers;
        Invalid::Index { index, buffers }.into()
    }

    pub(crate) fn buffer(&self, index: u32) -> Result<&Buffer<M>, Error> {
        let place = usize::try_from(index)
            .ok()
            .and_then(|i| self.buffers.get(i));
        let buffer = place.and_then(Option::as_ref);
        buffer.ok_or(self.no_such(index))
    }

    /// Returns the place of an index in the list of buffers; `None` past its end.
    pub(crate) fn place_mut(&mut self, index: u32) -> Option<&mut Option<Buffer<M>>> {
        self.buffers.get_mut(usize::try_from(index).ok()?)
    }

    pub(crate) fn buffer_mut(&mut self, index: u32) -> Result<&mut Buffer<M>, Error> {
        let none = self.no_such(index);
        let buffer = self.place_mut(index).and_then(Option::as_mut);
        buffer.ok_or(none)
    }
}

impl<Dev> Config<Dev> {
    /// Checks the configuration and fills in defaults.
    ///
    /// Source: Linux 7.2 `vb2_core_queue_init`, differs: this also checks the limits of mmap
    /// cookies.
    fn checked(mut self) -> Result<Self, Invalid> {
        if self.max_num_buffers == 0 {
            self.max_num_buffers = MIN_MAX_BUFFERS;
        }
        if !self
            .io_modes
            .intersects(IoModes::MMAP | IoModes::USERPTR | IoModes::DMABUF)
        {
            return Err(Invalid::NoMemoryModel);
        }
        let shift = self.page_shift;
        if !(12..=16).contains(&shift) {
            return Err(Invalid::PageShift { shift });
        }
        let (max, least, most) = (self.max_num_buffers, MIN_MAX_BUFFERS, 1 << (27 - shift));
        if !(least..=most).contains(&max) {
            return Err(Invalid::MaxBuffers { max, least, most });
        }
        let min = self.min_queued_buffers;
        if min != 0 {
            if self.requests != Requests::None {
                return Err(Invalid::RequestsWithMinBuffers { min });
            }
            let least = min.saturating_add(1);
            self.min_reqbufs_allocation = self.min_reqbufs_allocation.max(least);
        }
        let min = self.min_reqbufs_allocation;
        if min > max {
            return Err(Invalid::MinBuffers { min, max });
        }
        Ok(self)
    }
}

impl<M: MemOps> Drop for Queue<M> {
    fn drop(&mut self) {
        self.ownership.raise_epoch();
        self.ownership.end_waits();
    }
}
