//! The threads that make calls, and the files behind their descriptors.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::kernel::{Borrowed, lock, raw};
use vb3_frontend::{Errno, FdIdentity, Label};

/// Maximum number of threads remembered. Further threads are looked up for every call.
const REMEMBERED: usize = 8192;
/// Remembered threads use at most 1/`SHARE` of the supervisor's descriptors.
const SHARE: usize = 4;

/// Interval of searches for a *reserved* number (one for devices), while none is free and none is closed. The
/// time is short, since an exec can close numbers unnoticed.
const FORGET: Duration = Duration::from_millis(200);

/// The searches of long polls for devices among their descriptors take at most 1/`SEARCH_SHARE` of a thread's time.
const SEARCH_SHARE: u32 = 20;

/// A thread that has made a call.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    pub(crate) tgid: u32,
    /// A pidfd of the thread itself if the kernel supports it (Linux 6.9), else of the thread's process.
    pub(crate) pidfd: OwnedFd,
    has_own_pidfd: bool,
    /// The process's name, once it is known. An exec changes it.
    label: Mutex<Option<Label>>,
    /// The reserved number at which the next search for a free one begins; 0 for none.
    pub(crate) next_fd: AtomicU32,
    /// The last time when no reserved number was free, and the count of closes at that time.
    none_free: Mutex<Option<(Instant, u64)>>,
    /// The earliest time of the next [`search_sometimes`](Self::search_sometimes).
    next_search: Mutex<Option<Instant>>,
    /// Locked while the supervisor installs a descriptor at a free number. One lock for each process.
    pub(crate) installing: Arc<Mutex<()>>,
}

/// The file behind a program's descriptor.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) id: FdIdentity,
    pub(crate) mode: libc::mode_t,
    /// A duplicate, or `None` if the kernel refuses to borrow descriptors.
    pub(crate) fd: Option<Borrowed>,
    /// The thread id and number of the descriptor, for its files in /proc.
    place: (u32, i32),
}

impl OpenFile {
    /// Returns the O_* flags of the open file description. This costs a system call.
    pub(crate) fn flags(&self) -> Result<i32, Errno> {
        match &self.fd {
            Some(fd) => raw::status_flags(fd.as_fd()),
            None => {
                let flags = listed_flags(self.place).and_then(|flags| i32::try_from(flags).ok());
                flags.ok_or(Errno(libc::EBADF))
            }
        }
    }

    /// Opens a pipe again; `None` for other files. The new description has the same poll events.
    pub(crate) fn reopened_pipe(&self) -> Option<OwnedFd> {
        if self.mode & libc::S_IFMT != libc::S_IFIFO {
            return None;
        }
        let (tid, fd) = self.place;
        let mode = self.flags().ok()? & libc::O_ACCMODE;
        let path = format!("/proc/{tid}/fd/{fd}");
        raw::open(path, mode | libc::O_NONBLOCK | libc::O_NOCTTY).ok()
    }

    /// Returns whether this is a regular file or directory. The kernel reports such a file as ready, except in a FUSE
    /// file system, where the poll of a file may block.
    pub(crate) fn is_always_ready(&self) -> bool {
        matches!(self.mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
    }
}

/// The known threads, and how their descriptors are looked up.
#[derive(Debug)]
pub(crate) struct Procs {
    threads: Mutex<BTreeMap<u32, Arc<Thread>>>,
    /// Maximum number of threads remembered. Each one uses a descriptor of the supervisor.
    most: usize,
    /// The errno with which this system refuses to duplicate descriptors of any program, if it does.
    pub(crate) no_borrow: Option<Errno>,
}

impl Procs {
    /// Makes an empty table. `no_borrow` is the errno of pidfd_getfd if the system refuses this call for
    /// every program. `descriptors` is the supervisor's descriptor limit.
    pub(crate) fn new(no_borrow: Option<Errno>, descriptors: usize) -> Self {
        Self {
            threads: Mutex::default(),
            most: (descriptors / SHARE).min(REMEMBERED),
            no_borrow,
        }
    }

