//! What has happened and programs are yet to see.

/// Things that a front end takes to show programs, and says when it has.
#[derive(Debug)]
pub(super) struct Unseen<T> {
    waiting: Vec<T>,
    /// Some are being shown.
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

    /// How many nobody has taken.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all, to show them.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.showing |= !self.waiting.is_empty();
        std::mem::take(&mut self.waiting)
    }

    /// Programs see what was taken.
    pub(super) fn shown(&mut self) {
        self.showing = false;
    }

    /// Whether programs have yet to see something.
    pub(super) fn is_any(&self) -> bool {
        self.showing || !self.waiting.is_empty()
    }
}
