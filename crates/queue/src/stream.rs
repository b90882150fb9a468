//! Starting and stopping: STREAMON, STREAMOFF, errors of the device.

use crate::bound::tell;
use crate::{BufferState, Driver, Error, Invalid, Queue, Unbound};
use vb3_plane::MemOps;

impl<M: MemOps> Queue<M> {
    /// Begins streaming. The driver is started at once if enough buffers are queued, otherwise
    /// by the QBUF that makes it enough. Streaming already is fine.
    ///
    /// # Errors
    /// * EBUSY: file I/O is active.
    /// * EINVAL: [`Invalid::TooFewBuffers`], none or fewer than the driver needs queued.
    /// * What the driver says. Buffers stay queued.
    pub fn streamon<D>(&mut self, mem: &mut M, driver: &mut D) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.reap(mem);
        self.check_no_fileio()?;
        self.core_streamon(driver)
    }

    pub(crate) fn core_streamon<D>(&mut self, driver: &mut D) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        if self.streaming {
            return Ok(());
        }
        let least = self.config.min_queued_buffers.max(1);
        if self.num_buffers < least {
            return Err(Invalid::TooFewBuffers {
                wanted: least,
                found: self.num_buffers,
            }
            .into());
        }
        driver.prepare_streaming()?;
        if self.queued_count >= self.config.min_queued_buffers {
            self.start(driver)
                .inspect_err(|_| driver.unprepare_streaming())?;
        }
        self.streaming = true;
        Ok(())
    }

    /// Gives all queued buffers to the driver and starts it. Where it cannot start, they are
    /// queued as before, and tokens it has kept are stale.
    pub(crate) fn start<D>(&mut self, driver: &mut D) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        let mut given = 0_u32;
        for place in 0..self.queued.len() {
            let Some(index) = self.queued.get(place).copied() else {
                break;
            };
            let token = self.activate(index)?;
            driver.buf_queue(token);
            given = given.saturating_add(1);
        }
        match driver.start_streaming(given) {
            Ok(()) => {
                self.queued.clear();
                self.started = true;
                Ok(())
            }
            Err(e) => {
                self.ownership.raise_epoch();
                for place in 0..self.queued.len() {
                    let Some(index) = self.queued.get(place).copied() else {
                        break;
                    };
                    self.ownership.revoke(index);
                    if let Ok(buffer) = self.buffer_mut(index) {
                        buffer.state = BufferState::Queued;
                        buffer.generation = 0;
                    }
                }
                Err(e.into())
            }
        }
    }

    /// Ends streaming and gives all buffers back to the program, streaming or not. Clears an
    /// error of the device and the end of the stream. Tokens become stale.
    ///
    /// # Errors
    /// EBUSY: file I/O is active.
    pub fn streamoff<D>(&mut self, mem: &mut M, driver: &mut D) -> Result<(), Error>
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        self.check_no_fileio()?;
        self.cancel(mem, driver);
        self.waiting_for_buffers = !self.config.is_output();
        self.settle_model();
        Ok(())
    }

    /// Any state → Dequeued.
    pub(crate) fn cancel<D>(&mut self, mem: &mut M, driver: &mut D)
    where
        D: Driver<Cookie = M::Cookie> + ?Sized,
    {
        if core::mem::take(&mut self.started) {
            driver.stop_streaming();
        }
        if core::mem::take(&mut self.streaming) {
            driver.unprepare_streaming();
        }
        self.ownership.raise_epoch();
        for (index, place) in (0_u32..).zip(&mut self.buffers) {
            let Some(buffer) = place else { continue };
            self.ownership.revoke(index);
            buffer.unprepare(mem, driver, index);
            if let Some(request) = buffer.dissolve(mem) {
                tell(&mut self.unbound, Unbound { request, index });
            }
            buffer.request_fd = None;
            buffer.state = BufferState::Dequeued;
            buffer.generation = 0;
            buffer.last = false;
        }
        self.queued.clear();
        self.done.clear();
        self.queued_count = 0;
        self.way = None;
        self.error = false;
        self.last_buffer_dequeued = false;
        self.wake = true;
        // What was dropped counts no more; this only empties the list.
        self.reap(mem);
    }

    /// The device has failed (`vb2_queue_error`): nothing can be queued, prepared or dequeued
    /// until the stream is ended. Wakes all who wait.
    pub fn set_error(&mut self) {
        self.error = true;
        self.wake = true;
    }

    /// The driver goes on after the last buffer (a decoder after a change of resolution).
    pub fn clear_last_buffer(&mut self) {
        self.last_buffer_dequeued = false;
    }

    /// Whether the last buffer has been dequeued.
    #[must_use]
    pub fn last_buffer_dequeued(&self) -> bool {
        self.last_buffer_dequeued
    }
}
