//! What the nodes of a loopback share: the format, and the newest frames.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vb3_v4l2::{Format, Fraction};

/// Most frames kept for readers.
const FRAMES_MAX: usize = 4;

/// A frame as it was written.
#[derive(Debug)]
pub(super) struct Frame {
    /// Counts from 0, over all writers.
    pub(super) number: u64,
    /// The bytes of each memory plane.
    pub(super) planes: Vec<Vec<u8>>,
    /// When it was written, on the monotonic clock.
    pub(super) time_ns: u64,
}

/// What the nodes share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The format that is written, or will be.
    pub(super) format: Format,
    /// Seconds per frame, as the writer says.
    pub(super) interval: Fraction,
    /// Whether a writer streams.
    pub(super) is_written: bool,
    /// Buffers that readers have, which hold the format.
    pub(super) reader_buffers: u32,
    frames: VecDeque<Arc<Frame>>,
    /// Number of the next frame.
    next: u64,
}

impl Shared {
    /// Keeps a frame for readers, and lets the oldest go.
    pub(super) fn push(&mut self, planes: Vec<Vec<u8>>, time_ns: u64) {
        if self.frames.len() >= FRAMES_MAX {
            self.frames.pop_front();
        }
        self.frames.push_back(Arc::new(Frame {
            number: self.next,
            planes,
            time_ns,
        }));
        self.next = self.next.saturating_add(1);
    }

    /// Memory of the oldest frame, if no reader has it any more and there are enough others.
    pub(super) fn spare(&mut self) -> Vec<Vec<u8>> {
        if self.frames.len() < FRAMES_MAX {
            return Vec::new();
        }
        let oldest = self.frames.pop_front();
        let frame = oldest.and_then(|frame| Arc::try_unwrap(frame).ok());
        frame.map(|frame| frame.planes).unwrap_or_default()
    }

    /// The oldest frame kept that has this number or a later one.
    pub(super) fn from(&self, number: u64) -> Option<Arc<Frame>> {
        let mut frames = self.frames.iter();
        frames.find(|frame| frame.number >= number).map(Arc::clone)
    }

    /// The number of the newest frame kept, or of the next one.
    pub(super) fn newest(&self) -> u64 {
        self.frames.back().map_or(self.next, |frame| frame.number)
    }

    /// The writer is gone: what it wrote is not shown to those who come later.
    pub(super) fn end(&mut self) {
        self.is_written = false;
        self.frames.clear();
    }
}

/// A loopback's shared part, held by each of its nodes.
#[derive(Clone, Debug)]
pub struct Link(Arc<Mutex<Shared>>);

impl Link {
    /// A loopback that nobody has written to, in the format that it begins with.
    pub(super) fn new(format: Format, interval: Fraction) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            format,
            interval,
            is_written: false,
            reader_buffers: 0,
            frames: VecDeque::new(),
            next: 0,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here panics half-way, so a poisoned lock guards a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links are alike if they are one.
impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Link {}
