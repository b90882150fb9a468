//! Locks for threads.

use crate::{Lock, Locks};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError, TryLockError};

/// The standard library's mutexes.
#[derive(Clone, Copy, Debug)]
pub struct Mutexes;

/// A lock of [`Mutexes`].
#[derive(Debug)]
pub struct MutexLock<T>(Mutex<T>);

impl Locks for Mutexes {
    type Lock<T> = MutexLock<T>;
}

impl<T> Lock<T> for MutexLock<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Mutexes that count, for the whole process, what all threads do with them.
#[derive(Clone, Copy, Debug)]
pub struct CountedLocks;

/// A lock of [`CountedLocks`].
#[derive(Debug)]
pub struct CountedLock<T>(Mutex<T>);

static TAKEN: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);
static CONTENDED: AtomicU64 = AtomicU64::new(0);

impl CountedLocks {
    /// Counts the locks that were taken so far.
    #[must_use]
    pub fn taken() -> u64 {
        TAKEN.load(SeqCst)
    }

    /// Counts the locks that are held now.
    #[must_use]
    pub fn held() -> u64 {
        HELD.load(SeqCst)
    }

    /// Counts how often a thread wanted a lock that another one held.
    #[must_use]
    pub fn contended() -> u64 {
        CONTENDED.load(SeqCst)
    }
}

impl Locks for CountedLocks {
    type Lock<T> = CountedLock<T>;
}

impl<T> Lock<T> for CountedLock<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = match self.0.try_lock() {
            Ok(value) => value,
            Err(TryLockError::WouldBlock) => {
                CONTENDED.fetch_add(1, SeqCst);
                self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
