//! One call, or several, on a queue with its memory and its device.

use crate::{BufferInfo, Driver, Error, Memory, Queue};
use core::fmt;
use vb3_plane::MemOps;

/// The driver of a queue whose memory is `M`.
pub(crate) type DynDriver<'a, M> = dyn Driver<Cookie = <M as MemOps>::Cookie> + 'a;

/// A queue with the memory of its planes and the driver of its device: what every call that
/// changes something needs. It has queue and driver alone. Other queues' sessions use the same
/// memory at the same time.
///
/// A host makes one for a call, or for several in a row, while it holds its lock
/// around the queue. It costs three references.
///
/// # Context
/// It lives inside one call of the host and stays in its thread: neither `Send` nor `Sync` is
/// promised. Calls may sleep as far as the memory and the driver do; none waits for a buffer.
pub struct Session<'a, M: MemOps> {
    pub(crate) queue: &'a mut Queue<M>,
    pub(crate) mem: &'a M,
    pub(crate) driver: &'a mut DynDriver<'a, M>,
}

impl<M: MemOps> fmt::Debug for Session<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("num_buffers", &self.queue.num_buffers())
            .finish_non_exhaustive()
    }
}

impl<M: MemOps> Queue<M> {
    /// Puts the queue together with its memory and its driver, for calls on it. It must be the
    /// same memory and driver for as long as there are buffers.
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
    /// The queue, to look at.
    #[must_use]
    pub fn queue(&self) -> &Queue<M> {
        self.queue
    }

    /// Describes a buffer (QUERYBUF). Allowed to everyone, also during file I/O; the memory
    /// model the program believes in does not matter.
    ///
    /// # Errors
    /// [`Invalid::Index`](crate::Invalid::Index) (EINVAL).
    pub fn querybuf(&mut self, index: u32) -> Result<BufferInfo, Error> {
        self.reap();
        let buffer = self.queue.buffer(index)?;
        Ok(buffer.info(self.mem, index, self.queue.memory.unwrap_or(Memory::Mmap)))
    }
}
