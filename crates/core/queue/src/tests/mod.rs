//! Tests of the whole queue, with a memory and a driver that count and can fail.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

extern crate std;

mod calls;
mod check;
mod completions;
mod config;
mod create;
mod defects;
mod errors;
mod fake;
mod fences;
mod fileio;
mod pieces;
mod requests;
mod stream;
mod stream_io;
mod tokens;

use crate::{Coherency, Config, Memory, Pieces, Queue, QueueType, Session, Wait};
use fake::{FakeDriver, FakeMem};

/// A queue with a fake memory and a fake driver.
pub(crate) struct Bench {
    pub(crate) mem: FakeMem,
    pub(crate) driver: FakeDriver,
    pub(crate) queue: Queue<FakeMem>,
    /// dma-buf references that the test itself owns.
    pub(crate) foreign_references: usize,
    /// The wait of the caller that sleeps.
    pub(crate) wait: Option<Wait>,
    seen_events: u64,
}

impl Bench {
    /// Makes a queue that offers everything, for one plane of 0x1c200 bytes (115 200, not whole pages).
    pub(crate) fn new(queue_type: QueueType) -> Self {
        Self::with(queue_type, |_| {})
    }

    pub(crate) fn with(queue_type: QueueType, change: impl FnOnce(&mut Config<u32>)) -> Self {
        let mut config = Config::new(7, queue_type);
        config.io_modes = crate::IoModes::all();
        change(&mut config);
        Self {
            mem: FakeMem::default(),
            driver: FakeDriver::default(),
            queue: Queue::new(config).unwrap(),
            foreign_references: 0,
            wait: None,
            seen_events: 0,
        }
    }

    /// Makes a session for one call.
    pub(crate) fn session(&mut self) -> Session<'_, FakeMem> {
        self.queue.session(&self.mem, &mut self.driver)
    }

    /// Begins a caller's wait.
    pub(crate) fn begin_wait(&mut self) -> Result<(), crate::Error> {
        self.wait = Some(self.queue.wait()?);
        Ok(())
    }

    /// Ends the caller's wait.
    pub(crate) fn end_wait(&mut self) {
        self.wait = None;
    }

    /// Returns whether an event occurred since the last call.
    pub(crate) fn take_wake(&mut self) -> bool {
        let seen = core::mem::replace(&mut self.seen_events, self.queue.event_count());
        seen != self.seen_events
    }

    pub(crate) fn reqbufs(&mut self, memory: Memory, count: u32) -> Result<u32, crate::Error> {
        self.session()
            .reqbufs(memory, count, Coherency::Coherent)
            .map(|(made, _)| made.end)
    }

    /// Releases everything and asserts that nothing is left.
    pub(crate) fn finish(mut self) {
        self.session().release();
        self.check();
        self.driver.tokens.clear();
        self.mem.assert_empty();
        self.driver.assert_balanced();
    }
}

/// A read() or write() in one piece.
pub(crate) const WHOLE: Pieces = Pieces {
    call: 0,
    most_bytes: u64::MAX,
};

/// A capture and an output queue.
pub(crate) const BOTH: [QueueType; 2] = [QueueType::Capture, QueueType::Output];
