//! Keeps track of programs' descriptors: the file behind each number, the calls that close numbers, the
//! device files, and their locks.
//!
//! Only numbers from the range for devices and buffers (`FdRange`, the *reserved* numbers) have entries. An entry
//! belongs to one thread and one number. So this module need not find out which threads share a descriptor table:
//! that would take one more system call for each call. Before the supervisor lets a call close or replace a number,
//! all threads' entries for the number are dropped. New entries for the number are added only after the closing
//! thread's next call, or when the thread is found asleep. Until then, the kernel may not have closed the number yet.
//! unshare and clone leave each number's file as it is, so they change no entry. An exec drops all entries of its
//! process. It closes no number of another process, since it first makes a descriptor table of its own. A descriptor
//! received from another process gets a number that was free, and so had no entry.
//!
//! Before a close, the supervisor takes the files that may end with it out of their epoll sets. They return
//! if they still exist after the close.
//!
//! Each device file has an inode of its own. The file exists until its descriptors and mappings have ended.
//!
//! This module makes no system call. The module `held` is separate: it asks the kernel when the last
//! descriptor and mapping of a file have gone. It has its own lock, because it is also used by code that does
//! not hold the one lock of all devices.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use vb3_frontend::{Errno, FdIdentity, FileId};

use super::locks::Locks;

const MAX_ENTRIES: usize = 1 << 16;
/// Time before the first check of a close, and between checks. The thread's next call ends the checks,
/// because it shows that the close is over.
const CHECK_DELAY: Duration = Duration::from_millis(50);
/// Number of checks after which a close is taken as over. It is large: the closing thread may wait for a CPU.
const MAX_CHECKS: u32 = 100;

/// Numbers from the first to the last one, inclusive.
pub(crate) type Numbers = (u32, u32);

/// The file that a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Device(FileId),
    /// A node, by its index. The descriptor was opened with O_PATH.
    Node(usize),
    Buffer(FdIdentity),
    /// A file that is not the supervisor's.
    Other,
}

/// A file that can be a member of programs' epoll sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    Device(FileId),
    Buffer(FdIdentity),
}

impl Watched {
    pub(crate) const fn of(target: Target) -> Option<Self> {
        match target {
            Target::Device(file) => Some(Self::Device(file)),
            Target::Buffer(id) => Some(Self::Buffer(id)),
            Target::Node(_) | Target::Other => None,
        }
    }
}

/// The table's knowledge of a thread's descriptor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// No entry. Ask the kernel; the table may keep its answer.
    Nothing,
    Names(FdIdentity),
    /// No entry. Ask the kernel; the table must not keep its answer.
    Ask,
}

/// A file in epoll sets, with its descriptor that is being closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) file: Watched,
    pub(crate) number: i32,
    pub(crate) id: FdIdentity,
}

/// A call that closes or changes numbers. The supervisor has let it through; the kernel may still execute it.
#[derive(Debug)]
struct Closing {
    tid: u32,
    numbers: Numbers,
    /// A process or thread that shares the closing thread's descriptor table. `None` if the files have returned to
    /// their epoll sets, or the close concerns no file in an epoll set.
    task: Option<u32>,
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

/// One open of a node.
#[derive(Debug)]
struct DeviceFile {
    inode: FdIdentity,
    /// Index of the opened node; `None` if the file was not opened by a path.
    node: Option<usize>,
    /// Number of mappings, plus one while the file has descriptors.
    uses: u32,
    /// The O_* flags of its open, unless a program may have changed them.
    flags: Option<i32>,
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The entries by number, then by thread.
    known: RefCell<BTreeMap<i32, HashMap<u32, FdIdentity>>>,
    count: Cell<usize>,
    closing: Vec<Closing>,
    /// Processes that get no entries, because a thread other than the leader made an exec. That thread's
    /// id ends with the exec.
    unkept: HashSet<u32>,
    files: HashMap<FileId, DeviceFile>,
    /// The device files that have descriptors, and the nodes that programs have opened with O_PATH.
    by_inode: HashMap<FdIdentity, Target>,
    pub(crate) locks: Locks,
}

impl Table {
    /// Records a device file that was opened with these O_* flags.
    pub(crate) fn add_file(
        &mut self,
        file: FileId,
        inode: FdIdentity,
        node: Option<usize>,
        flags: i32,
    ) {
        self.by_inode.insert(inode, Target::Device(file));
        let of = DeviceFile {
            inode,
            node,
            uses: 1,
            flags: Some(flags),
        };
        self.files.insert(file, of);
    }

    /// Records the inode behind the O_PATH descriptors of a node.
    pub(crate) fn add_reference(&mut self, inode: FdIdentity, node: usize) {
        self.by_inode.insert(inode, Target::Node(node));
    }

    /// Returns a device file's O_* flags; `None` if a program may have changed them.
    pub(crate) fn flags_of(&self, file: FileId) -> Option<i32> {
        self.files.get(&file)?.flags
    }

    /// Records that a call is about to change a device file's O_* flags. The kernel executes the call at an unknown
    /// time and may refuse it. So from now on, the kernel is asked for the flags.
    pub(crate) fn flags_change(&mut self, file: FileId) {
        if let Some(file) = self.files.get_mut(&file) {
            file.flags = None;
        }
    }

    pub(crate) fn add_mapping(&mut self, file: FileId) {
        if let Some(file) = self.files.get_mut(&file) {
            file.uses = file.uses.saturating_add(1);
        }
    }

