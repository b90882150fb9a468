//! The right to wait for programs, and the lock under which no thread may wait.
//!
//! A program's pages, file systems, threads and descriptors may answer late or never. A step of the devices
//! must not wait for them, since it holds the lock of all devices. Each thread therefore owns one token, a
//! [`MayBlock`]. Every helper that can wait borrows the token, and the lock borrows it exclusively. The
//! compiler therefore rejects a helper that waits under the lock:
//!
//! ```compile_fail,E0502
//! use std::time::Duration;
//! use vb3_intercept::may_block::{MayBlock, RunLock, sleep};
//!
//! let run = RunLock::new(7);
//! let mut may = MayBlock::of_this_thread();
//! run.apply(&mut may, |_| sleep(&may, Duration::ZERO));
//! ```
//!
//! Before and after a step, waiting is allowed:
//!
//! ```
//! use std::time::Duration;
//! use vb3_intercept::may_block::{MayBlock, RunLock, sleep};
//!
//! let run = RunLock::new(7);
//! let mut may = MayBlock::of_this_thread();
//! sleep(&may, Duration::ZERO);
//! assert_eq!(run.apply(&mut may, |number| *number), 7);
//! sleep(&may, Duration::ZERO);
//! ```
//!
//! Calls that only the kernel answers need no token: files in /proc (except a program's memory), the
//! supervisor's memfds, calls that never block. `clippy.toml` lists the calls that only a few modules may
//! use.

#![expect(
    clippy::disallowed_methods,
    reason = "the functions borrow a MayBlock token"
)]

use core::cmp::Ordering;
use std::cell::Cell;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use rustix::event::epoll;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::path::Arg;
use vb3_frontend::Errno;

use crate::kernel::reaper::{Apart, reaper};
use crate::kernel::{Locked, Workers, lock, raw};

