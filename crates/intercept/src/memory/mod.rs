//! Programs' memory: copies for a call, and the pages that devices use.
//!
//! Modules in other folders import only the exports of this file.

mod copies;
mod gather;
mod pins;

pub(crate) use copies::{CopyMethod, ProcFiles};
pub(crate) use gather::Gathered;
pub(crate) use pins::{CREATE_FLAGS, Known, Pins, Space, Tracked};
