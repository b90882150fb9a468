#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! A [`Queue`] keeps the buffers that a program and a device exchange. A [`Session`] joins it
//! with the memory of their planes ([`MemOps`]) and the device's [`Driver`], and has all
//! calls: REQBUFS, QBUF, DQBUF, STREAMON, … For each buffer that the device owns, the driver has
//! an [`Active`] token. The crate knows no V4L2 structures, no addresses and no allocator, and
//! does no I/O: it never sleeps, takes no lock and reads no clock.
//!
//! # Waiting, waking, completing
//!
//! 1. **The device finishes a buffer.** In the queue's own context, the host hands the token to
//!    [`Session::complete`]. In another one, an interrupt handler or a second thread, it pushes it
//!    to a list of [`Completions`], which the host keeps outside the queue, behind a lock that no
//!    sleeping call holds, and wakes the sleepers. A dropped token counts as finished, with an
//!    error.
//! 2. **The queue collects.** Before a call that depends on it (DQBUF, poll, read, write), or when
//!    woken, the host calls [`Session::collect`] with a closure that locks the list and pops one.
//!    Caches are synced for the CPU here.
//! 3. **A caller waits.** If DQBUF, read or write returns [`Error::WouldBlock`] and the caller may
//!    sleep, the host takes a [`Wait`] ([`Queue::wait`]), unlocks the queue, and sleeps until
//!    [`Wait::is_over`], which needs no lock. Then it drops the `Wait`, collects, and repeats the
//!    call. A host whose sleep can miss a wake-up checks `is_over` under the lock that step 1
//!    takes.
//! 4. **The host wakes others.** If [`Queue::event_count`] grew during a session, it wakes all callers
//!    that wait or poll.
//!
//! A buffer that leaves its media request is a call of the driver
//! ([`Driver::buf_request_complete`]), as in videobuf2.
//!
//! # Locks and threads
//!
//! | what | is | who serialises |
//! |---|---|---|
//! | [`Queue`] | `Send`, `Sync` where its memory's types are | the host, as Linux does by `q->lock` |
//! | [`Session`] | bound to one call; borrows its queue and driver alone, the memory with others | nobody |
//! | the memory ([`MemOps`]) | shared by all queues | its own locks; they are taken inside `q->lock` |
//! | [`Active`] | `Send`, `Sync` where the cookie is; any context | nobody: lock-free |
//! | [`Completions`] | `Send`, `Sync` where the cookie is; any context | a lock of the host, as `done_lock` |
//! | [`Wait`] | `Send`, `Sync`; any context | nobody: lock-free |
//! | all others | plain values | – |
//!
//! `tests/loom.rs` tries the orders of threads that drop, push, collect, sleep and stop, with two or
//! three preemptions.
//!
//! Source: Linux 7.2 `drivers/media/common/videobuf2/videobuf2-core.c`, differs: a buffer that
//! the device owns is a value; errors carry numbers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod acquire;
mod active;
mod allocate;
mod buffer;
mod completions;
mod config;
mod done;
mod driver;
mod error;
mod fences;
mod fileio;
mod io;
mod make;
mod mmap;
mod pieces;
mod poll;
mod prepare;
mod queue;
mod request;
mod request_buffer;
mod request_state;
mod session;
mod stream;
mod sync;
#[cfg(test)]
mod tests;
mod wait;

pub use active::{Active, PlaneView, Stale, Timecode};
pub use allocate::{Allocated, Created};
pub use buffer::{
    BufferInfo, BufferState, PlaneInfo, PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer,
};
pub use completions::{Completions, Finished};
pub use config::{
    Config, ConfigError, IoModes, MAX_PLANES, Memory, QueueType, Requests, TimestampKind,
};
pub use driver::{Completion, DoneState, Driver, DriverError, PlaneSizes, Prepare};
pub use error::{Busy, Error, Invalid};
pub use fileio::{Fault, Sink, Source};
pub use mmap::{MapAccess, is_m2m_capture};
pub use pieces::{Moved, Pieces};
pub use poll::{Interest, Readiness};
pub use queue::{Queue, Statistics};
pub use request::{BoundBuffer, MAX_REQUEST_BUFFERS, Request, RequestHost};
pub use request_buffer::Binding;
pub use request_state::{RequestId, RequestState};
pub use session::Session;
pub use vb3_plane::{
    Coherency, Constraint, Direction, ExportAccess, HintSkip, MemOps, PlaneError, Reason,
};
pub use wait::Wait;
