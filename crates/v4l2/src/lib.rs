#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bus;
mod bytes;
mod calls;
pub mod cid;
mod codec;
mod context;
pub mod control;
pub mod decode;
mod device;
mod dispatch;
mod driver;
mod error;
mod event;
mod file;
mod format;
mod gate;
mod media;
pub mod pixfmt;
mod program;
mod progress;
mod refusal;
mod request;
mod requests;
mod selection;
mod stream;
pub mod sys;

pub use bus::{Bus, BusFault, HostSpan, InPlace, Span};
pub use calls::io::{POLL_ERR, POLL_IN, POLL_OUT, POLL_PRI};
pub use codec::{Command, CommandSet};
pub use context::Context;
pub use control::{ControlFlags, ControlKind, ControlSpec, ControlValue};
pub use device::{CallContext, DeviceStatistics, Interest, Opener, Outcome, VideoDevice};
pub use driver::{Flow, FormatFlags, Identity, Port, QueuePolicy, Role, VideoDriver};
pub use error::{Errno, Error};
pub use file::FileHandle;
pub use format::{
    Colorimetry, Format, Fraction, FrameIntervals, FrameSizes, Planarity, PlaneLayout,
};
pub use media::{MEDIA_MAJOR, MediaDevice, MediaFunction};
pub use pixfmt::{FourCc, PixelFormat};
pub use program::Program;
pub use progress::{DriverEvent, EventKinds, Finished, FrameFlags, Progress, Statistics};
pub use refusal::Refusal;
pub use selection::{Rect, SelectionFlags, SelectionTarget};

#[cfg(test)]
mod tests;
