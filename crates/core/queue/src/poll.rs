//! poll() on a queue.

use crate::{Busy, Error, Invalid, Queue, Session};
use vb3_plane::MemOps;

impl<M: MemOps> Session<'_, M> {
    /// Returns whether the queue is ready: whether DQBUF, read() or write() would not wait. This is the event POLLIN on
    /// CAPTURE, and POLLOUT on OUTPUT. Every caller may poll, not only the queue's owner. If a queue without buffers
    /// offers read() or write(), polling starts the emulation. The host then makes the caller's file the queue's owner.
    ///
    /// `is_asked` says whether the caller asks for this queue's event: POLLIN or POLLRDNORM on CAPTURE, POLLOUT or
    /// POLLWRNORM on OUTPUT. If the caller does not ask for this event, the result is `false`.
    ///
    /// # Errors
    /// A wait would never end, so the program gets POLLERR:
    /// * The error of starting read() or write(), for example [`Busy::HasBuffers`] while the queue streams.
    /// * [`Invalid::NotStreaming`].
    /// * [`Error::QueueError`]: the device failed, or a CAPTURE queue has had no QBUF since its buffers were made or its
    ///   stream ended.
    ///
    /// Source: Linux 7.2 `vb2_core_poll`.
    pub fn poll(&mut self, is_asked: bool) -> Result<bool, Error> {
        if is_asked && self.would_start_fileio() {
            self.start_fileio()?;
        }
        self.peek(is_asked)
    }

    /// Returns the result of [`poll`](Self::poll), but starts nothing. A host uses it to check a queue when
    /// no program polls.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub fn peek(&mut self, is_asked: bool) -> Result<bool, Error> {
        self.reap();
        if !is_asked {
            return Ok(false);
        }
        let is_output = self.queue.config.is_output();
        match (self.would_start_fileio(), self.queue.streaming) {
            (true, true) => return Err(Busy::HasBuffers.into()),
            (true, false) => return Ok(is_output),
            (false, false) => return Err(Invalid::NotStreaming.into()),
            (false, true) => {}
        }
        if self.queue.error || self.queue.waiting_for_buffers {
            return Err(Error::QueueError);
        }
        let writable = is_output
            && self.queue.fileio.is_some()
            && self.queue.queued_count < self.queue.num_buffers;
        let ended = !is_output && self.queue.last_buffer_dequeued;
        Ok(writable || ended || !self.queue.done.is_empty() || self.queue.fileio_has_data())
    }

    /// Returns whether a poll for the queue's event starts read() or write() emulation.
    fn would_start_fileio(&self) -> bool {
        let (queue, config) = (&self.queue, &self.queue.config);
        !queue.has_buffers()
            && queue.fileio.is_none()
            && config.io_modes.contains(config.fileio_mode())
    }
}

impl<M: MemOps> Queue<M> {
    /// Returns whether DQBUF would not wait: it returns a buffer, or EPIPE after the last one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.done.is_empty() || self.last_buffer_dequeued
    }

    /// Returns whether a wait for a buffer can end: the queue streams, its device works, and a
    /// buffer is queued or the last one was dequeued. A memory-to-memory device reports POLLERR if
    /// this is false for both of its queues.
    ///
    /// Source: Linux 7.2 `v4l2_m2m_poll`.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        let some = self.queued_count != 0 || self.last_buffer_dequeued;
        self.streaming && !self.error && some
    }
}
