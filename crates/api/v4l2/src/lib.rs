#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arrays;
mod bus;
mod bytes;
mod calls;
pub mod cid;
pub mod client;
mod codec;
mod context;
mod contexts;
pub mod control;
pub mod decode;
mod device;
mod dispatch;
mod driver;
mod error;
mod event;
mod file;
mod flow;
mod format;
mod gate;
mod graph;
mod handler;
mod media;
mod pads;
pub mod pixfmt;
mod poll;
mod priority;
mod program;
mod progress;
mod receiver;
mod refusal;
mod request;
mod requests;
mod selection;
mod shown;
mod stream;
pub mod sys;
mod wake;

pub use bus::{
    Bus, BusFault, CopyFault, HostSpan, InPlace, Lines, Peer, Span, SpanReader, SpanWriter,
};
pub use codec::{Command, CommandSet};
pub use context::Context;
pub use contexts::FlowProgress;
pub use control::{CompoundType, ControlFlags, ControlKind, ControlSpec, ControlValue, Master};
pub use device::{DeviceStatistics, Interest, Opener, VideoDevice};
pub use driver::{
    FormatFlags, Identity, Port, QueuePolicy, Role, VideoDriver, Waiter, with_queue_driver,
};
pub use error::Error;
pub use file::FileHandle;
pub use flow::Flow;
pub use format::{Colorimetry, Format, Fraction, FrameIntervals, FrameSizes, Planarity};
pub use graph::{
    EntityNode, EntitySpec, Flipping, Flips, Follows, Gain, LinkSpec, MOSAICS, MediaGraph, PadSpec,
    Refused, Sensor, SensorMode, Topology, clamp_colors,
};
pub use handler::class_name;
pub use media::{MEDIA_MAJOR, MediaDevice, MediaFunction};
pub use pads::{MbusFormat, Pads};
pub use pixfmt::{FourCc, PixelFormat, PlaneLayout};
pub use poll::{POLL_ERR, POLL_IN, POLL_OUT, POLL_PRI};
pub use program::{CallContext, Export, Program, V4l2Outcome};
pub use progress::{DriverEvent, EventKinds, Finished, FrameFlags, Progress, Statistics};
pub use receiver::{EDID_BLOCK, MAX_EDID_BLOCKS, NoTimings, Receiver, Timings};
pub use refusal::{Refusal, Shortage};
pub use request::{array_of, ioctl_of_code};
pub use selection::{Rect, SelectionFlags, SelectionTarget};
pub use vb3_frontend::Errno;
pub use wake::{Wake, WakeFd, WakeId};

#[cfg(test)]
mod tests;
