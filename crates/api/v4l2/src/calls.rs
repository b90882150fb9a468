//! The implementation of each ioctl, by topic.

mod buffer;
mod codec;
pub(crate) mod control;
mod event;
mod ext;
pub(crate) mod format;
mod io;
mod port;
mod receiver;
mod selection;
mod subdev;
mod userbuf;

pub(crate) use ext::ExtOp;

use crate::Error;

/// The result of one attempt at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The call succeeded. The structure is copied out.
    Done,
    /// The call failed. The structure is copied out nevertheless.
    Failed(Error),
    /// The call cannot finish yet, and must be repeated.
    Wait,
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}
