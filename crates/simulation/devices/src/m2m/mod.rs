//! Memory-to-memory devices: codecs and converters. Each open file is an `M2mDevice` with two queues.
//!
//! A decoder copies an OUTPUT buffer's bytes to memory that it shares with a codec process, and returns the
//! buffer. The frame's timestamp, timecode and flags are stored under a tag. When the process reports the
//! format, the program gets an event, allocates CAPTURE buffers and starts them, and the device lends them to
//! the process. A change of resolution and a drain end with a buffer marked LAST. After a seek, no earlier
//! picture appears.

mod codec_controls;
mod codecs;
mod color;
mod converter;
mod decoder;
mod device;
mod encoder;
mod encoder_controls;
mod loan;
mod picture;
mod process;
mod queue;
mod raw;
mod stateless;

pub(crate) use converter::FrameConverter;
pub(crate) use decoder::Decoder;
pub(crate) use encoder::Encoder;
pub(crate) use process::{CodecProcess, MAX_EVENTS};
pub(crate) use queue::M2mQueue;
pub(crate) use raw::formats as codec_formats;
pub use stateless::RequestReader;
pub(crate) use stateless::StatelessDecoder;

#[cfg(test)]
pub(crate) mod tests;
