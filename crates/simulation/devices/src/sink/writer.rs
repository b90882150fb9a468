//! The thread that writes a recording's pictures.

use super::file::{Counters, PictureFile, Shape};
use crate::Failure;
use crate::lock::lock;
use crate::ring::Ring;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use vb3_picture::Frame;

/// Number of pictures that may wait for the thread: as many as fit in `WAITING_BYTES`, from `WAITING` to
/// `WAITING_MAX`. While they are as many as may wait, a display shows no further picture (`Sink::has_room`), so its
/// program waits. With room for 24 small pictures, a program that stops after a few does not wait for the disk.
const WAITING: usize = 4;
const WAITING_MAX: usize = 24;
const WAITING_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Job {
    /// The shape of the picture, if it has changed.
    shape: Option<Shape>,
    frame: Arc<Frame>,
}

/// The owner's handle of the thread.
#[derive(Debug)]
pub(super) struct WriterThread {
    pub(super) ring: Arc<Ring<Job>>,
    /// The counters so far, except for `shown`.
    counters: Arc<Mutex<Counters>>,
    thread: Option<JoinHandle<()>>,
    /// Set by `finish`: after the last picture, the thread also calls [`PictureFile::end`]. If the value is dropped
    /// without `finish`, the thread does not.
    ends: Arc<AtomicBool>,
    /// The shape of the next picture, if it has changed.
    pub(super) shape: Option<Shape>,
}

impl WriterThread {
    pub(super) fn start(mut file: Box<dyn PictureFile>) -> Result<Self, Failure> {
        let ring = Ring::<Job>::new(WAITING)?;
        let counters = Arc::new(Mutex::new(Counters::default()));
        let ends = Arc::new(AtomicBool::new(false));
        let (ring_there, counters_there) = (Arc::clone(&ring), Arc::clone(&counters));
        let ends_there = Arc::clone(&ends);
        let thread = std::thread::Builder::new()
            .name("vb3-record".to_owned())
            .spawn(move || {
                // If a further file cannot begin, the pictures for this file must not go to the
                // previous file.
                let mut begun = Ok(());
                while let Some(job) = ring_there.pop_wait() {
                    if let Some(shape) = job.shape {
                        begun = file.begin(shape);
                    }
                    let done = begun.clone().and_then(|()| file.write(&job.frame));
                    let mut counters = lock(&counters_there);
                    match done {
                        Ok(()) => counters.written = counters.written.saturating_add(1),
                        Err(failure) => {
                            counters.lost = counters.lost.saturating_add(1);
                            counters.failure.get_or_insert(failure);
                        }
                    }
                }
                if ends_there.load(Ordering::Acquire) {
                    file.end();
                }
            })
            .map_err(|e| Failure::new(format!("cannot start a thread for recording: {e}")))?;
        Ok(Self {
            ring,
            counters,
            thread: Some(thread),
            ends,
            shape: None,
        })
    }

    pub(super) fn write(&mut self, frame: Arc<Frame>) {
        if self.shape.is_some() {
            let fitting = WAITING_BYTES / frame.bytes().len().max(1);
            self.ring.set_capacity(fitting.clamp(WAITING, WAITING_MAX));
        }
        if let Err(job) = self.ring.try_push(Job {
            shape: self.shape,
            frame,
        }) {
            drop(job);
            let mut counters = lock(&self.counters);
            counters.lost = counters.lost.saturating_add(1);
        } else {
            self.shape = None;
        }
    }

    pub(super) fn counters(&self) -> Counters {
        lock(&self.counters).clone()
    }

    /// Ends the recording, and waits until all is written.
    pub(super) fn finish(&mut self) {
        self.ends.store(true, Ordering::Release);
        self.join();
    }

    fn join(&mut self) {
        self.ring.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            let failure = Failure::new("the recording thread broke down");
            lock(&self.counters).failure.get_or_insert(failure);
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.join();
    }
}