    /// Returns the thread with this id. If the table will remember the thread, passes its pidfd to `watch`.
    /// When the pidfd becomes readable, the caller must call [`forget`](Self::forget). Calls `on_reuse` if
    /// the table remembered a thread that has ended.
    pub(crate) fn thread(
        &self,
        tid: u32,
        on_reuse: impl FnOnce(),
        watch: impl FnOnce(BorrowedFd<'_>, u32) -> Result<(), Errno>,
    ) -> Result<Arc<Thread>, Errno> {
        match self.known(tid) {
            Some(thread) if thread.is_current() => return Ok(thread),
            Some(_) => {
                self.forget(tid);
                on_reuse();
            }
            None => {}
        }
        let mut thread = Thread::new(tid)?;
        let mut threads = lock(&self.threads);
        let mut known = threads.values();
        if let Some(sibling) = known.find(|known| known.tgid == thread.tgid) {
            thread.installing = Arc::clone(&sibling.installing);
        }
        let thread = Arc::new(thread);
        if threads.len() < self.most && watch(thread.pidfd.as_fd(), tid).is_ok() {
            threads.insert(tid, Arc::clone(&thread));
        }
        Ok(thread)
    }

    /// Forgets a process's name, because an exec is about to change it.
    pub(crate) fn forget_label(&self, process: u32) {
        let threads = lock(&self.threads);
        let own = threads.values().filter(|thread| thread.tgid == process);
        own.for_each(|thread| *lock(&thread.label) = None);
    }

    /// Drops an ended thread, and for a process's leader all threads of the process.
    pub(crate) fn forget(&self, tid: u32) -> Option<Arc<Thread>> {
        let mut threads = lock(&self.threads);
        let gone = threads.remove(&tid)?;
        threads.retain(|_, thread| thread.tgid != tid);
        Some(gone)
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.threads).len()
    }

    fn known(&self, tid: u32) -> Option<Arc<Thread>> {
        lock(&self.threads).get(&tid).map(Arc::clone)
    }

    /// Returns the process id of a thread that is known. Asks the kernel nothing.
    pub(crate) fn process_of(&self, tid: u32) -> Option<u32> {
        self.known(tid).map(|thread| thread.tgid)
    }

    pub(crate) fn remembers(&self, tid: u32) -> bool {
        self.known(tid).is_some_and(|thread| thread.is_current())
    }

    /// Returns whether this very thread lives, and its end will be reported.
    pub(crate) fn follows(&self, thread: &Arc<Thread>) -> bool {
        let is_known = (self.known(thread.tid)).is_some_and(|known| Arc::ptr_eq(&known, thread));
        is_known && thread.has_own_pidfd && !thread.has_ended()
    }

    /// Returns whether the thread's end is noticed even if its process continues.
    pub(crate) fn tells_end_of(&self, tid: u32) -> bool {
        self.known(tid).is_some_and(|thread| thread.has_own_pidfd)
    }

    /// Returns the id of a known thread. For a process's leader, returns all known threads of the process.
    pub(crate) fn threads_of(&self, tid: u32) -> Vec<u32> {
        let threads = lock(&self.threads);
        let meant = threads.values();
        let meant = meant.filter(|thread| thread.tid == tid || thread.tgid == tid);
        meant.map(|thread| thread.tid).collect()
    }

    /// Returns the file behind descriptor `fd` of a thread. Returns EBADF if there is none.
    pub(crate) fn look(&self, thread: &Thread, fd: i32) -> Result<OpenFile, Errno> {
        if fd < 0 {
            return Err(Errno(libc::EBADF));
        }
        let place = (thread.tid, fd);
        let copy = match self.no_borrow {
            None => raw::pidfd_getfd(thread.pidfd.as_fd(), fd).map(Borrowed::from),
            Some(e) => Err(e),
        };
        match (copy, thread.has_own_pidfd) {
            (Ok(copy), true) => {
                let (id, mode) = raw::known(copy.as_fd())?;
                Ok(OpenFile {
                    id,
                    mode,
                    fd: Some(copy.with_mode(mode)),
                    place,
                })
            }
            (Err(Errno(libc::EBADF)), true) => Err(Errno(libc::EBADF)),
            // Uses the path in /proc: the thread may have a descriptor table of its own, the leader may have
            // ended while other threads continue, or pidfd_getfd is refused.
            (copy, _) => Self::look_by_path(place, copy.ok()),
        }
    }

