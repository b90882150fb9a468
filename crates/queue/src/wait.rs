//! Waiting for a buffer.

use crate::active::Ownership;
use crate::sync::Arc;
use crate::{Busy, Error, Queue};
use core::fmt;
use vb3_plane::MemOps;

/// A caller that sleeps in DQBUF, read() or write().
///
/// While it exists no other caller may dequeue, and buffers are not replaced. Dropping it ends the
/// wait: before the call is repeated, or when the caller abandons it (a signal, a timeout, the end of
/// a process).
///
/// # Context
/// `Send` and `Sync`. All its methods may run in any context, and without the queue.
#[must_use = "dropping it ends the wait"]
pub struct Wait {
    ownership: Arc<Ownership>,
    number: u64,
    seen: u64,
}

impl Wait {
    /// Whether the caller is to look again: something was done or dropped, the device failed, or
    /// streaming ended, since the wait began. Stays true.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let shared = &*self.ownership;
        shared.events() != self.seen
            || shared.has_pending()
            || shared.any_dropped()
            || shared.waiter() != self.number
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.ownership.end_wait(self.number);
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

impl<M: MemOps> Queue<M> {
    /// Begins the wait of a caller that got [`Error::WouldBlock`], before the host unlocks the queue.
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

    /// Whether a caller waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ownership.waiter() != 0
    }

    /// A number that grows with each event that a caller may wait for: a buffer was done or its token
    /// dropped, in any context; the device failed; streaming ended. If it grew since the host's last
    /// check, the host wakes all callers that wait or poll.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.ownership.events()
    }
}
