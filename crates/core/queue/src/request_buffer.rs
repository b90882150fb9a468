//! The queue's part of media requests: its buffers that are in a request.

use crate::buffer::RequestEntry;
use crate::queue::QueuedBy;
use crate::{
    BoundBuffer, BufferInfo, BufferState, Busy, Error, Invalid, QueueBuffer, Request, RequestId,
    Requests, Session,
};
use vb3_plane::MemOps;

impl<M: MemOps> Session<'_, M> {
    /// Puts a buffer into a request (QBUF with `V4L2_BUF_FLAG_REQUEST_FD`). The program cannot use the buffer
    /// until the request is queued or emptied. The queue takes over the references in `wanted`, even if the
    /// call fails. This call checks the planes; `req_prepare` acquires their memory.
    ///
    /// `queue` is the host's number for this queue. `fd` is the program's descriptor number, which QUERYBUF returns.
    /// `request` is the descriptor's request, with the host's identifier; `None` if the descriptor names no request.
    ///
    /// # Errors
    /// As [`qbuf`](Self::qbuf). After the errors of index, memory model and planes come, in this order:
    /// * [`Error::RequestUnsupported`] (EBADR).
    /// * [`Busy::UsesQbuf`] (EBUSY): buffers have been queued directly.
    /// * [`Invalid::NoRequest`] (EINVAL).
    /// * [`Busy::Request`], [`Busy::RequestHasBuffer`] (EBUSY), ENOMEM.
    pub fn qbuf_in_request(
        &mut self,
        mut wanted: QueueBuffer<M>,
        queue: u64,
        fd: i32,
        request: Option<(RequestId, &mut Request)>,
    ) -> Result<BufferInfo, Error> {
        self.reap();
        let index = wanted.index;
        let named = request.ok_or(Invalid::NoRequest { fd });
        let bound = self.bind(&mut wanted, queue, named);
        let request = bound.inspect_err(|_| wanted.release(self.mem))?;
        // The request contains the buffer now. Nothing fails from here on.
        self.queue.set_frame_info(&wanted)?;
        self.queue.queued_by = Some(QueuedBy::Requests);
        let hints = self.queue.granted_hints(&wanted);
        let buffer = self.queue.buffer_mut(index)?;
        if !buffer.prepared {
            buffer.field = wanted.field;
            buffer.frame_flags = wanted.frame_flags;
            (buffer.sequence, buffer.last, buffer.hints) = (0, false, hints);
        }
        buffer.state = BufferState::InRequest;
        buffer.request_fd = Some(fd);
        // `bind` has reserved the place.
        buffer.in_request.push_back(RequestEntry {
            request,
            wanted,
            prepared: false,
        });
        self.querybuf(index)
    }

    /// Checks the call, and puts the buffer into the request if it is allowed.
    fn bind(
        &mut self,
        wanted: &mut QueueBuffer<M>,
        queue: u64,
        named: Result<(RequestId, &mut Request), Invalid>,
    ) -> Result<RequestId, Error> {
        self.queue.check_no_fileio()?;
        self.queue.check_planes(wanted)?;
        let index = wanted.index;
        let buffer = self.queue.buffer(index)?;
        if buffer.state != BufferState::Dequeued {
            return Err(Invalid::State { index }.into());
        }
        if !buffer.prepared {
            self.resolve(wanted)?;
        }
        if self.queue.config.requests == Requests::None {
            return Err(Error::RequestUnsupported);
        }
        if self.queue.queued_by == Some(QueuedBy::Qbuf) {
            return Err(Busy::UsesQbuf.into());
        }
        let (id, request) = named?;
        request.check_idle()?;
        if self.queue.error {
            return Err(Error::QueueError);
        }
        let reserved = self.queue.buffer_mut(index)?.in_request.try_reserve(1);
        reserved.map_err(|_| Error::no_memory(1))?;
        request.bind(BoundBuffer { queue, index })?;
        Ok(id)
    }

    /// Prepares a buffer whose request is being queued. Does nothing if PREPARE_BUF has prepared the buffer.
    ///
    /// # Errors
    /// [`Error::QueueError`] (EIO), [`Invalid::State`] (EINVAL) for a buffer in no request, and the
    /// error of the memory or the driver. The buffer then stays in the request as before.
    pub fn req_prepare(&mut self, index: u32) -> Result<(), Error> {
        self.reap();
        if self.queue.error {
            return Err(Error::QueueError);
        }
        let buffer = self.queue.buffer_mut(index)?;
        if buffer.prepared && !buffer.in_request.is_empty() {
            // The memory may have moved, or been revoked, since it was prepared.
            return buffer.place(self.mem);
        }
        let entry = buffer.in_request.pop_front();
        let mut entry = entry.ok_or(Invalid::State { index })?;
        let prepared = self.prepare(&mut entry.wanted);
        entry.prepared = prepared.is_ok();
        // Allocates nothing, because the entry has just left its place. Its references serve another attempt.
        self.queue.buffer_mut(index)?.in_request.push_back(entry);
        prepared
    }

    /// Undoes [`req_prepare`](Self::req_prepare).
    pub fn req_unprepare(&mut self, index: u32) {
        let Ok(buffer) = self.queue.buffer_mut(index) else {
            return;
        };
        let entry = buffer.in_request.front_mut();
        if entry.is_some_and(|entry| core::mem::take(&mut entry.prepared)) {
            buffer.unprepare(self.mem, self.driver, index);
        }
    }

    /// Queues a prepared buffer of a request. Ignores a buffer that is not prepared.
    pub fn req_queue(&mut self, index: u32) {
        self.reap();
        let Ok(buffer) = self.queue.buffer_mut(index) else {
            return;
        };
        if !buffer.prepared {
            return;
        }
        let Some(mut entry) = buffer.in_request.pop_front() else {
            return;
        };
        buffer.request = Some(entry.request);
        // The buffer exists, and a queue with requests needs no minimum to start, so this cannot
        // fail.
        let _ = self.enqueue(&entry.wanted);
        entry.wanted.release(self.mem);
    }

    /// Returns a buffer to the program when its request is emptied or freed. The buffer stays prepared if
    /// PREPARE_BUF has prepared it.
    pub fn req_release(&mut self, index: u32) {
        self.req_unprepare(index);
        let Ok(buffer) = self.queue.buffer_mut(index) else {
            return;
        };
        if buffer.state == BufferState::InRequest {
            buffer.state = BufferState::Dequeued;
            buffer.request_fd = None;
            let _ = buffer.leave_request(self.mem);
        }
    }
}
