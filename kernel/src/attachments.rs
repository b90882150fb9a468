//! The list of devices attached to a memory. C provides the memory of each entry.
// UNSAFETY: entries are in memory from C. SOUNDNESS.md lists the conditions.

use core::cell::Cell;
use core::ffi::c_void;
use core::iter;
use core::ptr::{self, NonNull};
use vb3_dmabuf::Store;

/// Identifies an attachment by the address of its entry.
/// The list compares a key with its entries, and does not follow the key as a pointer.
/// C detaches each attachment once, which removes its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Key(*const c_void);

/// An entry of a [`List`].
pub struct Node<T> {
    value: T,
    next: Option<NonNull<Self>>,
}

impl<T> Node<T> {
    fn key(this: NonNull<Self>) -> Key {
        Key(this.as_ptr().cast())
    }
}

/// A bounded list, with the newest entry first.
pub struct List<T> {
    first: Option<NonNull<Node<T>>>,
    /// Memory for the next entry.
    room: Cell<Option<NonNull<Node<T>>>>,
}

impl<T> List<T> {
    /// Maximum number of devices attached to one memory at a time.
    pub const LIMIT: usize = 4096;

    /// Makes an empty list.
    pub const fn new() -> Self {
        Self {
            first: None,
            room: Cell::new(None),
        }
    }

    /// Provides the memory for the next entry.
    ///
    /// # Safety
    /// The memory must have the size of a [`Node`], the alignment of u64, and no other user. If the next
    /// insertion succeeds, the memory must outlive the entry.
    pub unsafe fn provide(&self, room: NonNull<c_void>) {
        const { assert!(align_of::<Node<T>>() <= align_of::<u64>()) };
        self.room.set(Some(room.cast()));
    }

    fn nodes(&self) -> impl Iterator<Item = NonNull<Node<T>>> {
        // SAFETY: an entry exists while it is in the list.
        iter::successors(self.first, |node| unsafe { node.as_ref() }.next)
    }

    /// Returns the values, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: an entry exists while it is in the list.
        self.nodes().map(|node| unsafe { &node.as_ref().value })
    }

    fn find(&self, key: Key) -> Option<NonNull<Node<T>>> {
        self.nodes().find(|node| Node::key(*node) == key)
    }

    fn unlink(&mut self, key: Key) -> Option<NonNull<Node<T>>> {
        let mut link = &mut self.first;
        while let Some(mut node) = *link {
            // SAFETY: an entry exists while it is in the list, which is borrowed exclusively.
            let next = unsafe { &mut node.as_mut().next };
            if Node::key(node) == key {
                *link = next.take();
                return Some(node);
            }
            link = next;
        }
        None
    }
}

impl<T> Store<T> for List<T> {
    type Key = Key;

    fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.len() >= Self::LIMIT {
            return Err(value);
        }
        let Some(room) = self.room.take() else {
            return Err(value);
        };
        let next = self.first;
        // SAFETY: `provide` got memory for an entry, which this call takes.
        unsafe { room.write(Node { value, next }) };
        self.first = Some(room);
        Ok(Node::key(room))
    }

    fn get(&self, key: Key) -> Option<&T> {
        // SAFETY: an entry exists while it is in the list.
        self.find(key).map(|node| unsafe { &node.as_ref().value })
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        // SAFETY: an entry exists while it is in the list, which is borrowed exclusively.
        self.find(key)
            .map(|mut node| unsafe { &mut node.as_mut().value })
    }

    fn remove(&mut self, key: Key) -> bool {
        // SAFETY: the entry is no longer in the list, so nothing uses the value again.
        self.unlink(key)
            .map(|node| unsafe { ptr::drop_in_place(node.as_ptr()) })
            .is_some()
    }

    fn len(&self) -> usize {
        self.nodes().count()
    }

    fn next(&self, after: Option<Key>) -> Option<Key> {
        let mut nodes = self.nodes();
        if let Some(key) = after {
            nodes.find(|node| Node::key(*node) == key)?;
        }
        nodes.next().map(Node::key)
    }
}
