//! Closes files that were borrowed from programs, without holding the one lock of all devices.
//!
//! A close may call the file's file system (FLUSH), which may take long or never answer. A thread that holds
//! this lock therefore collects the files that it drops. After the release of the lock, the thread closes the
//! files that close immediately, and passes the others to the reaper's threads.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::MutexGuard;

use vb3_frontend::Errno;

use crate::kernel::raw;
use crate::kernel::workers::Workers;

/// Maximum number of files in the reaper's queue. If it is full, the thread that drops a file closes it.
const MAX_WAITING: usize = 1024;

/// Maximum number of threads that close files. Each close that hangs occupies one.
const MAX_THREADS: usize = 16;

thread_local! {
    /// Files that this thread has dropped since it took the lock; `None` while it does not hold the lock.
    static RELEASED: RefCell<Option<Vec<Released>>> = const { RefCell::new(None) };
}

/// A dropped file, and its mode if known.
type Released = (OwnedFd, Option<u32>);

/// A duplicate of a program's descriptor. If dropped under the lock, it is closed after the lock's release.
#[derive(Debug)]
pub(crate) struct Borrowed {
    fd: Option<OwnedFd>,
    mode: Option<u32>,
}

impl Borrowed {
    /// Stores the file's mode, which saves system calls.
    pub(crate) fn with_mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    pub(crate) fn try_clone(&self) -> Result<Self, Errno> {
        let fd = self.as_fd().try_clone_to_owned();
        let fd = Some(fd.map_err(|_| Errno(libc::EMFILE))?);
        let mode = self.mode;
        Ok(Self { fd, mode })
    }

    /// Returns the descriptor, or `None` if its close may wait. The file is then closed like a dropped one.
    pub(crate) fn into_owned(mut self) -> Option<OwnedFd> {
        let mode = self.mode;
        self.fd.take_if(|fd| closes_at_once(fd.as_fd(), mode))
    }

    /// Closes a file here whose close does not wait.
    pub(crate) fn close(mut self) {
        drop(self.fd.take());
    }

    /// Returns the descriptor of a memfd or dma-buf, or `None` for other files. No call on such memory waits.
    pub(crate) fn into_memory(mut self) -> Option<OwnedFd> {
        self.fd
            .take_if(|fd| raw::is_memfd(fd.as_fd()) || is_dmabuf(fd.as_fd()))
    }
}

impl From<OwnedFd> for Borrowed {
    fn from(fd: OwnedFd) -> Self {
        let (fd, mode) = (Some(fd), None);
        Self { fd, mode }
    }
}

impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("taken by value alone").as_fd()
    }
}

impl AsRawFd for Borrowed {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        // Closes the file here if this thread does not hold the lock, or is ending.
        RELEASED
            .try_with(|released| match &mut *released.borrow_mut() {
                Some(released) => released.push((fd, self.mode)),
                None => drop(fd),
            })
            .ok();
    }
}

/// Returns threads that close files whose close may wait. The first such file starts the first thread.
pub(super) fn reaper() -> Workers {
    Workers::new("vb3-reaper", MAX_THREADS)
}

/// Returns whether a file's close calls no file system. True for sockets, pipes, memfds and the
/// kernel's anonymous files.
fn closes_at_once(fd: BorrowedFd<'_>, mode: Option<u32>) -> bool {
    if mode.is_some_and(|mode| !may_wait(mode)) {
        return true;
    }
    let is_of_kernel = || raw::known(fd).is_ok_and(|(_, mode)| !may_wait(mode));
    raw::is_memfd(fd) || mode.is_none() && is_of_kernel() || is_dmabuf(fd)
}

/// Returns whether a file is a dma-buf. Asks only the kernel, never the file's file system.
///
/// Source: Linux 7.2 drivers/dma-buf/dma-buf.c `dma_buf_show_fdinfo`.
fn is_dmabuf(fd: BorrowedFd<'_>) -> bool {
    let info = raw::proc_string(&format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    info.lines().any(|line| line.starts_with("exp_name:"))
}

/// Returns whether the close of a file of this type may wait.
const fn may_wait(mode: u32) -> bool {
    matches!(
        mode & libc::S_IFMT,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFCHR | libc::S_IFBLK
    )
}

/// While it exists, this thread closes no borrowed files that it drops. Other threads then close them.
pub(crate) struct Apart<'s>(&'s Workers);

impl<'s> Apart<'s> {
    pub(crate) fn new(reaper: &'s Workers) -> Self {
        RELEASED.set(Some(Vec::new()));
        Self(reaper)
    }
}

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        let released = RELEASED.take().unwrap_or_default();
        let at_once = |(fd, mode): &Released| closes_at_once(fd.as_fd(), *mode);
        // One job closes all these files. If one close hangs, the closes after it wait.
        let late: Vec<Released> = released.into_iter().filter(|one| !at_once(one)).collect();
        if !late.is_empty() {
            self.0.add(MAX_WAITING, move |_| drop(late));
        }
    }
}

/// The held lock. Borrowed files that this thread drops are closed after the release of the lock.
pub(crate) struct Locked<'s, T> {
    // Dropped in this order.
    guard: MutexGuard<'s, T>,
    _apart: Apart<'s>,
}

impl<'s, T> Locked<'s, T> {
    pub(crate) fn new(guard: MutexGuard<'s, T>, reaper: &'s Workers) -> Self {
        Self {
            guard,
            _apart: Apart::new(reaper),
        }
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags};
    use std::sync::Mutex;
    use std::time::Duration;

    /// Returns whether the reading end of a pipe is closed.
    fn is_closed(writer: &impl AsFd) -> bool {
        raw::poll_now(writer.as_fd(), libc::POLLOUT) & libc::POLLERR != 0
    }

    /// Waits until the reading end of a pipe is closed. A process that another test starts has a copy of that
    /// end until it runs its program.
    fn closes(writer: &impl AsFd) -> bool {
        let watchdog = Duration::from_secs(60).try_into().expect("short");
        let mut ends = [PollFd::new(writer, PollFlags::empty())];
        rustix::event::poll(&mut ends, Some(&watchdog)) == Ok(1)
    }

    #[test]
    fn files_are_closed_once_the_lock_is_free() {
        let (mutex, reaper) = (Mutex::new(7), reaper());
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let locked = Locked::new(mutex.lock().expect("free"), &reaper);
        drop(Borrowed::from(OwnedFd::from(reader)));
        assert!(!is_closed(&writer) && *locked == 7);
        drop(locked);
        assert!(closes(&writer));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(Borrowed::from(OwnedFd::from(reader)));
        assert!(closes(&writer), "nobody has the lock");
    }

    #[test]
    fn files_of_file_systems_go_to_the_reaper() {
        let memory = raw::memfd(c"memory").expect("a memfd");
        let exe = std::fs::File::open("/proc/self/exe").expect("it runs");
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        let at_once = |file: BorrowedFd<'_>| {
            let (_, mode) = raw::known(file).expect("open");
            [None, Some(mode)].map(|mode| closes_at_once(file, mode))
        };
        assert_eq!(
            [&memory.as_fd(), &reader.as_fd()].map(|file| at_once(*file)),
            [[true; 2]; 2]
        );
        assert_eq!(at_once(exe.as_fd()), [false; 2]);
        assert!(Borrowed::from(OwnedFd::from(exe)).into_owned().is_none());
        assert!(Borrowed::from(memory).into_memory().is_some());
        let pipe = Borrowed::from(OwnedFd::from(reader));
        let copy = pipe.try_clone().expect("room");
        assert!(pipe.into_memory().is_none() && copy.into_owned().is_some());
    }
}
