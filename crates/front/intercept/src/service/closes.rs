//! Calls that close or copy descriptors of devices.
//!
//! The *reserved* numbers are the range of descriptor numbers for devices and buffers ([`FdRange`]).

use crate::descriptors::{Closed, Numbers, Target, Watched, holders};
use crate::kernel::{Borrowed, MayBlock, Procs, Thread, lock, may_block, nr, procs};
use crate::process::{FdRange, Notif, Reply};
use crate::service::locks::COMMANDS;
use crate::service::serve::CopyAt;
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::waiting::On;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use vb3_frontend::{Errno, FdIdentity};

/// Returns the first and the last number of the range that a call closes. `None` if it only sets FD_CLOEXEC, or
/// has unknown flags, which the kernel refuses.
fn numbers_of(n: &Notif) -> Option<Numbers> {
    let (first, second) = (n.uint(0), n.uint(1));
    match n.nr {
        libc::SYS_close => Some((first, first)),
        libc::SYS_close_range => {
            (n.uint(2) & !libc::CLOSE_RANGE_UNSHARE == 0).then_some((first, second))
        }
        libc::SYS_dup3 => (n.int(2) & !libc::O_CLOEXEC == 0).then_some((second, second)),
        nr::DUP2 => Some((second, second)),
        _ => None,
    }
}

impl Supervisor<'_> {
    /// Makes a copy of a descriptor. Fails with `Native` if the kernel must make or refuse it.
    pub(crate) fn install_copy(
        &self,
        n: &Call<'_>,
        copy: &Borrowed,
        (at, cloexec): (CopyAt, bool),
    ) -> Result<i32, Reply> {
        let thread = n.thread()?;
        let _one = lock(&thread.installing);
        let number = match at {
            CopyAt::Number(number) => Some(number),
            CopyAt::Reserved => self.host.free_number(n),
            CopyAt::From(from) => {
                let end = self.host.range.end;
                (from..end).find(|&fd| Procs::is_free(&thread, fd))
            }
        };
        let listener = &self.host.listener;
        let add = |number| listener.add_fd(n.id, copy.as_fd(), Some(number), cloexec);
        match (number.map(add), at) {
            (Some(Ok(number)), _) => Ok(number),
            // The program's own limit is lower: the kernel refuses the copy, with the errno of fcntl.
            (Some(Err(Errno(libc::EBADF | libc::EMFILE))) | None, CopyAt::From(_)) => {
                Err(Reply::Native)
            }
            (_, CopyAt::Reserved) => {
                // The kernel chooses a number that may be a device's from now on.
                self.host.note_number(0);
                Err(Reply::Native)
            }
            (Some(Err(e)), _) => Err(e.into()),
            (None, CopyAt::Number(_)) => Err(Reply::Native),
        }
    }

    /// Asks the kernel which of these pairs of threads have different descriptor tables, and records them. Both threads
    /// must live until then, and the ends of both must be reported: other threads may get their ids later.
    pub(crate) fn compare_tables(&self, may: &mut MayBlock, pairs: &BTreeSet<(u32, u32)>) {
        let thread = |tid| self.host.thread(tid).ok();
        for &(a, b) in pairs {
            let threads = [thread(a), thread(b)];
            if may_block::share_table(may, a, b) == Some(false) {
                let mut server = self.server(may);
                let mut live = threads.iter().flatten();
                if live.all(|thread| self.host.procs.follows(thread)) {
                    server.table.numbers.set_apart((a, b));
                }
            }
        }
    }

    /// Finds the files that are in epoll sets and whose last descriptor a call closes. The kernel keeps a
    /// file in its epoll sets while the file has any descriptor. So this searches the descriptors of all
    /// programs, without the lock.
    pub(crate) fn look_for_holders(&self, may: &mut MayBlock, n: &Call<'_>) {
        let Some((first, last)) = numbers_of(n) else {
            return;
        };
        let concerns =
            |server: &Server<'_>| !server.epolls.is_empty() || !server.table.locks.is_empty();
        if !concerns(&self.server(may)) {
            return;
        }
        let FdRange { start, end } = self.host.range;
        let copies = matches!(n.nr, nr::DUP2 | libc::SYS_dup3);
        if copies && (n.int(0) == n.int(1) || procs::identify(n.tid, n.int(0)).is_err()) {
            return;
        }
        let kept = first.max(start)..=last.min(end.saturating_sub(1));
        let named = kept.filter_map(|number| {
            let number = number.cast_signed();
            Some((number, procs::identify(n.tid, number).ok()??))
        });
        let named: Vec<(i32, FdIdentity)> = named.collect();
        let mut ends = self.server(may).begin_close(n.tid, (first, last), &named);
        if ends.is_empty() {
            return;
        }
        let closing = self.server(may).table.numbers.closes();
        let is_closing = |pid, number: i32| {
            closing.iter().any(|&(closer, (first, last))| {
                (first..=last).contains(&number.cast_unsigned()) && shares(may, closer, pid)
            })
        };
        ends.retain(|closed| !holders::has_another(may, closed.id, is_closing));
        n.gathered.data().ends = Some(ends);
    }
}

