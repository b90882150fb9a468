//! Converts JPEG files to I420 pictures and back, with Rust crates.

mod decode;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
