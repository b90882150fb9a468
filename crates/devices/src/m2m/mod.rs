//! What memory-to-memory devices share: the two queues that one open file has, and what is kept of
//! a frame on its way from one to the other.

mod coder;
mod color;
mod converter;
mod decoder;
mod encoder;
mod loan;
mod meta;
mod pending;
mod process;
mod queue;
mod raw;
mod stateless;

pub(crate) use converter::FrameConverter;
pub(crate) use converter::formats as converter_formats;
pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;
pub(crate) use meta::Meta;
pub(crate) use pending::PendingFrames;
pub(crate) use process::CodecProcess;
pub(crate) use queue::{M2mQueue, M2mQueueDriver};
pub(crate) use raw::formats as codec_formats;
pub(crate) use stateless::StatelessDecoder;
pub(crate) use stateless::formats as stateless_formats;

#[cfg(test)]
pub(crate) mod tests;
