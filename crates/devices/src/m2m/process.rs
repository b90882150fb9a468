//! The codec process of one open file.

use crate::Failure;
use std::os::fd::BorrowedFd;
use vb3_codec::{Event, Kind, Launch, MAX_IN_FLIGHT, Refused, Worker};

/// Most events of a worker that are taken in one turn: one that sends without end holds up
/// nobody, since the rest makes [`CodecProcess::wake_fd`] readable.
pub(crate) const MAX_EVENTS: usize = 64;

/// A [`Worker`] that starts when it is needed. One that died is not followed by another until
/// [`stop`](Self::stop): the program must stop streaming first.
#[derive(Debug)]
pub(crate) struct CodecProcess {
    kind: Kind,
    launch: Launch,
    worker: Option<Worker>,
    is_down: bool,
    failure: Option<Failure>,
}

impl CodecProcess {
    pub(crate) const fn new(kind: Kind, launch: Launch) -> Self {
        Self {
            kind,
            launch,
            worker: None,
            is_down: false,
            failure: None,
        }
    }

    /// What it does.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The worker, started and set up if there is none. `None` if it cannot be, or is down.
    pub(crate) fn start(
        &mut self,
        set_up: impl FnOnce(&mut Worker) -> Result<(), Refused>,
    ) -> Option<&mut Worker> {
        if self.worker.is_none() && !self.is_down {
            let made = Worker::spawn(self.kind, &self.launch).map_err(|e| e.to_string());
            let ready = made.and_then(|mut worker| {
                set_up(&mut worker).map_err(|e| e.to_string())?;
                Ok(worker)
            });
            match ready {
                Ok(worker) => self.worker = Some(worker),
                Err(sentence) => self.fail(sentence),
            }
        }
        self.worker.as_mut()
    }

    /// The worker, if there is one.
    pub(crate) fn worker(&mut self) -> Option<&mut Worker> {
        self.worker.as_mut()
    }

    /// What it has to say. After [`Event::Died`] it is down.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        let event = self.worker.as_mut()?.poll()?;
        if let Event::Died { sentence } = &event {
            let sentence = sentence.clone();
            self.fail(sentence);
        }
        Some(event)
    }

    fn fail(&mut self, sentence: String) {
        self.worker = None;
        self.is_down = true;
        self.failure = Some(Failure::new(format!(
            "{sentence}; calls on its queues fail until the program stops streaming"
        )));
    }

    /// Keeps a sentence for the report; the worker goes on.
    pub(crate) fn report(&mut self, sentence: String) {
        self.failure = Some(Failure::new(sentence));
    }

    /// Whether it takes another piece of work; one that is to come does.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.worker.as_ref().is_none_or(|worker| worker.room() > 0);
        room && !self.is_down
    }

    /// Whether it works on something that it was given.
    pub(crate) fn is_busy(&self) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| worker.room() < MAX_IN_FLIGHT)
    }

    /// Whether it died or could not be started.
    pub(crate) const fn is_down(&self) -> bool {
        self.is_down
    }

    /// Ends the worker; the next one begins afresh.
    pub(crate) fn stop(&mut self) {
        self.worker = None;
        self.is_down = false;
    }

    /// Readable when [`poll`](Self::poll) has something.
    pub(crate) fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.worker.as_ref().map(Worker::wake_fd)
    }

    /// How the last one ended, if not in peace.
    pub(crate) const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }
}
