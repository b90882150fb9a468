//! The stateless decoder's work in a tick: one request at a time.

use super::StatelessDecoder;
use crate::m2m::process::MAX_EVENTS;
use crate::m2m::{Meta, loan};
use crate::surface::{FIELD_NONE, PictureCursor, Surface, Trouble};
use vb3_codec::parameter_sets::check_slices;
use vb3_codec::{Chroma, Event, Job as CodecJob, Picture, Refused, StreamFormat};
use vb3_queue::{Active, Completion, DoneState, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, Format, Progress, sys};

/// The result of writing a picture to its buffer.
type Written = (DoneState, [u64; MAX_PLANES]);

const FAILED: Written = (DoneState::Error, [0; MAX_PLANES]);

/// The request that the worker has.
#[derive(Debug)]
struct Job<C> {
    tag: u64,
    source: Active<C>,
    /// `None` once CAPTURE has stopped.
    target: Option<Active<C>>,
    /// The number under which the target is lent to the worker.
    loan: Option<u64>,
    /// The picture that is being written to the target.
    writing: Option<Writing>,
    /// Whether the worker has consumed the request's input.
    is_consumed: bool,
    written: Written,
}

/// A picture on its way from the worker's memory to a buffer.
#[derive(Debug)]
struct Writing {
    picture: Picture,
    damaged: bool,
    cursor: PictureCursor,
}

/// A CAPTURE buffer that waits for the second field of its picture.
#[derive(Debug)]
struct FirstField<C> {
    target: Active<C>,
    timestamp_ns: u64,
    completion: Completion,
}

/// The work in progress.
#[derive(Debug)]
pub(super) struct Work<C> {
    tag: u64,
    job: Option<Job<C>>,
    held: Option<FirstField<C>>,
    /// Whether the worker accepts loans: it has announced the size of pictures.
    is_lending: bool,
    /// Numbers of STREAMOFFs at OUTPUT and CAPTURE that were handled.
    seen_stops: (u64, u64),
}

impl<C> Work<C> {
    pub(super) const fn new() -> Self {
        Self {
            tag: 0,
            job: None,
            held: None,
            is_lending: false,
            seen_stops: (0, 0),
        }
    }

    /// Drops the CAPTURE buffers, because CAPTURE has stopped and its queue owns them.
    pub(super) fn drop_targets(&mut self) {
        self.held = None;
        if let Some(job) = &mut self.job {
            job.target = None;
            job.loan = None;
        }
    }

    /// Returns whether a picture is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.writing.is_some())
    }
}

/// The reason why a picture is not passed to the worker.
enum Unfit {
    /// The bus access failed.
    Fault,
    /// The decoder refuses it, for this reason.
    Refused(String),
}

impl<C> StatelessDecoder<C> {
    /// Returns whether [`work`](Self::work) would do anything now, apart from the worker's events.
    pub(super) fn has_work(&self) -> bool {
        self.stops() != self.work.seen_stops
            || self.work.is_writing()
            || self.can_begin()
            || self.wants_worker()
    }

    /// Returns whether a worker must be started. It starts with the stream, since GStreamer gives up a
    /// request that takes a second.
    fn wants_worker(&self) -> bool {
        self.output.streaming && self.codec.wake_fd().is_none() && !self.codec.is_down()
    }

    const fn stops(&self) -> (u64, u64) {
        (self.output.stops, self.capture.stops)
    }

    fn can_begin(&self) -> bool {
        let has_target = self.capture.is_ready() || self.work.held.is_some();
        self.work.job.is_none() && self.output.is_ready() && has_target && self.codec.has_room()
    }

