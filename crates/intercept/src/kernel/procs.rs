//! The threads that call, and what their descriptors name.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::kernel::lock::lock;
use crate::kernel::raw;
use crate::kernel::reaper::Borrowed;
use vb3_host::{Errno, FdIdentity};

/// Threads remembered at most; others are looked up anew for every call.
const REMEMBERED: usize = 8192;
/// What part of our descriptors they may take.
const SHARE: usize = 4;

/// How long it is believed that no number is free: an exec, too, may close some.
const FORGET: Duration = Duration::from_millis(200);

/// A thread that has called.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    /// Its process.
    pub(crate) tgid: u32,
    /// Of the thread itself where the kernel can, else of its process.
    pub(crate) pidfd: OwnedFd,
    /// Whether that is of the thread itself.
    has_own_pidfd: bool,
    /// Descriptor numbers last found free in the reserved range (a hint).
    pub(crate) next_fd: AtomicU32,
    /// When no kept number was free, and how many closes there had been.
    none_free: Mutex<Option<(Instant, u64)>>,
    /// Held while a descriptor is given to the process at a number that was found free.
    pub(crate) installing: Arc<Mutex<()>>,
}

/// What a descriptor of a program names.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) id: FdIdentity,
    /// Its type and permissions.
    pub(crate) mode: libc::mode_t,
    /// A duplicate; absent where borrowing is refused.
    pub(crate) fd: Option<Borrowed>,
    /// Whose descriptor it is, where there is no duplicate to ask.
    place: (u32, i32),
}

impl Look {
    /// O_* flags of the open file description. Asked for only where they matter: it costs a
    /// system call.
    pub(crate) fn flags(&self) -> Result<i32, Errno> {
        match &self.fd {
            Some(fd) => raw::status_flags(fd.as_fd()),
            None => {
                let (tid, fd) = self.place;
                let flags = fd_info(tid, fd, "flags:", 8)?;
                i32::try_from(flags).map_err(|_| Errno(libc::EBADF))
            }
        }
    }

    /// Another description of the same pipe, which polls as the program's own does.
    pub(crate) fn reopened_pipe(&self) -> Option<OwnedFd> {
        if self.mode & libc::S_IFMT != libc::S_IFIFO {
            return None;
        }
        let (tid, fd) = self.place;
        let mode = self.flags().ok()? & libc::O_ACCMODE;
        let path = raw::c_path(&format!("/proc/{tid}/fd/{fd}")).ok()?;
        raw::open(&path, mode | libc::O_NONBLOCK | libc::O_NOCTTY).ok()
    }

    /// Whether a poll asks a file system, which a program may serve. Devices, sockets, pipes and
    /// anonymous files answer at once.
    pub(crate) fn may_wait_in_poll(&self) -> bool {
        self.is_always_ready()
    }

    /// Whether it polls as ready always, unless its file system has a poll of its own.
    pub(crate) fn is_always_ready(&self) -> bool {
        matches!(self.mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFDIR)
    }
}

/// Threads by their ids and by their processes.
#[derive(Debug, Default)]
struct Threads {
    all: HashMap<u32, Arc<Thread>>,
    of: HashMap<u32, BTreeSet<u32>>,
}

impl Threads {
    fn insert(&mut self, thread: &Arc<Thread>) {
        self.of.entry(thread.tgid).or_default().insert(thread.tid);
        self.all.insert(thread.tid, Arc::clone(thread));
    }

    fn remove(&mut self, tid: u32) -> Option<Arc<Thread>> {
        let gone = self.all.remove(&tid)?;
        if let Some(of) = self.of.get_mut(&gone.tgid) {
            of.remove(&tid);
            if of.is_empty() {
                self.of.remove(&gone.tgid);
            }
        }
        Some(gone)
    }

    /// A thread, if it is known, and with a process's leader all of the process's that are.
    fn with_siblings(&self, tid: u32) -> Vec<u32> {
        let alone = self.all.contains_key(&tid).then_some(tid);
        let of = self.of.get(&tid).into_iter().flatten().copied();
        of.chain(alone)
            .collect::<BTreeSet<u32>>()
            .into_iter()
            .collect()
    }
}

