//! Answers an unmodified program's system calls on device files by seccomp user notification.
//!
//! [`Backend`] is what a host of devices offers; this crate knows how a program reaches it and
//! nothing of what the devices do. [`run`] starts a program and serves it and its children until
//! all of them are gone.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "intercept answers system calls by their x86-64 Linux numbers and rewrites x86-64 registers; \
     other systems are not supported yet"
);

mod backend;
mod child;
mod dispatch;
mod epoll;
mod error;
mod files;
mod filter;
mod held;
mod host;
mod launch;
mod listener;
mod listing;
mod memory;
mod mmap;
mod note;
mod open;
mod path;
mod pending;
mod poll;
mod procs;
mod program;
mod raw;
mod reap;
mod rewrite;
mod run;
mod select;
mod serve;
mod signal;
mod stat;
mod sysfs;
mod transfer;

pub use backend::{
    Access, Backend, CallId, Caller, Errno, FdIdentity, FileId, Map, Mmap, Node, NodeId, Outcome,
    Tag,
};
pub use error::{Error, Feature};
pub use memory::ProcessMemory;
pub use note::Note;
pub use program::{ExitReport, Options, Program};
pub use run::run;
