//! Drops epoll sets that no program holds any more.
//!
//! The kernel does not report when a program closes its set. A separate thread searches the descriptors
//! of all programs without the lock, which takes tens of milliseconds with thousands of sets.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Epolls, ObjectsInSets, SetFile, SetId};
use crate::descriptors::holders;
use crate::kernel::MayBlock;

/// Number of known sets from which the first search is due.
const FROM: usize = 64;
/// From this many times the due number of sets on, the threads that serve calls search, too.
const LATE_FACTOR: usize = 4;

/// The sets to search for, and the state when the search began.
#[derive(Debug)]
pub(crate) struct Sweep {
    sets: Vec<(SetId, Arc<SetFile>)>,
    objects: ObjectsInSets,
    /// The number of `epoll_ctl` calls before the search.
    changes: u64,
}

/// Sets that no program holds.
#[derive(Debug)]
pub(crate) struct Swept {
    gone: HashSet<SetId>,
    changes: u64,
}

impl Sweep {
    /// Searches the descriptors of all programs, and returns the sets that no program holds.
    pub(crate) fn look(self, may: &MayBlock) -> Swept {
        let sets = self.sets.iter().map(|(id, set)| (id, set.fd.as_fd()));
        let objects = &self.objects;
        let held = holders::epoll_sets(may, sets, |pid, fd| objects.set_of(may, pid, fd));
        let all = self.sets.iter().map(|(id, _)| *id);
        Swept {
            gone: all.filter(|id| !held.contains(id)).collect(),
            changes: self.changes,
        }
    }
}

impl Epolls {
    /// Returns whether the number of sets is at least `times` times the number at which a search is due.
    fn is_sweep_due(&self, times: usize) -> bool {
        self.sets.len() >= self.sweep_at.max(FROM) * times
    }

    /// Returns whether a search is due and no thread searches.
    pub(crate) fn wants_sweep(&self) -> bool {
        !self.is_swept && self.is_sweep_due(1)
    }

    /// Begins a search in a thread if one is due. The caller must start the thread.
    pub(crate) fn begin_sweep(&mut self) -> Option<Sweep> {
        if !self.wants_sweep() {
            return None;
        }
        self.is_swept = true;
        Some(self.sweep())
    }

    /// Records that no thread could be started for the search. Delays the next search.
    pub(crate) fn give_up_sweep(&mut self) {
        self.is_swept = false;
        self.sweep_at = self.sets.len() * 2;
    }

    fn sweep(&self) -> Sweep {
        let sets = self.sets.iter();
        Sweep {
            sets: sets.map(|(id, set)| (*id, Arc::clone(&set.file))).collect(),
            objects: self.objects_in_sets(),
            changes: self.changes,
        }
    }

    /// Ends a search: drops the sets that no program holds, unless they were used since the search began.
    pub(crate) fn end_sweep(&mut self, swept: Swept) {
        let Swept { mut gone, changes } = swept;
        gone.retain(|id| self.sets.get(id).is_some_and(|set| set.used <= changes));
        self.by_file.retain(|_, entries| {
            entries.retain(|(set, _), _| !gone.contains(set));
            !entries.is_empty()
        });
        self.drop_sets(|id| gone.contains(&id));
        self.sweep_at = self.sets.len() * 2;
        self.is_swept = false;
    }

    /// Returns a search for the caller to make, if the search thread is too slow for the new sets.
    pub(crate) fn begin_late_sweep(&self) -> Option<Sweep> {
        self.is_sweep_due(LATE_FACTOR).then(|| self.sweep())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_set;
    use super::super::{Objects, Set};
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
        assert!(!epolls.wants_sweep() && epolls.begin_sweep().is_none());
        let mut epolls = sets(FROM as u64);
        assert!(epolls.wants_sweep());
        let sweep = epolls.begin_sweep().expect("it is time");
        assert!(
            !epolls.wants_sweep() && epolls.begin_sweep().is_none(),
            "one at a time"
        );
        let swept = Swept {
            gone: epolls.sets.keys().copied().collect(),
            changes: sweep.changes,
        };
        epolls.changes += 1;
        if let Some(set) = epolls.sets.get_mut(&SetId(7)) {
            set.used = epolls.changes;
        }
        epolls.end_sweep(swept);
        assert!(epolls.sets.keys().eq([&SetId(7)]));
        assert!(!epolls.wants_sweep() && epolls.sweep_at == 2);
    }
}
