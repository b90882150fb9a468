//! A thread that works on one task at a time, such as a picture to convert, so that no program's call waits for it.

use crate::ring::Ring;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use vb3_v4l2::WakeFd;

/// Minimum size of source and target together, in bytes, for a conversion on the thread.
/// Smaller pictures take at most half a millisecond.
pub(crate) const LARGE: usize = 512 << 10;

/// The owner's handle of the thread. The thread has at most one task. When the owner drops the handle, the
/// thread finishes its task and ends. The thread is never joined.
#[derive(Debug)]
pub(crate) struct ConvertThread<T> {
    todo: SyncSender<T>,
    /// The finished task, and whether it finished without a panic. The thread keeps no reference while it works, so
    /// the queue's descriptor closes when the owner drops its handle.
    done: Arc<Ring<(T, bool)>>,
    /// Whether the thread is busy: from [`give`](Self::give) to [`take`](Self::take).
    pub(crate) is_busy: bool,
}

impl<T: Send + 'static> ConvertThread<T> {
    /// Starts a thread that calls `run` for each task. Returns `None` if no thread or descriptor is available.
    pub(crate) fn start(mut run: impl FnMut(&mut T) + Send + 'static) -> Option<Self> {
        let done = Ring::new(1).ok()?;
        let (todo, tasks) = sync_channel::<T>(1);
        let finished = Arc::downgrade(&done);
        let thread = std::thread::Builder::new().name("vb3-convert".to_owned());
        let spawned = thread.spawn(move || {
            for mut task in tasks {
                // The owner waits for the task, even if a library has a fault.
                let ran = catch_unwind(AssertUnwindSafe(|| run(&mut task)));
                if let Some(done) = finished.upgrade() {
                    // This does not block: there is at most one task.
                    let _ = done.push_wait((task, ran.is_ok()));
                }
            }
        });
        spawned.ok()?;
        Some(Self {
            todo,
            done,
            is_busy: false,
        })
    }

    /// Passes a task to the thread. Returns the task if the thread is busy.
    pub(crate) fn give(&mut self, task: T) -> Result<(), T> {
        if self.is_busy {
            return Err(task);
        }
        // Asks for a wake-up when the task is finished.
        let _ = self.done.try_pop();
        let sent = self.todo.try_send(task);
        self.is_busy = sent.is_ok();
        sent.map_err(|refused| match refused {
            TrySendError::Full(task) | TrySendError::Disconnected(task) => task,
        })
    }

    /// Returns the task if the thread has finished it, and whether it finished without a panic.
    pub(crate) fn take(&mut self) -> Option<(T, bool)> {
        self.done.acknowledge();
        let finished = self.done.try_pop().ok()?;
        self.is_busy = false;
        Some(finished)
    }

    /// Returns a descriptor that is readable from the task's end until the task is taken; `None` without a task.
    pub(crate) fn wake_fd(&self) -> Option<WakeFd<'_>> {
        self.is_busy.then(|| self.done.wake_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use std::sync::mpsc::channel;

    #[test]
    fn it_has_one_task_until_that_is_taken() {
        let (go, may_go) = channel();
        let thread = ConvertThread::start(move |done: &mut bool| {
            may_go.recv().ok();
            *done = true;
        });
        let mut thread = thread.expect("a thread");
        assert!(thread.give(false).is_ok());
        assert!(thread.give(false).is_err() && thread.take().is_none());
        go.send(()).expect("it waits");
        let mut taken = None;
        while taken.is_none() {
            taken = thread.take();
            std::thread::yield_now();
        }
        assert_eq!(taken, Some((true, true)));
        assert!(thread.give(false).is_ok(), "it has none");
    }

    #[test]
    fn task_of_a_panic_returns() {
        let thread = ConvertThread::start(|done: &mut bool| {
            *done = true;
            panic!("a fault of the library");
        });
        let mut thread = thread.expect("a thread");
        for _ in 0..2 {
            assert!(thread.give(false).is_ok(), "the thread goes on");
            let wake = thread.wake_fd().expect("it has a task");
            assert_eq!(poll(&mut [PollFd::new(&wake, PollFlags::IN)], None), Ok(1));
            assert_eq!(thread.take(), Some((true, false)));
        }
    }

    #[test]
    fn descriptor_closes_with_owner_during_a_task() {
        let (go, may_go) = channel::<()>();
        let (say, said) = channel();
        let thread = ConvertThread::start(move |(): &mut ()| {
            say.send("begun").ok();
            may_go.recv().ok();
            say.send("done").ok();
        });
        let mut thread = thread.expect("a thread");
        let wake = Arc::downgrade(&thread.done);
        assert!(thread.give(()).is_ok());
        assert_eq!(said.recv(), Ok("begun"));
        drop(thread);
        assert_eq!(wake.strong_count(), 0, "it is held by the thread");
        drop(go);
        assert_eq!(said.recv(), Ok("done"));
        assert!(said.recv().is_err(), "it ends");
    }
}
