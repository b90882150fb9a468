//! Explores orders of threads that use the state which tokens share with their queue.
//!
//! The orders have at most two or three preemptions. The test compiles the crate's modules again, with loom's
//! atomics (`sync`). Loom chooses the next thread at each atomic operation, and the value that each load
//! gets. It weakens sequentially consistent orders to acquire and release, so the code does not depend on
//! more than these.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "the test compiles the crate's modules again and uses only parts of them"
)]

extern crate alloc;
extern crate std;

#[path = "../src/acquire.rs"]
mod acquire;
#[path = "../src/active.rs"]
mod active;
#[path = "../src/allocate.rs"]
mod allocate;
#[path = "../src/buffer.rs"]
mod buffer;
#[path = "../src/completions.rs"]
mod completions;
#[path = "../src/config.rs"]
mod config;
#[path = "../src/done.rs"]
mod done;
#[path = "../src/driver.rs"]
mod driver;
#[path = "../src/error.rs"]
mod error;
#[path = "../src/tests/fake.rs"]
mod fake;
#[path = "../src/fences.rs"]
mod fences;
#[path = "../src/fileio.rs"]
mod fileio;
#[path = "../src/io.rs"]
mod io;
#[path = "../src/make.rs"]
mod make;
#[path = "../src/mmap.rs"]
mod mmap;
#[path = "../src/pieces.rs"]
mod pieces;
#[path = "../src/poll.rs"]
mod poll;
#[path = "../src/prepare.rs"]
mod prepare;
#[path = "../src/queue.rs"]
mod queue;
#[path = "../src/request.rs"]
mod request;
#[path = "../src/request_buffer.rs"]
mod request_buffer;
#[path = "../src/request_state.rs"]
mod request_state;
#[path = "../src/session.rs"]
mod session;
#[path = "../src/stream.rs"]
mod stream;
#[path = "../src/wait.rs"]
mod wait;

/// Loom's types, in place of `src/sync.rs`.
mod sync {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering::SeqCst};

    /// An atomic whose stores are swaps. Loom lets a store come before another thread's exchange that has
    /// read the value from before the store. No machine does that, and loom does not do it with two swaps.
    macro_rules! swapping {
        ($name:ident, $value:ty) => {
            #[derive(Debug)]
            pub(crate) struct $name(loom::sync::atomic::$name);

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                pub(crate) fn store(&self, value: $value, order: loom::sync::atomic::Ordering) {
                    self.0.swap(value, order);
                }
            }

            impl core::ops::Deref for $name {
                type Target = loom::sync::atomic::$name;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }
        };
    }

    swapping!(AtomicU64, u64);
    swapping!(AtomicBool, bool);
}

pub use active::{Active, PlaneView};
pub use buffer::{BufferInfo, BufferState, PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer};
pub use completions::Completions;
pub use config::{Config, IoModes, MAX_PLANES, Memory, QueueType, Requests};
pub use driver::{Completion, Driver, PlaneSizes, Prepare};
pub use error::{Busy, DriverError, Error, Invalid};
pub use fileio::Source;
pub use mmap::is_m2m_capture;
pub use pieces::Pieces;
pub use queue::{Queue, Statistics};
pub use request::{BoundBuffer, Request, RequestHost};
pub use request_state::{RequestId, RequestState};
pub use session::Session;
pub use vb3_plane::{Coherency, Constraint, Direction, HintSkip, MemOps, PlaneError, Reason};
pub use wait::Wait;

use fake::{FakeDriver, FakeMem};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// State that the device's context shares with the program's. The host keeps it outside the queue.
#[derive(Clone)]
struct Shared {
    finished: Arc<Mutex<Completions<u64>>>,
    wake: Arc<Condvar>,
}

impl Shared {
    fn new() -> Self {
        Self {
            finished: Arc::new(Mutex::new(Completions::new(32).unwrap())),
            wake: Arc::new(Condvar::new()),
        }
    }

    /// Acts as an interrupt handler. Returns whether the device still had the buffer.
    fn push(&self, token: Active<u64>) -> bool {
        let completion = Completion::done(0);
        let pushed = self.finished.lock().unwrap().push(token, completion);
        self.wake.notify_all();
        pushed.is_ok()
    }

    /// Acts as a driver that fails.
    fn drop_token(&self, token: Active<u64>) {
        drop(token);
        self.wake_all();
    }

    /// Wakes the sleeping thread. Taking the lock first prevents a wake-up between the thread's check and
    /// sleep.
    fn wake_all(&self) {
        drop(self.finished.lock().unwrap());
        self.wake.notify_all();
    }

    fn pop(&self) -> Option<(Active<u64>, Completion)> {
        self.finished.lock().unwrap().pop()
    }

