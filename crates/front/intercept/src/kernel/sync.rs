//! The synchronisation types of shared data. `tests/loom.rs` replaces these types with loom's, and the
//! clock with a simulated one, to try all interleavings.

use std::sync::{MutexGuard, PoisonError};

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};
pub(crate) use std::time::Instant;

/// Takes a lock even if a thread panicked while it held the lock: no thread panics in the middle of a change,
/// so the guarded data is consistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
