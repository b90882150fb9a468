//! What programs hold: open file descriptions given to them, and when the last descriptor and
//! mapping of one is gone.
//!
//! Every description is made by us and carries a lock on a byte of its own of the file, which
//! only the kernel takes away, when the description ends. An inotify watch on the file says when
//! to look. The kernel sends the event just before it drops the lock: a look that finds nothing
//! is repeated for a short while.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::raw;
use vb3_host::{Errno, FdIdentity, FileId, Tag};

/// How long a close event without a description gone is believed.
const DOUBT: Duration = Duration::from_millis(50);
/// How often doubtful files are looked at, and all files where there is no inotify.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Without inotify: how often everything is looked at.
pub(crate) const LOOK_AT_ALL: Duration = Duration::from_millis(20);

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

/// A file that descriptions were given of.
#[derive(Debug)]
struct Inode {
    /// A description of our own, to look at the locks from.
    probe: OwnedFd,
    watch: Option<i32>,
    given: Vec<(i64, Given)>,
    /// Close events not yet explained by a description gone, and until when to look.
    doubt: Option<(u32, Instant)>,
}

/// All descriptions given and not known to be gone.
#[derive(Debug)]
pub(crate) struct Held {
    inotify: Option<OwnedFd>,
    inodes: HashMap<FdIdentity, Inode>,
    watches: HashMap<i32, FdIdentity>,
    next_byte: i64,
    doubtful: usize,
    unwatched: usize,
    /// Set when a watch was refused.
    pub(crate) refused: Option<Errno>,
}

