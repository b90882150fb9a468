//! The interface between devices and the programs that use them.
//!
//! [`Devices`] answer calls on their files. A front end passes the calls of programs to them. `vb3-intercept` passes
//! the calls of unmodified processes; other front ends pass those of guests or of simulated programs. Devices and front
//! ends know each other only through this crate.
//!
//! A [`Call`] is plain data, so devices cannot reach the caller. They make one *step* at a time, under the
//! front end's lock:
//!
//! 1. [`Devices::call`] reads what the front end has [`Gathered`], mostly by a [`Step`]. If data is missing, it
//!    changes nothing and returns [`Outcome::Need`]. The front end gathers this data without the lock, and
//!    calls again.
//! 2. [`Outcome::Done`] holds [`Effects`]: bytes for the program's memory, and descriptors to make. The front end
//!    carries them out after it has released the lock. If it cannot make a descriptor, it reports the end of the file
//!    or memory behind this descriptor.
//!
//! So a program whose memory or descriptors are slow delays only itself. [`perform`] does all of this for
//! programs whose memory and descriptors a front end reaches without waiting.
//!
//! All numbers have Linux's values: errno, `O_*`, `PROT_*`, `MAP_*` and `POLL*` bits, ioctl requests.

#![forbid(unsafe_code)]

mod backend;
mod call;
mod errno;
mod gathered;
mod id;
mod image;
mod node;
mod origin;
mod perform;
mod step;
#[cfg(test)]
mod tests;
mod write;

pub use backend::{Backend, CallOutcome, Devices, Map, Mmap, PIECE_BYTES, ProcessFiles, WakeFd};
pub use call::{Call, Effects, FileAccess, Install, Made, NumberAt, On, Op, Outcome};
pub use errno::Errno;
pub use gathered::{Descriptor, Detail, Gathered, MAX_GATHERED, Need, UserRange};
pub use id::{CallId, FdIdentity, FileId, NodeId, Tag};
pub use image::Image;
pub use node::{BusDevice, Change, Hotplug, Node, NodeKind};
pub use origin::{Client, Label, Origin, Owner};
pub use perform::{Perform, Program, perform};
pub use step::{Ioctl, Step};
pub use write::{Bytes, Write};
