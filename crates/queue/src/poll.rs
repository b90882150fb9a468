//! poll.

use crate::{IoModes, Queue, Session};
use vb3_plane::MemOps;

/// What a caller of poll asks about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interest {
    /// POLLIN or POLLRDNORM.
    pub readable: bool,
    /// POLLOUT or POLLWRNORM.
    pub writable: bool,
}

/// What poll answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// Nothing yet.
    Nothing,
    /// DQBUF, read() or write() would not wait: POLLIN on CAPTURE, POLLOUT on OUTPUT.
    Ready,
    /// Waiting would never end: POLLERR.
    Error,
}

impl<M: MemOps> Session<'_, M> {
    /// Whether a caller would have to wait. Allowed to everyone. Without buffers it starts
    /// read() or write() emulation where that is offered (see
    /// [`Queue::fileio_active`] for who then owns the queue).
    ///
    /// Source: Linux 7.2 `vb2_core_poll`.
    pub fn poll(&mut self, interest: Interest) -> Readiness {
        self.reap();
        let is_output = self.queue.config.is_output();
        let interested = if is_output {
            interest.writable
        } else {
            interest.readable
        };
        if !interested {
            return Readiness::Nothing;
        }
        if self.queue.fileio_ended() {
            return Readiness::Ready;
        }
        if !self.queue.has_buffers() && self.queue.fileio.is_none() {
            let mode = if is_output {
                IoModes::WRITE
            } else {
                IoModes::READ
            };
            if self.queue.config.io_modes.contains(mode) {
                if self.start_fileio().is_err() {
                    return Readiness::Error;
                }
                if is_output {
                    return Readiness::Ready;
                }
            }
        }
        if !self.queue.streaming || self.queue.error {
            return Readiness::Error;
        }
        if self.queue.config.quirk_poll_must_check_waiting_for_buffers
            && self.queue.waiting_for_buffers
        {
            return Readiness::Error;
        }
        let writable = is_output
            && self.queue.fileio.is_some()
            && self.queue.queued_count < self.queue.num_buffers;
        let ended = !is_output && self.queue.last_buffer_dequeued;
        if writable || ended || !self.queue.done.is_empty() || self.queue.fileio_has_data() {
            Readiness::Ready
        } else {
            Readiness::Nothing
        }
    }
}

impl<M: MemOps> Queue<M> {
    /// Whether DQBUF would return at once: with a buffer, or with EPIPE after the last one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.done.is_empty() || self.last_buffer_dequeued
    }

    /// Whether waiting for a buffer could be of use: the queue streams, its device works, and
    /// something is queued or the end was reached. A memory-to-memory device says POLLERR where
    /// this holds for neither of its queues.
    ///
    /// Source: Linux 7.2 `v4l2_m2m_poll`.
    #[must_use]
    pub fn is_worth_waiting(&self) -> bool {
        let some = self.queued_count != 0 || self.last_buffer_dequeued;
        self.streaming && !self.error && some
    }
}
