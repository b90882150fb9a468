//! Locks on nodes: flock, record locks (`lockf`, `F_SETLK`) and locks of descriptions (`F_OFD_SETLK`).
//!
//! The kernel compares the locks of all opens of a device, since they share one inode. Here each open
//! has a separate inode, and this table compares them. It makes no system call.
//!
//! A record lock belongs to a *descriptor table*: threads and processes that share one share its locks.

use std::collections::HashMap;

use vb3_host::FileId;

/// Maximum number of locks on one node. A kernel has no limit.
const MAX_LOCKS: usize = 1024;
/// Longest chain of waiters that the deadlock check follows, as in Linux.
const MAX_WAIT_CHAIN: usize = 10;

/// Id of a descriptor table that holds locks; 0 stands for all tables without locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableId(u64);

/// The owner of a record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A descriptor table.
    Table(TableId),
    /// An open file description.
    File(FileId),
}

/// A record lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Owner,
    pub(crate) write: bool,
    pub(crate) first: i64,
    /// The last byte, inclusive.
    pub(crate) last: i64,
    pub(crate) pid: u32,
}

impl Record {
    fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn conflicts(&self, other: &Self) -> bool {
        self.owner != other.owner && (self.write || other.write) && self.overlaps(other)
    }

    /// Returns whether the two merge into one lock.
    fn joins(&self, other: &Self) -> bool {
        self.write == other.write
            && self.first <= other.last.saturating_add(1)
            && other.first <= self.last.saturating_add(1)
    }
}

/// A call that locks or unlocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockCall {
    pub(crate) node: usize,
    pub(crate) file: FileId,
    pub(crate) wanted: Wanted,
}

/// The lock that a call asks for; `write` is `None` for an unlock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// A flock.
    Whole { write: Option<bool> },
    /// A lock of a range, for the descriptor table of `task` or for the file.
    Record {
        task: Option<u32>,
        pid: u32,
        write: Option<bool>,
        first: i64,
        last: i64,
    },
}

/// The reason why a lock is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The owner of a conflicting lock.
    Held(Owner),
    /// The node has too many locks.
    Full,
}

/// The locks of one node.
#[derive(Debug, Default)]
struct OfNode {
    records: Vec<Record>,
    /// For each owner, the files through which it has taken locks.
    through: Vec<(Owner, FileId)>,
    /// Files that hold a flock, and whether it is exclusive.
    whole: Vec<(FileId, bool)>,
}

impl OfNode {
    /// Removes a range from its owner's locks. With `joins`, `taken` grows by adjacent locks.
    fn carve(&mut self, taken: &mut Record, joins: bool) {
        let before = core::mem::take(&mut self.records);
        for old in before {
            if old.owner != taken.owner {
                self.records.push(old);
            } else if joins && old.joins(taken) {
                taken.first = taken.first.min(old.first);
                taken.last = taken.last.max(old.last);
            } else if old.overlaps(taken) {
                if let Some(last) = taken.first.checked_sub(1).filter(|&last| old.first <= last) {
                    self.records.push(Record { last, ..old });
                }
                if let Some(first) = taken.last.checked_add(1).filter(|&first| first <= old.last) {
                    self.records.push(Record { first, ..old });
                }
            } else {
                self.records.push(old);
            }
        }
    }
}

/// The locks of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    nodes: HashMap<usize, OfNode>,
    /// Tables with record locks, and the processes and threads known to use each.
    tables: Vec<(TableId, Vec<u32>)>,
    next: u64,
}

impl Locks {
    /// Returns whether any record lock is held.
    pub(crate) fn has_records(&self) -> bool {
        !self.tables.is_empty()
    }

