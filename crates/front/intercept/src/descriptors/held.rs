//! Tracks the open file descriptions that programs got, and finds the end of each: the time when its
//! last descriptor and mapping have gone.
//!
//! Each device file has its own inode, which exists while programs have descriptors of it. An inotify watch
//! reports the end of the inode. A buffer's inode stays, since the backend keeps the memory, and can have
//! many descriptions. Each description holds an OFD lock on its own byte of the file; the kernel releases the
//! lock when the description ends. A watch reports closes. The kernel sends this event just before it
//! releases the lock, and merges several events into one. So after an event, this module checks the file's
//! locks again and again for more than a second, at growing intervals.
//!
//! The supervisor reads these events before it answers a call, and processes at most 128 ends at a time. For
//! a QBUF or DQBUF of a streaming queue, it reads them only after the call has failed or would wait. It then
//! repeats the call (`Backend::needs_fresh_closes`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, ReadFlags, WatchFlags};
use vb3_frontend::{Errno, FdIdentity, FileId, Tag};

use super::ofd::{LockTable, find_unlocked, lock, own_locks};
use crate::kernel::raw;

/// Delay of the first check after a close event. Each further delay is four times as long.
pub(crate) const RECHECK_DELAY: Duration = Duration::from_millis(1);
/// Longest delay of a check. The last check comes about 1.4 seconds after the close event.
const RECHECK_LIMIT: Duration = Duration::from_millis(1024);
/// Interval of checks of all files, if the kernel refuses an inotify watch.
pub(crate) const FULL_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of descriptions of one buffer whose locks are probed one by one.
const MAX_PROBED: usize = 64;
/// After a check of a buffer with more than `MAX_PROBED` descriptions, the next check waits for this many times
/// the duration of the check.
const TIME_SHARE: u32 = 20;

/// The object that a description stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    File(FileId),
    /// A mapping through a device file.
    Mapping(FileId, Tag),
    /// A descriptor of a buffer.
    Buffer(Tag),
}

/// Selects the files whose locks [`Held::collect`] checks. Files whose inode has ended are always collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckScope {
    /// Files with a recent close whose next check is due.
    Due,
    /// As `Due`, if no descriptor of a watched file was closed since the last call: this saves a system call.
    NoneClosed,
    /// As `Due`, and all files with a recent close that were last checked before this time, even if checks of
    /// them take long.
    Since(Instant),
    All,
}

/// The next check of a file with a recent close, and the interval before it.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    next: Instant,
    pause: Duration,
}

/// A file with descriptions given to programs.
#[derive(Debug)]
struct Inode {
    /// A descriptor of the file, by which the locks of its descriptions are queried: a description without its
    /// lock has ended. `None` if a watch reports the end of the inode: the inode has only one description, and
    /// ends with it.
    probe: Option<OwnedFd>,
    watch: Option<i32>,
    given: BTreeMap<i64, Given>,
    doubt: Option<Doubt>,
    /// Duration of the last check.
    cost: Duration,
    looked: Instant,
}

impl Inode {
    /// Returns whether a check needs the list of all locks.
    fn is_large(&self) -> bool {
        self.given.len() > MAX_PROBED
    }

    /// Returns the earliest time for the next check, given the last check's cost.
    fn affordable(&self) -> Instant {
        match self.is_large() {
            true => self.looked + self.cost * TIME_SHARE,
            false => self.looked,
        }
    }
}

/// All descriptions given to programs and not known to have ended.
#[derive(Debug, Default)]
pub(crate) struct Held {
    inotify: Option<OwnedFd>,
    inodes: HashMap<FdIdentity, Inode>,
    watches: HashMap<i32, FdIdentity>,
    /// Files whose inode has ended; [`collect`](Held::collect) takes them.
    ended: Vec<FdIdentity>,
    doubtful: HashSet<FdIdentity>,
    next_byte: i64,
    unwatched: usize,
    /// Whether a check of a file with many descriptions waits for the list of all locks.
    wants_locks: bool,
    locks: Option<LockTable>,
    /// The errno with which the kernel last refused a watch.
    pub(crate) refused: Option<Errno>,
}

