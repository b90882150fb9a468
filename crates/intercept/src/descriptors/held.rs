//! What programs hold: open file descriptions given to them, and when the last descriptor and
//! mapping of one is gone.
//!
//! A device file has an inode of its own, which nothing keeps but the program's descriptors: an
//! inotify watch tells when the inode is gone, which is exactly then. Many descriptions can be of
//! one buffer, whose memory the backend keeps. Each of those carries a lock on a byte of its own
//! of the file, which only the kernel takes away, when the description ends, and a watch says
//! when to look. The kernel sends that event just before it drops the lock, and sends one for
//! several that come together: the file is looked at again, less and less often, for a second.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::inotify;
use vb3_host::{Errno, FdIdentity, FileId, Tag};

use crate::kernel::raw;

/// When a buffer with a close event is looked at again: this long after, then four times as long.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// From when on a close event has no more to tell.
const LOOKED_ENOUGH: Duration = Duration::from_secs(1);
/// Without inotify: how often everything is looked at.
pub(crate) const LOOK_AT_ALL: Duration = Duration::from_millis(20);
/// Descriptions of one buffer up to which each is asked for alone.
const FEW: usize = 64;
/// What part of the time may be spent on looking at buffers with more of them.
const SHARE: u32 = 20;

/// What a description was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// A device file.
    File(FileId),
    /// A mapping through a device file.
    Mapping(FileId, Tag),
    /// A descriptor of a buffer.
    Buffer(Tag),
}

/// How the end of descriptions is learnt.
#[derive(Debug)]
enum Way {
    /// The inode goes with its only description.
    Inode,
    /// By the locks, seen from a description of our own.
    Locks(OwnedFd),
}

/// What [`Held::collect`] looks at besides what has just ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Files in doubt for which it is time.
    Due,
    /// All files in doubt that were not looked at since then, whatever that costs.
    Since(Instant),
    /// Every file.
    All,
}

/// When a file is looked at next.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    next: Instant,
    pause: Duration,
}

/// A file that descriptions were given of.
#[derive(Debug)]
struct Inode {
    way: Way,
    watch: Option<i32>,
    given: BTreeMap<i64, Given>,
    doubt: Option<Doubt>,
    /// How long the last look took.
    cost: Duration,
    looked: Instant,
}

impl Inode {
    /// When looking at it is worth its cost again.
    fn affordable(&self) -> Instant {
        if self.given.len() <= FEW {
            self.looked
        } else {
            self.looked + self.cost * SHARE
        }
    }
}

/// All descriptions given and not known to be gone.
#[derive(Debug)]
pub(crate) struct Held {
    inotify: Option<OwnedFd>,
    inodes: HashMap<FdIdentity, Inode>,
    watches: HashMap<i32, FdIdentity>,
    /// Files whose inode is gone.
    ended: Vec<FdIdentity>,
    doubtful: HashSet<FdIdentity>,
    next_byte: i64,
    unwatched: usize,
    /// A look at a file with many descriptions waits for the list of all locks.
    wants_locks: bool,
    /// The list, and how long it took to read.
    locks: Option<(LockTable, Duration)>,
    /// Set when a watch was refused.
    pub(crate) refused: Option<Errno>,
}

