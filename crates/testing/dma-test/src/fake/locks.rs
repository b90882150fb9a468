//! Locks for tests with threads.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError, TryLockError};
use vb3_dma::Locks;

/// The standard library's mutexes.
#[derive(Clone, Copy, Debug)]
pub struct Mutexes;

impl Locks for Mutexes {
    type Lock<T> = Mutex<T>;

    fn new_lock<T>(value: T) -> Mutex<T> {
        Mutex::new(value)
    }

    #[inline]
    fn with<T, R>(lock: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut lock.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Mutexes with counters of their use by all threads of the process.
#[derive(Clone, Copy, Debug)]
pub struct CountedLocks;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);
static CONTENDED: AtomicU64 = AtomicU64::new(0);

impl CountedLocks {
    /// Returns how often any of the locks was taken so far.
    #[must_use]
    pub fn taken() -> u64 {
        TAKEN.load(SeqCst)
    }

    /// Returns the number of locks held now.
    #[must_use]
    pub fn held() -> u64 {
        HELD.load(SeqCst)
    }

    /// Returns how often a thread waited for a lock that another thread held.
    #[must_use]
    pub fn contended() -> u64 {
        CONTENDED.load(SeqCst)
    }
}

impl Locks for CountedLocks {
    type Lock<T> = Mutex<T>;

    fn new_lock<T>(value: T) -> Mutex<T> {
        Mutex::new(value)
    }

    fn with<T, R>(lock: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = match lock.try_lock() {
            Ok(value) => value,
            Err(TryLockError::WouldBlock) => {
                CONTENDED.fetch_add(1, SeqCst);
                lock.lock().unwrap_or_else(PoisonError::into_inner)
            }
            Err(TryLockError::Poisoned(err)) => err.into_inner(),
        };
        TAKEN.fetch_add(1, SeqCst);
        HELD.fetch_add(1, SeqCst);
        let result = act(&mut value);
        HELD.fetch_sub(1, SeqCst);
        result
    }
}