impl Server<'_> {
    pub(crate) fn close(&mut self, n: &Call<'_>) -> Verdict {
        if let Some(numbers) = numbers_of(n) {
            self.before_close(n, numbers);
        }
        Verdict::native()
    }

    pub(crate) fn dup_onto(&mut self, n: &Call<'_>) -> Served {
        let (old, new) = (n.int(0), n.uint(1));
        let flags = if n.nr == libc::SYS_dup3 { n.int(2) } else { 0 };
        let is_kept = self.host.range.has(n.int(1));
        if self.note_copy(n, new) {
            n.note_ordinary(n.int(1));
        }
        // The kernel executes all other calls: equal numbers, wrong flags, or a copy at an unreserved number.
        if old == n.int(1) || flags & !libc::O_CLOEXEC != 0 || !is_kept {
            return Ok(Verdict::native());
        }
        // Only the kernel may close the file that has this number. If the supervisor's installation closed it,
        // no call of any program could be answered meanwhile: the kernel installs with the listener locked.
        // Source: Linux 7.2 kernel/seccomp.c `seccomp_do_user_notification`.
        let is_free = |thread: &Arc<Thread>| Procs::is_free(thread, new);
        let thread = n.thread().ok().filter(is_free);
        let copy = thread.and_then(|_| n.borrow(old).ok());
        self.before_close(n, (new, new));
        Ok(match copy {
            Some(copy) => {
                let cloexec = flags & libc::O_CLOEXEC != 0;
                Verdict::Copied(copy, (CopyAt::Number(new), cloexec))
            }
            None => Verdict::native(),
        })
    }

    pub(crate) fn dup(&mut self, n: &Call<'_>) -> Verdict {
        Self::copy_to_kept(n, 0, false).unwrap_or_else(|| {
            self.note_copy(n, 0);
            Verdict::native()
        })
    }

    /// Copies a reserved number to the next free reserved number. So the filter reports all calls on the copy.
    /// Lower free numbers from `from` on stay free. Returns `None` if a standard descriptor is closed: the copy is
    /// probably meant to replace that one.
    fn copy_to_kept(n: &Call<'_>, from: u32, cloexec: bool) -> Option<Verdict> {
        let thread = n.thread().ok()?;
        if (from..3).any(|fd| Procs::is_free(&thread, fd)) {
            return None;
        }
        let copy = n.borrow(n.int(0)).ok()?;
        Some(Verdict::Copied(copy, (CopyAt::Reserved, cloexec)))
    }

    /// Records that a copy may get a number that is not reserved. Returns true if the file is a device's.
    fn note_copy(&mut self, n: &Call<'_>, number: u32) -> bool {
        let target = self.named(n, 0);
        if target.and_then(Watched::of).is_some() {
            self.host.note_number(number.cast_signed());
        }
        matches!(target, Some(Target::Device(_)))
    }

    /// Serves fcntl of a reserved number, and fcntls that may return a reserved number.
    pub(crate) fn fcntl(&mut self, n: &Call<'_>) -> Served {
        match n.int(1) {
            libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => {}
            // Memfds support O_DIRECT, leases and seals, but devices and dma-bufs do not.
            libc::F_SETFL if n.int(2) & libc::O_DIRECT != 0 && self.is_ours(n, 0) => {
                return Err(Reply::Fail(libc::EINVAL));
            }
            libc::F_SETFL => {
                if let Some(target) = self.named(n, 0) {
                    self.table.flags_change(target);
                }
                return Ok(Verdict::native());
            }
            libc::F_SETLEASE | libc::F_ADD_SEALS | libc::F_GET_SEALS if self.is_ours(n, 0) => {
                return Err(Reply::Fail(libc::EINVAL));
            }
            command if COMMANDS.contains(&command) => return self.record_lock(n),
            _ => return Ok(Verdict::native()),
        }
        let from = n.uint(2);
        let cloexec = n.int(1) == libc::F_DUPFD_CLOEXEC;
        let FdRange { start, .. } = self.host.range;
        if self.host.range.has(n.int(0))
            && from < start
            && let Some(done) = Self::copy_to_kept(n, from, cloexec)
        {
            return Ok(done);
        }
        self.note_copy(n, from);
        if from < start {
            return Ok(Verdict::native());
        }
        let copy = n.borrow(n.int(0)).map_err(|_| Reply::Native)?;
        Ok(Verdict::Copied(copy, (CopyAt::From(from), cloexec)))
    }

    /// Records that a call is about to close these descriptors, and releases their record locks. Returns
    /// the descriptors whose file is in an epoll set.
    fn begin_close(
        &mut self,
        tid: u32,
        numbers: Numbers,
        named: &[(i32, FdIdentity)],
    ) -> Vec<Closed> {
        let process = self.host.pid_of(tid);
        if !self.table.locks.is_empty() {
            let closed = named.iter().map(|(_, id)| *id);
            if self.table.unlock(process, closed) {
                self.retry_on(On::Locks);
            }
        }
        let watched = |&(number, id): &(i32, FdIdentity)| {
            let file = Watched::of(self.target(id))?;
            let closed = Closed { file, number, id };
            self.table.is_member(file).then_some(closed)
        };
        let ends: Vec<Closed> = named.iter().filter_map(watched).collect();
        if !ends.is_empty() {
            let known = &mut self.table.numbers;
            known.close((tid, process), numbers, true, Vec::new());
        }
        ends
    }

    /// Before the kernel closes the files that `look_for_holders` found, removes them from all epoll sets.
    fn before_close(&mut self, n: &Call<'_>, numbers: Numbers) {
        self.host.closes.fetch_add(1, Ordering::Relaxed);
        let ends = n.gathered.data().ends.take();
        for closed in ends.iter().flatten() {
            self.epolls.park(&mut self.table, closed.file);
        }
        let (ends_files, ends) = (ends.is_some(), ends.unwrap_or_default());
        let known = &mut self.table.numbers;
        known.close((n.tid, n.pid()), numbers, ends_files, ends);
    }

    /// Restores entries of epoll sets that were removed before a close, if the close is over and the file
    /// still exists. For example, a descriptor in transit over a socket keeps the file.
    pub(crate) fn after_close(&mut self, tid: Option<u32>) {
        if !self.table.numbers.is_changing() {
            return;
        }
        let is_open =
            |tid, closed: &Closed| procs::identify(tid, closed.number) == Ok(Some(closed.id));
        let files = self.table.numbers.over(tid, is_open, procs::is_running);
        if !files.is_empty() {
            self.collect();
            for file in files {
                self.epolls.unpark(&mut self.table, file, self.backend);
            }
        }
    }

    /// Serves fsync, fdatasync, fallocate, ftruncate, sendfile, splice and copy_file_range. Devices and dma-bufs
    /// support none of them.
    ///
    /// Source: Linux 7.2 fs/sync.c `vfs_fsync_range`, fs/open.c `vfs_fallocate`, fs/splice.c
    /// `do_splice_read`, `do_splice_from`, fs/read_write.c `generic_file_rw_checks`.
    pub(crate) fn not_for_devices(&mut self, n: &Call<'_>) -> Served {
        let args: &[usize] = match n.nr {
            libc::SYS_sendfile => &[0, 1],
            libc::SYS_splice | libc::SYS_copy_file_range => &[0, 2],
            _ => &[0],
        };
        if !args.iter().any(|&arg| self.is_ours(n, arg)) {
            return Ok(Verdict::native());
        }
        if n.nr == libc::SYS_fallocate {
            let valid = n.arg(2).cast_signed() >= 0 && n.arg(3).cast_signed() > 0;
            return Err(Reply::Fail(if valid { libc::ENODEV } else { libc::EINVAL }));
        }
        Err(Reply::Fail(libc::EINVAL))
    }
}

/// Returns whether a thread uses the descriptor table of process `pid`. If the kernel does not tell, returns whether
/// it is the thread's process.
fn shares(may: &MayBlock, (tid, process): (u32, u32), pid: u32) -> bool {
    tid == pid || may_block::share_table(may, tid, pid).unwrap_or(process == pid)
}