thread_local! {
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// One thread's right to wait for programs. See the module's documentation.
#[derive(Debug)]
pub struct MayBlock {
    /// Keeps the token in its thread.
    _of_thread: PhantomData<*const ()>,
}

impl MayBlock {
    /// Takes the calling thread's token. Dropping it returns the token.
    ///
    /// # Panics
    /// Panics if the thread's token is already taken.
    #[must_use]
    pub fn of_this_thread() -> Self {
        assert!(!TAKEN.replace(true), "a thread has one token");
        Self {
            _of_thread: PhantomData,
        }
    }
}

impl Drop for MayBlock {
    fn drop(&mut self) {
        TAKEN.set(false);
    }
}

/// A value that all threads share under one lock.
pub struct RunLock<T> {
    inner: Mutex<T>,
    /// Held by the thread that gets the lock next.
    next: Mutex<()>,
    reaper: Workers,
}

impl<T> RunLock<T> {
    /// Makes the shared value.
    pub fn new(inner: T) -> Self {
        Self {
            inner: inner.into(),
            next: Mutex::default(),
            reaper: reaper(),
        }
    }

    /// Runs one step under the lock. The step cannot wait for programs, since the lock borrows the token.
    pub fn apply<R>(&self, may: &mut MayBlock, step: impl FnOnce(&mut T) -> R) -> R {
        step(&mut self.lock(may))
    }

    /// Takes the lock in order of arrival. So the clock thread, which runs device work, does not keep calls
    /// waiting.
    pub(crate) fn lock<'m>(&'m self, _: &'m mut MayBlock) -> Locked<'m, T> {
        let _next = lock(&self.next);
        Locked::new(lock(&self.inner), &self.reaper)
    }

    /// Acts without the lock. As under the lock, other threads close the borrowed files that this drops, since a
    /// close may wait for a program.
    pub(crate) fn apart<R>(&self, act: impl FnOnce() -> R) -> R {
        let _apart = Apart::new(&self.reaper);
        act()
    }

    /// Returns whether a thread waits for the lock.
    pub(crate) fn is_wanted(&self) -> bool {
        self.next.try_lock().is_err()
    }
}

/// Sleeps for a duration.
pub fn sleep(_: &MayBlock, time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn open(_: &MayBlock, path: impl Arg, flags: i32) -> Result<OwnedFd, Errno> {
    raw::open_any(path, flags)
}

/// Makes a descriptor with O_PATH, with the options of `openat2`. An empty path names the directory itself.
pub(crate) fn openat2(
    _: &MayBlock,
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let path = if path.is_empty() { b"." } else { path };
    rustix::fs::openat2(dir, path, flags, Mode::empty(), how).map_err(raw::err)
}

/// Returns the metadata of a path, with `flags` of `fstatat`.
pub(crate) fn stat(_: &MayBlock, path: impl Arg, flags: i32) -> Result<rustix::fs::Stat, Errno> {
    raw::stat_any(path, flags)
}

/// Returns the magic number of an open file's file system.
pub(crate) fn kind_of_system(_: &MayBlock, fd: &OwnedFd) -> Option<u64> {
    Some(rustix::fs::fstatfs(fd).ok()?.f_type.cast_unsigned())
}

pub(crate) fn readlink(_: &MayBlock, path: impl Arg) -> Result<Vec<u8>, Errno> {
    raw::readlinkat(rustix::fs::CWD, path)
}

pub(crate) fn readlinkat(
    _: &MayBlock,
    dir: BorrowedFd<'_>,
    name: impl Arg,
) -> Result<Vec<u8>, Errno> {
    raw::readlinkat(dir, name)
}

/// Returns the current poll events of programs' files, each for its requested events.
pub(crate) fn poll(_: &MayBlock, files: &[(impl AsFd, i16)]) -> Vec<i16> {
    raw::poll_all_now(files.iter().map(|(file, events)| (file.as_fd(), *events)))
}

/// Returns whether two threads share a descriptor table; `None` if the kernel refuses to compare. May wait for an exec
/// of one of the threads.
pub(crate) fn share_table(_: &MayBlock, a: u32, b: u32) -> Option<bool> {
    const KCMP_FILES: libc::c_int = 2;
    let order = raw::kcmp((a, b), KCMP_FILES, (0, 0));
    order.ok().map(|order| order == 0)
}

/// Compares a descriptor of this process with descriptor `fd` of process `pid`, in the kernel's order of open files.
/// Equal descriptors refer to the same open file. May wait for an exec of the process. Returns EPERM or ENOSYS if the
/// kernel refuses to compare.
pub(crate) fn compare_files(
    _: &MayBlock,
    own: BorrowedFd<'_>,
    (pid, fd): (u32, i32),
) -> Result<Ordering, Errno> {
    const KCMP_FILE: libc::c_int = 0;
    let own = (std::process::id(), own.as_raw_fd());
    match raw::kcmp((own.0, pid), KCMP_FILE, (own.1, fd))? {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(Errno(libc::EINVAL)),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpollOp {
    Add,
    Delete,
    Modify,
}

/// Changes a program's epoll set. During a thread's epoll_wait, this blocks while the kernel polls the set's
/// files or writes events to the thread's memory.
pub(crate) fn epoll_ctl(
    _: &MayBlock,
    set: impl AsFd,
    op: EpollOp,
    fd: impl AsFd,
    event: Option<(epoll::EventData, epoll::EventFlags)>,
) -> Result<(), Errno> {
    let (data, flags) = event.unwrap_or((epoll::EventData::new_u64(0), epoll::EventFlags::empty()));
    let done = match op {
        EpollOp::Add => epoll::add(set, fd, data, flags),
        EpollOp::Delete => epoll::delete(set, fd),
        EpollOp::Modify => epoll::modify(set, fd, data, flags),
    };
    done.map_err(raw::err)
}

/// Returns the first result of `find` among the lines of a descriptor's `fdinfo`. For an epoll set,
/// this blocks like [`epoll_ctl`], and the text may be long.
pub(crate) fn find_in_fdinfo<T>(
    _: &MayBlock,
    pid: u32,
    fd: i32,
    answer: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let text = raw::proc_string(&format!("/proc/{pid}/fdinfo/{fd}"));
    text.lines().find_map(answer)
}
