//! One open file of a device.

use crate::event::EventQueue;
use crate::sys;

/// An open file of a [`VideoDevice`](crate::VideoDevice). Handles are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHandle(pub(crate) u64);

/// State of an open file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) priority: u32,
    pub(crate) events: EventQueue,
}

impl File {
    pub(crate) fn new() -> Self {
        Self {
            priority: sys::V4L2_PRIORITY_DEFAULT,
            events: EventQueue::default(),
        }
    }
}
