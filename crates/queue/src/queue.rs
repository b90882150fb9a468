//! The queue: its state, and calls that only read it.

use crate::active::Ownership;
use crate::buffer::Buffer;
use crate::sync::Arc;
use crate::{Busy, Config, Error, Invalid, Memory};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use vb3_plane::{Coherency, MemOps, Reason};

/// How buffers have been queued since the queue was last cancelled; the two do not mix.
///
/// Source: Linux 7.2 `vb2_queue`, `uses_qbuf` and `uses_requests`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueuedBy {
    Qbuf,
    Requests,
}

/// How far read() or write() is in a buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) index: u32,
    pub(crate) pos: u64,
    pub(crate) end: u64,
    pub(crate) last: bool,
}

impl Current {
    pub(crate) fn left(&self) -> u64 {
        self.end.saturating_sub(self.pos)
    }

    /// So many bytes further on.
    pub(crate) fn after(&self, bytes: u64) -> Self {
        let pos = self.pos.saturating_add(bytes);
        Self { pos, ..*self }
    }
}

/// The state of emulation.
#[derive(Debug)]
pub(crate) struct FileIo {
    pub(crate) current: Option<Current>,
    /// write(): the next buffer that was never queued.
    pub(crate) fresh: u32,
    /// What bytes pass through on their way.
    pub(crate) chunk: Vec<u8>,
    /// The one frame of a read-once queue was read; the next read() says so.
    pub(crate) ended: bool,
    /// The read() or write() that has moved a piece.
    pub(crate) under_way: Option<UnderWay>,
}

/// A read() or write() that moves its bytes in pieces. Where it began stays the buffer's position
/// until all are moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnderWay {
    pub(crate) call: u64,
    /// Bytes of it in all, and those that have been moved.
    pub(crate) count: u64,
    pub(crate) done: u64,
}

/// Counters of a queue since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statistics {
    /// Buffers queued.
    pub queued: u64,
    /// Buffers that came back done.
    pub done: u64,
    /// Buffers that came back with an error, dropped ones included.
    pub errors: u64,
    /// Tokens handed back after they had become stale.
    pub stale_tokens: u64,
    /// Tokens dropped while their buffer was the device's.
    pub dropped_tokens: u64,
}

impl Statistics {
    /// Adds what happened on another queue.
    pub fn add(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.queued, other.queued),
            (&mut self.done, other.done),
            (&mut self.errors, other.errors),
            (&mut self.stale_tokens, other.stale_tokens),
            (&mut self.dropped_tokens, other.dropped_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// A queue of video buffers.
///
/// All calls that touch memory or the device are those of a [`Session`](crate::Session); what only looks is here.
/// A host must end it with [`Session::release`](crate::Session::release); a queue that is dropped without makes its
/// tokens stale, but cannot give the memory of its planes back.
///
/// # Invariants
/// A buffer is in exactly one place: Dequeued in none, InRequest in a request, Queued in
/// `queued`, Active in a token, Done and Error in `done`. `queued_count` counts all but the
/// Dequeued and InRequest. The capacity of all lists is enough for all buffers. `memory` is
/// there whenever there are buffers, or the queue streams.
pub struct Queue<M: MemOps> {
    pub(crate) config: Config<M::Device>,
    pub(crate) ownership: Arc<Ownership>,
    /// By index; `None` where a buffer was removed.
    pub(crate) buffers: Vec<Option<Buffer<M>>>,
    pub(crate) num_buffers: u32,
    pub(crate) memory: Option<Memory>,
    pub(crate) coherency: Coherency,
    /// Queued and not given to the driver yet, in order. In a started queue, the first waits
    /// for fences.
    pub(crate) queued: VecDeque<u32>,
    /// Done and not dequeued yet, in order.
    pub(crate) done: VecDeque<u32>,
    /// `None` after a cancel.
    pub(crate) queued_by: Option<QueuedBy>,
    pub(crate) queued_count: u32,
    pub(crate) next_generation: u64,
    pub(crate) streaming: bool,
    /// `start_streaming` has succeeded and `stop_streaming` has not been called.
    pub(crate) started: bool,
    pub(crate) error: bool,
    /// The fences of what the device had when it failed have been ended.
    pub(crate) error_settled: bool,
    pub(crate) last_buffer_dequeued: bool,
    /// CAPTURE: no QBUF since allocation or STREAMOFF.
    pub(crate) waiting_for_buffers: bool,
    /// Why fewer buffers were made than asked for.
    pub(crate) shortfall: Option<Reason>,
    pub(crate) fileio: Option<FileIo>,
    pub(crate) statistics: Statistics,
}

impl<M: MemOps> Queue<M> {
    /// Makes an empty queue.
    ///
    /// # Errors
    /// * [`Error::Config`] (EINVAL): no memory model offered, `max_num_buffers` below 32 or above
    ///   what mmap cookies can name, more buffers needed than possible.
    /// * [`Error::NoMemory`] (ENOMEM): no memory for the tables.
    pub fn new(config: Config<M::Device>) -> Result<Self, Error> {
        let config = config.checked()?;
        let ownership = Ownership::new(config.max_num_buffers).ok_or(Error::NoMemory {
            wanted: u64::from(config.max_num_buffers),
            found: 0,
            cause: None,
        })?;
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
            error_settled: false,
            last_buffer_dequeued: false,
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

    /// How many buffers there are.
    #[must_use]
    pub fn num_buffers(&self) -> u32 {
        self.num_buffers
    }

    /// Whether there are buffers.
    #[must_use]
    pub fn has_buffers(&self) -> bool {
        self.num_buffers != 0
    }

    /// The memory model; `None` before buffers are made.
    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        self.memory
    }

    /// Whether MMAP buffers are made of non-coherent memory.
    #[must_use]
    pub fn coherency(&self) -> Coherency {
        self.coherency
    }

    /// Whether the queue is in use: it has buffers, or streams. While it is, formats stay and
    /// the file handle that owns it keeps it; when it no longer is, a host drops the owner.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.has_buffers() || self.streaming || self.fileio.is_some()
    }

    /// Whether STREAMON has succeeded.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Whether the driver has been started: with `min_queued_buffers`, later than STREAMON.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether read() or write() emulation uses the queue.
    #[must_use]
    pub fn fileio_active(&self) -> bool {
        self.fileio.is_some()
    }

    /// Whether the device has reported an error.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.error
    }

