//! The list of devices attached to a memory, one kernel allocation per entry.

use crate::kernel::KBox;
use vb3_dmabuf::Store;

/// Identifies an entry. A key is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Returns the key as a number that is not zero.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the key with this number. The list decides whether an entry has it.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

struct Node<T> {
    key: Key,
    value: T,
    next: Option<KBox<Self>>,
}

/// A bounded list, newest first.
pub struct List<T> {
    head: Option<KBox<Node<T>>>,
    len: usize,
    last: u64,
}

impl<T> List<T> {
    /// Most devices attached to one memory at a time.
    pub const LIMIT: usize = 4096;

    /// Makes an empty list.
    pub const fn new() -> Self {
        Self {
            head: None,
            len: 0,
            last: 0,
        }
    }

    fn node(&self, key: Key) -> Option<&Node<T>> {
        let mut at = self.head.as_deref();
        while let Some(node) = at {
            if node.key == key {
                return Some(node);
            }
            at = node.next.as_deref();
        }
        None
    }

    fn unlink(&mut self, key: Key) -> Option<KBox<Node<T>>> {
        let mut link = &mut self.head;
        while link.as_ref().is_some_and(|node| node.key != key) {
            link = &mut link.as_mut()?.next;
        }
        let mut node = link.take()?;
        *link = node.next.take();
        self.len = self.len.saturating_sub(1);
        Some(node)
    }
}

impl<T> Drop for List<T> {
    #[inline]
    fn drop(&mut self) {
        // Drops entries one by one, since dropping the head would recurse through the whole list.
        let mut at = self.head.take();
        while let Some(mut node) = at {
            at = node.next.take();
        }
    }
}

impl<T> Store<T> for List<T> {
    type Key = Key;

    fn insert(&mut self, value: T) -> Result<Key, T> {
        let (Some(last), true) = (self.last.checked_add(1), self.len < Self::LIMIT) else {
            return Err(value);
        };
        let key = Key(last);
        let node = Node {
            key,
            value,
            next: None,
        };
        let mut node = KBox::new(node).map_err(|node| node.value)?;
        node.next = self.head.take();
        self.head = Some(node);
        self.len = self.len.wrapping_add(1);
        self.last = last;
        Ok(key)
    }

    fn get(&self, key: Key) -> Option<&T> {
        self.node(key).map(|node| &node.value)
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let mut at = self.head.as_deref_mut();
        while let Some(node) = at {
            if node.key == key {
                return Some(&mut node.value);
            }
            at = node.next.as_deref_mut();
        }
        None
    }

    fn remove(&mut self, key: Key) -> Option<T> {
        self.unlink(key).map(|node| node.into_inner().value)
    }

    fn discard(&mut self, key: Key) -> bool {
        self.unlink(key).is_some()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn next(&self, after: Option<Key>) -> Option<Key> {
        match after {
            None => self.head.as_ref().map(|node| node.key),
            Some(key) => self.node(key)?.next.as_ref().map(|node| node.key),
        }
    }
}