    /// Looks up a descriptor's file by its path in /proc. `copy` is a duplicate of the process's descriptor
    /// with this number. The duplicate is dropped if the thread has another file at the number.
    fn look_by_path(place: (u32, i32), copy: Option<Borrowed>) -> Result<OpenFile, Errno> {
        let (tid, fd) = place;
        let path = format!("/proc/{tid}/fd/{fd}");
        let (id, mode) = raw::known_at(&path).map_err(|_| Errno(libc::EBADF))?;
        let is_same = |copy: &Borrowed| raw::known(copy.as_fd()).is_ok_and(|known| known.0 == id);
        Ok(OpenFile {
            id,
            mode,
            fd: copy.filter(is_same),
            place,
        })
    }

    /// Returns whether a thread's descriptor number `fd` is free. Unlike pidfd_getfd, this makes no duplicate, whose
    /// close could wait. Unlike kcmp, this does not wait for an exec of the thread.
    pub(crate) fn is_free(thread: &Thread, fd: u32) -> bool {
        let link = raw::readlink(format!("/proc/{}/fd/{fd}", thread.tid));
        link.is_err_and(|e| e == Errno(libc::ENOENT))
    }
}

/// Returns the identity of the file behind a descriptor, if the file may be the supervisor's: a memfd or a
/// dma-buf; `None` for other files. The name of a memfd does not count, since programs choose names, too, and a
/// program's own memfd can be a buffer (udmabuf). Fails with EBADF.
///
/// This makes no duplicate, and calls no file system. If another thread replaces the descriptor meanwhile, the
/// identity is that of the new file.
pub(crate) fn identify(tid: impl Display + Copy, fd: i32) -> Result<Option<FdIdentity>, Errno> {
    match may_be_of_ours(tid, fd) {
        None => Err(Errno(libc::EBADF)),
        Some(false) => Ok(None),
        Some(true) => {
            let known = raw::known_at(&format!("/proc/{tid}/fd/{fd}"));
            known
                .map(|(id, _)| Some(id))
                .map_err(|_| Errno(libc::EBADF))
        }
    }
}

/// Returns whether a descriptor may be of a device or a buffer: it is of a memfd or a dma-buf. `None` if there
/// is no such descriptor. Reads only the descriptor's link in /proc, which calls no file system.
pub(crate) fn may_be_of_ours(tid: impl Display, fd: i32) -> Option<bool> {
    let link = raw::readlink(format!("/proc/{tid}/fd/{fd}"));
    let is_ours =
        |target: Vec<u8>| target.starts_with(b"/memfd:") || target.starts_with(b"/dmabuf:");
    link.ok().map(is_ours)
}

/// Returns whether a thread runs, or waits for a CPU. A thread that has ended does not.
pub(crate) fn is_running(tid: u32) -> bool {
    let stat = raw::proc_record(&format!("/proc/{tid}/stat")).unwrap_or_default();
    // The process's name, in parentheses, may itself contain a parenthesis.
    let end = stat.iter().rposition(|&byte| byte == b')');
    end.and_then(|end| stat.get(end + 2)) == Some(&b'R')
}

pub(crate) fn open_descriptors(tid: u32) -> Option<u32> {
    let path = format!("/proc/{tid}/fd");
    let stat = raw::stat(&path, 0).ok()?;
    if stat.st_size > 0 {
        return u32::try_from(stat.st_size).ok();
    }
    // Before Linux 6.2 the directory's size does not show the number of descriptors.
    u32::try_from(raw::proc_numbers(&path).len()).ok()
}

fn listed_flags((tid, fd): (u32, i32)) -> Option<u64> {
    let file = raw::open(format!("/proc/{tid}/fdinfo/{fd}"), libc::O_RDONLY).ok()?;
    // The first lines are the same for all kinds of files.
    let mut text = [0; 512];
    let len = raw::read(file.as_fd(), &mut text).ok()?;
    field(text.get(..len)?, "flags:", 8)
}

/// Returns a number from a thread's status file. Returns ENOENT or ESRCH if the thread has ended.
pub(crate) fn status(tid: impl Display, key: &str) -> Result<u64, Errno> {
    let text = raw::proc_text(&format!("/proc/{tid}/status"))?;
    field(&text, key, 10).ok_or(Errno(libc::ESRCH))
}

pub(crate) fn own_tid() -> u32 {
    thread_local! {
        static TID: i32 = rustix::thread::gettid().as_raw_nonzero().get();
    }
    TID.with(|tid| tid.cast_unsigned())
}

/// Returns how often a thread of this process has waited, if it waits in a system call now, and not for another
/// thread of this process.
pub(crate) fn blocked_waits(tid: u32) -> Option<u64> {
    let call = raw::proc_text(&format!("/proc/self/task/{tid}/syscall")).ok()?;
    let waits = || status(format_args!("self/task/{tid}"), "voluntary_ctxt_switches:").ok();
    is_wait(&call).then(waits)?
}

/// Returns the CPU time that a thread of this process has had, if it runs now or could run on a free CPU.
pub(crate) fn cpu_time_if_runnable(tid: u32) -> Option<Duration> {
    let call = raw::proc_text(&format!("/proc/self/task/{tid}/syscall")).ok()?;
    if call.trim_ascii_end() != b"running" {
        return None;
    }
    let text = raw::proc_text(&format!("/proc/self/task/{tid}/schedstat")).ok()?;
    let time = text.split(|&byte| byte == b' ').next()?;
    let time = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some(Duration::from_nanos(time))
}

/// Returns whether a `syscall` file is that of a thread that waits in a system call other than futex. The file
/// says "running" of a thread that runs, or could run on a free CPU. The call's number is -1 during a page fault.
fn is_wait(call: &[u8]) -> bool {
    let number = call.split(|&byte| byte == b' ').next();
    let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
    number.is_some_and(|number: i64| number >= 0 && number != libc::SYS_futex)
}

pub(crate) fn children(pid: impl Display) -> Vec<u32> {
    let threads = raw::proc_numbers(&format!("/proc/{pid}/task")).into_iter();
    let list = |tid| raw::proc_string(&format!("/proc/{pid}/task/{tid}/children"));
    // The lists can be joined, since each number is followed by a space.
    let all: String = threads.map(list).collect();
    let pids = all.split_ascii_whitespace();
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

const MAX_PROCESSES: usize = 1 << 16;

/// Returns the descendants of this process, parents first. Leaves out each process that `is_meant` rejects, and the
/// descendants of this process.
pub(crate) fn descendants(mut is_meant: impl FnMut(u32) -> bool) -> Vec<u32> {
    let mut all = vec![std::process::id()];
    let mut at = 0;
    while let Some(&pid) = all.get(at) {
        at += 1;
        let room = MAX_PROCESSES.saturating_sub(all.len());
        let meant = children(pid).into_iter().filter(|pid| is_meant(*pid));
        all.extend(meant.take(room));
    }
    all.split_off(1)
}

/// Parses the number after `key` at the start of a line.
pub(crate) fn field(text: &[u8], key: &str, radix: u32) -> Option<u64> {
    let mut lines = text.split(|&b| b == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(key.as_bytes()))?;
    u64::from_str_radix(std::str::from_utf8(value).ok()?.trim(), radix).ok()
}

impl Thread {
    pub(crate) fn new(tid: u32) -> Result<Self, Errno> {
        // Before Linux 6.9, the kernel makes a pidfd only for a process's first thread.
        let (tgid, own) = match raw::pidfd_open(tid) {
            Ok(pidfd) => (tid, Ok(pidfd)),
            Err(_) => {
                let tgid = u32::try_from(status(tid, "Tgid:")?);
                let own = raw::pidfd_open_thread(tid);
                (tgid.map_err(|_| Errno(libc::ESRCH))?, own)
            }
        };
        let has_own_pidfd = own.is_ok();
        let pidfd = own.or_else(|_| raw::pidfd_open(tgid))?;
        Ok(Self {
            tid,
            tgid,
            pidfd,
            has_own_pidfd,
            label: Mutex::new(None),
            next_fd: AtomicU32::new(0),
            none_free: Mutex::new(None),
            next_search: Mutex::new(None),
            installing: Arc::default(),
        })
    }

    /// Returns the process's name, if it is known.
    pub(crate) fn label(&self) -> Option<Label> {
        *lock(&self.label)
    }

    /// Finds out the process's name, unless it is known.
    pub(crate) fn note_label(&self, name: impl FnOnce() -> [u8; 16]) {
        lock(&self.label).get_or_insert_with(|| Label::new(&name()));
    }

    /// Returns whether no reserved number was free a moment ago, and none was closed since then.
    pub(crate) fn has_none_free(&self, closes: u64) -> bool {
        let none_free = *lock(&self.none_free);
        none_free.is_some_and(|(at, then)| then == closes && at.elapsed() < FORGET)
    }

    pub(crate) fn note_none_free(&self, closes: u64) {
        *lock(&self.none_free) = Some((Instant::now(), closes));
    }

    /// Runs a search, unless all searches together would take more than 1/[`SEARCH_SHARE`] of the time.
    pub(crate) fn search_sometimes(&self, search: impl FnOnce()) {
        let began = Instant::now();
        if lock(&self.next_search).is_some_and(|next| began < next) {
            return;
        }
        search();
        let took = began.elapsed();
        *lock(&self.next_search) = began.checked_add(took * SEARCH_SHARE);
    }

    /// Returns whether the thread's id is still its own. Without a pidfd of the thread itself, its end is not
    /// reported, and another process may get the id.
    fn is_current(&self) -> bool {
        let (tgid, tid) = (self.tgid, self.tid);
        self.has_own_pidfd || raw::known_at(&format!("/proc/{tgid}/task/{tid}")).is_ok()
    }

    /// Returns whether the pidfd's thread or process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        raw::poll_now(self.pidfd.as_fd(), libc::POLLIN) != 0
    }
}

/// Serialises tests that fork or unshare the descriptor table, and tests that wait for a descriptor's last copy to be
/// closed. Both calls copy all descriptors.
#[cfg(test)]
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    super::lock(&ALONE)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;
    use std::sync::atomic::Ordering;

