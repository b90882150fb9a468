//! The context of one or more calls on a queue: its memory and its device.

use crate::{BufferInfo, Driver, Error, Memory, Queue};
use vb3_plane::MemOps;

/// The driver of a queue whose memory is `M`.
pub(crate) type DynDriver<'a, M> = dyn Driver<Cookie = <M as MemOps>::Cookie> + 'a;

/// A queue with the memory of its planes and the driver of its device, for calls that change the queue.
/// A session borrows queue and driver exclusively. Sessions of other queues may use the memory meanwhile.
///
/// A host makes a session for one call, or for several in a row, while it holds its lock around the queue. A
/// session is three references.
///
/// # Context
/// A session stays within one call of the host and in its thread: it need not be `Send` or `Sync`. Its
/// methods may sleep if the memory or the driver does; no method waits for a buffer.
pub struct Session<'a, M: MemOps> {
    pub(crate) queue: &'a mut Queue<M>,
    pub(crate) mem: &'a M,
    pub(crate) driver: &'a mut DynDriver<'a, M>,
}

impl<M: MemOps> Queue<M> {
    /// Returns a session of the queue with its memory and driver. As long as the queue has buffers, every
    /// session must have the same memory and driver.
    pub fn session<'a>(
        &'a mut self,
        mem: &'a M,
        driver: &'a mut (dyn Driver<Cookie = M::Cookie> + 'a),
    ) -> Session<'a, M> {
        Session {
            queue: self,
            mem,
            driver,
        }
    }
}

impl<M: MemOps> Session<'_, M> {
    /// Returns the queue, for reading.
    #[must_use]
    pub fn queue(&self) -> &Queue<M> {
        self.queue
    }

    /// Describes a buffer (QUERYBUF). Every caller may do this, also during file I/O, and with any
    /// memory model.
    ///
    /// # Errors
    /// [`Invalid::Index`](crate::Invalid::Index) (EINVAL).
    pub fn querybuf(&mut self, index: u32) -> Result<BufferInfo, Error> {
        self.reap();
        self.describe(index)
    }

    /// Describes a buffer as [`querybuf`](Self::querybuf) does, but does not reap dropped tokens first.
    pub(crate) fn describe(&self, index: u32) -> Result<BufferInfo, Error> {
        let buffer = self.queue.buffer(index)?;
        Ok(buffer.info(self.mem, index, self.queue.memory.unwrap_or(Memory::Mmap)))
    }
}
