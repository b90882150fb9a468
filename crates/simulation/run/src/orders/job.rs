//! Runs the work of one order on a thread, because the work may wait for files or programs.

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use vb3_v4l2::{Wake, WakeFd};

/// Maximum number of threads of one run, including those whose orders were dropped.
const MAX_RUNNING: usize = 16;

/// The threads that still run: each holds a reference.
pub(super) type Running = Arc<()>;

/// Work that runs on its own thread. The thread ends with the work and is never joined.
#[derive(Debug)]
pub(super) struct Job<T> {
    done: Receiver<Result<T, String>>,
    wake: Wake<Arc<OwnedFd>>,
}

impl<T: Send + 'static> Job<T> {
    /// Starts the work on a thread with this name.
    ///
    /// # Errors
    /// Fails, with a message for the client, if too many threads are `running`, if no descriptor is free, or if
    /// the thread cannot be started.
    pub(super) fn start(
        running: &Running,
        name: &str,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<Self, String> {
        // The run itself holds one reference.
        if Arc::strong_count(running) > MAX_RUNNING {
            return Err("too many orders are still running".to_owned());
        }
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| format!("cannot make an eventfd: {e}"))?;
        let wake = Arc::new(wake);
        let (sender, done) = channel();
        let (ready, running) = (Arc::clone(&wake), Arc::clone(running));
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                // Fails if the order was dropped in between.
                let _ = sender.send(work());
                drop(running);
                // Nothing else writes to the eventfd, so its counter is not full.
                let _ = rustix::io::write(&*ready, &1u64.to_ne_bytes());
            })
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self {
            done,
            wake: Wake::new(wake),
        })
    }

    /// Returns the work's result once it is done.
    pub(super) fn take(&self) -> Option<Result<T, String>> {
        match self.done.try_recv() {
            Ok(done) => Some(done),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the work ended early".to_owned())),
        }
    }
}

impl<T> Job<T> {
    /// Returns a descriptor that is readable once the work is done.
    pub(super) fn wake_fd(&self) -> WakeFd<'_> {
        self.wake.fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_jobs_count_until_their_threads_end() {
        let running = Running::default();
        let work = |wait: Receiver<()>| move || wait.recv().map_err(|e| e.to_string());
        let mut ends = Vec::new();
        for _ in 0..MAX_RUNNING {
            let (end, wait) = channel();
            ends.push(end);
            drop(Job::start(&running, "test", work(wait)).expect("a thread"));
        }
        let (end, wait) = channel();
        let refused = Job::start(&running, "test", work(wait)).expect_err("a limit");
        assert_eq!(refused, "too many orders are still running");
        assert!(end.send(()).is_err(), "no thread waits");
        drop(ends.pop());
        while Job::start(&running, "test", || Ok(())).is_err() {
            std::thread::yield_now();
        }
    }
}
