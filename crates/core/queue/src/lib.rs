#![doc = include_str!("../README.md")]
//! # How the parts work together
//!
//! A [`Queue`] stores the buffers that a program and a device exchange. A [`Session`] connects it with the
//! memory of the planes ([`MemOps`]) and the device's [`Driver`] for one call. A session's methods are the
//! calls: REQBUFS, QBUF, DQBUF, STREAMON, … For each buffer that the device owns, the driver has an
//! [`Active`] token. The crate knows no V4L2 structures, addresses or allocators. It does no I/O, takes no
//! lock and reads no clock. It sleeps only if the memory or the driver does.
//!
//! # Waiting, waking, completing
//!
//! 1. **The device finishes a buffer.** A thread that holds the queue's lock passes the token to
//!    [`Session::complete`]. An interrupt handler or a second thread pushes the token to a list of
//!    [`Completions`] instead, and wakes the sleeping callers. The host keeps this list outside the
//!    queue, behind a lock that no sleeping call holds. A dropped token finishes its buffer with an
//!    error.
//! 2. **The queue collects.** The host calls [`Session::collect`] before DQBUF, poll, read and write,
//!    and after a wake-up. It passes a closure that locks the list and pops one finished buffer.
//!    Collecting syncs caches for the CPU.
//! 3. **A caller waits.** If DQBUF, read or write returns [`Error::WouldBlock`] and the caller may
//!    sleep, the host takes a [`Wait`] ([`Queue::wait`]), unlocks the queue, and sleeps until
//!    [`Wait::is_over`], which needs no lock. Then it drops the `Wait`, collects, and repeats the
//!    call. A host whose sleep can miss a wake-up checks `is_over` under the lock that step 1
//!    takes.
//! 4. **The host wakes others.** If [`Queue::event_count`] grew during a session, it wakes all callers
//!    that wait or poll.
//!
//! When a buffer leaves its media request, the queue calls [`Driver::buf_request_complete`], as
//! videobuf2 does.
//!
//! # Locks and threads
//!
//! | type | threads and contexts | calls are serialised by |
//! |---|---|---|
//! | [`Queue`] | `Send`, `Sync` if its memory's types are | a lock of the host (in Linux, `q->lock`) |
//! | [`Session`] | one call; borrows queue and driver exclusively, the memory shared | its borrows |
//! | the memory ([`MemOps`]) | shared by all queues | its own locks, taken inside `q->lock` |
//! | [`Active`] | `Send`, `Sync` if the cookie is; any context | not needed: lock-free |
//! | [`Completions`] | `Send`, `Sync` if the cookie is; any context | a lock of the host (in Linux, `done_lock`) |
//! | [`Wait`] | `Send`, `Sync`; any context | not needed: lock-free |
//! | all others | plain values | – |
//!
//! `tests/loom.rs` checks threads that drop, push, collect, sleep and stop, in all orders with at most
//! two or three preemptions.
//!
//! Source: Linux 7.2 `drivers/media/common/videobuf2/videobuf2-core.c`. Differs: a token that cannot be
//! copied stands for a buffer that the device owns, and errors carry the values that explain a refusal.
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

pub use active::{Active, PlaneView};
pub use buffer::{BufferInfo, BufferState, PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer};
pub use completions::Completions;
pub use config::{Config, IoModes, MAX_PLANES, Memory, QueueType, Requests};
pub use driver::{Completion, Driver, PlaneSizes, Prepare};
pub use error::{Busy, DriverError, Error, Invalid};
pub use fileio::Source;
pub use mmap::is_m2m_capture;
pub use pieces::Pieces;
pub use queue::{Queue, Statistics};
pub use request::{BoundBuffer, Request, RequestHost};
pub use request_state::{RequestId, RequestState};
pub use session::Session;
pub use vb3_plane::{Coherency, Constraint, Direction, HintSkip, MemOps, PlaneError, Reason};
pub use wait::Wait;
