//! The right to wait for others, and the lock under which no thread may.
//!
//! A program's pages, file systems, threads and descriptors answer when they like, or never. One step
//! of the world of devices must not wait for them: it has the lock of all devices. Each thread
//! therefore owns one [`MayBlock`]. Each helper that can wait borrows it, and the lock borrows it
//! exclusively, so that the compiler refuses a helper that waits under the lock:
//!
//! ```compile_fail,E0502
//! use std::time::Duration;
//! use vb3_intercept::may_block::{MayBlock, World, sleep};
//!
//! let world = World::new(7);
//! let mut may = MayBlock::of_this_thread();
//! world.apply(&mut may, |_| sleep(&may, Duration::ZERO));
//! ```
//!
//! Before and after a step it may wait:
//!
//! ```
//! use std::time::Duration;
//! use vb3_intercept::may_block::{MayBlock, World, sleep};
//!
//! let world = World::new(7);
//! let mut may = MayBlock::of_this_thread();
//! sleep(&may, Duration::ZERO);
//! assert_eq!(world.apply(&mut may, |number| *number), 7);
//! sleep(&may, Duration::ZERO);
//! ```
//!
//! What the kernel answers by itself needs no token: files in /proc (but for a program's memory),
//! our own memfds, calls that return at once. `clippy.toml` names the calls that are allowed in few
//! modules only.

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use rustix::event::epoll;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use vb3_host::Errno;

use crate::kernel::lock::lock;
use crate::kernel::raw;
use crate::kernel::reaper::{Locked, Reaper};

thread_local! {
    /// The thread's token is in use.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// The right of one thread to wait for programs. See the module.
#[derive(Debug)]
pub struct MayBlock {
    /// It stays with its thread.
    _of_thread: PhantomData<*const ()>,
}

impl MayBlock {
    /// Takes the calling thread's token; its drop gives it back.
    ///
    /// # Panics
    /// The thread has it already.
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

/// What all threads share under one lock.
#[derive(Debug)]
pub struct World<T> {
    inner: Mutex<T>,
    /// Held by the thread that is next to get the lock.
    next: Mutex<()>,
    reaper: Reaper,
}

impl<T> World<T> {
    /// Shares a value, and starts the thread that closes borrowed descriptors.
    pub fn new(inner: T) -> Self {
        Self {
            inner: inner.into(),
            next: Mutex::default(),
            reaper: Reaper::start(),
        }
    }

    /// Makes one step under the lock. It cannot wait for programs: the token is lent.
    pub fn apply<R>(&self, may: &mut MayBlock, step: impl FnOnce(&mut T) -> R) -> R {
        step(&mut self.lock(may))
    }

    /// Takes the lock, each thread in turn: a clock that always has work leaves room for calls.
    pub(crate) fn lock<'m>(&'m self, _: &'m mut MayBlock) -> Locked<'m, T> {
        let _next = lock(&self.next);
        Locked::new(lock(&self.inner), &self.reaper)
    }
}

/// Sleeps.
#[expect(
    clippy::disallowed_methods,
    reason = "the function borrows a MayBlock token"
)]
pub fn sleep(_: &MayBlock, time: Duration) {
    std::thread::sleep(time);
}

/// Waits for a thread's end; none where it has panicked.
#[expect(
    clippy::disallowed_methods,
    reason = "the function borrows a MayBlock token"
)]
pub(crate) fn join<T>(_: &MayBlock, thread: ScopedJoinHandle<'_, T>) -> Option<T> {
    thread.join().ok()
}

/// Opens a path.
pub(crate) fn open(_: &MayBlock, path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    raw::open_any(path, flags)
}

/// Opens a path by the rules of `openat2`.
#[expect(
    clippy::disallowed_methods,
    reason = "the function borrows a MayBlock token"
)]
pub(crate) fn openat2(
    _: &MayBlock,
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    how: ResolveFlags,
) -> Option<OwnedFd> {
    rustix::fs::openat2(dir, path, flags, Mode::empty(), how).ok()
}

/// What a path names; `flags` of `fstatat`.
pub(crate) fn stat(_: &MayBlock, path: &CStr, flags: i32) -> Result<rustix::fs::Stat, Errno> {
    raw::stat_any(path, flags)
}

/// What a program's descriptor names.
pub(crate) fn fstat(_: &MayBlock, fd: BorrowedFd<'_>) -> Result<rustix::fs::Stat, Errno> {
    raw::fstat(fd)
}

/// The magic number of the file system that an open file lies in.
#[expect(
    clippy::disallowed_methods,
    reason = "the function borrows a MayBlock token"
)]
pub(crate) fn kind_of_system(_: &MayBlock, fd: &OwnedFd) -> Option<u64> {
    Some(rustix::fs::fstatfs(fd).ok()?.f_type.cast_unsigned())
}

/// Where a symbolic link points.
pub(crate) fn readlink(_: &MayBlock, path: &CStr) -> Result<Vec<u8>, Errno> {
    raw::readlinkat(rustix::fs::CWD, path)
}

/// Where a symbolic link in a directory points.
pub(crate) fn readlinkat(_: &MayBlock, dir: BorrowedFd<'_>, name: &CStr) -> Result<Vec<u8>, Errno> {
    raw::readlinkat(dir, name)
}

/// What poll says now of programs' files, each with the events asked for.
pub(crate) fn poll(_: &MayBlock, files: &[(impl AsFd, i16)]) -> Vec<i16> {
    raw::poll_all_now(files.iter().map(|(file, events)| (file.as_fd(), *events)))
}

/// What `epoll_ctl` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EpollOp {
    Add,
    Delete,
    Modify,
}

/// Changes a program's epoll set. It waits for a thread that waits in the set, while the kernel polls the
/// files in it for that thread, or writes events to its memory.
#[expect(clippy::disallowed_methods, reason = "it has the token")]
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

/// The first answer that a line of a descriptor's `fdinfo` gives. For an epoll set, the kernel waits as it
/// does in [`epoll_ctl`], and the text may be long.
pub(crate) fn find_in_fdinfo<T>(
    _: &MayBlock,
    pid: u32,
    fd: i32,
    answer: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    let text = raw::proc_string(&format!("/proc/{pid}/fdinfo/{fd}"));
    text.lines().find_map(answer)
}
