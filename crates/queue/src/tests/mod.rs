//! Tests of the whole queue, with a memory and a driver that count and can fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

extern crate std;

mod calls;
mod check;
mod config;
mod create;
mod defects;
mod errors;
mod fake;
mod fileio;
mod model;
mod requests;
mod stream;
mod stream_io;
mod tokens;

use crate::{Coherency, Config, Memory, Queue, QueueType};
use fake::{FakeDriver, FakeMem};

/// A queue with its surroundings.
pub(crate) struct Bench {
    pub(crate) mem: FakeMem,
    pub(crate) driver: FakeDriver,
    pub(crate) queue: Queue<FakeMem>,
    /// dma-buf references that the test itself holds.
    pub(crate) foreign_references: usize,
}

impl Bench {
    /// One plane of 0x1c200 bytes (115 200, no whole number of pages); everything offered.
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
        }
    }

    pub(crate) fn reqbufs(&mut self, memory: Memory, count: u32) -> Result<u32, crate::Error> {
        self.queue
            .reqbufs(
                &mut self.mem,
                &mut self.driver,
                memory,
                count,
                Coherency::Coherent,
            )
            .map(|a| a.count)
    }

    /// Releases everything and insists that nothing is left.
    pub(crate) fn finish(mut self) {
        self.queue.release(&mut self.mem, &mut self.driver);
        self.check();
        self.driver.tokens.clear();
        self.mem.assert_empty();
        self.driver.assert_balanced();
    }
}

/// A capture and an output queue.
pub(crate) const BOTH: [QueueType; 2] = [QueueType::Capture, QueueType::Output];
