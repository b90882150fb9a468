//! Cameras, codecs, converters, displays and loopbacks: drivers that move pixels by DMA address.
//!
//! A [`Device`] is made from its [`DeviceSpec`](spec::DeviceSpec), which is the parsed text of a user's
//! request. A camera plays a [`source`] (a test pattern or a clip) into its buffers. A display shows its
//! buffers and passes the pictures to a [`sink`]. All devices reach memory only through the host's
//! [`Bus`](vb3_v4l2::Bus), by the addresses in their buffers. They work in *ticks*: calls by the host, at the
//! times that a device names or when its descriptor is readable.
#![forbid(unsafe_code)]

pub mod description;
mod picture_converter;
pub mod sink;
pub mod source;
pub mod spec;

mod beside;
mod camera;
mod device;
mod display;
mod disturb;
mod failure;
mod fault;
mod graph;
mod hdmi;
mod inject;
mod kms;
mod lock;
mod loopback;
mod m2m;
mod metadata;
mod mode;
mod node;
mod notes;
mod place;
mod registry;
mod ring;
mod scaler;
mod select;
mod shots;
mod shown;
mod streaming;
mod surface;

pub use device::Device;
pub use failure::{Failure, PlayError};
pub use fault::{FaultHit, FaultSchedule, FrameFault, FrameFaults, MAX_CORRUPT};
pub use hdmi::Signal;
pub use kms::{BusFailed, CARD_FORMATS, Layer, Picture, Scan, Screen};
pub use loopback::{Link, LoopbackAttribute, Placeholder};
#[doc(hidden)]
pub use m2m::RequestReader;
use m2m::{Decoder, Encoder, FrameConverter, StatelessDecoder};
pub use node::NodeSpec;
pub use notes::Note;
pub use place::HostSettings;
pub use shown::{BufferPlanes, LastShown};

#[cfg(test)]
mod tests {
    pub(crate) mod bench;
}
