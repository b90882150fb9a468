//! The list of devices attached to a memory, one kernel allocation per entry.

use crate::kernel::KBox;
use vb3_dmabuf::Store;

/// Identifies an attachment's entry by the entry's address.
/// C stores the key. The list compares a key with its entries, and does not follow the key as a pointer.
/// C detaches each attachment once, which removes its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Key(usize);

struct Node<T> {
    value: T,
    next: Option<KBox<Self>>,
}

impl<T> KBox<Node<T>> {
    fn key(&self) -> Key {
        Key(core::ptr::from_ref::<Node<T>>(self).addr())
    }
}

/// A bounded list, with the newest entry first.
pub struct List<T>(Option<KBox<Node<T>>>);

impl<T> List<T> {
    /// Maximum number of devices attached to one memory at a time.
    pub const LIMIT: usize = 4096;

    /// Makes an empty list.
    pub const fn new() -> Self {
        Self(None)
    }

    fn nodes(&self) -> impl Iterator<Item = &KBox<Node<T>>> {
        core::iter::successors(self.0.as_ref(), |node| node.next.as_ref())
    }

    fn unlink(&mut self, key: Key) -> Option<KBox<Node<T>>> {
        let mut link = &mut self.0;
        while link.as_ref().is_some_and(|node| node.key() != key) {
            link = &mut link.as_mut()?.next;
        }
        let mut node = link.take()?;
        *link = node.next.take();
        Some(node)
    }
}

impl<T> Drop for List<T> {
    #[inline]
    fn drop(&mut self) {
        // Drops entries one by one, since dropping the head would recurse through the whole list.
        let mut at = self.0.take();
        while let Some(mut node) = at {
            at = node.next.take();
        }
    }
}

impl<T> Store<T> for List<T> {
    type Key = Key;

    fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.len() >= Self::LIMIT {
            return Err(value);
        }
        let mut node = KBox::new(Node { value, next: None }).map_err(|node| node.value)?;
        node.next = self.0.take();
        let key = node.key();
        self.0 = Some(node);
        Ok(key)
    }

    fn get(&self, key: Key) -> Option<&T> {
        self.nodes()
            .find(|node| node.key() == key)
            .map(|node| &node.value)
    }

    fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let mut at = self.0.as_mut();
        while let Some(node) = at {
            if node.key() == key {
                return Some(&mut node.value);
            }
            at = node.next.as_mut();
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
        self.nodes().count()
    }

    fn next(&self, after: Option<Key>) -> Option<Key> {
        let mut nodes = self.nodes();
        if let Some(key) = after {
            nodes.find(|node| node.key() == key)?;
        }
        nodes.next().map(KBox::key)
    }
}
