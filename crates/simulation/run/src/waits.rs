//! The programs that wait for devices, for time or for buffers.

use crate::standstill::Standstill;
use std::collections::BTreeSet;
use vb3_frontend::FileId;

/// Who waits for what, and for whom something has changed.
#[derive(Debug, Default)]
pub(super) struct Waits {
    /// Files whose state may have changed since the front end last asked.
    pub(super) changed: BTreeSet<FileId>,
    /// Files that a program polled or called in vain since virtual time last advanced.
    pub(super) files: BTreeSet<FileId>,
    /// Whether poll on a dma-buf may return other events than before.
    pub(super) buffers_changed: bool,
    /// Whether a program found a dma-buf busy and waits for it.
    pub(super) for_buffers: bool,
    /// How long virtual time has waited for devices that prepare data.
    pub(super) standstill: Standstill,
}

impl Waits {
    /// Ends the wait on a file, because a call on it need not wait. Other callers that wait look again, which
    /// records them again.
    pub(super) fn end(&mut self, file: FileId) {
        if self.files.remove(&file) {
            self.changed.insert(file);
        }
    }

    /// Forgets a file that was released.
    pub(super) fn forget(&mut self, file: FileId) {
        self.changed.remove(&file);
        self.files.remove(&file);
    }

    /// Moves the changed files to `files`. Unlike a new set, the emptied one need not be allocated again.
    pub(super) fn take_changed(&mut self, files: &mut Vec<FileId>) {
        files.extend(std::iter::from_fn(|| self.changed.pop_first()));
    }

    /// Returns whether a program waits for time to advance.
    pub(super) fn is_any(&self) -> bool {
        !self.files.is_empty() || self.for_buffers
    }

    /// Wakes all programs that wait. A program that finds nothing again is recorded as waiting again, so that
    /// time advances further.
    pub(super) fn wake_all(&mut self) {
        self.changed.append(&mut self.files);
        self.buffers_changed |= std::mem::take(&mut self.for_buffers);
    }
}
