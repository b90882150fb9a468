//! Calls that are put off: each may wait for its program, and no thread may do so now.

use std::collections::VecDeque;

use crate::pool::Job;

/// Looked at in one go at least, and of more calls this part.
const SOME: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PutOff {
    jobs: VecDeque<(u32, Job)>,
    /// How many from the front were looked at this time round.
    looked: usize,
}

impl PutOff {
    /// Adds one of a process.
    pub(crate) fn push(&mut self, pid: u32, job: Job) {
        self.jobs.push_back((pid, job));
    }

    /// Takes the oldest.
    pub(crate) fn pop(&mut self) -> Option<(u32, Job)> {
        self.looked = self.looked.saturating_sub(1);
        self.jobs.pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// The listener's names of some of them, in turn: programs that end leave theirs behind, and all
    /// are found, however fast they do.
    pub(crate) fn some(&mut self) -> Vec<u64> {
        if self.looked >= self.jobs.len() {
            self.looked = 0;
        }
        let count = SOME + self.jobs.len() / SOME;
        let some = self.jobs.iter().skip(self.looked).take(count);
        let some: Vec<u64> = some.map(|(_, job)| job.notif().id).collect();
        self.looked += some.len();
        some
    }

    /// Drops those of threads that have ended.
    pub(crate) fn forget(&mut self, gone: &[u64]) {
        let before = self.jobs.len();
        self.jobs.retain(|(_, job)| !gone.contains(&job.notif().id));
        self.looked = self.looked.saturating_sub(before - self.jobs.len());
    }
}
