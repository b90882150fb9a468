//! What memory-to-memory devices share: the two queues that one open file has, and what is kept of
//! a frame on its way from one to the other.

mod decoder;
mod lane;
mod meta;

pub use decoder::Decoder;
pub(crate) use lane::{Lane, LaneDriver};
pub(crate) use meta::Meta;
