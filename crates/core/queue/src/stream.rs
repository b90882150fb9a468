//! Starting and stopping: STREAMON, STREAMOFF, errors of the device.

use crate::fences::ECANCELED;
use crate::{BufferState, Error, Invalid, Queue, Session};
use vb3_plane::MemOps;

impl<M: MemOps> Session<'_, M> {
    /// Begins streaming. Starts the driver at once if enough buffers are queued; otherwise the QBUF
    /// that completes the minimum starts it. Does nothing if the queue streams already.
    ///
    /// # Errors
    /// * EBUSY: file I/O is active.
    /// * EINVAL: [`Invalid::TooFewBuffers`]: the queue has no buffers, or fewer than the driver
    ///   needs.
    /// * The error of the driver. Buffers stay queued.
    pub fn streamon(&mut self) -> Result<(), Error> {
        self.reap();
        self.queue.check_no_fileio()?;
        self.core_streamon()
    }

    pub(crate) fn core_streamon(&mut self) -> Result<(), Error> {
        if self.queue.streaming {
            return Ok(());
        }
        let wanted = self.queue.config.min_queued_buffers.max(1);
        let found = self.queue.num_buffers;
        if found < wanted {
            return Err(Invalid::TooFewBuffers { wanted, found }.into());
        }
        self.driver.prepare_streaming()?;
        if self.can_start() {
            self.start()
                .inspect_err(|_| self.driver.unprepare_streaming())?;
        }
        self.queue.streaming = true;
        Ok(())
    }

    /// Passes the driver the queued buffers up to the first that waits for a fence, and starts it. If the start
    /// fails, the buffers are queued as before, and tokens that the driver kept become stale.
    pub(crate) fn start(&mut self) -> Result<(), Error> {
        let ready = self.ready().count();
        for place in 0..ready {
            let Some(index) = self.queue.queued.get(place).copied() else {
                break;
            };
            let token = self.activate(index)?;
            self.driver.buf_queue(token);
        }
        // CAST: `ready` is at most the number of buffers.
        match self.driver.start_streaming(ready as u32) {
            Ok(()) => {
                self.queue.queued.drain(..ready);
                self.queue.started = true;
                Ok(())
            }
            Err(e) => {
                self.take_back();
                Err(e.into())
            }
        }
    }

    /// Moves the device's buffers to Queued. Tokens become stale.
    fn take_back(&mut self) {
        self.queue.ownership.raise_epoch();
        for (index, place) in (0_u32..).zip(&mut self.queue.buffers) {
            let Some(buffer) = place else { continue };
            self.queue.ownership.revoke(index);
            if buffer.state == BufferState::Active {
                buffer.end_access(self.mem, Err(ECANCELED));
                buffer.state = BufferState::Queued;
            }
        }
    }

    /// Ends streaming and returns all buffers to the program, even if the queue did not stream. Clears the
    /// device's error and the record that the last buffer was dequeued. Tokens become stale.
    ///
    /// # Errors
    /// EBUSY: file I/O is active.
    pub fn streamoff(&mut self) -> Result<(), Error> {
        self.reap();
        self.queue.check_no_fileio()?;
        self.cancel();
        self.queue.waiting_for_buffers = !self.queue.config.is_output();
        self.queue.reset_unused_model();
        Ok(())
    }

    /// Moves every buffer to Dequeued, from any state.
    pub(crate) fn cancel(&mut self) {
        if core::mem::take(&mut self.queue.started) {
            self.driver.stop_streaming();
        }
        if core::mem::take(&mut self.queue.streaming) {
            self.driver.unprepare_streaming();
        }
        self.take_back();
        for (index, place) in (0_u32..).zip(&mut self.queue.buffers) {
            let Some(buffer) = place else { continue };
            if buffer.state == BufferState::Queued {
                let taken_back = &mut self.queue.statistics.taken_back;
                *taken_back = taken_back.saturating_add(1);
            }
            buffer.unprepare(self.mem, self.driver, index);
            if let Some(request) = buffer.leave_request(self.mem) {
                self.driver.buf_request_complete(index, request);
            }
            buffer.request_fd = None;
            buffer.state = BufferState::Dequeued;
            buffer.last = false;
        }
        self.queue.queued.clear();
        self.queue.done.clear();
        self.queue.queued_count = 0;
        self.queue.queued_by = None;
        self.queue.error = false;
        self.queue.accesses_failed = false;
        self.queue.last_buffer_dequeued = false;
        self.queue.ownership.note_event();
        // Dropped tokens are stale now. This only empties the list.
        self.reap();
    }
}

impl<M: MemOps> Queue<M> {
    /// Records that the device has failed (`vb2_queue_error`). No buffer can be queued, prepared or dequeued
    /// until the stream is ended. Counts as an event, so that waiting callers check again.
    pub fn set_error(&mut self) {
        self.error = true;
        self.ownership.note_event();
    }

    /// Lets DQBUF continue after the stream's last buffer, for example when a decoder resumes after a change of
    /// resolution.
    pub fn clear_last_buffer(&mut self) {
        self.last_buffer_dequeued = false;
    }
}
