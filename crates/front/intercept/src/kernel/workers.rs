//! Threads that do jobs which may wait for a program or its file systems.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::kernel::{MayBlock, lock};

const STACK: usize = 256 << 10;

/// Longest time that the end of a run waits for threads that a process or file system blocks.
const END_TIMEOUT: Duration = Duration::from_secs(5);

type Job = Box<dyn FnOnce(&MayBlock) + Send>;

/// Threads that do jobs in the order of their arrival. A thread starts if jobs wait and no other one is idle.
pub(crate) struct Workers(Arc<Shared>);

struct Shared {
    name: &'static str,
    max_threads: usize,
    queue: Mutex<Queue>,
    /// Signalled when a job is added, or no more will come.
    has_job: Condvar,
    ended: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Number of threads that wait for jobs or are starting.
    idle: usize,
    is_over: bool,
}

impl Workers {
    pub(crate) fn new(name: &'static str, max_threads: usize) -> Self {
        Self(Arc::new(Shared {
            name,
            max_threads,
            queue: Mutex::default(),
            has_job: Condvar::new(),
            ended: Condvar::new(),
        }))
    }

    /// Adds a job. Returns false, and drops the job, if `max_waiting` others wait or there is no thread.
    pub(crate) fn add(
        &self,
        max_waiting: usize,
        job: impl FnOnce(&MayBlock) + Send + 'static,
    ) -> bool {
        let mut queue = lock(&self.0.queue);
        self.0.start_if_none_is_idle(&mut queue);
        // If the system refuses a thread, the existing threads do the job.
        let is_taken = queue.threads > 0 && queue.jobs.len() < max_waiting;
        if is_taken {
            queue.jobs.push_back(Box::new(job));
            // If there are more jobs than idle threads, each of these was signalled for an earlier job.
            if queue.jobs.len() <= queue.idle {
                self.0.has_job.notify_one();
            }
        }
        is_taken
    }
}

impl Shared {
    fn start_if_none_is_idle(self: &Arc<Self>, queue: &mut Queue) {
        if queue.idle == 0 && queue.threads < self.max_threads {
            let shared = Arc::clone(self);
            let thread = Builder::new().name(self.name.into()).stack_size(STACK);
            let started = usize::from(thread.spawn(move || shared.work()).is_ok());
            queue.threads += started;
            queue.idle += started;
        }
    }

    fn work(self: &Arc<Self>) {
        let may = MayBlock::of_this_thread();
        let mut queue = lock(&self.queue);
        queue.idle -= 1;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                // This job may wait for ever, and another thread must do the next one.
                if !queue.jobs.is_empty() {
                    self.start_if_none_is_idle(&mut queue);
                }
                drop(queue);
                job(&may);
                queue = lock(&self.queue);
            } else if queue.is_over {
                queue.threads -= 1;
                return self.ended.notify_all();
            } else {
                queue.idle += 1;
                let waited = self.has_job.wait(queue);
                queue = waited.unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

/// Waits until all jobs are done and the threads have ended, at most for [`END_TIMEOUT`].
impl Drop for Workers {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.is_over = true;
        self.0.has_job.notify_all();
        let ended = &self.0.ended;
        drop(ended.wait_timeout_while(queue, END_TIMEOUT, |queue| queue.threads > 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn job_that_waits_delays_no_other() {
        let (began, order) = mpsc::channel();
        let gate = Arc::new(Mutex::new(()));
        let workers = Workers::new("vb3-test", 3);
        let held = lock(&gate);
        for n in 0..3 {
            let (began, gate) = (began.clone(), Arc::clone(&gate));
            let job = move |_: &MayBlock| {
                began.send(n).expect("the test waits");
                drop(lock(&gate));
            };
            assert!(workers.add(3, job));
        }
        let watchdog = Duration::from_secs(60);
        let mut all: Vec<_> = (0..3).map(|_| order.recv_timeout(watchdog).ok()).collect();
        all.sort_unstable();
        assert_eq!(all, [Some(0), Some(1), Some(2)]);
        let (queued, is_dropped) = mpsc::channel::<()>();
        assert!(!workers.add(0, move |_| drop(queued)), "no job may wait");
        assert!(is_dropped.recv().is_err());
        drop(held);
        drop(workers);
        assert_eq!(Arc::strong_count(&gate), 1, "the end waits for all jobs");
    }

    #[test]
    fn end_waits_for_pending_jobs() {
        let (go, until) = mpsc::channel::<()>();
        let workers = Workers::new("vb3-test", 1);
        assert!(workers.add(1, move |_| until.recv().unwrap_or_default()));
        let done = Arc::new(());
        let of_job = Arc::clone(&done);
        assert!(workers.add(2, move |_| drop(of_job)));
        let shared = Arc::clone(&workers.0);
        let release = std::thread::spawn(move || {
            let runs = |queue: &mut Queue| !queue.is_over;
            drop(shared.has_job.wait_while(lock(&shared.queue), runs));
            go.send(()).expect("it waits");
        });
        drop(workers);
        assert_eq!(Arc::strong_count(&done), 1, "the second job is done");
        release.join().expect("no panic");
    }
}
