//! Passing buffers: PREPARE_BUF, QBUF, DQBUF.

use crate::bound::Way;
use crate::{
    BufferInfo, BufferState, Busy, Driver, Error, Invalid, Memory, PlaneSource, Queue, QueueBuffer,
    Requests,
};
use vb3_plane::{HintSkip, MemOps};

impl<M: MemOps> Queue<M> {
    /// Prepares a buffer ahead of QBUF. The references in `request` pass to the queue.
    ///
    /// # Errors
    /// As [`qbuf`](Self::qbuf), and EINVAL ([`Invalid::State`], [`Invalid::Request`]) for a
    /// buffer that is prepared already or named with a request.
    pub fn prepare_buf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        mut request: QueueBuffer<M>,
    ) -> Result<BufferInfo, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        let prepared = self.core_prepare_buf(mem, driver, &mut request);
        request.release(mem);
        prepared?;
        self.querybuf(mem, request.index)
    }

    fn core_prepare_buf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        request: &mut QueueBuffer<M>,
    ) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.check_no_fileio()?;
        if request.with_request {
            return Err(Invalid::Request.into());
        }
        self.check_request(request)?;
        if self.buffer(request.index)?.prepared {
            return Err(Invalid::State {
                index: request.index,
            }
            .into());
        }
        self.prepare(mem, driver, request)
    }

    /// Queues a buffer. The references in `request` pass to the queue, whatever comes of it.
    /// A buffer that PREPARE_BUF has prepared keeps what was said of its planes then.
    ///
    /// The cost does not depend on how many buffers there are.
    ///
    /// # Errors
    /// * EINVAL: [`Invalid::Index`], [`Invalid::ModelMismatch`], [`Invalid::Planes`],
    ///   [`Invalid::Source`], [`Invalid::State`]; on OUTPUT [`Invalid::PayloadAboveLength`],
    ///   [`Invalid::DataOffset`], [`Invalid::FieldAlternate`]; of memory that the program brings
    ///   [`Invalid::NoDmaBuf`], [`Invalid::LengthBelowSetup`].
    /// * EBUSY: file I/O is active.
    /// * [`Error::QueueError`] (EIO).
    /// * [`Error::RequestUnsupported`], [`Error::RequestRequired`] (EBADR).
    /// * [`Busy::OtherWay`] (EBUSY): buffers have been queued by requests.
    /// * What the memory or the driver says. Where it is the driver that could not start, the
    ///   buffer is the program's again, still prepared.
    pub fn qbuf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        mut request: QueueBuffer<M>,
    ) -> Result<BufferInfo, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        let queued = self
            .check_no_fileio()
            .and_then(|()| self.core_qbuf(mem, driver, &mut request));
        request.release(mem);
        queued?;
        let memory = self.memory.unwrap_or(request.memory);
        Ok(self.buffer(request.index)?.info(mem, request.index, memory))
    }

    pub(crate) fn core_qbuf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        request: &mut QueueBuffer<M>,
    ) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.check_way(request)?;
        self.check_request(request)?;
        let index = request.index;
        if self.buffer(index)?.prepared {
            let finish = self.granted_hints(request) & HintSkip::FINISH;
            let buffer = self.buffer_mut(index)?;
            buffer.hints = (buffer.hints & HintSkip::PREPARE) | finish;
        } else {
            self.prepare(mem, driver, request)?;
        }
        self.enqueue(driver, request)?;
        self.way = Some(Way::Directly);
        Ok(())
    }

    /// Queues a prepared buffer.
    pub(crate) fn enqueue<D>(
        &mut self,
        driver: &mut D,
        request: &QueueBuffer<M>,
    ) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let index = request.index;
        self.note_frame(request)?;
        self.buffer_mut(index)?.state = BufferState::Queued;
        self.queued_count = self.queued_count.saturating_add(1);
        self.waiting_for_buffers = false;
        if self.started {
            let token = self.activate(index)?;
            driver.buf_queue(token);
        } else {
            self.queued.push_back(index);
            if self.streaming && self.queued_count >= self.config.min_queued_buffers {
                self.start_with_last(driver, index)?;
            }
        }
        self.statistics.queued = self.statistics.queued.saturating_add(1);
        Ok(())
    }

    /// OUTPUT: takes what QBUF says of the frame.
    ///
    /// Source: Linux 7.2 `__copy_timestamp` of videobuf2-v4l2.c.
    pub(crate) fn note_frame(&mut self, request: &QueueBuffer<M>) -> Result<(), Error> {
        if self.config.is_output() {
            let timestamp_ns = self.given_timestamp(request);
            let buffer = self.buffer_mut(request.index)?;
            buffer.timestamp_ns = timestamp_ns;
            buffer.timecode = request.timecode;
            buffer.frame_flags = request.frame_flags;
        }
        Ok(())
    }

    /// Starts the driver because the buffer just queued was the last one missing; gives that
    /// buffer back where it fails.
    fn start_with_last<D>(&mut self, driver: &mut D, index: u32) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.start(driver).inspect_err(|_| {
            self.queued.pop_back();
            self.queued_count = self.queued_count.saturating_sub(1);
            if let Ok(buffer) = self.buffer_mut(index) {
                buffer.state = BufferState::Dequeued;
            }
        })
    }

    /// Whether buffers may be queued directly, after the checks that come before.
    fn check_way(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        self.check_planes(request)?;
        if request.with_request && self.config.requests == Requests::None {
            return Err(Error::RequestUnsupported);
        }
        if self.config.requests == Requests::Required {
            return Err(Error::RequestRequired);
        }
        if self.way == Some(Way::ByRequests) {
            return Err(Busy::OtherWay.into());
        }
        Ok(())
    }

    /// The checks that PREPARE_BUF and QBUF share.
    fn check_request(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        let index = request.index;
        self.check_planes(request)?;
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

    /// The checks of what is said of the planes, as far as it does not depend on memory.
    pub(crate) fn check_planes(&self, request: &QueueBuffer<M>) -> Result<(), Error> {
        let index = request.index;
        let buffer = self.buffer(index)?;
        if self.memory != Some(request.memory) {
            let mismatch = Invalid::ModelMismatch {
                wanted: request.memory,
                found: self.memory,
            };
            return Err(mismatch.into());
        }
        let planes = buffer.planes.len();
        let given = request.num_planes();
        if given < planes {
            // CAST: both are at most MAX_PLANES.
            return Err(Invalid::Planes {
                given: given as u32,
                planes: planes as u32,
            }
            .into());
        }
        for (number, plane) in (0_u32..).zip(request.planes.iter().flatten().take(planes)) {
            let fits = match plane.source {
                PlaneSource::Mmap => request.memory == Memory::Mmap,
                PlaneSource::UserPtr { .. } => request.memory == Memory::UserPtr,
                PlaneSource::DmaBuf { .. } => request.memory == Memory::DmaBuf,
            };
            if !fits {
                return Err(Invalid::Source { plane: number }.into());
            }
        }
        Ok(())
    }

    /// Takes the next done buffer. `plane_room` is how many planes the caller can be told of
    /// (at least [`MAX_PLANES`](crate::MAX_PLANES) where there is no such limit).
    ///
    /// The cost does not depend on how many buffers there are. Nothing but the buffer itself
    /// decides whether it was the last one.
    ///
    /// # Errors
    /// In this order:
    /// * EBUSY: file I/O is active; somebody waits already.
    /// * EINVAL: [`Invalid::NotStreaming`].
    /// * [`Error::QueueError`] (EIO).
    /// * [`Error::LastBuffer`] (EPIPE).
    /// * [`Error::WouldBlock`] (EAGAIN): a caller that waits says
    ///   [`begin_wait`](Self::begin_wait) now.
    /// * EINVAL: [`Invalid::Planes`], the buffer stays.
    pub fn dqbuf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        plane_room: usize,
    ) -> Result<BufferInfo, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        self.check_no_fileio()?;
        self.core_dqbuf(mem, driver, plane_room)
    }

    pub(crate) fn core_dqbuf<D>(
        &mut self,
        mem: &mut M,
        driver: &mut D,
        plane_room: usize,
    ) -> Result<BufferInfo, Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        if self.waiting_in_dqbuf {
            return Err(Busy::Waiting.into());
        }
        if !self.streaming {
            return Err(Invalid::NotStreaming.into());
        }
        if self.error {
            return Err(Error::QueueError);
        }
        if self.last_buffer_dequeued {
            return Err(Error::LastBuffer);
        }
        let index = *self.done.front().ok_or(Error::WouldBlock)?;
        let memory = self.memory.unwrap_or(Memory::Mmap);
        let is_output = self.config.is_output();
        let buffer = self.buffer_mut(index)?;
        let planes = buffer.planes.len();
        if planes > plane_room {
            // CAST: both are at most MAX_PLANES here.
            return Err(Invalid::Planes {
                given: plane_room as u32,
                planes: planes as u32,
            }
            .into());
        }
        buffer.unprepare(mem, driver, index);
        let error = buffer.state == BufferState::Error;
        buffer.state = BufferState::Dequeued;
        let last = buffer.last;
        let info = BufferInfo {
            error,
            ..buffer.info(mem, index, memory)
        };
        buffer.request_fd = None;
        self.done.pop_front();
        self.queued_count = self.queued_count.saturating_sub(1);
        if last && !is_output {
            self.last_buffer_dequeued = true;
        }
        Ok(info)
    }

    /// A caller of DQBUF, read() or write() goes to sleep, after [`Error::WouldBlock`]. While it
    /// sleeps nobody else may dequeue, and buffers are not replaced. It wakes by
    /// [`take_wake`](Self::take_wake): [`end_wait`](Self::end_wait), then the call again.
    ///
    /// # Errors
    /// EBUSY: somebody waits already.
    pub fn begin_wait(&mut self) -> Result<(), Error> {
        if self.waiting_in_dqbuf {
            return Err(Busy::Waiting.into());
        }
        self.waiting_in_dqbuf = true;
        Ok(())
    }

    /// The caller that waits has woken, or was given up (a signal, the end of its process).
    pub fn end_wait(&mut self) {
        self.waiting_in_dqbuf = false;
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting_in_dqbuf
    }
}
