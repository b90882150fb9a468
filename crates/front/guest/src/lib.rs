#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod device;
#[doc(hidden)]
pub mod fuzz;
mod hidden;
mod memory;
mod payload;
mod protocol;
mod remarks;
mod serve;
mod session;
mod shared;
mod window;

pub use device::Options;
pub use serve::{Error, Event, Note, serve};
