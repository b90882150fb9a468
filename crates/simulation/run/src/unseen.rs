//! Events that programs have not seen yet.

/// Events that wait until the front end takes them, shows them to programs and confirms that.
#[derive(Debug)]
pub(super) struct Unseen<T> {
    waiting: Vec<T>,
    /// Number of events that the front end is showing now.
    showing: usize,
}

impl<T> Default for Unseen<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            showing: 0,
        }
    }
}

impl<T> Unseen<T> {
    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = T>) {
        self.waiting.extend(more);
    }

    /// Returns the number of events that the front end has not taken.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all events, to show them.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.showing += self.waiting.len();
        std::mem::take(&mut self.waiting)
    }

    /// Confirms that programs see `count` more of the taken events.
    pub(super) fn shown(&mut self, count: usize) {
        self.showing = self.showing.saturating_sub(count);
    }

    /// Returns whether programs have not seen all events yet.
    pub(super) fn is_any(&self) -> bool {
        self.showing > 0 || !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_events_stay_unseen_while_others_are_shown() {
        let mut unseen = Unseen::default();
        unseen.extend([1, 2]);
        assert_eq!(unseen.take(), [1, 2]);
        unseen.extend([3]);
        assert_eq!(unseen.take(), [3]);
        unseen.shown(2);
        assert!(unseen.is_any());
        unseen.shown(1);
        assert!(!unseen.is_any());
    }
}
