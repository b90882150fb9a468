//! Answers that follow changes of epoll sets.
//!
//! The thread of a call changes the sets, then answers. A program can hold its set as long as it likes,
//! and the thread waits for that in the kernel. The clock checks stalled threads, and answers for them.

use std::sync::Mutex;
use std::time::Instant;

use crate::kernel::lock;
use crate::process::Reply;
use crate::waiting::CHANGE_TIMEOUT;

/// One answer, by the call's number.
#[derive(Debug)]
struct Promise {
    id: u64,
    reply: Reply,
    given: Instant,
}

/// The answers; see the module's comment.
#[derive(Debug, Default)]
pub(crate) struct Promises(Mutex<Vec<Promise>>);

impl Promises {
    /// Records that a thread will answer this call.
    pub(crate) fn give(&self, id: u64, reply: Reply) {
        let given = Instant::now();
        lock(&self.0).push(Promise { id, reply, given });
    }

    /// Returns the thread's answer, or `None` if the clock has given it.
    pub(crate) fn keep(&self, id: u64) -> Option<Reply> {
        let mut all = lock(&self.0);
        let at = all.iter().position(|promise| promise.id == id)?;
        Some(all.swap_remove(at).reply)
    }

    /// Takes the answers that have waited too long.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<(u64, Reply)> {
        let mut all = lock(&self.0);
        let is_overdue = |promise: &mut Promise| {
            let since = now.saturating_duration_since(promise.given);
            since >= CHANGE_TIMEOUT
        };
        let overdue = all.extract_if(.., is_overdue);
        overdue.map(|promise| (promise.id, promise.reply)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_given_once() {
        let promises = Promises::default();
        promises.give(1, Reply::Value(1));
        promises.give(2, Reply::Value(2));
        let now = Instant::now();
        assert_eq!(promises.keep(1), Some(Reply::Value(1)));
        let (before, after) = (now.checked_sub(CHANGE_TIMEOUT), now + CHANGE_TIMEOUT);
        assert_eq!(promises.overdue(before.unwrap_or(now)), []);
        assert_eq!(promises.overdue(after), [(2, Reply::Value(2))]);
        assert_eq!(promises.keep(2), None);
        assert_eq!(promises.overdue(after), []);
    }
}
