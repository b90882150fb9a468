//! What the kept numbers of programs name, and the calls that close them.
//!
//! A name is known of one thread and one number, so that it does not matter here which threads share a
//! descriptor table: asking the kernel for that would cost a system call in each call. The table forgets
//! a name before a call that closes or replaces the number is let through, whichever thread makes it.
//! It learns the name again only after that thread has made another call, because the kernel may not
//! have made the close before. unshare and clone copy names as they are. An exec counts as a close of
//! all numbers by its process. A descriptor that comes from another process gets a number that was free.
//!
//! A close also takes files that it may end out of their epoll sets, until it is over.
//!
//! Which fact is kept where: the names and the closes in this module; the files and their nodes in
//! `files`; the locks in `locks`, by descriptor table. Two stay apart. `held` tells when the last
//! descriptor and mapping have gone, which only the kernel knows, and has a lock for callers that do
//! not hold the lock of all devices. `under_way` makes an open wait for calls of threads that have
//! ended, and no wait is allowed under the lock of all devices.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use vb3_host::{Errno, FdIdentity};

use super::files::Watched;

/// Names remembered, at most.
const MOST: usize = 1 << 16;
/// The time after a close without a further call of its thread after which its numbers are looked at.
const PATIENCE: Duration = Duration::from_millis(50);
/// Looks at a close that the kernel has not made yet: a thread may wait for a processor.
const LOOKS: u32 = 100;

/// CLOSE_RANGE_CLOEXEC.
pub(crate) const CLOSES_NOTHING: i32 = 1 << 2;

/// Numbers from the first to the last one.
pub(crate) type Numbers = (u32, u32);

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: the kernel is to be asked, and its answer may be kept.
    Nothing,
    /// It names this.
    Names(FdIdentity),
    /// Nothing, and the kernel's answer may not be kept.
    Ask,
}

/// A file, by the descriptor that is being closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) file: Watched,
    pub(crate) number: i32,
    pub(crate) id: FdIdentity,
}

/// A call that closes or changes numbers, let through and not known to be over.
#[derive(Debug)]
struct Closing {
    tid: u32,
    numbers: Numbers,
    /// Whose descriptor table it closes them in; `None` where it closes none for certain.
    task: Option<u32>,
    /// Files that it may end, out of their epoll sets meanwhile.
    files: Vec<Closed>,
    since: Instant,
    looks: u32,
    /// The thread has ended and makes no further call.
    has_ended: bool,
}

impl Closing {
    /// Whether its files need not wait any longer. A close that the kernel refused leaves the numbers as
    /// they were, and its files wait for the last look.
    fn is_over(&mut self, is_open: impl Fn(u32, &Closed) -> bool) -> bool {
        if self.since.elapsed() < PATIENCE {
            return false;
        }
        self.looks += 1;
        self.since = Instant::now();
        let tid = self.tid;
        self.looks >= LOOKS || !self.files.iter().any(|file| is_open(tid, file))
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// By number and thread: of the kept numbers, which are few.
    known: BTreeMap<i32, HashMap<u32, FdIdentity>>,
    count: usize,
    closing: Vec<Closing>,
    /// Processes of which no name is kept any more: a thread that was not the leader made an exec,
    /// and its number is gone when that is over.
    unkept: HashSet<u32>,
}

impl Table {
    /// What a thread's descriptor names.
    pub(crate) fn get(&self, tid: u32, fd: i32) -> Known {
        match self.known.get(&fd).and_then(|of| of.get(&tid)) {
            Some(id) => Known::Names(*id),
            None if self.count >= MOST || self.is_closing(fd) => Known::Ask,
            None => Known::Nothing,
        }
    }

    /// Whether calls that close numbers may be under way.
    pub(crate) fn is_changing(&self) -> bool {
        !self.closing.is_empty()
    }

    fn is_closing(&self, fd: i32) -> bool {
        u32::try_from(fd).is_ok_and(|fd| {
            let mut all = self.closing.iter().map(|close| close.numbers);
            all.any(|(first, last)| (first..=last).contains(&fd))
        })
    }

