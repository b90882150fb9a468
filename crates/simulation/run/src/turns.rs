//! A queue whose items are checked a few at a time.

use std::collections::VecDeque;

/// Items that are checked in rotation, so that the cost of a check does not depend on their number.
#[derive(Debug)]
pub(super) struct Turns<T>(VecDeque<T>);

impl<T> Turns<T> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Adds an item at the end of the rotation.
    pub(super) fn push(&mut self, thing: T) {
        self.0.push_back(thing);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks the next `most` items. Removes and returns those that `is_gone` accepts.
    pub(super) fn take_gone(&mut self, most: usize, is_gone: impl Fn(&T) -> bool) -> Vec<T> {
        let looked_at = most.min(self.0.len());
        let (gone, kept): (Vec<T>, Vec<T>) = self.0.drain(..looked_at).partition(is_gone);
        self.0.extend(kept);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn all_get_a_turn_within_the_limit() {
        let mut turns = Turns::new();
        (0..10).for_each(|n| turns.push(n));
        let looks = Cell::new(0);
        let is_odd = |n: &i32| {
            looks.set(looks.get() + 1);
            n % 2 == 1
        };
        assert_eq!(turns.take_gone(4, is_odd), [1, 3]);
        assert_eq!(looks.get(), 4);
        assert_eq!(turns.take_gone(4, is_odd), [5, 7]);
        assert_eq!(turns.take_gone(4, is_odd), [9]);
        assert_eq!(looks.get(), 12);
        assert_eq!(turns.0.iter().copied().collect::<Vec<_>>(), [4, 6, 8, 0, 2]);
        assert!(turns.take_gone(usize::MAX, is_odd).is_empty());
        assert_eq!((looks.get(), turns.len()), (17, 5));
    }
}
