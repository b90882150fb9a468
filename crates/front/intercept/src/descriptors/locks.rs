//! Locks on nodes: flock, record locks (`lockf`, `F_SETLK`) and locks of descriptions (`F_OFD_SETLK`).
//!
//! In a kernel, locks of different opens of a device conflict, since the opens share one inode. Here each
//! open has a separate inode. So the supervisor has one lock file for each node, and opens it once for
//! each owner of locks. It sets an owner's locks through the owner's open file, and the kernel finds
//! conflicts. The supervisor's own lock calls never wait.
//!
//! A record lock belongs to a *descriptor table*: threads and processes that share one share its locks.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FlockOperation;
use vb3_frontend::{Errno, FileId};

use super::ofd::{own_locks, range};
use crate::kernel::raw;

/// Longest chain of waiting owners that the deadlock check follows. Linux has the same limit.
const MAX_WAIT_CHAIN: usize = 10;

/// Id of a descriptor table that holds locks; 0 stands for all tables without locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TableId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Table(TableId),
    File(FileId),
}

/// A call that locks or unlocks a node or a range of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockCall {
    pub(crate) node: usize,
    pub(crate) file: FileId,
    pub(crate) wanted: Wanted,
}

/// The lock that a call sets or releases.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Whole(FlockOperation),
    /// A lock of a range. Its owner is the descriptor table of `task`, or the file if `task` is `None`.
    Record {
        task: Option<u32>,
        pid: u32,
        range: libc::flock,
    },
}

/// An owner of locks on a node, with its own open file of the node's lock file.
#[derive(Debug)]
struct Holder {
    /// The process that last set a lock for this owner.
    pid: u32,
    locks: OwnedFd,
    /// The device files through which the owner has locked.
    through: Vec<FileId>,
}

impl Holder {
    /// Returns whether the owner has this record lock, which the kernel reported as conflicting.
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
        let _ = rustix::fs::flock(&self.locks, FlockOperation::Unlock);
    }
}

type Blocker<'a> = (&'a Owner, &'a Holder);

#[derive(Debug)]
struct OfNode {
    file: OwnedFd,
    holders: BTreeMap<Owner, Holder>,
}

#[derive(Debug, Default)]
pub(crate) struct Locks {
    nodes: HashMap<usize, OfNode>,
    /// Descriptor tables that hold locks, each with the known processes and threads that use it.
    tables: Vec<(TableId, Vec<u32>)>,
    next: u64,
}