impl Held {
    pub(crate) fn new() -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let made = inotify::init(flags).map_err(raw::err);
        let refused = made.as_ref().err().copied();
        Self {
            inotify: made.ok(),
            inodes: HashMap::new(),
            watches: HashMap::new(),
            ended: Vec::new(),
            doubtful: HashSet::new(),
            next_byte: 1,
            unwatched: 0,
            wants_locks: false,
            locks: None,
            refused,
        }
    }

    /// Becomes readable when something may be gone.
    pub(crate) fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Until when [`collect`](Self::collect) wants to be called again without an event.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        if self.unwatched > 0 {
            return Some(LOOK_AT_ALL);
        }
        let next = self.doubtful.iter().filter_map(|id| {
            let inode = self.inodes.get(id)?;
            // Who reads the list says when it is there.
            let waits = self.wants_locks() && inode.given.len() > FEW;
            let next = inode.doubt?.next.max(inode.affordable());
            (!waits).then_some(next)
        });
        next.min()
            .map(|next| next.saturating_duration_since(Instant::now()))
    }

    /// Whether nothing is out.
    pub(crate) fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// Gives up on everything: all that is out, as if it were gone.
    pub(crate) fn take_all(&mut self) -> Vec<Given> {
        let all = self.inodes.values().flat_map(|inode| inode.given.values());
        let mut all: Vec<Given> = all.copied().collect();
        // Mappings and buffers before the files they came from.
        all.sort_by_key(|given| matches!(given, Given::File(_)));
        for inode in self.inodes.values_mut() {
            inode.given.clear();
        }
        let ids: Vec<FdIdentity> = self.inodes.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_if_unused(id));
        all
    }

    /// How many descriptions are out.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.inodes.values().map(|inode| inode.given.len()).sum()
    }

    /// Makes a description of the file behind `fd` with the open flags `flags`, to be given to a
    /// program. From now on its end is reported, wherever it ends. For a device file, `fd` itself
    /// is to be closed before that: while it is there, nothing ends.
    ///
    /// # Errors
    /// What reopening and locking say: ENOENT or EACCES for what is no memfd, EMFILE.
    pub(crate) fn make(
        &mut self,
        fd: BorrowedFd<'_>,
        flags: i32,
        given: Given,
    ) -> Result<(OwnedFd, FdIdentity, i64), Errno> {
        let id = raw::identity(&raw::fstat(fd)?);
        let made = raw::reopen(fd, flags)?;
        if !matches!(given, Given::Mapping(..)) {
            raw::seek_past_all(made.as_fd())?;
        }
        let byte = self.next_byte;
        if !self.inodes.contains_key(&id) {
            self.watch_inode(fd, id, given)?;
        }
        let by_lock = self
            .inodes
            .get(&id)
            .is_some_and(|inode| matches!(inode.way, Way::Locks(_)));
        if by_lock && let Err(e) = lock(made.as_fd(), flags, byte) {
            self.drop_if_unused(id);
            return Err(e);
        }
        self.next_byte += 1;
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.given.insert(byte, given);
        }
        Ok((made, id, byte))
    }

    fn watch_inode(
        &mut self,
        fd: BorrowedFd<'_>,
        id: FdIdentity,
        given: Given,
    ) -> Result<(), Errno> {
        let alone = matches!(given, Given::File(_));
        let watch = self.watch(fd, alone);
        let way = if alone && watch.is_some() {
            Way::Inode
        } else {
            Way::Locks(raw::reopen(fd, libc::O_RDWR)?)
        };
        match watch {
            Some(watch) => drop(self.watches.insert(watch, id)),
            None => self.unwatched += 1,
        }
        let inode = Inode {
            way,
            watch,
            given: BTreeMap::new(),
            doubt: None,
            cost: Duration::ZERO,
            looked: Instant::now(),
        };
        self.inodes.insert(id, inode);
        Ok(())
    }

    fn watch(&mut self, fd: BorrowedFd<'_>, alone: bool) -> Option<i32> {
        let path = raw::c_path(&format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        let inotify = self.inotify.as_ref()?;
        let events = if alone {
            libc::IN_DELETE_SELF
        } else {
            libc::IN_CLOSE
        };
        let events = inotify::WatchFlags::from_bits_retain(events);
        let watch = inotify::add_watch(inotify, path.as_c_str(), events);
        watch.map_err(|e| self.refused = Some(raw::err(e))).ok()
    }

    /// Takes back a description that was never given: its end is not reported.
    pub(crate) fn forget(&mut self, id: FdIdentity, byte: i64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.given.remove(&byte);
            self.drop_if_unused(id);
        }
    }

    fn drop_if_unused(&mut self, id: FdIdentity) {
        if !self
            .inodes
            .get(&id)
            .is_some_and(|inode| inode.given.is_empty())
        {
            return;
        }
        let Some(inode) = self.inodes.remove(&id) else {
            return;
        };
        self.doubtful.remove(&id);
        match (inode.watch, &self.inotify) {
            (Some(watch), Some(inotify)) => {
                // The kernel may have taken it away itself, and its number is not used again.
                // It is gone where the file is.
                inotify::remove_watch(inotify, watch).ok();
                self.watches.remove(&watch);
            }
            _ => self.unwatched -= 1,
        }
    }

    /// Whether a description of this file is out.
    pub(crate) fn knows(&self, id: FdIdentity) -> bool {
        self.inodes.contains_key(&id)
    }

    /// Adds what is gone by now to `gone`.
    pub(crate) fn collect(&mut self, look: Look, gone: &mut Vec<Given>) {
        let overflow = self.read_events();
        if overflow {
            self.find_ended();
        }
        for id in core::mem::take(&mut self.ended) {
            if let Some(inode) = self.inodes.get_mut(&id) {
                gone.extend(core::mem::take(&mut inode.given).into_values());
                self.drop_if_unused(id);
            }
        }
        let now = Instant::now();
        let all = look == Look::All;
        let due: Vec<FdIdentity> = if overflow || all || self.unwatched > 0 {
            self.inodes.keys().copied().collect()
        } else {
            let is_due = |inode: &Inode| {
                let is_time = inode.doubt.is_none_or(|doubt| doubt.next <= now);
                is_time && inode.affordable() <= now
            };
            let is_wanted =
                |inode: &Inode| matches!(look, Look::Since(then) if inode.looked < then);
            let due = self.doubtful.iter().filter(|id| {
                let inode = self.inodes.get(id);
                inode.is_some_and(|inode| is_due(inode) || is_wanted(inode))
            });
            due.copied().collect()
        };
        let is_old = |locks: &LockTable| matches!(look, Look::Since(then) if locks.begun < then);
        let locks = match self.locks.take() {
            None if all => Some(LockTable::timed()),
            other => other.filter(|(locks, _)| !is_old(locks)),
        };
        self.wants_locks = false;
        for id in due {
            self.look_at(id, locks.as_ref(), gone);
        }
    }

    /// Whether [`collect`](Self::collect) is to be called again at once, after
    /// [`take_locks`](Self::take_locks).
    pub(crate) const fn wants_locks(&self) -> bool {
        self.wants_locks && self.locks.is_none()
    }

    /// Takes the list of all locks, as of now, for the next look.
    pub(crate) fn take_locks(&mut self, locks: (LockTable, Duration)) {
        self.locks = Some(locks);
    }

    fn look_at(
        &mut self,
        id: FdIdentity,
        locks: Option<&(LockTable, Duration)>,
        gone: &mut Vec<Given>,
    ) {
        let Some(inode) = self.inodes.get_mut(&id) else {
            return;
        };
        let Way::Locks(probe) = &inode.way else {
            return;
        };
        let is_large = inode.given.len() > FEW;
        if is_large && locks.is_none() {
            self.wants_locks = true;
            return;
        }
        let began = Instant::now();
        let locks = locks.filter(|_| is_large);
        let listed = locks.and_then(|(locks, _)| locks.of(id));
        let is_listed = |byte: &i64| listed.is_some_and(|listed| listed.contains(byte));
        let mut ended = HashSet::new();
        // What is not listed may have been missed: the list is read piece by piece.
        let bytes: Vec<i64> = inode.given.keys().copied().collect();
        for run in bytes.split(is_listed) {
            find_unlocked(probe.as_fd(), run, &mut ended);
        }
        inode.given.retain(|byte, given| {
            let held = !ended.contains(byte);
            if !held {
                gone.push(*given);
            }
            held
        });
        let now = Instant::now();
        // What has ended since the list was begun may not be seen.
        let reading = locks.map_or(Duration::ZERO, |(_, took)| *took);
        let seen = locks.map_or(began, |(locks, _)| locks.begun);
        (inode.cost, inode.looked) = (now - began + reading, seen);
        inode.doubt = inode.doubt.and_then(|doubt| {
            let pause = doubt.pause * 4;
            (pause <= LOOKED_ENOUGH).then(|| Doubt {
                next: now + pause,
                pause,
            })
        });
        if inode.doubt.is_none() {
            self.doubtful.remove(&id);
        }
        self.drop_if_unused(id);
    }

    /// Events were lost: finds the watches that the kernel has taken away.
    fn find_ended(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let path = format!("/proc/self/fdinfo/{}", inotify.as_raw_fd());
        let text = raw::proc_string(&path);
        let left: HashSet<i32> = text
            .lines()
            .filter_map(|line| line.strip_prefix("inotify wd:")?.split(' ').next())
            .filter_map(|watch| i32::from_str_radix(watch, 16).ok())
            .collect();
        let gone = self
            .watches
            .iter()
            .filter(|(watch, _)| !left.contains(watch));
        self.ended.extend(gone.map(|(_, id)| *id));
    }

    /// Notes the files with events; true when events were lost.
    fn read_events(&mut self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut lost = false;
        let mut buffer = [0u8; 4096];
        // Bounded: the queue holds at most max_queued_events.
        while let Ok(n) = raw::read(inotify.as_fd(), &mut buffer) {
            let mut rest = buffer.get(..n).unwrap_or_default();
            while let Some((watch, mask, tail)) = event(rest) {
                rest = tail;
                lost |= mask & libc::IN_Q_OVERFLOW != 0;
                let Some(&id) = self.watches.get(&watch) else {
                    continue;
                };
                if mask & (libc::IN_DELETE_SELF | libc::IN_IGNORED) != 0 {
                    self.ended.push(id);
                } else if mask & libc::IN_CLOSE != 0
                    && let Some(inode) = self.inodes.get_mut(&id)
                {
                    let pause = LOOK_AGAIN / 4;
                    let next = Instant::now();
                    inode.doubt = Some(Doubt { next, pause });
                    self.doubtful.insert(id);
                }
            }
            if n == 0 {
                break;
            }
        }
        lost
    }
}