    /// What a descriptor of the caller names. `look` asks the kernel.
    ///
    /// # Errors
    /// EBADF.
    pub(crate) fn identify(
        &mut self,
        (tid, pid): (u32, impl FnOnce() -> u32),
        fd: i32,
        may_be_kept: impl FnOnce() -> bool,
        look: impl FnOnce() -> Result<FdIdentity, Errno>,
    ) -> Result<FdIdentity, Errno> {
        let known = self.get(tid, fd);
        if let Known::Names(id) = known {
            return Ok(id);
        }
        let id = look()?;
        if known == Known::Nothing && may_be_kept() && !self.unkept.contains(&pid()) {
            let before = self.known.entry(fd).or_default().insert(tid, id);
            self.count += usize::from(before.is_none());
        }
        Ok(id)
    }

    /// A thread is about to close or change these numbers. `task`: see [`Closing`].
    pub(crate) fn close(
        &mut self,
        tid: u32,
        numbers: Numbers,
        task: Option<u32>,
        files: Vec<Closed>,
    ) {
        let (first, last) = numbers;
        // CAST: no descriptor is above this.
        let last_fd = last.min(i32::MAX as u32) as i32;
        let first_fd = i32::try_from(first).ok().filter(|first| *first <= last_fd);
        let closed = first_fd.map(|first| self.known.range(first..=last_fd));
        let closed: Vec<i32> = closed.into_iter().flatten().map(|(&fd, _)| fd).collect();
        for fd in closed {
            let gone = self.known.remove(&fd);
            self.count -= gone.map_or(0, |of| of.len());
        }
        self.begin(tid, numbers, task, files);
    }

    fn begin(&mut self, tid: u32, numbers: Numbers, task: Option<u32>, files: Vec<Closed>) {
        // A thread makes one call at a time.
        self.closing
            .retain(|close| close.tid != tid || !close.files.is_empty());
        self.closing.push(Closing {
            tid,
            numbers,
            task,
            files,
            since: Instant::now(),
            looks: 0,
            has_ended: false,
        });
    }

    /// The tables with closes under way, by a task that uses each, and the numbers.
    pub(crate) fn closes(&self) -> Vec<(u32, Numbers)> {
        let all = self.closing.iter();
        all.filter_map(|close| Some((close.task?, close.numbers)))
            .collect()
    }

    /// The time until [`over`](Self::over) has a look to make.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let closes = self.closing.iter().filter(|close| close.task.is_some());
        let first = closes.map(|close| close.since).min()?;
        Some(PATIENCE.saturating_sub(first.elapsed()))
    }

    /// A thread makes another call, so its last close is over; or time has passed. Returns the files
    /// of closes that need not wait any longer.
    pub(crate) fn over(
        &mut self,
        tid: Option<u32>,
        is_open: impl Fn(u32, &Closed) -> bool,
    ) -> Vec<Watched> {
        let mut files = Vec::new();
        self.closing.retain_mut(|close| {
            let calls = Some(close.tid) == tid;
            if calls || (close.task.is_some() && close.is_over(&is_open)) {
                close.task = None;
                files.extend(close.files.drain(..).map(|closed| closed.file));
            }
            let is_left = close.has_ended && close.files.is_empty();
            !calls && !is_left
        });
        files
    }

    /// A thread is about to make an exec. `threads`: those known of its process.
    pub(crate) fn exec(&mut self, tid: u32, process: u32, threads: &[u32]) {
        self.forget(threads);
        if tid == process {
            self.begin(tid, (0, u32::MAX), None, Vec::new());
        } else {
            self.unkept.insert(process);
        }
    }

    /// A thread has ended. Files of its closes wait for a look.
    pub(crate) fn ended(&mut self, tid: u32) {
        for close in self.closing.iter_mut().filter(|close| close.tid == tid) {
            close.has_ended = true;
        }
        self.closing
            .retain(|close| !close.has_ended || !close.files.is_empty());
        self.unkept.remove(&tid);
        self.forget(&[tid]);
    }

    fn forget(&mut self, threads: &[u32]) {
        self.known.retain(|_, of| {
            let gone = threads.iter().filter(|tid| of.remove(tid).is_some());
            self.count -= gone.count();
            !of.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
