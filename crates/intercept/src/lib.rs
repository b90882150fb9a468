//! Answers an unmodified program's system calls on device files by seccomp user notification.
//!
//! [`Backend`](vb3_host::Backend) is what a host of devices offers; this crate knows how a program reaches it and
//! nothing of what the devices do. [`run`] starts a program and serves it and its children until
//! all of them are gone.
//!
//! # How
//! The program runs under a filter that notifies the supervisor of calls that may concern a
//! device; all others go to the kernel as ever. An open of a node is answered with a descriptor
//! of an empty memfd, from numbers kept for it (256 below 1024), so that the filter can tell
//! reads and writes of devices by their number. Its inode says which file it is, whatever becomes
//! of the descriptor: dup, fork, exec, passing it over a socket. poll and select are answered
//! here, other files in them borrowed; epoll sets get one object for each file, whose mask follows
//! the device's state; an mmap is rewritten in flight to map the buffer's own memfd. Calls that
//! close or copy a kept number are known before they are made; the end of a device file's inode
//! says when its last descriptor is gone, also after SIGKILL. A backend can make files that
//! have no path ([`Caller::install_file`](vb3_host::Caller::install_file)); they are device files in all but that.
//!
//! # Limits
//! * The program has `no_new_privs`: set-user-ID programs (sudo) gain nothing.
//! * A device's descriptor is not the lowest free number, nor is a copy of it by dup, unless a
//!   standard descriptor is free. After dup2 to a number outside the range, or when the descriptor
//!   comes over a socket, ioctl, mmap, poll, select, epoll, flock, fallocate, ftruncate, seals and
//!   leases are a device's. So are the others at numbers 0 to 2, but for write: pieces of 32 KiB and
//!   more to standard output arrive, smaller ones and those to another number fail (EINVAL). At
//!   other numbers read, write, sendfile and splice fail with EINVAL, and a note says so; what is
//!   not seen there is fstat (a regular file), lseek, pread (no bytes), pwrite (EPERM), fsync
//!   (nothing), a private mapping (a memfd's), and the last close, whose event epoll_wait may still
//!   deliver. lockf of more than one byte from the current position on is EOVERFLOW.
//! * A signal whose handler lacks SA_RESTART, and that comes in the microseconds before a
//!   notified call has been received, ends that call with EINTR, whatever call it is.
//! * 32-bit programs and opens through io_uring do not see the devices. A program that installs
//!   a seccomp listener of its own gets EBUSY.
//! * Record locks exclude other opens of a node where both descriptors have kept numbers. An exec that
//!   closes a shared file keeps its locks until the process ends.
//! * A dma-buf's mapping can be punched (MADV_REMOVE) and grown by mremap, past its end without
//!   memory; a kernel refuses both. Seals cannot: the one that forbids punching forbids mapping.
//! * A kernel pins the pages of a user pointer; here they are followed by a userfaultfd that a thread
//!   of the program makes (`pins`): moved, they get the frame where they are; unmapped, nobody does.
//!   Where it can have none (containers' default profiles, ptrace refused, a program with a filter of
//!   its own), for shared mappings of files on a disk and on arm64 before Linux 6.10, what is put in
//!   their place gets the bytes, and a note says so. A display cannot read what was unmapped after
//!   QBUF: a bus fault.
//! * Under strace or a debugger a mapping of a device fails with EPERM, and a note says why.
//! * If the supervisor is killed, every process of the run that has called it is, too. One that it
//!   never heard of goes on, and its calls fail with ENOSYS.
//! * No security boundary: arguments are copied once and then judged, but a program that means
//!   ill can reach the kernel by other ways.
//!
//! * Where pidfd_getfd is refused (containers, by default), each epoll_ctl, and each poll of a
//!   device together with sockets or other events, stops the calling thread for some tenths of a
//!   millisecond; and a device that is closed while another thread polls it ends that poll.
//!
//! Linux 6.1 or newer; before 6.6 calls are slow, before 5.19 no program is started. x86-64 and arm64
//! (`arch`). [`probe`] finds out what is missing.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may block"))]

mod descriptors;
mod error;
mod kernel;
mod memory;
mod note;
mod process;
mod program;
mod run;
mod service;
mod tree;
mod waiting;

pub use error::{Error, Feature};
#[doc(hidden)]
pub use kernel::may_block;
pub use note::Note;
pub use process::{Power, Powers, probe};
pub use program::{ExitReport, Leftover, Options, Program};
pub use run::run;
