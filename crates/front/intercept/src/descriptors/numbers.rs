//! Keeps the file behind each known descriptor number of each thread, and the calls that close numbers.
//!
//! Only numbers from the range for devices and buffers (`FdRange`, the *reserved* numbers) have entries. An entry
//! belongs to one thread and one number. So this module need not find out which threads share a descriptor table:
//! that would take one more system call for each call. Before the supervisor lets a call close or replace a number,
//! the entries for the number are dropped: those of all threads that may share the closing thread's descriptor table.
//! For these threads, new entries for the number are added only after the closing thread's next call, or when the
//! thread is found asleep. Until then, the kernel may not have closed the number yet. unshare and clone leave each
//! number's file as it is, so they change no entry. An exec drops all entries of its process. It closes no number of
//! another process, since it first makes a descriptor table of its own. A descriptor received from another process
//! gets a number that was free, and so had no entry.
//!
//! Threads of one process count as sharing a table. Threads of two processes may share one, too (clone with
//! CLONE_FILES). So the first time that a close of one thread concerns an entry of another process's thread, the
//! entry is dropped, and the pair is a *doubt*. After the call, the supervisor asks the kernel (kcmp) whether the two
//! threads share a table. If they do not, they never will: only clone makes threads that share a table, and these
//! threads are new. The pair is then remembered until one of the threads ends, and further closes of one thread drop
//! no entry of the other. Where kcmp is refused, as in many containers, the doubts stay.
//!
//! This module makes no system call.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use vb3_frontend::{Errno, FdIdentity};

use super::Watched;

/// Maximum number of entries of one number. There are at most 256 reserved numbers.
const MAX_THREADS: usize = 1 << 10;
/// Maximum number of pairs of threads that are known to have different descriptor tables.
const MAX_PAIRS: usize = 1 << 16;
/// Maximum number of doubts that one call leaves. Later calls leave the others.
const MAX_DOUBTS: usize = 64;
/// Time before the first check of a close, and between checks. The thread's next call ends the checks,
/// because it shows that the close is over.
const CHECK_DELAY: Duration = Duration::from_millis(50);
/// Number of checks after which a close is taken as over. It is large: the closing thread may wait for a CPU.
const MAX_CHECKS: u32 = 100;

/// Numbers from the first to the last one, inclusive.
pub(crate) type Numbers = (u32, u32);

/// A file in epoll sets, with its descriptor that is being closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) file: Watched,
    pub(crate) number: i32,
    pub(crate) id: FdIdentity,
}

/// The file behind a thread's descriptor number.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: FdIdentity,
    process: u32,
}

/// A call that closes or changes numbers. The supervisor has let it through; the kernel may still execute it.
#[derive(Debug)]
struct Closing {
    tid: u32,
    process: u32,
    numbers: Numbers,
    /// Whether files in epoll sets may end with the call. False once the files have returned to their sets.
    ends_files: bool,
    /// Files that may end with the call. Until the call is over, they are not in their epoll sets.
    files: Vec<Closed>,
    since: Instant,
    looks: u32,
    /// Whether the thread has ended, so that no further call shows the end of this one.
    has_ended: bool,
}

impl Closing {
    /// Returns whether the close is taken as over: a check is due, and either no number has its former file, or
    /// the thread sleeps, or this was the last check. If the kernel refused the close, only the last check ends it.
    /// A thread may also sleep within a close of several numbers, before it closes the last one.
    fn is_over(
        &mut self,
        now: Instant,
        is_open: impl Fn(u32, &Closed) -> bool,
        is_running: impl Fn(u32) -> bool,
    ) -> bool {
        if now.saturating_duration_since(self.since) < CHECK_DELAY {
            return false;
        }
        self.looks += 1;
        self.since = now;
        let (tid, (first, last)) = (self.tid, self.numbers);
        let is_done = match self.files.is_empty() {
            true => first == last && !is_running(tid),
            false => !self.files.iter().any(|file| is_open(tid, file)),
        };
        is_done || self.looks >= MAX_CHECKS
    }
}

