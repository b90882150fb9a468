//! Programs' memory: copies for a call, and the pages that devices use.
//!
//! Other rooms import what this file exports, and nothing behind it.

mod copies;
mod gather;
mod pins;

pub(crate) use copies::{DeviceMemory, ProcFiles, Way};
pub(crate) use gather::Gathered;
pub(crate) use pins::{CREATE_FLAGS, Known, Pinnable, Pins, Space};