    /// Records that a device file's last descriptor has gone. Returns whether it had locks.
    pub(crate) fn last_closed(&mut self, file: FileId) -> bool {
        if let Some(of) = self.files.get(&file) {
            self.by_inode.remove(&of.inode);
        }
        self.locks.file_ended(file)
    }

    /// Removes one use of a device file: one mapping, or all descriptors. Returns whether the file is gone.
    pub(crate) fn release_file(&mut self, file: FileId) -> bool {
        let Some(of) = self.files.get_mut(&file) else {
            return false;
        };
        of.uses = of.uses.saturating_sub(1);
        let is_gone = of.uses == 0;
        if is_gone {
            self.files.remove(&file);
        }
        is_gone
    }

    /// Returns whether no program holds a device file, and none has ever opened a node with O_PATH.
    pub(crate) fn has_no_files(&self) -> bool {
        self.files.is_empty() && self.by_inode.is_empty()
    }

    pub(crate) fn has_descriptors(&self, file: FileId) -> bool {
        let of = self.files.get(&file);
        of.is_some_and(|of| self.by_inode.contains_key(&of.inode))
    }

    pub(crate) fn has_file(&self, file: FileId) -> bool {
        self.files.contains_key(&file)
    }

    /// Returns the device file or node behind an inode.
    pub(crate) fn find(&self, inode: FdIdentity) -> Option<Target> {
        self.by_inode.get(&inode).copied()
    }

    pub(crate) fn node_of(&self, file: FileId) -> Option<usize> {
        self.files.get(&file)?.node
    }

    /// Releases the record locks of a process that end with a close: those on the nodes of the closed files.
    /// Returns true if the process may have held such locks.
    pub(crate) fn unlock(
        &mut self,
        process: u32,
        closed: impl Iterator<Item = FdIdentity>,
    ) -> bool {
        let nodes: HashSet<usize> = closed
            .filter_map(|id| match self.find(id)? {
                Target::Device(file) => self.node_of(file),
                _ => None,
            })
            .collect();
        let close = |had, node| self.locks.close(process, node) || had;
        nodes.into_iter().fold(false, close)
    }

    /// Returns the entry of a thread's descriptor, or why there is none.
    pub(crate) fn get(&self, tid: u32, fd: i32) -> Known {
        match self.known.borrow().get(&fd).and_then(|of| of.get(&tid)) {
            Some(id) => Known::Names(*id),
            None if self.count.get() >= MAX_ENTRIES || self.is_closing(fd) => Known::Ask,
            None => Known::Nothing,
        }
    }

    /// Returns whether calls that close numbers may be under way.
    pub(crate) fn is_changing(&self) -> bool {
        !self.closing.is_empty()
    }

    fn is_closing(&self, fd: i32) -> bool {
        u32::try_from(fd).is_ok_and(|fd| {
            let mut all = self.closing.iter().map(|close| close.numbers);
            all.any(|(first, last)| (first..=last).contains(&fd))
        })
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
        let known = self.get(tid, fd);
        if let Known::Names(id) = known {
            return Ok(Some(id));
        }
        let Some(id) = look()? else {
            return Ok(None);
        };
        if known == Known::Nothing && may_be_kept() && !self.unkept.contains(&pid()) {
            let mut known = self.known.borrow_mut();
            let before = known.entry(fd).or_default().insert(tid, id);
            let added = usize::from(before.is_none());
            self.count.update(|count| count + added);
        }
        Ok(Some(id))
    }

    /// Records that a thread is about to close or change these numbers. For `task`, see [`Closing`].
    pub(crate) fn close(
        &mut self,
        tid: u32,
        numbers: Numbers,
        task: Option<u32>,
        files: Vec<Closed>,
    ) {
        let (first, last) = numbers;
        // CAST: no descriptor number is higher.
        let last_fd = last.min(i32::MAX as u32) as i32;
        let first_fd = i32::try_from(first).ok().filter(|first| *first <= last_fd);
        if let Some(first) = first_fd {
            let known = self.known.get_mut();
            let gone = known.extract_if(first..=last_fd, |_, _| true);
            let gone: usize = gone.map(|(_, of)| of.len()).sum();
            self.count.update(|count| count - gone);
        }
        self.begin(tid, numbers, task, files);
    }

    fn begin(&mut self, tid: u32, numbers: Numbers, task: Option<u32>, files: Vec<Closed>) {
        // A thread makes one call at a time, so its earlier close is over.
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

    /// Returns the closes that may be under way: a task that uses the descriptor table, and the numbers.
    pub(crate) fn closes(&self) -> Vec<(u32, Numbers)> {
        let all = self.closing.iter();
        all.filter_map(|close| Some((close.task?, close.numbers)))
            .collect()
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
                close.task = None;
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
    /// the close. Returns whether locks were released, because a process has ended.
    pub(crate) fn ended(&mut self, tid: u32) -> bool {
        for close in self.closing.iter_mut().filter(|close| close.tid == tid) {
            close.has_ended = true;
        }
        self.closing
            .retain(|close| !close.has_ended || !close.files.is_empty());
        self.unkept.remove(&tid);
        self.forget(&[tid]);
        self.locks.process_ended(tid)
    }

    fn forget(&mut self, threads: &[u32]) {
        self.known.get_mut().retain(|_, of| {
            let gone = threads.iter().filter(|tid| of.remove(tid).is_some());
            let gone = gone.count();
            self.count.update(|count| count - gone);
            !of.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
