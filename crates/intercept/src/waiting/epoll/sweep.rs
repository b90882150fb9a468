//! Letting go of sets that no program holds any more. The kernel tells of none: the descriptors of
//! all programs are looked at, which takes tens of milliseconds with thousands of sets. A thread of
//! its own does that, beside the lock.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::{Epolls, ObjectsInSets, SetFile, SetId};
use crate::descriptors::holders;
use crate::kernel::MayBlock;

/// Sets known before those are looked for that no program holds any more.
const FROM: usize = 64;
/// How many times as many sets may come while the thread looks.
const MOST: usize = 4;

/// Sets to look for, as of some time.
#[derive(Debug)]
pub(crate) struct Sweep {
    sets: Vec<(SetId, Arc<SetFile>)>,
    /// What stands in them.
    objects: ObjectsInSets,
    /// How many changes there had been.
    changes: u64,
}

/// Sets that nobody held.
#[derive(Debug)]
pub(crate) struct Swept {
    gone: HashSet<SetId>,
    changes: u64,
}

impl Sweep {
    /// Looks which of them nobody holds.
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
    /// Each time there are twice as many as were left the last time.
    fn is_sweep_due(&self, times: usize) -> bool {
        self.sets.len() >= self.sweep_at.max(FROM) * times
    }

    /// Whether somebody should look which sets are gone.
    pub(crate) fn wants_sweep(&self) -> bool {
        !self.is_swept && self.is_sweep_due(1)
    }

    /// The sets to look for, if it is time.
    pub(crate) fn begin_sweep(&mut self) -> Option<Sweep> {
        if !self.wants_sweep() {
            return None;
        }
        self.is_swept = true;
        Some(self.sweep())
    }

    /// Nobody can look now.
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

    /// Lets go of what was found gone and has not been used since.
    pub(crate) fn end_sweep(&mut self, swept: Swept) {
        let Swept { mut gone, changes } = swept;
        gone.retain(|id| self.sets.get(id).is_some_and(|set| set.used <= changes));
        for entries in self.by_file.values_mut().chain(self.parked.values_mut()) {
            entries.retain(|(set, _), _| !gone.contains(set));
        }
        self.by_file.retain(|_, entries| !entries.is_empty());
        self.parked.retain(|_, entries| !entries.is_empty());
        self.sets.retain(|id, _| !gone.contains(id));
        self.order.retain(|id| !gone.contains(id));
        self.names.retain(|_, id| !gone.contains(id));
        self.sweep_at = self.sets.len() * 2;
        self.is_swept = false;
    }

    /// The sets to look for where they come faster than the thread looks: the caller looks.
    pub(crate) fn begin_late_sweep(&self) -> Option<Sweep> {
        self.is_sweep_due(MOST).then(|| self.sweep())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::a_set;
    use super::super::{Objects, Set};
    use super::*;

    /// Sets that this process holds alone, so no program below it does.
    fn sets(count: u64) -> Epolls {
        let mut epolls = Epolls::default();
        let objects = Arc::new(Objects::new().expect("objects"));
        for id in 0..count {
            let file = SetFile::new(SetId(id), a_set(), &objects, &epolls.numbers);
            let set = Set {
                file: Arc::new(file),
                entries: 1,
                used: id,
                user: 1,
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
