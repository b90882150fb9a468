//! Record locks on nodes (`lockf`, `F_SETLK`). Programs such as libcamera reserve a device by one.
//!
//! In a kernel, record locks of different opens of a device conflict, since the opens share one inode. Here each
//! open has a separate inode. So the supervisor has one lock file for each node, and opens it once for each
//! process that locks. It sets a process's locks through the process's open file, and the kernel finds conflicts.
//! The supervisor's own lock calls never wait.
//!
//! Other locks (flock, `F_OFD_SETLK`) of different opens do not conflict, and processes that wait for each
//! other's locks are not detected (EDEADLK on Linux).

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::os::fd::{AsFd, OwnedFd};

use vb3_frontend::{Errno, FileId};

use super::ofd::{own_locks, range};
use crate::kernel::raw;

/// A call of a process that locks or unlocks a range of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockCall {
    pub(crate) node: usize,
    pub(crate) file: FileId,
    pub(crate) process: u32,
    pub(crate) range: libc::flock,
}

/// A process that has locked a node, with its own open file of the node's lock file.
#[derive(Debug)]
struct Holder {
    locks: OwnedFd,
    /// The device files through which the process has locked.
    through: Vec<FileId>,
}

impl Holder {
    /// Returns whether the process has this record lock, which the kernel reported as conflicting.
    fn has(&self, lock: &libc::flock) -> bool {
        let last = match lock.l_len {
            0 => i64::MAX,
            len => lock.l_start + len - 1,
        };
        let mut ranges = own_locks(self.locks.as_fd()).into_iter();
        ranges.any(|(_, from, to)| (from, to) == (lock.l_start, last))
    }
}

impl Drop for Holder {
    /// Releases the locks. To close the file is not enough: a process that this one has just forked holds
    /// the file, too, until it starts its program.
    fn drop(&mut self) {
        let mut all = range(libc::F_UNLCK, 0, 0);
        let _ = raw::ofd_lock(self.locks.as_fd(), libc::F_OFD_SETLK, &mut all);
    }
}

#[derive(Debug)]
struct OfNode {
    file: OwnedFd,
    /// By process.
    holders: BTreeMap<u32, Holder>,
}

/// The record locks of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Locks(HashMap<usize, OfNode>);

impl Locks {
    /// Returns whether no process has locked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the processes that have locked, some of them several times.
    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        let holders = self.0.values().flat_map(|of| of.holders.keys());
        holders.copied()
    }

    /// Returns a process's entry for a node, or adds one. Records that the process locks through this file.
    fn holder(&mut self, call: &LockCall) -> Result<&mut Holder, Errno> {
        let of = match self.0.entry(call.node) {
            hash_map::Entry::Occupied(of) => of.into_mut(),
            hash_map::Entry::Vacant(of) => of.insert(OfNode {
                file: raw::memfd(c"vb3-locks")?,
                holders: BTreeMap::new(),
            }),
        };
        let holder = match of.holders.entry(call.process) {
            btree_map::Entry::Occupied(holder) => holder.into_mut(),
            btree_map::Entry::Vacant(holder) => holder.insert(Holder {
                locks: raw::reopen(of.file.as_fd(), libc::O_RDWR)?,
                through: Vec::new(),
            }),
        };
        if !holder.through.contains(&call.file) {
            holder.through.push(call.file);
        }
        Ok(holder)
    }

    /// Locks or unlocks a range. Fails with EAGAIN if another process's lock conflicts; EINVAL, EOVERFLOW for a
    /// wrong range.
    pub(crate) fn set(&mut self, call: &LockCall) -> Result<(), Errno> {
        let holder = self.holder(call)?;
        let mut range = call.range;
        raw::ofd_lock(holder.locks.as_fd(), libc::F_OFD_SETLK, &mut range)
    }

    /// Returns the answer of `F_GETLK`: a conflicting lock, or the range with the type `F_UNLCK`. Fails with
    /// EINVAL, EOVERFLOW for a wrong range.
    pub(crate) fn get(&mut self, call: &LockCall) -> Result<libc::flock, Errno> {
        let holder = self.holder(call)?;
        let mut found = call.range;
        raw::ofd_lock(holder.locks.as_fd(), libc::F_OFD_GETLK, &mut found)?;
        let others = self
            .0
            .get(&call.node)
            .into_iter()
            .flat_map(|of| &of.holders);
        let mut others = others.filter(|(process, _)| **process != call.process);
        if i32::from(found.l_type) != libc::F_UNLCK
            && let Some((process, _)) = others.find(|(_, holder)| holder.has(&found))
        {
            found.l_pid = process.cast_signed();
        }
        Ok(found)
    }

    /// Releases a process's locks on a node, because it closes a descriptor of the node. As in Linux, locks set
    /// through other opens of the node end, too. Returns whether it may have held locks there.
    pub(crate) fn close(&mut self, process: u32, node: usize) -> bool {
        self.drop_holders(|of, owner, _| (of, owner) == (node, process))
    }

    /// Releases the locks of processes that have locked through a file. Its last descriptor was closed, as by an
    /// exec. Returns whether there were such processes.
    pub(crate) fn file_ended(&mut self, file: FileId) -> bool {
        self.drop_holders(|_, _, holder| holder.through.contains(&file))
    }

    /// Releases the locks of an ended process. Returns whether there were any.
    pub(crate) fn process_ended(&mut self, process: u32) -> bool {
        self.drop_holders(|_, owner, _| owner == process)
    }

    fn drop_holders(&mut self, is_gone: impl Fn(usize, u32, &Holder) -> bool) -> bool {
        let mut changed = false;
        self.0.retain(|node, of| {
            let before = of.holders.len();
            of.holders
                .retain(|process, holder| !is_gone(*node, *process, holder));
            changed |= of.holders.len() != before;
            !of.holders.is_empty()
        });
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a call of a process on the first ten bytes of node 1, through file 7.
    fn call(process: u32, kind: i32) -> LockCall {
        LockCall {
            node: 1,
            file: FileId(7),
            process,
            range: range(kind, 0, 10),
        }
    }

    #[test]
    fn another_processs_lock_conflicts_until_its_end() {
        let mut locks = Locks::default();
        let ends: [fn(&mut Locks) -> bool; 4] = [
            |locks| locks.set(&call(1, libc::F_UNLCK)).is_ok(),
            |locks| locks.close(1, 1),
            |locks| locks.file_ended(FileId(7)),
            |locks| locks.process_ended(1),
        ];
        for end in ends {
            assert_eq!(locks.set(&call(1, libc::F_WRLCK)), Ok(()));
            assert_eq!(locks.set(&call(1, libc::F_WRLCK)), Ok(()), "its own");
            let refused = locks.set(&call(2, libc::F_RDLCK));
            assert_eq!(refused, Err(Errno(libc::EAGAIN)));
            let found = locks.get(&call(2, libc::F_WRLCK)).expect("a lock");
            assert_eq!((found.l_pid, found.l_len), (1, 10));
            let other = LockCall {
                node: 2,
                ..call(2, libc::F_WRLCK)
            };
            assert_eq!(locks.set(&other), Ok(()));
            assert!(!locks.close(3, 1) && !locks.process_ended(3));
            assert!(end(&mut locks));
            assert_eq!(locks.set(&call(2, libc::F_RDLCK)), Ok(()));
            let found = locks.get(&call(2, libc::F_WRLCK)).expect("none");
            assert_eq!(i32::from(found.l_type), libc::F_UNLCK);
            for process in [1, 2] {
                locks.process_ended(process);
            }
            assert!(locks.is_empty());
        }
    }
}