impl Held {
    pub(crate) fn new() -> Self {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let made = inotify::init(flags).map_err(raw::err);
        Self {
            refused: made.as_ref().err().copied(),
            inotify: made.ok(),
            next_byte: 1,
            ..Self::default()
        }
    }

    /// Returns the inotify descriptor. It becomes readable when a description may have ended.
    pub(crate) fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Returns the time until [`collect`](Self::collect) must be called without an event.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        if self.unwatched > 0 {
            return Some(FULL_CHECK_INTERVAL);
        }
        let next = self.doubtful.iter().filter_map(|id| {
            let inode = self.inodes.get(id)?;
            // A file that waits for the list of locks needs no timeout: the thread that reads the list wakes
            // the clock thread, which calls `collect`.
            let waits = self.wants_locks() && inode.is_large();
            let next = inode.doubt?.next.max(inode.affordable());
            (!waits).then_some(next)
        });
        next.min()
            .map(|next| next.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// Takes all descriptions at the end of a run. Returns the objects they stood for, device files last.
    pub(crate) fn take_all(&mut self) -> Vec<Given> {
        let inodes = core::mem::take(&mut self.inodes).into_values();
        let mut all: Vec<Given> = inodes.flat_map(|inode| inode.given.into_values()).collect();
        // Mappings and buffers come before the device files that they belong to.
        all.sort_by_key(|given| matches!(given, Given::File(_)));
        all
    }

    /// Makes a new description of the file behind `fd` with the open flags `flags`, for a program. `collect`
    /// reports the description's end, no matter which processes have got it. A device file does not end before
    /// the caller closes `fd`. Fails if the file cannot be reopened or locked: with ENOENT or EACCES if `fd` is
    /// no memfd, or with EMFILE.
    pub(crate) fn make(
        &mut self,
        fd: BorrowedFd<'_>,
        flags: i32,
        given: Given,
    ) -> Result<(OwnedFd, FdIdentity, i64), Errno> {
        let (id, _) = raw::known(fd)?;
        let made = raw::reopen(fd, flags)?;
        if !matches!(given, Given::Mapping(..)) {
            raw::seek_past_all(made.as_fd())?;
        }
        let byte = self.next_byte;
        if !self.inodes.contains_key(&id) {
            self.watch_inode(fd, id, given)?;
        }
        let inode = self.inodes.get(&id);
        let by_lock = inode.is_some_and(|inode| inode.probe.is_some());
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
        let events = match alone {
            true => WatchFlags::DELETE_SELF,
            false => WatchFlags::CLOSE_WRITE | WatchFlags::CLOSE_NOWRITE,
        };
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let watch = self.inotify.as_ref().and_then(|inotify| {
            let watch = inotify::add_watch(inotify, path, events);
            watch.map_err(|e| self.refused = Some(raw::err(e))).ok()
        });
        let probe = match alone && watch.is_some() {
            true => None,
            false => Some(raw::reopen(fd, libc::O_RDWR)?),
        };
        match watch {
            Some(watch) => drop(self.watches.insert(watch, id)),
            None => self.unwatched += 1,
        }
        let inode = Inode {
            probe,
            watch,
            given: BTreeMap::new(),
            doubt: None,
            cost: Duration::ZERO,
            looked: Instant::now(),
        };
        self.inodes.insert(id, inode);
        Ok(())
    }

    fn drop_if_unused(&mut self, id: FdIdentity) {
        let Entry::Occupied(inode) = self.inodes.entry(id) else {
            return;
        };
        if !inode.get().given.is_empty() {
            return;
        }
        let inode = inode.remove();
        self.doubtful.remove(&id);
        match (inode.watch, &self.inotify) {
            (Some(watch), Some(inotify)) => {
                // The kernel may have removed the watch with the file. It does not reuse watch numbers,
                // so no other watch is removed here.
                inotify::remove_watch(inotify, watch).ok();
                self.watches.remove(&watch);
            }
            _ => self.unwatched -= 1,
        }
    }

    pub(crate) fn knows(&self, id: FdIdentity) -> bool {
        self.inodes.contains_key(&id)
    }

    /// Returns the tag of a buffer's description, or `None` if programs did not get this description.
    pub(crate) fn tag_of(&self, description: BorrowedFd<'_>) -> Option<Tag> {
        let locks = own_locks(description);
        locks.into_iter().find_map(|(id, byte, _)| {
            match self.inodes.get(&id)?.given.get(&byte)? {
                Given::Buffer(tag) => Some(*tag),
                Given::File(_) | Given::Mapping(..) => None,
            }
        })
    }

    /// Checks files, and appends to `gone` the object of each description that has ended.
    pub(crate) fn collect(&mut self, look: CheckScope, gone: &mut Vec<Given>) {
        let overflow = look != CheckScope::NoneClosed && self.read_events();
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
        let all = look == CheckScope::All;
        let is_too_old = |at: Instant| matches!(look, CheckScope::Since(then) if at < then);
        let due: Vec<FdIdentity> = if overflow || all || self.unwatched > 0 {
            self.inodes.keys().copied().collect()
        } else {
            let is_due = |inode: &Inode| {
                let is_time = inode.doubt.is_none_or(|doubt| doubt.next <= now);
                is_time && inode.affordable() <= now
            };
            let due = self.doubtful.iter().filter(|id| {
                let inode = self.inodes.get(id);
                inode.is_some_and(|inode| is_due(inode) || is_too_old(inode.looked))
            });
            due.copied().collect()
        };
        // The list is read only for large files: the read waits for an RCU grace period, some milliseconds.
        let is_large = |id: &FdIdentity| self.inodes.get(id).is_some_and(Inode::is_large);
        let locks = match self.locks.take() {
            None if all && due.iter().any(is_large) => Some(LockTable::read()),
            other => other.filter(|locks| !is_too_old(locks.begun)),
        };
        self.wants_locks = false;
        for id in due {
            self.check_file(id, locks.as_ref(), gone);
        }
    }

    /// Returns whether a check needs the list of all locks. If so, call [`take_locks`](Self::take_locks),
    /// then [`collect`](Self::collect) again.
    pub(crate) const fn wants_locks(&self) -> bool {
        self.wants_locks && self.locks.is_none()
    }

    /// Returns whether the last [`collect`](Self::collect) left files unchecked, because it lacked the list of
    /// all locks. Another thread may have read the list since.
    pub(crate) const fn is_behind(&self) -> bool {
        self.wants_locks
    }

    pub(crate) fn take_locks(&mut self, locks: LockTable) {
        self.locks = Some(locks);
    }

    fn check_file(&mut self, id: FdIdentity, locks: Option<&LockTable>, gone: &mut Vec<Given>) {
        let Some(inode) = self.inodes.get_mut(&id) else {
            return;
        };
        let Some(probe) = &inode.probe else {
            return;
        };
        let is_large = inode.is_large();
        if is_large && locks.is_none() {
            self.wants_locks = true;
            return;
        }
        let began = Instant::now();
        let locks = locks.filter(|_| is_large);
        let listed = locks.and_then(|locks| locks.of.get(&id));
        let is_listed = |byte: &i64| listed.is_some_and(|listed| listed.contains(byte));
        let mut ended = HashSet::new();
        // The kernel's list is read in pieces and may lack locks that are held. So each lock that is not
        // in the list is probed.
        let bytes: Vec<i64> = inode.given.keys().copied().collect();
        for run in bytes.split(is_listed) {
            find_unlocked(probe.as_fd(), run, &mut ended);
        }
        let ended = inode.given.extract_if(.., |byte, _| ended.contains(byte));
        gone.extend(ended.map(|(_, given)| given));
        let now = Instant::now();
        // The list may contain locks that were released while it was read, so the check counts as made when
        // the reading began.
        let reading = locks.map_or(Duration::ZERO, |locks| locks.took);
        let seen = locks.map_or(began, |locks| locks.begun);
        (inode.cost, inode.looked) = (now - began + reading, seen);
        inode.doubt = inode.doubt.and_then(|doubt| {
            let pause = doubt.pause * 4;
            (pause <= RECHECK_LIMIT).then(|| Doubt {
                next: now + pause,
                pause,
            })
        });
        if inode.doubt.is_none() {
            self.doubtful.remove(&id);
        }
        self.drop_if_unused(id);
    }

    /// Finds ended inodes by their missing watches, after the kernel has lost events.
    fn find_ended(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        let text = raw::proc_string(&format!("/proc/self/fdinfo/{}", inotify.as_raw_fd()));
        if text.is_empty() {
            return;
        }
        let watch = |line: &str| {
            let watch = line.strip_prefix("inotify wd:")?.split(' ').next()?;
            i32::from_str_radix(watch, 16).ok()
        };
        let left: HashSet<i32> = text.lines().filter_map(watch).collect();
        let gone = self.watches.iter().filter(|(at, _)| !left.contains(at));
        self.ended.extend(gone.map(|(_, id)| *id));
    }

    /// Reads events, and records the files that ended or had a close. Returns whether the kernel lost events.
    fn read_events(&mut self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let mut lost = false;
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        // The loop is bounded, since the queue holds at most max_queued_events.
        while let Ok(event) = events.next() {
            let what = event.events();
            lost |= what.contains(ReadFlags::QUEUE_OVERFLOW);
            let Some(&id) = self.watches.get(&event.wd()) else {
                continue;
            };
            if what.intersects(ReadFlags::DELETE_SELF | ReadFlags::IGNORED) {
                self.ended.push(id);
            } else if what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::CLOSE_NOWRITE)
                && let Some(inode) = self.inodes.get_mut(&id)
            {
                let pause = RECHECK_DELAY / 4;
                let next = Instant::now();
                inode.doubt = Some(Doubt { next, pause });
                self.doubtful.insert(id);
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::super::ofd::range;
    use super::*;

    impl Held {
        fn count(&self) -> usize {
            self.inodes.values().map(|inode| inode.given.len()).sum()
        }
    }

    fn collect(held: &mut Held) -> Vec<Given> {
        let mut gone = Vec::new();
        held.collect(CheckScope::Due, &mut gone);
        if held.wants_locks() {
            held.take_locks(LockTable::read());
            held.collect(CheckScope::Due, &mut gone);
        }
        gone
    }

    #[test]
    fn many_descriptions_are_checked_by_the_lock_list() {
        let _alone = crate::kernel::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let mut made = Vec::new();
        for tag in 0..=MAX_PROBED as u64 {
            let given = Given::Buffer(Tag(tag));
            let one = held.make(memfd.as_fd(), libc::O_RDWR, given);
            made.push(one.expect("made"));
        }
        drop(made.pop());
        let mut gone = Vec::new();
        for _ in 0..2 {
            held.collect(CheckScope::Due, &mut gone);
            assert!(gone.is_empty() && held.wants_locks());
        }
        held.take_locks(LockTable::read());
        // The list is there, but no check has used it.
        assert!(!held.wants_locks() && held.is_behind());
        held.collect(CheckScope::Due, &mut gone);
        assert_eq!(gone, [Given::Buffer(Tag(MAX_PROBED as u64))]);
        assert!(!held.wants_locks() && !held.is_behind());
        // The remaining descriptions are few enough to be probed one by one.
        drop(made.pop());
        held.collect(CheckScope::Due, &mut gone);
        assert_eq!(gone.len(), 2);
        assert!(!held.wants_locks());
    }

    #[test]
    fn unlocked_bytes_are_found_among_locked_ones() {
        let _alone = crate::kernel::alone();
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
    fn each_description_ends_once_with_its_last_holder() {
        let _alone = crate::kernel::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let (a, id, _) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::Buffer(Tag(1)))
            .expect("a");
        let (b, ..) = held
            .make(memfd.as_fd(), libc::O_RDONLY, Given::Buffer(Tag(2)))
            .expect("b");
        let copy = a.try_clone().expect("dup");
        let tags = [&a, &b, &copy, &memfd].map(|fd| held.tag_of(fd.as_fd()));
        assert_eq!(tags, [Some(Tag(1)), Some(Tag(2)), Some(Tag(1)), None]);
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
    fn foreign_close_ends_no_description() {
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let (_a, ..) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::Buffer(Tag(1)))
            .expect("made");
        drop(raw::reopen(memfd.as_fd(), libc::O_RDONLY).expect("stranger"));
        assert_eq!(collect(&mut held), []);
        // The kernel reports the close before it releases the lock, so another check is planned.
        assert!(
            held.look_again()
                .is_some_and(|pause| pause <= RECHECK_DELAY)
        );
    }

    #[test]
    fn device_file_ends_with_its_last_descriptor() {
        let _alone = crate::kernel::alone();
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
    fn lost_events_lose_no_end() {
        let _alone = crate::kernel::alone();
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
        // Consumes the events before `held` reads them, as if the kernel had lost them.
        let inotify = held.inotify.as_ref().expect("inotify").as_fd();
        raw::read(inotify, &mut [0; 4096]).expect("an event");
        held.find_ended();
        assert_eq!(collect(&mut held), [Given::File(FileId(1))]);
        drop((a, c));
        assert_eq!(collect(&mut held).len(), 2);
    }

    /// The kernel sends the event of a close before it releases the lock. A check in between finds nothing, and the
    /// next one comes later. A program that has waited for the close does not wait for that check.
    #[test]
    fn a_close_is_found_after_a_check_in_its_midst() {
        let _alone = crate::kernel::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        let given = Given::Mapping(FileId(1), Tag(1));
        let (made, id, byte) = held.make(memfd.as_fd(), libc::O_RDWR, given).expect("made");
        drop(raw::reopen(memfd.as_fd(), libc::O_RDWR).expect("an event"));
        assert_eq!(collect(&mut held), []);
        let far = Instant::now() + RECHECK_LIMIT * 1000;
        let inode = held.inodes.get_mut(&id).expect("known");
        inode.doubt.as_mut().expect("an event").next = far;
        let mut released = range(libc::F_UNLCK, byte, 1);
        raw::ofd_lock(made.as_fd(), libc::F_OFD_SETLK, &mut released).expect("released");
        assert_eq!(collect(&mut held), [], "the next check is not due");
        let mut gone = Vec::new();
        held.collect(CheckScope::Since(Instant::now()), &mut gone);
        assert_eq!(gone, [given]);
    }

    #[test]
    fn each_end_of_thousands_is_found() {
        let _alone = crate::kernel::alone();
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
        held.collect(CheckScope::All, &mut gone);
        assert_eq!(gone, [Given::Buffer(Tag(7)), Given::Buffer(Tag(200))]);
        assert_eq!(held.count(), 398);
    }

    #[test]
    fn check_finds_ends_without_inotify() {
        let _alone = crate::kernel::alone();
        let memfd = raw::memfd(c"held").expect("memfd");
        let mut held = Held::new();
        held.inotify = None;
        let (a, ..) = held
            .make(memfd.as_fd(), libc::O_RDWR, Given::File(FileId(1)))
            .expect("made");
        assert_eq!(collect(&mut held), []);
        assert_eq!(held.look_again(), Some(FULL_CHECK_INTERVAL));
        drop(a);
        assert_eq!(collect(&mut held), [Given::File(FileId(1))]);
        assert_eq!(held.look_again(), None);
    }
}
