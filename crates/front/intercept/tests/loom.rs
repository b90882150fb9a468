//! Tries all interleavings of the receiver, the other threads and the clock, with at most two or three
//! preemptions if there are several threads.

#![allow(clippy::disallowed_methods, reason = "tests may block")]

#[path = "../src/service/pool.rs"]
#[expect(dead_code, reason = "only the supervisor calls the rest")]
mod pool;

/// Replaces the exports of `src/kernel`.
mod kernel {
    /// loom's types instead of `src/kernel/sync.rs`, and a clock on which every wait has taken a
    /// minute, unless a test sets the time.
    mod sync {
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        };
        pub(crate) use loom::sync::{Condvar, Mutex};
        use std::cell::Cell;
        use std::ops::{Add, Sub};
        use std::time::Duration;

        thread_local!(pub(crate) static NOW: Cell<Option<Duration>> = const { Cell::new(None) });

        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct Instant(Duration);

        impl Instant {
            pub(crate) fn now() -> Self {
                Self(NOW.get().unwrap_or_default())
            }

            pub(crate) fn elapsed(self) -> Duration {
                let passed = NOW.get().map(|now| now - self.0);
                passed.unwrap_or(Duration::from_secs(60))
            }
        }

        impl Add<Duration> for Instant {
            type Output = Self;

            fn add(self, _: Duration) -> Self {
                self
            }
        }

        impl Sub for Instant {
            type Output = Duration;

            fn sub(self, _: Self) -> Duration {
                Duration::ZERO
            }
        }
    }

    mod lock {
        use loom::sync::{Mutex, MutexGuard};

        pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
            mutex.lock().expect("no thread panics with it")
        }
    }

    /// Thread 1 never waits for a program, thread 2 always does, and thread 3 in a new wait at each check.
    mod procs {
        use std::cell::Cell;
        use std::time::Duration;

        thread_local! {
            pub(crate) static TID: Cell<u32> = const { Cell::new(2) };
            static WAITS: Cell<u64> = const { Cell::new(0) };
        }

        pub(crate) fn own_tid() -> u32 {
            TID.get()
        }

        /// Thread 1 never gets a CPU.
        pub(crate) fn cpu_time_if_runnable(tid: u32) -> Option<Duration> {
            (tid == 1).then_some(Duration::ZERO)
        }

        pub(crate) fn blocked_waits(tid: u32) -> Option<u64> {
            WAITS.set(WAITS.get() + 1);
            match tid {
                2 => Some(1),
                3 => Some(WAITS.get()),
                _ => None,
            }
        }
    }

    pub(crate) use lock::lock;
    pub(crate) use procs::{TID, blocked_waits, cpu_time_if_runnable, own_tid};
    pub(crate) use sync::*;
}

/// The pool's view of calls.
mod process {
    #[derive(Clone, Debug)]
    pub(crate) struct Notif {
        pub(crate) id: u64,
        pub(crate) tid: u32,
        pub(crate) nr: i64,
    }
}

mod serve {
    use crate::process::Notif;

    #[derive(Debug)]
    pub(crate) struct Job {
        pub(crate) notif: Notif,
    }

    impl Job {
        pub(crate) fn serve(notif: Notif) -> Self {
            Self { notif }
        }
    }
}

mod note {
    #[derive(Debug)]
    #[expect(dead_code, reason = "only Debug reads the fields")]
    pub(crate) enum Note {
        Stalled { pid: u32, nr: i64, calls: usize },
        NobodyServes { calls: usize, pid: u32, nr: i64 },
    }
}

use kernel::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex, Notify};
use loom::thread;
use note::Note;
use pool::{Admission, Part, Pool, Watch};
use process::Notif;
use serve::Job;

const CALL: Notif = Notif {
    id: 70,
    tid: 7,
    nr: 16,
};

/// Explores interleavings with a limited number of preemptions, since three threads have too many.
fn model(preemptions: usize, of: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(of);
}

