//! Locks, which the host provides.

use core::cell::RefCell;

/// A host's kind of lock. A lock is around a value, so that only one context uses the value at a time.
///
/// While the layer holds a lock, it does not call the host, and does not allocate or free. In one case only, it holds
/// two locks: when it gives an index to a device that the host does not number, it takes the lock of the device list,
/// and inside that the lock of the device. So `with` of one value may run inside `with` of another.
///
/// The layer splits long work, so that it holds a lock for a few hundred instructions at a time, or a few thousand if
/// an address space has many thousands of ranges. Three operations take longer. A search for aligned addresses may visit
/// all free runs that are long enough, if the space has no aligned free block. The growth of a list copies items: an
/// eighth of the table of counted memory. After unmaps of callers' memory have failed, an allocation searches the list
/// of this memory.
///
/// A host whose interrupt handlers call the layer uses a lock that disables interrupts. For a host that has threads but
/// no such handlers, a mutex suffices.
///
/// # Requirements on the implementer
/// `with` runs `act` exactly once. Two calls for one lock never run `act` at the same time.
pub trait Locks {
    /// The lock around a value of type `T`.
    type Lock<T>;

    /// Makes a lock around a value.
    fn new_lock<T>(value: T) -> Self::Lock<T>;

    /// Calls `act` with exclusive access to the lock's value.
    fn with<T, R>(lock: &Self::Lock<T>, act: impl FnOnce(&mut T) -> R) -> R;
}

/// No locks, for a host that calls the layer from one context only. Mappers with `NoLocks` are not `Sync`,
/// so no other context can use them.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLocks;

impl Locks for NoLocks {
    type Lock<T> = RefCell<T>;

    fn new_lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    #[inline]
    fn with<T, R>(lock: &RefCell<T>, act: impl FnOnce(&mut T) -> R) -> R {
        // No panic: the cell is not borrowed already, because `act` never uses the same lock again.
        act(&mut lock.borrow_mut())
    }
}
