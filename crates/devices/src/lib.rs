//! Cameras and displays: drivers of a queue that move pixels by DMA address.
//!
//! A [`Device`] is what its [`DeviceSpec`](spec::DeviceSpec) says, the text by which a person asks
//! for one. A camera plays a [`source`] (a test pattern or a clip) into the buffers it is given; a
//! display shows the buffers it is given and hands what it showed to a [`sink`]. All reach memory only
//! through the [`Bus`](vb3_v4l2::Bus) that their host passes in, by the address the buffer carries.
#![forbid(unsafe_code)]

pub mod convert;
pub mod picture;
pub mod sink;
pub mod source;
pub mod spec;

#[cfg(test)]
mod bench;
mod beside;
mod camera;
mod device;
mod display;
mod disturb;
mod failure;
mod fault;
mod inject;
mod loopback;
mod m2m;
mod mode;
mod place;
mod registry;
mod ring;
mod scaler;
mod select;
mod shots;
mod streaming;
mod surface;

pub use device::Device;
pub use failure::Failure;
pub use fault::{FaultHit, FaultSchedule, FrameFault, FrameFaults, MAX_CORRUPT};
pub use loopback::Link;
use m2m::{Decoder, Encoder, FrameConverter, StatelessDecoder};
pub use place::Place;
