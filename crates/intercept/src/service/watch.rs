//! The receiver's progress, and whether the clock thread checks it. These two threads share this state: the
//! receiver serves calls, and the clock thread finds stalls.

use crate::kernel::{AtomicBool, AtomicU64, Ordering};

/// The state that the receiver and the clock share without a lock.
///
/// # Invariants
/// While the receiver serves a call, the clock checks the receiver, or is being woken to do so. Both
/// sides swap `watched`: the side that swaps second sees what the other side wrote before its swap.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The receiver's term, and in the lower bits a count of its steps: odd while it serves a call.
    pub(crate) state: AtomicU64,
    watched: AtomicBool,
}

impl Watch {
    /// Records that the receiver begins a call. Returns true if the caller must wake the clock, which then
    /// checks the receiver.
    pub(crate) fn step_in(&self) -> bool {
        self.state.fetch_add(1, Ordering::AcqRel);
        !self.watched.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn keep(&self) {
        self.watched.store(true, Ordering::Release);
    }

    /// Stops the clock's checks if the state is still `seen`. Returns false if the receiver has moved on:
    /// the clock must then continue its checks.
    pub(crate) fn rest(&self, seen: u64) -> bool {
        self.watched.swap(false, Ordering::AcqRel);
        let rests = self.state.load(Ordering::Acquire) == seen;
        if !rests {
            self.keep();
        }
        rests
    }
}
