//! Which set a descriptor names, by what the kernel tells of the set's entries: for kernels and
//! containers that compare no files (kcmp).
//!
//! An entry is told of by the number that it was added under and its file's inode. An object of the
//! supervisor's has a number of the supervisor's, which no other object has.

use std::collections::HashMap;

use super::SetId;
use crate::kernel::raw;

/// The objects that stand in programs' sets.
#[derive(Debug)]
pub(super) struct ObjectsInSets {
    /// By their numbers.
    pub(super) numbers: HashMap<i32, SetId>,
    /// Of their files.
    pub(super) inodes: [u64; 3],
}

impl ObjectsInSets {
    /// The set that a descriptor of a process names, if it is known.
    pub(super) fn set_of(&self, pid: u32, fd: i32) -> Option<SetId> {
        self.set_in(&raw::proc_string(&format!("/proc/{pid}/fdinfo/{fd}")))
    }

    fn set_in(&self, text: &str) -> Option<SetId> {
        text.lines().find_map(|line| {
            let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
            let number: i32 = words.next()?.parse().ok()?;
            let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
            let inode = u64::from_str_radix(inode, 16).ok()?;
            let set = self.numbers.get(&number)?;
            self.inodes.contains(&inode).then_some(*set)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_known_by_their_objects() {
        let known = ObjectsInSets {
            numbers: HashMap::from([(7, SetId(1)), (8, SetId(2))]),
            inodes: [0x2af, 0x11, 0],
        };
        let line = |number: i32, inode: &str| {
            format!("tfd: {number:8} events: 19 data: ffff00000007  pos:0 ino:{inode} sdev:8\n")
        };
        let head = "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1057\n";
        let set = |text: String| known.set_in(&text);
        assert_eq!(set(head.to_owned()), None);
        assert_eq!(set(format!("{head}{}", line(8, "2af"))), Some(SetId(2)));
        // A file of the program's own under the same number.
        assert_eq!(set(line(8, "2b0") + &line(7, "11")), Some(SetId(1)));
        assert_eq!(set(line(9, "2af")), None);
        assert_eq!(set("tfd: x ino:\ntfd:".to_owned()), None);
    }
}
