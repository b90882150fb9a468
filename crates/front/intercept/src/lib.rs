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
//! The page `docs/limits.md` of the repository has the limits that users meet first. These are the others.
//!
//! Descriptor numbers:
//!
//! * When a program opens a device, it does not get the lowest free number, but one of the reserved range. When it
//!   copies the descriptor by dup(), it gets a free standard descriptor (0 to 2) if there is one, else another number
//!   of the range.
//! * When a program maps a device, the supervisor installs the buffer's memfd in the program for a moment. If the
//!   program has no free number for it, mmap fails with EMFILE.
//! * A device's descriptor has a number outside the reserved range if the program has chosen the number (dup2), or has
//!   received the descriptor over a socket. The filter does not recognise such a number, so the supervisor sees only
//!   a part of the calls on it:
//!   * ioctl, mmap, poll, select, epoll, fallocate, ftruncate, seals and leases work as on a device.
//!   * If a program polls more than 64 descriptors, and received one of them over a socket, the supervisor may need
//!     some milliseconds to find out that this one is a device. Until then, the poll reports it as ready.
//!   * If the number is 0, 1 or 2, all other calls work as on a device, too, except write and writev. The filter
//!     reports a write to standard output only if its length is at least 4 KiB or a multiple of 64 bytes, so that
//!     printing stays fast. Such a write reaches the device. Any other write fails with EINVAL.
//!   * If the number is higher, read, write, sendfile and splice fail with EINVAL, and the user gets a note. The
//!     kernel executes all remaining calls on the memfd: fstat shows a regular file, pread returns no bytes, pwrite
//!     fails with EPERM, and fsync has no effect; lseek moves the memfd's position, and a private mapping shows the
//!     memfd. After the last close, epoll_wait may still return an event of the device.
//!   * lockf fails with EOVERFLOW if it locks more than one byte from the current position.
//!
//! Epoll sets:
//!
//! * The supervisor holds a duplicate of each epoll set that contains a device. So the kernel keeps a set that the
//!   program has closed. If the closed set is itself in another set, the other set goes on to report the closed set's
//!   events, until the last device in the closed set is closed. When the supervisor holds 64 sets, and again when
//!   twice as many are left, it looks which of them no program holds any more, and closes its duplicates of these.
//! * If a program polls a device together with an epoll set, the supervisor polls the set in the program's place. If
//!   the set contains a signalfd, the kernel then looks for signals of the supervisor instead of the program's. So the
//!   poll does not report a signal, and the set loses the signalfd's event.
//! * A program may pass epoll_wait a buffer on a page that another of its threads fills (userfaultfd). The kernel holds
//!   the set's lock until the page is filled. The supervisor needs this lock when a device in the set changes. It
//!   waits at most 200 ms before another thread takes over, so answers to other programs may be late by this time,
//!   once.
//!
//! Paths and memory:
//!
//! * Programs open many files below /usr, /lib, /lib64, /etc, /bin, /sbin and /opt when they start. To keep this fast,
//!   the supervisor looks there only at paths that end in a node's name. If a program opens a symbolic link
//!   to a node there that has another name, the kernel opens the link and fails with ENOENT.
//! * A program can punch holes into the mapping of a dma-buf. The seal that would forbid it also forbids all writable
//!   mappings. A program can also extend the mapping (mremap), but an access behind the buffer's end gets a SIGBUS.
//! * A kernel pins the pages of a user pointer, and the device writes to them. Here, QBUF copies the bytes in, and
//!   DQBUF copies them out. So the program sees no byte of a frame before DQBUF. If it unmaps, moves or replaces the
//!   memory between the two calls, the frame goes to the memory that is at the address at DQBUF, if any. The frame is
//!   lost if the stream is stopped before DQBUF, or if another process calls DQBUF than called QBUF.
//!
//! Signals:
//!
//! * ppoll and pselect6 take a mask of signals. If a signal arrives that only this mask admits, the supervisor stops
//!   the calling thread with ptrace, so that the kernel runs the handler. If the program runs under strace or a
//!   debugger, the supervisor cannot stop the thread, and the signal does not end the call.
//! * If a signal is sent to a process that waits in a call on a device, the supervisor may send SIGURG or SIGWINCH to
//!   it, which do nothing by default. strace and debuggers show them. If the program has handlers for both, and
//!   ptrace is refused, then a signal ends a thread's wait with EINTR, even if its handler has SA_RESTART.
//! * A signal to all processes (from a service manager, or by kill -1) reaches the programs twice: from the sender,
//!   and from the supervisor, which passes on what it gets. A signal to the process group also reaches the programs
//!   twice if the program has one thread and has made fewer calls than the guard needs to start (`process::guard`).
//! * Many containers forbid pidfd_getfd. If then one thread closes a device while another thread polls it, the poll
//!   ends.
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
pub use note::Note;
pub use process::{Power, Powers, end_by_interrupt, probe};
pub use program::{ExitReport, Leftover, Options, Program};
pub use run::run;