#[test]
fn call_during_clock_rest_is_noticed() {
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

/// Blocks a thread until another one opens it.
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn new() -> Self {
        Self(Mutex::new(false), Condvar::new())
    }

    fn wait(&self) {
        let mut open = kernel::lock(&self.0);
        while !*open {
            open = self.1.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *kernel::lock(&self.0) = true;
        self.1.notify_all();
    }
}

/// Two threads of a pool and its clock. The first call blocks until the second is received.
struct Run {
    pool: Pool,
    /// Wakes the clock.
    alarm: Notify,
    gate: Gate,
    /// How many threads receive now, and how many have received.
    receivers: AtomicUsize,
    received: AtomicUsize,
}

impl Run {
    fn work(&self) {
        loop {
            match self.pool.next() {
                Part::Receive(term) => {
                    let before = self.receivers.fetch_add(1, Ordering::AcqRel);
                    assert_eq!(before, 0, "one receives at a time");
                    let stalls = self.received.fetch_add(1, Ordering::AcqRel) == 0;
                    self.receivers.fetch_sub(1, Ordering::AcqRel);
                    if self.pool.step_in(&CALL) {
                        self.alarm.notify();
                    }
                    if stalls {
                        self.gate.wait();
                    } else {
                        self.gate.open();
                    }
                    match self.pool.step_out(term) {
                        Some(work) => self.pool.done(work),
                        None => assert!(!stalls, "it is receiver still"),
                    }
                    if !stalls {
                        self.pool.close();
                        self.alarm.notify();
                    }
                }
                Part::Work(work, _) => self.pool.done(work),
                Part::End => return,
            }
        }
    }

    fn clock(&self) {
        while !self.pool.is_closing() {
            let again = self.pool.look(false, |tid| tid, |_| true);
            if again.is_some() {
                thread::yield_now();
            } else {
                self.alarm.wait();
            }
        }
    }
}

#[test]
fn another_thread_receives_for_a_stalled_one() {
    model(2, || {
        let run = Arc::new(Run {
            pool: Pool::of_at_most(2),
            alarm: Notify::new(),
            gate: Gate::new(),
            receivers: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
        });
        let wanted = [run.pool.wanted(), run.pool.wanted()];
        assert_eq!(wanted, [1, 1], "one to receive, then one that is free");
        let threads = [0, 1].map(|_| {
            let run = Arc::clone(&run);
            thread::spawn(move || run.work())
        });
        run.clock();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(run.received.load(Ordering::Acquire) >= 2);
        assert!(!run.pool.is_busy(), "nothing is left of what stalled");
    });
}

#[test]
fn held_back_call_runs_after_its_predecessor() {
    model(3, || {
        // In this pool, a process has at most one job at a time.
        let pool = Arc::new(Pool::of_at_most(2));
        let served = Arc::new(AtomicUsize::new(0));
        assert!(matches!(pool.next(), Part::Receive(_)));
        pool.hand_over(7, Job::serve(CALL));
        let worker = thread::spawn({
            let (pool, served) = (Arc::clone(&pool), Arc::clone(&served));
            move || {
                while served.load(Ordering::Acquire) < 2 {
                    let Part::Work(work, _) = pool.next() else {
                        panic!("nothing else is to do");
                    };
                    served.fetch_add(1, Ordering::AcqRel);
                    pool.done(work);
                }
            }
        });
        // This comes before the first call begins, during it, or after it.
        pool.hand_over(7, Job::serve(CALL));
        worker.join().unwrap();
        assert_eq!(served.load(Ordering::Acquire), 2);
        assert!(!pool.is_busy());
    });
}

/// Thread 5 opens a file after the program's thread of call 70 has ended.
#[test]
fn work_for_ended_threads_is_known() {
    loom::model(|| {
        let has_ended = |id| id == CALL.id;
        let live = Notif { id: 71, ..CALL };
        let pool = Pool::of_at_most(64);
        let take_up = |tid, n: &Notif| {
            kernel::TID.set(tid);
            pool.hand_over(n.tid, Job::serve(n.clone()));
            let Part::Work(work, _) = pool.next() else {
                panic!("a call was handed over");
            };
            kernel::TID.set(5);
            work
        };
        kernel::TID.set(1);
        let Part::Receive(term) = pool.next() else {
            panic!("a receiver is wanted first");
        };
        kernel::TID.set(5);
        assert!(!pool.works_for_ended(has_ended));
        pool.step_in(&CALL);
        assert!(pool.works_for_ended(has_ended), "the receiver");
        kernel::TID.set(1);
        assert!(!pool.works_for_ended(has_ended), "the caller itself");
        kernel::TID.set(5);
        assert!(pool.step_out(term).is_none());
        assert!(!pool.works_for_ended(has_ended), "its call is over");
        let other = take_up(1, &live);
        let waits = take_up(2, &CALL);
        assert!(!pool.works_for_ended(has_ended), "thread 2 waits");
        let works = take_up(1, &CALL);
        assert!(pool.works_for_ended(has_ended), "another thread");
        for work in [other, waits, works] {
            pool.done(work);
        }
        kernel::TID.set(2);
    });
}

#[test]
fn a_call_is_admitted_or_held_back_and_served_once() {
    model(3, || {
        let pool = Arc::new(Pool::of_at_most(2));
        let served = Arc::new(AtomicUsize::new(0));
        let Part::Receive(term) = pool.next() else {
            panic!("a receiver is wanted first");
        };
        pool.hand_over(7, Job::serve(CALL));
        let Part::Work(work, _) = pool.next() else {
            panic!("a call was handed over");
        };
        let worker = thread::spawn({
            let (pool, served) = (Arc::clone(&pool), Arc::clone(&served));
            move || {
                served.fetch_add(1, Ordering::AcqRel);
                pool.done(work);
            }
        });
        pool.step_in(&CALL);
        let is_held_back = pool.admit(term, 7, &CALL) == Admission::HeldBack;
        if is_held_back {
            let Part::Work(work, _) = pool.next() else {
                panic!("the end of the first call releases this one");
            };
            pool.done(work);
        }
        served.fetch_add(1, Ordering::AcqRel);
        assert!(pool.step_out(term).is_none(), "it is receiver still");
        worker.join().unwrap();
        assert_eq!(served.load(Ordering::Acquire), 2);
        assert!(!pool.is_busy());
    });
}

#[test]
fn a_receiver_that_was_replaced_passes_nothing_on() {
    model(3, || {
        let pool = Arc::new(Pool::of_at_most(20));
        let Part::Receive(term) = pool.next() else {
            panic!("a receiver is wanted first");
        };
        pool.hand_over(7, Job::serve(CALL));
        let Part::Work(stalled, _) = pool.next() else {
            panic!("a call was handed over");
        };
        pool.step_in(&CALL);
        let clock = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.look(false, |tid| tid, |_| true)
        });
        assert_ne!(pool.admit(term, 7, &CALL), Admission::HeldBack);
        clock.join().unwrap();
        let Part::Receive(next) = pool.next() else {
            panic!("one receives while this call is served");
        };
        let work = pool.step_out(term).expect("another is receiver");
        pool.done(work);
        assert!(pool.receives(next), "the only successor");
        pool.done(stalled);
        assert!(!pool.is_busy());
    });
}

