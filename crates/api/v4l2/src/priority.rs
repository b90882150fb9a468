//! Priorities of open files, which all nodes of a device share.
//!
//! Source: Linux 7.2 drivers/media/v4l2-core/v4l2-dev.c `v4l2_prio_init` and the functions after it.

use crate::{Error, sys};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of open files with each priority.
#[derive(Clone, Debug, Default)]
pub(crate) struct Priorities(Arc<[AtomicUsize; 4]>);

impl Priorities {
    fn count(&self, level: u32) -> Option<&AtomicUsize> {
        self.0.get(usize::try_from(level).ok()?)
    }

    /// Returns the highest priority of any file.
    pub(crate) fn highest(&self) -> u32 {
        let has_files = |level: &u32| {
            let count = self.count(*level);
            count.is_some_and(|count| count.load(Ordering::Relaxed) > 0)
        };
        let levels = (sys::V4L2_PRIORITY_BACKGROUND..=sys::V4L2_PRIORITY_RECORD).rev();
        let mut levels = levels.filter(has_files);
        levels.next().unwrap_or(sys::V4L2_PRIORITY_UNSET)
    }
}

/// A file's priority. The device counts it until this value is dropped.
#[derive(Debug)]
pub(crate) struct Priority {
    level: u32,
    pub(crate) all: Priorities,
}

impl Priority {
    /// Makes the initial priority of a file.
    pub(crate) fn new(all: Priorities) -> Self {
        let made = Self {
            level: sys::V4L2_PRIORITY_DEFAULT,
            all,
        };
        made.add(1);
        made
    }

    /// Adds `change`, 1 or -1, to the number of files with this priority.
    fn add(&self, change: isize) {
        if let Some(count) = self.all.count(self.level) {
            count.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        }
    }

    /// Sets the priority. EINVAL for an unknown one.
    pub(crate) fn set(&mut self, wanted: u32) -> Result<(), Error> {
        if !(sys::V4L2_PRIORITY_BACKGROUND..=sys::V4L2_PRIORITY_RECORD).contains(&wanted) {
            return Err(Error::Invalid);
        }
        self.add(-1);
        self.level = wanted;
        self.add(1);
        Ok(())
    }

    /// Returns whether another file has a higher priority.
    pub(crate) fn is_outranked(&self) -> bool {
        self.level < self.all.highest()
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        self.add(-1);
    }
}