/// The threads known.
#[derive(Debug)]
pub(crate) struct Procs {
    threads: Mutex<Threads>,
    /// How many are remembered at most: each takes a descriptor of ours.
    most: usize,
    /// Why no descriptor of any program can be duplicated here, if so.
    no_borrow: Option<Errno>,
    told: AtomicBool,
}

impl Procs {
    /// `no_borrow`: why pidfd_getfd is refused for every program, if it is.
    /// `descriptors`: how many the supervisor may have.
    pub(crate) fn new(no_borrow: Option<Errno>, descriptors: usize) -> Self {
        Self {
            threads: Mutex::default(),
            most: (descriptors / SHARE).min(REMEMBERED),
            no_borrow,
            told: AtomicBool::new(false),
        }
    }

    /// The thread with this id. `watch` gets the pidfd of one that is to be remembered, and is to
    /// call [`forget`](Self::forget) when it becomes readable.
    pub(crate) fn thread(
        &self,
        tid: u32,
        watch: impl FnOnce(BorrowedFd<'_>, u32) -> Result<(), Errno>,
    ) -> Result<Arc<Thread>, Errno> {
        if let Some(thread) = lock(&self.threads).all.get(&tid) {
            return Ok(Arc::clone(thread));
        }
        let mut thread = Thread::new(tid)?;
        let mut threads = lock(&self.threads);
        let siblings = threads.of.get(&thread.tgid);
        let sibling = siblings.and_then(|of| threads.all.get(of.first()?));
        if let Some(sibling) = sibling {
            thread.installing = Arc::clone(&sibling.installing);
        }
        let thread = Arc::new(thread);
        if threads.all.len() < self.most && watch(thread.pidfd.as_fd(), tid).is_ok() {
            threads.insert(&thread);
        }
        Ok(thread)
    }

    /// Drops a thread that has ended, and with a process's leader all of the process's.
    pub(crate) fn forget(&self, tid: u32) -> Option<Arc<Thread>> {
        let mut threads = lock(&self.threads);
        let gone = threads.remove(tid)?;
        for sibling in threads.with_siblings(tid) {
            threads.remove(sibling);
        }
        Some(gone)
    }

    /// How many threads are known.
    pub(crate) fn count(&self) -> usize {
        lock(&self.threads).all.len()
    }

    /// Whether a thread is known, so that its end will be.
    pub(crate) fn remembers(&self, tid: u32) -> bool {
        lock(&self.threads).all.contains_key(&tid)
    }

    /// Whether the end of a thread will be told though its process goes on.
    pub(crate) fn tells_end_of(&self, tid: u32) -> bool {
        let threads = lock(&self.threads);
        threads
            .all
            .get(&tid)
            .is_some_and(|thread| thread.has_own_pidfd)
    }

    /// A thread, and with a process's leader all of the process's that are known.
    pub(crate) fn threads_of(&self, tid: u32) -> Vec<u32> {
        lock(&self.threads).with_siblings(tid)
    }

    /// Why descriptors cannot be borrowed, if so; told once.
    pub(crate) fn borrow_refused_once(&self) -> Option<Errno> {
        if self.told.swap(true, Ordering::Relaxed) {
            None
        } else {
            self.no_borrow
        }
    }

    /// What descriptor `fd` of a thread names.
    ///
    /// # Errors
    /// EBADF.
    pub(crate) fn look(&self, thread: &Thread, fd: i32) -> Result<Look, Errno> {
        if fd < 0 {
            return Err(Errno(libc::EBADF));
        }
        let place = (thread.tid, fd);
        let copy = match self.no_borrow {
            None => raw::pidfd_getfd(thread.pidfd.as_fd(), fd),
            Some(e) => Err(e),
        };
        if thread.has_own_pidfd {
            match copy {
                Ok(copy) => {
                    let (id, mode) = raw::known(copy.as_fd())?;
                    let fd = Some(copy.into());
                    return Ok(Look {
                        id,
                        mode,
                        fd,
                        place,
                    });
                }
                Err(Errno(libc::EBADF)) => return Err(Errno(libc::EBADF)),
                // The leader has ended, other threads go on; or this one program may not be
                // asked. Look by path.
                Err(_) => {}
            }
            return Self::look_by_path(place, None);
        }
        Self::look_by_path(place, copy.ok())
    }

    /// What a descriptor of a thread names, by its link. `copy`: the one that its process has at this
    /// number, which is another file where the thread has a table of its own.
    fn look_by_path(place: (u32, i32), copy: Option<OwnedFd>) -> Result<Look, Errno> {
        let (tid, fd) = place;
        let path = raw::c_path(&format!("/proc/{tid}/fd/{fd}"))?;
        let (id, mode) = raw::known_at(&path).map_err(|_| Errno(libc::EBADF))?;
        let copy = copy.map(Borrowed::from);
        let is_same = |copy: &Borrowed| raw::known(copy.as_fd()).is_ok_and(|known| known.0 == id);
        Ok(Look {
            id,
            mode,
            fd: copy.filter(is_same),
            place,
        })
    }

    /// Whether descriptor number `fd` of a thread is free.
    pub(crate) fn is_free(&self, thread: &Thread, fd: u32) -> bool {
        if self.no_borrow.is_none()
            && thread.has_own_pidfd
            && let Err(Errno(libc::EBADF)) =
                raw::pidfd_getfd(thread.pidfd.as_fd(), fd.cast_signed())
        {
            return true;
        }
        let by_path = raw::c_path(&format!("/proc/{}/fd/{fd}", thread.tid))
            .and_then(|path| raw::stat(&path, libc::AT_SYMLINK_NOFOLLOW));
        matches!(by_path, Err(Errno(libc::ENOENT)))
    }
}

/// Whether a descriptor certainly names neither a device nor a buffer, which are memory or dma-bufs: by
/// its link, for which no file system is asked.
pub(crate) fn is_of_another(tid: u32, fd: i32) -> bool {
    let link = raw::c_path(&format!("/proc/{tid}/fd/{fd}"));
    link.and_then(|link| raw::readlink(&link))
        .is_ok_and(|target| !may_be_ours(&target))
}

/// Whether a descriptor's link may lead to a device or a buffer.
pub(crate) fn may_be_ours(target: &[u8]) -> bool {
    target.starts_with(b"/memfd:") || target.starts_with(b"/dmabuf:")
}

/// How many descriptors a thread has open.
pub(crate) fn open_descriptors(tid: u32) -> Option<u32> {
    let path = format!("/proc/{tid}/fd");
    let stat = raw::stat(&raw::c_path(&path).ok()?, 0).ok()?;
    if stat.st_size > 0 {
        return u32::try_from(stat.st_size).ok();
    }
    // Before Linux 6.2 the directory has no size.
    u32::try_from(raw::proc_numbers(&path).len()).ok()
}

/// A number from a descriptor's fdinfo file.
pub(crate) fn fd_info(tid: u32, fd: i32, key: &str, radix: u32) -> Result<u64, Errno> {
    let path = raw::c_path(&format!("/proc/{tid}/fdinfo/{fd}"))?;
    let file = raw::open(&path, libc::O_RDONLY).map_err(|_| Errno(libc::EBADF))?;
    let text = raw::read_small(file.as_fd(), 512)?;
    field(&text, key, radix).ok_or(Errno(libc::EBADF))
}

/// A number from a thread's status file.
///
/// # Errors
/// ENOENT, ESRCH: the thread has ended.
pub(crate) fn status(tid: u32, key: &str) -> Result<u64, Errno> {
    let path = raw::c_path(&format!("/proc/{tid}/status"))?;
    let file = raw::open(&path, libc::O_RDONLY)?;
    let text = raw::read_small(file.as_fd(), 4096)?;
    field(&text, key, 10).ok_or(Errno(libc::ESRCH))
}

/// The number after `key` at the start of a line.
pub(crate) fn field(text: &[u8], key: &str, radix: u32) -> Option<u64> {
    let line = text
        .split(|&b| b == b'\n')
        .find(|line| line.starts_with(key.as_bytes()))?;
    let value = std::str::from_utf8(line.get(key.len()..)?).ok()?.trim();
    u64::from_str_radix(value, radix).ok()
}

impl Thread {
    pub(crate) fn new(tid: u32) -> Result<Self, Errno> {
        let (next_fd, none_free) = (AtomicU32::new(0), Mutex::new(None));
        // Only a process's first thread has a pidfd in every kernel.
        if let Ok(pidfd) = raw::pidfd_open(tid) {
            return Ok(Self {
                tid,
                tgid: tid,
                pidfd,
                has_own_pidfd: true,
                next_fd,
                none_free,
                installing: Arc::default(),
            });
        }
        let tgid = u32::try_from(status(tid, "Tgid:")?).map_err(|_| Errno(libc::ESRCH))?;
        let own = raw::pidfd_open_thread(tid);
        let has_own_pidfd = own.is_ok();
        let pidfd = own.or_else(|_| raw::pidfd_open(tgid))?;
        Ok(Self {
            tid,
            tgid,
            pidfd,
            has_own_pidfd,
            next_fd,
            none_free,
            installing: Arc::default(),
        })
    }