#[test]
fn pool_starts_enough_threads_and_ends_them() {
    model(3, || {
        let pool = Arc::new(Pool::of_at_most(4));
        pool.hand_over(7, Job::serve(CALL));
        let wanted = pool.wanted() + pool.wanted();
        assert_eq!(wanted, 3, "one receives, one works, one is free");
        assert_eq!(pool.wanted(), 0, "new threads are free");
        let work = |pool: &Pool| {
            loop {
                match pool.next() {
                    Part::Receive(_) => {}
                    Part::Work(work, _) => {
                        pool.done(work);
                        pool.close();
                    }
                    Part::End => return,
                }
            }
        };
        // The model's first thread is the third of the pool.
        let threads = [0, 1].map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || work(&pool))
        });
        work(&pool);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(!pool.is_busy());
    });
}

#[test]
fn clock_rests_while_the_receiver_waits() {
    loom::model(|| {
        let pool = Pool::of_at_most(2);
        let Part::Receive(term) = pool.next() else {
            panic!("a receiver is wanted first");
        };
        let checks = |expects_calls| pool.look(expects_calls, |tid| tid, |_| true).is_some();
        assert!(pool.step_in(&CALL), "the clock must be woken");
        assert!(pool.step_out(term).is_none());
        assert!(checks(false), "the receiver has moved on");
        assert!(!checks(false));
        assert!(pool.step_in(&CALL), "the clock must be woken again");
        assert!(pool.step_out(term).is_none());
        assert!(checks(false) && checks(true), "calls follow answers");
        assert!(!pool.step_in(&CALL), "the clock checks anyway");
    });
}

#[test]
fn missing_receiver_is_noted_once() {
    loom::model(|| {
        let pool = Pool::of_at_most(3);
        let Part::Receive(term) = pool.next() else {
            panic!("a receiver is wanted first");
        };
        let begin = |pid| {
            pool.hand_over(pid, Job::serve(CALL));
            assert!(matches!(pool.next(), Part::Work(..)));
        };
        let is_said = |is_queued| {
            let mut is_said = false;
            pool.look(
                false,
                |tid| tid,
                |note| {
                    is_said |= matches!(note, Note::NobodyServes { calls: 3, .. });
                    is_queued
                },
            );
            is_said
        };
        begin(8);
        begin(9);
        assert!(!is_said(true), "one receives still");
        pool.step_in(&CALL);
        assert!(!is_said(true), "its wait has just begun");
        assert!(is_said(false));
        assert!(is_said(true), "the note was lost");
        assert!(!is_said(true));
        let work = pool.step_out(term).expect("its part is another's");
        pool.done(work);
        assert!(matches!(pool.next(), Part::Receive(_)));
    });
}