/// The locks of all files at one time.
#[derive(Debug)]
pub(crate) struct LockTable {
    of: HashMap<FdIdentity, HashSet<i64>>,
    /// When it was begun to read.
    begun: Instant,
}

impl LockTable {
    /// What the kernel lists. With thousands of locks that takes milliseconds: beside all locks of
    /// ours.
    fn read() -> Self {
        let begun = Instant::now();
        let text = raw::proc_string("/proc/locks");
        let mut of: HashMap<FdIdentity, HashSet<i64>> = HashMap::new();
        for (id, byte) in text.lines().filter_map(listed_lock) {
            of.entry(id).or_default().insert(byte);
        }
        Self { of, begun }
    }

    /// The same, and how long it took.
    pub(crate) fn timed() -> (Self, Duration) {
        let began = Instant::now();
        let read = Self::read();
        (read, began.elapsed())
    }

    /// The first bytes of the locks on a file; none where the kernel does not list them.
    fn of(&self, id: FdIdentity) -> Option<&HashSet<i64>> {
        self.of.get(&id)
    }
}

/// One line of /proc/locks, of a lock held: the file and the first byte.
fn listed_lock(line: &str) -> Option<(FdIdentity, i64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    (words.next()? == "OFDLCK").then_some(())?;
    let mut file = words.nth(3)?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let ino = file.next()?.parse().ok()?;
    let dev = libc::makedev(major, minor);
    Some((FdIdentity { dev, ino }, words.next()?.parse().ok()?))
}

