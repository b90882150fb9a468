//! Locks on nodes: flock, record locks (`lockf`, `F_SETLK`) and locks of descriptions (`F_OFD_SETLK`).
//!
//! A device has one inode, so the kernel compares the locks of all its opens. Here each open has another
//! inode, and this table compares them. It makes no system call.
//!
//! A record lock belongs to a *descriptor table*: threads and processes that share one share its locks.

use std::collections::HashMap;

use vb3_host::FileId;

/// Locks on one node, at most. A kernel has no bound.
const MOST: usize = 1024;
/// Waits that are followed to find a deadlock, at most, as in Linux.
const MOST_WAITS: usize = 10;

/// A descriptor table with locks. 0 stands for all that hold none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableId(u64);

/// Who holds a record lock.
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
    /// The last byte, which is locked too.
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

    /// Whether the two make one lock.
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

/// The lock that a call wants; `write` is `None` for an unlock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    /// flock.
    Whole { write: Option<bool> },
    /// A lock of a range, for the descriptor table of `task`, or for the file.
    Record {
        task: Option<u32>,
        pid: u32,
        write: Option<bool>,
        first: i64,
        last: i64,
    },
}

/// Why a lock is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another lock is in the way.
    Held(Owner),
    /// There are too many.
    Full,
}

/// The locks of one node.
#[derive(Debug, Default)]
struct OfNode {
    records: Vec<Record>,
    /// The files that owners have locked through.
    through: Vec<(Owner, FileId)>,
    /// Files that hold a flock, and whether it is exclusive.
    whole: Vec<(FileId, bool)>,
}

impl OfNode {
    /// Takes a range from what its owner holds; `taken` grows by the locks that it joins.
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
    /// Tables that hold record locks, and the processes and threads known to use each.
    tables: Vec<(TableId, Vec<u32>)>,
    next: u64,
}

impl Locks {
    /// Whether any record lock is held.
    pub(crate) fn has_records(&self) -> bool {
        !self.tables.is_empty()
    }

    /// The processes and threads that hold record locks.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = u32> {
        let tasks = self.tables.iter().flat_map(|(_, tasks)| tasks);
        tasks.copied()
    }

    /// The table of a task. `shares` tells whether two tasks have the same one.
    pub(crate) fn table_of(&self, task: u32, shares: impl Fn(u32, u32) -> bool) -> TableId {
        let is_its = |other: &u32| *other == task || shares(task, *other);
        let mut tables = self.tables.iter();
        let found = tables.find(|(_, tasks)| tasks.iter().any(is_its));
        found.map_or(TableId::default(), |(id, _)| *id)
    }

    /// The same; a table that held no lock is added, until [`set`](Self::set) has returned.
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

    /// flock; `write`: `None` unlocks. The lock held before is lost even where the new one is refused.
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

    /// The lock that would keep this one from being granted.
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
                if of.records.len() < MOST {
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

    /// Takes a range from the locks of its owner.
    ///
    /// # Errors
    /// [`Refused::Full`]: it would leave two locks of one.
    pub(crate) fn unset(&mut self, node: usize, mut range: Record) -> Result<(), Refused> {
        if let Some(of) = self.nodes.get_mut(&node) {
            if of.records.len() > MOST {
                return Err(Refused::Full);
            }
            of.carve(&mut range, false);
        }
        self.drop_unused();
        Ok(())
    }

    /// A table closes a descriptor of a node: its locks there are gone, whichever descriptor it was.
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

    /// A file has no descriptor left: those that had locked through it have closed it.
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

    /// A process, or a thread with a separate table, has ended: a table that no other task uses ends.
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

/// Whether `owner` would wait for itself, if it waited for `blocker`. `waits`: pairs of a waiter and a blocker.
pub(crate) fn is_deadlock(owner: Owner, blocker: Owner, waits: &[(Owner, Owner)]) -> bool {
    let mut at = blocker;
    for _ in 0..MOST_WAITS {
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
