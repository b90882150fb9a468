//! Tracks calls that hold a program's file outside the lock of all devices. An open waits for those of
//! ended threads. When a program has waited for a process, that process's files must be free.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::kernel::{MayBlock, Thread, lock};

/// Longest wait. Work for an ended thread waits for nothing, so it is over soon.
const ENDED_CALLS_TIMEOUT: Duration = Duration::from_millis(500);

/// The calls; see the module's comment.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// By the listener's number of the call.
    calls: Mutex<BTreeMap<u64, Arc<Thread>>>,
    over: Condvar,
}

/// A call is under way as long as this value exists.
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
    /// Begins a call that holds a file. The caller drops the file before the returned value.
    pub(crate) fn begin(&self, call: u64, thread: Arc<Thread>) -> Holding<'_> {
        lock(&self.calls).insert(call, thread);
        Holding { of: self, call }
    }

    /// Waits until no call of an ended thread holds a file; returns whether none does.
    pub(crate) fn await_ended(&self, _: &MayBlock) -> bool {
        let mut calls = lock(&self.calls);
        let until = Instant::now() + ENDED_CALLS_TIMEOUT;
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
    fn open_waits_only_for_calls_of_ended_threads() {
        let _alone = crate::process::alone();
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
