//! Locks, which the host brings.

use core::cell::RefCell;

/// Keeps a value for one context at a time.
///
/// While the layer holds a lock, it does not call the host, does not allocate or free, and does not
/// take a second lock. Long work is split, so that each hold takes a few hundred instructions, or a
/// few thousand if an address space has many thousands of ranges. Two operations take longer. A
/// search for aligned addresses in a space without an aligned free block may visit all free runs
/// that are long enough. A list of memory that could not be unmapped is moved when it grows. A host whose interrupt handlers call the layer uses a lock that disables
/// interrupts; a host with threads only uses a mutex.
///
/// # What the implementer owes
/// `with` runs `act` exactly once, and no two at the same time for one value.
///
/// # Examples
/// ```
/// use std::sync::{Mutex, PoisonError};
/// use vb3_dma::{Lock, Locks};
///
/// struct Mutexes;
/// struct Guarded<T>(Mutex<T>);
///
/// impl Locks for Mutexes {
///     type Lock<T> = Guarded<T>;
/// }
///
/// impl<T> Lock<T> for Guarded<T> {
///     fn new(value: T) -> Self {
///         Self(Mutex::new(value))
///     }
///     fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
///         act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
///     }
/// }
/// ```
pub trait Lock<T> {
    /// A lock around a value.
    fn new(value: T) -> Self;

    /// Lets `act` have the value, alone.
    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R;
}

/// A kind of lock.
pub trait Locks {
    /// The lock around a value.
    type Lock<T>: Lock<T>;
}

/// No locks, for a host that calls the layer from one context only. Mappers with it are not `Sync`,
/// so no other context can use them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLocks;

impl Locks for NoLocks {
    type Lock<T> = RefCell<T>;
}

impl<T> Lock<T> for RefCell<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    #[inline]
    fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        // Cannot be borrowed already: `act` never calls this function again.
        act(&mut self.borrow_mut())
    }
}