    pub(super) fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.notice_stops(progress);
        if self.wants_worker() && self.codec.start(|_| Ok(())).is_none() {
            progress.broken = true;
        }
        self.listen(bus, progress);
        self.resume_write(bus, progress);
        while self.can_begin() {
            let Some(source) = self.output.take() else {
                return;
            };
            if !self.begin(source, bus, progress) {
                return;
            }
        }
    }

    /// Handles STREAMOFF at either queue: reference pictures are dropped.
    fn notice_stops(&mut self, progress: &mut Progress<C>) {
        let stops = self.stops();
        if stops == self.work.seen_stops {
            return;
        }
        self.work.seen_stops = stops;
        if let Some(job) = self.work.job.take() {
            if job.loan.is_some()
                && let Some(worker) = self.codec.worker()
            {
                worker.take_back();
            }
            if let Some(target) = job.target.filter(|target| !target.is_stale()) {
                self.capture.tokens.push_front(target);
            }
            if !job.source.is_stale() {
                self.output.consume(job.source, DoneState::Error, progress);
            }
        }
        if let Some(held) = self.work.held.take() {
            self.capture.tokens.push_front(held.target);
        }
        let forgot = self.codec.worker().map(|w| w.submit(CodecJob::Flush));
        if !matches!(forgot, Some(Ok(()))) {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.codec.stop();
        self.work.is_lending = false;
    }

    /// Takes the worker's events.
    fn listen(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.codec.poll() else {
                return;
            };
            match event {
                Event::Format(format) => self.proceed(&format, bus, progress),
                Event::Picture {
                    tag,
                    picture,
                    damaged,
                    ..
                } => {
                    let planes = picture.planes().data;
                    self.count_copied(planes.iter().map(|plane| plane.len() as u64).sum());
                    self.begin_to_write(tag, picture, damaged);
                }
                Event::Filled {
                    tag,
                    damaged,
                    copied,
                    ..
                } => {
                    self.count_copied(copied);
                    self.note_written(tag, damaged, bus);
                }
                Event::Corrupt { sentence, .. } | Event::Unsupported { sentence, .. } => {
                    self.codec.report(sentence);
                }
                Event::Consumed { tag } => self.end(tag, progress),
                Event::Died { .. } => {
                    self.work.is_lending = false;
                    self.fail_job(progress);
                    progress.broken = true;
                }
                Event::Flushed | Event::Drained | Event::Packet { .. } => {}
            }
        }
    }

    /// Counts bytes that the worker copied for a picture: the number that it reports, or the size
    /// of a picture in a slot.
    fn count_copied(&mut self, bytes: u64) {
        let count = &mut self.statistics.codec_bytes_copied;
        *count = count.saturating_add(bytes);
    }

    /// Checks the worker's announced picture size against its parameter sets, and accepts the format.
    fn proceed(&mut self, format: &StreamFormat, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let buffers = self.capture.format;
        let found = (format.visible.width, format.visible.height);
        self.work.is_lending = false;
        let proceeded = match self.codec.worker() {
            Some(worker) if found == (buffers.width, buffers.height) => worker
                .submit(CodecJob::ProceedByLoan(Chroma::Pairs))
                .is_ok(),
            _ => false,
        };
        if !proceeded {
            if let Some(worker) = self.codec.worker() {
                worker.take_back();
            }
            self.fail_job(progress);
            return self.restart();
        }
        self.work.is_lending = true;
        self.lend(bus);
    }

    /// Lends the request's buffer to the worker.
    fn lend(&mut self, bus: &mut dyn Bus<C>) {
        let Some(job) = self.work.job.as_mut().filter(|_| self.work.is_lending) else {
            return;
        };
        if let Some(worker) = self.codec.worker()
            && let Some(target) = job.target.as_ref().filter(|_| job.loan.is_none())
        {
            // If it has ended, an event says so.
            let pictures = (&self.capture.format, Chroma::Pairs);
            job.loan = loan::lend(worker, pictures, target, bus).ok();
        }
    }

    /// Receives a picture that lies in the worker's memory, to write it to its request's buffer.
    fn begin_to_write(&mut self, tag: u64, picture: Picture, damaged: bool) {
        let Some(job) = self.work.job.as_mut().filter(|job| job.tag == tag) else {
            return;
        };
        job.loan = None;
        job.writing = Some(Writing {
            picture,
            damaged,
            cursor: PictureCursor::default(),
        });
    }

    /// Continues to write a picture to its request's buffer, a piece in each tick.
    fn resume_write(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = self.piece;
        let Some(job) = self.work.job.as_mut() else {
            return;
        };
        let Some(mut writing) = job.writing.take() else {
            return;
        };
        if let Some(target) = &job.target {
            let (format, going) = (&self.capture.format, (&mut writing.cursor, &mut left));
            let written = match resume_write(format, target, &writing.picture, going, bus) {
                Ok(false) => {
                    job.writing = Some(writing);
                    return;
                }
                Ok(true) => Surface(format).payloads(),
                Err(trouble) => Err(trouble),
            };
            self.keep_written(written, writing.damaged);
        }
        if let Some(job) = self.work.job.take_if(|job| job.is_consumed) {
            self.finish(job, progress);
        }
    }

    /// Handles a picture that the worker wrote to its request's buffer.
    fn note_written(&mut self, tag: u64, damaged: bool, bus: &mut dyn Bus<C>) {
        let Some(job) = self.work.job.as_mut().filter(|job| job.tag == tag) else {
            return;
        };
        (job.loan, job.writing) = (None, None);
        if let Some(target) = &job.target {
            let written = loan::note_written(&self.capture.format, target, bus);
            self.keep_written(written, damaged);
        }
    }

    /// Keeps the result of a picture until the worker has consumed the request.
    fn keep_written(&mut self, written: Result<[u64; MAX_PLANES], Trouble>, damaged: bool) {
        let written = match written {
            Ok(payloads) if damaged => (DoneState::Error, payloads),
            Ok(payloads) => (DoneState::Done, payloads),
            Err(Trouble::Stale) => FAILED,
            Err(Trouble::Fault | Trouble::TooSmall) => {
                self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                FAILED
            }
        };
        if let Some(job) = &mut self.work.job {
            job.written = written;
        }
    }

    /// Handles a consumed request, whose picture may not be completely written yet.
    fn end(&mut self, tag: u64, progress: &mut Progress<C>) {
        let Some(job) = self.work.job.as_mut().filter(|job| job.tag == tag) else {
            return;
        };
        job.is_consumed = true;
        if job.loan.take().is_some()
            && let Some(worker) = self.codec.worker()
        {
            worker.take_back();
        }
        if let Some(job) = self.work.job.take_if(|job| job.writing.is_none()) {
            self.finish(job, progress);
        }
    }

    /// Returns a request's buffers with an error.
    fn fail_job(&mut self, progress: &mut Progress<C>) {
        if let Some(mut job) = self.work.job.take() {
            job.written = FAILED;
            self.finish(job, progress);
        }
    }

    fn finish(&mut self, job: Job<C>, progress: &mut Progress<C>) {
        let Job {
            source,
            target,
            written: (outcome, payloads),
            ..
        } = job;
        if outcome == DoneState::Error {
            self.statistics.dropped = self.statistics.dropped.saturating_add(1);
        }
        let field = match source.field() {
            0 => FIELD_NONE,
            said => said,
        };
        let waits = source.frame_flags() & sys::V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF != 0;
        let timestamp_ns = source.timestamp_ns();
        let meta = Meta::of(&source);
        self.output.consume(source, outcome, progress);
        let Some(target) = target else { return };
        // `give` sets the sequence number, once the picture is complete.
        let completion = Completion {
            field,
            ..meta.completion(outcome, payloads, 0, false)
        };
        let held = FirstField {
            target,
            timestamp_ns,
            completion,
        };
        if waits && outcome == DoneState::Done {
            self.work.held = Some(held);
        } else {
            self.give(held, progress);
        }
    }

    fn give(&mut self, held: FirstField<C>, progress: &mut Progress<C>) {
        let completion = Completion {
            sequence: self.capture.next_sequence(),
            ..held.completion
        };
        progress.finish(Flow::Capture, held.target, completion);
    }

    /// Returns the CAPTURE buffer for a request: the kept one, or the next.
    fn target_for(&mut self, source: &Active<C>, progress: &mut Progress<C>) -> Option<Active<C>> {
        if let Some(held) = self.work.held.take() {
            if held.timestamp_ns == source.timestamp_ns() && !held.target.is_stale() {
                return Some(held.target);
            }
            self.give(held, progress);
        }
        self.capture.take()
    }

    /// Begins a request. Returns whether another may begin.
    fn begin(
        &mut self,
        source: Active<C>,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let Some(target) = self.target_for(&source, progress) else {
            self.output.tokens.push_front(source);
            return false;
        };
        let Some(worker) = self.codec.start(|_| Ok(())) else {
            self.output.tokens.push_front(source);
            self.capture.tokens.push_front(target);
            progress.broken = true;
            return false;
        };
        let size = (self.capture.format.width, self.capture.format.height);
        let tag = self.work.tag.wrapping_add(1);
        let sets = self.parameters.sets(size).map_err(Unfit::Refused);
        let given = sets.map(|sets| {
            let Ok(Some(plane)) = source.plane(0) else {
                return Err(Refused::Wrong("the buffer was taken back"));
            };
            let filled = plane.payload_bytes.min(plane.length_bytes);
            let bytes = filled.saturating_sub(plane.data_offset);
            let len = usize::try_from(bytes).unwrap_or(usize::MAX);
            let len = len.saturating_add(sets.bytes.len());
            worker.decode_with(tag, len, |to| {
                let (head, slices) = to.split_at_mut(sets.bytes.len().min(len));
                head.copy_from_slice(&sets.bytes);
                bus.read(&plane.cookie, plane.data_offset, slices)
                    .map_err(|_| Unfit::Fault)?;
                check_slices(slices, &sets.pps).map_err(Unfit::Refused)
            })
        });
        let unfit = match given {
            Ok(Ok(Ok(()))) => None,
            Ok(Ok(Err(unfit))) | Err(unfit) => Some(unfit),
            // An event says how it ended.
            Ok(Err(Refused::Full(_) | Refused::Dead)) => {
                self.output.tokens.push_front(source);
                self.capture.tokens.push_front(target);
                return false;
            }
            Ok(Err(refused)) => Some(Unfit::Refused(refused.to_string())),
        };
        let job = Job {
            tag,
            source,
            target: Some(target),
            loan: None,
            writing: None,
            is_consumed: false,
            written: FAILED,
        };
        match unfit {
            None => {
                self.work.tag = tag;
                self.work.job = Some(job);
                self.lend(bus);
            }
            Some(unfit) => {
                match unfit {
                    Unfit::Refused(sentence) => self.codec.report(sentence),
                    Unfit::Fault => {
                        self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                    }
                }
                self.finish(job, progress);
            }
        }
        true
    }
}

/// Continues to write a worker's picture to the buffer. Returns whether all is written.
fn resume_write<C>(
    format: &Format,
    target: &Active<C>,
    picture: &Picture,
    going: (&mut PictureCursor, &mut usize),
    bus: &mut dyn Bus<C>,
) -> Result<bool, Trouble> {
    let planes = picture.planes();
    if (planes.width, planes.height) != (format.width, format.height) {
        return Err(Trouble::TooSmall);
    }
    let [luma, pairs, _] = planes.data;
    Surface(format).resume_write(target, going, bus, |component| match component {
        0 => luma,
        _ => pairs,
    })
}
