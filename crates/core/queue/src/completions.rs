//! Buffers that a device finished in another context than the queue's.

use crate::{Active, Completion, Error, Invalid};
use alloc::collections::VecDeque;

/// Buffers that an interrupt handler or another thread has finished, oldest first. They wait here
/// until the queue's own context collects them ([`Session::collect`](crate::Session::collect)).
///
/// The host keeps the list outside the queue, behind a separate lock that no sleeping call holds:
/// in a kernel a spinlock with interrupts off, in a program a mutex. The list takes no lock and
/// allocates only in [`new`](Self::new).
///
/// # Context
/// `Send` and `Sync` if the cookie is. [`push`](Self::push) and [`pop`](Self::pop) do not sleep and
/// may run in interrupt handlers.
///
/// Source: Linux 7.2 `vb2_queue`, `done_list` and `done_lock`, differs: caches are synced for the
/// CPU when the buffer is collected, not in the interrupt handler.
#[derive(Debug)]
pub struct Completions<C> {
    list: VecDeque<(Active<C>, Completion)>,
    limit: usize,
}

impl<C> Completions<C> {
    /// Makes an empty list for a queue of at most `max_num_buffers`
    /// ([`Config::max_num_buffers`](crate::Config::max_num_buffers)).
    ///
    /// # Errors
    /// [`Error::NoMemory`] (ENOMEM).
    pub fn new(max_num_buffers: u32) -> Result<Self, Error> {
        let none = Error::no_memory(max_num_buffers.into());
        let limit = usize::try_from(max_num_buffers).map_err(|_| none)?;
        let mut list = VecDeque::new();
        list.try_reserve_exact(limit).map_err(|_| none)?;
        Ok(Self { list, limit })
    }

    /// Finishes a buffer. The host then wakes the threads that sleep with a [`Wait`](crate::Wait) on the
    /// queue, and they collect the buffer.
    ///
    /// # Errors
    /// [`Invalid::Stale`]: the device no longer owns the buffer, or the list is full. The list can be full only if
    /// several queues push to it; the buffer then returns with an error.
    pub fn push(&mut self, token: Active<C>, completion: Completion) -> Result<(), Error> {
        if token.is_stale() {
            return Err(Invalid::Stale.into());
        }
        if self.list.len() >= self.limit {
            self.drop_stale();
        }
        if self.list.len() >= self.limit {
            return Err(Invalid::Stale.into());
        }
        token.ownership.add_pending();
        self.list.push_back((token, completion));
        Ok(())
    }

    /// Removes and returns the oldest buffer, with its completion.
    pub fn pop(&mut self) -> Option<(Active<C>, Completion)> {
        let (token, completion) = self.list.pop_front()?;
        token.ownership.sub_pending();
        Some((token, completion))
    }

    /// Removes buffers whose streaming was stopped while they waited, to make room.
    fn drop_stale(&mut self) {
        self.list.retain(|(token, _)| {
            let is_live = !token.is_stale();
            if !is_live {
                token.ownership.sub_pending();
            }
            is_live
        });
    }
}

impl<C> Drop for Completions<C> {
    fn drop(&mut self) {
        // Uncollected buffers return with an error, like every dropped token.
        while self.pop().is_some() {}
    }
}
