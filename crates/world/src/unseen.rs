//! Events that programs have not seen yet.

/// Events that wait until the front end takes them, shows them to programs and confirms that.
#[derive(Debug)]
pub(super) struct Unseen<T> {
    waiting: Vec<T>,
    /// Whether the front end is showing events now.
    showing: bool,
}

impl<T> Default for Unseen<T> {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            showing: false,
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
        self.showing |= !self.waiting.is_empty();
        std::mem::take(&mut self.waiting)
    }

    /// Confirms that programs see the taken events.
    pub(super) fn shown(&mut self) {
        self.showing = false;
    }

    /// Returns whether programs have not seen all events yet.
    pub(super) fn is_any(&self) -> bool {
        self.showing || !self.waiting.is_empty()
    }
}
