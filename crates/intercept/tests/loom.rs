//! Every order in which the receiver and the clock can meet at what they share without a lock.

#[path = "../src/watch.rs"]
mod watch;

/// loom's, in the place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

use loom::sync::Arc;
use loom::thread;
use sync::Ordering;
use watch::Watch;

#[test]
fn a_call_that_begins_as_the_clock_goes_to_rest_is_looked_at() {
    loom::model(|| {
        let watch = Arc::new(Watch::default());
        watch.keep();
        let seen = watch.state.load(Ordering::Acquire);
        let receiver = thread::spawn({
            let watch = Arc::clone(&watch);
            move || watch.step_in()
        });
        let rests = watch.rest(seen);
        let wakes = receiver.join().unwrap();
        assert!(wakes || !rests, "a call stalls and nobody looks");
        assert!(!watch.step_in(), "the clock is woken once");
    });
}
