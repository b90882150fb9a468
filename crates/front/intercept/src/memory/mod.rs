//! Programs' memory: copies for a call, and the pages that devices use.

mod copies;
mod gather;
mod pins;

pub(crate) use copies::{Copier, CopyMethod, ProcFiles};
pub(crate) use gather::Gathered;
pub(crate) use pins::{CREATE_FLAGS, Known, Pins, Space, UserMemory};
