//! Takes locks of the standard library.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock even if a thread panicked while it held the lock: no thread panics in the middle of a change,
/// so the guarded data is consistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