impl Locks {
    /// Returns whether any descriptor table may hold record locks.
    pub(crate) fn has_records(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Returns the processes and threads that may hold record locks.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = u32> {
        let tasks = self.tables.iter().flat_map(|(_, tasks)| tasks);
        tasks.copied()
    }

    /// Returns the id of a task's descriptor table; 0 without locks. `shares`: whether two tasks share one.
    pub(crate) fn table_of(&self, task: u32, shares: impl Fn(u32, u32) -> bool) -> TableId {
        let is_its = |other: &u32| *other == task || shares(task, *other);
        let mut tables = self.tables.iter();
        let found = tables.find(|(_, tasks)| tasks.iter().any(is_its));
        found.map_or(TableId::default(), |(id, _)| *id)
    }

    /// Returns the table of a task like [`table_of`](Self::table_of), or adds it. The caller must then set a
    /// lock for the table, because tables without locks are soon forgotten.
    pub(crate) fn table_for(&mut self, task: u32, shares: impl Fn(u32, u32) -> bool) -> TableId {
        let mut id = self.table_of(task, shares);
        if id == TableId::default() {
            self.next += 1;
            id = TableId(self.next);
            self.tables.push((id, Vec::new()));
        }
        let mut tables = self.tables.iter_mut();
        if let Some((_, tasks)) = tables.find(|(table, _)| *table == id)
            && !tasks.contains(&task)
        {
            tasks.push(task);
        }
        id
    }

    /// Returns an owner's entry for a node, or adds one. Records that the owner locks through this file.
    fn holder(
        &mut self,
        (node, file): (usize, FileId),
        owner: Owner,
    ) -> Result<&mut Holder, Errno> {
        let of = match self.nodes.entry(node) {
            hash_map::Entry::Occupied(of) => of.into_mut(),
            hash_map::Entry::Vacant(of) => of.insert(OfNode {
                file: raw::memfd(c"vb3-locks")?,
                holders: BTreeMap::new(),
            }),
        };
        let holder = match of.holders.entry(owner) {
            btree_map::Entry::Occupied(holder) => holder.into_mut(),
            btree_map::Entry::Vacant(holder) => holder.insert(Holder {
                pid: 0,
                locks: raw::reopen(of.file.as_fd(), libc::O_RDWR)?,
                through: Vec::new(),
            }),
        };
        if !holder.through.contains(&file) {
            holder.through.push(file);
        }
        Ok(holder)
    }

    /// Applies a flock. The operation must be a non-blocking one. Fails with EAGAIN if another file's flock
    /// conflicts.
    pub(crate) fn flock(
        &mut self,
        at: (usize, FileId),
        operation: FlockOperation,
    ) -> Result<(), Errno> {
        let holder = self.holder(at, Owner::File(at.1))?;
        rustix::fs::flock(&holder.locks, operation).map_err(raw::err)
    }

    /// Locks or unlocks a range for an owner. `pid` is the calling process. Fails with EAGAIN if another
    /// owner's lock conflicts; EINVAL, EOVERFLOW for a wrong range.
    pub(crate) fn set(
        &mut self,
        at: (usize, FileId),
        (owner, pid): (Owner, u32),
        mut range: libc::flock,
    ) -> Result<(), Errno> {
        let holder = self.holder(at, owner)?;
        holder.pid = pid;
        raw::ofd_lock(holder.locks.as_fd(), libc::F_OFD_SETLK, &mut range)
    }

    /// Returns the answer of `F_GETLK`: a conflicting lock, or the range with the type `F_UNLCK`. Fails with
    /// EINVAL, EOVERFLOW for a wrong range.
    pub(crate) fn get(
        &mut self,
        at: (usize, FileId),
        owner: Owner,
        range: libc::flock,
    ) -> Result<libc::flock, Errno> {
        self.holder(at, owner)?;
        let (mut found, blocker) = self.conflict(at.0, owner, range)?;
        if let Some((Owner::Table(_), holder)) = blocker {
            found.l_pid = holder.pid.cast_signed();
        }
        Ok(found)
    }

    /// Returns the owner of a lock that conflicts with the lock `range` of `owner`.
    pub(crate) fn blocker(&self, node: usize, owner: Owner, range: libc::flock) -> Option<Owner> {
        let (_, blocker) = self.conflict(node, owner, range).ok()?;
        blocker.map(|(owner, _)| *owner)
    }

    fn conflict(
        &self,
        node: usize,
        owner: Owner,
        mut range: libc::flock,
    ) -> Result<(libc::flock, Option<Blocker<'_>>), Errno> {
        let of = self.nodes.get(&node).ok_or(Errno(libc::ENOLCK))?;
        let own = of.holders.get(&owner).ok_or(Errno(libc::ENOLCK))?;
        raw::ofd_lock(own.locks.as_fd(), libc::F_OFD_GETLK, &mut range)?;
        let is_free = i32::from(range.l_type) == libc::F_UNLCK;
        let mut others = of.holders.iter().filter(|(other, _)| **other != owner);
        let blocker = others.find(|(_, holder)| !is_free && holder.has(&range));
        Ok((range, blocker))
    }

    /// Releases a table's record locks on a node, because a descriptor of the node was closed. As in Linux,
    /// locks set through other opens of the node end, too. Returns true if the table may have held locks
    /// there: it has set or queried one before.
    pub(crate) fn close(&mut self, table: TableId, node: usize) -> bool {
        self.drop_holders(|of, owner, _| of == node && owner == Owner::Table(table))
    }

    /// Releases the locks of owners that have set or queried a lock through a file. Its last descriptor was
    /// closed. Returns whether there were such owners.
    pub(crate) fn file_ended(&mut self, file: FileId) -> bool {
        self.drop_holders(|_, _, holder| holder.through.contains(&file))
    }

    /// Removes an ended process or thread, and releases the locks of a table that no task uses any more.
    /// Returns whether there were such locks.
    pub(crate) fn task_ended(&mut self, task: u32) -> bool {
        let mut ended = Vec::new();
        for (id, tasks) in &mut self.tables {
            tasks.retain(|other| *other != task);
            if tasks.is_empty() {
                ended.push(Owner::Table(*id));
            }
        }
        self.drop_holders(|_, owner, _| ended.contains(&owner))
    }

    /// Drops owners for which `is_gone` is true, with their locks. Returns whether there were any.
    /// Forgets nodes and tables without owners.
    fn drop_holders(&mut self, is_gone: impl Fn(usize, Owner, &Holder) -> bool) -> bool {
        let mut changed = false;
        for (node, of) in &mut self.nodes {
            let before = of.holders.len();
            of.holders
                .retain(|owner, holder| !is_gone(*node, *owner, holder));
            changed |= of.holders.len() != before;
        }
        self.nodes.retain(|_, of| !of.holders.is_empty());
        let nodes = &self.nodes;
        self.tables.retain(|(id, _)| {
            let owner = Owner::Table(*id);
            nodes.values().any(|of| of.holders.contains_key(&owner))
        });
        changed
    }
}

/// Returns whether a wait of `owner` for `blocker` would complete a cycle. `waits` are pairs of a waiting
/// owner and the owner that it waits for.
pub(crate) fn is_deadlock(owner: Owner, blocker: Owner, waits: &[(Owner, Owner)]) -> bool {
    let mut at = blocker;
    for _ in 0..MAX_WAIT_CHAIN {
        if at == owner {
            return true;
        }
        match waits.iter().find(|(waiter, _)| *waiter == at) {
            Some((_, next)) => at = *next,
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
