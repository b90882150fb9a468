//! A clock that the host sets, and that calls of the layer read.

use crate::Locks;
use core::fmt;
#[cfg(target_has_atomic = "64")]
use core::marker::PhantomData;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicU64, Ordering};

/// A time in nanoseconds that threads share: an atomic, or a lock on targets without 64-bit atomics.
pub struct Clock<L: Locks> {
    #[cfg(target_has_atomic = "64")]
    ns: AtomicU64,
    #[cfg(target_has_atomic = "64")]
    locks: PhantomData<fn() -> L>,
    #[cfg(not(target_has_atomic = "64"))]
    ns: L::Lock<u64>,
}

impl<L: Locks> fmt::Debug for Clock<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.get()).finish()
    }
}

#[cfg(target_has_atomic = "64")]
impl<L: Locks> Clock<L> {
    /// Makes a clock that shows zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ns: AtomicU64::new(0),
            locks: PhantomData,
        }
    }

    /// Returns the time in nanoseconds.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.ns.load(Ordering::Relaxed)
    }

    /// Sets the time in nanoseconds.
    pub fn set(&self, ns: u64) {
        self.ns.store(ns, Ordering::Relaxed);
    }

    /// Sets the time to `ns` unless the clock is already later, and returns the time.
    pub fn advance(&self, ns: u64) -> u64 {
        self.ns.fetch_max(ns, Ordering::Relaxed).max(ns)
    }
}

#[cfg(not(target_has_atomic = "64"))]
impl<L: Locks> Clock<L> {
    /// Makes a clock that shows zero.
    #[must_use]
    pub fn new() -> Self {
        let ns = crate::Lock::new(0);
        Self { ns }
    }

    /// Returns the time in nanoseconds.
    #[must_use]
    pub fn get(&self) -> u64 {
        crate::Lock::with(&self.ns, |now| *now)
    }

    /// Sets the time in nanoseconds.
    pub fn set(&self, ns: u64) {
        crate::Lock::with(&self.ns, |now| *now = ns);
    }

    /// Sets the time to `ns` unless the clock is already later, and returns the time.
    pub fn advance(&self, ns: u64) -> u64 {
        crate::Lock::with(&self.ns, |now| {
            *now = ns.max(*now);
            *now
        })
    }
}

impl<L: Locks> Default for Clock<L> {
    fn default() -> Self {
        Self::new()
    }
}
