//! Answers an unmodified program's system calls on device files with seccomp user notification.
//!
//! A host of devices implements [`Backend`](vb3_frontend::Backend). This crate connects programs to it
//! and knows nothing about the devices' work. [`run`] starts a program and answers its calls, and
//! its children's calls, until all of them have ended.
//!
//! # How it works
//! The program runs under a seccomp filter. The filter notifies the *supervisor*, which is this process, of
//! calls that may concern a device. The kernel executes all other calls as usual.
//!
//! * **Opens.** The open of a node returns a descriptor of an empty memfd. Its number comes from a
//!   reserved range (256 numbers below 1024), so that the filter recognises reads and writes of
//!   devices. The memfd's inode identifies the file after dup, fork, exec or passing it over a socket.
//! * **Waits.** The supervisor answers poll and select. For such a call, it borrows the program's other
//!   polled files. An epoll set gets one substitute object per device file. The object's event mask follows
//!   the device's state.
//! * **Mappings.** The supervisor stops the caller of mmap with ptrace and changes the call's arguments, so
//!   that the call maps the buffer's own memfd.
//! * **Closes.** Before a call closes or copies a reserved number, the filter reports the call. When the
//!   last descriptor of a device file is closed, the kernel frees the memfd's inode. The supervisor
//!   notices this, also after SIGKILL.
//! * **Files without a path.** A backend can make further device files with
//!   [`Made::File`](vb3_frontend::Made::File).
//!
//! # Limits
//! `docs/limits.md` in the repository has the limits that users meet first. Others are:
//!
//! * A device's descriptor is not the lowest free number, and neither is a copy by dup. For a copy, a free
//!   standard descriptor (0 to 2) is used first.
//! * mmap of a device needs a free descriptor number for a moment. Without one it fails with EMFILE.
//! * dup2 or a socket can give a device's descriptor a number outside the reserved range:
//!   * At any such number ioctl, mmap, poll, select, epoll, flock, fallocate, ftruncate, seals and
//!     leases work as on a device.
//!   * A poll of more than 64 descriptors may not recognise a number from a socket for some milliseconds.
//!     Until then, it reports the number as ready.
//!   * At numbers 0 to 2, all calls except write and writev work as on a device. A write to standard output
//!     reaches the device if its length is at least 4 KiB or a multiple of 64 bytes. Other writes fail with
//!     EINVAL.
//!   * At higher numbers read, write, sendfile and splice fail with EINVAL, and a note says so. Other
//!     calls act on the memfd: fstat shows a regular file, pread reads no bytes, pwrite fails with EPERM,
//!     fsync has no effect, and lseek and private mappings use the memfd. After the last close, epoll_wait
//!     may still deliver an event of the file.
//!   * lockf of more than one byte from the current position fails with EOVERFLOW.
//! * The supervisor holds a duplicate of each epoll set that has a device. If a program closes such a set while
//!   it is in another set, the other set reports it until its last device is closed. From 64 sets on, the
//!   supervisor searches for such sets and drops them.
//! * A poll of a device and an epoll set does not see a signalfd in that set, and takes its event from the set.
//! * Below /usr, /lib, /lib64, /etc, /bin, /sbin and /opt, a link to a node must have the node's name. Other
//!   names there are left to the kernel (ENOENT), so that programs start fast.
//! * Seals cannot prevent that a program punches holes in a dma-buf's mapping or extends it: the seal against
//!   punching also forbids mapping. The part past the buffer's end has no memory.
//! * A kernel pins the pages of a user pointer. Here its bytes are copied in at QBUF and out at DQBUF. So the
//!   program sees no byte of a frame earlier, and what it unmaps, moves or replaces in between gets no frame or, at
//!   the same address, the frame that was meant for the memory before. If another process than QBUF's calls DQBUF, or
//!   the stream is stopped first, the bytes are lost.
//! * The kernel holds an epoll set's lock while it writes events to a page that the program serves. If a
//!   device in this set changes then, answers to other programs may be 200 ms late, once.
//! * Under strace or a debugger, a signal that only the mask of a ppoll or pselect6 admits does not end the call.
//!   At a signal to the process, the tracer may also see a SIGURG or SIGWINCH from `vb3`, which does nothing. If
//!   ptrace is refused, or the program handles both, such a signal ends a thread's wait with EINTR, despite
//!   SA_RESTART.
//! * A signal that is sent to all processes (by a service manager, or kill -1) reaches programs twice. So does one
//!   to the process group, if the program has one thread and made few calls.
//! * If pidfd_getfd is refused (containers by default), and a device is closed while another thread polls it,
//!   that poll ends.
//!
//! Runs on Linux 5.19 and newer on x86-64 and arm64 (`arch`). Calls are slow before 6.6, and no program
//! starts before 5.19. [`probe`] finds out which features are missing.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may block"))]

// Modules import only the exports of another directory's `mod.rs`; `cargo xtask tidy` checks this.
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
pub use kernel::video_call;
pub use note::Note;
pub use process::{Power, Powers, end_by_interrupt, probe};
pub use program::{ExitReport, Leftover, Options, Program};
pub use run::run;