/// Splits the first event off: watch, mask, the rest.
fn event(bytes: &[u8]) -> Option<(i32, u32, &[u8])> {
    let word = |at: usize| {
        bytes
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_ne_bytes)
    };
    let (watch, mask, len) = (word(0)?, word(4)?, word(12)?);
    let tail = bytes.get(16usize.checked_add(len as usize)?..)?;
    Some((watch.cast_signed(), mask, tail))
}

fn range(kind: libc::c_int, byte: i64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        l_pid: 0,
    }
}

fn lock(fd: BorrowedFd<'_>, flags: i32, byte: i64) -> Result<(), Errno> {
    let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
    let kind = if writable {
        libc::F_WRLCK
    } else {
        libc::F_RDLCK
    };
    ofd_lock(fd, libc::F_OFD_SETLK, &mut range(kind, byte))
}

/// rustix has no locks of descriptions.
fn ofd_lock(fd: BorrowedFd<'_>, command: i32, lock: &mut libc::flock) -> Result<(), Errno> {
    // SAFETY: the structure is live.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), command, core::ptr::from_mut(lock)) };
    raw::check(done).map(drop)
}

/// Adds those of `run`, in order, that are locked no more. Many that ended together take one question,
/// each of which the kernel answers by going through all locks of the file.
fn find_unlocked(probe: BorrowedFd<'_>, run: &[i64], unlocked: &mut HashSet<i64>) {
    let mut runs = vec![run];
    while let Some(run) = runs.pop() {
        let (Some(&first), Some(&last)) = (run.first(), run.last()) else {
            continue;
        };
        let Some(byte) = locked_in(probe, first, last) else {
            unlocked.extend(run);
            continue;
        };
        // One of those that are locked, not the first one.
        let before = run.partition_point(|&other| other < byte);
        let (before, rest) = run.split_at(before);
        runs.extend([before, rest.strip_prefix(&[byte]).unwrap_or(rest)]);
    }
}

