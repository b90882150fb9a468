//! The kernel's list of a set's entries, in the `fdinfo` file of its descriptor.
//!
//! Each line has the descriptor number with which an entry was added, and the inode of the entry's file.
//! The supervisor adds its substitute objects under unique numbers. The list therefore identifies the set
//! behind a descriptor without kcmp, and shows whether an entry is disarmed.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use crate::descriptors::{ERR, SetId};
use crate::kernel::{MayBlock, lock, may_block, raw};

/// The set that contains each substitute object, and the object's inode, by the object's descriptor number.
pub(super) type Numbers = Mutex<HashMap<i32, (SetId, u64)>>;

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

/// The numbers and inodes that identify the substitute objects in programs' sets.
#[derive(Clone, Debug)]
pub(crate) struct ObjectsInSets(pub(super) Arc<Numbers>);

impl ObjectsInSets {
    /// Returns the set behind a process's descriptor, if it contains one of the objects.
    pub(crate) fn set_of(&self, may: &MayBlock, pid: u32, fd: i32) -> Option<SetId> {
        may_block::find_in_fdinfo(may, pid, fd, |line| self.set_in(line))
    }

    fn set_in(&self, line: &str) -> Option<SetId> {
        let told = told(line)?;
        let known = lock(&self.0).get(&told.number).copied();
        let known = known.filter(|(_, inode)| *inode == told.inode);
        known.map(|(set, _)| set)
    }
}

/// Returns whether the kernel has disarmed an entry because its only event was delivered.
pub(super) fn is_disarmed(may: &MayBlock, set: &OwnedFd, object: &OwnedFd) -> bool {
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
        let known = ObjectsInSets(Arc::new(Mutex::new(numbers)));
        let line = |number: i32, inode: &str| {
            format!("tfd: {number:8} events: 19 data: ffff00000007  pos:0 ino:{inode} sdev:8")
        };
        let set = |line: &str| known.set_in(line);
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