/// The machine may have no CPU for a thread, or the thread may do much work, or wait often.
#[test]
fn only_a_thread_in_one_long_wait_stalls() {
    loom::model(|| {
        let pool = Pool::of_at_most(4);
        assert!(matches!(pool.next(), Part::Receive(_)));
        let begin = |tid, pid| {
            kernel::TID.set(tid);
            pool.hand_over(pid, Job::serve(CALL));
            assert!(matches!(pool.next(), Part::Work(..)));
        };
        begin(1, 7);
        begin(2, 8);
        begin(3, 9);
        let mut said = Vec::new();
        for _ in 0..4 {
            let note = |note| {
                said.push(note);
                true
            };
            pool.look(false, |tid| tid, note);
        }
        assert!(
            matches!(
                said[..],
                [Note::Stalled {
                    pid: 8,
                    calls: 1,
                    ..
                }]
            ),
            "{said:?}"
        );
        kernel::TID.set(2);
    });
}

/// More threads for the calls of one process would compete for the CPUs that the first thread lacks.
#[test]
fn a_thread_that_lacks_a_cpu_is_not_replaced() {
    loom::model(|| {
        for (tid, stays) in [(1, true), (2, false)] {
            kernel::TID.set(tid);
            let receiver = || {
                let pool = Pool::of_at_most(20);
                match pool.next() {
                    Part::Receive(term) => (pool, term),
                    _ => panic!("a receiver is wanted first"),
                }
            };
            let (pool, term) = receiver();
            pool.step_in(&CALL);
            for _ in 0..3 {
                pool.look(false, |tid| tid, |_| true);
            }
            assert_eq!(pool.receives(term), stays, "it serves a call");
            let (pool, term) = receiver();
            pool.hand_over(7, Job::serve(CALL));
            assert!(matches!(pool.next(), Part::Work(..)));
            pool.step_in(&CALL);
            pool.admit(term, 7, &CALL);
            assert_eq!(pool.receives(term), stays, "another serves one");
        }
        kernel::TID.set(2);
    });
}

/// A wait for a busy disk must not suppress the note about a later call that waits for ever.
#[test]
fn each_kind_of_stalled_call_is_noted_once() {
    loom::model(|| {
        let set = |ms| kernel::NOW.set(Some(std::time::Duration::from_millis(ms)));
        kernel::TID.set(2);
        set(0);
        let pool = Pool::of_at_most(20);
        assert!(matches!(pool.next(), Part::Receive(_)));
        let mut notes = Vec::new();
        for (begin, nr) in [(0, 1), (10_000, 16), (20_000, 1)] {
            set(begin);
            pool.hand_over(8, Job::serve(Notif { nr, ..CALL }));
            assert!(matches!(pool.next(), Part::Work(..)));
            for passed in [600, 1200, 4000] {
                set(begin + passed);
                let note = |note| {
                    notes.push(note);
                    true
                };
                pool.look(false, |tid| tid, note);
            }
        }
        kernel::NOW.set(None);
        // The second note does not count the first call, which continues to wait.
        assert!(
            matches!(
                notes[..],
                [
                    Note::Stalled {
                        nr: 1,
                        calls: 1,
                        ..
                    },
                    Note::Stalled {
                        nr: 16,
                        calls: 1,
                        ..
                    }
                ]
            ),
            "{notes:?}"
        );
    });
}

/// For lack of CPU time, a call may be old when its thread begins to wait.
#[test]
fn a_short_wait_in_an_old_call_is_no_stall() {
    loom::model(|| {
        let set = |ms| kernel::NOW.set(Some(std::time::Duration::from_millis(ms)));
        set(0);
        let pool = Pool::of_at_most(3);
        assert!(matches!(pool.next(), Part::Receive(_)));
        pool.hand_over(8, Job::serve(CALL));
        assert!(matches!(pool.next(), Part::Work(..)));
        let times = [9000, 9004, 9600, 11_999, 12_000, 12_500];
        let said = times.map(|ms| {
            set(ms);
            let mut is_said = false;
            let note = |note| {
                is_said |= matches!(note, Note::Stalled { pid: 8, .. });
                true
            };
            pool.look(false, |tid| tid, note);
            is_said
        });
        kernel::NOW.set(None);
        assert_eq!(said, [false, false, false, false, false, true]);
    });
}