    /// Whether no kept number was free a moment ago and none was closed since.
    pub(crate) fn has_none_free(&self, closes: u64) -> bool {
        let none_free = *lock(&self.none_free);
        none_free.is_some_and(|(at, then)| then == closes && at.elapsed() < FORGET)
    }

    pub(crate) fn note_none_free(&self, closes: u64) {
        *lock(&self.none_free) = Some((Instant::now(), closes));
    }

    /// Whether the pidfd's thread or process has ended.
    pub(crate) fn has_ended(&self) -> bool {
        raw::poll_now(self.pidfd.as_fd(), libc::POLLIN) != 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::Barrier;

    use super::*;

    /// As before Linux 6.9: the pidfd of a thread is its process's.
    fn of_process(tid: u32) -> Thread {
        let own = std::process::id();
        Thread {
            tid,
            tgid: own,
            pidfd: raw::pidfd_open(own).expect("a pidfd"),
            has_own_pidfd: false,
            next_fd: AtomicU32::new(0),
            none_free: Mutex::new(None),
            installing: Arc::default(),
        }
    }

    #[test]
    fn threads_with_a_table_of_their_own_are_asked() {
        let procs = Procs::new(None, 1024);
        let [shared, own] = [c"shared", c"own"].map(|name| raw::memfd(name).expect("a memfd"));
        let id = |fd: &OwnedFd| raw::known(fd.as_fd()).expect("known").0;
        let (shared_id, own_id) = (id(&shared), id(&own));
        let (number, later) = (shared.as_raw_fd(), Barrier::new(2));
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // SAFETY: these take integers and change the thread's own table.
                let tid = unsafe {
                    assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
                    assert!(libc::dup2(own.as_raw_fd(), number) >= 0);
                    let high = libc::fcntl(number, libc::F_DUPFD, 900);
                    assert!(high >= 900);
                    (libc::gettid().cast_unsigned(), high)
                };
                tell.send(tid).expect("it hears");
                later.wait();
                // SAFETY: takes an integer; the file behind it is another's in this table.
                unsafe { libc::close(number) };
                later.wait();
                later.wait();
            });
            let (tid, high) = told.recv().expect("it tells");
            let thread = of_process(tid);
            let look = procs.look(&thread, number).expect("it has one");
            assert!(look.id == own_id && look.fd.is_none());
            let leader = of_process(std::process::id());
            let look = procs.look(&leader, number).expect("it has one");
            assert!(look.id == shared_id && look.fd.is_some());
            assert!(procs.look(&thread, high).is_ok());
            assert!(!procs.is_free(&thread, high.cast_unsigned()));
            later.wait();
            later.wait();
            assert!(procs.is_free(&thread, number.cast_unsigned()));
            assert!(!procs.is_free(&leader, number.cast_unsigned()));
            later.wait();
        });
    }
}