    /// Buffers with the queue or the device, not with the program.
    #[must_use]
    pub fn queued_count(&self) -> u32 {
        self.queued_count
    }

    /// Buffers that the device has, each as a token; dropped ones count until
    /// [`reap`](crate::Session::reap).
    #[must_use]
    pub fn active_count(&self) -> u32 {
        // CAST: lists hold buffers, at most 32768.
        let listed = self.queued.len().saturating_add(self.done.len()) as u32;
        self.queued_count.saturating_sub(listed)
    }

    /// Returns the counters. Dropped tokens count after [`reap`](crate::Session::reap).
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Finds the buffer and plane whose memory satisfies `is_it`. Searches all buffers.
    pub fn find_plane(&self, is_it: impl Fn(&M::Plane) -> bool) -> Option<(u32, u32)> {
        (0u32..).zip(&self.buffers).find_map(|(index, buffer)| {
            let mut planes = (0u32..).zip(&buffer.as_ref()?.planes);
            let (plane, _) = planes.find(|(_, p)| p.memory.as_ref().is_some_and(&is_it))?;
            Some((index, plane))
        })
    }

    /// Why the last REQBUFS or CREATE_BUFS made fewer buffers than were asked for, or none.
    /// Cleared by the call.
    pub fn take_shortfall(&mut self) -> Option<Reason> {
        self.shortfall.take()
    }

    /// Whether the program may ask for non-coherent memory and give hints with `memory`.
    pub(crate) fn allows_hints(&self, memory: Memory) -> bool {
        self.config.allow_cache_hints && memory == Memory::Mmap
    }

    pub(crate) fn check_no_fileio(&self) -> Result<(), Error> {
        if self.fileio.is_some() {
            Err(Busy::FileIo.into())
        } else {
            Ok(())
        }
    }

    fn no_such(&self, index: u32) -> Error {
        Invalid::Index {
            index,
            buffers: self.num_buffers,
        }
        .into()
    }

    pub(crate) fn buffer(&self, index: u32) -> Result<&Buffer<M>, Error> {
        usize::try_from(index)
            .ok()
            .and_then(|i| self.buffers.get(i))
            .and_then(Option::as_ref)
            .ok_or(self.no_such(index))
    }

    pub(crate) fn buffer_mut(&mut self, index: u32) -> Result<&mut Buffer<M>, Error> {
        let none = self.no_such(index);
        usize::try_from(index)
            .ok()
            .and_then(|i| self.buffers.get_mut(i))
            .and_then(Option::as_mut)
            .ok_or(none)
    }
}

impl<M: MemOps> Drop for Queue<M> {
    fn drop(&mut self) {
        self.ownership.raise_epoch();
        self.ownership.end_waits();
    }
}
