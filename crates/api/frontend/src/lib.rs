//! The interface between devices and the programs that use them.
//!
//! A [`Backend`] hosts devices and answers calls on their files. A front end passes programs' calls to
//! the backend, and implements [`Caller`], through which the backend reaches the calling program.
//! `intercept` is a front end that intercepts system calls of unmodified programs. Backend and front end
//! know each other only through this crate.
//!
//! [`Call`], [`Step`] and [`Outcome`] are the plain data that take the place of [`Caller`]: a step takes bytes and
//! returns effects.
//!
//! All numbers have Linux's values: errno, `O_*`, `PROT_*`, `MAP_*` and `POLL*` bits, ioctl requests.

#![forbid(unsafe_code)]

mod backend;
mod call;
mod caller;
mod errno;
mod gathered;
mod id;
mod node;
mod step;
#[cfg(test)]
mod tests;

pub use backend::{Backend, CallOutcome, Map, Mmap, PIECE_BYTES, WakeFd};
pub use call::{Bytes, Call, Effects, Install, Made, NumberAt, On, Op, Origin, Outcome, Write};
pub use caller::{Access, Caller, ProcessMemory};
pub use errno::Errno;
pub use gathered::{Descriptor, Detail, Gathered, MAX_GATHERED, Need, UserRange};
pub use id::{CallId, FdIdentity, FileId, NodeId, Tag};
pub use node::{BusDevice, Hotplug, Node, NodeKind};
pub use step::Step;
