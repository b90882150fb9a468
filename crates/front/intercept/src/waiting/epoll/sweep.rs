//! Drops epoll sets that no program holds any more.
//!
//! The kernel does not report when a program closes its set. So the supervisor searches the descriptors of all
//! programs when it knows `FROM` sets, and again each time the number of sets has doubled. The thread that
//! serves an `epoll_ctl` makes this search before the call, without the lock, since the search takes tens of
//! milliseconds with thousands of sets.

use std::collections::HashSet;

use super::{Epolls, Set};
use crate::descriptors::{KnownSets, SetId, Table};
use crate::kernel::MayBlock;

/// Number of known sets from which the first search is due.
const FROM: usize = 64;

/// The sets to search for, and the state when the search began.
#[derive(Debug)]
pub(crate) struct Sweep {
    sets: KnownSets,
    /// The number of `epoll_ctl` calls before the search.
    changes: u64,
}

impl Sweep {
    /// Searches the descriptors of all programs, and returns the sets that no program holds.
    pub(crate) fn look(&self, may: &MayBlock) -> HashSet<SetId> {
        self.sets.held_by_none(may)
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
        Some(Sweep {
            sets: self.known.clone(),
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
    use std::sync::Arc;

    use super::super::tests::a_set;
    use super::super::{Objects, SetFile};
    use super::*;

    /// Makes sets that only this process holds.
    fn sets(count: u64) -> Epolls {
        let mut epolls = Epolls::default();
        let objects = Arc::new(Objects::new().expect("objects"));
        for id in 0..count {
            let file = SetFile::new(SetId(id), Arc::new(a_set()), &objects, &epolls.known);
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
    fn sets_without_holders_are_not_found() {
        let _alone = crate::kernel::alone();
        let may = MayBlock::of_this_thread();
        let mut epolls = Epolls::default();
        let a = epolls.known().seek(&may, a_set());
        let a = epolls.identify(a).expect("a new set");
        let sweep = Sweep {
            sets: epolls.known(),
            changes: 0,
        };
        assert_eq!(sweep.look(&may), HashSet::from([a]));
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
