//! Drops epoll sets that no program holds any more.
//!
//! The kernel does not report when a program closes its set. So the supervisor searches the descriptors of all
//! programs when it knows `FROM` sets, and again each time the number of sets has doubled. The thread that
//! serves an `epoll_ctl` makes this search before the call, without the lock, since the search takes tens of
//! milliseconds with thousands of sets.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Epolls, ObjectsInSets, Set, SetFile};
use crate::descriptors::{SetId, Table, holders};
use crate::kernel::MayBlock;

/// Number of known sets from which the first search is due.
const FROM: usize = 64;

/// The sets to search for, and the state when the search began.
#[derive(Debug)]
pub(crate) struct Sweep {
    sets: Vec<(SetId, Arc<SetFile>)>,
    objects: ObjectsInSets,
    /// The number of `epoll_ctl` calls before the search.
    changes: u64,
}

impl Sweep {
    /// Searches the descriptors of all programs, and returns the sets that no program holds.
    pub(crate) fn look(&self, may: &MayBlock) -> HashSet<SetId> {
        let sets = self.sets.iter().map(|(id, set)| (id, set.fd.as_fd()));
        let objects = &self.objects;
        let held = holders::epoll_sets(may, sets, |pid, fd| objects.set_of(may, pid, fd));
        let all = self.sets.iter().map(|(id, _)| *id);
        all.filter(|id| !held.contains(id)).collect()
    }
}

impl Epolls {
    /// Begins a search if one is due. The caller makes it. Until it ends, another search is due only if the number of
    /// sets has doubled.
    pub(crate) fn begin_sweep(&mut self) -> Option<Sweep> {
        if self.sets.len() < self.sweep_at.max(FROM) {
            return None;
        }
        self.sweep_at = self.sets.len() * 2;
        let sets = self.sets.iter();
        Some(Sweep {
            sets: sets.map(|(id, set)| (*id, Arc::clone(&set.file))).collect(),
            objects: self.objects_in_sets(),
            changes: self.changes,
        })
    }

    /// Ends a search: drops the sets that no program holds, unless they were used since the search began.
    pub(crate) fn end_sweep(&mut self, table: &mut Table, sweep: &Sweep, mut gone: HashSet<SetId>) {
        let is_unused = |set: &Set| set.used <= sweep.changes;
        gone.retain(|id| self.sets.get(id).is_some_and(is_unused));
        table.leave_sets(&gone);
        self.drop_sets(|id| gone.contains(&id));
        self.sweep_at = self.sets.len() * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Objects;
    use super::super::tests::a_set;
    use super::*;

    /// Makes sets that only this process holds.
    fn sets(count: u64) -> Epolls {
        let mut epolls = Epolls::default();
        let objects = Arc::new(Objects::new().expect("objects"));
        for id in 0..count {
            let file = SetFile::new(SetId(id), a_set(), &objects, &epolls.numbers);
            let set = Set {
                file: Arc::new(file),
                entries: 1,
                used: id,
            };
            epolls.sets.insert(SetId(id), set);
        }
        epolls.changes = count;
        epolls
    }

    #[test]
    fn what_was_used_since_the_look_began_stays() {
        let mut epolls = sets(FROM as u64 - 1);
        assert!(epolls.begin_sweep().is_none());
        let mut epolls = sets(FROM as u64);
        let sweep = epolls.begin_sweep().expect("it is time");
        assert!(epolls.begin_sweep().is_none(), "one at a time");
        let gone = epolls.sets.keys().copied().collect();
        epolls.changes += 1;
        if let Some(set) = epolls.sets.get_mut(&SetId(7)) {
            set.used = epolls.changes;
        }
        epolls.end_sweep(&mut Table::default(), &sweep, gone);
        assert!(epolls.sets.keys().eq([&SetId(7)]));
        assert!(epolls.begin_sweep().is_none() && epolls.sweep_at == 2);
    }
}
