//! Calls that hold a program's file beside the lock: who opens a node waits for those of threads
//! that have ended, as a file is gone when the process is that was waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kernel::MayBlock;
use crate::kernel::Thread;
use crate::kernel::lock;

/// How long is waited at most: what is done for a thread that has ended waits for nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// By the listener's name of the call.
    calls: Mutex<BTreeMap<u64, Arc<Thread>>>,
    over: Condvar,
}

/// A call is under way as long as this is there.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    of: &'a UnderWay,
    call: u64,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        lock(&self.of.calls).remove(&self.call);
        self.of.over.notify_all();
    }
}

impl UnderWay {
    /// A call of a thread begins to hold a file. What is given is to be dropped after that.
    pub(crate) fn begin(&self, call: u64, thread: Arc<Thread>) -> Holding<'_> {
        lock(&self.calls).insert(call, thread);
        Holding { of: self, call }
    }

    /// Waits until no call of a thread that has ended holds a file; whether none does.
    pub(crate) fn await_ended(&self, _: &MayBlock) -> bool {
        let mut calls = lock(&self.calls);
        let until = Instant::now() + PATIENCE;
        while calls.values().any(|thread| thread.has_ended()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.over.wait_timeout(calls, left);
            calls = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn thread(pid: u32) -> Arc<Thread> {
        Arc::new(Thread::new(pid).expect("a process"))
    }

    #[test]
    fn only_calls_of_threads_that_have_ended_are_waited_for() {
        let calls = UnderWay::default();
        let _lives = calls.begin(1, thread(std::process::id()));
        let mut child = Command::new("true").spawn().expect("true");
        let gone = thread(child.id());
        child.wait().expect("ends");
        let ended = calls.begin(2, gone);
        assert!(
            !calls.await_ended(&MayBlock::of_this_thread()),
            "it holds its file, and nobody drops it"
        );
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                assert!(calls.await_ended(&MayBlock::of_this_thread()));
                assert!(is_over.load(Ordering::SeqCst), "the call is under way");
            });
            is_over.store(true, Ordering::SeqCst);
            drop(ended);
            waiter.join().expect("waited");
        });
    }
}
