//! Waiting for a buffer.

use crate::active::Ownership;
use crate::sync::Arc;
use crate::{Busy, Error, Queue};
use vb3_plane::MemOps;

/// A caller that sleeps in DQBUF, read() or write().
///
/// While it exists, no other caller may dequeue, and REQBUFS cannot replace buffers. Dropping it ends the
/// wait. The host drops it before it repeats the call, or when the caller abandons the call (because of
/// a signal, a timeout or the end of its process).
///
/// # Context
/// `Send` and `Sync`. Its methods may run in any context and need no access to the queue.
#[derive(Debug)]
#[must_use = "dropping a `Wait` ends the wait"]
pub struct Wait {
    ownership: Arc<Ownership>,
    number: u64,
    seen: u64,
}

impl Wait {
    /// Returns whether the caller must repeat its call. This is so once, since the wait began, a buffer was finished
    /// or its token was dropped, the device failed, or streaming ended. Once true, the result stays true.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ownership.is_wait_over(self.number, self.seen)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.ownership.end_wait(self.number);
    }
}

impl<M: MemOps> Queue<M> {
    /// Begins the wait of a caller that got [`Error::WouldBlock`]. The host calls this before it unlocks the
    /// queue and sleeps.
    ///
    /// # Errors
    /// [`Busy::Waiting`] (EBUSY): another caller waits.
    pub fn wait(&self) -> Result<Wait, Error> {
        let seen = self.ownership.events();
        let number = self.ownership.begin_wait().ok_or(Busy::Waiting)?;
        Ok(Wait {
            ownership: Arc::clone(&self.ownership),
            number,
            seen,
        })
    }

    /// Returns whether a caller waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ownership.waiter() != 0
    }

    /// Returns a number that grows with each event that can end a caller's wait. Events are a finished
    /// buffer, a dropped token (in any context), a failed device, and the end of streaming. If the
    /// number grew since the host's last check, the host wakes all callers that wait or poll.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.ownership.events()
    }
}