    fn sleep(&self, wait: &Wait) {
        let mut finished = self.finished.lock().unwrap();
        while !wait.is_over() {
            finished = self.wake.wait(finished).unwrap();
        }
    }
}

/// A queue that streams, and the results of its buffers.
struct Bench {
    mem: FakeMem,
    driver: FakeDriver,
    queue: Queue<FakeMem>,
    shared: Shared,
    /// For each buffer, how often it returned without an error, and how often with one.
    seen: [[u32; 2]; 2],
}

impl Bench {
    /// Makes a queue whose `buffers` buffers all belong to the driver, which never drops a token by itself.
    fn streaming(buffers: u32) -> Self {
        let mut config = Config::new(7, QueueType::Capture);
        config.io_modes = IoModes::all();
        let driver = FakeDriver {
            sizes: vec![64],
            keeps_tokens: true,
            ..FakeDriver::default()
        };
        let mut bench = Self {
            mem: FakeMem::default(),
            driver,
            queue: Queue::new(config).unwrap(),
            shared: Shared::new(),
            seen: [[0; 2]; 2],
        };
        let made = bench
            .session()
            .reqbufs(Memory::Mmap, buffers, Coherency::Coherent);
        assert_eq!(made.unwrap().0, 0..buffers);
        bench.start(buffers);
        bench
    }

    fn session(&mut self) -> Session<'_, FakeMem> {
        self.queue.session(&self.mem, &mut self.driver)
    }

    fn qbuf(&mut self, index: u32) {
        let mut buffer = QueueBuffer::new(index, Memory::Mmap);
        assert!(buffer.push_plane(PlaneRequest::mmap(0)).is_ok());
        self.session().qbuf(buffer).unwrap();
    }

    fn start(&mut self, buffers: u32) {
        for index in 0..buffers {
            self.qbuf(index);
        }
        self.session().streamon().unwrap();
    }

    /// Collects finished buffers, and dequeues one of them if there is one.
    fn look(&mut self) -> Option<u32> {
        let shared = self.shared.clone();
        self.session().collect(|| shared.pop());
        match self.session().dqbuf() {
            Ok(info) => {
                self.seen[info.index as usize][usize::from(info.error)] += 1;
                Some(info.index)
            }
            Err(err) => {
                assert_eq!(err, Error::WouldBlock);
                None
            }
        }
    }

    /// Sleeps until a buffer is done, as a blocking DQBUF does.
    fn dequeue(&mut self) -> u32 {
        loop {
            if let Some(index) = self.look() {
                return index;
            }
            let wait = self.queue.wait().unwrap();
            self.shared.sleep(&wait);
        }
    }

    /// Checks that no wake-up is pending, and that all memory returns.
    fn finish(mut self) {
        assert_eq!(self.look(), None);
        let wait = self.queue.wait().unwrap();
        assert!(!wait.is_over(), "something is pending that never comes");
        drop(wait);
        self.session().release();
        self.driver.tokens.clear();
        self.mem.assert_empty();
        self.driver.assert_balanced();
    }
}

fn explore(run: impl Fn() + Sync + Send + 'static) {
    explore_deeper(2, run);
}

fn explore_deeper(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(run);
}

#[test]
fn pushed_or_dropped_buffer_comes_back_once() {
    explore(|| {
        let mut b = Bench::streaming(2);
        let shared = b.shared.clone();
        let (dropped, pushed) = (b.driver.tokens.remove(0), b.driver.tokens.remove(0));
        let device = thread::spawn(move || {
            drop(dropped);
            assert!(shared.push(pushed));
        });
        b.look();
        device.join().unwrap();
        while b.look().is_some() {}
        assert_eq!(b.seen, [[0, 1], [1, 0]]);
        b.finish();
    });
}

#[test]
fn concurrently_dropped_tokens_are_all_found() {
    explore(|| {
        let mut b = Bench::streaming(2);
        let (one, other) = (b.driver.tokens.remove(0), b.driver.tokens.remove(0));
        let one = thread::spawn(move || drop(one));
        let other = thread::spawn(move || drop(other));
        b.session().reap();
        one.join().unwrap();
        other.join().unwrap();
        while b.look().is_some() {}
        assert_eq!(b.seen, [[0, 1], [0, 1]]);
        assert_eq!(b.queue.statistics().dropped_tokens, 2);
        b.finish();
    });
}

#[test]
fn redropped_buffer_is_found_each_time() {
    explore(|| {
        let mut b = Bench::streaming(2);
        let (mine, other) = (b.driver.tokens.remove(0), b.driver.tokens.remove(0));
        let device = thread::spawn(move || drop(other));
        drop(mine);
        // This buffer is dropped, queued and dropped again, while the other thread adds its buffer to the
        // list.
        while let Some(index) = b.look() {
            if b.seen.iter().flatten().sum::<u32>() <= 2 {
                b.qbuf(index);
                drop(b.driver.tokens.pop());
            }
        }
        device.join().unwrap();
        while b.look().is_some() {}
        let seen: u32 = b.seen.iter().flatten().sum();
        assert_eq!(u64::from(seen), b.queue.statistics().queued);
        assert!(seen > 2, "{:?}", b.seen);
        b.finish();
    });
}

