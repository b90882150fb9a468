//! Fences for a device's access to a buffer, and fences that a buffer waits for.
//!
//! When a driver gets a buffer, the memory of each plane gets a fence that signals when the buffer returns.
//! A buffer waits only for fences that were imported for its memory (`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`). Until
//! these have signalled, that buffer and all buffers behind it stay Queued.
//!
//! Source: none in Linux 6.12, whose V4L2 ignores fences: it adds none to a buffer's reservation and waits
//! for none. There, the device owns a buffer from QBUF on.

use crate::buffer::Buffer;
use crate::sync::Arc;
use crate::{Active, BufferState, Error, Queue, Session};
use vb3_plane::MemOps;

/// Errno of a fence whose buffer returned with an error, or whose device failed.
pub(crate) const EIO: i32 = 5;
/// Errno of a fence that ends because the stream was stopped before the device finished.
pub(crate) const ECANCELED: i32 = 125;

impl<M: MemOps> Queue<M> {
    /// Returns the first buffer that a streaming queue withholds from the driver because of pending fences. Also
    /// returns the first plane of this buffer that waits for a fence.
    pub fn first_held_back(&self, mem: &M) -> Option<(u32, &M::Plane)> {
        let mut queued = self.queued.iter().filter(|_| self.streaming);
        queued.find_map(|&index| {
            let mut memories = self.buffer(index).ok()?.memories();
            Some((index, memories.find(|memory| mem.is_held_back(memory))?))
        })
    }
}

impl<M: MemOps> Session<'_, M> {
    /// Processes changes since the last call. Completes, with an error, each buffer whose token was dropped.
    /// If the device has failed, ends the fences of its buffers with EIO; the device keeps the buffers until
    /// the stream ends. Else passes to the driver, in queueing order, the buffers whose fences have ended.
    ///
    /// A host calls this after fences have ended, and after a device has failed. If the driver then
    /// cannot be started, the queue is in error.
    pub fn settle(&mut self) {
        self.reap();
        if self.queue.error {
            if !core::mem::replace(&mut self.queue.accesses_failed, true) {
                for buffer in self.queue.buffers.iter_mut().flatten() {
                    buffer.end_access(self.mem, Err(EIO));
                }
            }
        } else if self.queue.started {
            // Queued indices name existing buffers, so this does not fail.
            let _listed = self.give_queued();
        } else if self.queue.streaming && self.can_start() && self.start().is_err() {
            self.queue.set_error();
        }
    }

    /// Passes queued buffers to a started driver, up to the first that waits for a fence.
    pub(crate) fn give_queued(&mut self) -> Result<(), Error> {
        while let Some(&index) = self.queue.queued.front() {
            if self.is_held_back(index) {
                break;
            }
            let token = self.activate(index)?;
            self.queue.queued.pop_front();
            self.driver.buf_queue(token);
        }
        Ok(())
    }

    /// Moves a buffer from Queued to Active. Makes its token, and the fences that signal when the device's access
    /// ends. The caller removes the buffer from the list of queued ones.
    pub(crate) fn activate(&mut self, index: u32) -> Result<Active<M::Cookie>, Error> {
        let generation = self.queue.next_generation;
        // Generations cannot overflow: no queue passes 2^63 buffers to its driver.
        self.queue.next_generation = generation.wrapping_add(1);
        let ownership = Arc::clone(&self.queue.ownership);
        let buffer = self.queue.buffer_mut(index)?;
        buffer.state = BufferState::Active;
        buffer.generation = generation;
        for memory in buffer.memories_mut() {
            self.mem.begin_access(memory);
        }
        ownership.grant(index, generation);
        Ok(Active {
            epoch: ownership.epoch(),
            ownership,
            planes: buffer.views(),
            index,
            generation,
            timestamp_ns: buffer.timestamp_ns,
            field: buffer.field,
            timecode: buffer.timecode,
            frame_flags: buffer.frame_flags,
            request: buffer.request,
            armed: true,
        })
    }

    /// Returns whether enough buffers are queued to start the driver.
    pub(crate) fn can_start(&self) -> bool {
        let least = self.queue.config.min_queued_buffers;
        // CAST: both are lossless, because `least` is at most `queued_count`, which is at most 32768.
        self.queue.queued_count >= least
            && self.ready().take(least as usize).count() as u32 == least
    }

    /// Returns the queued buffers before the first that waits for a fence.
    pub(crate) fn ready(&self) -> impl Iterator<Item = u32> {
        let queued = self.queue.queued.iter().copied();
        queued.take_while(|index| !self.is_held_back(*index))
    }

    fn is_held_back(&self, index: u32) -> bool {
        let buffer = self.queue.buffer(index);
        let mut memories = buffer.into_iter().flat_map(Buffer::memories);
        memories.any(|memory| self.mem.is_held_back(memory))
    }
}

impl<M: MemOps> Buffer<M> {
    /// Ends the fences of the device's access, because the device returned the buffer or has failed.
    pub(crate) fn end_access(&mut self, mem: &M, outcome: Result<(), i32>) {
        if self.state != BufferState::Active {
            return;
        }
        for memory in self.memories_mut() {
            mem.end_access(memory, outcome);
        }
    }
}
