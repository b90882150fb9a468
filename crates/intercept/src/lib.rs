//! Answers an unmodified program's system calls on device files by seccomp user notification.
//!
//! [`Backend`] is what a host of devices offers; this crate knows how a program reaches it and
//! nothing of what the devices do.

mod backend;

pub use backend::{
    Access, Backend, Caller, Errno, FdIdentity, FileId, Map, Mmap, Node, NodeId, Outcome,
};
