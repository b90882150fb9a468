//! Cameras, codecs, converters, displays and loopbacks: drivers that move pixels by DMA address.
//!
//! A [`Device`] is made for a [`NodeSpec`], a node of a [`DeviceSpec`](spec::DeviceSpec), which is the parsed text
//! of a user's request. A camera plays a [`source`] (a test pattern or a clip) into its buffers. A display shows its
//! buffers and passes the pictures to a [`sink`]. All devices reach memory only through the host's
//! [`Bus`](vb3_v4l2::Bus), by the addresses in their buffers. They work in *ticks*: calls by the host, at the
//! times that a device names or when its descriptor is readable.
#![forbid(unsafe_code)]

pub mod description;
pub mod sink;
pub mod source;
pub mod spec;

mod camera;
mod choice;
mod colors;
mod control;
mod conversion;
mod convert_thread;
mod device;
mod display;
mod failure;
mod fault;
mod graph;
mod hdmi;
mod hosted;
mod inject;
mod kms;
mod likeness;
mod limits;
mod lock;
mod loopback;
mod m2m;
mod metadata;
mod mode;
mod node;
mod picture_converter;
mod registry;
mod rhythm;
mod ring;
mod scaler;
mod select;
mod settings;
mod streaming;
mod surface;
mod text;
mod worker;

pub use choice::Placeholder;
pub use device::{Device, DeviceEvent};
pub use failure::{Failure, PlayError};
pub use fault::{FaultHit, FaultSchedule, FrameFault, FrameFaults, MAX_CORRUPT};
pub use hdmi::Signal;
pub use kms::{BusFailed, CARD_FORMATS, Layer, Picture, Scan, Screen, Target};
pub use loopback::{Link, LoopbackAttribute};
#[doc(hidden)]
pub use m2m::RequestReader;
pub use node::NodeSpec;
pub use registry::{KINDS, Row};
pub use settings::HostSettings;
pub use sink::LastShown;
pub use surface::BufferPlanes;

#[cfg(test)]
mod tests {
    pub(crate) mod bench;
}
