//! The host's tables of objects.

use core::fmt;

/// A table in which the host stores objects under keys.
///
/// A kernel host implements it over its own allocations; `Slab` (feature `alloc`) is a table for a process.
pub trait Store<T> {
    /// Names an object while it is in the table. Tables reuse keys so late that an old key finds no new
    /// object.
    type Key: Copy + Eq + fmt::Debug;

    /// Puts an object into the table.
    ///
    /// # Errors
    /// Returns the object when the table is full or memory is short; callers then fail with ENOMEM.
    fn insert(&mut self, value: T) -> Result<Self::Key, T>;

    /// Returns the object of a key.
    fn get(&self, key: Self::Key) -> Option<&T>;

    /// Returns the object of a key for changing it.
    fn get_mut(&mut self, key: Self::Key) -> Option<&mut T>;

    /// Drops an object, without moving it if the table can. Returns false if the key names no object.
    fn remove(&mut self, key: Self::Key) -> bool;

    /// Returns the number of objects.
    fn len(&self) -> usize;

    /// Returns whether the table has no objects.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the key after `after` in a fixed order, or the first key; `None` after the last. The object of
    /// `after` may have been changed but not removed.
    fn next(&self, after: Option<Self::Key>) -> Option<Self::Key>;
}
