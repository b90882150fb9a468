//! One open file of a device.

use crate::event::EventQueue;
use crate::pads::Pads;
use crate::priority::{Priorities, Priority};

/// An open file of a [`VideoDevice`](crate::VideoDevice). Handles are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileHandle(pub(crate) u64);

/// State of an open file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) priority: Priority,
    pub(crate) events: EventQueue,
    /// A subdevice's TRY state, once the file has set some of it.
    pub(crate) pads: Option<Pads>,
    /// `V4L2_SUBDEV_CLIENT_CAP_*`.
    pub(crate) client_caps: u64,
}

impl File {
    pub(crate) fn new(priorities: Priorities) -> Self {
        Self {
            priority: Priority::new(priorities),
            events: EventQueue::default(),
            pads: None,
            client_caps: 0,
        }
    }
}