impl Held {
    pub(crate) fn new() -> Self {
        // SAFETY: takes flags only.
        let made = raw::owned(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) });
        let refused = made.as_ref().err().copied();
        Self {
            inotify: made.ok(),
            inodes: HashMap::new(),
            watches: HashMap::new(),
            next_byte: 1,
            doubtful: 0,
            unwatched: 0,
            refused,
        }
    }

    /// Becomes readable when something may be gone.
    pub(crate) fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// Until when [`collect`](Self::collect) wants to be called again without an event.
    pub(crate) fn look_again(&self) -> Option<Duration> {
        if self.doubtful > 0 {
            Some(LOOK_AGAIN)
        } else {
            (self.unwatched > 0).then_some(LOOK_AT_ALL)
        }
    }

    /// Whether nothing is out.
    pub(crate) fn is_empty(&self) -> bool {
        self.inodes.is_empty()
    }

    /// Gives up on everything: all that is out, as if it were gone.
    pub(crate) fn take_all(&mut self) -> Vec<Given> {
        let all = self
            .inodes
            .values()
            .flat_map(|inode| inode.given.iter().map(|&(_, g)| g));
        let mut all: Vec<Given> = all.collect();
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
    /// program. From now on its end is reported, wherever it ends.
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
        let byte = self.next_byte;
        lock(made.as_fd(), flags, byte)?;
        self.next_byte += 1;
        if !self.inodes.contains_key(&id) {
            let probe = raw::reopen(fd, libc::O_RDWR)?;
            let watch = self.watch(&probe);
            match watch {
                Some(watch) => drop(self.watches.insert(watch, id)),
                None => self.unwatched += 1,
            }
            self.inodes.insert(
                id,
                Inode {
                    probe,
                    watch,
                    given: Vec::new(),
                    doubt: None,
                },
            );
        }
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.given.push((byte, given));
        }
        Ok((made, id, byte))
    }

    fn watch(&mut self, fd: &OwnedFd) -> Option<i32> {
        let path = raw::c_path(&format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        let inotify = self.inotify.as_ref()?;
        // SAFETY: the path is NUL-terminated.
        let watch = raw::check(unsafe {
            libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CLOSE)
        });
        watch.map_err(|e| self.refused = Some(e)).ok()
    }

    /// Takes back a description that was never given: its end is not reported.
    pub(crate) fn forget(&mut self, id: FdIdentity, byte: i64) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.given.retain(|(known, _)| *known != byte);
            self.drop_if_unused(id);
        }
    }

    fn drop_if_unused(&mut self, id: FdIdentity) {
        let Some(inode) = self.inodes.get(&id) else {
            return;
        };
        if !inode.given.is_empty() {
            return;
        }
        if inode.doubt.is_some() {
            self.doubtful -= 1;
        }
        match (inode.watch, &self.inotify) {
            (Some(watch), Some(inotify)) => {
                // SAFETY: takes two integers.
                unsafe { libc::inotify_rm_watch(inotify.as_raw_fd(), watch) };
                self.watches.remove(&watch);
            }
            _ => self.unwatched -= 1,
        }
        self.inodes.remove(&id);
    }

    /// Whether a description of this file is out.
    pub(crate) fn knows(&self, id: FdIdentity) -> bool {
        self.inodes.contains_key(&id)
    }

    /// Adds what is gone by now to `gone`. `all` looks at every file, events or not.
    pub(crate) fn collect(&mut self, all: bool, gone: &mut Vec<Given>) {
        let overflow = self.read_events();
        if !overflow && !all && self.doubtful == 0 && self.unwatched == 0 {
            return;
        }
        let everything = overflow || all;
        let ids: Vec<FdIdentity> = self
            .inodes
            .iter()
            .filter(|(_, inode)| everything || inode.doubt.is_some() || inode.watch.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.look_at(id, gone);
        }
    }

    fn look_at(&mut self, id: FdIdentity, gone: &mut Vec<Given>) {
        let Some(inode) = self.inodes.get_mut(&id) else {
            return;
        };
        let mut ended = 0u32;
        let probe = inode.probe.as_fd();
        inode.given.retain(|&(byte, given)| {
            let held = is_locked(probe, byte);
            if !held {
                ended += 1;
                gone.push(given);
            }
            held
        });
        if let Some((events, until)) = inode.doubt {
            let left = events.saturating_sub(ended);
            if left == 0 || Instant::now() >= until {
                inode.doubt = None;
                self.doubtful -= 1;
            } else {
                inode.doubt = Some((left, until));
            }
        }
        self.drop_if_unused(id);
    }

    /// Notes the files with close events; true when events were lost.
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
                let inode = self
                    .watches
                    .get(&watch)
                    .and_then(|id| self.inodes.get_mut(id));
                if let (Some(inode), true) = (inode, mask & libc::IN_CLOSE != 0) {
                    let until = Instant::now() + DOUBT;
                    let events = inode.doubt.map_or(0, |(events, _)| events);
                    if inode.doubt.is_none() {
                        self.doubtful += 1;
                    }
                    inode.doubt = Some((events.saturating_add(1), until));
                }
            }
            if n == 0 {
                break;
            }
        }
        lost
    }
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
    let lock = range(
        if writable {
            libc::F_WRLCK
        } else {
            libc::F_RDLCK
        },
        byte,
    );
    // SAFETY: the structure is live.
    raw::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) })?;
    Ok(())
}

fn is_locked(probe: BorrowedFd<'_>, byte: i64) -> bool {
    let mut lock = range(libc::F_WRLCK, byte);
    // SAFETY: the structure is live.
    let ret = unsafe { libc::fcntl(probe.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    ret == 0 && lock.l_type != libc::F_UNLCK as libc::c_short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(held: &mut Held) -> Vec<Given> {
        let mut gone = Vec::new();
        held.collect(false, &mut gone);
        gone
    }

    #[test]
    fn reports_each_description_once_and_only_when_its_last_holder_is_gone() {
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
            .make(memfd.as_fd(), libc::O_RDWR, Given::File(FileId(1)))
            .expect("made");
        drop(raw::reopen(memfd.as_fd(), libc::O_RDONLY).expect("stranger"));
        assert_eq!(collect(&mut held), []);
        assert_eq!(held.look_again(), Some(LOOK_AGAIN));
    }

    #[test]
    fn without_inotify_a_look_finds_it() {
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
