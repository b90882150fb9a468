//! What the kept numbers name, as far as it is known: asked of the kernel once, not in every call.
//!
//! What is known is of one thread and one number, so that it does not matter which threads share a
//! table. It is forgotten before a call that closes or replaces the number is let through, whoever
//! makes it, and is not learnt anew until that thread calls again: the kernel may not have made the
//! close yet. unshare and clone copy a table as it is. An exec closes what is marked for it: it
//! counts as a close of all numbers by its process. What is received from another process has a
//! number that was free.

use std::collections::{BTreeMap, HashMap, HashSet};

use vb3_host::{Errno, FdIdentity};

/// Numbers of threads remembered, at most.
const MOST: usize = 1 << 16;

/// What is known of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing: it is to be asked for, and what it names may be kept.
    Nothing,
    /// It names this.
    Names(FdIdentity),
    /// Nothing, and what it names may not be kept.
    Ask,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// By number and thread: of the kept numbers, which are few.
    known: BTreeMap<i32, HashMap<u32, FdIdentity>>,
    /// How many that are.
    count: usize,
    /// Calls that close numbers, let through and not known to be over: by whom, and the first and
    /// last number.
    under_way: Vec<(u32, u32, u32)>,
    /// Processes of which nothing is kept any more: a thread that was not the leader made an exec,
    /// and its number is gone when that is over.
    unkept: HashSet<u32>,
}

impl Kept {
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
        !self.under_way.is_empty()
    }

    fn is_closing(&self, fd: i32) -> bool {
        u32::try_from(fd).is_ok_and(|fd| {
            let mut all = self.under_way.iter();
            all.any(|&(_, first, last)| (first..=last).contains(&fd))
        })
    }

    /// What a descriptor of the caller names. `look` asks the kernel: once where what it says may be kept.
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
            self.keep(tid, fd, id);
        }
        Ok(id)
    }

    /// Keeps what a descriptor names. Only after [`Known::Nothing`], and with nothing in between.
    pub(crate) fn keep(&mut self, tid: u32, fd: i32, id: FdIdentity) {
        let before = self.known.entry(fd).or_default().insert(tid, id);
        self.count += usize::from(before.is_none());
    }

    /// A thread is about to close or change these numbers, the last one included.
    pub(crate) fn closing(&mut self, tid: u32, (first, last): (u32, u32)) {
        // CAST: no descriptor is above this.
        let last_fd = last.min(i32::MAX as u32) as i32;
        let first_fd = i32::try_from(first).ok().filter(|first| *first <= last_fd);
        let closed = first_fd.map(|first| self.known.range(first..=last_fd));
        let closed: Vec<i32> = closed.into_iter().flatten().map(|(&fd, _)| fd).collect();
        for fd in closed {
            let gone = self.known.remove(&fd);
            self.count -= gone.map_or(0, |of| of.len());
        }
        self.under_way.push((tid, first, last));
    }

    /// A thread is about to make an exec. `threads`: those known of its process.
    pub(crate) fn exec(&mut self, tid: u32, process: u32, threads: &[u32]) {
        self.forget(threads);
        if tid == process {
            self.under_way.push((tid, 0, u32::MAX));
        } else {
            self.unkept.insert(process);
        }
    }

    /// A thread calls anew: what it was about to close is closed.
    pub(crate) fn over(&mut self, tid: u32) {
        self.under_way.retain(|&(by, ..)| by != tid);
    }

    /// A thread has ended.
    pub(crate) fn ended(&mut self, tid: u32) {
        self.over(tid);
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
mod tests {
    use super::*;

    const ID: FdIdentity = FdIdentity { dev: 1, ino: 2 };

    #[test]
    fn a_close_is_for_all_threads_and_lasts_until_its_thread_calls() {
        let mut kept = Kept::default();
        for tid in [10, 11] {
            assert_eq!(kept.get(tid, 800), Known::Nothing);
            kept.keep(tid, 800, ID);
            kept.keep(tid, 801, ID);
        }
        assert_eq!(kept.get(10, 800), Known::Names(ID));
        assert_eq!(kept.get(10, 801), Known::Names(ID));
        kept.closing(10, (800, 800));
        // The kernel may not have closed it yet: what it names now says nothing of later.
        assert_eq!(
            (kept.get(10, 800), kept.get(11, 800)),
            (Known::Ask, Known::Ask)
        );
        kept.over(11);
        assert_eq!(kept.get(11, 800), Known::Ask);
        kept.over(10);
        assert_eq!(kept.get(11, 800), Known::Nothing);
        assert_eq!(kept.get(11, 801), Known::Names(ID));
        kept.closing(10, (3, u32::MAX));
        kept.ended(10);
        assert_eq!(kept.get(11, 801), Known::Nothing);
    }

    #[test]
    fn nothing_is_known_of_a_thread_that_has_ended() {
        let mut kept = Kept::default();
        kept.keep(10, 800, ID);
        kept.keep(11, 800, ID);
        kept.ended(10);
        assert_eq!(kept.get(10, 800), Known::Nothing);
        assert_eq!(kept.get(11, 800), Known::Names(ID));
    }

    #[test]
    fn an_exec_closes_what_its_process_has_and_is_over_with_the_next_call() {
        let mut kept = Kept::default();
        for tid in [10, 11, 20] {
            kept.keep(tid, 800, ID);
        }
        kept.exec(10, 10, &[10, 11]);
        assert_eq!(
            (kept.get(10, 800), kept.get(11, 800)),
            (Known::Ask, Known::Ask)
        );
        assert_eq!(kept.get(20, 800), Known::Names(ID));
        kept.over(10);
        assert_eq!(kept.get(10, 800), Known::Nothing);
        // Thread 21's number is gone when its exec is over: nobody would say so.
        kept.exec(21, 20, &[20]);
        assert_eq!(kept.get(20, 800), Known::Nothing);
        assert!(kept.unkept.contains(&20));
        kept.ended(20);
        assert!(kept.unkept.is_empty());
    }
}
