//! What each ioctl does, by topic.

mod buffer;
mod codec;
pub(crate) mod control;
mod event;
mod ext;
pub(crate) mod format;
pub(crate) mod io;
mod port;
mod selection;
mod userbuf;

pub(crate) use ext::ExtOp;

use crate::Error;

/// How far a call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It succeeded; the structure goes back.
    Done,
    /// It failed, and the structure goes back all the same.
    Failed(Error),
    /// It must wait.
    Wait,
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done
    }
}