#[test]
fn a_sleeper_wakes_for_each_push() {
    explore(|| {
        let mut b = Bench::streaming(2);
        let shared = b.shared.clone();
        let tokens = core::mem::take(&mut b.driver.tokens);
        let device = thread::spawn(move || {
            for token in tokens {
                assert!(shared.push(token));
            }
        });
        assert_eq!((b.dequeue(), b.dequeue()), (0, 1));
        device.join().unwrap();
        b.finish();
    });
}

#[test]
fn a_sleeper_wakes_for_each_dropped_token() {
    explore(|| {
        let mut b = Bench::streaming(2);
        let shared = b.shared.clone();
        let tokens = core::mem::take(&mut b.driver.tokens);
        let device = thread::spawn(move || {
            for token in tokens {
                shared.drop_token(token);
            }
        });
        let mut both = [b.dequeue(), b.dequeue()];
        both.sort_unstable();
        assert_eq!(both, [0, 1]);
        device.join().unwrap();
        b.finish();
    });
}

/// A token that outlives STREAMOFF does not change the buffer, which the next stream uses by then.
fn streamoff_meanwhile(end: fn(&Shared, Active<u64>)) {
    explore(move || {
        let mut b = Bench::streaming(1);
        let shared = b.shared.clone();
        let token = b.driver.tokens.remove(0);
        let device = thread::spawn(move || end(&shared, token));
        b.session().streamoff().unwrap();
        b.start(1);
        assert_eq!(
            b.look(),
            None,
            "an event from before STREAMOFF had an effect after it"
        );
        device.join().unwrap();
        assert_eq!(
            b.look(),
            None,
            "an event from before STREAMOFF had an effect after it"
        );
        let next = b.driver.tokens.remove(0);
        assert!(b.shared.push(next));
        assert_eq!(b.look(), Some(0));
        assert_eq!(b.seen, [[1, 0], [0, 0]]);
        b.finish();
    });
}

#[test]
fn token_pushed_during_streamoff_is_stale() {
    streamoff_meanwhile(|shared, token| {
        let _is_before_or_after = shared.push(token);
    });
}

#[test]
fn token_dropped_during_streamoff_is_stale() {
    streamoff_meanwhile(|shared, token| shared.drop_token(token));
}

/// A token of the last stream is listed as dropped only after STREAMOFF. It must not hide the buffer's next
/// token, which is dropped while the list is read.
#[test]
fn a_token_that_is_listed_late_hides_no_other() {
    explore_deeper(3, || {
        let mut b = Bench::streaming(2);
        let late = b.driver.tokens.remove(0);
        let late = thread::spawn(move || drop(late));
        b.session().streamoff().unwrap();
        b.driver.tokens.clear();
        b.start(2);
        let (next, other) = (b.driver.tokens.remove(0), b.driver.tokens.remove(0));
        drop(other);
        late.join().unwrap();
        let next = thread::spawn(move || drop(next));
        b.session().reap();
        next.join().unwrap();
        while b.look().is_some() {}
        assert_eq!(b.seen, [[0, 1], [0, 1]]);
        b.finish();
    });
}

#[test]
fn who_knows_of_streamoff_cannot_reach_the_buffer() {
    use loom::sync::atomic::{AtomicBool, Ordering};
    explore(|| {
        let mut b = Bench::streaming(1);
        let off = Arc::new(AtomicBool::new(false));
        let known = Arc::clone(&off);
        let token = b.driver.tokens.remove(0);
        let device = thread::spawn(move || {
            if known.load(Ordering::Acquire) {
                assert!(token.planes().is_err());
            }
        });
        b.session().streamoff().unwrap();
        off.store(true, Ordering::Release);
        device.join().unwrap();
        b.finish_streamed_off();
    });
}

#[test]
fn streamoff_wakes_who_sleeps() {
    explore(|| {
        let mut b = Bench::streaming(1);
        let shared = b.shared.clone();
        let wait = b.queue.wait().unwrap();
        let sleeper = thread::spawn(move || shared.sleep(&wait));
        b.session().streamoff().unwrap();
        b.shared.wake_all();
        sleeper.join().unwrap();
        b.finish_streamed_off();
    });
}

impl Bench {
    fn finish_streamed_off(mut self) {
        assert!(self.queue.wait().is_ok(), "no caller waits any more");
        self.session().release();
        self.driver.tokens.clear();
        self.mem.assert_empty();
        self.driver.assert_balanced();
    }
}