    /// Returns the processes and threads that hold record locks.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = u32> {
        let tasks = self.tables.iter().flat_map(|(_, tasks)| tasks);
        tasks.copied()
    }

    /// Returns the table of a task. `shares` returns whether two tasks use the same one.
    pub(crate) fn table_of(&self, task: u32, shares: impl Fn(u32, u32) -> bool) -> TableId {
        let is_its = |other: &u32| *other == task || shares(task, *other);
        let mut tables = self.tables.iter();
        let found = tables.find(|(_, tasks)| tasks.iter().any(is_its));
        found.map_or(TableId::default(), |(id, _)| *id)
    }

    /// Returns the table of a task, as [`table_of`](Self::table_of) does. A new table stays, even
    /// without locks, until [`set`](Self::set) has returned.
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

    /// Applies a flock; `None` for `write` unlocks. A refused call still releases the earlier lock.
    ///
    /// Source: Linux 7.2 fs/locks.c `flock_lock_inode`.
    pub(crate) fn flock(&mut self, node: usize, file: FileId, write: Option<bool>) -> bool {
        let whole = &mut self.nodes.entry(node).or_default().whole;
        whole.retain(|(other, _)| *other != file);
        let Some(write) = write else {
            return true;
        };
        let is_free = !whole.iter().any(|(_, other)| write || *other);
        if is_free {
            whole.push((file, write));
        }
        is_free
    }

    /// Returns the lock that conflicts with this one.
    pub(crate) fn blocker(&self, node: usize, wanted: &Record) -> Option<Record> {
        let mut records = self.nodes.get(&node)?.records.iter();
        records.find(|held| held.conflicts(wanted)).copied()
    }

    /// Grants a record lock.
    ///
    /// # Errors
    /// See [`Refused`].
    pub(crate) fn set(
        &mut self,
        (node, file): (usize, FileId),
        mut wanted: Record,
    ) -> Result<(), Refused> {
        let done = match self.blocker(node, &wanted) {
            Some(held) => Err(Refused::Held(held.owner)),
            None => {
                let of = self.nodes.entry(node).or_default();
                if of.records.len() < MAX_LOCKS {
                    of.carve(&mut wanted, true);
                    of.records.push(wanted);
                    let through = (wanted.owner, file);
                    if !of.through.contains(&through) {
                        of.through.push(through);
                    }
                    Ok(())
                } else {
                    Err(Refused::Full)
                }
            }
        };
        self.drop_unused();
        done
    }

    /// Releases a range of its owner's locks.
    ///
    /// # Errors
    /// [`Refused::Full`]: the call would split a lock in two, and the node has too many.
    pub(crate) fn unset(&mut self, node: usize, mut range: Record) -> Result<(), Refused> {
        if let Some(of) = self.nodes.get_mut(&node) {
            if of.records.len() > MAX_LOCKS {
                return Err(Refused::Full);
            }
            of.carve(&mut range, false);
        }
        self.drop_unused();
        Ok(())
    }

    /// Releases all locks that a table holds on a node, since it closes a descriptor of the node.
    /// Locks taken through other files of the node end, too.
    pub(crate) fn close(&mut self, table: TableId, node: usize) -> bool {
        let Some(of) = self.nodes.get_mut(&node) else {
            return false;
        };
        let before = of.records.len();
        of.records
            .retain(|record| record.owner != Owner::Table(table));
        let changed = of.records.len() != before;
        self.drop_unused();
        changed
    }

    /// Releases the locks of a file without descriptors, and the locks taken through it.
    pub(crate) fn file_ended(&mut self, file: FileId) -> bool {
        let mut changed = false;
        for of in self.nodes.values_mut() {
            let before = (of.records.len(), of.whole.len());
            let through = |owner| of.through.contains(&(owner, file));
            of.records.retain(|record| !through(record.owner));
            of.whole.retain(|(other, _)| *other != file);
            changed |= before != (of.records.len(), of.whole.len());
        }
        self.drop_unused();
        changed
    }

    /// Removes an ended process, or an ended thread with a separate table. A table without tasks ends.
    pub(crate) fn task_ended(&mut self, task: u32) -> bool {
        let mut ended = Vec::new();
        for (id, tasks) in &mut self.tables {
            tasks.retain(|other| *other != task);
            if tasks.is_empty() {
                ended.push(Owner::Table(*id));
            }
        }
        for of in self.nodes.values_mut() {
            of.records.retain(|record| !ended.contains(&record.owner));
        }
        self.drop_unused();
        !ended.is_empty()
    }

    /// Forgets owners and nodes without locks.
    fn drop_unused(&mut self) {
        let has = |of: &OfNode, owner| of.records.iter().any(|record| record.owner == owner);
        for of in self.nodes.values_mut() {
            let through = core::mem::take(&mut of.through);
            let left = through.into_iter().filter(|(owner, _)| has(of, *owner));
            of.through = left.collect();
        }
        self.nodes
            .retain(|_, of| !of.records.is_empty() || !of.whole.is_empty());
        let nodes = &self.nodes;
        self.tables.retain(|(id, _)| {
            let owner = Owner::Table(*id);
            nodes.values().any(|of| has(of, owner))
        });
    }
}

/// Returns whether `owner` would wait for itself if it waited for `blocker`. `waits` are pairs of
/// waiter and blocker.
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
