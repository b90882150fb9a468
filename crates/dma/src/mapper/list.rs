//! A list that needs no heap for its first item, because most mapped memory is one run.

use super::heap_exhausted;
use crate::Error;
use alloc::vec::Vec;
use core::mem::ManuallyDrop;
use core::ops::{Deref, DerefMut};

/// A list of items, in order.
#[derive(Debug, Default)]
pub(super) enum List<T> {
    #[default]
    Empty,
    One(T),
    Many(Vec<T>),
}

impl<T> List<T> {
    pub(super) const fn new() -> Self {
        Self::Empty
    }

    /// Makes sure that `more` items (at least one) can be appended.
    ///
    /// # Errors
    /// `NoMemory`; the list is unchanged.
    #[inline]
    pub(super) fn reserve(&mut self, more: usize) -> Result<(), Error> {
        match self {
            Self::Empty if more <= 1 => Ok(()),
            _ => self.grow(more),
        }
    }

    fn grow(&mut self, more: usize) -> Result<(), Error> {
        let no_room = |_| heap_exhausted(size_of::<T>().saturating_mul(more));
        match self {
            Self::Many(items) => items.try_reserve(more).map_err(no_room),
            Self::Empty | Self::One(_) => {
                let mut items = Vec::new();
                items.try_reserve(more.saturating_add(1)).map_err(no_room)?;
                if let Self::One(first) = core::mem::take(self) {
                    items.push(first);
                }
                *self = Self::Many(items);
                Ok(())
            }
        }
    }

    /// Appends an item.
    ///
    /// # Errors
    /// `NoMemory`; the list is unchanged.
    #[inline]
    pub(super) fn push(&mut self, item: T) -> Result<(), Error> {
        if let Self::Empty = self {
            // Nothing is there to be dropped.
            let _ = ManuallyDrop::new(core::mem::replace(self, Self::One(item)));
            return Ok(());
        }
        self.reserve(1)?;
        if let Self::Many(items) = self {
            items.push(item);
        }
        Ok(())
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Empty => &[],
            Self::One(item) => core::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

impl<T> DerefMut for List<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Empty => &mut [],
            Self::One(item) => core::slice::from_mut(item),
            Self::Many(items) => items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::List;
    use std::rc::Rc;

    #[test]
    fn a_list_keeps_what_it_is_given_in_order() {
        let mut list = List::new();
        assert!(list.is_empty());
        for n in 0..9 {
            list.push(n).unwrap();
            assert!(list.iter().copied().eq(0..=n), "{list:?}");
            if let Some(last) = list.last_mut() {
                *last += 10;
                *last -= 10;
            }
        }
        let mut ready = List::new();
        ready.reserve(3).unwrap();
        assert!(ready.is_empty());
        ready.push(7).unwrap();
        ready.reserve(1).unwrap();
        assert_eq!(*ready, [7]);
        assert!(list.reserve(usize::MAX).is_err());
        assert!(list.iter().copied().eq(0..9), "nothing has changed");
        let mut one = List::One(5);
        assert!(one.reserve(usize::MAX).is_err());
        assert_eq!(*one, [5], "nothing has changed");
    }

    #[test]
    fn what_a_list_held_is_dropped_once() {
        let item = Rc::new(());
        for count in 0..5 {
            let mut list = List::default();
            for _ in 0..count {
                list.push(item.clone()).unwrap();
            }
            assert_eq!(Rc::strong_count(&item), count + 1);
            drop(list);
            assert_eq!(Rc::strong_count(&item), 1);
        }
    }
}
