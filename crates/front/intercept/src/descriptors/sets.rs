//! Finds out which epoll set a descriptor refers to.
//!
//! The supervisor compares the descriptor with those of the known sets (kcmp). If the kernel refuses this, as in many
//! containers, the supervisor reads the kernel's list of the set's entries, in the `fdinfo` file of the descriptor.
//! Both may wait for programs.
//!
//! Each line of the list has the descriptor number with which an entry was added, and the inode of the entry's file.
//! The supervisor adds its substitute objects under unique numbers. The list therefore identifies the set
//! behind a descriptor without kcmp, and shows whether an entry is disarmed.

use core::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use super::{ERR, SetId, holders};
use crate::kernel::{MayBlock, lock, may_block, procs, raw};

/// The set that contains each substitute object, and the object's inode, by the object's descriptor number.
pub(crate) type ObjectsInSets = Mutex<HashMap<i32, (SetId, u64)>>;

/// One entry in the kernel's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    number: i32,
    events: u32,
    inode: u64,
}

/// Parses a line of the list. Returns `None` for a line that describes no entry.
fn told(line: &str) -> Option<Told> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let hex = |word: &str| u64::from_str_radix(word, 16).ok();
    let events = words.find(|word| *word != "events:").and_then(hex)?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"));
    Some(Told {
        number,
        events: u32::try_from(events).ok()?,
        inode: inode.and_then(hex)?,
    })
}

/// Returns the set behind a process's descriptor, if it contains one of the substitute objects.
fn set_of(may: &MayBlock, known: &ObjectsInSets, (pid, fd): (u32, i32)) -> Option<SetId> {
    may_block::find_in_fdinfo(may, pid, fd, |line| set_in(known, line))
}

fn set_in(known: &ObjectsInSets, line: &str) -> Option<SetId> {
    let told = told(line)?;
    let known = lock(known).get(&told.number).copied();
    let known = known.filter(|(_, inode)| *inode == told.inode);
    known.map(|(set, _)| set)
}

/// The known sets at one time. A call's set is sought among them without the lock of all devices.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownSets {
    /// The sets in the order in which kcmp sorts files, for binary search. A change of the sets makes a new list if a
    /// search uses this one.
    order: Arc<Vec<(SetId, Arc<OwnedFd>)>>,
    objects: Arc<ObjectsInSets>,
}

/// The set behind a descriptor: a known one, or the place for a new one among those that were known.
#[derive(Debug)]
pub(crate) struct Sought {
    pub(crate) fd: OwnedFd,
    pub(crate) at: Result<SetId, (usize, KnownSets)>,
}

impl KnownSets {
    /// Returns the set behind a process's descriptor, or as error the place in `order` for a new set.
    fn find(&self, may: &MayBlock, of: (u32, i32)) -> Result<SetId, usize> {
        let mut compares = true;
        let found = self.order.binary_search_by(|(_, fd)| {
            let order = may_block::compare_files(may, fd.as_fd(), of);
            compares &= order.is_ok();
            order.unwrap_or(Ordering::Equal)
        });
        match compares {
            true => found.and_then(|at| self.order.get(at).map(|(id, _)| *id).ok_or(at)),
            false => set_of(may, &self.objects, of).ok_or(self.order.len()),
        }
    }

    /// Seeks the set behind a duplicate of a program's descriptor.
    pub(crate) fn seek(self, may: &MayBlock, fd: OwnedFd) -> Sought {
        let found = self.find(may, (std::process::id(), fd.as_raw_fd()));
        let at = found.map_err(|at| (at, self));
        Sought { fd, at }
    }

    /// Searches the descriptors of all programs, and returns the sets that no program holds.
    pub(crate) fn held_by_none(&self, may: &MayBlock) -> HashSet<SetId> {
        let mut left: HashSet<_> = self.order.iter().map(|(id, _)| *id).collect();
        for pid in procs::descendants(|_| true) {
            for number in holders::numbers(pid) {
                let link = raw::readlink(format!("/proc/{pid}/fd/{number}"));
                if link.is_ok_and(|link| link == raw::EPOLL_SET)
                    && let Ok(held) = self.find(may, (pid, number))
                {
                    left.remove(&held);
                }
            }
        }
        left
    }

    /// Returns whether these are the same sets, at a time without a change between.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.order, &other.order)
    }

    /// Adds a set at the place where it was sought.
    pub(crate) fn add(&mut self, at: usize, id: SetId, fd: OwnedFd) -> Arc<OwnedFd> {
        let fd = Arc::new(fd);
        let order = Arc::make_mut(&mut self.order);
        order.insert(at.min(order.len()), (id, Arc::clone(&fd)));
        fd
    }

    pub(crate) fn retain(&mut self, stays: impl Fn(SetId) -> bool) {
        Arc::make_mut(&mut self.order).retain(|(id, _)| stays(*id));
    }

    pub(crate) fn objects(&self) -> Arc<ObjectsInSets> {
        Arc::clone(&self.objects)
    }
}

/// Returns whether the kernel has disarmed an entry because its only event was delivered.
pub(crate) fn is_disarmed(may: &MayBlock, set: &OwnedFd, object: &OwnedFd) -> bool {
    let Ok(stat) = raw::fstat(object.as_fd()) else {
        return false;
    };
    // The program's own entries may have the same number, but have another inode.
    let is_it = |told: &Told| (told.number, told.inode) == (object.as_raw_fd(), stat.st_ino);
    let entry = may_block::find_in_fdinfo(may, std::process::id(), set.as_raw_fd(), |line| {
        told(line).filter(is_it)
    });
    // The kernel adds EPOLLERR and EPOLLHUP to the mask of each entry, and clears them to disarm it.
    entry.is_some_and(|entry| entry.events & ERR == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_known_by_their_objects() {
        let numbers = HashMap::from([(7, (SetId(1), 0x11)), (8, (SetId(2), 0x2af))]);
        let known = Mutex::new(numbers);
        let line = |number: i32, inode: &str| {
            format!("tfd: {number:8} events: 19 data: ffff00000007  pos:0 ino:{inode} sdev:8")
        };
        let set = |line: &str| set_in(&known, line);
        for head in ["pos:\t0", "flags:\t02", "mnt_id:\t15", "ino:\t1057", "tfd:"] {
            assert_eq!(set(head), None);
        }
        assert_eq!(set(&line(8, "2af")), Some(SetId(2)));
        // An entry of the program's own, with the same number but another inode.
        assert_eq!(set(&line(8, "2b0")), None);
        assert_eq!(set(&line(7, "11")), Some(SetId(1)));
        assert_eq!(set(&line(9, "2af")), None);
        assert_eq!(set("tfd: x ino:"), None);
        let entry = told(&line(8, "2af"));
        assert_eq!(entry.map(|told| told.events), Some(0x19));
    }
}
