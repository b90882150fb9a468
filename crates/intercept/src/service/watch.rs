//! Whether the clock looks at the receiver: between who serves calls and who sees that one stalls.

use crate::kernel::{AtomicBool, AtomicU64, Ordering};

/// What the receiver and the clock share without a lock.
///
/// # Invariants
/// While the receiver is at a call, the clock looks, or has been woken to look. Both ask by a swap of
/// `watched`: the one that comes second sees what the other wrote before.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The receiver's term, and in the lower bits its steps: odd while it is at a call.
    pub(crate) state: AtomicU64,
    /// The clock looks at the receiver.
    watched: AtomicBool,
}

impl Watch {
    /// The receiver is at a call from now on. True if the clock is to be woken, to look at it.
    pub(crate) fn step_in(&self) -> bool {
        self.state.fetch_add(1, Ordering::AcqRel);
        !self.watched.swap(true, Ordering::AcqRel)
    }

    /// The clock goes on looking.
    pub(crate) fn keep(&self) {
        self.watched.store(true, Ordering::Release);
    }

    /// The clock looks no more, as long as the receiver is where it was `seen`; false where it has
    /// moved on, so that the clock is to go on.
    pub(crate) fn rest(&self, seen: u64) -> bool {
        self.watched.swap(false, Ordering::AcqRel);
        let rests = self.state.load(Ordering::Acquire) == seen;
        if !rests {
            self.keep();
        }
        rests
    }
}
