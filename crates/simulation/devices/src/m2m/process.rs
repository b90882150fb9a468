//! The codec process of one open file.

use crate::Failure;
use crate::worker::FrameWorker;
use std::sync::LazyLock;
use vb3_codec::{Codecs, Event, Job, Kind, Launch, MAX_IN_FLIGHT, Refused, Worker};
use vb3_v4l2::{Wake, WakeFd};

/// Number of processors. The standard library reads files to find it, so this is done once.
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// Maximum number of a worker's events taken at once. Further events keep [`wake_fd`](FrameWorker::wake_fd)
/// readable. So a worker that sends events without end delays no other work.
pub(crate) const MAX_EVENTS: usize = 64;

/// A [`Worker`] that is started on demand. If the worker dies, no other one starts until
/// [`stop`](Self::stop): the program must first stop streaming.
pub(crate) struct CodecProcess {
    pub(super) kind: Kind,
    launch: Launch,
    worker: Option<Wake<Worker>>,
    /// Whether the worker has died or could not be started.
    pub(crate) is_down: bool,
    /// Whether the worker has refused work, and accepts none until it has sent an event.
    pub(super) is_full: bool,
    failure: Option<Failure>,
}

impl CodecProcess {
    /// Makes a codec process that is started later.
    /// Fails, with a message for the user, if no available library has the codec.
    pub(crate) fn new(kind: Kind, codecs: &Codecs) -> Result<Self, Failure> {
        codecs.describe(kind).map_err(Failure::new)?;
        Ok(Self {
            kind,
            launch: codecs.launch(kind).with_threads(*PROCESSORS),
            worker: None,
            is_down: false,
            is_full: false,
            failure: None,
        })
    }

    /// Returns the worker, started and set up if necessary. `None` if this fails, or if the worker has died.
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
                Ok(worker) => self.worker = Some(Wake::new(worker)),
                Err(sentence) => self.fail(sentence),
            }
        }
        self.running()
    }

    pub(crate) fn running(&mut self) -> Option<&mut Worker> {
        self.worker.as_deref_mut()
    }

    /// Returns the worker's next event. [`Event::Died`] is the last one.
    pub(crate) fn poll(&mut self) -> Option<Event> {
        let worker = self.worker.as_mut()?;
        let was_ending = worker.is_ending();
        let event = worker.poll();
        if worker.is_ending() != was_ending {
            // The worker has another descriptor now. A new `Wake` gives this descriptor an id of its own.
            self.worker = self
                .worker
                .take()
                .map(|worker| Wake::new(worker.into_inner()));
        }
        let event = event?;
        self.is_full = false;
        if let Event::Died { sentence } = &event {
            let sentence = sentence.clone();
            self.fail(sentence);
        }
        Some(event)
    }

    /// Ends the worker. No other one starts until [`stop`](Self::stop).
    pub(crate) fn fail(&mut self, sentence: String) {
        self.worker = None;
        self.is_down = true;
        self.failure = Some(Failure::new(format!(
            "{sentence}; calls on its queues fail until the program stops streaming"
        )));
    }

    /// Stores a message for the report. The worker continues.
    pub(crate) fn report(&mut self, sentence: String) {
        self.failure = Some(Failure::new(sentence));
    }

    /// Returns whether the worker accepts another job, or would accept one once it is started.
    pub(crate) fn has_room(&self) -> bool {
        let room = self.worker.as_ref().is_none_or(|worker| worker.room() > 0);
        room && !self.is_down
    }

    /// Passes a job to the worker.
    /// Fails with [`Refused::Dead`] if the worker does not run, and with the worker's own refusals.
    pub(crate) fn submit(&mut self, job: Job<'_>) -> Result<(), Refused> {
        let worker = self.worker.as_mut().ok_or(Refused::Dead)?;
        worker.submit(job)
    }

    /// Takes back all buffers lent to the worker, except those to which the worker is writing now. Returns whether
    /// the worker has no buffer left. Then calls `keep` with a function that tells whether the worker still has the
    /// loan with a number.
    pub(crate) fn try_take_back(&mut self, keep: impl FnOnce(&dyn Fn(u64) -> bool)) -> bool {
        let Some(worker) = &mut self.worker else {
            keep(&|_| false);
            return true;
        };
        let is_over = worker.try_take_back();
        keep(&|number| worker.has_loan(number));
        is_over
    }

    /// Takes back all buffers lent to the worker. The worker keeps its mappings of them for later loans.
    pub(crate) fn take_back(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.take_back();
        }
    }

    /// Takes back all buffers lent to the worker, and makes the worker unmap them.
    pub(crate) fn take_all_back(&mut self) {
        if let Some(worker) = &mut self.worker {
            worker.take_all_back();
        }
    }

    /// Stops the worker. The next worker starts without the state of this one.
    pub(crate) fn stop(&mut self) {
        self.worker = None;
        (self.is_down, self.is_full) = (false, false);
    }
}

impl FrameWorker for CodecProcess {
    fn is_busy(&self) -> bool {
        let worker = self.worker.as_ref();
        worker.is_some_and(|worker| worker.room() < MAX_IN_FLIGHT)
    }

    fn wake_fd(&self) -> Option<WakeFd<'_>> {
        let worker = self.worker.as_ref();
        worker.map(|worker| WakeFd::new(worker.wake_fd(), worker.id()))
    }

    fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn end(&mut self) {
        self.stop();
    }

    /// Uses one thread from the next start on, so that no picture of a run depends on how threads are scheduled.
    fn work_at_once(&mut self) {
        self.launch = self.launch.clone().with_threads(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::bench::host;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn a_worker_is_busy_until_its_job_is_done() {
        let mut process =
            CodecProcess::new(Kind::JpegDecoder, &host().codecs).expect("it is built in");
        assert!(!process.is_busy() && process.has_room());
        let worker = process.start(|_| Ok(())).expect("it starts");
        let data = &b"no picture"[..];
        worker.submit(Job::Decode { tag: 7, data }).expect("room");
        assert!(process.is_busy());
        loop {
            match process.poll() {
                Some(Event::Consumed { tag: 7 }) => break,
                Some(event) => assert!(matches!(event, Event::Corrupt { .. }), "{event:?}"),
                None => {
                    let wake = process.wake_fd().expect("it runs").fd;
                    let found = poll(&mut [PollFd::from_borrowed_fd(wake, PollFlags::IN)], None);
                    assert_eq!(found, Ok(1));
                }
            }
        }
        assert!(!process.is_busy());
        process.fail("it ended".to_owned());
        assert!(!process.is_busy() && !process.has_room() && process.failure().is_some());
        process.stop();
        assert!(process.has_room());
        process.work_at_once();
        assert_eq!(process.launch.threads(), 1);
    }
}
