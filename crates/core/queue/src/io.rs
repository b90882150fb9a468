//! The calls that pass buffers: PREPARE_BUF, QBUF, DQBUF.

use crate::config::MAX_PLANES;
use crate::queue::QueuedBy;
use crate::{
    BufferInfo, BufferState, Busy, Error, Invalid, Memory, PlaneSource, Queue, QueueBuffer,
    Requests, Session,
};
use vb3_plane::{HintSkip, MemOps};

impl<M: MemOps> Session<'_, M> {
    /// Prepares a buffer before its QBUF. The queue takes over the memory references in `request`.
    ///
    /// # Errors
    /// As [`qbuf`](Self::qbuf), and EINVAL ([`Invalid::State`], [`Invalid::Request`]) for a buffer
    /// that is already prepared or names a request.
    pub fn prepare_buf(&mut self, mut request: QueueBuffer<M>) -> Result<BufferInfo, Error> {
        self.reap();
        let prepared = self.core_prepare_buf(&mut request);
        request.release(self.mem);
        prepared?;
        self.querybuf(request.index)
    }

    fn core_prepare_buf(&mut self, request: &mut QueueBuffer<M>) -> Result<(), Error> {
        self.queue.check_no_fileio()?;
        if request.with_request {
            return Err(Invalid::Request.into());
        }
        self.queue.check_planes(request)?;
        let index = request.index;
        let buffer = self.queue.buffer(index)?;
        if buffer.state != BufferState::Dequeued || buffer.prepared {
            return Err(Invalid::State { index }.into());
        }
        if self.queue.error {
            return Err(Error::QueueError);
        }
        self.prepare(request)
    }

    /// Queues a buffer. The queue takes over the memory references in `request`, even if the call
    /// fails. A buffer that PREPARE_BUF has prepared keeps the planes of that call.
    ///
    /// If a program imported fences for the buffer's memory and they are pending
    /// ([`MemOps::is_held_back`]), the buffer stays Queued, and so do all later ones.
    /// [`settle`](Self::settle) continues when the fences have ended.
    ///
    /// Takes constant time, independent of the numbers of buffers and of imported dma-bufs. A dma-buf that is new to
    /// the device is mapped, which takes time for its length.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::Index`], [`Invalid::ModelMismatch`], [`Invalid::Planes`],
    ///   [`Invalid::Source`], [`Invalid::Request`], [`Invalid::State`]; on OUTPUT [`Invalid::PayloadAboveLength`],
    ///   [`Invalid::DataOffset`], [`Invalid::FieldAlternate`]; for USERPTR and DMABUF
    ///   [`Invalid::NoDmaBuf`], [`Invalid::LengthBelowSetup`].
    /// * EBUSY: file I/O is active.
    /// * [`Error::QueueError`] (EIO).
    /// * [`Error::RequestUnsupported`], [`Error::RequestRequired`] (EBADR).
    /// * [`Busy::UsesRequests`] (EBUSY): buffers have been queued by requests.
    /// * The error of the memory or the driver. If the driver could not start, the buffer returns
    ///   to the program, still prepared.
    pub fn qbuf(&mut self, mut request: QueueBuffer<M>) -> Result<BufferInfo, Error> {
        self.reap();
        let allowed = self.queue.check_no_fileio();
        let queued = allowed.and_then(|()| self.core_qbuf(&mut request));
        request.release(self.mem);
        queued?;
        self.describe(request.index)
    }

    pub(crate) fn core_qbuf(&mut self, request: &mut QueueBuffer<M>) -> Result<(), Error> {
        self.queue.check_planes(request)?;
        self.queue.check_queued_by(request)?;
        self.queue.check_request(request)?;
        let index = request.index;
        if self.queue.buffer(index)?.prepared {
            let finish = self.queue.granted_hints(request) & HintSkip::FINISH;
            let buffer = self.queue.buffer_mut(index)?;
            // The memory may have moved, or been revoked, since it was prepared.
            buffer.place(self.mem)?;
            buffer.hints = (buffer.hints & HintSkip::PREPARE) | finish;
        } else {
            self.prepare(request)?;
        }
        self.enqueue(request)?;
        self.queue.queued_by = Some(QueuedBy::Qbuf);
        Ok(())
    }

    /// Queues a prepared buffer.
    pub(crate) fn enqueue(&mut self, request: &QueueBuffer<M>) -> Result<(), Error> {
        let index = request.index;
        self.queue.set_frame_info(request)?;
        self.queue.buffer_mut(index)?.state = BufferState::Queued;
        self.queue.queued_count = self.queue.queued_count.saturating_add(1);
        self.queue.waiting_for_buffers = false;
        self.queue.queued.push_back(index);
        if self.queue.started {
            self.give_queued()?;
        } else if self.queue.streaming && self.can_start() {
            // This buffer completes the minimum. If the start fails, the program owns it again.
            self.start().inspect_err(|_| {
                self.queue.queued.pop_back();
                self.queue.queued_count = self.queue.queued_count.saturating_sub(1);
                if let Ok(buffer) = self.queue.buffer_mut(index) {
                    buffer.state = BufferState::Dequeued;
                }
            })?;
        }
        self.queue.statistics.queued = self.queue.statistics.queued.saturating_add(1);
        Ok(())
    }

    /// Takes the next done buffer.
    ///
    /// Takes constant time, independent of the number of buffers. A buffer with `V4L2_BUF_FLAG_LAST` is the
    /// stream's last one, even if others follow.
    ///
    /// # Errors
    /// In this order:
    /// * EBUSY: file I/O is active; another caller waits.
    /// * EINVAL: [`Invalid::NotStreaming`].
    /// * [`Error::QueueError`] (EIO).
    /// * [`Error::LastBuffer`] (EPIPE).
    /// * [`Error::WouldBlock`] (EAGAIN): no buffer is done. A caller that may sleep then calls
    ///   [`Queue::wait`].
    pub fn dqbuf(&mut self) -> Result<BufferInfo, Error> {
        self.dqbuf_up_to(MAX_PLANES)
    }

    /// Takes the next done buffer, as [`dqbuf`](Self::dqbuf), for a caller with space for `max_planes` planes.
    ///
    /// # Errors
    /// As [`dqbuf`](Self::dqbuf), and after these errors EINVAL ([`Invalid::Planes`]) for a buffer with more planes,
    /// which stays in the queue.
    pub fn dqbuf_up_to(&mut self, max_planes: usize) -> Result<BufferInfo, Error> {
        self.reap();
        self.queue.check_no_fileio()?;
        self.core_dqbuf(max_planes)
    }

    pub(crate) fn core_dqbuf(&mut self, max_planes: usize) -> Result<BufferInfo, Error> {
        if self.queue.is_waiting() {
            return Err(Busy::Waiting.into());
        }
        if !self.queue.streaming {
            return Err(Invalid::NotStreaming.into());
        }
        if self.queue.error {
            return Err(Error::QueueError);
        }
        if self.queue.last_buffer_dequeued {
            return Err(Error::LastBuffer);
        }
        let index = *self.queue.done.front().ok_or(Error::WouldBlock)?;
        let memory = self.queue.memory.unwrap_or(Memory::Mmap);
        let is_output = self.queue.config.is_output();
        let buffer = self.queue.buffer_mut(index)?;
        let planes = buffer.planes.len();
        if planes > max_planes {
            return Err(Invalid::planes(max_planes, planes).into());
        }
        buffer.unprepare(self.mem, self.driver, index);
        let info = BufferInfo {
            state: BufferState::Dequeued,
            ..buffer.info(self.mem, index, memory)
        };
        buffer.state = info.state;
        buffer.request_fd = None;
        self.queue.done.pop_front();
        self.queue.queued_count = self.queue.queued_count.saturating_sub(1);
        if info.last && !is_output {
            self.queue.last_buffer_dequeued = true;
        }
        Ok(info)
    }
}

