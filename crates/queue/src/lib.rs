//! videobuf2's core queue: buffer states, memory models, hints and streaming.
//!
//! A [`Queue`] keeps the buffers that a program and a device pass to and fro. It asks
//! [`MemOps`] for the memory of their planes, tells a [`Driver`] what
//! happens, and gives the device an [`Active`] token for each buffer that it owns. It knows no
//! V4L2 structures, no addresses and no allocator, and does no I/O: it never sleeps, takes no
//! lock and reads no clock. A host that wants to wait asks again when
//! [`Queue::take_wake`] says so.
//!
//! Every call that may touch memory or the device takes both as arguments, so a host keeps one
//! memory for any number of queues.
//!
//! Source: Linux 7.2 `drivers/media/common/videobuf2/videobuf2-core.c`, differs: a buffer that
//! the device owns is a value; errors carry numbers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acquire;
mod active;
mod allocate;
mod bound;
mod buffer;
mod config;
mod done;
mod driver;
mod error;
mod fileio;
mod io;
mod make;
mod mmap;
mod poll;
mod prepare;
mod queue;
mod request;
mod stream;
#[cfg(test)]
mod tests;

pub use active::{Active, PlaneView, Stale};
pub use allocate::{Allocated, Created};
pub use bound::{Binding, Unbound};
pub use buffer::{
    BufferInfo, BufferState, PlaneInfo, PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer,
    Timecode,
};
pub use config::{Config, IoModes, Memory, QueueType, Requests, TimestampKind};
pub use driver::{Completion, DoneState, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare};
pub use error::{Busy, ConfigError, Error, Invalid};
pub use fileio::{Fault, Sink, Source};
pub use mmap::{MapAccess, is_m2m_capture};
pub use poll::{Interest, Readiness};
pub use queue::{Queue, Statistics};
pub use request::{
    BoundBuffer, MAX_REQUEST_BUFFERS, Request, RequestHost, RequestId, RequestState,
};
pub use vb3_plane::{
    Coherency, Constraint, Direction, ExportAccess, HintSkip, MemOps, PlaneError, Reason,
};
