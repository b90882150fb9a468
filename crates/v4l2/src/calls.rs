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
