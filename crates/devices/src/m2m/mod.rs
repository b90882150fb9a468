//! What memory-to-memory devices share: the two queues that one open file has, and what is kept of
//! a frame on its way from one to the other.

mod converter;
mod decoder;
mod encoder;
mod hired;
mod lane;
mod memo;
mod meta;
mod raw;

pub use converter::FrameConverter;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub(crate) use hired::Hired;
pub(crate) use lane::{Lane, LaneDriver};
pub(crate) use memo::Memos;
pub(crate) use meta::Meta;

#[cfg(test)]
mod tests;