impl<M: MemOps> Queue<M> {
    /// OUTPUT: stores QBUF's timestamp and timecode. A prepared buffer keeps the flags of PREPARE_BUF.
    ///
    /// Source: Linux 7.2 `__copy_timestamp` of videobuf2-v4l2.c.
    pub(crate) fn set_frame_info(&mut self, request: &QueueBuffer<M>) -> Result<(), Error> {
        if self.config.is_output() {
            let timestamp_ns = match self.config.copy_timestamps {
                true => request.timestamp_ns,
                false => 0,
            };
            let buffer = self.buffer_mut(request.index)?;
            buffer.timestamp_ns = timestamp_ns;
            buffer.timecode = request.timecode;
        }
        Ok(())
    }

    /// Checks that buffers may be queued without a media request. The caller has checked index, memory model and
    /// planes, because Linux reports their errors first.
    fn check_queued_by(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        if request.with_request && self.config.requests == Requests::None {
            return Err(Error::RequestUnsupported);
        }
        if self.config.requests == Requests::Required {
            return Err(Error::RequestRequired);
        }
        if self.queued_by == Some(QueuedBy::Requests) {
            return Err(Busy::UsesRequests.into());
        }
        Ok(())
    }

    /// Checks the queue's and the buffer's states.
    fn check_request(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        let index = request.index;
        if request.with_request {
            return Err(Invalid::Request.into());
        }
        if self.error {
            return Err(Error::QueueError);
        }
        if self.buffer(index)?.state != BufferState::Dequeued {
            return Err(Invalid::State { index }.into());
        }
        Ok(())
    }

    /// Checks the request's planes as far as possible without their memory.
    pub(crate) fn check_planes(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        let planes = self.buffer(request.index)?.planes.len();
        let (wanted, found) = (request.memory, self.memory);
        if found != Some(wanted) {
            return Err(Invalid::ModelMismatch { wanted, found }.into());
        }
        let given = request.planes.iter().take_while(|p| p.is_some()).count();
        if given < planes {
            return Err(Invalid::planes(given, planes).into());
        }
        for (number, plane) in (0_u32..).zip(request.planes.iter().flatten().take(planes)) {
            let given = match plane.source {
                PlaneSource::Mmap => Memory::Mmap,
                PlaneSource::UserPtr { .. } => Memory::UserPtr,
                PlaneSource::DmaBuf { .. } => Memory::DmaBuf,
            };
            if given != wanted {
                return Err(Invalid::Source { plane: number }.into());
            }
        }
        Ok(())
    }
}