/// Two threads, the one with the lower id first.
type Pair = (u32, u32);

#[derive(Debug, Default)]
pub(crate) struct NumberTable {
    /// The entries by number, then by thread.
    known: RefCell<BTreeMap<u32, BTreeMap<u32, Known>>>,
    closing: Vec<Closing>,
    /// Processes that get no entries, because a thread other than the leader made an exec. That thread's
    /// id ends with the exec.
    unkept: HashSet<u32>,
    /// Threads that surely have different descriptor tables.
    apart: HashSet<Pair>,
    /// Pairs of threads of which the kernel must be asked whether they share a descriptor table.
    doubts: RefCell<BTreeSet<Pair>>,
}

impl NumberTable {
    /// Returns the entry of a thread's descriptor, if there is one.
    pub(crate) fn get(&self, tid: u32, fd: i32) -> Option<FdIdentity> {
        let known = self.known.borrow();
        let of = known.get(&fd.cast_unsigned())?;
        of.get(&tid).map(|known| known.id)
    }

    /// Returns the file that the caller's descriptor refers to; `None` if it cannot be the supervisor's. `look`
    /// asks the kernel. Fails with EBADF.
    pub(crate) fn identify(
        &self,
        (tid, pid): (u32, impl FnOnce() -> u32),
        fd: i32,
        may_be_kept: impl FnOnce() -> bool,
        look: impl FnOnce() -> Result<Option<FdIdentity>, Errno>,
    ) -> Result<Option<FdIdentity>, Errno> {
        if let Some(id) = self.get(tid, fd) {
            return Ok(Some(id));
        }
        let found = look()?;
        if let Some(id) = found
            && may_be_kept()
        {
            let (process, fd) = (pid(), fd.cast_unsigned());
            let mut known = self.known.borrow_mut();
            let is_full = known.get(&fd).is_some_and(|of| of.len() >= MAX_THREADS);
            let is_unkept = is_full || self.unkept.contains(&process);
            if !is_unkept && !self.may_be_closing((tid, process), fd) {
                let of = known.entry(fd).or_default();
                of.insert(tid, Known { id, process });
            }
        }
        Ok(found)
    }

    /// Returns whether calls that close numbers may be under way.
    pub(crate) fn is_changing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Returns whether a call that may be under way closes a thread's number.
    fn may_be_closing(&self, by: (u32, u32), fd: u32) -> bool {
        let mut doubts = self.doubts.borrow_mut();
        let concerned = self.closing.iter().filter(|close| {
            let (first, last) = close.numbers;
            let closer = (close.tid, close.process);
            (first..=last).contains(&fd) && may_share(&self.apart, &mut doubts, closer, by)
        });
        // Visits all closes, so that all doubts are recorded.
        concerned.count() > 0
    }

    /// Records that a thread of a process is about to close or change these numbers. For `ends_files`, see [`Closing`].
    pub(crate) fn close(
        &mut self,
        closer: (u32, u32),
        numbers: Numbers,
        ends_files: bool,
        files: Vec<Closed>,
    ) {
        let ((tid, process), (first, last)) = (closer, numbers);
        if first <= last {
            let (apart, doubts) = (&self.apart, self.doubts.get_mut());
            let gone = self.known.get_mut().extract_if(first..=last, |_, of| {
                of.retain(|tid, known| !may_share(apart, doubts, closer, (*tid, known.process)));
                of.is_empty()
            });
            gone.for_each(drop);
        }
        // A thread makes one call at a time, so its earlier close is over.
        self.closing
            .retain(|close| close.tid != tid || !close.files.is_empty());
        self.closing.push(Closing {
            tid,
            process,
            numbers,
            ends_files,
            files,
            since: Instant::now(),
            looks: 0,
            has_ended: false,
        });
    }

