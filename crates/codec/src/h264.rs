//! H.264 by openh264.

mod decode;
mod encode;
mod params;
mod raw;

pub(crate) use decode::Decoder;
pub(crate) use encode::Encoder;
pub use params::Params;