/// A byte from `first` to `last` that somebody has locked.
fn locked_in(probe: BorrowedFd<'_>, first: i64, last: i64) -> Option<i64> {
    let mut lock = range(libc::F_WRLCK, first);
    lock.l_len = last - first + 1;
    let asked = ofd_lock(probe, libc::F_OFD_GETLK, &mut lock);
    let is_locked = asked.is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short;
    is_locked.then_some(lock.l_start.clamp(first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(held: &mut Held) -> Vec<Given> {
        let mut gone = Vec::new();
        held.collect(Look::Due, &mut gone);
        if held.wants_locks() {
            held.take_locks(LockTable::timed());
            held.collect(Look::Due, &mut gone);
        }
        gone
    }

    #[test]
    fn many_are_looked_at_once_the_list_of_locks_has_been_read_elsewhere() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let mut made = Vec::new();
        for tag in 0..=FEW as u64 {
            let given = Given::Buffer(Tag(tag));
            let one = held.make(memfd.as_fd(), libc::O_RDWR, given);
            made.push(one.expect("made"));
        }
        drop(made.pop());
        let mut gone = Vec::new();
        for _ in 0..2 {
            held.collect(Look::Due, &mut gone);
            assert!(gone.is_empty() && held.wants_locks());
        }
        held.take_locks(LockTable::timed());
        held.collect(Look::Due, &mut gone);
        assert_eq!(gone, [Given::Buffer(Tag(FEW as u64))]);
        assert!(!held.wants_locks());
        // As many as may be asked for one by one.
        drop(made.pop());
        held.collect(Look::Due, &mut gone);
        assert_eq!(gone.len(), 2);
        assert!(!held.wants_locks());
    }

    #[test]
    fn finds_those_that_are_locked_no_more_among_those_that_are() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let mut made = Vec::new();
        for tag in 0..200 {
            let given = Given::Buffer(Tag(tag));
            let one = held.make(memfd.as_fd(), libc::O_RDWR, given).expect("made");
            made.push(one);
        }
        let bytes: Vec<i64> = made.iter().map(|(.., byte)| *byte).collect();
        let ends: [fn(usize) -> bool; 5] = [
            |at| at == 0,
            |at| at == 199,
            |at| (20..90).contains(&at),
            |at| at % 7 == 3,
            |_| true,
        ];
        for ends in ends {
            made.retain(|(.., byte)| {
                bytes
                    .iter()
                    .position(|of| of == byte)
                    .is_none_or(|at| !ends(at))
            });
            let mut left: HashSet<i64> = bytes.iter().copied().collect();
            let mut unlocked = HashSet::new();
            find_unlocked(memfd.as_fd(), &bytes, &mut unlocked);
            left.retain(|byte| !unlocked.contains(byte));
            assert_eq!(left, made.iter().map(|(.., byte)| *byte).collect());
        }
        assert_eq!(made.len(), 0);
    }

    #[test]
    fn reports_each_description_once_and_only_when_its_last_holder_is_gone() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let (a, id, _) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::Buffer(Tag(1)))
            .expect("a");
        let (b, ..) = held
            .make(memfd.as_fd(), libc::O_RDONLY, Given::Buffer(Tag(2)))
            .expect("b");
        let copy = a.try_clone().expect("dup");
        assert_eq!(collect(&mut held), []);
        drop(a);
        assert_eq!(collect(&mut held), []);
        drop(copy);
        assert_eq!(collect(&mut held), [Given::Buffer(Tag(1))]);
        assert_eq!(collect(&mut held), []);
        assert!(held.knows(id));
        drop(b);
        assert_eq!(collect(&mut held), [Given::Buffer(Tag(2))]);
        assert!(!held.knows(id));
        assert_eq!((held.count(), held.look_again()), (0, None));
    }

    #[test]
    fn a_stranger_closing_the_file_ends_nothing() {
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let (_a, ..) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::Buffer(Tag(1)))
            .expect("made");
        drop(raw::reopen(memfd.as_fd(), libc::O_RDONLY).expect("stranger"));
        assert_eq!(collect(&mut held), []);
        // The kernel says so before the lock is gone: it is looked at again.
        assert!(held.look_again().is_some_and(|pause| pause <= LOOK_AGAIN));
    }

    #[test]
    fn a_device_file_ends_with_its_last_descriptor_and_at_once() {
        let _alone = crate::process::alone();
        let mut held = Held::new();
        for n in 0..100 {
            let memfd = raw::memfd(c"held").expect("memfd");
            let given = Given::File(FileId(n));
            let (a, id, _) = held.make(memfd.as_fd(), libc::O_RDWR, given).expect("made");
            drop(memfd);
            let copy = a.try_clone().expect("dup");
            drop(a);
            assert_eq!(collect(&mut held), []);
            drop(copy);
            assert_eq!(collect(&mut held), [given]);
            assert!(!held.knows(id) && held.look_again().is_none());
        }
    }

    #[test]
    fn locks_of_programs_on_a_device_file_are_free() {
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let given = Given::File(FileId(1));
        let (file, ..) = held.make(memfd.as_fd(), libc::O_RDWR, given).expect("made");
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::fcntl_lock(&file, operation).expect("as lockf of the whole file");
    }

    #[test]
    fn lost_events_are_made_good() {
        let _alone = crate::process::alone();
        let mut held = Held::new();
        let made: Vec<_> = (0..3)
            .map(|n| {
                let memfd = raw::memfd(c"held").expect("memfd");
                let given = Given::File(FileId(n));
                held.make(memfd.as_fd(), libc::O_RDWR, given).expect("made")
            })
            .collect();
        let [a, b, c] = <[_; 3]>::try_from(made).expect("three");
        drop(b);
        // The events are read by somebody else.
        let inotify = held.inotify.as_ref().expect("inotify").as_fd();
        raw::read(inotify, &mut [0; 4096]).expect("an event");
        held.find_ended();
        assert_eq!(collect(&mut held), [Given::File(FileId(1))]);
        drop((a, c));
        assert_eq!(collect(&mut held).len(), 2);
    }

    #[test]
    fn of_thousands_of_descriptions_each_end_is_found() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let mut all: Vec<_> = (0..400)
            .map(|n| {
                let given = Given::Buffer(Tag(n));
                held.make(memfd.as_fd(), libc::O_RDWR, given)
                    .expect("made")
                    .0
            })
            .collect();
        drop(all.swap_remove(7));
        drop(all.swap_remove(200));
        let mut gone = Vec::new();
        held.collect(Look::All, &mut gone);
        assert_eq!(gone, [Given::Buffer(Tag(7)), Given::Buffer(Tag(200))]);
        assert_eq!(held.count(), 398);
    }

    #[test]
    fn a_line_of_the_lock_list_is_understood() {
        let line = "7: OFDLCK ADVISORY  WRITE -1 00:01:1035 12 12";
        let id = FdIdentity {
            dev: libc::makedev(0, 1),
            ino: 1035,
        };
        assert_eq!(listed_lock(line), Some((id, 12)));
        let waits = "7: -> OFDLCK ADVISORY  WRITE -1 00:01:1035 12 12";
        assert_eq!(listed_lock(waits), None);
        assert_eq!(
            listed_lock("1: POSIX  ADVISORY  WRITE 9 00:01:7 0 EOF"),
            None
        );
    }

    #[test]
    fn without_inotify_a_look_finds_it() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        held.inotify = None;
        let (a, ..) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::File(FileId(1)))
            .expect("made");
        assert_eq!(collect(&mut held), []);
        assert_eq!(held.look_again(), Some(LOOK_AT_ALL));
        drop(a);
        assert_eq!(collect(&mut held), [Given::File(FileId(1))]);
        assert_eq!(held.look_again(), None);
    }

    #[test]
    fn a_forgotten_description_is_not_reported() {
        let _alone = crate::process::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let (a, id, byte) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::Buffer(Tag(1)))
            .expect("made");
        held.forget(id, byte);
        drop(a);
        assert_eq!(collect(&mut held), []);
        assert_eq!(held.count(), 0);
    }
}
