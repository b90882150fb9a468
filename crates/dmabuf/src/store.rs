//! Where objects are put: the host's tables.

use core::fmt;

/// A table of objects that the host places and finds again by key.
///
/// A kernel home implements it over its own allocations; `Slab` (feature `alloc`) is one for a
/// process.
pub trait Store<T> {
    /// Names an object for as long as it is in the table. A key is not used again soon enough
    /// to be mistaken for an older one.
    type Key: Copy + Eq + fmt::Debug;

    /// Puts an object in.
    ///
    /// # Errors
    /// Gives the object back when the table is full or memory is short; callers answer ENOMEM.
    fn insert(&mut self, value: T) -> Result<Self::Key, T>;

    /// Finds an object.
    fn get(&self, key: Self::Key) -> Option<&T>;

    /// Finds an object to change it.
    fn get_mut(&mut self, key: Self::Key) -> Option<&mut T>;

    /// Takes an object out.
    fn remove(&mut self, key: Self::Key) -> Option<T>;

    /// Takes an object out and drops it, which a table may do without moving it; whether there was
    /// one.
    fn discard(&mut self, key: Self::Key) -> bool {
        self.remove(key).is_some()
    }

    /// Number of objects.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key after `after` in a fixed order, or the first; `None` past the last. Removing
    /// `after` before the call is not allowed; changing objects is.
    fn next(&self, after: Option<Self::Key>) -> Option<Self::Key>;
}
