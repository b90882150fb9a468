//! The implementation of each ioctl, by topic.

mod buffer;
mod codec;
pub(crate) mod control;
mod event;
mod ext;
pub(crate) mod format;
pub(crate) mod io;
mod port;
mod receiver;
mod selection;
mod subdev;
mod userbuf;

pub(crate) use ext::ExtOp;

use crate::Error;

/// How far a call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It succeeded; the structure is copied out.
    Done,
    /// It failed; the structure is copied out nevertheless.
    Failed(Error),
    /// It cannot finish yet, and must be repeated.
    Wait,
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}