    use super::*;

    /// Looks up a thread as before Linux 6.9: with the pidfd of its process.
    fn of_process(tid: u32) -> Thread {
        let own = std::process::id();
        Thread {
            tid,
            tgid: own,
            pidfd: raw::pidfd_open(own).expect("a pidfd"),
            has_own_pidfd: false,
            label: Mutex::new(None),
            next_fd: AtomicU32::new(0),
            none_free: Mutex::new(None),
            next_search: Mutex::new(None),
            installing: Arc::default(),
        }
    }

    #[test]
    fn only_threads_that_wait_for_others_are_blocked() {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let (held, spins) = (Mutex::new(()), std::sync::atomic::AtomicBool::new(true));
        let (tell, told) = std::sync::mpsc::channel();
        let say = || tell.send(own_tid()).expect("it hears");
        let guard = lock(&held);
        std::thread::scope(|scope| {
            let tid = || told.recv().expect("it tells");
            scope.spawn(|| {
                say();
                while spins.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let spinner = tid();
            scope.spawn(|| {
                say();
                drop(lock(&held));
            });
            let waiter = tid();
            scope.spawn(|| {
                say();
                std::io::Read::read_to_end(&mut reader, &mut Vec::new()).expect("it reads");
            });
            let blocked = tid();
            while is_running(waiter) || is_running(blocked) {
                std::thread::yield_now();
            }
            let found = [blocked, blocked, waiter, spinner].map(blocked_waits);
            spins.store(false, Ordering::Relaxed);
            drop((guard, writer));
            assert!(matches!(found, [Some(waits), Some(again), None, None] if waits == again));
        });
    }

    #[test]
    fn waits_are_calls_other_than_futex() {
        let futex = format!("{} 0x7f00 0x80", libc::SYS_futex);
        let others = ["running\n", "-1 0x7ffc 0x7f00", &futex, ""];
        assert!(is_wait(b"0 0x3 0x7f00 0x1000"));
        assert!(others.iter().all(|file| !is_wait(file.as_bytes())));
    }

    #[test]
    fn an_ended_threads_id_is_not_remembered() {
        let procs = Procs::new(None, 1024);
        let ended = std::thread::spawn(rustix::thread::gettid);
        let tid = ended.join().expect("an id").as_raw_nonzero().get();
        // A join returns before the kernel has removed the thread.
        while std::path::Path::new(&format!("/proc/self/task/{tid}")).exists() {
            std::thread::yield_now();
        }
        let [ended, runs] = [tid.cast_unsigned(), std::process::id()];
        for tid in [ended, runs] {
            lock(&procs.threads).insert(tid, Arc::new(of_process(tid)));
        }
        assert!(procs.remembers(runs) && !procs.remembers(ended));
        let mut reused = Vec::new();
        for tid in [ended, runs, ended] {
            let found = procs.thread(tid, || reused.push(tid), |_, _| Ok(()));
            assert_eq!(found.is_ok(), tid == runs);
        }
        assert_eq!((procs.count(), reused), (1, vec![ended]));
    }

    #[test]
    fn a_user_may_be_in_many_groups() {
        let _alone = alone();
        use std::os::unix::process::CommandExt;
        let groups: Vec<libc::gid_t> = (1_000_000_000..1_000_001_000).collect();
        let mut child = std::process::Command::new("sleep");
        // SAFETY: a system call with live memory.
        unsafe {
            child.arg("60").pre_exec(move || {
                match libc::setgroups(groups.len(), groups.as_ptr()) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let Ok(mut child) = child.spawn() else {
            return vb3_skip::skip("only root can set groups");
        };
        assert_eq!(status(child.id(), "NoNewPrivs:"), Ok(0));
        child.kill().expect("it runs");
        child.wait().expect("it has ended");
    }

    #[test]
    fn an_inode_identifies_a_file_and_no_name_does() {
        let files = [c"video0", c"video0", c"vb3"].map(|name| raw::memfd(name).expect("a memfd"));
        let (own, id) = (std::process::id(), |fd: i32| {
            identify(std::process::id(), fd)
        });
        let ids = files.each_ref().map(|file| id(file.as_raw_fd()));
        for (file, found) in files.iter().zip(ids) {
            let (known, _) = raw::known(file.as_fd()).expect("known");
            assert_eq!(found, Ok(Some(known)));
        }
        assert!(ids[0] != ids[1] && ids[0] != ids[2]);
        // Files of file systems, sockets and pipes are not asked.
        let exe = std::fs::File::open("/proc/self/exe").expect("it runs");
        let (pipe, _writer) = std::io::pipe().expect("a pipe");
        assert_eq!([id(exe.as_raw_fd()), id(pipe.as_raw_fd())], [Ok(None); 2]);
        assert_eq!(identify(own, -1), Err(Errno(libc::EBADF)));
        assert_eq!(identify(u32::MAX, 0), Err(Errno(libc::EBADF)));
    }

    #[test]
    fn threads_with_a_table_of_their_own_are_asked() {
        let _alone = alone();
        let procs = Procs::new(None, 1024);
        let [shared, own] = [c"shared", c"own"].map(|name| raw::memfd(name).expect("a memfd"));
        let id = |fd: &OwnedFd| raw::known(fd.as_fd()).expect("known").0;
        let (shared_id, own_id) = (id(&shared), id(&own));
        let (number, later) = (shared.as_raw_fd(), Barrier::new(2));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: these take integers and change only the thread's own descriptor table.
                let tid = unsafe {
                    assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
                    assert!(libc::dup2(own.as_raw_fd(), number) >= 0);
                    let high = libc::fcntl(number, libc::F_DUPFD, 900);
                    assert!(high >= 900);
                    (libc::gettid().cast_unsigned(), high)
                };
                tell.send(tid).expect("it hears");
                later.wait();
                // SAFETY: takes an integer; in this thread's table, the number belongs to another file.
                unsafe { libc::close(number) };
                later.wait();
                later.wait();
            });
            let (tid, high) = told.recv().expect("it tells");
            let thread = of_process(tid);
            let look = procs.look(&thread, number).expect("it has one");
            assert!(look.id == own_id && look.fd.is_none());
            assert_eq!(identify(tid, number), Ok(Some(own_id)));
            let leader = of_process(std::process::id());
            let look = procs.look(&leader, number).expect("it has one");
            assert!(look.id == shared_id && look.fd.is_some());
            assert_eq!(identify(leader.tid, number), Ok(Some(shared_id)));
            assert!(procs.look(&thread, high).is_ok());
            assert!(!Procs::is_free(&thread, high.cast_unsigned()));
            later.wait();
            later.wait();
            assert!(Procs::is_free(&thread, number.cast_unsigned()));
            assert!(!Procs::is_free(&leader, number.cast_unsigned()));
            later.wait();
        });
    }
}