    /// Returns the closes that may be under way and end files in epoll sets: the thread, its process and the numbers.
    pub(crate) fn closes(&self) -> Vec<((u32, u32), Numbers)> {
        let all = self.closing.iter().filter(|close| close.ends_files);
        all.map(|close| ((close.tid, close.process), close.numbers))
            .collect()
    }

    /// Takes the pairs of threads of which the kernel must be asked whether they share a descriptor table.
    pub(crate) fn take_doubts(&mut self) -> BTreeSet<Pair> {
        core::mem::take(self.doubts.get_mut())
    }

    /// Records that two threads, which both live and whose ends will be reported, have different descriptor tables.
    pub(crate) fn set_apart(&mut self, pair: Pair) {
        if self.apart.len() < MAX_PAIRS {
            self.apart.insert(pair);
        }
    }

    /// Returns the time until [`over`](Self::over) has a check to make.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let first = self.closing.iter().map(|close| close.since).min()?;
        Some(CHECK_DELAY.saturating_sub(first.elapsed()))
    }

    /// Ends closes that are over: those of thread `tid`, because it makes a new call, and those that a check
    /// finds over. `is_open` is whether a thread's number has its former file, `is_running` whether a thread runs
    /// or waits for a CPU. Returns the files that may return to their epoll sets if they still exist.
    pub(crate) fn over(
        &mut self,
        tid: Option<u32>,
        is_open: impl Fn(u32, &Closed) -> bool,
        is_running: impl Fn(u32) -> bool,
    ) -> Vec<Watched> {
        let (mut files, now) = (Vec::new(), Instant::now());
        self.closing.retain_mut(|close| {
            let calls = Some(close.tid) == tid;
            // Once the files have returned, the entry stays until the thread is found asleep.
            let had_files = !close.files.is_empty();
            let is_over = calls || close.is_over(now, &is_open, &is_running);
            if is_over {
                close.ends_files = false;
                files.extend(close.files.drain(..).map(|closed| closed.file));
            }
            let is_left = close.has_ended && close.files.is_empty();
            !(calls || is_left || is_over && !had_files)
        });
        files
    }

    /// Records that a thread is about to make an exec. `threads` are the known threads of its process.
    pub(crate) fn exec(&mut self, tid: u32, process: u32, threads: &[u32]) {
        self.forget(threads);
        // The leader makes no call before its exec is over. The other threads end with the exec, and their entries
        // with them.
        if tid != process {
            self.unkept.insert(process);
        }
    }

    /// Records that a thread has ended. Files of its closes stay out of their epoll sets until a check ends
    /// the close.
    pub(crate) fn ended(&mut self, tid: u32) {
        for close in self.closing.iter_mut().filter(|close| close.tid == tid) {
            close.has_ended = true;
        }
        self.closing
            .retain(|close| !close.has_ended || !close.files.is_empty());
        self.unkept.remove(&tid);
        self.apart.retain(|(a, b)| *a != tid && *b != tid);
        self.forget(&[tid]);
    }

    fn forget(&mut self, threads: &[u32]) {
        self.known.get_mut().retain(|_, of| {
            for tid in threads {
                of.remove(tid);
            }
            !of.is_empty()
        });
    }
}

/// Returns whether two threads, each given with its process, may share a descriptor table. If the kernel must be asked,
/// records a doubt.
fn may_share(
    apart: &HashSet<Pair>,
    doubts: &mut BTreeSet<Pair>,
    (a, of_a): (u32, u32),
    (b, of_b): (u32, u32),
) -> bool {
    let pair = (a.min(b), a.max(b));
    let may_share = of_a == of_b || !apart.contains(&pair);
    if may_share && of_a != of_b && doubts.len() < MAX_DOUBTS {
        doubts.insert(pair);
    }
    may_share
}

#[cfg(test)]
mod tests;
